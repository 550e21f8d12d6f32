"""The operations on logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, RowStats, Slopes, Target, dtype_name
from ..plan import goes_past, row_chunk
from ..threads import ranges, run
from .operands import (
    SUFFIXES,
    each,
    empty_stats,
    level_in_use,
    one_slope,
    operands,
    per_row_slopes,
    stored,
    weight_column,
)


def _kernel(operation: str, a: Array) -> Any:
    return getattr(_cpu, operation + SUFFIXES[dtype_name(a.dtype)])


def _pieces(a: Array) -> Any:
    return ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))


def row_stats(logits: Array, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.row_stats`."""
    a, label, probs = operands(logits, target)
    level, kernel, out, z = level_in_use(), _kernel("row_stats", a), empty_stats(len(a), need_u), stored(a)
    each(_pieces(a), lambda i, j: kernel(level, z, label, probs, *out, i, j))
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
    level, kernel, da, w = level_in_use(), _kernel("row_grad", a), _output(a, out), weight_column(weight)
    z, dz, given = stored(a), stored(da), (stats.m, stats.s, *per_row_slopes(slopes, len(a)), w)
    each(_pieces(a), lambda i, j: kernel(level, z, label, probs, *given, dz, i, j))
    return _returned(da, out)


def row_fused(
    logits: Array,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    out: Array | None = None,
    total: bool = False,
) -> tuple[Any, Array]:
    """See `contract.Backend.row_fused`."""
    a, label, probs = operands(logits, target)
    da = _output(a, out)
    return _fused(a, label, probs, slopes, weight, da, total), _returned(da, out)


def row_loss(logits: Array, target: Target, slopes: Slopes, *, weight: Array | None = None, total: bool = False) -> Any:
    """See `contract.Backend.row_loss`."""
    return _fused(*operands(logits, target), slopes, weight, None, total)


def _fused(
    a: Array, label: Any, probs: Any, slopes: Slopes, weight: Array | None, da: Array | None, total: bool
) -> Any:
    level, kernel, w, one = level_in_use(), _kernel("row_fused", a), weight_column(weight), one_slope(slopes)
    loss = None if total else np.empty(len(a))
    z, dz = stored(a), None if da is None else stored(da)
    past = da is not None and not np.may_share_memory(a, da) and goes_past(da.nbytes)
    pieces = _pieces(a)
    sums = [0.0] * len(pieces)

    def piece(i: int) -> None:
        sums[i] = kernel(level, z, label, probs, *one, w, loss, dz, past, *pieces[i])

    run(piece, len(pieces))
    return sum(sums) if loss is None else loss


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
