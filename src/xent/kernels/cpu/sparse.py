"""The operations on a linear layer of sparse rows (CSR): Python cuts the rows and the columns, C++ computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import _cpu
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
    check_csr,
)
from ..plan import SparsePlan, ceil_div, lanes, sparse_plan
from ..threads import ranges, run
from .operands import (
    LAYER_DTYPES,
    aligned,
    check_layer,
    each,
    empty_stats,
    level_in_use,
    one_slope,
    per_row_slopes,
    scratch,
    weight_column,
)

COLUMNS = 4096  # columns turned by one task
# Moments of columns are summed in so many parts at most, each of so many nonzeros a column at least.
PARTS, NONZEROS_A_PART = 4, 32


class _Layer:
    """The operands of one call, ready for the kernels.

    Of two classes whose residuals are each other's opposite (`pair`), one vector is kept: the difference of the two.
    """

    def __init__(
        self, x: Any, w: Array, bias: Array | None, target: Target, weight: Array | None, *, pair: bool = False
    ) -> None:
        check_csr(x)
        check_layer(x, w)
        if x.dtype.name not in LAYER_DTYPES:
            raise TypeError(f"the cpu backend takes float32 and float64, not {x.dtype}; the reference takes any")
        self.dtype, (self.N, self.D), self.K = x.dtype, x.shape, len(w)
        self.level, self.pair = level_in_use(), pair
        start, column = np.ascontiguousarray(x.indptr, np.int64), np.ascontiguousarray(x.indices)
        if column.dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
            column = column.astype(np.int64)
        label = None if target.label is None else np.ascontiguousarray(target.label, np.int64)
        self.probs = None if target.probs is None else np.ascontiguousarray(target.probs, x.dtype)
        self.lanes = 1 if pair else lanes(self.K, x.dtype.itemsize)
        row = (start, column, np.ascontiguousarray(x.data), self.D, label, weight_column(weight))
        self.csr = (self.level, *row, self.K, self.lanes)
        self.plan: SparsePlan = sparse_plan(self.N, self.D, self.lanes, len(column), x.dtype.itemsize)
        self.w, self.bias = self.vectors(w), self.bias_lanes(bias)

    def vectors(self, w: Array) -> Array:
        """The weight vectors (K, D), or of a pair the difference (1, D), in x's dtype."""
        w = np.ascontiguousarray(w, self.dtype)
        return w[1:] - w[:1] if self.pair else w

    def bias_lanes(self, bias: Array | None) -> Array | None:
        if bias is None:
            return None
        out = np.zeros(self.lanes, self.dtype)
        out[: 1 if self.pair else self.K] = bias[1] - bias[0] if self.pair else bias
        return out

    def columns(self, w: Array) -> Array:
        """Weights by columns (D, lanes)."""
        out = aligned((self.D, self.lanes), self.dtype)
        each(ranges(self.D, COLUMNS), lambda i, j: _cpu.to_columns(self.level, w, out, i, j))
        return out

    def given(self, w: Array) -> tuple[Any, ...]:
        return *self.csr, w, self.bias, self.probs, self.plan.tile_rows

    def gradients(self, call: Callable[..., Any], need: Need, beside: bool = True) -> tuple[float, LinearGrads]:
        """Run ``call(w, dw, offset, residual, split, shift, db, begin, end)`` over all rows and add up the pieces.

        What the calls return, where that is a number, is added up too. `beside`: dw may lie beside w, in one array, so
        that a nonzero finds both in one line of the cache.
        """
        if need.w and self.plan.partials == 0:
            return self._in_place(call, need)
        pieces = ranges(self.N, self.plan.chunk_rows)
        db = np.zeros((len(pieces), self.K)) if need.bias else None
        total = np.zeros(len(pieces))
        beside = beside and self.plan.beside and need.w
        offset, w = (self.lanes, None) if beside else (0, self.columns(self.w))
        # a partial sum of dw for each chunk of rows, and a copy of w beside each
        lanes = offset + self.lanes if need.w else 0
        with scratch((len(pieces), self.D, lanes), self.dtype) as parts:

            def chunk(i: int) -> None:
                part = parts[i] if need.w else None
                if w is None:
                    _cpu.to_columns(self.level, self.w, part, 0, self.D)
                elif part is not None:
                    part[...] = 0
                mine = part if w is None else w
                total[i] = call(mine, part, offset, None, None, 0, None if db is None else db[i], *pieces[i]) or 0.0

            run(chunk, len(pieces))
            dw = self._rows(parts, offset) if need.w else None
        return float(total.sum()), LinearGrads(None, dw, None if db is None else db.sum(axis=0))

    def _in_place(self, call: Callable[..., Any], need: Need) -> tuple[float, LinearGrads]:
        """Two phases for each chunk of rows: residuals of its tiles, then dw by blocks of columns."""
        plan, K = self.plan, 1 if self.pair else self.K
        w, dw = self.columns(self.w), aligned((1, self.D, self.lanes), self.dtype, zero=True)
        most = min(plan.chunk_rows, self.N)
        residual = np.empty(most * K + self.lanes, self.dtype)
        split = np.empty((most, plan.blocks + 1), np.uint32)
        tiles = ceil_div(most, plan.task_rows)
        db = np.zeros((tiles, self.K)) if need.bias else None
        total = np.zeros(tiles)
        for begin, end in ranges(self.N, plan.chunk_rows):
            pieces = ranges(end - begin, plan.task_rows)

            def tile(i: int, begin: int = begin, pieces: Any = pieces) -> None:
                a, b = pieces[i]
                mine = None if db is None else db[i]
                room = residual[a * K : b * K + self.lanes]
                total[i] += call(w, None, 0, room, split[a:b], plan.shift, mine, begin + a, begin + b) or 0.0

            def block(k: int, begin: int = begin, end: int = end) -> None:
                _cpu.sparse_add_block(*self.csr, residual, split, plan.shift, dw[0], k, begin, end)

            run(tile, len(pieces))
            run(block, plan.blocks)
        return float(total.sum()), LinearGrads(None, self._rows(dw, 0), None if db is None else db.sum(axis=0))

    def _rows(self, parts: Array, offset: int) -> Array:
        """The sum of the parts, as (K, D)."""
        dw = np.empty((self.K, self.D), self.dtype)
        to = dw[1:] if self.pair else dw

        def add_up(i: int, j: int) -> None:
            _cpu.from_columns(self.level, parts, offset, to, i, j)
            if self.pair:
                np.negative(dw[1, i:j], out=dw[0, i:j])

        each(ranges(self.D, COLUMNS), add_up)
        return dw


