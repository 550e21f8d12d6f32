"""Divergences and distillation as losses: the textbook in mpmath, finite differences, PyTorch, JAX, and the edges."""

from __future__ import annotations

import functools
import inspect
import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from probability_truth import DIGITS, INF, distribution, error, js, kl, softmax, through_softmax
from xent import cross_entropy, info
from xent.autodiff import rows
from xent.functional import value_and_grad
from xent.functional.divergence import distillation_loss, js_loss, kl_loss, read_distillation
from xent.rows.divergence import JSRows, KLRows

RNG = np.random.default_rng(31)
reverse_kl = functools.partial(kl_loss, reverse=True)
DIVERGENCES = {"kl": kl_loss, "reverse_kl": reverse_kl, "js": js_loss}


def gradients(name, *args, **options):
    """Value and gradients of one of DIVERGENCES."""
    if name == "reverse_kl":
        options["reverse"] = True
    return value_and_grad(js_loss if name == "js" else kl_loss)(*args, **options)


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
    """As many digits as logits of size a allow: a change of eps a in them changes the ratio, of size `apart`, by as much."""
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


# PyTorch's forward mode loads what it has itself deprecated.
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
OPS = {
    "kl": KLRows(),
    "kl T": KLRows(1.7),
    "reverse": KLRows(reverse=True),
    "js": JSRows(0.8),
    "teacher": KLRows(1.7, teacher=True),
    "teacher reverse": KLRows(0.8, teacher=True, reverse=True),
    "teacher js": JSRows(1.7, teacher=True),
}


def arrays(op, near=False):
    """Logits and a target, off the distributions too: the entries of q are free."""
    a = RNG.normal(size=(3, 4)) * 2
    if op.teacher:
        return a, a + 1e-3 * RNG.normal(size=(3, 4)) if near else RNG.normal(size=(3, 4)) * 2
    e = np.exp(a / op.temperature)
    p = e / e.sum(axis=1, keepdims=True)
    return a, p * (1 + 1e-3 * RNG.normal(size=(3, 4))) if near else RNG.uniform(0.05, 1.0, (3, 4))


@FORWARD_MODE
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch_derivatives(op, near):
    torch = pytest.importorskip("torch")
    a, q = (torch.tensor(x, requires_grad=True) for x in arrays(op, near))
    label = torch.tensor([0, -1, 0])
    assert torch.autograd.gradcheck(lambda a, q: rows(op, a, q, label), (a, q))
    assert torch.autograd.gradgradcheck(lambda a, q: rows(op, a, q, label), (a, q))
    assert torch.autograd.gradcheck(
        lambda a, q: rows(op, a, q, label), (a, q), check_forward_ad=True, check_backward_ad=False
    )


@FORWARD_MODE
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch_func(op):
    torch = pytest.importorskip("torch")
    a, q = (torch.tensor(x) for x in arrays(op))

    def one(a, q):
        return rows(op, a[None], q[None], torch.zeros(1, dtype=torch.int64))[0]

    each = torch.func.vmap(one)(a, q)
    torch.testing.assert_close(each, rows(op, a, q, torch.zeros(3, dtype=torch.int64)), rtol=1e-14, atol=0)
    slopes = torch.func.vmap(torch.func.grad(one, argnums=(0, 1)))(a, q)
    for i, slope in enumerate(slopes):
        forward = torch.func.vmap(torch.func.jacfwd(one, argnums=i))(a, q)
        torch.testing.assert_close(forward, slope, rtol=1e-12, atol=1e-14)
    bend = torch.func.hessian(one)(a[0], q[0])
    torch.testing.assert_close(bend, bend.T, rtol=1e-12, atol=1e-14)
    v, h = torch.tensor(RNG.normal(size=4)), 1e-5
    slope = torch.func.grad(one)
    numeric = (slope(a[0] + h * v, q[0]) - slope(a[0] - h * v, q[0])) / (2 * h)
    torch.testing.assert_close(bend @ v, numeric, rtol=1e-7, atol=1e-9)


