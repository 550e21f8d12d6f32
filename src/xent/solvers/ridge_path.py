"""A smooth function plus ``lambda / 2 sum_j m_j theta_j^2`` for many lambda in turn, each from those before.

L-BFGS in the metric of a factored approximate Hessian, with three things kept along the path. The pairs of steps and
gradient changes: those of the function stay true for every lambda, to which the penalty adds a known term. The gradient
of the function: at a new lambda the first gradient costs nothing. And the path itself: the next point is told from
those before (`Foresight`). Most points then need one or two passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from scipy.linalg import blas

from .foresight import Foresight
from .problem import Solution

MEMORY = 40
ARMIJO = 1e-4
HALVINGS = 30
# Iterations between two looks at the metric.
PATIENCE = 20
# Iterations in a row of coarse passes that come no nearer: no more will.
LEVEL = 20
# Iterations of a point before another solver takes over, after it has had to once.
AFTERWARDS = 5


class Metric(Protocol):
    """An approximate Hessian at one lambda."""

    sizes: Any  # (P,): about the roots of its diagonal
    memory: int  # how many of the last pairs tell more of the Hessian than it does, at most `MEMORY`

    def solve(self, gradient: Any) -> Any:
        """Its inverse times a flat vector."""

    def measure(self, gradient: Any) -> float:
        """How far a point with this gradient is from a minimum."""


class RidgeProblem(Protocol):
    """What the solver needs."""

    squares: Any  # (P,): m

    @property
    def rounding(self) -> float:
        """Values closer than this, over the larger of themselves and 1, are the same."""

    @property
    def coarse(self) -> bool:
        """Whether passes can be more exact, if need be."""

    def value_and_grad(self, theta: Any) -> tuple[float, Any]:
        """Of the function without its penalty, at flat parameters (P,)."""

    def shortest(self, theta: Any) -> Any:
        """The point of least penalty of those that are known to have the value of theta without it."""

    def metric(self, strength: float) -> Metric:
        """For the function and lambda times the penalty."""

    def renew(self, theta: Any, spent: int) -> bool:
        """Make metrics at theta from now on, if those made before fit the place no longer; whether it did.

        `spent` is how many passes were made since then but for the first of each lambda, which none can save.
        """

    def doubt(self, metric: Any, theta: Any) -> float:
        """What rounding may take off a measure at theta."""

    def sharpen(self) -> bool:
        """Compute more exactly from now on; False where that cannot be."""


class _Pairs:
    """The last steps and the changes of the function's gradient along them: S and Y (MEMORY, P), a ring.

    Products of steps with changes, and with the penalty's, are kept, so that another lambda costs no product of these.
    """

    def __init__(self, squares: Any) -> None:
        self._squares, self._count = squares, 0
        self._ring = np.empty((2, MEMORY, len(squares)))
        # s_i y_j and s_i diag(m) s_j, right where j is not before i
        self._sy, self._ss = np.zeros((2, MEMORY, MEMORY))

    def add(self, s: Any, y: Any) -> None:
        """Keep one, if the function curves along it by more than rounding."""
        if not s @ y > 1e-12 * np.linalg.norm(s) * np.linalg.norm(y):
            return
        at, self._count = self._count % MEMORY, self._count + 1
        self._ring[:, at] = s, y
        S = self._ring[0, : self._count]
        self._sy[: len(S), at], self._ss[: len(S), at] = S @ y, S @ (self._squares * s)

    def forget(self) -> bool:
        """Drop all; whether there were any."""
        had, self._count = self._count > 0, 0
        return had

    def direction(self, gradient: Any, strength: float, metric: Metric) -> Any:
        """Minus the L-BFGS inverse Hessian times the gradient, in its compact form."""
        at = np.arange(max(0, self._count - min(MEMORY, metric.memory)), self._count) % MEMORY  # oldest first
        R = np.triu((self._sy + strength * self._ss)[np.ix_(at, at)])
        if not len(at) or not np.isfinite(R).all():  # parameters whose squares no number holds
            return -metric.solve(gradient)
        (S, Y), penalty = self._ring[:, : self._count], strength * self._squares

        def weighted(of: Any, weights: Any) -> Any:
            each = np.zeros(len(S))
            each[at] = weights
            return each @ of

        each, last = R.diagonal(), Y[at[-1]] + penalty * S[at[-1]]
        alpha = blas.dtrsv(R, (S @ gradient)[at])
        scale = each[-1] / float(last @ metric.solve(last))
        r = scale * metric.solve(gradient - weighted(Y, alpha) - penalty * weighted(S, alpha))
        along = (Y @ r + S @ (penalty * r))[at]
        return -r - weighted(S, blas.dtrsv(R, each * alpha - along, trans=1))


class _Walk:
    """Where the path is: the point, the function's value and gradient there, and the metric."""

    def __init__(self, problem: RidgeProblem, start: Any) -> None:
        self.problem, self.theta = problem, np.asarray(start, np.float64).ravel().copy()
        self.pairs = _Pairs(problem.squares)
        self.n_eval, self.spent, self.strength = 0, 0, 0.0
        self.metric: Any = None
        self.smooth, self.slope = self._pass(self.theta)

    def _pass(self, theta: Any) -> tuple[float, Any]:
        self.n_eval += 1
        return self.problem.value_and_grad(theta)

    def at(self, strength: float) -> None:
        """Go to another lambda, without a pass over the data."""
        self.strength, self.metric = strength, self.problem.metric(strength)
        self._look()

    def _look(self, measure: float | None = None) -> None:
        """Value, gradient, measure (where it is not known) and what may be wrong with it, at the point."""
        self.value, self.gradient = self._total(self.smooth, self.theta), self._penalised(self.slope, self.theta)
        self.measure = self.metric.measure(self.gradient) if measure is None else measure
        self.doubt = self.problem.doubt(self.metric, self.theta)

    def _total(self, smooth: float, theta: Any) -> float:
        return smooth + 0.5 * self.strength * float((self.problem.squares * theta) @ theta)

    def _penalised(self, slope: Any, theta: Any) -> Any:
        return slope + self.strength * self.problem.squares * theta

    def is_within(self, tol: float) -> bool:
        """Whether the point is a minimum, rounding and all."""
        return self.sure_measure <= tol

    @property
    def sure_measure(self) -> float:
        """The measure with its rounding, of which neither knows of the other: squares add up."""
        return float(np.hypot(self.measure, self.doubt))

    def renew(self) -> bool:
        """Another metric, if it is time for one."""
        if not self.problem.renew(self.theta, self.spent):
            return False
        self.spent = 0
        self.at(self.strength)
        return True

    def sharpen(self) -> bool:
        """More exact passes from here on, if there are."""
        if not self.problem.sharpen():
            return False
        self.smooth, self.slope = self._pass(self.theta)
        self._look()
        return True

    def guess(self, theta: Any) -> None:
        """Move there if the value is less, or the same to rounding with a smaller measure."""
        theta = self.problem.shortest(theta)
        smooth, slope = self._pass(theta)
        fallen = self.value - self._total(smooth, theta)
        measure = self.metric.measure(self._penalised(slope, theta))
        if fallen > 0 or (fallen >= -self._rounding and measure < self.measure):
            self._move(theta, smooth, slope, measure)

    def step(self) -> bool:
        """One iteration; whether anything was gained."""
        d = self.pairs.direction(self.gradient, self.strength, self.metric)
        fall, t = -float(self.gradient @ d), 1.0
        for _ in range(HALVINGS if fall > 0 else 0):
            self.spent += 1
            theta = self.problem.shortest(self.theta + t * d)
            smooth, slope = self._pass(theta)
            fallen, there = self.value - self._total(smooth, theta), self._penalised(slope, theta)
            gained = fallen >= ARMIJO * t * fall
            if abs(fallen) <= self._rounding and self.problem.coarse:
                # slopes tell of a fall that is too small for values
                gained = float(there @ d) <= (1 - 2 * ARMIJO) * fall
            elif abs(fallen) <= self._rounding:
                gained = gained or self.metric.measure(there) < self.measure
            if gained:
                self._move(theta, smooth, slope)
                return True
            t /= 2
        return self.pairs.forget() and self.step()

    @property
    def _rounding(self) -> float:
        return self.problem.rounding * max(1.0, abs(self.value))

    def go(self, theta: Any) -> None:
        """Move there, whatever the value is."""
        self._move(theta, *self._pass(theta))

    def _move(self, theta: Any, smooth: float, slope: Any, measure: float | None = None) -> None:
        self.pairs.add(theta - self.theta, slope - self.slope)
        self.theta, self.smooth, self.slope = theta, smooth, slope
        self._look(measure)


