"""Losses of yes-or-no answers, read and checked: what their public functions share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import array_api_compat as compat
import numpy as np

from .._arrays import NUMPY, Array, constant, on, primal, where
from ..autodiff import rows as row_values
from ..losses import Formula
from ..rows.binary import BinaryRows, OfLogits, OfProbs
from ._arguments import (
    REDUCTIONS,
    Reduction,
    as_array,
    as_floats,
    check_choice,
    check_weights,
    first,
    namespace,
    number,
    read_weights,
    refuse_masked,
    row_name,
    wide,
    wrong,
)
from ._problem import Rows


@dataclass(frozen=True, eq=False)
class BinaryLoss:
    """A loss of answers, read and checked. Every array is flat (N,), and float64 in NumPy.

    Attributes
    ----------
    op : row function of ``x`` and the masses ``yes, no``
    x : logits over the temperature, or probabilities
    yes, no : target times class weight; 0 for an entry left out
    class_weights : of a yes and of a no, or None where all are 1
    rows : which entries are kept (None for all), sample weights, the divisor of the mean, the shape
    dtype : of the result
    given : the arguments, by name, as they were given
    """

    op: BinaryRows
    x: Array
    yes: Array
    no: Array
    class_weights: tuple[Array, Array] | None
    rows: Rows
    reduction: Reduction
    label_smoothing: float
    temperature: float
    dtype: Any
    given: Mapping[str, Any]

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            loss = row_values(self.op, self.x, *_mixed(self.yes, self.no, self.label_smoothing))
        return self.rows.reduce(loss, self.reduction, self.dtype)

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""
        value, grads, e = self.value(), {}, self.label_smoothing
        scale = self.rows.scale(self.reduction)
        scale = np.ones(1) if scale is None else scale
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            if "logits" in wrt:
                masses = _mixed(self.yes, self.no, e)
                (slope, *_) = self.op.grads(NUMPY, (True, False, False), self.x, *masses)
                assert slope is not None
                grads["logits"] = self._shaped("logits", scale * slope / self.temperature)
            if "target" in wrt:
                cost_yes, cost_no = _mixed(*self.op.answers.costs(NUMPY, self.x), e)
                slope = cost_yes - cost_no
                if self.class_weights is not None:
                    of_yes, of_no = self.class_weights
                    # the divisor of the mean depends on the target too
                    shift = float(value) if self.reduction == "mean" else 0.0
                    slope = _times(of_yes, cost_yes - shift) - _times(of_no, cost_no - shift)
                grads["target"] = self._shaped("target", _Keep(NUMPY, self.rows.label)(scale * slope))
        return value, grads

    def _shaped(self, name: str, gradient: Array) -> Array:
        own = np.asarray(self.given[name]).dtype
        return gradient.reshape(self.rows.leading).astype(self.dtype if own.kind in "iub" else own)


def read_binary(
    formula: Any,
    logits: Any,
    target: Any,
    class_weight: Mapping[str, Any],
    *,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    from_probs: bool = False,
    eps: float = 0.0,
    temperature: float = 1.0,
) -> BinaryLoss:
    """Check the arguments of a loss; `class_weight` is `pos_weight` or `alpha` by its name, None for none."""
    check_choice("reduction", reduction, REDUCTIONS)
    costs = _costs(formula, label_smoothing, from_probs, eps, temperature)
    xp, like = namespace(logits=logits, target=target, sample_weight=sample_weight, **class_weight)
    refuse_masked("target", target)
    z, y = as_floats("logits", logits, xp, like), as_floats("target", as_array(xp, target, like), xp, like)
    shape = tuple(z.shape)
    if tuple(y.shape) != shape:
        raise ValueError(f"logits and target must have the same shape: {shape} and {tuple(y.shape)}")
    samples = None
    if sample_weight is not None:
        samples = read_weights(xp, "sample_weight", as_constant(sample_weight), shape, z)
    own = np.float64 if xp is NUMPY else z.dtype
    x, y = (xp.astype(xp.reshape(v, (-1,)), own) for v in (z, y))
    keep = _Keep.of(xp, y, ignore_index, samples)
    x, y = keep(x, 0.5), _checked_target(xp, keep(y), shape, ignore_index)
    x = _checked_probs(xp, x, shape) if from_probs else x / temperature if temperature != 1 else x
    if samples is not None:
        samples = keep(samples)  # whatever an ignored entry's weight holds
        check_weights(xp, "sample_weight", primal(samples))
    pair = _class_weights(xp, class_weight, shape, z)
    yes, no = y, 1.0 - y
    if pair is not None:
        # where the weight is 0, the target has no slope, be the cost infinite
        yes, no = (w * where(xp, w == 0, constant(xp, v), v) for w, v in zip(pair, (yes, no), strict=True))
    weight = None if pair is None else keep(yes + no)
    yes, no = (keep(xp.astype(v, own)) for v in (yes, no))
    rows = Rows(xp, keep.kept, None, samples, _total(keep, weight, samples, z), shape)
    given = {"logits": logits, "target": target}
    options = (reduction, label_smoothing, temperature, z.dtype)
    # PyTorch's `where` is slow: what there is no need to mask is not masked
    finite = not from_probs and 0 not in shape and _surely(xp, (xp.min(x) > -math.inf) & (xp.max(x) < math.inf))
    return BinaryLoss(BinaryRows(costs, finite), x, yes, no, pair, rows, *options, given)


@dataclass(frozen=True, eq=False)
class _Keep:
    """Which entries are kept: booleans (N,), or None where it is known that all are."""

    xp: Any
    kept: Array | None

    @staticmethod
    def of(xp: Any, y: Array, ignore_index: int, samples: Array | None) -> _Keep:
        kept = y != ignore_index
        if samples is not None:
            kept = kept & (samples != 0)
        return _Keep(xp, None if _surely(xp, xp.all(kept)) else kept)

    def __call__(self, values: Array, rest: float = 0.0) -> Array:
        """`values`, and `rest` in place of those left out."""
        return values if self.kept is None else where(self.xp, self.kept, values, rest)


def _surely(xp: Any, condition: Array) -> bool:
    """Whether a condition is known to hold; reading it must not make an accelerator wait."""
    return wrong(xp, condition)


def _total(keep: _Keep, weight: Array | None, samples: Array | None, like: Array) -> Any:
    """The sum of the weights of the entries kept."""
    xp = keep.xp
    if weight is not None:
        total = xp.sum(xp.astype(weight, wide(xp, like)) if samples is None else samples * weight)
    elif samples is not None:
        total = xp.sum(samples)
    elif keep.kept is not None:
        total = xp.sum(xp.astype(keep.kept, wide(xp, like)))
    else:
        total = xp.asarray(float(math.prod(like.shape)), dtype=wide(xp, like), **on(xp, like))
    return float(total) if xp is NUMPY else total


def as_constant(value: Any) -> Any:
    """Numbers and lists as NumPy arrays, in float64: the default dtype of a library may round them."""
    return value if compat.is_array_api_obj(value) else np.asarray(value)


def _costs(
    formula: Formula, label_smoothing: float, from_probs: bool, eps: float, temperature: float
) -> OfLogits | OfProbs:
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], not {label_smoothing}")
    if eps and not from_probs:
        raise ValueError("eps is a floor under probabilities: it goes with from_probs=True")
    if not 0 <= eps < 0.5:
        raise ValueError(f"eps must be in [0, 0.5), not {eps}")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, not {temperature}")
    if temperature != 1 and from_probs:
        raise ValueError("temperature needs logits, not from_probs=True")
    return OfProbs(formula, float(eps)) if from_probs else OfLogits(formula)


def _checked_probs(xp: Any, p: Array, shape: tuple[int, ...]) -> Array:
    def message(row: str, value: float) -> str:
        return f"probabilities must be in [0, 1]: {row} is {value}. If these are logits, leave from_probs out"

    return _checked(xp, p, shape, message)


def _checked_target(xp: Any, y: Array, shape: tuple[int, ...], ignore_index: int) -> Array:
    def message(row: str, value: float) -> str:
        return f"target must be in [0, 1] (or {ignore_index} to leave an entry out): {row} is {value}"

    return _checked(xp, y, shape, message)


def _checked(xp: Any, values: Array, shape: tuple[int, ...], message: Callable[[str, float], str]) -> Array:
    """Shares; what is none is an error, or NaN where it cannot be read."""
    if 0 in values.shape or _surely(xp, (xp.min(values) >= 0) & (xp.max(values) <= 1)):
        return values
    outside = ~((values >= 0) & (values <= 1))
    if wrong(xp, outside):
        i = first(outside)
        raise ValueError(message(row_name(i[0], shape), number(primal(values), i)))
    return values * where(xp, outside, math.nan, xp.ones_like(values))  # so that the slope is NaN too


def _class_weights(
    xp: Any, given: Mapping[str, Any], shape: tuple[int, ...], like: Array
) -> tuple[Array, Array] | None:
    """Of a yes and of a no, flat: ``pos_weight`` and 1, or ``alpha`` and ``1 - alpha``."""
    ((name, value),) = given.items()
    if value is None:
        return None
    of_yes = read_weights(xp, name, as_constant(value), shape, like)
    if name == "pos_weight":
        check_weights(xp, name, primal(of_yes))
        return of_yes, xp.ones_like(of_yes)
    outside = ~((of_yes >= 0) & (of_yes <= 1))
    if wrong(xp, outside):
        raise ValueError(f"alpha must be in [0, 1], not {number(primal(of_yes), first(outside))}")
    return of_yes, 1.0 - of_yes


def _mixed(yes: Any, no: Any, e: float) -> tuple[Any, Any]:
    """Masses, or costs, of the two answers after label smoothing."""
    return (yes, no) if e == 0 else ((1 - e / 2) * yes + e / 2 * no, (1 - e / 2) * no + e / 2 * yes)


def _times(share: Array, cost: Array) -> Array:
    """0 times infinity is 0: what has no share costs nothing."""
    return np.where(share == 0, 0, share * np.where(share == 0, 0, cost))
