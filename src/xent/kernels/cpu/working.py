"""What fits with an L1 penalty need of the columns of their working set: C++ computes, on one thread."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, Entries, check_csr
from .operands import level_in_use

# Entries looked at to estimate how many lie in some columns.
SEEN = 16384


def _given(x: Any) -> tuple[Array, Array, Array]:
    """A CSR matrix as the kernels take it."""
    check_csr(x)
    index = np.ascontiguousarray(x.indices)
    if index.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        index = index.astype(np.int64)
    return np.ascontiguousarray(x.indptr, np.int64), index, np.ascontiguousarray(x.data)


def take_columns(x: Any, columns: Array) -> Entries:
    """See `contract.Backend.take_columns`."""
    N, D = x.shape
    place = np.full(D, -1, np.int32)
    place[columns] = np.arange(len(columns))
    given, start = _given(x), np.empty(N + 1, np.int64)
    some = given[1][:: max(1, x.nnz // SEEN)]
    some = some[(some >= 0) & (some < D)]  # the kernel says which row is wrong
    room = min(x.nnz, int(1.1 * np.mean(place[some] >= 0) * x.nnz) + SEEN) if len(some) else x.nnz
    while True:
        at, value = np.empty(room, np.int32), np.empty(room)
        n = _cpu.take_columns(level_in_use(), *given, place, start, at, value)
        if n <= room:
            return Entries(start, at[:n], value[:n], len(columns))
        room = n  # more than the sample let expect


def gram(x: Entries, weight: Array, *, step: int = 1, known: Array | None = None) -> Array:
    """See `contract.Backend.gram`."""
    half, diagonal = np.zeros((x.width, x.width)), np.zeros(x.width) if step > 1 else None
    held = 0 if known is None else len(known)
    weight = np.ascontiguousarray(weight, np.float64)
    _cpu.add_gram(level_in_use(), x.start, x.column, x.value, weight, step, held, half, diagonal)
    out = half + half.T
    if diagonal is not None:
        out *= step
        np.einsum("ii->i", out)[:] = np.maximum(out.diagonal(), diagonal)
    if known is not None:
        out[:held, :held] = known
    return out


def product(x: Entries, w: Array) -> Array:
    """See `contract.Backend.product`."""
    z = np.empty(len(x.start) - 1)
    _cpu.add_up_rows(level_in_use(), x.start, x.column, x.value, np.ascontiguousarray(w, np.float64), z)
    return z


def pull_back(x: Any, r: Array) -> Array:
    """See `contract.Backend.pull_back`."""
    r = np.ascontiguousarray(r, np.float64)
    if isinstance(x, Entries):
        g = np.zeros(x.width)
        _cpu.pull_back(level_in_use(), x.start, x.column, x.value, r, g)
    else:
        g = np.zeros(x.shape[1])
        _cpu.pull_back_rows(level_in_use(), *_given(x), r, g)
    return g


def logistic_rows(z: Array, label: Array, weight: Array) -> tuple[float, Array, Array]:
    """See `contract.Backend.logistic_rows`."""
    p, r = np.empty(len(z)), np.empty(len(z))
    z, weight = np.ascontiguousarray(z, np.float64), np.ascontiguousarray(weight, np.float64)
    label = np.ascontiguousarray(label, np.int64)
    return float(_cpu.logistic_rows(level_in_use(), z, label, weight, p, r)), p, r
