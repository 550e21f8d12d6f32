"""Logarithms of softmax probabilities, for predictions; losses never form them."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_softmax(logits: Any) -> Any:
    """Logarithms of the softmax of each row of a NumPy array (N, K), in its dtype, without rounding p near 1.

    The sum leaves the largest term out and uses log1p, so that a confident row's loss of 1e-30 is 1e-30, not 0.

    >>> f"{log_softmax(np.array([[0.0, -80.0]]))[0, 0]:.4g}"
    '-1.805e-35'
    """
    top = logits.argmax(axis=1)
    rows = np.arange(len(logits))
    shifted = logits - logits[rows, top][:, None]
    others = np.exp(shifted)
    others[rows, top] = 0.0
    return shifted - np.log1p(others.sum(axis=1))[:, None]
