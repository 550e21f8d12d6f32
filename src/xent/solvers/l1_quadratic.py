"""A quadratic with an L1 penalty, from its Gram matrix: Newton steps on the free coordinates, descent by coordinates.

Coordinate descent finds which coordinates are free, and Newton steps on them end what it would take hundreds of sweeps
to end. Without SciPy's or NumPy's help a sweep costs microseconds a coordinate: this is for some thousands of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import linalg

from .l1_descent import l1_descent

ROUNDS = 300
# Of a second moment, what may be left when others are taken out of it: less is rounding.
ROUNDING = 1e-12
# Nats that no step gains: a model that promises more has a direction without an end.
MOST_GAINED = 1e9
# Smallest pivot, of a unit diagonal, that is not taken for rounding: below it columns depend on each other.
DEPENDENT = 1e-6
# What is added to the diagonal then.
RIDGE = 1e-10
# Of a Newton step that would change signs, the shares at which those are set to zero, too.
SHARES = (0.5, 0.2, 0.1, 0.03, 0.01)
# Newton steps in a row that are cut, before a sweep: with no more than one the two undo each other.
MOST_CUTS = 4
# What is added to the unit diagonal of a Newton step in turn, until one gains.
RIDGES = (0.0, 1e-8, 1e-5, 1e-2)


class Lasso:
    """``sum_j l1_j |theta_j|``: the units are the coordinates.

    Parameters
    ----------
    l1 : array (P,)
        The penalty of each coordinate, 0 for a free one.
    first : int
        Coordinates that a first working set holds.
    """

    first = 64

    def __init__(self, l1: Any, first: int = first) -> None:
        self.l1, self.first = l1, first

    def value(self, x: Any) -> float:
        """The penalty."""
        return float(self.l1 @ np.abs(x))

    def slope(self, g: Any, x: Any, step: Any) -> float:
        """``g'step`` plus what the step changes of it, by coordinates: near the minimum the sums agree to rounding."""
        grown = np.where(x * (x + step) > 0, np.sign(x) * step, np.abs(x + step) - np.abs(x))
        return float((g * step + self.l1 * grown).sum())

    def violation(self, gradient: Any, x: Any) -> Any:
        """How far zero is from each coordinate's subgradient, (P,)."""
        return violation(gradient, x, self.l1)

    def support(self, x: Any) -> Any:
        """Which coordinates are not zero, or have no penalty."""
        return (x != 0) | (self.l1 == 0)

    def of(self, units: Any) -> Lasso:
        """That of some coordinates alone."""
        return Lasso(self.l1[units])

    def minimum(self, H: Any, g: Any, x: Any, *, tol: float) -> Any:
        """`l1_quadratic`, or `l1_descent` where H is no matrix."""
        if isinstance(H, np.ndarray):
            return l1_quadratic(H, g, x, self.l1, tol=tol)
        return l1_descent(H, g, x, self.l1, tol=tol)


def violation(gradient: Any, u: Any, l1: Any) -> Any:
    """How far zero is from each coordinate's subgradient, (P,): 0 everywhere at a minimum."""
    away = np.abs(gradient + l1 * np.sign(u))
    return np.where(u != 0, away, np.maximum(np.abs(gradient) - l1, 0))


def l1_quadratic(H: Any, g: Any, x: Any, l1: Any, *, tol: float) -> Any:
    """The minimum over u of ``g'(u - x) + (u - x)' H (u - x) / 2 + sum_j l1_j |u_j|``.

    Parameters
    ----------
    H : array (P, P)
        Positive semi-definite.
    g, x, l1 : arrays (P,)
        Slope at x, where to begin, and the penalties (0: a free coordinate).
    tol : float
        Largest violation of the optimality conditions that is left.

    Returns
    -------
    array (P,)
        Better than x, and the minimum to `tol` unless columns depend on each other so far that sweeps crawl.
    """
    free = l1 == 0
    if free.any() and not free.all():
        found = _but_for_free(H, g, x, l1, free, tol)
        if found is not None:
            return found
    u, r = x.astype(np.float64), g.astype(np.float64)  # r: the slope at u
    diagonal, newton, cuts = np.maximum(H.diagonal(), 1e-300), False, 0
    for _ in range(ROUNDS):
        v = violation(r, u, l1)
        # a Hessian from some of the rows, or corrected, is not always positive
        if v.max(initial=0) <= tol or 0.5 * float((g + r) @ (x - u)) > MOST_GAINED:
            break
        free = np.flatnonzero((u != 0) | (l1 == 0) | (v > tol))
        found = _newton(H, u, r, l1, free) if newton else None
        if found is None:
            _sweep(H, u, r, l1, diagonal, free)
        # a step that was cut goes on with the coordinates that are left, until a sweep puts many of them to zero
        cuts = cuts + 1 if found else 0
        newton = found is None or (found and cuts % MOST_CUTS != 0)
    return u


