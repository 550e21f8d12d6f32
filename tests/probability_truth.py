"""What the tests of divergences and distances share: losses of a softmax as textbooks write them, in probabilities, and
their gradients by the chain rule, in mpmath.
"""

from __future__ import annotations

import functools

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from xent.functional import value_and_grad
from xent.functional.divergence import js_loss, kl_loss

INF = float("inf")
DIGITS = 100
KINDS = ["numpy", "torch", "jax"]
# PyTorch's forward mode loads what it has itself deprecated.
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def maker(kind):
    """What makes arrays of a library."""
    if kind == "numpy":
        return np.asarray
    if kind == "torch":
        return pytest.importorskip("torch").tensor
    return pytest.importorskip("jax.numpy").asarray


def x64_mode():
    """JAX in float64, for a fixture."""
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


def softmax(logits, temperature=1.0):
    """exp(a / T) over its sum; a masked class has 0."""
    T = mpf(float(temperature))
    e = [mpf(0) if v == -INF else mpmath.exp(mpf(float(v)) / T) for v in logits]
    total = mpmath.fsum(e)
    return [v / total for v in e]


def distribution(target, K):
    """A label, or probabilities with the sum that the exact numbers have, as exact numbers of sum one."""
    if isinstance(target, int):
        return [mpf(int(j == target)) for j in range(K)]
    q = [mpf(float(v)) for v in target]
    total = mpmath.fsum(q)
    return [v / total for v in q]


def through_softmax(p, slopes, temperature=1.0):
    """``sum_k slope_k dp_k / da_j`` with ``dp_k / da_j = p_k (1[j = k] - p_j) / T``, the whole Jacobian."""
    K = len(p)
    return [
        mpmath.fsum(slopes[k] * p[k] * ((1 if j == k else 0) - p[j]) for k in range(K)) / mpf(float(temperature))
        for j in range(K)
    ]


def kl(x, y):
    total = mpf(0)
    for a, b in zip(x, y, strict=True):
        if a:
            total += mpmath.inf if b == 0 else a * mpmath.log(a / b)
    return total


def js(x, y):
    m = [(a + b) / 2 for a, b in zip(x, y, strict=True)]
    return (kl(x, m) + kl(y, m)) / 2


def error(found, true, floor=0.0):
    """The largest relative error of an entry; infinities must be equal, and what is too small for float64 nearly 0.

    With `floor`, an entry counts as at least this share of the largest: one that happens to be next to 0, a difference
    of two numbers that are not, has no more digits than they.
    """
    worst = 0.0
    floor *= max(abs(t) for t in np.ravel(np.array(true, dtype=object)))
    for f, t in zip(np.ravel(found), np.ravel(np.array(true, dtype=object)), strict=True):
        if mpmath.isinf(t):
            assert f == float(t), (found, true)
        elif abs(t) < mpf(10) ** -300:
            assert abs(f) < 1e-299, (found, true)
        else:
            assert np.isfinite(f), (found, true)
            worst = max(worst, float(abs(mpf(float(f)) - t) / max(abs(t), floor)))
    return worst


reverse_kl = functools.partial(kl_loss, reverse=True)
DIVERGENCES = {"kl": kl_loss, "reverse_kl": reverse_kl, "js": js_loss}


def gradients(name, *args, **options):
    """Value and gradients of one of DIVERGENCES."""
    if name == "reverse_kl":
        options["reverse"] = True
    return value_and_grad(js_loss if name == "js" else kl_loss)(*args, **options)
