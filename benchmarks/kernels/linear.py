"""Cross-entropy of a linear layer: the loss with the gradients in w and bias, and in x where asked for."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import limits as machine
from .case import HALF, AbsentError, Candidate, Case, Maker, Part, numpy_dtype, sample, tensor

THIN = 16  # classes at most: reading x counts, not multiplying
EXACT_PRODUCT = 4e11  # multiplications and additions of the truth's logits, beyond which they are float32
CHUNKS = (256, 1024, 4096)  # rows, of which PyTorch's best is taken


def with_dx(case: Case) -> bool:
    """Whether the gradient in x is asked for too."""
    return case.what == "all gradients"


def data(case: Case) -> Any:
    """Normal features x (N, D), weights w (K, D) that give logits of size one, bias b (K,), labels y (N,)."""
    N, D, K = case.shape
    rng, dtype = np.random.default_rng(0), numpy_dtype(case.dtype)
    x = rng.standard_normal((N, D), np.float32).astype(dtype, copy=False)
    w = rng.standard_normal((K, D), np.float32)
    w /= np.sqrt(D)
    b = rng.standard_normal(K, np.float32).astype(dtype, copy=False)
    return SimpleNamespace(x=x, w=w.astype(dtype, copy=False), b=b, y=rng.integers(0, K, N))


def truth(case: Case, given: Any) -> dict[str, Part]:
    """The mean loss and, of the gradients of the sum, those in some classes' weights and in some rows.

    In float64 but for the largest cases, whose log-sum-exp comes from NumPy's float32 product, summed in float64.
    """
    x, w, y = given.x, given.w, given.y
    b = given.b.astype(np.float32 if case.dtype in HALF else case.dtype)
    N, D, K = case.shape
    wide = np.float64 if 2.0 * N * D * K <= EXACT_PRODUCT else np.float32
    classes, rows = sample(K), sample(N)
    w_all, w_some = w.astype(wide), w[classes].astype(np.float64)
    dw, db, total = np.zeros((len(classes), D)), np.zeros(len(classes)), 0.0
    step = max(64, 2**23 // K)
    for i in range(0, N, step):
        some, labels = x[i : i + step], y[i : i + step]
        z = some.astype(wide) @ w_all.T + b.astype(wide)
        m = z.max(axis=1, keepdims=True)
        lse = np.log(np.exp(z - m).sum(axis=1, dtype=np.float64)) + m[:, 0]
        total += float((lse - z[np.arange(len(z)), labels]).sum())
        some = some.astype(np.float64)
        r = np.exp(some @ w_some.T + b[classes] - lse[:, None]) - (labels[:, None] == classes)
        dw += r.T @ some
        db += r.sum(axis=0)
    z = x[rows].astype(np.float64) @ w.T.astype(np.float64) + b
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(rows)), y[rows]] -= 1
    parts = {"loss": Part(None, np.float64(total / N)), "w": Part(classes, dw), "bias": Part(classes, db)}
    return parts | ({"x": Part(rows, p @ w.astype(np.float64))} if with_dx(case) else {})


def limits(case: Case, given: Any, threads: int) -> dict[str, Any]:
    """The bare products; for few classes reading x once (and writing dx), or their arithmetic at the best rate."""
    count = 2 + with_dx(case)
    if case.shape[2] > THIN:
        return {f"{count} bare products": machine.products(given.x, given.w, with_dx(case))}
    arithmetic = count * 2.0 * math.prod(case.shape) / machine.rate(case.dtype, threads)
    found: dict[str, Any] = {f"the arithmetic of {count} products": arithmetic}
    if with_dx(case):
        return found | {"a copy of x": machine.copying(given.x, threads)}
    return found | {"reading x": machine.reading([given.x], threads)}


def gradient_bytes(case: Case) -> int:
    """The size of the gradients."""
    N, D, K = case.shape
    return (K * (D + 1) + (N * D if with_dx(case) else 0)) * case.itemsize


def _answer(case: Case, loss: Any, w: Any, bias: Any, x: Any) -> dict[str, tuple[Any, float]]:
    """What a candidate found for the mean."""
    N = float(case.shape[0])
    return {"loss": (loss, 1.0), "w": (w, N), "bias": (bias, N)} | ({} if x is None else {"x": (x, N)})


def kernel(case: Case, given: Any, threads: int) -> Candidate:
    """The backend itself."""
    from xent.kernels import Need, Slopes, Target, select

    if case.dtype in HALF:
        raise AbsentError(f"layers in {case.dtype} are PyTorch's products in tiles: xent for PyTorch")
    backend, target = select(dtype=case.dtype).backend, Target(given.y)
    if backend.name == "reference":
        raise AbsentError(f"no native kernel takes {case.dtype}")
    plain, weight = Slopes(1.0, -1.0, 0.0), np.full(case.shape[0], 1 / case.shape[0])
    need = Need(with_dx(case), True, True)
    out = np.ones_like(given.x) if with_dx(case) else None  # as the limit has it: memory that is already there
    return Candidate(
        lambda: backend.linear_fused(given.x, given.w, given.b, target, plain, weight=weight, need=need, out=out),
        lambda found: _answer(case, found[0].mean(), found[1].w, found[1].bias, found[1].x),
    )


def public(case: Case, given: Any, threads: int) -> Candidate:
    """What a user of NumPy calls."""
    import xent

    both, wrt = xent.value_and_grad(xent.linear_cross_entropy), ("x", "w", "bias")[not with_dx(case) :]
    return Candidate(
        lambda: both(given.x, given.w, given.y, bias=given.b, wrt=wrt),
        lambda found: _answer(case, found[0], found[1].w, found[1].bias, getattr(found[1], "x", None)),
    )


def _with_torch(case: Case, given: Any, loss: Any) -> Candidate:
    """The mean loss of some ``loss(x, w, b, y)`` and its gradients."""
    import torch

    x, w, b = (tensor(a).requires_grad_() for a in (given.x, given.w, given.b))
    x.requires_grad_(with_dx(case))
    y = torch.from_numpy(given.y)

    def run() -> Any:
        value = loss(x, w, b, y)
        value.backward()
        found = value.detach(), w.grad, b.grad, x.grad
        w.grad = b.grad = x.grad = None  # freed outside the clock
        return found

    return Candidate(run, lambda found: _answer(case, *found))


def public_torch(case: Case, given: Any, threads: int) -> Candidate:
    """What a user of PyTorch calls."""
    import xent

    return _with_torch(case, given, lambda x, w, b, y: xent.linear_cross_entropy(x, w, y, bias=b))


def _plain(x: Any, w: Any, b: Any, y: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(functional.linear(x, w, b), y)


def eager(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch as it is."""
    return _with_torch(case, given, _plain)


