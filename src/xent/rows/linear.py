"""Row functions of a linear layer's logits in NumPy, which are never stored whole: natively, or a tile at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._arrays import NUMPY, Array
from ..kernels import Curvatures, Directions, LinearGrads, Need, Slopes, Target, select
from .softmax import LabelRows, invalid

TILE = 2**22  # logits of a tile


def kernel_target(op: Any, w: Array, target: tuple[Array, ...]) -> Target | None:
    """The target as kernels take it; None where they don't know the loss, or an unchecked label is none."""
    if not getattr(op, "native", False):
        return None
    label = target[-1]
    if isinstance(op, LabelRows):
        return None if invalid(w.shape[0], label) else Target(label)
    return Target(label, target[0])


def refuse_budget(memory: int | None, what: str) -> None:
    """Raise where a budget is asked for that nobody keeps."""
    if memory is not None:
        raise ValueError(
            f"memory={memory}: {what} is not one for the native kernels, which are what keeps a budget: labels or "
            "probabilities (N, K), arrays in the CPU's memory, values and first derivatives"
        )


def numpy_linear(op: Any, x: Array, w: Array, bias: Array | None, *target: Array, memory: int | None = None) -> Array:
    """The loss of each row (N,), in a budget of `memory` bytes."""
    known = kernel_target(op, w, target)
    if known is None:
        refuse_budget(memory, "this target")
        return np.concatenate([op.value(NUMPY, _logits(x[t], w, bias), *(v[t] for v in target)) for t in tiles(x, w)])
    backend = select(dtype=x.dtype).backend
    m, s, t, u = backend.linear_stats(x, w, bias, known, need_u=op.formula.needs_u, memory=memory)
    return np.where(target[-1] >= 0, op.formula.value(s, t, u, m), 0.0)


def numpy_linear_grads(
    op: Any,
    g: Array | None,
    need: Need,
    x: Array,
    w: Array,
    bias: Array | None,
    *target: Array,
    memory: int | None = None,
    out: Array | None = None,
) -> tuple[Array, LinearGrads]:
    """The loss of each row (N,), and the gradients of ``sum_i g_i l_i``, in a budget of `memory` bytes.

    The gradient in x goes into `out` where that is given and the kernels know the loss.
    """
    known = kernel_target(op, w, target)
    if known is None:
        refuse_budget(memory, "this target")
        return _tiled_grads(op, g, need, x, w, bias, *target)
    backend, affine = select(dtype=x.dtype).backend, op.formula.affine
    if affine is not None:
        return backend.linear_fused(x, w, bias, known, Slopes(*affine), weight=g, need=need, memory=memory, out=out)
    m, s, t, u = stats = backend.linear_stats(x, w, bias, known, need_u=op.formula.needs_u, memory=memory)
    slopes = Slopes(*op.formula.slopes(s, t, u, m))
    grads = backend.linear_grad(x, w, bias, known, stats, slopes, weight=g, need=need, memory=memory, out=out)
    return np.where(target[-1] >= 0, op.formula.value(s, t, u, m), 0.0), grads


def numpy_linear_total(
    op: Any,
    g: Array | float,
    need: Need,
    x: Array,
    w: Array,
    bias: Array | None,
    *target: Array,
    memory: int | None = None,
    out: Array | None = None,
) -> tuple[float, LinearGrads] | None:
    """``sum_i g_i l_i`` and its gradients without the losses of the rows; None where there is no such pass.

    A number in the place of `g` goes into the slopes.
    """
    known = kernel_target(op, w, target)
    if known is None or op.formula.affine is None:
        return None
    alike = isinstance(g, float)
    slopes = Slopes(*(g * v if alike else v for v in op.formula.affine))
    options: dict[str, Any] = {"weight": None if alike else g, "need": need, "memory": memory, "out": out}
    return select(dtype=x.dtype).backend.linear_fused(x, w, bias, known, slopes, total=True, **options)


def numpy_linear_hvp(
    op: Any, g: Array | None, need: Need, v: Directions, x: Array, w: Array, bias: Array | None, *target: Array
) -> LinearGrads:
    """How the gradients of ``sum_i g_i l_i`` move along a direction."""
    known = kernel_target(op, w, target)
    if known is None:
        raise TypeError("a Hessian-vector product of a linear layer needs labels or probabilities (N, K) as its target")
    backend, affine = select(dtype=x.dtype).backend, op.formula.affine
    if affine is not None:
        return backend.linear_hvp(x, w, bias, known, Slopes(*affine), v, weight=g, need=need)
    m, s, t, u = backend.linear_stats(x, w, bias, known, need_u=op.formula.needs_u)
    slopes, bend = Slopes(*op.formula.slopes(s, t, u, m)), Curvatures(*op.formula.curvatures(s, t, m))
    return backend.linear_hvp(x, w, bias, known, slopes, v, curvatures=bend, weight=g, need=need)


def _tiled_grads(
    op: Any, g: Array | None, need: Need, x: Array, w: Array, bias: Array | None, *target: Array
) -> tuple[Array, LinearGrads]:
    loss = np.empty(len(x))
    dx = np.empty_like(x) if need.x else None
    dw = np.zeros(w.shape) if need.w else None
    db = np.zeros(len(w)) if need.bias else None
    for t in tiles(x, w):
        part = tuple(v[t] for v in target)
        loss[t], da = op.fused(None if g is None else g[t], _logits(x[t], w, bias), *part)
        da = da.astype(x.dtype, copy=False)
        if dx is not None:
            dx[t] = da @ w
        if dw is not None:
            used = part[-1] >= 0  # a row left out may hold NaN, and 0 * NaN is not 0
            dw += da[used].T @ x[t][used]
        if db is not None:
            db += da.sum(axis=0, dtype=np.float64)
    return loss, LinearGrads(dx, None if dw is None else dw.astype(w.dtype), db)


def _logits(x: Array, w: Array, bias: Array | None) -> Array:
    return x @ w.T if bias is None else x @ w.T + bias


def tiles(x: Array, w: Array) -> list[slice]:
    """Slices of the rows that make tiles of logits, at least one."""
    N, step = x.shape[0], max(1, TILE // max(1, w.shape[0]))
    return [slice(i, min(i + step, N)) for i in range(0, max(N, 1), step)]