def _opposite(K: int, target: Target, slopes: Slopes) -> bool:
    """Whether the residuals of two classes sum to zero in every row: then one vector does the work of two."""
    if K != 2 or target.probs is not None:
        return False
    return bool(abs(slopes.s + slopes.t + 2 * slopes.u) <= 4 * np.finfo(np.float64).eps * abs(slopes.s))


def linear_stats(x: Any, w: Array, bias: Array | None, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.linear_stats`."""
    layer = _Layer(x, w, bias, target, None)
    out, given = empty_stats(layer.N, need_u), layer.given(layer.columns(layer.w))
    each(ranges(layer.N, layer.plan.task_rows), lambda i, j: _cpu.sparse_stats(*given, *out, i, j))
    return out


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
    check_csr(x, need)
    layer = _Layer(x, w, bias, target, weight)
    values = (stats.m, stats.s, *per_row_slopes(slopes, layer.N))
    return layer.gradients(lambda w, *where: _cpu.sparse_grad(*layer.given(w), *values, *where), need)[1]


def linear_fused(
    x: Any,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
    total: bool = False,
) -> tuple[Any, LinearGrads]:
    """See `contract.Backend.linear_fused`."""
    check_csr(x, need)
    layer = _Layer(x, w, bias, target, weight, pair=_opposite(len(w), target, slopes))
    loss = None if total else np.empty(layer.N)
    values = (*one_slope(slopes), loss)
    summed, grads = layer.gradients(lambda w, *where: _cpu.sparse_fused(*layer.given(w), *values, *where), need)
    return (summed if loss is None else loss), grads


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
    check_csr(x, need, directions)
    pair = len(w) == 2 and target.probs is None and curvatures is None
    layer = _Layer(x, w, bias, target, weight, pair=pair)
    v = np.zeros_like(w) if directions.w is None else directions.w
    if v.shape != w.shape:
        raise ValueError(f"the direction of w has the shape {v.shape}, w {w.shape}")
    v, vb = layer.columns(layer.vectors(v)), layer.bias_lanes(directions.bias)
    values = (v, vb, *per_row_slopes(slopes, layer.N))
    values += (None,) * 3 if curvatures is None else per_row_slopes(curvatures, layer.N)
    return layer.gradients(lambda w, *where: _cpu.sparse_hvp(*layer.given(w), *values, *where), need, beside=False)[1]


def column_moments(x: Any, weight: Array) -> Array:
    """See `contract.Backend.column_moments`."""
    check_csr(x)
    if x.dtype.name not in LAYER_DTYPES:
        raise TypeError(f"the cpu backend takes float32 and float64, not {x.dtype}; the reference takes any")
    (N, D), level = x.shape, level_in_use()
    index = np.ascontiguousarray(x.indices)
    index = index if index.dtype in (np.dtype(np.int32), np.dtype(np.int64)) else index.astype(np.int64)
    given = np.ascontiguousarray(x.indptr, np.int64), index, np.ascontiguousarray(x.data)
    weight = np.ascontiguousarray(weight, np.float64)
    rows = ranges(N, max(1, ceil_div(N, max(1, min(PARTS, len(index) // max(1, NONZEROS_A_PART * D))))))
    with scratch((len(rows), D, 2), np.float64) as parts:

        def add_up(i: int) -> None:
            parts[i] = 0
            _cpu.column_moments(level, *given, weight, parts[i], *rows[i])

        run(add_up, len(rows))
        return parts.sum(axis=0)
