"""Newton's method without a Hessian: conjugate gradients on Hessian-vector products, inside a trust region.

It needs coordinates in which the Hessian is near the identity (a preconditioner: without one it is no faster than
L-BFGS), the value and gradient in them, and Hessian-vector products. Memory: a few vectors.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .problem import Callback, Problem, Solution

# Products in one step at most.
MOST_PRODUCTS = 200
# Iterations between two looks at the coordinates.
PATIENCE = 5
ROUNDING = 1e-14
TIRED = 20


class CurvedProblem(Problem, Protocol):
    """What the solver needs beyond the value, the gradient and the coordinates."""

    def hessian_product(self, v: Any, direction: Any) -> Any:
        """The Hessian at v times a direction, both flat and in the coordinates."""


def newton_cg(problem: Any, start: Any, *, tol: float, max_iter: int, callback: Callback | None = None) -> Solution:
    """Minimise from `start` until ``problem.convergence <= tol`` in coordinates that fit the minimum.

    Parameters
    ----------
    problem : CurvedProblem
    start : array
        Parameters (not coordinates).
    tol : float
        In the units of ``problem.convergence``.
    max_iter : int
        Most outer iterations, tries that the trust region refuses included.
    callback : callable, optional
        Called with the parameters, the value and the convergence after each iteration.

    Returns
    -------
    Solution
        `n_eval` counts evaluations and Hessian-vector products together.

    References
    ----------
    T. Steihaug, "The conjugate gradient method and trust regions in large scale optimization", SINUM 20, 1983.
    C.-J. Lin, R. C. Weng & S. S. Keerthi, "Trust region Newton method for logistic regression", JMLR 9, 2008.
    """
    theta = start  # kept beside v: the way there and back would round it
    v = problem.to_coordinates(theta)
    value, gradient = problem.value_and_grad(v)
    measure = problem.convergence(gradient)
    n_iter, n_eval, radius, tired = 0, 1, np.inf, 0
    best = last = np.inf
    while True:
        at_end = measure <= tol
        if (at_end or n_iter % PATIENCE == PATIENCE - 1) and problem.is_stale(theta):
            problem = problem.renewed(theta)
            v, radius = problem.to_coordinates(theta), np.inf
            value, gradient = problem.value_and_grad(v)
            measure, best, n_eval = problem.convergence(gradient), np.inf, n_eval + 1
            at_end = measure <= tol
        # a long way down the measure may rise; where the value no longer moves it must fall
        moving = measure < best or last - value > ROUNDING * max(1.0, abs(value))
        tired, best, last = 0 if moving else tired + 1, min(best, measure), value
        if at_end or n_iter >= max_iter or tired > TIRED:
            break
        step, promise, n = _steihaug(problem, v, gradient, radius)
        there, slope = problem.value_and_grad(v + step)
        far = problem.convergence(slope)
        n_iter, n_eval = n_iter + 1, n_eval + n + 1
        length = float(np.linalg.norm(step))
        gain = value - there
        level = abs(gain) <= ROUNDING * max(1.0, abs(value))
        share = (1.0 if far < measure else 0.0) if level else gain / promise
        if not np.isfinite(there):
            share = -1.0
        if share < 0.25:
            radius = length / 4
        elif share > 0.75:
            radius = max(radius, 3 * length)
        if share > 1e-4:
            v, value, gradient, measure = v + step, there, slope, far
            theta = problem.to_parameters(v)
        if callback is not None:
            callback(theta, value, measure)
    message = (
        "converged" if at_end else "no iterations left" if n_iter >= max_iter else "no step gains more than rounding"
    )
    return Solution(theta, value, measure, n_iter, n_eval, bool(at_end), message)


def _steihaug(problem: Any, v: Any, gradient: Any, radius: float) -> tuple[Any, float, int]:
    """A step that lowers the quadratic model within the radius, what the model promises, and the products it took."""
    d, r = np.zeros_like(gradient), -gradient
    p, square, Hd = r.copy(), float(r @ r), np.zeros_like(gradient)
    enough = min(0.1, square**0.25) * square**0.5  # the tighter the nearer: convergence faster than linear
    n = 0
    while n < MOST_PRODUCTS and square**0.5 > enough:
        Hp = problem.hessian_product(v, p)
        n += 1
        curvature = float(p @ Hp)
        alpha = square / curvature if curvature > 0 else np.inf
        if not np.isfinite(alpha) or np.linalg.norm(d + alpha * p) >= radius:
            alpha = _to_the_border(d, p, radius) if np.isfinite(radius) else (0.0 if n > 1 else 1.0)
            d, Hd = d + alpha * p, Hd + alpha * Hp
            break
        d, Hd = d + alpha * p, Hd + alpha * Hp
        r = r - alpha * Hp
        old, square = square, float(r @ r)
        p = r + (square / old) * p
    return d, max(-float(gradient @ d) - 0.5 * float(d @ Hd), 1e-300), n


def _to_the_border(d: Any, p: Any, radius: float) -> float:
    """The t >= 0 with ``|d + t p| = radius``."""
    a, b, c = float(p @ p), 2 * float(d @ p), float(d @ d) - radius**2
    return (-b + max(b * b - 4 * a * c, 0.0) ** 0.5) / (2 * a)
