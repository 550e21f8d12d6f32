"""Cross-entropy of softmaxes, from logits, probabilities or a linear layer: the work behind `xent.functional`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ._problem import (
    REDUCTIONS,
    Reduction,
    Rows,
    as_floats,
    check_choice,
    check_distributions,
    read_rows,
    read_weights,
    tolerance,
)
from .kernels import Need, select
from .kernels.contract import Array, Slopes
from .losses import CrossEntropy


def _cast(gradient: Array, like: Any) -> Array:
    """A gradient in the floating dtype of its argument."""
    dtype = np.asarray(like).dtype
    return gradient.astype(dtype) if dtype.kind not in "iub" and dtype != gradient.dtype else gradient


def softmax_with_gradients(
    logits: Any,
    target: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    from_probs: bool,
    eps: float,
    wrt: tuple[str, ...],
) -> tuple[Any, dict[str, Array]]:
    """`xent.cross_entropy`, and its gradients in what `wrt` names."""
    check_choice("reduction", reduction, REDUCTIONS)
    a = as_floats("logits", logits)
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"logits need a last axis of at least one class; the shape is {a.shape}")
    leading, K = a.shape[:-1], a.shape[-1]
    rows = read_rows(target, leading, K, a.dtype, weight=weight, sample_weight=sample_weight, ignore_index=ignore_index)
    formula = CrossEntropy(K, label_smoothing)
    flat = a.reshape(-1, K)
    if from_probs:
        p = _check_probs(flat, rows, eps, np.asarray(logits).dtype)
        value, grads = _probs_loss(p, rows, formula, reduction, eps, wrt)
    else:
        if eps:
            raise ValueError("eps is a floor under probabilities: it goes with from_probs=True")
        _suspect_probs(flat)
        value, grads = _logits_loss(flat, rows, formula, reduction, wrt)
    if "target" in grads:
        options = (rows, formula, weight, sample_weight, reduction)
        grads["target"] = _cast(_target_grad(grads["target"], value, *options), target)
    if "logits" in grads:
        grads["logits"] = _cast(grads["logits"].reshape(a.shape), logits)
    return value, grads


def _logits_loss(
    a: Array, rows: Rows, formula: CrossEntropy, reduction: Reduction, wrt: tuple[str, ...]
) -> tuple[Any, dict[str, Array]]:
    """Value, the gradient in the logits, and under "target" -log p."""
    backend, grads = select(dtype=a.dtype).backend, {}
    slopes = Slopes(*formula.slopes)
    if "logits" in wrt:
        loss, grads["logits"] = backend.row_fused(a, rows.target, slopes, weight=rows.scale(reduction))
    if "logits" not in wrt or "target" in wrt:
        stats = backend.row_stats(a, rows.target, need_u=formula.needs_u)
        loss = formula.value(stats.s, stats.t, stats.u)
        if "target" in wrt:
            with np.errstate(invalid="ignore"):  # a row of -inf alone
                grads["target"] = stats.s[:, None] - (a.astype(np.float64) - stats.m[:, None])
    return rows.reduce(loss, reduction, a.dtype), grads


def _check_probs(p: Array, rows: Rows, eps: float, given: np.dtype) -> Array:
    if not 0 <= eps < 1:
        raise ValueError(f"eps must be in [0, 1), not {eps}")
    label = rows.target.label
    if label is not None and (label < 0).any():
        p = np.where((label < 0)[:, None], np.asarray(1 / p.shape[1], p.dtype), p)
    hint = "" if ((p >= 0) & (p <= 1)).all() else ". If these are logits, leave from_probs out"
    check_distributions("probabilities", p, rows.leading, hint, given=given)
    return np.maximum(p, np.asarray(eps, p.dtype)) if eps else p


def _probs_loss(
    p: Array, rows: Rows, formula: CrossEntropy, reduction: Reduction, eps: float, wrt: tuple[str, ...]
) -> tuple[Any, dict[str, Array]]:
    """The same formula where the log-probabilities are given: s = 0, t and u sums of log p."""
    label, q = rows.target.label, rows.target.probs
    slopes, N = formula.slopes, len(p)
    kept = np.ones(N, bool) if label is None else label >= 0
    index = np.flatnonzero(kept)
    p64 = p.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_p = np.log(p64) if q is not None or formula.needs_u or "target" in wrt else None
        if q is not None:
            assert log_p is not None
            t = np.where(q == 0, 0, q * log_p).sum(axis=1)
        else:
            assert label is not None
            t = np.zeros(N)
            t[index] = np.log(p64[index, label[index]])
        u = log_p.sum(axis=1) if log_p is not None and formula.needs_u else None
        loss = np.where(kept, formula.value(np.zeros(N), t, u), 0)
        grads = {} if "target" not in wrt else {"target": -log_p}  # type: ignore[operator]
        if "logits" in wrt:
            d = np.full(p.shape, slopes.u)
            if q is not None:
                d += slopes.t * q
            else:
                d[index, label[index]] += slopes.t  # type: ignore[index]
            scale = rows.scale(reduction)
            d = np.where(kept[:, None], d if scale is None else d * scale[:, None], 0)
            # an outcome that costs nothing has no slope, even where its probability is 0; nor has one under the floor
            dead = (d == 0) | ((p <= np.asarray(eps, p.dtype)) if eps else False)
            grads["logits"] = np.where(dead, 0, d / np.where(dead, 1, p64)).astype(p.dtype)
    return rows.reduce(loss, reduction, p.dtype), grads


def _target_grad(
    costs: Array, value: Any, rows: Rows, formula: CrossEntropy, weight: Any, samples: Any, reduction: Reduction
) -> Array:
    """The loss is linear in q: its gradient is what each class would cost, ``w_j l_j``, less the mean's share."""
    label, K = rows.target.label, formula.classes
    kept = (np.ones(len(costs), bool) if label is None else label >= 0)[:, None]
    costs = np.where(kept, costs, 0)
    e = formula.label_smoothing
    each = costs if e < 1 else np.zeros_like(costs)  # a share of 0 takes a cost out, even an infinite one
    if e:
        each = (1 - e) * each + (e / K) * costs.sum(axis=1, keepdims=True)
    if weight is not None:
        w = read_weights("weight", weight, (K,))
        with np.errstate(invalid="ignore"):  # an infinite cost in an infinite mean
            if reduction == "mean":
                each = each - float(value)  # the divisor, sum of W, depends on q too
            each = np.where(w == 0, 0, each * w)
    total = (rows.total or np.inf) if reduction == "mean" else 1.0
    # not rows.weight, which has W in it
    share = np.ones(1) if samples is None else read_weights("sample_weight", samples, rows.leading)
    grad = np.where(kept, each * (share / total)[:, None], 0)
    return grad.reshape(*rows.leading, K)


