"""Squared and absolute errors of probabilities: the textbook in mpmath, finite differences, PyTorch, JAX, the edges."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from probability_truth import DIGITS, INF, distribution, error, softmax, through_softmax
from xent.functional import value_and_grad
from xent.functional.distance import absolute_error, binary_absolute_error, binary_squared_error, squared_error

RNG = np.random.default_rng(32)
SOFTMAX = {"squared": squared_error, "absolute": absolute_error}
BINARY = {"squared": binary_squared_error, "absolute": binary_absolute_error}


# ---- the truth


def cost(name, d):
    """What a difference costs, and its slope."""
    return (d**2, 2 * d) if name == "squared" else (abs(d), mpf(int(mpmath.sign(d))))


def spread(K, seed):
    rng = np.random.default_rng(seed)
    q = (rng.multinomial(2048, rng.dirichlet(np.ones(K))) / 2048).tolist()
    return (rng.normal(size=K) * 2).tolist(), q


ORDINARY = {
    "two": ([0.5, -1.25], 1),
    "two, soft": ([0.5, -1.25], [0.25, 0.75]),
    "one class": ([3.5], 0),
    "ties": ([2.0, 2.0, 2.0, -1.0], 2),
    **{f"{K} classes": (spread(K, K)[0], K // 2) for K in (3, 10, 100)},
    **{f"{K} classes, soft": spread(K, K) for K in (3, 10, 100)},
}
EDGES = {
    "offset 1e4": ([1e4, 1e4 + 0.5, 1e4 - 1], 0),
    "offset 1e6": ([1e6, 1e6 + 0.5, 1e6 - 2], 1),
    "offset 1e6, soft": ([1e6, 1e6 + 0.5, 1e6 - 2], [0.25, 0.5, 0.25]),
    "confident": ([30.0, 0.0, -5.0, 1.0], 0),
    "very confident": ([60.0, 0.0, -5.0, 1.0], 0),
    "as confident as can be": ([350.0, 0.0, -5.0, 1.0], 0),
    "confident, soft": ([60.0, 0.0, -5.0, 1.0], [1.0, 0.0, 0.0, 0.0]),
    "confident, less sure": ([20.0, -2.0, 0.5], [0.875, 0.0625, 0.0625]),
    "confident and wrong": ([30.0, 0.0, -5.0, 1.0], 2),
    "hopeless": ([300.0, -300.0], 1),
    "masked": ([1.0, -INF, 0.25], 2),
    "masked target": ([1.0, -INF, 0.25], 1),
    "masked, soft": ([1.0, -INF, 0.25], [0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("row", [*ORDINARY, *EDGES])
def test_against_mpmath(row, name, temperature):
    logits, target = {**ORDINARY, **EDGES}[row]
    # a difference of two probabilities has an absolute error of theirs, if it is not that of a confident row
    bound, floor = (1e-13, 1e-2) if row in ORDINARY else (1e-10, 0.0)
    with mpmath.workdps(3 * DIGITS):
        p, q = softmax(logits, temperature), distribution(target, len(logits))
        costs, slopes = zip(*(cost(name, a - b) for a, b in zip(p, q, strict=True)), strict=True)
        expected = through_softmax(p, slopes, temperature)
        value, grads = value_and_grad(SOFTMAX[name])([logits], np.array([target]), temperature=temperature)
        assert error(value, mpmath.fsum(costs)) < bound
        assert error(grads.logits[0], expected, floor) < bound
        if not isinstance(target, int):
            assert error(grads.target[0], [-v for v in slopes], floor) < bound


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("target", [0, [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
def test_probabilities_against_mpmath(name, target):
    p = [0.125, 0.5, 0.375]
    with mpmath.workdps(DIGITS):
        q = distribution(target, 3)
        costs, slopes = zip(*(cost(name, mpf(a) - b) for a, b in zip(p, q, strict=True)), strict=True)
        value, grads = value_and_grad(SOFTMAX[name])([p], np.array([target]), from_probs=True)
        assert error(value, mpmath.fsum(costs)) < 1e-15
        assert error(grads.logits[0], slopes) < 1e-15


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("z", [0.0, 1.5, -3.0, 40.0, -40.0, 345.0, -345.0, INF, -INF])
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
def test_binary_against_mpmath(y, z, name, temperature):
    with mpmath.workdps(3 * DIGITS):
        T = mpf(temperature)
        p = mpf(int(z > 0)) if math.isinf(z) else 1 / (1 + mpmath.exp(-mpf(z) / T))
        value, slope = cost(name, p - mpf(y))
        found, grads = value_and_grad(BINARY[name])([z], [y], temperature=temperature)
        assert error(found, value) < 1e-13
        assert error(grads.logits, [slope * p * (1 - p) / T]) < 1e-13
        assert error(grads.target, [-slope]) < 1e-13
        found, grads = value_and_grad(BINARY[name])([0.75], [y], from_probs=True)
        value, slope = cost(name, mpf(0.75) - mpf(y))
        assert error(found, value) < 1e-15
        assert error(grads.logits, [slope]) < 1e-15


def test_worked_numbers():
    p = np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])
    assert squared_error(p, [2, 1, 0], from_probs=True, reduction="none").round(2).tolist() == [0.54, 0.54, 1.34]
    better = np.array([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]])
    assert squared_error(better, [2, 1, 0], from_probs=True, reduction="none").round(2).tolist() == [0.14, 0.14, 0.74]
    assert absolute_error(better, [2, 1, 0], from_probs=True) == pytest.approx((0.6 + 0.6 + 1.4) / 3, rel=1e-15)


@pytest.mark.parametrize("name", SOFTMAX)
def test_two_classes_are_twice_the_binary_case(name):
    z, y = RNG.normal(size=50) * 4, RNG.integers(0, 2, 50)
    both = np.column_stack([np.zeros(50), z])
    value, grads = value_and_grad(SOFTMAX[name])(both, y, weight=[1.0, 2.5])
    binary, slopes = value_and_grad(BINARY[name])(z, y, pos_weight=2.5)
    assert value == pytest.approx(2 * binary, rel=1e-14)
    np.testing.assert_allclose(grads.logits[:, 1], 2 * slopes.logits, rtol=1e-13)


# ---- the rules


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", ["", "class", "sample", "both"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", SOFTMAX)
def test_weights_and_reductions(name, soft, weighted, reduction):
    a, y = RNG.normal(size=(3, 4, 5)), RNG.integers(0, 5, (3, 4))
    q = RNG.dirichlet(np.ones(5), (3, 4)) if soft else np.eye(5)[y]
    w = RNG.random(5) if weighted in ("class", "both") else None
    sample = RNG.random((3, 4)) if weighted in ("sample", "both") else None
    e = np.exp(a)
    d = e / e.sum(axis=-1, keepdims=True) - q
    each = (d**2 if name == "squared" else abs(d)).sum(axis=-1)
    share = (q * (1.0 if w is None else w)).sum(axis=-1) * (1.0 if sample is None else sample)
    expected = {"none": share * each, "sum": (share * each).sum(), "mean": (share * each).sum() / share.sum()}
    options = {"weight": w, "sample_weight": sample, "reduction": reduction}
    np.testing.assert_allclose(SOFTMAX[name](a, q if soft else y, **options), expected[reduction], rtol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 2.0], [0.0, 0.5, 2.0]])
@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("name", SOFTMAX)
def test_gradients_by_finite_differences(name, from_probs, weight, reduction):
    a, q = RNG.normal(size=(4, 3)), RNG.dirichlet(np.ones(3) * 5, 4)
    if from_probs:
        a = RNG.dirichlet(np.ones(3) * 5, 4)
    options = {
        "weight": weight,
        "sample_weight": [1.0, 2.0, 0.5, 0.0],
        "reduction": reduction,
        "from_probs": from_probs,
    }
    loss = SOFTMAX[name]
    _, grads = value_and_grad(loss)(a, q, **options)
    for x, g, function in (
        (a, grads.logits, lambda v: loss(v, q, **options)),
        (q, grads.target, lambda v: loss(a, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-5
        step -= step.mean(axis=1, keepdims=True)  # which keeps distributions what they are
        change = function(x + step) - function(x - step)
        assert float((g * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)
    y = np.array([0, 2, 1, -100])
    _, grads = value_and_grad(loss)(a, y, **options)
    step = RNG.normal(size=a.shape) * 1e-5
    step -= step.mean(axis=1, keepdims=True)
    change = loss(a + step, y, **options) - loss(a - step, y, **options)
    assert float((grads.logits * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5, 0.0])
@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("name", BINARY)
def test_binary_gradients_by_finite_differences(name, from_probs, pos_weight, reduction):
    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    y = RNG.uniform(0.1, 0.9, (2, 3))
    options = {
        "pos_weight": pos_weight,
        "sample_weight": RNG.random((2, 3)),
        "reduction": reduction,
        "from_probs": from_probs,
    }
    loss = BINARY[name]
    _, grads = value_and_grad(loss)(z, y, **options)
    for x, g, function in (
        (z, grads.logits, lambda v: loss(v, y, **options)),
        (y, grads.target, lambda v: loss(z, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-6
        change = function(x + step) - function(x - step)
        assert float((g * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)


def test_the_slope_where_nothing_is_wrong_is_zero():
    p = np.array([[0.25, 0.75]])
    for loss in (absolute_error, squared_error):
        value, grads = value_and_grad(loss)(p, p, from_probs=True)
        assert value == 0
        assert not grads.logits.any()
        assert not grads.target.any()
    assert not value_and_grad(binary_absolute_error)([0.0], [0.5])[1].logits.any()
