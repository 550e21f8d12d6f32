"""A classifier with recalibrated probabilities, for scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import check_cv
from sklearn.utils import _safe_indexing, column_or_1d, get_tags, indexable
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, _num_samples, check_is_fitted, has_fit_parameter

from ..losses import log_softmax
from ._fits import FitOptions, fit_map


class Recalibrated(ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Any classifier, its probabilities recalibrated by a small map that was fitted by cross-entropy.

    With ``cv`` a number or a splitter, the classifier is fitted to the other folds to predict each row, one map is
    fitted to all those predictions, and the classifier is fitted once more to all rows. With ``cv="prefit"`` the
    classifier is used as it is and the rows given to `fit` are the map's alone: they must be ones it has not seen.

    Parameters
    ----------
    estimator : classifier, optional
        With predict_log_proba, predict_proba or decision_function, in that order of preference. By default
        scikit-learn's logistic regression.
    method : str, default "temperature"
        As `xent.evaluate.recalibrate` takes it.
    cv : int, splitter or "prefit", default 5
    floor : float, default 0.0
        Raise smaller probabilities to this first. Needed by vector, matrix and dirichlet for classifiers that answer 0,
        such as forests.
    ends : float, default 0.5
        Isotonic: as `recalibrate` takes it.
    strength : float, optional
        Dirichlet: as `recalibrate` takes it.

    Attributes
    ----------
    classes_ : array (K,)
    estimator_ : the fitted classifier
    map_ : RecalibrationMap
    n_features_in_, feature_names_in_ : as the fitted classifier has them

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : the same idea; its isotonic maps answer 0 and 1, its default averages
        one classifier a fold.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.naive_bayes import GaussianNB
    >>> X, y = load_wine(return_X_y=True)
    >>> model = Recalibrated(GaussianNB()).fit(X, y)
    >>> model.map_.parameters["temperature"] > 1  # it was too sure
    True
    >>> model.predict_proba(X[:1]).shape
    (1, 3)
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        method: str = "temperature",
        cv: Any = 5,
        floor: float = 0.0,
        ends: float = 0.5,
        strength: float | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.cv = cv
        self.floor = floor
        self.ends = ends
        self.strength = strength

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inner = get_tags(self._given())
        tags.input_tags.sparse = inner.input_tags.sparse
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.classifier_tags.multi_class = inner.classifier_tags.multi_class and self.method != "platt"
        return tags

    def _given(self) -> Any:
        return LogisticRegression() if self.estimator is None else self.estimator

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Recalibrated:
        """Fit classifier and map, or the map alone (``cv="prefit"``).

        Parameters
        ----------
        X : rows, as the classifier takes them
        y : array (N,)
        sample_weight : array (N,), optional
            For the map, and for the classifier where it takes them.

        Returns
        -------
        self
        """
        options = FitOptions(float(self.floor), float(self.ends), self.strength)
        check_classification_targets(y)
        X, y = indexable(X, y)
        y = column_or_1d(y, warn=True)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X)
        if isinstance(self.cv, str):
            if self.cv != "prefit":
                raise ValueError(f'cv must be a number, a splitter or "prefit", got {self.cv!r}')
            check_is_fitted(self._given())
            self.estimator_ = self._given()
            self.classes_ = np.asarray(self.estimator_.classes_)
            logs = _log_proba(self.estimator_, X)
        else:
            self.classes_ = np.unique(y)
            if len(self.classes_) < 2:
                raise ValueError(
                    f"{type(self).__name__} needs at least 2 classes, got {len(self.classes_)} class: {self.classes_}"
                )
            self.estimator_ = _fitted(self._given(), X, y, weight)
            logs = self._out_of_fold(X, y, weight)
        place = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        labels = np.where(self.classes_[place] == y, place, -1)
        self.map_ = fit_map(self.method, logs, labels, weight, options, self.classes_.tolist())
        for name in ("n_features_in_", "feature_names_in_"):
            if hasattr(self.estimator_, name):
                setattr(self, name, getattr(self.estimator_, name))
        return self

    def _out_of_fold(self, X: Any, y: Any, weight: Any) -> Any:
        """Log-probabilities of each row by a classifier fitted without it."""
        logs = np.full((_num_samples(X), len(self.classes_)), np.nan)
        for inside, outside in check_cv(self.cv, y, classifier=True).split(X, y):
            missing = np.setdiff1d(self.classes_, y[inside])
            if len(missing):
                raise ValueError(
                    f"class {missing[0]!r} has rows in one fold of {self.cv} alone, so a classifier must predict it "
                    "unseen: use fewer folds, or leave the class out"
                )
            part = _fitted(self._given(), _rows(X, inside), y[inside], None if weight is None else weight[inside])
            logs[outside] = _log_proba(part, _rows(X, outside))
        if np.isnan(logs).any():
            raise ValueError("cv must hold every row out once")
        return logs

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the recalibrated probabilities, (N, K)."""
        check_is_fitted(self)
        return self.map_.apply(_log_proba(self.estimator_, X))

    def predict_proba(self, X: Any) -> Any:
        """Recalibrated probabilities, (N, K)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Any:
        """The likeliest class of each row."""
        check_is_fitted(self)
        return self.classes_[self.predict_log_proba(X).argmax(axis=1)]


def _fitted(estimator: Any, X: Any, y: Any, weight: Any) -> Any:
    more = {"sample_weight": weight} if weight is not None and has_fit_parameter(estimator, "sample_weight") else {}
    return clone(estimator).fit(X, y, **more)


def _rows(X: Any, index: Any) -> Any:
    return _safe_indexing(X, index)


def _log_proba(estimator: Any, X: Any) -> Any:
    """Log-probabilities of a fitted classifier, with all the digits that it gives."""
    if hasattr(estimator, "predict_log_proba"):
        with np.errstate(divide="ignore"):
            return np.asarray(estimator.predict_log_proba(X), dtype=np.float64)
    if hasattr(estimator, "predict_proba"):
        with np.errstate(divide="ignore"):
            return np.log(np.asarray(estimator.predict_proba(X), dtype=np.float64))
    if not hasattr(estimator, "decision_function"):
        raise TypeError(f"{type(estimator).__name__} has neither predict_proba nor decision_function")
    scores = np.asarray(estimator.decision_function(X), dtype=np.float64)
    return log_softmax(np.column_stack([np.zeros(len(scores)), scores]) if scores.ndim == 1 else scores)
