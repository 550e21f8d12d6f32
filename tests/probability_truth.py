"""Losses of a softmax as textbooks write them, in probabilities, and their gradients by the chain rule, in mpmath."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

INF = float("inf")
DIGITS = 100


def softmax(logits, temperature=1.0):
    """exp(a / T) over its sum; a masked class has 0."""
    T = mpf(float(temperature))
    e = [mpf(0) if v == -INF else mpmath.exp(mpf(float(v)) / T) for v in logits]
    total = mpmath.fsum(e)
    return [v / total for v in e]


def distribution(target, K):
    """A label, or probabilities with the sum that the exact numbers have, as exact numbers of sum one."""
    if isinstance(target, int):
        return [mpf(int(j == target)) for j in range(K)]
    q = [mpf(float(v)) for v in target]
    total = mpmath.fsum(q)
    return [v / total for v in q]


def through_softmax(p, slopes, temperature=1.0):
    """``sum_k slope_k dp_k / da_j`` with ``dp_k / da_j = p_k (1[j = k] - p_j) / T``, the whole Jacobian."""
    K = len(p)
    return [
        mpmath.fsum(slopes[k] * p[k] * ((1 if j == k else 0) - p[j]) for k in range(K)) / mpf(float(temperature))
        for j in range(K)
    ]


def kl(x, y):
    total = mpf(0)
    for a, b in zip(x, y, strict=True):
        if a:
            total += mpmath.inf if b == 0 else a * mpmath.log(a / b)
    return total


def js(x, y):
    m = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
    return (kl(x, m) + kl(y, m)) / 2


def error(found, true, floor=0.0):
    """The largest relative error of an entry; infinities must be equal, and what is too small for float64 nearly 0.

    With `floor`, an entry counts as at least this share of the largest: one that happens to be next to 0, a difference
    of two numbers that are not, has no more digits than they.
    """
    worst = 0.0
    floor *= max(abs(t) for t in np.ravel(np.array(true, dtype=object)))
    for f, t in zip(np.ravel(found), np.ravel(np.array(true, dtype=object)), strict=True):
        if mpmath.isinf(t):
            assert f == float(t), (found, true)
        elif abs(t) < mpf(10) ** -300:
            assert abs(f) < 1e-299, (found, true)
        else:
            assert np.isfinite(f), (found, true)
            worst = max(worst, float(abs(mpf(float(f)) - t) / max(abs(t), floor)))
    return worst
