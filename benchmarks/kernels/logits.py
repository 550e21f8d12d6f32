"""Cross-entropy of logits: the loss with its gradient, or the loss alone."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import limits as machine
from .case import HALF, AbsentError, Candidate, Case, Maker, Part, numpy_dtype, sample, tensor


def data(case: Case) -> Any:
    """Normal logits z (N, K) and labels y (N,)."""
    rng = np.random.default_rng(0)
    z = np.empty(case.shape, numpy_dtype(case.dtype))
    step = max(1, 2**22 // case.shape[1])
    for i in range(0, len(z), step):  # no second array of their size: memory is measured beside this
        z[i : i + step] = rng.standard_normal(z[i : i + step].shape, np.float32)
    return SimpleNamespace(z=z, y=rng.integers(0, case.shape[1], case.shape[0]))


def truth(case: Case, given: Any) -> dict[str, Part]:
    """The mean loss, and some rows of the gradient of the sum, in float64."""
    total, (N, K) = 0.0, case.shape
    step = max(1, 2**20 // K)
    for i in range(0, N, step):
        z = given.z[i : i + step].astype(np.float64)
        m = z.max(axis=1, keepdims=True)
        lse = np.log(np.exp(z - m).sum(axis=1)) + m[:, 0]
        total += float((lse - z[np.arange(len(z)), given.y[i : i + step]]).sum())
    rows = sample(N)
    z = given.z[rows].astype(np.float64)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(rows)), given.y[rows]] -= 1
    return {"loss": Part(None, np.float64(total / N)), "logits": Part(rows, p)}


def limits(case: Case, given: Any, threads: int) -> dict[str, Any]:
    """A copy of the logits, or reading them where no gradient is asked for."""
    if case.what == "loss":
        return {"reading the logits": machine.reading([given.z], threads)}
    return {"a copy of the logits": machine.copying(given.z, threads)}


def gradient_bytes(case: Case) -> int:
    """The size of the gradient."""
    N, K = case.shape
    return 0 if case.what == "loss" else N * K * case.itemsize


def reduction(case: Case) -> tuple[str, float]:
    """The reduction, and what makes its gradient the sum's: half precisions have no digits for a mean's gradient."""
    return ("sum", 1.0) if case.dtype in HALF else ("mean", float(case.shape[0]))


def _answer(case: Case, found: Any) -> dict[str, tuple[Any, float]]:
    """What a candidate with the reduction of `reduction` found: a loss, or a loss and a gradient."""
    kind, scale = reduction(case)
    mean = 1.0 if kind == "mean" else 1 / case.shape[0]
    loss, gradient = (found, None) if case.what == "loss" else found
    return {"loss": (loss, mean)} | ({} if gradient is None else {"logits": (gradient, scale)})


def kernel(case: Case, given: Any, threads: int) -> Candidate:
    """The backend itself, into memory that is there."""
    from xent.kernels import Slopes, Target, select

    chosen = select(dtype=given.z.dtype)
    backend: Any = chosen.backend
    if backend.name == "reference":
        raise AbsentError(f"no native kernel: {chosen.reason}")
    z, target, plain = given.z, Target(given.y), Slopes(1.0, -1.0, 0.0)
    try:
        backend.row_fused(z[:1], Target(given.y[:1]), plain)
    except TypeError as error:
        raise AbsentError(f"no native kernel: {error}") from None
    N = case.shape[0]
    summed: Any = {"total": True} if "total" in inspect.signature(backend.row_fused).parameters else {}
    if case.what == "loss":
        call = (lambda: backend.row_loss(z, target, plain, **summed)) if summed else (lambda: _loss(backend, z, target))
        return Candidate(call, lambda found: {"loss": (found, 1 / N)})
    out = np.empty_like(z)
    return Candidate(
        lambda: backend.row_fused(z, target, plain, out=out, **summed),
        lambda found: {"loss": (np.sum(found[0]), 1 / N), "logits": (found[1], 1.0)},
    )


def _loss(backend: Any, z: Any, target: Any) -> Any:
    stats = backend.row_stats(z, target)
    return (stats.s - stats.t).sum()


def public(case: Case, given: Any, threads: int) -> Candidate:
    """What a user of NumPy calls."""
    import xent

    kind, _ = reduction(case)
    options: dict[str, Any] = {"reduction": kind}
    if case.what == "loss":
        return Candidate(lambda: xent.cross_entropy(given.z, given.y, **options), lambda found: _answer(case, found))
    both = xent.value_and_grad(xent.cross_entropy)
    return Candidate(
        lambda: both(given.z, given.y, **options), lambda found: _answer(case, (found[0], found[1].logits))
    )


def _tensors(case: Case, given: Any) -> tuple[Any, Any, Any]:
    """PyTorch, and the logits and labels as its tensors, in the same memory."""
    import torch

    z = tensor(given.z)
    return torch, z.requires_grad_(case.what != "loss"), torch.from_numpy(given.y)


def _with_torch(case: Case, torch: Any, loss: Any, z: Any, y: Any) -> Candidate:
    def alone() -> Any:
        with torch.no_grad():
            return loss(z, y)

    def both() -> Any:
        value = loss(z, y)
        value.backward()
        gradient, z.grad = z.grad, None  # taken out, so that it is freed outside the clock
        return value.detach(), gradient

    return Candidate(alone if case.what == "loss" else both, lambda found: _answer(case, found))


def public_torch(case: Case, given: Any, threads: int) -> Candidate:
    """What a user of PyTorch calls."""
    import xent

    kind: Any = reduction(case)[0]
    torch, z, y = _tensors(case, given)
    return _with_torch(case, torch, lambda z, y: xent.cross_entropy(z, y, reduction=kind), z, y)


def eager(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch as it is."""
    torch, z, y = _tensors(case, given)
    call, kind = torch.nn.functional.cross_entropy, reduction(case)[0]
    return _with_torch(case, torch, lambda z, y: call(z, y, reduction=kind), z, y)


