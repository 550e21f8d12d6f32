"""The softmax objective along a path of L2 penalties: one Gram matrix, factored anew for each strength."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..coordinates import LARGE, Coordinates, coordinates
from ..objective import SoftmaxObjective
from ..preconditioned import STALE

Array = Any
# Rows that tell whether the metric is stale.
SAMPLE = 4096


class RidgePath:
    """An objective without a penalty, as `xent.solvers.ridge_path` takes it.

    Parameters
    ----------
    objective : SoftmaxObjective
        With ``l2=0``.
    squares : array (D [+ 1],)
        What the strength is multiplied with, for each coordinate of a class; 0 for a free one.
    """

    def __init__(self, objective: SoftmaxObjective, squares: Array) -> None:
        self.objective, self._each = objective, np.asarray(squares, np.float64)
        self.squares = np.tile(self._each, objective.vectors)
        self.value_and_grad = objective.value_and_grad
        step = max(1, objective.X.shape[0] // SAMPLE)
        self._sample = SoftmaxObjective(
            objective.X[::step],
            objective.label[::step],
            objective.classes,
            weight=objective.weight[::step],
            fit_intercept=objective.fit_intercept,
            offset=None if objective.offset is None else objective.offset[::step],
        )
        self._make(None)

    def _make(self, theta: Array | None) -> None:
        self._hessian, self._units = self.objective.averaged_hessian(
            self.objective.curvature(theta, self.objective.stride)
        )
        self._curvature = float(self._sample.curvature(theta).sum())

    def renew(self, theta: Array) -> bool:
        """Whether rows at theta curve so much less than where the Gram matrix was made that it was made again."""
        if float(self._sample.curvature(theta).sum()) >= STALE * self._curvature:
            return False
        self._make(theta)
        return True

    def metric(self, strength: float) -> RidgeMetric:
        """The coordinates for a strength."""
        H = self._hessian.copy()
        np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += strength * self._each / self._units**2
        return RidgeMetric(coordinates(H, self._units), self.objective.shape)


class RidgeMetric:
    """Coordinates as an approximate Hessian ``(T T')^-1``."""

    def __init__(self, inner: Coordinates, shape: tuple[int, int]) -> None:
        self._inner, self._shape = inner, shape

    def solve(self, gradient: Array) -> Array:
        """``T T' g``, flat."""
        return self._inner.to_parameters(self._inner.pull_back(gradient.reshape(self._shape))).ravel()

    def measure(self, gradient: Array) -> float:
        """As `xent.objective.Preconditioned.convergence`: the largest entry, or the length in the coordinates."""
        g = gradient.reshape(self._shape)
        entries = np.abs(g) / np.maximum(1, self._inner.sizes / LARGE)
        return max(float(entries.max(initial=0)), float(np.linalg.norm(self._inner.pull_back(g))))
