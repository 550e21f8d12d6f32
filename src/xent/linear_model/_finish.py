"""The end of a fit by a measure that is an estimate: the exact one, where a Hessian costs little beside the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..second_order import NewtonProblem
from ..solvers import Solution, newton_cholesky
from ._options import _squares_fit
from ._resident import Resident

if TYPE_CHECKING:
    from ._solve import Task

# Iterations of an L-BFGS that "auto" chose, after which Newton's steps take over where they are cheap.
HANDED_OVER = 200
# Parameters, and multiplications of their Hessian (half of N P^2), up to which it is made at the end of a fit.
MOST_PARAMETERS, MOST_FLOPS = 1000, 5e8


def is_exact(task: Task) -> bool:
    """Whether a smooth fit of more than two classes ends with its Newton decrement, not an estimate of it."""
    V = task.classes
    P = V * (task.X.shape[1] + task.fit_intercept)
    if V == 2 or P > MOST_PARAMETERS or task.X.shape[0] * float(P) ** 2 / 2 > MOST_FLOPS:
        return False
    if isinstance(task.X, Resident):
        return False
    return _squares_fit(task.X.data[:, None] if sparse.issparse(task.X) else task.X)


def most_iterations(task: Task) -> int:
    """How many iterations of L-BFGS come before Newton's steps, where `exact_end` takes these."""
    if task.choice.by_name or not is_exact(task):
        return task.max_iter
    return min(task.max_iter, HANDED_OVER)


def exact_end(task: Task, found: Solution, callback: Any) -> Solution:
    """Where `is_exact`, the solution with its Newton decrement as the measure, after Newton steps if that is too large.

    Coordinates made from the average of the classes' Hessians say little of a class that curves much less than others:
    a rare one, or one that is nearly separable without a penalty to hold it.
    """
    left = task.max_iter - found.n_iter
    if left <= 0 or not np.isfinite(found.x).all() or not is_exact(task):
        return found
    problem = NewtonProblem(task.objective(np.float64))
    end = newton_cholesky(problem, found.x.ravel(), tol=task.tol, max_iter=left, callback=callback)
    return replace(
        end,
        x=end.x.reshape(found.x.shape),
        n_iter=found.n_iter + end.n_iter,
        n_eval=found.n_eval + end.n_eval,
        log=f"{found.n_iter} iterations, then {end.n_iter} of newton-cholesky, whose decrement certifies the end",
    )
