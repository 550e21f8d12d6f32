"""Each of scikit-learn's options does what it says, or raises."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.linear_model import LogisticRegressionCV as TheirsCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from xent.linear_model import LogisticRegression, LogisticRegressionCV

X, Y = datasets.load_iris(return_X_y=True)
TWO = Y[:100]


@pytest.mark.skipif(not sklearn.__version__.startswith("1.9."), reason="compares with scikit-learn 1.9's parameters")
@pytest.mark.parametrize(("ours", "theirs"), [(LogisticRegression, Theirs), (LogisticRegressionCV, TheirsCV)])
def test_every_parameter_and_attribute_of_scikit_learn(ours, theirs):
    added = {"rule", "penalty_factor", "bounds", "group_lasso", "callback"}
    added |= {"early_stopping", "validation_fraction", "n_iter_no_change"}
    names = [p for p in inspect.signature(ours).parameters if p not in added]
    assert names == list(inspect.signature(theirs).parameters)
    assert set(list(inspect.signature(ours).parameters)[len(names) :]) <= added  # after those of scikit-learn
    differ = {k for k, v in theirs().get_params().items() if ours().get_params()[k] != v}
    assert differ <= {"solver", "tol", "max_iter", "scoring"}  # the docstrings say so
    settings = {"l1_ratios": (0,), "scoring": "accuracy", "use_legacy_attributes": False}
    options = settings if ours is LogisticRegressionCV else {}
    frame = pd.DataFrame(scale(X), columns=list("abcd"))
    fitted = [cls(**options).fit(frame, Y) for cls in (ours, theirs)]
    have = [{k for k in vars(m) if k.endswith("_") and not k.startswith("_")} for m in fitted]
    assert have[1] <= have[0]
    for name in have[1] - {"n_iter_", "scores_", "coefs_paths_"}:
        assert np.shape(getattr(fitted[0], name)) == np.shape(getattr(fitted[1], name)), name
    public = [{k for k in dir(m) if not k.startswith("_") and callable(getattr(m, k, None))} for m in fitted]
    # theirs is inherited, and does nothing there: no callback is called
    missing = {"set_callbacks"} if ours is LogisticRegressionCV else set()
    assert public[1] - public[0] == missing


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
def test_frames_with_names(kind):
    frame = kind(dict(zip("abcd", X.T, strict=True)))
    model = LogisticRegression().fit(frame, Y)
    assert list(model.feature_names_in_) == list("abcd")
    np.testing.assert_array_equal(model.coef_, LogisticRegression().fit(X, Y).coef_)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(kind(dict(zip("abdc", X.T, strict=True))))


def test_metadata_is_routed_through_a_pipeline():
    weight = np.random.default_rng(0).random(len(Y))
    with sklearn.config_context(enable_metadata_routing=True):
        inner = LogisticRegression().set_fit_request(sample_weight=True)
        model = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), inner)
        model.fit(X, Y, sample_weight=weight)
    direct = LogisticRegression().fit(scale(X), Y, sample_weight=weight)
    np.testing.assert_allclose(model[-1].coef_, direct.coef_, rtol=1e-10)


@pytest.mark.parametrize(
    ("solver", "options", "name"),
    [
        ("auto", {}, "newton-cholesky"),
        ("auto", {"l1_ratio": 0.5}, "prox-newton"),
        ("lbfgs", {}, "lbfgs"),
        ("newton-cg", {}, "newton-cg"),
        ("saga", {"l1_ratio": 1}, "prox-newton"),
        ("sag", {}, "newton-cholesky"),
    ],
)
def test_the_solver_that_ran_is_told_with_its_reason(solver, options, name):
    model = LogisticRegression(solver=solver, **options).fit(X, Y)
    assert model.solver_.name == name
    assert model.solver_.reason.startswith(f"{name}: ")
    assert (f"in place of {solver}" in model.solver_.reason) == (solver in ("sag", "saga"))
    assert (model.dual_gap_ is None) == (name != "prox-newton")


def test_large_or_sparse_data_go_to_lbfgs():
    assert LogisticRegression().fit(sparse.csr_array(X), Y).solver_.name == "lbfgs"
    digits = datasets.load_digits(return_X_y=True)
    assert LogisticRegression().fit(*digits).solver_.name == "lbfgs"
    assert LogisticRegression().fit(X * 1e150, Y).solver_.name == "lbfgs"
    with pytest.raises(ValueError, match="the squares of the features overflow in the Hessian"):
        LogisticRegression(solver="newton-cholesky").fit(X * 1e200, Y)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "auto"])
def test_every_solver_has_the_same_minimum(solver):
    exact = Theirs(solver="newton-cholesky", tol=1e-12, max_iter=200).fit(X, Y)
    model = LogisticRegression(solver=solver, tol=1e-8).fit(X, Y)
    np.testing.assert_allclose(model.coef_, exact.coef_, atol=1e-6)
    np.testing.assert_allclose(model.intercept_, exact.intercept_, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "adam"}, "solver must be one of auto, lbfgs"),
        ({"solver": "lbfgs", "l1_ratio": 1}, "Solver lbfgs supports only 'l2' or None penalties, got l1"),
        ({"solver": "auto", "dual": True}, "Solver auto supports only dual=False"),
        ({"solver": "liblinear", "dual": True, "l1_ratio": 1}, "no dual of the l1 penalty"),
        ({"solver": "liblinear", "l1_ratio": 0.5}, "supports elasticnet"),
        ({"solver": "liblinear", "C": np.inf}, "not supported for the liblinear solver"),
        ({"l1_ratio": 1.5}, "l1_ratio must be a number from 0 to 1, not 1.5"),
        ({"fit_intercept": 2}, "fit_intercept must be True or False, not 2"),
        ({"intercept_scaling": 0}, "intercept_scaling must be a number above 0, not 0"),
        ({"random_state": -1}, "random_state must be None"),
        ({"class_weight": "even"}, "class_weight must be a dict"),
        ({"verbose": -1}, "verbose must be a whole number from 0"),
        ({"penalty": "l3"}, "penalty must be 'l1'"),
    ],
)
def test_what_cannot_be_done_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegression(**options).fit(X[:100], TWO)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"penalty": "l2"}, {}),
        ({"penalty": "l1", "l1_ratio": 1}, {"l1_ratio": 1}),
        ({"penalty": "elasticnet", "l1_ratio": 0.3}, {"l1_ratio": 0.3}),
        ({"penalty": None}, {"C": np.inf}),
    ],
)
def test_the_deprecated_penalty_means_what_it_meant(old, new):
    rows = Y > 0  # not separable
    with pytest.warns(FutureWarning, match="'penalty' was deprecated"):
        model = LogisticRegression(**old).fit(X[rows], Y[rows])
    np.testing.assert_array_equal(model.coef_, LogisticRegression(**new).fit(X[rows], Y[rows]).coef_)


def test_random_state_changes_nothing():
    fits = [LogisticRegression(solver="saga", random_state=seed).fit(X, Y).coef_ for seed in (None, 0, 1)]
    np.testing.assert_array_equal(fits[0], fits[1])
    np.testing.assert_array_equal(fits[0], fits[2])


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "saga"])
def test_verbose_prints_a_line_an_iteration(solver, capsys):
    model = LogisticRegression(solver=solver, verbose=2, l1_ratio=int(solver == "saga")).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_iter_[0] + 2
    assert model.solver_.reason.startswith(lines[0])
    assert lines[-1] == f"{model.solver_.reason}: converged"
    assert all(line.startswith(f"iteration {i}: objective ") for i, line in enumerate(lines[1:-1], 1))


@pytest.mark.skipif(not hasattr(Theirs, "set_callbacks"), reason="scikit-learn before 1.9 has no callbacks")
@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "saga"])
def test_callbacks_of_scikit_learn_see_every_iteration(solver):
    class Watch:
        def __init__(self):
            self.seen = []

        def setup(self, estimator, context):
            self.seen.append("setup")

        def teardown(self, estimator, context):
            self.seen.append("teardown")

        def on_fit_task_begin(self, estimator, context, **kwargs):
            pass

        def on_fit_task_end(self, estimator, context, *, fitted_estimator=None, **kwargs):
            if context.task_name == "iteration" and fitted_estimator is not None:
                self.seen.append(fitted_estimator.score(X, Y))

    watch = Watch()
    model = LogisticRegression(solver=solver, l1_ratio=int(solver == "saga")).set_callbacks(watch).fit(X, Y)
    assert (watch.seen[0], watch.seen[-1]) == ("setup", "teardown")
    assert len(watch.seen) - 2 == model.n_iter_[0]
    assert watch.seen[-2] == model.score(X, Y)


def test_sparse_coefficients():
    model = LogisticRegression(l1_ratio=1, C=0.1, warm_start=True).fit(X, Y)
    dense = model.decision_function(X)
    model.sparsify()
    assert sparse.issparse(model.coef_)
    np.testing.assert_allclose(model.decision_function(X), dense, rtol=1e-12)
    np.testing.assert_allclose(model.decision_function(sparse.csr_array(X)), dense, rtol=1e-12)
    assert model.fit(X, Y).n_iter_[0] == 0
    model.sparsify().densify()
    np.testing.assert_allclose(model.decision_function(X), dense, rtol=1e-12)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "saga"])
def test_warm_start(solver):
    model = LogisticRegression(solver=solver, l1_ratio=int(solver == "saga"), warm_start=True, tol=1e-7).fit(X, Y)
    first, coef = model.n_iter_[0], model.coef_
    assert model.fit(X, Y).n_iter_[0] == 0
    np.testing.assert_array_equal(model.coef_, coef)
    assert model.set_params(C=1.01).fit(X, Y).n_iter_[0] < first
    with pytest.raises(ValueError, match=r"coef_ is of shape \(3, 4\), expected shape \(3, 3\)"):
        model.fit(X[:, :3], Y)


@pytest.mark.parametrize("solver", ["lbfgs", "newton-cg", "newton-cholesky", "liblinear", "sag", "saga"])
def test_scikit_learns_words_begin_the_warning(solver):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        Theirs(solver=solver, max_iter=1, tol=1e-9).fit(X[:100], TWO)
    words = str(seen[-1].message)[:25]
    with pytest.warns(ConvergenceWarning) as ours:
        LogisticRegression(solver=solver, max_iter=1, tol=1e-9).fit(X[:100], TWO)
    text = str(ours[0].message)
    assert words[:12].lower() in text.lower()
    assert "above tol=1e-09" in text
    assert "max_iter=1" in text
    assert ours[0].filename == __file__
