"""Fits whose features stay in another library's memory: on a GPU, each pass over X runs there.

What crosses to the CPU and back in a pass are the parameters and their gradient, (K, D) numbers; L-BFGS runs on these.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import array_api_compat
import numpy as np
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.validation import validate_data

from ..coordinates import MOST_FACTORED, coordinates
from ..objective import SoftmaxObjective
from ..preconditioned import Preconditioned
from ._array_api import Home, as_numpy, home

Array = Any
# Logits that are held at once, and numbers of X that are copied at once.
MOST_LOGITS = 2**26


class Resident:
    """Features where they are, with as much of an array as the fits ask of one.

    Parameters
    ----------
    array : array (N, D) of any library of the array API, of float32 or float64
    """

    def __init__(self, array: Any) -> None:
        place = home(array)
        assert place is not None
        self.array, self.place = array, place
        self.shape, self.ndim = tuple(array.shape), 2
        self.dtype = np.dtype("float32" if array.dtype == place.xp.float32 else "float64")

    def __getitem__(self, rows: Any) -> Resident:
        """Some rows, (n,) booleans or numbers."""
        index = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return Resident(self.place.xp.take(self.array, self.place.asarray(index), axis=0))


def stays(X: Any) -> bool:
    """Whether X is an array on an accelerator, where dispatch keeps it."""
    place = home(X)
    return place is not None and not place.on_cpu


def _converts(X: Resident, dtype: np.dtype) -> bool:
    """Whether its library has this dtype on its device: JAX may be without float64, and some devices are."""
    kind = getattr(X.place.xp, dtype.name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it may be given another one, and a warning
        try:
            return bool(X.place.xp.astype(X.array[:1, :], kind).dtype == kind)
        except (TypeError, RuntimeError):
            return False


def resident(model: Any, X: Any, y: Any) -> tuple[Resident, Any]:
    """Features and labels checked, as `validate_data` does, the features where they are."""
    xp = array_api_compat.array_namespace(X)
    X = validate_data(model, X, dtype=[xp.float64, xp.float32])
    y = column_or_1d(y, warn=True)
    assert_all_finite(y, input_name="y")
    check_consistent_length(np.empty(X.shape[0]), y)
    return Resident(X), y


class ResidentObjective:
    """`SoftmaxObjective` of features that stay where they are; the same parameters, shapes and values.

    Labels, weights and an offset are copied there once. Where the library has no float64, passes stay in float32.
    """

    by_class = False

    def __init__(
        self,
        X: Resident,
        label: Array,
        classes: int,
        *,
        weight: Array | None,
        l2: Any,
        fit_intercept: bool,
        intercept_l2: float,
        dtype: Any = None,
        offset: Array | None = None,
    ) -> None:
        self.X, self.classes, self.fit_intercept = X, classes, fit_intercept
        self.vectors = 1 if classes == 2 else classes
        N, D = X.shape
        self.shape = (self.vectors, D + fit_intercept)
        self.penalty = np.full(self.shape[1], float(intercept_l2))
        self.penalty[:D] = l2
        place: Home = X.place
        self.place, self.xp = place, place.xp
        self.dtype = np.dtype(dtype or X.dtype)
        if self.dtype != X.dtype and not _converts(X, self.dtype):
            self.dtype = X.dtype
        self._kind = getattr(self.xp, self.dtype.name)
        self.weight = np.full(N, 1 / N) if weight is None else weight / float(weight.sum())
        self._label, self._weight = place.asarray(np.asarray(label, np.int64)), self._there(self.weight)
        self._offset = None if offset is None else self._there(offset)
        self._classes = place.asarray(np.arange(classes))

    def _there(self, a: Array) -> Array:
        return self.place.asarray(np.asarray(a, self.dtype))

    def _here(self, a: Any) -> Array:
        return np.asarray(as_numpy(a)[0], np.float64)

    def _pieces(self) -> Iterator[slice]:
        N, D = self.X.shape
        step = max(1, MOST_LOGITS // max(self.vectors, D if self.dtype != self.X.dtype else 1))
        return (slice(start, min(start + step, N)) for start in range(0, N, step))

    def _logits(self, rows: slice, W: Array, b: Array | None) -> tuple[Array, Array]:
        """Features and logits of some rows."""
        X = self._rows(rows)
        z = X @ W.T
        z = z if b is None else z + b
        return X, z if self._offset is None else z + self._offset[rows, :]

    def _parameters(self, theta: Array) -> tuple[Array, Array, Array | None]:
        theta = theta.reshape(self.shape)
        W = theta[:, : self.X.shape[1]]
        return W, self._there(W), self._there(theta[:, -1]) if self.fit_intercept else None

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at flat float64 parameters; the gradient is flat float64."""
        xp, D = self.xp, self.X.shape[1]
        own, W, b = self._parameters(theta)
        l2 = self.penalty[:D]
        value, gradient = 0.5 * float((l2 * own**2).sum()), np.zeros(self.shape)
        for rows in self._pieces():
            X, z = self._logits(rows, W, b)
            loss, r = self._losses(z, self._label[rows])
            value += float(xp.sum(loss * self._weight[rows]))
            r = r * self._weight[rows][:, None]
            gradient[:, :D] += self._here(r.T @ X)
            if self.fit_intercept:
                gradient[:, -1] += self._here(xp.sum(r, axis=0))
        gradient[:, :D] += l2 * own
        if self.fit_intercept and self.penalty[-1]:
            intercept = theta.reshape(self.shape)[:, -1]
            value += 0.5 * float(self.penalty[-1] * (intercept**2).sum())
            gradient[:, -1] += self.penalty[-1] * intercept
        return value, gradient.ravel()

    def _losses(self, z: Array, label: Array) -> tuple[Array, Array]:
        """Cross-entropy of each row, and its slopes in the logits; neither loses digits where a row is confident."""
        xp = self.xp
        if self.vectors == 1:
            sign = xp.astype(1 - 2 * label, self._kind)
            a = sign * z[:, 0]
            far = xp.exp(-xp.abs(a))
            loss = xp.where(a > 0, a, xp.zeros_like(a)) + xp.log1p(far)
            share = xp.where(a > 0, xp.ones_like(a), far) / (1 + far)
            return loss, (sign * share)[:, None]
        own = self._classes[None, :] == label[:, None]
        zero = xp.zeros_like(z)
        z = z - xp.max(z, axis=1, keepdims=True)
        e = xp.exp(z)
        total = xp.sum(e, axis=1, keepdims=True)
        loss = xp.log(total[:, 0]) - xp.sum(xp.where(own, z, zero), axis=1)
        p = xp.where(own, zero, e / total)
        return loss, xp.where(own, -xp.sum(p, axis=1, keepdims=True), p)

    @property
    def stride(self: Any) -> int:
        """Every how many rows one enters the factor, as for a `SoftmaxObjective`; all where that were unfair."""
        step = SoftmaxObjective.stride.fget(self)  # type: ignore[attr-defined]
        return step if SoftmaxObjective.is_fair(self, step) else 1

    def curvature(self, theta: Array | None = None, stride: int = 1) -> Array:
        """The share of each row, or of every so many, in the averaged Hessian, as `SoftmaxObjective.curvature`."""
        stride = stride if SoftmaxObjective.is_fair(self, stride) else 1  # type: ignore[arg-type]
        weight = self.weight[::stride] if stride == 1 else self.weight[::stride] / self.weight[::stride].sum()
        if theta is None:
            return weight * (0.25 if self.vectors == 1 else (1 - 1 / self.classes) / self.classes)
        _, W, b = self._parameters(theta)
        out = np.empty(len(self.weight))
        for piece in self._pieces():
            rows = _every(stride, piece)
            _, z = self._logits(rows, W, b)
            if self.vectors == 1:
                far = self.xp.exp(-self.xp.abs(z[:, 0]))
                out[rows] = self._here(far / (1 + far) ** 2)
            else:
                e = self.xp.exp(z - self.xp.max(z, axis=1, keepdims=True))
                p = e / self.xp.sum(e, axis=1, keepdims=True)
                out[rows] = self._here(self.xp.mean(p * (1 - p), axis=1))
        return weight * out[::stride]

    def preconditioned(
        self, theta: Array | None = None, kind: Callable[..., Preconditioned] = Preconditioned, **options: Any
    ) -> Preconditioned:
        """The same problem in coordinates where the class-averaged Hessian at `theta` (zero if None) is the identity.

        Raises
        ------
        ValueError
            Where the squares of features overflow.
        """
        curvature = self.curvature(theta, self.stride)
        H = self._diagonal(curvature) if self.shape[1] > MOST_FACTORED else self._gram(curvature)
        if not np.isfinite(H).all():
            raise ValueError("the squares of the features overflow: divide the largest features by a constant")
        np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += self.penalty
        space = coordinates(H, np.ones(self.shape[1]))
        return kind(self, space, curvature, self.stride, **options)

    def _diagonal(self, weight: Array) -> Array:
        w, H = self._there(weight), np.zeros(self.X.shape[1])
        for rows in self._pieces():
            X = self._rows(rows)
            H += self._here(w[rows] @ (X * X))
        return np.append(H, weight.sum()) if self.fit_intercept else H

    def _rows(self, rows: slice) -> Array:
        X = self.X.array[rows, :]
        return X if self.dtype == self.X.dtype else self.xp.astype(X, self._kind)

    def _gram(self, weight: Array) -> Array:
        """Second moments of every so many rows, weighted, the intercept as a column of ones."""
        (N, D), every = self.X.shape, self.stride
        w = np.zeros(N)
        w[::every] = weight
        root, gram, mean = self._there(np.sqrt(w)), np.zeros((D, D)), np.zeros(D)
        for piece in self._pieces():
            rows = _every(every, piece)
            part = self._rows(rows) * root[rows][:, None]
            gram += self._here(part.T @ part)
            mean += self._here(part.T @ root[rows])
        if not self.fit_intercept:
            return gram
        return np.block([[gram, mean[:, None]], [mean[None, :], np.full((1, 1), weight.sum())]])


def _every(stride: int, piece: slice) -> slice:
    """Of all rows every so many, those in a piece."""
    return slice(piece.start + -piece.start % stride, piece.stop, stride)
