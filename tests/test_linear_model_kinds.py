"""Ordinal, margin and multi-label classifiers: the peers, the losses' own gradients, scikit-learn's checks."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import optimize, sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import normalize
from sklearn.utils.estimator_checks import parametrize_with_checks

import xent
from xent.linear_model import MarginClassifier, MultiLabelClassifier, OrdinalClassifier, load_estimator
from xent.losses.margins import AMSoftmax, ArcFace, CosFace, LSoftmax, SMSoftmax

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from statsmodels.miscmodels.ordinal_model import OrderedModel

RNG = np.random.default_rng(0)
MODELS = [
    OrdinalClassifier(),
    OrdinalClassifier(link="probit", C=10.0),
    OrdinalClassifier(link="cloglog"),
    MultiLabelClassifier(),
    MultiLabelClassifier(fit_intercept=False),
    MarginClassifier(),
    MarginClassifier(AMSoftmax(0.1, scale=8.0)),
]


@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(MODELS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def ordered(rng, K=4, N=400, link="logit"):
    X = rng.normal(size=(N, 3)) * [1.0, 20.0, 0.05] + [0.0, 100.0, 0.0]
    score = (X - X.mean(axis=0)) @ [1.0, -0.05, 10.0]
    score += rng.logistic(size=N) if link == "logit" else rng.normal(size=N)
    return X, np.searchsorted(np.linspace(-1.5, 2, K - 1), score)


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("K", [2, 3, 6])
def test_ordinal_is_statsmodels_ordered_model(link, K):
    X, y = ordered(RNG, K, link=link)
    ours = OrdinalClassifier(C=np.inf, link=link, tol=1e-7).fit(X, y)
    assert ours.convergence_ <= 1e-7
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)  # its optimiser needs that
    model = OrderedModel(y, scaled, distr=link)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that rounding ended it
        found = model.fit(method="bfgs", disp=0, gtol=1e-9, maxiter=500)
    beta, theta = found.params[:3], model.transform_threshold_params(found.params)[1:-1]
    np.testing.assert_allclose(ours.coef_ * X.std(axis=0), beta, rtol=1e-5)
    np.testing.assert_allclose(ours.thresholds_ - ours.coef_ @ X.mean(axis=0), theta, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.predict_proba(X), model.predict(found.params, scaled), atol=1e-6)
    assert -found.llf / len(y) == pytest.approx(ours.objective_, rel=1e-9)


@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
@pytest.mark.parametrize("convert", [sparse.csr_array, lambda X: X, lambda X: X.astype(np.float32)])
def test_ordinal_with_a_penalty_and_weights_is_at_the_minimum(link, convert):
    """By SciPy on the loss itself, from the estimator's point: nothing near is lower, by finite differences."""
    X, y = ordered(RNG, 3, 120)
    X = (X / X.std(axis=0)).astype(np.float32).astype(np.float64)
    weight = RNG.uniform(0, 2, len(y))
    model = OrdinalClassifier(C=0.5, link=link, tol=1e-7).fit(convert(X), y, weight)

    def objective(p):
        loss = xent.ordinal_cross_entropy(X @ p[:3], p[3:], y, link=link, sample_weight=weight)
        return loss + p[:3] @ p[:3] / (2 * 0.5 * weight.sum())

    at = np.concatenate([model.coef_, model.thresholds_]).astype(float)
    slope = optimize.approx_fprime(at, objective, 1e-6)
    assert np.abs(slope).max() < 1e-5
    assert objective(at) == pytest.approx(model.objective_, rel=1e-7)
    assert model.coef_.dtype == convert(X).dtype


def test_ordinal_categories_put_labels_in_order():
    X, y = ordered(RNG, 3)
    names = np.array(["low", "medium", "high"])
    model = OrdinalClassifier(categories=names).fit(X, names[y])
    plain = OrdinalClassifier().fit(X, y)
    np.testing.assert_allclose(model.coef_, plain.coef_)
    assert model.classes_.tolist() == names.tolist()
    np.testing.assert_array_equal(model.predict(X), names[plain.predict(X)])
    assert np.mean(model.predict(X) == names[y]) > 0.5
    assert (np.diff(model.thresholds_) > 0).all()
    for wrong, words in (
        (["low", "medium"], "'high', which is none of the categories"),
        (["low", "medium", "high", "low"], "twice"),
        (["low", "medium", "high", "top"], "no row has the label 'top'"),
    ):
        with pytest.raises(ValueError, match=words):
            OrdinalClassifier(categories=wrong).fit(X, names[y])


