"""Scores and what happened, counted: all that reliability, ROC, isotonic regression and thresholds look at.

A score is a probability p, kept together with q = 1 - p so that both ends have all their digits. Up to four million
scores are kept as they are and every figure is exact. Beyond that they are counted in cells whose width is a small
part of min(p, q): 1/8192 of an octave for one column, wider for many classes. So memory is bounded whatever the number
of rows, and a figure moves by about the square of that width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXACT = 1 << 22
"""Scores kept as they are; more are counted in cells."""

_OCTAVES = 64  # cells reach down to 2**-64; what is smaller shares one, and 0 has its own
_LOWEST = 1023 - _OCTAVES
_CELLS = 1 << 22  # cells of all columns together, about


@dataclass(frozen=True)
class Ranked:
    """Distinct scores (or cells of them) in ascending order.

    Attributes
    ----------
    p, q : float64 array of shape (m,)
        The score, the mean of the cell's, and one minus it.
    rows : int64 array of shape (m,)
        How many rows have it.
    hits : int64 array of shape (m,)
        How many of those the event happened to.
    """

    p: NDArray[np.float64]
    q: NDArray[np.float64]
    rows: NDArray[np.int64]
    hits: NDArray[np.int64]

    def loss(self) -> float:
        """Mean binary log loss of the scores, in nats; infinite where an impossible event happened."""
        misses = self.rows - self.hits
        yes, no = -log_of(self.p, self.q), -log_of(self.q, self.p)
        total = np.dot(yes[self.hits > 0], self.hits[self.hits > 0]) + np.dot(no[misses > 0], misses[misses > 0])
        return float(total / self.rows.sum())


def log_of(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of p where q = 1 - p is known to all its digits."""
    with np.errstate(divide="ignore"):  # both branches are computed everywhere
        return np.where(p > 0.5, np.log1p(-q), np.log(p))


