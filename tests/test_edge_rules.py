"""Numeric edges that are rules: invalid labels and distributions, nothing kept, probabilities of 0 and 1."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from edge_rows import COMPILED, DTYPES, FUNCTIONS, INF, NAN, UNTRACED, WAYS, each_row, floats, make, reduced
from xent import (
    TopK,
    cross_entropy,
    focal_loss,
    generalized_cross_entropy,
    linear_cross_entropy,
    poly_loss,
    value_and_grad,
)
from xent.testing._textbook import Textbook


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


# ---- labels that are none


@pytest.mark.parametrize("label", [-1, 3, 1000, -(2**31)])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", UNTRACED)
def test_a_label_out_of_range_is_an_error(way, name, label):
    function, options, _ = FUNCTIONS[name]
    z, y = np.zeros((2, 3)), np.array([1, label])
    with pytest.raises(ValueError, match=f"label {label} at row 1 is outside 0 ... 2: the logits have K = 3"):
        function(make(way, z), make(way, y), **options)


@pytest.mark.parametrize(
    ("way", "name"), [("torch vmap", name) for name in FUNCTIONS] + [("jax jit", "CE"), ("jax jit", "focal 0.5")]
)
def test_a_label_out_of_range_that_nobody_can_read_is_nan(way, name):
    function, options, _ = FUNCTIONS[name]
    y = np.array([1, -1, 0, 3, -100, 1000, 2])
    z = np.random.default_rng(0).normal(size=(len(y), 3))
    losses, _, grads, _ = each_row(way, function, z, y, **options)
    none = np.array([False, True, False, True, False, True, False])
    assert np.isnan(losses).tolist() == none.tolist()
    assert np.isnan(grads).all(axis=1).tolist() == none.tolist()
    assert np.isnan(grads).any(axis=1).tolist() == none.tolist()
    fine = ~none
    expected = each_row("numpy", function, z[fine], y[fine], **options)
    np.testing.assert_allclose(losses[fine], expected[0], rtol=1e-13)
    np.testing.assert_allclose(grads[fine], expected[2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("extra", [{"weight": np.array([1.0, 2.0, 0.5])}, {"mask": np.array([True, True, True])}])
def test_nor_do_options_hide_it(extra):
    y, z = np.array([1, -1, 3]), np.random.default_rng(0).normal(size=(3, 3))
    for way in ("torch vmap", "jax jit"):
        for options in ({}, {"label_smoothing": 0.1}):
            losses, _, grads, _ = each_row(way, cross_entropy, z, y, **extra, **options)
            assert np.isnan(losses).tolist() == [False, True, True]
            assert np.isnan(grads).all(axis=1).tolist() == [False, True, True]


def test_in_a_linear_layer_too():
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(4, 5)), rng.normal(size=(3, 5)), np.array([1, -1, 3, -100])
    with pytest.raises(ValueError, match="label -1 at row 1"):
        linear_cross_entropy(torch.tensor(x), torch.tensor(w), torch.tensor(y))
    losses = jax.jit(lambda x, y: linear_cross_entropy(x, jnp.asarray(w), y, reduction="none"))(
        jnp.asarray(x), jnp.asarray(y)
    )
    assert np.isnan(np.asarray(losses)).tolist() == [False, True, True, False]
    each = torch.func.vmap(lambda x, y: linear_cross_entropy(x, torch.tensor(w), y))(torch.tensor(x), torch.tensor(y))
    assert torch.isnan(each).tolist() == [False, True, True, False]


@pytest.mark.parametrize("index", [-1, 3])
def test_a_class_out_of_range_among_a_few(index):
    z = np.random.default_rng(0).normal(size=(2, 3))
    few = TopK(np.array([[0, 1], [0, index]]), np.array([[0.5, 0.5], [0.5, 0.5]]))
    for way in UNTRACED:
        with pytest.raises(ValueError, match=f"index {index} at row 1 of a TopK target is outside 0 ... 2"):
            cross_entropy(make(way, z), make(way, few))
    for rest in ("zero", "spread"):

        def loss(z, index, probs, rest=rest):
            return cross_entropy(z, TopK(index, probs, rest), reduction="none")

        arrays = jnp.asarray(z), jnp.asarray(few.indices), jnp.asarray(few.probs)
        found, grads = jax.jit(lambda *a: (loss(*a), jax.grad(lambda z: loss(z, *a[1:]).sum())(a[0])))(*arrays)
        assert np.isnan(np.asarray(found)).tolist() == [False, True]
        assert np.isnan(np.asarray(grads)).all(axis=1).tolist() == [False, True]
        each = torch.func.vmap(lambda *a: loss(*(v[None] for v in a)))(*(torch.tensor(np.asarray(v)) for v in arrays))
        assert torch.isnan(each[:, 0]).tolist() == [False, True]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool"])
@pytest.mark.parametrize("way", ["torch", "torch vmap", "jax", "jax jit"])
def test_labels_of_any_integer_dtype(way, kind):
    if way == "jax jit" and kind not in ("int32", "uint8"):
        pytest.skip("compiled for some")
    if way == "torch vmap" and kind in ("uint32", "uint64"):
        pytest.skip("PyTorch cannot compare these in a batch")
    z, y = np.random.default_rng(0).normal(size=(4, 2)), np.array([0, 1, 1, 0])
    expected = each_row("numpy", cross_entropy, z, y)
    found = each_row(way, cross_entropy, z, y.astype(kind))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-14)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-14)


# ---- nothing to learn from


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", ["numpy", "torch", "jax", "jax jit"])
def test_nothing_kept_is_zero(way, name):
    if way == "jax jit" and name not in ("CE", "focal 0.5"):
        pytest.skip("compiled for some")
    function, options, _ = FUNCTIONS[name]
    bad, y = np.array([[NAN, 0.0, INF], [-INF, -INF, -INF]]), np.array([0, 1])
    cases = {
        "empty": (np.zeros((0, 3)), np.zeros(0, np.int64), {}),
        "all ignored": (bad, np.array([-100, -100]), {}),
        "no sample weight": (bad, y, {"sample_weight": np.zeros(2)}),
        "no class weight": (bad, y, {"weight": np.array([0.0, 0.0, 1.0])}),
        "empty mixtures": (np.zeros((0, 3)), np.zeros((0, 3)), {}),
        "mixtures of no weight": (bad, np.full((2, 3), [0.5, 0.5, 0.0]), {"weight": np.array([0.0, 0.0, 1.0])}),
    }
    for case, (z, target, extra) in cases.items():
        value, grad = reduced(way, function, z, target, **options, **extra)
        assert value.shape == (), case
        assert value == 0, case
        assert grad.shape == z.shape, case
        assert (grad == 0).all(), case


@pytest.mark.parametrize("way", ["numpy", "torch", "jax"])
def test_a_linear_layer_with_nothing_kept(way):
    w = np.ones((3, 4))
    for x, y in ((np.zeros((0, 4)), np.zeros(0, np.int64)), (np.full((2, 4), NAN), np.array([-100, -100]))):
        value, grads = value_and_grad(linear_cross_entropy)(make(way, x), make(way, w), make(way, y))
        assert float(value) == 0
        for grad, like in zip(grads, (x, w), strict=True):
            assert grad.shape == like.shape
            assert (floats(grad)[0] == 0).all()


# ---- probabilities given as such

PROBS = {
    "ordinary": ([0.25, 0.5, 0.25], 1),
    "certain": ([1.0, 0.0, 0.0], 0),
    "impossible": ([1.0, 0.0, 0.0], 1),
    "nearly certain": ([1e-20, 1.0, 0.0], 1),
    "p = 1e-20": ([1e-20, 1.0, 0.0], 0),
    "ignored": ([NAN, INF, -1.0], -100),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "CE, smoothing"])
@pytest.mark.parametrize("way", WAYS)
def test_probabilities(way, name, dtype):
    """``f(p)`` and ``f'(p)`` in the label's entry, nothing in the others."""
    if way == "jax jit" and (name, dtype) not in COMPILED:
        pytest.skip("compiled for some")
    function, options, f = FUNCTIONS[name]
    p = np.array([row for row, _ in PROBS.values()]).astype(DTYPES[dtype])
    y = np.array([label for _, label in PROBS.values()])
    losses, _, grads, _ = each_row(way, function, p, y, from_probs=True, **options)
    eps = 1e-14 if dtype == "float64" else 1e-6
    for i, label in enumerate(y.tolist()):
        if label < 0:
            assert losses[i] == 0
            assert (grads[i] == 0).all()
            continue
        q = mpf(float(p[i, label]))
        with mpmath.workdps(60):
            true = Textbook(f)(-mpmath.log(q) if q else mpmath.inf)
            slope = mpmath.diff(f, q, h=q * mpf(10) ** -25, direction=-1) if q else -mpmath.inf
            # the slopes of the others' probabilities are 0: the row is not normalised again
        assert losses[i] == pytest.approx(float(true), rel=eps)
        assert not np.signbit(losses[i])
        coarse = float(ml_dtypes.finfo(DTYPES[dtype]).eps)
        if (name == "generalised" and q == 0) or q == 1:
            assert not np.isnan(grads[i]).any()
            continue
        assert grads[i, label] == pytest.approx(float(slope), rel=max(coarse, eps), abs=1e-14)
        assert (np.delete(grads[i], label) == 0).all()


@pytest.mark.parametrize("way", ["numpy", "torch", "torch vmap", "jax"])
def test_slopes_of_certain_and_impossible_probabilities(way):
    p, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0])
    for name, at_one, at_zero in (
        ("CE", -1.0, -INF),
        ("focal 0.5", 0.0, -INF),
        ("focal 2", 0.0, -INF),
        ("poly", 0.0, -INF),
        ("generalised", -1.0, -INF),
    ):
        function, options, _ = FUNCTIONS[name]
        losses, _, grads, _ = each_row(way, function, p, y, from_probs=True, **options)
        assert losses.tolist() == [0.0, pytest.approx(1 / 0.7) if name == "generalised" else INF]
        assert grads.tolist() == [[at_one, 0.0], [at_zero, 0.0]], name


@pytest.mark.parametrize("way", UNTRACED)
def test_what_is_no_distribution_is_an_error(way):
    y = np.array([0, 1])
    for p, message in (
        ([[0.0, 0.0], [0.5, 0.5]], "row 0 sums to 0"),
        ([[0.5, 0.5], [NAN, 0.5]], "row 1 has nan for class 0"),
        ([[0.5, 0.5], [1.5, -0.5]], "row 1 has 1.5 for class 0"),
        ([[2.0, -1.0], [0.5, 3.0]], "row 0 has 2.0 for class 0.*leave from_probs out"),
    ):
        with pytest.raises(ValueError, match=message):
            cross_entropy(make(way, np.array(p)), make(way, y), from_probs=True)
    for q, message in (([[0.5, 0.5], [0.2, 0.2]], "row 1 sums to 0.4"), ([[0.5, 0.5], [NAN, 0.2]], "row 1 has nan")):
        with pytest.raises(ValueError, match=f"target must .*{message}"):
            cross_entropy(make(way, np.zeros((2, 2))), make(way, np.array(q)))


@pytest.mark.parametrize("way", UNTRACED)
def test_probabilities_where_logits_belong_are_noticed(way):
    p, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), np.array([0, 1])
    for function in (cross_entropy, focal_loss, poly_loss, generalized_cross_entropy):
        with pytest.warns(UserWarning, match="logits look like probabilities"):
            function(make(way, p), make(way, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cross_entropy(make(way, np.array([[0.7, 0.2, 0.2]])), make(way, y[:1]))