def compiled(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's compiler."""
    torch, z, y = _tensors(case, given)
    call, kind = torch.nn.functional.cross_entropy, reduction(case)[0]
    torch.compiler.reset()
    return _with_torch(case, torch, torch.compile(lambda z, y: call(z, y, reduction=kind), dynamic=False), z, y)


def _with_jax(case: Case, given: Any, rows: Any) -> Candidate:
    import jax

    jax.config.update("jax_enable_x64", True)
    z, y = jax.numpy.asarray(given.z), jax.numpy.asarray(given.y.astype(np.int32))
    total = jax.numpy.sum if reduction(case)[0] == "sum" else jax.numpy.mean

    def loss(z: Any, y: Any) -> Any:
        return total(rows(z, y))

    call = jax.jit(loss if case.what == "loss" else jax.value_and_grad(loss))
    return Candidate(lambda: jax.block_until_ready(call(z, y)), lambda found: _answer(case, found))


def jax_jit(case: Case, given: Any, threads: int) -> Candidate:
    """JAX, compiled."""
    import jax

    def rows(z: Any, y: Any) -> Any:
        z = z.astype("float32") if case.dtype in HALF else z  # as everybody does who uses half precisions
        return -jax.numpy.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1)[:, 0]

    return _with_jax(case, given, rows)


def optax_jit(case: Case, given: Any, threads: int) -> Candidate:
    """Optax on JAX, compiled."""
    import optax

    return _with_jax(case, given, optax.softmax_cross_entropy_with_integer_labels)


def scikit_learn(case: Case, given: Any, threads: int) -> Candidate:
    """The loss inside scikit-learn's linear models and boosting, in the layout that the linear models give it."""
    from sklearn._loss import HalfMultinomialLoss

    if case.dtype in HALF:
        raise AbsentError(f"scikit-learn's losses take float32 and float64, not {case.dtype}")
    theirs, y, z = HalfMultinomialLoss(n_classes=case.shape[1]), given.y.astype(given.z.dtype), given.z
    if case.what == "loss":
        return Candidate(lambda: theirs.loss(y, z, n_threads=threads).mean(), lambda found: {"loss": (found, 1.0)})
    losses, out = np.empty_like(y), np.empty_like(z)

    def answer(found: Any) -> dict[str, tuple[Any, float]]:
        return {"loss": (found[0].mean(dtype=np.float64), 1.0), "logits": (found[1], 1.0)}

    return Candidate(lambda: theirs.loss_gradient(y, z, loss_out=losses, gradient_out=out, n_threads=threads), answer)


def scipy_formula(case: Case, given: Any, threads: int) -> Candidate:
    """The formula in NumPy and SciPy."""
    from scipy.special import logsumexp

    if case.dtype in HALF:
        raise AbsentError(f"SciPy has no {case.dtype}")
    z, y, N = given.z, given.y, case.shape[0]
    index = np.arange(N)

    def run() -> Any:
        lse = logsumexp(z, axis=1)
        loss = (lse - z[index, y]).mean()
        if case.what == "loss":
            return loss
        gradient = np.exp(z - lse[:, None])
        gradient[index, y] -= 1
        gradient /= N
        return loss, gradient

    return Candidate(run, lambda found: _answer(case, found))


CANDIDATES = {
    "xent": Maker(kernel, ours=True, logits=1),
    "xent for NumPy": Maker(public, ours=True, logits=1),
    "xent for PyTorch": Maker(public_torch, ours=True, logits=1),
    "torch eager": Maker(eager, logits=3),
    "torch.compile": Maker(compiled, logits=2, compiled=True),
    "JAX": Maker(jax_jit, logits=2, compiled=True),
    "optax": Maker(optax_jit, logits=2, compiled=True, peak=False),
    "scikit-learn": Maker(scikit_learn, logits=1),
    "SciPy": Maker(scipy_formula, logits=3, peak=False),
}
