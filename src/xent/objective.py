"""The objective of a linear softmax model: features, labels, weights and penalty in; value and gradient out.

It knows no solver. Its preconditioner starts as the Hessian at zero weights: there every class has probability 1/K, so
the Hessian is one D x D matrix of the features (plus the penalty) shared by all classes. Factored once, it turns badly
scaled and correlated features into round ones, and L-BFGS needs tens of passes where it needed thousands. Where rows
become certain it is made again from the class-averaged curvature there.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from .coordinates import Centred, Coordinates, coordinates
from .kernels import Directions, Need, Slopes, Target, select
from .kernels.contract import Array
from .losses import CrossEntropy

# A factor of D x D costs D^3 / 3 and each pass 4 K D^2: beyond this many features the diagonal is used.
MOST_FACTORED = 3000
# Rows enter the factor up to this many multiplications; of more data a regular sample, a fifth at least.
FACTOR_FLOPS = 1e8
# A sample of the rows speaks for a column that counts in at least so many rows of those looked at.
RARE_ROWS, LOOKED_AT = 16, 10_000
# Of a column's second moment, what may be left of it about its mean: less is rounding.
CONSTANT = 1e-12
# As rows become certain their curvature p (1 - p) falls, and coordinates made before understate every step.
STALE = 0.3
# ... which is looked into earlier where new coordinates cost half a pass.
STALE_CENTRED = 0.6
# Rows converted at once where the features are kept in another dtype than the computation's.
CONVERTED_ROWS = 16384
# Numbers of logits, or of a sample of X, held at once ...
COPIED = 2**22
# ... and of X, for its second moments or to convert it.
COPIED_AT_ONCE = 2**20
# A gradient entry is measured in units of its feature beyond this size: its last digits are rounding there.
LARGE = 100.0


class SoftmaxObjective:
    """Mean cross-entropy plus ``l2 / 2 ||W||^2`` of the logits ``X W' + b``, in nats.

    Parameters
    ----------
    X : float32 or float64 array (N, D), C order, or CSR matrix
        Never copied whole.
    label : integer array (N,), 0 ... K - 1
    classes : int
        K >= 2. Two classes have one weight vector (that of class 1; class 0's is zero).
    weight : float64 array (N,) or None
        Weights of the rows; the mean is over their sum.
    l2 : float or float64 array (D,)
        Strength of the penalty of the weights, or of each feature's.
    fit_intercept : bool
    intercept_l2 : float
        Strength of the penalty of the intercept, by default none.
    dtype : float32 or float64, optional
        What the passes over X compute in, by default its own dtype; X is converted a piece at a time.
    offset : float64 array (N, vectors), optional
        Added to the logits. In the passes it stands beside X as features of fixed weights, copied a piece at a time.
    """

    def __init__(
        self,
        X: Any,
        label: Array,
        classes: int,
        *,
        weight: Array | None = None,
        l2: float | Array = 0.0,
        fit_intercept: bool,
        intercept_l2: float = 0.0,
        dtype: Any = None,
        offset: Array | None = None,
    ) -> None:
        self.X, self.classes, self.fit_intercept, self.offset = X, classes, fit_intercept, offset
        self.dtype = np.dtype(dtype or X.dtype)
        N = X.shape[0]
        self.weight = np.full(N, 1 / N) if weight is None else weight / float(weight.sum())
        self.label = np.ascontiguousarray(label, np.int64)
        self.vectors = 1 if classes == 2 else classes
        self.shape = (self.vectors, X.shape[1] + fit_intercept)
        self.penalty = np.full(self.shape[1], float(intercept_l2))  # of each coordinate of a class
        self.penalty[: X.shape[1]] = l2
        self.backend = select(dtype=self.dtype).backend
        affine = CrossEntropy(classes).affine
        assert affine is not None
        self._slopes = Slopes(*affine)

    def split(self, theta: Array) -> tuple[Array, Array | None]:
        """Parameters (vectors, D [+ 1]) or flat, as weights and intercept."""
        theta = theta.reshape(self.shape)
        return (theta[:, :-1], theta[:, -1]) if self.fit_intercept else (theta, None)

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at flat float64 parameters; the gradient is flat float64."""
        W, b = self.split(theta)
        value, dW, db = self._data_term(*self._both_classes(W, b))
        if self.vectors == 1:
            dW, db = dW[1:], None if db is None else db[1:]
        l2 = self.penalty[: W.shape[1]]
        if l2.any():  # the squares of weights of tiny features may be infinite
            value += 0.5 * float(np.vdot(W, l2 * W))
        gradient = np.empty(self.shape)
        gradient[:, : W.shape[1]] = dW + l2 * W
        if db is not None:
            gradient[:, -1] = db
        if b is not None and self.penalty[-1]:
            value += 0.5 * float(self.penalty[-1]) * float(b @ b)
            gradient[:, -1] += self.penalty[-1] * b
        return value, gradient.ravel()

    def _data_term(self, W: Array, b: Array | None) -> tuple[float, Array, Array | None]:
        W = self._beside(W, 1.0)
        value, dW, db = 0.0, np.zeros(W.shape), None if b is None else np.zeros(len(b))
        for rows in self._pieces_of_rows():
            X, target = self._rows_of(rows), Target(self.label[rows])
            loss, grads = self.backend.linear_fused(
                X,
                W,
                b,
                target,
                self._slopes,
                weight=self.weight[rows],
                need=Need(False, True, b is not None),
                total=True,
            )
            assert grads.w is not None
            value += loss
            dW += grads.w
            if db is not None and grads.bias is not None:
                db += grads.bias
        return value, dW[:, : self.X.shape[1]], db

    def hessian_vector_product(self, theta: Array, v: Array) -> Array:
        """The Hessian of the objective at flat parameters `theta` times the flat float64 `v`; flat float64.

        X is read once, and no logits are stored.
        """
        W, b = self._both_classes(*self.split(theta))
        W_step, b_step = self._both_classes(*self.split(v))
        W, direction = self._beside(W, 1.0), Directions(None, self._beside(W_step, 0.0), b_step)
        dW, db = np.zeros(W.shape), np.zeros(self.classes)
        for rows in self._pieces_of_rows():
            w_part, b_part = self._rows_product(rows, W, b, direction)
            dW += w_part
            if b_part is not None:
                db += b_part
        if self.vectors == 1:
            dW, db = dW[1:], db[1:]
        product, D = np.empty(self.shape), self.X.shape[1]
        product[:, :D] = dW[:, :D] + self.penalty[:D] * self.split(v)[0]
        if self.fit_intercept:
            product[:, -1] = db + self.penalty[-1] * v.reshape(self.shape)[:, -1]
        return product.ravel()

    def _both_classes(self, W: Array, b: Array | None) -> tuple[Array, Array | None]:
        """Weights and intercept of every class, in the dtype of the passes over X: of two, the first has zeros."""
        if self.vectors == 1:
            W, b = np.vstack([np.zeros_like(W), W]), None if b is None else np.array([0.0, b[0]])
        return np.ascontiguousarray(W, self.dtype), None if b is None else np.ascontiguousarray(b, self.dtype)

    def _pieces_of_rows(self) -> list[slice]:
        """All rows at once, or the pieces in which X is converted."""
        N = self.X.shape[0]
        step = max(1, N) if self.X.dtype == self.dtype and self.offset is None else CONVERTED_ROWS
        return [slice(start, start + step) for start in range(0, N, step)]

    def _rows_of(self, rows: slice) -> Any:
        X = self.X if rows.stop - rows.start >= self.X.shape[0] else self.X[rows]  # a slice of a sparse X is a copy
        X = X if X.dtype == self.dtype else X.astype(self.dtype)
        if self.offset is None:
            return X
        more = self.offset[rows].astype(self.dtype)
        return sparse.hstack([X, sparse.csr_array(more)]).tocsr() if sparse.issparse(X) else np.hstack([X, more])

    def _beside(self, W: Array, fixed: float) -> Array:
        """Weights of every class with those of the offset's columns."""
        if self.offset is None:
            return W
        return np.ascontiguousarray(np.hstack([W, fixed * np.eye(self.classes)[:, -self.vectors :]]), W.dtype)

    def _rows_product(self, rows: slice, W: Array, b: Array | None, v: Directions) -> tuple[Array, Array | None]:
        need, target = Need(False, True, b is not None), Target(self.label[rows])
        grads = self.backend.linear_hvp(
            self._rows_of(rows), W, b, target, self._slopes, v, weight=self.weight[rows], need=need
        )
        assert grads.w is not None
        return grads.w, grads.bias

    def thinned(self, step: int) -> SoftmaxObjective:
        """The objective of every `step`-th row, which are copied, with the same penalty of the mean."""
        X, offset = self.X[::step], self.offset
        X = X if sparse.issparse(X) else np.ascontiguousarray(X)
        few = SoftmaxObjective(
            X,
            self.label[::step],
            self.classes,
            weight=self.weight[::step],
            fit_intercept=self.fit_intercept,
            dtype=self.dtype,
            offset=None if offset is None else offset[::step],
        )
        few.penalty = self.penalty
        return few

    @property
    def stride(self: Any) -> int:
        """Every how many rows one enters the factor."""
        N, D = self.X.shape
        most = max(5 * D, int(FACTOR_FLOPS // max(1, D * D)))
        return 1 if self.shape[1] > MOST_FACTORED else max(1, min(5, N // max(1, most)))

    @cached_property
    def rare(self) -> Array:
        """Which columns count in so few rows that a sample does not tell their size, (D,) bool.

        Rows count as ``(sum d^2)^2 / sum d^4`` of the distances d from the mean: 0/1 columns have about as many as the
        rarer of their values. A column that is constant in the rows looked at is rare.
        """
        X = self.X[:: max(1, self.X.shape[0] // LOOKED_AT)]
        if sparse.issparse(X):
            return np.asarray(np.diff(X.tocsc().indptr) < RARE_ROWS)
        # 0 / 0 where it is constant, as where numbers are too large or small for their fourth powers: NaN is rare too
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            d = np.ascontiguousarray(X)
            d = d - d.mean(axis=0)
            d *= d
            return np.asarray(~(d.sum(axis=0) ** 2 / np.einsum("ij,ij->j", d, d) >= RARE_ROWS))

    def curvature(self, theta: Array | None = None, stride: int = 1) -> Array:
        """Each row's share ``w_i mean_k p_k (1 - p_k)`` in the Hessian averaged over classes, (N,); at zero if None.

        With a `stride`, of every so many rows, their weights with the sum of all. With two classes there is one vector,
        and the share is exact.
        """
        weight = self.weight
        if stride > 1:
            weight = weight[::stride] * (1 / float(weight[::stride].sum()))
        if theta is None:
            return weight * (0.25 if self.vectors == 1 else (1 - 1 / self.classes) / self.classes)
        W, b = self.split(theta)
        X, W = self.X if stride == 1 else self.X[::stride], W.astype(self.X.dtype)
        offset = None if self.offset is None else self.offset[::stride]
        out = np.empty(len(weight))
        step = max(64, COPIED // self.vectors)  # logits of some rows at a time
        for start in range(0, len(out), step):
            rows = slice(start, start + step)
            z = np.asarray((X if step >= len(out) else X[rows]) @ W.T, np.float64)
            z += 0 if b is None else b
            z += 0 if offset is None else offset[rows]
            if self.vectors == 1:
                far = np.exp(-np.abs(z[:, 0]))
                out[rows] = far / (1 + far) ** 2
            else:
                z -= z.max(axis=1, keepdims=True)
                p = np.exp(z, out=z)  # in place: pieces are large
                p /= p.sum(axis=1, keepdims=True)
                out[rows] = (p * (1 - p)).mean(axis=1)
        return weight * out

    def preconditioned(self, theta: Array | None = None) -> Preconditioned:
        """The same problem in coordinates where the class-averaged Hessian at `theta` (zero if None) is the identity.

        Beyond `MOST_FACTORED` features, where its diagonal about the means of the columns, and these, are.
        """
        curvature = self.curvature(theta, self.stride)
        space: Coordinates | None = self._centred(curvature) if self.shape[1] > MOST_FACTORED else None
        if space is None:
            space = coordinates(*self.averaged_hessian(curvature))
        return Preconditioned(self, space, curvature, self.stride)

    def _centred(self, curvature: Array) -> Centred | None:
        """Coordinates from the columns' first and second moments; None where these leave the range of numbers."""
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
            spread = np.maximum(second - first * mean, CONSTANT * second) + self.penalty[:D]
        return Centred(spread, mean, total, float(self.penalty[-1]) if self.fit_intercept else None)

    def averaged_hessian(self, curvature: Array) -> tuple[Array, Array]:
        """The class-averaged Hessian, (D, D) or its diagonal (D,), of the features over units; and the units (D,).

        `curvature` is of all rows, or of those that `stride` leaves: the diagonal of columns too `rare` for them is
        then what all rows tell at least.
        The units are ones unless the squares of the features leave the range of numbers.
        """
        H, units = self._hessian(curvature), np.ones(self.shape[1])
        if _in_range(H, self.X.dtype):
            return H, units
        units = self._units()
        return self._hessian(curvature, units), units

    def _hessian(self, curvature: Array, units: Array | None = None) -> Array:
        """Class-averaged Hessian (D, D) of the features over their units, or its diagonal (D,) where D is large."""
        D = self.shape[1]
        with np.errstate(over="ignore", invalid="ignore"):
            H = (self._second_moments if D > MOST_FACTORED else self._gram)(curvature, units)
            if len(curvature) < self.X.shape[0] and self.rare.any():
                all_rows = self._second_moments(self.weight * float(curvature.sum()), units)[: len(self.rare)]
                at = np.flatnonzero(self.rare & (all_rows > np.diag(H)[: len(self.rare)]))
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
        for X, _ in self.weighted_pieces(np.sqrt(weight), units):
            moments += np.asarray(X.multiply(X).sum(axis=0)).ravel() if sparse.issparse(X) else (X * X).sum(axis=0)
        return np.append(moments, weight.sum()) if self.fit_intercept else moments

    def _gram(self, weight: Array, units: Array | None) -> Array:
        """Weighted second moments of the features, (D, D), the intercept as a column of ones."""
        D = self.X.shape[1]
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

    def weighted_pieces(self, root: Array, units: Array | None = None) -> Iterator[tuple[Any, Array]]:
        """Rows of X over the units of its columns, times their root, in pieces of bounded memory; and the roots.

        Of all rows, or of those that `stride` leaves, as there are roots.
        """
        N, D = self.X.shape
        stride = 1 if len(root) == N else self.stride
        if sparse.issparse(self.X):
            for at in sparse_pieces(self.X):
                first = at.start + -at.start % stride
                piece = self.X[first : at.stop : stride].astype(np.float64)  # a copy, changed in place
                part = root[first // stride :][: piece.shape[0]]
                if units is not None:
                    piece.data /= units[piece.indices]
                piece.data *= np.repeat(part, np.diff(piece.indptr))
                yield piece, part
            return
        X, N = self.X[::stride], len(root)
        step = max(1024, COPIED_AT_ONCE // max(1, D))
        for start in range(0, N, step):
            rows = slice(start, start + step)
            piece = root[rows].astype(X.dtype) if units is None else root[rows]
            yield (X[rows] if units is None else X[rows] / units[:D]) * piece[:, None], piece


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


def _in_range(H: Array, dtype: np.dtype) -> bool:
    """Whether no square in H went over the largest number, or near the smallest."""
    diagonal = H if H.ndim == 1 else np.diag(H)
    limits = np.finfo(dtype)
    return bool(np.isfinite(H).all() and (diagonal > limits.tiny / limits.eps).all())


class Preconditioned:
    """An objective in new coordinates: a problem as `xent.solvers` takes it.

    Parameters
    ----------
    objective : SoftmaxObjective
    coordinates : Coordinates
    curvature : array
        What the coordinates were made from: `SoftmaxObjective.curvature` of all rows or, with a stride, of some.
    stride : int
    """

    def __init__(
        self, objective: SoftmaxObjective, coordinates: Coordinates, curvature: Array, stride: int = 1
    ) -> None:
        self.objective, self.coordinates, self.stride = objective, coordinates, stride
        self._curvature, self._rows = float(curvature.sum()), len(curvature)
        self._largest = np.inf
        self._last: tuple[Array, Array] | None = None

    def to_parameters(self, v: Array) -> Array:
        """Coordinates, flat, to parameters (vectors, D [+ 1])."""
        # asked for after each iteration: a product of D x D, which the last value has made already
        if self._last is not None and np.array_equal(v, self._last[0]):
            return self._last[1].copy()
        return self.coordinates.to_parameters(v.reshape(self.objective.shape))

    def to_coordinates(self, theta: Array) -> Array:
        """Parameters to flat coordinates."""
        return np.ascontiguousarray(self.coordinates.to_coordinates(theta.reshape(self.objective.shape))).ravel()

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in the coordinates."""
        theta = np.ascontiguousarray(self.to_parameters(v))
        self._last = (v.copy(), theta)
        value, gradient = self.objective.value_and_grad(theta.ravel())
        entries = np.abs(gradient.reshape(self.objective.shape)) / np.maximum(1, self.coordinates.sizes / LARGE)
        self._largest = float(entries.max(initial=0))
        return value, np.ascontiguousarray(self.coordinates.pull_back(gradient.reshape(self.objective.shape))).ravel()

    def convergence(self, gradient: Array) -> float:
        """The larger of two gradient norms at the last point: the largest entry, and the length in the coordinates.

        The first is in the units of the features, as scikit-learn measures it (but for features so large that rounding
        alone is above any tolerance: those count as of size `LARGE`). The second is free of units, so that a
        fit of badly scaled features does not stop early: where the coordinates fit the place, half its square is the
        distance to the minimum, in nats, that a Newton step would gain.
        """
        return max(self._largest, float(np.linalg.norm(gradient)))

    def is_stale(self, theta: Array) -> bool:
        """Whether rows at `theta` curve so much less than where the coordinates were made that these mislead."""
        some = self.stride * max(1, self._rows // LOOKED_AT)
        share = STALE_CENTRED if isinstance(self.coordinates, Centred) else STALE
        return float(self.objective.curvature(theta, some).sum()) < share * self._curvature

    def renewed(self, theta: Array) -> Preconditioned:
        """The same objective in coordinates made at `theta`."""
        return self.objective.preconditioned(theta)
