"""The fit whose coefficients an estimator holds, as a task on its rows: for what is measured of it afterwards."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from ._solve import Task
from .logistic import LogisticRegression


def fitted(estimator: Any, X: Any, y: Any, sample_weight: Any, offset: Any) -> tuple[Task, Any, Any]:
    """What a fitted estimator minimised on these rows, its parameters float64 (V, D [+ 1]), and its class weights.

    Everything is in NumPy's arrays.

    Raises
    ------
    ValueError
        When y holds other classes than the estimator's, or its coefficients are the minimum of no one objective.
    """
    check_is_fitted(estimator, "coef_")
    model = _one_fit(estimator)
    if model.early_stopping:
        raise ValueError("the fit was stopped early, so it is no minimum of these rows: set early_stopping=False")
    task, _ = model._task(X, y, sample_weight, offset)
    if not np.array_equal(model.classes_, estimator.classes_):
        raise ValueError(f"the estimator was fitted to the classes {estimator.classes_}, but y holds {model.classes_}")
    coef = estimator.coef_.toarray() if hasattr(estimator.coef_, "toarray") else estimator.coef_
    theta = np.column_stack([coef, estimator.intercept_][: 1 + task.fit_intercept]).astype(np.float64)
    return task, theta, model.class_weight


def _one_fit(estimator: Any) -> LogisticRegression:
    """The parameters of the fit whose coefficients an estimator holds."""
    names = inspect.signature(LogisticRegression).parameters
    given = {k: v for k, v in estimator.get_params(deep=False).items() if k in names and k != "n_jobs"}
    if hasattr(estimator, "C_"):  # chosen by cross-validation; legacy: one for each class, all equal
        if not estimator.refit:
            raise ValueError(
                "refit=False averages fits: those coefficients are no minimum that rows could be left out of"
            )
        ratio = np.ravel(estimator.l1_ratio_)[0]
        given.update(C=float(np.ravel(estimator.C_)[0]), l1_ratio=float(ratio or 0.0), penalty="deprecated")
    return LogisticRegression(**given)
