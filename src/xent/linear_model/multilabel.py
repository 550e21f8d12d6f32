"""Many yes-or-no labels of the same rows: logistic regressions that share their passes over the data."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import sparse, special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from ._inputs import kept, row_weights
from ._mixins import Exports
from ._smooth import Features, check_positive, largest_entry, minimize


class MultiLabelClassifier(Exports, ClassifierMixin, BaseEstimator):
    """Logistic regression of each of L labels, all fitted at once: a pass over X serves every label.

    For each label it minimises ``mean_i w_i ce_i + |coef_l|_2^2 / (2 C sum_i w_i)``, as `LogisticRegression` does: the
    coefficients are those of L separate fits.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; ``np.inf`` for none.
    fit_intercept : bool, default True
    tol : float, default 1e-5
        Stop when the largest entry of the gradient of every label, and its length in whitened coordinates over all
        labels, are at most this.
    max_iter : int, default 1000

    Attributes
    ----------
    classes_ : int array (L,), the numbers of the labels; or the two classes (2,), where y was (N,)
    coef_ : array (L, D)
    intercept_ : array (L,)
        Infinite for a label that no row has, or every row: its probability is 0 or 1.
    n_iter_ : int
    convergence_ : float
    objective_ : float
        The sum over labels, in nats.

    Warns
    -----
    ConvergenceWarning
        When `tol` was not reached.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    >>> model = MultiLabelClassifier(C=100).fit(X, X.astype(int))
    >>> model.predict([[0.0, 1.0], [1.0, 1.0]]).tolist()
    [[0, 1], [1, 1]]
    """

    _export_kind = "labels"

    def __init__(self, *, C: float = 1.0, fit_intercept: bool = True, tol: float = 1e-5, max_iter: int = 1000) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_iter = max_iter

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.multi_label = True
        tags.classifier_tags.multi_class = False
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MultiLabelClassifier:
        """Fit to features X (N, D), dense or sparse, and labels y.

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, D)
        y : array or sparse matrix (N, L) of 0 and 1, or array (N,) of two classes
        sample_weight : array (N,), optional
            Not negative; 0 leaves a row out.

        Returns
        -------
        self
        """
        check_positive(self, C=(0, False), tol=(0, True), max_iter=(0, True))
        given = y.toarray() if sparse.issparse(y) else y
        options = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}
        X, given = validate_data(self, X, given, multi_output=True, **options)
        weight = row_weights(sample_weight, X.shape[0])
        X, given, weight = kept(X, given, weight)
        self.classes_, Y = _indicators(given)
        weight = np.ones(len(Y)) if weight is None else weight
        problem = _Problem(X, Y, weight, float(self.C), bool(self.fit_intercept))
        found = minimize(self, problem, problem.start(), short=X.shape[1] ** 2 * Y.shape[1] < 2e7)
        W = problem.whole(found.x).astype(X.dtype)
        self.coef_ = np.ascontiguousarray(W[:, : X.shape[1]])
        self.intercept_ = W[:, -1].copy() if self.fit_intercept else np.zeros(len(W), X.dtype)
        if problem.constant.any():
            each = np.flatnonzero(problem.constant)
            self.intercept_[each] = np.where(Y[0, each] == 1, np.inf, -np.inf)
            warnings.warn(
                f"label {each[0]} ({len(each)} in all) is the same in every row: its probability is 0 or 1",
                stacklevel=2,
            )
        return self

    def decision_function(self, X: Any) -> Any:
        """Log-odds of the labels, (N, L); (N,) where y was."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        z = X @ self.coef_.T + self.intercept_
        return z[:, 0] if self._one else z

    def predict(self, X: Any) -> Any:
        """Labels, (N, L) of 0 and 1: those with a probability above a half; or classes (N,)."""
        yes = (self.decision_function(X) > 0).astype(int)
        return self.classes_[yes] if self._one else yes

    def predict_proba(self, X: Any) -> Any:
        """The probability of each label, (N, L); or of the two classes, (N, 2)."""
        z = self.decision_function(X)
        return special.expit(np.column_stack([-z, z]) if self._one else z)

    @property
    def _one(self) -> bool:
        return len(self.classes_) != len(self.coef_)

    def _check_fitted(self) -> None:
        L = self.coef_.shape[0]
        if self.coef_.shape != (L, self.n_features_in_) or self.intercept_.shape != (L,):
            raise ValueError(f"coef_ {self.coef_.shape} and intercept_ {self.intercept_.shape} do not fit together")
        if not (np.isfinite(self.coef_).all() and not np.isnan(self.intercept_).any()):
            raise ValueError("a coefficient is not finite")
        if len(self.classes_) != L and (len(self.classes_), L) != (2, 1):
            raise ValueError(f"{len(self.classes_)} classes and {L} labels")


