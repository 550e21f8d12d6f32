"""One table of rows for every loss, backend and dtype, and the textbook's cross-entropy of each in 50 digits."""

from __future__ import annotations

import functools

import mpmath
import numpy as np

INF, NAN = float("inf"), float("nan")
_RNG = np.random.default_rng(20)

Label = int | list[float]


def one_hot(k: int, K: int) -> list[float]:
    """A certain label as a distribution."""
    return [float(j == k) for j in range(K)]


def _random(K: int, scale: float) -> tuple[list[float], list[float]]:
    z = _RNG.normal(size=K) * scale
    q = _RNG.multinomial(1024, _RNG.dirichlet(np.ones(K))) / 1024
    return z.astype(np.float32).tolist(), q.tolist()


# name: (logits, target): a label or a distribution. Every number is exact in float32, and every distribution sums to
# one exactly, so that all dtypes see the same row.
ROWS: dict[str, tuple[list[float], Label]] = {
    "two classes": ([0.5, -1.25], 1),
    "ties": ([2.0, 2.0, 2.0, -1.0], 2),
    "one class": ([3.5], 0),
    "offset 1e4": ([10000.0, 10000.5, 9999.0], 0),
    "offset 1e6": ([1e6, 1e6 + 0.5, 1e6 - 2.0], 1),
    "offset -1e6": ([-1e6, -1e6 + 0.5, -1e6 - 2.0], 2),
    "confident": ([30.0, 0.0, -5.0, 1.0], 0),
    "very confident": ([60.0, 0.0, -5.0, 1.0], 0),
    "confident and wrong": ([30.0, 0.0, -5.0, 1.0], 2),
    "certain": ([1e4, -1e4], 0),
    "hopeless": ([1e4, -1e4], 1),
    "masked class": ([1.0, -INF, 0.25], 2),
    "masked target": ([1.0, -INF, 0.25], 1),
    "soft": ([1.0, -2.0, 0.5], [0.25, 0.5, 0.25]),
    "soft over a half": ([20.0, -2.0, 0.5], [0.875, 0.0625, 0.0625]),
    "soft certain": ([20.0, -2.0, 0.5], [1.0, 0.0, 0.0]),
    "soft zero on a masked class": ([1.0, -INF, 0.25], [0.5, 0.0, 0.5]),
    "soft on a masked class": ([1.0, -INF, 0.25], [0.5, 0.25, 0.25]),
    "wide": (_random(4500, 3.0)[0], 4321),
    "middle": (_random(70, 5.0)[0], 33),
}
# what the edges above are for a few classes, for more than a block of them holds
_MANY: list[float] = [-0.125 * (j % 9) for j in range(37)]
ROWS |= {
    "many, offset": ([v + 1e6 for v in _MANY], 30),
    "many, confident": ([30.0, *_MANY], 0),
    "many, very confident": ([*_MANY, 60.0], 37),
    "many, confident and wrong": ([30.0, *_MANY], 20),
    "many, masked classes": ([*_MANY, -INF, -INF], 35),
    "many, masked target": ([*_MANY, -INF], 37),
    "many, soft certain": ([20.0, *_MANY], one_hot(0, 38)),
    "many, soft zero on a masked class": ([*_MANY, -INF], [0.5, *one_hot(35, 36)[:-1], 0.5, 0.0]),
}
for _K in (2, 3, 7, 8, 9, 16, 17, 24, 25, 31, 32, 33, 64, 100):
    _z, _q = _random(_K, 2.0)
    ROWS[f"{_K} classes"] = (_z, int(_RNG.integers(_K)))
    ROWS[f"{_K} classes soft"] = (_z, _q)


def undefined(K: int) -> dict[str, list[float]]:
    """Rows of logits with no softmax: their loss and gradient are NaN, whatever the target."""
    rest = [0.5 * j for j in range(K - 1)]
    return {"a NaN logit": [*rest, NAN], "a logit of +inf": [INF, *rest], "nothing but -inf": [-INF] * K}


def truth(logits: list[float], target: Label, smoothing: float = 0.0) -> tuple[float, np.ndarray]:
    """Loss ``-sum q log p`` and its gradient ``p sum(q) - q`` in the logits, from the definition of softmax.

    >>> loss, gradient = truth([0.0, 0.0], 1)
    >>> round(loss, 6), gradient.tolist()
    (0.693147, [0.5, -0.5])
    """
    loss, grad = _truth(tuple(logits), target if isinstance(target, int) else tuple(target), smoothing)
    return loss, grad.copy()


@functools.lru_cache(maxsize=256)
def _truth(logits: tuple[float, ...], target: int | tuple[float, ...], smoothing: float) -> tuple[float, np.ndarray]:
    with mpmath.workdps(50):
        K = len(logits)
        q = one_hot(target, K) if isinstance(target, int) else target
        q = [(1 - mpmath.mpf(smoothing)) * mpmath.mpf(v) + mpmath.mpf(smoothing) / K for v in q]
        e = [mpmath.mpf(0) if v == -INF else mpmath.exp(mpmath.mpf(v)) for v in logits]
        total = mpmath.fsum(e)
        p = [v / total for v in e]
        loss = mpmath.mpf(0)
        for a, b in zip(q, p, strict=True):
            if a:
                loss += mpmath.inf if b == 0 else -a * mpmath.log(b)
        return float(loss), np.array([float(b - a) for a, b in zip(q, p, strict=True)])
