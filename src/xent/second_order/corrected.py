"""A Hessian that steps correct (BFGS), and that new coordinates join without the corrections being made again."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any
# Changes of the slope below this are rounding, and teach nothing about the curvature.
LEAST_CHANGE = 1e-13
# Of a curvature that is corrected, the least share that a step may leave of the one it had.
LEAST_CURVATURE = 1e-6


class Corrected:
    """``B_i = B + sum_i (c_i c_i' / h_i - a_i a_i' / k_i)``: steps s_i changed the slope by c_i, where B said a_i.

    With ``d_i = c_i / h_i - a_i / k_i`` it is ``B_i = B T_i`` in the coordinates that the steps move, where
    ``T_i = T_(i-1) (I + s_i d_i') = I + V D'``. What a step changed of the slope of a coordinate that came later is
    what the model says, there ``c_i = a_i``; so B_i's rows of new coordinates are ``B (I + V D')``, at once for all i.

    Parameters
    ----------
    start : float64 array (P, P)
        B.

    References
    ----------
    J. Nocedal & S. Wright, "Numerical Optimization", 2nd ed., 2006, eq. 6.19.

    Examples
    --------
    >>> H = Corrected(np.eye(2))
    >>> H.correct(np.array([1.0, 0.0]), np.array([3.0, 1.0]))
    >>> H.matrix @ [1.0, 0.0]
    array([3., 1.])
    """

    def __init__(self, start: Array) -> None:
        self.matrix = start.copy()
        self._steps: list[Array] = []
        self._shares: list[Array] = []  # columns of D
        self._bends: list[float] = []  # 1 / h - 1 / k
        self._made = 0  # steps in whose place a column of V is kept

    def correct(self, step: Array, change: Array) -> None:
        """Make the matrix times the step (P,) the change (P,) of the slope, where that is more than rounding."""
        if np.abs(change).max(initial=0) <= LEAST_CHANGE:
            return
        H = self.matrix
        along = H @ step
        had, has = float(step @ along), float(step @ change)
        if has <= LEAST_CURVATURE * had or had <= 0:
            return
        gained, lost = change / has, along / had
        H += np.outer(change, gained)
        H -= np.outer(along, lost)
        self._steps.append(step)
        self._shares.append(gained - lost)
        self._bends.append(1 / has - 1 / had)

    def grow(self, start: Array, kept: Array) -> None:
        """Follow B to more coordinates: the new one (P', P'), and the places (P,) that the old ones have in it."""
        new = np.setdiff1d(np.arange(len(start)), kept)
        old, self.matrix = self.matrix, start.copy()
        if not self._steps:
            return
        moves, shares = np.zeros((2, len(self._steps), len(start)))  # V' and D'
        moves[:, kept], shares[:, kept] = self._steps, self._shares
        for i in range(self._made, len(moves)):
            moves[i] += (shares[:i] @ moves[i]) @ moves[:i]
        changes = start[new] @ moves.T  # what each step changed of the new slopes
        shares[:, new] = (changes * self._bends).T
        self.matrix[np.ix_(kept, kept)] = old
        self.matrix[new] += changes @ shares
        self.matrix[np.ix_(kept, new)] = self.matrix[np.ix_(new, kept)].T
        self._steps, self._shares, self._made = list(moves), list(shares), len(moves)
