"""What a fitted linear classifier says of new rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ..losses import log_softmax
from ._mixins import Exports


class LinearPredictions(Exports):
    """Predictions from ``coef_``, ``intercept_`` and ``classes_``."""

    classes_: Any
    coef_: Any
    intercept_: Any
    n_features_in_: int

    def decision_function(self, X: Any) -> Any:
        """Logits: (N,) of the second class for two classes, else (N, K)."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores = safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_
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

    def sparsify(self) -> Any:
        """Keep ``coef_`` as a CSR matrix: smaller where an L1 penalty made most of it zero. Returns the model."""
        check_is_fitted(self)
        self.coef_ = sparse.csr_matrix(self.coef_)
        return self

    def densify(self) -> Any:
        """Keep ``coef_`` as an array again. Returns the model."""
        check_is_fitted(self)
        if sparse.issparse(self.coef_):
            self.coef_ = self.coef_.toarray()
        return self

    def _check_fitted(self) -> None:
        """Raise where the fitted attributes do not fit together, as those of a file may."""
        D, K = self.n_features_in_, len(self.classes_)
        V = 1 if K == 2 else K
        if self.coef_.shape != (V, D) or self.intercept_.shape != (V,):
            raise ValueError(
                f"coef_ {self.coef_.shape} and intercept_ {self.intercept_.shape} where {K} classes and {D} features "
                f"make {(V, D)} and {(V,)}"
            )
        values = self.coef_.data if sparse.issparse(self.coef_) else self.coef_
        if not (np.isfinite(values).all() and np.isfinite(self.intercept_).all()):
            raise ValueError("a coefficient is not finite")