class ScoreCounts:
    """Collects the scores of one column, or of each of several, chunk by chunk.

    Parameters
    ----------
    columns : int
        1 for a single event; the number of classes for one-against-the-rest.
    exact : int
        Scores of all columns together that are kept as they are.

    Examples
    --------
    >>> counts = ScoreCounts()
    >>> counts.add(np.array([0.2, 0.7, 0.2]), np.array([0.8, 0.3, 0.8]), np.array([0, 1, 1]))
    >>> r = counts.ranked()
    >>> r.p.tolist(), r.rows.tolist(), r.hits.tolist()
    ([0.2, 0.7], [2, 1], [1, 1])
    """

    def __init__(self, columns: int = 1, *, exact: int = EXACT) -> None:
        self.columns, self._exact = columns, exact
        fine = 13
        while fine > 2 and columns * 2 * _OCTAVES << fine > max(_CELLS, columns << 8):
            fine -= 1
        self.fine = fine
        self.per_column = 2 * ((_OCTAVES << fine) + 2)
        self._raw: list[tuple[NDArray[np.int64], NDArray[Any]]] = []
        self._kept = 0
        self._rows: NDArray[np.int64] | None = None
        self._hits = np.empty(0, dtype=np.int64)
        self._sums = np.empty(0)

    @property
    def exact(self) -> bool:
        """Whether every score is kept as it is."""
        return self._rows is None

    def add(self, p: NDArray[np.float64], q: NDArray[np.float64], hit: NDArray[Any]) -> None:
        """Add rows: p and q of shape (rows,) or (rows, columns); hit 0/1, or the column that the event is."""
        keys = _keys(p, q)
        if self._rows is not None:
            self._count(keys, hit)
            return
        self._raw.append((keys, np.array(hit)))
        self._kept += keys.size
        if self._kept > self._exact:
            raw, self._raw = self._raw, []
            self._rows = np.zeros(self.columns * self.per_column, dtype=np.int64)
            self._hits = np.zeros(self._rows.size, dtype=np.int64)
            self._sums = np.zeros(self._rows.size)
            for earlier, happened in raw:
                self._count(earlier, happened)

    def _count(self, keys: NDArray[np.int64], hit: NDArray[Any]) -> None:
        assert self._rows is not None
        cell = self._cells(keys)
        small = _smaller(keys)
        if self.columns > 1:
            cell += np.arange(self.columns, dtype=np.int64) * self.per_column
            np.add.at(self._hits, cell[np.arange(len(hit)), hit], 1)
        else:
            np.add.at(self._hits, cell, hit.astype(np.int64))
        np.add.at(self._rows, cell.reshape(-1), 1)
        np.add.at(self._sums, cell.reshape(-1), small.reshape(-1))

    def _cells(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        upper = keys > _HALF
        small = np.where(upper, _MAGNITUDE - keys, keys)
        cell = np.maximum((small >> (52 - self.fine)) - ((_LOWEST << self.fine) - 1), 1)
        cell[small == 0] = 0
        return np.where(upper, self.per_column - 1 - cell, cell)

    def ranked(self, column: int = 0) -> Ranked:
        """Return what was counted of a column."""
        if self._rows is not None:
            part = slice(column * self.per_column, (column + 1) * self.per_column)
            found = np.flatnonzero(self._rows[part])
            rows, hits = self._rows[part][found], self._hits[part][found]
            small = self._sums[part][found] / rows
            upper = found >= self.per_column // 2
            return Ranked(np.where(upper, 1 - small, small), np.where(upper, small, 1 - small), rows, hits)
        if not self._raw:
            empty = np.empty(0)
            none = np.empty(0, dtype=np.int64)
            return Ranked(empty, empty, none, none)
        if self.columns == 1:
            keys = np.concatenate([k for k, _ in self._raw])
            happened = np.concatenate([h for _, h in self._raw]).astype(np.bool_)
        else:
            keys = np.concatenate([k[:, column] for k, _ in self._raw])
            happened = np.concatenate([h for _, h in self._raw]) == column
        distinct, rows = np.unique(keys, return_counts=True)
        some, counts = np.unique(keys[happened], return_counts=True)
        hits = np.zeros(distinct.size, dtype=np.int64)
        hits[np.searchsorted(distinct, some)] = counts
        small, upper = _smaller(distinct), distinct > _HALF
        return Ranked(np.where(upper, 1 - small, small), np.where(upper, small, 1 - small), rows, hits)


_MAGNITUDE = np.int64(2**63 - 1)
_HALF = np.float64(0.5).view(np.int64)


def _keys(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.int64]:
    """Whole numbers in the order of p that hold the smaller of p and q to the last bit.

    Non-negative floats are ordered as their bits are. Where p is above one half the bits of q count down from the top.
    """
    upper = p > 0.5
    bits = np.where(upper, q, p)
    np.maximum(bits, 0.0, out=bits)  # a sum of 1.0000001 leaves q a little below 0; -0.0 becomes 0.0
    bits += 0.0
    keys = bits.view(np.int64)
    return np.where(upper, _MAGNITUDE - keys, keys)


def _smaller(keys: NDArray[np.int64]) -> NDArray[np.float64]:
    small: NDArray[np.float64] = np.where(keys > _HALF, _MAGNITUDE - keys, keys).view(np.float64)
    return small


def compress(ranked: Ranked, most: int, edges: NDArray[np.float64] | None = None) -> NDArray[np.int64]:
    """Return the first cells of at most about ``most`` groups of equal numbers of rows, cut at ``edges`` too."""
    size = ranked.p.size
    if size <= most:
        return np.arange(size)
    total = np.cumsum(ranked.rows)
    group = (total - 1) * most // int(total[-1])
    cut = np.flatnonzero(np.diff(group)) + 1
    parts = [np.zeros(1, np.int64), cut]
    if edges is not None:
        parts.append(np.searchsorted(ranked.p, edges))
    first = np.unique(np.concatenate(parts))
    return first[first < size]