def _but_for_free(H: Any, g: Any, x: Any, l1: Any, free: Any, tol: float) -> Any:
    """The minimum with the free coordinates put where the others want them, which is linear; None where H forbids it.

    Columns far from zero have most of their length in common with the intercept: sweeps and signs would crawl.
    """
    try:
        factor = linalg.cho_factor(H[np.ix_(free, free)], check_finite=False)
    except linalg.LinAlgError:
        return None
    across = H[np.ix_(free, ~free)]
    follow = linalg.cho_solve(factor, np.column_stack([across, g[free]]), check_finite=False)
    rest = H[np.ix_(~free, ~free)] - across.T @ follow[:, :-1]
    if not (np.isfinite(follow).all() and (rest.diagonal() > ROUNDING * H.diagonal()[~free]).all()):
        return None
    u = np.array(x, np.float64)
    u[~free] = l1_quadratic(rest, g[~free] - across.T @ follow[:, -1], x[~free], l1[~free], tol=tol)
    u[free] -= follow[:, -1] + follow[:, :-1] @ (u - x)[~free]
    return u


def _sweep(H: Any, u: Any, r: Any, l1: Any, diagonal: Any, free: Any) -> None:
    """One pass of exact minimisation over each free coordinate, in place."""
    for j in free.tolist():
        old = u[j]
        z, threshold = old - r[j] / diagonal[j], l1[j] / diagonal[j]
        new = z - threshold if z > threshold else z + threshold if z < -threshold else 0.0
        if new != old:
            u[j] = new
            r += (new - old) * H[j]


def _newton(H: Any, u: Any, r: Any, l1: Any, free: Any) -> bool | None:
    """A Newton step with the signs held, in place; whether it was cut where a sign would change, None if it is no gain.

    Where columns depend on each other the step can be of any length along what they have in common, and is cut to
    next to nothing: then the diagonal is raised.
    """
    part = H[np.ix_(free, free)]
    scale = 1 / np.sqrt(np.maximum(part.diagonal(), 1e-300))
    here, penalty, slope = u[free], l1[free], r[free]
    sign = np.where(penalty == 0, 0.0, np.where(here != 0, np.sign(here), -np.sign(slope)))
    unit, right = part * scale[:, None] * scale, scale * (slope + penalty * sign)
    for ridge in RIDGES:
        for full in _steps(unit + ridge * np.eye(len(free)), right, scale, here, sign):
            best, gained, cut = None, 0.0, bool((sign * (here + full) < 0).any())
            for new in _tries(here, full, sign):
                step = new - here
                gain = slope @ step + 0.5 * step @ (part @ step) + penalty @ (np.abs(new) - np.abs(here))
                if gain < gained:
                    best, gained = new, gain
            if best is not None:
                r += H[:, free] @ (best - here)
                u[free] = best
                return cut
    return None


def _steps(unit: Any, right: Any, scale: Any, here: Any, sign: Any) -> Iterator[Any]:
    """The Newton step, and then the one that leaves at zero what it would move the wrong way.

    A coordinate at zero whose own slope says up, and which the others pull down, lets no step gain; held, it does not
    matter, and there is a gain since nothing else goes against its slope.
    """
    full = -scale * solved(unit, right)
    yield full
    moves = np.ones(len(here), bool)
    while True:
        wrong = moves & (here == 0) & (sign * full < 0)
        if not wrong.any():
            return
        moves &= ~wrong
        full = np.zeros(len(here))
        full[moves] = -scale[moves] * solved(unit[np.ix_(moves, moves)], right[moves])
        if not (moves & (here == 0) & (sign * full < 0)).any():
            yield full
            return


def _tries(here: Any, full: Any, sign: Any) -> Iterator[Any]:
    """The step with all that would change their sign at zero, and cut to where the first coordinate gets to zero."""
    crossing = sign * (here + full) < 0
    yield np.where(crossing, 0.0, here + full)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(crossing & (here != 0), -here / full, np.inf)
    first = int(t.argmin())
    for share in SHARES:
        if t[first] < share:
            new = here + share * full
            yield np.where(sign * new < 0, 0.0, new)
    if t[first] < 1:
        new = here + t[first] * full
        new[first] = 0.0
        new[sign * new < 0] = 0.0  # those that would leave zero the wrong way
        yield new


def solved(unit: Any, right: Any) -> Any:
    """``unit^-1 right`` for a matrix of unit diagonal; with a little added to it where columns depend on each other."""
    for ridge in (0.0, RIDGE, 1e3 * RIDGE):
        try:
            L = linalg.cholesky(unit + ridge * np.eye(len(unit)), lower=True, overwrite_a=True, check_finite=False)
        except linalg.LinAlgError:
            continue
        if ridge or L.diagonal().min(initial=1.0) > DEPENDENT:
            return linalg.cho_solve((L, True), right, check_finite=False)
    return right
