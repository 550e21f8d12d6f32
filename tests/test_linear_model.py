"""LogisticRegression: scikit-learn's checks, its optimum, and what it does better."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.utils.estimator_checks import parametrize_with_checks

from xent.linear_model import LogisticRegression
from xent.objective import MOST_FACTORED, SoftmaxObjective
from xent.solvers import lbfgs

SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}


# array-API dispatch is switched on by an environment variable at import; scikit-learn skips that check without it
@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([LogisticRegression(), LogisticRegression(C=0.1, tol=1e-7)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def objective(model, X, y, C, weight=None):
    """scikit-learn's objective over C N, written from its documentation."""
    weight = np.ones(len(y)) if weight is None else weight
    logp = model.predict_log_proba(X)[np.arange(len(y)), np.searchsorted(model.classes_, y)]
    penalty = 0 if np.isinf(C) else (np.asarray(model.coef_, float) ** 2).sum() / (2 * C)
    return (-(weight * logp).sum() + penalty) / weight.sum()


def optimum(X, y, C, **options):
    """scikit-learn's, from the most accurate of its solvers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return Theirs(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000, **options).fit(X, y)


@pytest.mark.parametrize(
    ("name", "C"), [*((name, C) for name in SETS if name != "digits" for C in (1e-3, 1.0, 100.0)), ("digits", 0.1)]
)
def test_same_optimum_as_scikit_learn(name, C):
    X, y = SETS[name](return_X_y=True)
    ours, theirs = LogisticRegression(C=C).fit(X, y), optimum(X, y, C)
    best = objective(theirs, X, y, C)
    assert objective(ours, X, y, C) - best < 1e-6 * max(best, 1e-2)
    assert ours.objective_ == pytest.approx(objective(ours, X, y, C), rel=1e-9)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=2e-3)
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == theirs.intercept_.shape
    assert ours.n_iter_.shape == (1,)
    assert ours.convergence_ <= ours.tol


@pytest.mark.parametrize("options", [{"fit_intercept": False}, {"class_weight": "balanced"}, {"class_weight": {0: 3}}])
@pytest.mark.parametrize("name", ["iris", "breast_cancer"])
def test_options_mean_what_they_mean_there(name, options):
    X, y = SETS[name](return_X_y=True)
    X = X / X.std(axis=0)
    ours, theirs = LogisticRegression(tol=1e-8, **options).fit(X, y), optimum(X, y, 1.0, **options)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)


def test_without_a_penalty():
    X, y = SETS["breast_cancer"](return_X_y=True)
    X = X[:, [0, 1, 4]] / X[:, [0, 1, 4]].std(axis=0)
    ours, theirs = LogisticRegression(C=np.inf, tol=1e-8).fit(X, y), optimum(X, y, np.inf)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-5)


def test_sample_weights_are_repetitions():
    X, y = SETS["iris"](return_X_y=True)
    times = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = LogisticRegression(tol=1e-9).fit(X, y, sample_weight=times)
    repeated = LogisticRegression(tol=1e-9).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=1e-7)


@pytest.mark.parametrize("scales", [np.logspace(-3, 3, 30), np.ones(30)])
def test_scales_of_features_do_not_matter(scales):
    """scikit-learn's default solver ends far from the minimum on the first of these."""
    X, y = SETS["breast_cancer"](return_X_y=True)
    X = (X - X.mean(axis=0)) / X.std(axis=0) * scales
    ours = LogisticRegression(C=1.0).fit(X, y)
    assert ours.n_iter_[0] < 120
    assert objective(ours, X, y, 1.0) - objective(optimum(X, y, 1.0), X, y, 1.0) < 1e-7


def test_dependent_columns():
    X, y = SETS["wine"](return_X_y=True)
    X = np.hstack([X, X[:, :3], np.zeros((len(X), 1)), np.ones((len(X), 1))])
    for C in (1.0, np.inf):
        model = LogisticRegression(C=C, tol=1e-4).fit(X, y)
        assert np.isfinite(model.coef_).all()
        assert model.score(X, y) == 1


@pytest.mark.parametrize("name", ["digits", "breast_cancer"])
def test_sparse_is_dense(name):
    X, y = SETS[name](return_X_y=True)
    dense = LogisticRegression(C=0.01, tol=1e-7).fit(X, y)
    thin = LogisticRegression(C=0.01, tol=1e-7).fit(sparse.csr_array(X), y)
    np.testing.assert_allclose(thin.coef_, dense.coef_, atol=1e-5)
    np.testing.assert_allclose(thin.predict_proba(sparse.csr_array(X)), dense.predict_proba(X), atol=1e-5)


def test_more_features_than_can_be_factored():
    rng = np.random.default_rng(0)
    X = sparse.random_array((300, MOST_FACTORED + 50), density=0.02, rng=rng, format="csr")
    X = X.multiply(np.logspace(-1, 1, X.shape[1])).tocsr()
    y = (np.asarray(X[:, -40:].sum(axis=1)).ravel() > np.median(np.asarray(X[:, -40:].sum(axis=1)))).astype(int)
    ours, theirs = LogisticRegression().fit(X, y), Theirs(solver="newton-cg", tol=1e-10, max_iter=1000).fit(X, y)
    assert objective(ours, X, y, 1.0) - objective(theirs, X, y, 1.0) < 1e-7


