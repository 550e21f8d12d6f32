"""The operations on a linear layer: Python cuts the rows and the classes, C++ computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import WEIGHTS_ONLY, Array, LinearGrads, Need, RowStats, Slopes, Target
from ..plan import ALONE, LinearPlan, ceil_div, goes_past, linear_plan
from ..threads import ranges, run
from .many import Many
from .operands import (
    each,
    empty_stats,
    layer_operands,
    level_in_use,
    one_slope,
    per_row_slopes,
    room_for_dx,
    weight_column,
)

PACK_PANELS = 16  # panels of weights packed by one task
SUMMED = 2**14  # numbers of a sum of parts by one task


class _Layer:
    """The operands of one call on a linear layer, ready for the kernels."""

    def __init__(
        self, x: Array, w: Array, bias: Array | None, target: Target, memory: int | None, *, twice: bool = False
    ) -> None:
        self.x, self.w, self.bias, self.label, self.probs = layer_operands(x, w, bias, target)
        self.level, self.dtype = level_in_use(), self.w.dtype
        (self.N, self.D), self.K = self.x.shape, len(self.w)
        shape, converts = (self.N, self.D, self.K), x.dtype != self.dtype
        self.plan: LinearPlan = linear_plan(*shape, self.dtype.itemsize, memory, twice=twice, converts=converts)

    def rows(self) -> Any:
        """The native layer with its weights packed, for tiles of rows against all classes."""
        panel = _cpu.panel(self.level, self.dtype.itemsize)
        panels = ceil_div(self.K, panel)
        packed = np.empty(panels * panel * self.D, self.dtype)
        layer = _cpu.layer(self.level, self.x, self.w, packed, self.bias, self.label, self.probs)
        each(ranges(panels, PACK_PANELS), layer.pack, self.plan.most_tasks)
        return layer

    def many(self) -> Many:
        """The layer in tiles of rows against blocks of classes."""
        return Many(self.plan, self.level, self.x, self.w, self.bias, self.label, self.probs)

    def gradients(self, call: Any, need: Need, out: Array | None) -> tuple[float, LinearGrads]:
        """Run ``call(dx, dw, db, past, tile_rows, begin, end)`` over all rows; its values and the gradients, summed."""
        pieces = ranges(self.N, self.plan.chunk_rows)
        alone = len(pieces) == 1
        dx = room_for_dx(self.x, out) if need.x else None
        dw = (np.empty if pieces else np.zeros)(self.w.shape, self.dtype) if need.w else None
        parts = None if dw is None or alone else np.empty((len(pieces), dw.size), dw.dtype)
        db = np.zeros((len(pieces), self.K)) if need.bias else None
        total, past = np.zeros(len(pieces)), dx is not None and goes_past(dx.nbytes)

        def chunk(i: int) -> None:
            part = dw if parts is None else parts[i].reshape(self.w.shape)
            total[i] = call(dx, part, None if db is None else db[i], past, self.plan.tile_rows, *pieces[i]) or 0.0

        run(chunk, len(pieces), 1 if self.N * self.D * self.K <= ALONE else self.plan.most_tasks)
        if dw is not None and parts is not None:
            sum_parts(self.level, parts, dw)
        return float(total.sum()), LinearGrads(dx, dw, None if db is None else db.sum(axis=0))


def sum_parts(level: int, parts: Array, out: Array) -> None:
    """``out = parts.sum(axis=0)`` in float64, on all threads."""
    flat = out.reshape(-1)
    if flat.size and len(parts):
        each(ranges(flat.size, SUMMED), lambda i, j: _cpu.sum_parts(level, parts, flat, i, j))


def linear_stats(
    x: Array, w: Array, bias: Array | None, target: Target, *, need_u: bool = False, memory: int | None = None
) -> RowStats:
    """See `contract.Backend.linear_stats`."""
    layer = _Layer(x, w, bias, target, memory)
    if layer.plan.way == "many":
        return layer.many().stats(need_u)
    out, tile, rows = empty_stats(layer.N, need_u), layer.plan.tile_rows, layer.rows()
    each(ranges(layer.N, tile), lambda i, j: rows.stats(*out, tile, i, j), layer.plan.most_tasks)
    return out


def linear_grad(
    x: Array,
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
    layer = _Layer(x, w, bias, target, memory)
    values = (stats.m, stats.s, *per_row_slopes(slopes, layer.N), weight_column(weight))
    if layer.plan.way == "many":
        return layer.many().grad(*values, need=need, out=out)
    rows = layer.rows()
    return layer.gradients(lambda *where: rows.grad(*values, *where), need, out)[1]


def linear_fused(
    x: Array,
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
    layer = _Layer(x, w, bias, target, memory, twice=True)
    loss = None if total else np.empty(layer.N)
    values = (*one_slope(slopes), weight_column(weight))
    if layer.plan.way == "many":
        summed, grads = layer.many().fused(*values, loss, need=need, out=out)
    else:
        rows = layer.rows()
        summed, grads = layer.gradients(lambda *where: rows.fused(*values, loss, *where), need, out)
    return (summed if loss is None else loss), grads
