"""The row operations of `contract` in array-API code: for PyTorch and JAX arrays, and what differentiates twice.

The numbers stay in the dtype of the logits, half precisions in float32. Everything is measured from the row's first
maximum, and the maximum's own term is a constant: in the value and in all derivatives, a confident row is made of the
others, and keeps its digits. A label of -1 leaves a row out, and one of K or more, which a traced call cannot refuse,
makes its row NaN.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array, constant, expm1, on, where
from .contract import widened


class Softmax(NamedTuple):
    """m and s of `contract.RowStats`, (N,) each, and the logits (N, K) measured from the maximum."""

    m: Array
    s: Array
    z: Array


class ArrayStats(NamedTuple):
    """`contract.RowStats`, and the logits (N, K) that they are of, measured from the maximum.

    In rows left out they are finite numbers, of which nothing is used.
    """

    m: Array
    s: Array
    t: Array
    u: Array | None
    z: Array


def keep(xp: Any, a: Array, label: Array) -> Array:
    """The logits with nothing to read in rows left out, half precisions in float32."""
    return where(xp, (label >= 0)[:, None], single(xp, a), 0.0)


def single(xp: Any, a: Array) -> Array:
    """Half precisions in float32, in which they are computed; other arrays as they are."""
    if isinstance(a, np.ndarray):
        return widened(a)
    return a if a.dtype in (xp.float32, xp.float64) else xp.astype(a, xp.float32)


def one_hot(xp: Any, label: Array, like: Array) -> Array:
    """Where each row's label is, as booleans (N, K); nowhere for a label that is none of the classes."""
    return xp.arange(like.shape[1], **on(xp, like))[None, :] == label[:, None]


def top(xp: Any, a: Array) -> Array:
    """Where each row's first maximum is, as booleans (N, K); a NaN is one."""
    return one_hot(xp, constant(xp, xp.argmax(a, axis=1)), a)


def softmax_stats(xp: Any, a: Array, label: Array) -> Softmax:
    """Of each row; `label` (N,) only says which rows are left out."""
    a = keep(xp, a, label)
    at_top = top(xp, a)
    m = xp.sum(where(xp, at_top, a, 0.0), axis=1, keepdims=True)
    # 0, and without a derivative; NaN for an infinite maximum
    zero = constant(xp, m) - constant(xp, m)
    z = xp.where(at_top, zero, a - m)
    s = xp.log1p(xp.sum(xp.where(at_top, zero, xp.exp(z)), axis=1))
    return Softmax(m[:, 0], s, z)


def row_stats(xp: Any, a: Array, label: Array, *, need_u: bool) -> ArrayStats:
    """Statistics of each row (N,) for labels."""
    m, s, z = softmax_stats(xp, a, label)
    t = xp.sum(where(xp, one_hot(xp, label, a), z, 0.0), axis=1)
    t = where(xp, label >= a.shape[1], float("nan"), t)
    return ArrayStats(m, s, t, xp.sum(z, axis=1) if need_u else None, z)


def log_probs(stats: Softmax | ArrayStats) -> Array:
    """Logarithms of the softmax (N, K)."""
    return stats.z - stats.s[:, None]


def row_grad(xp: Any, label: Array, stats: ArrayStats, slopes: Any) -> Array:
    """``l_s p + l_t q + l_u`` for labels, with p - 1 at the label; the slopes are (N,) each."""
    log_p = log_probs(stats)
    p, (ls, lt, lu) = xp.exp(log_p), (v[:, None] for v in slopes)
    grad = xp.where(one_hot(xp, label, log_p), (ls + lt) * p - lt * expm1(xp, log_p), ls * p) + lu
    return _rows_of(xp, label, grad)


def label_grad(xp: Any, label: Array, stats: ArrayStats, slope: Array) -> Array:
    """``slope (p - q)`` for labels and slopes (N,): `row_grad` where ``l_t = -l_s``."""
    log_p = log_probs(stats)
    grad = slope[:, None] * xp.where(one_hot(xp, label, log_p), expm1(xp, log_p), xp.exp(log_p))
    return _rows_of(xp, label, grad)


def mass_grad(xp: Any, log_p: Array, mass: Array) -> Array:
    """``total p - mass`` for masses (N, K) of any sign, where `total` is their sum.

    Where a class has most of it, its ``p - 1`` and what the others have are added, and neither is a difference.
    """
    total = xp.sum(mass, axis=1, keepdims=True)
    size = xp.abs(mass)
    heavy = top(xp, size) & (xp.abs(total - mass) < size)
    others = xp.sum(where(xp, heavy, 0.0, mass), axis=1, keepdims=True)
    return xp.where(heavy, total * expm1(xp, log_p) + others, total * xp.exp(log_p) - mass)


def centred(xp: Any, log_p: Array, v: Array) -> Array:
    """``v - sum_k p_k v_k`` (N, K), made of differences from the entry of v at the maximum."""
    step = v - xp.sum(where(xp, top(xp, log_p), v, 0.0), axis=1, keepdims=True)
    return step - xp.sum(xp.exp(log_p) * step, axis=1, keepdims=True)


def _rows_of(xp: Any, label: Array, grad: Array) -> Array:
    """NaN where the label is none of the classes, 0 in rows left out."""
    grad = where(xp, (label >= grad.shape[1])[:, None], float("nan"), grad)
    return where(xp, (label >= 0)[:, None], grad, 0.0)
