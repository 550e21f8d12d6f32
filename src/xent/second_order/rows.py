"""Rows of a softmax model: from logits to the loss, probabilities and curvature; and products with the features."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from .._blas import in_pieces
from ..coordinates import COPIED_AT_ONCE
from ..curvature import sparse_pieces
from ..objective import SoftmaxObjective

Array = Any
# Numbers of X that one task reads for a product, and those of all partial sums of one.
READ, MOST_SUMMED = 2**20, 2**20


class Rows:
    """Labels and weights of an objective's rows, or of a slice of them.

    Logits, probabilities and residuals are (N, V), where V is 1 for two classes (the second one's logit) and else K.
    """

    def __init__(self, objective: SoftmaxObjective, at: slice = slice(None)) -> None:
        self.weight, self.label, self.V = objective.weight[at], objective.label[at], objective.vectors
        self._each = np.arange(len(self.label))

    def value(self, z: Array) -> float:
        """Weighted mean cross-entropy of logits (N, V)."""
        if self.V == 1:
            return float(self.weight @ np.logaddexp(0, np.where(self.label == 1, -z[:, 0], z[:, 0])))
        top = z.max(axis=1)
        total = np.log(np.exp(z - top[:, None]).sum(axis=1))
        return float(self.weight @ (total + (top - z[self._each, self.label])))

    def probabilities(self, z: Array) -> Array:
        """Probabilities (N, V)."""
        if self.V == 1:
            far = np.exp(-np.abs(z))
            return np.where(z >= 0, 1, far) / (1 + far)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p

    def residual(self, p: Array) -> Array:
        """Slope of the mean cross-entropy in the logits, (N, V): ``w (p - y)``."""
        r = p.copy()
        if self.V == 1:
            r[:, 0] -= self.label
        else:
            r[self._each, self.label] -= 1
        r *= self.weight[:, None]
        return r

    def curvature(self, p: Array, k: int, m: int) -> Array:
        """Second derivative of each row in its logits k and m, (N,)."""
        return self.weight * p[:, k] * ((1 - p[:, k]) if k == m else -p[:, m])

    def curvatures(self, p: Array, k: Array, m: Array) -> Array:
        """The same of pairs of logits, integers (M,) each: (M, N)."""
        p = p.T
        return self.weight * p[k] * ((k == m)[:, None] - p[m])

    def product(self, p: Array, u: Array) -> Array:
        """Each row's second derivative times a change u of its logits, (N, V)."""
        if self.V == 1:
            return self.weight[:, None] * p * (1 - p) * u
        pu = p * u
        return self.weight[:, None] * (pu - p * pu.sum(axis=1, keepdims=True))


def pieces(X: Any) -> Iterator[tuple[slice, Any]]:
    """X in float64, whole where it is that, else a piece of bounded memory at a time."""
    N, D = X.shape
    if X.dtype == np.float64:
        yield slice(0, N), X
    elif sparse.issparse(X):
        for rows in sparse_pieces(X):
            yield rows, X[rows].astype(np.float64)
    else:
        step = max(1024, COPIED_AT_ONCE // max(1, D))
        for start in range(0, N, step):
            yield slice(start, min(N, start + step)), X[start : start + step].astype(np.float64)


def logits(objective: SoftmaxObjective, theta: Array, *, change: bool = False) -> Array:
    """``X W' + b`` and the offset, float64 (N, V), of parameters; or without the offset, of a change of them."""
    W, b = objective.split(theta)
    X, z = objective.X, np.empty((objective.X.shape[0], objective.vectors))
    if sparse.issparse(X):
        for rows, part in pieces(X):
            z[rows] = part @ W.T
    else:

        def multiply(begin: int, end: int) -> None:
            z[begin:end] = X[begin:end].astype(np.float64, copy=False) @ W.T

        in_pieces(multiply, len(z), max(64, READ // max(1, X.shape[1])))
    z += 0 if b is None else b
    return z if change or objective.offset is None else z + objective.offset


def gradient(objective: SoftmaxObjective, r: Array) -> Array:
    """``X' r`` (and the sums of r), float64 (V, D [+ 1])."""
    out, (N, D), V = np.zeros(objective.shape), objective.X.shape, objective.vectors
    if sparse.issparse(objective.X):
        for rows, X in pieces(objective.X):
            out[:, :D] += (X.T @ r[rows]).T
    else:
        step = max(64, READ // max(1, D), -(-N // max(1, MOST_SUMMED // max(1, V * D))))
        parts = np.zeros((-(-N // step), V, D))

        def add(begin: int, end: int) -> None:
            X = objective.X[begin:end].astype(np.float64, copy=False)
            np.matmul(r[begin:end].T, X, out=parts[begin // step])

        in_pieces(add, N, step)
        out[:, :D] = parts.sum(axis=0)
    if objective.fit_intercept:
        out[:, -1] = r.sum(axis=0)
    return out
