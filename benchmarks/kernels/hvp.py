"""Hessian-vector products of a linear layer's mean cross-entropy in its weights and bias."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from . import limits as machine
from . import linear
from .case import AbsentError, Candidate, Case, Maker, Part, sample


def data(case: Case) -> Any:
    """Those of a linear layer, and a direction v (K, D) with u (K,) for the bias."""
    given, (_, D, K) = linear.data(case), case.shape
    rng = np.random.default_rng(1)
    v, u = (rng.standard_normal(s, np.float32).astype(case.dtype, copy=False) for s in ((K, D), (K,)))
    return SimpleNamespace(**vars(given), v=v, u=u)


def truth(case: Case, given: Any) -> dict[str, Part]:
    """The product's rows for some classes, of the sum, in float64."""
    (N, D, K), classes = case.shape, sample(case.shape[2])
    w, b, v, u = (a.astype(np.float64) for a in (given.w, given.b, given.v, given.u))
    hw, hb, step = np.zeros((len(classes), D)), np.zeros(len(classes)), max(64, 2**22 // K)
    for i in range(0, N, step):
        x = given.x[i : i + step].astype(np.float64)
        z = x @ w.T + b
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        a = x @ v.T + u
        r = p * (a - (p * a).sum(axis=1, keepdims=True))
        hw += r[:, classes].T @ x
        hb += r[:, classes].sum(axis=0)
    return {"w": Part(classes, hw), "bias": Part(classes, hb)}


def limits(case: Case, given: Any, threads: int) -> dict[str, Any]:
    """Three bare products: the logits, their change, and back. Who stores the probabilities needs two."""
    return {"3 bare products": machine.products(given.x, given.w, False, count=3)}


def gradient_bytes(case: Case) -> int:
    """The size of the product."""
    return case.shape[2] * (case.shape[1] + 1) * case.itemsize


def _answer(case: Case, w: Any, bias: Any) -> dict[str, tuple[Any, float]]:
    N = float(case.shape[0])
    return {"w": (w, N), "bias": (bias, N)}


def kernel(case: Case, given: Any, threads: int) -> Candidate:
    """The backend itself."""
    from xent import kernels

    backend: Any = kernels.select(dtype=case.dtype).backend
    if not hasattr(backend, "linear_hvp"):
        raise AbsentError(f"the {backend.name} backend has no linear_hvp")
    along = kernels.Directions(None, given.v, given.u)
    where = given.x, given.w, given.b, kernels.Target(given.y), kernels.Slopes(1.0, -1.0, 0.0), along
    options = {"weight": np.full(case.shape[0], 1 / case.shape[0]), "need": kernels.Need(False, True, True)}
    return Candidate(lambda: backend.linear_hvp(*where, **options), lambda found: _answer(case, found.w, found.bias))


def _with_torch(case: Case, given: Any, loss: Any) -> Candidate:
    """Double backward through ``loss(x, w, b, y)``, the first done beforehand."""
    import torch

    x, y, v, u = (torch.from_numpy(a) for a in (given.x, given.y, given.v, given.u))
    w, b = (torch.from_numpy(a).requires_grad_() for a in (given.w, given.b))
    grads = torch.autograd.grad(loss(x, w, b, y), (w, b), create_graph=True)
    return Candidate(
        lambda: torch.autograd.grad(grads, (w, b), (v, u), retain_graph=True), lambda found: _answer(case, *found)
    )


def public_torch(case: Case, given: Any, threads: int) -> Candidate:
    """xent's layer under PyTorch's double backward."""
    import xent

    return _with_torch(case, given, lambda x, w, b, y: xent.linear_cross_entropy(x, w, y, bias=b))


def eager(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's double backward."""
    import torch
    from torch.nn import functional

    def loss(x: Any, w: Any, b: Any, y: Any) -> Any:
        return functional.cross_entropy(torch.nn.functional.linear(x, w, b), y)

    return _with_torch(case, given, loss)


def jax_jit(case: Case, given: Any, threads: int) -> Candidate:
    """JAX's forward mode over reverse, compiled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    x, w, b, v, u = (jax.numpy.asarray(a) for a in (given.x, given.w, given.b, given.v, given.u))
    y = jax.numpy.asarray(given.y.astype(np.int32))

    def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
        logp = jax.nn.log_softmax(x @ w.T + b)
        return -jax.numpy.mean(jax.numpy.take_along_axis(logp, y[:, None], axis=1))

    @jax.jit
    def product(w: Any, b: Any, v: Any, u: Any, x: Any, y: Any) -> Any:
        return jax.jvp(lambda w, b: jax.grad(loss, argnums=(0, 1))(w, b, x, y), (w, b), (v, u))[1]

    return Candidate(lambda: jax.block_until_ready(product(w, b, v, u, x, y)), lambda found: _answer(case, *found))


def scikit_learn(case: Case, given: Any, threads: int) -> Candidate:
    """scikit-learn's product, its probabilities stored beforehand."""
    from sklearn._loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    theirs = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=case.shape[2]), fit_intercept=True)
    coef, labels = np.asfortranarray(np.column_stack([given.w, given.b])), given.y.astype(given.x.dtype)
    _, product = theirs.gradient_hessian_product(coef, given.x, labels, n_threads=threads)
    along = np.asfortranarray(np.column_stack([given.v, given.u]))
    return Candidate(lambda: product(along), lambda found: _answer(case, found[:, :-1], found[:, -1]))


CANDIDATES = {
    "xent": Maker(kernel, ours=True),
    "xent for PyTorch": Maker(public_torch, ours=True, logits=3),
    "torch eager": Maker(eager, logits=4),
    "JAX": Maker(jax_jit, logits=4, compiled=True),
    "scikit-learn": Maker(scikit_learn, logits=3),
}
