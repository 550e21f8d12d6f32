"""What the smooth problems of the estimators share: products with the features, whitened coordinates, the run."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Protocol

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._blas import one_blas_thread
from ..coordinates import LARGE, Coordinates
from ..objective import SoftmaxObjective
from ..preconditioned import PATIENCE
from ..second_order.rows import pieces
from ..solvers import Solution, lbfgs

Array = Any


class Features:
    """Float64 products with X and a column of ones, X converted a piece at a time.

    Parameters
    ----------
    X : array or CSR matrix (N, D)
    fit_intercept : bool
    """

    def __init__(self, X: Any, fit_intercept: bool) -> None:
        self.X, self.fit_intercept = X, fit_intercept
        self.width = X.shape[1] + fit_intercept

    def logits(self, W: Array) -> Array:
        """``[X, 1] W'``, (N, V), for W (V, P)."""
        D = self.X.shape[1]
        z = np.empty((self.X.shape[0], len(W)))
        for rows, X in pieces(self.X):
            z[rows] = X @ W[:, :D].T
        return z + W[:, D] if self.fit_intercept else z

    def pull_back(self, r: Array) -> Array:
        """``r' [X, 1]``, (V, P), for r (N, V)."""
        D = self.X.shape[1]
        out = np.zeros((r.shape[1], self.width))
        for rows, X in pieces(self.X):
            out[:, :D] += (X.T @ r[rows]).T
        if self.fit_intercept:
            out[:, D] = r.sum(axis=0)
        return out

    def coordinates(self, weight: Array, l2: float) -> Coordinates:
        """Coordinates in which ``[X, 1]' diag(weight) [X, 1] / 4`` plus the penalty is the identity."""
        none = np.zeros(self.X.shape[0], np.int64)
        f = SoftmaxObjective(self.X, none, 2, weight=weight, l2=l2, fit_intercept=self.fit_intercept)
        return f.preconditioned().coordinates


class Smooth(Protocol):
    """A problem of `solvers.lbfgs` whose coordinates stay."""

    largest: float

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in flat coordinates; sets `largest`, the largest entry of the parameters' gradient."""

    def to_parameters(self, v: Array) -> Array:
        """The parameters."""

    def to_coordinates(self, theta: Array) -> Array:
        """Flat coordinates."""


class Fixed:
    """Such a problem as the solver takes it."""

    patience = PATIENCE
    rough = False

    def __init__(self, inner: Smooth) -> None:
        self.inner = inner
        self.value_and_grad = inner.value_and_grad
        self.to_parameters, self.to_coordinates = inner.to_parameters, inner.to_coordinates

    def convergence(self, gradient: Array) -> float:
        """The larger of the largest entry of the parameters' gradient and the length in the coordinates."""
        return max(self.inner.largest, float(np.linalg.norm(gradient)))

    def is_stale(self, theta: Array, left: float = 1.0) -> bool:
        """Never."""
        return False

    def renewed(self, theta: Array, stuck: bool = False) -> Fixed:
        """The same: what begins anew is the solver's memory."""
        return self


def largest_entry(gradient: Array, sizes: Array) -> float:
    """Of a gradient (V, P), over the size of its feature where that is above `LARGE`."""
    return float((np.abs(gradient) / np.maximum(1, sizes / LARGE)).max(initial=0))


def minimize(model: Any, problem: Smooth, start: Array, *, short: bool) -> Solution:
    """L-BFGS to the model's `tol`; sets what all estimators report, and warns where it was not reached."""
    with one_blas_thread() if short else contextlib.nullcontext():
        found = lbfgs(Fixed(problem), start, tol=float(model.tol), max_iter=int(model.max_iter))
    model.n_iter_, model.convergence_, model.objective_ = found.n_iter, found.convergence, found.value
    if not found.converged:
        full = found.n_iter >= model.max_iter
        do = f"Increase max_iter={model.max_iter}" if full else "That is as far as rounding allows: use a larger tol"
        warnings.warn(
            f"{type(model).__name__} stopped after {found.n_iter} iterations with a gradient of "
            f"{found.convergence:.2g}, above tol={model.tol:g}. {do}.",
            ConvergenceWarning,
            stacklevel=3,
        )
    return found


def check_positive(model: Any, **rules: tuple[float, bool]) -> None:
    """Raise unless each named parameter is a number above its bound (or at it, where True)."""
    for name, (low, closed) in rules.items():
        value = getattr(model, name)
        ok = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        if not (ok and (value >= low if closed else value > low)):
            raise ValueError(f"{name} must be a number {'from' if closed else 'above'} {low:g}, not {value!r}")
