"""Regression of ordered labels: one score, cut at thresholds."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy import special
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..functional.ordinal import ordinal_cross_entropy, read_ordinal
from ._inputs import kept, row_weights
from ._mixins import Graphs
from ._smooth import Features, check_positive, largest_entry, minimize

# F's inverse, for the thresholds of no features.
_INVERSE = {"logit": special.logit, "probit": special.ndtri, "cloglog": lambda p: np.log(-np.log1p(-p))}


class OrdinalClassifier(Graphs, ClassifierMixin, BaseEstimator):
    """Ordinal regression: ``P(label <= k) = F(theta_k - x . coef)``, one score for all thresholds.

    It minimises ``mean_i w_i ce_i + |coef|_2^2 / (2 C sum_i w_i)``, where ce is `xent.ordinal_cross_entropy`, a
    convex function. The thresholds increase by their parametrisation: the first one and the logarithms of the gaps.

    Parameters
    ----------
    C : float, default 1.0
        Inverse strength of the penalty; ``np.inf`` for none.
    link : "logit", "probit" or "cloglog"
        F: proportional odds, the normal distribution, or proportional hazards.
    categories : sequence, optional
        The labels from the lowest to the highest. By default the order of an ordered categorical (pandas), of an Enum
        (polars), or that of `numpy.unique`; for text this is the alphabet's, which a warning spells out.
    tol : float, default 1e-6
        Stop when the largest entry of the gradient in coefficients and thresholds, and its length in whitened
        coordinates, are at most this.
    max_iter : int, default 1000

    Attributes
    ----------
    classes_ : array (K,)
        From the lowest.
    coef_ : array (D,)
        The score's change with each feature: positive where a larger feature means a higher label.
    thresholds_ : array (K - 1,)
        Increasing.
    n_iter_ : int
    convergence_ : float
        What `tol` is compared with, at the solution.
    objective_ : float
        The minimum, in nats.

    Warns
    -----
    ConvergenceWarning
        When `tol` was not reached.
    UserWarning
        When more than two labels of text are put into the order of the alphabet.

    References
    ----------
    McCullagh, "Regression Models for Ordinal Data", JRSS B 42, 1980. Burridge, "A note on maximum likelihood
    estimation for regression models using grouped data", JRSS B 43, 1981 (convexity).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]])
    >>> model = OrdinalClassifier(categories=["low", "mid", "high"])
    >>> model.fit(X, ["low", "low", "mid", "mid", "high", "high"]).predict([[0.0], [9.0]]).tolist()
    ['low', 'high']
    >>> bool(model.coef_[0] > 0)
    True
    """

    _export_kind = "ordinal"

    def __init__(
        self, *, C: float = 1.0, link: str = "logit", categories: Any = None, tol: float = 1e-6, max_iter: int = 1000
    ) -> None:
        self.C = C
        self.link = link
        self.categories = categories
        self.tol = tol
        self.max_iter = max_iter

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.classifier_tags.poor_score = True  # on classes in no order, such as those of scikit-learn's checks
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> OrdinalClassifier:
        """Fit to features X (N, D), dense or sparse, and labels y (N,).

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, D)
        y : array (N,)
        sample_weight : array (N,), optional
            Not negative; 0 leaves a row out.

        Returns
        -------
        self
        """
        check_positive(self, C=(0, False), tol=(0, True), max_iter=(0, True))
        if self.link not in _INVERSE:
            raise ValueError(f"link must be one of {', '.join(_INVERSE)}, not {self.link!r}")
        own = order_of(y)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        X, y, weight = kept(X, y, row_weights(sample_weight, X.shape[0]))
        if self.categories is None and own is not None:  # of which some may have no row
            own = [c for c in own if c in set(y.tolist())]
        self.classes_, label = _ordered(y, own if self.categories is None else self.categories)
        weight = np.ones(len(label)) if weight is None else weight
        problem = _Problem(X, label, len(self.classes_), weight, self.link, float(self.C))
        found = minimize(self, problem, problem.start(), short=X.shape[1] < 1000)
        w, theta = problem.split(found.x)
        self.coef_, self.thresholds_ = w.astype(X.dtype), theta.astype(X.dtype)
        return self

    def latent(self, X: Any) -> Any:
        """The score of each row, ``X coef``, (N,), in the units of the thresholds."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return X @ self.coef_

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities, (N, K), exact in the tails."""
        score, K = self.latent(X), len(self.classes_)
        out = np.empty((len(score), K), score.dtype)
        for k in range(K):
            label = np.full(len(score), k)
            with np.errstate(over="ignore"):  # -inf where float32 ends
                out[:, k] = -ordinal_cross_entropy(score, self.thresholds_, label, link=self.link, reduction="none")
        return out

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of the labels, (N, K)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Any:
        """The most probable label of each row, (N,)."""
        log_p = self.predict_log_proba(X)
        return self.classes_[log_p.argmax(axis=1)]

    def to_torch(self) -> Any:
        """A PyTorch module whose outputs are `latent`'s scores, for `xent.ordinal_cross_entropy`.

        Returns
        -------
        torch.nn.Module
            With the parameters `coef` (D,) and `thresholds` (K - 1,), copies on the CPU, and the method `log_proba`.

        Raises
        ------
        ImportError
            Without PyTorch.
        """
        from ._export import to_torch

        return to_torch(self)

    def _check_fitted(self) -> None:
        shapes = self.coef_.shape, self.thresholds_.shape
        if shapes != ((self.n_features_in_,), (len(self.classes_) - 1,)):
            raise ValueError(f"coef_ and thresholds_ have the shapes {shapes}")
        if not (np.isfinite(self.coef_).all() and np.isfinite(self.thresholds_).all()):
            raise ValueError("a coefficient is not finite")


def order_of(y: Any) -> list[Any] | None:
    """The labels in the order that their type gives them: an ordered categorical of pandas, an Enum of polars."""
    kind = getattr(y, "dtype", None)
    categories = getattr(kind, "categories", None)
    if categories is None or not (getattr(kind, "ordered", None) or type(kind).__name__ == "Enum"):
        return None
    return list(categories.to_list() if hasattr(categories, "to_list") else categories)


def _ordered(y: Any, categories: Any) -> tuple[Any, Any]:
    """The classes in order, and the place of each label among them."""
    present, label = np.unique(y, return_inverse=True)
    if len(present) < 2:
        raise ValueError(f"fitting needs at least 2 classes, but the data hold only one class, {present[0]!r}")
    if categories is None:
        if len(present) > 2 and isinstance(present[0], str):
            warnings.warn(
                f"the labels are text, in the order of the alphabet: {' < '.join(map(repr, present[:4].tolist()))}"
                f"{' < ...' if len(present) > 4 else ''}. Give them from the lowest to the highest: categories=[...]",
                stacklevel=3,
            )
        return present, label
    order = np.asarray(categories)
    place = {c: k for k, c in enumerate(order.tolist())}
    if len(place) != len(order):
        raise ValueError(f"categories hold a label twice: {list(categories)}")
    strange = [c for c in present.tolist() if c not in place]
    if strange:
        raise ValueError(f"y holds {strange[0]!r}, which is none of the categories {list(categories)}")
    missing = [c for c in order.tolist() if c not in set(present.tolist())]
    if missing:
        raise ValueError(f"no row has the label {missing[0]!r} of the categories: its thresholds have no finite place")
    return order, np.array([place[c] for c in present.tolist()])[label]


class _Problem:
    """The objective in (coef, minus the first threshold) whitened, and the logarithms of the gaps."""

    def __init__(self, X: Any, label: Any, K: int, weight: Any, link: str, C: float) -> None:
        total = float(weight.sum())
        self.features, self.label, self.K, self.link = Features(X, True), label, K, link
        self.weight, self.l2 = weight / total, 0.0 if np.isinf(C) else 1 / (C * total)
        self.space = self.features.coordinates(self.weight, self.l2)
        self.largest = np.inf

    def start(self) -> Any:
        """No features: the thresholds are where the labels' shares put them."""
        share = np.cumsum(np.bincount(self.label, weights=self.weight, minlength=self.K))[:-1]
        theta = _INVERSE[self.link](np.clip(share, 1e-12, 1 - 1e-12))
        out = np.zeros(self.features.width + self.K - 2)
        out[self.features.width - 1] = -theta[0]
        out[self.features.width :] = np.log(np.maximum(np.diff(theta), 1e-6))
        return out

    def split(self, parameters: Any) -> tuple[Any, Any]:
        """Coefficients and thresholds."""
        P = self.features.width
        return parameters[: P - 1], -parameters[P - 1] + np.r_[0, np.cumsum(np.exp(parameters[P:]))]

    def to_parameters(self, v: Any) -> Any:
        P = self.features.width
        return np.concatenate([self.space.to_parameters(v[None, :P])[0], v[P:]])

    def to_coordinates(self, theta: Any) -> Any:
        P = self.features.width
        return np.concatenate([np.ravel(self.space.to_coordinates(theta[None, :P])), theta[P:]])

    def value_and_grad(self, v: Any) -> tuple[float, Any]:
        P = self.features.width
        parameters = self.to_parameters(v)
        w, gaps = parameters[: P - 1], np.exp(parameters[P:])
        # the thresholds before the first one is put in its place, which the score's constant does
        theta = np.r_[0, np.cumsum(gaps)]
        if not (np.isfinite(theta).all() and (np.diff(theta) > 0).all()):
            return np.inf, np.zeros_like(v)
        z = self.features.logits(parameters[None, :P])[:, 0]
        loss = read_ordinal(z, theta, self.label, link=self.link, sample_weight=self.weight, reduction="sum")
        value, slopes = loss.gradients(("scores", "thresholds"))
        g = self.features.pull_back(slopes["scores"][:, None])[0]
        g[: P - 1] += self.l2 * w
        self.largest = max(largest_entry(g, self.space.sizes), float(np.abs(slopes["thresholds"]).max()))
        later = np.cumsum(slopes["thresholds"][::-1])[::-1][1:] * gaps
        return float(value) + 0.5 * self.l2 * float(w @ w), np.concatenate(
            [np.ravel(self.space.pull_back(g[None])), later]
        )
