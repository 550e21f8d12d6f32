"""Poly-1: cross-entropy with its first polynomial coefficient changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat as compat

from .._arrays import Array, expm1, where
from .formula import OfCrossEntropy, check_smoothing


@dataclass(frozen=True)
class Poly1(OfCrossEntropy):
    """``f(d) = d + e (1 - p)`` with ``p = exp(-d)`` the probability of the label.

    (Leng et al., "PolyLoss", 2022, section 4.2: the cross-entropy is ``sum_k (1 - p)^k / k``, and its first term gets
    the coefficient ``1 + e``.)

    Parameters
    ----------
    epsilon : float
        e >= -1.
    label_smoothing : float in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> Poly1(1.0).f(np.log(np.array([2.0]))).round(4).tolist()
    [1.1931]
    """

    epsilon: float = 1.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        if not -1 <= self.epsilon < float("inf"):
            raise ValueError(
                f"epsilon must be a finite number >= -1 (below, the loss rewards mistakes), not {self.epsilon}"
            )

    def f(self, d: Array) -> Array:
        """``d + e (1 - p)``."""
        xp, e = compat.array_namespace(d), self.epsilon
        if e >= -0.5:
            return d - e * xp.expm1(-d)
        rest = -e * _excess(xp, d)  # where d and e (1 - p) would cancel
        return (1.0 + e) * d + rest if e > -1 else rest

    def df(self, d: Array) -> Array:
        """``1 + e p``."""
        xp, e = compat.array_namespace(d), self.epsilon
        if e >= -0.5:
            return 1.0 + e * xp.exp(-d)
        return (1.0 + e) + e * expm1(xp, -d)  # where 1 and e p would cancel

    def d2f(self, d: Array) -> Array:
        """``-e p``."""
        return -self.epsilon * compat.array_namespace(d).exp(-d)


def _excess(xp: Any, d: Array) -> Array:
    """``d - (1 - exp(-d)) = d^2 / 2 - d^3 / 6 + ...``, to its last digits."""
    near = d < 0.5
    x, tail = where(xp, near, d, 0.5), 1.0
    for n in range(16, 2, -1):
        tail = 1.0 - x / n * tail
    return xp.where(near, 0.5 * x * x * tail, d + xp.expm1(-d))
