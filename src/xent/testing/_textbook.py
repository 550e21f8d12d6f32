"""What is true of a loss of the probability of a label, and of a row of logits under it, in all the digits it takes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

from .table import Label, one_hot

DIGITS = 50
# Digits beyond which nothing shows in a float.
_ENOUGH = 1000
Truth = Callable[[Any], Any]


class Textbook:
    """``f(d) = truth(exp(-d))`` and its derivatives, for d from 0 to infinity."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._known: dict[tuple[mpf, int], mpf] = {}

    def __call__(self, d: mpf, order: int = 0) -> mpf:
        """The derivative of that order at d. At 0 and infinity the limit, at 0 of the second order and above: 0."""
        key = (mpf(d), order)
        if key not in self._known:
            self._known[key] = self._compute(*key)
        return self._known[key]

    def _compute(self, d: mpf, order: int) -> mpf:
        if d == 0:
            return self._at_zero(order)
        if d == mpmath.inf:
            if order == 0:
                return self._at_infinity()
            d = mpf("1e400")
        digits = d / mpmath.log(10) if d > 1 else -mpmath.log10(d)
        digits = DIGITS + 18 * order + 2 * int(min(digits, _ENOUGH))
        with mpmath.workdps(digits):
            if order == 0:
                return self._of(d)
            size = min(d, mpf(1))
            h = size * mpf(2) ** -60
            values = [self._of(d + (k - mpf(order) / 2) * h) for k in range(order + 1)]
            signed = [(-1) ** (order - k) * mpmath.binomial(order, k) * v for k, v in enumerate(values)]
            change, largest = mpmath.fsum(signed), max(abs(v) for v in values)
            # the truth is computed from p, whose rounding is one of d = -log p, and larger for it where d is small
            noise = mpf(10) ** (5 - digits) * largest / size
            return change / h**order if abs(change) > noise else mpf(0)

    def _of(self, d: mpf) -> mpf:
        return self._truth(mpmath.exp(-d))

    def _at_zero(self, order: int) -> mpf:
        if order == 0:
            return mpf(self._truth(mpf(1)))
        if order > 1:
            return mpf(0)
        with mpmath.workdps(3000):
            h = mpf(10) ** -1000
            return (self._of(h) - self._truth(mpf(1))) / h

    def _at_infinity(self) -> mpf:
        """The truth of p = 0, or what it tends to where the textbook has 0 times infinity there."""
        try:
            value = mpf(self._truth(mpf(0)))
        except (ZeroDivisionError, ValueError):
            value = mpmath.nan
        return self._of(mpf("1e400")) if mpmath.isnan(value) else value


class Exact(NamedTuple):
    """A true number or an array of them, and the scale of its rounding: the size of the terms that it is a sum of."""

    true: np.ndarray
    scale: np.ndarray


class RowTruth(NamedTuple):
    """What is true of a row: its loss, its gradient (K,), and its Hessian times `direction` (K,).

    `wide_product` is the latter for who sums the direction's entries and not their differences, as a library that
    differentiates in reverse twice does.
    """

    value: Exact
    grad: Exact
    product: Exact
    wide_product: Exact


def direction(K: int) -> np.ndarray:
    """The vector (K,) that Hessians are multiplied with, exact in every dtype."""
    return ((3 * np.arange(K) + 1) % 8 - 3.5) / 4


class _Softmax(NamedTuple):
    """A softmax with the direction v: exact as numbers of mpmath (d = -log p), and what need not be as floats (K,)."""

    m: mpf
    s: mpf
    d: list[mpf]
    mean: mpf  # sum_k p_k v_k
    exact_p: list[mpf]
    exact_apart: list[mpf]  # v - mean
    p: np.ndarray
    p_off: np.ndarray  # how far off p is by a rounding of each logit
    apart: np.ndarray
    spread: np.ndarray  # sum_k p_k |v_k - v_top| + |v_j - v_top|
    wide: np.ndarray  # the same, of sums that are made of v and not of differences

    def rest(self, j: int) -> mpf:
        """1 - p."""
        return -mpmath.expm1(-self.d[j])


@functools.lru_cache(maxsize=256)
def _softmax(logits: tuple[float, ...]) -> _Softmax:
    with mpmath.workdps(DIGITS):
        top = max(range(len(logits)), key=logits.__getitem__)
        m = mpf(logits[top])
        z = [mpf(a) - m for a in logits]
        e = [mpmath.exp(v) for v in z]
        s = mpmath.log1p(mpmath.fsum(v for j, v in enumerate(e) if j != top))
        total = mpmath.fsum(e)
        p, d = [v / total for v in e], [s - v for v in z]
        v = direction(len(z))
        step = [mpf(x) for x in (v - v[top]).tolist()]
        mean = mpmath.fsum(a * b for a, b in zip(p, step, strict=True))
        apart = [x - mean for x in step]
        p_, d_ = _array(p), _array(d)
        spread = np.abs(v - v[top]) + float(p_ @ np.abs(v - v[top]))
        wide = np.abs(v).max() * np.where(np.arange(len(z)) == top, float(-mpmath.expm1(-d[top])), 1.0)
        digits = 1 + np.where(np.isfinite(d_), d_, 0)
        mean += mpf(float(v[top]))
        return _Softmax(m, s, d, mean, p, apart, p_, p_ * digits, _array(apart), spread, spread + wide)


