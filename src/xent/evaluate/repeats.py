"""Rows that repeat an earlier one in label and every prediction: copies in the data, or predictions with few values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 1 << 22
"""Rows up to which repeats are counted."""


class Repeats:
    """Counts repeated rows by 64-bit hashes of all their numbers, eight bytes a row; of many millions not at all.

    Two unlike rows share a hash once in 1.8e19 pairs: among four million rows of which none repeats, one is found
    with a chance of 5e-7.

    Examples
    --------
    >>> repeats = Repeats(2)
    >>> repeats.add(np.array([0, 1, 0]), np.array([[0.2, 0.8], [0.2, 0.8], [0.2, 0.8]]))
    >>> repeats.count()
    1
    """

    def __init__(self, width: int, most: int = MOST) -> None:
        self._most, self._rows = most, 0
        self._hashes: list[NDArray[np.uint64]] = []
        rng = np.random.default_rng(0x7265706561)
        self._factors = rng.integers(0, 1 << 64, width + 1, dtype=np.uint64) | np.uint64(1)

    def add(self, labels: NDArray[Any], values: NDArray[Any]) -> None:
        """Add rows: labels of shape (n,), values of shape (n,) or (n, width), always of one dtype."""
        self._rows += len(labels)
        if self._rows > self._most:
            self._hashes = []
            return
        rows = values.reshape(len(labels), -1)
        if rows.dtype not in (np.float32, np.float64):
            rows = rows.astype(np.float64)
        word = np.uint32 if rows.dtype == np.float32 and rows.shape[1] % 2 else np.uint64
        bits = np.ascontiguousarray(rows).view(word)
        # round numbers have their digits at the top, where a product would leave them
        bits = np.bitwise_xor(bits, np.right_shift(bits, 4 * bits.itemsize - 1)).astype(np.uint64, copy=False)
        mixed = np.einsum("ij,j->i", bits, self._factors[1 : 1 + bits.shape[1]])
        mixed += (labels.astype(np.uint64) + np.uint64(1)) * self._factors[0]
        self._hashes.append(mixed)

    def count(self) -> int | None:
        """Return how many rows repeat an earlier one; None where there are too many rows to count."""
        if self._rows > self._most:
            return None
        if not self._hashes:
            return 0
        ordered = np.sort(np.concatenate(self._hashes))  # np.unique takes a hundred times as long
        return int(np.count_nonzero(ordered[1:] == ordered[:-1]))
