"""RMSprop: each parameter's gradient over the root of its recent mean square."""

from __future__ import annotations

from typing import Any

import numpy as np


class RMSprop:
    """``s <- decay s + (1 - decay) g^2``, and the step ``-rate g / (sqrt(s) + epsilon)``.

    Parameters
    ----------
    decay : float from 0 to below 1
    epsilon : float

    References
    ----------
    Tieleman & Hinton, lecture 6.5 of "Neural networks for machine learning", 2012.

    Examples
    --------
    >>> import numpy as np
    >>> RMSprop(decay=0.75).step(np.array([4.0, -0.1]), 0.1).round(6).tolist()
    [-0.2, 0.2]
    """

    def __init__(self, decay: float = 0.99, epsilon: float = 1e-8) -> None:
        self.decay, self.epsilon = decay, epsilon
        self.square: Any = 0.0

    def step(self, gradient: Any, rate: float) -> Any:
        """What to add to the parameters."""
        self.square = self.decay * self.square + (1 - self.decay) * gradient**2
        return -rate * gradient / (np.sqrt(self.square) + self.epsilon)
