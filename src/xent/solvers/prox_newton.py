"""Proximal Newton with working sets, for a smooth function plus an L1 penalty; a duality gap certifies the minimum.

Each round takes the coordinates that are not zero and those that most want to move, solves the problem on them by a
few quadratic models, and then looks at all coordinates again. It needs the value, the gradient and, for a few
coordinates, the Hessian; memory for that and for the columns of the working set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .l1_quadratic import l1_quadratic, violation
from .problem import Callback, Solution

# Coordinates a first working set holds beyond those that are not zero.
FIRST = 64
# The working set is solved to this share of the violation outside it.
INNER = 0.1
ARMIJO = 1e-4
HALVINGS = 30
ROUNDING = 1e-14
TIRED = 3


class Part(Protocol):
    """The problem on some of its coordinates, the others held."""

    coordinates: Any  # (p,) their places

    def quadratic(self) -> tuple[Any, Any]:
        """Slope (p,) and Hessian (p, p) of the smooth part at the present point."""

    def value_after(self, step: Any, t: float) -> float:
        """The smooth part's value at the present point plus ``t * step``."""

    def move(self, step: Any, t: float) -> None:
        """Make that the present point."""


class L1Problem(Protocol):
    """What the solver needs."""

    l1: Any  # (P,): the penalty of each coordinate, 0 for a free one

    def at(self, theta: Any) -> tuple[float, Any]:
        """Smooth value and gradient (P,) at flat parameters, which become the present point."""

    def parts(self, chosen: Any) -> Sequence[Part]:
        """The problem on the chosen coordinates (p,), cut so that each Hessian is worth its cost."""

    def certificate(self, theta: Any, gradient: Any) -> tuple[float, float]:
        """A measure of convergence at the present point, and the duality gap."""


def prox_newton(
    problem: L1Problem, start: Any, *, tol: float, max_iter: int, callback: Callback | None = None
) -> Solution:
    """Minimise from `start` until the problem's certificate is at most `tol`.

    Parameters
    ----------
    problem : L1Problem
    start : array (P,)
    tol : float
        In the units of ``problem.certificate``.
    max_iter : int
        Most quadratic models.
    callback : callable, optional
        Called with the parameters, the value and the largest violation after each of them.

    Returns
    -------
    Solution
        With its duality gap. `n_eval` counts gradients of all coordinates.

    References
    ----------
    J. D. Lee, Y. Sun & M. A. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIOPT 24,
    2014. T. B. Johnson & C. Guestrin, "Blitz: a principled meta-algorithm for scaling sparse optimization", ICML 2015.
    """
    theta, l1 = np.asarray(start, np.float64).ravel().copy(), problem.l1
    n_iter, n_eval, tired, size = 0, 0, 0, FIRST
    best = last = np.inf
    while True:
        smooth, gradient = problem.at(theta)
        n_eval += 1
        value = smooth + float(l1 @ np.abs(theta))
        off = violation(gradient, theta, l1)
        measure, gap = problem.certificate(theta, gradient)
        # a long way down the measure may rise; where the value no longer moves it must fall
        moving = measure < best or last - value > ROUNDING * max(1.0, abs(value))
        tired, best, last = 0 if moving else tired + 1, min(best, measure), value
        if measure <= tol or n_iter >= max_iter or tired >= TIRED:
            break
        support = (theta != 0) | (l1 == 0)
        size = max(size, 2 * int(support.sum()))
        chosen = _chosen(off, support, size)
        target = max(INNER * off.max(initial=0), 1e-3 * tol)
        used = _solve(problem, chosen, theta, value, target, max_iter - n_iter, callback)
        n_iter += max(used, 1)
    done = measure <= tol
    message = (
        "converged" if done else "no iterations left" if n_iter >= max_iter else "no step gains more than rounding"
    )
    return Solution(theta, value, measure, n_iter, n_eval, bool(done), message, gap)


def _chosen(off: Any, support: Any, size: int) -> Any:
    """The support, and of the other coordinates those that violate most, so that there are `size` in all."""
    room = size - int(support.sum())
    others = np.flatnonzero(~support & (off > 0))
    if len(others) > room:
        others = others[np.argpartition(-off[others], room)[:room]]
    return np.sort(np.concatenate([np.flatnonzero(support), others]))


def _solve(
    problem: L1Problem, chosen: Any, theta: Any, value: float, target: float, most: int, callback: Callback | None
) -> int:
    """Quadratic models on the chosen coordinates until they violate at most `target`; theta in place, models used."""
    parts, used = problem.parts(chosen), 0
    while used < most:
        worst, moved = 0.0, False
        for part in parts:
            at, l1 = part.coordinates, problem.l1[part.coordinates]
            g, H = part.quadratic()
            off = float(violation(g, theta[at], l1).max(initial=0))
            worst = max(worst, off)
            if off <= target:
                continue
            u = l1_quadratic(H, g, theta[at], l1, tol=INNER * target)
            found = _search(part, g, u - theta[at], theta[at], l1, value)
            if found is not None:
                step, value = found
                theta[at] += step
                moved = True
        if worst <= target or not moved:
            break
        used += 1
        if callback is not None:
            callback(theta, value, worst)
    return used


def _search(part: Part, g: Any, step: Any, x: Any, l1: Any, value: float) -> tuple[Any, float] | None:
    """The first of the steps 1, 1/2, 1/4 ... that gains enough, or within rounding, and the value after it."""
    before = float(l1 @ np.abs(x))
    # coordinate by coordinate: near the minimum the sums agree to rounding
    grown = np.where(x * (x + step) > 0, np.sign(x) * step, np.abs(x + step) - np.abs(x))
    slope = float((g * step + l1 * grown).sum())
    t, rest = 1.0, value - before  # rest: the smooth part, and the penalty of the coordinates held
    base = part.value_after(step, 0.0)
    if not step.any() or slope > ROUNDING * max(1.0, abs(base)):
        return None
    for _ in range(HALVINGS):
        change = part.value_after(step, t) - base + float(l1 @ np.abs(x + t * step)) - before
        if change <= ARMIJO * t * slope + ROUNDING * max(1.0, abs(base)):
            part.move(step, t)
            return t * step, rest + before + change
        t /= 2
    return None
