"""The softmax objective of rows that come in batches: the sum of the batches' own, and coordinates from all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..coordinates import Diagonal, Factor
from ..objective import SoftmaxObjective
from ..preconditioned import Preconditioned

Array = Any
# A batch with labels as numbers: X, label (N,), weight (N,).
Batch = tuple[Any, Array, Array]


class StreamObjective:
    """Mean cross-entropy over all batches plus ``l2 / 2 |W|^2``, for `Preconditioned`; each value reads every batch.

    Parameters
    ----------
    batches : function without arguments
        Gives an iterator of batches, the same each time.
    classes, features : int
    total : float
        The sum of all weights.
    l2 : float
    fit_intercept : bool
    """

    def __init__(
        self,
        batches: Callable[[], Iterator[Batch]],
        classes: int,
        features: int,
        total: float,
        l2: float,
        fit_intercept: bool,
    ) -> None:
        self.batches, self.classes, self.total, self.l2 = batches, classes, total, l2
        self.fit_intercept = fit_intercept
        self.shape = (1 if classes == 2 else classes, features + fit_intercept)
        self.penalty = np.full(self.shape[1], float(l2))
        if fit_intercept:
            self.penalty[-1] = 0.0

    def _parts(self) -> Iterator[tuple[float, SoftmaxObjective]]:
        """Each batch's share of the weight, and its own objective."""
        for X, label, weight in self.batches():
            own = float(weight.sum())
            if own > 0:
                f = SoftmaxObjective(
                    X, label, self.classes, weight=weight, fit_intercept=self.fit_intercept, dtype=np.float64
                )
                yield own / self.total, f

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at flat parameters."""
        W = theta.reshape(self.shape)
        value, gradient = 0.5 * float((self.penalty * W**2).sum()), (self.penalty * W).ravel()
        for share, f in self._parts():
            part, slope = f.value_and_grad(theta.ravel())
            value += share * part
            gradient += share * slope
        return value, gradient

    def curvature(self, theta: Array | None = None, stride: int = 1) -> Array:
        """The sum over rows of `SoftmaxObjective.curvature`, (1,): all that tells whether coordinates are stale."""
        return np.array([sum(share * float(f.curvature(theta).sum()) for share, f in self._parts())])

    def preconditioned(self, theta: Array | None = None) -> Preconditioned:
        """The same in coordinates where the class-averaged Hessian at `theta` is the identity; reads every batch once.

        Raises
        ------
        ValueError
            Where the squares of features overflow.
        """
        H: Array = 0.0
        curvature = 0.0
        for share, f in self._parts():
            own = f.curvature(theta, f.stride)
            H = H + share * f._hessian(own)
            curvature += share * float(own.sum())
        if not np.isfinite(H).all():
            raise ValueError("the squares of the features overflow: divide the largest features by a constant")
        np.einsum("ii->i" if H.ndim == 2 else "i->i", H)[...] += self.penalty
        diagonal = H if H.ndim == 1 else np.diag(H)
        units = np.ones(self.shape[1])
        if H.ndim == 1:
            space: Any = Diagonal(np.sqrt(np.where(diagonal > 0, diagonal, 1.0)))
        else:
            space = Factor.of(H, units)
        return Preconditioned(self, space, np.array([curvature]))  # type: ignore[arg-type]
