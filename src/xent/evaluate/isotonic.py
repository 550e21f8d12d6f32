"""Isotonic regression of 0/1 outcomes by pooling adjacent violators, many at once.

Source: Ayer, Brunk, Ewing, Reid and Silverman, Ann. Math. Statist. 26 (1955). Pools are compared by products, which of
whole numbers (and halves) are exact, and so are ties.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Counts = TypeVar("Counts", NDArray[np.int64], NDArray[np.float64])

_ROUNDS = 48


def pool(
    rows: Counts, hits: Counts, starts: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], Counts, Counts]:
    """Return the blocks of the isotonic (non-decreasing) fit of hits over rows.

    Parameters
    ----------
    rows, hits : int64 or float64 array of shape (m,)
        Rows (at least one) and events of each score, the scores ascending; or their weights, above 0.
    starts : int64 array, optional
        Where independent sequences begin, ascending, 0 first; blocks do not cross them.

    Returns
    -------
    first : int64 array of shape (blocks,)
    rows, hits : arrays of the same shape, of the dtype given
        The block's first score, its rows, its events; the fit is hits / rows, strictly increasing within a sequence.

    Notes
    -----
    Every run of non-increasing rates is pooled in one pass over all; a few tens of passes are the rule. Where more are
    needed (a staircase that one late score pulls down) the rest is done one block at a time, in linear time.

    Examples
    --------
    >>> one = np.ones(5, dtype=np.int64)
    >>> first, rows, hits = pool(one, np.array([0, 1, 0, 1, 1]))
    >>> first.tolist(), (hits / rows).tolist()
    ([0, 1, 3], [0.0, 0.5, 1.0])
    """
    first = np.arange(rows.size)
    fence = np.zeros(rows.size, dtype=np.bool_)
    fence[starts if starts is not None else slice(0, 1)] = True
    for _ in range(_ROUNDS):
        begins = fence.copy()
        begins[1:] |= hits[:-1] * rows[1:] < hits[1:] * rows[:-1]
        at = np.flatnonzero(begins)
        if at.size == rows.size:
            return first, rows, hits
        first, fence = first[at], fence[at]
        rows, hits = np.add.reduceat(rows, at), np.add.reduceat(hits, at)
    return _one_by_one(first, rows, hits, fence)


def _one_by_one(
    first: NDArray[np.int64], rows: Counts, hits: Counts, fence: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Counts, Counts]:
    done: list[tuple[int, float, float, bool]] = []
    for f, n, k, fenced in zip(first.tolist(), rows.tolist(), hits.tolist(), fence.tolist(), strict=True):
        while not fenced and done[-1][2] * n >= k * done[-1][1]:
            f, before_n, before_k, fenced = done.pop()
            n, k = n + before_n, k + before_k
        done.append((f, n, k, fenced))
    starts = np.array([d[0] for d in done], dtype=np.int64)
    counts = np.array([d[1:3] for d in done], dtype=rows.dtype)
    return starts, counts[:, 0], counts[:, 1]