def compiled(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's compiler."""
    import torch
    from torch.nn import functional

    torch.compiler.reset()
    call = torch.compile(lambda x, w, b, y: functional.cross_entropy(functional.linear(x, w, b), y), dynamic=False)
    return _with_torch(case, given, call)


def _chunked(case: Case, given: Any, **options: Any) -> Candidate:
    from torch.nn import functional

    if not hasattr(functional, "linear_cross_entropy"):
        raise AbsentError("this PyTorch has no linear_cross_entropy")
    from torch.nn import LinearCrossEntropyOptions

    chosen = LinearCrossEntropyOptions(**options)
    return _with_torch(
        case, given, lambda x, w, b, y: functional.linear_cross_entropy(x, w, y, linear_bias=b, options=chosen)
    )


def chunks(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's chunked layer as it comes."""
    return _chunked(case, given)


def best_chunks(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's chunked layer in the best of some sizes of chunks, by the time a row of a chunk of each."""
    N = case.shape[0]
    per_row = {}
    for rows in sorted({min(c, N) for c in CHUNKS}):
        few = SimpleNamespace(**{**vars(given), "x": given.x[:rows], "y": given.y[:rows]})
        candidate = _chunked(replace(case, shape=(rows, *case.shape[1:])), few, batch_chunk_size=rows)
        per_row[rows] = min(_seconds(candidate) for _ in range(2)) / rows
    return _chunked(case, given, batch_chunk_size=min(per_row, key=per_row.__getitem__))


def _seconds(candidate: Candidate) -> float:
    start = time.perf_counter()
    candidate.run()
    return time.perf_counter() - start


def jax_jit(case: Case, given: Any, threads: int) -> Candidate:
    """JAX, compiled."""
    import jax

    jax.config.update("jax_enable_x64", True)
    x, w, b, y = (jax.numpy.asarray(a) for a in (given.x, given.w, given.b, given.y.astype(np.int32)))

    def loss(w: Any, b: Any, x: Any, y: Any) -> Any:
        logp = jax.nn.log_softmax(x @ w.T + b)
        return -jax.numpy.mean(jax.numpy.take_along_axis(logp, y[:, None], axis=1))

    call = jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2) if with_dx(case) else (0, 1)))

    def answer(found: Any) -> dict[str, tuple[Any, float]]:
        value, grads = found
        return _answer(case, value, grads[0], grads[1], grads[2] if with_dx(case) else None)

    return Candidate(lambda: jax.block_until_ready(call(w, b, x, y)), answer)


def scikit_learn(case: Case, given: Any, threads: int) -> Candidate:
    """The objective of scikit-learn's linear models, which never need the gradient in x."""
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    if with_dx(case):
        raise AbsentError("scikit-learn has no gradient in x")
    if case.dtype in HALF:
        raise AbsentError(f"scikit-learn's losses take float32 and float64, not {case.dtype}")
    K, labels = case.shape[2], given.y.astype(given.w.dtype)
    if K > 2:
        theirs = LinearModelLoss(base_loss=HalfMultinomialLoss(n_classes=K), fit_intercept=True)
        coef = np.asfortranarray(np.column_stack([given.w, given.b]))

        def answer(found: Any) -> dict[str, tuple[Any, float]]:
            return _answer(case, found[0], found[1][:, :-1], found[1][:, -1], None)

    else:  # one vector of weights: the difference of the two
        theirs = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)
        coef = np.append(given.w[1] - given.w[0], given.b[1] - given.b[0])

        def answer(found: Any) -> dict[str, tuple[Any, float]]:
            both = np.stack([-found[1], found[1]])
            return _answer(case, found[0], both[:, :-1], both[:, -1], None)

    return Candidate(lambda: theirs.loss_gradient(coef, given.x, labels, n_threads=threads), answer)


CANDIDATES = {
    "xent": Maker(kernel, ours=True),
    "xent for NumPy": Maker(public, ours=True),
    "xent for PyTorch": Maker(public_torch, ours=True),
    "torch eager": Maker(eager, logits=3),
    "torch.compile": Maker(compiled, logits=2, compiled=True),
    "torch chunks": Maker(chunks),
    "torch best chunks": Maker(best_chunks, peak=False),
    "JAX": Maker(jax_jit, logits=3, compiled=True),
    "scikit-learn": Maker(scikit_learn, logits=2),
}
