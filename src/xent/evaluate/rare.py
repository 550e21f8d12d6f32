"""The upper limit of the cross-entropy where almost no row went against its likeliest class.

Thirty rows of an event of 5 % hold one or two events, or none; then the losses that were seen say nothing of the costly
ones, and any interval made of them ends too low. What may still be said: the true odds of a miss (the label is not the
likeliest class) are the predicted ones times some common factor, and the number of misses bounds that factor. Its law
given the factor is a Poisson binomial, whose first probabilities are elementary symmetric sums of the odds. At the
largest factor that the misses do not refute (mid-p), the rows' expected losses have a mean, and the spread of those
rows; both distances from the estimate are joined as independent ones are.

Sources: H. O. Lancaster, Significance tests in discrete distributions, JASA 56 (1961), for mid-p; G. Y. Zou and A.
Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008), for joining limits.
Coverage by simulation: ``python -m benchmarks coverage``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .intervals import two_sided_t
from .ranked import Ranked, compress

FEW = 5
"""Misses from which the losses that were seen are enough for an interval."""
_GROUPS = 4096


def misses(top: Ranked) -> int:
    """Return how many rows went against their likeliest class, from the scores of it."""
    return int((top.rows - top.hits).sum())


def upper_limit(top: Ranked, level: float = 0.95) -> float:
    """Return the upper limit of the cross-entropy of two classes.

    Parameters
    ----------
    top : Ranked
        Probabilities of the likeliest class, at least one half, and whether it happened.
    level : float in (0, 1)
        Of the two-sided interval that this is the end of.

    Returns
    -------
    float
        In nats; -inf where there are `FEW` misses or more, or a single row: there is nothing to raise.

    Examples
    --------
    >>> from .ranked import ScoreCounts
    >>> counts = ScoreCounts()
    >>> counts.add(np.full(30, 0.95), np.full(30, 0.05), np.ones(30))
    >>> round(upper_limit(counts.ranked()), 3)  # though no row cost more than 0.051
    0.331
    """
    wrong, n = misses(top), int(top.rows.sum())
    if wrong >= FEW or n < 2:
        return -math.inf
    first = compress(top, _GROUPS)
    rows = np.add.reduceat(top.rows, first)
    p = np.add.reduceat(top.p * top.rows, first) / rows
    q = np.add.reduceat(top.q * top.rows, first) / rows
    odds = q / p
    sums = [float(rows @ odds**j) for j in range(wrong + 1)]
    if wrong and not sums[1]:
        return math.inf  # what was given probability 0 happened
    if not sums[1:] and not float(rows @ odds):
        return -math.inf  # every row is certain, and none was wrong
    high = _factor(rows, odds, sums, wrong, (1 - level) / 2)
    middle = _factor(rows, odds, sums, wrong, 0.5) if wrong else 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        hit, miss = -np.log1p(-q), np.where(q > 0, -np.log(q), 0.0)
    at_high, at_middle = (hit + _chance(odds, factor) * (miss - hit) for factor in (high, middle))
    estimate, limit = float(rows @ at_middle) / n, float(rows @ at_high) / n
    spread = math.sqrt(float(rows @ (at_high - limit) ** 2) / (n - 1) / n)
    return estimate + math.hypot(limit - estimate, two_sided_t(level, n - 1) * spread)


def _chance(odds: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    return factor * odds / (1 + factor * odds)


def _factor(rows: NDArray[np.int64], odds: NDArray[np.float64], sums: list[float], wrong: int, target: float) -> float:
    """The factor of the odds at which mid-p of at most so many misses is the target; it falls as the factor grows."""
    low, high = -50.0, 50.0  # its logarithm
    for _ in range(60):
        middle = 0.5 * (low + high)
        if _mid_p(rows, odds, sums, wrong, math.exp(middle)) > target:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


def _mid_p(rows: NDArray[np.int64], odds: NDArray[np.float64], sums: list[float], wrong: int, factor: float) -> float:
    """P(fewer misses) + P(as many) / 2, by Newton's identities for symmetric sums of the odds times the factor."""
    none = -float(rows @ np.log1p(factor * odds))
    symmetric = [1.0]
    for k in range(1, wrong + 1):
        terms = ((-1) ** (i - 1) * symmetric[k - i] * sums[i] for i in range(1, k + 1))
        symmetric.append(max(math.fsum(terms) / k, 0.0))
    logs = [math.log(e) + k * math.log(factor) + none if e else -math.inf for k, e in enumerate(symmetric)]
    each = [math.exp(min(v, 0.0)) for v in logs]
    return sum(each[:-1]) + each[-1] / 2
