"""LogisticRegression's early stopping, learning curves, callback and progress bar, with every solver."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.metrics import log_loss

from xent.linear_model import LogisticRegression, approximate_leave_one_out, load_estimator
from xent.linear_model._monitor import held_out

RNG = np.random.default_rng(0)
X, Y = load_iris(return_X_y=True)
# far more columns than what they tell: it overfits
WIDE = RNG.normal(size=(240, 80))
NOISY = np.argmax(WIDE[:, :3] + 2 * RNG.gumbel(size=(240, 3)), axis=1)
SOLVERS = {
    "lbfgs": {"solver": "lbfgs"},
    "newton-cg": {"solver": "newton-cg"},
    "newton-cholesky": {"solver": "newton-cholesky"},
    "liblinear": {"solver": "liblinear"},
    "prox-newton": {"l1_ratio": 1.0},
    "group lasso": {"l1_ratio": 0.5, "group_lasso": True},
    "boxed": {"bounds": (-3, None)},
}


def labels(name):
    return NOISY > 0 if name == "liblinear" else NOISY


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_best_weights_come_back(name, dtype):
    seen = []

    def callback(model, entry):
        seen.append((model.coef_, model.intercept_, entry))

    options = {"C": 1e3, "tol": 1e-6, "random_state": 3, "early_stopping": True, "validation_fraction": 0.3}
    x, y = WIDE.astype(dtype), labels(name)
    model = LogisticRegression(**SOLVERS[name], **options, n_iter_no_change=3, callback=callback)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(x, y)
    losses = [entry["validation_loss"] for entry in model.history_]
    best = int(np.argmin(losses))
    assert model.history_ == [entry for *_, entry in seen]
    assert len(losses) == best + 1 + 3
    assert model.n_iter_[0] == len(losses)
    np.testing.assert_array_equal(model.coef_, seen[best][0])
    np.testing.assert_array_equal(model.intercept_, seen[best][1])
    assert (model.objective_, model.convergence_) == (
        model.history_[best]["loss"],
        model.history_[best]["convergence"],
    )
    assert model.dual_gap_ is None
    # the losses are those of scikit-learn's measure on the rows held out
    out = held_out(np.unique(y, return_inverse=True)[1], 0.3, np.random.RandomState(3))
    truth = log_loss(y[out], model.predict_proba(x[out]), labels=model.classes_)
    assert losses[best] == pytest.approx(truth, rel=1e-5 if dtype == np.float32 else 1e-10)
    # and it generalises better than the minimum does
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        full = LogisticRegression(**SOLVERS[name], C=1e3, tol=1e-4).fit(x[~out], y[~out])
    assert truth < log_loss(y[out], full.predict_proba(x[out]), labels=full.classes_)


def test_the_rest_is_fitted_to_as_if_it_were_all():
    weight, offset = RNG.uniform(0.5, 2, len(Y)), 0.3 * RNG.normal(size=(len(Y), 3))
    options = {"early_stopping": True, "n_iter_no_change": 10**6, "random_state": 1, "tol": 1e-9, "solver": "lbfgs"}
    model = LogisticRegression(class_weight={0: 2.0}, **options)
    model.fit(X, Y, weight, offset=offset)
    out = held_out(Y, 0.1, np.random.RandomState(1))
    weight = weight * np.where(Y == 0, 2.0, 1.0)
    alone = LogisticRegression(tol=1e-9, solver="lbfgs").fit(X[~out], Y[~out], weight[~out], offset=offset[~out])
    last = model.history_[-1]
    assert last["loss"] == pytest.approx(alone.objective_, rel=1e-12)
    lp = alone.predict_log_proba(X[out], offset[out])[np.arange(out.sum()), Y[out]]
    assert last["validation_loss"] == pytest.approx(-np.average(lp, weights=weight[out]), rel=1e-7)
    again = LogisticRegression(class_weight={0: 2.0}, **options).fit(sparse.csr_array(X), Y, weight, offset=offset)
    assert np.isfinite(again.history_[-1]["validation_loss"])
    right = alone.predict(X, offset) == Y
    assert alone.score(X, Y, offset=offset) == right.mean() != alone.score(X, Y, offset=-9 * offset)
    assert alone.score(X, Y, weight, offset) == pytest.approx(np.average(right, weights=weight))


def test_every_class_stays_and_gives_its_share():
    label = np.repeat([0, 1, 2, 3], [1000, 100, 10, 1])
    counts = np.mean([np.bincount(label[held_out(label, 0.25, np.random.RandomState(i))]) for i in range(200)], axis=0)
    np.testing.assert_allclose(counts, [250, 25, 2.5], atol=0.2)  # the class of one row has none
    first, second = (held_out(label, 0.25, np.random.RandomState(i)) for i in (0, 1))
    assert (first != second).any()
    np.testing.assert_array_equal(first, held_out(label, 0.25, np.random.RandomState(0)))
    assert held_out(np.array([0, 0, 1]), 0.01, np.random.RandomState(0)).tolist().count(True) == 1
    with pytest.raises(ValueError, match="no row can be held out, since 2 rows of 2 classes"):
        held_out(np.array([0, 1]), 0.5, np.random.RandomState(0))


@pytest.mark.parametrize("name", SOLVERS)
def test_learning_curves_end_at_the_minimum(name):
    y = Y == 2 if name == "liblinear" else Y
    model = LogisticRegression(**SOLVERS[name], tol=1e-8).fit(X, y)
    assert [entry["step"] for entry in model.history_] == list(range(1, len(model.history_) + 1))
    assert model.history_[-1]["loss"] == pytest.approx(model.objective_, rel=1e-12)
    assert all(entry["validation_loss"] is None for entry in model.history_)
    assert all(entry["convergence"] >= 0 for entry in model.history_)
    assert model.history_[0]["loss"] > model.objective_
    assert len(model.fit(X, y).history_) == len(LogisticRegression(**SOLVERS[name], tol=1e-8).fit(X, y).history_)


def test_watching_a_fit_changes_nothing():
    plain = LogisticRegression(solver="lbfgs").fit(WIDE, NOISY)
    watched = LogisticRegression(solver="lbfgs", callback=lambda model, entry: None).fit(WIDE, NOISY)
    np.testing.assert_array_equal(plain.coef_, watched.coef_)
    assert plain.history_ == watched.history_
    exact = Theirs(solver="newton-cholesky", tol=1e-10).fit(WIDE, NOISY)
    np.testing.assert_allclose(plain.coef_, exact.coef_, atol=1e-4)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_callback_ends_the_fit_and_sees_the_weights(name, recwarn):
    model = LogisticRegression(**SOLVERS[name], C=1e3, callback=lambda model, entry: entry["step"] == 2)
    model.fit(WIDE, labels(name))
    assert len(model.history_) == model.n_iter_[0] == 2
    assert not [w for w in recwarn if issubclass(w.category, ConvergenceWarning)]
    assert model.convergence_ == model.history_[-1]["convergence"] > 1e-5
    with pytest.warns(ConvergenceWarning):
        two = LogisticRegression(**SOLVERS[name], C=1e3, max_iter=2).fit(WIDE, labels(name))
    np.testing.assert_allclose(model.coef_, two.coef_, atol=1e-12)


def test_the_bar_is_on_stderr(capsys):
    LogisticRegression(solver="lbfgs", verbose=1).fit(X, Y)
    shown = capsys.readouterr()
    assert shown.err.startswith("lbfgs: asked for by name")
    assert "convergence" in shown.err
    assert shown.out == ""
    LogisticRegression(solver="lbfgs", early_stopping=True, verbose=2).fit(X, Y)
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "iteration 1: objective" in shown.out


def test_files_keep_the_curves_and_leave_one_out_refuses(tmp_path):
    model = LogisticRegression(early_stopping=True, random_state=0).fit(X, Y)
    model.save(tmp_path / "m")
    assert load_estimator(tmp_path / "m").history_ == model.history_
    with pytest.raises(ValueError, match="stopped early"):
        approximate_leave_one_out(model, X, Y)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"early_stopping": 1}, "early_stopping must be True or False, not 1"),
        ({"validation_fraction": 1.0}, "validation_fraction must be a number between 0 and 1, not 1.0"),
        ({"n_iter_no_change": 0}, "n_iter_no_change must be a whole number from 1, not 0"),
        ({"callback": "print"}, "callback must be a function"),
    ],
)
def test_what_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        LogisticRegression(**options).fit(X, Y)
