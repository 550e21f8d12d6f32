"""Standard errors, tests and separation: statsmodels, repeated rows, derivatives by differences, brute force."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs

from xent.linear_model import LogisticRegression, LogisticRegressionCV, find_separation, logistic_path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import statsmodels.api as sm

RNG = np.random.default_rng(0)


def data(rng, classes=2, N=300, D=3):
    X = rng.normal(size=(N, D)) * [1.0, 30.0, 0.02][:D] + [0.0, 5.0, 0.0][:D]
    effect = rng.normal(size=(D, classes)) / np.array([1.0, 30.0, 0.02])[:D, None]
    return X, np.argmax((X - X.mean(axis=0)) @ effect + rng.gumbel(size=(N, classes)), axis=1)


def fitted(X, y, sample_weight=None, **options):
    return LogisticRegression(C=np.inf, **options).fit(X, y, sample_weight)


def constant(X):
    return np.column_stack([X, np.ones(len(X))])


def theirs(X, y, **options):
    """statsmodels' fit, (contrasts, coordinates)."""
    model = sm.MNLogit(y, X) if len(np.unique(y)) > 2 else sm.Logit(y, X)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MNLogit passes on what its optimiser warns of
        return model.fit(disp=0, method="newton", tol=1e-14, **options)


def same_figures(found, expected):
    rows = lambda a: np.atleast_2d(np.asarray(a).T)  # noqa: E731
    close = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(found.coefficient, rows(expected.params), **close)
    np.testing.assert_allclose(found.standard_error, rows(expected.bse), **close)
    np.testing.assert_allclose(found.z, rows(expected.tvalues), **close)
    np.testing.assert_allclose(found.p, rows(expected.pvalues), rtol=1e-6, atol=1e-15)
    low, high = np.moveaxis(np.asarray(expected.conf_int(alpha=0.1)), -1, 0)
    np.testing.assert_allclose(found.lower.ravel(), low.ravel(), **close)
    np.testing.assert_allclose(found.upper.ravel(), high.ravel(), **close)
    np.testing.assert_allclose(found.covariance, np.asarray(expected.cov_params()), rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("covariance", ["model", "HC0", "cluster"])
def test_equal_to_statsmodels(classes, covariance):
    X, y = data(RNG, classes)
    groups = RNG.integers(0, 40, len(y)) if covariance == "cluster" else None
    found = fitted(X, y).summary(X, y, covariance=covariance, groups=groups, level=0.9)
    kind = {"cov_type": covariance} if covariance != "model" else {}
    expected = theirs(constant(X), y, **kind, **({"cov_kwds": {"groups": groups}} if groups is not None else {}))
    same_figures(found, expected)
    for name in ("aic", "bic", "df_model"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-9)
    assert found.df_residual == expected.df_resid
    assert found.log_likelihood == pytest.approx(expected.llf, rel=1e-9)
    assert found.null_log_likelihood == pytest.approx(expected.llnull, rel=1e-6)
    assert found.mcfadden == pytest.approx(expected.prsquared, rel=1e-6)
    assert found.likelihood_ratio.statistic == pytest.approx(expected.llr, rel=1e-6)
    assert found.likelihood_ratio.p == pytest.approx(expected.llr_pvalue, rel=1e-4)


def test_hc1_is_hc0_of_fewer_degrees_of_freedom():
    """As for linear models in statsmodels, whose Logit gives HC0 under both names."""
    X, y = data(RNG, 3)
    model = fitted(X, y)
    plain, corrected = (model.summary(X, y, covariance=kind).covariance for kind in ("HC0", "HC1"))
    np.testing.assert_allclose(corrected, plain * 300 / (300 - 2 * 4), rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_wald_and_likelihood_ratio_tests_of_columns(classes):
    X, y = data(RNG, classes)
    found = fitted(X, y).summary(X, y, likelihood_ratio=True)
    full = theirs(constant(X), y)
    for j in range(3):
        less = theirs(np.delete(constant(X), j, axis=1), y)
        ours = found.columns[f"x{j}"]["likelihood_ratio"]
        assert ours.df == classes - 1
        assert ours.statistic == pytest.approx(2 * (full.llf - less.llf), rel=1e-6)
        assert ours.p == pytest.approx(stats.chi2.sf(ours.statistic, classes - 1), rel=1e-9)
    R = np.zeros((2 * (classes - 1), 4 * (classes - 1)))
    for c, (i, j) in enumerate(itertools.product(range(classes - 1), (0, 2))):
        R[c, 4 * i + j] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = full.wald_test(R, scalar=True, use_f=False)
    ours = found.wald_test(["x0", "x2"])
    assert ours.statistic == pytest.approx(float(expected.statistic), rel=1e-6)
    assert ours.df == 2 * (classes - 1)
    assert found.columns["x1"]["wald"] == found.wald_test("x1")
    assert found.wald == found.wald_test(["x0", "x1", "x2"])


def test_another_reference_class_and_names_of_classes():
    X, y = data(RNG, 3)
    names = np.array(["a", "b", "c"])
    found = fitted(X, names[y]).summary(X, names[y], reference="b", level=0.9)
    assert found.classes == (("a", "b"), ("c", "b"))
    same_figures(found, theirs(constant(X), np.array([1, 0, 2])[y]))
    binary = y[y != 2]
    one = fitted(X[y != 2], binary).summary(X[y != 2], binary, reference=1, level=0.9)
    same_figures(one, theirs(constant(X[y != 2]), 1 - binary))


def test_without_intercept():
    X, y = data(RNG)
    found = fitted(X, y, fit_intercept=False).summary(X, y, level=0.9)
    same_figures(found, theirs(X, y))
    assert found.names == ("x0", "x1", "x2")
    assert found.null_log_likelihood == pytest.approx(-300 * np.log(2), rel=1e-12)
    assert found.likelihood_ratio.df == 3


@pytest.mark.parametrize("covariance", ["model", "HC0", "HC1", "cluster"])
def test_frequencies_are_repetitions(covariance):
    X, y = data(RNG, 3)
    times = RNG.integers(0, 4, len(y))
    groups = RNG.integers(0, 30, len(y)) if covariance == "cluster" else None
    again = None if groups is None else np.repeat(groups, times)
    weighted = fitted(X, y, times).summary(X, y, times, covariance=covariance, groups=groups)
    X, y = np.repeat(X, times, axis=0), np.repeat(y, times)
    repeated = fitted(X, y).summary(X, y, covariance=covariance, groups=again)
    np.testing.assert_allclose(weighted.covariance, repeated.covariance, rtol=1e-9)
    for name in ("n", "aic", "bic", "df_residual", "mcfadden", "null_log_likelihood"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), rel=1e-10)


def test_probability_weights_are_robust_and_no_likelihood():
    X, y = data(RNG)
    weight = RNG.uniform(0.2, 3, len(y))
    model = fitted(X, y, weight)
    found = model.summary(X, y, weight, covariance="HC0", weights="probability", level=0.9)
    glm = sm.GLM(y, constant(X), family=sm.families.Binomial(), var_weights=weight)
    same_figures(found, glm.fit(tol=1e-14, maxiter=100, cov_type="HC0"))
    assert np.isnan([found.aic, found.bic, found.mcfadden, found.null_log_likelihood]).all()
    assert found.likelihood_ratio is None
    for options in ({}, {"covariance": "HC0", "likelihood_ratio": True}):
        with pytest.raises(ValueError, match="likelihood"):
            model.summary(X, y, weight, weights="probability", **options)


def test_class_weights_are_probability_weights():
    X, y = data(RNG)
    each = {0: 1.0, 1: 2.5}
    model = fitted(X, y, class_weight=each)
    found = model.summary(X, y, covariance="HC1", weights="probability")
    rows = np.where(y == 1, 2.5, 1.0)
    expected = fitted(X, y, rows).summary(X, y, rows, covariance="HC1", weights="probability")
    np.testing.assert_allclose(found.covariance, expected.covariance, rtol=1e-9)
    for options in ({}, {"covariance": "HC1"}):
        with pytest.raises(ValueError, match="class_weight"):
            model.summary(X, y, **options)


@pytest.mark.parametrize("convert", [sparse.csr_array, lambda X: X.astype(np.float32)])
def test_sparse_and_float32(convert):
    X, y = data(RNG, 3)
    X = X.astype(np.float32).astype(np.float64)
    dense = fitted(X, y).summary(X, y, covariance="HC0")
    other = fitted(convert(X), y).summary(convert(X), y, covariance="HC0")
    np.testing.assert_allclose(other.standard_error, dense.standard_error, rtol=1e-8)
    np.testing.assert_allclose(other.coefficient, dense.coefficient, rtol=1e-8, atol=1e-10)


def test_the_table_is_of_the_maximum_however_loose_the_fit():
    X, y = data(RNG)
    loose = fitted(X, y, tol=1e-1, solver="lbfgs")
    found = loose.summary(X, y, level=0.9)
    same_figures(found, theirs(constant(X), y))
    moved = np.abs(np.append(loose.coef_, loose.intercept_) - found.coefficient[0]) / found.standard_error[0]
    assert moved.max() > 0.01
    assert f"{moved.max():.2g} standard errors" in found.notes[0]


def test_the_spread_of_penalised_coefficients_is_that_of_the_delta_method():
    """Each coefficient's derivative in each label by differences: scikit-learn's fits to labels that are shares."""
    X, y = data(RNG, N=40)
    X = X / X.std(axis=0)
    C, step = 0.3, 1e-3
    model = LogisticRegression(C=C, tol=1e-9).fit(X, y)
    found = model.summary(X, y, penalized=True)
    p = model.predict_proba(X)[:, 1]

    def at(i, change):
        # share y + change of class 1, by copies; the change may be negative, so both copies of the row carry weight
        share = y.astype(float)
        share[i] += change
        weight = np.concatenate([1 - share, share])
        keep = weight != 0
        X2, y2 = np.vstack([X, X]), np.repeat([0, 1], len(y))
        f = Theirs(C=C, tol=1e-12, solver="newton-cholesky").fit(X2[keep], y2[keep], weight[keep])
        return np.append(f.coef_[0], f.intercept_)

    J = np.empty((4, len(y)))
    for i in range(len(y)):
        inward = step if y[i] == 0 else -step
        # second order, from one side: no weight is negative
        J[:, i] = (4 * at(i, inward) - at(i, 2 * inward) - 3 * at(i, 0)) / (2 * inward)
    np.testing.assert_allclose(found.covariance, (J * (p * (1 - p))) @ J.T, rtol=1e-3, atol=1e-6)
    leverage = np.einsum("id,di->i", constant(X), J)
    assert found.df_model + 1 == pytest.approx(float((p * (1 - p) * leverage).sum()), rel=1e-3)
    assert found.df_model < 3
    assert np.isnan(found.z).all()
    assert found.likelihood_ratio is None
    assert "penalised coefficients" in found.notes[0]
    with pytest.raises(ValueError, match="biased"):
        found.wald_test("x0")


def test_penalised_softmax_tends_to_the_free_one():
    X, y = data(RNG, 3)
    X = X / X.std(axis=0)
    free = fitted(X, y).summary(X, y, covariance="HC0")
    nearly = LogisticRegression(C=1e7, tol=1e-9).fit(X, y).summary(X, y, covariance="HC0", penalized=True)
    np.testing.assert_allclose(nearly.covariance, free.covariance, rtol=1e-4, atol=1e-8)
    assert nearly.df_model == pytest.approx(free.df_model, abs=1e-4)


def test_what_is_refused():
    X, y = data(RNG)
    model = fitted(X, y)
    with pytest.raises(ValueError, match=r"L2 penalty \(C=1\)"):
        LogisticRegression().fit(X, y).summary(X, y)
    with pytest.raises(ValueError, match="L1 penalty"):
        LogisticRegression(l1_ratio=0.5).fit(X, y).summary(X, y, penalized=True)
    with pytest.raises(ValueError, match="bounds hold coefficients"):
        LogisticRegression(C=np.inf, bounds=(0, 1)).fit(X, y).summary(X, y)
    with pytest.raises(ValueError, match="penalty_factor is not None"):
        LogisticRegression(penalty_factor=np.ones(X.shape[1])).fit(X, y).summary(X, y, penalized=True)
    with pytest.raises(ValueError, match="standard errors from the best ones for these rows"):
        model.summary(X, RNG.permutation(y))
    with pytest.raises(ValueError, match="7, which is none of the model's classes"):
        model.summary(X, np.where(y == 1, 7, y))
    with pytest.raises(ValueError, match="reference=5"):
        model.summary(X, y, reference=5)
    with pytest.raises(ValueError, match="HC3"):
        model.summary(X, y, covariance="HC3")
    with pytest.raises(ValueError, match="go together"):
        model.summary(X, y, covariance="cluster")
    with pytest.raises(ValueError, match="go together"):
        model.summary(X, y, groups=y)
    with pytest.raises(ValueError, match=r"groups has the shape \(3,\)"):
        model.summary(X, y, covariance="cluster", groups=[1, 2, 3])
    with pytest.raises(ValueError, match="one cluster"):
        model.summary(X, y, covariance="cluster", groups=np.zeros(len(y)))
    with pytest.raises(ValueError, match="level"):
        model.summary(X, y, level=95)
    with pytest.raises(ValueError, match="no column 'x7': there are x0, x1, x2, intercept"):
        model.summary(X, y).wald_test("x7")
    doubled = np.column_stack([X, X[:, 0] + 2 * X[:, 2], np.full(len(y), 3.0)])
    with pytest.raises(ValueError, match="not determined: x0, x2, x3, x4, the intercept"):
        fitted(doubled, y).summary(doubled, y)


def test_separated_classes_are_named_in_place_of_a_table():
    X, _ = data(RNG)
    frame = pd.DataFrame(X, columns=["noise", "more noise", "cause"])
    label = frame["cause"] > 0.01
    with pytest.warns(ConvergenceWarning, match=r"the classes are separable.*find_separation"):
        model = fitted(frame, label)
    with pytest.raises(ValueError, match=r"no maximum.*\(complete\) by cause: 300 of 300 rows"):
        model.summary(frame, label)


def test_a_fit_without_a_minimum_says_so_and_no_other_does():
    rng = np.random.default_rng(12)
    x = rng.normal(size=(120, 3))
    for K in (2, 4):
        y = (x @ rng.normal(size=(3, K))).argmax(axis=1)
        assert find_separation(x, y)
        weight = 10 ** rng.uniform(-3, 0, 120)
        for features in (x, sparse.csr_array(x)):
            with pytest.warns(ConvergenceWarning, match="the classes are separable: every row is predicted right"):
                LogisticRegression(C=np.inf).fit(features, y, weight)
        with pytest.warns(ConvergenceWarning, match="the classes are separable"):  # nothing is penalised
            LogisticRegression(penalty_factor=np.zeros(3)).fit(x, y)
        with pytest.warns(ConvergenceWarning, match="logistic_path at C=inf: the classes are separable") as seen:
            logistic_path(x, y, Cs=[1.0, np.inf], max_iter=5000)
        assert len(seen) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            LogisticRegression(C=1e4).fit(x, y)
            LogisticRegression(C=np.inf, bounds=(-1, 1)).fit(x, y)
            mixed = np.where(rng.random(120) < 0.1, (y + 1) % K, y)
            assert not find_separation(x, mixed)
            LogisticRegression(C=np.inf).fit(x, mixed)
            # fixed logits tell the classes apart, the features do not
            fixed = 40.0 * np.eye(K)[mixed] if K > 2 else 80.0 * mixed - 40.0
            LogisticRegression(C=np.inf).fit(x, mixed, offset=fixed)
    with pytest.warns(ConvergenceWarning, match="the classes are separable"):
        LogisticRegressionCV(Cs=[np.inf], cv=2, l1_ratios=(0,), use_legacy_attributes=False).fit(x, x[:, 0] > 0)


def test_it_prints_as_text_html_and_json():
    X, y = data(RNG, 3)
    frame = pd.DataFrame(X, columns=["a<b", "b", "c"])
    names = np.array(["no & no", "yes", "so"])[y]
    found = fitted(frame, names).summary(frame, names, covariance="HC1")
    text = str(found)
    assert repr(found) == text
    assert "log-odds of so against no & no" in text
    line = next(row.split() for row in text.splitlines() if row.startswith("a<b"))
    assert float(line[1]) == pytest.approx(found.coefficient[0, 0], rel=1e-3)
    assert float(line[2]) == pytest.approx(found.standard_error[0, 0], rel=1e-3)
    html = found._repr_html_()
    assert "a&lt;b" in html
    assert "a<b" not in html
    assert "no &amp; no" in html
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["coefficients"][4]["class"] == "yes"
    assert document["coefficients"][4]["upper"] == found.upper[1, 0]
    assert document["wald"]["p"] == found.wald.p
    assert document["columns"]["a<b"]["wald"]["df"] == 2


def separates(X, y, found):
    """The direction does what it says, by its own words."""
    B = np.column_stack([found.direction, found.intercept])
    z = constant(X) @ (np.vstack([np.zeros_like(B), B]) if len(B) == 1 else B).T
    label = np.searchsorted(found.classes, y)
    ahead = z[np.arange(len(y)), label][:, None] - z
    size = np.abs(ahead).max()
    assert (ahead > -1e-6 * size).all()
    np.testing.assert_array_equal((ahead > 1e-6 * size).any(axis=1), found.rows)


@pytest.mark.parametrize("seed", range(30))
def test_separation_of_one_column_is_an_order(seed):
    rng = np.random.default_rng(seed)
    y = np.arange(8) % 2
    x = rng.integers(0, 4, 8) + 3 * y * rng.integers(0, 2)
    low, high = x[y == 0], x[y == 1]
    found = find_separation(x[:, None].astype(float), y)
    if low.max() < high.min() or high.max() < low.min():
        expected = "complete"
    elif len(set(x)) > 1 and (low.max() <= high.min() or high.max() <= low.min()):
        expected = "quasi-complete"
    else:
        expected = "none"
    assert found.kind == expected
    assert bool(found) == (expected != "none")
    assert found.columns == (("x0",) if found else ())
    if found:
        separates(x[:, None], y, found)


@pytest.mark.parametrize("seed", range(30))
def test_separation_in_the_plane_by_brute_force(seed):
    """Without an intercept: the best direction is at right angles to a point, or between two such."""
    rng = np.random.default_rng(seed)
    X, y = rng.integers(-2, 3, (6, 2)).astype(float), np.arange(6) % 2
    signed = X * np.where(y == 1, 1, -1)[:, None]
    angles = np.arctan2(signed[:, 1], signed[:, 0])
    ends = np.sort(np.r_[angles - np.pi / 2, angles + np.pi / 2] % (2 * np.pi))
    tried = np.r_[ends, (ends + np.roll(ends, -1) + np.r_[np.zeros(len(ends) - 1), 2 * np.pi]) / 2]
    z = signed @ np.array([np.cos(tried), np.sin(tried)])
    z[np.abs(z) < 1e-9] = 0
    most = max(((z[:, k] > 0).sum() for k in range(z.shape[1]) if (z[:, k] >= 0).all()), default=0)
    found = find_separation(X, y, fit_intercept=False)
    assert found.rows.sum() == most
    assert found.kind == ("none" if most == 0 else "complete" if most == 6 else "quasi-complete")


def test_separation_of_several_classes_and_of_weighted_rows():
    X, y = datasets.load_iris(return_X_y=True, as_frame=True)
    found = find_separation(X, y)
    assert found.kind == "quasi-complete"  # setosa from the others, which overlap
    separates(X.to_numpy(), y.to_numpy(), found)
    assert "petal width (cm)" in str(found)
    assert not find_separation(X, y == 1)
    assert find_separation(sparse.csr_array(X.to_numpy()), y == 0, feature_names="abcd").kind == "complete"
    # a label that stands in the way is given no weight
    wrong = (y == 0).to_numpy(copy=True)
    wrong[149] = True
    weight = np.ones(150)
    weight[149] = 0
    assert not find_separation(X, wrong)
    left = find_separation(X, wrong, weight)
    assert left.kind == "complete"
    assert left.rows.sum() == 149
    assert not left.rows[149]
    with pytest.raises(ValueError, match="3 names; X has 4 columns"):
        find_separation(X, y, feature_names="abc")
    with pytest.raises(ValueError, match="one class"):
        find_separation(X, np.zeros(150))


@pytest.mark.parametrize("covariance", ["model", "HC0"])
def test_an_offset_equal_to_statsmodels(covariance):
    X, y = data(np.random.default_rng(3))
    z, weight = np.random.default_rng(4).normal(size=len(y)), np.ones(len(y))
    weight[:7] = 0.0
    model = LogisticRegression(C=np.inf).fit(X, y, weight, offset=z)
    found = model.summary(X, y, weight, covariance=covariance, level=0.9, offset=z, likelihood_ratio=True)
    kind = {"cov_type": covariance} if covariance != "model" else {}
    X, y, z = X[7:], y[7:], z[7:]
    expected = theirs_with_offset(constant(X), y, z, **kind)
    same_figures(found, expected)
    assert found.log_likelihood == pytest.approx(expected.llf, rel=1e-9)
    null = theirs_with_offset(np.ones((len(y), 1)), y, z)
    assert found.null_log_likelihood == pytest.approx(null.llf, rel=1e-9)
    less = theirs_with_offset(constant(X[:, 1:]), y, z)
    assert found.columns["x0"]["likelihood_ratio"].statistic == pytest.approx(2 * (expected.llf - less.llf), rel=1e-6)
    with pytest.raises(ValueError, match="standard errors from the best ones"):
        model.summary(X, y)


def theirs_with_offset(X, y, z, **options):
    return sm.GLM(y, X, family=sm.families.Binomial(), offset=z).fit(tol=1e-14, use_t=False, **options)


def test_an_offset_of_classes_is_columns_of_known_weight():
    """Against the curvature of the likelihood by differences; without an intercept the null model is the offset."""
    X, y = data(np.random.default_rng(5), 3)
    z = np.random.default_rng(6).normal(size=(len(y), 3))
    model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-9).fit(X, y, offset=z)
    found = model.summary(X, y, offset=z)

    def likelihood(b):
        logits = z + np.column_stack([np.zeros(len(y)), X @ b.reshape(2, 3).T])
        return float((logits[np.arange(len(y)), y] - np.logaddexp.reduce(logits, axis=1)).sum())

    b, h = found.coefficient.ravel(), 1e-3 * found.standard_error.ravel()
    assert found.null_log_likelihood == pytest.approx(likelihood(np.zeros(6)), rel=1e-12)
    assert found.log_likelihood == pytest.approx(likelihood(b), rel=1e-12)
    step = np.diag(h)
    H = [[sum(s * t * likelihood(b + s * i + t * j) for s in (1, -1) for t in (1, -1)) for j in step] for i in step]
    V = np.linalg.inv(-np.array(H) / (4 * np.outer(h, h)))
    np.testing.assert_allclose(found.standard_error.ravel(), np.sqrt(np.diag(V)), rtol=1e-3)
