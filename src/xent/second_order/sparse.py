"""The softmax objective with an L1 penalty: models on a few coordinates, and the duality gap."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from .._blas import in_pieces
from ..coordinates import LARGE
from ..curvature import largest_entries
from ..objective import SoftmaxObjective
from .rows import Rows, gradient, logits
from .swept import HeldColumns, SweptPart

Array = Any
# A part of the coordinates whose Hessian costs more multiplications than this is cut, a class at a time ...
MOST_FLOPS = 2e10
# ... and into pieces of this many coordinates.
MOST_COORDINATES = 2000
# The columns of a working set are filled where at least one place in this many is, and they stay below so many numbers.
FULL = 10
MOST_FILLED = 2**24
# From so many coordinates of a sparse X on a model is products by columns: a dense Hessian and its solutions cost more.
SWEPT = 1000
# Changes that may be added to the logits before they are a product again: each rounds them.
MOST_MOVES = 30
# Numbers of X of one task, read twice.
READ = 2**16
# Logits of a task that takes each row by itself.
ROWS = 2**15
# Newton steps for the intercepts alone, each of one pass over the logits.
INTERCEPT_STEPS = 50


class L1Objective:
    """An objective plus ``sum_j l1_j |theta_j|``, as `xent.solvers.prox_newton` takes it.

    It keeps the logits (N, V) of the present point, and a copy of the columns of the working set.

    Parameters
    ----------
    objective : SoftmaxObjective
        With the L2 part of the penalty.
    l1 : float or float64 array (D,)
        Strength of the L1 penalty of the weights, or of each feature's.
    intercept_l1 : float, default 0
        That of the intercept.
    known : L1Objective, optional
        One of the same data with other penalties: where it ended, nothing is computed again.
    """

    def __init__(
        self, objective: SoftmaxObjective, l1: Array, intercept_l1: float = 0.0, known: L1Objective | None = None
    ) -> None:
        self.objective, self.rows = objective, Rows(objective)
        each = np.full(objective.shape, float(intercept_l1))
        each[:, : objective.X.shape[1]] = l1
        self.l1 = each.ravel()
        self.l2 = np.broadcast_to(objective.penalty, objective.shape).ravel()
        self._free_intercept = objective.fit_intercept and intercept_l1 == 0 and objective.penalty[-1] == 0
        self.theta: Array = None
        self.z: Array = None
        self.p: Array = None
        self.moves = 0  # since the logits were a product
        self.loss = np.inf  # the mean cross-entropy at the present point
        self._slope: Array = None  # its gradient, where `at` was last
        self.passes = 0  # over the data for a gradient
        self._known = known
        self._held: HeldColumns | None = None if known is None else known._held
        self._sizes: Array = self._feature_sizes() if known is None else known._sizes

    def _feature_sizes(self) -> Array:
        X = self.objective.X
        numbers = (X.data if sparse.issparse(X) else X).ravel()
        sizes = np.zeros(-(-len(numbers) // READ))

        def look(begin: int, end: int) -> None:
            some = numbers[begin:end]
            sizes[begin // READ] = max(some.max(), -some.min())

        in_pieces(look, len(numbers), READ)
        if sizes.max(initial=0) <= LARGE:  # as in most data
            return np.ones(self.l1.size)
        largest = largest_entries(X)
        largest = np.append(largest, 1.0) if self.objective.fit_intercept else largest
        return np.maximum(1, np.tile(largest, self.objective.vectors) / LARGE)

    def at(self, theta: Array) -> tuple[float, Array]:
        """Smooth value and gradient (P,) at flat parameters, whose free intercepts are first made best, in place."""
        known, self._known = self._known, None
        if known is not None and known._slope is not None and np.array_equal(theta, known.theta):
            self.theta = theta
            self._take_over(known)
        else:
            if theta is not self.theta or self.moves > MOST_MOVES:  # else the parts' moves have brought them here
                self.theta, self.moves = theta, 0
                self.stand(self._logits(theta))
            if self._free_intercept:
                self._fit_intercept(theta)
            self._slope = self._whole_gradient()
        value = self.loss + 0.5 * float(self.l2 @ (theta * theta))
        return value, self._slope + self.l2 * theta

    def stand(self, z: Array, loss: float | None = None) -> None:
        """Make the logits z (N, V) those of the present point; their loss, where it is known."""
        self.z, self.loss = z, self.rows.value(z) if loss is None else loss
        self.p = self.rows.probabilities(z)

    def _logits(self, theta: Array) -> Array:
        """Logits (N, V), in one pass over X."""
        return logits(self.objective, theta)

    def _take_over(self, known: L1Objective) -> None:
        """What another objective of the same rows found at this point."""
        self.z, self.p, self._slope = known.z, known.p, known._slope
        self.moves, self.loss = known.moves, known.loss

    def _whole_gradient(self) -> Array:
        """The gradient of the loss, (P,), in one pass over X."""
        self.passes += 1
        return gradient(self.objective, self.rows.residual(self.p)).ravel()

    def _fit_intercept(self, theta: Array) -> None:
        """Newton on the intercepts alone, to rounding: the duality gap asks that their slope is zero.

        Of the intercepts that differ by one number for all classes, the ones that sum to zero.
        """
        V, b = self.rows.V, theta.reshape(self.objective.shape)[:, -1]
        if V > 1:
            self.z -= b.mean()
            b -= b.mean()
        value = self.loss
        for _ in range(INTERCEPT_STEPS):
            p = self.p
            slope = self.rows.residual(p).sum(axis=0)
            if np.abs(slope).max() <= 1e-15:
                return
            H = np.array([[self.rows.curvature(p, k, m).sum() for m in range(V)] for k in range(V)])
            if V > 1:
                H += np.trace(H) / V**2
            H[np.diag_indices(V)] += 1e-300 + 1e-12 * H.diagonal()
            step = -np.linalg.solve(H, slope)
            step *= min(1.0, 4 / max(np.abs(step).max(), 1e-300))
            there = self.rows.value(self.z + step)
            if there > value + 1e-14 * max(1.0, value):
                return
            self.stand(self.z + step, there)
            b += step
            value = there

    def parts(self, chosen: Array) -> list[Any]:
        """The problem on the chosen coordinates: at once where that is cheap, else a class at a time."""
        D, N = self.objective.shape[1], self.objective.X.shape[0]
        if swept := self._swept(chosen):
            return [swept]
        if len(chosen) <= MOST_COORDINATES and N * float(len(chosen)) ** 2 <= MOST_FLOPS:
            return [Part(self, chosen)]
        groups = [chosen[chosen // D == k] for k in range(self.rows.V)]
        return [
            Part(self, piece)
            for group in groups
            for piece in np.array_split(group, max(1, -(-len(group) // MOST_COORDINATES)))
            if len(piece)
        ]

    def _swept(self, chosen: Array) -> SweptPart | None:
        """The problem on the chosen coordinates in products by columns, where a Hessian would cost more."""
        X = self.objective.X
        # an X of mostly entries takes less as dense columns
        if not sparse.issparse(X) or len(chosen) < SWEPT or 2 * X.nnz > X.shape[0] * X.shape[1]:
            return None
        if self._held is None:
            self._held = HeldColumns(X)
        return SweptPart(self, chosen, self._held)

    def certificate(self, theta: Array, slope: Array) -> tuple[float, float]:
        """The larger of the worst violation of the optimality conditions and the gap in nats; and the gap."""
        away = np.where(theta != 0, np.abs(slope + self.l1 * np.sign(theta)), np.maximum(np.abs(slope) - self.l1, 0))
        gap = self.gap(theta, slope)
        return max(float((away / self._sizes).max(initial=0)), gap), gap

    def gap(self, theta: Array, slope: Array) -> float:
        """Primal minus dual value at the present point, in nats: no parameters are lower by more.

        The dual point is the residual, shrunk towards zero as far as a pure L1 penalty asks. The difference is
        summed from terms that are none of them negative, so it has its digits where both values agree to rounding.
        """
        G = slope - self.l2 * theta
        s, total = self._penalty_gap(theta, G)
        return max(0.0, total) + (self._divergence(s) if s < 1 else 0.0)

    def _penalty_gap(self, theta: Array, G: Array) -> tuple[float, float]:
        """What the dual point is shrunk by, and the sum of ``h(w) + h*(u) - u w`` of the penalty h at it."""
        lasso, ridge = (self.l1 > 0) & (self.l2 == 0), self.l2 > 0
        size = np.abs(G[lasso])
        over = size > self.l1[lasso]
        s = float((self.l1[lasso][over] / size[over]).min()) if over.any() else 1.0
        total = float((self.l1[lasso] * np.abs(theta[lasso]) + s * G[lasso] * theta[lasso]).sum())
        return s, total + _conjugate_gap(theta[ridge], -s * G[ridge], self.l1[ridge], self.l2[ridge])

    def _divergence(self, s: float) -> float:
        """Mean KL divergence of the shrunken predictions ``y + s (p - y)`` from p, in nats."""
        rows, label = self.rows, self.rows.label
        each = np.empty(len(label))

        def look(begin: int, end: int) -> None:
            p, y = self.p[begin:end], label[begin:end]
            if rows.V == 1:
                right, wrong = np.abs(p[:, 0] - (1 - y)), np.abs(p[:, 0] - y)
            else:
                at = np.arange(len(y))
                right, others = p[at, y], p.copy()
                others[at, y] = 0
                wrong = others.sum(axis=1)
            q = 1 - s * wrong
            with np.errstate(divide="ignore", invalid="ignore"):
                more = np.where(right > 0, np.log1p((1 - s) * wrong / right), np.inf)
                each[begin:end] = s * wrong * np.log(s) + q * more

        in_pieces(look, len(label), max(64, ROWS // rows.V))
        return max(0.0, float(rows.weight @ each))


def _conjugate_gap(w: Array, u: Array, l1: Array, l2: Array) -> float:
    """Sum of ``h(w) + h*(u) - u w`` for the elastic net ``h(w) = l1 |w| + l2 w^2 / 2``."""
    over = np.abs(u) - l1
    same = (over > 0) & (u * w >= 0)
    near = (over * np.sign(u) - l2 * w) ** 2 / (2 * l2)
    apart = l1 * np.abs(w) - u * w + l2 * w * w / 2 + np.maximum(over, 0) ** 2 / (2 * l2)
    return float(np.where(same, near, apart).sum())


class Part:
    """The problem on some coordinates: their columns, copied once, and the logits of the whole."""

    cheap = False  # a Hessian is made at each point

    def __init__(self, problem: L1Objective, coordinates: Array, units: Array | None = None) -> None:
        self.problem, self.coordinates = problem, coordinates
        self.units = coordinates if units is None else units
        f = problem.objective
        D, features = f.shape[1], f.X.shape[1]
        self._class, column = coordinates // D, coordinates % D
        used, self._place = np.unique(column, return_inverse=True)
        real = used[used < features]
        X = f.X[:, real].astype(np.float64)
        if sparse.issparse(X) and X.shape[0] * len(real) < min(FULL * X.nnz, MOST_FILLED):
            X = X.toarray()
        if len(real) < len(used):  # the last is the intercept
            ones = np.ones((X.shape[0], 1))
            X = sparse.hstack([X, ones]).tocsr() if sparse.issparse(X) else np.hstack([X, ones])
        self.X = X
        self._step: tuple[Array, Array] | None = None
        self._tried = (0.0, 0.0)

    def _of(self, k: int) -> tuple[Array, Array]:
        mine = np.flatnonzero(self._class == k)
        return mine, self._place[mine]

    def _groups(self) -> list[tuple[int, Array, Array]]:
        return [(int(k), *self._of(k)) for k in np.unique(self._class)]

    def slope(self) -> Array:
        """Slope (p,) of the smooth part at the present point."""
        problem, at = self.problem, self.coordinates
        r, g = problem.rows.residual(problem.p), np.empty(len(at))
        for k, mine, place in self._groups():
            g[mine] = (self.X.T @ r[:, k])[place]
        return g + problem.l2[at] * problem.theta[at]

    def hessian(self, *, fresh: bool) -> tuple[Array, bool]:
        """Hessian (p, p) of the smooth part, always that of the present point; and that it is."""
        problem, rows, at = self.problem, self.problem.rows, self.coordinates
        H, groups = np.empty((len(at), len(at))), self._groups()
        for k, mine, place in groups:
            for m, other, there in groups:
                if m > k:
                    continue
                block = self._block(rows.curvature(problem.p, k, m), place, there)
                H[np.ix_(mine, other)] = block
                H[np.ix_(other, mine)] = block.T
        free = np.flatnonzero((problem.l1[at] == 0) & (problem.l2[at] == 0))
        if rows.V > 1 and len(free):  # intercepts changed all alike: no slope and no curvature
            H[np.ix_(free, free)] += H[free, free].mean() / rows.V
        H[np.diag_indices(len(at))] += problem.l2[at]
        return H, True

    def _block(self, curvature: Array, left: Array, right: Array) -> Array:
        if sparse.issparse(self.X):
            return (self.X[:, left].T @ self.X[:, right].multiply(curvature[:, None])).toarray()
        if len(left) == len(right) == self.X.shape[1]:
            scaled = self.X * np.sqrt(np.abs(curvature))[:, None]
            return np.copysign(1.0, curvature.sum()) * (scaled.T @ scaled)
        return self.X[:, left].T @ (self.X[:, right] * curvature[:, None])

    def _change(self, step: Array) -> Array:
        if self._step is None or self._step[0] is not step:
            dz = np.zeros_like(self.problem.z)
            for k in np.unique(self._class):
                mine, place = self._of(k)
                full = np.zeros(self.X.shape[1])
                full[place] = step[mine]
                dz[:, k] = self.X @ full
            self._step = (step, dz)
        return self._step[1]

    def value_after(self, step: Array, t: float) -> float:
        """The smooth part's value at the present point plus ``t * step``, but for the penalty of other coordinates."""
        problem = self.problem
        new = problem.theta[self.coordinates] + t * step
        loss = problem.rows.value(problem.z + t * self._change(step)) if t else problem.loss
        self._tried = (t, loss)
        return loss + 0.5 * float(problem.l2[self.coordinates] @ (new * new))

    def move(self, step: Array, t: float) -> None:
        """Make that the present point."""
        problem = self.problem
        problem.stand(problem.z + t * self._change(step), self._tried[1] if self._tried[0] == t else None)
        problem.moves += 1