class _Term(NamedTuple):
    """What a label with some probability q adds to a row: q f, q f', q f'' times the direction, and their roundings."""

    cost: mpf
    mass: mpf
    bend: mpf
    cost_off: mpf
    mass_off: mpf
    bend_off: mpf


_NOTHING = _Term(*[mpf(0)] * 6)


def _term(textbook: Textbook, q: mpf, d: mpf, apart: mpf, spread: float) -> _Term:
    f = [textbook(d, order) for order in range(3)]
    size = d if d < mpmath.inf else mpf(0)
    odds = 1 / mpmath.expm1(d) if 0 < d < mpmath.inf else mpf(0)
    # f'' may be a difference of terms like these where f' is none
    bend_off = (1 + size) * abs(f[2]) + odds * abs(f[1])
    return _Term(
        q * f[0],
        q * f[1],
        q * f[2] * apart,
        q * (abs(f[0]) + size * abs(f[1])),
        q * (abs(f[1]) + size * abs(f[2])),
        q * bend_off * spread,
    )


def row_truth(textbook: Textbook, logits: list[float], target: Label, smoothing: float, z_loss: float) -> RowTruth:
    """``sum_k q_k f(-log p_k) + w lse^2`` with q smoothed, and its derivatives by the chain rule.

    Those of the softmax are ``d d_k / d a_j = p_j - [j = k]``; f's are differences of the textbook.
    """
    with mpmath.workdps(DIGITS):
        K, x, w, e = len(logits), _softmax(tuple(logits)), mpf(z_loss), mpf(smoothing)
        q = [(1 - e) * mpf(v) + e / K for v in (one_hot(target, K) if isinstance(target, int) else target)]
        terms = {k: _term(textbook, q[k], x.d[k], x.exact_apart[k], float(x.spread[k])) for k in range(K) if q[k]}
        sums = _Term(*(mpmath.fsum(column) for column in zip(*terms.values(), strict=True)))
        lse, lse_off = x.m + x.s, abs(x.m) + x.s
        value = Exact(_array([sums.cost + w * lse**2]), _array([sums.cost_off + 2 * w * abs(lse) * lse_off]))
        # labels of no probability: of one sign, or no difference of much larger terms
        total, total_off, bent = (
            float(v) for v in (sums.mass + 2 * w * lse, sums.mass_off + 2 * w * lse_off, sums.bend)
        )
        moved, moved_off = 2 * z_loss * float(x.mean), 2 * z_loss * (abs(float(x.mean)) + x.spread)
        grad = Exact(total * x.p, total_off * x.p_off)
        off = x.p_off * (moved_off + total_off * x.spread)
        product = Exact(x.p * (total * x.apart - bent + moved), off + x.p_off * float(sums.bend_off))
        for j, own in terms.items():
            _own_entries(j, own, sums, x, w, (grad, product))
            # with one label its curvature enters times 1 - p, else as a difference
            product.scale[j] = off[j] + (own.bend_off * x.rest(j) if len(terms) == 1 else sums.bend_off + own.bend_off)
        return RowTruth(value, grad, product, Exact(product.true, product.scale + x.p_off * total_off * x.wide))


def _own_entries(j: int, own: _Term, sums: _Term, x: _Softmax, w: mpf, arrays: tuple[Exact, Exact]) -> None:
    """Put in what a label with some probability has in its own entry of the gradient and the product."""
    (grad, product), p = arrays, x.exact_p[j]
    of_z = 2 * w * (x.m + x.s)
    # -(1 - p) own + p others: 1 - p has digits where p has rounded to 1 in fifty of them
    grad.true[j] = p * (sums.mass - own.mass + of_z) - x.rest(j) * own.mass
    bent = x.rest(j) * own.bend - p * (sums.bend - own.bend)
    product.true[j] = (sums.mass + of_z) * p * x.exact_apart[j] + bent + 2 * w * p * x.mean
    if 2 * own.mass > sums.mass:  # p - 1 is rounded as what is left to the others
        of_z_off = 2 * w * (abs(x.m) + x.s) * x.p_off[j]
        grad.scale[j] = sums.mass_off * x.rest(j) + (sums.mass_off - own.mass_off) + of_z_off
    else:
        grad.scale[j] += float(own.mass_off)


def _array(numbers: list[mpf]) -> np.ndarray:
    return np.array([float(v) for v in numbers])
