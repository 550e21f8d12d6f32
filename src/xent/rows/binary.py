"""Losses of yes-or-no answers, a logit or a probability each row: any formula.

Arrays, (N,) each: ``x``, the log-odds or the probability of a yes; ``yes`` and ``no``, the masses of the two answers:
target times weight, >= 0. A mass of 0 takes its cost out, in derivatives too. A row left out has no mass, and some
number between 0 and 1 as its x.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from .._arrays import Array, constant, where
from ..losses import CrossEntropy, Formula
from ..losses.formula import slope_at_zero

Wrt = tuple[bool, ...]


@dataclass(frozen=True)
class BinaryRows:
    """``yes c_yes(x) + no c_no(x)``. Arrays ``x, yes, no`` (N,).

    Parameters
    ----------
    answers : `OfLogits` or `OfProbs`
        What a yes and a no cost.
    finite : bool
        Whether that is known to be finite in every row.
    """

    answers: OfLogits | OfProbs
    finite: bool = False

    def value(self, xp: Any, x: Array, yes: Array, no: Array) -> Array:
        """Of each row."""
        of_yes, of_no = self.answers.values(xp, x)
        if not self.finite:
            of_yes, of_no = where(xp, yes != 0.0, of_yes, 0.0), where(xp, no != 0.0, of_no, 0.0)
        return yes * of_yes + no * of_no

    def grads(self, xp: Any, wrt: Wrt, x: Array, yes: Array, no: Array) -> tuple[Array | None, ...]:
        """In x, and in the masses: what each answer costs, which may be infinite."""
        slope = None
        if wrt[0]:
            of_yes, of_no = self.answers.slopes(xp, x, yes != 0.0, no != 0.0)
            slope = yes * of_yes + no * of_no
        costs = self.answers.costs(xp, x) if wrt[1] or wrt[2] else (None, None)
        return slope, costs[0] if wrt[1] else None, costs[1] if wrt[2] else None


@dataclass(frozen=True)
class OfLogits:
    """``f(softplus(-z))`` for a yes, ``f(softplus(z))`` for a no: exact to the last digits of a confident answer."""

    formula: Formula

    def values(self, xp: Any, z: Array) -> tuple[Array, Array]:
        """What a yes and a no cost, in code that is right but where it is differentiated at 0."""
        rest, zeros = xp.log1p(xp.exp(-xp.abs(z))), xp.zeros_like(z)
        return self.formula.f(xp.maximum(-z, zeros) + rest), self.formula.f(xp.maximum(z, zeros) + rest)

    def costs(self, xp: Any, z: Array) -> tuple[Array, Array]:
        """The same, to be differentiated."""
        d_yes, d_no = _softplus(xp, z)
        return self.formula.f(d_yes), self.formula.f(d_no)

    def slopes(self, xp: Any, z: Array, some_yes: Array, some_no: Array) -> tuple[Array, Array]:
        """``-f' sigma(-z)`` and ``f' sigma(z)``."""
        above, tail = _tail(xp, z)
        below = 1.0 - above
        near = 1.0 / (1.0 + tail)
        up, down = near * (above + below * tail), near * (below + above * tail)
        if isinstance(self.formula, CrossEntropy):
            return -down, up
        d_yes, d_no = _softplus(xp, z)
        return -self.formula.df(d_yes) * down, self.formula.df(d_no) * up


def _tail(xp: Any, z: Array) -> tuple[Array, Array]:
    """1 where z >= 0 and else 0, and ``e^-|z|`` with all its derivatives, at 0 too.

    Products with 0 and 1, not choices: PyTorch's `where` takes longer than all the rest together.
    """
    above = xp.astype(z >= 0.0, z.dtype)
    return above, xp.exp((1.0 - 2.0 * above) * z)


def _softplus(xp: Any, z: Array) -> tuple[Array, Array]:
    """``log(1 + e^-z)`` and ``log(1 + e^z)``, with all their derivatives."""
    positive, rest = z >= 0.0, xp.log1p(_tail(xp, z)[1])
    return where(xp, positive, 0.0, -z) + rest, where(xp, positive, z, 0.0) + rest


@dataclass(frozen=True)
class OfProbs:
    """``f(-log p)`` for a yes, ``f(-log(1 - p))`` for a no: exact at 0 and 1.

    A probability counts as at least `eps` and at most ``1 - eps``, and has no slope beyond, if eps is above 0.
    """

    formula: Formula
    eps: float = 0.0

    def values(self, xp: Any, p: Array) -> tuple[Array, Array]:
        """What a yes and a no cost."""
        return self.costs(xp, p)

    def costs(self, xp: Any, p: Array) -> tuple[Array, Array]:
        """The same, to be differentiated."""
        low, high, p_yes, p_no = self._bounded(xp, p)
        least, most = (-math.log(self.eps), -math.log1p(-self.eps)) if self.eps else (math.inf, 0.0)
        d_yes = where(xp, low, least, where(xp, high, most, -xp.log(p_yes)))  # most: not the -0.0 of -log(1)
        d_no = where(xp, high, least, where(xp, low, most, -xp.log1p(-p_no)))
        return self.formula.f(d_yes), self.formula.f(d_no)

    def slopes(self, xp: Any, p: Array, some_yes: Array, some_no: Array) -> tuple[Array, Array]:
        """``-f' / p`` and ``f' / (1 - p)``; of an answer without mass no derivative in p, and 0 where it is infinite.

        The slope itself is the mixed derivative, in p and that mass.
        """
        of_yes, of_no = self._of_yes(xp, where(xp, some_yes, p, 0.5)), self._of_no(xp, where(xp, some_no, p, 0.5))
        apart_yes, apart_no = constant(xp, self._of_yes(xp, p)), constant(xp, self._of_no(xp, p))
        apart_yes, apart_no = (where(xp, xp.isfinite(v), v, 0.0) for v in (apart_yes, apart_no))
        return xp.where(some_yes, of_yes, apart_yes), xp.where(some_no, of_no, apart_no)

    def _of_yes(self, xp: Any, p: Array) -> Array:
        low, high, p, _ = self._bounded(xp, p)
        slope = -self.formula.df(-xp.log(p)) / p
        limit = slope_at_zero(self.formula)  # type: ignore[arg-type]
        return where(xp, low | high, 0.0, slope) if self.eps else where(xp, low, -limit, slope)

    def _of_no(self, xp: Any, p: Array) -> Array:
        low, high, _, p = self._bounded(xp, p)
        slope = self.formula.df(-xp.log1p(-p)) / (1.0 - p)
        limit = slope_at_zero(self.formula)  # type: ignore[arg-type]
        return where(xp, low | high, 0.0, slope) if self.eps else where(xp, high, limit, slope)

    def _bounded(self, xp: Any, p: Array) -> tuple[Array, Array, Array, Array]:
        """Where p is beyond its bounds, and p with nothing impossible in it for a yes and for a no."""
        low, high = (p < self.eps, p > 1.0 - self.eps) if self.eps else (p <= 0.0, p >= 1.0)
        return low, high, where(xp, low, 0.5, p), where(xp, high, 0.5, p)
