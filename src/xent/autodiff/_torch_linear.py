"""Row functions of a linear layer's logits in PyTorch, the logits never stored whole."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from .._arrays import along
from ..kernels import Need
from ..rows.linear import kernel_target, numpy_linear, numpy_linear_grads, refuse_budget, tiles
from ._torch import _flatten, _tensor, _views, computed, moved_by, torchs_threads
from ._torch_half import HalfLayer, fits


@torch.compiler.disable
def torch_linear(op: Any, x: Any, w: Any, bias: Any, *target: torch.Tensor, memory: int | None = None) -> torch.Tensor:
    """The value of a row function of ``x w' + bias``, (N,), in a budget of `memory` bytes."""
    return _Linear.apply((op, memory), x, w, bias, *target)


def _logits(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Those of half precisions in float32."""
    product = x.to(computed(x)) @ w.to(computed(w)).T
    return product if bias is None else product + bias


def _native(op: Any, x: Any, w: Any, bias: Any, target: Any, *more: Any) -> Any:
    """The tensors as NumPy arrays where the native kernels take them, with None in the place of no bias."""
    views = _views(op, tuple(v for v in (x, w, bias, *target, *more) if v is not None))
    if views is None:
        return None
    if bias is None:
        views.insert(2, None)
    if computed(x) == x.dtype or (fits(op, x, w, bias) and kernel_target(op, w, tuple(views[3 : 3 + len(target)]))):
        return views
    return None


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(how: Any, x: Any, w: Any, bias: Any, *target: torch.Tensor) -> torch.Tensor:
        op, memory = how
        views = _native(op, x, w, bias, target)
        if views is not None:
            with np.errstate(all="ignore"), torchs_threads():
                if computed(x) != x.dtype:
                    loss = HalfLayer(op, x, w, bias, *views[3:]).losses(memory)
                else:
                    loss = numpy_linear(op, *views, memory=memory)
                return _tensor(loss, computed(x))
        refuse_budget(memory, "this tensor or target")
        parts = [op.value(xp, _logits(x[t], w, bias), *(v[t] for v in target)) for t in tiles(x, w)]
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.op, ctx.memory = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None) -> tuple[Any, ...]:
        x, w, bias, *target = ctx.saved_tensors
        if g is None:
            return (None,) * (4 + len(target))
        need = ctx.needs_input_grad[1:4]
        if not torch.is_grad_enabled() and not any(ctx.needs_input_grad[4:]):
            views = _native(ctx.op, x, w, bias, target, g)
            if views is not None:
                found = _native_grads(ctx.op, need, (x, w, bias), views, ctx.memory)
                return (None, *found, *(None for _ in target))
        refuse_budget(ctx.memory, "a derivative of this kind")
        return (None, *_plain_grads(ctx.op, g, ctx.needs_input_grad[1:], x, w, bias, *target))

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, dw: Any, db: Any, *dt: Any) -> torch.Tensor:
        refuse_budget(ctx.memory, "forward mode")
        x, w, bias, *target = ctx.saved_tensors
        wrt = (True, *(t is not None and v.is_floating_point() for t, v in zip(dt, target, strict=True)))
        logits = _logits(x, w, bias)
        step = torch.zeros_like(logits)
        if dx is not None:
            step = step + _logits(dx, w, None)
        if dw is not None:
            step = step + _logits(x, dw, None)
        if db is not None:
            step = step + db
        # nothing in a row left out counts
        step = torch.where((target[-1] >= 0)[:, None], step, 0.0)
        return moved_by(ctx.op.grads(xp, wrt, logits, *target), (step, *dt), x)

    @staticmethod
    def vmap(info: Any, in_dims: Any, how: Any, x: Any, w: Any, bias: Any, *target: Any) -> tuple[torch.Tensor, int]:
        arrays = (x, w, bias, *target)
        if in_dims[2] is None and in_dims[3] is None:  # one layer for the whole batch: more rows of it
            moved = zip((x, *target), (in_dims[1], *in_dims[4:]), strict=True)
            rows = [_flatten(v, d, info.batch_size) for v, d in moved]
            return _Linear.apply(how, rows[0], w, bias, *rows[1:]).reshape(info.batch_size, -1), 0
        each = [
            _Linear.apply(how, *(v if d is None else v.select(d, i) for v, d in zip(arrays, in_dims[1:], strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(each), 0


def _native_grads(op: Any, need: Any, layer: Any, views: Any, memory: int | None) -> list[torch.Tensor | None]:
    *arrays, g = views
    with np.errstate(all="ignore"), torchs_threads():
        if computed(layer[0]) != layer[0].dtype:
            return HalfLayer(op, *layer, *arrays[3:]).gradients(g.astype(np.float64), Need(*need), memory)
        found = numpy_linear_grads(op, g.astype(np.float64), Need(*need), *arrays, memory=memory)[1]
    return [None if d is None else _tensor(d, layer[0].dtype) for d in found]


def _plain_grads(op: Any, g: Any, wrt: Any, x: Any, w: Any, bias: Any, *target: Any) -> list[torch.Tensor | None]:
    """By PyTorch's own operations, which it can differentiate again."""
    dx, dw, db = [], None, None
    dt: list[list[torch.Tensor]] = [[] for _ in target]
    for t in tiles(x, w):
        part = [v[t] for v in target]
        grads = op.grads(xp, (any(wrt[:3]), *wrt[3:]), _logits(x[t], w, bias), *part)
        for into, d in zip(dt, grads[1:], strict=True):
            if d is not None:
                into.append(along(g[t], d) * d)
        if grads[0] is None:
            continue
        # a row left out may hold NaN, and 0 * NaN is not 0
        rows = torch.where((part[-1] >= 0)[:, None], x[t].to(computed(x)), 0.0)
        da = g[t][:, None] * grads[0]
        dx.append(da @ w.to(computed(w)))
        dw = da.T @ rows if dw is None else dw + da.T @ rows
        db = da.sum(dim=0) if db is None else db + da.sum(dim=0)
    out = [torch.cat(dx) if dx and wrt[0] else None, dw if wrt[1] else None, db if wrt[2] else None]
    return out + [torch.cat(d) if d else None for d in dt]
