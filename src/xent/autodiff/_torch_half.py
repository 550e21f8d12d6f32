"""Linear layers in bfloat16 in the CPU's memory: PyTorch's products, native statistics and gradients of their tiles.

The processors that multiply bfloat16 do it several times as fast as float32, and PyTorch has the kernels. A product
comes back in bfloat16, as it does for PyTorch's own layers; everything else is float32. Tiles of logits become their
gradients in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..kernels import Need, RowStats, Slopes, Target, select
from ..kernels.contract import BFLOAT16
from ..kernels.plan_half import HalfPlan, class_blocks, half_plan
from ..kernels.threads import ranges
from ._torch import numpy_view


def fits(op: Any, *tensors: torch.Tensor | None) -> bool:
    """Whether the layer is one for this file."""
    given = [v for v in tensors if v is not None]
    return getattr(op, "native", False) and all(v.dtype == torch.bfloat16 and v.device.type == "cpu" for v in given)


class HalfLayer:
    """The operands of one call: x (N, D), w (K, D) and bias (K,) or None in bfloat16, the target as NumPy arrays."""

    def __init__(
        self, op: Any, x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None, *target: np.ndarray
    ) -> None:
        self.op, self.label, self.probs = op, target[-1], target[0] if len(target) > 1 else None
        self.x, self.w, self.bias = x.detach(), w.detach(), None if bias is None else bias.detach()
        (self.N, self.D), self.K = x.shape, len(w)

    def losses(self, memory: int | None) -> np.ndarray:
        """The loss of each row (N,)."""
        loss = np.empty(self.N)
        plan = self.plan(memory)
        room = empty(plan.tile_rows * self.K)
        for a, b in ranges(self.N, plan.tile_rows):
            _, logits = self.logits(slice(a, b), slice(None), room)
            loss[a:b] = self.op.value(np, logits, *self.target(a, b))
        return loss

    def gradients(self, g: np.ndarray, need: Need, memory: int | None) -> list[torch.Tensor | None]:
        """The gradients of ``sum_i g_i l_i`` in x, w and bias."""
        kept = (self.label >= 0) & (g != 0)
        return _Gradients(self, g, kept, need, self.plan(memory, clean=not kept.all())).all()

    def plan(self, memory: int | None, *, clean: bool = False) -> HalfPlan:
        """How to cut."""
        return half_plan(self.N, self.D, self.K, memory, soft=self.probs is not None, clean=clean)

    def target(self, a: int, b: int) -> tuple[np.ndarray, ...]:
        """The target of some rows, as row functions take it."""
        return tuple(v[a:b] for v in (self.probs, self.label) if v is not None)

    def logits(self, rows: slice, classes: slice, room: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """Those of some rows and classes, in `room`: the tensor, and a NumPy array on it."""
        x, w = self.x[rows], self.w[classes]
        z = room[: len(x) * len(w)].view(len(x), len(w))
        if self.bias is None:
            torch.mm(x, w.T, out=z)
        else:
            torch.addmm(self.bias[classes], x, w.T, out=z)
        return z, numpy_view(z)


def empty(*shape: int) -> torch.Tensor:
    """Room in bfloat16."""
    return torch.empty(shape, dtype=torch.bfloat16)


class _Gradients:
    """Gradients as they grow. Rows that are not `kept` have none, and nothing in their x may reach dw."""

    def __init__(self, layer: HalfLayer, g: np.ndarray, kept: np.ndarray, need: Need, plan: HalfPlan) -> None:
        self.layer, self.g, self.need, self.plan = layer, g, need, plan
        self.left_out = None if kept.all() else torch.from_numpy(~kept)
        self.dx = empty(layer.N, layer.D) if need.x else None
        self.dw = torch.zeros((layer.K, layer.D), dtype=torch.bfloat16) if need.w else None
        self.db = torch.zeros(layer.K, dtype=torch.bfloat16) if need.bias else None
        self.columns = need.w or need.bias  # sums over the rows
        # blocks of classes need m and s of each row, and the three slopes
        self.blocks = class_blocks(layer.K, plan.classes) if self.columns and plan.classes else []
        self.rows = np.empty((5, layer.N if self.blocks else 0))
        whole = self.columns and not self.blocks
        sizes = [plan.chunk_rows * (d - c) for c, d in self.blocks]
        self.room = empty(max((layer.N if whole else plan.tile_rows) * layer.K, *sizes, 0))
        self.backend = select(dtype=BFLOAT16).backend

    def all(self) -> list[torch.Tensor | None]:
        """In x, w and bias, None where not needed."""
        if any(self.need):
            self._by_rows()
        for c, d in self.blocks:
            self._block(c, d)
        return [self.dx, self.dw, self.db]

    def _by_rows(self) -> None:
        """What is made a tile of rows at a time, and the sums over the rows where the gradients of all of them stay."""
        layer, step, whole = self.layer, self.plan.tile_rows, self.columns and not self.blocks
        for a, b in ranges(layer.N, step):
            room = self.room[a * layer.K :] if whole else self.room
            z, logits = layer.logits(slice(a, b), slice(None), room)
            if not self.blocks:
                layer.op.fused(self.g[a:b], logits, *layer.target(a, b), out=logits)
            else:
                self._with_rows(a, b, logits)
            if self.dx is not None:
                torch.mm(z, layer.w, out=self.dx[a:b])
                if self.left_out is not None:
                    self.dx[a:b][self.left_out[a:b]] = 0
        if whole:
            self._sum(self.room.view(layer.N, layer.K), 0, layer.N, self.dw, self.db)

    def _with_rows(self, a: int, b: int, logits: np.ndarray) -> None:
        """What the blocks need of some rows; and the gradient in the place of their logits, if it is needed."""
        target, formula = self.layer.target(a, b), self.layer.op.formula
        known = Target(target[-1], target[0] if len(target) > 1 else None)
        m, s, t, u = stats = self.backend.row_stats(logits, known, need_u=formula.needs_u)
        slopes = Slopes(*formula.slopes(s, t, u, m))
        for into, values in zip(self.rows, (m, s, *slopes), strict=True):
            into[a:b] = values
        if self.need.x:
            self.backend.row_grad(logits, known, stats, slopes, weight=self.g[a:b], out=logits)

    def _block(self, c: int, d: int) -> None:
        """The sums of some classes: their logits again, and the gradient by what is known of the rows."""
        layer, step = self.layer, self.plan.chunk_rows
        mine = [None if v is None else v[c:d] for v in (self.dw, self.db)]
        parts = step < layer.N
        sums = [None if v is None else torch.zeros(v.shape) for v in mine] if parts else mine
        for a, b in ranges(layer.N, step):
            z, logits = layer.logits(slice(a, b), slice(c, d), self.room)
            m, s, l_s, l_t, l_u = self.rows[:, a:b]
            label = layer.label[a:b]
            if layer.probs is not None:
                known = Target(label, layer.probs[a:b, c:d])
            else:  # a row whose label is elsewhere has any label here, and no slope in it
                inside = (label >= c) & (label < d)
                known, l_t = Target(np.where(inside, label - c, np.minimum(label, 0))), np.where(inside, l_t, 0.0)
            stats = RowStats(m, s, s, None)  # whose t nobody reads
            self.backend.row_grad(logits, known, stats, Slopes(l_s, l_t, l_u), weight=self.g[a:b], out=logits)
            self._sum(z, a, b, *sums)
        for into, total in zip(mine, sums, strict=True):
            if parts and into is not None and total is not None:
                into.copy_(total)

    def _sum(self, z: torch.Tensor, a: int, b: int, dw: torch.Tensor | None, db: torch.Tensor | None) -> None:
        """The sums over some rows of their gradients z, and of these times x: of all rows, or to add up in float32."""
        whole = b - a == self.layer.N
        if db is not None:
            db.copy_(z.sum(dim=0)) if whole else db.add_(z.sum(dim=0, dtype=torch.float32))
        if dw is None:
            return
        x = self.layer.x[a:b]
        if self.left_out is not None:  # 0 times NaN is not 0
            x = x.masked_fill(self.left_out[a:b, None], 0.0)
        torch.mm(z.T, x, out=dw) if whole else dw.add_(z.T @ x)