@pytest.fixture
def x64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@FORWARD_MODE
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_jax_derivatives(x64, op, near):
    jax, jnp = x64, x64.numpy
    from jax.test_util import check_grads

    a, q = arrays(op, near)
    label = jnp.asarray([0, -1, 0])
    np.testing.assert_allclose(
        jax.jit(lambda a, q: rows(op, a, q, label))(a, q), op.value(np, a, q, np.asarray(label)), rtol=1e-12
    )
    each = lambda a, q: rows(op, jnp.asarray(a), jnp.asarray(q), label)  # noqa: E731 - it is given NumPy arrays too
    check_grads(each, (jnp.asarray(a), jnp.asarray(q)), order=2, modes=["fwd", "rev"], eps=1e-6, rtol=1e-4)

    def one(a, q):
        return rows(op, a[None], q[None], label[:1])[0]

    slopes = jax.vmap(jax.grad(one, argnums=(0, 1)))(jnp.asarray(a), jnp.asarray(q))
    for slope, d in zip(slopes, op.grads(np, (True, True, False), a, q, np.zeros(3, int)), strict=False):
        np.testing.assert_allclose(slope, d, rtol=1e-11, atol=1e-14)
    torch = pytest.importorskip("torch")
    bend = torch.func.hessian(lambda a: rows(op, a[None], torch.tensor(q[:1]), torch.tensor([0]))[0])(
        torch.tensor(a[0])
    )
    found = jax.hessian(one)(jnp.asarray(a[0]), jnp.asarray(q[0]))
    np.testing.assert_allclose(found, bend, rtol=1e-10, atol=1e-13)


def test_the_three_libraries_agree(x64):
    torch = pytest.importorskip("torch")
    a, b, y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 5)), np.array([0, 1, -100, 2, 4, 3])
    q = RNG.dirichlet(np.ones(5), 6)
    w = np.array([1.0, 2.0, 1.0, 0.0, 0.5, 1.0])
    options = {"target": y, "alpha": 0.6, "temperature": 2.0, "divergence": "js", "sample_weight": w}
    for make in (torch.tensor, x64.numpy.asarray):
        for name in DIVERGENCES:
            value, grads = gradients(name, a, q, sample_weight=w)
            other, theirs = gradients(name, make(a), make(q), sample_weight=make(w))
            assert float(other) == pytest.approx(value, rel=1e-13)
            for g, t in zip(grads, theirs, strict=True):
                np.testing.assert_allclose(t, g, rtol=1e-12, atol=1e-15)
        value, grads = value_and_grad(distillation_loss)(a, b, **options)
        other, theirs = value_and_grad(distillation_loss)(make(a), make(b), **{**options, "target": make(y)})
        assert float(other) == pytest.approx(value, rel=1e-13)
        for g, t in zip(grads, theirs, strict=True):
            np.testing.assert_allclose(t, g, rtol=1e-12, atol=1e-15)


def test_under_jit_an_invalid_label_makes_its_row_nan():
    jax = pytest.importorskip("jax")
    a = jax.numpy.zeros((2, 3))
    loss = jax.jit(lambda y: js_loss(a, y, reduction="none"))(jax.numpy.asarray([1, 7]))
    assert np.isnan(loss).tolist() == [False, True]


# ---- precision


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("K", [3, 50, 2000])
def test_no_worse_than_torch_in_the_same_dtype(dtype, K):
    torch = pytest.importorskip("torch")
    a = torch.tensor(RNG.normal(size=(200, K)) * 4).to(getattr(torch, dtype))
    b = torch.tensor(RNG.normal(size=(200, K)) * 4).to(a.dtype)
    q = torch.softmax(b, dim=1)
    log_p = torch.nn.functional.log_softmax
    for target, ours, theirs in (
        (q, kl_loss, lambda a, q: torch.nn.functional.kl_div(log_p(a, 1), q, reduction="batchmean")),
        (
            b,
            distillation_loss,
            lambda a, b: torch.nn.functional.kl_div(log_p(a, 1), log_p(b, 1), reduction="batchmean", log_target=True),
        ),
    ):
        wide = [x.double() for x in (a, target)]
        if ours is kl_loss:  # PyTorch takes q as it is, and the sum of what is rounded is not 1
            wide[1] /= wide[1].sum(dim=1, keepdim=True)
            true, grads = value_and_grad(ours)(*wide, wrt="logits")
        else:
            true, grads = value_and_grad(ours)(*wide, wrt="logits")
        found = {}
        for name, loss in (("ours", ours), ("theirs", theirs)):
            leaf = a.clone().requires_grad_()
            value = loss(leaf, target)
            value.backward()
            assert leaf.grad.dtype == a.dtype
            found[name] = (
                abs(float(value.detach()) - float(true)),
                float((leaf.grad.double() - grads.logits).abs().max()),
            )
        assert ours(a, target).dtype == torch.float32
        assert found["ours"][0] <= found["theirs"][0] + 3e-7 * float(true)
        assert found["ours"][1] <= found["theirs"][1] * 1.001 + 1e-18


