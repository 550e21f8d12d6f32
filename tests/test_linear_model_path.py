"""Paths of penalties: every point is a minimum by scikit-learn's fit and by conditions written out here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.preprocessing import scale

from xent.class_factors import ClassMoments
from xent.class_means import ClassMeans
from xent.linear_model import LogisticRegression, certify, logistic_path
from xent.second_order import RidgePath
from xent.solvers import ridge_path
from xent.solvers.foresight import Foresight

X, Y = datasets.load_wine(return_X_y=True)
X = scale(X)
CANCER = datasets.load_breast_cancer(return_X_y=True)


def slopes(X, y, path, i, weight=None):
    """Gradient of the mean cross-entropy at a point, (K or 1, D + 1), from probabilities made here."""
    weight = np.ones(len(y)) if weight is None else weight
    z = X @ path.coefs[i].T + path.intercepts[i]
    p = softmax(np.column_stack([np.zeros(len(y)), z]) if z.shape[1] == 1 else z, axis=1)
    r = (p - np.eye(p.shape[1])[np.searchsorted(path.classes, y)]) * (weight / weight.sum())[:, None]
    return (np.column_stack([X, np.ones(len(y))]).T @ r).T[-z.shape[1] :]


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("K", [2, 3])
def test_every_point_of_an_l2_path_is_scikit_learns_minimum(K, thin):
    rows = K > Y
    x, y, Cs = X[rows], Y[rows], np.logspace(-4, 4, 25)
    weight = np.random.default_rng(0).random(len(y))
    path = logistic_path(sparse.csr_array(x) if thin else x, y, Cs=Cs, sample_weight=weight, tol=1e-8)
    assert (path.convergence <= 1e-8).all()
    for i, C in enumerate(Cs):
        g = slopes(x, y, path, i, weight)
        g[:, :-1] += path.coefs[i] / (C * weight.sum())
        assert np.abs(g).max() < 1.1e-8
        if i % 6 == 0:
            exact = Theirs(C=C, solver="newton-cholesky", tol=1e-12, max_iter=500).fit(x, y, sample_weight=weight)
            np.testing.assert_allclose(path.coefs[i], exact.coef_, atol=2e-5 * max(1, np.abs(exact.coef_).max()))
            np.testing.assert_allclose(path.model(i).predict_proba(x), exact.predict_proba(x), atol=1e-5)


@pytest.mark.parametrize("l1_ratio", [1.0, 0.4])
@pytest.mark.parametrize("K", [2, 3])
def test_every_point_of_a_sparse_path_meets_its_conditions(K, l1_ratio):
    rows = K > Y
    x, y = X[rows], Y[rows]
    path = logistic_path(sparse.csr_array(x), y, Cs=12, l1_ratio=l1_ratio, tol=1e-7)
    assert (path.dual_gaps <= 1e-7).all()
    assert not path.coefs[0].any()
    assert path.coefs[1].any()
    for i, C in enumerate(path.Cs):
        alpha, w = 1 / (C * len(y)), path.coefs[i]
        g = slopes(x, y, path, i)
        assert np.abs(g[:, -1]).max() < 1e-7
        g = g[:, :-1] + alpha * (1 - l1_ratio) * w
        np.testing.assert_allclose(g[w != 0], -alpha * l1_ratio * np.sign(w[w != 0]), atol=1.1e-7)
        assert (np.abs(g[w == 0]) <= alpha * l1_ratio + 1.1e-7).all()


def test_a_path_takes_few_passes_and_equals_single_fits():
    x, y = datasets.load_digits(return_X_y=True)
    x, y = x[:600], y[:600]
    path = logistic_path(x, y)
    assert path.Cs.shape == (100,)
    assert (path.convergence <= 1e-5).all()
    assert path.n_evals.sum() < 700
    one = LogisticRegression(C=path.Cs[60]).fit(x, y)
    assert path.objectives[60] == pytest.approx(one.objective_, abs=1e-9)
    assert path.model(60).score(x, y) == one.score(x, y)


def test_any_order_no_penalty_no_intercept_and_float32():
    x, y = scale(CANCER[0])[:, :4].astype(np.float32), CANCER[1]
    path = logistic_path(x, y, Cs=[1.0, np.inf, 1e-2], fit_intercept=False, class_weight="balanced", tol=1e-7)
    assert (path.convergence <= 1e-7).all()
    for i, C in enumerate([1.0, np.inf, 1e-2]):
        one = LogisticRegression(C=C, fit_intercept=False, class_weight="balanced", tol=1e-9).fit(x.astype(float), y)
        np.testing.assert_allclose(path.coefs[i], one.coef_, atol=1e-4)
        assert not path.intercepts[i].any()


def test_badly_scaled_columns():
    x, y = CANCER[0] * np.logspace(-6, 6, 30), CANCER[1]
    path = logistic_path(x, y, Cs=20)
    assert (path.convergence <= 1e-5).all()
    one = LogisticRegression(C=path.Cs[10]).fit(x, y)
    assert path.objectives[10] == pytest.approx(one.objective_, abs=1e-7)


@pytest.mark.parametrize("seed", [1, 2])
def test_points_that_are_hard_for_lbfgs_go_to_newton(seed, monkeypatch):
    """Few rows with features a thousand times as far from zero as they vary, in units of six orders of magnitude."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(60, 10)) @ rng.normal(size=(10, 10)) / np.sqrt(10)
    y = (mixed @ rng.normal(size=(10, 4)) + rng.gumbel(size=(60, 4))).argmax(axis=1)
    X = (mixed + 1000 * rng.normal(size=10)) * 10.0 ** rng.uniform(-3, 3, 10)
    options = {"Cs": np.logspace(-2, 4, 7), "tol": 1e-7, "max_iter": 100}
    found = logistic_path(X, y, **options)
    assert (found.convergence <= 1e-7).all()
    assert max(certify(found.model(i), X, y).decrement for i in range(7)) < 1e-6
    monkeypatch.setattr("xent.linear_model._solve.patience", lambda task: None)
    with pytest.warns(ConvergenceWarning, match="of 7 points"):
        logistic_path(X, y, **options)


