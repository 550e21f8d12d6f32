"""The estimator around any classifier: scikit-learn's own checks, and its CalibratedClassifierCV."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from xent.evaluate import Recalibrated, recalibrate

RNG = np.random.default_rng(0)


@parametrize_with_checks(
    [Recalibrated(LogisticRegression(C=1)), Recalibrated(GaussianNB(), method="isotonic", cv=3)],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def split(load):
    X, y = load(return_X_y=True)
    return train_test_split(X, y, test_size=0.4, random_state=0)


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine, load_digits])
def test_temperature_of_a_fitted_classifier_is_theirs(load):
    X, held, y, held_y = split(load)
    size = np.maximum(X.max(axis=0), 1)
    model = LogisticRegression(C=100, max_iter=5000).fit(X / size, y)
    ours = Recalibrated(model, cv="prefit").fit(held / size, held_y)
    theirs = CalibratedClassifierCV(FrozenEstimator(model), method="temperature", ensemble=False, cv=2)
    theirs.fit(held / size, held_y)  # frozen: each fold's answers are the model's, and one map sees them all
    beta = theirs.calibrated_classifiers_[0].calibrators[0].beta_
    if len(theirs.classes_) == 2:
        beta *= 2  # of two classes scikit-learn scales the logits (-d, d): its probabilities are those of 2 beta
    assert 1 / ours.map_.parameters["temperature"] == pytest.approx(beta, rel=2e-3)
    assert ours.predict_proba(held / size) == pytest.approx(theirs.predict_proba(held / size), abs=1e-3)


def test_out_of_fold_as_theirs_without_ensemble():
    X, held, y, _ = split(load_breast_cancer)
    ours = Recalibrated(GaussianNB(), method="isotonic", ends=0, cv=4).fit(X, y)
    theirs = CalibratedClassifierCV(GaussianNB(), method="isotonic", cv=4, ensemble=False).fit(X, y)
    off = np.abs(ours.predict_proba(held) - theirs.predict_proba(held))
    # theirs joins the knots along p, ours along the log-odds: between two knots they differ, elsewhere not
    assert np.median(off) < 1e-12
    assert off.mean() < 1e-2


@pytest.mark.parametrize("method", ["temperature", "isotonic", "vector"])
def test_an_overconfident_classifier_costs_less(method):
    X, held, y, held_y = split(load_digits)
    plain = GaussianNB(var_smoothing=1e-3).fit(X, y)
    model = Recalibrated(GaussianNB(var_smoothing=1e-3), method=method).fit(X, y)
    assert log_loss(held_y, model.predict_proba(held)) < 0.5 * log_loss(held_y, plain.predict_proba(held))
    assert model.predict_proba(held).sum(axis=1) == pytest.approx(np.ones(len(held)))


def test_a_forest_answers_zero():
    X, held, y, held_y = split(load_wine)
    forest = RandomForestClassifier(10, random_state=0)
    with pytest.raises(ValueError, match="floor"):
        Recalibrated(forest, method="dirichlet").fit(X, y)
    model = Recalibrated(forest, method="dirichlet", floor=1e-3).fit(X, y)
    assert log_loss(held_y, model.predict_proba(held)) < 0.3


def test_scores_without_probabilities():
    X, held, y, held_y = split(load_breast_cancer)
    X, held = X / X.max(axis=0), held / X.max(axis=0)
    for model in (LinearSVC(), SGDClassifier(random_state=0)):
        found = Recalibrated(model, method="platt").fit(X, y)
        assert log_loss(held_y, found.predict_proba(held)) < 0.2


class Neither(GaussianNB):
    predict_proba = predict_log_proba = property()


def test_no_scores_at_all():
    X, _, y, _ = split(load_wine)
    with pytest.raises(TypeError, match="neither predict_proba nor decision_function"):
        Recalibrated(Neither()).fit(X, y)


def test_text_labels_data_frames_and_weights():
    X, _, y, _ = split(load_wine)
    names = np.array(["x", "y", "z"])[y]
    frame = pd.DataFrame(X, columns=[f"c{j}" for j in range(X.shape[1])])
    weight = RNG.random(len(y)) + 0.1
    model = Recalibrated(GaussianNB()).fit(frame, names, sample_weight=weight)
    assert model.map_.names == ("x", "y", "z")
    assert list(model.feature_names_in_) == list(frame.columns)
    assert set(model.predict(frame)) <= set(names)
    unweighted = Recalibrated(GaussianNB()).fit(frame, names)
    assert model.map_.parameters != unweighted.map_.parameters


def test_prefit_fits_the_map_alone():
    X, held, y, held_y = split(load_breast_cancer)
    inner = GaussianNB().fit(X, y)
    model = Recalibrated(inner, cv="prefit").fit(held, held_y)
    assert model.estimator_ is inner
    expected = recalibrate(held_y, inner.predict_log_proba(held)).parameters
    assert model.map_.parameters == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recalibrated(cv="prefitted"), "prefit"),
        (lambda: Recalibrated(GaussianNB(), method="platt"), "two classes"),
        (lambda: Recalibrated(GaussianNB(), method="beta"), "no recalibration"),
        (lambda: Recalibrated(GaussianNB(), floor=1.0), "floor"),
    ],
)
def test_bad_options(make, message):
    X, _, y, _ = split(load_wine)
    with pytest.raises(ValueError, match=message):
        make().fit(X, y)


def test_a_class_of_one_row():
    X, _, y, _ = split(load_wine)
    y = np.where(np.arange(len(y)) == 5, 7, y)
    with (
        pytest.warns(UserWarning, match="least populated"),
        pytest.raises(ValueError, match="has rows in one fold"),
    ):
        Recalibrated(GaussianNB()).fit(X, y)
