"""Row functions of a linear layer's logits in PyTorch, the logits never stored whole."""

from __future__ import annotations

from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from .._arrays import along
from ..kernels import Need
from ..rows.linear import numpy_linear, numpy_linear_grads, tiles
from ._torch import _flatten, _tensor, _views, moved_by


@torch.compiler.disable
def torch_linear(op: Any, x: Any, w: Any, bias: Any, *target: torch.Tensor) -> torch.Tensor:
    """The value of a row function of ``x w' + bias``, (N,)."""
    return _Linear.apply(op, x, w, bias, *target)


def _logits(x: torch.Tensor, w: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return x @ w.T if bias is None else x @ w.T + bias


def _native(op: Any, x: Any, w: Any, bias: Any, *more: Any) -> Any:
    """The tensors as NumPy arrays where the native kernels take them, with None in the place of no bias."""
    views = _views(op, (x, w, *more) if bias is None else (x, w, bias, *more))
    if views is None:
        return None
    return views if bias is not None else [*views[:2], None, *views[2:]]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(op: Any, x: Any, w: Any, bias: Any, *target: torch.Tensor) -> torch.Tensor:
        views = _native(op, x, w, bias, *target)
        if views is not None:
            with np.errstate(all="ignore"):
                return _tensor(numpy_linear(op, *views), x.dtype)
        parts = [op.value(xp, _logits(x[t], w, bias), *(v[t] for v in target)) for t in tiles(x, w)]
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.op = inputs[0]
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
            views = _native(ctx.op, x, w, bias, *target, g)
            if views is not None:
                return (None, *_native_grads(ctx.op, need, x, views), *(None for _ in target))
        return (None, *_plain_grads(ctx.op, g, ctx.needs_input_grad[1:], x, w, bias, *target))

    @staticmethod
    def jvp(ctx: Any, _: Any, dx: Any, dw: Any, db: Any, *dt: Any) -> torch.Tensor:
        x, w, bias, *target = ctx.saved_tensors
        wrt = (True, *(t is not None and v.is_floating_point() for t, v in zip(dt, target, strict=True)))
        logits = _logits(x, w, bias)
        step = torch.zeros_like(logits)
        if dx is not None:
            step = step + dx @ w.T
        if dw is not None:
            step = step + x @ dw.T
        if db is not None:
            step = step + db
        # nothing in a row left out counts
        step = torch.where((target[-1] >= 0)[:, None], step, 0.0)
        return moved_by(ctx.op.grads(xp, wrt, logits, *target), (step, *dt), x)

    @staticmethod
    def vmap(info: Any, in_dims: Any, op: Any, x: Any, w: Any, bias: Any, *target: Any) -> tuple[torch.Tensor, int]:
        arrays = (x, w, bias, *target)
        if in_dims[2] is None and in_dims[3] is None:  # one layer for the whole batch: more rows of it
            moved = zip((x, *target), (in_dims[1], *in_dims[4:]), strict=True)
            rows = [_flatten(v, d, info.batch_size) for v, d in moved]
            return _Linear.apply(op, rows[0], w, bias, *rows[1:]).reshape(info.batch_size, -1), 0
        each = [
            _Linear.apply(op, *(v if d is None else v.select(d, i) for v, d in zip(arrays, in_dims[1:], strict=True)))
            for i in range(info.batch_size)
        ]
        return torch.stack(each), 0


def _native_grads(op: Any, need: Any, x: torch.Tensor, views: Any) -> list[torch.Tensor | None]:
    *arrays, g = views
    with np.errstate(all="ignore"):
        found = numpy_linear_grads(op, g.astype(np.float64), Need(*need), *arrays)[1]
    return [None if d is None else _tensor(d, x.dtype) for d in found]


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
        rows = torch.where((part[-1] >= 0)[:, None], x[t], 0.0)
        da = g[t][:, None] * grads[0]
        dx.append(da @ w)
        dw = da.T @ rows if dw is None else dw + da.T @ rows
        db = da.sum(dim=0) if db is None else db + da.sum(dim=0)
    out = [torch.cat(dx) if dx and wrt[0] else None, dw if wrt[1] else None, db if wrt[2] else None]
    return out + [torch.cat(d) if d else None for d in dt]
