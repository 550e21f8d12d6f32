"""Row functions of a softmax as they stand: any formula, any library, weights, and labels that are none."""

from __future__ import annotations

import array_api_compat.torch as xp_torch
import numpy as np
import pytest
import torch

from xent import TopK, cross_entropy
from xent.losses import Affine, CrossEntropy, Curvatures, Focal
from xent.rows import EntropyRows, LabelRows, SoftRows, TopKRows
from xent.rows import softmax as module

RNG = np.random.default_rng(11)
N, K = 6, 4
A, V = RNG.normal(size=(N, K)) * 2, RNG.normal(size=(N, K))
LABEL = np.array([0, 3, -1, 2, 1, 3])
Q = RNG.dirichlet(np.ones(K), N)


class Bent:
    """``L^2 / 2 - 0.3 L T + 0.2 T^2`` of the log-sum-exp L and the target's logit T: no function of L - T."""

    label_smoothing, linear, affine, needs_u = 0.0, False, None, True

    def value(self, s, t, u, m):
        return (m + s) ** 2 / 2 - 0.3 * (m + s) * (m + t) + 0.2 * (m + t) ** 2

    def slopes(self, s, t, u, m):
        return Affine((m + s) - 0.3 * (m + t), -0.3 * (m + s) + 0.4 * (m + t), 0.0 * s)

    def curvatures(self, s, t, m):
        return Curvatures(1.0 + 0.0 * s, -0.3 + 0.0 * s, 0.4 + 0.0 * s)


def slope(f, a, v, h=1e-5):
    """How `f` moves along v, by differences."""
    return (f(a + h * v) - f(a - h * v)) / (2 * h)


def test_a_formula_of_both_statistics_bends_as_its_gradient_moves():
    op = LabelRows(Bent())
    of_row = np.log(np.exp(A).sum(axis=1)), np.where(LABEL >= 0, A[np.arange(N), LABEL], 0)
    value = np.where(LABEL >= 0, of_row[0] ** 2 / 2 - 0.3 * of_row[0] * of_row[1] + 0.2 * of_row[1] ** 2, 0)
    np.testing.assert_allclose(op.value(np, A, LABEL), value, rtol=1e-13)
    da = op.grads(np, (True, False), A, LABEL)[0]
    np.testing.assert_allclose((da * V).sum(axis=1), slope(lambda a: op.value(np, a, LABEL), A, V), atol=1e-8)
    moved = slope(lambda a: op.grads(np, (True, False), a, LABEL)[0], A, V)
    np.testing.assert_allclose(op.hvp(np, V, A, LABEL), moved, atol=1e-8)


