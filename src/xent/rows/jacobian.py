"""A softmax with a temperature and its Jacobian: what the divergences and the distances share."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._arrays import Array, constant, gather
from ..kernels.arrays import one_hot
from .tiles import kept_or


class Softmax(NamedTuple):
    """``p = exp(log_p)``, ``log_p = (a - m) / T - s``; the maximum m is a constant to a derivative."""

    m: Array  # (N, 1)
    s: Array  # (N, 1)
    log_p: Array  # (N, K)
    p: Array


def softmax(xp: Any, a: Array, kept: Array | None, temperature: float) -> Softmax:
    """``softmax(a / T)`` of each row, uniform in rows left out; what the logits share goes before the division."""
    a = kept_or(xp, kept, a, 0.0)
    m = constant(xp, xp.max(a, axis=1, keepdims=True))
    z = a - m if temperature == 1.0 else (a - m) / temperature
    e = xp.exp(z)
    # less the maximum's own term, which is one: exactly 0 is left of it, and its derivative
    top = xp.astype(one_hot(xp, constant(xp, xp.argmax(a, axis=1)), a), e.dtype)
    others = xp.sum(e - top, axis=1, keepdims=True)
    s = xp.log1p(others)
    return Softmax(m, s, z - s, e * (1.0 / (1.0 + others)))


def pull(xp: Any, p: Array, v: Array) -> Array:
    """``p_j (v_j - sum_k p_k v_k)``: a slope in the probabilities p (N, K) of a softmax as one in its logits.

    Measured from the slope of the largest probability. Where that one is all but 1, the mean is all but its slope, and
    the difference of the two would keep no digit of the others.
    """
    # a shift changes nothing, so neither does its derivative
    v = v - constant(xp, gather(xp, v, xp.argmax(p, axis=1)[:, None]))
    return p * (v - xp.sum(p * v, axis=1, keepdims=True))
