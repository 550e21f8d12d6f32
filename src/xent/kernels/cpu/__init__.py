"""The native CPU backend: float32 and float64. Python cuts (`plan`) and spreads (`threads`), C++ computes."""

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
from .operands import levels
from .rows import row_fused, row_grad, row_stats

__all__ = [
    "levels",
    "linear_fused",
    "linear_grad",
    "linear_hvp",
    "linear_stats",
    "name",
    "row_fused",
    "row_grad",
    "row_stats",
]

name = "cpu"


def linear_stats(x: Any, w: Array, bias: Array | None, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.linear_stats`."""
    return (sparse if is_sparse(x) else linear).linear_stats(x, w, bias, target, need_u=need_u)


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
) -> LinearGrads:
    """See `contract.Backend.linear_grad`."""
    module = sparse if is_sparse(x) else linear
    return module.linear_grad(x, w, bias, target, stats, slopes, weight=weight, need=need)


def linear_fused(
    x: Any,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
) -> tuple[Array, LinearGrads]:
    """See `contract.Backend.linear_fused`."""
    module = sparse if is_sparse(x) else linear
    return module.linear_fused(x, w, bias, target, slopes, weight=weight, need=need)


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
