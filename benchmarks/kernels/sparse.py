"""One evaluation of a softmax regression on a sparse matrix: the loss and the gradients in w and bias."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from . import limits as machine
from .case import AbsentError, Candidate, Case, Maker, Part, sample


def data(case: Case) -> Any:
    """CSR x (N, D) with the same number of entries in each row, weights w (K, D), bias b, labels y."""
    from scipy import sparse

    N, D, K, entries = case.shape
    rng = np.random.default_rng(0)
    # one entry in each of `entries` strips of the columns: sorted, none twice, without a permutation a row
    edges = np.linspace(0, D, entries + 1).astype(np.int64)
    columns = (edges[:-1] + rng.random((N, entries)) * (edges[1:] - edges[:-1])).astype(np.int32)
    values = rng.standard_normal(N * entries, np.float32).astype(case.dtype, copy=False)
    x = sparse.csr_matrix((values, columns.ravel(), np.arange(N + 1, dtype=np.int32) * np.int32(entries)), (N, D))
    w = (rng.standard_normal((K, D), np.float32) / np.sqrt(entries)).astype(case.dtype)
    if K == 2:  # scikit-learn and the objective have one vector, that of class 1
        w[0] = 0
    b = rng.standard_normal(K, np.float32).astype(case.dtype)
    b[0] = 0
    return SimpleNamespace(x=x, w=w, b=b, y=rng.integers(0, K, N))


def truth(case: Case, given: Any) -> dict[str, Part]:
    """The mean loss and the gradients of the sum in some of the columns of w, in float64."""
    x, N = given.x.astype(np.float64), case.shape[0]
    z = x @ given.w.T.astype(np.float64) + given.b
    m = z.max(axis=1, keepdims=True)
    p = np.exp(z - m)
    total = p.sum(axis=1, keepdims=True)
    loss = np.log(total[:, 0]) + m[:, 0] - z[np.arange(N), given.y]
    p /= total
    p[np.arange(N), given.y] -= 1
    columns = sample(case.shape[1], 1024)
    parts = {"loss": Part(None, loss.mean()), "bias": Part(slice(1, None), p.sum(axis=0)[1:])}
    return parts | {"w": Part((slice(1, None), columns), (x.T @ p).T[1:, columns])}


def limits(case: Case, given: Any, threads: int) -> dict[str, Any]:
    """Reading x once; what is gathered from w and scattered to dw is not in it."""
    return {"reading x": machine.reading([given.x.data, given.x.indices], threads)}


def gradient_bytes(case: Case) -> int:
    """The size of the gradients."""
    return case.shape[2] * (case.shape[1] + 1) * case.itemsize


def _answer(case: Case, loss: Any, w: Any, bias: Any) -> dict[str, tuple[Any, float]]:
    N = float(case.shape[0])
    return {"loss": (loss, 1.0), "w": (w, N), "bias": (bias, N)}


def _flat(case: Case, given: Any) -> Any:
    """Weights with the bias as a last column; with two classes those of class 1 alone."""
    both = np.column_stack([given.w, given.b])
    return both[1] if case.shape[2] == 2 else both


def _from_flat(case: Case, loss: Any, gradient: Any) -> dict[str, tuple[Any, float]]:
    """An answer from gradients laid out as `_flat`."""
    both = np.asarray(gradient)
    if case.shape[2] == 2:
        both = np.stack([-both, both])
    return _answer(case, loss, both[:, :-1], both[:, -1])


def kernel(case: Case, given: Any, threads: int) -> Candidate:
    """The backend itself."""
    from xent.kernels import Need, Slopes, Target, select

    backend, plain, need = select(dtype=case.dtype).backend, Slopes(1.0, -1.0, 0.0), Need(False, True, True)

    def call(x: Any, y: Any) -> Any:
        weight = np.full(len(y), 1 / case.shape[0])
        return backend.linear_fused(x, given.w, given.b, Target(y), plain, weight=weight, need=need)

    try:
        call(given.x[:8], given.y[:8])
    except Exception as error:
        raise AbsentError(f"the {backend.name} backend takes no CSR matrix: {error}") from None
    return Candidate(
        lambda: call(given.x, given.y), lambda found: _answer(case, found[0].mean(), found[1].w, found[1].bias)
    )


def objective(case: Case, given: Any, threads: int) -> Candidate:
    """What xent's LogisticRegression evaluates."""
    from xent.objective import SoftmaxObjective

    ours = SoftmaxObjective(given.x, given.y, case.shape[2], fit_intercept=True)
    theta = _flat(case, given).astype(np.float64)
    return Candidate(
        lambda: ours.value_and_grad(theta.ravel()),
        lambda found: _from_flat(case, found[0], found[1].reshape(theta.shape)),
    )


def scikit_learn(case: Case, given: Any, threads: int) -> Candidate:
    """The objective of scikit-learn's linear models."""
    from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    K = case.shape[2]
    loss = HalfBinomialLoss() if K == 2 else HalfMultinomialLoss(n_classes=K)
    theirs = LinearModelLoss(base_loss=loss, fit_intercept=True)
    coef, labels = np.asfortranarray(_flat(case, given)), given.y.astype(given.x.dtype)
    return Candidate(
        lambda: theirs.loss_gradient(coef, given.x, labels, n_threads=threads),
        lambda found: _from_flat(case, *found),
    )


def torch_sparse(case: Case, given: Any, threads: int) -> Candidate:
    """PyTorch's sparse product with its cross-entropy."""
    import torch

    x = given.x
    index = torch.from_numpy(x.indptr), torch.from_numpy(x.indices)
    there = torch.sparse_csr_tensor(*index, torch.from_numpy(x.data), size=x.shape)
    w, b = (torch.from_numpy(a).requires_grad_() for a in (given.w, given.b))
    y = torch.from_numpy(given.y)

    def run() -> Any:
        value = torch.nn.functional.cross_entropy(there @ w.T + b, y)
        value.backward()
        found = value.detach(), w.grad, b.grad
        w.grad = b.grad = None
        return found

    return Candidate(run, lambda found: _answer(case, *found))


CANDIDATES = {
    "xent": Maker(kernel, ours=True),
    "xent's objective": Maker(objective, ours=True),
    "torch eager": Maker(torch_sparse),
    "scikit-learn": Maker(scikit_learn),
}
