"""An objective in coordinates that fit it, as the solvers take it: and fits that change both on their way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .class_factors import class_factors, worth_it
from .class_means import class_means, drawn, first_guess
from .class_means import worth_it as means_are_worth_it
from .coordinates import LARGE, Centred, Coordinates, SharedAndOwn

if TYPE_CHECKING:
    from .objective import SoftmaxObjective

Array = Any
# As rows become certain their curvature p (1 - p) falls, and coordinates made before understate every step.
STALE = 0.3
# ... which is looked into earlier where new coordinates cost half a pass.
STALE_CENTRED = 0.6
# Rows that tell whether they have.
LOOKED_AT = 2000
# ... and factors of each class are made again where it helps.
CHANGED = 0.7
# Iterations between two looks at the coordinates: usual ones, and first ones where each class is to get a factor,
# or one that costs few passes.
PATIENCE, FIRST, SOON = 40, 9, 6
# ... and where those of classes about their means were made at a guess: they are cheap, and soon better.
GUESSED = 2
# The convergence after the first ones, about; and passes that factors for the classes save for each digit of it.
USUAL, SAVED, FEW = 0.1, 11, 8
# ... and what coordinates to begin with may cost, in passes, where factors follow.
LITTLE = 0.7
# How far float32 passes are trusted, in the units of `tol`: their noise is some hundredths of that.
ROUGH = 1e-4


class Preconditioned:
    """An objective in new coordinates: a problem as `xent.solvers` takes it.

    Parameters
    ----------
    objective : SoftmaxObjective
    coordinates : Coordinates
    curvature : array
        What the coordinates were made from: `SoftmaxObjective.curvature` of all rows or, with a stride, of some.
    stride : int
    """

    patience = PATIENCE
    rough = False

    def __init__(
        self, objective: SoftmaxObjective, coordinates: Coordinates, curvature: Array, stride: int = 1
    ) -> None:
        self.objective, self.coordinates, self.stride = objective, coordinates, stride
        self._curvature, self._rows = float(curvature.sum()), len(curvature)
        self._largest = np.inf
        large = np.maximum(1, coordinates.sizes / LARGE)
        self._large = large if (large > 1).any() else None
        self._last: tuple[Array, Array] | None = None

    def to_parameters(self, v: Array) -> Array:
        """Coordinates, flat, to parameters (vectors, D [+ 1])."""
        # asked for after each iteration: a product of D x D, which the last value has made already
        if self._last is not None and np.array_equal(v, self._last[0]):
            return self._last[1].copy()
        return self.coordinates.to_parameters(v.reshape(self.objective.shape))

    def to_coordinates(self, theta: Array) -> Array:
        """Parameters to flat coordinates."""
        return np.ascontiguousarray(self.coordinates.to_coordinates(theta.reshape(self.objective.shape))).ravel()

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in the coordinates."""
        theta = np.ascontiguousarray(self.to_parameters(v))
        self._last = (v.copy(), theta)
        return self._here(*self.objective.value_and_grad(theta.ravel()))

    def _here(self, value: float, gradient: Array) -> tuple[float, Array]:
        """Value and gradient at the last point, the gradient of the parameters turned into that of the coordinates."""
        gradient = gradient.reshape(self.objective.shape)
        entries = np.abs(gradient)
        if self._large is not None:
            entries /= self._large
        self._largest = float(entries.max(initial=0))
        return value, np.ascontiguousarray(self.coordinates.pull_back(gradient)).ravel()

    def convergence(self, gradient: Array) -> float:
        """The larger of two gradient norms at the last point: the largest entry, and the length in the coordinates.

        The first is in the units of the features, as scikit-learn measures it (but for features so large that rounding
        alone is above any tolerance: those count as of size `LARGE`). The second is free of units, so that a
        fit of badly scaled features does not stop early: where the coordinates fit the place, half its square is the
        distance to the minimum, in nats, that a Newton step would gain.
        """
        return max(self._largest, float(np.linalg.norm(gradient)))

    def is_stale(self, theta: Array, left: float = 1.0) -> bool:
        """Whether rows at `theta` curve so much less than where the coordinates were made that these mislead."""
        return self._misleads(self._fallen(theta))

    def _misleads(self, fallen: float) -> bool:
        """Whether so much of the curvature is too little; where not, the next look is later: the solver's memory of
        steps ends with each.
        """
        stale = fallen < (STALE_CENTRED if isinstance(self.coordinates, Centred) else STALE)
        if not stale:
            self.patience = max(PATIENCE, 2 * self.patience)
        return stale

    def _fallen(self, theta: Array) -> float:
        """The rows' curvature at `theta` over that where the coordinates were made."""
        some = self.stride * max(1, self._rows // LOOKED_AT)
        return float(self.objective.curvature(theta, some).sum()) / max(self._curvature, 1e-300)

    def renewed(self, theta: Array, stuck: bool = False) -> Preconditioned:
        """The same objective in coordinates made at `theta`."""
        return self.objective.preconditioned(theta)


def usually_saved(tol: float) -> float:
    """Passes over X that coordinates of each class's own save on the way to a convergence of `tol`, about."""
    return SAVED * float(np.log10(max(1.0, USUAL / tol))) if tol > 0 else np.inf


def own_is_worth_it(f: SoftmaxObjective, passes: float) -> bool:
    """Whether coordinates of each class's own cost less than so many passes: factors, or where these do not fit into
    memory, what tells the classes from each other.
    """
    return worth_it(f, passes) if worth_it(f, np.inf) else means_are_worth_it(f, passes)


def own_coordinates(f: SoftmaxObjective, theta: Array) -> tuple[Coordinates, Array, int] | None:
    """Such coordinates at `theta` (K, P), the curvature that they were made of, of one row in how many; if any."""
    if worth_it(f, np.inf):
        return class_factors(f, theta)
    return class_means(f, theta) if means_are_worth_it(f, np.inf) else None


def begun(f: SoftmaxObjective, theta: Array, *, rough: SoftmaxObjective | None, tol: float) -> tuple[Any, Array]:
    """A fit's problem and where it begins: at `theta` (V, P), or where that is zero, at a guess if one is to be had."""
    options: Any = {"rough": rough, "tol": tol}
    cold, whole = not theta.any(), worth_it(f, np.inf)
    # with whole blocks to come, a guess and what it needs must cost next to nothing
    if (cold or not whole) and means_are_worth_it(f, LITTLE if whole else usually_saved(tol)):
        rows = drawn(f)
        guess = first_guess(f, rows) if cold else theta
        made = None if guess is None else class_means(f, guess, rows)
        if guess is not None and made is not None:
            return Staged(f, *made, by_class=True, young=1 if whole else 1 + cold, **options), guess
    return cast("Staged", f.preconditioned(None if cold else theta, Staged, **options)), theta


class Staged(Preconditioned):
    """Passes in float32 while the minimum is far, and a factor for each class where there is a way to go in them.

    Parameters
    ----------
    objective, coordinates, curvature, stride :
        As for `Preconditioned`.
    rough : SoftmaxObjective or None
        The same objective in float32. What ends a fit was computed by `objective`.
    tol : float
        The convergence at which the fit ends.
    by_class : bool
        Whether the coordinates are of each class's own already.
    young : int
        How often they are to be made again before they count as made near the minimum.
    alike : bool
        Whether those led nowhere: all classes are taken to be alike from then on.
    """

    def __init__(
        self,
        objective: SoftmaxObjective,
        coordinates: Coordinates,
        curvature: Array,
        stride: int = 1,
        *,
        rough: SoftmaxObjective | None = None,
        tol: float,
        by_class: bool = False,
        young: int = 0,
        alike: bool = False,
    ) -> None:
        super().__init__(objective, coordinates, curvature, stride)
        self._rough, self._tol, self._by_class, self._alike = rough, tol, by_class, alike
        self._young = young
        self._left = np.inf
        self._first, self._now, self._passes = np.inf, np.inf, 0
        self._known: tuple[float, Array] | None = None  # value and gradient of the parameters at the last point
        if young:
            self.patience = GUESSED if young > 1 else FIRST
        elif not (by_class or alike) and own_is_worth_it(objective, usually_saved(tol)):
            self.patience = SOON if own_is_worth_it(objective, FEW) else FIRST

    @property
    def rough(self) -> bool:  # type: ignore[override]
        """Whether passes are in float32."""
        return self._rough is not None

    def value_and_grad(self, v: Array) -> tuple[float, Array]:
        """Value and gradient in the coordinates."""
        known, self._known = self._known, None
        if self._last is None or not np.array_equal(v, self._last[0]):
            theta = self.coordinates.to_parameters(v.reshape(self.objective.shape))
            self._last = (v.copy(), np.ascontiguousarray(theta))
        elif known is not None:
            self._known = known
            return self._here(*known)
        self._passes += 1
        theta = self._last[1]
        if self._rough is not None:
            self._known = self._rough.value_and_grad(theta.ravel())
            value, gradient = self._here(*self._known)
            if np.isfinite(value) and self.convergence(gradient) > max(ROUGH, self._tol):
                return value, gradient
            self._rough = None
        self._known = self.objective.value_and_grad(theta.ravel())
        return self._here(*self._known)

    def convergence(self, gradient: Array) -> float:
        """As of `Preconditioned`."""
        self._now = super().convergence(gradient)
        self._first = self._now if np.isinf(self._first) else self._first
        return self._now

    def is_stale(self, theta: Array, left: float = 1.0) -> bool:
        """Whether the coordinates mislead, or better ones are worth what they cost to go `left` times nearer."""
        fallen = self._fallen(theta)
        stale, self._left = self._misleads(fallen), left
        if stale or left <= 1 or self._alike:
            return stale
        digits = float(np.log10(max(self._first / max(self._now, 1e-300), 1.1)))  # gained so far
        saved = 0.5 * float(np.log10(left)) * self._passes / digits
        if self._by_class and not self._young:
            return fallen < CHANGED and own_is_worth_it(self.objective, saved)
        return own_is_worth_it(self.objective, max(saved, SAVED * float(np.log10(left))))

    def renewed(self, theta: Array, stuck: bool = False) -> Preconditioned:
        """The same in coordinates made at `theta`; or here and in float64, if float32 has got `stuck`."""
        if stuck and self._rough is not None:
            self._rough = self._known = None
            return self
        objective = self.objective
        options: Any = {"rough": self._rough, "tol": self._tol}
        alike = self._alike or (stuck and self._by_class)
        # at the end of a fit, a look from the place itself is all that is wanted
        made = own_coordinates(objective, theta) if not alike and (self._by_class or self._left > 1) else None
        if made is not None:
            few = isinstance(made[0], SharedAndOwn)
            young = max(0, self._young - 1) if self._by_class else int(few)
            new = Staged(objective, *made, by_class=True, young=young, **options)
        else:
            new = cast("Staged", objective.preconditioned(theta, Staged, alike=alike, **options))
        if self._known is not None and self._last is not None and np.array_equal(theta, self._last[1]):
            v = new.to_coordinates(theta)
            there = np.ascontiguousarray(new.to_parameters(v))
            # but for what classes share, which is rounding unless a fit begins with it
            if np.abs(there - theta).max() <= (1e-5 if self.rough else 1e-10) * np.abs(theta).max():
                new._last, new._known = (v, there), self._known  # saves a pass
        return new