def test_float32_keeps_its_digits_where_torch_has_none():
    torch = pytest.importorskip("torch")
    a = torch.tensor(RNG.normal(size=(50, 100)) * 4, dtype=torch.float32)
    b = a * (1 + 1e-4 * torch.tensor(RNG.normal(size=(50, 100)), dtype=torch.float32))
    true = float(distillation_loss(a.double(), b.double()))
    log_p = torch.nn.functional.log_softmax
    theirs = torch.nn.functional.kl_div(log_p(a, 1), log_p(b, 1), reduction="batchmean", log_target=True)
    assert float(distillation_loss(a, b)) == pytest.approx(true, rel=1e-6)
    assert abs(float(theirs) - true) > 1e-2 * true


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_in_and_out(dtype):
    a, q = np.zeros((2, 4), dtype), np.full((2, 4), 0.25, dtype)
    value, grads = value_and_grad(js_loss)(a, q)
    assert value.dtype == (np.float64 if dtype is np.float64 else np.float32)
    assert grads.logits.dtype == grads.target.dtype == dtype
    assert kl_loss([[1, 2]], [1]).dtype == np.float64


# ---- edges


KINDS = ["numpy", "torch", "jax"]


def maker(kind):
    if kind == "numpy":
        return np.asarray
    if kind == "torch":
        return pytest.importorskip("torch").tensor
    return pytest.importorskip("jax.numpy").asarray


