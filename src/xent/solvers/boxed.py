"""A smooth function of parameters with bounds, by SciPy's L-BFGS-B in coordinates scaled by a diagonal."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy.optimize import minimize

from .problem import Callback, Solution

MEMORY = 20
ROUNDING = 1e-14
# Runs that gain no more than rounding, after which rounding has won.
TIRED = 2


class BoxedProblem(Protocol):
    """What the solver needs."""

    def value_and_grad(self, theta: Any) -> tuple[float, Any]:
        """Value and gradient at flat parameters (P,)."""

    def measure(self, projected: Any) -> float:
        """How far a point with this projected gradient is from a minimum."""

    roots: Any  # (P,): roots of about the second derivatives, above 0


def projected_gradient(theta: Any, gradient: Any, lower: Any, upper: Any, roots: Any) -> Any:
    """What of the gradient (P,) is left when a step against it ends at the bounds: zero at minima alone."""
    h = roots**2
    return h * (theta - np.clip(theta - gradient / h, lower, upper))


def boxed(
    problem: BoxedProblem,
    start: Any,
    lower: Any,
    upper: Any,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> Solution:
    """Minimise from `start`, put inside the bounds, until the measure of the projected gradient is at most `tol`.

    Parameters
    ----------
    problem : BoxedProblem
    start, lower, upper : arrays (P,)
        Bounds may be infinite.
    tol : float
        In the units of ``problem.measure``.
    max_iter : int
    callback : callable, optional
        Called with the parameters, the value and the measure after each iteration.

    Returns
    -------
    Solution

    References
    ----------
    R. H. Byrd, P. Lu, J. Nocedal & C. Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J.
    Sci. Comput. 16, 1995.
    """
    roots, n_eval, n_iter, tired = problem.roots, 0, 0, 0
    # not less or more than the bounds by rounding when scaled back: the answer is clipped
    inside = lambda v: np.clip(v / roots, lower, upper)  # noqa: E731
    last: dict[str, Any] = {}

    def evaluate(v: Any) -> tuple[float, Any]:
        nonlocal n_eval
        theta = inside(v)
        value, gradient = problem.value_and_grad(theta)
        measure = problem.measure(projected_gradient(theta, gradient, lower, upper, roots))
        n_eval += 1
        last.update(v=v.copy(), theta=theta, value=value, measure=measure)
        return value, gradient / roots

    def after_iteration(intermediate_result: Any) -> None:
        if not np.array_equal(intermediate_result.x, last["v"]):
            evaluate(intermediate_result.x)
        if callback is not None:
            callback(last["theta"], last["value"], last["measure"])
        if last["measure"] <= tol:
            raise StopIteration

    v = np.clip(start, lower, upper) * roots
    evaluate(v)
    while last["measure"] > tol and n_iter < max_iter and tired < TIRED:
        before = last["value"]
        options = {"maxiter": max_iter - n_iter, "maxfun": 10**9, "maxcor": MEMORY, "maxls": 50, "ftol": 0, "gtol": 0}
        bounds = list(zip(lower * roots, upper * roots, strict=True))
        run = {"jac": True, "method": "L-BFGS-B", "callback": after_iteration, "bounds": bounds, "options": options}
        found = minimize(evaluate, v, **run)
        v, n_iter = found.x, n_iter + int(found.nit)
        if not np.array_equal(v, last["v"]):
            evaluate(v)
        tired = tired + 1 if before - last["value"] <= ROUNDING * max(1.0, abs(before)) else 0
    done = bool(last["measure"] <= tol)
    message = (
        "converged" if done else "no iterations left" if n_iter >= max_iter else "no step gains more than rounding"
    )
    return Solution(last["theta"], last["value"], last["measure"], n_iter, n_eval, done, message)