@pytest.mark.parametrize("size", [1e-200, 1e200])
@pytest.mark.parametrize("K", [2, 3])
def test_columns_whose_squares_no_number_holds(K, size):
    x, y = X[K > Y] * np.where(np.arange(13) == 2, size, 1.0), Y[K > Y]
    path = logistic_path(x, y, Cs=8)  # without a word of NumPy's
    assert (path.convergence <= 1e-5).all()
    one = LogisticRegression(C=path.Cs[4]).fit(x, y)
    assert path.objectives[4] == pytest.approx(one.objective_, abs=1e-9)


def test_points_that_stop_early_are_told_once():
    with pytest.warns(
        ConvergenceWarning, match=r"\d of 4 points did not converge, the worst at C=.*max_iter=1"
    ) as seen:
        logistic_path(X, Y, Cs=4, max_iter=1)
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Cs": 0}, "Cs must be a whole number from 1"),
        ({"Cs": [1.0, -2.0]}, "Cs must be"),
        ({"Cs": [[1.0]]}, "Cs must be"),
        ({"l1_ratio": 2}, "l1_ratio must be a number from 0 to 1"),
        ({"tol": -1}, "tol must be"),
    ],
)
def test_what_cannot_be_done_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        logistic_path(X, Y, **options)


class Quartic:
    """``sum (theta - 3)^4`` with a metric that is far off."""

    squares = sizes = np.ones(2)
    rounding, coarse, memory = 1e-14, False, 40

    def value_and_grad(self, theta):
        return float(((theta - 3) ** 4).sum()), 4 * (theta - 3) ** 3

    def shortest(self, theta):
        return theta

    def metric(self, strength):
        return self

    def solve(self, gradient):
        return gradient

    def measure(self, gradient):
        return float(np.abs(gradient).max())

    def renew(self, theta, spent):
        return False

    def doubt(self, metric, theta):
        return 0.0

    def sharpen(self):
        return False


def test_the_line_search_holds_under_a_metric_that_misleads():
    found = ridge_path(Quartic(), [10.0, 1.0, 0.1], np.zeros(2), tol=1e-10, max_iter=200)
    for strength, s in zip([10.0, 1.0, 0.1], found, strict=True):
        assert s.converged
        np.testing.assert_allclose(s.x, np.roots([4, -36, 108 + strength, -108])[-1].real, atol=1e-7)
    assert ridge_path(Quartic(), [1.0], np.zeros(2), tol=1e-10, max_iter=2)[0].message == "no iterations left"


def test_a_path_with_bounds_equals_single_fits():
    path = logistic_path(X, Y, Cs=[10.0, 0.01, 1.0], bounds=(0, None), tol=1e-7)
    assert (path.coefs >= 0).all()
    for i, C in enumerate(path.Cs):
        one = LogisticRegression(C=C, bounds=(0, None), tol=1e-7).fit(X, Y)
        np.testing.assert_allclose(path.coefs[i], one.coef_, atol=1e-4)
        assert path.objectives[i] == pytest.approx(one.objective_, abs=1e-9)


@pytest.mark.parametrize("options", [{"l1_ratio": 1.0}, {"l1_ratio": 0.5}, {"l1_ratio": 1.0, "group_lasso": True}])
def test_a_sparse_path_begins_each_point_without_a_pass(options, monkeypatch):
    path = logistic_path(X, Y, Cs=30, tol=1e-6, **options)
    assert path.n_evals.sum() <= path.n_iter.sum() + 4  # a gradient after each working set, none before
    again = [LogisticRegression(C=C, tol=1e-6, **options).fit(X, Y) for C in path.Cs[[5, 25]]]
    for i, one in zip((5, 25), again, strict=True):
        np.testing.assert_allclose(path.coefs[i], one.coef_, atol=1e-3)
        assert path.objectives[i] == pytest.approx(one.objective_, abs=2e-6)
    monkeypatch.setattr("xent.second_order.sparse.MOST_MOVES", 0)  # every product made anew
    anew = logistic_path(X, Y, Cs=30, tol=1e-6, **options)
    np.testing.assert_allclose(path.coefs, anew.coefs, atol=1e-9)


