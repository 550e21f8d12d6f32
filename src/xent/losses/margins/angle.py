"""The angle between an embedding and its centre, and its gradient, accurate at every angle.

The arccosine of a rounded cosine loses half the digits near 0 and pi, and its derivative is infinite there. Here the
angle comes from the part r of the centre that is orthogonal to the embedding: ``theta = atan2(|r| |x|, w.x)``. The
direction of r is the direction in which the angle changes, and ``|d theta / dx| = 1 / |x|`` at every angle, 0 and pi
included. r is the small difference of two nearly parallel vectors, so the product in it is carried with twice the
digits (Dekker, "A floating-point technique for extending the available precision", 1971, section 5): then theta and
its gradient keep their digits down to angles of 1e-25 in float64.

All functions are array-API code that can itself be differentiated: what is not finite is replaced before it is used,
not after.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..._arrays import NUMPY, Array, constant, is_jax, on, where


class Pair(NamedTuple):
    """The geometry of pairs of vectors x and w, N of them in D dimensions.

    Attributes
    ----------
    theta : array (N,)
        The angle between x and w, radians in [0, pi]. pi / 2 where one of them is zero.
    dx, dw : array (N, D)
        Its gradient in x and in w, of length 1 / |x| and 1 / |w|. Where x and w are parallel every direction
        orthogonal to x is as good as another, and one is fixed: the coordinate axis that x has least of, less its part
        along x. Zero where x or w is zero, or D is 1.
    """

    theta: Array
    dx: Array
    dw: Array


def unit(xp: Any, x: Array) -> tuple[Array, Array]:
    """Vectors (..., D) of length 1, and the lengths (...,); a zero vector stays zero, with no gradient.

    No length between the smallest and the largest number over- or underflows on the way.

    >>> import numpy as np
    >>> unit(np, np.array([[-2e-300, 0.0], [0.0, 0.0]]))[0].tolist()
    [[-1.0, 0.0], [0.0, 0.0]]
    """
    c = _power_of_two(xp, x)
    y = x / c
    squares = xp.sum(y * y, axis=-1, keepdims=True)
    zero = squares == 0.0  # not the reverse, which would take NaN for zero
    length = xp.sqrt(where(xp, zero, 1.0, squares))
    return where(xp, zero, 0.0, y) / length, (where(xp, zero, 0.0, length) * c)[..., 0]


def pair(xp: Any, x: Array, w: Array) -> Pair:
    """The angle between each x (N, D) and w (N, D), and its gradients.

    >>> import numpy as np
    >>> x, w = np.array([[2.0, 0.0]]), np.array([[1.0, 1e-20]])
    >>> found = pair(np, x, w)
    >>> found.theta.tolist(), found.dx.tolist()
    ([1e-20], [[-0.0, -0.5]])
    """
    cx, cw = _power_of_two(xp, x), _power_of_two(xp, w)
    x, w = x / cx, w / cw
    xx, ww, xw = (xp.sum(v, axis=-1, keepdims=True) for v in (x * x, w * w, x * w))
    zero = (xx == 0.0) | (ww == 0.0)
    xx, ww = where(xp, zero, 1.0, xx), where(xp, zero, 1.0, ww)
    lx, lw = xp.sqrt(xx), xp.sqrt(ww)
    r = _difference(xp, w, xw / xx, x)
    r = r - (xp.sum(r * x, axis=-1, keepdims=True) / xx) * x  # what rounding xw / xx left along x
    rr = xp.sum(r * r, axis=-1, keepdims=True)
    # Below this, what is left of r is rounding.
    parallel = (rr <= ww * (64.0 * x.shape[-1] * xp.finfo(x.dtype).eps ** 2) ** 2) | zero
    lr = xp.sqrt(where(xp, parallel, 1.0, rr))
    tangent = r / lr
    if not (xp is NUMPY and not parallel.any()):
        tangent = xp.where(parallel, _axis_tangent(xp, x / lx), tangent)
    sine, cosine = where(xp, parallel, 0.0, lr) / lw, xw / (lx * lw)
    theta = xp.atan2(where(xp, zero, 1.0, sine), cosine)
    per_x, per_w = (where(xp, zero, 0.0, 1.0 / v) for v in (lx * cx, lw * cw))
    return Pair(theta[..., 0], -per_x * tangent, (cosine * per_w) * tangent - (sine * per_w / lx) * x)


@dataclass(frozen=True)
class TargetAngle:
    """`pair` as a row function (`xent.autodiff`) of x (N, D) and w (N, D)."""

    def value(self, xp: Any, x: Array, w: Array) -> Array:
        """The angle (N,), in radians."""
        return pair(xp, x, w).theta

    def grads(self, xp: Any, wrt: tuple[bool, ...], x: Array, w: Array) -> tuple[Array | None, ...]:
        """Its gradients in x and w."""
        _, dx, dw = pair(xp, x, w)
        return dx if wrt[0] else None, dw if wrt[1] else None


def _power_of_two(xp: Any, x: Array) -> Array:
    """A power of two (..., 1) near the largest entry of each vector, to divide by without rounding."""
    largest = constant(xp, xp.max(xp.abs(x), axis=-1, keepdims=True))
    largest = where(xp, largest == 0.0, 1.0, largest)
    return largest / (2.0 * xp.frexp(largest)[0])


def _axis_tangent(xp: Any, along: Array) -> Array:
    """The unit vector orthogonal to each of `along` that is nearest to the axis it has least of; 0 in one dimension."""
    size = along.shape[-1]
    if size == 1:
        return xp.zeros_like(along)
    least = xp.argmin(xp.abs(along), axis=-1)
    axis = xp.arange(size, **on(xp, along)) == least[..., None]
    part = xp.sum(where(xp, axis, along, 0.0), axis=-1, keepdims=True)
    rest = xp.where(axis, 1.0 - part * along, -part * along)
    return rest / xp.sqrt(1.0 - part * part)


def _difference(xp: Any, w: Array, a: Array, x: Array) -> Array:
    """``w - a x``, rounded about once."""
    product = _product(xp, a, x)
    (ah, al), (xh, xl) = _halves(xp, a), _halves(xp, x)
    error = ((ah * xh - product) + ah * xl + al * xh) + al * xl
    return (w - product) - error


def _product(xp: Any, a: Array, x: Array) -> Array:
    """``a x``. XLA may fuse it with the subtraction that follows, and the error would then count twice."""
    if not is_jax(xp):
        return a * x
    import jax

    kind = xp.finfo(x.dtype)
    return jax.lax.reduce_precision(a * x, kind.nexp, kind.nmant - 1)


def _halves(xp: Any, x: Array) -> tuple[Array, Array]:
    """`x` as a sum of two numbers of half the digits, whose products are exact."""
    kind = xp.finfo(x.dtype)
    if is_jax(xp):  # as below, but with nothing to fuse
        import jax

        high = jax.lax.reduce_precision(x, kind.nexp, (kind.nmant - 1) // 2)
        return high, x - high
    digits = 1.0 - math.log2(kind.eps)
    c = x * (2.0 ** math.ceil(digits / 2.0) + 1.0)
    high = c - (c - x)
    return high, x - high
