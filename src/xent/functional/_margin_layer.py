"""The logits of a layer with a margin for every array library, and for NumPy their gradients written out.

N rows, K classes of C centres each, D features: embeddings x (N, D), centres w (K, C, D).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .._arrays import NUMPY, Array, constant, gather, on, where
from ..autodiff import rows as row_values
from ..kernels.arrays import one_hot
from ..losses.margins import Margin, Own, Pair, Psi, TargetAngle, pair, unit

TILE = 2**18  # numbers in the arrays of a tile of rows, which then stay in a core's cache


class Centres(NamedTuple):
    """The centres: as they are, as (K C, D), and as they enter the plain logits: of length 1, or as they are."""

    shape: tuple[int, int, int]
    flat: Array
    right: Array
    length: Array | None  # (K C,) where they are brought to length 1


class Target(NamedTuple):
    """What is computed for the target's logit alone: ``scale stretch psi``.

    `stretch` (N,) holds the lengths of x and its centre where those are not normalised; `length` is the centre's then.
    """

    centre: Array  # (N, D)
    theta: Array
    angle: Pair | None  # NumPy: with its gradients, which other libraries take by their own means
    psi: Psi
    stretch: Array
    length: Array | None


@dataclass(frozen=True)
class Forward:
    """The logits (N, K), and what their gradients need."""

    logits: Array
    margin: Margin
    centres: Centres
    kept: Array  # (N,) booleans
    y: Array  # (N,) the class of each row, any for one left out
    own: Own
    left: Array  # (N, D), whose product with the centres' `right` is the plain logits over the scale
    x_unit: Array
    x_length: Array
    best: Array | None  # (N, K) the number of the nearest centre in each class, where C > 1
    centre: Array  # (N,) the row of the flat centres that is the target's
    target: Target | None = None  # where psi is more than a difference
    other_slopes: Array | None = None  # (N, K) where other logits change too


def read_centres(xp: Any, w: Array, margin: Margin) -> Centres:
    """The centres, ready for the rows."""
    flat = xp.reshape(w, (-1, w.shape[2]))
    right, length = unit(xp, flat) if margin.unit_centres else (flat, None)
    return Centres(tuple(w.shape), flat, right, length)


def forward(xp: Any, x: Array, centres: Centres, label: Array, margin: Margin, bias: Array | None) -> Forward:
    """The logits for the labels (N,), -1 for a row left out. PyTorch and JAX differentiate them."""
    K, C, _ = centres.shape
    kept = label >= 0
    y = xp.clip(label, 0, K - 1)
    x = where(xp, kept[:, None], x, 0.0)
    x_unit, x_length = unit(xp, x)
    left = x_unit if margin.unit_features else x
    cosine, best = nearest(xp, left @ centres.right.T, K, C)
    centre = y * C if best is None else y * C + gather(xp, best, y[:, None])[:, 0]
    own = margin.own(xp, y, x_length, kept)
    target = other_slopes = None
    if margin.additive:
        new = gather(xp, cosine, y[:, None])[:, 0] - own.value
    else:
        target = _target(xp, x, xp.take(centres.flat, centre, axis=0), margin, own, x_length)
        new = target.stretch * target.psi.value
        others = margin.others(xp, cosine, target.theta, own.value)
        if others is not None:
            cosine, other_slopes = others
    logits = margin.scale * _put(xp, cosine, y, new)
    logits = logits if bias is None else logits + bias
    saved = (left, x_unit, x_length, best, centre, target, other_slopes)
    return Forward(logits, margin, centres, kept, y, own, *saved)


def plain_logits(xp: Any, x: Array, w: Array, margin: Margin, bias: Array | None) -> Array:
    """The logits without a margin."""
    (K, C, _), _, right, _ = read_centres(xp, w, margin)
    left = unit(xp, x)[0] if margin.unit_features else x
    logits = margin.scale * nearest(xp, left @ right.T, K, C)[0]
    return logits if bias is None else logits + bias


def nearest(xp: Any, cosine: Array, classes: int, centres: int) -> tuple[Array, Array | None]:
    """Cosines (N, K C) to the greatest of each class (N, K), and which of its centres has it (the first of equals)."""
    if centres == 1:
        return cosine, None
    best = xp.argmax(constant(xp, xp.reshape(cosine, (-1, classes, centres))), axis=2)
    return gather(xp, cosine, xp.arange(classes, **on(xp, best))[None, :] * centres + best), best


def _target(xp: Any, x: Array, centre: Array, margin: Margin, own: Own, x_length: Array) -> Target:
    angle = pair(xp, x, centre) if xp is NUMPY else None
    theta = row_values(TargetAngle(), x, centre) if angle is None else angle.theta
    psi = margin.psi(xp, theta, own.value)
    stretch, length = xp.ones_like(own.value), None
    if not margin.unit_features:
        stretch = x_length
    if not margin.unit_centres:
        length = unit(xp, centre)[1]
        stretch = stretch * length
    return Target(centre, theta, angle, psi, stretch, length)


def _put(xp: Any, a: Array, index: Array, values: Array) -> Array:
    """`a` (N, K) with ``values[i]`` at ``index[i]``."""
    if xp is not NUMPY:
        return xp.where(one_hot(xp, index, a), values[:, None], a)
    a[np.arange(len(a)), index] = values  # ours, and large
    return a


def row_tiles(rows: int, centres: Centres) -> list[slice]:
    """Slices of the rows, at least one; 256 rows where that is enough, so that products of matrices stay efficient."""
    K, C, D = centres.shape
    step = max(256, TILE // max(K * C, D))
    return [slice(i, min(i + step, rows)) for i in range(0, max(rows, 1), step)]


class Gradients:
    """NumPy: the gradients in x, w and bias, put together from tiles of rows."""

    def __init__(self, x: Array, centres: Centres, need: tuple[bool, bool, bool]) -> None:
        self.centres, self.need = centres, need
        K, C, D = centres.shape
        self.x = np.empty_like(x) if need[0] else None
        self.right = np.zeros((K * C, D), x.dtype) if need[1] else None
        self.bias = np.zeros(K) if need[2] else None
        self.own: list[tuple[Array, Array]] = []  # of the targets' own centres: which, and the gradient (N, D)

    def add(self, rows: slice, f: Forward, da: Array, weight: Array | None) -> None:
        """Take a tile's gradient in the logits, `da` (N, K), which is written over.

        `weight` (N,) is what multiplies each row's penalty; None for 1.
        """
        scale, target = da.dtype.type(f.margin.scale), f.target
        if self.bias is not None:
            self.bias += da.sum(axis=0, dtype=np.float64)
        index = np.arange(len(da)), f.y
        g = np.where(f.kept, da[index], 0) * scale
        if target is not None:
            da[index] = 0
        if f.other_slopes is not None:
            da *= f.other_slopes
        da *= scale
        if f.best is not None:
            K, C, _ = self.centres.shape
            spread = np.zeros((len(da), K * C), da.dtype)
            np.put_along_axis(spread, np.arange(K) * C + f.best, da, axis=1)
            da = spread
        if self.x is not None:
            self.x[rows] = _x_grad(f, g, da, weight)
        if self.right is not None:
            self.right += da.T @ f.left
            if target is not None:
                self.own.append((f.centre, _centre_grad(f, target, g)))

    def result(self) -> tuple[Array | None, Array | None, Array | None]:
        """The gradients in x (N, D), w (K, C, D) and bias (K,), None where not asked for."""
        dw = self.right
        if dw is not None:
            if self.centres.length is not None:
                dw = _through_unit(dw, self.centres.right, self.centres.length)
            if self.own:
                _add_rows(dw, *(np.concatenate(v) for v in zip(*self.own, strict=True)))
            dw = dw.reshape(self.centres.shape)
        return self.x, dw, self.bias


def _x_grad(f: Forward, g: Array, da: Array, weight: Array | None) -> Array:
    """The gradient in x (N, D)."""
    dx = da @ f.centres.right
    if f.margin.unit_features:
        dx = _through_unit(dx, f.x_unit, f.x_length)
    if f.target is not None:
        assert f.target.angle is not None
        dx += (g * f.target.stretch * f.target.psi.slope)[:, None] * f.target.angle.dx
    radial = _radial(f, g, weight)
    if radial is not None:
        dx += radial[:, None] * f.x_unit
    return dx


def _radial(f: Forward, g: Array, weight: Array | None) -> Array | None:
    """The slope (N,) in the length of x of what depends on it beside the plain logits."""
    parts = []
    if f.target is not None and not f.margin.unit_features:
        parts.append(g * f.target.psi.value * (1 if f.target.length is None else f.target.length))
    if f.target is not None and f.own.slope is not None:
        parts.append(g * f.target.stretch * f.target.psi.margin_slope * f.own.slope)
    penalty = f.margin.penalty(NUMPY, f.x_length)
    if penalty is not None:
        parts.append(np.where(f.kept, penalty.slope * (1 if weight is None else weight), 0))
    return sum(parts[1:], start=parts[0]) if parts else None


def _centre_grad(f: Forward, target: Target, g: Array) -> Array:
    """The gradient (N, D) of each row's own logit in its centre."""
    assert target.angle is not None
    d = (g * target.stretch * target.psi.slope)[:, None] * target.angle.dw
    if not f.margin.unit_centres:
        d += (g * target.psi.value * f.x_length)[:, None] * unit(NUMPY, target.centre)[0]
    return d


def _through_unit(d: Array, direction: Array, length: Array) -> Array:
    """A gradient in unit vectors as one in the vectors, in place; 0 in those that are zero."""
    zero = length == 0
    d -= np.einsum("nd,nd->n", d, direction)[:, None] * direction
    d /= np.where(zero, 1, length)[:, None]
    d[zero] = 0
    return d


def _add_rows(out: Array, index: Array, values: Array) -> None:
    """``out[index[i]] += values[i]``, in the order of the rows for each index."""
    if not len(index):
        return
    order = np.argsort(index, kind="stable")
    ordered = index[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    out[ordered[starts]] += np.add.reduceat(values[order], starts, axis=0)