def _indicators(y: Any) -> tuple[Any, Any]:
    """The classes, and labels (N, L) of 0 and 1 in float64."""
    kind = type_of_target(y, input_name="y")
    if y.ndim == 1 or y.shape[1] == 1:
        flat = np.ravel(y)
        classes, label = np.unique(flat, return_inverse=True)
        if y.ndim == 1 and (kind not in ("binary", "multiclass") or len(classes) > 2):
            raise ValueError(
                f"Unknown label type: {kind}. y (N,) must hold two classes, or be (N, L) of 0 and 1. Only binary "
                f"classification is supported. The type of the target is {kind}. For classes that exclude each other "
                "use LogisticRegression"
            )
        if y.ndim == 1:
            if len(classes) < 2:
                raise ValueError(f"fitting needs 2 classes, but y holds only one class, {classes[0]!r}")
            return classes, label[:, None].astype(np.float64)
    values = np.unique(y)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"y (N, L) must hold 0 and 1, but it holds {values[~np.isin(values, (0, 1))].tolist()[0]!r}")
    return np.arange(y.shape[1]), y.astype(np.float64)


class _Problem:
    """The sum of the labels' objectives, in coordinates whitened by the Hessian at the labels' shares."""

    def __init__(self, X: Any, Y: Any, weight: Any, C: float, fit_intercept: bool) -> None:
        total = float(weight.sum())
        self.constant = (Y[0] == Y).all(axis=0)  # their minimum is at infinity: no part of the problem
        self.features, self.Y = Features(X, fit_intercept), Y[:, ~self.constant]
        self.weight, self.l2 = weight / total, 0.0 if np.isinf(C) else 1 / (C * total)
        self.space = self.features.coordinates(self.weight, self.l2)
        self.share = self.weight @ self.Y
        # the curvature p (1 - p) of each label over the 1/4 of the coordinates
        self.root = np.sqrt(4 * self.share * (1 - self.share))[:, None]
        self.shape = (self.Y.shape[1], self.features.width)
        self.largest = np.inf

    def start(self) -> Any:
        """No features: the intercepts are the log-odds of the shares."""
        W = np.zeros(self.shape)
        if self.features.fit_intercept:
            W[:, -1] = special.logit(self.share)
        return W

    def whole(self, W: Any) -> Any:
        """With rows of zeros for the constant labels."""
        out = np.zeros((len(self.constant), self.shape[1]))
        out[~self.constant] = W.reshape(self.shape)
        return out

    def to_parameters(self, v: Any) -> Any:
        return self.space.to_parameters(v.reshape(self.shape) / self.root)

    def to_coordinates(self, theta: Any) -> Any:
        return np.ravel(self.space.to_coordinates(theta.reshape(self.shape)) * self.root)

    def value_and_grad(self, v: Any) -> tuple[float, Any]:
        W = self.to_parameters(v)
        z = self.features.logits(W)
        # softplus(z) - y z, without the cancellation at confident rows
        sign = np.where(self.Y == 1, -1.0, 1.0)
        value = float(self.weight @ np.logaddexp(0, sign * z).sum(axis=1))
        r = sign * special.expit(sign * z) * self.weight[:, None]
        g = self.features.pull_back(r)
        D = self.features.X.shape[1]
        g[:, :D] += self.l2 * W[:, :D]
        self.largest = largest_entry(g, self.space.sizes)
        return value + 0.5 * self.l2 * float((W[:, :D] ** 2).sum()), np.ravel(self.space.pull_back(g) / self.root)
