"""A quadratic with a group lasso, from its Gram matrix: descent by groups, each solved exactly, and Newton steps.

The sweeps find which groups are zero. Away from zero a norm is smooth, and Newton steps on the groups that are left end
what it would take hundreds of sweeps to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .l1_quadratic import RIDGES, solved

ROUNDS = 300
# Rounds in which a Newton step that was cut is followed by a sweep.
EAGER = 20
# Of a group's curvatures, those below this share of the largest are rounding.
FLAT = 1e-13
# Steps of Newton's method for the length of a group, which rise to it.
LENGTHS = 50


class GroupLasso:
    """``sum_j l1_j |W_:j|_2`` of W (V, U): the units are columns, and flat parameters are W by rows.

    Parameters
    ----------
    l1 : array (U,)
        The penalty of each group, 0 for a free one.
    vectors : int
        V, the size of a group.
    """

    def __init__(self, l1: Any, vectors: int) -> None:
        self.l1, self.vectors = l1, vectors
        self.first = max(10, 64 // vectors)

    def _columns(self, x: Any) -> Any:
        return x.reshape(self.vectors, -1)

    def value(self, x: Any) -> float:
        """The penalty."""
        return float(self.l1 @ np.linalg.norm(self._columns(x), axis=0))

    def slope(self, g: Any, x: Any, step: Any) -> float:
        """``g'step`` plus what the step changes of it, group by group: near the minimum the sums agree to rounding."""
        g, x, step = self._columns(g), self._columns(x), self._columns(step)
        return float(((g * step).sum(axis=0) + self.l1 * _growth(x, step)).sum())

    def violation(self, gradient: Any, x: Any) -> Any:
        """How far zero is from each group's subgradient, (U,): a length."""
        return _violation(self._columns(gradient), self._columns(x), self.l1)

    def support(self, x: Any) -> Any:
        """Which groups are not zero, or have no penalty."""
        return self._columns(x).any(axis=0) | (self.l1 == 0)

    def of(self, units: Any) -> GroupLasso:
        """That of some groups alone."""
        return GroupLasso(self.l1[units], self.vectors)

    def minimum(self, H: Any, g: Any, x: Any, *, tol: float) -> Any:
        """The minimum over u of ``g'(u - x) + (u - x)' H (u - x) / 2`` plus the penalty.

        Parameters
        ----------
        H : array (P, P)
            Positive semi-definite.
        g, x : arrays (P,)
            Slope at x, and where to begin.
        tol : float
            Largest violation of the optimality conditions that is left.

        Returns
        -------
        array (P,)
            Better than x, and the minimum to `tol` unless columns depend on each other so far that sweeps crawl.
        """
        V, U = self.vectors, len(self.l1)
        by_group = np.arange(V * U).reshape(V, U).T.ravel()  # a group's parameters side by side
        model = _Model(H[np.ix_(by_group, by_group)], self.l1, V)
        u = model.minimum(g[by_group], x[by_group].astype(np.float64), tol)
        return u.reshape(U, V).T.ravel()


def _growth(W: Any, step: Any) -> Any:
    """``|W_:j + step_:j| - |W_:j|`` of each column, without cancellation."""
    total = np.linalg.norm(W + step, axis=0) + np.linalg.norm(W, axis=0)
    return ((2 * W + step) * step).sum(axis=0) / np.where(total > 0, total, 1.0)


def _violation(G: Any, W: Any, l1: Any) -> Any:
    norm = np.linalg.norm(W, axis=0)
    pull = W * (l1 / np.where(norm > 0, norm, 1.0))
    return np.maximum(np.linalg.norm(G + pull, axis=0) - np.where(norm > 0, 0.0, l1), 0)


