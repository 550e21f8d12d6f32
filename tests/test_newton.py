"""Second derivatives by finite differences, and the solvers that use them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from xent.objective import SoftmaxObjective
from xent.second_order import CurvedCoordinates, NewtonProblem
from xent.solvers import lbfgs, newton_cg, newton_cholesky


def problem(K, *, thin=False, l2=0.1, dtype=np.float64, intercept=True):
    rng = np.random.default_rng(K)
    X, y = rng.normal(size=(80, 4)) * [1, 10, 0.1, 1], rng.integers(0, K, 80)
    X = (sparse.csr_array(X) if thin else X).astype(dtype)
    weight = rng.random(80)
    return SoftmaxObjective(
        X, y, K, weight=weight, l2=l2, fit_intercept=intercept, intercept_l2=0.05 * l2, dtype=np.float64
    )


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("K", [2, 3, 5])
def test_hessian_and_product_by_finite_differences(K, intercept, thin, dtype):
    f = problem(K, thin=thin, dtype=dtype, intercept=intercept)
    theta, h = np.random.default_rng(0).normal(size=f.shape) * 0.2, 1e-5
    H = NewtonProblem(f).hessian(theta.ravel())
    steps = h * np.eye(theta.size)
    slopes = [
        (f.value_and_grad(theta.ravel() + s)[1] - f.value_and_grad(theta.ravel() - s)[1]) / (2 * h) for s in steps
    ]
    np.testing.assert_allclose(H, slopes, atol=1e-7)
    curved = CurvedCoordinates(f.preconditioned())
    v, d = curved.to_coordinates(theta), np.random.default_rng(1).normal(size=theta.size)
    slope = (curved.value_and_grad(v + h * d)[1] - curved.value_and_grad(v - h * d)[1]) / (2 * h)
    np.testing.assert_allclose(curved.hessian_product(v, d), slope, atol=1e-6)


@pytest.mark.parametrize("K", [2, 4])
def test_no_hessian_is_above_the_bound(K):
    f = problem(K, l2=0.01)
    bound = NewtonProblem(f).bound()
    for size in (0.0, 0.1, 10.0):
        theta = size * np.random.default_rng(3).normal(size=f.shape)
        assert np.linalg.eigvalsh(bound - NewtonProblem(f).hessian(theta.ravel())).min() > -1e-10


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_three_solvers_one_minimum(K, l2):
    f = problem(K, l2=l2)
    zero = np.zeros(f.shape)
    found = [
        # its line search compares values, and their last digits end it
        lbfgs(f.preconditioned(), zero, tol=1e-8, max_iter=500),
        newton_cg(CurvedCoordinates(f.preconditioned()), zero, tol=1e-9, max_iter=100),
        newton_cholesky(NewtonProblem(f), zero, tol=1e-9, max_iter=100),
    ]
    for one in found:
        assert one.converged
        np.testing.assert_allclose(one.x.reshape(f.shape), found[0].x.reshape(f.shape), atol=1e-6)
        if l2 == 0 and K > 2:  # of all minima the one whose classes sum to zero
            np.testing.assert_allclose(one.x.reshape(f.shape).sum(axis=0), 0, atol=1e-9)
    assert max(s.n_iter for s in found[1:]) < 15


class Well:
    """``log cosh``: its curvature vanishes away from the minimum, and a Newton step from afar goes further away."""

    def value_and_grad(self, theta):
        return float(np.logaddexp(theta, -theta).sum()), np.tanh(theta)

    def hessian(self, theta):
        return np.diag(1 / np.cosh(np.minimum(np.abs(theta), 300)) ** 2)

    def bound(self):
        return np.eye(2)

    def largest(self, gradient):
        return float(np.abs(gradient).max())


def test_newton_comes_back_from_where_curvature_is_gone():
    seen = []
    found = newton_cholesky(
        Well(), np.array([30.0, -2.0]), tol=1e-9, max_iter=200, callback=lambda x, f, c: seen.append((f, c))
    )
    assert found.converged
    np.testing.assert_allclose(found.x, 0, atol=1e-9)
    assert len(seen) == found.n_iter
    assert np.all(np.diff([f for f, _ in seen]) <= 1e-14)
    stopped = newton_cholesky(Well(), np.array([30.0, -2.0]), tol=1e-9, max_iter=3)
    assert not stopped.converged
    assert (stopped.n_iter, stopped.message) == (3, "no iterations left")


class Curved(Well):
    """The same for conjugate gradients."""

    def hessian_product(self, v, d):
        return self.hessian(v) @ d

    def convergence(self, gradient):
        return self.largest(gradient)

    def to_parameters(self, v):
        return v

    to_coordinates = to_parameters

    def is_stale(self, theta):
        return False


def test_the_trust_region_holds_where_curvature_is_gone():
    found = newton_cg(Curved(), np.array([6.0, -2.0]), tol=1e-9, max_iter=200)
    assert found.converged
    np.testing.assert_allclose(found.x, 0, atol=1e-9)
    assert not newton_cg(Curved(), np.array([6.0, -2.0]), tol=1e-9, max_iter=1).converged
