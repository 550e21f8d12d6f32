"""Cross-entropy of NumPy arrays: of logits, of probabilities, of a linear layer, of two classes; and their gradients.

All share one set of rules. The last axis of logits is the classes, any axes may come before it. ``reduction="mean"`` is
the weighted sum over the sum of the weights kept, for labels and probabilities alike, and 0 where nothing is kept. A
row left out (``ignore_index``, or a weight of 0) costs nothing and nothing in it is read, NaN included. Values are in
nats; half precisions are computed and returned in float32.
"""

from __future__ import annotations

import functools
import warnings
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from ._binary import binary_cross_entropy, binary_with_gradients
from ._problem import Reduction, Rows, as_floats, check_choice, check_distributions, read_rows, tolerance
from .kernels import Need, select
from .kernels.contract import Array, Slopes
from .losses import CrossEntropy

__all__ = ["binary_cross_entropy", "cross_entropy", "linear_cross_entropy", "value_and_grad"]

_REDUCTIONS = ("none", "mean", "sum")


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    from_probs: bool = False,
    eps: float = 0.0,
) -> Any:
    """Cross-entropy of a target with the softmax of logits, ``-sum_j q_j log p_j``, in nats.

    Parameters
    ----------
    logits : array (..., K)
        Scores of the K classes; with ``from_probs=True`` their probabilities. -inf masks a class.
    target : integer array (...) or floating array (..., K)
        The class of each row, or the probability of each class.
    weight : array (K,), optional
        A weight for each class. A probability target counts as the mixture of labels that it is.
    sample_weight : array that broadcasts to (...), optional
        A weight for each row; 0 leaves it out.
    ignore_index : int
        The label of rows to leave out.
    label_smoothing : float in [0, 1]
        Mixes the target with the uniform distribution: ``(1 - e) q + e / K``.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept; "none" gives each row's weighted loss.
    from_probs : bool
        `logits` are probabilities: used as they are, exact at 0 and 1. An impossible event that happened costs inf.
    eps : float
        With ``from_probs=True``, a floor under the probabilities. 0 is the truth.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 and integers, else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, a target or probabilities that are no distribution.
    TypeError
        Labels that are not integers, arrays of another library.

    Warns
    -----
    UserWarning
        When every row of the logits looks like a probability distribution.

    Notes
    -----
    Exact where log-sum-exp minus logit is not: offsets common to a row cancel before anything is rounded, and a
    confident row's loss keeps its digits.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])
    >>> round(float(cross_entropy(np.log(p), [2, 1, 0])), 3)
    1.378
    >>> cross_entropy(p, [2, 1, 0], from_probs=True, reduction="none").round(3).tolist()
    [0.916, 0.916, 2.303]
    """
    options = (weight, sample_weight, ignore_index, label_smoothing, reduction, from_probs, eps)
    return _cross_entropy(logits, target, *options, wrt=())[0]


