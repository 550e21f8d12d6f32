"""A linear layer of very many classes: tiles of rows against groups of classes, logits of one tile at most."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, LinearGrads, Need, RowStats
from ..plan import FEWEST_CLASSES, PAD, LinearPlan, round_up
from ..threads import ranges, run
from .operands import each, empty_stats, room_for_dx

SUMMED = 2**14  # numbers of a sum of parts by one task
PART = 6  # numbers that linear_many.h keeps of a row in a group


class Many:
    """One call. Each tile of rows is two rounds of tasks: statistics of groups of classes, then their gradients."""

    def __init__(
        self,
        plan: LinearPlan,
        level: int,
        x: Array,
        w: Array,
        bias: Array | None,
        label: Array | None,
        probs: Array | None,
    ) -> None:
        self.plan, self.level, self.x, self.w, self.bias, self.label, self.probs = plan, level, x, w, bias, label, probs
        (self.N, self.D), self.K = x.shape, len(w)
        self.groups = list(ranges(self.K, plan.group))
        if len(self.groups) > 1 and self.K - self.groups[-1][0] < FEWEST_CLASSES:
            self.groups[-2:] = [(self.groups[-2][0], self.K)]
        R = min(plan.tile_rows, self.N)
        self.turned = np.empty(round_up(R, PAD) * self.D, w.dtype)
        self.packed = np.empty(round_up(self.D, PAD) * R, w.dtype)
        self.parts = np.empty(len(self.groups) * R * PART)

    def stats(self, need_u: bool) -> RowStats:
        """Statistics of all rows."""
        out = empty_stats(self.N, need_u)
        for begin, end in ranges(self.N, self.plan.tile_rows):
            self._tile_stats(self._tile(begin, end, None), None, RowStats(*(_rows(v, begin, end) for v in out)))
        return out

    def grad(self, *values: Any, need: Need, out: Array | None = None) -> LinearGrads:
        """Gradients for given statistics; values are m, s, the slopes of each row, and their weights."""
        into = _Into(self, need, out)
        for begin, end in ranges(self.N, self.plan.tile_rows):
            rows = [_rows(v, begin, end) for v in values]
            into.add(self._tile(begin, end, rows[-1]), None, rows, begin, end)
        return into.grads()

    def fused(self, *values: Any, need: Need, out: Array | None = None) -> tuple[float, LinearGrads]:
        """The weighted sum of the losses and the gradients; values are the slopes, the weights, and room for losses."""
        *slopes, weight, loss = values
        into, total = _Into(self, need, out), 0.0
        R = min(self.plan.tile_rows, self.N)
        kept = np.empty(self.K * R, self.w.dtype) if self.plan.kept and any(need) else None
        for begin, end in ranges(self.N, self.plan.tile_rows):
            part = _rows(weight, begin, end)
            layer, found = self._tile(begin, end, part), empty_stats(end - begin, bool(slopes[2][0]))
            self._tile_stats(layer, kept, found)
            each_loss = _losses(found, slopes, _rows(self.label, begin, end), part)
            total += float(each_loss.sum() if part is None else each_loss @ part)
            if loss is not None:
                loss[begin:end] = each_loss
            into.add(layer, kept, [found.m, found.s, *slopes, part], begin, end)
        return total, into.grads()

    def _tile(self, begin: int, end: int, weight: Array | None) -> Any:
        """The native layer of a tile of rows, packed; which are converted to the dtype of w."""
        label, probs = _rows(self.label, begin, end), _rows(self.probs, begin, end)
        x = self.x[begin:end].astype(self.w.dtype, copy=False)
        layer = _cpu.layer(self.level, x, self.w, None, self.bias, label, probs)
        layer.pack_tile(weight, self.turned, self.packed)
        return layer

    def _tile_stats(self, layer: Any, kept: Array | None, out: RowStats) -> None:
        parts = _table(self.parts, len(self.groups), len(out.m) * PART)

        def group(i: int) -> None:
            layer.many_stats(self.turned, self.packed, kept, parts[i], out.u is not None, self.classes(i))

        run(group, len(self.groups), self.plan.most_tasks)
        layer.many_merge(parts.reshape(-1), len(self.groups), *out)

    def classes(self, i: int) -> tuple[int, int, int, int]:
        """Group i as the kernels take it."""
        return *self.groups[i], self.plan.block, self.plan.strip


class _Into:
    """Gradients as they grow, tile by tile."""

    def __init__(self, many: Many, need: Need, out: Array | None) -> None:
        self.many, x, w = many, many.x, many.w
        self.dx = room_for_dx(x, out) if need.x else None
        self.dw = (np.empty if many.N else np.zeros)(w.shape, w.dtype) if need.w else None
        self.db = np.zeros(len(w)) if need.bias else None
        R = min(many.plan.tile_rows, many.N)
        self.shares = np.empty(len(many.groups) * R * x.shape[1], w.dtype) if need.x else None

    def add(self, layer: Any, kept: Array | None, values: list[Any], begin: int, end: int) -> None:
        many, shares = self.many, None
        if self.dx is None and self.dw is None and self.db is None:
            return
        if self.shares is not None:
            shares = _table(self.shares, len(many.groups), (end - begin) * many.D)

        def group(i: int) -> None:
            dx = None if shares is None else shares[i]
            layer.many_grad(many.turned, many.packed, kept, *values, dx, self.dw, self.db, begin == 0, many.classes(i))

        run(group, len(many.groups), many.plan.most_tasks)
        if self.dx is not None and shares is not None:
            out = self.dx[begin:end].reshape(-1)
            to = out if out.dtype == shares.dtype else np.empty(out.size, shares.dtype)
            each(ranges(out.size, SUMMED), lambda i, j: _cpu.sum_parts(many.level, shares, to, i, j))
            if to is not out:
                out[:] = to

    def grads(self) -> LinearGrads:
        return LinearGrads(self.dx, self.dw, self.db)


def _rows(a: Array | None, begin: int, end: int) -> Any:
    return None if a is None else a[begin:end]


def _table(a: Array, rows: int, columns: int) -> Array:
    return a[: rows * columns].reshape(rows, columns)


def _losses(stats: RowStats, slopes: Any, label: Array | None, weight: Array | None) -> Array:
    """``slopes . (s, t, u)``, and 0 for rows that are left out; a slope of 0 may meet an infinite statistic."""
    loss = np.zeros(len(stats.m))
    for slope, v in zip(slopes, stats[1:], strict=True):
        if slope[0] != 0 and v is not None:
            loss += slope[0] * v
    loss += 0.0 * stats.s  # NaN stays, whatever the slopes
    if label is not None:
        loss[label < 0] = 0.0
    if weight is not None:
        loss[weight == 0] = 0.0
    return loss
