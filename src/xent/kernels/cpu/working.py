"""What fits with an L1 penalty need of the columns of their working set: Python cuts the rows, C++ computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, Entries, check_csr
from ..threads import ranges, run
from .operands import each, level_in_use, scratch

# Entries looked at to estimate how many lie in some columns.
SEEN = 16384
# Rows are cut into no more than so many chunks, and each has so many of them at least.
MOST_CHUNKS, CHUNK_ROWS = 16, 4096
# Of partial sums as few parts as hold no more numbers than this, or two; and of those with this many, or more, one.
MOST_SUMMED, LARGEST_SUM = 2**18, 2**21
# Rows of a task that takes each by itself.
ROWS = 2**15


def _given(x: Any) -> tuple[Array, Array, Array]:
    """A CSR matrix as the kernels take it."""
    check_csr(x)
    index = np.ascontiguousarray(x.indices)
    if index.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        index = index.astype(np.int64)
    return np.ascontiguousarray(x.indptr, np.int64), index, np.ascontiguousarray(x.data)


def _chunks(N: int, most: int = MOST_CHUNKS) -> list[tuple[int, int]]:
    """Rows in chunks, one at least."""
    return list(ranges(N, max(CHUNK_ROWS, -(-N // most)))) or [(0, 0)]


def _parts(size: int) -> int:
    """How many partial sums of so many numbers are made: an even number, for an even number of threads, or one."""
    return 1 if size >= LARGEST_SUM else max(2, MOST_SUMMED // max(1, size) // 2 * 2)


def take_columns(x: Any, columns: Array) -> Entries:
    """See `contract.Backend.take_columns`."""
    N, D = x.shape
    place = np.full(D, -1, np.int32)
    place[columns] = np.arange(len(columns))
    given, pieces, level = _given(x), _chunks(N), level_in_use()
    some = given[1][:: max(1, x.nnz // SEEN)]
    some = some[(some >= 0) & (some < D)]  # the kernel says which row is wrong
    share = 1.1 * float(np.mean(place[some] >= 0)) if len(some) else 1.0
    found: list[Any] = [None] * len(pieces)

    def take(i: int) -> None:
        begin, end = pieces[i]
        start = np.empty(end - begin + 1, np.int64)
        most = min(x.nnz, max(0, int(given[0][end] - given[0][begin])))
        room = min(most, int(share * most) + SEEN)
        while True:
            at, value = np.empty(room, np.int32), np.empty(room)
            n = _cpu.take_columns(level, *given, place, begin, end, start, at, value)
            if n <= room:
                found[i] = start, at[:n], value[:n]
                return
            room = n  # more than the sample let expect

    run(take, len(pieces))
    start, column, value = zip(*found, strict=True)
    return Entries(start, column, value, len(columns))


def gram(x: Entries, weight: Array, *, step: int = 1, known: Array | None = None) -> Array:
    """See `contract.Backend.gram`."""
    P, held, level = x.width, 0 if known is None else len(known), level_in_use()
    weight, rows = np.ascontiguousarray(weight, np.float64), x.rows
    groups = ranges(len(rows), -(-len(rows) // min(len(rows), _parts(P * (P - held)))))
    diagonals = np.zeros((len(groups), P)) if step > 1 else None

    def add(i: int) -> None:
        halves[i] = 0
        for k in range(*groups[i]):
            begin, end = rows[k]
            diagonal = None if diagonals is None else diagonals[i]
            entries = x.start[k], x.column[k], x.value[k], weight[begin:end]
            _cpu.add_gram(level, *entries, step, -begin % step, held, halves[i], diagonal)

    with scratch((len(groups), P, P), np.float64) as halves:
        run(add, len(groups))
        half = halves[0]
        for more in halves[1:]:
            half += more
        out = half + half.T
    if diagonals is not None:
        out *= step
        np.einsum("ii->i", out)[:] = np.maximum(out.diagonal(), diagonals.sum(axis=0))
    if known is not None:
        out[:held, :held] = known
    return out


def product(x: Entries, w: Array) -> Array:
    """See `contract.Backend.product`."""
    rows, w, level = x.rows, np.ascontiguousarray(w, np.float64), level_in_use()
    z = np.empty(rows[-1][1])

    def add_up(i: int) -> None:
        _cpu.add_up_rows(level, x.start[i], x.column[i], x.value[i], w, z[slice(*rows[i])])

    run(add_up, len(rows))
    return z


def pull_back(x: Any, r: Array) -> Array:
    """See `contract.Backend.pull_back`."""
    r, level = np.ascontiguousarray(r, np.float64), level_in_use()
    if isinstance(x, Entries):
        rows, width = x.rows, x.width

        def add(i: int) -> None:
            parts[i] = 0
            _cpu.pull_back(level, x.start[i], x.column[i], x.value[i], r[slice(*rows[i])], parts[i])
    else:
        given, width = _given(x), x.shape[1]
        few = x.nnz < 8 * width  # whose sums cost more than they do
        rows = _chunks(x.shape[0], 1 if few else min(MOST_CHUNKS, _parts(width)))

        def add(i: int) -> None:
            parts[i] = 0
            _cpu.pull_back_rows(level, *given, *rows[i], r, parts[i])

    with scratch((len(rows), width), np.float64) as parts:
        run(add, len(rows))
        return parts.sum(axis=0)


def logistic_rows(z: Array, label: Array, weight: Array) -> tuple[float, Array, Array]:
    """See `contract.Backend.logistic_rows`."""
    p, r, level = np.empty(len(z)), np.empty(len(z)), level_in_use()
    z, weight = np.ascontiguousarray(z, np.float64), np.ascontiguousarray(weight, np.float64)
    label, loss = np.ascontiguousarray(label, np.int64), np.zeros(-(-len(z) // ROWS))

    def look(begin: int, end: int) -> None:
        at = slice(begin, end)
        loss[begin // ROWS] = _cpu.logistic_rows(level, z[at], label[at], weight[at], p[at], r[at])

    each(ranges(len(z), ROWS), look)
    return float(loss.sum()), p, r