def _suspect_probs(a: Array) -> None:
    """Warn when the first rows are all distributions: logits that happen to be are rare, the mistake is not."""
    head = a[:16]
    if not len(head) or a.shape[1] < 2:
        return
    with np.errstate(invalid="ignore"):
        inside = ((head >= 0) & (head <= 1)).all() and (np.abs(head.sum(axis=1) - 1) < tolerance(a.dtype)).all()
    if inside:
        warnings.warn(
            "logits look like probabilities (not negative, rows sum to one): pass from_probs=True if they are",
            UserWarning,
            stacklevel=4,
        )


def linear_with_gradients(
    x: Any,
    w: Any,
    target: Any,
    bias: Any,
    weight: Any,
    sample_weight: Any,
    ignore_index: int,
    label_smoothing: float,
    reduction: Reduction,
    wrt: tuple[str, ...],
) -> tuple[Any, dict[str, Array]]:
    """`xent.linear_cross_entropy`, and its gradients in what `wrt` names."""
    check_choice("reduction", reduction, REDUCTIONS)
    xs, ws = as_floats("x", x), as_floats("w", w)
    bs = None if bias is None else as_floats("bias", bias)
    if ws.ndim != 2 or xs.ndim == 0 or xs.shape[-1] != ws.shape[1] or len(ws) == 0:
        raise ValueError(f"x (..., D) and w (K, D) must share D: x has the shape {xs.shape}, w {ws.shape}")
    K = len(ws)
    if bs is not None and bs.shape != (K,):
        raise ValueError(f"bias must have the shape ({K},) as w has {K} rows, not {bs.shape}")
    dtype = np.result_type(*(v for v in (xs, ws, bs) if v is not None))
    leading = xs.shape[:-1]
    rows = read_rows(target, leading, K, dtype, weight=weight, sample_weight=sample_weight, ignore_index=ignore_index)
    formula = CrossEntropy(K, label_smoothing)
    flat, ws = xs.reshape(int(np.prod(leading)), ws.shape[1]).astype(dtype, copy=False), ws.astype(dtype, copy=False)
    bs = None if bs is None else bs.astype(dtype, copy=False)
    backend, grads = select(dtype=dtype).backend, {}
    need = Need("x" in wrt, "w" in wrt, "bias" in wrt)
    if any(need):
        scale = rows.scale(reduction)
        loss, found = backend.linear_fused(flat, ws, bs, rows.target, Slopes(*formula.slopes), weight=scale, need=need)
        shapes = {"x": (found.x, x, xs.shape), "w": (found.w, w, ws.shape), "bias": (found.bias, bias, (K,))}
        for name, (grad, like, shape) in shapes.items():
            if grad is not None:
                grads[name] = _cast(grad.reshape(shape).astype(dtype, copy=False), like)
    else:
        stats = backend.linear_stats(flat, ws, bs, rows.target, need_u=formula.needs_u)
        loss = formula.value(stats.s, stats.t, stats.u)
    value = rows.reduce(loss, reduction, dtype)
    if "target" in wrt:  # as large as the logits, so these may be there for once
        a = flat @ ws.T if bs is None else flat @ ws.T + bs
        costs = _logits_loss(a, rows, formula, reduction, ("target",))[1]["target"]
        options = (rows, formula, weight, sample_weight, reduction)
        grads["target"] = _cast(_target_grad(costs, value, *options), target)
    return value, grads
