"""Logistic and softmax regression."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import ThreadpoolController

from ..losses import log_softmax
from ..objective import SoftmaxObjective
from ..solvers import Solution, lbfgs

# How far float32 passes are trusted, in the units of `tol`.
ROUGH = 1e-3
# Multiplications of a change of coordinates that are not worth a second BLAS thread.
SHORT_SOLVE = 2e7


class LogisticRegression(ClassifierMixin, BaseEstimator):
    """Logistic regression for two classes, softmax regression for more, with an L2 penalty or none.

    Minimises ``mean_i w_i ce_i + ||coef||^2 / (2 C sum_i w_i)``, which has the minimum of scikit-learn's objective for
    the same ``C``; the intercept is not penalised. Solved by L-BFGS in coordinates whitened by the Hessian at zero, so
    that unscaled and correlated features cost no more passes over the data than round ones.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; ``np.inf`` for none.
    fit_intercept : bool, default True
    class_weight : dict, "balanced" or None
        Weights of the classes, multiplied with ``sample_weight``.
    tol : float, default 1e-5
        Stop when the largest entry of the gradient (over the feature's size, where that is far above one), and its
        length in whitened coordinates, are at most this. With two classes the objective is then about ``tol**2 / 2``
        nats above its minimum; with more it is further above where the classes curve differently and no penalty holds
        them (8e-7 nats for iris with ``C=np.inf``).
    max_iter : int, default 1000
        Most iterations of the solver.
    warm_start : bool, default False
        Start the next fit from this one's coefficients.

    Attributes
    ----------
    classes_ : array (K,)
    coef_ : array (K, D), or (1, D) for two classes
        In the dtype of X.
    intercept_ : array (K,) or (1,)
    n_iter_ : int array (1,)
        Iterations of the solver.
    convergence_ : float
        What ``tol`` is compared with, at the solution.
    objective_ : float
        The minimum, in nats.
    n_features_in_, feature_names_in_
        As scikit-learn sets them.

    Warns
    -----
    ConvergenceWarning
        When ``tol`` was not reached; the message says by how much, and what to change.

    See Also
    --------
    xent.linear_cross_entropy : the loss that is minimised.

    References
    ----------
    D. R. Cox, "The Regression Analysis of Binary Sequences", JRSS B 20, 1958. D. Böhning, "Multinomial logistic
    regression algorithm", AISM 44, 1992 (the bound on the Hessian that the coordinates use).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> model.coef_.shape, round(model.score(X, y), 2)
    ((3, 4), 0.97)
    """

    def __init__(
        self,
        C: float = 1.0,
        *,
        fit_intercept: bool = True,
        class_weight: Any = None,
        tol: float = 1e-5,
        max_iter: int = 1000,
        warm_start: bool = False,
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    classes_: Any
    coef_: Any
    intercept_: Any

    def _check_parameters(self) -> None:
        checks = {
            "C": (self.C, Real, lambda v: v > 0, "a number above 0, or np.inf for no penalty"),
            "tol": (self.tol, Real, lambda v: 0 < v < np.inf, "a number above 0"),
            "max_iter": (self.max_iter, Integral, lambda v: v >= 0, "a whole number from 0"),
        }
        for name, (value, kind, holds, wanted) in checks.items():
            if isinstance(value, bool) or not isinstance(value, kind) or not holds(value):
                raise ValueError(f"{name} must be {wanted}, not {value!r}")

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticRegression:
        """Fit to features X (N, D), dense or sparse, and labels y (N,).

        Parameters
        ----------
        X : array or sparse matrix (N, D)
            float32 and float64 are used as they are, other dtypes become float64.
        y : array (N,)
            At least two different labels, of any kind.
        sample_weight : array (N,), optional
            Not negative; 0 leaves a row out.

        Returns
        -------
        self
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        weight = _row_weights(sample_weight, X.shape[0])
        X, y, weight = _kept(X, y, weight)
        self.classes_, label = np.unique(y, return_inverse=True)
        K = len(self.classes_)
        if K < 2:
            only = f"only one class, {self.classes_[0]}" if K else "none"
            raise ValueError(f"fitting needs at least 2 classes, but the data hold {only}")
        if self.class_weight is not None:
            each = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weight)
            weight = _row_weights(each[label] * (1.0 if weight is None else weight), len(label), "class_weight")
            X, label, weight = _kept(X, label, weight)
        total = float(X.shape[0] if weight is None else weight.sum())
        l2 = 1 / max(float(self.C) * total, 1e-300)  # finite; beyond 1e300 no number tells the fits apart
        # BLAS serves only short solves between passes here; its threads would spin against the kernels' own
        short = (X.shape[1] + 1) ** 2 * K < SHORT_SOLVE
        with _one_blas_thread() if short else contextlib.nullcontext():
            self._solve(X, label, K, weight=weight, l2=l2, fit_intercept=bool(self.fit_intercept))
        return self

    def _solve(self, X: Any, label: Any, K: int, **options: Any) -> None:
        objective = SoftmaxObjective(X, label, K, **options)
        theta, n_iter = self._start(objective), 0
        if X.dtype == np.float32 and self.tol < ROUGH:
            # float32 passes are twice as fast and end in their own noise: float64 ones take the last steps
            rough = lbfgs(objective.preconditioned(theta), theta, tol=ROUGH, max_iter=self.max_iter)
            theta, n_iter = rough.x, rough.n_iter
            objective = SoftmaxObjective(X, label, K, dtype=np.float64, **options)
        start = objective.preconditioned(theta if theta.any() else None)
        found = lbfgs(start, theta, tol=self.tol, max_iter=self.max_iter - n_iter)
        W, b = objective.split(found.x)
        self.coef_ = np.ascontiguousarray(W, X.dtype)
        self.intercept_ = np.zeros(objective.vectors, X.dtype) if b is None else b.astype(X.dtype)
        self.n_iter_ = np.array([n_iter + found.n_iter], np.int32)
        self.convergence_, self.objective_ = found.convergence, found.value
        if not found.converged:
            warnings.warn(_advice(found, self), ConvergenceWarning, stacklevel=3)

    def _start(self, objective: SoftmaxObjective) -> Any:
        """Zeros, or with ``warm_start`` the coefficients of the last fit where their shape is the same."""
        theta = np.zeros(objective.shape)
        D = objective.X.shape[1]
        if self.warm_start and getattr(self, "coef_", np.empty(0)).shape == (objective.vectors, D):
            theta[:, :D] = self.coef_
            if self.fit_intercept:
                theta[:, D] = self.intercept_
        return theta

    def decision_function(self, X: Any) -> Any:
        """Logits: (N,) of the second class for two classes, else (N, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if scores.shape[1] == 1 else scores

    def predict(self, X: Any) -> Any:
        """The most probable class of each row, (N,)."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities, (N, K), exact where the probabilities round to 0 or 1."""
        z = self.decision_function(X)
        return log_softmax(z if z.ndim == 2 else np.column_stack([np.zeros_like(z), z]))

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the classes, (N, K)."""
        return np.exp(self.predict_log_proba(X))


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looking for the loaded libraries takes milliseconds: once is enough


_limit_lock = threading.Lock()
_limit: Any = None
_fits = 0  # that are under the limit now


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """One BLAS thread for the process, until the last of the fits that run side by side has ended: each restoring what
    it found would leave the limit of another behind for good.
    """
    global _limit, _fits
    with _limit_lock:
        if _fits == 0:
            _limit = _blas().limit(limits=1, user_api="blas")
        _fits += 1
    try:
        yield
    finally:
        with _limit_lock:
            _fits -= 1
            if _fits == 0:
                _limit.restore_original_limits()


def _row_weights(given: Any, N: int, name: str = "sample_weight") -> Any:
    if given is None:
        return None
    weight = np.asarray(given, np.float64)
    if weight.ndim == 0:
        weight = np.full(N, float(weight))
    if weight.shape != (N,):
        raise ValueError(f"{name} has the shape {weight.shape}; X has {N} rows, so it must be ({N},)")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(f"{name} must be finite and not negative")
    if weight.max() > np.finfo(np.float64).max / N:
        raise ValueError(f"the sum of {name} overflows: divide the weights by their largest")
    if not weight.any():
        raise ValueError(f"{name} is zero for every row: no class is left to fit")
    return weight


def _kept(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Without the rows of weight 0, so that leaving a row out and giving it no weight are one thing."""
    if weight is None or weight.all():
        return X, y, weight
    kept = np.flatnonzero(weight)
    return X[kept], y[kept], weight[kept]


def _advice(found: Solution, model: LogisticRegression) -> str:
    text = (
        f"the solver stopped after {model.n_iter_[0]} iterations with a gradient of {found.convergence:.2g}, "
        f"above tol={model.tol:g} ({found.message})."
    )
    if model.n_iter_[0] >= model.max_iter:
        return text + " Increase max_iter."
    return text + " That is as far as rounding allows here: a larger tol, or a smaller C where classes are separable."
