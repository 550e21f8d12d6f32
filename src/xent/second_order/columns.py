"""The columns of X that a working set holds, in float64, kept from one working set to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..objective import SoftmaxObjective

Array = Any
# Columns that are wanted no longer stay while they are no more than this many beside once those that are.
SPARE = 64
# Rows of a dense X whose columns are copied at once: what a line of the cache holds of them is used while it is there.
COPIED_ROWS = 512


class Columns:
    """Some columns of an objective's X: dense ones side by side, of a CSR matrix their entries, with products.

    Parameters
    ----------
    objective : SoftmaxObjective
        Its X (N, D) is not copied but for these columns.
    """

    def __init__(self, objective: SoftmaxObjective) -> None:
        self.X, self.backend = objective.X, objective.backend
        self.features = np.empty(0, np.int64)
        self.place = np.full(self.X.shape[1], -1, np.int64)  # of each feature
        self._dense = np.empty((0, self.X.shape[0]))
        self._entries: Any = None
        self._rows: Any = None

    def cover(self, wanted: Array, *, all_others: bool = False) -> None:
        """Hold at least the features `wanted` (n,), each once, and with `all_others` those that are held now."""
        new = wanted[self.place[wanted] < 0]
        if not len(new):
            return
        crowded = not all_others and len(self.features) + len(new) > 2 * len(wanted) + SPARE
        features = wanted if crowded else np.concatenate([self.features, new])
        if sparse.issparse(self.X):
            self._take(features)
        else:
            self._copy(features, 0 if crowded else len(self.features))
        self.features = features
        self.place[:] = -1
        self.place[features] = np.arange(len(features))

    def _take(self, features: Array) -> None:
        entries = self.backend.take_columns(self.X, features)
        parts = (entries.value, entries.column, entries.start)
        self._entries = entries
        self._rows = sparse.csr_array(parts, shape=(self.X.shape[0], len(features)))

    def _copy(self, features: Array, held: int) -> None:
        """Those from the held ones on, beside which there may be room already."""
        N = self.X.shape[0]
        if len(features) > len(self._dense):
            room = np.empty((2 * len(features) if held else len(features), N))
            room[:held] = self._dense[:held]
            self._dense = room
        new = features[held:]
        for start in range(0, N, COPIED_ROWS):
            rows = slice(start, start + COPIED_ROWS)
            self._dense[held : len(features), rows] = self.X[rows, new].T

    @property
    def _held(self) -> Array:
        return self._dense[: len(self.features)]

    def product(self, v: Array) -> Array:
        """What the columns times v (p,) are, (N,)."""
        if self._rows is not None:
            return self._rows @ v
        moved = np.flatnonzero(v)
        return v[moved] @ self._held[moved] if 3 * len(moved) < len(v) else v @ self._held

    def pull_back(self, r: Array) -> Array:
        """Each column's product with r (N,), (p,)."""
        return self._rows.T @ r if self._rows is not None else self._held @ r

    def gram(self, weight: Array) -> Array:
        """Products of the columns with each other, weighted by rows (N,) >= 0: (p, p)."""
        if self._rows is not None:
            return self.backend.gram(self._entries, weight)
        scaled = self._held * np.sqrt(weight)
        return scaled @ scaled.T
