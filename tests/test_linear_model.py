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
from threadpoolctl import threadpool_info, threadpool_limits

from xent import _blas
from xent.coordinates import MOST_FACTORED
from xent.linear_model import LogisticRegression
from xent.objective import SoftmaxObjective
from xent.solvers import lbfgs

SETS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
}


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


@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float64, 1e-200), (np.float64, 1e12), (np.float64, 1e30), (np.float64, 1e200), (np.float32, 1e25)],
)
@pytest.mark.parametrize("thin", [False, True])
def test_features_whose_squares_no_number_holds(dtype, size, thin, monkeypatch):
    """The fit is that of the feature in a sensible unit, in as many iterations and without a warning."""
    X, y = SETS["iris"](return_X_y=True)
    X, y = X[:, :3], y == 1
    huge = (X * [1, 1, size]).astype(dtype)
    expected = LogisticRegression(C=np.inf).fit(X, y)
    for most in (MOST_FACTORED, 2):  # the factor, and its diagonal
        monkeypatch.setattr("xent.curvature.MOST_FACTORED", most)
        model = LogisticRegression(C=np.inf).fit(sparse.csr_array(huge) if thin else huge, y)
        assert model.objective_ == pytest.approx(expected.objective_, abs=1e-6)
        assert model.n_iter_[0] < 80


def test_a_timestamp_among_the_features_is_no_obstacle():
    X, y = SETS["iris"](return_X_y=True)
    X = np.column_stack([X, 1.7e18 + 1e15 * np.random.default_rng(0).normal(size=len(y))])
    model = LogisticRegression().fit(X, y)
    assert model.convergence_ <= model.tol


@pytest.mark.filterwarnings("ignore:the classes are separable:sklearn.exceptions.ConvergenceWarning")
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
    X = sparse.random(300, MOST_FACTORED + 50, density=0.02, random_state=rng, format="csr")
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


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_head_start_on_some_of_the_rows_ends_at_the_minimum_over_all(dtype, monkeypatch):
    """Also where the rows of the head start tell of something else: the others have their labels turned."""
    rng = np.random.default_rng(5)
    X = (rng.normal(size=(8000, 4)) * [1, 30, 0.1, 1]).astype(dtype)
    y = (X[:, 0] + 0.5 * rng.normal(size=8000) > 0).astype(int)
    heads = []
    thinned = SoftmaxObjective.thinned
    monkeypatch.setattr(SoftmaxObjective, "thinned", lambda f, step: heads.append(step) or thinned(f, step))
    for turned in (False, True):
        labels = np.where((np.arange(8000) % 10 > 0) & turned, 1 - y, y)
        model = LogisticRegression(tol=1e-8, solver="lbfgs").fit(X, labels)
        truth = optimum(X.astype(float), labels, 1.0)
        assert model.objective_ == pytest.approx(objective(truth, X.astype(float), labels, 1.0), abs=1e-12)
        assert model.convergence_ <= 1e-8
    assert heads == [10, 10]
    warm = clone(model).set_params(warm_start=True).fit(X, labels)
    heads.clear()
    assert warm.fit(X, labels).n_iter_[0] == 0 or dtype == "float32"  # whose coefficients are rounded
    X[:, 3] = np.arange(8000) == 3  # a column that the rows of a head start may miss
    LogisticRegression(tol=1e-8, solver="lbfgs").fit(X, y)
    assert heads == []


def test_warm_start_begins_where_the_last_fit_ended():
    X, y = SETS["digits"](return_X_y=True)
    cold = LogisticRegression(C=0.01).fit(X, y)
    warm = clone(cold).set_params(warm_start=True).fit(X, y)
    first = warm.n_iter_[0]
    warm.set_params(C=0.011).fit(X, y)
    assert warm.n_iter_[0] < first
    assert warm.set_params(C=0.011).fit(X, y).n_iter_[0] == 0


