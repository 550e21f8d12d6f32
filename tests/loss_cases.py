"""Rows, options and functions that the tests of the softmax losses share, and how each library differentiates them."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import torch
from mpmath import mpf

import loss_truth
from xent import (
    TopK,
    cross_entropy,
    focal_loss,
    generalized_cross_entropy,
    hvp,
    poly_loss,
    value_and_grad,
)

KINDS = ("numpy", "torch", "jax")
RNG = np.random.default_rng(7)
N, K = 4, 5
Z = np.round(RNG.normal(size=(N, K)) * 3, 3)
Y = np.array([3, 0, 4, 1])
Q = RNG.multinomial(1024, RNG.dirichlet(np.ones(K), N)) / 1024
V = RNG.normal(size=(N, K))
W = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
SAMPLE = np.array([1.0, 0.25, 0.0, 2.5])
PRIOR = np.array([5.0, 1.0, 0.25, 30.0, 2.0])
MASK = np.array([True, True, False, True, True])
MASKS = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 1, 0]], bool)


def plain(p):
    return -mpmath.log(p)


def focal(gamma):
    return lambda p: -((1 - p) ** mpf(gamma)) * mpmath.log(p)


def poly(epsilon):
    return lambda p: -mpmath.log(p) + mpf(epsilon) * (1 - p)


def generalized(q):
    return lambda p: -mpmath.log(p) if q == 0 else (1 - p ** mpf(q)) / mpf(q)


FUNCTIONS = {
    "CE": (cross_entropy, {}, plain),
    "focal": (focal_loss, {"gamma": 0.5}, focal(0.5)),
    "focal 2": (focal_loss, {}, focal(2)),
    "poly": (poly_loss, {"epsilon": -1.0}, poly(-1)),
    "generalised": (generalized_cross_entropy, {}, generalized(0.7)),
}
OPTIONS = {
    "none": {},
    "sum": {"reduction": "sum"},
    "smoothing": {"label_smoothing": 0.3},
    "all smoothing": {"label_smoothing": 1.0},
    "class weights": {"weight": W},
    "class weights and smoothing": {"weight": W, "label_smoothing": 0.3},
    "sample weights": {"sample_weight": SAMPLE},
    "all weights": {"weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2},
    "temperature": {"temperature": 2.5},
    "softcap": {"softcap": 2.0},
    "prior": {"prior": PRIOR},
    "mask": {"mask": MASK},
    "masks of rows and smoothing": {"mask": MASKS, "label_smoothing": 0.25},
    "everything": {
        "weight": W,
        "sample_weight": SAMPLE,
        "label_smoothing": 0.1,
        "temperature": 0.5,
        "softcap": 30.0,
        "prior": PRIOR,
        "mask": MASKS,
        "reduction": "sum",
    },
    "z-loss": {"z_loss": 0.25},
    "confidence penalty": {"confidence_penalty": 0.5},
    "z-loss, weights and smoothing": {"z_loss": 0.1, "weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2},
    "terms and everything": {
        "z_loss": 0.1,
        "confidence_penalty": 0.5,
        "weight": W,
        "sample_weight": SAMPLE,
        "label_smoothing": 0.2,
        "temperature": 2.0,
        "softcap": 5.0,
        "prior": PRIOR,
        "mask": MASKS,
    },
}
_ONLY_CE = [name for name, options in OPTIONS.items() if {"z_loss", "confidence_penalty"} & set(options)]
CASES = [("CE", name) for name in OPTIONS] + [("focal", name) for name in OPTIONS if name not in _ONLY_CE]
CASES += [(f, name) for f in ("focal 2", "poly", "generalised") for name in ("none", "all weights", "everything")]
# JAX takes its time: what has all options in it, and one of each function
IN_JAX = {"everything", "terms and everything", "masks of rows and smoothing"}
_TRUTH_NAMES = {"label_smoothing": "smoothing", "sample_weight": "sample", "confidence_penalty": "penalty"}


def target(soft, options):
    """A target that the masks allow, and what it is as probabilities."""
    if not soft:
        return Y, np.eye(K)[Y]
    q = np.where(np.broadcast_to(options.get("mask", True), (N, K)), Q, 0)
    q[:, 3] += 1 - q.sum(axis=1)  # which every mask keeps
    return q, q


@functools.cache
def true_case(name, which, soft):
    """Loss, gradient and Hessian's product of a case."""
    options = OPTIONS[which]
    named = {_TRUTH_NAMES.get(k, k): x for k, x in options.items()}
    return loss_truth.truth(Z, target(soft, options)[1], FUNCTIONS[name][2], V, **named)


def make(kind, x):
    """A NumPy array, or a TopK of them, in a library."""
    if isinstance(x, TopK):
        return TopK(make(kind, x.indices), make(kind, x.probs), x.rest)
    if not isinstance(x, np.ndarray):
        return x
    return {"numpy": np.asarray, "torch": torch.tensor, "jax": jnp.asarray}[kind](x)


def derivatives(kind, function, z, aim, options, v):
    """Value, gradient and the Hessian's product as the library gives them; NumPy's is None where there is none."""
    options, aim = {k: make(kind, x) for k, x in options.items()}, make(kind, aim)
    if kind == "numpy":
        value, grads = value_and_grad(function)(z, aim, wrt="logits", **options)
        if options.get("softcap") or options.get("confidence_penalty"):
            return value, grads.logits, None
        return value, grads.logits, hvp(function)(z, aim, vector=v, **options)
    if kind == "torch":
        a = torch.tensor(z, requires_grad=True)
        value = function(a, aim, **options)
        (once,) = torch.autograd.grad(value, a, retain_graph=True)
        (grad,) = torch.autograd.grad(value, a, create_graph=True)
        np.testing.assert_allclose(once.numpy(), grad.detach().numpy(), rtol=1e-12, atol=1e-15)
        (product,) = torch.autograd.grad((grad * torch.tensor(v)).sum(), a)
        return value.item(), grad.detach().numpy(), product.numpy()
    with jax.disable_jit():
        value, grad = jax.value_and_grad(lambda a: function(a, aim, **options))(jnp.asarray(z))
        slope = jax.grad(lambda a: function(a, aim, **options))
        product = jax.jvp(slope, (jnp.asarray(z),), (jnp.asarray(v),))[1]
        return float(value), np.asarray(grad), np.asarray(product)


def few(spread):
    """A few classes a row, and the same target in full."""
    index = np.array([[3, 1], [0, 4], [2, 0], [1, 3]])
    probs = [[0.5, 0.25], [0.125, 0.5], [1.0, 0.0], [0.0, 0.75]] if spread else None
    probs = np.array(probs or [[0.5, 0.5], [0.125, 0.875], [1.0, 0.0], [0.0, 1.0]])
    dense = np.repeat(((1 - probs.sum(axis=1)) / (K - 2))[:, None], K, axis=1)
    np.put_along_axis(dense, index, probs, axis=1)
    return TopK(index, probs, "spread" if spread else "zero"), dense
