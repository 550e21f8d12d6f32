"""A quadratic with an L1 penalty, from products alone: descent by coordinates, and conjugate gradients between.

Sweeps find which coordinates are free, and end the problem where columns depend little on each other; where they do,
conjugate gradients on the free coordinates, signs held, end what would take hundreds of sweeps.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

# Sweeps and products with the Hessian in all.
MOST = 1000
# Sweeps that would be needed at the present rate, from which on conjugate gradients come first.
LONG = 12
# Of the violation at first, the share to which a model is solved at most: the next one is nearer to the truth.
FORCED = 0.2
# Share of the slope that conjugate gradients leave, and most of their steps: first, and in all.
LEFT, STEPS, MOST_STEPS = 0.1, 10, 200
# Shares of a step that signs cut.
SHARES = (1.0, 0.5, 0.2, 0.05)


class Model(Protocol):
    """A quadratic function of coordinates (P,), with a present point."""

    order: Any  # (P,) in which a sweep goes

    def begin(self, g: Any, x: Any) -> None:
        """x (P,) is the present point, with the slope g there."""

    def descend(self, which: Any, l1: Any, u: Any) -> float:
        """One exact minimisation over each coordinate in `which`, from the present point u and in place.

        Returns the largest violation that was met.
        """

    def slope(self, which: Any, u: Any) -> Any:
        """Of the coordinates in `which`, at the present point u."""

    def times(self, which: Any, step: Any) -> Any:
        """The Hessian times a step of the coordinates in `which`, there."""

    def move(self, which: Any, step: Any) -> None:
        """Move the present point."""

    diagonal: Any  # (P,) of the Hessian


def l1_descent(H: Model, g: Any, x: Any, l1: Any, *, tol: float) -> Any:
    """The minimum over u of ``g'(u - x) + (u - x)' H (u - x) / 2 + sum_j l1_j |u_j|``.

    Parameters
    ----------
    H : Model
    g, x, l1 : arrays (P,)
        Slope at x, where to begin, and the penalties (0: a free coordinate).
    tol : float
        Largest violation of the optimality conditions that is left.

    Returns
    -------
    array (P,)
        Better than x, and the minimum to `tol` unless that takes too long.

    References
    ----------
    G.-X. Yuan, C.-H. Ho & C.-J. Lin, "An improved GLMNET for L1-regularized logistic regression", JMLR 13, 2012
    (sweeps). R. H. Byrd, G. M. Chin, J. Nocedal & F. Oztoprak, "A family of second-order methods for convex
    l1-regularized optimization", Math. Prog. 159, 2016 (conjugate gradients on the free coordinates).
    """
    u = np.array(x, np.float64)
    H.begin(g, u)
    spent, left, steps = 0, LEFT, STEPS
    while spent < MOST:
        off = H.descend(H.order, l1, u)
        spent += 1
        if spent == 1:
            tol = max(tol, FORCED * off)
        if off <= tol or not np.isfinite(off):
            break
        last = np.inf
        while spent < MOST:
            free = H.order[((u != 0) | (l1 == 0))[H.order]]
            worst = H.descend(free, l1, u)
            spent += 1
            if worst <= tol:
                break
            rate = worst / last
            last = worst
            if rate >= 1 or worst * rate**LONG > tol:
                used, whole = _conjugate(H, u, l1, left, tol, steps)
                spent += used
                left = left * LEFT if whole else LEFT
                steps = min(3 * steps, MOST_STEPS) if whole else STEPS
                last = np.inf
    return u


def _conjugate(H: Model, u: Any, l1: Any, left: float, tol: float, steps: int) -> tuple[int, bool]:
    """Conjugate gradients on the free coordinates, signs held; products used, and whether no sign cut the step."""
    free = H.order[((u != 0) | (l1 == 0))[H.order]]
    penalty, here = l1[free], u[free]
    sign = np.sign(here) * (penalty > 0)
    r = -(H.slope(free, u) + penalty * sign)
    diagonal = H.diagonal[free]
    scale = np.where(diagonal > 0, 1 / np.maximum(diagonal, 1e-300), 0.0)
    step, z = np.zeros(len(free)), scale * r
    d, rz, used = z, float(r @ z), 1
    moved = np.zeros(len(free))  # the Hessian times the step
    end = max(left * float(np.abs(r).max(initial=0)), 0.3 * tol)
    slope = -r
    for _ in range(steps):
        q = H.times(free, d)
        used += 1
        curvature = float(d @ q)
        if not curvature > 0:
            break
        a = rz / curvature
        step += a * d
        moved += a * q
        r = r - a * q
        if np.abs(r).max() <= end:
            break
        z = scale * r
        rz, before = float(r @ z), rz
        d = z + rz / before * d
    crossing = sign * (here + step) < 0
    if not crossing.any():
        H.move(free, step)
        u[free] += step
        return used, True
    for share in SHARES:
        new = here + share * step
        new = np.where(sign * new < 0, 0.0, new)
        change = new - here
        gain = slope @ change + 0.5 * change @ H.times(free, change) + penalty @ (np.abs(new) - np.abs(here))
        used += 1
        if gain < 0:
            H.move(free, change)
            u[free] = new
            break
    return used, False
