"""How a linear layer's gradients move along a direction: Python cuts the rows and the classes, C++ computes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import WEIGHTS_ONLY, Array, Curvatures, Directions, LinearGrads, Need, Slopes, Target
from ..plan import ceil_div, hvp_plan
from ..threads import ranges, run
from .operands import each, layer_operands, level_in_use, per_row_slopes, weight_column

PACK_PANELS = 16  # panels of weights packed by one task


class _Call:
    """The operands of one call, ready for the kernels."""

    def __init__(
        self, x: Array, w: Array, bias: Array | None, target: Target, directions: Directions, weight: Array | None
    ) -> None:
        self.x, self.w, self.bias, self.label, self.probs = layer_operands(x, w, bias, target)
        for name, v, like in (("x", directions.x, x), ("w", directions.w, w)):
            if v is not None and v.shape != like.shape:
                raise ValueError(f"the direction of {name} has the shape {v.shape}, {name} {like.shape}")
        self.level, self.weight, self.dtype = level_in_use(), weight_column(weight), self.w.dtype
        self.vx, self.vw, self.vb = (None if v is None else np.ascontiguousarray(v, self.dtype) for v in directions)
        self.N, self.D, self.K = len(x), x.shape[1], len(w)
        self.plan = hvp_plan(self.N, self.D, self.K, self.dtype.itemsize)
        self.packed = self._pack(self.w)
        self.packed_v = None if self.vw is None else self._pack(self.vw)

    def _pack(self, w: Any) -> Array:
        panel = _cpu.panel(self.level, self.dtype.itemsize)
        panels = ceil_div(self.K, panel)
        packed = np.empty(panels * panel * self.D, self.dtype)
        each(ranges(panels, PACK_PANELS), lambda i, j: _cpu.pack(self.level, w, packed, i, j))
        return packed

    def products(self, values: tuple[Any, ...], need: Need) -> LinearGrads:
        dx = np.empty_like(self.x) if need.x else None
        given: tuple[Any, ...] = (self.level, self.x, self.packed, self.w, self.bias, self.label, self.probs)
        given += (self.vx, self.vw, self.packed_v, self.vb, *values[:3], self.weight, *values[3:], dx)
        if need.w and self.plan.partials == 0:
            dw, db = self._in_place(given, need)
            return LinearGrads(dx, dw, db)
        pieces = ranges(self.N, self.plan.chunk_rows)
        dw_parts = np.zeros((len(pieces), self.K, self.D), self.dtype) if need.w else None
        db_parts = np.zeros((len(pieces), self.K)) if need.bias else None

        def chunk(i: int) -> None:
            dw = None if dw_parts is None else dw_parts[i]
            db = None if db_parts is None else db_parts[i]
            _cpu.linear_hvp(*given, dw, None, None, db, self.plan.tile_rows, *pieces[i])

        run(chunk, len(pieces))
        total = None if dw_parts is None else dw_parts.sum(axis=0, dtype=np.float64).astype(self.dtype)
        return LinearGrads(dx, total, None if db_parts is None else db_parts.sum(axis=0))

    def _in_place(self, given: tuple[Any, ...], need: Need) -> tuple[Array, Array | None]:
        """Two phases for each chunk of rows: what its tiles leave, then dw by blocks of classes."""
        plan, most = self.plan, min(self.plan.chunk_rows, self.N)
        dw = np.zeros((self.K, self.D), self.dtype)
        moved = np.empty((most, self.K), self.dtype)
        residual = None if self.vx is None else np.empty_like(moved)
        db_parts = np.zeros((ceil_div(most, plan.tile_rows), self.K)) if need.bias else None
        blocks = ranges(self.K, plan.class_block)
        for begin, end in ranges(self.N, plan.chunk_rows):
            pieces = ranges(end - begin, plan.tile_rows)
            x = self.x[begin:end].astype(self.dtype, copy=False)
            vx, label, kept = (None if v is None else v[begin:end] for v in (self.vx, self.label, self.weight))

            def tile(i: int, begin: int = begin, pieces: Any = pieces) -> None:
                a, b = pieces[i]
                left = None if residual is None else residual[a:b]
                db = None if db_parts is None else db_parts[i]
                _cpu.linear_hvp(*given, None, moved[a:b], left, db, plan.tile_rows, begin + a, begin + b)

            def block(k: int, rows: Any = (x, vx, label, kept, moved, residual)) -> None:
                _cpu.add_hvp_dw(self.level, *rows, dw, 0, len(rows[0]), *blocks[k])

            run(tile, len(pieces))
            run(block, len(blocks))
        return dw, None if db_parts is None else db_parts.sum(axis=0)


def linear_hvp(
    x: Array,
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
    call = _Call(x, w, bias, target, directions, weight)
    bend = (None,) * 3 if curvatures is None else per_row_slopes(curvatures, call.N)
    return call.products((*per_row_slopes(slopes, call.N), *bend), need)
