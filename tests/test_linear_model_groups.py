"""Group lasso over classes: the optimality conditions, a slow proximal gradient written here, and the gap's promise."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, approximate_leave_one_out, logistic_path
from xent.solvers import GroupLasso

SETS = {name: getattr(datasets, f"load_{name}")(return_X_y=True) for name in ("iris", "wine", "digits")}
SETS = {name: (scale(X)[:600], y[:600]) for name, (X, y) in SETS.items()}


def slope(X, y, W, b, weight, offset=0.0):
    """Gradient of the mean cross-entropy in W and b."""
    r = softmax(X @ W.T + b + offset, axis=1)
    r[np.arange(len(y)), y] -= 1
    r *= (weight / weight.sum())[:, None]
    return r.T @ X, r.sum(axis=0)


def conditions(model, X, y, weight=None, offset=0.0):
    """The largest violation of the optimality conditions: a length for each feature, and the intercepts' slopes."""
    weight = np.ones(len(y)) if weight is None else weight
    alpha, W = 1 / (model.C * weight.sum()), model.coef_
    f = np.ones(X.shape[1]) if model.penalty_factor is None else np.asarray(model.penalty_factor)
    g, b = slope(X, y, W, model.intercept_, weight, offset)
    g = g + alpha * f * (1 - model.l1_ratio) * W
    l1, length, norm = alpha * f * model.l1_ratio, np.linalg.norm(W, axis=0), np.linalg.norm(g, axis=0)
    stays = np.linalg.norm(g + l1 * W / np.where(length > 0, length, 1), axis=0)
    off = np.where(length > 0, stays, np.maximum(norm - l1, 0))
    return max(off.max(), np.abs(b).max() if model.fit_intercept else 0.0)


def objective(X, y, W, b, C, l1_ratio):
    p = softmax(X @ W.T + b, axis=1)[np.arange(len(y)), y]
    penalty = l1_ratio * np.linalg.norm(W, axis=0).sum() + (1 - l1_ratio) * (W**2).sum() / 2
    return -np.log(p).mean() + penalty / (C * len(y))


def proximal_gradient(X, y, C, l1_ratio, steps):
    """FISTA with restarts: a gradient step, then every feature's coefficients are shortened."""
    K, N = y.max() + 1, len(y)
    ones = np.ones(N)
    t = 2 * N / np.linalg.norm(np.column_stack([X, ones]), 2) ** 2  # the softmax curves by at most 1/2
    W, b = np.zeros((K, X.shape[1])), np.zeros(K)
    V, c, momentum, alpha = W, b, 1.0, 1 / (C * N)
    for _ in range(steps):
        g, h = slope(X, y, V, c, ones)
        new = V - t * (g + alpha * (1 - l1_ratio) * V)
        length = np.linalg.norm(new, axis=0)
        new *= np.maximum(0, 1 - t * alpha * l1_ratio / np.where(length > 0, length, 1))
        intercept, after = c - t * h, (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if ((V - new) * (new - W)).sum() + (c - intercept) @ (intercept - b) > 0:
            after = momentum = 1.0
        V = new + (momentum - 1) / after * (new - W)
        c = intercept + (momentum - 1) / after * (intercept - b)
        W, b, momentum = new, intercept, after
    return W, b


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("l1_ratio", [1, 0.5])
@pytest.mark.parametrize(("name", "C"), [(name, C) for name in SETS for C in (0.03, 1.0, 100.0)])
def test_optimality_conditions_to_1e8(name, C, l1_ratio, thin, monkeypatch):
    X, y = SETS[name]
    model = LogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-8, group_lasso=True)
    if thin:
        monkeypatch.setattr("xent.second_order.sparse.FULL", 0 if name == "wine" else 10)
    model.fit(sparse.csr_array(X) if thin else X, y)
    assert conditions(model, X, y) < 1e-8
    assert 0 <= model.dual_gap_ <= 1e-8
    found = objective(X, y, model.coef_, model.intercept_, C, l1_ratio)
    assert model.objective_ == pytest.approx(found, rel=1e-12)
    zero = model.coef_ == 0
    assert (zero.all(axis=0) | ~zero.any(axis=0)).all()
    if C < 1 and l1_ratio == 1:
        assert zero.any()
    assert model.n_iter_[0] < 40


@pytest.mark.parametrize("l1_ratio", [1, 0.4])
@pytest.mark.parametrize("name", ["iris", "wine"])
def test_same_optimum_as_a_slow_proximal_gradient(name, l1_ratio):
    X, y = SETS[name]
    model = LogisticRegression(C=0.2, l1_ratio=l1_ratio, tol=1e-10, group_lasso=True).fit(X, y)
    W, b = proximal_gradient(X, y, 0.2, l1_ratio, 3000)
    np.testing.assert_allclose(model.coef_, W, atol=1e-7)
    np.testing.assert_array_equal(model.coef_ == 0, W == 0)
    np.testing.assert_allclose(model.intercept_ - model.intercept_.mean(), b - b.mean(), atol=1e-7)


