"""The native CPU backend: float32 and float64. Python cuts (`plan`) and spreads (`threads`), C++ computes."""

from .linear import linear_fused, linear_grad, linear_stats
from .operands import levels
from .rows import row_fused, row_grad, row_stats

__all__ = ["levels", "linear_fused", "linear_grad", "linear_stats", "name", "row_fused", "row_grad", "row_stats"]

name = "cpu"
