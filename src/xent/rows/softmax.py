"""Losses of softmaxes, a row of logits each: any formula, any kind of target.

Arrays: logits ``a`` (N, K); ``label`` (N,) integers, -1 for a row left out (all that it says where there is another
target).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, gather, scatter_add, where
from ..kernels import Slopes, Target, narrowed, select
from ..kernels.arrays import (
    centred,
    keep,
    label_grad,
    log_probs,
    mass_grad,
    one_hot,
    row_grad,
    row_stats,
    softmax_stats,
)
from ..losses import Formula, OfCrossEntropy

Wrt = tuple[bool, ...]


def _is_numpy(xp: Any) -> bool:
    return xp is np or xp is NUMPY


def _z_loss(formula: Formula, stats: Any) -> Array | float:
    """The z-loss of each row (N,), 0 for formulas that have none."""
    w = getattr(formula, "z_loss", 0.0)
    return w * (stats.m + stats.s) ** 2 if w else 0.0


def _z_slope(formula: Formula, stats: Any) -> Array | float:
    """Its slope in the log-sum-exp (N, 1)."""
    w = getattr(formula, "z_loss", 0.0)
    return 2.0 * w * (stats.m + stats.s)[:, None] if w else 0.0


@dataclass(frozen=True)
class LabelRows:
    """The loss of a label. Arrays ``a, label``."""

    formula: Formula
    native = True

    def value(self, xp: Any, a: Array, label: Array) -> Array:
        """``l(m, s, t, u)`` of each row."""
        affine = self.formula.affine
        if affine is not None and _is_numpy(xp) and not invalid(a.shape[1], label):
            return select(dtype=a.dtype).backend.row_loss(a, Target(label), Slopes(*affine))
        m, s, t, u = self._stats(xp, a, label)[:4]
        value = self.formula.value(s, t, u, m)
        return where(xp, label >= 0, value, 0.0)

    def grads(self, xp: Any, wrt: Wrt, a: Array, label: Array) -> tuple[Array | None, ...]:
        """``l_s p + l_t q + l_u``."""
        if not wrt[0]:
            return None, None
        stats = row_stats(xp, a, label, need_u=self.formula.needs_u)
        if isinstance(self.formula, OfCrossEntropy):  # whose slopes in s and t are one, in derivatives too
            slope = self.formula.df(stats.s - stats.t)
            return label_grad(xp, label, stats, slope), None
        return row_grad(xp, label, stats, self._slopes(stats)), None

    def weighted_grads(self, xp: Any, g: Array, wrt: Wrt, a: Array, label: Array) -> tuple[Array | None, ...]:
        """The same times `g`; natively for NumPy, in one pass where the formula's slopes are constants."""
        if not wrt[0] or not _is_numpy(xp) or invalid(a.shape[1], label):
            da = self.grads(xp, wrt, a, label)[0]
            return (None if da is None else g[:, None] * da), None
        return _fused(self.formula, g, a, Target(label))[1], None

    def fused(self, g: Array | None, a: Array, label: Array, out: Array | None = None) -> tuple[Array, Array]:
        """NumPy: the loss of each row, and its gradient times `g` (None: 1), natively, in as few passes as can be.

        The gradient goes into `out` where that is given, which may be the logits.
        """
        if invalid(a.shape[1], label):
            return _plain(self, g, a, label, out=out)
        return _fused(self.formula, g, a, Target(label), out)

    def total(
        self, g: Array | float, a: Array, label: Array, *, gradient: bool = True, out: Array | None = None
    ) -> tuple[float, Array | None] | None:
        """NumPy: the sum of the losses times `g`, and its gradient, in one pass; None where there is no such pass."""
        if self.formula.affine is None or invalid(a.shape[1], label):
            return None
        return _total(self.formula.affine, g, a, Target(label), gradient, out)

    def label_costs(self, xp: Any, a: Array, label: Array) -> Array:
        """What each label would cost in each row (N, K)."""
        return label_costs(xp, self.formula, a, label)

    def hvp(self, xp: Any, v: Array, a: Array, label: Array) -> Array:
        """Each row's Hessian times `v` (N, K), from the formula's curvatures."""
        stats = row_stats(xp, a, label, need_u=self.formula.needs_u)
        slopes, bend = self._slopes(stats), self.formula.curvatures(stats.s, stats.t, stats.m)
        log_p, at = log_probs(stats), one_hot(xp, label, a)
        p, apart = xp.exp(log_p), centred(xp, log_p, v)
        # the derivatives of l_s and l_t along v; m + s moves by the mean, and s - t by less than s and t do
        label_apart = xp.sum(where(xp, at, apart, 0.0), axis=1)
        mean = xp.sum(p * v, axis=1)
        along_s = (bend.ss + bend.st) * mean + bend.st * label_apart
        along_t = (bend.st + bend.tt) * mean + bend.tt * label_apart
        product = slopes.s[:, None] * p * apart + (along_s + along_t)[:, None] * p
        product = product + mass_grad(xp, log_p, where(xp, at, -along_t[:, None], 0.0 * p))
        return where(xp, (label >= 0)[:, None], product, 0.0)

    def _stats(self, xp: Any, a: Array, label: Array) -> Any:
        if _is_numpy(xp) and not invalid(a.shape[1], label):
            return select(dtype=a.dtype).backend.row_stats(a, Target(label), need_u=self.formula.needs_u)
        return row_stats(xp, a, label, need_u=self.formula.needs_u)

    def _slopes(self, stats: Any) -> Any:
        return self.formula.slopes(stats.s, stats.t, stats.u, stats.m)


