"""Newton's method with the whole Hessian, factored: few iterations, each worth a Gram matrix of the data.

For few parameters. It needs the value, the gradient and the Hessian, and no coordinates: its steps are the same
whatever the units of the parameters are.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy.linalg.lapack import dpotrf, dtrtrs

from .problem import Callback, Solution

# A step must gain this share of what the slope promises.
ARMIJO = 1e-4
HALVINGS = 12
# Rounding of a value, relative: differences below say nothing.
ROUNDING = 1e-14
# Iterations that gain no more than rounding and give no smaller measure, after which rounding has won.
PATIENCE = 3


class HessianProblem(Protocol):
    """What the solver needs."""

    def value_and_grad(self, theta: Any) -> tuple[float, Any]:
        """Value and gradient at flat parameters (P,)."""

    def hessian(self, theta: Any) -> Any:
        """The Hessian there, (P, P), positive semi-definite."""

    def bound(self) -> Any:
        """A matrix (P, P) that no Hessian is above, so that a step by it always gains."""

    def largest(self, gradient: Any) -> float:
        """The largest entry of a gradient, in units that the problem chooses."""


class Cholesky:
    """A factor of H, with what rounding needs added where H is singular.

    Parameters
    ----------
    H : array (P, P)
    """

    def __init__(self, H: Any) -> None:
        diagonal = np.diag(H).copy()
        self.scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
        # LAPACK itself: for a matrix of ten columns what SciPy does around it costs more
        unit = np.asarray_chkfinite(H * self.scale[:, None] * self.scale)
        self.jitter = 0.0
        while True:
            moved = unit + self.jitter * np.eye(len(unit)) if self.jitter else unit
            self.L, failed = dpotrf(moved, lower=1, clean=1) if unit.size else (unit, 0)
            if failed:
                self.jitter = max(1e-12, 100 * self.jitter)
                continue
            if self.jitter or self.L.diagonal().min(initial=1.0) > 1e-7:
                return
            self.jitter = 1e-12

    def whitened(self, g: Any) -> Any:
        """``L^-1 g``: a vector whose squared length is ``g' H^-1 g``."""
        return self._solved(np.asarray_chkfinite(g * self.scale), 0)

    def solve(self, g: Any) -> Any:
        """``H^-1 g``."""
        return self.unwhitened(self.whitened(g))

    def unwhitened(self, v: Any) -> Any:
        """``L^-T v``: of what `whitened` makes of g, ``H^-1 g``."""
        return self.scale * self._solved(v, 1)

    def _solved(self, v: Any, transposed: int) -> Any:
        # no number on the diagonal is zero, and the shapes are right: nothing can fail
        return dtrtrs(self.L, v, lower=1, trans=transposed)[0] if v.size else v


def newton_cholesky(
    problem: HessianProblem, start: Any, *, tol: float, max_iter: int, callback: Callback | None = None
) -> Solution:
    """Minimise from `start` until the largest gradient entry and the Newton decrement are at most `tol`.

    The decrement is the length of the gradient in the metric of the Hessian: half its square is the distance to
    the minimum, in the units of the value, as far as the function is quadratic.

    Parameters
    ----------
    problem : HessianProblem
    start : array (P,)
    tol : float
    max_iter : int
    callback : callable, optional
        Called with the parameters, the value and the measure after each iteration.

    Returns
    -------
    Solution

    References
    ----------
    Nocedal & Wright, *Numerical Optimization*, 2nd ed., section 3.3; Boyd & Vandenberghe, *Convex Optimization*,
    section 9.5 (the decrement).
    """
    theta, n_eval, n_iter, tired = np.asarray(start, np.float64).ravel().copy(), 1, 0, 0
    value, gradient = problem.value_and_grad(theta)
    best = last = np.inf
    while True:
        factor = Cholesky(problem.hessian(theta))
        whitened = factor.whitened(gradient)
        decrement = float(np.linalg.norm(whitened))
        measure = max(problem.largest(gradient), decrement)
        if n_iter and callback is not None:
            callback(theta, value, measure)
        # a long way down the measure may rise; where the value no longer moves it must fall
        moving = measure < best or last - value > ROUNDING * max(1.0, abs(value))
        tired, best, last = 0 if moving else tired + 1, min(best, measure), value
        if measure <= tol:
            message = "converged"
            break
        if n_iter >= max_iter:
            message = "no iterations left"
            break
        found = None if tired >= PATIENCE else _search(problem, theta, value, gradient, factor, whitened)
        if found is None:
            message = "no step gains more than rounding"
            break
        theta, value, gradient, tries = found
        n_iter, n_eval = n_iter + 1, n_eval + tries
    return Solution(theta, value, measure, n_iter, n_eval, measure <= tol, message)


def _search(
    problem: HessianProblem, theta: Any, value: float, gradient: Any, factor: Cholesky, whitened: Any
) -> tuple[Any, float, Any, int] | None:
    """The first of the steps 1, 1/2, 1/4 ... that gains enough; within rounding, one with a shorter gradient.

    Where the curvature has all but vanished no such step is near: then one step by the bound, which leads back.
    """
    step, t, decrement = -factor.unwhitened(whitened), 1.0, float(np.linalg.norm(whitened))
    for tries in range(1, HALVINGS + 1):
        new = theta + t * step
        there, slope = problem.value_and_grad(new)
        if np.isfinite(there):
            enough = there <= value - ARMIJO * t * decrement**2
            level = abs(there - value) <= ROUNDING * max(1.0, abs(value))
            if enough or (level and float(np.linalg.norm(factor.whitened(slope))) < decrement):
                return new, there, slope, tries
        t /= 2
    new = theta - Cholesky(problem.bound()).solve(gradient)
    there, slope = problem.value_and_grad(new)
    return (new, there, slope, HALVINGS + 1) if there < value else None
