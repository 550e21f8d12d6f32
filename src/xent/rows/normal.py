"""The probability that a normal variable lies in an interval, to all digits: in the tails, for intervals of any width.

For NumPy, PyTorch and JAX arrays alike, in their own dtype.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Array, where

# (1 + x) m(x) as a Chebyshev series in (x - 4) / (x + 4), from interpolation at 60 nodes in 40 digits; m is `mills`.
_SERIES = (
    1.1670525350882472,
    -0.1610195767134654,
    -0.028002821825452974,
    0.03167452189239266,
    -0.012103231162345369,
    0.0027056129762167095,
    -0.00029931636202703166,
    -1.716686526879361e-05,
    1.0178489264109868e-05,
    -4.894829570004192e-07,
    -2.844006500151048e-07,
    3.0766283713811506e-08,
    9.180378674469537e-09,
    -1.2756102213808737e-09,
    -3.660279376104134e-10,
    4.5926359348595205e-11,
    1.7189314687646526e-11,
    -1.2726833698700693e-12,
    -8.668081913316188e-13,
    1.1061557204136741e-15,
    4.2750210770103334e-14,
    3.790937692263904e-15,
    -1.8474103010592332e-15,
    -4.0419094130708177e-16,
)
_NODES, _WEIGHTS = ((v.tolist()) for v in np.polynomial.legendre.leggauss(10))
_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


def mills(xp: Any, x: Array) -> Array:
    """Mills' ratio ``(1 - Phi(x)) / phi(x)`` for x from 0 to infinity, to 1e-15 of itself."""
    t = 1.0 - 8.0 / (x + 4.0)
    twice, above, last = t + t, xp.zeros_like(t), xp.zeros_like(t)
    for c in reversed(_SERIES[1:]):  # Clenshaw's recurrence
        above, last = c + twice * above - last, above
    return (_SERIES[0] + t * above - last) / (1.0 + x)


class Interval(NamedTuple):
    """Of ``P = Phi(u) - Phi(l)``."""

    minus_log: Array  # -log P
    mean: Array  # of the variable inside: (phi(l) - phi(u)) / P
    at_lower: Array  # phi(l) / P
    at_upper: Array  # phi(u) / P


def interval(xp: Any, lower: Array, upper: Array, width: Array) -> Interval:
    """P and the densities of a standard normal variable between `lower` and `upper`, `width` apart.

    One end at least is finite. The interval is turned to lie on the positive side, ``-b <= a < b``, with
    ``d = (b^2 - a^2) / 2``, and P is then one of

    - ``phi(a) w int_0^1 exp(-(a w t + (w t)^2 / 2)) dt`` where both ends are near, by Gauss and Legendre;
    - ``phi(a) (m(a) - e^-d m(b))`` on one side of zero, with Mills' ratio m;
    - ``1 - phi(a) (m(-a) + e^-d m(b))`` around zero,

    none of which cancels.
    """
    turned = lower + upper < 0.0
    a, b = where(xp, turned, -upper, lower), where(xp, turned, -lower, upper)
    open_ended = b == math.inf
    w = where(xp, open_ended, 1.0, width)
    d = where(xp, open_ended, math.inf, 0.5 * w * (a + where(xp, open_ended, a, b)))
    narrow = (d <= 0.75) & (width <= 1.5)
    around = ~narrow & (a < 0.0)
    mass, moment = _quadrature(xp, where(xp, narrow, a, 0.0), where(xp, narrow, w, 1.0))
    decay = xp.exp(-where(xp, narrow, 1.0, d))
    near, far = (
        mills(xp, where(xp, narrow, 1.0, xp.where(a < 0.0, -a, a))),
        decay * mills(xp, where(xp, narrow, 2.0, b)),
    )
    # the density at a, and the mass of the tails
    density = xp.exp(-0.5 * where(xp, around, a, 1.0) ** 2 - _HALF_LOG_TWO_PI)
    tails = where(xp, around, density * (near + far), 0.0)
    ratio = where(xp, around, 1.0, where(xp, narrow, w * mass, near - far))  # P / phi(a)
    one_sided = 0.5 * where(xp, around, 0.0, a) ** 2 + _HALF_LOG_TWO_PI - xp.log(ratio)
    minus_log = where(xp, around, -xp.log1p(-tails), one_sided)
    at_a = where(xp, around, density / (1.0 - tails), 1.0 / ratio)
    at_b = where(xp, d == math.inf, 0.0, at_a * xp.exp(-where(xp, d == math.inf, 0.0, d)))
    mean = where(xp, narrow, a + w * moment / mass, at_a * -xp.expm1(-d))
    mean = where(xp, turned, -mean, mean)
    return Interval(minus_log, mean, xp.where(turned, at_b, at_a), xp.where(turned, at_a, at_b))


def _quadrature(xp: Any, a: Array, w: Array) -> tuple[Array, Array]:
    """``int_0^1 e^-(a w t + (w t)^2 / 2) dt`` and the same with a factor t."""
    mass = moment = xp.zeros_like(a)
    for x, weight in zip(_NODES, _WEIGHTS, strict=True):
        t = 0.5 * (1.0 + x)
        part = 0.5 * weight * xp.exp(-(w * t) * (a + 0.5 * t * w))
        mass, moment = mass + part, moment + t * part
    return mass, moment
