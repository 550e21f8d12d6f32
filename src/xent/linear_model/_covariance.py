"""The covariance of a fitted model's coefficients, as contrasts of classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import linalg, sparse

from ..coordinates import COPIED
from ..objective import SoftmaxObjective
from ..second_order import NewtonProblem
from ..second_order.rows import Rows, logits
from ..solvers import newton_cholesky
from ..solvers.newton_cholesky import Cholesky

# Where the gradient's length in the metric of the Hessian is this, the maximum is reached for every purpose.
POLISHED = 1e-10
POLISHING = 100
# Probabilities this close to 1 at a maximum make one look for separation.
CERTAIN = 1e-10
# The share of a column that the others do not explain, squared, below which it repeats them.
DEPENDENT = 1e-11

Array = Any


@dataclass(frozen=True, eq=False)
class Maximum:
    """A fit with its second order.

    Attributes
    ----------
    theta : float64 array (V, P), P coordinates a class
    log_likelihood : float, weighted, without the penalty
    total : float, the sum of the weights
    inverse : float64 array (V P, V P)
        Of the Hessian of the total objective; where a change of all classes alike has no curvature, of one that has.
    information : float64 array (V P, V P)
        That Hessian less the penalty's.
    distance : float
        How far the start was from here, in standard errors (``sqrt(2 nats)``).
    change : float
        The largest change of a coefficient on the way from the start, in its standard errors.
    certain : bool
        Whether a probability is within `CERTAIN` of 1.
    """

    theta: Array
    log_likelihood: float
    total: float
    inverse: Array
    information: Array
    distance: float
    change: float
    certain: bool


def maximum(f: SoftmaxObjective, start: Array, total: float) -> Maximum:
    """From `start` (V, P) by Newton's method to rounding, and the Hessian there."""
    problem = NewtonProblem(f)
    start = np.asarray(start, np.float64)
    _, gradient = problem.value_and_grad(start.ravel())
    distance = np.sqrt(total) * float(np.linalg.norm(Cholesky(problem.hessian(start.ravel())).whitened(gradient)))
    found = newton_cholesky(problem, start.ravel(), tol=POLISHED, max_iter=POLISHING)
    H = problem.hessian(found.x)
    factor = Cholesky(H)
    inverse = linalg.cho_solve((factor.L, True), np.diag(factor.scale)) * factor.scale[:, None]
    inverse = (inverse + inverse.T) / (2 * total)
    theta = found.x.reshape(f.shape)
    error = np.sqrt(np.maximum(np.diag(inverse), np.finfo(float).tiny)).reshape(f.shape)
    p = Rows(f).probabilities(logits(f, theta))
    most = np.maximum(p, 1 - p) if f.vectors == 1 else p
    return Maximum(
        theta,
        -total * (found.value - 0.5 * float((f.penalty * theta**2).sum())),
        total,
        inverse,
        total * (H - np.diag(np.tile(f.penalty, f.vectors))),
        distance,
        float((np.abs(theta - start) / error).max()),
        bool((most > 1 - CERTAIN).any()),
    )


def dependent(f: SoftmaxObjective) -> Array:
    """Numbers of the coordinates that are linear combinations of others that no penalty holds, D for the intercept."""
    free = np.flatnonzero(f.penalty == 0)
    gram = NewtonProblem(f).gram()[np.ix_(free, free)]
    size = np.sqrt(np.diag(gram))
    empty = size == 0
    unit = gram / np.where(empty, 1, size)[:, None] / np.where(empty, 1, size)
    values, vectors = np.linalg.eigh(unit)
    null = vectors[:, values < DEPENDENT * len(unit)]
    return free[(np.abs(null) > 1e-4).any(axis=1) | empty]


def scores(f: SoftmaxObjective, theta: Array, weight: Array) -> Iterator[tuple[slice, Array]]:
    """Each row's gradient of its cross-entropy, times `weight`, in pieces of rows (n, V P)."""
    rows = Rows(f)
    r = rows.residual(rows.probabilities(logits(f, theta))) / f.weight[:, None] * weight[:, None]
    N, D = f.X.shape
    step = max(256, COPIED // max(1, f.vectors * (D + 1)))
    for start in range(0, N, step):
        piece = slice(start, min(N, start + step))
        X = f.X[piece].toarray() if sparse.issparse(f.X) else f.X[piece]
        X = np.asarray(X, np.float64)
        if f.fit_intercept:
            X = np.column_stack([X, np.ones(len(X))])
        yield piece, (r[piece, :, None] * X[:, None, :]).reshape(len(X), -1)


def meat(f: SoftmaxObjective, theta: Array, weight: Array, groups: Array | None = None) -> Array:
    """The sum of squares of the rows' gradients, or of their sums over groups, (V P, V P)."""
    size = theta.size
    if groups is None:
        total = np.zeros((size, size))
        for _, s in scores(f, theta, weight):
            total += s.T @ s
        return total
    sums = np.zeros((int(groups.max()) + 1, size))
    for piece, s in scores(f, theta, weight):
        each = groups[piece]
        member = sparse.csr_array((np.ones(len(s)), (each, np.arange(len(s)))), shape=(len(sums), len(s)))
        sums += member @ s
    return sums.T @ sums


def contrasts(classes: int, width: int, reference: int) -> Array:
    """Coefficients (V P) to those of each class but one less that one's, ((K - 1) P, V P)."""
    if classes == 2:
        return (1 if reference == 0 else -1) * np.eye(width)
    T = np.delete(np.eye(classes), reference, axis=0)
    T[:, reference] = -1
    return np.kron(T, np.eye(width))
