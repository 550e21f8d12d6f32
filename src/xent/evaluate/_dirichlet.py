"""Dirichlet calibration: a softmax regression on log-probabilities, its matrix held near a diagonal one.

Source: Kull, Perello-Nieto, Kängsepp, Silva Filho, Song, Flach, "Beyond temperature scaling: Obtaining well-calibrated
multiclass probabilities with Dirichlet calibration", NeurIPS 2019; the off-diagonal and intercept regularisation (ODIR)
is its section 3.4. With two classes it is beta calibration (Kull, Silva Filho, Flach, AISTATS 2017): the matrix enters
by the difference of its rows, which a diagonal one has too, so the regularisation holds the intercept alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..losses import log_softmax
from ..objective import SoftmaxObjective
from ..solvers import lbfgs

_TOL, _ROUGH, _MOST_STEPS, _SPREAD = 1e-6, 1e-3, 1000, 10.0
_SAMPLE = 4000
Array = NDArray[np.float64]


class MatrixObjective(SoftmaxObjective):
    """Cross-entropy of ``softmax(weights @ L + intercept)`` with ODIR, and a trace of ridge towards the identity.

    Parameters
    ----------
    logs : float64 array (N, K)
    labels : int array (N,)
    weight : float64 array (N,)
    strength : float
        ODIR's lambda = mu: ``strength (sum of squares off the diagonal / (K (K - 1)) + sum of b^2 / K)``.
    """

    def __init__(self, logs: Array, labels: NDArray[np.int64], weight: Array, strength: float) -> None:
        K, total = logs.shape[1], float(weight.sum())
        super().__init__(np.ascontiguousarray(logs), labels, K, weight=weight, fit_intercept=True)
        self.identity = np.zeros(self.shape)
        self.identity[:, :K] = np.eye(K) if self.vectors > 1 else [[-1.0, 1.0]]
        self.stiffness = np.full(self.shape, 1 / (_SPREAD**2 * max(total, 1.0)))
        if self.vectors > 1:
            self.stiffness[:, :K] += 2 * strength / (K * (K - 1)) * (1 - np.eye(K))
            self.stiffness[:, K] += 2 * strength / K
        else:
            self.stiffness[:, K] += strength / K  # b is halved over the two classes: 2 (b / 2)^2 = b^2 / 2

    def _hessian(self, curvature: Array, units: Array | None = None) -> Array:
        """For the solver's coordinates, with the stiffness that is right off the diagonal."""
        H = super()._hessian(curvature, units)
        if self.vectors > 1:
            stiff = np.append(np.full(self.shape[1] - 1, self.stiffness[0, 1]), 0.0)
            np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += stiff / (1 if units is None else units**2)
        return H

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at flat parameters."""
        value, gradient = super().value_and_grad(theta)
        off = theta.reshape(self.shape) - self.identity
        pull = self.stiffness * off
        return value + 0.5 * float(np.vdot(pull, off)), gradient + pull.ravel()


def fit_matrix(logs: Array, labels: NDArray[np.int64], weight: Array, strength: float) -> tuple[Array, Array]:
    """Weights (K, K) and intercept (K,)."""
    theta = _solve(logs, labels, weight, strength, None, _TOL)
    w, b = theta[:, :-1], theta[:, -1]
    if len(theta) == 1:  # the difference of the two rows, as a diagonal matrix
        return np.diag([-w[0, 0], w[0, 1]]), np.array([-b[0] / 2, b[0] / 2])
    return w.copy(), b - b.mean()  # a number added to all intercepts changes nothing


def _solve(
    logs: Array, labels: NDArray[np.int64], weight: Array, strength: float, start: Array | None, tol: float
) -> Array:
    objective = MatrixObjective(logs, labels, weight, strength)
    theta = objective.identity if start is None else start
    found = lbfgs(objective.preconditioned(theta), theta, tol=tol, max_iter=_MOST_STEPS)
    return np.asarray(found.x).reshape(objective.shape)


def choose_strength(
    logs: Array, labels: NDArray[np.int64], weight: Array, strengths: Sequence[float], folds: int = 3
) -> float:
    """K (K - 1) / 2 times the last of `strengths`, from strong to weak, before the cross-validated loss rises.

    At most `_SAMPLE` rows are looked at. What is chosen is how far a weight may be from 0 for its own sake, and that
    does not change with the rows: the strength beside a mean over more rows is less. The fits stop early: figures are
    compared that differ by far more.
    """
    rows, K = logs.shape
    if rows > _SAMPLE:
        chosen = np.random.default_rng(0).choice(rows, _SAMPLE, replace=False)
        return choose_strength(logs[chosen], labels[chosen], weight[chosen], strengths, folds) * _SAMPLE / rows
    order = np.random.default_rng(0).permutation(rows)
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(rows, dtype=np.int64)
    fold[order] = np.arange(rows) % folds
    parts = [(fold != k, np.flatnonzero(fold == k)) for k in range(folds)]
    parts = [(inside, outside) for inside, outside in parts if outside.size and inside.any()]
    start: list[Array | None] = [None] * len(parts)
    best, lowest = 0.0, np.inf
    for strength in (K * (K - 1) / 2 * s for s in strengths):
        cost = 0.0
        for k, (inside, outside) in enumerate(parts):
            theta = _solve(logs[inside], labels[inside], weight[inside], strength, start[k], _ROUGH)
            start[k] = theta
            scores = logs[outside] @ theta[:, :-1].T + theta[:, -1]
            if K == 2:
                scores = np.column_stack([np.zeros(len(scores)), scores[:, 0]])
            cost -= float(weight[outside] @ log_softmax(scores)[np.arange(len(outside)), labels[outside]])
        if cost >= lowest:
            break
        best, lowest = strength, cost
    return float(best)
