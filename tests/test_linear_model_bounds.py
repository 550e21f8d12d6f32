"""Coefficients with bounds: the conditions of a bounded minimum, written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from scipy.special import softmax
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, approximate_leave_one_out
from xent.solvers import boxed

X, Y = datasets.load_wine(return_X_y=True)
X = scale(X)


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("bounds", [(0, None), (-0.2, 0.3), (None, np.linspace(-0.1, 0.5, 13))])
@pytest.mark.parametrize("K", [2, 3])
def test_the_conditions_of_a_bounded_minimum(K, bounds, thin):
    rows = K > Y
    x, y = X[rows], Y[rows]
    model = LogisticRegression(bounds=bounds, tol=1e-8).fit(sparse.csr_array(x) if thin else x, y)
    assert model.solver_.name == "boxed"
    assert model.convergence_ <= 1e-8
    w = model.coef_
    lower, upper = (np.broadcast_to(e if b is None else b, w.shape) for b, e in zip(bounds, (-np.inf, np.inf)))  # noqa: B905
    assert ((lower <= w) & (w <= upper)).all()
    z = x @ w.T + model.intercept_
    p = softmax(np.column_stack([np.zeros(len(y)), z]) if K == 2 else z, axis=1)
    r = ((p - np.eye(K)[y]) / len(y))[:, -len(w) :]
    assert np.abs(r.sum(axis=0)).max() < 1e-7
    g = r.T @ x + w / len(y)
    inside = (w > lower) & (w < upper)
    assert inside.any()
    assert not inside.all()
    assert np.abs(g[inside]).max() < 1e-7
    assert (g[w == lower] > -1e-7).all()  # it would go further down, if it could
    assert (g[w == upper] < 1e-7).all()


def test_wide_bounds_change_nothing_and_equal_ones_fix():
    free = LogisticRegression(tol=1e-8).fit(X, Y)
    wide = LogisticRegression(bounds=(-100, 100), tol=1e-8).fit(X, Y)
    np.testing.assert_allclose(wide.coef_, free.coef_, atol=1e-6)
    lower, upper = np.full(13, -np.inf), np.full(13, np.inf)
    lower[4] = upper[4] = 0.25
    held = LogisticRegression(bounds=(lower, upper), tol=1e-8).fit(X, Y)
    np.testing.assert_array_equal(held.coef_[:, 4], 0.25)
    again = LogisticRegression(bounds=(lower, upper), tol=1e-8, warm_start=True)
    again.coef_, again.intercept_ = held.coef_, held.intercept_
    assert again.fit(X, Y).n_iter_[0] == 0


def test_unscaled_columns():
    x, y = datasets.load_breast_cancer(return_X_y=True)
    model = LogisticRegression(bounds=(0, None), max_iter=20_000).fit(x, 1 - y)
    assert model.convergence_ <= 1e-5
    assert (model.coef_ >= 0).all()
    assert (model.coef_ > 0).sum() > 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": 3}, r"bounds must be a pair \(lower, upper\)"),
        ({"bounds": (0, np.ones(5))}, r"the upper bounds have the shape \(5,\), .* coef_, \(3, 13\)"),
        ({"bounds": (1, 0)}, "each lower bound must be at most the upper one"),
        ({"bounds": (0, np.nan)}, "neither NaN"),
        ({"bounds": (0, 1), "l1_ratio": 0.5}, "l1_ratio must be 0, not 0.5"),
        ({"bounds": (0, 1), "solver": "newton-cg"}, "bounds need solver='auto' or 'lbfgs', not 'newton-cg'"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit(X, Y)


def test_early_stops_are_told_and_leave_one_out_is_refused():
    with pytest.warns(ConvergenceWarning, match="boxed did not converge: stopped after 1 iterations"):
        model = LogisticRegression(bounds=(0, None), max_iter=1).fit(X, Y)
    assert (model.coef_ >= 0).all()
    model = LogisticRegression(bounds=(0, None)).fit(X, Y)
    with pytest.raises(ValueError, match="not defined where bounds"):
        approximate_leave_one_out(model, X, Y)


class Line:
    """A slope without an end: only a bound stops it; and a value that rounding moves."""

    roots = np.ones(1)

    def value_and_grad(self, theta):
        return float(theta[0]), np.ones(1)

    def measure(self, projected):
        return float(np.abs(projected).max())


def test_a_minimum_at_a_bound():
    found = boxed(Line(), np.array([5.0]), np.array([-2.0]), np.array([np.inf]), tol=1e-12, max_iter=50)
    assert found.converged
    assert found.x[0] == -2.0
