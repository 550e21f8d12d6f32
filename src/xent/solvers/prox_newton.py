"""Proximal Newton with working sets, for a smooth function plus a lasso; a duality gap certifies the minimum.

Each round takes the units (coordinates, or groups of them) that are not zero and those that most want to move, solves
the problem on them by a few quadratic models, and then looks at all of them again. It needs the value, the gradient
and, for a few units, the Hessian; memory for that and for the columns of the working set. Which lasso it is, with its
quadratic model, is an argument: `Lasso` of coordinates, `GroupLasso` of groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from .problem import Callback, Solution

# The working set is solved to this share of the violation outside it.
INNER = 0.1
# ... and to this share of the tolerance where it has all that violate, and models cost little beside a look at all.
END = 0.2
ARMIJO = 1e-4
HALVINGS = 30
ROUNDING = 1e-14
TIRED = 3
# A model that leaves more than this share of the violation asks for a Hessian of its own point.
SLOW = 0.5


class Penalty(Protocol):
    """A norm of each unit times its strength, summed; parameters are flat (P,)."""

    first: int  # units a first working set holds beyond those that are not zero

    def value(self, x: Any) -> float:
        """The penalty."""

    def slope(self, g: Any, x: Any, step: Any) -> float:
        """``g'step`` plus what the step changes of it, unit by unit: near the minimum the sums agree to rounding."""

    def violation(self, gradient: Any, x: Any) -> Any:
        """How far zero is from each unit's subgradient, (U,)."""

    def support(self, x: Any) -> Any:
        """Which units are not zero, or have no penalty, (U,)."""

    def of(self, units: Any) -> Penalty:
        """That of some units alone."""

    def minimum(self, H: Any, g: Any, x: Any, *, tol: float) -> Any:
        """Where the quadratic model with slope g and Hessian H at x, plus the penalty, is least."""


class Part(Protocol):
    """The problem on some of its units, the others held."""

    units: Any  # (u,) which
    coordinates: Any  # (p,) the places of their parameters
    cheap: bool  # whether its models cost little beside a look at all units

    def slope(self) -> Any:
        """Slope (p,) of the smooth part at the present point."""

    def hessian(self, *, fresh: bool) -> tuple[Any, bool]:
        """Hessian (p, p) of the smooth part, and whether it is that of the present point: with `fresh` it is."""

    def value_after(self, step: Any, t: float) -> float:
        """The smooth part's value at the present point plus ``t * step``."""

    def move(self, step: Any, t: float) -> None:
        """Make that the present point."""


class SparseProblem(Protocol):
    """What the solver needs."""

    def at(self, theta: Any) -> tuple[float, Any]:
        """Smooth value and gradient (P,) at flat parameters, which become the present point."""

    def parts(self, chosen: Any) -> Sequence[Part]:
        """The problem on the chosen units (u,), cut so that each Hessian is worth its cost."""

    def certificate(self, theta: Any, gradient: Any) -> tuple[float, float]:
        """A measure of convergence at the present point, and the duality gap."""


def prox_newton(
    problem: SparseProblem,
    penalty: Penalty,
    start: Any,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> Solution:
    """Minimise from `start` until the problem's certificate is at most `tol`.

    Parameters
    ----------
    problem : SparseProblem
    penalty : Penalty
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
    theta = np.asarray(start, np.float64).ravel().copy()
    n_iter, n_eval, tired, size = 0, 0, 0, penalty.first
    best = last = np.inf
    while True:
        smooth, gradient = problem.at(theta)
        n_eval += 1
        value = smooth + penalty.value(theta)
        off = penalty.violation(gradient, theta)
        measure, gap = problem.certificate(theta, gradient)
        # a long way down the measure may rise; where the value no longer moves it must fall
        moving = measure < best or last - value > ROUNDING * max(1.0, abs(value))
        tired, best, last = 0 if moving else tired + 1, min(best, measure), value
        if measure <= tol or n_iter >= max_iter or tired >= TIRED:
            break
        support = penalty.support(theta)
        size = max(size, 2 * int(support.sum()))
        chosen, all_of_them = _chosen(off, support, size)
        targets = (INNER * float(off.max(initial=0)),) * 2
        if all_of_them:
            targets = targets[0], min(targets[0], END * tol)
        used = _solve(problem, penalty, chosen, theta, value, targets, max_iter - n_iter, callback)
        n_iter += max(used, 1)
    done = measure <= tol
    message = (
        "converged" if done else "no iterations left" if n_iter >= max_iter else "no step gains more than rounding"
    )
    return Solution(theta, value, measure, n_iter, n_eval, bool(done), message, gap)


def _chosen(off: Any, support: Any, size: int) -> tuple[Any, bool]:
    """The support, and of the other units those that violate most, so that there are `size` in all; whether that is
    all that violate.
    """
    room = size - int(support.sum())
    others = np.flatnonzero(~support & (off > 0))
    all_of_them = len(others) <= room
    if not all_of_them:
        others = others[np.argpartition(-off[others], room)[:room]]
    return np.sort(np.concatenate([np.flatnonzero(support), others])), all_of_them


def _solve(
    problem: SparseProblem,
    penalty: Penalty,
    chosen: Any,
    theta: Any,
    value: float,
    targets: tuple[float, float],
    most: int,
    callback: Callback | None,
) -> int:
    """Quadratic models on the chosen units until they violate at most the first target, or the second where they are
    cheap; theta in place, models used.
    """
    parts, used = [(part, penalty.of(part.units)) for part in problem.parts(chosen)], 0
    target = targets[all(part.cheap for part, _ in parts)]
    before = [np.inf] * len(parts)
    while used < most:
        worst, moved = 0.0, False
        for i, (part, own) in enumerate(parts):
            at, g = part.coordinates, part.slope()
            off = float(own.violation(g, theta[at]).max(initial=0))
            worst = max(worst, off)
            if off <= target:
                continue
            found = _model(part, own, g, theta[at], value, INNER * target, fresh=off > SLOW * before[i])
            before[i] = off
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


def _model(
    part: Part, own: Penalty, g: Any, x: Any, value: float, tol: float, *, fresh: bool
) -> tuple[Any, float] | None:
    """A step to the minimum of a quadratic model at x, and the value after it; None where there is no gain."""
    while True:
        H, exact = part.hessian(fresh=fresh)
        found = _search(part, own, g, own.minimum(H, g, x, tol=tol) - x, x, value)
        if found is not None or exact:
            return found
        fresh = True


def _search(part: Part, own: Penalty, g: Any, step: Any, x: Any, value: float) -> tuple[Any, float] | None:
    """The first of the steps 1, 1/2, 1/4 ... that gains enough, or within rounding, and the value after it."""
    before = own.value(x)
    slope = own.slope(g, x, step)
    t, rest = 1.0, value - before  # rest: the smooth part, and the penalty of the units held
    base = part.value_after(step, 0.0)
    if not step.any() or slope > ROUNDING * max(1.0, abs(base)):
        return None
    for _ in range(HALVINGS):
        change = part.value_after(step, t) - base + own.value(x + t * step) - before
        if change <= ARMIJO * t * slope + ROUNDING * max(1.0, abs(base)):
            part.move(step, t)
            return t * step, rest + before + change
        t /= 2
    return None