def _fused(
    formula: Formula, g: Array | None, a: Array, target: Target, out: Array | None = None
) -> tuple[Array, Array]:
    """Loss of each row and weighted gradient: one pass where the slopes are constants, two where they are not."""
    backend, affine = select(dtype=a.dtype).backend, formula.affine
    if affine is not None:
        return backend.row_fused(a, target, Slopes(*affine), weight=g, out=out)
    m, s, t, u = stats = backend.row_stats(a, target, need_u=formula.needs_u)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        loss, slopes = formula.value(s, t, u, m), Slopes(*formula.slopes(s, t, u, m))
    assert target.label is not None
    return np.where(target.label >= 0, loss, 0.0), backend.row_grad(a, target, stats, slopes, weight=g, out=out)


def _total(
    affine: Any, g: Array | float, a: Array, target: Target, gradient: bool, out: Array | None
) -> tuple[float, Array | None]:
    """The sum of the losses times `g`, and its gradient; a number goes into the slopes."""
    backend, alike = select(dtype=a.dtype).backend, isinstance(g, float)
    slopes = Slopes(*(g * v if alike else v for v in affine))
    weight: Any = None if alike else g
    if not gradient:
        return backend.row_loss(a, target, slopes, weight=weight, total=True), None
    return backend.row_fused(a, target, slopes, weight=weight, total=True, out=out)


def _plain(op: Any, g: Array | None, *arrays: Array, out: Array | None = None) -> tuple[Array, Array]:
    """Loss of each row and weighted gradient in array code."""
    loss = op.value(NUMPY, *arrays)
    da = op.grads(NUMPY, (True,) + (False,) * (len(arrays) - 1), *arrays)[0]
    da = da if g is None else g[:, None] * da
    if out is None:
        return loss, da
    out[...] = narrowed(da, out.dtype)
    return loss, out


def label_costs(xp: Any, formula: Formula, a: Array, label: Array) -> Array:
    """What each label would cost in each row (N, K), smoothed; 0 in rows left out."""
    stats = softmax_stats(xp, a, label)
    e, cost = formula.label_smoothing, formula.f(-log_probs(stats))
    if e:
        even = (e / a.shape[1]) * xp.sum(cost, axis=1, keepdims=True)
        # a share of 0 takes a cost out, even an infinite one
        cost = (1.0 - e) * cost + even if e < 1 else even + xp.zeros_like(cost)
    return where(xp, (label >= 0)[:, None], cost, 0.0)


def _mixture_hvp(xp: Any, formula: Formula, v: Array, stats: Any, log_p: Array, mass: Array, bend: Array) -> Array:
    """The Hessians of mixtures of labels times `v` (N, K): `mass` is ``q f'`` (N, K), `bend` ``q f''``."""
    p, apart = xp.exp(log_p), centred(xp, log_p, v)
    slope = xp.sum(mass, axis=1, keepdims=True) + _z_slope(formula, stats)
    product = slope * p * apart + mass_grad(xp, log_p, -bend * apart)
    w = getattr(formula, "z_loss", 0.0)
    return product + 2.0 * w * p * xp.sum(p * v, axis=1, keepdims=True) if w else product


def invalid(classes: int, label: Array) -> bool:
    """Whether a label that nobody could check is out of range: the kernels would read beyond the row."""
    return len(label) > 0 and int(label.max()) >= classes