@pytest.mark.parametrize("kind", KINDS)
def test_a_zero_of_the_target_against_a_masked_class(kind):
    """PyTorch and optax say NaN."""
    make = maker(kind)
    a, q = make([[1.0, -INF, 0.25]]), make([[0.5, 0.0, 0.5]])
    for name in DIVERGENCES:
        value, grads = gradients(name, a, q)
        assert 0 < float(value) < 0.1
        assert np.isfinite(np.asarray(grads.logits)).all()
        assert np.asarray(grads.logits)[0, 1] == np.asarray(grads.target)[0, 1] == 0
    value, grads = value_and_grad(kl_loss)(a, make([[0.5, 0.25, 0.25]]))
    assert float(value) == INF
    np.testing.assert_allclose(grads.logits[0, 1], -0.25, rtol=1e-6)
    assert np.isfinite(np.asarray(grads.logits)).all()
    value, grads = value_and_grad(distillation_loss)(a, make([[2.0, -INF, 0.0]]), temperature=2.0)
    assert np.isfinite(float(value))
    assert np.isfinite(np.asarray(grads.logits)).all()
    assert np.isfinite(np.asarray(grads.teacher_logits)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
def test_a_row_that_is_none_is_nan_alone(kind, bad):
    make = maker(kind)
    a, q = make([bad, [1.0, 2.0, 3.0]]), make([[0.25, 0.5, 0.25]] * 2)
    for name in DIVERGENCES:
        each = np.asarray(DIVERGENCES[name](a, q, reduction="none"))
        assert np.isnan(each).tolist() == [True, False]
        _, grads = gradients(name, a, q, reduction="sum", wrt="logits")
        assert np.isnan(np.asarray(grads.logits)).all(axis=1).tolist() == [True, False]
        assert np.isfinite(np.asarray(grads.logits)[1]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_a_row_left_out_is_read(kind):
    make = maker(kind)
    a, q = RNG.normal(size=(3, 4)).astype(np.float32), RNG.dirichlet(np.ones(4), 3).astype(np.float32)
    b = a[::-1].copy()
    bad = [x.copy() for x in (a, q, b)]
    for x in bad:
        x[1] = math.nan
    w = np.array([1.0, 0.0, 2.0], np.float32)
    kept = w > 0
    for name in DIVERGENCES:
        value, grads = gradients(name, make(bad[0]), make(bad[1]), sample_weight=make(w))
        assert float(value) == pytest.approx(
            float(DIVERGENCES[name](a[kept], q[kept], sample_weight=w[kept])), rel=1e-6
        )
        for g in grads:
            g = np.asarray(g)
            assert np.isfinite(g).all()
            assert not g[1].any()
    options = {"alpha": 0.5, "temperature": 2.0}
    y = np.array([0, -100, 2])
    value, grads = value_and_grad(distillation_loss)(make(bad[0]), make(bad[2]), target=make(y), **options)
    assert float(value) == pytest.approx(
        float(distillation_loss(a[kept], b[kept], target=y[kept], **options)), rel=1e-6
    )
    for g in grads:
        g = np.asarray(g)
        assert np.isfinite(g).all()
        assert not g[1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nothing_kept_is_zero(kind, reduction):
    make = maker(kind)
    nan = np.full((2, 3), math.nan, np.float32)
    for a, q, w in ((nan, nan, np.zeros(2, np.float32)), (nan[:0], nan[:0], None)):
        for name in DIVERGENCES:
            value, grads = gradients(
                name, make(a), make(q), sample_weight=None if w is None else make(w), reduction=reduction
            )
            assert float(value) == 0
            assert not np.asarray(grads.logits).any()
            assert grads.logits.shape == a.shape
        value, grads = value_and_grad(distillation_loss)(make(a), make(a), sample_weight=w, reduction=reduction)
        assert float(value) == 0
        assert not np.asarray(grads.logits).any()
    assert float(distillation_loss(make(nan), make(nan), target=make(np.array([-100, -100])), alpha=0.5)) == 0


def test_one_hot_target():
    a = np.array([[30.0, 0.0, -5.0], [60.0, 0.0, -5.0], [0.0, 30.0, 1.0]])
    q = np.eye(3)[[0, 0, 0]]
    np.testing.assert_allclose(
        kl_loss(a, q, reduction="none"), cross_entropy(a, [0, 0, 0], reduction="none"), rtol=1e-14
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [1e4, 1e6, -1e6])
def test_offsets_change_nothing(dtype, offset):
    a = (RNG.integers(-40, 40, (5, 6)) / 4).astype(dtype)
    b = (RNG.integers(-40, 40, (5, 6)) / 4).astype(dtype)
    q = (RNG.multinomial(64, np.ones(6) / 6, 5) / 64).astype(dtype)
    moved = a + dtype(offset)
    for name in DIVERGENCES:
        np.testing.assert_array_equal(DIVERGENCES[name](moved, q), DIVERGENCES[name](a, q))
        for T in (1.0, 3.0):
            options = {"divergence": name, "temperature": T}
            np.testing.assert_array_equal(distillation_loss(moved, b, **options), distillation_loss(a, b, **options))
            np.testing.assert_array_equal(
                distillation_loss(a, b + dtype(offset), **options), distillation_loss(a, b, **options)
            )


# ---- bad input


def test_bad_input():
    a, q = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    for message, call in {
        r"row 0 sums to 0\.75": lambda: kl_loss(a, [[0.25, 0.25, 0.25]] * 2),
        r"target has the shape \(3,\)": lambda: js_loss(a, [0, 1, 2]),
        "label 3 at row 1": lambda: js_loss(a, [0, 3]),
        "temperature must be": lambda: kl_loss(a, q, temperature=0.0),
        "reduction must be": lambda: kl_loss(a, q, reduction="avg"),
        r"alpha must be in \[0, 1\], not 2": lambda: distillation_loss(a, a, alpha=2),
        "gives the target a share of 0.25, and there is none": lambda: distillation_loss(a, a, alpha=0.75),
        r"must have the same shape: \(2, 3\) and \(2, 2\)": lambda: distillation_loss(a, a[:, :2]),
        "divergence must be one of 'kl', 'reverse_kl', 'js', not 'tv'": lambda: distillation_loss(
            a, a, divergence="tv"
        ),
        "teacher_logits need a last axis": lambda: distillation_loss(a, 1.0),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    from xent import TopK

    with pytest.raises(TypeError, match="a TopK target is for cross_entropy"):
        kl_loss(a, TopK([[0], [1]], [[1.0], [1.0]]))
    with pytest.warns(UserWarning, match=r"^logits look like probabilities .*: pass their logarithms if they are"):
        kl_loss(q, q)
    with pytest.warns(UserWarning, match="teacher_logits look like"):
        distillation_loss(a, q)


def test_signatures_say_what_can_be_given():
    assert list(inspect.signature(js_loss).parameters) == [
        "logits", "target", "sample_weight", "ignore_index", "reduction", "temperature"
    ]  # fmt: skip
