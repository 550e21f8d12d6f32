"""Errors of probabilities, read and checked: what their public functions share."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, primal, where
from ..rows.distance import BinaryDistanceRows, DistanceRows
from ._arguments import (
    REDUCTIONS,
    Reduction,
    as_floats,
    check_choice,
    check_weights,
    first,
    namespace,
    number,
    read_weights,
    refuse_masked,
    row_name,
    wrong,
)
from ._problem import Rows, _total, read_rows
from ._softmax import _check_probs
from ._terms import SumLoss, Term, check_temperature, flat_logits, refuse_top_k, suspect_probs


def read_distance(
    power: int,
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    from_probs: bool = False,
) -> SumLoss:
    """The arguments of `squared_error` or `absolute_error`, whose power is 2 or 1."""
    check_choice("reduction", reduction, REDUCTIONS)
    op = DistanceRows(power, from_probs, _temperature(temperature, from_probs))
    refuse_top_k(target)
    xp, like = namespace(logits=logits, target=target, weight=weight, sample_weight=sample_weight)
    a, leading = flat_logits("logits", logits, xp, like)
    options = {"sample_weight": sample_weight, "ignore_index": ignore_index}
    rows = read_rows(target, leading, a, xp=xp, **options)
    class_weight = None
    if weight is not None:
        class_weight = read_weights(xp, "weight", weight, (a.shape[1],), a)
        check_weights(xp, "weight", primal(class_weight))
        if rows.probs is None:
            rows = read_rows(target, leading, a, xp=xp, weight=weight, **options)
        else:  # apart from the distribution, unlike a cross-entropy's, for the error is not linear in it
            W = xp.sum(rows.probs * class_weight, axis=1)
            rows = _with_weight(rows, W if rows.weight is None else W * rows.weight, a)
    if from_probs:
        a = _check_probs(xp, a, rows, 0.0, getattr(logits, "dtype", None))
    else:
        suspect_probs(xp, "logits", a, "pass from_probs=True", stacklevel=5)
    term = Term(op, (a, *rows.target), ("logits", *(("target",) if rows.probs is not None else ()), None))
    given = {"logits": logits, "target": target}
    return SumLoss((term,), rows, reduction, a.dtype, given, _share_of_target(rows, class_weight, sample_weight))


def _temperature(temperature: float, from_probs: bool) -> float:
    if from_probs and temperature != 1:
        raise ValueError("temperature needs logits, not from_probs=True")
    return check_temperature(temperature)


def _with_weight(rows: Rows, W: Array, like: Array) -> Rows:
    """Rows with these weights, of which one that is 0 leaves its row out, and has no slope in the target."""
    xp = rows.xp
    W = where(xp, (rows.label >= 0) & (W != 0.0), W, 0.0)
    return replace(rows, label=xp.where(W == 0.0, -1, rows.label), weight=W, total=_total(xp, W, like))


def _share_of_target(rows: Rows, class_weight: Array | None, sample_weight: Any) -> Array | None:
    """NumPy: what a row's weight gains with each entry of its target."""
    if rows.xp is not NUMPY or class_weight is None or rows.probs is None:
        return None
    samples = np.ones(1)
    if sample_weight is not None:
        samples = read_weights(NUMPY, "sample_weight", sample_weight, rows.leading, rows.probs)
    return np.where((rows.label >= 0)[:, None], samples[:, None] * class_weight, 0.0)


def read_binary_distance(
    power: int,
    logits: Any,
    target: Any,
    *,
    pos_weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    from_probs: bool = False,
) -> SumLoss:
    """The arguments of `binary_squared_error` or `binary_absolute_error`, whose power is 2 or 1."""
    check_choice("reduction", reduction, REDUCTIONS)
    op = BinaryDistanceRows(power, from_probs, _temperature(temperature, from_probs))
    xp, like = namespace(logits=logits, target=target, pos_weight=pos_weight, sample_weight=sample_weight)
    refuse_masked("target", target)
    z, y = as_floats("logits", logits, xp, like), as_floats("target", target, xp, like)
    shape = tuple(z.shape)
    if tuple(y.shape) != shape:
        raise ValueError(f"logits and target must have the same shape: {shape} and {tuple(y.shape)}")
    z, y = xp.reshape(z, (-1,)), xp.astype(xp.reshape(y, (-1,)), z.dtype)
    kept = y != ignore_index
    samples = None
    if sample_weight is not None:
        samples = read_weights(xp, "sample_weight", sample_weight, shape, z)
        kept = kept & (samples != 0)
        samples = where(xp, kept, samples, 0.0)  # whatever an ignored entry's weight holds
        check_weights(xp, "sample_weight", primal(samples))
    y = _share(xp, "target", where(xp, kept, y, 0.0), shape, f" (or {ignore_index} to leave an entry out)")
    if from_probs:
        hint = ". If these are logits, leave from_probs out"
        z = _share(xp, "probabilities", where(xp, kept, z, 0.5), shape, hint=hint)
    total = _total(xp, kept if samples is None else samples, z)
    rows = Rows(xp, xp.where(kept, 0, -1), y, samples, total, shape)
    slope = None
    if pos_weight is not None:
        yes = read_weights(xp, "pos_weight", pos_weight, shape, z)
        check_weights(xp, "pos_weight", primal(yes))
        W = (yes * y + (1.0 - y)) * (1.0 if samples is None else samples)
        rows = _with_weight(rows, W, z)
        slope = (yes - 1.0) * (1.0 if samples is None else samples)
    term = Term(op, (z, y, rows.label), ("logits", "target", None))
    return SumLoss((term,), rows, reduction, z.dtype, {"logits": logits, "target": target}, slope)


def _share(xp: Any, name: str, x: Array, shape: tuple[int, ...], or_else: str = "", hint: str = "") -> Array:
    """`x` (N,), checked to be in [0, 1]; NaN where it is not and that cannot be said."""
    outside = ~((x >= 0) & (x <= 1))
    if wrong(xp, outside):
        i = first(outside)
        raise ValueError(f"{name} must be in [0, 1]{or_else}: {row_name(i[0], shape)} is {number(primal(x), i)}{hint}")
    return x if xp is NUMPY else where(xp, outside, math.nan, x)
