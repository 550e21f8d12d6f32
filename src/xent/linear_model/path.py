"""Regularisation paths: the minimum for many C in one call, each certified."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ..solvers import Solution
from ._array_api import as_numpy
from ._options import RULES, Penalty, penalty_of
from ._solve import Task, no_minimum, solve, solve_path
from .logistic import LogisticRegression

# C of a path of L2 penalties, as `LogisticRegressionCV` has them, when only their number is given.
RANGE = (1e-4, 1e4)
# With an L1 penalty: from the largest C at which every weight is zero to this many times it.
L1_RANGE = 1e3


@dataclass(frozen=True, eq=False)
class LogisticPath:
    """The minima along a path of penalties.

    Attributes
    ----------
    Cs : float64 array (n,)
        In the order that was asked for; made ones rise.
    coefs : float64 array (n, K, D), or (n, 1, D) for two classes
    intercepts : float64 array (n, K) or (n, 1)
    convergence : float64 array (n,)
        The certificate of each point: what ``tol`` is compared with, as `LogisticRegression.convergence_`. Many
        classes and large X are passed over in float32: their rounding, as measured on some of the rows, is part of it.
    objectives : float64 array (n,)
        The minima, in nats.
    dual_gaps : float64 array (n,) or None
        With an L1 penalty: no coefficients have an objective lower by more than this, in nats.
    n_iter, n_evals : int arrays (n,)
        Iterations, and passes over the data for the gradient.
    classes : array (K,)
    l1_ratio : float
    """

    Cs: Any
    coefs: Any
    intercepts: Any
    convergence: Any
    objectives: Any
    dual_gaps: Any
    n_iter: Any
    n_evals: Any
    classes: Any
    l1_ratio: float
    _template: LogisticRegression

    def model(self, i: int) -> LogisticRegression:
        """The i-th point as a fitted `LogisticRegression`."""
        made, fitted = LogisticRegression(**self._template.get_params()), self._template
        made.set_params(C=float(self.Cs[i]))
        for name in ("classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(fitted, name):
                setattr(made, name, getattr(fitted, name))
        made.coef_, made.intercept_ = self.coefs[i].copy(), self.intercepts[i].copy()
        made.convergence_, made.objective_ = float(self.convergence[i]), float(self.objectives[i])
        made.dual_gap_ = None if self.dual_gaps is None else float(self.dual_gaps[i])
        made.n_iter_ = np.array([self.n_iter[i]], np.int32)
        return made


def logistic_path(
    X: Any,
    y: Any,
    *,
    Cs: Any = 100,
    l1_ratio: float = 0.0,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    class_weight: Any = None,
    tol: float = 1e-5,
    max_iter: int = 1000,
    offset: Any = None,
    penalty_factor: Any = None,
    group_lasso: bool = False,
    bounds: Any = None,
) -> LogisticPath:
    """Fit logistic or softmax regression for many penalties, from the strongest on, each from those before.

    Each point is the minimum that `LogisticRegression` finds for this C, to the same certificate. With an L2 penalty
    the Gram matrix, or one for each class, the curvature that L-BFGS has seen and the gradient are kept along the path,
    and the next point is told from those before, so that many points take a pass or two over the data. With an L1
    penalty prox-Newton starts from the last point, and with two classes and dense X reads no column of which a bound
    shows that its weight stays at zero; with bounds of the weights L-BFGS-B starts from there.

    Parameters
    ----------
    X : array, data frame or CSR matrix (N, D)
        Arrays on an accelerator are copied to the CPU's memory, where the path is fitted.
    y : array (N,)
        At least two different labels.
    Cs : int or sequence of floats, default 100
        Inverse strengths of the penalty, ``np.inf`` for none; a whole number n stands for n of them, evenly on a log
        scale: with an L2 penalty from 1e-4 to 1e4, else from the largest C at which all weights are zero to 1000
        times that.
    l1_ratio : float from 0 to 1, default 0.0
        Share of the L1 penalty.
    sample_weight, fit_intercept, class_weight, tol, max_iter, offset, penalty_factor, group_lasso, bounds
        As in `LogisticRegression`; `max_iter` is for each point.

    Returns
    -------
    LogisticPath

    Raises
    ------
    ValueError
        For parameters or data that `LogisticRegression` refuses.

    Warns
    -----
    ConvergenceWarning
        Once, when points did not reach ``tol``: how many, and the worst of them. Once, when there is no minimum: at
        ``C=np.inf``, where the fit tells all classes apart.

    References
    ----------
    J. Friedman, T. Hastie & R. Tibshirani, "Regularization paths for generalized linear models via coordinate
    descent", JSS 33(1), 2010 (warm starts along the path).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> path = logistic_path(X, y, Cs=[0.01, 1.0, 100.0])
    >>> path.coefs.shape, bool((path.convergence <= 1e-5).all()), bool((np.diff(path.objectives) < 0).all())
    ((3, 3, 4), True, True)
    >>> round(path.model(1).score(X, y), 2)
    0.97
    """
    template = LogisticRegression(
        l1_ratio=l1_ratio,
        fit_intercept=fit_intercept,
        class_weight=class_weight,
        tol=tol,
        max_iter=max_iter,
        penalty_factor=penalty_factor,
        group_lasso=group_lasso,
        bounds=bounds,
    )
    task, _ = template._task(*as_numpy(X, y, sample_weight, offset))
    values = _values(Cs, task, l1_ratio)
    order = np.argsort(values, kind="stable")
    ordered = solve_path(task, [penalty_of(values[i], l1_ratio) for i in order])
    found = [ordered[i] for i in np.argsort(order)]
    _warn(found, values, task, template)
    return _result(found, values, task, template)


def _values(Cs: Any, task: Task, l1_ratio: float) -> Any:
    """The values of C, checked."""
    if not RULES["Cs"][0](Cs):
        raise ValueError(f"Cs must be {RULES['Cs'][1]}, not {Cs!r}")
    if isinstance(Cs, Integral):
        if l1_ratio == 0:
            return np.geomspace(*RANGE, int(Cs))
        return largest_empty(task, l1_ratio) * np.logspace(0, np.log10(L1_RANGE), int(Cs))
    values = np.asarray(Cs, np.float64)
    if values.ndim != 1 or not (values > 0).all():
        raise ValueError(f"Cs must be {RULES['Cs'][1]}, not {Cs!r}")
    return values


def largest_empty(task: Task, l1_ratio: float) -> float:
    """The largest C at which all weights are zero: where the L1 penalty balances the slope of the empty model."""
    total = task.X.shape[0] if task.weight is None else float(task.weight.sum())
    factor = np.ones(task.X.shape[1]) if task.factor is None else task.factor
    # all penalised weights held at zero by a penalty that nothing outweighs; the others are fitted
    held = replace(task, penalty=Penalty("l1", 1e-12, 1.0))
    f = replace(task, penalty=Penalty(None, np.inf, 0.0)).objective(np.float64)
    empty = solve(held, np.zeros(f.shape)).x
    _, slope = f.value_and_grad(empty.ravel())
    slopes = np.abs(slope.reshape(f.shape)[:, : task.X.shape[1]])[:, factor > 0]
    if task.grouped:
        slopes = np.linalg.norm(slopes, axis=0)
    steepest = float((slopes / factor[factor > 0]).max(initial=0))
    return l1_ratio / (max(steepest, 1e-300) * total)


def _warn(found: Sequence[Solution], values: Any, task: Task, template: LogisticRegression) -> None:
    for C, s in zip(values, found, strict=True):
        text = no_minimum(s, replace(task, penalty=penalty_of(C, template.l1_ratio))) if s.converged else ""
        if text:
            warnings.warn(f"logistic_path at C={C:g}: {text}", ConvergenceWarning, stacklevel=3)
            break
    failed = [i for i, s in enumerate(found) if not s.converged]
    if not failed:
        return
    worst = max(failed, key=lambda i: found[i].convergence)
    warnings.warn(
        f"logistic_path: {len(failed)} of {len(found)} points did not converge, the worst at C={values[worst]:g}: "
        f"{found[worst].convergence:.2g}, above tol={template.tol:g}, after {found[worst].n_iter} iterations "
        f"({found[worst].message}). Increase max_iter={template.max_iter} or tol, or leave out the largest C.",
        ConvergenceWarning,
        stacklevel=3,
    )


def _result(found: Sequence[Solution], values: Any, task: Task, template: LogisticRegression) -> LogisticPath:
    D = task.X.shape[1]
    theta = np.array([s.x.reshape(-1, D + task.fit_intercept) for s in found])
    each = {name: np.array([getattr(s, name) for s in found]) for name in ("convergence", "value", "n_iter", "n_eval")}
    return LogisticPath(
        values,
        np.ascontiguousarray(theta[..., :D]),
        theta[..., D].copy() if task.fit_intercept else np.zeros(theta.shape[:2]),
        each["convergence"],
        each["value"],
        np.array([np.nan if s.gap is None else s.gap for s in found]) if task.penalty.l1_ratio else None,
        each["n_iter"],
        each["n_eval"],
        template.classes_,
        float(template.l1_ratio),
        template,
    )
