"""The objective of a linear softmax model: features, labels, weights and penalty in; value and gradient out.

It knows no solver. Its preconditioner starts as the Hessian at zero weights: there every class has probability 1/K, so
the Hessian is one D x D matrix of the features (plus the penalty) shared by all classes. Factored once, it turns badly
scaled and correlated features into round ones, and L-BFGS needs tens of passes where it needed thousands. Where rows
become certain it is made again from the class-averaged curvature there.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from scipy import sparse

from .curvature import Curvature, copied
from .kernels import Directions, Need, Slopes, Target, select
from .kernels.contract import Array
from .losses import CrossEntropy

# Rows converted at once where sparse features are kept in another dtype than the computation's, or an offset is added.
CONVERTED_ROWS = 16384


class SoftmaxObjective(Curvature):
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
        What the passes over X compute in, by default its own dtype; X is converted as it is read, a piece at a time.
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
        l2, gradient = self.penalty[: W.shape[1]], np.empty(self.shape)
        pull = gradient[:, : W.shape[1]]
        np.multiply(l2, W, out=pull)
        if l2.any():  # the squares of weights of tiny features may be infinite
            value += 0.5 * float(np.vdot(W, pull))
        pull += dW
        if db is not None:
            gradient[:, -1] = db
        if b is not None and self.penalty[-1]:
            value += 0.5 * float(self.penalty[-1]) * float(b @ b)
            gradient[:, -1] += self.penalty[-1] * b
        return value, gradient.ravel()

    def _data_term(self, W: Array, b: Array | None) -> tuple[float, Array, Array | None]:
        W = self._beside(W, 1.0)
        value, dW, db = 0.0, np.empty(0), None
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
            if rows.start == 0:  # of one piece there is nothing to add up
                dW, db = grads.w.astype(np.float64, copy=False), grads.bias
                continue
            dW += grads.w
            db = None if db is None else db + grads.bias
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
            both = np.zeros((2, W.shape[1]), self.dtype)
            both[1] = W[0]
            W, b = both, None if b is None else np.array([0.0, b[0]])
        return np.ascontiguousarray(W, self.dtype), None if b is None else np.ascontiguousarray(b, self.dtype)

    def _pieces_of_rows(self) -> list[slice]:
        """All rows at once, or the pieces in which a sparse X is converted, or X gets the offset's columns."""
        N = self.X.shape[0]
        as_it_is = not sparse.issparse(self.X) or self.X.dtype == self.dtype
        step = max(1, N) if as_it_is and self.offset is None else CONVERTED_ROWS
        return [slice(start, start + step) for start in range(0, N, step)]

    def _rows_of(self, rows: slice) -> Any:
        X = self.X if rows.stop - rows.start >= self.X.shape[0] else self.X[rows]  # a slice of a sparse X is a copy
        if self.offset is None and not sparse.issparse(X):
            return X  # the kernels convert it
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

    def in_dtype(self, dtype: Any) -> SoftmaxObjective:
        """The same with passes in another dtype."""
        other = copy(self)
        other.dtype, other.backend = np.dtype(dtype), select(dtype=np.dtype(dtype)).backend
        return other

    def thinned(self, step: int) -> SoftmaxObjective:
        """The objective of every `step`-th row (`sampled`), which are copied, with the same penalty of the mean."""
        rows, weight = self.sampled(step)
        X, offset = self.X[rows], self.offset
        X = copied(X) if isinstance(X, np.ndarray) and isinstance(rows, slice) else X
        few = SoftmaxObjective(
            X,
            self.label[rows],
            self.classes,
            weight=weight,
            fit_intercept=self.fit_intercept,
            dtype=self.dtype,
            offset=None if offset is None else offset[rows],
        )
        few.penalty = self.penalty
        return few
