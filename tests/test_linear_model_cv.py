"""LogisticRegressionCV: its paths are single fits, its scores scikit-learn's, its shapes those of scikit-learn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV as Theirs
from sklearn.metrics import log_loss, make_scorer
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression, LogisticRegressionCV

X, Y = datasets.load_wine(return_X_y=True)
X = scale(X)
NEW = {"use_legacy_attributes": False}


@pytest.mark.parametrize("classes", [2, 3])
def test_paths_and_scores_are_those_of_single_fits(classes):
    rows = classes > Y
    x, y = X[rows], Y[rows]
    Cs, ratios, tol = (0.1, 1.0, 10.0), (0.0, 0.5, 1.0), 1e-9
    model = LogisticRegressionCV(Cs=Cs, l1_ratios=ratios, cv=3, tol=tol, **NEW).fit(x, y)
    for f, (train, test) in enumerate(StratifiedKFold(3).split(x, y)):
        for r, ratio in enumerate(ratios):
            for c, C in enumerate(Cs):
                one = LogisticRegression(C=C, l1_ratio=ratio, tol=tol).fit(x[train], y[train])
                theta = np.column_stack([one.coef_, one.intercept_])
                np.testing.assert_allclose(model.coefs_paths_[f, r, c], theta, atol=1e-6)
                loss = log_loss(y[test], one.predict_proba(x[test]), labels=one.classes_)
                assert model.scores_[f, r, c] == pytest.approx(-loss, abs=1e-7)
    r, c = np.unravel_index(model.scores_.mean(axis=0).argmax(), (3, 3))
    assert (model.C_, model.l1_ratio_) == (Cs[c], ratios[r])
    best = LogisticRegression(C=model.C_, l1_ratio=model.l1_ratio_, tol=tol).fit(x, y)
    np.testing.assert_allclose(model.coef_, best.coef_, atol=1e-6)
    assert model.score(x, y) == pytest.approx(-log_loss(y, best.predict_proba(x)), abs=1e-6)


def by_scikit_learn(y_true, y_proba, *, sample_weight=None, labels=None):
    """Its log loss, by another name: what is recognised is scored without its checks."""
    return log_loss(y_true, y_proba, sample_weight=sample_weight, labels=labels)


@pytest.mark.parametrize(
    "kind", ["plain", "float32", "sparse", "weights", "offset", "words", "a class less", "certain"]
)
@pytest.mark.parametrize("classes", [2, 3])
def test_log_losses_are_those_of_scikit_learns_scorer(classes, kind):
    rows, rng = classes > Y, np.random.default_rng(0)
    x, y, more, cv = X[rows], Y[rows], {}, 3
    if kind == "weights":
        more["sample_weight"] = rng.random(len(y)) * (rng.random(len(y)) < 0.8)
    elif kind == "offset":
        more["offset"] = rng.normal(size=len(y) if classes == 2 else (len(y), classes))
    elif kind == "words":
        y = np.array(["b", "a", "c"])[y]
    elif kind == "a class less":  # in the rows that are scored
        cv = [(np.arange(len(y)), np.flatnonzero(y == 0)), (np.arange(len(y)), np.flatnonzero(y == 1))]
    elif kind == "certain":  # probabilities that scikit-learn clips
        y = np.where(rng.random(len(y)) < 0.1, rng.permutation(y), y)
        x = 1e5 * x
    x = x.astype(np.float32) if kind == "float32" else sparse.csr_matrix(x) if kind == "sparse" else x
    options = {"Cs": (1e-3, 1e4), "l1_ratios": (0,), "cv": cv, "tol": 1e-4, **NEW}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        ours = LogisticRegressionCV(**options).fit(x, y, **more)
        scorer = make_scorer(by_scikit_learn, greater_is_better=False, response_method="predict_proba")
        theirs = LogisticRegressionCV(**options, scoring=scorer).fit(x, y, **more)
    np.testing.assert_allclose(ours.scores_, theirs.scores_, rtol=1e-14)
    assert (ours.scores_ < 0).all()


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l1_ratios", [np.array([0.0]), np.array([0.3, 0.9]), None])
@pytest.mark.filterwarnings("ignore:'l1_ratios=None':FutureWarning")
def test_attributes_have_scikit_learns_shapes_and_values(classes, refit, legacy, l1_ratios):
    rows = classes > Y
    options = {"Cs": (0.1, 1.0), "l1_ratios": l1_ratios, "cv": 2, "refit": refit, "use_legacy_attributes": legacy}
    options |= {"scoring": "neg_log_loss", "tol": 1e-7, "max_iter": 5000}
    solver = "saga" if l1_ratios is not None and max(l1_ratios) else "lbfgs"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs = Theirs(solver=solver, **options).fit(X[rows], Y[rows])
    ours = LogisticRegressionCV(**options).fit(X[rows], Y[rows])
    for name in ("coef_", "intercept_", "C_", "l1_ratio_", "Cs_", "l1_ratios_", "scores_", "coefs_paths_"):
        a, b = getattr(ours, name), getattr(theirs, name)
        assert type(a) is type(b), name
        for x, y in zip(a.values(), b.values(), strict=True) if isinstance(a, dict) else [(a, b)]:
            assert np.shape(x) == np.shape(y), name
            if np.asarray(y).dtype != object:
                np.testing.assert_allclose(x, y, atol=1e-3, err_msg=name)
        if isinstance(a, dict):
            assert list(a) == list(b)
    assert ours.n_iter_.shape == theirs.n_iter_.shape


def test_weights_classes_and_sparse_rows():
    weight = np.random.default_rng(0).integers(0, 3, len(Y)).astype(float)
    options = {"Cs": (0.1, 1.0), "l1_ratios": (0,), "cv": 3, "tol": 1e-8, "class_weight": "balanced", **NEW}
    ours = LogisticRegressionCV(**options).fit(X, Y, sample_weight=weight)
    theirs = Theirs(scoring="neg_log_loss", solver="newton-cholesky", **options).fit(X, Y, sample_weight=weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.scores_, theirs.scores_, atol=1e-7)
    thin = LogisticRegressionCV(**options).fit(sparse.csr_array(X), Y, sample_weight=weight)
    np.testing.assert_allclose(thin.coefs_paths_, ours.coefs_paths_, atol=1e-6)
    threads = LogisticRegressionCV(n_jobs=2, **options).fit(X, Y, sample_weight=weight)
    np.testing.assert_array_equal(threads.coefs_paths_, ours.coefs_paths_)


def test_larger_data_are_fitted_along_paths():
    x, y = datasets.load_digits(return_X_y=True)
    x, y, Cs = x[:400] / 16, y[:400], [10.0, 1e-3, 0.1, 1.0]
    model = LogisticRegressionCV(Cs=Cs, l1_ratios=(0,), cv=3, tol=1e-7, **NEW).fit(x, y)
    for f, (train, _) in enumerate(StratifiedKFold(3).split(x, y)):
        for c, C in enumerate(Cs):
            one = LogisticRegression(C=C, tol=1e-8).fit(x[train], y[train])
            theta = np.column_stack([one.coef_, one.intercept_])
            np.testing.assert_allclose(model.coefs_paths_[f, 0, c], theta, atol=1e-4)
    assert Cs[model.scores_.mean(axis=0)[0].argmax()] == model.C_
    penalised = {"solver": "liblinear", "intercept_scaling": 2.0}  # a pass of two classes with many rows
    x, y = np.tile(X[Y < 2], (80, 1)), np.tile(Y[Y < 2], 80)
    model = LogisticRegressionCV(Cs=[0.1, 1.0], l1_ratios=(0,), cv=2, tol=1e-9, **penalised, **NEW).fit(x, y)
    train = next(StratifiedKFold(2).split(x, y))[0]
    one = LogisticRegression(C=0.1, tol=1e-10, **penalised).fit(x[train], y[train])
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 0], np.column_stack([one.coef_, one.intercept_]), atol=1e-6)


@pytest.mark.parametrize("Cs", [[1e-3, 1e-2, 0.1, 1.0, 10.0], [10.0, 1e-2, 1.0, 1e-3, 0.1]])
def test_one_standard_error(Cs):
    options = {"Cs": Cs, "l1_ratios": (0.0, 1.0), "cv": 5, **NEW}
    best = LogisticRegressionCV(**options).fit(X, Y)
    model = LogisticRegressionCV(rule="one_standard_error", **options).fit(X, Y)
    assert model.l1_ratio_ == best.l1_ratio_
    scores = model.scores_[:, list(model.l1_ratios_).index(model.l1_ratio_)]
    mean = [sum(scores[:, c]) / 5 for c in range(5)]
    at = Cs.index(best.C_)
    error = (sum((s - mean[at]) ** 2 for s in scores[:, at]) / 4 / 5) ** 0.5
    assert min(C for C, m in zip(Cs, mean, strict=True) if m >= mean[at] - error) == model.C_
    assert model.C_ < best.C_
    np.testing.assert_allclose(
        model.coef_, LogisticRegression(C=model.C_, l1_ratio=model.l1_ratio_, tol=1e-7).fit(X, Y).coef_, atol=1e-3
    )


def test_no_penalty_among_others():
    rows = datasets.load_iris().target > 0
    x, y = datasets.load_iris().data[rows], datasets.load_iris().target[rows]
    model = LogisticRegressionCV(Cs=(1.0, np.inf), l1_ratios=(1,), cv=2, **NEW).fit(x, y)
    free = LogisticRegression(C=np.inf).fit(*[a[next(iter(StratifiedKFold(2).split(x, y)))[0]] for a in (x, y)])
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 1, 0, :-1], free.coef_[0], atol=1e-3)


def test_fits_that_stop_early_are_told_once():
    with pytest.warns(
        ConvergenceWarning, match=r"\d+ of 11 fits did not converge, the worst with C=.*max_iter=1"
    ) as seen:
        LogisticRegressionCV(Cs=2, l1_ratios=(0,), max_iter=1, **NEW).fit(X, Y)
    assert len(seen) == 1
    assert seen[0].filename == __file__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"Cs": 0}, "Cs must be a whole number from 1"),
        ({"Cs": (1.0, -1.0)}, "Cs must be"),
        ({"l1_ratios": (2,)}, "l1_ratios must be an array-like of numbers between 0 and 1"),
        ({"l1_ratios": "all"}, "l1_ratios must be a list"),
        ({"rule": "least"}, "rule must be 'best' or 'one_standard_error', not 'least'"),
        ({"rule": "one_standard_error", "refit": False}, "it needs refit=True"),
        ({"rule": "one_standard_error", "cv": [(range(100), range(100, 178))]}, "at least 2 folds"),
        ({"refit": 1}, "refit must be True or False"),
        ({"class_weight": {9: 1}}, "class_weight dict must have the class labels as keys"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegressionCV(**{"l1_ratios": (0,), **NEW, **options}).fit(X, Y)


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize(
    ("ratio", "options"),
    [
        (0.0, {"penalty_factor": np.linspace(0.1, 2, 13)}),
        (0.6, {"penalty_factor": np.linspace(0.1, 2, 13)}),
        (0.0, {"bounds": (0, None)}),
        (0.7, {"group_lasso": True}),
    ],
)
def test_what_scikit_learn_has_not_is_in_every_fold_and_the_refit(ratio, options, thin):
    z = np.random.default_rng(0).normal(size=(len(Y), 3))
    x = sparse.csr_array(X) if thin else X
    model = LogisticRegressionCV(Cs=(0.1, 1.0), l1_ratios=(ratio,), cv=3, tol=1e-8, **options, **NEW)
    model.fit(x, Y, offset=z)
    for f, (train, test) in enumerate(StratifiedKFold(3).split(X, Y)):
        for c, C in enumerate((0.1, 1.0)):
            one = LogisticRegression(C=C, l1_ratio=ratio, tol=1e-8, **options).fit(X[train], Y[train], offset=z[train])
            np.testing.assert_allclose(model.coefs_paths_[f, 0, c][:, :-1], one.coef_, atol=1e-5)
            loss = log_loss(Y[test], one.predict_proba(X[test], offset=z[test]))
            assert model.scores_[f, 0, c] == pytest.approx(-loss, abs=1e-6)
    whole = LogisticRegression(C=model.C_, l1_ratio=ratio, tol=1e-8, **options).fit(x, Y, offset=z)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-5)
    assert model.solver_.name == whole.solver_.name


def test_an_offset_goes_with_weights_of_zero_and_with_class_weights():
    x, y = X[Y < 2], Y[Y < 2]
    rng = np.random.default_rng(1)
    z, weight = rng.normal(size=len(y)), rng.integers(0, 3, len(y)).astype(float)
    each = {0: 0.5, 1: 2.0}
    options = {"Cs": (0.1, 1.0), "l1_ratios": (0,), "cv": [(np.arange(0, 90), np.arange(90, 130))], "tol": 1e-9}
    model = LogisticRegressionCV(class_weight=each, **options, **NEW).fit(x, y, sample_weight=weight, offset=z)
    train = np.arange(0, 90)[weight[:90] > 0]
    one = LogisticRegression(C=0.1, tol=1e-9, class_weight=each).fit(x[train], y[train], weight[train], offset=z[train])
    np.testing.assert_allclose(model.coefs_paths_[0, 0, 0][:, :-1], one.coef_, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "offset", "message"),
    [
        ({"bounds": (0, 1), "l1_ratios": (0, 0.5)}, None, "l1_ratio must be 0, not 0.5"),
        ({"group_lasso": True, "l1_ratios": (0, 0.5)}, None, "group_lasso=True groups the L1 part"),
        ({"penalty_factor": np.ones(3), "l1_ratios": (0,)}, None, r"penalty_factor has the shape \(3,\)"),
        ({"l1_ratios": (0,)}, np.ones(len(Y)), r"offset has the shape \(178,\); .* must be \(178, 3\)"),
    ],
)
def test_what_does_not_go_together_is_refused(options, offset, message):
    with pytest.raises(ValueError, match=message):
        LogisticRegressionCV(Cs=2, cv=2, **options, **NEW).fit(X, Y, offset=offset)


def test_a_scorer_that_drops_rows_does_not_go_with_an_offset():
    def half(model, x, y):
        return model.predict_proba(x[::2])[:, 0].mean()

    with pytest.raises(ValueError, match="the scorer asks for predictions of 30 rows, but the offset is of 60"):
        LogisticRegressionCV(Cs=2, cv=3, l1_ratios=(0,), scoring=half, **NEW).fit(X, Y, offset=np.zeros((len(Y), 3)))


@pytest.mark.parametrize("K", [2, 3])
def test_scores_with_an_offset(K):
    X, y = datasets.load_iris(return_X_y=True)
    X, y = X[y < K], y[y < K]
    offset = np.sin(np.arange(len(y) * (1 if K == 2 else K)))
    offset = offset if K == 2 else offset.reshape(-1, K)
    model = LogisticRegressionCV(Cs=3, cv=3, l1_ratios=(0,), use_legacy_attributes=False).fit(X, y, offset=offset)
    log_p = model.predict_log_proba(X, offset=offset)
    assert model.score(X, y, offset=offset) == pytest.approx(log_p[np.arange(len(y)), y].mean(), rel=1e-12)
    assert model.score(X, y) != model.score(X, y, offset=offset)
    with pytest.raises(ValueError, match="offset has the shape"):
        model.score(X, y, offset=offset[:5])
