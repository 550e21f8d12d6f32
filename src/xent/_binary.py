"""Cross-entropy of two classes: one logit, softplus for log-sum-exp."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._problem import REDUCTIONS, Reduction, as_floats, check_choice, check_weights, read_weights, row_name
from .kernels.contract import Array


def binary_cross_entropy(
    logits: Any,
    target: Any,
    *,
    pos_weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    from_probs: bool = False,
    eps: float = 0.0,
) -> Any:
    """Cross-entropy of yes-or-no targets, ``-[y log p + (1 - y) log(1 - p)]`` with ``p = 1 / (1 + exp(-z))``, in nats.

    Parameters
    ----------
    logits : array (...)
        The log-odds z of each entry; with ``from_probs=True`` its probability p. Infinite logits are certain answers.
    target : array of the same shape
        y: 0 or 1 (or booleans), or the probability of a yes.
    pos_weight : array that broadcasts to the shape, optional
        A weight for the yes class, as ``weight=[1, pos_weight]`` is for `cross_entropy`: "mean" divides by the sum of
        weights. (PyTorch divides by the number of entries; use ``reduction="sum"`` and divide for that.)
    sample_weight : array that broadcasts to the shape, optional
        A weight for each entry; 0 leaves it out.
    ignore_index : int
        The target of entries to leave out.
    label_smoothing : float in [0, 1]
        ``(1 - e) y + e / 2``.
    reduction : "mean", "sum" or "none"
    from_probs : bool
        `logits` are probabilities: exact at 0 and 1. An impossible event that happened costs inf.
    eps : float
        With ``from_probs=True``, probabilities are kept in [eps, 1 - eps]. 0 is the truth.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 and integers, else float32

    Raises
    ------
    ValueError
        Shapes that differ, targets or probabilities outside [0, 1].

    Examples
    --------
    >>> round(float(binary_cross_entropy([0.1, 0.9, 0.8, 0.4], [0, 1, 1, 0], from_probs=True)), 4)
    0.2362
    """
    options = (pos_weight, sample_weight, ignore_index, label_smoothing, reduction, from_probs, eps)
    return binary_with_gradients(logits, target, *options, wrt=())[0]


def binary_with_gradients(
    logits: Any,
    target: Any,
    pos_weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    from_probs: bool,
    eps: float,
    wrt: tuple[str, ...],
) -> tuple[Any, dict[str, Array]]:
    """`binary_cross_entropy`, and its gradients in what `wrt` names."""
    check_choice("reduction", reduction, REDUCTIONS)
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], not {label_smoothing}")
    if eps and not from_probs:
        raise ValueError("eps is a floor under probabilities: it goes with from_probs=True")
    if not 0 <= eps < 0.5:
        raise ValueError(f"eps must be in [0, 0.5), not {eps}")
    shape = np.shape(logits)
    given = np.ones(1) if sample_weight is None else read_weights("sample_weight", sample_weight, shape)
    z, y, kept = _read(logits, target, ignore_index, given != 0)
    samples = np.where(kept, given, 0)
    check_weights("sample_weight", samples)
    pos = np.ones(1) if pos_weight is None else read_weights("pos_weight", pos_weight, shape)
    check_weights("pos_weight", pos)
    z, y = np.where(kept, z, 0.5 if from_probs else 0), np.where(kept, y, 0)
    yes, no, d_yes, d_no = _from_probs(z, eps, shape) if from_probs else _from_logits(z)
    # the loss is linear in y: what a yes and a no would cost, each with its weight
    cost_yes, cost_no = _smooth(yes, no, label_smoothing)
    loss = samples * (_times(pos * y, cost_yes) + _times(1 - y, cost_no))
    weight = samples * (pos * y + (1 - y))
    total = float(weight.sum())
    dtype = as_floats("logits", logits).dtype
    over = (total or np.inf) if reduction == "mean" else 1.0
    value = loss.reshape(shape).astype(dtype)[()] if reduction == "none" else (loss.sum() / over).astype(dtype)
    grads = {}
    if "logits" in wrt:
        e = label_smoothing
        share_yes, share_no = pos * y * (1 - e / 2) + (1 - y) * (e / 2), (1 - y) * (1 - e / 2) + pos * y * (e / 2)
        slope = samples / over * (_times(share_yes, d_yes) + _times(share_no, d_no))
        grads["logits"] = _like(slope, logits, dtype)
    if "target" in wrt:
        shift = float(value) if reduction == "mean" and pos_weight is not None else 0.0
        with np.errstate(invalid="ignore"):  # an infinite cost in an infinite mean
            slope = samples / over * (_times(pos, cost_yes - shift) - (cost_no - shift))
        grads["target"] = _like(np.where(kept, slope, 0), target, dtype)
    return value, grads


def _read(logits: Any, target: Any, ignore_index: int, weighted: Array) -> tuple[Array, Array, Array]:
    """Flat float64 logits and targets, and which entries are kept of those that have a weight."""
    z, y = as_floats("logits", logits), as_floats("target", target)
    if z.shape != y.shape:
        raise ValueError(f"logits and target must have the same shape: {z.shape} and {y.shape}")
    flat_z, flat_y = z.reshape(-1).astype(np.float64), y.reshape(-1).astype(np.float64)
    kept = weighted & (flat_y != ignore_index)
    wrong = kept & ~((flat_y >= 0) & (flat_y <= 1))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"target must be in [0, 1] (or {ignore_index} to leave an entry out): {row_name(i, z.shape)} is {flat_y[i]}"
        )
    return flat_z, flat_y, kept


def _from_logits(z: Array) -> tuple[Array, Array, Array, Array]:
    """What a yes and a no cost, softplus(-z) and softplus(z), and their slopes in z."""
    tail = np.exp(-np.abs(z))
    rest = np.log1p(tail)
    near, far = 1 / (1 + tail), tail / (1 + tail)
    positive = z >= 0
    slope_no = np.where(positive, near, far)
    slope_yes = -np.where(positive, far, near)
    return np.maximum(-z, 0) + rest, np.maximum(z, 0) + rest, slope_yes, slope_no


def _from_probs(p: Array, eps: float, shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    """What a yes and a no cost, -log p and -log(1 - p), and their slopes in p."""
    wrong = ~((p >= 0) & (p <= 1))
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"probabilities must be in [0, 1]: {row_name(i, shape)} is {p[i]}. "
            "If these are logits, leave from_probs out"
        )
    clipped = np.clip(p, eps, 1 - eps)
    inside = clipped == p
    with np.errstate(divide="ignore"):
        slopes = np.where(inside, -1 / clipped, 0), np.where(inside, 1 / (1 - clipped), 0)
        return 0 - np.log(clipped), 0 - np.log1p(-clipped), *slopes


def _times(share: Array, cost: Array) -> Array:
    """0 times infinity is 0: what has no share costs nothing."""
    share = np.broadcast_to(share, np.shape(cost))
    return np.where(share == 0, 0, share * np.where(share == 0, 0, cost))


def _smooth(yes: Array, no: Array, e: float) -> tuple[Array, Array]:
    return (yes, no) if e == 0 else ((1 - e / 2) * yes + e / 2 * no, (1 - e / 2) * no + e / 2 * yes)


def _like(slope: Array, argument: Any, dtype: Any) -> Array:
    own = np.asarray(argument).dtype
    return slope.reshape(np.shape(argument)).astype(dtype if own.kind in "iub" else own)
