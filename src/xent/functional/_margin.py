"""Losses of a layer of class centres with a margin, read and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._arrays import NUMPY, Array, constant, gather, on, where
from ..autodiff import rows as row_values
from ..losses.margins import Margin, TargetAngle, unit
from ..rows import LabelRows
from ._arguments import REDUCTIONS, Reduction, as_floats, check_choice, namespace
from ._margin_layer import Centres, Forward, Gradients, forward, read_centres, row_tiles
from ._problem import Rows, read_rows
from ._softmax import cast
from ._topk import TopK


class LayerArrays(NamedTuple):
    """The arrays of a layer, in one floating dtype: x (N, D), w (K, C, D), bias (K,) or None."""

    xp: Any
    x: Array
    w: Array
    bias: Array | None
    leading: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class MarginLoss:
    """A loss of the logits of a layer with a margin, read and checked."""

    layer: LayerArrays
    margin: Margin
    op: LabelRows
    rows: Rows
    reduction: Reduction
    given: Mapping[str, Any]

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        with quiet():
            if self.layer.xp is NUMPY:
                return self._tiled(None)
            found = self._forward()
            loss = row_values(self.op, found.logits, self.rows.label)
            return self._reduce(self._with_penalty(loss, found))

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""
        names = ("x", "w", "bias")
        with quiet():
            need = ("x" in wrt, "w" in wrt, "bias" in wrt)
            collected = Gradients(self.layer.x, self._centres(), need)
            value = self._tiled(collected)
            parts = zip(names, collected.result(), strict=True)
            return value, {n: self._own(n, grad) for n, grad in parts if grad is not None}

    def logits(self) -> Array:
        """The logits with the margin, (..., K)."""
        with quiet():
            logits = self._forward().logits
            return self.layer.xp.reshape(logits, (*self.layer.leading, logits.shape[1]))

    def angles(self) -> Array:
        """The angle between each embedding and the nearest centre of its class, NaN for rows left out."""
        xp = self.layer.xp
        with quiet():
            theta = row_values(TargetAngle(), *self._pairs())
            return xp.reshape(where(xp, self.rows.label >= 0, theta, float("nan")), self.layer.leading)[()]

    def _centres(self) -> Centres:
        return read_centres(self.layer.xp, self.layer.w, self.margin)

    def _forward(self) -> Forward:
        xp, x, _, bias, _ = self.layer
        return forward(xp, x, self._centres(), self.rows.label, self.margin, bias)

    def _tiled(self, collected: Gradients | None) -> Any:
        """NumPy: the loss a tile of rows at a time, and its gradients where they are collected."""
        _, x, _, bias, _ = self.layer
        label, scale = self.rows.label, self.rows.scale(self.reduction)
        centres = self._centres() if collected is None else collected.centres
        margin = self.margin
        if margin.needs_batch:
            kept = label >= 0
            margin = margin.for_batch(NUMPY, unit(NUMPY, np.where(kept[:, None], x, 0))[1], kept)
        loss = np.empty(len(x))
        for t in row_tiles(len(x), centres):
            found = forward(NUMPY, x[t], centres, label[t], margin, bias)
            if collected is None:
                each = self.op.value(NUMPY, found.logits, label[t])
            else:
                weight = None if scale is None else scale[t]
                each, da = self.op.fused(weight, found.logits, label[t])
                collected.add(t, found, da, None if weight is None else weight.astype(x.dtype, copy=False))
            loss[t] = self._with_penalty(each, found)
        return self._reduce(loss)

    def _with_penalty(self, loss: Array, found: Forward) -> Array:
        xp = self.layer.xp
        penalty = found.margin.penalty(xp, found.x_length)
        return loss if penalty is None else loss + where(xp, found.kept, penalty.value, 0.0)

    def _reduce(self, loss: Array) -> Any:
        return self.rows.reduce(loss, self.reduction, self.layer.x.dtype)

    def _own(self, name: str, grad: Array) -> Array:
        """A gradient in the shape and dtype of its argument."""
        like = self.given[name]
        return cast(grad.reshape(np.shape(like)).astype(self.layer.x.dtype, copy=False), like)

    def _pairs(self) -> tuple[Array, Array]:
        """Each embedding and the centre of its class that is nearest to it, (N, D) each."""
        (xp, x, w, *_), label = self.layer, self.rows.label
        K, C, D = w.shape
        flat, y = xp.reshape(w, (K * C, D)), xp.clip(label, 0, K - 1)
        x = where(xp, (label >= 0)[:, None], x, 0.0)
        index = xp.take(xp.reshape(xp.arange(K * C, **on(xp, label)), (K, C)), y, axis=0)
        centres = xp.reshape(xp.take(flat, xp.reshape(index, (-1,)), axis=0), (-1, C, D))
        cosine = xp.sum(unit(xp, x)[0][:, None, :] * unit(xp, centres)[0], axis=2)
        nearest = gather(xp, index, xp.argmax(constant(xp, cosine), axis=1)[:, None])[:, 0]
        return x, xp.take(flat, nearest, axis=0)


def read_margin(
    formula: Any,
    x: Any,
    w: Any,
    target: Any,
    margin: Margin,
    *,
    bias: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> MarginLoss:
    """Check the arguments of a loss; `formula` is made for a number of classes."""
    check_choice("reduction", reduction, REDUCTIONS)
    parts = {"target": target.indices, "probs": target.probs} if isinstance(target, TopK) else {"target": target}
    layer = read_layer(x, w, margin, bias, **parts)
    options = {"weight": weight, "sample_weight": sample_weight, "ignore_index": ignore_index}
    K = layer.w.shape[0]
    rows = read_rows(target, layer.leading, layer.x, xp=layer.xp, classes=K, **options)
    if rows.probs is not None or rows.top is not None:
        raise TypeError(
            "a margin changes the logit of each row's class, so target must be integer labels of shape "
            f"{layer.leading}, not probabilities"
        )
    return MarginLoss(layer, margin, LabelRows(formula(K)), rows, reduction, {"x": x, "w": w, "bias": bias})


def read_layer(x: Any, w: Any, margin: Margin, bias: Any, **others: Any) -> LayerArrays:
    """Check the arrays of a layer; `others` are of the same library."""
    if not isinstance(margin, Margin):
        raise TypeError(f"margin must be one of xent.losses.margins, not {margin!r}")
    xp, like = namespace(x=x, w=w, bias=bias, **others)
    xs, ws = as_floats("x", x, xp, like), as_floats("w", w, xp, like)
    bs = None if bias is None else as_floats("bias", bias, xp, like)
    shapes = f"x has the shape {tuple(xs.shape)}, w {tuple(ws.shape)}"
    if ws.ndim not in (2, 3) or xs.ndim == 0 or xs.shape[-1] != ws.shape[-1]:
        raise ValueError(f"x (..., D) and w (K, D) or (K, C, D) must share D: {shapes}")
    if 0 in ws.shape:
        raise ValueError(f"w needs at least one class, one centre and one feature: {shapes}")
    K, D = ws.shape[0], ws.shape[-1]
    if bs is not None and tuple(bs.shape) != (K,):
        raise ValueError(f"bias must have the shape ({K},) as w has {K} classes, not {tuple(bs.shape)}")
    margin.check_classes(K)
    dtype = xp.result_type(*(v for v in (xs, ws, bs) if v is not None))
    leading = tuple(xs.shape[:-1])
    xs, ws = xp.reshape(xs, (math.prod(leading), D)), xp.reshape(ws, (K, -1, D))
    xs, ws = xp.astype(xs, dtype, copy=False), xp.astype(ws, dtype, copy=False)
    return LayerArrays(xp, xs, ws, None if bs is None else xp.astype(bs, dtype, copy=False), leading)


def quiet() -> Any:
    """Let NumPy pass over what is not finite: it is in the result for everyone to see."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore")
