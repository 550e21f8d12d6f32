"""The focal loss, which leaves easy rows out."""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat as compat

from .._arrays import Array, expm1, where
from .formula import OfCrossEntropy, check_smoothing, x_over_expm1


@dataclass(frozen=True)
class Focal(OfCrossEntropy):
    """``f(d) = (1 - p)^g d`` with ``p = exp(-d)`` the probability of the label.

    With ``r = d / (e^d - 1)``, which is 1 at d = 0, the slope is ``(1 - p)^g (1 + g r)``: nothing in it divides by a
    number that vanishes, for g below 1 too, where the usual form 0^(g - 1) * 0 is NaN.
    (Lin et al., "Focal Loss for Dense Object Detection", 2017, eq. 4; g = 2 there.)

    Parameters
    ----------
    gamma : float
        g >= 0; 0 is the cross-entropy.
    label_smoothing : float in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> Focal(2.0).f(np.log(np.array([2.0]))).round(4).tolist()
    [0.1733]
    """

    gamma: float = 2.0
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        if not 0 <= self.gamma < float("inf"):
            raise ValueError(f"gamma must be a finite number >= 0, not {self.gamma}")

    def f(self, d: Array) -> Array:
        """``(1 - p)^g d``."""
        return self._parts(d)[0] * d if self.gamma else d

    def df(self, d: Array) -> Array:
        """``(1 - p)^g (1 + g r)``."""
        if not self.gamma:
            return compat.array_namespace(d).ones_like(d)
        weight, r = self._parts(d)
        return weight * (1.0 + self.gamma * r)

    def d2f(self, d: Array) -> Array:
        """``g p (1 - p)^(g - 1) (2 + (g - 1) r - d)``.

        0 at d = 0, where it may be infinite: in a Hessian it multiplies (1 - p)^2, and the product is 0 there.
        """
        xp = compat.array_namespace(d)
        if not self.gamma:
            return xp.zeros_like(d)
        outside = (d <= 0.0) | (d == float("inf"))
        d = where(xp, outside, 1.0, d)
        bracket = 2.0 + (self.gamma - 1.0) * x_over_expm1(d) - d
        return where(xp, outside, 0.0, self.gamma * xp.exp(-d) * (-expm1(xp, -d)) ** (self.gamma - 1.0) * bracket)

    def _parts(self, d: Array) -> tuple[Array, Array]:
        """``(1 - p)^g`` and r, in code that can be differentiated wherever they have a derivative."""
        xp = compat.array_namespace(d)
        d = where(xp, d < 0.0, 0.0, d)  # rounding may leave less
        if self.gamma >= 1:
            weight = (-expm1(xp, -d)) ** self.gamma
        else:  # its derivative at 0 is infinite
            weight = where(xp, d == 0.0, 0.0, (-expm1(xp, -where(xp, d == 0.0, 1.0, d))) ** self.gamma)
        return weight, x_over_expm1(d)
