"""The loss functions as the textbooks write them, option by option, in mpmath: no log-sum-exp and no slopes."""

from __future__ import annotations

import mpmath
import numpy as np
from mpmath import mpf

DIGITS = 60
STEP = mpf(10) ** -15


def exact(array):
    """The numbers of an array, exactly."""
    return [exact(v) for v in array] if np.ndim(array) else mpf(float(array))


def row_loss(
    z, q, f, *, weight, mask, smoothing=0.0, z_loss=0.0, penalty=0.0, temperature=1.0, softcap=None, prior=None
):
    """What a row costs, and its weight ``sum_j q_j w_j``: each label by itself, smoothed over the classes kept."""
    kept = [j for j in range(len(z)) if mask[j]]
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


def truth(z, q, f, v=None, *, reduction="mean", weight=None, sample=None, mask=True, **options):
    """Loss, gradient in z (N, K), and Hessian times v (N, K), as floats, by differences in 60 digits."""
    N, K = np.shape(z)
    weight = np.ones(K) if weight is None else weight
    sample = np.ones(N) if sample is None else sample
    mask = np.broadcast_to(mask, (N, K))
    total = divisor = mpf(0)
    grad, product = [], []
    with mpmath.workdps(DIGITS):
        for i in range(N):
            share = mpf(float(sample[i]))
            a, aim = exact(z[i]), exact(q[i])

            def row(a, i=i, aim=aim):
                return row_loss(a, aim, f, weight=weight, mask=mask[i], **options)

            loss, size = row(a)
            total, divisor = total + share * loss, divisor + share * size
            grad.append([share * d for d in _gradient(lambda a, row=row: row(a)[0], a)] if share else [mpf(0)] * K)
            if v is not None:
                along = exact(v[i])
                sides = (
                    _gradient(lambda a, row=row: row(a)[0], [x + s * STEP * y for x, y in zip(a, along, strict=True)])
                    for s in (1, -1)
                )
                product.append([share * (b - c) / (2 * STEP) for b, c in zip(*sides, strict=True)])
        scale = 1 / divisor if reduction == "mean" else mpf(1)
        curved = np.array([[float(scale * d) for d in row] for row in product]) if product else None
        return float(scale * total), np.array([[float(scale * d) for d in row] for row in grad]), curved


def _gradient(function, a):
    """By central differences."""
    found = []
    for j in range(len(a)):
        up, down = ([x + s * STEP if k == j else x for k, x in enumerate(a)] for s in (1, -1))
        found.append((function(up) - function(down)) / (2 * STEP))
    return found
