"""Offsets and penalties of each feature: conditions of the minimum written out, and fits that must be the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn import datasets
from sklearn.base import clone
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, approximate_leave_one_out, logistic_path
from xent.objective import SoftmaxObjective
from xent.second_order import CurvedCoordinates

X, Y = datasets.load_wine(return_X_y=True)
X = scale(X)
RNG = np.random.default_rng(0)
FACTOR = np.array([0.0, 2.0, 1.0, 0.5, 3.0, 1.0, 0.0, 1.0, 10.0, 1.0, 0.1, 1.0, 4.0])


def data(K):
    rows = K > Y
    x, y = X[rows], Y[rows]
    weight = RNG.integers(0, 3, len(y)).astype(float)
    return x, y, weight, RNG.normal(size=len(y) if K == 2 else (len(y), K))


def slopes(x, y, weight, z):
    """Gradient of the mean cross-entropy of logits, (K or 1, D + 1), and the probabilities."""
    p = softmax(np.column_stack([np.zeros(len(y)), z]) if z.ndim == 1 else z, axis=1)
    r = (p - np.eye(p.shape[1])[y]) * (weight / weight.sum())[:, None]
    g = (np.column_stack([x, np.ones(len(y))]).T @ r).T
    return (g[1:] if z.ndim == 1 else g), p


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "newton-cg", "newton-cholesky"])
@pytest.mark.parametrize("K", [2, 3])
def test_an_offset_and_factors_meet_the_conditions(K, solver, thin):
    x, y, weight, offset = data(K)
    factor = np.maximum(FACTOR, 0.05)  # these classes are separable: without a penalty there is no minimum
    model = LogisticRegression(C=0.5, penalty_factor=factor, solver=solver, tol=1e-9)
    model.fit(sparse.csr_array(x) if thin else x, y, sample_weight=weight, offset=offset)
    z = x @ model.coef_.T + model.intercept_
    z = (z[:, 0] if K == 2 else z) + offset
    np.testing.assert_allclose(model.decision_function(x, offset=offset), z, rtol=1e-12)
    g, p = slopes(x, y, weight, z)
    g[:, :-1] += factor * model.coef_ / (0.5 * weight.sum())
    assert np.abs(g).max() < 2e-9
    np.testing.assert_allclose(model.predict_proba(x, offset=offset), p, atol=1e-12)
    np.testing.assert_array_equal(model.predict(x, offset=offset), p.argmax(axis=1))


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("K", [2, 3])
def test_the_same_with_an_l1_penalty_and_features_without_any(K, l1_ratio):
    x, y, weight, offset = data(K)
    noise = RNG.normal(size=x.shape)
    x = x * 0.2 + noise  # not separable by the two features that are free
    path = logistic_path(
        x, y, l1_ratio=l1_ratio, Cs=6, sample_weight=weight, offset=offset, penalty_factor=FACTOR, tol=1e-7
    )
    assert not path.coefs[0][:, FACTOR > 0].any()
    assert path.coefs[0][:, FACTOR == 0].all()
    assert path.coefs[1][:, FACTOR > 0].any()
    for i, C in enumerate(path.Cs):
        w, alpha = path.coefs[i], FACTOR / (C * weight.sum())
        z = x @ w.T + path.intercepts[i]
        g, _ = slopes(x, y, weight, (z[:, 0] if K == 2 else z) + offset)
        assert np.abs(g[:, -1]).max() < 2e-7
        g = g[:, :-1] + (1 - l1_ratio) * alpha * w
        edge = np.broadcast_to(l1_ratio * alpha, w.shape)
        np.testing.assert_allclose(g[w != 0], (-edge * np.sign(w))[w != 0], atol=1.1e-7)
        assert (np.abs(g[w == 0]) <= edge[w == 0] + 1.1e-7).all()


@pytest.mark.parametrize("K", [2, 3])
def test_an_offset_is_a_feature_whose_weight_is_known(K):
    x, y, _, _ = data(K)
    whole = LogisticRegression(C=1.0, tol=1e-10, penalty_factor=[0.01] * 3 + [1.0] * 10).fit(x, y)
    known = x[:, :3] @ whole.coef_[:, :3].T
    rest = LogisticRegression(C=1.0, tol=1e-10).fit(x[:, 3:], y, offset=known[:, 0] if K == 2 else known)
    np.testing.assert_allclose(rest.coef_, whole.coef_[:, 3:], atol=1e-6)
    path = logistic_path(x[:, 3:], y, Cs=[1.0], tol=1e-9, offset=known[:, 0] if K == 2 else known)
    np.testing.assert_allclose(path.coefs[0], rest.coef_, atol=1e-6)


def test_factors_of_one_change_nothing_and_of_many_scale():
    plain = LogisticRegression(tol=1e-9).fit(X, Y)
    np.testing.assert_allclose(LogisticRegression(tol=1e-9, penalty_factor=np.ones(13)).fit(X, Y).coef_, plain.coef_)
    # a factor f is a feature over its root
    scaled = LogisticRegression(tol=1e-9).fit(X / np.sqrt(np.arange(1, 14)), Y)
    model = LogisticRegression(tol=1e-9, penalty_factor=np.arange(1, 14)).fit(X, Y)
    np.testing.assert_allclose(model.coef_, scaled.coef_ / np.sqrt(np.arange(1, 14)), atol=1e-6)
    assert clone(model).get_params()["penalty_factor"] is not None


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("K", [2, 4])
def test_derivatives_with_an_offset_by_finite_differences(K, dtype, thin):
    rng = np.random.default_rng(K)
    x, y = rng.normal(size=(60, 3)).astype(dtype), rng.integers(0, K, 60)
    offset = rng.normal(size=(60, 1 if K == 2 else K))
    f = SoftmaxObjective(
        sparse.csr_array(x) if thin else x, y, K, l2=np.array([0.1, 0.0, 2.0]), fit_intercept=True, offset=offset,
        dtype=np.float64,
    )  # fmt: skip
    theta, d, h = rng.normal(size=f.shape).ravel(), rng.normal(size=f.shape).ravel(), 1e-5
    value, g = f.value_and_grad(theta)
    z = x.astype(float) @ f.split(theta)[0].T + f.split(theta)[1] + offset
    p = softmax(np.column_stack([np.zeros(60), z]) if K == 2 else z, axis=1)
    W = f.split(theta)[0]
    expected = -np.log(p[np.arange(60), y]).mean() + 0.5 * (np.array([0.1, 0.0, 2.0]) * W**2).sum()
    assert value == pytest.approx(expected, rel=1e-12)
    up, down = f.value_and_grad(theta + h * d), f.value_and_grad(theta - h * d)
    assert g @ d == pytest.approx((up[0] - down[0]) / (2 * h), rel=1e-7)
    np.testing.assert_allclose(f.hessian_vector_product(theta, d), (up[1] - down[1]) / (2 * h), atol=1e-8)
    curved = CurvedCoordinates(f.preconditioned(theta.reshape(f.shape)))
    v = curved.to_coordinates(theta)
    slope = (curved.value_and_grad(v + h * d)[1] - curved.value_and_grad(v - h * d)[1]) / (2 * h)
    np.testing.assert_allclose(curved.hessian_product(v, d), slope, atol=1e-7)


def test_leave_one_out_with_an_offset_and_factors():
    x, y, weight, offset = data(3)
    factor = np.maximum(FACTOR, 0.5)
    options = {"C": 0.1, "penalty_factor": factor, "tol": 1e-8}
    model = LogisticRegression(**options).fit(x, y, sample_weight=weight, offset=offset)
    found = approximate_leave_one_out(model, x, y, sample_weight=weight, offset=offset, refits=3)
    for i in [*np.flatnonzero(weight)[:5], *found.refitted]:
        others = np.arange(len(y)) != i
        one = LogisticRegression(**options).fit(
            x[others], y[others], sample_weight=weight[others], offset=offset[others]
        )
        truth = one.predict_log_proba(x[[i]], offset=offset[[i]])[0]
        np.testing.assert_allclose(found.log_proba[i], truth, atol=1e-6 if i in found.refitted else 0.02)


@pytest.mark.parametrize(
    ("options", "offset", "message"),
    [
        ({}, np.zeros(5), r"offset has the shape \(5,\); it is added to the logits of the 3 classes, .* \(178, 3\)"),
        ({}, np.full((178, 3), np.nan), "offset must be finite"),
        ({"penalty_factor": np.ones(4)}, None, r"penalty_factor has the shape \(4,\); X has 13 features"),
        ({"penalty_factor": -np.ones(13)}, None, "penalty_factor must be finite and not negative"),
    ],
)
def test_what_is_refused(options, offset, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit(X, Y, offset=offset)
    if offset is not None:
        with pytest.raises(ValueError, match=message):
            LogisticRegression().fit(X, Y).predict(X, offset=offset)
