"""The margin losses as their papers write them, in mpmath: angles by arccosine, derivatives by differences."""

from __future__ import annotations

import dataclasses

import mpmath
import numpy as np
from mpmath import mpf

from xent.losses import margins as m

DIGITS = 80
STEP = mpf(10) ** -25


def dot(a, b):
    return mpmath.fsum(p * q for p, q in zip(a, b, strict=True))


def norm(a):
    return mpmath.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / (norm(a) * norm(b))


def angle(a, b):
    return mpmath.acos(cosine(a, b))


def piecewise(theta, times):
    """psi of L-Softmax (eq. 6) and A-Softmax (eq. 7), by looking for the piece."""
    for k in range(times):
        if k * mpmath.pi / times <= theta <= (k + 1) * mpmath.pi / times:
            return (-1) ** k * mpmath.cos(times * theta) - 2 * k
    raise AssertionError(theta)


def annealed(margin, theta):
    share = mpf(margin.annealing)
    return (share * mpmath.cos(theta) + piecewise(theta, margin.margin)) / (1 + share)


def arc(theta, size, margin):
    """cos(theta + m) with the branches of the authors' codes, which ask the cosine."""
    cos = mpmath.cos(theta)
    if getattr(margin, "easy", False) and not cos > 0:
        return cos
    if getattr(margin, "monotone", False) and not cos > mpmath.cos(mpmath.pi - size):
        return cos - size * mpmath.sin(mpmath.pi - size)
    return mpmath.cos(theta + size)


def logits(margin, x, w, label, before):
    """The logits of a row; `before` is x where the differences are taken, for what a gradient holds constant."""
    z = plain(margin, x, w)
    s = mpf(margin.scale)
    theta = angle(x, w[label])
    size = getattr(margin, "margin", None)
    size = mpf(size[label] if isinstance(size, tuple) else size or 0)
    if isinstance(margin, m.SMSoftmax):
        z[label] = dot(w[label], x) - size
    elif isinstance(margin, m.LSoftmax):
        z[label] = norm(w[label]) * norm(x) * annealed(margin, theta)
    elif isinstance(margin, m.ASoftmax):
        z[label] = norm(x) * annealed(margin, theta)
    elif isinstance(margin, m.AMSoftmax | m.CosFace):
        z[label] = s * (mpmath.cos(theta) - size)
    elif isinstance(margin, m.ArcFace):
        z[label] = s * arc(theta, size, margin)
    elif isinstance(margin, m.CombinedMargin):
        z[label] = s * (mpmath.cos(mpf(margin.m1) * theta + mpf(margin.m2)) - mpf(margin.m3))
    elif isinstance(margin, m.CurricularFace):
        near = mpmath.cos(theta + size)
        z = [s * c * (mpf(margin.t) + c) if c > near else s * c for c in (cosine(x, v) for v in w)]
        z[label] = s * arc(theta, size, margin)
    elif isinstance(margin, m.MagFace):
        z[label] = s * arc(theta, magnitude_margin(margin, norm(x)), margin)
    elif isinstance(margin, m.AdaFace):
        quality = mpf(margin.h) * (norm(before) - mpf(margin.mean)) / mpf(margin.std)
        quality = max(mpf(-1), min(mpf(1), quality))
        z[label] = s * (mpmath.cos(theta - size * quality) - (size + size * quality))
    return z


def plain(margin, x, w):
    if isinstance(margin, m.SMSoftmax | m.LSoftmax):
        return [dot(x, v) for v in w]
    if isinstance(margin, m.ASoftmax):
        return [norm(x) * cosine(x, v) for v in w]
    return [mpf(margin.scale) * cosine(x, v) for v in w]


def held(margin, a):
    return max(mpf(margin.lower), min(mpf(margin.upper), a))


def magnitude_margin(margin, a):
    rise = (mpf(margin.upper_margin) - mpf(margin.lower_margin)) / (mpf(margin.upper) - mpf(margin.lower))
    return rise * (held(margin, a) - mpf(margin.lower)) + mpf(margin.lower_margin)


def loss(margin, x, w, label, before, bias=None, w_before=None):
    z = logits(margin, x, w, label, before)
    if getattr(margin, "detach", False):  # the number that the margin puts there, with the slope of the cosine
        w_before = w if w_before is None else w_before
        exact = dataclasses.replace(margin, detach=False)
        there = logits(exact, before, w_before, label, before)[label] - plain(margin, before, w_before)[label]
        z[label] = plain(margin, x, w)[label] + there
    if bias is not None:
        z = [a + mpf(float(b)) for a, b in zip(z, bias, strict=True)]
    top = max(z)
    total = mpmath.log(mpmath.fsum(mpmath.exp(v - top) for v in z)) + top - z[label]
    if isinstance(margin, m.MagFace):
        a = held(margin, norm(x))
        total += mpf(margin.weight) * (a / mpf(margin.upper) ** 2 + 1 / a)
    return total


def exact(array):
    """The numbers of an array, exactly."""
    return [exact(v) for v in array] if np.ndim(array) else mpf(float(array))


def truth(margin, x, w, label, bias=None):
    """The loss of a row x (D,) with centres w (K, D), and its gradients in x and w, as floats and arrays of floats."""
    with mpmath.workdps(DIGITS):
        X, W = exact(x), exact(w)

        def slope(vector, i, scale, call):
            there = vector[i]
            h = STEP * scale
            vector[i] = there + h
            up = call()
            vector[i] = there - h
            down = call()
            vector[i] = there
            return (up - down) / (2 * h)

        base, w_base = exact(x), exact(w)
        value = loss(margin, X, W, label, base, bias)
        call = lambda: loss(margin, X, W, label, base, bias, w_base)  # noqa: E731
        dx = [slope(X, i, norm(base), call) for i in range(len(X))]
        dw = [
            [slope(row, i, norm(before), call) for i in range(len(row))] for row, before in zip(W, w_base, strict=True)
        ]
        return value, dx, dw


def relative_error(found, wanted):
    """``|found - wanted| / |wanted|`` of arrays and nested lists of mpmath numbers."""
    with mpmath.workdps(DIGITS):
        flat = (
            [v for row in wanted for v in (row if isinstance(row, list) else [row])]
            if isinstance(wanted, list)
            else [wanted]
        )
        off = [mpf(float(a)) - b for a, b in zip(np.ravel(found), flat, strict=True)]
        return float(norm(off) / norm(flat))
