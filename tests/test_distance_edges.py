"""Squared and absolute errors of probabilities: their precision beside PyTorch's, their edges, bad input."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from probability_truth import DIGITS, INF, KINDS, error, maker, softmax, through_softmax
from xent.functional import value_and_grad
from xent.functional.distance import absolute_error, binary_absolute_error, binary_squared_error, squared_error

RNG = np.random.default_rng(36)
SOFTMAX = {"squared": squared_error, "absolute": absolute_error}
BINARY = {"squared": binary_squared_error, "absolute": binary_absolute_error}
EVERY = {**SOFTMAX, **{f"binary {name}": loss for name, loss in BINARY.items()}}


# ---- precision


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("K", [3, 50, 2000])
def test_no_worse_than_torch_in_the_same_dtype(dtype, K):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    rng = np.random.default_rng(K)
    a = torch.tensor(rng.normal(size=(200, K)) * 4).to(getattr(torch, dtype))
    y = torch.tensor(rng.integers(0, K, 200))
    z, t = a[:, 0].contiguous(), (y % 2).to(a.dtype)
    one_hot = functional.one_hot(y, K).to(a.dtype)
    for ours, target, x, theirs in (
        (squared_error, y, a, lambda v: functional.mse_loss(v.softmax(1), one_hot, reduction="sum") / 200),
        (absolute_error, y, a, lambda v: functional.l1_loss(v.softmax(1), one_hot, reduction="sum") / 200),
        (binary_squared_error, t, z, lambda v: functional.mse_loss(v.sigmoid(), t)),
        (binary_absolute_error, t, z, lambda v: functional.l1_loss(v.sigmoid(), t)),
    ):
        true, grads = value_and_grad(ours)(x.double(), target, wrt="logits")
        off = {}
        for name, loss in (("ours", lambda v, f=ours, y=target: f(v, y)), ("theirs", theirs)):
            leaf = x.clone().requires_grad_()
            value = loss(leaf)
            value.backward()
            assert leaf.grad.dtype == x.dtype
            wrong = leaf.grad.double() - grads.logits
            off[name] = abs(float(value.detach()) - float(true)), float(wrong.abs().max()), float(wrong.norm())
        assert ours(x, target).dtype == torch.float32
        assert off["ours"][0] <= off["theirs"][0] + 2e-7 * float(true)
        assert off["ours"][1] <= off["theirs"][1] + 6e-8 * float(
            grads.logits.abs().max()
        )  # the worst of many roundings
        assert off["ours"][2] <= off["theirs"][2] * 1.001


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confident_row_keeps_its_digits(dtype):
    """`mse_loss` of PyTorch's softmax has lost the target's part, and the gradient with it."""
    torch = pytest.importorskip("torch")
    a = np.array([[40.0, 0.0, 1.0]], dtype)
    with mpmath.workdps(DIGITS):
        p = softmax(a[0])
        d = [p[0] - 1, p[1], p[2]]
        expected = through_softmax(p, [2 * v for v in d])
        value, grads = value_and_grad(squared_error)(a, [0])
        assert error(value, mpmath.fsum(v**2 for v in d)) < 8 * np.finfo(dtype).eps
        assert error(grads.logits[0], expected) < 12 * np.finfo(dtype).eps
        leaf = torch.tensor(a, requires_grad=True)
        torch.nn.functional.mse_loss(leaf.softmax(1), torch.tensor([[1.0, 0.0, 0.0]]), reduction="sum").backward()
        assert error(leaf.grad[0], expected) > 0.1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_in_and_out(dtype):
    wide = np.float64 if dtype is np.float64 else np.float32
    value, grads = value_and_grad(squared_error)(np.zeros((2, 4), dtype), np.full((2, 4), 0.25, dtype))
    assert value.dtype == wide
    assert grads.logits.dtype == grads.target.dtype == dtype
    value, grads = value_and_grad(binary_absolute_error)(np.zeros(2, dtype), np.ones(2, dtype))
    assert value.dtype == wide
    assert grads.logits.dtype == grads.target.dtype == dtype
    assert binary_squared_error(np.zeros(2, dtype), [True, False]) == 0.25


# ---- edges


def case(name, rng=RNG):
    """A loss, logits and a target of three rows."""
    if name.startswith("binary"):
        return EVERY[name], rng.normal(size=3).astype(np.float32), np.array([0.0, 1.0, 0.25], np.float32)
    return EVERY[name], rng.normal(size=(3, 4)).astype(np.float32), rng.dirichlet(np.ones(4), 3).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EVERY)
def test_nothing_of_a_row_left_out_is_read(name, kind):
    make = maker(kind)
    loss, a, q = case(name)
    bad, bad_q, w = a.copy(), q.copy(), np.array([1.0, 0.0, 2.0], np.float32)
    bad[1] = bad_q[1] = math.nan
    kept = w > 0
    value, grads = value_and_grad(loss)(make(bad), make(bad_q), sample_weight=make(w))
    assert float(value) == pytest.approx(float(loss(a[kept], q[kept], sample_weight=w[kept])), rel=1e-6)
    for g in grads:
        g = np.asarray(g)
        assert np.isfinite(g).all()
        assert not g[1].any()
    y = np.array([1, -100, 0]) if a.ndim > 1 else np.array([1.0, -100.0, 0.0], np.float32)
    value, grads = value_and_grad(loss)(make(bad), make(y), wrt="logits")
    assert float(value) == pytest.approx(float(loss(a[kept], y[kept])), rel=1e-6)
    assert np.isfinite(np.asarray(grads.logits)).all()
    assert not np.asarray(grads.logits)[1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", EVERY)
def test_nothing_kept_is_zero(name, reduction, kind):
    make = maker(kind)
    loss, a, q = case(name)
    a = np.full_like(a, math.nan)
    for x, t, w in ((a, q, make(np.zeros(3, np.float32))), (a[:0], q[:0], None)):
        value, grads = value_and_grad(loss)(make(x), make(t), sample_weight=w, reduction=reduction)
        assert float(value) == 0
        assert grads.logits.shape == x.shape
        assert not np.asarray(grads.logits).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
@pytest.mark.parametrize("name", SOFTMAX)
def test_a_row_that_is_none_is_nan_alone(name, bad, kind):
    a = maker(kind)([bad, [1.0, 2.0, 3.0]])
    for target in ([0, 1], [[0.25, 0.5, 0.25]] * 2):
        target = maker(kind)(target)
        assert np.isnan(np.asarray(SOFTMAX[name](a, target, reduction="none"))).tolist() == [True, False]
        _, grads = value_and_grad(SOFTMAX[name])(a, target, reduction="sum", wrt="logits")
        assert np.isfinite(np.asarray(grads.logits)).all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_and_undefined_logits_of_two_classes(kind):
    z, y = maker(kind)([INF, -INF, INF, -INF, math.nan]), maker(kind)([1.0, 0.0, 0.0, 1.0, 1.0])
    for loss in BINARY.values():
        each = np.asarray(loss(z, y, reduction="none"))
        np.testing.assert_array_equal(each, [0, 0, 1, 1, math.nan])
        _, grads = value_and_grad(loss)(z, y, reduction="sum", wrt="logits")
        np.testing.assert_array_equal(np.asarray(grads.logits)[:4], 0)


def test_under_jit_what_is_invalid_makes_its_row_nan():
    jax = pytest.importorskip("jax")
    a, y = jax.numpy.zeros((2, 3)), jax.numpy.asarray([1, 7])
    for loss in SOFTMAX.values():
        each, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda a, y, f=loss: f(a[None], y[None]))))(a, y)
        assert np.isnan(each).tolist() == [False, True]
        assert np.isnan(slope).any(axis=1).tolist() == [False, True]
    for loss in BINARY.values():
        each = jax.jit(lambda y, f=loss: f(jax.numpy.zeros(2), y, reduction="none"))(jax.numpy.asarray([1.0, 7.0]))
        assert np.isnan(each).tolist() == [False, True]


def test_offsets_change_nothing():
    a = RNG.integers(-40, 40, (5, 6)) / 4
    y, q = RNG.integers(0, 6, 5), RNG.multinomial(64, np.ones(6) / 6, 5) / 64
    for loss in SOFTMAX.values():
        for target in (y, q):
            for T in (1.0, 3.0):
                for offset in (1e4, -1e6):
                    assert loss(a + offset, target, temperature=T) == loss(a, target, temperature=T)


def test_bad_input():
    a, p = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    for message, call in {
        "label 3 at row 1": lambda: squared_error(a, [0, 3]),
        r"row 0 sums to 0\.75": lambda: absolute_error(a, [[0.25, 0.25, 0.25]] * 2),
        "weight must be finite and not negative": lambda: squared_error(a, [0, 1], weight=[1, -1, 1]),
        "temperature must be": lambda: squared_error(a, [0, 1], temperature=-1.0),
        "temperature needs logits": lambda: absolute_error(p, [0, 1], temperature=2.0, from_probs=True),
        r"probabilities must be probabilities.*leave from_probs out": lambda: squared_error(
            [[2.0, -1, 0]], [0], from_probs=True
        ),
        "reduction must be": lambda: squared_error(a, [0, 1], reduction="avg"),
        r"must have the same shape: \(2,\) and \(3,\)": lambda: binary_squared_error([0.0, 1.0], [0, 1, 1]),
        r"target must be in \[0, 1\] .* row 1 is 2": lambda: binary_absolute_error([0.0, 1.0], [0, 2]),
        r"probabilities must be in \[0, 1\]: row 0 is 1.5": lambda: binary_squared_error([1.5], [1], from_probs=True),
        "pos_weight must be finite": lambda: binary_squared_error([0.0], [1], pos_weight=-1.0),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.warns(UserWarning, match="pass from_probs=True if they are"):
        squared_error(p, [0, 1])
