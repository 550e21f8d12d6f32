"""What `certify` measures, held against Hessians and objectives that NumPy makes; and that fits end where they say."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, LogisticRegressionCV, certificate, certify

IRIS, WINE = (getattr(datasets, f"load_{n}")(return_X_y=True) for n in ("iris", "wine"))
BINARY = IRIS[0], IRIS[1] > 1


def rare():
    """Eight classes of 30 correlated features; of the rarest some tens of rows in 3000."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 30)) @ rng.normal(size=(30, 30))
    z = X @ (0.1 * rng.normal(size=(30, 8))) - np.arange(8)
    return X, (z + rng.gumbel(size=z.shape)).argmax(1)


def decrement(model, X, y, C):
    """``sqrt(g' H^+ g)`` of the softmax objective, H in one piece."""
    X = np.column_stack([X, np.ones(len(X))])
    label, K = np.searchsorted(model.classes_, y), len(model.classes_)
    theta = np.column_stack([model.coef_, model.intercept_]).astype(float)
    theta = np.vstack([0 * theta, theta]) if K == 2 else theta
    z = X @ theta.T
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    l2 = np.r_[np.ones(X.shape[1] - 1), 0.0] / (C * len(y))
    g = (p - np.eye(K)[label]).T @ X / len(y) + l2 * theta
    A = np.einsum("ik,km->ikm", p, np.eye(K)) - np.einsum("ik,im->ikm", p, p)
    H = np.einsum("ikm,id,ie->kdme", A, X, X, optimize=True) / len(y)
    for k in range(K):
        H[k, :, k] += np.diag(l2)
    if K == 2:
        g, H = g[1:], H[1:, :, 1:]
    H, g = H.reshape(g.size, g.size), g.ravel()
    root = 1 / np.sqrt(H.diagonal())
    return float(
        np.sqrt(root * g @ (np.linalg.pinv(H * root[:, None] * root, rcond=1e-13, hermitian=True) @ (root * g)))
    )


@pytest.mark.parametrize("factored", [True, False])
@pytest.mark.parametrize("C", [1.0, 1e3, np.inf])
@pytest.mark.parametrize("data", [IRIS, WINE, BINARY], ids=["iris", "wine", "two classes"])
def test_decrement_is_that_of_the_dense_hessian(data, C, factored, monkeypatch):
    X, y = scale(data[0]), data[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=C, max_iter=3, solver="lbfgs").fit(X, y)  # far from the minimum
    if not factored:
        monkeypatch.setattr(certificate, "MOST_FACTORED", 0)
    for features in (X, sparse.csr_matrix(X)):
        found = certify(model, features, y)
        assert found.decrement == pytest.approx(decrement(model, X, y, C), rel=1e-3 if np.inf == C else 1e-4)
        assert found.excess == found.decrement**2 / 2
        assert (found.gap is None) == np.isinf(C)


@pytest.mark.filterwarnings("ignore:the classes are separable:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg"])
@pytest.mark.parametrize("C", [1.0, 1e4, np.inf])
@pytest.mark.parametrize("data", [IRIS, WINE], ids=["iris", "wine"])
def test_fits_of_several_classes_end_at_their_newton_decrement(data, C, solver):
    # in coordinates of the averaged Hessian iris without a penalty stopped at 9e-4, and said 1e-5
    X, y = data
    model = LogisticRegression(C=C, solver=solver).fit(X, y)
    assert model.convergence_ <= model.tol
    assert decrement(model, X, y, C) <= 1.01 * model.convergence_
    assert "newton-cholesky" in model.solver_.reason


@pytest.mark.parametrize("C", [1.0, np.inf])
def test_rare_classes_converge_by_default(C):
    X, y = rare()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = LogisticRegression(C=C).fit(X, y)
    found = certify(model, X, y)
    assert found.decrement <= 1.5 * model.tol  # estimated, where a Hessian would cost more than the fit
    assert found.objective == pytest.approx(model.objective_, abs=1e-12)


@pytest.mark.parametrize("options", [{}, {"l1_ratio": 1.0}, {"l1_ratio": 0.5}, {"l1_ratio": 1.0, "group_lasso": True}])
@pytest.mark.parametrize("data", [WINE, BINARY], ids=["wine", "two classes"])
def test_no_objective_is_lower_by_more_than_the_gap(data, options):
    X, y = scale(data[0]), data[1]
    weight = 1.0 + np.arange(len(y)) % 3
    least = LogisticRegression(C=0.5, tol=1e-10, class_weight="balanced", **options).fit(X, y, weight).objective_
    for steps in (1, 3, 6):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model = LogisticRegression(C=0.5, max_iter=steps, class_weight="balanced", **options).fit(X, y, weight)
        model.intercept_ = model.intercept_ + 0.1 * np.arange(len(model.intercept_)) + 0.05
        found = certify(model, X, y, weight)
        assert 0 < found.objective - least <= found.gap
        assert found.violation > 0
    end = certify(
        LogisticRegression(C=0.5, tol=1e-10, class_weight="balanced", **options).fit(X, y, weight), X, y, weight
    )
    assert end.violation < 1e-9
    assert end.gap < 1e-9


@pytest.mark.parametrize("bounds", [(0, None), (-0.3, 0.2)])
@pytest.mark.parametrize("data", [IRIS, WINE, BINARY], ids=["iris", "wine", "two classes"])
def test_bounded_fits_end_at_the_decrement_of_what_is_free(data, bounds):
    # scaled by a diagonal, iris with copies of its columns stopped at 9e-5, and said 8e-6
    X, y = data
    X = np.hstack([X, X @ np.random.default_rng(0).normal(size=(X.shape[1], 3))])
    model = LogisticRegression(bounds=bounds, C=10.0).fit(X, y)
    found = certify(model, X, y)
    assert model.convergence_ <= 1e-5
    assert found.decrement <= 1.01e-5
    assert found.violation <= 1e-5
    assert found.gap is None
    assert (model.coef_ >= (bounds[0])).all()
    assert bounds[1] is None or (model.coef_ <= bounds[1]).all()
    # nothing near that the bounds allow is lower
    rng, least = np.random.default_rng(1), found.objective
    for _ in range(20):
        model.coef_ = np.clip(model.coef_ + 1e-3 * rng.normal(size=model.coef_.shape), *bounds)
        assert certify(model, X, y).objective > least


def test_bounds_without_a_penalty():
    # what all classes share is neutral without bounds: curvature made up for it left 1.3e-5, and 2e-7 nats
    X, y = IRIS
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model = LogisticRegression(bounds=(0, None), C=np.inf).fit(X, y)
    assert certify(model, X, y).decrement <= 1.01e-5
    assert model.objective_ < 0.03966183


def test_float32_coefficients_are_measured_as_they_are():
    X, y = scale(IRIS[0]).astype(np.float32), IRIS[1]
    model = LogisticRegression(tol=1e-10).fit(X, y)
    assert model.convergence_ <= 1e-10 < certify(model, X, y).violation < 1e-6


def test_of_cross_validation_and_what_is_refused():
    X, y = scale(IRIS[0]), IRIS[1]
    chosen = LogisticRegressionCV(Cs=4, cv=3, l1_ratios=(0.0,), use_legacy_attributes=False).fit(X, y)
    assert certify(chosen, X, y).violation <= 1e-5
    with pytest.raises(ValueError, match="classes"):
        certify(chosen, X, y + 1)
    with pytest.raises(ValueError, match="stopped early"):
        certify(LogisticRegression(early_stopping=True, random_state=0).fit(X, y), X, y)
