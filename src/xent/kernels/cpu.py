"""The native CPU backend: float32 and float64. Python cuts (`plan`) and spreads (`threads`), C++ computes."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import _cpu
from .contract import WEIGHTS_ONLY, Array, LinearGrads, Need, RowStats, Slopes, Target
from .plan import LinearPlan, ceil_div, linear_plan, row_chunk
from .threads import ranges, run

name = "cpu"
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
PACK_PANELS = 16  # panels of weights packed by one task


def levels() -> list[str]:
    """The instruction sets that this machine has, best first."""
    return list(_cpu.levels())


def _level() -> int:
    """The level in use: the best, or the one that ``XENT_CPU_LEVEL`` names."""
    wanted = os.environ.get("XENT_CPU_LEVEL")
    if not wanted:
        return 0
    if wanted not in levels():
        raise ValueError(f"XENT_CPU_LEVEL={wanted!r}: this machine has {', '.join(levels())}")
    return levels().index(wanted)


def _operands(logits: Array, target: Target) -> tuple[Array, Array | None, Array | None]:
    if logits.dtype not in DTYPES:
        raise TypeError(f"the cpu backend takes float32 and float64, not {logits.dtype}; the reference takes any")
    label = None if target.label is None else np.ascontiguousarray(target.label, np.int64)
    probs = None if target.probs is None else np.ascontiguousarray(target.probs, logits.dtype)
    return np.ascontiguousarray(logits), label, probs


def _empty_stats(N: int, need_u: bool) -> RowStats:
    return RowStats(np.empty(N), np.empty(N), np.empty(N), np.empty(N) if need_u else None)


def _per_row(slopes: Slopes, N: int) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(np.broadcast_to(np.asarray(v, np.float64), N)) for v in slopes)


def _one(slopes: Slopes) -> tuple[Array, ...]:
    return tuple(np.asarray([v], np.float64) for v in slopes)


def _weight(weight: Array | None) -> Array | None:
    return None if weight is None else np.ascontiguousarray(weight, np.float64)


def _each(pieces: Any, call: Any) -> None:
    run(lambda i: call(*pieces[i]), len(pieces))


def row_stats(logits: Array, target: Target, *, need_u: bool = False) -> RowStats:
    """See `contract.Backend.row_stats`."""
    a, label, probs = _operands(logits, target)
    level, out = _level(), _empty_stats(len(a), need_u)
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    _each(pieces, lambda i, j: _cpu.row_stats(level, a, label, probs, *out, i, j))
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
    a, label, probs = _operands(logits, target)
    level, da, w, per_row = _level(), _output(a, out), _weight(weight), _per_row(slopes, len(a))
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    _each(pieces, lambda i, j: _cpu.row_grad(level, a, label, probs, stats.m, stats.s, *per_row, w, da, i, j))
    return _returned(da, out)


def row_fused(
    logits: Array, target: Target, slopes: Slopes, *, weight: Array | None = None, out: Array | None = None
) -> tuple[Array, Array]:
    """See `contract.Backend.row_fused`."""
    a, label, probs = _operands(logits, target)
    level, da, w, one, loss = _level(), _output(a, out), _weight(weight), _one(slopes), np.empty(len(a))
    pieces = ranges(len(a), row_chunk(len(a), a.shape[1], a.itemsize))
    _each(pieces, lambda i, j: _cpu.row_fused(level, a, label, probs, *one, w, loss, da, i, j))
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


class _Layer:
    """The operands of one call on a linear layer, ready for the kernels."""

    def __init__(self, x: Array, w: Array, bias: Array | None, target: Target) -> None:
        if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
            raise ValueError(f"x (N, D) and w (K, D) must share D: x has the shape {x.shape}, w {w.shape}")
        self.x, self.label, self.probs = _operands(x, target)
        self.w = np.ascontiguousarray(w, x.dtype)
        self.bias = None if bias is None else np.ascontiguousarray(bias, x.dtype)
        self.level = _level()
        (self.N, self.D), self.K = self.x.shape, len(self.w)
        self.plan: LinearPlan = linear_plan(self.N, self.D, self.K, self.x.itemsize)
        panel = _cpu.panel(self.level, self.x.itemsize)
        panels = ceil_div(self.K, panel)
        self.packed = np.empty(panels * panel * self.D, self.x.dtype)
        _each(ranges(panels, PACK_PANELS), lambda i, j: _cpu.pack(self.level, self.w, self.packed, i, j))

    @property
    def operands(self) -> tuple[Any, ...]:
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
    out, tile = _empty_stats(layer.N, need_u), layer.plan.tile_rows
    _each(ranges(layer.N, tile), lambda i, j: _cpu.linear_stats(*layer.operands, *out, tile, i, j))
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
    given = (stats.m, stats.s, *_per_row(slopes, layer.N), _weight(weight))
    return layer.gradients(lambda *where: _cpu.linear_grad(*layer.operands, *given, *where), need)


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
    given = (*_one(slopes), _weight(weight), loss)
    return loss, layer.gradients(lambda *where: _cpu.linear_fused(*layer.operands, *given, *where), need)
