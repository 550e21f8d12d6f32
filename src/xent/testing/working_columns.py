"""Checking a backend for L1 fits: working columns of sparse rows, rows of one logit, and models by columns."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from scipy import sparse

from ..kernels import Backend
from ..kernels.contract import ByColumn, RowModel
from ._compare import require

# Of each size 0 to 30 entries a row, in no order, columns named twice among them.
SHAPES = [(203, 40), (5, 1), (0, 3), (90, 300)]
LOGITS = (-800.0, -40.0, -3.0, -1e-9, 0.0, 1e-9, 0.7, 36.0, 700.0, 800.0)


def unsorted_rows(shape: tuple[int, int], dtype: Any, index: Any) -> tuple[Any, Any]:
    """Sparse rows (N, D), and the same as a dense float64 array."""
    rng, (N, D) = np.random.default_rng(3), shape
    start = np.concatenate([[0], np.cumsum(rng.integers(0, 31, N))])
    at, value = rng.integers(0, D, start[-1]), rng.normal(size=start[-1]).astype(dtype)
    x = sparse.csr_matrix(shape, dtype=dtype)
    x.data, x.indices, x.indptr = value, at.astype(index), start.astype(index)
    dense = np.zeros(shape)
    np.add.at(dense, (np.repeat(np.arange(N), np.diff(start)), at), value.astype(np.float64))
    return x, dense


def check_working_columns(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """`take_columns`, and `gram`, `product` and `pull_back` of what it gives, against dense products."""
    for shape in SHAPES:
        for index in (np.int32, np.int64):
            x, dense = unsorted_rows(shape, dtype, index)
            where = f"of {shape[0]} sparse rows of {shape[1]} columns ({dtype}, {index.__name__})"
            _check_columns(backend, x, dense, where)


def _check_columns(backend: Backend, x: Any, dense: Any, where: str) -> None:
    rng, (N, D) = np.random.default_rng(0), dense.shape
    wanted = rng.permutation(D)[: max(1, min(12, D // 2))]
    part, n = dense[:, wanted], len(wanted)
    w, v, r = rng.random(N), rng.normal(size=n), rng.normal(size=N)
    w[::5] = 0
    taken = backend.take_columns(x, wanted)
    require(taken.width == n, f"take_columns {where} has the width {taken.width}, not {n}")
    full = (part.T * w) @ part
    _close(backend.gram(taken, w), full, f"gram {where}")
    half = n // 2
    known = backend.gram(taken, w, known=7 * full[:half, :half])
    _close(known[:half, :half], 7 * full[:half, :half], f"what is known in gram {where}")
    mixed = full.copy()
    mixed[:half, :half] *= 7
    _close(known, mixed, f"gram with known products {where}")
    once = x.copy()
    once.sum_duplicates()  # an estimate may take two entries of one place for two
    part_once = once.toarray().astype(np.float64)[:, wanted]
    some = 3 * (part_once[::3].T * w[::3]) @ part_once[::3]
    some[np.diag_indices(n)] = np.maximum(some.diagonal(), w @ part_once**2)
    _close(backend.gram(backend.take_columns(once, wanted), w, step=3), some, f"gram of every third row {where}")
    _close(backend.product(taken, v), part @ v, f"product {where}")
    _close(backend.pull_back(taken, r), part.T @ r, f"pull_back of columns {where}")
    _close(backend.pull_back(x, r), dense.T @ r, f"pull_back of all columns {where}")


def check_logistic_rows(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """`logistic_rows` against mpmath, at logits so large that probabilities round to 0 and 1; and of NaN."""
    z, label = np.repeat(LOGITS, 2), np.tile([0, 1], len(LOGITS))
    weight = np.random.default_rng(1).random(len(z))
    loss, p, slope = backend.logistic_rows(z, label, weight)
    with mpmath.workdps(400):
        share = [1 / (1 + mpmath.exp(-mpmath.mpf(float(v)))) for v in z]
        total = sum(-w * mpmath.log(q if y else 1 - q) for q, y, w in zip(share, label, weight, strict=True))
        true = [float(w * (q - int(y))) for q, y, w in zip(share, label, weight, strict=True)]
        shares = [float(q) for q in share]
    _close(p, shares, "the probabilities of logistic_rows", 4e-15)
    _close(slope, true, "the slopes of logistic_rows", 4e-15)
    _close(np.array(loss), np.array(float(total)), "the loss of logistic_rows", 4e-15)
    z[3] = np.nan
    require(bool(np.isnan(backend.logistic_rows(z, label, weight)[0])), "the loss of logistic_rows of NaN is no NaN")


def check_descent(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """`spread`, `gather` and `descend` against dense products and a minimum over each coordinate in turn."""
    for vectors in (1, 3):
        rng, (N, C) = np.random.default_rng(7), (60, 9)
        dense = np.where(rng.random((N, C)) < 0.4, rng.normal(size=(N, C)), 0)
        dense[:, 4] = 0  # no entry
        X = sparse.csc_matrix(dense)
        at = rng.permutation(C * vectors)[: 2 * C * vectors // 3]
        column, vector = (at % C).astype(np.int32), (at // C).astype(np.int32)
        x = ByColumn(X.indptr.astype(np.int64), X.indices.astype(np.int32), X.data, column, vector)
        which, where = rng.permutation(len(at))[: len(at) - 2].astype(np.int64), f"of {vectors} vectors"
        # the logits as a matrix of their coordinates
        full = np.zeros((N, vectors, len(at)))
        full[:, vector, np.arange(len(at))] = dense[:, column]
        step, r, z = rng.normal(size=len(at)), rng.normal(size=(N, vectors)), np.ones((N, vectors))
        backend.spread(x, which, step, z)
        _close(z, 1 + full[:, :, which] @ step[which], f"spread {where}")
        _close(backend.gather(x, which, r), np.einsum("ik,ikj->j", r, full[:, :, which]), f"gather {where}")
        squares = np.einsum("ik,ikj->j", r, full[:, :, which] ** 2)
        _close(backend.gather(x, which, r, squares=True), squares, f"gather {where}, squares")
        _check_descend(backend, x, which, full, rng, where)


def _check_descend(backend: Backend, x: ByColumn, which: Any, full: Any, rng: Any, where: str) -> None:
    N, V, P = full.shape
    weight, p = rng.random(N) / N, np.ascontiguousarray(rng.dirichlet(np.ones(V + 1), N)[:, :V])
    if V == 1:
        H = np.einsum("i,ij,il->jl", weight, full[:, 0], full[:, 0])
    else:
        mean = np.einsum("ik,ikj->ij", p, full)
        H = np.einsum("i,ik,ikj,ikl->jl", weight, p, full, full) - (mean.T * weight) @ mean
    l1, l2 = np.where(rng.random(P) < 0.2, 0, 0.3 / N), np.where(rng.random(P) < 0.5, 0.1 / N, 0)
    diagonal, g, u = H.diagonal() + l2, rng.normal(size=P) / N, rng.normal(size=P) * (rng.random(P) < 0.5)
    several = V > 1
    model = RowModel(weight, p if several else None, np.zeros((N, V)), np.zeros(N) if several else None, diagonal)
    begin, true, worst = u.copy(), u.copy(), 0.0
    for j in which:
        slope = g[j] + l2[j] * true[j] + H[j] @ (true - begin)
        off = abs(slope + l1[j] * np.sign(true[j])) if true[j] else max(abs(slope) - l1[j], 0)
        worst = max(worst, off)
        if diagonal[j] > 0:
            z = true[j] - slope / diagonal[j]
            true[j] = np.sign(z) * max(abs(z) - l1[j] / diagonal[j], 0)
    found = backend.descend(x, which, model, g, l1, l2, u)
    _close(u, true, f"descend {where}", 1e-9)
    _close(np.array(found), np.array(worst), f"the violation that descend met {where}", 1e-9)
    change = full @ (true - begin)
    _close(model.change, change if several else weight[:, None] * change, f"what descend changed {where}")
    if model.mean is not None:
        _close(model.mean, (p * change).sum(axis=1), f"the means of what descend changed {where}")


def _close(found: Any, true: Any, what: str, relative: float | None = None) -> None:
    found, true = np.asarray(found), np.asarray(true)
    require(found.shape == true.shape, f"{what} has the shape {found.shape}, not {true.shape}")
    require(found.dtype == np.float64, f"{what} is {found.dtype}, not float64")
    bound, least = (1e-12, 1e-12) if relative is None else (relative, 1e-320)
    off = ~(np.abs(found - true) <= bound * np.abs(true) + least)
    if off.any():
        i = tuple(int(j) for j in np.argwhere(off)[0])
        raise AssertionError(f"{what}{list(i)} is {found[i]!r}, the truth is {true[i]!r}")