@pytest.fixture(params=["means", "blocks"])
def with_factors(request, monkeypatch):
    """Paths on small data as on large: float32 passes, and coordinates of each class as soon as a point took passes."""
    monkeypatch.setattr("xent.linear_model._solve.FLOAT32_SIZE", 1)
    monkeypatch.setattr("xent.linear_model._solve.FLOAT32_CLASSES", 3)
    monkeypatch.setattr("xent.second_order.ridge.worth_it", lambda f, passes, rows: passes > 3)
    monkeypatch.setattr("xent.second_order.ridge.means_are_worth_it", lambda f, passes, share: passes > 3 / 4)
    monkeypatch.setattr("xent.second_order.ridge.penalty_is_cheap", lambda f, passes: request.param == "means")
    return request.param


@pytest.mark.parametrize(("tol", "coarse"), [(1e-5, True), (1e-9, False)])
def test_a_path_with_factors_of_the_classes_and_in_float32(tol, coarse, with_factors, monkeypatch):
    paths = []

    def watched(*args, **options):
        paths.append(RidgePath(*args, **options))
        return paths[0]

    monkeypatch.setattr("xent.linear_model._solve.RidgePath", watched)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(900, 12)) @ rng.normal(size=(12, 12)) * np.logspace(-2, 2, 12)
    y = np.argmax(scale(x) @ rng.normal(size=(12, 6)) + rng.gumbel(size=(900, 6)), axis=1)
    weight = rng.random(900)
    path = logistic_path(x, y, Cs=30, sample_weight=weight, tol=tol)
    assert isinstance(paths[0]._classes, ClassMeans if with_factors == "means" else ClassMoments)
    assert paths[0].coarse is coarse  # float32 cannot tell 1e-9
    assert path.n_evals.sum() < (280 if coarse else 520)
    for i, C in enumerate(path.Cs):
        g = slopes(x, y, path, i, weight)
        g[:, :-1] += path.coefs[i] / (C * weight.sum())
        assert np.abs(g / np.maximum(1, np.abs(np.column_stack([x, np.ones(900)])).max(axis=0) / 100)).max() <= tol
        if i % 7 == 0:
            one = LogisticRegression(C=C, tol=1e-10).fit(x, y, sample_weight=weight)
            assert -1e-12 <= path.objectives[i] - one.objective_ + 1e-7 * coarse <= 2e-7 * coarse + 1e-12
            assert (
                certify(path.model(i), x, y, sample_weight=weight).decrement <= (1.3 if coarse else 10) * tol
            )  # to rounding


@pytest.mark.parametrize("size", [0.0, 1e-200])
def test_columns_of_zeros_leave_classes_their_own_coordinates(size, monkeypatch):
    """Their squares are zero, as are those of numbers too small: these no coordinates without units can have."""
    x, y = datasets.load_digits(return_X_y=True)
    x, y, made = scale(x[:600]), y[:600], []
    x[:, 0] = size * np.arange(600)
    coordinates = ClassMoments.coordinates
    monkeypatch.setattr(
        ClassMoments, "coordinates", lambda *args, **kwargs: made.append(1) or coordinates(*args, **kwargs)
    )
    path = logistic_path(x, y, Cs=np.logspace(-3, 3, 7))
    assert (path.convergence <= 1e-5).all()
    assert bool(made) == (size == 0)


def test_the_next_point_of_a_ridge_path_is_foretold():
    rng = np.random.default_rng(3)
    poles, sizes = np.logspace(-6, 2, 9), rng.normal(size=(9, 4))
    told = Foresight()
    assert told.next(0.0) is None
    missed, moved, last = [], [], np.zeros(4)
    for place in np.log(np.geomspace(1e2, 1e-5, 90)):
        point = (sizes * (poles / (poles + np.exp(place)))[:, None]).sum(axis=0)
        guess = told.next(place)
        if guess is not None:
            missed.append(np.linalg.norm(guess - point))
            moved.append(np.linalg.norm(point - last))
        told.add(place, point, np.ones(4))
        told.add(place, point + 1, np.ones(4))  # what is known already
        last = point
    assert np.median(missed[15:]) < 5e-4 * np.median(moved[15:])
    assert max(missed[15:]) < 1e-2 * max(moved[15:])
    assert told.next(place) is None
    assert told.next(place - 100) is None  # no penalty: too far to tell
    assert np.isfinite(told.next(place - 1e-9)).all()
