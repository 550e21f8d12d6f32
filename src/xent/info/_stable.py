"""The arithmetic that keeps the digits of a divergence: exact differences, and x log x - x + 1 near one.

With t = (p - q)/q and phi(t) = (1 + t) log(1 + t) - t, a Kullback-Leibler divergence is a sum of non-negative terms,

    KL(P || Q) = (sum_i q_i phi(t_i) - S_q phi(s)) / S_p,    s = (S_p - S_q) / S_q,

for masses p and q with any sums S_p and S_q: the second term is what the sums' not being equal costs, exactly. Nothing
of size one is subtracted, so the relative error is that of t, and t is as good as the difference p - q. Two sums that
differ are first brought together by a factor c = S_q / S_p: the formula holds for every c, so c may be rounded, but
the difference c p - q may not, and is taken from an error-free product.

Arrays of any kind come with their namespace ``xp``, all of one floating dtype (float64, or JAX's float32).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._arrays import Array, where

if TYPE_CHECKING:
    from ._distributions import Distribution

# Veltkamp's splitting constant is 2^ceil(bits/2) + 1.
_SPLIT = {53: 2.0**27 + 1.0, 24: 2.0**12 + 1.0}
# Steps of `rescale`: after them the largest mass lies within 2^-last and 2^last.
_STEPS = {53: (512, 256, 128, 64, 32), 24: (64, 32, 16)}
# Above this |t| the series gives way to the logarithm, which there cancels one digit at most.
NEAR = 0.25


def _bits(xp: Any, x: Array) -> int:
    return 53 if xp.finfo(x.dtype).eps < 1e-12 else 24


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded sum and what rounding took off, exactly (Knuth 1969)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)


def two_product(xp: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """Return the rounded product and what rounding took off, exactly (Dekker 1971)."""
    factor = _SPLIT[_bits(xp, a)]

    def split(x: Array) -> tuple[Array, Array]:
        shifted = factor * x
        high = shifted - (shifted - x)
        return high, x - high

    product = a * b
    (a_high, a_low), (b_high, b_low) = split(a), split(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def rescale(xp: Any, mass: Array, axis: tuple[int, ...]) -> Array:
    """Return the power of two that brings the largest mass along ``axis`` near one, where no product overflows.

    A product by a power of two is exact, and so costs no digit (but that of an entry that becomes subnormal, 1e-290
    times smaller than the largest). It is built of constants: no library promises an exact ``exp2``.
    """
    peak = xp.max(mass, axis=axis, keepdims=True)
    scale = xp.ones_like(peak)
    for step in _STEPS[_bits(xp, mass)]:
        down, up = 2.0**-step, 2.0**step
        factor = where(xp, peak >= up, xp.full_like(peak, down), where(xp, peak < down, xp.full_like(peak, up), 1.0))
        scale, peak = scale * factor, peak * factor
    return scale


def phi(t: Array) -> Array:
    """Return (1 + t) log(1 + t) - t for ``|t| <= NEAR``, to full relative accuracy and with a good derivative.

    Loader's series (2000) for the deviance of a Poisson variable: with v = t / (2 + t), log(1 + t) is twice the area
    tangent of v, and the terms in v fall four times as fast in decimals as those of the power series in t.
    """
    v = t / (t + 2.0)
    w = v * v
    tail = 1.0 / 19.0
    for odd in (17, 15, 13, 11, 9, 7, 5, 3):
        tail = tail * w + 1.0 / odd
    return t * v + 2.0 * (1.0 + t) * v * w * tail


def safe_log(xp: Any, x: Array) -> Array:
    """Return log x, and 0 where x is 0: the value that 0 log 0 needs, and a derivative that is not NaN."""
    return xp.log(where(xp, x > 0, x, 1.0))


def log_ratio(xp: Any, p: Array, q: Array, log_q: Array | None = None) -> Array:
    """Return log(p / q) where both are positive, and 0 elsewhere.

    From the ratio where that is a normal number, from the difference of the logarithms where it would overflow or
    underflow. ``log_q`` is for a ``q`` that is itself rounded to zero.
    """
    info = xp.finfo(p.dtype)
    reach = 2.0**500 if _bits(xp, p) == 53 else 2.0**50
    normal = (q >= float(info.smallest_normal)) & (p >= float(info.smallest_normal))
    direct = normal & (p <= q * reach) & (q <= p * reach)
    ratio = where(xp, direct, p, 1.0) / where(xp, direct, q, 1.0)
    if log_q is None:
        apart = ~direct & (p > 0) & (q > 0)
        far_q = xp.log(where(xp, apart, q, 1.0))
    else:
        apart = ~direct & (p > 0)
        far_q = log_q
    far = xp.log(where(xp, apart, p, 1.0)) - far_q
    return where(xp, apart, far, xp.log(ratio))


def deviance(xp: Any, p: Array, q: Array, d: Array, log_pq: Array) -> Array:
    """Return q phi(d / q) = p log(p / q) - (p - q), elementwise: zero or more, q where p is zero.

    ``d`` is p - q with an error relative to itself, not to p; ``log_pq`` is log(p / q), or 0 where one of them is zero.
    """
    near = (q > 0) & (xp.abs(d) <= NEAR * q)
    # A harmless argument where the other branch is used: a NaN of this one would reach the gradient all the same.
    t = where(xp, near, d, 0.0) / where(xp, near, q, 1.0)
    return where(xp, near, q * phi(t), p * log_pq - d)


def divergence(xp: Any, p: Array, q: Array, d: Array, log_pq: Array, axis: tuple[int, ...]) -> Array:
    """Return KL of the normalised p and q, with the axes kept; the arguments are those of ``deviance``.

    The sums of p and q must be all but equal (|s| <= NEAR).
    """
    q_sum = xp.sum(q, axis=axis, keepdims=True)
    s = xp.sum(d, axis=axis, keepdims=True) / q_sum
    total = xp.sum(deviance(xp, p, q, d, log_pq), axis=axis, keepdims=True)
    value = (total - q_sum * phi(s)) / (q_sum * (1.0 + s))
    # At equality total is a few eps^2 of rounding, on either side of zero; NaN (unchecked input) stays NaN.
    return where(xp, value < 0, 0.0, value)


def weighted_divergence(
    xp: Any, p: Array, q: Array, d: Array, log_pq: Array, weights: Array, axis: tuple[int, ...]
) -> Array:
    """Return sum w P log(P / Q) of the normalised p and q, with the axes kept; of either sign.

    The weights enter as their largest plus the rest: what is common to all multiplies the formula of ``divergence``,
    so equal weights lose nothing, and only the rest sees first-order terms.
    """
    q_sum = xp.sum(q, axis=axis, keepdims=True)
    s = xp.sum(d, axis=axis, keepdims=True) / q_sum
    common = xp.max(weights, axis=axis, keepdims=True)
    rest = weights - common
    second_order = xp.sum(weights * deviance(xp, p, q, d, log_pq), axis=axis, keepdims=True) - common * q_sum * phi(s)
    first_order = xp.sum(rest * (d - xp.log1p(s) * p), axis=axis, keepdims=True)
    return (second_order + first_order) / (q_sum * (1.0 + s))


# ---------------------------------------------------------------------------------------------------------------------
# Exact differences: each returns p, q, d = p - q and log(p / q), with the sums of p and q brought together


def difference(xp: Any, p: Distribution, q: Distribution) -> tuple[Array, Array, Array, Array]:
    """Return p, with its sum made that of q, with q, their difference and their log-ratio."""
    if p.log is None and q.log is None:
        factor = q.total / p.total
        scaled, low = two_product(xp, factor, p.mass)
        if p.low is not None:
            low = low + factor * p.low
        if q.low is not None:
            low = low - q.low
        return scaled, q.mass, (scaled - q.mass) + low, log_ratio(xp, scaled, q.mass)
    (log_p, peak_p), (log_q, peak_q) = ((_log(xp, x), x.total * 0.0 if x.peak is None else x.peak) for x in (p, q))
    parts = (log_p, -log_q, -peak_p, peak_q, -xp.log(p.total / q.total))
    return _from_log_ratio(xp, p.mass * (q.total / p.total), q.mass, parts, p.support & q.support)


def independence(xp: Any, joint: Distribution, x: int, y: int) -> tuple[Array, Array, Array, Array]:
    """Return the joint masses with the outer product of their marginals, the difference and the log-ratio.

    The marginals are rounded sums, and the difference to their product is exact; see `mutual_information`.
    """
    if joint.log is None:
        a = xp.sum(joint.mass, axis=y, keepdims=True)
        b = xp.sum(joint.mass, axis=x, keepdims=True)
        factor = xp.sum(a, axis=x, keepdims=True) * xp.sum(b, axis=y, keepdims=True) / joint.total
        p, p_low = two_product(xp, factor, joint.mass)
        q, q_low = two_product(xp, a, b)
        if joint.low is not None:
            p_low = p_low + factor * joint.low
        return p, q, (p - q) + (p_low - q_low), log_ratio(xp, p, q, safe_log(xp, a) + safe_log(xp, b))
    assert joint.log is not None
    assert joint.peak is not None
    log_a, any_a = _log_marginal(xp, joint, y)
    log_b, any_b = _log_marginal(xp, joint, x)
    log_b = log_b - xp.log(joint.total)
    some = any_a & any_b
    q = where(xp, some, xp.exp(where(xp, some, log_a + log_b, 0.0)), 0.0)
    return _from_log_ratio(xp, joint.mass, q, (joint.log, -joint.peak, -log_a, -log_b), joint.support)


def mutual_information(xp: Any, joint: Distribution, x: int, y: int) -> Array:
    """Return the divergence of the joint masses from the product of their marginals, with the axes kept.

    From a product a b of any other two, it is KL(joint || a b) less KL(P_X || a) and KL(P_Y || b). Here a and b are
    rounded marginals, so the two are of the order of eps^2, half their chi-square, and matter below 1e-20.
    """
    p, q, d, log_pq = independence(xp, joint, x, y)
    value = divergence(xp, p, q, d, log_pq, (x, y))
    q_sum = xp.sum(q, axis=(x, y), keepdims=True)
    s = xp.sum(d, axis=(x, y), keepdims=True) / q_sum
    for summed, kept in ((x, y), (y, x)):
        mass = xp.sum(q, axis=summed, keepdims=True)
        t = xp.sum(d, axis=summed, keepdims=True) / where(xp, mass > 0, mass, 1.0) - s
        value = value - xp.sum(mass * t * t, axis=kept, keepdims=True) / (2.0 * q_sum)
    return where(xp, value < 0, 0.0, value)


def _log(xp: Any, x: Distribution) -> Array:
    return safe_log(xp, x.mass) if x.log is None else x.log


def _log_marginal(xp: Any, joint: Distribution, axis: int) -> tuple[Array, Array]:
    """Return the logarithms of the marginal masses, 0 for an empty one, and which are not empty."""
    assert joint.log is not None
    log = where(xp, joint.support, joint.log - joint.peak, -float("inf"))
    peak = xp.max(log, axis=axis, keepdims=True)
    some = peak > -float("inf")
    peak = where(xp, some, peak, 0.0)
    terms = xp.exp(where(xp, joint.support, log - peak, 0.0))
    total = xp.sum(where(xp, joint.support, terms, 0.0), axis=axis, keepdims=True)
    return peak + safe_log(xp, total), some


def _from_log_ratio(
    xp: Any, p: Array, q: Array, parts: tuple[Array, ...], both: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the four of ``difference`` from a log-ratio given as numbers to add, where ``both`` are positive."""
    ratio, low = parts[0], 0.0
    for part in parts[1:]:
        ratio, lost = two_sum(ratio, part)
        low = low + lost
    ratio = where(xp, both, ratio + low, 0.0)
    close = both & (xp.abs(ratio) < 1.0)
    return p, q, where(xp, close, q * xp.expm1(where(xp, close, ratio, 0.0)), p - q), ratio
