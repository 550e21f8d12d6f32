"""L1 and elastic net: the optimality conditions, scikit-learn's optimum, and a duality gap that bounds what it says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression
from xent.solvers.l1_quadratic import l1_quadratic, violation

SETS = {name: getattr(datasets, f"load_{name}") for name in ("iris", "wine", "breast_cancer", "digits")}


def probabilities(model, X):
    """The softmax, written out; for two classes the first logit is zero."""
    z = X @ model.coef_.T + model.intercept_
    z = np.column_stack([np.zeros(len(z)), z]) if z.shape[1] == 1 else z
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def conditions(model, X, y, weight=None):
    """The largest violation of the optimality conditions of scikit-learn's objective over C sum(weight)."""
    weight = np.ones(len(y)) if weight is None else weight
    r = probabilities(model, X) - (y[:, None] == model.classes_)
    r = (r if len(model.coef_) > 1 else r[:, 1:]) * weight[:, None] / weight.sum()
    alpha, w = 1 / (model.C * weight.sum()), model.coef_
    g = r.T @ X + alpha * (1 - model.l1_ratio) * w
    l1 = alpha * model.l1_ratio
    off = np.where(w != 0, np.abs(g + l1 * np.sign(w)), np.maximum(np.abs(g) - l1, 0))
    return max(off.max(), np.abs(r.sum(axis=0)).max() if model.fit_intercept else 0)


def objective(model, X, y):
    p = probabilities(model, X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    w = model.coef_
    penalty = model.l1_ratio * np.abs(w).sum() + (1 - model.l1_ratio) * (w**2).sum() / 2
    return -np.log(p).mean() + penalty / (model.C * len(y))


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("l1_ratio", [1, 0.5])
@pytest.mark.parametrize(("name", "C"), [(name, C) for name in SETS for C in (0.03, 1.0, 100.0)])
def test_optimality_conditions_to_1e8(name, C, l1_ratio, thin, monkeypatch):
    monkeypatch.setattr("xent.second_order.sparse.FULL", 10 if name == "digits" else 0)
    X, y = SETS[name](return_X_y=True)
    if name == "digits" and C == 100:
        X, y = X[:600], y[:600]
    X = scale(X)
    model = LogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-8).fit(sparse.csr_array(X) if thin else X, y)
    assert conditions(model, X, y) < 1e-8
    assert 0 <= model.dual_gap_ <= 1e-8
    assert model.convergence_ <= model.tol
    assert model.objective_ == pytest.approx(objective(model, X, y), rel=1e-12)
    if C < 1:
        assert (model.coef_ == 0).mean() > 0.1
    assert model.n_iter_[0] < 60


@pytest.mark.parametrize("l1_ratio", [1, 0.3])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_weights_and_no_intercept(l1_ratio, fit_intercept):
    X, y = SETS["wine"](return_X_y=True)
    X, weight = scale(X), np.random.default_rng(0).random(len(y))
    model = LogisticRegression(l1_ratio=l1_ratio, tol=1e-9, fit_intercept=fit_intercept)
    assert conditions(model.fit(X, y, sample_weight=weight), X, y, weight) < 1e-9


@pytest.mark.parametrize("l1_ratio", [1, 0.5])
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_same_optimum_as_scikit_learn(name, l1_ratio):
    X, y = SETS[name](return_X_y=True)
    X = scale(X)
    ours = LogisticRegression(C=0.1, l1_ratio=l1_ratio, tol=1e-10).fit(X, y)
    theirs = Theirs(C=0.1, l1_ratio=l1_ratio, solver="saga", tol=1e-12, max_iter=20000).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-7)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)


@pytest.mark.parametrize("l1_ratio", [1, 0])
@pytest.mark.parametrize("scaling", [1.0, 20.0])
def test_liblinears_objective_with_its_penalised_intercept(l1_ratio, scaling):
    X, y = SETS["breast_cancer"](return_X_y=True)
    X = scale(X)[:, :6]
    options = {"solver": "liblinear", "l1_ratio": l1_ratio, "intercept_scaling": scaling, "C": 0.05}
    ours = LogisticRegression(tol=1e-10, **options).fit(X, y)
    theirs = Theirs(tol=1e-11, max_iter=100000, random_state=0, **options).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)


