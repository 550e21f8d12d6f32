"""A cosine softmax with a margin, over features that are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from ..functional.margin import margin_logits, read_margin_cross_entropy
from ..losses import log_softmax
from ..losses.margins import CosFace, Margin
from ._inputs import kept, row_weights
from ._mixins import Graphs
from ._smooth import check_positive, minimize


class MarginClassifier(Graphs, ClassifierMixin, BaseEstimator):
    """Class centres on the sphere, fitted with a margin; a row belongs to the centre at the smallest angle.

    It minimises the mean of `xent.margin_cross_entropy` over the centres, features fixed: the last layer of a face
    or speaker recogniser, or a probe on embeddings. Only directions count: lengths of features and centres do not (but
    for margins that use them), and there is no intercept, so centre the features if their origin means nothing.

    Parameters
    ----------
    margin : Margin, optional
        One of `xent.losses.margins`; by default ``CosFace(0.35, scale=30)``. Its scale is the inverse temperature of
        the probabilities.
    centres : int, default 1
        Centres of each class, of which the nearest counts (sub-centres, for classes of several directions).
    tol : float, default 1e-5
        Stop when the length of the gradient in the centres is at most this. The objective is not convex: this certifies
        a stationary point, not the lowest one. Where a margin's formula jumps (ArcFace's beyond pi - m, for rows on the
        far side of their centre) there may be none, and a warning says how far the fit came.
    max_iter : int, default 1000
    random_state : int, RandomState or None
        With several centres, which rows each begins from.

    Attributes
    ----------
    classes_ : array (K,)
    centres_ : array (K, C, D)
        Of length 1 where the margin normalises centres.
    n_iter_ : int
    convergence_, objective_ : float

    Warns
    -----
    ConvergenceWarning
        When `tol` was not reached.

    References
    ----------
    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018. Deng et al., "Sub-center
    ArcFace", ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from xent.losses.margins import ArcFace
    >>> X = np.array([[2.0, 0.1], [1.0, -0.1], [0.1, 3.0], [-0.2, 1.0]])
    >>> model = MarginClassifier(ArcFace(0.3, scale=8)).fit(X, ["east", "east", "north", "north"])
    >>> model.predict([[0.5, 0.1], [5.0, 9.0]]).tolist()
    ['east', 'north']
    """

    _export_kind = "margin"

    def __init__(
        self,
        margin: Any = None,
        *,
        centres: int = 1,
        tol: float = 1e-5,
        max_iter: int = 1000,
        random_state: Any = None,
    ) -> None:
        self.margin = margin
        self.centres = centres
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MarginClassifier:
        """Fit to features X (N, D) and labels y (N,).

        Parameters
        ----------
        X : array or data frame (N, D)
            Computed with in float64; float32 features give float32 centres.
        y : array (N,)
        sample_weight : array (N,), optional
            Not negative; 0 leaves a row out.

        Returns
        -------
        self
        """
        check_positive(self, centres=(1, True), tol=(0, True), max_iter=(0, True))
        margin = self._margin()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        X, y, weight = kept(X, y, row_weights(sample_weight, X.shape[0]))
        self.classes_, label = np.unique(y, return_inverse=True)
        K = len(self.classes_)
        if K < 2:
            raise ValueError(
                f"fitting needs at least 2 classes, but the data hold only one class, {self.classes_[0]!r}"
            )
        margin.check_classes(K)
        weight = np.ones(len(label)) if weight is None else weight
        problem = _Problem(np.asarray(X, np.float64), label, weight, margin, (K, int(self.centres), X.shape[1]))
        start = problem.start(check_random_state(self.random_state))
        found = minimize(self, problem, start, short=X.shape[0] * start.size < 1e8)
        self.centres_ = problem.unit(found.x).astype(X.dtype)
        return self

    def _margin(self) -> Margin:
        margin = CosFace(0.35, scale=30.0) if self.margin is None else self.margin
        if not isinstance(margin, Margin):
            raise TypeError(f"margin must be one of xent.losses.margins, not {type(margin).__name__}")
        return margin

    def _logits(self, X: Any) -> Any:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return margin_logits(X, self.centres_.astype(np.float64), None, self._margin())

    def decision_function(self, X: Any) -> Any:
        """Logits without the margin, (N, K): the scale times the cosines. For two classes their difference, (N,)."""
        z = self._logits(X)
        return z[:, 1] - z[:, 0] if z.shape[1] == 2 else z

    def predict(self, X: Any) -> Any:
        """The class at the smallest angle to each row, (N,)."""
        z = self._logits(X)
        return self.classes_[z.argmax(axis=1)]

    def predict_log_proba(self, X: Any) -> Any:
        """Logarithms of the probabilities without the margin, (N, K)."""
        return log_softmax(self._logits(X))

    def predict_proba(self, X: Any) -> Any:
        """Probabilities without the margin, (N, K): softmax of the scale times the cosines."""
        return np.exp(self.predict_log_proba(X))

    def to_torch(self) -> Any:
        """A PyTorch module whose outputs (N, K) are the logits without the margin.

        Returns
        -------
        torch.nn.Module
            With the parameter `centres` (K, C, D), a copy on the CPU, for `xent.margin_cross_entropy`.

        Raises
        ------
        ImportError
            Without PyTorch.
        """
        from ._export import to_torch

        return to_torch(self)

    def _check_fitted(self) -> None:
        c = self.centres_
        if c.ndim != 3 or c.shape[0] != len(self.classes_) or c.shape[2] != self.n_features_in_:
            raise ValueError(f"centres_ has the shape {c.shape}")
        if not np.isfinite(c).all():
            raise ValueError("a centre is not finite")


class _Problem:
    """The mean loss as a function of the centres, flat."""

    def __init__(self, X: Any, label: Any, weight: Any, margin: Margin, shape: tuple[int, int, int]) -> None:
        self.X, self.label, self.weight, self.margin, self.shape = X, label, weight / weight.sum(), margin, shape
        self.largest = np.inf

    def start(self, random: Any) -> Any:
        """The mean direction of each class; with several centres, of a random share of its rows."""
        K, C, D = self.shape
        length = np.linalg.norm(self.X, axis=1)
        scaled = self.X * (self.weight / np.where(length > 0, length, 1))[:, None]
        part = random.randint(C, size=len(self.label)) if C > 1 else np.zeros(len(self.label), int)
        out = np.zeros((K * C, D))
        np.add.at(out, self.label * C + part, scaled)
        empty = np.linalg.norm(out, axis=1) == 0  # a centre without rows, or whose rows point apart
        out[empty] = random.normal(size=(int(empty.sum()), D))
        return self.unit(out.ravel(), always=True).ravel()

    def unit(self, flat: Any, *, always: bool = False) -> Any:
        """Centres (K, C, D), of length 1 where lengths do not count."""
        centres = flat.reshape(self.shape)
        if not (always or self.margin.unit_centres):
            return centres
        length = np.linalg.norm(centres, axis=2, keepdims=True)
        return centres / np.where(length > 0, length, 1)

    def to_parameters(self, v: Any) -> Any:
        return v

    def to_coordinates(self, theta: Any) -> Any:
        return np.ravel(theta)

    def value_and_grad(self, v: Any) -> tuple[float, Any]:
        w = v.reshape(self.shape)
        loss = read_margin_cross_entropy(self.X, w, self.label, self.margin, sample_weight=self.weight, reduction="sum")
        value, slopes = loss.gradients(("w",))
        g = np.ravel(slopes["w"])
        self.largest = float(np.abs(g).max(initial=0))
        return float(value), g
