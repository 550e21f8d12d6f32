"""Formulas: a softmax loss as a function of three numbers a row.

A formula takes the statistics ``s, t, u`` of `xent.kernels.contract` and returns the loss and its slopes. It knows no
kernel, no weight and no reduction.
"""

from .cross_entropy import CrossEntropy
from .log_softmax import log_softmax

__all__ = ["CrossEntropy", "log_softmax"]
