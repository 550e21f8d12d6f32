"""Divergences of a target distribution and a softmax: Kullback-Leibler either way round, and Jensen-Shannon.

Arrays: logits ``a`` (N, K); the target ``q`` (N, K), probabilities or (with `teacher`) logits of its own; ``label``
(N,) integers, -1 for a row left out. In nats.

Everything is made of ``r = log(q / p)``, which is small where the two are nearly equal and has its digits there. The
textbook's sum of ``q r`` keeps none of them, for its terms of the first order cancel. So each outcome is charged its
share ``x log(x / y) - x + y >= 0`` of KL(x || y) (Csiszar 1991), which adds ``sum y - sum x`` to the textbook: 0 for
distributions. What rounding leaves of their sums then costs its square instead of itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._arrays import Array, constant, where
from ..info._stable import two_sum
from .jacobian import Softmax, pull, softmax
from .tiles import Grads, Tiled, Wrt, kept_or, patch, unless

INF = float("inf")
LOG2 = math.log(2.0)
# Up to these |r| a series, or a form that does not cancel; beyond, a few digits of the last place are lost.
CLOSE, NEAR = 0.125, 0.5
# Stands for an infinite ratio: its exponential is 0 or infinite, but no product with 0 is NaN.
ENDLESS = 1e4


class Pair(NamedTuple):
    """A softmax and a target, (N, K) each."""

    p: Array
    q: Array
    r: Array  # log(q / p); where one of the two is 0, ENDLESS or its negative
    no_p: Array  # where p is 0 because its logit is -inf, and not because it is small
    no_q: Array


@dataclass(frozen=True)
class _Divergence(Tiled):
    """The options that all share.

    Parameters
    ----------
    temperature : float
        T: p is ``softmax(a / T)``, and q with `teacher` ``softmax(b / T)``.
    teacher : bool
        The target is given as logits b. Then no logarithm of a rounded probability enters, and what is compared are
        differences of logits, which are exact where they are small.
    """

    temperature: float = 1.0
    teacher: bool = False

    def _value(self, xp: Any, pair: Pair, a: Array, q: Array, label: Array) -> Array:
        return kept_or(xp, self._kept(xp, label), xp.sum(self._terms(xp, pair), axis=1), 0.0)

    def _grads(self, xp: Any, wrt: Wrt, pair: Pair, a: Array, q: Array, label: Array) -> Grads:
        """In both arrays; an outcome of probability 0 that costs nothing has no slope in it."""
        kept = self._kept(xp, label)
        da = dq = None
        if wrt[0]:
            da = kept_or(xp, kept, self._in_logits(xp, pair) / self.temperature, 0.0)
        if wrt[1]:
            dq = self._in_teacher(xp, pair) / self.temperature if self.teacher else self._in_probs(xp, pair)
            dq = kept_or(xp, kept, dq, 0.0)
        return da, dq, None

    def _terms(self, xp: Any, pair: Pair) -> Array:
        """What each outcome costs."""
        raise NotImplementedError

    def _in_logits(self, xp: Any, pair: Pair) -> Array:
        """The derivative in ``a / T``."""
        raise NotImplementedError

    def _in_teacher(self, xp: Any, pair: Pair) -> Array:
        """The derivative in ``b / T``."""
        raise NotImplementedError

    def _in_probs(self, xp: Any, pair: Pair) -> Array:
        """The derivative in the entries of q, each by itself."""
        raise NotImplementedError

    def _parts(self, xp: Any, a: Array, q: Array, label: Array) -> Pair:
        kept = self._kept(xp, label)
        student = softmax(xp, a, kept, self.temperature)
        no_p = student.log_p == -INF
        if self.teacher:
            teacher = softmax(xp, q, kept, self.temperature)
            no_q = teacher.log_p == -INF
            a, q = kept_or(xp, kept, a, 0.0), kept_or(xp, kept, q, 0.0)
            r = _log_ratio(xp, a, student, q, teacher, self.temperature)
            q = teacher.p
        else:
            q = kept_or(xp, kept, q, 1.0)
            no_q = q == 0.0
            r = xp.log(unless(xp, no_q, 1.0, q)) - student.log_p
        r = unless(xp, no_p, ENDLESS, unless(xp, no_q, -ENDLESS, r))
        return Pair(student.p, q, r, no_p, no_q)


@dataclass(frozen=True)
class KLRows(_Divergence):
    """``KL(q || p) = sum_j q_j log(q_j / p_j)``, or reversed ``KL(p || q)``. Arrays ``a, q, label``.

    Infinite where the second has a zero and the first has none: for KL(q || p) with a finite gradient in the logits,
    p - q; for the reverse with an infinite one.
    """

    reverse: bool = False

    def _terms(self, xp: Any, pair: Pair) -> Array:
        x, y, rho, no_x, no_y = self._ordered(pair)
        near = xp.abs(rho) <= CLOSE
        each = patch(xp, near, x * rho - (x - y), lambda rho, y: y * _psi(xp, rho), rho, y)
        return unless(xp, no_y & ~no_x, INF, each)

    def _in_logits(self, xp: Any, pair: Pair) -> Array:
        if self.reverse:
            return self._of_first(xp, pair)
        if self.teacher:
            return self._of_second(xp, pair)
        # less its sum: exact if q has not quite the sum 1, and where p and q are all but 1 it is minus the others
        slope = pair.p - pair.q
        return slope - xp.sum(slope, axis=1, keepdims=True) * pair.p

    def _in_teacher(self, xp: Any, pair: Pair) -> Array:
        return self._of_second(xp, pair) if self.reverse else self._of_first(xp, pair)

    def _in_probs(self, xp: Any, pair: Pair) -> Array:
        """``log(q / p)``, or ``1 - p / q``."""
        _, _, rho, no_x, no_y = self._ordered(pair)
        if not self.reverse:
            return unless(xp, no_x, 0.0, unless(xp, no_y, INF, rho))
        ratio = -xp.expm1(unless(xp, no_y, 0.0, rho))
        return unless(xp, no_y & ~no_x, -INF, ratio)

    def _ordered(self, pair: Pair) -> tuple[Array, Array, Array, Array, Array]:
        """x and y of KL(x || y), log(x / y), and where each is 0."""
        p, q, r, no_p, no_q = pair
        return (p, q, -r, no_p, no_q) if self.reverse else (q, p, r, no_q, no_p)

    def _of_first(self, xp: Any, pair: Pair) -> Array:
        """In the logits of x, a softmax."""
        x, _, rho, no_x, no_y = self._ordered(pair)
        impossible = no_y & ~no_x
        slope = unless(xp, impossible, INF, pull(xp, x, rho))
        # all probability flows to where it costs infinitely much, from wherever it does not
        endless = xp.any(impossible, axis=1, keepdims=True) & ~impossible & ~no_x
        return unless(xp, endless, -INF, slope)

    def _of_second(self, xp: Any, pair: Pair) -> Array:
        """In the logits of y, a softmax: ``y - x``."""
        x, y, rho, _, _ = self._ordered(pair)
        return patch(xp, xp.abs(rho) <= NEAR, y - x, lambda rho, y: -y * xp.expm1(rho), rho, y)


@dataclass(frozen=True)
class JSRows(_Divergence):
    """``(KL(q || m) + KL(p || m)) / 2`` with ``m = (p + q) / 2``, at most log 2. Arrays ``a, q, label``.

    With ``t = (q - p) / (q + p) = tanh(r / 2)`` an outcome costs ``m (t r + log(1 - t^2)) / 2``.
    """

    def _terms(self, xp: Any, pair: Pair) -> Array:
        def close(r: Array) -> Array:
            t = xp.tanh(0.5 * r)
            return 0.5 * (t * r + xp.log1p(-t * t))

        size = xp.abs(pair.r)
        tail = xp.exp(-size)
        far = LOG2 - xp.log1p(tail) - size * tail / (1.0 + tail)
        return 0.5 * (pair.p + pair.q) * patch(xp, size <= NEAR, far, close, pair.r)

    def _in_logits(self, xp: Any, pair: Pair) -> Array:
        return pull(xp, pair.p, self._slope(xp, pair.r))

    def _in_teacher(self, xp: Any, pair: Pair) -> Array:
        return pull(xp, pair.q, self._slope(xp, -pair.r))

    def _in_probs(self, xp: Any, pair: Pair) -> Array:
        return unless(xp, pair.no_q, 0.0, self._slope(xp, -pair.r))

    def _slope(self, xp: Any, r: Array) -> Array:
        """``log(p / m) / 2 = -log((1 + e^r) / 2) / 2``."""
        size = xp.abs(r)
        far = 0.5 * LOG2 - 0.25 * (r + size) - 0.5 * xp.log1p(xp.exp(-size))
        return patch(xp, size <= NEAR, far, lambda r: -0.5 * xp.log1p(0.5 * xp.expm1(r)), r)


def _psi(xp: Any, rho: Array) -> Array:
    """``(rho - 1) e^rho + 1 = sum_k (k - 1) / k! rho^k`` from k = 2, for ``|rho| <= CLOSE``."""
    last = 12 if xp.finfo(rho.dtype).eps < 1e-12 else 7
    tail: Any = (last - 1) / math.factorial(last)
    for k in range(last - 1, 1, -1):
        tail = tail * rho + (k - 1) / math.factorial(k)
    return rho * rho * tail


def _log_ratio(xp: Any, a: Array, student: Softmax, b: Array, teacher: Softmax, T: float) -> Array:
    """``log(q / p)`` of two softmaxes, as good as the difference of their logits, which is exact if they are close.

    NaN where a logit is -inf.

    The two log-sum-exps have rounding errors of their own size. What these come to is seen in ``sum_j q_j - p_j``,
    which is 0: a step of Newton's that makes it so takes them off, if the sum is that of small numbers. It has no
    derivative, as what it corrects has none.
    """
    high, low = two_sum(b, -a)
    shared, lost = two_sum(teacher.m, -student.m)
    r = ((high - shared) + (low - lost)) / T - (teacher.s - student.s)
    p = student.p
    d = constant(xp, patch(xp, xp.abs(r) <= NEAR, teacher.p - p, lambda r, p: p * xp.expm1(r), r, p))
    small = xp.sum(xp.abs(d), axis=1, keepdims=True) <= NEAR
    return r - xp.log1p(where(xp, small, xp.sum(d, axis=1, keepdims=True), 0.0))
