"""The objective and its coordinates, by finite differences and by themselves."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from xent.coordinates import MOST_FACTORED
from xent.linear_model import LogisticRegression, logistic_path
from xent.objective import SoftmaxObjective


@pytest.mark.parametrize("K", [2, 4])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("thin", [False, True])
def test_gradient_and_coordinates_by_finite_differences(K, intercept, thin):
    rng = np.random.default_rng(3)
    X, y, weight = rng.normal(size=(60, 5)) * [1, 10, 0.1, 1, 1], rng.integers(0, K, 60), rng.random(60)
    X[:, 4] = X[:, 3] + 0.1 * X[:, 4]
    f = SoftmaxObjective(sparse.csr_array(X) if thin else X, y, K, weight=weight, l2=0.3, fit_intercept=intercept)
    theta = rng.normal(size=f.shape) * 0.3
    for problem in (f.preconditioned(), f.preconditioned(theta)):
        v = problem.to_coordinates(theta)
        np.testing.assert_allclose(problem.to_parameters(v), theta, atol=1e-12)
        value, gradient = problem.value_and_grad(v)
        assert value == pytest.approx(f.value_and_grad(theta.ravel())[0], rel=1e-14)
        h = 1e-6
        for i in range(v.size):
            step = np.zeros(v.size)
            step[i] = h
            slope = (problem.value_and_grad(v + step)[0] - problem.value_and_grad(v - step)[0]) / (2 * h)
            assert gradient[i] == pytest.approx(slope, abs=1e-8)


def test_curvature_is_the_hessian_of_two_classes():
    """In coordinates made at a point, the Hessian there is the identity: a Newton step is the gradient."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    f = SoftmaxObjective(X, y, 2, l2=0.1, fit_intercept=True)
    theta = rng.normal(size=f.shape)
    problem = f.preconditioned(theta)
    v, h = problem.to_coordinates(theta), 1e-5
    H = np.array(
        [
            (problem.value_and_grad(v + h * e)[1] - problem.value_and_grad(v - h * e)[1]) / (2 * h)
            for e in np.eye(v.size)
        ]
    )
    np.testing.assert_allclose(H, np.eye(v.size), atol=1e-7)


def test_curvature_is_the_mean_of_the_classes_own_hessians():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 4, 60)
    f = SoftmaxObjective(X, y, 4, weight=rng.random(60), fit_intercept=False)
    for theta in (np.zeros(f.shape), rng.normal(size=f.shape)):
        H, h = np.zeros((3, 3)), 1e-5
        for k, d in np.ndindex(4, 3):
            step = np.zeros(f.shape)
            step[k, d] = h
            up, down = (f.value_and_grad((theta + s).ravel())[1].reshape(f.shape) for s in (step, -step))
            H[d] += (up - down)[k] / (2 * h) / 4
        np.testing.assert_allclose((X * f.curvature(theta)[:, None]).T @ X, H, atol=1e-9)
    np.testing.assert_allclose(f.curvature(), f.curvature(np.zeros(f.shape)), rtol=1e-14)
    assert not f.preconditioned().is_stale(np.zeros(f.shape))
    assert f.preconditioned().is_stale(20 * rng.normal(size=f.shape))


def test_a_sample_of_the_rows_has_the_curvature_of_all(monkeypatch):
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(20_000, 3)), rng.integers(0, 2, 20_000)
    f = SoftmaxObjective(X, y, 2, fit_intercept=True)
    whole = f._hessian(f.curvature())
    monkeypatch.setattr("xent.curvature.FACTOR_FLOPS", 9 * 4000)
    some = f.curvature(None, f.stride)
    assert len(some) == 4000
    np.testing.assert_allclose(f._hessian(some), whole, atol=0.01)


@pytest.mark.parametrize("thin", [False, True])
def test_a_column_too_rare_for_the_sample_is_counted_in_all_rows(thin, monkeypatch):
    """Ones only in rows that the sample leaves out: without them that coordinate's steps would be N times too long."""
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(20_000, 3)), rng.integers(0, 3, 20_000)
    X[:, 2] = 0
    X[1:60:5, 2] = 1
    monkeypatch.setattr("xent.curvature.FACTOR_FLOPS", 9 * 4000)
    f = SoftmaxObjective(sparse.csr_array(X) if thin else X, y, 3, l2=1e-9, fit_intercept=False)
    assert f.rare.tolist() == [False, False, True]
    np.testing.assert_allclose(f._hessian(f.curvature(None, f.stride))[2, 2], 2 / 9 * 12 / 20_000 + 1e-9, rtol=1e-9)


def test_which_columns_are_rare():
    rng = np.random.default_rng(10)
    at = np.arange(500)
    X = np.column_stack([1e-3 * rng.normal(size=500), at < 10, at < 490, np.ones(500), at < 99])
    f = SoftmaxObjective(X, np.arange(500) % 2, 2, fit_intercept=True)
    assert f.rare.tolist() == [False, True, True, True, False]


