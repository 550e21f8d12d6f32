"""Losses of probabilities that are given as such, a distribution each row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, gather, where
from ..kernels.arrays import one_hot
from ..losses import Formula
from ..losses.formula import slope_at_zero

Wrt = tuple[bool, ...]


@dataclass(frozen=True)
class ProbsRows:
    """``sum_j q_j f(-log p_j)``. Arrays ``p (N, K), q (N, K) or none, label (N,)``; without q, q is the label's.

    A probability at or under the floor `eps` counts as eps, and has no slope if eps is above 0.
    """

    formula: Formula
    eps: float

    def value(self, xp: Any, p: Array, *target: Array) -> Array:
        """Of each row; nothing in a row left out is read."""
        if len(target) == 1 and not self.formula.label_smoothing:
            label = target[0]
            p_label = gather(xp, p, xp.clip(label, 0, p.shape[1] - 1)[:, None])
            d = self._cost(xp, where(xp, (label >= 0)[:, None], p_label, 1.0))[1]
            return self._finish(xp, label, p, self.formula.f(d)[:, 0])
        q, _, d = self._parts(xp, p, *target)
        value = xp.sum(q * self.formula.f(where(xp, q != 0.0, d, 0.0)), axis=1)
        return self._finish(xp, target[-1], p, value)

    def grads(self, xp: Any, wrt: Wrt, p: Array, *target: Array) -> tuple[Array | None, ...]:
        """``-q f'(d) / p``; an outcome that costs nothing has no slope, even where its probability is 0."""
        label = target[-1]
        q, floored, d = self._parts(xp, p, *target)
        kept = (label >= 0)[:, None]
        dp = dq = None
        if wrt[0]:
            dead = (q == 0.0) | ((p <= self.eps) if self.eps else False)
            never = floored <= 0.0
            slope = self.formula.df(where(xp, dead | never, 1.0, d)) / where(xp, dead | never, 1.0, floored)
            slope = where(xp, never, slope_at_zero(self.formula), slope)  # type: ignore[arg-type]
            dp = where(xp, dead, 0.0, -q * slope)
            dp = where(xp, kept, self._finish(xp, label, p, dp), 0.0)
        if len(target) == 2 and wrt[1]:
            dq = self.label_costs(xp, p, label)
        return (dp, None) if len(target) == 1 else (dp, dq, None)

    def label_costs(self, xp: Any, p: Array, label: Array) -> Array:
        """What each label would cost in each row (N, K), smoothed; 0 in rows left out."""
        e, cost = self.formula.label_smoothing, self.formula.f(self._parts(xp, p, label)[2])
        if e:
            even = (e / p.shape[1]) * xp.sum(cost, axis=1, keepdims=True)
            cost = (1.0 - e) * cost + even if e < 1 else even + xp.zeros_like(cost)
        return where(xp, (label >= 0)[:, None], cost, 0.0)

    def _finish(self, xp: Any, label: Array, p: Array, out: Array) -> Array:
        shape = (-1,) + (1,) * (out.ndim - 1)
        out = where(xp, (label >= p.shape[1]).reshape(shape), float("nan"), out)
        return where(xp, (label >= 0).reshape(shape), out, 0.0)

    def _parts(self, xp: Any, p: Array, *target: Array) -> tuple[Array, Array, Array]:
        """The smoothed target, the probabilities, and what each label costs."""
        label = target[-1]
        p = where(xp, (label >= 0)[:, None], p, 1.0)
        q = where(xp, one_hot(xp, label, p), 1.0, xp.zeros_like(p)) if len(target) == 1 else target[0]
        q = where(xp, (label >= 0)[:, None], q, 0.0)
        e = self.formula.label_smoothing
        if e:
            q = (1.0 - e) * q + (e / p.shape[1]) * xp.sum(q, axis=1, keepdims=True)
        return q, *self._cost(xp, p)

    def _cost(self, xp: Any, p: Array) -> tuple[Array, Array]:
        """Probabilities over the floor, and their -log: inf for 0."""
        p = p.astype(np.float64) if xp in (np, NUMPY) else p
        floored = where(xp, p > self.eps, p, xp.zeros_like(p) + self.eps)
        never = floored <= 0.0
        d = where(xp, never, float("inf"), -xp.log(where(xp, never, 1.0, floored)))
        return floored, where(xp, floored == 1.0, 0.0, d)  # not -0.0