@pytest.mark.parametrize("thin", [False, True])
def test_float32_stays_float32_and_is_as_good(thin):
    X, y = SETS["digits"](return_X_y=True)
    X32 = X.astype(np.float32)  # exact: pixels are whole numbers
    ours = LogisticRegression(C=0.01).fit(sparse.csr_array(X32) if thin else X32, y)
    assert ours.convergence_ <= ours.tol
    assert ours.coef_.dtype == ours.predict_proba(X.astype(np.float32)).dtype == np.float32
    assert objective(ours, X, y, 0.01) - objective(optimum(X, y, 0.01), X, y, 0.01) < 1e-6


def test_log_probabilities_are_exact_where_probabilities_round():
    for K in (2, 3):
        X, y = np.arange(K, dtype=float)[:, None] * 2, np.arange(K)
        model = LogisticRegression(C=1e6).fit(X, y)
        far = np.array([[400.0]])
        z = [0.0, model.decision_function(far)[0]] if K == 2 else model.decision_function(far)[0]
        with mpmath.workdps(900):
            e = [mpmath.exp(mpmath.mpf(float(v))) for v in z]
            true = [float(mpmath.log(v / mpmath.fsum(e))) for v in e]
        found = model.predict_log_proba(far)[0]
        np.testing.assert_allclose(found, true, rtol=1e-13, atol=1e-320)
        assert found.min() < -800
        assert model.predict_proba(far)[0].sum() == 1


def test_warm_start_begins_where_the_last_fit_ended():
    X, y = SETS["digits"](return_X_y=True)
    cold = LogisticRegression(C=0.01).fit(X, y)
    warm = clone(cold).set_params(warm_start=True).fit(X, y)
    first = warm.n_iter_[0]
    warm.set_params(C=0.011).fit(X, y)
    assert warm.n_iter_[0] < first
    assert warm.set_params(C=0.011).fit(X, y).n_iter_[0] == 0


def test_labels_of_any_kind():
    X, y = SETS["iris"](return_X_y=True)
    numbers = LogisticRegression().fit(X, y)
    for names in (np.array(["a", "bb", "c"]), np.array(["x", "y", "z"], object), np.array([True, False])):
        rows = y < len(names)
        model = LogisticRegression().fit(X[rows], names[y[rows]])
        assert set(model.predict(X[rows])) <= set(names)
        if len(names) == 3:
            np.testing.assert_allclose(model.predict_proba(X), numbers.predict_proba(X), atol=1e-12)


def test_not_converging_is_said_with_what_to_change():
    X, y = SETS["digits"](return_X_y=True)
    with pytest.warns(ConvergenceWarning, match=r"stopped after 3 iterations .* above tol=1e-05 .*Increase max_iter"):
        LogisticRegression(max_iter=3).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="as far as rounding allows here: a larger tol"):
        LogisticRegression(tol=1e-18).fit(X[:300, :2], y[:300] > 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "C must be a number above 0, or np.inf for no penalty, not 0"),
        ({"C": "1"}, "C must be a number above 0"),
        ({"tol": -1}, "tol must be a number above 0, not -1"),
        ({"max_iter": 1.5}, "max_iter must be a whole number from 0, not 1.5"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit([[0.0], [1.0]], [0, 1])


def test_bad_data():
    X = np.zeros((4, 2))
    with pytest.raises(ValueError, match="the data hold only one class, 7"):
        LogisticRegression().fit(X, [7, 7, 7, 7])
    with pytest.raises(ValueError, match="only one class, 0"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=[1, 1, 0, 0])
    with pytest.raises(ValueError, match=r"sample_weight has the shape \(3,\); X has 4 rows"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=[1, 1, 1])
    with pytest.raises(ValueError, match="finite and not negative"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=[1, 1, -1, 1])
    with pytest.raises(ValueError, match="zero for every row"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=np.zeros(4))


# ---- the objective and the solver by themselves


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


class Bowl:
    """A quadratic with a known minimum, as the solver sees problems: it needs nothing of losses."""

    def __init__(self, scales):
        self.scales, self.renewals = np.asarray(scales, float), 0

    def value_and_grad(self, v):
        d = v - 1
        return 0.5 * float(d @ (self.scales * d)), self.scales * d

    def convergence(self, gradient):
        return float(np.abs(gradient).max())

    def to_parameters(self, v):
        return v

    to_coordinates = to_parameters

    def is_stale(self, theta):
        return False

    def renewed(self, theta):
        self.renewals += 1
        return self


def test_solver_on_a_quadratic():
    seen = []
    found = lbfgs(
        Bowl([1, 100, 1e4]), np.zeros(3), tol=1e-9, max_iter=200, callback=lambda x, f, c: seen.append((f, c))
    )
    assert found.converged
    assert found.message == "converged"
    np.testing.assert_allclose(found.x, 1, atol=1e-9)
    assert len(seen) == found.n_iter
    assert seen[-1] == (found.value, found.convergence)
    stopped = lbfgs(Bowl([1, 100, 1e4]), np.zeros(3), tol=1e-9, max_iter=2)
    assert not stopped.converged
    assert stopped.n_iter == 2
    at_start = lbfgs(Bowl([1.0]), np.ones(1), tol=1e-9, max_iter=5)
    assert at_start.converged
    assert at_start.n_iter == 0
