"""Newton's method for parameters with bounds, with the whole Hessian of those that no bound holds.

For few parameters, and a start near the minimum. It needs the value, the gradient and the Hessian.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .newton_cholesky import Cholesky, HessianProblem
from .problem import Callback, Solution

ARMIJO = 1e-4
HALVINGS = 30
ROUNDING = 1e-14
# The model is solved to this share of its slope, by at most so many changes of what the bounds hold.
SETTLED, MOST_CHANGES = 1e-9, 500


def boxed_newton(
    problem: HessianProblem,
    start: Any,
    lower: Any,
    upper: Any,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> Solution:
    """Minimise from `start` until the projected gradient's largest entry and the decrement are at most `tol`.

    The decrement is that of the parameters that no bound holds: the length of their gradient in the metric of their
    own Hessian. A bound holds a parameter that lies on it and whose slope leads outwards.

    Parameters
    ----------
    problem : HessianProblem
    start, lower, upper : arrays (P,)
        `start` within the bounds, which may be infinite.
    tol : float
    max_iter : int
    callback : callable, optional
        Called with the parameters, the value and the measure after each iteration.

    Returns
    -------
    Solution

    References
    ----------
    D. P. Bertsekas, "Projected Newton methods for optimization problems with simple constraints", SIAM J. Control
    Optim. 20, 1982.
    """
    theta, n_iter, n_eval = np.clip(np.asarray(start, np.float64).ravel(), lower, upper), 0, 1
    value, gradient = problem.value_and_grad(theta)
    while True:
        free = ~(((theta <= lower) & (gradient > 0)) | ((theta >= upper) & (gradient < 0)))
        H = problem.hessian(theta)
        factor = Cholesky(H[np.ix_(free, free)])
        decrement = float(np.linalg.norm(factor.whitened(gradient[free])))
        measure = max(problem.largest(np.where(free, gradient, 0.0)), decrement)
        if n_iter and callback is not None:
            callback(theta, value, measure)
        message = "converged" if measure <= tol else "no iterations left"
        if measure <= tol or n_iter >= max_iter:
            break
        step = _model_minimum(H, gradient, theta, lower, upper) - theta
        found = _search(problem, theta, value, gradient, step, (lower, upper))
        if found is None:
            message = "no step gains more than rounding"
            break
        theta, value, gradient, tries = found
        n_iter, n_eval = n_iter + 1, n_eval + tries
    return Solution(theta, value, measure, n_iter, n_eval, measure <= tol, message)


def _model_minimum(H: Any, gradient: Any, theta: Any, lower: Any, upper: Any) -> Any:
    """Where the quadratic model at theta is least within the bounds, by active sets; better than theta in any case.

    Newton steps on the free parameters, each up to the first bound that it meets, which then holds.
    """
    x, r = theta.copy(), gradient.copy()  # r: the model's slope at x
    below = np.abs(gradient).max(initial=0) * SETTLED
    for _ in range(MOST_CHANGES):
        free = ~(((x <= lower) & (r > 0)) | ((x >= upper) & (r < 0)))
        if np.abs(r[free]).max(initial=0) <= below:
            break
        step = np.zeros_like(x)
        while True:  # what lies on a bound and would be pulled out by the others is held too: the rest still goes down
            step[:] = 0.0
            step[free] = -Cholesky(H[np.ix_(free, free)]).solve(r[free])
            outwards = free & (((x <= lower) & (step < 0)) | ((x >= upper) & (step > 0)))
            if not outwards.any():
                break
            free &= ~outwards
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step > 0, (upper - x) / step, np.where(step < 0, (lower - x) / step, np.inf))
        t = min(1.0, float(room.min(initial=np.inf)))
        new = np.clip(x + t * step, lower, upper)
        met = room <= t
        new[met] = np.where(step > 0, upper, lower)[met]
        r += H @ (new - x)
        x = new
    return x


def _search(
    problem: HessianProblem, theta: Any, value: float, gradient: Any, step: Any, ends: tuple[Any, Any]
) -> tuple[Any, float, Any, int] | None:
    """The first of the steps 1, 1/2, 1/4 ... that gains enough; all are inside the bounds."""
    t, promised = 1.0, -float(gradient @ step)
    for tries in range(1, HALVINGS + 1):
        new = np.clip(theta + t * step, *ends)
        there, slope = problem.value_and_grad(new)
        level = abs(there - value) <= ROUNDING * max(1.0, abs(value))
        if there <= value - ARMIJO * t * promised or (level and promised > 0 and tries == 1):
            return new, there, slope, tries
        t /= 2
    return None
