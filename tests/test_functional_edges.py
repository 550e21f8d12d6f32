"""The loss functions at their edges: rows of no weight, infinite costs, extreme weights, odd arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from xent import binary_cross_entropy, cross_entropy, linear_cross_entropy, value_and_grad
from xent.losses import CrossEntropy
from xent.rows import ProbsRows

RNG = np.random.default_rng(6)


@pytest.mark.parametrize("coarse", [np.float16, np.float32])
def test_distributions_may_be_rounded_in_their_own_dtype(coarse):
    z = RNG.normal(size=(500, 100))
    q = RNG.dirichlet(np.ones(100), 500)
    for a in (z, z.astype(np.float32)):
        assert cross_entropy(a, q.astype(coarse)) == pytest.approx(cross_entropy(z, q), rel=2e-3)
    few = RNG.dirichlet(np.ones(3), 500)
    assert cross_entropy(z[:, :3], few.astype(coarse)) == pytest.approx(cross_entropy(z[:, :3], few), rel=2e-3)
    found = cross_entropy(few.astype(coarse), np.zeros(500, int), from_probs=True)
    assert found == pytest.approx(cross_entropy(few, np.zeros(500, int), from_probs=True), rel=2e-3)
    with pytest.raises(ValueError, match=r"sums to 1\.2"):
        cross_entropy(z[:1, :3], np.array([[0.5, 0.6, 0.1]], coarse))


def test_arrays_that_lie_oddly_in_memory():
    z = RNG.normal(size=(6, 40)).astype(np.float32)
    y = np.arange(6)
    shifted = np.ndarray(z.shape, z.dtype, buffer=bytearray(b"." + z.tobytes()), offset=1)
    assert not shifted.flags.aligned
    backwards = np.ascontiguousarray(z[::-1, ::-1])[::-1, ::-1]
    for other in (z.astype(">f4"), shifted, backwards, np.asfortranarray(z)):
        assert cross_entropy(other, y.astype(">i4")) == cross_entropy(z, y)
        assert value_and_grad(cross_entropy)(other, y)[1].logits.dtype == other.dtype


def test_a_mask_is_not_lost_in_silence():
    masked = np.ma.masked_array(np.zeros((2, 3)), mask=[[0, 1, 0], [0, 0, 0]])
    with pytest.raises(TypeError, match="logits has masked entries; leave rows out with ignore_index"):
        cross_entropy(masked, [0, 1])
    with pytest.raises(TypeError, match="target has masked entries"):
        cross_entropy(np.zeros((2, 3)), np.ma.masked_array([0, 1], mask=[0, 1]))
    assert cross_entropy(masked[1:], [0]) == pytest.approx(np.log(3))


def test_a_linear_layer_is_computed_in_its_widest_dtype():
    x, w, y = RNG.normal(size=(5, 3)), RNG.normal(size=(4, 3)), [0, 1, 2, 3, 0]
    x32 = x.astype(np.float32)
    value, grads = value_and_grad(linear_cross_entropy)(x32, w, y)
    assert value == value_and_grad(linear_cross_entropy)(x32.astype(float), w, y)[0]
    assert value == pytest.approx(linear_cross_entropy(x32.astype(float), w, y), rel=1e-14)
    assert (value.dtype, grads.x.dtype, grads.w.dtype) == (np.float64, np.float32, np.float64)


def test_nothing_of_a_row_of_no_weight_is_read():
    """Not its target either: neither a label that is none, nor NaN among probabilities."""
    z, q, sample = RNG.normal(size=(4, 3)), RNG.dirichlet(np.ones(3), 4), np.array([1.0, 0, 2, 1])
    kept, bad = sample > 0, q.copy()
    bad[1] = np.nan
    label = np.array([0, 9, 2, 1])
    assert cross_entropy(z, label, sample_weight=sample) == cross_entropy(
        z[kept], label[kept], sample_weight=sample[kept]
    )
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    for options, a in (({}, z), ({"from_probs": True}, p)):
        value, grads = value_and_grad(cross_entropy)(a, bad, sample_weight=sample, **options)
        assert value == pytest.approx(cross_entropy(a[kept], q[kept], sample_weight=sample[kept], **options), rel=1e-14)
        for g in grads:
            np.testing.assert_array_equal(g[1], 0)
            assert np.isfinite(g).all()
        w = [1, 2, 0.5]
        expected = cross_entropy(a[kept], q[kept], sample_weight=sample[kept], weight=w, **options)
        assert cross_entropy(a, bad, sample_weight=sample, weight=w, **options) == pytest.approx(expected, rel=1e-14)
    ignored = cross_entropy(z, [0, -100, 2, 1], sample_weight=[1, np.nan, 2, 1])
    assert ignored == cross_entropy(z, label, sample_weight=sample)
    for e in (0.0, 0.1):
        some = cross_entropy(p, [0, -100, 2, 1], from_probs=True, label_smoothing=e, reduction="none")
        assert some[1] == 0
        np.testing.assert_array_equal(
            some[kept], cross_entropy(p[kept], label[kept], from_probs=True, label_smoothing=e, reduction="none")
        )
    value, grads = value_and_grad(binary_cross_entropy)([0.0, 1.0], [np.nan, 1.0], sample_weight=[0, 1])
    assert value == binary_cross_entropy([1.0], [1])
    assert grads.target[0] == 0


@pytest.mark.parametrize("size", [1e-310, 1e-300, 1e300])
def test_the_mean_does_not_depend_on_the_size_of_the_weights(size):
    z, y = RNG.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    for f, args in ((cross_entropy, (z, y)), (binary_cross_entropy, (z[:, 0], y == 1))):
        value, grads = value_and_grad(f)(*args, sample_weight=np.full(5, size))
        expected, plain = value_and_grad(f)(*args)
        assert value == pytest.approx(expected, rel=1e-9)
        np.testing.assert_allclose(grads.logits, plain.logits, rtol=1e-9)


def test_gradient_in_the_target_where_a_cost_is_infinite():
    """A class of no weight costs nothing; a share of 0 in the smoothing takes a cost out; and nothing is warned of."""
    z, q = np.array([[-np.inf, 0.0, 0.0], [1.0, 0.0, 2.0]]), np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    value, grads = value_and_grad(cross_entropy)(z, q, weight=[0, 1, 1.0], wrt="target")
    assert np.isfinite(value)
    np.testing.assert_array_equal(grads.target[:, 0], 0)
    assert np.isfinite(grads.target).all()
    for options in ({}, {"weight": [1, 2, 1.0], "reduction": "sum"}):
        (found,) = value_and_grad(cross_entropy)(z, q, label_smoothing=1.0, wrt="target", **options)[1]
        assert (found[0] == np.inf).all()
        assert np.isfinite(found[1]).all()
        if not options:
            np.testing.assert_allclose(found[1], -log_softmax([1.0, 0, 2]).mean() / 2, rtol=1e-14)
    assert np.isnan(value_and_grad(cross_entropy)([[-np.inf, -np.inf]], [[0.5, 0.5]])[1].target).all()
    assert value_and_grad(binary_cross_entropy)([np.inf, 0.0], [0.0, 1.0], pos_weight=2)[0] == np.inf


@pytest.mark.parametrize("y", [[0, -100], [[0.5, 0.5, 0], [np.nan] * 3]], ids=["labels", "probabilities"])
def test_a_row_left_out_has_no_entropy_either(y):
    """The penalty on confidence does not reach it, in a row's own value or the gradient."""
    options = {"confidence_penalty": 0.5, "reduction": "none", "sample_weight": [1, 0]}
    z = np.array([[1.0, 0.0, 2.0], [3.0, 0.0, 0.0]])
    assert cross_entropy(z, y, **options)[1] == 0
    assert not value_and_grad(cross_entropy)(z, y, **{**options, "reduction": "sum"})[1].logits[1].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_slope_under_the_floor(dtype):
    p = np.array([[0.0005, 0.9995], [0.5, 0.5]], dtype)
    _, grads = value_and_grad(cross_entropy)(p, [0, 1], from_probs=True, eps=1e-3)
    assert grads.logits.tolist() == [[0, 0], [0, -1]]
    p = np.array([0.0005, 0.9995, 0.5], dtype)
    for y in (0, 1):
        value, grads = value_and_grad(binary_cross_entropy)(
            p, np.full(3, y), from_probs=True, eps=1e-2, reduction="sum"
        )
        assert value == pytest.approx(-np.log(0.01) - np.log(0.99) - np.log(0.5), rel=1e-6)
        assert grads.logits.tolist() == [0, 0, 2 - 4 * y]


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
def test_what_each_label_costs_of_probabilities(smoothing):
    """It is the slope of the loss in that label's probability; nothing in a row left out."""
    op = ProbsRows(CrossEntropy(3, smoothing), 0.0)
    p = np.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [np.nan] * 3])
    q, label = np.array([[0.25, 0.25, 0.5], [0.0, 1.0, 0.0], [np.nan] * 3]), np.array([0, 0, -1])
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.stack([op.value(np, p, np.where(label < 0, -1, j)) for j in range(3)], axis=1)
        np.testing.assert_allclose(op.label_costs(np, p, label), wanted, rtol=1e-14)
        by_mass = op.grads(np, (True, True, False), p, q, label)
        only = op.grads(np, (True, False, False), p, q, label)
        of_label = op.grads(np, (True, False), p, label)
    assert (wanted[2] == 0).all()
    np.testing.assert_allclose(by_mass[1], wanted, rtol=1e-14)
    assert [v is None for v in by_mass] == [False, False, True]
    assert [v is None for v in only] == [False, True, True]
    assert [v is None for v in of_label] == [False, True]


