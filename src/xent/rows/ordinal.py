"""Ordinal losses: the probability of a label is that of an interval between two thresholds, around a score.

Arrays, (N,) each: ``score``, and the thresholds ``lower < upper`` of the row's label, -inf below the first label and
inf above the last. With ``a = lower - score``, ``b = upper - score`` and ``w = upper - lower``, the loss is
``-log(F(b) - F(a))``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .._arrays import Array, where
from ..losses.formula import x_over_expm1
from .normal import interval

Wrt = tuple[bool, ...]


class _Rows:
    def grads(self, xp: Any, wrt: Wrt, score: Array, lower: Array, upper: Array) -> tuple[Array | None, ...]:
        """In the score, where what the thresholds' slopes share cancels, and in the thresholds."""
        slopes = self.slopes(xp, *_ends(xp, score, lower, upper))
        return tuple(s if needed else None for s, needed in zip(slopes, wrt, strict=True))

    def slopes(self, xp: Any, a: Array, b: Array, w: Array) -> tuple[Array, Array, Array]:
        """All three."""
        raise NotImplementedError


@dataclass(frozen=True)
class LogitRows(_Rows):
    """``F = sigma``: ``softplus(-b) + softplus(a) - log(1 - e^-w)``, three numbers that are not negative."""

    def value(self, xp: Any, score: Array, lower: Array, upper: Array) -> Array:
        """Of each row."""
        a, b, w = _ends(xp, score, lower, upper)
        return _softplus(xp, -b) + _softplus(xp, a) - _log1mexp(xp, w)

    def slopes(self, xp: Any, a: Array, b: Array, w: Array) -> tuple[Array, Array, Array]:
        """``sigma(-b) - sigma(a)`` in the score."""
        above, below, gap = _sigma(xp, -b), _sigma(xp, a), _over_expm1(xp, w)
        return above - below, below + gap, -(above + gap)


@dataclass(frozen=True)
class ProbitRows(_Rows):
    """``F = Phi``, by `xent.rows.normal`."""

    def value(self, xp: Any, score: Array, lower: Array, upper: Array) -> Array:
        """Of each row."""
        return interval(xp, *_ends(xp, score, lower, upper)).minus_log

    def slopes(self, xp: Any, a: Array, b: Array, w: Array) -> tuple[Array, Array, Array]:
        """Minus the mean of the normal variable inside, in the score; the densities at the ends."""
        found = interval(xp, a, b, w)
        return -found.mean, found.at_lower, -found.at_upper


@dataclass(frozen=True)
class CloglogRows(_Rows):
    """``F(x) = 1 - exp(-e^x)``: ``e^a - log(1 - e^-D)`` with ``D = e^b - e^a = e^k``, ``k = b + log(1 - e^-w)``."""

    def value(self, xp: Any, score: Array, lower: Array, upper: Array) -> Array:
        """Of each row."""
        a, b, w = _ends(xp, score, lower, upper)
        k = b + _log1mexp(xp, w)
        small = k < -69.0  # D is 1e-30 or less, and 1 - e^-D is D
        return xp.exp(a) - where(xp, small, k, _log1mexp(xp, xp.exp(where(xp, small, 0.0, k))))

    def slopes(self, xp: Any, a: Array, b: Array, w: Array) -> tuple[Array, Array, Array]:
        """``h - e^a`` in the score, with ``h = D / (e^D - 1)``."""
        k = b + _log1mexp(xp, w)
        h = x_over_expm1(xp.exp(where(xp, k < 7.0, k, 7.0)))  # 0 from there on
        rate, gap = xp.exp(a), _over_expm1(xp, w)
        return h - rate, rate + h * gap, -h * (1.0 + gap)


LINKS: dict[str, Any] = {"logit": LogitRows(), "probit": ProbitRows(), "cloglog": CloglogRows()}


def _ends(xp: Any, score: Array, lower: Array, upper: Array) -> tuple[Array, Array, Array]:
    """a, b and w; an end at infinity is there for every score, be it infinite."""
    first, last = lower == -math.inf, upper == math.inf
    return where(xp, first, lower, lower - score), where(xp, last, upper, upper - score), upper - lower


def _tail(xp: Any, x: Array) -> tuple[Array, Array]:
    """Whether x is positive, and ``e^-|x|`` with a derivative at 0."""
    positive = x >= 0.0
    return positive, xp.exp(where(xp, positive, -x, x))


def _softplus(xp: Any, x: Array) -> Array:
    """``log(1 + e^x)``."""
    positive, tail = _tail(xp, x)
    return where(xp, positive, x, 0.0) + xp.log1p(tail)


def _sigma(xp: Any, x: Array) -> Array:
    """``1 / (1 + e^-x)``."""
    positive, tail = _tail(xp, x)
    return where(xp, positive, 1.0, tail) / (1.0 + tail)


def _log1mexp(xp: Any, w: Array) -> Array:
    """``log(1 - e^-w)`` for w > 0."""
    wide = w > math.log(2.0)
    far = xp.log1p(-xp.exp(-where(xp, wide, w, 1.0)))
    return xp.where(wide, far, xp.log(-xp.expm1(-where(xp, wide, 1.0, w))))


def _over_expm1(xp: Any, w: Array) -> Array:
    """``1 / (e^w - 1)``, the derivative of `_log1mexp`."""
    return xp.exp(-w) / -xp.expm1(-w)
