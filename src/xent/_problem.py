"""What the loss functions share: reading arguments, checking them, and bringing rows together in one number.

Every check names the argument, what is wrong with it and where, and repeats the shapes that were given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .kernels.contract import Array, Target

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS = ("none", "mean", "sum")


def as_floats(name: str, value: Any) -> Array:
    """`value` as a floating array: float32 and float64 as they are, half precisions in float32, integers in float64."""
    if type(value).__module__.partition(".")[0] in ("torch", "jax", "jaxlib", "cupy", "tensorflow"):
        raise TypeError(
            f"{name} is a {type(value).__module__.partition('.')[0]} array; this function takes NumPy arrays and would "
            f"cut it off from its gradient. Convert it yourself if that is what you want"
        )
    refuse_masked(name, value)
    array = np.asarray(value)
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.aligned)
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.name in ("float16", "bfloat16"):
        return array.astype(np.float32)
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise TypeError(f"{name} must be real numbers of at most 64 bits, not {array.dtype}")


def refuse_masked(name: str, value: Any) -> None:
    """Raise for an array of `numpy.ma` with masked entries, whose mask would be lost."""
    if np.ma.is_masked(value):
        raise TypeError(f"{name} has masked entries; leave rows out with ignore_index or a sample_weight of 0")


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def tolerance(*dtypes: np.dtype) -> float:
    """How far a sum of probabilities that went through these dtypes may be from one: the square root of the coarsest's
    precision.
    """
    known = {"bfloat16": 2.0**-7}  # which NumPy itself does not know
    return max(float(np.sqrt(known.get(d.name) or np.finfo(d).eps)) for d in dtypes if d.kind not in "iub")


def row_name(flat: int, leading: tuple[int, ...]) -> str:
    """How to call row number `flat` in an error.

    >>> row_name(5, (2, 3))
    'row (1, 2)'
    """
    if len(leading) == 1:
        return f"row {flat}"
    return f"row {tuple(int(i) for i in np.unravel_index(flat, leading))}" if leading else "the row"


def check_distributions(
    name: str, rows: Array, leading: tuple[int, ...], hint: str = "", *, given: np.dtype | None = None
) -> None:
    """Raise unless each row (N, K), first given in another dtype perhaps, is a probability distribution."""
    slack = tolerance(rows.dtype, given or rows.dtype)
    bad = ~((rows >= 0) & (rows <= 1 + slack))
    if bad.any():
        i, k = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} must be probabilities: {row_name(i, leading)} has {rows[i, k]} for class {k}; the shape is "
            f"{(*leading, rows.shape[1])}{hint}"
        )
    sums = rows.sum(axis=1, dtype=np.float64)
    off = np.abs(sums - 1) > slack
    if off.any():
        i = int(off.argmax())
        raise ValueError(
            f"{name} must sum to one over the last axis: {row_name(i, leading)} sums to {sums[i]:.6g}; the shape is "
            f"{(*leading, rows.shape[1])}. Divide by the sum yourself if that is what you mean{hint}"
        )


def _labels(target: Array, leading: tuple[int, ...], K: int, ignore_index: int, samples: Array | None) -> Array:
    if target.dtype.kind not in "iub" and target.size:  # an empty list has no integers to show
        raise TypeError(
            f"target of shape {target.shape} holds class labels, which must be integers, not {target.dtype}; "
            f"probabilities have the shape {(*leading, K)}"
        )
    flat = target.reshape(-1)
    ignored = (flat == ignore_index) | (False if samples is None else samples == 0)
    wrong = ~ignored & ((flat < 0) | (flat >= K))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"label {flat[i]} at {row_name(i, leading)} is outside 0 ... {K - 1}: the logits have K = {K} classes"
            f" (and ignore_index is {ignore_index})"
        )
    label = np.where(ignored, 0, flat).astype(np.int64)
    label[ignored] = -1
    return label


def read_weights(name: str, weight: Any, shape: tuple[int, ...]) -> Array:
    """Weights broadcast to a shape, flat and in float64."""
    array = as_floats(name, weight)
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} has the shape {array.shape}, which does not fit {shape}") from None
    return array.astype(np.float64).reshape(-1)


def check_weights(name: str, weights: Array) -> None:
    """Raise unless all weights are finite and not negative."""
    bad = ~((weights >= 0) & np.isfinite(weights))
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(f"{name} must be finite and not negative: entry {i} is {weights[i]}")


@dataclass(frozen=True)
class Rows:
    """The rows of a loss, flattened: their target, their weights and how to bring them together.

    Attributes
    ----------
    target : Target
        Labels, or probabilities; -1 in its labels for each row left out.
    weight : float64 array (N,) or None
        Class weight x sample weight; None where all are 1 (rows left out are in `target` then).
    total : float
        Sum of the weights of the rows kept: what "mean" divides by.
    leading : tuple
        The shape of the rows before flattening.
    """

    target: Target
    weight: Array | None
    total: float
    leading: tuple[int, ...]

    def reduce(self, loss: Array, reduction: Reduction, dtype: Any) -> Any:
        """Losses (N,) to the result; rows left out count 0, and the mean of no rows is 0."""
        if self.weight is not None:
            loss = np.where(self.weight == 0, 0, loss * np.where(self.weight == 0, 1, self.weight))
        if reduction == "none":
            return loss.reshape(self.leading).astype(dtype)[()]
        total = loss.sum()
        if reduction == "mean":
            total = total / self.total if self.total else np.float64(0.0)
        return total.astype(dtype)

    def scale(self, reduction: Reduction) -> Array | None:
        """What multiplies each row's slopes: weight, over the total for the mean. None: 1 everywhere."""
        if reduction == "sum":
            return self.weight
        weight = np.ones(int(np.prod(self.leading))) if self.weight is None else self.weight
        return weight / self.total if self.total else np.zeros_like(weight)