@dataclass(frozen=True)
class SoftRows:
    """The loss of a mixture of labels, ``sum_j q_j f(-log p_j)``. Arrays ``a, q (N, K), label``."""

    formula: Formula

    @property
    def native(self) -> bool:
        """Kernels know mixtures by t and u: the formula must be linear in t."""
        return self.formula.linear

    def value(self, xp: Any, a: Array, q: Array, label: Array) -> Array:
        """Of each row; nothing is read in a row left out."""
        if _is_numpy(xp) and self.native:
            if self.formula.affine is not None:
                return select(dtype=a.dtype).backend.row_loss(a, Target(label, q), Slopes(*self.formula.affine))
            m, s, t, u = select(dtype=a.dtype).backend.row_stats(a, Target(label, q), need_u=self.formula.needs_u)
            return where(xp, label >= 0, self.formula.value(s, t, u, m), 0.0)
        stats, _, d, q = self._parts(xp, a, q, label)
        value = xp.sum(q * self.formula.f(d), axis=1)
        value = value + _z_loss(self.formula, stats)
        return where(xp, label >= 0, value, 0.0)

    def grads(self, xp: Any, wrt: Wrt, a: Array, q: Array, label: Array) -> tuple[Array | None, ...]:
        """``sum_k q_k f'_k p - q f'`` in the logits, and what each label would cost in q."""
        stats, log_p, d, mixed = self._parts(xp, a, q, label)
        kept = (label >= 0)[:, None]
        da = dq = None
        if wrt[0]:
            mass = mixed * self.formula.df(d)
            da = mass_grad(xp, log_p, mass) + _z_slope(self.formula, stats) * xp.exp(log_p)
            da = where(xp, kept, da, 0.0)
        if wrt[1]:
            dq = label_costs(xp, self.formula, a, label)
        return da, dq, None

    def weighted_grads(self, xp: Any, g: Array, wrt: Wrt, a: Array, q: Array, label: Array) -> tuple[Array | None, ...]:
        """The same times `g`; the logits' natively for NumPy."""
        if wrt[0] and self.native and _is_numpy(xp):
            da = self.fused(g, a, q, label)[1]
            dq = self.grads(xp, (False, wrt[1], False), a, q, label)[1] if wrt[1] else None
        else:
            da, dq, _ = self.grads(xp, wrt, a, q, label)
            da = None if da is None else g[:, None] * da
        return da, (None if dq is None else g[:, None] * dq), None

    def fused(self, g: Array | None, a: Array, q: Array, label: Array, out: Array | None = None) -> tuple[Array, Array]:
        """NumPy: the loss of each row, and its gradient times `g` (None: 1), into `out`; natively where they can."""
        if self.native:
            return _fused(self.formula, g, a, Target(label, q), out)
        return _plain(self, g, a, q, label, out=out)

    def total(
        self, g: Array | float, a: Array, q: Array, label: Array, *, gradient: bool = True, out: Array | None = None
    ) -> tuple[float, Array | None] | None:
        """NumPy: the sum of the losses times `g`, and its gradient, in one pass; None where there is no such pass."""
        affine = self.formula.affine if self.native else None
        return None if affine is None else _total(affine, g, a, Target(label, q), gradient, out)

    def label_costs(self, xp: Any, a: Array, label: Array) -> Array:
        """What each label would cost in each row (N, K)."""
        return label_costs(xp, self.formula, a, label)

    def hvp(self, xp: Any, v: Array, a: Array, q: Array, label: Array) -> Array:
        """Each row's Hessian times `v` (N, K), from the formula's curvatures."""
        stats, log_p, d, q = self._parts(xp, a, q, label)
        product = _mixture_hvp(xp, self.formula, v, stats, log_p, q * self.formula.df(d), q * self.formula.d2f(d))
        return where(xp, (label >= 0)[:, None], product, 0.0)

    def _parts(self, xp: Any, a: Array, q: Array, label: Array) -> tuple[Any, Array, Array, Array]:
        """Statistics, log p, the cross-entropy of each label with some probability, and the smoothed target."""
        e = self.formula.label_smoothing
        q = keep(xp, q, label)
        if e:
            q = (1.0 - e) * q + (e / a.shape[1]) * xp.sum(q, axis=1, keepdims=True)
        stats = softmax_stats(xp, a, label)
        log_p = log_probs(stats)
        return stats, log_p, where(xp, q != 0.0, -log_p, 0.0), q


