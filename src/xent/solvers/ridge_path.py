"""A smooth function plus ``lambda / 2 sum_j m_j theta_j^2`` for many lambda in turn, each from those before.

L-BFGS in the metric of a factored approximate Hessian, with three things kept along the path. The pairs of steps and
gradient changes: those of the function stay true for every lambda, to which the penalty adds a known term. The gradient
of the function: at a new lambda the first gradient costs nothing. And the path itself: the next point is extrapolated
in log lambda by the polynomial that would have told the last point best. Most points then need two to four passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from scipy import linalg

from .problem import Solution

MEMORY = 40
MOST_ORDER = 3  # of the polynomial: the points' own errors are multiplied by 2^(order + 1) - 1
ARMIJO = 1e-4
HALVINGS = 30
ROUNDING = 1e-14
# Iterations between two looks at the metric.
PATIENCE = 20


class Metric(Protocol):
    """An approximate Hessian at one lambda."""

    def solve(self, gradient: Any) -> Any:
        """Its inverse times a flat vector."""

    def measure(self, gradient: Any) -> float:
        """How far a point with this gradient is from a minimum."""


class RidgeProblem(Protocol):
    """What the solver needs."""

    squares: Any  # (P,): m

    def value_and_grad(self, theta: Any) -> tuple[float, Any]:
        """Of the function without its penalty, at flat parameters (P,)."""

    def metric(self, strength: float) -> Metric:
        """For the function and lambda times the penalty."""

    def renew(self, theta: Any) -> bool:
        """Make metrics at theta from now on, if those made before fit the place no longer; whether it did."""


class _Pairs:
    """The last steps and the changes of the function's gradient along them."""

    def __init__(self, squares: Any) -> None:
        self._squares = squares
        self._s: list[Any] = []
        self._y: list[Any] = []
        self._now: Any = None

    def add(self, s: Any, y: Any) -> None:
        """Keep one, if the function curves along it by more than rounding."""
        if s @ y > 1e-12 * np.linalg.norm(s) * np.linalg.norm(y):
            self._s, self._y, self._now = [*self._s, s][-MEMORY:], [*self._y, y][-MEMORY:], None

    def forget(self) -> bool:
        """Drop all; whether there were any."""
        had, self._s, self._y, self._now = bool(self._s), [], [], None
        return had

    def direction(self, gradient: Any, strength: float, metric: Metric) -> Any:
        """Minus the L-BFGS inverse Hessian times the gradient, in its compact form."""
        if not self._s:
            return -metric.solve(gradient)
        if self._now is None or self._now[0] != strength:
            S = np.array(self._s)
            Y = np.array(self._y) + strength * (S * self._squares)
            self._now = (strength, S, Y, np.triu(S @ Y.T))
        _, S, Y, R = self._now
        each = R.diagonal()
        alpha = linalg.solve_triangular(R, S @ gradient)
        scale = each[-1] / float(Y[-1] @ metric.solve(Y[-1]))
        r = scale * metric.solve(gradient - alpha @ Y)
        return -r - linalg.solve_triangular(R, each * alpha - Y @ r, trans=1) @ S


class _Path:
    """Solutions so far, and what they say of the next one."""

    def __init__(self) -> None:
        self._order, self._places, self._points, self._guesses = 1, [], [], []  # type: ignore[var-annotated]

    def guess(self, place: float) -> Any:
        """The next point, or None where there are too few."""
        self._guesses = []
        for order in range(1, min(MOST_ORDER, len(self._points) - 1) + 1):
            at, points = np.array(self._places[-order - 1 :]), self._points[-order - 1 :]
            others = ~np.eye(order + 1, dtype=bool)
            weights = [np.prod((place - at[o]) / (a - at[o])) for a, o in zip(at, others, strict=True)]
            self._guesses.append(sum(w * p for w, p in zip(weights, points, strict=True)))
        return self._guesses[min(self._order, len(self._guesses)) - 1] if self._guesses else None

    def add(self, place: float, point: Any) -> None:
        """The point that was found; of the orders of polynomials, the one that told it best is used next."""
        if place in self._places:
            return
        if self._guesses:
            best = int(np.argmin([np.linalg.norm(point - g) for g in self._guesses])) + 1
            newer = best == len(self._guesses) < MOST_ORDER  # the next order could not be tried yet
            self._order = best + newer
        self._places, self._points = [*self._places, place][-4:], [*self._points, point][-4:]