def ridge_path(
    problem: RidgeProblem,
    strengths: Sequence[float],
    start: Any,
    *,
    tol: float,
    max_iter: int,
    hard: Callable[[int, Solution], Solution] | None = None,
    after: int = 0,
) -> list[Solution]:
    """The minimum for each strength, in the order given: from strong to weak is the natural one.

    Parameters
    ----------
    problem : RidgeProblem
    strengths : sequence of floats
        The values of lambda, not negative.
    start : array (P,)
    tol : float
        In the units of the metric's measure.
    max_iter : int
        Most iterations for each of them.
    hard : callable, optional
        Another solver, for points that are hard for this one: ``hard(i, there)`` goes on from an unfinished solution
        for the i-th strength.
    after : int
        The iterations after which a point is left to it.

    Returns
    -------
    list of Solution
        `n_eval` counts the passes over the data that each took.

    References
    ----------
    R. H. Byrd, J. Nocedal & R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited memory
    methods", Math. Programming 63, 1994 (the compact form). W. W. Hager & H. Zhang, "A new conjugate gradient method
    with guaranteed descent and an efficient line search", SIAM J. Optim. 16, 2005 (slopes where rounding hides values).
    E. L. Allgower & K. Georg, *Numerical Continuation Methods*, 1990 (predictor and corrector).
    """
    walk, told = _Walk(problem, start), Foresight()
    found: list[Solution] = []
    for i, strength in enumerate(strengths):
        passes = walk.n_eval if found else 0
        walk.at(strength)
        place = float(np.log(max(strength, 1e-300)))
        n_iter, guess = 0, told.next(place)
        if guess is not None and not walk.is_within(tol) and max_iter:
            walk.guess(guess)
            n_iter = 1
        end = _minimum(walk, tol, n_iter, min(max_iter, after) if hard else max_iter)
        if hard and not end.converged and end.n_iter < max_iter:
            more = hard(i, replace(end, n_eval=walk.n_eval - passes))
            walk.n_eval = passes + more.n_eval
            if more.convergence < end.convergence:
                walk.go(problem.shortest(more.x.ravel()))
                end, after = replace(more, x=walk.theta), min(after, AFTERWARDS)
        # a step that nobody pays a pass for: not certified, so not the answer, but nearer to it
        nearer = walk.theta + walk.pairs.direction(walk.gradient, strength, walk.metric)
        told.add(place, nearer, walk.metric.sizes)
        found.append(replace(end, n_eval=walk.n_eval - passes))
    return found


def _minimum(walk: _Walk, tol: float, n_iter: int, max_iter: int) -> Solution:
    """Iterate to the minimum for the walk's lambda, or until no more iterations are left."""
    stuck, best, level = False, walk.measure, 0
    while True:
        done, hidden = walk.is_within(tol), walk.doubt > tol / 2 or (walk.problem.coarse and level >= LEVEL)
        if (done or stuck or n_iter % PATIENCE == PATIENCE - 1) and walk.renew():
            stuck, best, level = False, walk.measure, 0
        elif not done and (stuck or hidden) and walk.sharpen():
            stuck = False
        elif done or stuck or n_iter >= max_iter:
            break
        else:
            stuck = not walk.step()
            n_iter += 1
            best, level = (walk.measure, 0) if walk.measure < best else (best, level + 1)
    message = "converged" if done else "no step gains more than rounding" if stuck else "no iterations left"
    return Solution(walk.theta, walk.value, walk.sure_measure, n_iter, walk.n_eval, done, message)