def test_fits_side_by_side_leave_the_threads_of_blas_as_they_were():
    def counts():
        return [info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"]

    first, second = _blas.one_blas_thread(), _blas.one_blas_thread()
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert set(counts()) <= {1}
        second.__exit__(None, None, None)
        assert counts() == before


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
    with pytest.warns(
        ConvergenceWarning, match=r"stopped after 3 iterations .* above tol=1e-05 .*Increase the number of iterations"
    ):
        LogisticRegression(max_iter=3).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="stopped after 30 iterations"):  # of both precisions together
        LogisticRegression(max_iter=30, C=100.0).fit(X.astype(np.float32), y)
    with pytest.warns(ConvergenceWarning, match="as far as rounding allows here: a larger tol"):
        LogisticRegression(tol=1e-18).fit(X[:300, :2], y[:300] > 4)


@pytest.mark.parametrize("C", [np.float32(1), np.float32(100)])
def test_a_parameter_of_low_precision_costs_the_fit_none(C):
    X, y = SETS["iris"](return_X_y=True)
    np.testing.assert_array_equal(
        LogisticRegression(C=C).fit(X, y).coef_, LogisticRegression(C=float(C)).fit(X, y).coef_
    )


def test_the_strongest_penalty():
    X, y = SETS["iris"](return_X_y=True)
    model = LogisticRegression(C=5e-324).fit(X, y)
    assert np.abs(model.coef_).max() < 1e-290
    assert model.objective_ == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0}, "C must be a number above 0, or np.inf for no penalty, not 0"),
        ({"C": "1"}, "C must be a number above 0"),
        ({"class_weight": {0: -1, 1: 1}}, "class_weight must be finite and not negative"),
        ({"class_weight": {0: np.nan, 1: 1}}, "class_weight must be finite and not negative"),
        ({"class_weight": {0: 0, 1: 0}}, "class_weight is zero for every row"),
        ({"tol": -1}, "tol must be a number from 0, not -1"),
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
    with pytest.raises(ValueError, match="the sum of sample_weight overflows"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=np.full(4, 1e308))
    with pytest.raises(ValueError, match="zero for every row"):
        LogisticRegression().fit(X, [0, 0, 1, 1], sample_weight=np.zeros(4))


# ---- the solver by itself


class Bowl:
    """A quadratic with a known minimum, as the solver sees problems: it needs nothing of losses."""

    patience = 40
    rough = False

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

    def is_stale(self, theta, left=1.0):
        return False

    def renewed(self, theta, stuck=False):
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
    end = lbfgs(Bowl(np.logspace(0, 9, 20)), np.zeros(20), tol=1e-300, max_iter=500)
    value, gradient = Bowl(np.logspace(0, 9, 20)).value_and_grad(end.x)
    assert (end.value, end.convergence) == (value, np.abs(gradient).max())  # of the point given, not of the last try
    at_start = lbfgs(Bowl([1.0]), np.ones(1), tol=1e-9, max_iter=5)
    assert at_start.converged
    assert at_start.n_iter == 0


class Ledge(Bowl):
    """A problem whose line search ends where it began: the value is flat to the last digit, the gradient is not."""

    def __init__(self):
        super().__init__([1.0])
        self.evaluations = 0

    def value_and_grad(self, v):
        self.evaluations += 1
        return 1.0 + float(v[0] > 0), np.array([-1e-3])


class Worn(Bowl):
    """Coordinates that fit nowhere until they are made again."""

    def is_stale(self, theta, left=1.0):
        return self.renewals == 0


def test_solver_does_not_trust_stale_coordinates():
    worn = Worn([1.0, 4.0])
    assert lbfgs(worn, np.zeros(2), tol=1e-9, max_iter=200).converged
    assert worn.renewals == 1
    worn = Worn(np.logspace(0, 7, 30))
    seen = []
    lbfgs(worn, np.zeros(30), tol=1e-12, max_iter=45, callback=lambda *_: seen.append(worn.renewals))
    assert seen[39:41] == [0, 1]  # and looks at them on the way


def test_solver_stops_where_it_no_longer_moves():
    ledge = Ledge()
    found = lbfgs(ledge, np.zeros(1), tol=1e-9, max_iter=1000)
    assert not found.converged
    assert ledge.evaluations < 500
    assert found.n_iter < 100
