"""Margins added to the angle: ArcFace, its combined form, and CurricularFace."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import array_api_compat as compat

from ..._arrays import Array, constant, where
from .base import Margin, Psi, detached, margins, number, one_branch, shifted


@dataclass(frozen=True)
class ArcFace(Margin):
    """The additive angular margin: ``z_y = s cos(theta_y + m)``, the other logits ``s cos theta_j``.

    By default exactly that, at every angle: beyond theta = pi - m the logit rises again, as the formula says, and the
    gradient in the embedding has the length ``s |sin(theta + m)| / |x|``, on the centre and opposite to it too.
    (Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, eq. 3.)

    Parameters
    ----------
    margin : float or array (K,)
        m in [0, pi), in radians, one for all classes or one for each.
    scale : float
        s > 0.
    monotone : bool
        Beyond theta = pi - m the target's cosine is ``cos theta - m sin m`` instead, which falls to the end; it jumps
        down there. Not in the paper; in its authors' first code and most copies of it.
    easy : bool
        From theta = pi / 2 on the target's cosine is ``cos theta``, without a margin; it jumps up there.
    detach : bool
        The loss is the same, and its gradient takes ``d z_y / d theta`` to be that of the plain cosine,
        ``-s sin theta`` where the exact one is ``-s sin(theta + m)``. This is what the authors' PyTorch code has
        computed since 2022: never of the wrong sign, but zero on the centre and opposite to it.

    Examples
    --------
    >>> import numpy as np
    >>> value, slope, _ = ArcFace(0.5).psi(np, np.array([0.0, 3.0]))
    >>> value.round(4).tolist(), slope.round(4).tolist()
    ([0.8776, -0.9365], [-0.4794, 0.3508])
    >>> ArcFace(0.5, monotone=True).psi(np, np.array([3.0])).value.round(4).tolist()
    [-1.2297]
    """

    margin: Any = 0.5
    scale: float = 64.0
    monotone: bool = False
    easy: bool = False
    detach: bool = False

    def __post_init__(self) -> None:
        one_branch(self)
        self._set(
            margin=margins(self, "margin", self.margin, math.pi),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
        )

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos(theta + m)``, with the branches asked for."""
        found = shifted(xp, theta, self._margin(m), self.monotone, self.easy)
        return detached(xp, theta, found) if self.detach else found


@dataclass(frozen=True)
class CombinedMargin(Margin):
    """SphereFace's, ArcFace's and CosFace's margins at once: ``z_y = s (cos(m1 theta_y + m2) - m3)``.

    ``(m1, m2, m3)`` = (1, m, 0) is `ArcFace`, (1, 0, m) is `CosFace`. The cosine is taken as it is, and rises where
    ``m1 theta + m2`` exceeds pi; `ASoftmax` is the one that has a piecewise form.
    (Deng et al., "ArcFace", CVPR 2019, eq. 4; (1, 0.3, 0.2) and (0.9, 0.4, 0.15) there.)

    Parameters
    ----------
    m1 : float
        What multiplies the angle, > 0.
    m2 : float
        What is added to it, radians in [0, pi).
    m3 : float
        What is taken off the cosine, >= 0.
    scale : float
        s > 0.
    detach : bool
        The loss is the same, and its gradient takes the slope of the plain cosine, as for `ArcFace`.

    Examples
    --------
    >>> import numpy as np
    >>> CombinedMargin(1.0, 0.3, 0.2).psi(np, np.array([0.0])).value.round(4).tolist()
    [0.7553]
    """

    m1: float = 1.0
    m2: float = 0.3
    m3: float = 0.2
    scale: float = 64.0
    detach: bool = False

    def __post_init__(self) -> None:
        self._set(
            m1=number(self, "m1", self.m1, 0.0, math.inf, open_low=True),
            m2=number(self, "m2", self.m2, 0.0, math.pi),
            m3=number(self, "m3", self.m3, 0.0, math.inf),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
        )

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos(m1 theta + m2) - m3``."""
        angle = self.m1 * theta + self.m2
        found = Psi(xp.cos(angle) - self.m3, -self.m1 * xp.sin(angle), xp.zeros_like(theta))
        return detached(xp, theta, found) if self.detach else found


@dataclass(frozen=True)
class CurricularFace(Margin):
    """ArcFace's margin, with more weight on the classes that come close: easy rows early, hard ones late.

    ``z_y = s cos(theta_y + m)``; another class with ``cos theta_j > cos(theta_y + m)`` has
    ``z_j = s cos theta_j (t + cos theta_j)``, and the rest ``z_j = s cos theta_j``. t grows as training goes on:
    call `updated` after each step and use what it returns.
    (Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss for Deep Face Recognition", CVPR 2020.)

    Parameters
    ----------
    margin : float or array (K,)
        m in [0, pi), in radians, one for all classes or one for each.
    scale : float
        s > 0.
    t : float
        The state of the curriculum, 0 at the start.
    monotone, easy : bool
        As for `ArcFace`; the authors' code has ``monotone=True``. Which classes count as close is not changed.

    Examples
    --------
    >>> margin = CurricularFace(0.5).updated(0.2).updated(0.4)
    >>> round(margin.t, 6)
    0.00598
    """

    margin: Any = 0.5
    scale: float = 64.0
    t: Any = 0.0
    monotone: bool = False
    easy: bool = False

    def __post_init__(self) -> None:
        one_branch(self)
        self._set(
            margin=margins(self, "margin", self.margin, math.pi),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
            t=number(self, "t", self.t, -1.0, math.inf),
        )

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos(theta + m)``, with the branches asked for."""
        return shifted(xp, theta, self._margin(m), self.monotone, self.easy)

    def others(self, xp: Any, cosine: Array, theta: Array, m: Array) -> tuple[Array, Array]:
        """``cos theta_j (t + cos theta_j)`` where ``cos theta_j > cos(theta_y + m)``."""
        close = cosine > xp.cos(theta + m)[:, None]
        changed = xp.where(close, cosine * (self.t + cosine), cosine)
        return changed, where(xp, close, self.t + 2.0 * cosine, 1.0)

    def updated(self, mean_cosine: Any, momentum: float = 0.01) -> CurricularFace:
        """The margin for the next step: ``t <- (1 - momentum) t + momentum mean_cosine``.

        Parameters
        ----------
        mean_cosine : float
            The mean of ``cos theta_y`` over the batch, without the margin: that of the cosines of `xent.target_angles`.
        momentum : float in [0, 1]
        """
        if compat.is_array_api_obj(mean_cosine):
            mean_cosine = constant(compat.array_namespace(mean_cosine), mean_cosine)
        return dataclasses.replace(self, t=(1.0 - momentum) * self.t + momentum * mean_cosine)
