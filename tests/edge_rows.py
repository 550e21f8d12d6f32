"""The ways to a loss and its gradient, array libraries and transformations, on rows in every dtype."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import torch
from mpmath import mpf

from xent import (
    TopK,
    cross_entropy,
    focal_loss,
    generalized_cross_entropy,
    poly_loss,
    value_and_grad,
)

INF, NAN = float("inf"), float("nan")
WAYS = ("numpy", "torch", "torch vmap", "jax", "jax jit")
UNTRACED = ("numpy", "torch", "jax")
DTYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


def to_torch(x):
    x = np.asarray(x)
    return torch.tensor(x.astype(np.float32)).to(torch.bfloat16) if x.dtype == ml_dtypes.bfloat16 else torch.tensor(x)


def make(way, x):
    """An array in the library of a way."""
    if isinstance(x, TopK):
        return TopK(make(way, x.indices), make(way, x.probs), x.rest)
    if not isinstance(x, np.ndarray) or way == "numpy":
        return x
    return to_torch(x) if way.startswith("torch") else jnp.asarray(x)


def floats(x):
    """As float64, with the dtype it had."""
    if isinstance(x, torch.Tensor):
        return x.detach().to(torch.float64).numpy(), str(x.dtype).removeprefix("torch.")
    return np.asarray(x).astype(np.float64), np.asarray(x).dtype.name


def each_row(way, function, z, target, **options):
    """The loss of each row and the gradient of their sum, as float64 with the dtypes that they came in."""
    a, y, options = make(way, z), make(way, target), {k: make(way, x) for k, x in options.items()}
    if way == "numpy":
        _, grads = value_and_grad(function)(a, y, wrt="logits", reduction="sum", **options)
        return *floats(function(a, y, reduction="none", **options)), *floats(grads.logits)
    if way == "torch":
        a.requires_grad_()
        losses = function(a, y, reduction="none", **options)
        return *floats(losses), *floats(torch.autograd.grad(losses.sum(), a)[0])
    if way == "torch vmap":
        one = torch.func.grad_and_value(lambda a, y: function(a, y, reduction="sum", **options))
        grads, losses = torch.func.vmap(one)(a, y)
        return *floats(losses), *floats(grads)

    def both(a, y):
        losses, pull = jax.vjp(lambda a: function(a, y, reduction="none", **options), a)
        return losses, pull(jnp.ones_like(losses))[0]

    if way == "jax jit":
        losses, grads = jax.jit(both)(a, y)
    else:
        with jax.disable_jit():
            losses, grads = both(a, y)
    return *floats(losses), *floats(grads)


def reduced(way, function, z, target, **options):
    """The mean, and its gradient."""
    a, y, options = make(way, z), make(way, target), {k: make(way, x) for k, x in options.items()}
    if way == "jax jit":
        value, grad = jax.jit(jax.value_and_grad(lambda a: function(a, y, **options)))(a)
        return floats(value)[0], floats(grad)[0]
    with jax.disable_jit():
        value, grads = value_and_grad(function)(a, y, wrt="logits", **options)
    return floats(value)[0], floats(grads.logits)[0]


def plain(p):
    return -mpmath.log(p)


FUNCTIONS = {
    "CE": (cross_entropy, {}, plain),
    "CE, smoothing": (cross_entropy, {"label_smoothing": 0.125}, plain),
    "focal 0.5": (focal_loss, {"gamma": 0.5}, lambda p: -mpmath.sqrt(1 - p) * mpmath.log(p)),
    "focal 2": (focal_loss, {}, lambda p: -((1 - p) ** 2) * mpmath.log(p)),
    "poly": (poly_loss, {"epsilon": -1.0}, lambda p: -mpmath.log(p) - (1 - p)),
    "generalised": (generalized_cross_entropy, {}, lambda p: (1 - p ** mpf("0.7")) / mpf("0.7")),
}
# What XLA compiles takes seconds each.
COMPILED = {("CE", "float64"), ("CE", "float32"), ("CE", "bfloat16"), ("focal 0.5", "float32")}