@pytest.mark.parametrize("formula", [CrossEntropy(K), CrossEntropy(K, label_smoothing=0.2, z_loss=0.1), Focal(2.0)])
@pytest.mark.parametrize("soft", [False, True], ids=["label", "probabilities"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_weighted_gradients_are_the_gradients_weighted(kind, soft, formula):
    op, target = (SoftRows(formula), (Q, LABEL)) if soft else (LabelRows(formula), (LABEL,))
    g = np.array([0.5, 2.0, 3.0, 0.0, -1.0, 1.0])
    wrt = (True, *(False for _ in target))
    expected = g[:, None] * op.grads(np, wrt, A, *target)[0]
    arrays, xp = (g, A, *target), np
    if kind == "torch":
        arrays, xp = [torch.tensor(v) for v in arrays], xp_torch
    found = op.weighted_grads(xp, arrays[0], wrt, *arrays[1:])
    np.testing.assert_allclose(np.asarray(found[0]), expected, rtol=1e-13, atol=1e-16)
    assert all(v is None for v in found[1:])
    values = op.value(xp, *arrays[1:])
    np.testing.assert_allclose(np.asarray(values), op.value(np, A, *target), rtol=1e-13)
    none = op.weighted_grads(xp, arrays[0], (False,) * len(wrt), *arrays[1:])
    assert all(v is None for v in none)


@pytest.mark.parametrize("formula", [CrossEntropy(K), Focal(2.0)])
def test_a_label_that_is_no_class_makes_its_row_nan_and_no_other(formula):
    """A traced call cannot refuse it."""
    op, label, g = LabelRows(formula), np.where(LABEL == 2, K, LABEL), np.array([0.5, 2.0, 3.0, 1.0, 0.0, 1.0])
    bad = label == K
    da = op.weighted_grads(np, g, (True, False), A, label)[0]
    loss, same = op.fused(g, A, label)
    assert op.total(g, A, label) is None
    for found in (da, same):
        assert np.isnan(found[bad]).all()
        np.testing.assert_allclose(
            found[~bad], (g[:, None] * op.grads(np, (True, False), A, LABEL)[0])[~bad], rtol=1e-13, atol=1e-16
        )
    assert np.isnan(loss[bad]).all()
    assert np.isnan(op.value(np, A[bad], label[bad])).all()  # alone, too
    np.testing.assert_allclose(loss[~bad], op.value(np, A, LABEL)[~bad], rtol=1e-13)
    out = np.empty_like(A)
    assert op.fused(None, A, label, out=out)[1] is out
    np.testing.assert_allclose(out[~bad], op.grads(np, (True, False), A, LABEL)[0][~bad], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize(
    "target", [torch.tensor(np.maximum(LABEL, 0)), torch.tensor(Q)], ids=["label", "probabilities"]
)
def test_tensors_in_the_cpus_memory_go_to_the_native_kernels(target, monkeypatch):
    asked, select = [], module.select
    monkeypatch.setattr(module, "select", lambda **given: asked.append(given) or select(**given))
    z = torch.tensor(A, requires_grad=True)
    value = cross_entropy(z, target)
    forward = len(asked)
    value.backward()
    assert 0 < forward < len(asked)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("rows", [LabelRows, SoftRows])
def test_what_each_label_would_cost(rows, smoothing):
    cost = -np.log(np.exp(A) / np.exp(A).sum(axis=1, keepdims=True))
    cost = (1 - smoothing) * cost + smoothing * cost.mean(axis=1, keepdims=True)
    found = rows(CrossEntropy(K, label_smoothing=smoothing)).label_costs(np, A, LABEL)
    np.testing.assert_allclose(found, np.where(LABEL[:, None] >= 0, cost, 0), rtol=1e-13)


def test_all_the_probability_may_be_spread():
    log_p = A - np.log(np.exp(A).sum(axis=1, keepdims=True))
    found = cross_entropy(A, TopK(np.full((N, 1), 2), np.zeros((N, 1)), "spread"), reduction="none")
    np.testing.assert_allclose(found, -np.delete(log_p, 2, axis=1).mean(axis=1), rtol=1e-13)
    all_but_one = np.tile(np.arange(1, K), (N, 1))
    found = cross_entropy(A, TopK(all_but_one, np.zeros((N, K - 1)), "spread"), reduction="none")
    np.testing.assert_allclose(found, -log_p[:, 0], rtol=1e-13)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("formula", [CrossEntropy(K), CrossEntropy(K, z_loss=0.1), Focal(2.0)])
def test_a_few_labels_move_with_their_probabilities(formula, spread, k):
    """By differences; what they leave goes to the others, and rows left out have no gradient."""
    if spread and isinstance(formula, Focal):
        pytest.skip("only the cross-entropy spreads")
    op = TopKRows(formula, spread)
    index, q = np.array([RNG.permutation(K)[:k] for _ in range(N)]), RNG.uniform(0.1, 0.9, size=(N, k)) / k
    label = np.minimum(LABEL, 0)
    da, _, dq, _ = op.grads(np, (True, False, True, False), A, index, q, label)
    at = RNG.normal(size=q.shape)
    np.testing.assert_allclose(
        (dq * at).sum(axis=1), slope(lambda p: op.value(np, A, index, p, label), q, at), atol=1e-8
    )
    np.testing.assert_allclose((da * V).sum(axis=1), slope(lambda a: op.value(np, a, index, q, label), A, V), atol=1e-8)
    assert not dq[label < 0].any()
    assert not da[label < 0].any()
    moved = slope(lambda a: op.grads(np, (True, False, False, False), a, index, q, label)[0], A, V)
    product = op.hvp(np, V, A, index, q, label)
    np.testing.assert_allclose(product, moved, atol=1e-7)
    assert not product[label < 0].any()


@pytest.mark.parametrize("strange", [-1, K])
def test_one_of_a_few_labels_that_is_no_class_makes_its_row_nan_and_no_other(strange):
    op, index, q = TopKRows(CrossEntropy(K), False), np.tile([1, 3], (N, 1)), np.full((N, 2), 0.5)
    label, wrt = np.zeros(N, np.int64), (True, False, False, False)
    expected, da = op.value(np, A, index, q, label), op.grads(np, wrt, A, index, q, label)[0]
    index[2, 0] = strange
    expected[2] = da[2] = np.nan
    np.testing.assert_array_equal(op.value(np, A, index, q, label), expected)
    np.testing.assert_array_equal(op.grads(np, wrt, A, index, q, label)[0], da)


def test_rounding_may_leave_less_than_nothing_to_an_impossible_class():
    a, q = np.array([[0.0, 1.0, -np.inf]]), np.array([[0.7, 0.3000000000000002]])
    assert q.sum() > 1
    found = TopKRows(CrossEntropy(3), True).value(np, a, np.array([[0, 1]]), q, np.zeros(1, np.int64))
    np.testing.assert_allclose(found, np.log(1 + np.e) - 0.3, rtol=1e-14)


def test_entropy_of_rows():
    p = np.exp(A) / np.exp(A).sum(axis=1, keepdims=True)
    found, (da, _) = EntropyRows().value(np, A, LABEL), EntropyRows().grads(np, (True, False), A, LABEL)
    np.testing.assert_allclose(found, np.where(LABEL >= 0, -(p * np.log(p)).sum(axis=1), 0), rtol=1e-13)
    moved = slope(lambda a: EntropyRows().value(np, a, LABEL), A, V)
    np.testing.assert_allclose((da * V).sum(axis=1), moved, atol=1e-8)
    assert not da[LABEL < 0].any()
