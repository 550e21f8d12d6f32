"""What the Hessian of a linear softmax model is like: curvature of the rows, moments of the features, coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from ._blas import AT_HAND, in_pieces
from .class_factors import draw, softmax_in_place
from .coordinates import COPIED_AT_ONCE, MOST_FACTORED, Centred, Coordinates, coordinates
from .kernels.contract import Array
from .preconditioned import Preconditioned

# All rows enter the factor up to this many multiplications; of more data a regular sample (`Curvature.stride`).
FACTOR_FLOPS = 1e8
# A sample of the rows speaks for a column that counts in at least so many rows of those looked at.
RARE_ROWS, LOOKED_AT = 16, 10_000
# Every so many rows speak for all if they hold this share of the weight that is theirs by number, and if of them no
# fewer than such a share count, as (sum w)^2 / sum w^2.
FAIR, COUNTING = 0.5, 0.1
# Of a column's second moment, what may be left of it about its mean: less is rounding.
CONSTANT = 1e-12


class Curvature:
    """The Hessian's approximations, for `SoftmaxObjective`, whose attributes these are."""

    X: Any
    classes: int
    vectors: int
    shape: tuple[int, int]
    weight: Array
    penalty: Array
    offset: Array | None
    fit_intercept: bool
    backend: Any
    split: Callable[[Array], tuple[Array, Array | None]]
    by_class = True  # whether each class can have a factor of its own
    in_units = False  # whether squares of features were seen to leave the range of numbers
    rounded_moments = True  # whether those of drawn rows may be in float32, until that is seen to be too little

    @property
    def stride(self: Any) -> int:
        """Every how many rows one enters the factor: what costs about a pass, or as few as tell it."""
        N, D = self.X.shape
        most = max(5 * D, FACTOR_FLOPS / max(1, D * D), min(N / 5, 4 * N * self.shape[0] / max(1, D)))
        return 1 if self.shape[1] > MOST_FACTORED else max(1, int(N / max(1, most)))

    @cached_property
    def rare(self) -> Array:
        """Which columns count in so few rows that a sample does not tell their size, (D,) bool.

        Rows count as ``(sum d^2)^2 / sum d^4`` of the distances d from the mean: 0/1 columns have about as many as the
        rarer of their values. A column that is constant in the rows looked at is rare.
        """
        X = self.X[:: max(1, self.X.shape[0] // LOOKED_AT)]
        if sparse.issparse(X):
            return np.asarray(np.diff(X.tocsc().indptr) < RARE_ROWS)
        (N, D), step = X.shape, max(1, AT_HAND // X.shape[1])
        sums = np.zeros((3, -(-N // step), D))

        def add_up(begin: int, end: int) -> None:
            sums[0, begin // step] = X[begin:end].sum(axis=0, dtype=np.float64)

        def look(begin: int, end: int) -> None:
            # numbers too large or small for their fourth powers
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                squares = X[begin:end] - mean
                squares *= squares
                sums[1, begin // step] = squares.sum(axis=0)
                squares *= squares
                sums[2, begin // step] = squares.sum(axis=0)

        in_pieces(add_up, N, step)
        mean = sums[0].sum(axis=0) / N
        in_pieces(look, N, step)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            # 0 / 0 where it is constant: NaN is rare too
            return np.asarray(~(sums[1].sum(axis=0) ** 2 / sums[2].sum(axis=0) >= RARE_ROWS))

    @cached_property
    def rare_moments(self) -> Array:
        """The weighted second moments of `rare` columns over all rows, (D [+ 1],), zero for the others."""
        return self._rare_moments(None)

    def _rare_moments(self, units: Array | None) -> Array:
        out, at = np.zeros(self.shape[1]), np.flatnonzero(self.rare)
        if sparse.issparse(self.X):
            out[at] = self._second_moments(self.weight, units)[at]
        else:
            scale = 1.0 if units is None else 1 / units[at]
            for rows in self._copied_rows(len(at)):
                part = self.X[rows, at] * scale
                with np.errstate(over="ignore"):  # for the caller to see
                    out[at] += self.weight[rows] @ (part * part)
        return out

    def curvature(self, theta: Array | None = None, stride: int = 1) -> Array:
        """Each row's share ``w_i mean_k p_k (1 - p_k)`` in the Hessian averaged over classes, (N,); at zero if None.

        With a `stride`, of one row in so many (`sampled`), their weights with the sum of all. With two classes there is
        one vector, and the share is exact.
        """
        rows, weight = self.sampled(stride)
        if theta is None:
            return weight * (0.25 if self.vectors == 1 else (1 - 1 / self.classes) / self.classes)
        out = np.empty(len(weight))

        def look(rows: slice, z: Array) -> None:
            if self.vectors == 1:
                far = np.exp(-np.abs(z[:, 0]))
                out[rows] = far / (1 + far) ** 2
            else:
                p = softmax_in_place(z)
                out[rows] = (p * (1 - p)).mean(axis=1)

        self.use_logits(theta, rows, look)
        return weight * out

    def is_fair(self, step: int) -> bool:
        """Whether every `step`-th row together hold about their share of the weight, and none of them most of it."""
        weight = self.weight[::step]
        total = float(weight.sum())
        return step <= 1 or (total * step >= FAIR and total**2 >= COUNTING * len(weight) * float(weight @ weight))

    def sampled(self, step: int) -> tuple[slice | Array, Array]:
        """Every `step`-th row, or the places of as many drawn by their weights where those are `is_fair` no more; and
        the weights that they stand for, with the sum 1.
        """
        if step <= 1:
            return slice(None), self.weight
        if self.is_fair(step):
            weight = self.weight[::step]
            return slice(None, None, step), weight * (1 / float(weight.sum()))
        at, weight = draw(self.weight, -(-len(self.weight) // step))
        order = np.argsort(at)
        return at[order], weight[order] * (1 / float(weight.sum()))

    def use_logits(self, theta: Array, rows: Any, use: Callable[[slice, Array], None]) -> None:
        """Call `use` with pieces of the rows, slices of these, and their float64 logits (n, vectors)."""
        W, b = self.split(theta)
        W, every = W.astype(self.X.dtype), isinstance(rows, slice)
        X = self.X[rows] if every and rows != slice(None) else self.X
        offset = None if self.offset is None else self.offset[rows]
        N = X.shape[0] if every else len(rows)

        def piece(begin: int, end: int) -> None:
            at = slice(begin, end)
            z = np.asarray((X[rows[at]] if not every else X if end - begin == N else X[at]) @ W.T, np.float64)
            z += 0 if b is None else b
            z += 0 if offset is None else offset[at]
            use(at, z)

        wide = self.vectors if sparse.issparse(X) else max(self.vectors, X.shape[1])
        in_pieces(piece, N, max(64, 4 * AT_HAND // wide))

    def preconditioned(
        self, theta: Array | None = None, kind: Callable[..., Preconditioned] = Preconditioned, **options: Any
    ) -> Preconditioned:
        """The same problem in coordinates where the class-averaged Hessian at `theta` (zero if None) is the identity.

        Beyond `MOST_FACTORED` features, where its diagonal about the means of the columns, and these, are. The problem
        is of this kind, with its options.
        """
        curvature = self.curvature(theta, self.stride)
        space: Coordinates | None = self._centred(curvature) if self.shape[1] > MOST_FACTORED else None
        if space is None:
            space = coordinates(*self.averaged_hessian(curvature))
        return kind(self, space, curvature, self.stride, **options)

    def _centred(self, curvature: Array) -> Centred | None:
        """Coordinates about the means of the columns; None where no number holds their squares."""
        about = self.about_means(curvature)
        if about is None:
            return None
        spread, mean, total = about
        l2 = self.penalty
        return Centred(spread + l2[: len(mean)], mean, total, float(l2[-1]) if self.fit_intercept else None)

    def about_means(self, curvature: Array) -> tuple[Array, Array, float] | None:
        """The curvature of each column about its mean (D,), without the penalty, these means, and that of the rows.

        None where squares leave the range of numbers.
        """
        D, total = self.X.shape[1], float(curvature.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            if sparse.issparse(self.X):
                first, second = self.backend.column_moments(self.X, curvature).T
            else:
                first, second = np.zeros(D), np.zeros(D)
                for X, root in self.weighted_pieces(np.sqrt(curvature)):
                    first, second = first + root @ X, second + (X * X).sum(axis=0)
            diagonal = second + self.penalty[:D]
            if total <= 0 or not _in_range(diagonal[(diagonal > 0) | (first != 0)], self.X.dtype):
                return None
            mean = first / total
            return np.maximum(second - first * mean, CONSTANT * second), mean, total

    def averaged_hessian(self, curvature: Array) -> tuple[Array, Array]:
        """The class-averaged Hessian, (D, D) or its diagonal (D,), of the features over units; and the units (D,).

        `curvature` is of all rows, or of those that `stride` leaves: the diagonal of columns too `rare` for them is
        then what all rows tell at least.
        The units are ones unless the squares of the features leave the range of numbers.
        """
        H, units = self._hessian(curvature), np.ones(self.shape[1])
        if _in_range(H, self.X.dtype, self._empty(H)):
            return H, units
        units, self.in_units = self._units(), True
        return self._hessian(curvature, units), units

    def _empty(self, H: Array) -> Array:
        """Which columns of a Hessian without a penalty for them are of nothing but zeros, (P,) bool."""
        empty = (H if H.ndim == 1 else np.diag(H)) == 0
        at = np.flatnonzero(empty[: self.X.shape[1]])
        if len(at):  # or of numbers so small that their squares are zero
            empty[at] = largest_entries(self.X[:, at]) == 0
        return empty

    def _hessian(self, curvature: Array, units: Array | None = None) -> Array:
        """Class-averaged Hessian (D, D) of the features over their units, or its diagonal (D,) where D is large."""
        D = self.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            H = (self._second_moments if D > MOST_FACTORED else self._gram)(curvature, units)
            if len(curvature) < self.X.shape[0] and self.rare.any():
                moments = self.rare_moments if units is None else self._rare_moments(units)
                all_rows = moments * float(curvature.sum())
                at = np.flatnonzero(all_rows > np.diag(H))
                H[at, at] = all_rows[at]
        penalty = np.sqrt(self.penalty) / (1 if units is None else units)
        np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += penalty**2
        return H

    def _units(self) -> Array:
        """Sizes of the features, for data whose squares no number holds."""
        X = self.X
        units = np.maximum(largest_entries(X), np.sqrt(self.penalty[: X.shape[1]]))
        units = np.where(units > 0, np.maximum(units, 1e-300), 1.0)
        return np.append(units, 1.0) if self.fit_intercept else units

    def _second_moments(self, weight: Array, units: Array | None) -> Array:
        moments = np.zeros(self.X.shape[1])
        if sparse.issparse(self.X) and units is None:
            for at in sparse_pieces(self.X):
                moments += self.backend.pull_back(_squares(self.X, at), weight[at])
        else:
            for X, _ in self.weighted_pieces(np.sqrt(weight), units):
                moments += np.asarray(X.multiply(X).sum(axis=0)).ravel() if sparse.issparse(X) else (X * X).sum(axis=0)
        return np.append(moments, weight.sum()) if self.fit_intercept else moments

    def _gram(self, weight: Array, units: Array | None) -> Array:
        """Weighted second moments of the features, (D, D), the intercept as a column of ones."""
        N, D = self.X.shape
        if units is None and not sparse.issparse(self.X):
            rows = None if len(weight) == N else self._places()
            return self.backend.second_moments(self.X, weight, rows=rows, ones=self.fit_intercept)
        gram, mean = np.zeros((D, D)), np.zeros(D)
        for rows, root in self.weighted_pieces(np.sqrt(weight), units):
            product = rows.T @ rows
            gram += product.toarray() if sparse.issparse(rows) else product
            mean += np.asarray(rows.T @ root).ravel()
        if not self.fit_intercept:
            return gram
        full = np.empty((D + 1, D + 1))
        full[:D, :D], full[:D, D], full[D, :D], full[D, D] = gram, mean, mean, weight.sum()
        return full

    def _places(self) -> Array:
        """The rows that `stride` leaves, rising."""
        rows, _ = self.sampled(self.stride)
        return np.arange(self.X.shape[0])[rows] if isinstance(rows, slice) else rows

    def _copied_rows(self, width: int, N: int | None = None) -> Iterator[slice]:
        """Rows in slices of `COPIED_AT_ONCE` numbers, where each has `width`."""
        N, step = self.X.shape[0] if N is None else N, max(1024, COPIED_AT_ONCE // max(1, width))
        for start in range(0, N, step):
            yield slice(start, min(N, start + step))

    def weighted_pieces(self, root: Array, units: Array | None = None) -> Iterator[tuple[Any, Array]]:
        """Rows of X over the units of its columns, times their root, in pieces of bounded memory; and the roots.

        Of all rows, or of those that `stride` leaves, as there are roots.
        """
        N, D = self.X.shape
        places = None if len(root) == N else self._places()
        if sparse.issparse(self.X):
            for at in sparse_pieces(self.X):
                here = at if places is None else slice(*np.searchsorted(places, [at.start, at.stop]))
                # a copy, changed in place
                piece, part = self.X[here if places is None else places[here]].astype(np.float64), root[here]
                if units is not None:
                    piece.data /= units[piece.indices]
                piece.data *= np.repeat(part, np.diff(piece.indptr))
                yield piece, part
            return
        for rows in self._copied_rows(D, len(root)):
            X, piece = self.X[rows if places is None else places[rows]], root[rows]
            piece = piece.astype(X.dtype) if units is None else piece
            yield (X if units is None else X / units[:D]) * piece[:, None], piece


def _squares(X: Any, at: slice) -> Any:
    """Rows of a CSR matrix with their numbers squared, in float64; a column that a row names twice counts as two."""
    first, last = int(X.indptr[at.start]), int(X.indptr[at.stop])
    numbers = np.square(X.data[first:last], dtype=np.float64)
    shape = (at.stop - at.start, X.shape[1])
    return sparse.csr_array((numbers, X.indices[first:last], X.indptr[at.start : at.stop + 1] - first), shape=shape)


def sparse_pieces(X: Any) -> Iterator[slice]:
    """Rows of a CSR matrix in slices of `COPIED_AT_ONCE` numbers, or of one row where that has more."""
    N, start = X.shape[0], 0
    while start < N:
        stop = int(np.searchsorted(X.indptr, X.indptr[start] + COPIED_AT_ONCE, side="right")) - 1
        yield slice(start, max(start + 1, min(N, stop)))
        start = max(start + 1, min(N, stop))


def largest_entries(X: Any) -> Array:
    """The largest size of each column, float64 (D,), of an array or a CSR matrix; X is not copied."""
    if not sparse.issparse(X):
        return np.maximum(X.max(axis=0), -X.min(axis=0)).astype(np.float64)
    largest = np.zeros(X.shape[1])
    for at in sparse_pieces(X):
        piece = slice(int(X.indptr[at.start]), int(X.indptr[at.stop]))
        np.maximum.at(largest, X.indices[piece], np.abs(X.data[piece]))
    return largest


def _in_range(H: Array, dtype: np.dtype, empty: Array | bool = False) -> bool:
    """Whether no square in H went over the largest number, or near the smallest but for those of `empty` columns."""
    diagonal = H if H.ndim == 1 else np.diag(H)
    limits = np.finfo(dtype)
    return bool(np.isfinite(H).all() and ((diagonal > limits.tiny / limits.eps) | empty).all())


def copied(X: Array) -> Array:
    """Rows of an array, side by side."""
    out = np.empty(X.shape, X.dtype)
    in_pieces(lambda a, b: np.copyto(out[a:b], X[a:b]), len(X), max(1, AT_HAND // max(1, X.shape[1])))
    return out
