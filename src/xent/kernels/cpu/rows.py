"""The operations on logits."""

from __future__ import annotations

import numpy as np

from .. import _cpu
from ..contract import Array, RowStats, Slopes, Target
from ..plan import row_chunk
from ..threads import ranges
from .operands import each, empty_stats, level_in_use, one_slope, operands, per_row_slopes, weight_column


def row_stats(logits: Array, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.row_stats`."""
    a, label, probs = operands(logits, target)
    level, out = level_in_use(), empty_stats(len(a), need_u)
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    each(pieces, lambda i, j: _cpu.row_stats(level, a, label, probs, *out, i, j))
    return out


def row_grad(
    logits: Array,
    target: Target,
    stats: RowStats,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    out: Array | None = None,
) -> Array:
    """See `contract.Backend.row_grad`."""
    a, label, probs = operands(logits, target)
    level, da, w, per_row = level_in_use(), _output(a, out), weight_column(weight), per_row_slopes(slopes, len(a))
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    each(pieces, lambda i, j: _cpu.row_grad(level, a, label, probs, stats.m, stats.s, *per_row, w, da, i, j))
    return _returned(da, out)


def row_fused(
    logits: Array, target: Target, slopes: Slopes, *, weight: Array | None = None, out: Array | None = None
) -> tuple[Array, Array]:
    """See `contract.Backend.row_fused`."""
    a, label, probs = operands(logits, target)
    level, da, w, one, loss = (
        level_in_use(),
        _output(a, out),
        weight_column(weight),
        one_slope(slopes),
        np.empty(len(a)),
    )
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    each(pieces, lambda i, j: _cpu.row_fused(level, a, label, probs, *one, w, loss, da, i, j))
    return loss, _returned(da, out)


def _output(a: Array, out: Array | None) -> Array:
    if out is None:
        return np.empty_like(a)
    if out.shape != a.shape or out.dtype != a.dtype:
        raise ValueError(f"out is {out.dtype}{list(out.shape)}, the logits are {a.dtype}{list(a.shape)}")
    return out if out.flags.c_contiguous else np.empty_like(a)


def _returned(da: Array, out: Array | None) -> Array:
    if out is None or out is da:
        return da
    out[...] = da
    return out
