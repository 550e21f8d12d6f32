"""The rows of a softmax loss: their target, their weights, and how to bring them together in one number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, on, plain_view, where
from ._arguments import (
    Reduction,
    as_array,
    as_floats,
    check_distributions,
    check_weights,
    first,
    holds,
    integers,
    is_integer,
    number,
    read_weights,
    refuse_masked,
    row_name,
    wide,
    wrong,
)
from ._topk import TopK


@dataclass(frozen=True)
class Rows:
    """The rows of a loss, flattened.

    Attributes
    ----------
    xp : the namespace of the arrays
    label : integer array (N,)
        The class of each row, -1 for one left out. Beside `probs` or `top`, only its -1 entries mean anything. In a
        traced call an invalid label is K.
    probs : array (N, K) in the dtype of the logits, or None
    top : (index (N, k), probability (N, k)), or None
    weight : array (N,) or None
        Class weight x sample weight, float64 where there is one; None where all are 1.
    total : number
        Sum of the weights of the rows kept: what "mean" divides by.
    leading : tuple
        The shape of the rows before flattening.
    """

    xp: Any
    label: Array
    probs: Array | None
    weight: Array | None
    total: Any
    leading: tuple[int, ...]
    top: tuple[Array, Array] | None = None
    spread: bool = False

    @property
    def target(self) -> tuple[Array, ...]:
        """The arrays of the target, as row functions take them after the logits."""
        if self.top is not None:
            return (*self.top, self.label)
        return (self.label,) if self.probs is None else (self.probs, self.label)

    def reduce(self, loss: Array, reduction: Reduction, dtype: Any) -> Any:
        """Losses (N,) to the result; rows left out count 0, and the mean of no rows is 0."""
        xp = self.xp
        if self.weight is not None:
            none = self.weight == 0
            loss = where(xp, none, 0.0, loss * where(xp, none, 1.0, self.weight))
        if reduction == "none":
            return xp.reshape(xp.astype(loss, dtype), self.leading)[()]
        total = xp.sum(xp.astype(loss, wide(xp, loss)))
        if reduction == "mean":
            total = total / self._divisor()
        return xp.astype(total, dtype) if xp is not NUMPY else total.astype(dtype)

    def _divisor(self) -> Any:
        """The total, or 1 where it is 0: then all losses are 0 too."""
        if self.xp is NUMPY:
            return self.total or 1.0
        return where(self.xp, self.total == 0, 1.0, self.total)

    def scale(self, reduction: Reduction, *, plain: bool = False) -> Any:
        """NumPy: what multiplies each row's slopes, weight over the total for the mean. None: 1 everywhere.

        With `plain`, a number where all rows have the same.
        """
        if reduction == "sum":
            return 1.0 if plain and self.weight is None else self.weight
        if plain and self.weight is None:
            return 1.0 / self.total if self.total else 0.0
        weight = np.ones(math.prod(self.leading)) if self.weight is None else self.weight
        return weight / self.total if self.total else np.zeros_like(weight)


def read_rows(
    target: Any,
    leading: tuple[int, ...],
    logits: Array,
    *,
    xp: Any = NUMPY,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    classes: int | None = None,
) -> Rows:
    """Check a target and its weights against flat logits (N, K) of shape ``(*leading, K)``.

    With `classes`, `logits` may be any array of the right library and dtype.
    """
    K = logits.shape[1] if classes is None else classes
    class_weight = samples = None
    if weight is not None:
        class_weight = read_weights(xp, "weight", weight, (K,), logits)
        check_weights(xp, "weight", class_weight)
    if sample_weight is not None:
        samples = read_weights(xp, "sample_weight", sample_weight, leading, logits)
    context = (xp, logits, leading, K, class_weight, samples)
    if isinstance(target, TopK):
        return _top_rows(target, *context)
    refuse_masked("target", target)
    target = as_array(xp, target, logits)
    shape, integer = tuple(target.shape), is_integer(xp, target)
    soft = shape == (*leading, K) and not (integer and shape == leading)
    if not soft and shape != leading:
        raise ValueError(
            f"target has the shape {shape}; logits of shape {(*leading, K)} take labels of shape {leading} or "
            f"probabilities of shape {(*leading, K)}"
        )
    return _soft_rows(target, *context) if soft else _label_rows(target, integer, ignore_index, *context)


def _label_rows(
    target: Array,
    integer: bool,
    ignore_index: int,
    xp: Any,
    logits: Array,
    leading: tuple[int, ...],
    K: int,
    class_weight: Array | None,
    samples: Array | None,
) -> Rows:
    N = math.prod(leading)
    if not integer and N:  # an empty list has no integers to show
        raise TypeError(
            f"target of shape {leading} holds class labels, which must be integers, not {target.dtype}; "
            f"probabilities have the shape {(*leading, K)}"
        )
    label, all_kept = _checked_labels(xp, xp.reshape(target, (-1,)), leading, K, ignore_index, samples)
    row_weight = samples
    if row_weight is not None:
        row_weight = where(xp, label < 0, 0.0, row_weight)  # whatever an ignored row's weight holds
        check_weights(xp, "sample_weight", row_weight)
    if class_weight is not None:
        each = xp.take(class_weight, xp.clip(label, 0, K - 1), axis=0)
        row_weight = where(xp, label < 0, 0.0, each * (1.0 if row_weight is None else row_weight))
    if row_weight is None:
        return Rows(xp, label, None, None, float(N) if all_kept and xp is NUMPY else _count(xp, label, logits), leading)
    label = xp.where(row_weight == 0, -1, label)
    return Rows(xp, label, None, row_weight, _total(xp, row_weight, logits), leading)


def _checked_labels(
    xp: Any, flat: Array, leading: tuple[int, ...], K: int, ignore_index: int, samples: Array | None
) -> tuple[Array, bool]:
    """Labels with -1 for rows left out, and K for an invalid one that can't be refused; whether none is left out."""
    signed = integers(xp, flat)
    usual = samples is None and not 0 <= ignore_index < K and 0 not in signed.shape
    if usual and _all_within(xp, signed, K):  # one pass, and done
        return signed, True
    # unsigned 64 bits above the signed ones' reach turn negative, and are no ignore_index
    ignored = (signed == ignore_index) & ((signed < 0) == (flat < 0))
    if samples is not None:
        ignored = ignored | (samples == 0)
    outside = ~ignored & ((signed < 0) | (signed >= K))
    if wrong(xp, outside):
        i = first(outside)[0]
        raise ValueError(
            f"label {number(flat, (i,))} at {row_name(i, leading)} is outside 0 ... {K - 1}: the logits have K = {K} "
            f"classes (and ignore_index is {ignore_index})"
        )
    return xp.where(ignored, -1, xp.where(outside, K, signed)), False


