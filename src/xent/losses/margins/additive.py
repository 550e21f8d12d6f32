"""Margins taken off the target's logit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ..._arrays import Array
from .base import Margin, Psi, margins, number


class _Additive(Margin):
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._set(
            margin=margins(self, "margin", self.margin),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
        )

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos theta - m``."""
        return Psi(xp.cos(theta) - self._margin(m), -xp.sin(theta), -xp.ones_like(theta))


@dataclass(frozen=True)
class SMSoftmax(_Additive):
    """The soft-margin softmax: ``z_y = w_y . x + b_y - m``, the other logits ``w_j . x + b_j``; nothing is normalised.

    (Liang et al., "Soft-Margin Softmax for Deep Classification", ICONIP 2017.)

    Parameters
    ----------
    margin : float or array (K,)
        m >= 0, in the units of the logits (nats), one for all classes or one for each.

    Examples
    --------
    >>> import numpy as np, xent
    >>> x, w = np.array([[1.0, 2.0]]), np.eye(2)
    >>> xent.margin_logits(x, w, [1], SMSoftmax(0.5)).tolist()
    [[1.0, 1.5]]
    """

    margin: Any = 0.5
    scale: ClassVar[float] = 1.0  # type: ignore[misc]
    unit_features: ClassVar[bool] = False
    unit_centres: ClassVar[bool] = False


@dataclass(frozen=True)
class AMSoftmax(_Additive):
    """The additive-margin softmax: ``z_y = s (cos theta_y - m)``, the other logits ``s cos theta_j``.

    (Wang et al., "Additive Margin Softmax for Face Verification", 2018; m = 0.35 and s = 30 there.)

    Parameters
    ----------
    margin : float or array (K,)
        m >= 0, a difference of cosines, one for all classes or one for each.
    scale : float
        s > 0.

    Examples
    --------
    >>> import numpy as np, xent
    >>> x, w = np.array([[3.0, 4.0]]), np.eye(2)
    >>> xent.margin_logits(x, w, [1], AMSoftmax(0.25, scale=10)).round(6).tolist()
    [[6.0, 5.5]]
    """

    margin: Any = 0.35
    scale: float = 30.0


@dataclass(frozen=True)
class CosFace(_Additive):
    """The large-margin cosine loss, `AMSoftmax` with the scale of face recognition: ``z_y = s (cos theta_y - m)``.

    (Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", 2018, eq. 4; m = 0.35 and s = 64.)

    Parameters
    ----------
    margin : float or array (K,)
        m >= 0, a difference of cosines, one for all classes or one for each.
    scale : float
        s > 0.

    Examples
    --------
    >>> import numpy as np
    >>> CosFace(0.35).psi(np, np.array([0.0])).value.tolist()
    [0.65]
    """

    margin: Any = 0.35
    scale: float = 64.0
