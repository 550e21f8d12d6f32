"""The truth of a row from the definition of its loss, in mpmath: values as they are written, gradients by differences.

Nothing is rearranged for the sake of rounding: 200 digits are left to lose. A logit of -inf is a probability of 0, and
has no derivative to take.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
from mpmath import mpf

from .case import Length, Truth

DIGITS = 200


def log(p: Any) -> Any:
    """The logarithm, -inf of 0."""
    return mpmath.log(p) if p else -mpmath.inf


def times(q: Any, cost: Any) -> Any:
    """``q cost``, where nothing of an infinite cost is nothing."""
    return q * cost if q else mpf(0)


def cross_entropy(q: Sequence[float]) -> Callable[[Sequence[Any]], Any]:
    """``-sum q log p`` as a function of p."""
    return lambda p: -mpmath.fsum(times(mpf(b), log(a)) for a, b in zip(p, q, strict=True))


def kl(q: Sequence[float]) -> Callable[[Sequence[Any]], Any]:
    """``sum q log(q / p)`` as a function of p."""
    return lambda p: mpmath.fsum(times(mpf(b), log(mpf(b)) - log(a)) for a, b in zip(p, q, strict=True))


def probabilities(z: Sequence[Any]) -> list[Any]:
    """The softmax."""
    e = [mpmath.exp(mpf(v)) if v != -mpmath.inf else mpf(0) for v in z]
    return [v / mpmath.fsum(e) for v in e]


def softmax(z: Sequence[float], loss: Callable[[list[Any]], Any]) -> Truth:
    """A loss of the softmax of one row of logits: the value, and the gradient in them (1, K)."""
    with mpmath.workdps(DIGITS):
        value, gradient = _differences(lambda v: loss(probabilities(v)), z)
        return Truth(float(value), [gradient])


def sigmoid(z: Sequence[float], losses: Sequence[Callable[[Any, Any], Any]]) -> Truth:
    """A sum of losses, one a logit, of the chances of yes and no, ``1 / (1 + exp(-z))`` and ``1 / (1 + exp(z))``."""
    with mpmath.workdps(DIGITS):

        def total(v: Sequence[Any]) -> Any:
            signed = [(1 / (1 + mpmath.exp(-mpf(a))), 1 / (1 + mpmath.exp(mpf(a)))) for a in v]
            return mpmath.fsum(f(*both) for f, both in zip(losses, signed, strict=True))

        value, gradient = _differences(total, z)
        return Truth(float(value), gradient)


def yes(p: Any, _: Any) -> Any:
    """The cost of a yes."""
    return -mpmath.log(p)


def no(_: Any, n: Any) -> Any:
    """The cost of a no."""
    return -mpmath.log(n)


def distill(z: Sequence[float], teacher: Sequence[float]) -> Truth:
    """``KL(softmax(teacher) || softmax(z))``."""
    with mpmath.workdps(DIGITS):
        q = probabilities(teacher)
        return softmax(z, lambda p: mpmath.fsum(times(b, log(b) - log(a)) for a, b in zip(p, q, strict=True)))


def rows(*truths: Truth, weights: Sequence[float]) -> Truth:
    """The weighted mean of several rows."""
    shares = [w / sum(weights) for w in weights]
    gradient = [[g * share for g in row] for t, share in zip(truths, shares, strict=True) for row in t.gradient]
    return Truth(sum(t.value * share for t, share in zip(truths, shares, strict=True)), gradient)


def margin(
    x: Sequence[float], w: Sequence[Sequence[float]], label: int, psi: Callable[[Any], Any], length: bool = False
) -> Truth:
    """Cross-entropy of cosines where the label's is ``psi(theta)``, all times the length of x if `length`."""

    def loss(v: Sequence[Any]) -> Any:
        size = mpmath.norm(v)
        cosines = [mpmath.fdot(v, c) / size / mpmath.norm(c) for c in w]
        cosines[label] = psi(mpmath.acos(max(mpf(-1), min(mpf(1), cosines[label]))))
        return -mpmath.log(probabilities([c * size if length else c for c in cosines])[label])

    with mpmath.workdps(DIGITS):
        value, gradient = _differences(loss, [mpf(a) for a in x])
        return Truth(float(value), [gradient], size=math.hypot(*gradient))


def pole(length: float, cosine: int, psi: Callable[[Any], Any], slope: float) -> Truth:
    """The same, an embedding of some length on its centre (cosine 1) or opposite to it (-1), the two centres opposite.

    Only the target's angle changes there, by ``1 / length`` a unit, so the gradient has the length
    ``(1 - p) |slope| / length`` with the slope of psi.
    """
    with mpmath.workdps(DIGITS):
        p = probabilities([psi(mpmath.acos(cosine)), mpf(-cosine)])
        most = float((1 - p[0]) / length)
        return Truth(float(-mpmath.log(p[0])), Length(most * abs(slope)), size=most)


def psi_arc(m: float, monotone: bool = True) -> Callable[[Any], Any]:
    """``cos(theta + m)``; beyond pi - m ``cos(theta) - m sin(m)`` if monotone."""

    def psi(theta: Any) -> Any:
        if monotone and theta > mpmath.pi - mpf(m):
            return mpmath.cos(theta) - mpf(m) * mpmath.sin(mpf(m))
        return mpmath.cos(theta + mpf(m))

    return psi


def psi_sphere(theta: Any, times: int = 4) -> Any:
    """``(-1)^k cos(m theta) - 2 k`` in the k-th of m pieces."""
    k = min(times - 1, int(mpmath.floor(theta * times / mpmath.pi)))
    return (-1) ** k * mpmath.cos(times * theta) - 2 * k


def _differences(f: Callable[[Sequence[Any]], Any], z: Sequence[Any]) -> tuple[Any, list[float]]:
    z = list(z)
    gradient = []
    for k, v in enumerate(z):
        if v == -mpmath.inf:
            gradient.append(0.0)
            continue
        gradient.append(float(mpmath.diff(lambda t, k=k: f([*z[:k], t, *z[k + 1 :]]), mpf(v))))
    return f(z), gradient
