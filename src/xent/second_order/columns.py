"""The columns of X that a working set holds, in float64, kept from one working set to the next."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .._blas import in_pieces
from ..objective import SoftmaxObjective

Array = Any
# Columns that are wanted no longer stay while they are no more than this many beside once those that are.
SPARE = 64
# Rows of a dense X whose columns are copied at once, at least, and numbers: what a line of the cache holds of them is
# used while it is there.
COPIED_ROWS, COPIED = 512, 2**16
# Numbers of dense columns that one task reads for a product, at least, and for all products with each other.
READ, AT_HAND = 2**20, 2**16
# Of partial sums of those, as few parts as hold no more numbers than this, or two.
MOST_SUMMED = 2**18
# Beyond so many products of entries a first estimate comes from one row in so many.
MANY_PRODUCTS, SAMPLED = 2e8, 5
SCATTERED = 10
# A Gram matrix of no more multiplications is cheap, and one of no more than so many times the cube of its size.
CHEAP, PER_MINIMUM = 5e6, 10


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
        self._entries = None  # not both at once
        self._entries = self.backend.take_columns(self.X, features)

    def _copy(self, features: Array, held: int) -> None:
        """Those from the held ones on, beside which there may be room already."""
        N = self.X.shape[0]
        if len(features) > len(self._dense):
            # for those that come next, which would else move all columns into memory that is new
            spare = len(features) // (2 if held else 4)
            room = np.empty((min(len(features) + spare, self.X.shape[1]), N))
            room[:held] = self._dense[:held]
            self._dense = room
        new, room = features[held:], self._dense[held : len(features)]

        def copy(begin: int, end: int) -> None:
            room[:, begin:end] = self.X[begin:end, new].T

        in_pieces(copy, N, max(COPIED_ROWS, COPIED // len(new)))

    @property
    def _held(self) -> Array:
        return self._dense[: len(self.features)]

    def product(self, v: Array) -> Array:
        """What the columns times v (p,) are, (N,)."""
        if self._entries is not None:
            return self.backend.product(self._entries, v)
        moved, held = np.flatnonzero(v), self._held
        if 3 * len(moved) < len(v):
            held, v = held[moved], v[moved]
        z, step = np.empty(held.shape[1]), _even(held)
        in_pieces(lambda a, b: np.matmul(v, held[:, a:b], out=z[a:b]), len(z), step)
        return z

    def pull_back(self, r: Array) -> Array:
        """Each column's product with r (N,), (p,)."""
        if self._entries is not None:
            return self.backend.pull_back(self._entries, r)
        held = self._held
        step = _even(held)
        parts = np.zeros((-(-len(r) // step), len(held)))
        in_pieces(lambda a, b: np.matmul(held[:, a:b], r[a:b], out=parts[a // step]), len(r), step)
        return parts.sum(axis=0)

    def _rows_at_once(self, numbers: int) -> int:
        """Rows of which the columns at hand have so many numbers."""
        return max(256, numbers // max(1, len(self.features)))

    def share(self) -> float:
        """How much of what X has the columns have: of its columns, or of its entries."""
        if self._entries is None:
            return len(self.features) / max(1, self.X.shape[1])
        return float(self._entries.stored) / max(1, self.X.nnz)

    def cost(self) -> float:
        """Multiplications of a Gram matrix; the scattered ones of sparse rows count for `SCATTERED`."""
        N, p = self.X.shape[0], len(self.features)
        if self._entries is None:
            return N * float(p) ** 2
        return SCATTERED * float(self._entries.stored) ** 2 / max(1, N)

    def is_cheap(self) -> bool:
        """Whether a Gram matrix costs less than the minimum of a model made with it."""
        return self.cost() <= max(CHEAP, PER_MINIMUM * float(len(self.features)) ** 3)

    def step(self) -> int:
        """Of how many rows one will do for a first estimate of products: 1 where those of all are cheap."""
        return 1 if self._entries is None or self.cost() <= MANY_PRODUCTS else SAMPLED

    def gram(self, weight: Array, *, step: int = 1, known: Array | None = None) -> Array:
        """Products of the columns with each other, weighted by rows (N,) >= 0: (p, p).

        `known` is that of the first columns for the same weights, `step` what `step` said.
        """
        if self._entries is not None:
            return self.backend.gram(self._entries, weight, step=step, known=known)
        held, p, N = self._held, len(self.features), len(weight)
        new = 0 if known is None else len(known)
        # the last chunk of rows is the shortest; each has a sum of its own
        step = self._rows_at_once(AT_HAND)
        chunk = step * max(1, -(-N // (step * max(2, MOST_SUMMED // max(1, p * (p - new))))))
        parts = np.zeros((-(-N // chunk), p - new, p))

        def add(begin: int, end: int) -> None:
            for a in range(begin, end, step):
                some = held[:, a : min(end, a + step)]
                if new:
                    parts[begin // chunk] += (some[new:] * weight[a : a + some.shape[1]]) @ some.T
                else:
                    scaled = some * np.sqrt(weight[a : a + some.shape[1]])
                    parts[begin // chunk] += scaled @ scaled.T

        in_pieces(add, N, chunk)
        below = parts.sum(axis=0)
        if known is None:
            return below
        out = np.empty((p, p))
        out[new:] = below
        out[:new, new:], out[:new, :new] = below[:, :new].T, known
        return out


def _even(held: Array) -> int:
    """Rows of each piece of columns (p, N), of equal size: a second thread costs as much as reading a small one."""
    N = max(1, held.shape[1])
    return -(-N // max(1, held.size // READ))