def linear_cross_entropy(
    x: Any,
    w: Any,
    target: Any,
    *,
    bias: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Any:
    """`cross_entropy` of the logits ``x w' + bias``, which are never stored, in nats.

    Parameters
    ----------
    x : array (..., D)
        Features.
    w : array (K, D)
        A weight vector for each class.
    target : integer array (...) or floating array (..., K)
        The class of each row, or the probability of each class.
    bias : array (K,), optional
    weight, sample_weight, ignore_index, label_smoothing, reduction
        As for `cross_entropy`.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float32 where x is float32 or less, else float64

    Raises
    ------
    ValueError, TypeError
        As for `cross_entropy`, and where x, w and bias do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.ones((4, 3)), np.zeros((2, 3))
    >>> round(float(linear_cross_entropy(x, w, [0, 1, 1, 0])), 4)
    0.6931
    """
    options = (bias, weight, sample_weight, ignore_index, label_smoothing, reduction)
    return _linear_cross_entropy(x, w, target, *options, wrt=())[0]


def value_and_grad(function: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the value of a loss and its gradients in one pass.

    Parameters
    ----------
    function : `cross_entropy`, `linear_cross_entropy` or `binary_cross_entropy`

    Returns
    -------
    callable
        Takes the same arguments, and ``wrt``: the names of the arguments to differentiate in, by default the floating
        ones among ``logits`` or ``x, w, bias``, and ``target``. Returns ``(value, gradients)``, the gradients a named
        tuple in that order, each in its argument's shape and floating dtype. Weights are constants.

    Raises
    ------
    TypeError
        For any other function.
    ValueError
        For ``reduction="none"``, whose result is not one number, and for names in ``wrt`` that can't be.

    Examples
    --------
    >>> import numpy as np
    >>> value, grads = value_and_grad(cross_entropy)(np.zeros((1, 2)), [1])
    >>> grads.logits.tolist()
    [[0.5, -0.5]]
    """
    known = {
        cross_entropy: (_cross_entropy, 2),
        linear_cross_entropy: (_linear_cross_entropy, 3),
        binary_cross_entropy: (binary_with_gradients, 2),
    }
    if function not in known:
        names = ", ".join(f.__name__ for f in known)
        raise TypeError(f"value_and_grad knows {names}, not {getattr(function, '__name__', function)!r}")
    inner, positional = known[function]
    defaults = function.__kwdefaults__ or {}

    @functools.wraps(function)
    def with_gradients(*args: Any, wrt: tuple[str, ...] | str | None = None, **options: Any) -> tuple[Any, Any]:
        names = function.__code__.co_varnames[:positional]
        given = dict(zip(names, args, strict=False))
        if len(args) > positional or set(given) & set(options):
            raise TypeError(f"{function.__name__} takes {', '.join(names)} by position and the rest by name")
        given.update(options)
        missing = [n for n in names if n not in given]
        unknown = [n for n in options if n not in names and n not in defaults]
        if missing or unknown:
            problem = f"misses {', '.join(missing)}" if missing else f"has no option {', '.join(unknown)}"
            raise TypeError(f"{function.__name__} {problem}")
        settings = {**defaults, **given}
        if settings["reduction"] == "none":
            raise ValueError('a gradient needs one number: use reduction="mean" or "sum"')
        wanted = _wanted(settings, wrt)
        value, grads = inner(**settings, wrt=wanted)
        return value, namedtuple("Gradients", wanted)(*(grads[n] for n in wanted))  # type: ignore[misc]

    return with_gradients


def _wanted(settings: dict[str, Any], wrt: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """The arguments to differentiate in."""
    possible = [n for n in ("logits", "x", "w", "bias") if settings.get(n) is not None]
    if np.asarray(settings["target"]).dtype.kind not in "iub":
        possible.append("target")
    if wrt is None:
        return tuple(possible)
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    wrong = [n for n in names if n not in possible]
    if wrong or not names:
        raise ValueError(f"wrt names {', '.join(wrong) or 'nothing'}; here it can name {', '.join(possible)}")
    return names


def _cast(gradient: Array, like: Any) -> Array:
    """A gradient in the floating dtype of its argument."""
    dtype = np.asarray(like).dtype
    return gradient.astype(dtype) if dtype.kind not in "iub" and dtype != gradient.dtype else gradient


def _cross_entropy(
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
    check_choice("reduction", reduction, _REDUCTIONS)
    a = as_floats("logits", logits)
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"logits need a last axis of at least one class; the shape is {a.shape}")
    leading, K = a.shape[:-1], a.shape[-1]
    rows = read_rows(target, leading, K, a.dtype, weight=weight, sample_weight=sample_weight, ignore_index=ignore_index)
    formula = CrossEntropy(K, label_smoothing)
    flat = a.reshape(-1, K)
    if from_probs:
        p = _check_probs(flat, rows, eps)
        value, grads = _probs_loss(p, rows, formula, reduction, eps, wrt)
    else:
        if eps:
            raise ValueError("eps is a floor under probabilities: it goes with from_probs=True")
        _suspect_probs(flat)
        value, grads = _logits_loss(flat, rows, formula, reduction, wrt)
    if "target" in grads:
        grads["target"] = _cast(_target_grad(grads["target"], value, rows, formula, weight, reduction, K), target)
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
            grads["target"] = stats.s[:, None] - (a.astype(np.float64) - stats.m[:, None])
    return rows.reduce(loss, reduction, a.dtype), grads


def _check_probs(p: Array, rows: Rows, eps: float) -> Array:
    if not 0 <= eps < 1:
        raise ValueError(f"eps must be in [0, 1), not {eps}")
    label = rows.target.label
    if label is not None and (label < 0).any():
        p = np.where((label < 0)[:, None], np.asarray(1 / p.shape[1], p.dtype), p)
    hint = "" if ((p >= 0) & (p <= 1)).all() else ". If these are logits, leave from_probs out"
    check_distributions("probabilities", p, rows.leading, hint)
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
            d *= (kept if scale is None else kept * scale)[:, None]
            # an outcome that costs nothing has no slope, even where its probability is 0; nor has one under the floor
            dead = (d == 0) | ((p64 <= eps) if eps else False)
            grads["logits"] = np.where(dead, 0, d / np.where(dead, 1, p64)).astype(p.dtype)
    return rows.reduce(loss, reduction, p.dtype), grads


def _target_grad(
    costs: Array, value: Any, rows: Rows, formula: CrossEntropy, weight: Any, reduction: Reduction, K: int
) -> Array:
    """The loss is linear in q: its gradient is what each class would cost, ``w_j l_j``, less the mean's share."""
    label = rows.target.label
    kept = (np.ones(len(costs), bool) if label is None else label >= 0)[:, None]
    costs = np.where(kept, costs, 0)
    e = formula.label_smoothing
    each = (1 - e) * costs + (e / K) * costs.sum(axis=1, keepdims=True) if e else costs
    samples = np.ones(len(costs)) if rows.weight is None else rows.weight
    if weight is not None:
        w = np.asarray(weight, np.float64)
        q = rows.target.probs
        # rows.weight is sample weight x W, and q is already q_j w_j / W: W = 1 / sum_j q'_j / w_j
        with np.errstate(divide="ignore", invalid="ignore"):
            W = 1 / np.where(w > 0, q / w, 0).sum(axis=1)
            samples = np.where(samples > 0, samples / W, 0)
        if reduction == "mean":
            each = each - float(value)  # the divisor, sum of W, depends on q too
        each = each * w
    total = (rows.total or np.inf) if reduction == "mean" else 1.0
    grad = np.where(kept, each * (samples / total)[:, None], 0)
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


def _linear_cross_entropy(
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
    check_choice("reduction", reduction, _REDUCTIONS)
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
    flat, ws = xs.reshape(-1, ws.shape[1]).astype(dtype, copy=False), ws.astype(dtype, copy=False)
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
        grads["target"] = _cast(_target_grad(costs, value, rows, formula, weight, reduction, K), target)
    return value, grads
