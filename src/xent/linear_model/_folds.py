"""Fits along C and l1_ratio on the folds of a cross-validation, scored on what each fold leaves out."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sklearn
from scipy.special import xlogy
from sklearn.metrics import get_scorer, log_loss, make_scorer
from sklearn.utils import compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot

from ..solvers import Solution
from ._inputs import kept, row_weights
from ._options import Penalty
from ._predict import LinearPredictions, log_probabilities
from ._solve import Task, solve, solve_path

# Multiplications of a pass from which on fits along C are one path.
PATH_FLOPS = 1e5


@dataclass(frozen=True)
class Data:
    """Rows to be split: X (N, D), y (N,), the classes of all of them, weights (N,) or None, class weights, offset."""

    X: Any
    y: Any
    classes: Any
    weight: Any
    class_weight: Any
    offset: Any = None

    def task(self, rows: Any, template: Task) -> Task:
        """The template on some of the rows; weights of classes from the whole."""
        rows = np.arange(len(self.y))[rows]
        weight = None if self.weight is None else row_weights(self.weight[rows], len(rows))
        rows, y, weight = kept(rows, self.y[rows], weight)
        label = np.searchsorted(self.classes, y)
        if self.class_weight is not None:
            present = np.unique(y)
            given = self.class_weight
            if isinstance(given, dict):  # a fold may lack a class
                given = {c: w for c, w in given.items() if c in present}
            each = np.ones(len(self.classes))
            each[np.searchsorted(self.classes, present)] = compute_class_weight(given, classes=present, y=y)
            weight = row_weights(each[label] * (1.0 if weight is None else weight), len(label), "class_weight")
            rows, label, weight = kept(rows, label, weight)
        offset = None if self.offset is None else self.offset[rows]
        return replace(template, X=self.X[rows], label=label, weight=weight, offset=offset)


class Fitted(LinearPredictions):
    """Coefficients that a scorer can ask for predictions of the rows that the offset (N, V) is of."""

    _estimator_type = "classifier"

    def __init__(self, tags: Any, classes: Any, theta: Any, D: int, offset: Any = None) -> None:
        self._tags, self.classes_, self.n_features_in_ = tags, classes, D
        self._offset = offset
        self.coef_ = np.ascontiguousarray(theta[:, :D])
        self.intercept_ = theta[:, D] if theta.shape[1] > D else np.zeros(len(theta))

    def __sklearn_tags__(self) -> Any:
        return self._tags

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def decision_function(self, X: Any, offset: Any = None) -> Any:
        """Logits, with the offset of the rows."""
        z = super().decision_function(X, offset)
        if self._offset is None:
            return z
        if len(z) != len(self._offset):
            raise ValueError(
                f"the scorer asks for predictions of {len(z)} rows, but the offset is of {len(self._offset)}: a scorer "
                "that drops or repeats rows does not go with an offset"
            )
        return z + self._offset.reshape(z.shape)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Weighted share of rows predicted right."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def fit(self, X: Any, y: Any) -> Fitted:  # scikit-learn asks that an estimator has one
        """Fitted already: a scorer that fits is an error."""
        raise TypeError("scorers are given a model that is fitted already")


def with_labels(scorer: Any, classes: Any) -> Any:
    """A scorer told of all classes where its function takes labels: a fold may lack some."""
    function = getattr(scorer, "_score_func", None)
    parameters = inspect.signature(function).parameters if function is not None else {}
    if "labels" not in parameters:
        return scorer
    more = dict(getattr(scorer, "_kwargs", {}), labels=classes)
    if len(classes) == 2 and "pos_label" in parameters:
        more["pos_label"] = classes[-1]
    return make_scorer(function, greater_is_better=scorer._sign == 1, response_method=scorer._response_method, **more)


def _is_log_loss(scorer: Any, params: dict[str, Any]) -> bool:
    """Whether a scorer is minus scikit-learn's log loss, of weighted rows or not, and nothing else."""
    if getattr(scorer, "_score_func", None) is not log_loss or sklearn.get_config().get("enable_metadata_routing"):
        return False
    plain = scorer._sign == -1 and scorer._response_method == "predict_proba" and set(scorer._kwargs) == {"labels"}
    weight = params.get("sample_weight")
    return bool(plain and set(params) <= {"sample_weight"} and (weight is None or np.any(weight)))


