"""Margins that multiply the angle: L-Softmax and A-Softmax (SphereFace)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from ..._arrays import Array
from .base import Margin, Psi, multiple, number


def annealing(
    step: int, *, base: float = 1000.0, gamma: float = 0.12, power: float = 1.0, minimum: float = 5.0
) -> float:
    """The weight lambda of the plain cosine after `step` steps: ``max(minimum, base (1 + gamma step)^-power)``.

    Training with an angle multiplied from the start does not converge; it starts near the plain softmax, with a large
    lambda, and ends near the margin.

    Parameters
    ----------
    step : int
        Steps of training so far, from 0.
    base, gamma, power, minimum : float
        The defaults are those of SphereFace's code (Liu et al., 2017); L-Softmax's (Liu et al., 2016) are
        ``base=1000, gamma=2.5e-5, power=35, minimum=0``.

    Examples
    --------
    >>> [round(annealing(step), 3) for step in (0, 100, 10_000)]
    [1000.0, 76.923, 5.0]
    """
    if step < 0:
        raise ValueError(f"step must be at least 0, not {step}")
    for name, value in {"base": base, "gamma": gamma, "power": power, "minimum": minimum}.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be a finite number >= 0, not {value}")
    return max(float(minimum), base * (1.0 + gamma * step) ** -power)


class _Multiplied(Margin):
    unit_features: ClassVar[bool] = False
    annealing: Any

    def __post_init__(self) -> None:
        self._set(
            margin=multiple(self, "margin", self.margin),
            annealing=number(self, "annealing", self.annealing, 0.0, math.inf),
        )

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """``((-1)^k cos(m theta) - 2 k + lambda cos theta) / (1 + lambda)`` on ``[k pi / m, (k + 1) pi / m]``.

        The slope is continuous, and zero at the ends of each piece where lambda is 0.
        """
        times, share = self.margin, self.annealing
        k = xp.clip(xp.floor(theta * (times / math.pi)), 0.0, times - 1.0)
        sign = 1.0 - 2.0 * (k - 2.0 * xp.floor(k / 2.0))
        value = sign * xp.cos(times * theta) - 2.0 * k
        slope = -times * sign * xp.sin(times * theta)
        value = (value + share * xp.cos(theta)) / (1.0 + share)
        slope = (slope - share * xp.sin(theta)) / (1.0 + share)
        return Psi(value, slope, xp.zeros_like(theta))


@dataclass(frozen=True)
class LSoftmax(_Multiplied):
    """The large-margin softmax: ``z_y = |w_y| |x| psi(theta_y)``, the other logits ``w_j . x``.

    ``psi(theta) = (-1)^k cos(m theta) - 2 k`` for theta in [k pi / m, (k + 1) pi / m], k = 0 ... m - 1.
    (Liu, Wen, Yu, Yang, "Large-Margin Softmax Loss for Convolutional Neural Networks", ICML 2016, eq. 6.)

    Parameters
    ----------
    margin : int
        m >= 1, what multiplies the angle; 1 is the plain softmax.
    annealing : float
        lambda >= 0: ``z_y = |w_y| |x| (lambda cos theta_y + psi(theta_y)) / (1 + lambda)``;
        `xent.losses.margins.annealing` makes a schedule.

    Examples
    --------
    >>> import numpy as np
    >>> LSoftmax(2).psi(np, np.array([0.0, np.pi])).value.tolist()
    [1.0, -3.0]
    """

    margin: int = 4
    annealing: Any = 0.0
    scale: ClassVar[float] = 1.0  # type: ignore[misc]
    unit_centres: ClassVar[bool] = False


@dataclass(frozen=True)
class ASoftmax(_Multiplied):
    """The angular softmax of SphereFace: ``z_y = |x| psi(theta_y)``, the other logits ``|x| cos theta_j``.

    psi is that of `LSoftmax`; centres are normalised and embeddings are not.
    (Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, eq. 7.)

    Parameters
    ----------
    margin : int
        m >= 1, what multiplies the angle (4 in the paper).
    annealing : float
        lambda >= 0: psi becomes ``(lambda cos theta + psi(theta)) / (1 + lambda)``;
        `xent.losses.margins.annealing` makes a schedule.

    Examples
    --------
    >>> import numpy as np
    >>> ASoftmax(4).psi(np, np.array([0.0, np.pi])).value.tolist()
    [1.0, -7.0]
    """

    margin: int = 4
    annealing: Any = 0.0
    scale: ClassVar[float] = 1.0  # type: ignore[misc]


SphereFace = ASoftmax
