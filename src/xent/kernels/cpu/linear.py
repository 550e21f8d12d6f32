"""The operations on a linear layer: Python cuts the rows and the classes, C++ computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import WEIGHTS_ONLY, Array, LinearGrads, Need, RowStats, Slopes, Target
from ..plan import LinearPlan, ceil_div, linear_plan
from ..threads import ranges, run
from .operands import each, empty_stats, level_in_use, one_slope, operands, per_row_slopes, weight_column

PACK_PANELS = 16  # panels of weights packed by one task


class _Layer:
    """The operands of one call on a linear layer, ready for the kernels."""

    def __init__(self, x: Array, w: Array, bias: Array | None, target: Target) -> None:
        if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
            raise ValueError(f"x (N, D) and w (K, D) must share D: x has the shape {x.shape}, w {w.shape}")
        self.x, self.label, self.probs = operands(x, target, ("float32", "float64"))
        self.w = np.ascontiguousarray(w, x.dtype)
        self.bias = None if bias is None else np.ascontiguousarray(bias, x.dtype)
        self.level = level_in_use()
        (self.N, self.D), self.K = self.x.shape, len(self.w)
        self.plan: LinearPlan = linear_plan(self.N, self.D, self.K, self.x.itemsize)
        panel = _cpu.panel(self.level, self.x.itemsize)
        panels = ceil_div(self.K, panel)
        self.packed = np.empty(panels * panel * self.D, self.x.dtype)
        each(ranges(panels, PACK_PANELS), lambda i, j: _cpu.pack(self.level, self.w, self.packed, i, j))

    @property
    def given(self) -> tuple[Any, ...]:
        return self.level, self.x, self.packed, self.w, self.bias, self.label, self.probs

    def gradients(self, call: Any, need: Need) -> LinearGrads:
        """Run ``call(dx, dw, residual, db, tile_rows, begin, end)`` over all rows and put the pieces together."""
        dx = np.empty_like(self.x) if need.x else None
        if need.w and self.plan.partials == 0:
            dw, db = self._in_place(call, dx, need)
            return LinearGrads(dx, dw, db)
        pieces = ranges(self.N, self.plan.chunk_rows)
        dw_parts = np.zeros((len(pieces), self.K, self.D), self.x.dtype) if need.w else None
        db_parts = np.zeros((len(pieces), self.K)) if need.bias else None

        def chunk(i: int) -> None:
            part = None if dw_parts is None else dw_parts[i]
            db = None if db_parts is None else db_parts[i]
            call(dx, part, None, db, self.plan.tile_rows, *pieces[i])

        run(chunk, len(pieces))
        total = None if dw_parts is None else dw_parts.sum(axis=0, dtype=np.float64).astype(self.x.dtype)
        return LinearGrads(dx, total, None if db_parts is None else db_parts.sum(axis=0))

    def _in_place(self, call: Any, dx: Array | None, need: Need) -> tuple[Array, Array | None]:
        """Two phases for each chunk of rows: residuals of its tiles, then dw by blocks of classes."""
        plan = self.plan
        dw = np.zeros((self.K, self.D), self.x.dtype)
        tiles = ceil_div(plan.chunk_rows, plan.tile_rows)
        residual = np.empty((plan.chunk_rows, self.K), self.x.dtype)
        db_parts = np.zeros((tiles, self.K)) if need.bias else None
        blocks = ranges(self.K, plan.class_block)
        for begin, end in ranges(self.N, plan.chunk_rows):
            pieces = ranges(end - begin, plan.tile_rows)

            def tile(i: int, begin: int = begin, pieces: Any = pieces) -> None:
                a, b = pieces[i]
                db = None if db_parts is None else db_parts[i]
                call(dx, None, residual[a:b], db, plan.tile_rows, begin + a, begin + b)

            def block(k: int, begin: int = begin, end: int = end) -> None:
                _cpu.add_dw(self.level, self.x, residual, dw, begin, end, *blocks[k])

            run(tile, len(pieces))
            run(block, len(blocks))
        return dw, None if db_parts is None else db_parts.sum(axis=0)


def linear_stats(x: Array, w: Array, bias: Array | None, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.linear_stats`."""
    layer = _Layer(x, w, bias, target)
    out, tile = empty_stats(layer.N, need_u), layer.plan.tile_rows
    each(ranges(layer.N, tile), lambda i, j: _cpu.linear_stats(*layer.given, *out, tile, i, j))
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
) -> LinearGrads:
    """See `contract.Backend.linear_grad`."""
    layer = _Layer(x, w, bias, target)
    values = (stats.m, stats.s, *per_row_slopes(slopes, layer.N), weight_column(weight))
    return layer.gradients(lambda *where: _cpu.linear_grad(*layer.given, *values, *where), need)


def linear_fused(
    x: Array,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
) -> tuple[Array, LinearGrads]:
    """See `contract.Backend.linear_fused`."""
    layer = _Layer(x, w, bias, target)
    loss = np.empty(layer.N)
    values = (*one_slope(slopes), weight_column(weight), loss)
    return loss, layer.gradients(lambda *where: _cpu.linear_fused(*layer.given, *values, *where), need)