def test_every_so_manieth_row_alone():
    rng = np.random.default_rng(11)
    X, y, weight = rng.normal(size=(90, 4)), rng.integers(0, 3, 90), rng.random(90)
    offset, theta = rng.normal(size=(90, 3)), rng.normal(size=15)
    options = {"l2": 0.1, "fit_intercept": True, "intercept_l2": 0.2}
    few = SoftmaxObjective(X, y, 3, weight=weight, offset=offset, **options).thinned(4)
    own = SoftmaxObjective(X[::4], y[::4], 3, weight=weight[::4], offset=offset[::4], **options)
    np.testing.assert_allclose(few.value_and_grad(theta)[1], own.value_and_grad(theta)[1], atol=1e-15)
    assert few.value_and_grad(theta)[0] == pytest.approx(own.value_and_grad(theta)[0], rel=1e-14)


def test_x_converted_in_pieces_is_x_converted(monkeypatch):
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(100, 3)).astype(np.float32), rng.integers(0, 3, 100)
    theta = rng.normal(size=12)
    expected = SoftmaxObjective(X.astype(float), y, 3, fit_intercept=True).value_and_grad(theta)
    monkeypatch.setattr("xent.objective.CONVERTED_ROWS", 32)
    for features in (X, sparse.csr_array(X)):
        f = SoftmaxObjective(features, y, 3, fit_intercept=True, dtype=np.float64)
        value, gradient = f.value_and_grad(theta)
        assert value == pytest.approx(expected[0], rel=1e-14)
        np.testing.assert_allclose(gradient, expected[1], atol=1e-15)


def test_convergence_is_the_larger_of_two_norms():
    rng = np.random.default_rng(8)
    for size in (1e-3, 10.0):  # the length in the coordinates is larger, the largest entry is
        X, y = size * rng.normal(size=(50, 2)), rng.integers(0, 2, 50)
        f = SoftmaxObjective(X, y, 2, fit_intercept=False)
        problem = f.preconditioned()
        gradient = problem.value_and_grad(np.zeros(2))[1]
        entry, length = np.abs(f.value_and_grad(np.zeros(2))[1]).max(), np.linalg.norm(gradient)
        assert (entry > length) == (size > 1)
        assert problem.convergence(gradient) == pytest.approx(max(entry, length))


def test_x_is_not_copied_whole():
    """Neither for the passes nor for the coordinates."""
    for D in (100, MOST_FACTORED + 1):
        X = np.random.default_rng(0).normal(size=(3 * 2**23 // D, D))
        label = np.arange(len(X)) % 2
        tracemalloc.start()
        SoftmaxObjective(X, label, 2, fit_intercept=True).preconditioned()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < X.nbytes / 2


@pytest.mark.parametrize("thin", [False, True])
def test_rows_are_drawn_where_every_so_many_would_miss_the_weight(thin, monkeypatch):
    """Weight on the rows between those that a stride takes, and on a few rows: coordinates are of what counts."""
    monkeypatch.setattr("xent.curvature.FACTOR_FLOPS", 1e3)
    rng = np.random.default_rng(8)
    X, y = rng.normal(size=(3000, 6)), rng.integers(0, 4, 3000)
    X[::2] *= 100
    even, between, few = np.ones(3000), np.full(3000, 5e-324), np.full(3000, 1e-12)
    between[1::2], few[rng.choice(3000, 40, replace=False)] = 1.0, 1.0
    features = sparse.csr_array(X) if thin else X
    for weight, fair in ((even, True), (between, False), (few, False)):
        f = SoftmaxObjective(features, y, 4, weight=weight, fit_intercept=True)
        step = 2 * f.stride
        assert f.stride > 1
        assert f.is_fair(step) is fair
        rows, stands_for = f.sampled(step)
        assert stands_for.sum() == pytest.approx(1)
        assert len(stands_for) < 3000 / f.stride
        theta = 0.01 * rng.normal(size=f.shape)
        share = f.curvature(theta, step)
        z = X[rows] @ theta[:, :-1].T + theta[:, -1]
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(share, stands_for * (p * (1 - p)).mean(axis=1), rtol=1e-9)
        if not fair:
            assert f.curvature(theta, step).sum() == pytest.approx(f.curvature(theta).sum(), rel=0.05)
        H = np.diag(f.averaged_hessian(f.curvature(None, f.stride))[0])
        np.testing.assert_allclose(H, np.diag(f.averaged_hessian(f.curvature())[0]), rtol=0.5)
        one = f.thinned(step)
        value, slope = one.value_and_grad(theta.ravel())
        loss = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), y[rows]]
        assert value == pytest.approx(stands_for @ loss)
        assert np.isfinite(slope).all()


def test_fits_of_weights_that_a_stride_would_miss(monkeypatch):
    """They raised ZeroDivisionError."""
    monkeypatch.setattr("xent.curvature.FACTOR_FLOPS", 1e6)
    rng = np.random.default_rng(9)
    X = rng.normal(size=(12_000, 50))
    y = (X[:, :4] + rng.gumbel(size=(12_000, 4))).argmax(axis=1)
    stride = SoftmaxObjective(X, y, 4, fit_intercept=True).stride
    assert stride > 1
    weight = np.full(12_000, 5e-324)
    weight[1 :: 2 * stride] = 1.0
    counts = weight == 1
    ours = LogisticRegression().fit(X, y, sample_weight=weight)
    few = LogisticRegression().fit(X[counts], y[counts])
    np.testing.assert_allclose(ours.coef_, few.coef_, atol=1e-4)
    path = logistic_path(X, y, Cs=[0.1, 1.0], sample_weight=weight)
    np.testing.assert_allclose(path.coefs[1], few.coef_, atol=1e-4)
