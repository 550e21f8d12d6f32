"""The end of a fit by a measure that is an estimate: the exact one, where a Hessian costs little beside the fit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ..second_order import NewtonProblem
from ..solvers import Solution, boxed_newton, newton_cholesky
from ._options import _squares_fit
from ._resident import Resident

if TYPE_CHECKING:
    from ._solve import Task

# Iterations of an L-BFGS (or L-BFGS-B) that "auto" chose, after which Newton's steps take over where they are cheap.
HANDED_OVER = 200
# Parameters, and multiplications of their Hessian (half of N P^2), up to which it is made at the end of a fit.
MOST_PARAMETERS, MOST_FLOPS = 1000, 5e8
SCATTERED = 10  # times dearer those of sparse rows are
# Newton steps between bounds, of few parameters and of many: each solves a model with other bounds met.
FEW, BOXED_STEPS, BOXED_STEPS_OF_MANY = 100, 100, 20
# Newton steps without bounds: where more are needed, rounding is what moves them.
STEPS = 50
# On a path: so many steps are expected, and so many iterations of L-BFGS are always waited for.
EXPECTED, PATIENT = 6, 30
# Multiplications as which a block of the Hessian counts beside its own (an iteration of L-BFGS as two), and that are
# little beside any fit.
BLOCK, LITTLE = 1e5, 2e7


def is_exact(task: Task) -> bool:
    """Whether a smooth fit, of more than two classes or with bounds, ends with its Newton decrement, no estimate."""
    V = 1 if task.classes == 2 else task.classes
    P = V * (task.X.shape[1] + task.fit_intercept)
    most = MOST_FLOPS / SCATTERED if sparse.issparse(task.X) else MOST_FLOPS
    if (V == 1 and task.bounds is None) or P > MOST_PARAMETERS or task.X.shape[0] * float(P) ** 2 / 2 > most:
        return False
    if isinstance(task.X, Resident):
        return False
    return _squares_fit(task.X.data[:, None] if sparse.issparse(task.X) else task.X)


def most_iterations(task: Task) -> int:
    """How many iterations of L-BFGS come before Newton's steps, where `exact_end` takes these."""
    if task.choice.by_name or not is_exact(task):
        return task.max_iter
    return min(task.max_iter, HANDED_OVER)


def patience(task: Task) -> int | None:
    """The iterations of L-BFGS at a point of a path that cost what Newton's steps would; None unless `is_exact`."""
    if not is_exact(task):
        return None
    (N, D), V = task.X.shape, task.classes
    return max(PATIENT, int(EXPECTED * _step_cost(task) / (4.0 * N * D * V + 2 * BLOCK)))


def ends_of(task: Task) -> tuple[Any, Any]:
    """Lower and upper bounds of all parameters, flat, the intercepts' infinite."""
    V, D = 1 if task.classes == 2 else task.classes, task.X.shape[1]
    ends = np.full((2, V, D + task.fit_intercept), np.inf)
    ends[0] *= -1
    ends[:, :, :D] = task.bounds
    return ends[0].ravel(), ends[1].ravel()


def _step_cost(task: Task) -> float:
    """Multiplications of a Hessian and its factor."""
    N, V, P = task.X.shape[0], task.classes, task.X.shape[1] + task.fit_intercept
    return V * (V + 1) / 2 * (N * P**2 + BLOCK) + (V * P) ** 3 / 3


def _costs_little(task: Task, found: Solution) -> bool:
    """Whether a Hessian and its factor cost no more than the fit did."""
    (N, D), V = task.X.shape, task.classes
    return _step_cost(task) < max(LITTLE, found.n_eval * 4.0 * N * D * V)


def exact_end(task: Task, found: Solution, callback: Any) -> Solution:
    """Where `is_exact`, the solution with its Newton decrement as the measure, after Newton steps if that is too large.

    Coordinates made from the average of the classes' Hessians say little of a class that curves much less than others:
    a rare one, or one that is nearly separable without a penalty to hold it.
    """
    left = task.max_iter - found.n_iter
    if left <= 0 or not np.isfinite(found.x).all() or not is_exact(task):
        return found
    if found.converged and task.bounds is None and not _costs_little(task, found):
        return found
    problem = NewtonProblem(task.objective(np.float64), bounded=task.bounds is not None)
    options: Any = {"tol": task.tol, "max_iter": left, "callback": callback}
    if task.bounds is None:
        options["max_iter"] = min(left, STEPS)
        name, end = "newton-cholesky", newton_cholesky(problem, found.x.ravel(), **options)
    else:
        name, end = (
            "boxed-newton",
            boxed_newton(problem, found.x.ravel(), *ends_of(task), **options | {"max_iter": min(left, BOXED_STEPS)}),
        )
    return replace(
        end,
        x=end.x.reshape(found.x.shape),
        n_iter=found.n_iter + end.n_iter,
        n_eval=found.n_eval + end.n_eval,
        log=f"{found.n_iter} iterations, then {end.n_iter} of {name}, whose decrement certifies the end",
    )
