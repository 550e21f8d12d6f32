"""The native CPU backend. Python cuts (`plan`) and spreads (`threads`), C++ computes.

Logits in float32, float64 and both half precisions; features and weights in float32 and float64.
"""

from __future__ import annotations

from typing import Any

from ..contract import (
    WEIGHTS_ONLY,
    Array,
    Curvatures,
    Directions,
    LinearGrads,
    Need,
    RowStats,
    Slopes,
    Target,
    is_sparse,
)
from . import hvp, linear, sparse
from .descend import descend, gather, spread
from .moments import second_moments
from .operands import levels
from .rows import row_fused, row_grad, row_loss, row_stats
from .sparse import column_moments
from .working import gram, logistic_rows, product, pull_back, take_columns

__all__ = [
    "column_moments",
    "descend",
    "gather",
    "gram",
    "levels",
    "linear_fused",
    "linear_grad",
    "linear_hvp",
    "linear_stats",
    "logistic_rows",
    "name",
    "product",
    "pull_back",
    "row_fused",
    "row_grad",
    "row_loss",
    "row_stats",
    "second_moments",
    "spread",
    "take_columns",
]

name = "cpu"


def linear_stats(
    x: Any, w: Array, bias: Array | None, target: Target, *, need_u: bool = False, memory: int | None = None
) -> RowStats:
    """See `contract.Backend.linear_stats`."""
    if is_sparse(x):
        _no_budget(memory)
        return sparse.linear_stats(x, w, bias, target, need_u=need_u)
    return linear.linear_stats(x, w, bias, target, need_u=need_u, memory=memory)


def linear_grad(
    x: Any,
    w: Array,
    bias: Array | None,
    target: Target,
    stats: RowStats,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
    memory: int | None = None,
    out: Array | None = None,
) -> LinearGrads:
    """See `contract.Backend.linear_grad`."""
    if is_sparse(x):
        _no_budget(memory, out)
        return sparse.linear_grad(x, w, bias, target, stats, slopes, weight=weight, need=need)
    return linear.linear_grad(x, w, bias, target, stats, slopes, weight=weight, need=need, memory=memory, out=out)


def linear_fused(
    x: Any,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
    memory: int | None = None,
    total: bool = False,
    out: Array | None = None,
) -> tuple[Any, LinearGrads]:
    """See `contract.Backend.linear_fused`."""
    if is_sparse(x):
        _no_budget(memory, out)
        return sparse.linear_fused(x, w, bias, target, slopes, weight=weight, need=need, total=total)
    return linear.linear_fused(
        x, w, bias, target, slopes, weight=weight, need=need, memory=memory, total=total, out=out
    )


def _no_budget(memory: int | None, out: Array | None = None) -> None:
    if out is not None:
        raise ValueError("out= is for the gradient in x, and sparse features have none")
    if memory is not None:
        raise ValueError(f"memory={memory}: sparse features take what plan.sparse_plan says, and no budget")


def linear_hvp(
    x: Any,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    directions: Directions,
    *,
    curvatures: Curvatures | None = None,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
) -> LinearGrads:
    """See `contract.Backend.linear_hvp`."""
    module = sparse if is_sparse(x) else hvp
    return module.linear_hvp(x, w, bias, target, slopes, directions, curvatures=curvatures, weight=weight, need=need)
