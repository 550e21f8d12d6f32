"""SAGA: a step for each part of a sum, freed of the noise of parts by a table of every part's last slopes.

For sums over rows that come in blocks, with a penalty that has a proximal step (L1, elastic net). It needs of each
block the slopes in the logits and their product with the features, and of the penalty the proximal step. It keeps the
slopes of every row, not gradients: as many numbers as there are logits, whatever the number of features.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, Protocol

import numpy as np

from .problem import Callback, Solution

# An epoch whose values, on the way, rise by more than rounding has taken too long steps.
RISE = 1e-3
# Epochs between two looks ahead.
MEMORY = 5
# Whole passes that bring the measure no further, after which rounding has won.
TIRED = 10


class Block(Protocol):
    """Some of the rows."""

    @property
    def name(self) -> Hashable:
        """Which it is."""

    @property
    def smoothness(self) -> float:
        """What no curvature of its part of the sum is above."""

    def slopes(self, x: Any) -> tuple[float, Any]:
        """Its part of the sum at x, and the slopes in its logits."""

    def pull_back(self, slopes: Any) -> Any:
        """The gradient of its part, flat, from slopes."""


class FiniteSum(Protocol):
    """What the solver needs. x is flat, in coordinates of the problem's choice."""

    def blocks(self) -> Iterator[Block]:
        """Every block once, the same blocks each time, in an order of the problem's choice."""

    def proximal(self, x: Any, step: float) -> Any:
        """Where ``|y - x|^2 / (2 step)`` plus the penalty of y is least."""

    def penalty(self, x: Any) -> float:
        """The penalty."""

    def measure(self, x: Any, gradient: Any) -> float:
        """How far x, where the sum has this gradient, is from a minimum, in the problem's own units."""

    def to_parameters(self, x: Any) -> Any:
        """The parameters."""


class _Table:
    """The slopes of each block when it was last seen, and the gradient that they make together."""

    def __init__(self, problem: FiniteSum, x: Any) -> None:
        self.slopes: dict[Hashable, Any] = {}
        self.gradient, self.value, self.steepest = np.zeros_like(x), problem.penalty(x), 0.0
        for block in problem.blocks():
            value, slopes = block.slopes(x)
            self.slopes[block.name] = slopes
            self.gradient += block.pull_back(slopes)
            self.value += value
            self.steepest = max(self.steepest, block.smoothness)


def saga(problem: FiniteSum, start: Any, *, tol: float, max_iter: int, callback: Callback | None = None) -> Solution:
    """Minimise from `start` until ``problem.measure``, of a pass over all blocks at one point, is at most `tol`.

    With M blocks, steps are ``1 / (M max_b smoothness_b)`` long, three times what the theory proves enough for random
    blocks. The table's gradient says, for nothing, when a pass is worth while that makes sure. An epoch on whose way
    the objective rises is taken back, and the steps are halved. Every `MEMORY` epochs the run looks ahead to where
    their ends lead, and goes on from there if the objective is lower: correlated features take far fewer epochs so.

    Parameters
    ----------
    problem : FiniteSum
    start : array (P,)
        In the problem's coordinates.
    tol : float
    max_iter : int
        Most epochs.
    callback : callable, optional
        Called with the parameters, the objective on the way and the table's measure after each epoch.

    Returns
    -------
    Solution
        `n_iter` counts epochs, `n_eval` passes over all blocks, those that make sure included. The measure is of the
        last of these, at the solution.

    References
    ----------
    A. Defazio, F. Bach & S. Lacoste-Julien, "SAGA: a fast incremental gradient method with support for non-strongly
    convex composite objectives", NIPS 2014. D. Scieur, A. d'Aspremont & F. Bach, "Nonlinear acceleration of stochastic
    algorithms", NIPS 2017 (the looks ahead).
    """
    x = np.array(start, np.float64)
    table = _Table(problem, x)
    M, n_iter, n_eval, tired = len(table.slopes), 0, 1, 0
    step = 1 / (M * table.steepest) if table.steepest > 0 else 1.0
    measure, value, below = problem.measure(x, table.gradient), table.value, tol
    last, path = value, [x]
    while measure > tol and n_iter < max_iter and tired < TIRED:
        on_the_way, before = 0.0, x
        for block in problem.blocks():
            part, slopes = block.slopes(x)
            change = block.pull_back(slopes - table.slopes[block.name])
            on_the_way += part + problem.penalty(x) / M
            x = problem.proximal(x - step * (M * change + table.gradient), step)
            table.gradient += change
            table.slopes[block.name] = slopes
        n_iter, n_eval = n_iter + 1, n_eval + 1
        if not on_the_way <= last + RISE * max(1.0, abs(last)):
            step, x = step / 2, before
            table, n_eval = _Table(problem, x), n_eval + 1
            last, path = table.value, []
        else:
            last = on_the_way
        path.append(x)
        if len(path) > MEMORY:
            ahead = _extrapolated(path)
            there, n_eval, path = _Table(problem, ahead), n_eval + 1, []
            if there.value < last:
                x, table, last = ahead, there, there.value
        guess = problem.measure(x, table.gradient)
        if guess <= below or n_iter >= max_iter:
            table, n_eval = _Table(problem, x), n_eval + 1
            sure = problem.measure(x, table.gradient)
            tired = 0 if sure < measure else tired + 1
            measure, value, below = sure, table.value, max(guess / 2, tol * 1e-3)
        if callback is not None:
            callback(problem.to_parameters(x), last, guess)
    done = bool(measure <= tol)
    message = "converged" if done else "no epochs left" if n_iter >= max_iter else "no epoch gains more than rounding"
    return Solution(problem.to_parameters(x), value, measure, n_iter, n_eval, done, message)


def _extrapolated(path: list[Any]) -> Any:
    """Where the points would end if each step were the same linear map of the one before."""
    points = np.array(path)
    steps = np.diff(points, axis=0)
    products = steps @ steps.T
    products[np.diag_indices(len(products))] += 1e-12 * np.trace(products) + 1e-300
    share = np.linalg.solve(products, np.ones(len(products)))
    return (share / share.sum()) @ points[1:]
