"""Leave-one-out by one step against leave-one-out by N fits."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, LogisticRegressionCV, approximate_leave_one_out

WINE = datasets.load_wine(return_X_y=True)
IRIS = datasets.load_iris(return_X_y=True)
CANCER = datasets.load_breast_cancer(return_X_y=True)
DIGITS = datasets.load_digits(return_X_y=True)
SETS = {"breast cancer": CANCER, "iris": IRIS, "wine": WINE, "digits": (DIGITS[0][:250] / 16, DIGITS[1][:250])}


def real(model, X, y, weight=None):
    """The loss of each row in a fit without it, begun at the fit with it."""
    losses = []
    for i in range(len(y)):
        others = np.arange(len(y)) != i
        one = LogisticRegression(**model.get_params()).set_params(warm_start=True)
        one.coef_, one.intercept_ = model.coef_, model.intercept_
        one.fit(X[others], y[others], sample_weight=None if weight is None else weight[others])
        losses.append(-one.predict_log_proba(X[[i]])[0, list(one.classes_).index(y[i])])
    return np.array(losses)


@pytest.mark.parametrize("name", list(SETS))
def test_within_a_hundredth_of_the_real_one(name):
    X, y = SETS[name]
    model = LogisticRegression().fit(X, y)
    truth = real(model, X, y)
    found = approximate_leave_one_out(model, X, y)
    assert found.mean == pytest.approx(truth.mean(), rel=0.01)
    plain = -model.predict_log_proba(X)[np.arange(len(y)), y].mean()
    assert abs(found.mean - truth.mean()) < 0.1 * (truth.mean() - plain)  # of what leaving out costs, too
    np.testing.assert_allclose(np.exp(found.log_proba).sum(axis=1), 1)
    assert 0 < found.degrees_of_freedom < model.coef_.size + model.intercept_.size
    assert found.standard_error == pytest.approx(found.loss.std() / np.sqrt(len(y)), rel=1e-12)


HARD = {
    "digits as they are": (DIGITS[0][:300], DIGITS[1][:300], {}),
    "wine, a weak penalty": (scale(WINE[0]), WINE[1], {"C": 100.0}),
    "wine, L1": (scale(WINE[0]), WINE[1], {"l1_ratio": 1.0}),
    "iris, L1": (scale(IRIS[0]), IRIS[1], {"l1_ratio": 1.0}),
    "breast cancer, scaled": (scale(CANCER[0]), CANCER[1], {}),
}


@pytest.mark.parametrize("name", list(HARD))
def test_within_a_hundredth_where_steps_alone_are_not(name):
    X, y, options = HARD[name]
    model = LogisticRegression(**options).fit(X, y)
    truth = real(model, X, y).mean()
    found, steps = (approximate_leave_one_out(model, X, y, refits=r) for r in ("auto", 0))
    assert found.mean == pytest.approx(truth, rel=0.01)
    assert 0 < len(found.refitted) <= 100
    # what it says of its own error is of that error's size, and small
    assert abs(found.mean - truth) < 3 * found.step_error
    assert found.step_error < 0.01 * truth
    assert abs(steps.mean - truth) < steps.step_error
    assert len(steps.refitted) == 0


def test_no_refits_where_steps_change_nothing_much():
    X, y = np.tile(scale(CANCER[0]), (30, 1)), np.tile(CANCER[1], 30)
    model = LogisticRegression(C=0.01).fit(X, y)
    assert len(approximate_leave_one_out(model, X, y).refitted) == 0


@pytest.mark.parametrize("l1_ratio", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_sparse_rows_and_coefficients_that_are_zero(classes, l1_ratio):
    rows = IRIS[1] >= 3 - classes
    X, y = scale(IRIS[0])[rows], IRIS[1][rows]
    weight = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    model = LogisticRegression(C=0.3, l1_ratio=l1_ratio, tol=1e-8).fit(X, y, sample_weight=weight)
    found = approximate_leave_one_out(model, sparse.csr_array(X), y, sample_weight=weight)
    truth = real(model, X, y, weight)
    assert found.mean == pytest.approx(weight @ truth / weight.sum(), rel=0.01)
    idle = weight == 0
    assert not found.leverage[idle].any()
    np.testing.assert_allclose(found.log_proba[idle], model.predict_log_proba(X)[idle])


def test_the_step_is_newtons():
    # a least-squares-like check: the change is linear in the weight of the row, so a small weight makes it exact
    X, y = scale(WINE[0]), WINE[1]
    weight = np.ones(len(y))
    weight[7] = 1e-4
    model = LogisticRegression(C=10.0, tol=1e-11).fit(X, y, sample_weight=weight)
    found = approximate_leave_one_out(model, X, y, sample_weight=weight)
    others = np.arange(len(y)) != 7
    exact = LogisticRegression(C=10.0, tol=1e-11).fit(X[others], y[others])
    before, after = model.predict_log_proba(X[[7]])[0], exact.predict_log_proba(X[[7]])[0]
    np.testing.assert_allclose(found.log_proba[7] - before, after - before, rtol=2e-3)


def test_refits_help_where_few_rows_carry_the_loss():
    X, y = scale(IRIS[0]), IRIS[1]
    model = LogisticRegression(C=100.0).fit(X, y)
    truth = real(model, X, y)
    steps = approximate_leave_one_out(model, X, y, refits=0)
    found = approximate_leave_one_out(model, X, y, refits=12)
    assert abs(steps.mean / truth.mean() - 1) > 0.02
    assert found.mean == pytest.approx(truth.mean(), rel=0.01)
    np.testing.assert_allclose(found.loss[found.refitted], truth[found.refitted], atol=1e-4)


def test_a_model_chosen_by_cross_validation_and_one_row_at_a_time(monkeypatch):
    X, y = scale(WINE[0]), WINE[1]
    chosen = LogisticRegressionCV(Cs=3, l1_ratios=(0,), use_legacy_attributes=True).fit(X, y)
    one = LogisticRegression(C=chosen.C_[0]).fit(X, y)
    expected = approximate_leave_one_out(one, X, y)
    monkeypatch.setattr("xent.linear_model.leave_one_out.HELD", 1)
    assert approximate_leave_one_out(chosen, X, y).mean == pytest.approx(expected.mean, rel=1e-4)


def test_what_is_refused():
    X, y = IRIS
    model = LogisticRegression().fit(X, y)
    with pytest.raises(ValueError, match="not at its minimum on these rows"):
        approximate_leave_one_out(model, X[::2], y[::2])
    with pytest.raises(ValueError, match="fitted to the classes"):
        approximate_leave_one_out(model, X[:100], y[:100])
    with pytest.raises(ValueError, match="refits must be 'auto' or a whole number from 0 to the 150 rows, not 151"):
        approximate_leave_one_out(model, X, y, refits=151)
    averaged = LogisticRegressionCV(refit=False, l1_ratios=(0,), use_legacy_attributes=False).fit(X, y)
    with pytest.raises(ValueError, match="refit=False averages fits"):
        approximate_leave_one_out(averaged, X, y)