def test_an_unchecked_label_of_probabilities_makes_its_row_nan():
    op, p = ProbsRows(CrossEntropy(2), 0.0), np.array([[0.5, 0.5], [0.25, 0.75]])
    assert np.isnan(op.value(np, p, np.array([2, 0]))).tolist() == [True, False]
    assert np.isnan(op.grads(np, (True, False), p, np.array([0, 7]))[0]).all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize("options", [{}, {"eps": 1e-3}], ids=str)
def test_second_derivatives_in_probabilities_where_some_are_zero(options):
    """q / p^2, and 0 where there is no target."""
    p = torch.tensor([[0.0, 0.5, 0.5], [0.25, 0.75, 0.0], [1e-200, 0.5, 0.5]], dtype=torch.float64, requires_grad=True)
    q = torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]], dtype=torch.float64)
    loss = cross_entropy(p, q, from_probs=True, reduction="sum", **options)
    (slope,) = torch.autograd.grad(loss, p, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), p)
    np.testing.assert_allclose(slope.detach(), [[0, -1, -1], [-2, -2 / 3, 0], [0, -1, -1]], rtol=1e-14)
    np.testing.assert_allclose(bend, [[0, 2, 2], [8, 8 / 9, 0], [0, 2, 2]], rtol=1e-14)
