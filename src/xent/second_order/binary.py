"""Two classes with an L1 penalty: one logit a row, one Hessian kept and corrected, columns left out by bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..objective import SoftmaxObjective
from .bounds import SlopeBounds
from .columns import Columns
from .corrected import Corrected
from .rows import gradient
from .sparse import INTERCEPT_STEPS, MOST_COORDINATES, MOST_FLOPS, L1Objective

Array = Any
# A gradient is not taken of all columns where its bounds leave no more than this many to be looked at: each stays at
# hand, where every model reads it.
FEW = 4
# When columns of a sparse X are read out, which is one pass for any number, so are those whose slope is above this
# share of their penalty.
NEAR = 0.8
# Where the columns at hand have no more than this share of X, models with them are cheap beside a look at all.
SMALL = 2 / 3


class BinaryL1Objective(L1Objective):
    """`L1Objective` of two classes.

    It keeps the columns of the working set, and their Hessian, from one model to the next and from one penalty of a
    path to the next: the Hessian is corrected by what each step shows (BFGS) and made anew where a step shows it to be
    wrong. On a path with dense X a column whose slope is shown to be below its penalty by `SlopeBounds` is not read.

    Parameters
    ----------
    objective : SoftmaxObjective
        Of two classes.
    l1, intercept_l1, known
        As there.

    References
    ----------
    J. D. Lee, Y. Sun & M. A. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIOPT 24,
    2014 (quasi-Newton models).
    """

    def __init__(
        self, objective: SoftmaxObjective, l1: Array, intercept_l1: float = 0.0, known: L1Objective | None = None
    ) -> None:
        super().__init__(objective, l1, intercept_l1, known)
        self.r: Array = None  # the slope of the loss in the logits, (N,)
        self._pulled: tuple[Array, Array, Array] | None = None  # residuals, columns, and their slopes
        self._seen: tuple[Array, Array] | None = None  # residuals and gradient of the last pass over all columns
        self._bounds: SlopeBounds | None = None  # from those before, on a path
        self.columns: Columns
        self._part: BinaryPart
        if isinstance(known, BinaryL1Objective):
            self.columns, self._part, self._seen, self._bounds = known.columns, known._part, known._seen, known._bounds
            self._part.problem = self
            if self._bounds is None and not sparse.issparse(objective.X):
                self._bounds = SlopeBounds(objective.X)
                if self._seen is not None:
                    self._bounds.add(self._seen[0], self._seen[1][: objective.X.shape[1]])
        else:
            self.columns, self._part = Columns(objective), BinaryPart(self)

    def stand(self, z: Array, loss: float | None = None) -> None:
        """Make the logits z (N, 1) those of the present point."""
        self.loss, p, self.r = self.tried(z)
        self.z, self.p = z, p[:, None]

    def tried(self, z: Array) -> tuple[float, Array, Array]:
        """The loss, probabilities (N,) and residuals (N,) of logits (N, 1)."""
        return self.objective.backend.logistic_rows(z[:, 0], self.rows.label, self.rows.weight)

    def _take_over(self, known: L1Objective) -> None:
        super()._take_over(known)
        self.r = known.r if isinstance(known, BinaryL1Objective) else self.rows.residual(self.p)[:, 0]
        self._slope = self._whole_gradient()  # what stood for a slope below that penalty may not be below this one

    def pulled(self) -> Array:
        """The slopes of the loss in the columns at hand, (p,)."""
        features = self.columns.features
        if self._pulled is None or self._pulled[0] is not self.r or self._pulled[1] is not features:
            known = self._seen is not None and self._seen[0] is self.r
            slopes = self._seen[1][features] if known else self.columns.pull_back(self.r)  # type: ignore[index]
            self._pulled = self.r, features, slopes
        return self._pulled[2]

    def _logits(self, theta: Array) -> Array:
        """Logits (N, 1): from the columns at hand, where no others count."""
        D, held = self.objective.X.shape[1], self.columns.features
        if np.count_nonzero(theta[:D]) > np.count_nonzero(theta[held]):
            return super()._logits(theta)
        z = self.columns.product(theta[held]) if len(held) else np.zeros(self.objective.X.shape[0])
        z = (z + theta[D:].sum())[:, None]
        return z if self.objective.offset is None else z + self.objective.offset

    def _fit_intercept(self, theta: Array) -> None:
        """Newton on the intercept alone, to rounding: the duality gap asks that its slope is zero."""
        for _ in range(INTERCEPT_STEPS):
            slope = float(self.r.sum())
            if abs(slope) <= 1e-15:
                return
            curvature = float(self.rows.curvature(self.p, 0, 0).sum())
            step = float(np.clip(-slope / max(curvature, 1e-300), -4.0, 4.0))
            z = self.z + step
            loss, p, r = self.tried(z)
            if loss > self.loss + 1e-14 * max(1.0, self.loss):
                return
            self.z, self.loss, self.p, self.r = z, loss, p[:, None], r
            theta[-1] += step

    def _whole_gradient(self) -> Array:
        """The gradient of the loss; where bounds show that a column stays at zero, some slope that says so too."""
        found = self._by_bounds()
        if found is not None:
            return found.copy()
        self.passes += 1
        if sparse.issparse(self.objective.X):
            found = self.objective.backend.pull_back(self.objective.X, self.r)
            found = np.append(found, self.r.sum()) if self.objective.fit_intercept else found
        else:
            found = gradient(self.objective, self.r[:, None]).ravel()
        self._seen = (self.r, found)
        if self._bounds is not None:
            self._bounds.add(self.r, found[: self.objective.X.shape[1]])
        return found.copy()

    def _by_bounds(self) -> Array | None:
        """The gradient without a pass over all columns, or None where the bounds leave too many of them."""
        if self._seen is not None and self._seen[0] is self.r:
            return self._seen[1]
        if self._seen is None or self._bounds is None:
            return None
        D = self.objective.X.shape[1]
        about, bound = self._bounds(self.r)
        bound[self.theta[:D] != 0] = np.inf
        bound[self.columns.features] = 0.0  # these are read
        unclear = np.flatnonzero(~(bound <= self.l1[:D]))
        if len(unclear) > FEW:
            return None
        self.columns.cover(unclear, all_others=True)
        found = np.append(about, self.r.sum()) if self.objective.fit_intercept else about
        found[self.columns.features] = self.pulled()
        return found

    def parts(self, chosen: Array) -> list[Any]:
        """The problem on the chosen coordinates and those whose columns are at hand, or cut where that is too large."""
        D, N = self.objective.X.shape[1], self.objective.X.shape[0]
        features = chosen[chosen < D]
        if swept := self._swept(chosen):
            return [swept]
        dense = not sparse.issparse(self.objective.X)
        if len(features) > MOST_COORDINATES or (dense and N * float(len(features)) ** 2 > MOST_FLOPS):
            return super().parts(chosen)
        if not dense and (self.columns.place[features] < 0).any():
            near = np.abs(self._slope[:D]) > NEAR * self.l1[:D]
            near[features] = True
            if np.count_nonzero(near) <= MOST_COORDINATES:
                features = np.flatnonzero(near)
        self.columns.cover(features)
        self._part.refit()
        return [self._part]


class BinaryPart:
    """The problem on the columns at hand and the intercept, with a Hessian that steps correct."""

    def __init__(self, problem: BinaryL1Objective) -> None:
        self.problem = problem
        self.coordinates = self.units = np.empty(0, np.int64)
        self._features: Array = None
        self._hessian: Corrected | None = None  # of the loss alone
        self._made: tuple[Array, int, Array] | None = None  # weights of the rows, step, and products of the columns
        self._last: tuple[Array, Array] | None = None  # parameters and slope of the loss, for the next correction
        self._tried: tuple[Array, float, Any] | None = None
        self._change: tuple[Array, Array] | None = None

    def refit(self) -> None:
        """Follow the columns at hand: where there are more now, products with the others are added."""
        f, features, before = self.problem.objective, self.problem.columns.features, self._features
        if before is features:
            return
        self._features, self._last = features, None
        end = [f.shape[1] - 1] if f.fit_intercept else []
        self.coordinates = self.units = np.concatenate([features, np.asarray(end, np.int64)])
        if self._made is None or not np.array_equal(features[: len(before)], before):
            self._made = self._hessian = None
            return
        weight, step, gram = self._made
        self._made = weight, step, self.problem.columns.gram(weight, step=step, known=gram)
        assert self._hessian is not None
        kept = np.r_[: len(before), len(self.coordinates) - len(end) : len(self.coordinates)]
        self._hessian.grow(self._bordered(), kept)

    @property
    def cheap(self) -> bool:
        """Whether models cost little beside a look at all columns: they read few, with a Hessian made before."""
        columns = self.problem.columns
        return not columns.is_cheap() and columns.share() <= SMALL

    def slope(self) -> Array:
        """Slope (p,) of the smooth part at the present point."""
        problem, at = self.problem, self.coordinates
        r, theta = problem.r, problem.theta[at]
        g = np.empty(len(at))
        n = len(self._features)
        g[:n] = problem.pulled()
        g[n:] = r.sum()
        if self._hessian is not None and self._last is not None:
            self._hessian.correct(theta - self._last[0], g - self._last[1])
        self._last = theta, g
        return g + problem.l2[at] * theta

    def hessian(self, *, fresh: bool) -> tuple[Array, bool]:
        """Hessian (p, p) of the smooth part, and whether it is that of the present point."""
        columns = self.problem.columns
        fresh |= columns.is_cheap()
        exact = fresh
        if fresh or self._made is None or self._hessian is None:
            step = 1 if fresh else columns.step()
            exact, weight = step == 1, self.problem.rows.curvature(self.problem.p, 0, 0)
            self._made = weight, step, columns.gram(weight, step=step)
            self._hessian = Corrected(self._bordered())
        H = self._hessian.matrix.copy()
        H[np.diag_indices(len(H))] += self.problem.l2[self.coordinates]
        return H, exact

    def _bordered(self) -> Array:
        """The products with those of the intercept."""
        assert self._made is not None
        weight, step, gram = self._made
        n, H = len(gram), np.empty((len(self.coordinates),) * 2)
        H[:n, :n] = gram
        if len(H) > n:
            every = weight if step == 1 else np.zeros_like(weight)
            if step > 1:  # of the same rows, so that no curvature is negative
                every[::step] = step * weight[::step]
            H[n, :n] = H[:n, n] = self.problem.columns.pull_back(every)
            H[n, n] = max(every.sum(), weight.sum())
        return H

    def _logits(self, step: Array) -> Array:
        """What a step changes of the logits, (N,)."""
        if self._change is None or self._change[0] is not step:
            n = len(self._features)
            moved = self.problem.columns.product(step[:n])
            self._change = step, moved + step[n] if len(step) > n else moved
        return self._change[1]

    def value_after(self, step: Array, t: float) -> float:
        """The smooth part's value at the present point plus ``t * step``, but for the penalty of other coordinates."""
        problem = self.problem
        new = problem.theta[self.coordinates] + t * step
        loss = problem.loss
        if t:
            z = problem.z + t * self._logits(step)[:, None]
            there = problem.tried(z)
            self._tried, loss = (step, t, (z, there)), there[0]
        return loss + 0.5 * float(problem.l2[self.coordinates] @ (new * new))

    def move(self, step: Array, t: float) -> None:
        """Make that the present point."""
        if self._tried is None or self._tried[0] is not step or self._tried[1] != t:
            self.value_after(step, t)
        assert self._tried is not None
        problem = self.problem
        problem.z, (problem.loss, p, problem.r) = self._tried[2]
        problem.p, self._tried = p[:, None], None
        problem.moves += 1
