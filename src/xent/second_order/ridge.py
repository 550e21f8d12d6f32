"""The softmax objective along a path of L2 penalties: what it was made of is kept, and coordinates made anew for each.

The blocks of the classes are the Hessian but for how classes hold each other, which the projection of `PerClass` does:
of all rows, a step with them leaves some hundredths of the way to the minimum; of the rows drawn here a tenth or two,
and about the means of the classes (`class_means.py`) not much more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..class_factors import ClassMoments, drawn_rows, softmax_in_place, worth_it
from ..class_means import ClassMeans, penalty_is_cheap
from ..class_means import worth_it as means_are_worth_it
from ..coordinates import LARGE, MOST_FACTORED, Centred, Coordinates, coordinates
from ..objective import SoftmaxObjective
from ..preconditioned import STALE

Array = Any
# Rows that tell how exact float32 is, and those of them that tell whether the metric is stale.
SAMPLE, LOOKED_AT = 4096, 512
# The share of the rows that tells the means of the classes, or of blocks as many for each feature of a class at most:
# what is made once for many points may cost more than in a fit. Means are not for features so many that another
# penalty costs more than this share of a pass.
MEANS, ROWS, SLIGHT = 1 / 4, 32, 1 / 4
# Passes spent without them for each that means cost, before they are made again.
AGAIN = 4
# What of the probabilities must have moved, row by row, for others to be worth making.
CHANGED = 0.02
# Of the values of passes in float64 and float32.
EXACT, ROUNDING = 1e-14, 1e-7
# Pairs that L-BFGS keeps: what is wrong with a few directions for each class stays, blocks are out by what is drawn.
FEW_WRONG, DRAWN_WRONG = 40, 10
# What float32 takes off a gradient is looked at again where the penalty is so many times weaker.
WEAKER = 4.0


class RidgePath:
    """An objective without a penalty, as `xent.solvers.ridge_path` takes it.

    Parameters
    ----------
    objective : SoftmaxObjective
        With ``l2=0``.
    squares : array (D [+ 1],)
        What the strength is multiplied with, for each coordinate of a class; 0 for a free one.
    rough : bool
        Whether passes are in float32 where that is exact enough and classes have factors of their own.
    """

    def __init__(self, objective: SoftmaxObjective, squares: Array, rough: bool = False) -> None:
        self.objective, self._each = objective, np.asarray(squares, np.float64)
        self.squares = np.tile(self._each, objective.vectors)
        self._sample = objective.thinned(max(1, objective.X.shape[0] // SAMPLE))
        self._rough = objective.in_dtype(np.float32) if rough else None
        self._ripe, self._of_classes = _of_classes(objective)
        self._classes: ClassMeans | ClassMoments | None = None
        self._p: Array = None  # of some rows, where those were made
        self._held: RidgeMetric | None = None
        self._spared = 0  # passes that factors were too young for
        self._seen = -1  # passes spent when last looked
        self._rounded: tuple[Array, float, Any, float] | None = None
        self._make(None)

    @property
    def coarse(self) -> bool:
        """Whether passes are in float32: coordinates that fit badly take its rounding for curvature."""
        return self._rough is not None and self._classes is not None

    @property
    def rounding(self) -> float:
        """Values closer than this are the same."""
        return ROUNDING if self.coarse else EXACT

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Of the mean cross-entropy."""
        return (self._rough if self._rough and self.coarse else self.objective).value_and_grad(theta)

    def shortest(self, theta: Array) -> Array:
        """Without what all classes share, which changes no probability: rounding adds up along a path."""
        return _own(theta.reshape(self.objective.shape)).ravel()

    def sharpen(self) -> bool:
        """Float64 from now on."""
        was, self._rough = self.coarse, None
        return was

    def doubt(self, metric: RidgeMetric, theta: Array) -> float:
        """What float32 does to a measure at theta, told from some of the rows.

        Rounding of one row knows nothing of another's, so that of the mean falls with the root of their number.
        """
        if not self.coarse:
            return 0.0
        if self._rounded is None or metric.strength * WEAKER < self._rounded[1]:
            _, exact = self._sample.value_and_grad(theta)
            _, rounded = self._sample.in_dtype(np.float32).value_and_grad(theta)
            share = float(np.sqrt(self._sample.X.shape[0] / self.objective.X.shape[0]))
            error = share * (rounded - exact)
            # at zero all rows round alike
            self._rounded = (error, metric.strength if theta.any() else np.inf, None, 0.0)
        error, strength, known, much = self._rounded
        if known is not metric:
            much = metric.measure(error)
            self._rounded = (error, strength, metric, much)
        return much

    def _make(self, theta: Array | None) -> None:
        f = self.objective
        curvature = f.curvature(theta, f.stride)
        self._about = f.about_means(curvature) if f.shape[1] > MOST_FACTORED else None
        if self._about is None:
            self._hessian, self._units = f.averaged_hessian(curvature)
        self._curvature = self._uncertainty(theta)

    def renew(self, theta: Array, spent: int) -> bool:
        """Make the metric at theta where rows curve so much less than where it was made, or where factors of the
        classes cost no more than the passes spent without them, and something has changed.
        """
        if spent == self._seen:  # nothing could have been saved
            return False
        self._seen = spent
        stale = self._uncertainty(theta) < STALE * self._curvature
        ripe = self._ripe(spent - self._spared)
        if not ripe and not (stale and self._classes):
            if stale:
                self._make(theta)
                self._seen = -1
            return stale
        p = self._probabilities(theta)
        if self._classes and not stale and np.abs(p - self._p).sum(axis=1).mean() < CHANGED:
            self._spared = spent
            return False
        self._p, self._spared, self._seen, self._held = p, 0, -1, None
        self._curvature = self._uncertainty(theta)
        self._classes = self._of_classes(theta)
        return True

    def _uncertainty(self, theta: Array | None) -> float:
        """The curvature of some rows at theta."""
        return float(self._sample.curvature(theta, max(1, self._sample.X.shape[0] // LOOKED_AT)).sum())

    def _probabilities(self, theta: Array) -> Array:
        p = np.empty((self._sample.X.shape[0], self.objective.classes))

        def look(rows: slice, z: Array) -> None:
            p[rows] = softmax_in_place(z)

        self._sample.use_logits(theta, slice(None), look)
        return p

    def metric(self, strength: float) -> RidgeMetric:
        """The coordinates for a strength."""
        if self._classes is not None:
            if self._held is None or self._held.strength != strength:
                inner = self._classes.coordinates(self._each, strength)
                if inner is None:  # squares that leave the range of numbers
                    self._classes, self._ripe = None, _never
                    return self.metric(strength)
                memory = DRAWN_WRONG if isinstance(self._classes, ClassMoments) else FEW_WRONG
                self._held = RidgeMetric(inner, self.objective.shape, strength, memory)
            return self._held
        return RidgeMetric(self._alike(strength), self.objective.shape, strength, FEW_WRONG)

    def _alike(self, strength: float) -> Coordinates:
        """Coordinates in which all classes are alike."""
        if self._about is not None:
            spread, mean, total = self._about
            D = len(mean)
            own = strength * float(self._each[-1]) if self.objective.fit_intercept else None
            return Centred(spread + strength * self._each[:D], mean, total, own)
        H, units, root = self._hessian.copy(), self._units, np.sqrt(strength * self._each)
        if self.objective.in_units:  # of features so small that the penalty over their squares is no number
            units = np.maximum(self._units, root)
            share = self._units / units
            H *= share**2 if H.ndim == 1 else share[:, None] * share
        np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += (root / units) ** 2
        return coordinates(H, units)


def _never(passes: float) -> bool:
    return False


def _of_classes(f: SoftmaxObjective) -> tuple[Callable[[float], bool], Callable[[Array], Any]]:
    """Whether coordinates of the classes' own are worth so many passes; and what has them, made at a point."""
    if means_are_worth_it(f, np.inf, MEANS) and penalty_is_cheap(f, SLIGHT):
        return lambda passes: means_are_worth_it(f, passes / AGAIN, MEANS), lambda theta: ClassMeans(f, theta, MEANS)
    rows = drawn_rows(f, ROWS)
    if worth_it(f, np.inf, rows):
        return lambda passes: worth_it(f, passes, rows), lambda theta: ClassMoments(f, theta, rows)
    return _never, _never


class RidgeMetric:
    """Coordinates as an approximate Hessian ``(T T')^-1``."""

    def __init__(self, inner: Coordinates, shape: tuple[int, int], strength: float, memory: int) -> None:
        self._inner, self._shape, self.strength, self.memory = inner, shape, strength, memory
        self.sizes = np.broadcast_to(inner.sizes, shape).ravel()

    def solve(self, gradient: Array) -> Array:
        """``T T' g``, flat."""
        g = _own(gradient.reshape(self._shape))
        return _own(self._inner.to_parameters(self._inner.pull_back(g))).ravel()

    def measure(self, gradient: Array) -> float:
        """As `xent.preconditioned.Preconditioned.convergence`: the largest entry, or the length in the coordinates."""
        g = _own(gradient.reshape(self._shape))
        entries = np.abs(g) / np.maximum(1, self._inner.sizes / LARGE)
        return max(float(entries.max(initial=0)), float(np.linalg.norm(self._inner.pull_back(g))))


def _own(each: Array) -> Array:
    """Without what all classes share: that of a gradient is rounding, which coordinates enlarge."""
    return each - np.add.reduce(each, axis=0) / len(each) if len(each) > 1 else each
