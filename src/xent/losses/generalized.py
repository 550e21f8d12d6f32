"""Generalised cross-entropy, which bounds what a wrong label can cost."""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat as compat

from .._arrays import Array
from .formula import OfCrossEntropy, check_smoothing


@dataclass(frozen=True)
class GeneralizedCrossEntropy(OfCrossEntropy):
    """``f(d) = (1 - p^q) / q`` with ``p = exp(-d)`` the probability of the label.

    From the cross-entropy (q = 0) to half the absolute error ``1 - p`` (q = 1): at most 1 / q a row, for labels that
    may be wrong. (Zhang & Sabuncu, "Generalized Cross Entropy Loss", 2018, eq. 6; q = 0.7 there.)

    Parameters
    ----------
    q : float in [0, 1]
    label_smoothing : float in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> GeneralizedCrossEntropy(0.5).f(np.log(np.array([4.0]))).round(4).tolist()
    [1.0]
    """

    q: float = 0.7
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_smoothing(self.label_smoothing)
        if not 0 <= self.q <= 1:
            raise ValueError(f"q must be in [0, 1], not {self.q}")

    def f(self, d: Array) -> Array:
        """``(1 - p^q) / q``."""
        return -compat.array_namespace(d).expm1(-self.q * d) / self.q if self.q else d

    def df(self, d: Array) -> Array:
        """``p^q``."""
        return compat.array_namespace(d).exp(-self.q * d) if self.q else compat.array_namespace(d).ones_like(d)

    def d2f(self, d: Array) -> Array:
        """``-q p^q``."""
        return -self.q * self.df(d)