@pytest.mark.parametrize("l1_ratio", [1, 0.5])
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_the_gap_bounds_the_distance_to_the_minimum(name, l1_ratio):
    X, y = SETS[name](return_X_y=True)
    X = scale(X)
    best = LogisticRegression(l1_ratio=l1_ratio, tol=1e-12).fit(X, y).objective_
    for steps in range(6):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            early = LogisticRegression(l1_ratio=l1_ratio, max_iter=steps, tol=1e-12).fit(X, y)
        assert early.objective_ - best <= early.dual_gap_ * (1 + 1e-9)
    with pytest.warns(ConvergenceWarning, match=r"prox-newton did not converge: stopped after 2 iterations .*duality"):
        LogisticRegression(l1_ratio=l1_ratio, max_iter=2).fit(X, y)


def test_the_strength_at_which_the_first_weight_leaves_zero():
    X, y = SETS["breast_cancer"](return_X_y=True)
    X = scale(X)
    largest = np.abs(X.T @ (y - y.mean())).max()  # at w = 0 the intercept alone is fitted
    for factor, some in ((0.999, False), (1.001, True)):
        model = LogisticRegression(C=factor / largest, l1_ratio=1).fit(X, y)
        assert model.coef_.any() == some
        np.testing.assert_allclose(model.intercept_, np.log(y.mean() / (1 - y.mean())), rtol=1e-2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_hard_ones_converge(dtype):
    """Few rows, separable classes, next to no penalty, copies of columns, a constant, a column of zeros."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        K = 2 + seed % 3
        X = rng.normal(size=(30, 8)) ** 3 * 10 ** rng.uniform(-2, 2, 8)
        X = np.column_stack([X, X[:, :2], np.ones(30), np.zeros(30)]).astype(dtype)
        y = rng.integers(0, K, 30)
        for C in (1e4, 1.0):
            for l1_ratio in (1, 0.5):
                model = LogisticRegression(C=C, l1_ratio=l1_ratio).fit(X, y)
                assert model.convergence_ <= model.tol
                assert model.coef_.dtype == dtype


def test_a_class_at_a_time_finds_the_same(monkeypatch):
    X, y = SETS["wine"](return_X_y=True)
    X = scale(X)
    whole = LogisticRegression(l1_ratio=0.5, tol=1e-9).fit(X, y)
    monkeypatch.setattr("xent.second_order.sparse.MOST_FLOPS", 0.0)
    monkeypatch.setattr("xent.second_order.sparse.MOST_COORDINATES", 5)
    parts = LogisticRegression(l1_ratio=0.5, tol=1e-9).fit(X, y)
    np.testing.assert_allclose(parts.coef_, whole.coef_, atol=1e-7)


@pytest.mark.parametrize("rank", [3, 12])
def test_quadratic(rank):
    rng = np.random.default_rng(1)
    A = rng.normal(size=(rank, 12))
    H, g, x = A.T @ A, A.T @ rng.normal(size=rank), rng.normal(size=12)
    l1 = np.append(rng.random(10) * 0.3, [0.0, 0.0])
    u = l1_quadratic(H, g, x, l1, tol=1e-11)
    assert violation(g + H @ (u - x), u, l1).max() <= 1e-10  # the slope kept along the way has rounded
    assert (u == 0).any()


@pytest.mark.parametrize("options", [{"l1_ratio": 1.0}, {"l1_ratio": 0.5}])
@pytest.mark.parametrize("K", [2, 3])
def test_columns_far_from_zero_take_no_more_models(K, options):
    """With an intercept they are those about zero: three classes of columns of 1000 +- 1 stayed at 0.8 for 1000."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 5))
    y = (x @ rng.normal(size=(5, K)) + rng.gumbel(size=(400, K))).argmax(axis=1)
    near = LogisticRegression(C=0.1, tol=1e-6, **options).fit(x, y)
    for far in (100.0, 1e4, 1e5):
        model = LogisticRegression(C=0.1, tol=1e-6, **options).fit(x + far, y)
        assert model.n_iter_[0] <= 15
        assert model.dual_gap_ <= 1e-6
        np.testing.assert_allclose(model.coef_, near.coef_, atol=1e-3)
