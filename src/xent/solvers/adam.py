"""Adam: momentum over the root of the recent mean square, both freed of their start at zero."""

from __future__ import annotations

from typing import Any

import numpy as np


class Adam:
    """``m <- b1 m + (1 - b1) g``, ``s <- b2 s + (1 - b2) g^2``, and the step
    ``-rate m / (1 - b1^t) / (sqrt(s / (1 - b2^t)) + epsilon)``.

    Parameters
    ----------
    beta1, beta2 : float from 0 to below 1
    epsilon : float

    References
    ----------
    Kingma & Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> Adam().step(np.array([4.0, -0.1]), 0.1).round(6).tolist()
    [-0.1, 0.1]
    """

    def __init__(self, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> None:
        self.beta1, self.beta2, self.epsilon = beta1, beta2, epsilon
        self.mean: Any = 0.0
        self.square: Any = 0.0
        self.steps = 0

    def step(self, gradient: Any, rate: float) -> Any:
        """What to add to the parameters."""
        self.steps += 1
        self.mean = self.beta1 * self.mean + (1 - self.beta1) * gradient
        self.square = self.beta2 * self.square + (1 - self.beta2) * gradient**2
        root = np.sqrt(self.square / (1 - self.beta2**self.steps))
        return -rate * (self.mean / (1 - self.beta1**self.steps)) / (root + self.epsilon)

    def step_rows(self, gradient: Any, rate: float, rows: Any, count: int) -> Any:
        """What to add to some rows of the parameters (count, P), which alone have a gradient, (r, P).

        What is remembered of the others stays as it is, as in PyTorch's SparseAdam; one optimiser steps rows or all.
        """
        if self.steps == 0:
            self.mean, self.square = np.zeros((2, count, gradient.shape[1]))
        part = Adam(self.beta1, self.beta2, self.epsilon)
        part.mean, part.square, part.steps = self.mean[rows], self.square[rows], self.steps
        change = part.step(gradient, rate)
        self.mean[rows], self.square[rows], self.steps = part.mean, part.square, part.steps
        return change
