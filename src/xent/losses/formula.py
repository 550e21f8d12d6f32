"""What a formula is: a function of a row's statistics, with its slopes and curvatures, on arrays of any kind.

The statistics are those of `xent.kernels.contract`, (N,) each: the maximum m, and measured from it
``s = log sum_j exp(a_j - m)``, ``t = sum_j q_j (a_j - m)`` and ``u = sum_j (a_j - m)``. The cross-entropy of the row is
``d = s - t``, which cannot cancel, since s >= 0 >= t.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple, Protocol

import array_api_compat as compat
import numpy as np

from .._arrays import Array, where


class Affine(NamedTuple):
    """``dl/ds, dl/dt, dl/du``: a number each where the same for every row, and else an array (N,)."""

    s: Any
    t: Any
    u: Any


class Curvatures(NamedTuple):
    """``d2l/ds2, d2l/dsdt, d2l/dt2``. (u enters every formula linearly.)"""

    ss: Any
    st: Any
    tt: Any


class Formula(Protocol):
    """A softmax loss. `f` is what a label costs whose probability is ``exp(-d)``; the rest is built of it."""

    @property
    def label_smoothing(self) -> float:
        """The share of the uniform distribution in each target."""

    @property
    def linear(self) -> bool:
        """Whether the loss is linear in t and u: then a mixture of labels enters by these alone."""

    @property
    def affine(self) -> Affine | None:
        """The slopes where they are constants: then loss and gradient need one pass over the logits."""

    @property
    def needs_u(self) -> bool:
        """Whether the sum of the logits enters."""

    def f(self, d: Array) -> Array:
        """The loss of a label with the cross-entropy `d`, from 0 to infinity."""

    def df(self, d: Array) -> Array:
        """``f'(d)``."""

    def d2f(self, d: Array) -> Array:
        """``f''(d)``."""

    def value(self, s: Array, t: Array, u: Array | None = None, m: Array | None = None) -> Array:
        """The loss of each row."""

    def slopes(self, s: Array, t: Array, u: Array | None = None, m: Array | None = None) -> Affine:
        """Its derivatives in the statistics."""

    def curvatures(self, s: Array, t: Array, m: Array | None = None) -> Curvatures:
        """Its second derivatives."""


class OfCrossEntropy:
    """A formula that is a function of the cross-entropy alone, ``l = f(s - t)``.

    A probability target is the mixture of labels that it is, ``sum_j q_j f(-log p_j)``; so is a smoothed one.
    """

    label_smoothing: float = 0.0
    linear = False
    needs_u = False

    @property
    def affine(self) -> Affine | None:
        """None: the slopes are the row's own."""
        return None

    def f(self, d: Array) -> Array:
        """The loss of a label with the cross-entropy `d`."""
        raise NotImplementedError

    def df(self, d: Array) -> Array:
        """``f'(d)``."""
        raise NotImplementedError

    def d2f(self, d: Array) -> Array:
        """``f''(d)``."""
        raise NotImplementedError

    def value(self, s: Array, t: Array, u: Array | None = None, m: Array | None = None) -> Array:
        """The loss of each row."""
        return self.f(s - t)

    def slopes(self, s: Array, t: Array, u: Array | None = None, m: Array | None = None) -> Affine:
        """Its derivatives in the statistics."""
        slope = self.df(s - t)
        return Affine(slope, -slope, compat.array_namespace(slope).zeros_like(slope))  # 0 where it is infinite too

    def curvatures(self, s: Array, t: Array, m: Array | None = None) -> Curvatures:
        """Its second derivatives."""
        bend = self.d2f(s - t)
        return Curvatures(bend, -bend, bend)


def x_over_expm1(x: Array) -> Array:
    """``x / (e^x - 1)`` for x >= 0, from 1 down to 0, in code that can be differentiated at any x.

    Near 0 by its series (with Bernoulli's numbers): the quotient's derivatives are differences of huge numbers there.
    """
    xp = compat.array_namespace(x)
    small = x < 0.25
    s = where(xp, small, x, 0.0)
    t = s * s
    series = t * (1 / 12 - t * (1 / 720 - t * (1 / 30240 - t * (1 / 1209600 - t / 47900160))))
    # beyond 1e3 it is 0 in float64 too
    far = where(xp, small, 1.0, where(xp, x < 1e3, x, 1e3))
    return where(xp, small, 1.0 - 0.5 * s + series, far * xp.exp(-far) / -xp.expm1(-far))


@functools.lru_cache
def slope_at_zero(formula: Formula) -> float:
    """The limit of ``f'(-log p) / p`` at p = 0: infinite where it grows towards it."""
    p = np.array([1e-150, 1e-90])
    near, far = (formula.df(-np.log(p)) / p).tolist()
    return math.inf if near > far * (1.0 + 1e-9) else near


def check_smoothing(label_smoothing: float) -> None:
    """Raise unless a share."""
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing must be in [0, 1], not {label_smoothing}")
