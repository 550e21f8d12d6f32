"""How far a fitted model is from the minimum of its objective: measured on the rows, not taken from the solver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..coordinates import LARGE, coordinates
from ..curvature import largest_entries
from ..objective import SoftmaxObjective
from ..second_order import GroupObjective, L1Objective, NewtonProblem
from ..solvers import GroupLasso, Lasso
from ..solvers.newton_cholesky import Cholesky
from ._array_api import as_numpy, in_numpy
from ._finish import ends_of
from ._refit import fitted
from ._solve import Task

Array = Any
# A Hessian of so many parameters, and multiplications (half of N P^2), is factored; beyond, its products are taken ...
MOST_FACTORED, FACTOR_FLOPS = 3000, 1e10
# ... until so many of them in a row have added no more than this share to the decrement's square; at most so many.
SETTLED, DELAY, MOST_PRODUCTS = 1e-4, 30, 2000
# What is left of a squared length, when the rest is rounding.
ROUNDED = 1e-20


@dataclass(frozen=True)
class Certificate:
    """Where a fitted model stands on its rows.

    Attributes
    ----------
    objective : float
        The mean cross-entropy plus the penalty at the coefficients, in nats.
    violation : float
        How far the gradient is from what a minimum asks of it, entry by entry (or feature by feature, for a group
        lasso), at most: the largest entry where there is neither L1 penalty nor bounds. Over the size of a feature
        that is far above one, as in `convergence_`.
    decrement : float or None
        Without an L1 penalty: the Newton decrement ``sqrt(g' H^-1 g)`` with the Hessian of the coefficients
        themselves, of those that no bound holds. None with an L1 penalty.
    excess : float or None
        ``decrement^2 / 2``: about what the objective is above its minimum, in nats, where that is little.
    gap : float or None
        The duality gap in nats: no coefficients whatsoever have an objective lower by more. None where there is none:
        for bounds, and where a feature has no penalty.
    """

    objective: float
    violation: float
    decrement: float | None
    excess: float | None
    gap: float | None


def certify(estimator: Any, X: Any, y: Any, sample_weight: Any = None, *, offset: Any = None) -> Certificate:
    """Measure how far a fitted model is from the minimum on its rows, in float64 and whatever solver it was.

    What a fit says of itself (`convergence_`) may be an estimate, and is not at hand for coefficients that came from
    elsewhere or were stored in float32. This is measured: one pass over the rows for the violation, and for the
    decrement a Hessian (up to 3000 parameters and ``N P^2 < 2e10``), or else some tens of products of it, a pass and
    a half each. Such products approach the decrement from below, and end where thirty of them add 1e-4 to its square.

    Parameters
    ----------
    estimator : LogisticRegression or LogisticRegressionCV
        Fitted to these rows. (Of a `LogisticRegressionCV`, the fit to all rows at the C that was chosen.)
    X : array, data frame or CSR matrix (N, D)
    y : array (N,)
    sample_weight : array (N,), optional
    offset : array (N,) or (N, K), optional
        As in the fit.

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        When y holds other classes than the model, or the model has no one objective: `early_stopping` (its rows are a
        part of these) or ``refit=False``.

    References
    ----------
    Boyd & Vandenberghe, *Convex Optimization*, sections 9.5 (decrement) and 5.5 (gap). Z. Strakoš & P. Tichý, "On error
    estimation in the conjugate gradient method", ETNA 13, 2002 (when the products suffice).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from xent.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> found = certify(LogisticRegression().fit(X, y), X, y)
    >>> found.violation < 1e-5, found.excess < 1e-10, found.gap < 1e-6
    (True, True, True)
    """
    task, coefficients, _ = fitted(in_numpy(estimator), *as_numpy(X, y, sample_weight, offset))
    theta = coefficients.ravel()
    f = task.objective(np.float64)
    value, slope = f.value_and_grad(theta)
    problem, lasso = _penalized(task, f)
    objective, held = value + lasso.value(theta), _held(task, f, theta, slope)
    off = np.where(held, 0.0, slope) if held.any() else lasso.violation(slope, theta)
    sizes = np.append(largest_entries(f.X), 1.0)[: f.shape[1]]
    violation = np.abs(off).reshape(-1, f.shape[1]) / np.maximum(1, sizes / LARGE)
    decrement = None if task.strengths[0] else _decrement(f, theta, np.where(held, 0.0, slope), ~held)
    excess = None if decrement is None else decrement**2 / 2
    return Certificate(
        objective, float(violation.max()), decrement, excess, _gap(task, problem, lasso, theta, objective)
    )


def _penalized(task: Task, f: SoftmaxObjective) -> tuple[L1Objective, Any]:
    """The objective with its L1 part, and that part, of strength 0 where there is none."""
    l1 = task.strengths[0]
    each = l1 if task.factor is None else l1 * task.factor
    if task.grouped and f.vectors > 1:
        groups = GroupObjective(f, each)
        return groups, GroupLasso(groups.unit_l1, f.vectors)
    problem = L1Objective(f, each, l1 / task.intercept_scaling if task.intercept_scaling else 0.0)
    return problem, Lasso(problem.l1)


def _held(task: Task, f: SoftmaxObjective, theta: Array, slope: Array) -> Array:
    """Which coefficients a bound keeps from going down their slope, (P,)."""
    if task.bounds is None:
        return np.zeros(theta.shape, bool)
    lower, upper = ends_of(task)
    return ((theta <= lower) & (slope > 0)) | ((theta >= upper) & (slope < 0))


def _gap(task: Task, problem: L1Objective, lasso: Any, theta: Array, objective: float) -> float | None:
    """The duality gap: at the best intercepts, which the dual point asks for, and what these are worth."""
    D = problem.objective.X.shape[1]
    free = (problem.l1 + problem.l2).reshape(problem.objective.shape)[:, :D] == 0
    if task.bounds is not None or free.any():
        return None
    there = theta.copy()
    value, slope = problem.at(there)
    return problem.gap(there, slope) + max(0.0, objective - value - lasso.value(there))


def _decrement(f: SoftmaxObjective, theta: Array, slope: Array, free: Array) -> float:
    """``sqrt(g' H^-1 g)`` of the free parameters, from the Hessian or by conjugate gradients on its products."""
    P = theta.size
    if P <= MOST_FACTORED and f.X.shape[0] * float(P) ** 2 / 2 <= FACTOR_FLOPS:
        H = NewtonProblem(f, bounded=not free.all()).hessian(theta)
        return float(np.linalg.norm(Cholesky(H[np.ix_(free, free)]).whitened(slope[free])))
    H, units = f.averaged_hessian(f.curvature(theta, f.stride))
    if not free.all() and H.ndim == 2:  # a diagonal leaves each coordinate by itself
        H = H.diagonal().copy()
    space, grown, before, p = coordinates(H, units), [0.0], np.inf, np.zeros(P)
    first = 0.0
    r = _apart(f, slope, free)
    for _ in range(MOST_PRODUCTS):
        z = np.where(free, space.to_parameters(space.pull_back(r.reshape(f.shape))).ravel(), 0.0)
        rho = float(r @ z)
        p, first = z + (rho / before) * p, rho if len(grown) == 1 else first
        if rho <= ROUNDED * first or (len(grown) > DELAY and sum(grown[-DELAY:]) <= SETTLED * sum(grown)):
            break
        Hp = _apart(f, f.hessian_vector_product(theta, p), free)
        along = float(p @ Hp)
        if along <= 0:  # no curvature is left but rounding's
            break
        grown.append(rho * rho / along)
        r, before = r - (rho / along) * Hp, rho
    return float(np.sqrt(sum(grown)))


def _apart(f: SoftmaxObjective, slope: Array, free: Array) -> Array:
    """A slope of the free parameters, without the rounding along what changes all classes alike and has no penalty."""
    if f.vectors == 1 or not free.all():
        return np.where(free, slope, 0.0)
    W = slope.reshape(f.shape)
    return (W - np.where(f.penalty == 0, W.mean(axis=0), 0.0)).ravel()
