"""What a margin is: a change of the target's logit, as a function of the angle to the target's centre.

``cos theta_j`` is the cosine of the angle between the embedding x and the centre w_j of class j. The logits are
``z_j = length cos theta_j``, where `length` is the margin's scale, times |x| unless the margin normalises embeddings,
times |w_j| unless it normalises centres. The target's logit is ``z_y = length psi(theta_y)`` instead.
"""

from __future__ import annotations

import functools
import math
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..._arrays import Array, constant, on, where


class Psi(NamedTuple):
    """The target's new cosine, its slope in theta (per radian), and its slope in the row's own margin."""

    value: Array
    slope: Array
    margin_slope: Array


class Own(NamedTuple):
    """The margin of each row (N,), and its slope in the length of the embedding (None: it does not depend on it)."""

    value: Array
    slope: Array | None = None


class Penalty(NamedTuple):
    """What is added to the loss of each row (N,), and its slope in the length of the embedding."""

    value: Array
    slope: Array


class Margin:
    """What every margin answers. Subclasses are frozen dataclasses; their numbers are checked when they are made.

    Attributes
    ----------
    scale : float
        What multiplies every cosine.
    unit_features, unit_centres : bool
        Whether embeddings and centres are brought to length 1.
    additive : bool
        Whether psi is ``cos theta - m``. Then the new logit is the old one less ``scale m``, and no angle is computed.
    needs_batch : bool
        Whether the margin of a row depends on other rows: then `for_batch` comes first.
    """

    scale: float = 1.0
    margin: Any = 0.0
    unit_features: ClassVar[bool] = True
    unit_centres: ClassVar[bool] = True
    additive: ClassVar[bool] = False
    needs_batch: ClassVar[bool] = False

    def psi(self, xp: Any, theta: Array, m: Array | float | None = None) -> Psi:
        """The target's new cosine, and its slopes.

        Parameters
        ----------
        xp : namespace
            The array API of `theta`: `numpy`, `jax.numpy` or `array_api_compat.torch`.
        theta : array (N,)
            Angles in [0, pi].
        m : array (N,), optional
            The margin of each row, as `own` gives it; by default `margin`.
        """
        raise NotImplementedError

    def own(self, xp: Any, label: Array, length: Array, kept: Array) -> Own:
        """The margin of each row, from its label (N,), the length of its embedding (N,) and whether it is kept (N,)."""
        if not isinstance(self.margin, tuple):
            return Own(xp.zeros_like(length) + self.margin)
        table = xp.asarray(self._table, dtype=length.dtype, **on(xp, length))
        return Own(xp.take(table, label, axis=0))

    def for_batch(self, xp: Any, length: Array, kept: Array) -> Margin:
        """The margin with what it needs to know of all rows, so that they can then be taken some at a time."""
        return self

    def others(self, xp: Any, cosine: Array, theta: Array, m: Array) -> tuple[Array, Array] | None:
        """The cosines (N, K) of the other classes as changed, and their slopes; None where they stay as they are."""
        return None

    def penalty(self, xp: Any, length: Array) -> Penalty | None:
        """What is added to the loss of each row."""
        return None

    def check_classes(self, classes: int) -> None:
        """Raise where margins of classes are given, but not `classes` of them."""
        if isinstance(self.margin, tuple) and len(self.margin) != classes:
            raise ValueError(f"{type(self).__name__} has margins for {len(self.margin)} classes; w has {classes}")

    @functools.cached_property
    def _table(self) -> np.ndarray:
        """The margins of classes, once: a tuple of many takes long to read."""
        return np.asarray(self.margin)

    def _margin(self, m: Array | float | None) -> Array | float:
        if m is not None:
            return m
        if isinstance(self.margin, tuple):
            raise ValueError(f"this {type(self).__name__} has a margin for each class: psi needs m")
        return self.margin

    def _set(self, **values: Any) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


def number(owner: Any, name: str, value: Any, low: float, high: float, *, open_low: bool = False) -> Any:
    """A number from `low` to below `high`, checked; an array of no dimensions is taken as it is."""
    if getattr(value, "shape", None) == () and not isinstance(value, Real):
        if isinstance(value, np.ndarray):
            return number(owner, name, value[()], low, high, open_low=open_low)
        return value  # of another library, which may be tracing it
    if not isinstance(value, Real):
        raise TypeError(f"{name} of {type(owner).__name__} must be a number, not {type(value).__name__}")
    found = float(value)
    inside = (low < found if open_low else low <= found) and found < high
    if not inside:
        raise ValueError(
            f"{name} of {type(owner).__name__} must be in {'(' if open_low else '['}{low:g}, {high:g}), not {value}"
        )
    return found


def margins(owner: Any, name: str, value: Any, high: float = math.inf) -> float | tuple[float, ...]:
    """One margin, or a tuple of margins of classes, each from 0 to below `high`."""
    array = np.asarray(value)
    unit_hint = "; margins are in radians" if high == math.pi else ""
    if array.dtype.kind not in "iuf" or array.ndim > 1 or array.size == 0:
        raise TypeError(
            f"{name} of {type(owner).__name__} must be a number, or an array (K,) of numbers, not {value!r}"
        )
    flat = array.ravel().astype(np.float64)
    bad = ~((flat >= 0) & (flat < high))
    if bad.any():
        i = int(bad.argmax())
        where_ = f" for class {i}" if array.ndim else ""
        raise ValueError(
            f"{name} of {type(owner).__name__} must be in [0, {high:.5g}), not {flat[i]:g}{where_}{unit_hint}"
        )
    return tuple(flat.tolist()) if array.ndim else float(flat[0])


def multiple(owner: Any, name: str, value: Any) -> int:
    """A whole number of at least 1."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} of {type(owner).__name__} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} of {type(owner).__name__} must be at least 1, not {value}")
    return int(value)


def one_branch(owner: Any) -> None:
    """Raise where both ways beyond the margin's reach are asked for."""
    if owner.monotone and owner.easy:
        raise ValueError(f"{type(owner).__name__} takes monotone or easy, not both")


def shifted(xp: Any, theta: Array, m: Array | float, monotone: bool, easy: bool) -> Psi:
    """``cos(theta + m)`` with the branches of `ArcFace`."""
    value, slope = xp.cos(theta + m), -xp.sin(theta + m)
    if not (monotone or easy):
        return Psi(value, slope, slope)
    m = 0.0 * theta + m
    plain, plain_slope = xp.cos(theta), -xp.sin(theta)
    if easy:
        far = theta >= math.pi / 2
        return Psi(xp.where(far, plain, value), xp.where(far, plain_slope, slope), where(xp, far, 0.0, slope))
    far = theta >= math.pi - m
    fallback, fallback_slope = plain - m * xp.sin(m), -(xp.sin(m) + m * xp.cos(m))
    return Psi(xp.where(far, fallback, value), xp.where(far, plain_slope, slope), xp.where(far, fallback_slope, slope))


def detached(xp: Any, theta: Array, psi: Psi) -> Psi:
    """The value of psi with the slope of ``cos theta``."""
    cosine = xp.cos(theta)
    return Psi(cosine + constant(xp, psi.value - cosine), -xp.sin(theta), xp.zeros_like(theta))
