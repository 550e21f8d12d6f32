"""Row functions in JAX: one forward-mode rule, which JAX transposes for reverse mode and differentiates again."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from .._arrays import Array
from ..rows.linear import TILE


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rows(op: Any, *arrays: Array) -> Array:
    """The value of a row function (N,)."""
    return op.value(jnp, *arrays)


def _rule(op: Any, primals: tuple[Array, ...], tangents: tuple[Any, ...]) -> tuple[Array, Array]:
    value = jax_rows(op, *primals)
    wrt = tuple(
        jnp.issubdtype(x.dtype, jnp.floating) and not isinstance(t, SymbolicZero)
        for x, t in zip(primals, tangents, strict=True)
    )
    out = jnp.zeros_like(value)
    for d, t in zip(op.grads(jnp, wrt, *primals), tangents, strict=True):
        if d is not None:
            step = d * t
            out = out + step.sum(axis=tuple(range(1, step.ndim))).astype(out.dtype)
    return value, out


_rows.defjvp(_rule, symbolic_zeros=True)
jax_rows = jax.jit(_rows, static_argnums=0)


def jax_linear(op: Any, x: Array, w: Array, bias: Array | None, *target: Array) -> Array:
    """The value of a row function of ``x w' + bias``, (N,); tiles of logits are made again to be differentiated."""

    def tile(x: Array, *target: Array) -> Array:
        x = jnp.where(target[-1][:, None] >= 0, x, 0.0)  # a row left out may hold NaN, and 0 * NaN is not 0
        logits = x @ w.T if bias is None else x @ w.T + bias
        return jax_rows(op, logits, *target)

    step = max(1, TILE // max(1, w.shape[0]))
    if x.shape[0] <= step:
        return tile(x, *target)
    # rows that fill the last tile: label -1 leaves them out
    missing = -x.shape[0] % step
    arrays = [jnp.pad(v, ((0, missing),) + ((0, 0),) * (v.ndim - 1)) for v in (x, *target)]
    arrays[-1] = jnp.pad(target[-1], (0, missing), constant_values=-1)
    tiled = [v.reshape((-1, step, *v.shape[1:])) for v in arrays]
    losses = jax.lax.map(lambda part: jax.checkpoint(tile)(*part), tuple(tiled))
    return losses.reshape(-1)[: x.shape[0]]