def _all_within(xp: Any, label: Array, K: int) -> bool:
    """Whether all labels are 0 ... K - 1; False where that cannot be known."""
    plain = plain_view(xp, label)
    if plain is None:
        return holds(xp, (xp.min(label) >= 0) & (xp.max(label) < K))
    return bool(plain.view(np.uint64).max() < K)  # negative ones are the largest so


def _count(xp: Any, label: Array, like: Array) -> Any:
    """How many labels are not -1, as `_total` would say it."""
    plain = plain_view(xp, label)
    if plain is None:
        return _total(xp, label >= 0, like)
    count = float(np.count_nonzero(plain >= 0))
    return count if xp is NUMPY else xp.full((), count, dtype=wide(xp, like), device=like.device)


def _total(xp: Any, weights: Array, like: Array) -> Any:
    total = xp.sum(xp.astype(weights, wide(xp, like)))
    return float(total) if xp is NUMPY else total


def _soft_rows(
    target: Array,
    xp: Any,
    logits: Array,
    leading: tuple[int, ...],
    K: int,
    class_weight: Array | None,
    samples: Array | None,
) -> Rows:
    N = math.prod(leading)
    probs = xp.astype(xp.reshape(as_floats("target", target, xp, logits), (N, K)), logits.dtype)
    kept = xp.ones_like(probs[:, 0], dtype=bool if xp is NUMPY else xp.bool) if samples is None else samples != 0
    if samples is not None:
        check_weights(xp, "sample_weight", samples)
        probs = where(xp, kept[:, None], probs, 1.0 / K)
    given = None if is_integer(xp, target) else target.dtype
    check_distributions(xp, "target", probs, leading, given=given)
    row_weight = samples
    if class_weight is not None:
        # a soft target is a mixture of labels: q_j of the row has the weight w_j, together W = sum_j w_j q_j
        weighted = probs * class_weight
        W = xp.sum(weighted, axis=1)
        some = W > 0
        probs = where(xp, some[:, None], weighted / where(xp, some, W, 1.0)[:, None], xp.astype(probs, weighted.dtype))
        probs = xp.astype(probs, logits.dtype)
        row_weight = where(xp, kept, W * (1.0 if samples is None else samples), 0.0)
    label = xp.where(kept, 0, -1)
    if row_weight is None:
        return Rows(xp, label, probs, None, _total(xp, kept, logits), leading)
    label = xp.where(row_weight == 0, -1, label)
    return Rows(xp, label, probs, row_weight, _total(xp, row_weight, logits), leading)


def _top_rows(
    target: TopK,
    xp: Any,
    logits: Array,
    leading: tuple[int, ...],
    K: int,
    class_weight: Array | None,
    samples: Array | None,
) -> Rows:
    index, probs = target.read(xp, logits, leading, K)
    kept = xp.ones_like(index[:, 0], dtype=bool if xp is NUMPY else xp.bool) if samples is None else samples != 0
    if samples is not None:
        check_weights(xp, "sample_weight", samples)
        # any classes, none twice
        index = xp.where(kept[:, None], index, xp.arange(index.shape[1], **on(xp, index))[None, :])
        probs = where(xp, kept[:, None], probs, 1.0 / max(index.shape[1], 1))
    target.check(xp, index, probs, leading, K)
    row_weight = samples
    if class_weight is not None:
        if target.rest == "spread":
            raise ValueError(
                'class weights with rest="spread" weigh every class of every row: give a target of shape '
                f"{(*leading, K)} instead"
            )
        weighted = probs * xp.reshape(xp.take(class_weight, xp.reshape(index, (-1,)), axis=0), index.shape)
        W = xp.sum(weighted, axis=1)
        some = W > 0
        probs = where(xp, some[:, None], weighted / where(xp, some, W, 1.0)[:, None], xp.astype(probs, weighted.dtype))
        probs = xp.astype(probs, logits.dtype)
        row_weight = where(xp, kept, W * (1.0 if samples is None else samples), 0.0)
    label = xp.where(kept, 0, -1)
    top = (index, probs)
    if row_weight is None:
        return Rows(xp, label, None, None, _total(xp, kept, logits), leading, top, target.spread)
    label = xp.where(row_weight == 0, -1, label)
    return Rows(xp, label, None, row_weight, _total(xp, row_weight, logits), leading, top, target.spread)
