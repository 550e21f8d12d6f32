"""The loss functions as the textbooks write them, option by option, in mpmath: no log-sum-exp, no statistics, no slopes."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

DIGITS = 60
STEP = mpf(10) ** -20


def exact(array):
    """The numbers of an array, exactly."""
    return [exact(v) for v in array] if np.ndim(array) else mpf(float(array))


def row_loss(
    z, q, f, *, weight, smoothing=0.0, z_loss=0.0, penalty=0.0, temperature=1.0, softcap=None, prior=None, mask=None
):
    """What a row costs, and its weight ``sum_j q_j w_j``: each label by itself, smoothed over the classes that are kept."""
    K = len(z)
    kept = [j for j in range(K) if mask is None or mask[j]]
    a = [v if softcap is None else mpf(softcap) * mpmath.tanh(v / mpf(softcap)) for v in z]
    a = [v / mpf(temperature) for v in a]
    masses = {j: mpmath.exp(a[j]) * (1 if prior is None else mpf(float(prior[j]))) for j in kept}
    total = mpmath.fsum(masses.values())
    p = {j: v / total for j, v in masses.items()}
    cost = {j: f(v) for j, v in p.items()}
    even = mpmath.fsum(cost.values()) / len(kept)
    e = mpf(smoothing)
    more = mpf(z_loss) * mpmath.log(total) ** 2 + mpf(penalty) * mpmath.fsum(v * mpmath.log(v) for v in p.values())
    shares = [mpf(float(w)) * v for w, v in zip(weight, q, strict=True)]
    size = mpmath.fsum(shares)
    loss = mpmath.fsum(s * ((1 - e) * cost[j] + e * even) for j, s in enumerate(shares) if s)
    return loss + size * more, size


def loss(z, q, f, *, reduction="mean", weight=None, sample=None, mask=None, **options):
    """The loss of rows z (N, K) with targets q (N, K), lists of mpmath's numbers."""
    N, K = len(z), len(z[0])
    weight = [1.0] * K if weight is None else weight
    losses, sizes = [], []
    for i in range(N):
        share = mpf(1 if sample is None else float(sample[i]))
        if not share:
            continue
        one, size = row_loss(z[i], q[i], f, weight=weight, mask=None if mask is None else np.broadcast_to(mask, (N, K))[i], **options)
        losses.append(share * one)
        sizes.append(share * size)
    total = mpmath.fsum(losses)
    return total / mpmath.fsum(sizes) if reduction == "mean" else total


def truth(z, q, f, v=None, **options):
    """Loss, gradient in z (N, K), and Hessian times v (N, K), as floats, by differences in 60 digits."""
    with mpmath.workdps(DIGITS):
        z, q = exact(z), exact(q)

        def gradient(z):
            return [[_slope(lambda z: loss(z, q, f, **options), z, i, j) for j in range(len(z[0]))] for i in range(len(z))]

        product = None
        if v is not None:
            h, v = mpf(10) ** -12, exact(v)
            up, down = (
                gradient([[a + s * h * b for a, b in zip(*pair, strict=True)] for pair in zip(z, v, strict=True)])
                for s in (1, -1)
            )
            product = np.array([[float((a - b) / (2 * h)) for a, b in zip(*r, strict=True)] for r in zip(up, down, strict=True)])
        return float(loss(z, q, f, **options)), np.array(gradient(z), dtype=float), product


def _slope(function, z, i, j):
    sides = []
    for step in (STEP, -STEP):
        moved = [list(row) for row in z]
        moved[i][j] += step
        sides.append(function(moved))
    return (sides[0] - sides[1]) / (2 * STEP)
