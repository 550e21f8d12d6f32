"""Divergences and distillation as losses: the textbook in mpmath, finite differences, PyTorch, JAX, and the edges."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from probability_truth import (
    DIGITS,
    DIVERGENCES,
    INF,
    distribution,
    error,
    gradients,
    js,
    kl,
    reverse_kl,
    softmax,
    through_softmax,
)
from xent import cross_entropy, info
from xent.functional import value_and_grad
from xent.functional.divergence import distillation_loss, js_loss, kl_loss, read_distillation

RNG = np.random.default_rng(31)

# ---- the truth


def truth(name, p, q):
    """The divergence, and its derivatives in the entries of p and of q."""
    m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    pairs = list(zip(p, q, m, strict=True))
    if name == "kl":
        in_p = [-b / a if a else mpf(0) for a, b, _ in pairs]
        in_q = [mpmath.log(b / a) if a and b else mpmath.inf if b else mpf(0) for a, b, _ in pairs]
        return kl(q, p), in_p, in_q
    if name == "reverse_kl":
        in_p = [mpmath.log(a / b) if a and b else mpf(0) for a, b, _ in pairs]
        return kl(p, q), in_p, [1 - a / b if b else -mpmath.inf if a else mpf(0) for a, b, _ in pairs]
    in_p = [mpmath.log(a / c) / 2 if a else mpf(0) for a, _, c in pairs]
    return js(p, q), in_p, [mpmath.log(b / c) / 2 if b else mpf(0) for _, b, c in pairs]


def in_logits(name, p, q, slopes, temperature=1.0):
    """The gradient in the logits of p; where the slope in a masked probability is infinite, from the closed form."""
    if name == "kl":
        return [(a - b) / mpf(float(temperature)) for a, b in zip(p, q, strict=True)]
    return through_softmax(p, slopes, temperature)


def spread(K, scale, seed):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=K) * scale).tolist(), ((rng.multinomial(2048 - K, np.ones(K) / K) + 1) / 2048).tolist()


# name: (logits, target, the same for a teacher's logits). Every number and every sum of a target is exact.
ORDINARY = {
    "two": ([0.5, -1.25], [0.25, 0.75], [1.0, 0.25]),
    "ties": ([2.0, 2.0, 2.0, -1.0], [0.25, 0.25, 0.25, 0.25], [1.0, 1.0, 3.0, 1.0]),
    "one class": ([3.5], [1.0], [-2.0]),
    **{f"{K} classes": (*spread(K, 2.0, K), spread(K, 2.0, K + 1)[0]) for K in (3, 10, 100)},
}
EDGES = {
    "offset 1e4": ([1e4, 1e4 + 0.5, 1e4 - 1], [0.25, 0.5, 0.25], [-1e4, -1e4, 3 - 1e4]),
    "offset 1e6": ([1e6, 1e6 + 0.5, 1e6 - 2], [0.25, 0.5, 0.25], [0.0, 1.0, 0.5]),
    "offset 1e9 of one alone": ([1e9 + 0.1, 1e9 - 5.3, 1e9], [0.25, 0.5, 0.25], [0.3, 7.7, 0.1]),
    "confident": ([30.0, 0.0, -5.0, 1.0], [1.0, 0.0, 0.0, 0.0], [35.0, 0.0, -5.0, 2.0]),
    "very confident": ([60.0, 0.0, -5.0, 1.0], [1.0, 0.0, 0.0, 0.0], [70.0, 0.0, -5.0, 1.5]),
    "confident, another": ([30.0, 0.0, -5.0, 1.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 30.0, 1.0]),
    "confident, soft": ([20.0, -2.0, 0.5], [0.875, 0.0625, 0.0625], [0.5, 0.5, 18.0]),
    "hopeless": ([1e4, -1e4], [0.0, 1.0], [-1e4, 1e4]),
    "masked, zero": ([1.0, -INF, 0.25], [0.5, 0.0, 0.5], [2.0, -INF, 0.0]),
    "masked, not zero": ([1.0, -INF, 0.25], [0.5, 0.25, 0.25], [2.0, 1.0, 0.0]),
    "zero, not masked": ([1.0, 3.0, 0.25], [0.5, 0.0, 0.5], [2.0, -INF, 0.0]),
}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("row", [*ORDINARY, *EDGES])
def test_against_mpmath(row, name, temperature):
    logits, target, _ = {**ORDINARY, **EDGES}[row]
    bound, floor = (1e-13, 1e-2) if row in ORDINARY else (1e-10, 0.0)
    with mpmath.workdps(DIGITS):
        p, q = softmax(logits, temperature), distribution(target, len(logits))
        value, in_p, in_q = truth(name, p, q)
        found, grads = gradients(name, [logits], [target], temperature=temperature)
        assert error(found, value) < bound
        assert error(grads.target[0], in_q, floor) < bound
        if np.isfinite(float(value)) or name == "kl":
            assert error(grads.logits[0], in_logits(name, p, q, in_p, temperature), floor) < bound
        else:  # all probability flows to where the target has none
            signs = [0 if a == 0 else 1 if b == 0 else -1 for a, b in zip(p, q, strict=True)]
            assert grads.logits[0].tolist() == [s * INF if s else 0 for s in signs]


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("row", [*ORDINARY, *EDGES])
def test_teacher_against_mpmath(row, name, temperature):
    logits, _, teacher = {**ORDINARY, **EDGES}[row]
    bound, floor = (1e-13, 1e-2) if row in ORDINARY else (1e-10, 0.0)
    with mpmath.workdps(DIGITS):
        p, q = softmax(logits, temperature), softmax(teacher, temperature)
        value, in_p, in_q = truth(name, p, q)
        square = mpf(float(temperature)) ** 2
        found, grads = value_and_grad(distillation_loss)([logits], [teacher], temperature=temperature, divergence=name)
        assert error(found, square * value) < bound
        if not np.isfinite(float(value)):  # the one that has the zero has a finite gradient, p - q
            (ours, a, b) = (grads.logits, p, q) if name == "kl" else (grads.teacher_logits, q, p)
            flat = [(x - y) * mpf(temperature) for x, y in zip(a, b, strict=True)]
            assert error(ours[0], flat) < bound
            return
        expected = in_logits(name, p, q, in_p, temperature)
        assert error(grads.logits[0], [square * v for v in expected], floor) < bound
        other = in_logits("kl" if name == "reverse_kl" else "", q, p, in_q, temperature)
        assert error(grads.teacher_logits[0], [square * v for v in other], floor) < bound


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("apart", [1e-2, 1e-5, 1e-8, 1e-11])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_student_that_is_nearly_its_teacher(offset, apart, name, temperature):
    """All digits, down to divergences of 1e-23; log-softmaxes subtracted would leave none."""
    student = RNG.normal(size=12) * 3
    teacher = student * (1 + apart * RNG.normal(size=12)) + offset  # the offset rounds it, exactly as it is given
    with mpmath.workdps(DIGITS):
        p, q = softmax(student, temperature), softmax(teacher, temperature)
        value, in_p, in_q = truth(name, p, q)
        found, grads = value_and_grad(distillation_loss)(
            student[None], teacher[None], temperature=temperature, divergence=name
        )
        square = mpf(temperature) ** 2
        assert error(found, square * value) < 1e-13
        # an entry that happens to be next to 0 is as good as the row's largest
        for g, true in (
            (grads.logits, in_logits(name, p, q, in_p, temperature)),
            (grads.teacher_logits, in_logits("kl" if name == "reverse_kl" else "", q, p, in_q, temperature)),
        ):
            largest = max(abs(v) for v in true) * square
            assert max(abs(mpf(float(a)) - square * b) for a, b in zip(g[0], true, strict=True)) < 1e-14 * largest


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6])
def test_a_target_that_is_nearly_the_softmax(apart, name):
    """As many digits as logits allow: a change of eps a in them changes the ratio, of size `apart`, by as much."""
    a = RNG.normal(size=12) * 2
    with mpmath.workdps(DIGITS):
        p = softmax(a)
        q = np.array([float(v) for v in p]) * (1 + apart * RNG.uniform(-1, 1, 12))
        q /= q.sum()
        value, in_p, _ = truth(name, p, distribution(q, 12))
        found, grads = gradients(name, a[None], q[None], wrt="logits")
        allowed = 4 * 2.3e-16 * np.abs(a).max() / apart
        assert error(found, value) < allowed
        expected = [float(v) for v in in_logits(name, p, distribution(q, 12), in_p)]
        np.testing.assert_allclose(grads.logits[0], expected, rtol=0, atol=allowed * np.abs(expected).max())
    assert gradients(name, a[None], q[None])[0] >= 0


def test_equal_is_zero():
    a = RNG.normal(size=(5, 7)) * 10
    for name in DIVERGENCES:
        value, grads = value_and_grad(distillation_loss)(a, a, divergence=name, temperature=1.5)
        assert value == 0
        assert not grads.logits.any()
        assert not grads.teacher_logits.any()
    assert float(kl_loss(np.zeros((1, 4)), np.full((1, 4), 0.25))) == 0


# ---- what they are made of


def test_they_are_the_measures_of_info():
    a, q = RNG.normal(size=(6, 5)) * 3, RNG.dirichlet(np.ones(5), 6)
    kinds = {"kind": ("probs", "log_probs"), "normalize": True}
    np.testing.assert_allclose(kl_loss(a, q, reduction="none"), info.kl_divergence(q, a, **kinds), rtol=1e-13)
    kinds["kind"] = kinds["kind"][::-1]
    np.testing.assert_allclose(reverse_kl(a, q, reduction="none"), info.kl_divergence(a, q, **kinds), rtol=1e-13)
    np.testing.assert_allclose(js_loss(a, q, reduction="none"), info.js_divergence(a, q, **kinds), rtol=1e-13)
    half = q.astype(np.float16)
    assert kl_loss(a, half) == pytest.approx(
        np.mean(info.kl_divergence(half, a, kind=("probs", "log_probs"), normalize=True)), rel=1e-4
    )


def test_kl_is_cross_entropy_less_entropy():
    a, q, w = RNG.normal(size=(6, 5)), RNG.dirichlet(np.ones(5), 6), RNG.random(6)
    rest = np.average(info.entropy(q), weights=w)
    value, grads = value_and_grad(kl_loss)(a, q, sample_weight=w)
    of_ce, ce_grads = value_and_grad(cross_entropy)(a, q, sample_weight=w)
    assert value == pytest.approx(of_ce - rest, rel=1e-13)
    np.testing.assert_allclose(grads.logits, ce_grads.logits, atol=1e-15)


def test_labels_are_distributions():
    a, y = RNG.normal(size=(4, 5)), np.array([0, 4, -100, 2])
    q = np.eye(5)[np.where(y < 0, 0, y)]
    kept = (y >= 0).astype(float)
    assert kl_loss(a, y) == pytest.approx(cross_entropy(a, y), rel=1e-14)
    assert js_loss(a, y) == pytest.approx(js_loss(a, q, sample_weight=kept), rel=1e-15)
    assert reverse_kl(a, y) == INF


def test_distillation_is_the_sum_of_its_parts():
    a, b, y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 5)) * 2, RNG.integers(0, 5, 6)
    q, w, T = RNG.dirichlet(np.ones(5), 6), RNG.random(6), 2.5
    e = np.exp(b / T)
    soft = kl_loss(a, e / e.sum(axis=1, keepdims=True), temperature=T, sample_weight=w) * T**2
    assert distillation_loss(a, b, temperature=T, sample_weight=w) == pytest.approx(soft, rel=1e-13)
    for target in (y, q):
        hard, hard_grads = value_and_grad(cross_entropy)(a, target, sample_weight=w)
        options = {"target": target, "temperature": T, "sample_weight": w}
        names = ("logits", "teacher_logits", *(("target",) if target is q else ()))
        value, grads = read_distillation(a, b, alpha=0.3, **options).gradients(names)
        assert value == pytest.approx(0.3 * soft + 0.7 * hard, rel=1e-13)
        alone = read_distillation(a, b, alpha=1, **options).gradients(names)[1]
        np.testing.assert_allclose(grads["logits"], 0.3 * alone["logits"] + 0.7 * hard_grads.logits, atol=1e-16)
        np.testing.assert_allclose(grads["teacher_logits"], 0.3 * alone["teacher_logits"], atol=1e-16)
        if target is q:
            np.testing.assert_allclose(grads["target"], 0.7 * hard_grads.target, rtol=1e-14)
            assert not alone["target"].any()
        value, grads = read_distillation(a, b, alpha=0, **options).gradients(names)
        assert value == pytest.approx(hard, rel=1e-15)
        assert not grads["teacher_logits"].any()


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_weights_and_reductions(name, reduction):
    a, q, w = RNG.normal(size=(3, 4, 5)), RNG.dirichlet(np.ones(5), (3, 4)), RNG.random((3, 4))
    each = DIVERGENCES[name](a, q, reduction="none")
    assert each.shape == (3, 4)
    expected = {"none": w * each, "sum": (w * each).sum(), "mean": np.average(each, weights=w)}[reduction]
    np.testing.assert_allclose(DIVERGENCES[name](a, q, sample_weight=w, reduction=reduction), expected, rtol=1e-14)


# ---- gradients


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_by_finite_differences(name, reduction):
    a, q = RNG.normal(size=(4, 3)), RNG.dirichlet(np.ones(3) * 5, 4)
    options = {"sample_weight": [1.0, 2.0, 0.5, 0.0], "reduction": reduction, "temperature": 1.5}
    loss = DIVERGENCES[name]
    _, grads = gradients(name, a, q, **options)
    for x, g, function in (
        (a, grads.logits, lambda v: loss(v, q, **options)),
        (q, grads.target, lambda v: loss(a, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-5
        step -= step.mean(axis=1, keepdims=True)  # which keeps distributions what they are
        change = function(x + step) - function(x - step)
        assert float((g * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_distillation_gradients_by_finite_differences(divergence):
    a, b = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3))
    options = {"target": [0, 2, 1, -100], "alpha": 0.6, "temperature": 2.0, "divergence": divergence}
    _, grads = value_and_grad(distillation_loss)(a, b, **options)
    for x, g, function in (
        (a, grads.logits, lambda v: distillation_loss(v, b, **options)),
        (b, grads.teacher_logits, lambda v: distillation_loss(a, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-5
        assert float((g * 2 * step).sum()) == pytest.approx(
            function(x + step) - function(x - step), rel=1e-6, abs=1e-13
        )
