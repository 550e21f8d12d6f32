"""Divergences and distillation as losses: their precision beside PyTorch's, their edges, bad input."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from probability_truth import DIVERGENCES, INF, KINDS, gradients, maker
from xent import cross_entropy
from xent.functional import value_and_grad
from xent.functional.divergence import distillation_loss, js_loss, kl_loss

RNG = np.random.default_rng(34)


# ---- precision


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("K", [3, 50, 2000])
def test_no_worse_than_torch_in_the_same_dtype(dtype, K):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(K)
    a, b = (torch.tensor(rng.normal(size=(200, K)) * 4).to(getattr(torch, dtype)) for _ in range(2))
    q = torch.softmax(b, dim=1)
    log_softmax, kl_div = torch.nn.functional.log_softmax, torch.nn.functional.kl_div
    log_p = log_softmax(a.double(), 1)
    for target, wide, ours, theirs in (
        (q, q.double(), kl_loss, lambda a, q: kl_div(log_softmax(a, 1), q, reduction="batchmean")),
        (
            b,
            b.double().softmax(1),
            distillation_loss,
            lambda a, b: kl_div(log_softmax(a, 1), log_softmax(b, 1), reduction="batchmean", log_target=True),
        ),
    ):
        # of the rounded q as it is: its sums are not 1, and the two losses go on from the distributions differently
        sums = wide.sum(dim=1)
        textbook = (torch.xlogy(wide, wide) - wide * log_p).sum(dim=1)
        slope = (sums[:, None] * log_p.exp() - wide) / 200
        off = {}
        for name, loss, true in (("ours", ours, (textbook - sums + 1).mean()), ("theirs", theirs, textbook.mean())):
            leaf = a.clone().requires_grad_()
            value = loss(leaf, target)
            value.backward()
            assert leaf.grad.dtype == a.dtype
            wrong = leaf.grad.double() - slope
            off[name] = abs(float(value.detach() - true)), float(wrong.abs().max()), float(wrong.norm())
        assert ours(a, target).dtype == torch.float32
        assert off["ours"][0] <= off["theirs"][0] + 3e-7 * float(textbook.mean())
        assert off["ours"][1] <= off["theirs"][1] + 6e-8 * float(slope.abs().max())  # the worst of many roundings
        assert off["ours"][2] <= off["theirs"][2] * 1.001


def test_float32_keeps_its_digits_where_torch_has_none():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    a = torch.tensor(rng.normal(size=(50, 100)) * 4, dtype=torch.float32)
    b = a * (1 + 1e-4 * torch.tensor(rng.normal(size=(50, 100)), dtype=torch.float32))
    true = float(distillation_loss(a.double(), b.double()))
    log_p = torch.nn.functional.log_softmax
    theirs = torch.nn.functional.kl_div(log_p(a, 1), log_p(b, 1), reduction="batchmean", log_target=True)
    assert float(distillation_loss(a, b)) == pytest.approx(true, rel=1e-6)
    assert abs(float(theirs) - true) > 1e-3 * true


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_in_and_out(dtype):
    a, q = np.zeros((2, 4), dtype), np.full((2, 4), 0.25, dtype)
    value, grads = value_and_grad(js_loss)(a, q)
    assert value.dtype == (np.float64 if dtype is np.float64 else np.float32)
    assert grads.logits.dtype == grads.target.dtype == dtype
    assert kl_loss([[1, 2]], [1]).dtype == np.float64


# ---- edges


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
