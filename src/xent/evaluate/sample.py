"""A random sample of the rows that stream by, bounded in size, for what cannot be summed: fits.

A row is kept by a number that is a hash of its place and of the seed, and those with the smallest numbers stay
(bottom-k sampling: Cohen and Kaplan, PODC 2007). So every set of rows is as likely as another of its size, the sample
does not depend on how the rows were cut into chunks, and the samples of two parts of a file merge into that of the
whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = (1 << 64) - 1


class RowSample:
    """At most so many rows of several columns.

    Parameters
    ----------
    most : int
        Rows that are kept.
    seed : int
        The same seed keeps the same rows.

    Attributes
    ----------
    seen : int
        Rows added.

    Examples
    --------
    >>> sample = RowSample(3)
    >>> sample.add(np.arange(2), np.array([5.0, 6.0]))
    >>> sample.columns()
    (array([5., 6.]),)
    >>> sample.add(np.arange(2, 100), np.arange(7.0, 105.0))
    >>> sample.seen, len(sample.columns()[0])
    (100, 3)
    """

    def __init__(self, most: int, seed: int = 0) -> None:
        self.most, self.seen = most, 0
        self._start = np.uint64(int(_mixed(np.array([seed & _WORD], dtype=np.uint64))[0]))
        self._bar = np.uint64(_WORD)  # numbers above it cannot be among the smallest any more
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._kept = 0

    def add(self, places: NDArray[Any], *columns: NDArray[Any]) -> None:
        """Add rows: the place of each among all, no place twice, and their columns of shape (n,) or (n, width)."""
        self.seen += len(places)
        number = _mixed(places.astype(np.uint64) * np.uint64(_GOLDEN) + self._start)
        at = np.flatnonzero(number <= self._bar)
        if not at.size:
            return
        self._hold((number[at], places[at], *(c[at] for c in columns)))

    def merge(self, other: RowSample) -> None:
        """Add what another sample of the same seed saw, of other places."""
        self.seen += other.seen
        for part in other._parts:
            self._hold(part)

    def _hold(self, part: tuple[NDArray[Any], ...]) -> None:
        self._parts.append(part)
        self._kept += len(part[0])
        if self._kept > 2 * self.most:
            self._shrink()

    def _shrink(self) -> None:
        """Keep those with the smallest numbers."""
        columns = [np.concatenate(c) for c in zip(*self._parts, strict=True)]
        if self._kept > self.most:
            at = np.argpartition(columns[0], self.most - 1)[: self.most]
            columns = [c[at] for c in columns]
            self._bar = columns[0].max()
        self._parts, self._kept = [tuple(columns)], len(columns[0])

    def columns(self) -> tuple[NDArray[Any], ...]:
        """Return the columns of the sample, in the order of the rows' places; of no rows nothing."""
        if not self._parts:
            return ()
        self._shrink()
        _, places, *columns = self._parts[0]
        order = np.argsort(places, kind="stable")
        return tuple(c[order] for c in columns)


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64 bits whose every output bit depends on every input bit (SplitMix64's: Steele et al., 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
