"""Losses of a linear layer's softmax, read and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat as compat
import numpy as np

from .._arrays import NUMPY, Array, is_jax, is_torch
from ..kernels import Directions, LinearGrads, Need
from ..kernels.arrays import single
from ..kernels.plan import check_memory
from ..rows.linear import numpy_linear, numpy_linear_grads, numpy_linear_hvp, numpy_linear_total, refuse_budget
from ._arguments import REDUCTIONS, Reduction, as_floats, check_choice, namespace
from ._problem import Rows, read_rows
from ._softmax import cast, room, row_function, target_gradient
from ._topk import TopK
from ._transform import read_prior


@dataclass(frozen=True, eq=False)
class LinearLoss:
    """A loss of ``x w' + bias``, read and checked: x (N, D), w (K, D), bias (K,) or None, all of one floating dtype.

    It is computed, and returned, in `dtype`; `memory` is what is left of the budget for the kernels.
    """

    xp: Any
    x: Array
    w: Array
    bias: Array | None
    dtype: Any
    op: Any
    rows: Rows
    reduction: Reduction
    temperature: float
    memory: int | None
    given: Mapping[str, Any]

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        arrays = (self.op, self.x, self.w, self.bias, *self.rows.target)
        if is_torch(self.xp):
            from ..autodiff._torch_linear import torch_linear

            loss = torch_linear(*arrays, memory=self.memory)
        elif is_jax(self.xp):
            from ..autodiff._jax import jax_linear

            loss = jax_linear(*arrays)
        else:
            with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
                if self.reduction != "none":
                    return self._found(Need(w=False), None)[0]
                loss = numpy_linear(*arrays, memory=self.memory)
        return self.rows.reduce(loss, self.reduction, self.dtype)

    def gradients(self, wrt: tuple[str, ...], out: Array | None = None) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes.

        The gradient in x is written to `out` where that is given, by the kernels themselves where they can.
        """
        if "target" in wrt:
            refuse_budget(self.memory, "the gradient in a target")
        need = Need("x" in wrt, "w" in wrt, "bias" in wrt)
        into = None if out is None else room(out, self.given["x"], self.x, name="x")
        if into is not None and np.may_share_memory(into, self.x):
            into = None  # x is read until the end
        grads: dict[str, Array] = {}
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            value, found = self._found(need, into)
            for name, grad in found._asdict().items():
                if grad is not None:
                    grads[name] = self._own(name, grad)
            if "target" in wrt:  # as large as the logits, so these may be there for once
                a = self.x @ self.w.T if self.bias is None else self.x @ self.w.T + self.bias
                costs = self.op.label_costs(NUMPY, a, self.rows.label)
                grads["target"] = cast(target_gradient(costs, value, self), self.given["target"])
        if out is not None:
            if not np.may_share_memory(grads["x"], out):
                out[...] = grads["x"]
            grads["x"] = out
        return value, grads

    def _found(self, need: Need, into: Array | None) -> tuple[Any, LinearGrads]:
        """The value and the gradients as the kernels have them; the rows' losses only where they must be there."""
        arrays = (self.x, self.w, self.bias, *self.rows.target)
        options: dict[str, Any] = {"memory": self.memory, "out": into}
        at_once = numpy_linear_total(self.op, self.rows.scale(self.reduction, plain=True), need, *arrays, **options)
        if at_once is not None:
            return self.dtype.type(at_once[0]), at_once[1]
        if not any(need):
            loss = numpy_linear(self.op, *arrays, memory=self.memory)
            return self.rows.reduce(loss, self.reduction, self.dtype), LinearGrads(None, None, None)
        loss, found = numpy_linear_grads(self.op, self.rows.scale(self.reduction), need, *arrays, **options)
        return self.rows.reduce(loss, self.reduction, self.dtype), found

    def hvp(self, vector: Mapping[str, Any]) -> dict[str, Array]:
        """NumPy: the Hessian of the loss in the arguments named times their directions, in their shapes."""
        refuse_budget(self.memory, "a Hessian-vector product")
        v = {name: self._direction(name, direction) for name, direction in vector.items()}
        along, need = Directions(v.get("x"), v.get("w"), v.get("bias")), Need("x" in v, "w" in v, "bias" in v)
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            scale = self.rows.scale(self.reduction)
            found = numpy_linear_hvp(self.op, scale, need, along, self.x, self.w, self.bias, *self.rows.target)
            return {name: self._own(name, found._asdict()[name]) for name in v}

    def _direction(self, name: str, direction: Any) -> Array:
        """As the kernels take it."""
        like = {"x": self.x, "w": self.w, "bias": None if self.given["bias"] is None else self.bias}.get(name)
        if like is None:
            raise ValueError(f"a direction goes with x, w or bias where they are given, not with {name!r}")
        shape = np.shape(self.given[name])
        if compat.is_torch_array(direction) or compat.is_jax_array(direction) or np.shape(direction) != shape:
            raise ValueError(
                f"the direction of {name} must be a NumPy array of its shape {shape}, not {np.shape(direction)}"
            )
        v = np.asarray(direction, dtype=self.x.dtype).reshape(like.shape)
        return v / self.temperature if name in ("w", "bias") and self.temperature != 1 else v

    def _own(self, name: str, grad: Array) -> Array:
        """A gradient in the shape and dtype of its argument."""
        if name in ("w", "bias") and self.temperature != 1:
            grad /= self.temperature  # ours, and perhaps large
        if name == "x":
            grad = grad.reshape(np.shape(self.given["x"]))
        return cast(grad.astype(self.x.dtype, copy=False), self.given[name])


