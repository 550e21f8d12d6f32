"""What mini-batch solvers share: the rule that turns a gradient into a step, rates over time, long gradients cut."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

SCHEDULES = ("constant", "inverse", "linear", "cosine")


class Rule(Protocol):
    """What it needs: a gradient at each step. It keeps what it remembers of earlier ones."""

    def step(self, gradient: Any, rate: float) -> Any:
        """What to add to the parameters."""


def rate_at(schedule: str, rate: float, step: int, steps: int | None, power: float = 0.5) -> float:
    """The learning rate of a step, counted from 0.

    Parameters
    ----------
    schedule : one of SCHEDULES
        ``rate``; ``rate / (1 + step)^power``; or from `rate` down to 0 after `steps`, in a line or along a cosine.
    rate : float
    step : int
    steps : int or None
        How many there will be; "linear" and "cosine" need it.
    power : float
        Of "inverse".

    Raises
    ------
    ValueError
        An unknown schedule, or one that needs `steps` without them.

    References
    ----------
    Robbins & Monro, "A stochastic approximation method", 1951; Loshchilov & Hutter, "SGDR", ICLR 2017 (the cosine).

    Examples
    --------
    >>> [round(rate_at("cosine", 0.1, t, 4), 4) for t in range(5)]
    [0.1, 0.0854, 0.05, 0.0146, 0.0]
    """
    if schedule == "constant":
        return rate
    if schedule == "inverse":
        return rate / (1 + step) ** power
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
    if steps is None:
        raise ValueError(f"schedule={schedule!r} must know how many steps there will be; a stream has no end")
    left = max(0.0, 1 - step / max(1, steps))
    return rate * left if schedule == "linear" else rate * 0.5 * (1 - math.cos(math.pi * left))


def shortened(gradient: Any, clip: float | None, normalize: bool) -> Any:
    """The gradient with a length of at most `clip`, or of 1 where it is normalised (0 stays 0).

    Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent neural networks", ICML 2013 (clipping by norm).
    """
    if clip is None and not normalize:
        return gradient
    length = float(np.linalg.norm(gradient))
    if normalize:
        return gradient / length if length > 0 else gradient
    assert clip is not None
    return gradient * (clip / length) if length > clip else gradient