def test_the_strength_at_which_the_first_feature_comes_in():
    X, y = SETS["wine"]
    r = np.bincount(y) / len(y) - np.eye(3)[y]  # at W = 0 the intercepts alone are fitted
    largest = np.linalg.norm(X.T @ r, axis=1).max()
    for factor, some in ((0.999, False), (1.001, True)):
        model = LogisticRegression(C=factor / largest, l1_ratio=1, group_lasso=True, tol=1e-7).fit(X, y)
        assert model.coef_.any() == some
    path = logistic_path(X, y, Cs=8, l1_ratio=1.0, group_lasso=True)
    assert path.Cs[0] == pytest.approx(1 / largest, rel=1e-6)
    assert [path.coefs[i].any() for i in (0, 1)] == [False, True]


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_weights_offsets_and_factors(fit_intercept):
    X, y = SETS["wine"]
    rng = np.random.default_rng(0)
    weight, offset, factor = rng.random(len(y)), rng.normal(size=(len(y), 3)), 2 * rng.random(X.shape[1])
    factor[[2, 5]] = 0.0
    model = LogisticRegression(
        C=0.05, l1_ratio=0.7, group_lasso=True, tol=1e-9, fit_intercept=fit_intercept, penalty_factor=factor
    )
    model.fit(X, y, sample_weight=weight, offset=offset)
    assert conditions(model, X, y, weight, offset) < 1e-9
    assert model.coef_[:, [2, 5]].all()
    assert not model.coef_.any(axis=0).all()


@pytest.mark.parametrize("l1_ratio", [1, 0.5])
def test_the_gap_bounds_the_distance_to_the_minimum(l1_ratio):
    X, y = SETS["wine"]
    options = {"C": 3.0, "l1_ratio": l1_ratio, "group_lasso": True}
    best = LogisticRegression(tol=1e-12, **options).fit(X, y).objective_
    for steps in range(6):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            early = LogisticRegression(max_iter=steps, tol=1e-12, **options).fit(X, y)
        assert early.objective_ - best <= early.dual_gap_ * (1 + 1e-9)
        assert steps > 3 or early.objective_ - best > 1e-4


def test_pieces_of_the_features_find_the_same(monkeypatch):
    X, y = SETS["wine"]
    whole = LogisticRegression(l1_ratio=1, tol=1e-9, group_lasso=True).fit(X, y)
    monkeypatch.setattr("xent.second_order.groups.MOST_COORDINATES", 7)
    pieces = LogisticRegression(l1_ratio=1, tol=1e-9, group_lasso=True).fit(X, y)
    assert pieces.n_iter_[0] > whole.n_iter_[0]
    np.testing.assert_allclose(pieces.coef_, whole.coef_, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hard_ones_converge(dtype):
    """Few rows, separable classes, next to no penalty, copies of columns, a constant, a column of zeros."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(30, 8)) ** 3 * 10 ** rng.uniform(-2, 2, 8)
        X = np.column_stack([X, X[:, :2], np.ones(30), np.zeros(30)]).astype(dtype)
        y = rng.integers(0, 3 + seed % 2, 30)
        for C in (1e4, 1.0):
            for l1_ratio in (1, 0.5):
                model = LogisticRegression(C=C, l1_ratio=l1_ratio, group_lasso=True).fit(X, y)
                assert model.convergence_ <= model.tol
                assert model.coef_.dtype == dtype
                assert not model.coef_[:, 11].any()


@pytest.mark.parametrize("rank", [4, 15])
def test_quadratic(rank):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(rank, 15))
    H, g, x = A.T @ A, A.T @ rng.normal(size=rank), rng.normal(size=15)
    penalty = GroupLasso(np.array([0.4, 1.5, 0.0, 0.9, 30.0]), 3)
    u = penalty.minimum(H, g, x, tol=1e-11)
    assert penalty.violation(g + H @ (u - x), u).max() <= 1e-9
    zero = u.reshape(3, 5) == 0
    assert zero.all(axis=0).any()
    assert not zero.all(axis=0).all()


def test_a_path_of_groups_meets_every_points_conditions():
    X, y = SETS["iris"]
    path = logistic_path(sparse.csr_array(X), y, Cs=10, l1_ratio=0.8, group_lasso=True, tol=1e-8)
    assert (path.dual_gaps <= 1e-8).all()
    counts = [int(W.any(axis=0).sum()) for W in path.coefs]
    assert counts[0] == 0
    assert counts[-1] == 4
    for i in range(10):
        assert conditions(path.model(i), X, y) < 1e-8


def test_two_classes_are_the_lasso_and_what_is_refused():
    X, y = SETS["wine"]
    x, two = X[y < 2], y[y < 2]
    grouped = LogisticRegression(C=0.1, l1_ratio=1, group_lasso=True).fit(x, two)
    np.testing.assert_array_equal(grouped.coef_, LogisticRegression(C=0.1, l1_ratio=1).fit(x, two).coef_)
    for options in ({"l1_ratio": 0}, {"l1_ratio": 1, "C": np.inf}):
        with pytest.raises(ValueError, match="group_lasso=True groups the L1 part of the penalty: set l1_ratio"):
            LogisticRegression(group_lasso=True, **options).fit(X, y)
    with pytest.raises(ValueError, match="group_lasso must be True or False, not 'classes'"):
        LogisticRegression(l1_ratio=1, group_lasso="classes").fit(X, y)
    model = LogisticRegression(l1_ratio=1, group_lasso=True).fit(X, y)
    with pytest.raises(ValueError, match="not built for group_lasso=True"):
        approximate_leave_one_out(model, X, y)
