"""The native CPU backend. Python cuts (`plan`) and spreads (`threads`), C++ computes.

Logits in float32, float64 and both half precisions; features and weights in float32 and float64.
"""

from .linear import linear_fused, linear_grad, linear_stats
from .operands import levels
from .rows import row_fused, row_grad, row_loss, row_stats

__all__ = [
    "levels",
    "linear_fused",
    "linear_grad",
    "linear_stats",
    "name",
    "row_fused",
    "row_grad",
    "row_loss",
    "row_stats",
]

name = "cpu"