def read_linear(
    formula: Any,
    x: Any,
    w: Any,
    target: Any,
    *,
    bias: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    prior: Any = None,
    memory: int | None = None,
) -> LinearLoss:
    """Check the arguments of a loss; `formula` is made for a number of classes."""
    check_choice("reduction", reduction, REDUCTIONS)
    given = {"x": x, "w": w, "bias": bias, "target": target, "weight": weight, "sample_weight": sample_weight}
    parts = {"target": target.indices, "probs": target.probs} if isinstance(target, TopK) else {"target": target}
    xp, like = namespace(x=x, w=w, bias=bias, **parts)
    halves = is_torch(xp)
    xs, ws = as_floats("x", x, xp, like, halves=halves), as_floats("w", w, xp, like, halves=halves)
    bs = None if bias is None else as_floats("bias", bias, xp, like, halves=halves)
    shape = tuple(xs.shape)
    if ws.ndim != 2 or not shape or shape[-1] != ws.shape[1] or ws.shape[0] == 0:
        raise ValueError(f"x (..., D) and w (K, D) must share D: x has the shape {shape}, w {tuple(ws.shape)}")
    K, D = ws.shape
    if bs is not None and tuple(bs.shape) != (K,):
        raise ValueError(f"bias must have the shape ({K},) as w has {K} rows, not {tuple(bs.shape)}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, not {temperature}")
    if halves and (
        temperature != 1 or prior is not None or isinstance(target, TopK) or not _in_bfloat16(xp, xs, ws, bs)
    ):
        xs, ws, bs = (None if v is None else single(xp, v) for v in (xs, ws, bs))
    dtype = xp.result_type(*(v for v in (xs, ws, bs) if v is not None))
    leading = shape[:-1]
    flat, ws = (xp.astype(v, dtype, copy=False) for v in (xp.reshape(xs, (math.prod(leading), D)), ws))
    bs = None if bs is None else xp.astype(bs, dtype, copy=False)
    options = {"weight": weight, "sample_weight": sample_weight, "ignore_index": ignore_index, "classes": K}
    beside = single(xp, flat[:0])
    rows = read_rows(target, leading, beside, xp=xp, **options)
    # (x w' + b) / T + log prior = x (w / T)' + (b / T + log prior): nothing of the size of the logits
    if temperature != 1:
        ws, bs = ws / temperature, None if bs is None else bs / temperature
    if prior is not None:
        log_prior = read_prior(xp, prior, K, ws)
        bs = log_prior if bs is None else bs + log_prior
    op = row_function(formula(K), rows)
    if memory is not None:
        memory = _left(memory, xp, (x, flat), (w, ws))
    return LinearLoss(xp, flat, ws, bs, beside.dtype, op, rows, reduction, float(temperature), memory, given)


def _left(memory: int, xp: Any, *pairs: tuple[Any, Array]) -> int:
    """What copies of the arguments leave of a budget: of another dtype, divided by a temperature, or in C order."""
    if is_jax(xp):
        raise ValueError(
            f"memory={memory}: XLA, which compiles JAX's operations, decides what they keep in memory; a budget is for "
            "NumPy and PyTorch arrays"
        )
    copied = sum(_copied(xp, *pair) for pair in pairs)
    left = check_memory(memory) - copied
    if left < 1:
        dtype = pairs[0][1].dtype
        raise ValueError(f"memory={memory} bytes are too few: copies of x and w in {dtype} and C order take {copied}")
    return left


def _copied(xp: Any, given: Any, used: Array) -> int:
    """The bytes of an array that is no view of the one given, and of a copy in C order."""
    if xp is NUMPY:
        shared, ordered = isinstance(given, np.ndarray) and np.may_share_memory(given, used), used.flags.c_contiguous
    else:
        try:
            shared = compat.is_torch_array(given) and given.data_ptr() == used.data_ptr()
        except RuntimeError:  # a tensor of a batch that PyTorch maps over
            shared = True
        ordered = used.is_contiguous()
    return used.nbytes * ((not shared) + (not ordered))


def _in_bfloat16(xp: Any, *arrays: Array | None) -> bool:
    """Whether all of a layer is bfloat16 in the CPU's memory, where PyTorch's products take it as it is."""
    return all(v is None or (v.dtype == xp.bfloat16 and v.device.type == "cpu") for v in arrays)
