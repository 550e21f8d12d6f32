"""Row functions in PyTorch: an autograd function with rules for double backward, forward mode and vmap.

The native kernels serve tensors in the CPU's memory; what is differentiated again is made of PyTorch's own operations.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import array_api_compat.torch as xp
import numpy as np
import torch

from .._arrays import along
from ..kernels import threads
from ..kernels.contract import BFLOAT16
from . import weighted

_NATIVE = (torch.float32, torch.float64)
_HALVES = (torch.bfloat16, torch.float16)  # of logits, computed in float32


@torch.compiler.disable
def torch_rows(op: Any, *arrays: torch.Tensor) -> torch.Tensor:
    """The value of a row function (N,)."""
    return _Rows.apply(op, *arrays)


def _views(op: Any, arrays: tuple[torch.Tensor, ...]) -> list[Any] | None:
    """The tensors as NumPy arrays on the same memory, if NumPy's path has native kernels for this function."""
    dtypes = (*_NATIVE, *_HALVES)
    if not getattr(op, "native", False) or arrays[0].dtype not in dtypes or any(x.device.type != "cpu" for x in arrays):
        return None
    try:
        return [numpy_view(x) for x in arrays]
    except RuntimeError:  # a tensor without memory of its own: one of a batch that PyTorch maps over
        return None


def numpy_view(x: torch.Tensor) -> np.ndarray:
    """A NumPy array on the memory of a tensor."""
    x = x.detach().resolve_conj().resolve_neg()
    return x.view(torch.int16).numpy().view(BFLOAT16) if x.dtype == torch.bfloat16 else x.numpy()


def _tensor(x: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    x = np.ascontiguousarray(x)
    if x.dtype == BFLOAT16:
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16).to(dtype)
    return torch.from_numpy(x).to(dtype)


def torchs_threads() -> AbstractContextManager[None]:
    """No more threads than PyTorch has, which takes one where others share the work: in a worker of its loaders."""
    return threads.at_most(torch.get_num_threads())


def computed(x: torch.Tensor) -> torch.dtype:
    """The dtype that a row function of logits in this dtype is computed and returned in."""
    return torch.float32 if x.dtype in _HALVES else x.dtype


class _Rows(torch.autograd.Function):
    @staticmethod
    def forward(op: Any, *arrays: torch.Tensor) -> torch.Tensor:
        views = _views(op, arrays)
        if views is not None:
            with torchs_threads():
                return _tensor(np.asarray(op.value(np, *views)), computed(arrays[0]))
        return op.value(xp, *arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.op = inputs[0]
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])
        ctx.set_materialize_grads(False)  # a tangent that is not there is not 0: 0 times an infinite slope is NaN

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None) -> tuple[Any, ...]:
        arrays, wrt = ctx.saved_tensors, ctx.needs_input_grad[1:]
        if g is None:
            return (None,) * (1 + len(arrays))
        if torch.is_grad_enabled():  # to be differentiated again
            grads = weighted_plain(ctx.op, g, wrt, arrays)
        else:
            found = iter(_Grads.apply(ctx.op, wrt, g, *arrays))
            grads = tuple(next(found) if w else None for w in wrt)
        return (None, *grads)

    @staticmethod
    def jvp(ctx: Any, _: Any, *tangents: torch.Tensor | None) -> torch.Tensor:
        arrays = ctx.saved_tensors
        wrt = tuple(t is not None and x.dtype.is_floating_point for t, x in zip(tangents, arrays, strict=True))
        return moved_by(ctx.op.grads(xp, wrt, *arrays), tangents, arrays[0])

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], op: Any, *arrays: torch.Tensor) -> tuple[torch.Tensor, int]:
        flat = [_flatten(x, d, info.batch_size) for x, d in zip(arrays, in_dims[1:], strict=True)]
        return _Rows.apply(op, *flat).reshape(info.batch_size, -1), 0


def moved_by(grads: Any, tangents: Any, like: torch.Tensor) -> torch.Tensor:
    """How far the rows' values move with tangents, where there are gradients."""
    out = like.new_zeros(like.shape[0], dtype=computed(like))
    for d, t in zip(grads, tangents, strict=True):
        if d is not None:
            step = d * t
            out = out + (step if step.ndim == 1 else step.flatten(1).sum(dim=1))
    return out


def weighted_plain(op: Any, g: torch.Tensor, wrt: Any, arrays: Any) -> tuple[torch.Tensor | None, ...]:
    """Gradients by PyTorch's own operations, which it can differentiate again."""
    grads = op.grads(xp, tuple(wrt), *arrays)
    return tuple(None if d is None else along(g, d) * d for d in grads)


def _flatten(x: torch.Tensor, dim: int | None, batch: int) -> torch.Tensor:
    """Rows of a batch under one another."""
    x = x.unsqueeze(0).expand(batch, *x.shape) if dim is None else x.movedim(dim, 0)
    return x.reshape(-1, *x.shape[2:])


class _Grads(torch.autograd.Function):
    """The gradients of `_Rows` where nothing differentiates them: a function of its own so that they can be mapped."""

    @staticmethod
    def forward(op: Any, wrt: tuple[bool, ...], g: torch.Tensor, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        views = _views(op, (*arrays, g))
        if views is not None:
            with torchs_threads():
                found = weighted(op, np, views[-1], wrt, *views[:-1])
        else:
            found = weighted(op, xp, g, wrt, *arrays)
        pairs = zip(found, arrays, strict=True)
        return tuple(d.to(x.dtype) if views is None else _tensor(d, x.dtype) for d, x in pairs if d is not None)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *g: torch.Tensor) -> tuple[Any, ...]:
        raise RuntimeError("these gradients cannot be differentiated again: compute them with create_graph=True")

    @staticmethod
    def vmap(info: Any, in_dims: Any, op: Any, wrt: Any, g: Any, *arrays: Any) -> tuple[tuple[torch.Tensor, ...], int]:
        flat = [_flatten(x, d, info.batch_size) for x, d in zip((g, *arrays), in_dims[2:], strict=True)]
        grads = _Grads.apply(op, wrt, *flat)
        return tuple(d.reshape(info.batch_size, -1, *d.shape[1:]) for d in grads), 0
