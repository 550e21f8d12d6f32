"""Checking a backend for L1 fits of two classes: working columns of sparse rows, and rows of one logit."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
from scipy import sparse

from ..kernels import Backend
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


def _close(found: Any, true: Any, what: str, relative: float | None = None) -> None:
    found, true = np.asarray(found), np.asarray(true)
    require(found.shape == true.shape, f"{what} has the shape {found.shape}, not {true.shape}")
    require(found.dtype == np.float64, f"{what} is {found.dtype}, not float64")
    bound, least = (1e-12, 1e-12) if relative is None else (relative, 1e-320)
    off = ~(np.abs(found - true) <= bound * np.abs(true) + least)
    if off.any():
        i = tuple(int(j) for j in np.argwhere(off)[0])
        raise AssertionError(f"{what}{list(i)} is {found[i]!r}, the truth is {true[i]!r}")