def test_ordinal_takes_the_order_that_labels_have():
    X, y = ordered(RNG, 3)
    order = ["low", "medium", "high", "none such"]
    text = np.array(order)[y]
    coef = OrdinalClassifier().fit(X, y).coef_
    category = pd.Categorical(text, categories=order, ordered=True)
    for labels in (category, pd.Series(category), pl.Series(text, dtype=pl.Enum(order))):
        model = OrdinalClassifier().fit(X, labels)
        assert model.classes_.tolist() == order[:3]
        np.testing.assert_allclose(model.coef_, coef)
    for labels in (text, pd.Series(text), pd.Series(text, dtype="category"), pl.Series(text)):
        with pytest.warns(UserWarning, match="alphabet: 'high' < 'low' < 'medium'. Give them"):
            assert OrdinalClassifier().fit(X, labels).classes_.tolist() == ["high", "low", "medium"]
    reversed_ = OrdinalClassifier(categories=order[2::-1]).fit(X, category)  # what is said outright counts
    np.testing.assert_allclose(reversed_.coef_, -coef, rtol=1e-4)


def test_ordinal_says_when_it_did_not_converge_and_what_is_wrong():
    X, y = ordered(RNG, 3)
    with pytest.warns(ConvergenceWarning, match="OrdinalClassifier stopped after 1 iterations.*max_iter=1"):
        OrdinalClassifier(max_iter=1).fit(X, y)
    for options, words in (({"C": 0}, "C must be a number above 0"), ({"link": "cauchit"}, "link must be one of")):
        with pytest.raises(ValueError, match=words):
            OrdinalClassifier(**options).fit(X, y)