class _Model:
    """The quadratic, with each group's parameters side by side: flat (U V,)."""

    def __init__(self, H: Any, l1: Any, vectors: int) -> None:
        self.H, self.l1, self.V = H, l1, vectors
        U = len(l1)
        own = H.reshape(U, vectors, U, vectors)[np.arange(U), :, np.arange(U), :]
        self.curvature, self.axes = np.linalg.eigh(own)

    def minimum(self, g: Any, u: Any, tol: float) -> Any:
        r, newton = g.astype(np.float64), False  # r: the slope at u
        for turn in range(ROUNDS):
            v = _violation(r.reshape(-1, self.V).T, u.reshape(-1, self.V).T, self.l1)
            if v.max(initial=0) <= tol:
                break
            gained = self._newton(u, r) if newton else 0
            # after a step that was cut, a sweep; but not for ever, for it may bring back what the step put to zero
            if gained == 0 or (gained == 1 and turn < EAGER):
                free = np.flatnonzero(u.reshape(-1, self.V).any(axis=1) | (self.l1 == 0) | (v > tol))
                self._sweep(u, r, free)
            newton = True
        return u

    def _sweep(self, u: Any, r: Any, groups: Any) -> None:
        """One pass of exact minimisation over each of the groups, in place."""
        for j in groups.tolist():
            at = slice(j * self.V, (j + 1) * self.V)
            old = u[at].copy()
            e, Q = self.curvature[j], self.axes[j]
            own = e * (Q.T @ old)  # H_jj old, in the axes
            new = Q @ _group_minimum(e, Q.T @ r[at] - own, float(self.l1[j]))
            step = new - old
            if step.any():
                u[at] = new
                r += step @ self.H[at]

    def _newton(self, u: Any, r: Any) -> int:
        """A Newton step on the groups that are not zero, in place: 0 if it gains nothing, 1 if it was cut, else 2."""
        V = self.V
        groups = np.flatnonzero(u.reshape(-1, V).any(axis=1) | (self.l1 == 0))
        at, n = (groups[:, None] * V + np.arange(V)).ravel(), len(groups)
        here, l1, H = u[at].reshape(n, V), self.l1[groups], self.H[np.ix_(at, at)]
        norm = np.linalg.norm(here, axis=1)
        ahead = here / np.where(norm > 0, norm, 1.0)[:, None]
        bend = np.where(norm > 0, l1 / np.where(norm > 0, norm, 1.0), 0.0)
        full, each = H.copy(), np.arange(n)
        blocks = full.reshape(n, V, n, V)
        blocks[each, :, each, :] += bend[:, None, None] * (np.eye(V) - ahead[:, :, None] * ahead[:, None, :])
        scale = 1 / np.sqrt(np.maximum(full.diagonal(), 1e-300))
        full = full * scale[:, None] * scale
        right = scale * (r[at] + (l1[:, None] * ahead).ravel())
        for ridge in RIDGES:
            step = -scale * solved(full + ridge * np.eye(len(at)), right)
            best, gained, first = None, 0.0, None
            for new in _tries(here, step.reshape(n, V), l1):
                change = (new - here).ravel()
                moved = ((r[at] + 0.5 * (H @ change)) * change).reshape(n, V).sum(axis=1)
                gain = float((moved + l1 * _growth(here.T, change.reshape(n, V).T)).sum())
                first = new if first is None else first
                if gain < gained:
                    best, gained = new, gain
            if best is not None:
                r += (best - here).ravel() @ self.H[at]
                u[at] = best.ravel()
                return 2 if best is first else 1
        return 0


def _tries(here: Any, step: Any, l1: Any) -> Iterator[Any]:
    """The full step; where it turns groups round, with these put to zero, and cut to where the first of them turns."""
    turned = (((here + step) * here).sum(axis=1) < 0) & (l1 > 0)
    if not turned.any():
        yield here + step
        yield here + step / 4
        return
    yield np.where(turned[:, None], 0.0, here + step)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(turned, -(here**2).sum(axis=1) / (here * step).sum(axis=1), np.inf)
    first = int(t.argmin())
    cut = here + t[first] * step
    cut[first] = 0.0
    yield cut
    yield here + t[first] / 2 * step


def _group_minimum(e: Any, c: Any, l1: float) -> Any:
    """The minimum of ``c'w + sum_i e_i w_i^2 / 2 + l1 |w|``, w in the axes of the curvature e.

    Where it is not zero, its length n solves ``sum_i (c_i / (e_i n + l1))^2 = 1``. One over the root of that sum is
    concave in n and nearly straight, so Newton's method from zero rises to it.
    """
    e = np.maximum(e, FLAT * max(float(e[-1]), 1e-300))
    if l1 == 0:
        return np.where(e > 1e3 * FLAT * e[-1], -c / e, 0.0)
    if np.linalg.norm(c) <= l1:
        return np.zeros_like(c)
    n = 0.0
    for _ in range(LENGTHS):
        d = e * n + l1
        q = (c / d) ** 2
        total = float(q.sum())
        slope = float((q * e / d).sum())  # minus half the derivative of the sum
        step = total * (total**0.5 - 1) / max(slope, 1e-300)
        n += step
        if abs(step) <= 1e-15 * n:
            break
    return -c * n / (e * n + l1)
