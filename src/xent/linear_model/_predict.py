"""What a fitted linear classifier says of new rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import check_is_fitted, validate_data

from ..losses import log_softmax
from ._array_api import as_numpy, check_home, dispatched
from ._inputs import logit_offset
from ._mixins import Exports

# Logits that are held at once where only the largest of each row is asked for.
MOST_LOGITS = 2**22


def log_probabilities(z: Any) -> Any:
    """`log_softmax` of logits (N, K), or of 0 and z (N,) in the same operations, (N, 2)."""
    if z.ndim == 2:
        return log_softmax(z)
    top = np.log1p(np.exp(-np.abs(z)))
    return np.column_stack([np.minimum(-z, 0) - top, np.minimum(z, 0) - top])


class LinearPredictions(Exports):
    """Predictions from ``coef_``, ``intercept_`` and ``classes_``."""

    classes_: Any
    coef_: Any
    intercept_: Any
    n_features_in_: int

    def decision_function(self, X: Any, offset: Any = None) -> Any:
        """Logits: (N,) of the second class for two classes, else (N, K); an offset of that shape is added."""
        check_is_fitted(self)
        place = check_home(self, X, "decision_function")
        X, offset, coef, b = as_numpy(X, offset, self.coef_, self.intercept_)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        scores = safe_sparse_dot(X, coef.T, dense_output=True) + b
        if offset is not None:
            scores = scores + logit_offset(offset, X.shape[0], len(self.classes_))
        scores = scores[:, 0] if scores.shape[1] == 1 else scores
        return scores if place is None else place.asarray(scores)

    def _scores(self, X: Any, offset: Any, method: str) -> tuple[Any, Any]:
        """Logits as NumPy's, and where the method's result goes."""
        check_is_fitted(self)
        place = check_home(self, X, method)
        z = self.decision_function(X, offset) if offset is not None else self.decision_function(X)
        return as_numpy(z)[0], place

    def predict(self, X: Any, offset: Any = None) -> Any:
        """The most probable class of each row, (N,)."""
        check_is_fitted(self)
        K, own = self.classes_.shape[0], type(self).decision_function is LinearPredictions.decision_function
        if offset is None and own and K > 2 and not dispatched():
            return as_numpy(self.classes_)[0][self._largest(X, max(1, MOST_LOGITS // K))]
        (scores, place), (classes,) = self._scores(X, offset, "predict"), as_numpy(self.classes_)
        best = classes[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)]
        return best if place is None else place.asarray(best)

    def _largest(self, X: Any, step: int) -> Any:
        """The place of each row's largest logit, (N,), of which those of `step` rows are made at a time."""
        X, coef, b = as_numpy(X, self.coef_, self.intercept_)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        parts = [X] if X.shape[0] <= step else [X[i : i + step] for i in range(0, X.shape[0], step)]
        return np.concatenate([(safe_sparse_dot(p, coef.T, dense_output=True) + b).argmax(axis=1) for p in parts])

    def predict_log_proba(self, X: Any, offset: Any = None) -> Any:
        """Logarithms of the probabilities, (N, K), exact where the probabilities round to 0 or 1."""
        z, place = self._scores(X, offset, "predict_log_proba")
        found = log_probabilities(z)
        return found if place is None else place.asarray(found)

    def predict_proba(self, X: Any, offset: Any = None) -> Any:
        """Probabilities of the classes, (N, K)."""
        place = check_home(self, X, "predict_proba") if hasattr(self, "coef_") else None
        found = self.predict_log_proba(X, offset) if offset is not None else self.predict_log_proba(X)
        found = np.exp(as_numpy(found)[0])
        return found if place is None else place.asarray(found)

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


class ScoredPredictions(LinearPredictions):
    """The same, scored by its accuracy."""

    def score(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> float:
        """The share of rows X (N, D) whose class is y (N,), each with its weight (N,); an offset as for `predict`."""
        from sklearn.metrics import accuracy_score

        predicted = self.predict(X) if offset is None else self.predict(X, offset)
        return float(accuracy_score(y, predicted, sample_weight=sample_weight))