class _Walk:
    """Where the path is: the point, the function's value and gradient there, and the metric."""

    def __init__(self, problem: RidgeProblem, start: Any) -> None:
        self.problem, self.theta = problem, np.asarray(start, np.float64).ravel().copy()
        self.smooth, self.slope = problem.value_and_grad(self.theta)
        self.n_eval, self.strength = 1, 0.0
        self.pairs = _Pairs(problem.squares)
        self.metric: Any = None

    def at(self, strength: float) -> None:
        """Go to another lambda: no pass over the data."""
        self.strength, self.metric = strength, self.problem.metric(strength)

    def total(self, smooth: float, theta: Any) -> float:
        return smooth + 0.5 * self.strength * float((self.problem.squares * theta) @ theta)

    def gradient(self, slope: Any, theta: Any) -> Any:
        return slope + self.strength * self.problem.squares * theta

    def here(self) -> tuple[float, Any, float]:
        """Value, gradient and measure."""
        g = self.gradient(self.slope, self.theta)
        return self.total(self.smooth, self.theta), g, self.metric.measure(g)

    def attempt(self, theta: Any, most: float) -> bool:
        """Move there if the value is at most this, or the same to rounding with a smaller measure."""
        smooth, slope = self.problem.value_and_grad(theta)
        self.n_eval += 1
        value, _, measure = self.here()
        there = self.total(smooth, theta)
        level = abs(there - value) <= ROUNDING * max(1.0, abs(value))
        if not (there <= most or (level and self.metric.measure(self.gradient(slope, theta)) < measure)):
            return False
        self.pairs.add(theta - self.theta, slope - self.slope)
        self.theta, self.smooth, self.slope = theta, smooth, slope
        return True

    def step(self) -> bool:
        """One iteration; whether anything was gained."""
        value, g, _ = self.here()
        d = self.pairs.direction(g, self.strength, self.metric)
        slope, t = float(g @ d), 1.0
        for _ in range(HALVINGS if slope < 0 else 0):
            if self.attempt(self.theta + t * d, value + ARMIJO * t * slope):
                return True
            t /= 2
        return self.pairs.forget() and self.step()


def ridge_path(
    problem: RidgeProblem, strengths: Sequence[float], start: Any, *, tol: float, max_iter: int
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

    Returns
    -------
    list of Solution
        `n_eval` counts the passes over the data that each took.

    References
    ----------
    R. H. Byrd, J. Nocedal & R. B. Schnabel, "Representations of quasi-Newton matrices and their use in limited memory
    methods", Math. Programming 63, 1994 (the compact form). E. L. Allgower & K. Georg, *Numerical Continuation
    Methods*, 1990 (predictor and corrector).
    """
    walk, path = _Walk(problem, start), _Path()
    found: list[Solution] = []
    for strength in strengths:
        walk.at(strength)
        passes, n_iter, stuck = walk.n_eval if found else 0, 0, False
        place = float(np.log(max(strength, 1e-300)))
        guess = path.guess(place)
        if guess is not None and walk.here()[2] > tol and max_iter:
            walk.attempt(guess, walk.here()[0])
            n_iter = 1
        while True:
            done = walk.here()[2] <= tol
            if (done or stuck or n_iter % PATIENCE == PATIENCE - 1) and problem.renew(walk.theta):
                walk.at(strength)
                stuck = False
                continue
            if done or stuck or n_iter >= max_iter:
                break
            stuck = not walk.step()
            n_iter += 1
        value, g, measure = walk.here()
        # a step that nobody pays a pass for: not certified, so not the answer, but nearer to it
        path.add(place, walk.theta + walk.pairs.direction(g, strength, walk.metric))
        message = "converged" if done else "no step gains more than rounding" if stuck else "no iterations left"
        found.append(Solution(walk.theta, value, measure, n_iter, walk.n_eval - passes, done, message))
    return found