def _log_score(model: Fitted, X: Any, label: Any, weight: Any) -> float:
    """What that scorer says, in the same floating-point operations; NaN where its checks have something to say.

    It looks at labels and probabilities from all sides, which takes as long as a fit to a hundred rows.
    """
    z = safe_sparse_dot(X, model.coef_.T, dense_output=True) + model.intercept_
    z = z if model._offset is None else z + model._offset
    p = np.exp(log_probabilities(z if z.shape[1] > 1 else z[:, 0]))
    if not np.isfinite(p).all():
        return float("nan")
    # of two classes a scorer is given the second's
    own = np.where(label, p[:, 1], 1 - p[:, 1]) if p.shape[1] == 2 else p[np.arange(len(p)), label]
    eps = np.finfo(p.dtype).eps
    losses = -xlogy(1.0, np.clip(own, eps, 1 - eps))
    return -float(np.average(losses, weights=weight))


def _of_rows(value: Any, rows: Any, N: int) -> Any:
    """The part of a scorer's parameter that belongs to some of the N rows, where it has one for each."""
    if isinstance(value, str) or not hasattr(value, "__len__") or len(value) != N:
        return value
    return np.asarray(value)[rows]


def fit_path(
    data: Data, template: Task, tags: Any, fold: tuple[Any, Any], penalties: list[Penalty], scoring: Any
) -> Any:
    """Fit one fold along the penalties, each from the one before.

    Returns
    -------
    coefs (n, V, D [+ 1]), scores (n,), n_iter (n,) and the solutions that did not converge, with their tasks
    """
    (train, test), (scorer, params) = fold, scoring
    X_test, y_test = data.X[test], data.y[test]
    N, D = data.X.shape
    params = {name: _of_rows(v, test, N) for name, v in params.items()}
    base = data.task(train, template)
    coefs, scores, n_iter, failed = [], [], [], []
    offset = None if data.offset is None else data.offset[test]
    scorer = with_labels(get_scorer(scorer) if isinstance(scorer, str) else scorer, data.classes)
    quick, label = _is_log_loss(scorer, params), np.searchsorted(data.classes, y_test)
    for penalty, found in zip(penalties, _fits(base, penalties), strict=True):
        coefs.append(found.x)
        model = Fitted(tags, data.classes, found.x, D, offset)
        score = _log_score(model, X_test, label, params.get("sample_weight")) if quick else np.nan
        scores.append(scorer(model, X_test, y_test, **params) if np.isnan(score) else score)
        n_iter.append(found.n_iter)
        if not found.converged:
            failed.append((found, replace(base, penalty=penalty)))
    return np.array(coefs), np.array(scores), np.array(n_iter), failed


def _fits(base: Task, penalties: list[Penalty]) -> list[Solution]:
    """The minima in the order of the penalties: as one path where passes over X cost more than the path's own work.

    A solver by name, Newton's method and bounds fit each by itself.
    """
    flops = base.X.size * (1 if base.classes == 2 else base.classes)
    if base.choice.by_name or base.choice.name in ("newton-cholesky", "boxed") or flops < PATH_FLOPS:
        theta, out = np.zeros(base.objective().shape), []
        for penalty in penalties:
            out.append(solve(replace(base, penalty=penalty), theta))
            theta = out[-1].x.reshape(theta.shape)
        return [replace(s, x=s.x.reshape(theta.shape)) for s in out]
    order = np.argsort([p.C for p in penalties], kind="stable")
    ordered = solve_path(base, [penalties[i] for i in order])
    return [ordered[i] for i in np.argsort(order)]


def simplest(scores: Any, Cs: Any, best: int) -> int:
    """The place of the smallest C whose mean score (n_folds, n_cs) is within a standard error of the best."""
    if len(scores) < 2:
        raise ValueError("rule='one_standard_error' needs at least 2 folds to estimate a standard error from")
    error = scores[:, best].std(ddof=1) / np.sqrt(len(scores))
    near = np.flatnonzero(scores.mean(axis=0) >= scores[:, best].mean() - error)
    return int(near[np.asarray(Cs)[near].argmin()])