@pytest.mark.parametrize("convert", [sparse.csr_array, lambda X: X])
@pytest.mark.parametrize("options", [{"C": 0.3}, {"C": np.inf}, {"fit_intercept": False}])
def test_multilabel_is_a_logistic_regression_of_each(convert, options):
    X = RNG.normal(size=(300, 4)) * [1, 10, 0.1, 1]
    Y = (X / [1, 10, 0.1, 1] @ RNG.normal(size=(4, 5)) + RNG.logistic(size=(300, 5)) > [0, 0, 1, 2, -3]).astype(int)
    weight = RNG.uniform(0, 2, 300)
    ours = MultiLabelClassifier(tol=1e-8, **options).fit(convert(X), Y, weight)
    for k in range(5):
        one = Theirs(solver="newton-cholesky", tol=1e-12, max_iter=1000, **options).fit(X, Y[:, k], weight)
        np.testing.assert_allclose(ours.coef_[k], one.coef_[0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ours.intercept_[k], one.intercept_[0], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(ours.predict_proba(convert(X))[:, k], one.predict_proba(X)[:, 1], atol=1e-6)
        np.testing.assert_array_equal(ours.predict(convert(X))[:, k], one.predict(X))
    thin = MultiLabelClassifier(tol=1e-8, **options).fit(convert(X), sparse.csr_array(Y), weight)
    np.testing.assert_array_equal(thin.coef_, ours.coef_)
    assert ours.score(convert(X), Y) == np.mean((ours.predict(convert(X)) == Y).all(axis=1))
    if not options.get("fit_intercept", True):
        return
    together = OneVsRestClassifier(Theirs(tol=1e-10, max_iter=5000, C=options["C"])).fit(X / [1, 10, 0.1, 1], Y)
    assert together.predict_proba(X).shape == ours.predict_proba(convert(X)).shape


def test_multilabel_labels_without_a_choice():
    X = RNG.normal(size=(50, 2))
    Y = np.column_stack([X[:, 0] + RNG.normal(size=50) > 0, np.ones(50), np.zeros(50)]).astype(int)
    with pytest.warns(UserWarning, match=r"label 1 \(2 in all\) is the same in every row"):
        model = MultiLabelClassifier().fit(X, Y)
    p = model.predict_proba(X)
    assert (p[:, 1] == 1).all()
    assert (p[:, 2] == 0).all()
    np.testing.assert_allclose(model.coef_[0], MultiLabelClassifier().fit(X, Y[:, 0]).coef_[0], rtol=1e-3)
    assert (model.predict(X)[:, 1:] == [1, 0]).all()
    with pytest.raises(ValueError, match="it holds 2"):
        MultiLabelClassifier().fit(X, Y * 2)


def directions(rng, K=4, N=200, D=6):
    centres = normalize(rng.normal(size=(K, D)))
    y = rng.integers(0, K, N)
    return (centres[y] + 0.25 * rng.normal(size=(N, D))) * rng.uniform(0.5, 3, (N, 1)), y


@pytest.mark.parametrize(
    "margin", [None, CosFace(0.1, scale=8.0), ArcFace(0.2, scale=16.0), SMSoftmax(0.3), LSoftmax(2)]
)
def test_margin_classifier_is_stationary_for_the_loss_itself(margin):
    X, y = directions(RNG)
    weight = RNG.uniform(0.5, 2, len(y))
    options = {"tol": 1e-7} if margin is None or margin.unit_centres else {"tol": 1e-4, "max_iter": 5000}
    model = MarginClassifier(margin, **options).fit(X, y, weight)
    psi = margin or CosFace(0.35, scale=30.0)

    def objective(flat):
        w = flat.reshape(model.centres_.shape)
        return float(xent.margin_cross_entropy(X, w, y, psi, sample_weight=weight))

    slope = optimize.approx_fprime(model.centres_.ravel(), objective, 1e-7)
    assert np.abs(slope).max() < 2e-4
    assert objective(model.centres_) == pytest.approx(model.objective_, rel=1e-9)
    assert model.score(X, y) > 0.9
    cosine = normalize(X) @ normalize(model.centres_[:, 0]).T
    if psi.unit_centres:
        np.testing.assert_allclose(np.linalg.norm(model.centres_, axis=2), 1, rtol=1e-12)
        np.testing.assert_array_equal(model.predict(X), cosine.argmax(axis=1))
        np.testing.assert_allclose(model.decision_function(X), psi.scale * cosine, rtol=1e-9, atol=1e-9)


def test_a_margin_widens_the_gap_between_the_own_class_and_the_next():
    X, y = directions(RNG, N=400)
    rows = np.arange(len(y))

    def gap(margin):
        cosine = MarginClassifier(CosFace(margin, scale=30.0)).fit(X, y).decision_function(X) / 30
        own = cosine[rows, y]
        cosine[rows, y] = -np.inf
        return np.quantile(own - cosine.max(axis=1), 0.05)

    assert gap(0.35) > gap(0.0)


@pytest.mark.filterwarnings("ignore:MarginClassifier stopped")  # where the nearest centre changes, the loss has kinks
def test_several_centres_fit_classes_of_several_directions():
    centres = normalize(np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]))
    which = RNG.integers(0, 4, 300)
    X, y = centres[which] + 0.1 * RNG.normal(size=(300, 3)), which // 2
    one = MarginClassifier(CosFace(0.1, scale=8.0)).fit(X, y)
    two = [MarginClassifier(CosFace(0.1, scale=8.0), centres=2, random_state=s).fit(X, y) for s in range(5)]
    assert one.score(X, y) < 0.8
    assert max(m.score(X, y) for m in two) > 0.99
    assert two[0].centres_.shape == (2, 2, 3)
    again = MarginClassifier(CosFace(0.1, scale=8.0), centres=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(again.centres_, two[0].centres_)


def test_margin_classifier_refuses():
    X, y = directions(RNG)
    with pytest.raises(TypeError, match=r"one of xent.losses.margins, not float"):
        MarginClassifier(0.5).fit(X, y)
    with pytest.raises(ValueError, match="margins for 2 classes"):
        MarginClassifier(CosFace([0.1, 0.2])).fit(X, y)
    with pytest.raises(ValueError, match="centres must be a number from 1"):
        MarginClassifier(centres=0).fit(X, y)


@pytest.mark.parametrize(
    "model",
    [OrdinalClassifier(link="cloglog"), MultiLabelClassifier(), MarginClassifier(ArcFace(0.2, scale=16.0), centres=2)],
)
def test_they_are_saved_too(tmp_path, model):
    X, y = directions(RNG, K=2 if isinstance(model, MultiLabelClassifier) else 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    model.save(tmp_path / "m")
    back = load_estimator(tmp_path / "m")
    assert repr(back) == repr(model)
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))
