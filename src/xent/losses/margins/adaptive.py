"""Margins that depend on the length of the embedding: MagFace and AdaFace."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import array_api_compat as compat

from ..._arrays import Array, constant, where
from .base import Margin, Own, Penalty, Psi, number, one_branch, shifted


@dataclass(frozen=True)
class MagFace(Margin):
    """An angular margin that grows with the length of the embedding, so that length comes to mean quality.

    With ``a = |x|`` held in [lower, upper], ``m(a)`` goes in a straight line from `lower_margin` to `upper_margin`;
    ``z_y = s cos(theta_y + m(a))``, the other logits are ``s cos theta_j``, and each row's loss has
    ``weight (a / upper^2 + 1 / a)`` on top. The gradient goes through a, and is zero in it outside [lower, upper].
    (Meng, Zhao, Huang, Zhou, "MagFace: A Universal Representation for Face Recognition and Quality Assessment",
    CVPR 2021. The defaults are those of the authors' code; the paper has 0.4 for `lower_margin` and 35 for `weight`.)

    Parameters
    ----------
    lower, upper : float
        l_a and u_a: the lengths between which the margin grows, 0 < lower < upper.
    lower_margin, upper_margin : float
        l_m <= u_m, in radians, in [0, pi).
    weight : float
        lambda_g >= 0, of the regulariser.
    scale : float
        s > 0.
    monotone, easy : bool
        As for `ArcFace`, with the margin m(a) of each row; the authors' code has ``easy=True``.

    Examples
    --------
    >>> import numpy as np
    >>> lengths = np.array([1.0, 60.0, 200.0])
    >>> MagFace().own(np, None, lengths, None).value.round(3).tolist()
    [0.45, 0.625, 0.8]
    """

    lower: float = 10.0
    upper: float = 110.0
    lower_margin: float = 0.45
    upper_margin: float = 0.8
    weight: float = 20.0
    scale: float = 64.0
    monotone: bool = False
    easy: bool = False

    def __post_init__(self) -> None:
        one_branch(self)
        lower = number(self, "lower", self.lower, 0.0, math.inf, open_low=True)
        lower_margin = number(self, "lower_margin", self.lower_margin, 0.0, math.pi)
        self._set(
            lower=lower,
            upper=number(self, "upper", self.upper, lower, math.inf, open_low=True),
            lower_margin=lower_margin,
            upper_margin=number(self, "upper_margin", self.upper_margin, lower_margin, math.pi),
            weight=number(self, "weight", self.weight, 0.0, math.inf),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
        )

    def _held(self, xp: Any, length: Array) -> tuple[Array, Array]:
        """The length held in its range, and its slope."""
        inside = (length >= self.lower) & (length <= self.upper)
        bound = where(xp, length > self.upper, self.upper, xp.zeros_like(length) + self.lower)
        return xp.where(inside, length, bound), where(xp, inside, 1.0, xp.zeros_like(length))

    def own(self, xp: Any, label: Array, length: Array, kept: Array) -> Own:
        """``m(a)``."""
        a, inside = self._held(xp, length)
        rate = (self.upper_margin - self.lower_margin) / (self.upper - self.lower)
        return Own(self.lower_margin + rate * (a - self.lower), rate * inside)

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos(theta + m)``, with the branches asked for; `m` defaults to `lower_margin`."""
        return shifted(xp, theta, self.lower_margin if m is None else m, self.monotone, self.easy)

    def penalty(self, xp: Any, length: Array) -> Penalty:
        """``weight (a / upper^2 + 1 / a)``."""
        a, inside = self._held(xp, length)
        value = self.weight * (a / self.upper**2 + 1.0 / a)
        return Penalty(value, self.weight * inside * (1.0 / self.upper**2 - 1.0 / (a * a)))


@dataclass(frozen=True)
class AdaFace(Margin):
    """A margin that leans to easy or hard rows by the quality of the embedding, which its length stands for.

    ``z = clip(h (|x| - mean) / std, -1, 1)`` says how long an embedding is among those of the batch;
    ``z_y = s (cos(theta_y - m z) - (m + m z))``, and the other logits are ``s cos theta_j``. z is a constant for the
    gradient. Where the batch has one row, or all lengths are the same, z is 0.
    (Kim, Jain, Liu, "AdaFace: Quality Adaptive Margin for Face Recognition", CVPR 2022. The authors' code also holds
    lengths in [0.001, 100], adds 0.001 to std, and keeps cosines 0.001 away from -1 and 1, which stops the gradient
    within 2.6 degrees of a centre; this does not.)

    Parameters
    ----------
    margin : float
        m in [0, pi / 2).
    scale : float
        s > 0.
    h : float
        How far the margin reaches: z is 1 at mean + std / h.
    mean, std : float, optional
        Of the lengths. By default those of the batch, of the rows that are kept, std with N - 1. To average them over
        batches, call `updated` before each step and use what it returns.

    Examples
    --------
    >>> import numpy as np
    >>> margin = AdaFace(0.4, mean=20.0, std=5.0)
    >>> lengths = np.array([5.0, 20.0, 35.0])
    >>> z = margin.quality(np, lengths, np.array([True, True, True]))
    >>> z.round(3).tolist()
    [-0.999, 0.0, 0.999]
    """

    margin: float = 0.4
    scale: float = 64.0
    h: float = 0.333
    mean: Any = None
    std: Any = None
    needs_batch: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise ValueError("AdaFace takes mean and std together, or neither")
        self._set(
            margin=number(self, "margin", self.margin, 0.0, math.pi / 2),
            scale=number(self, "scale", self.scale, 0.0, math.inf, open_low=True),
            h=number(self, "h", self.h, 0.0, math.inf, open_low=True),
        )
        if self.mean is not None:
            self._set(
                mean=number(self, "mean", self.mean, 0.0, math.inf), std=number(self, "std", self.std, 0.0, math.inf)
            )

    def quality(self, xp: Any, length: Array, kept: Array) -> Array:
        """``z`` of each row, in [-1, 1]; a constant."""
        length, known = constant(xp, length), self.for_batch(xp, length, kept)
        zero = xp.zeros_like(length)
        mean, std = zero + known.mean, zero + known.std
        flat = std == 0.0
        z = where(xp, flat, 0.0, self.h * (length - mean) / where(xp, flat, 1.0, std))
        return xp.clip(z, -1.0, 1.0)

    def for_batch(self, xp: Any, length: Array, kept: Array) -> AdaFace:
        """With the moments of these lengths, if it has none."""
        if self.mean is not None:
            return self
        mean, std = _moments(xp, constant(xp, length), kept)
        return dataclasses.replace(self, mean=mean, std=std)

    def own(self, xp: Any, label: Array, length: Array, kept: Array) -> Own:
        """``m z``."""
        return Own(self.margin * self.quality(xp, length, kept))

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``cos(theta - m z) - (m + m z)``; here `m` is ``m z``, by default 0."""
        mz = 0.0 if m is None else m
        return Psi(xp.cos(theta - mz) - (self.margin + mz), -xp.sin(theta - mz), xp.sin(theta - mz) - 1.0)

    def updated(self, lengths: Array, momentum: float = 0.99) -> AdaFace:
        """The margin with the moments of these lengths mixed in: ``mean <- momentum batch + (1 - momentum) mean``.

        Parameters
        ----------
        lengths : array (N,)
            ``|x|`` of the rows of a batch, N >= 2.
        momentum : float in [0, 1]
            The share of this batch, 0.99 in the paper. Where there are no moments yet, they are the batch's.
        """
        xp = compat.array_namespace(lengths)
        lengths = constant(xp, lengths)
        mean, std = _moments(xp, lengths, lengths == lengths)
        if self.mean is not None:
            mean = momentum * mean + (1.0 - momentum) * self.mean
            std = momentum * std + (1.0 - momentum) * self.std
        return dataclasses.replace(self, mean=mean, std=std)


def _moments(xp: Any, length: Array, kept: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (with N - 1) of the lengths kept that are finite; 0 where there are too few."""
    kept = kept & xp.isfinite(length)
    count = xp.sum(xp.astype(kept, length.dtype))
    total = xp.sum(where(xp, kept, length, 0.0))
    mean = total / xp.clip(count, 1.0, None)
    squares = xp.sum(where(xp, kept, (length - mean) ** 2, 0.0))
    return mean, xp.sqrt(squares / xp.clip(count - 1.0, 1.0, None))