@dataclass(frozen=True)
class TopKRows:
    """The loss of a few labels a row. Arrays ``a, index (N, k), q (N, k), label``.

    With `spread`, the probability that is left goes to the other classes in equal parts, and no (N, K) target is made.
    """

    formula: Formula
    spread: bool

    def value(self, xp: Any, a: Array, index: Array, q: Array, label: Array) -> Array:
        """Of each row."""
        stats, _, d, index, q, rest = self._parts(xp, a, index, q, label)
        value = xp.sum(where(xp, q != 0.0, q * self.formula.f(d), 0.0), axis=1)
        if rest is not None:
            rho, others, _ = rest
            value = value + where(xp, rho != 0.0, rho * where(xp, rho != 0.0, others, 0.0), 0.0)
        value = value + _z_loss(self.formula, stats)
        return where(xp, label >= 0, value, 0.0)

    def grads(self, xp: Any, wrt: Wrt, a: Array, index: Array, q: Array, label: Array) -> tuple[Array | None, ...]:
        """As of `SoftRows`, the target's in its own entries."""
        stats, log_p, d, index, q, rest = self._parts(xp, a, index, q, label)
        kept = (label >= 0)[:, None]
        da = dq = None
        if wrt[0]:
            mass = self._everywhere(xp, log_p, index, q * self.formula.df(d), rest)
            da = mass_grad(xp, log_p, mass) + _z_slope(self.formula, stats) * xp.exp(log_p)
            da = where(xp, kept, da, 0.0)
        if wrt[2]:
            dq = self.formula.f(-gather(xp, log_p, index))
            if rest is not None:
                dq = dq - rest[1][:, None] / max(a.shape[1] - index.shape[1], 1)
            dq = where(xp, kept, dq, 0.0)
        return da, None, dq, None

    def hvp(self, xp: Any, v: Array, a: Array, index: Array, q: Array, label: Array) -> Array:
        """Each row's Hessian times `v` (N, K), from the formula's curvatures."""
        stats, log_p, d, index, q, rest = self._parts(xp, a, index, q, label)
        mass = self._everywhere(xp, log_p, index, q * self.formula.df(d), rest)
        bend = scatter_add(xp, xp.zeros_like(log_p), index, q * self.formula.d2f(d))
        product = _mixture_hvp(xp, self.formula, v, stats, log_p, mass, bend)
        return where(xp, (label >= 0)[:, None], product, 0.0)

    def fused(
        self, g: Array | None, a: Array, index: Array, q: Array, label: Array, out: Array | None = None
    ) -> tuple[Array, Array]:
        """NumPy: the loss of each row, and its gradient times `g` (None: 1)."""
        return _plain(self, g, a, index, q, label, out=out)

    @staticmethod
    def _everywhere(xp: Any, like: Array, index: Array, mass: Array, rest: Any) -> Array:
        """Masses of the labels (N, k) and of the others, as (N, K)."""
        every = xp.zeros_like(like)
        if rest is not None:
            every = where(xp, rest[2], 0.0, every + rest[0][:, None])
        return scatter_add(xp, every, index, mass)

    def _parts(self, xp: Any, a: Array, index: Array, q: Array, label: Array) -> tuple[Any, ...]:
        """Statistics, log p, what the labels cost, their numbers and probabilities, and of the others: the probability
        of each, what they cost, and where they are not.
        """
        # a class that nobody could check makes its row NaN
        none = (index < 0) | (index >= a.shape[1])
        index, q = xp.where(none, 0 * index, index), where(xp, none, float("nan"), keep(xp, q, label))
        stats = softmax_stats(xp, a, label)
        log_p = log_probs(stats)
        cost = -gather(xp, log_p, index)
        d = where(xp, q != 0.0, cost, 0.0)
        if not self.spread:
            return stats, log_p, d, index, q, None
        spare = a.shape[1] - index.shape[1]
        rho = (1.0 - xp.sum(q, axis=1)) / max(spare, 1)
        rho = where(xp, (rho > 0.0) & (spare > 0), rho, 0.0)  # rounding may leave less than nothing
        inside = scatter_add(xp, xp.zeros_like(a), index, xp.ones_like(q)) > 0.0
        return stats, log_p, d, index, q, (rho, xp.sum(where(xp, inside, 0.0, -log_p), axis=1), inside)


@dataclass(frozen=True)
class EntropyRows:
    """Entropy of the softmax itself, in nats. Arrays ``a, label``."""

    def value(self, xp: Any, a: Array, label: Array) -> Array:
        """``-sum_j p_j log p_j`` of each row."""
        p, log_p = self._parts(xp, a, label)
        return where(xp, label >= 0, -xp.sum(p * log_p, axis=1), 0.0)

    def grads(self, xp: Any, wrt: Wrt, a: Array, label: Array) -> tuple[Array | None, ...]:
        """``-p_j (log p_j + H)``."""
        if not wrt[0]:
            return None, None
        p, log_p = self._parts(xp, a, label)
        mean = xp.sum(p * log_p, axis=1, keepdims=True)
        return where(xp, (label >= 0)[:, None], -p * (log_p - mean), 0.0), None

    def _parts(self, xp: Any, a: Array, label: Array) -> tuple[Array, Array]:
        """p and log p, the latter 0 where p is."""
        log_p = log_probs(softmax_stats(xp, a, label))
        p = xp.exp(log_p)
        return p, where(xp, p == 0.0, 0.0, log_p)