def read_rows(
    target: Any,
    leading: tuple[int, ...],
    K: int,
    dtype: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
) -> Rows:
    """Check a target and its weights against logits of shape ``(*leading, K)``."""
    refuse_masked("target", target)
    target = np.asarray(target)
    soft = target.shape == (*leading, K) and not (target.dtype.kind in "iub" and target.shape == leading)
    if not soft and target.shape != leading:
        raise ValueError(
            f"target has the shape {target.shape}; logits of shape {(*leading, K)} take labels of shape {leading} or "
            f"probabilities of shape {(*leading, K)}"
        )
    class_weight = None
    if weight is not None:
        class_weight = read_weights("weight", weight, (K,))
        check_weights("weight", class_weight)
    N = int(np.prod(leading))
    samples = None if sample_weight is None else read_weights("sample_weight", sample_weight, leading)
    if soft:
        return _soft_rows(target, N, leading, K, dtype, class_weight, samples)
    label = _labels(target, leading, K, ignore_index, samples)
    row_weight = None
    if samples is not None:
        row_weight = np.where(label < 0, 0, samples)  # whatever an ignored row's weight holds
        check_weights("sample_weight", row_weight)
    if class_weight is not None:
        row_weight = np.where(label < 0, 0, class_weight[label] * (1 if row_weight is None else row_weight))
    if row_weight is None:
        return Rows(Target(label), None, float((label >= 0).sum()), leading)
    label[row_weight == 0] = -1
    return Rows(Target(label), row_weight, float(row_weight.sum()), leading)


def _soft_rows(
    target: Array,
    N: int,
    leading: tuple[int, ...],
    K: int,
    dtype: Any,
    class_weight: Array | None,
    samples: Array | None,
) -> Rows:
    probs = as_floats("target", target).reshape(N, K).astype(dtype, copy=False)
    if samples is not None:
        check_weights("sample_weight", samples)
    kept = np.ones(N, bool) if samples is None else samples != 0
    if kept.all():
        check_distributions("target", probs, leading, given=target.dtype)
    else:
        used = np.where(kept[:, None], probs, 1 / K).astype(dtype)
        check_distributions("target", used, leading, given=target.dtype)
    row_weight = samples
    if class_weight is not None:
        # a soft target is a mixture of labels: q_j of the row has the weight w_j, together W = sum_j w_j q_j
        weighted = probs * class_weight
        W = weighted.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            probs = np.where(W[:, None] > 0, weighted / W[:, None], probs).astype(dtype)
        row_weight = np.where(kept, W * (1 if samples is None else samples), 0)
    if row_weight is None:
        return Rows(Target(None, probs), None, float(N), leading)
    mask = np.where(row_weight == 0, -1, 0).astype(np.int64)
    return Rows(Target(mask, probs), row_weight, float(row_weight.sum()), leading)
