"""Means with their errors, Student's t and Holm's correction: what intervals and tests of losses are made of.

Plain Python where SciPy would do: its import costs more than the whole of a short command.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .intervals import two_sided_t

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Mean:
    """A mean of rows with its standard error.

    Attributes
    ----------
    value : float
    error : float
        NaN where it is not known: one row, one cluster, an infinite mean.
    df : int
        Degrees of freedom of the error: rows, or clusters, less one.
    """

    value: float
    error: float
    df: int

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Student's interval, two-sided."""
        if math.isnan(self.error):
            return math.nan, math.nan
        half = two_sided_t(level, self.df) * self.error
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Two-sided, of a true mean of 0. All rows 0: 1. All rows alike and not 0, which no t can judge: NaN."""
        if math.isnan(self.error):
            return math.nan
        if self.error == 0:
            return 1.0 if self.value == 0 else math.nan
        return t_two_sided(self.value / self.error, self.df)


def mean_of(values: ArrayLike, weights: Array | None = None, clusters: NDArray[np.int64] | None = None) -> Mean:
    """The weighted mean of rows, and its standard error, with rows of one cluster allowed to depend on each other.

    Parameters
    ----------
    values : array of shape (rows,)
        Infinite ones make the mean infinite (NaN where both infinities are there).
    weights : array of shape (rows,), optional
        Not negative; rows of weight 0 count for nothing.
    clusters : int array of shape (rows,), optional
        From 0 up.

    Returns
    -------
    Mean

    Notes
    -----
    The error is the sandwich's with its factor for few clusters: ``sqrt(C / (C - 1) sum_c (sum_i w_i (v_i - m))^2)``
    over the sum of the weights (Liang and Zeger, 1986; Cameron and Miller, 2015, section II). Each row a cluster: the
    standard deviation (n - 1) over sqrt(n).
    """
    v = np.asarray(values, dtype=np.float64)
    w = np.ones(len(v)) if weights is None else weights
    kept = w > 0
    if not kept.all():
        v, w, clusters = v[kept], w[kept], None if clusters is None else clusters[kept]
    total = float(w.sum())
    with np.errstate(invalid="ignore"):  # inf - inf
        mean = float(v @ w / total)
    parts = len(v) if clusters is None else int(np.unique(clusters).size)
    if parts < 2 or not math.isfinite(mean):
        return Mean(mean, math.nan, max(0, parts - 1))
    off = w * (v - mean)
    if clusters is not None:
        off = np.asarray(np.bincount(clusters, weights=off), dtype=np.float64)
    return Mean(mean, math.sqrt(float(off @ off) * parts / (parts - 1)) / total, parts - 1)


def entropy_of(mass: NDArray[Any]) -> float:
    """Entropy in nats of the shares of these counts or weights: what always predicting the shares costs.

    >>> round(entropy_of(np.array([1, 0, 3])), 6)
    0.562335
    """
    shares = mass[mass > 0] / mass.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0


def t_two_sided(t: float, df: float) -> float:
    """The chance that Student's t is at least |t| away from 0, to 1e-9 of itself or better.

    >>> round(t_two_sided(2.0, 10), 6)
    0.073388
    """
    if math.isnan(t) or math.isinf(t):
        return math.nan if math.isnan(t) else 0.0
    a, square = df / 2, t * t
    x, y = df / (df + square), square / (df + square)
    # log of x^a y^(1/2) / B(a, 1/2)
    front = (
        -a * math.log1p(square / df) + 0.5 * math.log(y) + _half_step(a) - 0.5 * math.log(math.pi) if y else -math.inf
    )
    if x < (a + 1) / (a + 2.5):
        return math.exp(front) * _fraction(a, 0.5, x) / a
    return 1.0 - math.exp(front) * _fraction(0.5, a, y) / 0.5


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the order given; NaN stays NaN and counts as a test.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]
    """
    out, largest = [math.nan] * len(p_values), 0.0
    known = sorted((p, k) for k, p in enumerate(p_values) if not math.isnan(p))
    for place, (p, k) in enumerate(known):
        largest = max(largest, min(1.0, (len(p_values) - place) * p))
        out[k] = largest
    return out


def wilson(successes: int, trials: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (1927) of a share of independent trials.

    >>> [round(v, 4) for v in wilson(9, 10)]
    [0.5958, 0.9821]
    """
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    p = successes / trials
    middle, half = p + z2 / (2 * trials), math.sqrt(z2 * (p * (1 - p) + z2 / (4 * trials)) / trials)
    low, high = (middle - half) / (1 + z2 / trials), (middle + half) / (1 + z2 / trials)
    return 0.0 if successes == 0 else low, 1.0 if successes == trials else high


def _half_step(a: float) -> float:
    """``log(Gamma(a + 1/2) / Gamma(a))`` without the cancellation of two large logarithms."""
    if a < 50:
        return math.lgamma(a + 0.5) - math.lgamma(a)
    return 0.5 * math.log(a) - 1 / (8 * a) + 1 / (192 * a**3) - 1 / (640 * a**5)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    value, m = d, 0
    while m < 1_000_000:
        m += 1
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
