"""Softmax regression of rows that come in batches: from files, iterators, or one partial fit at a time."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from ..solvers import lbfgs, saga
from ..solvers.stochastic import SCHEDULES
from ._monitor import Monitor, StoppedError, record
from ._predict import ScoredPredictions
from ._progress import progress
from ._sampled import SAMPLING, Sampler
from ._smooth import check_positive
from ._sources import source_of
from ._stream_rows import Rows, class_list, encoded
from ._stream_saga import SagaProblem
from ._stream_steps import Steps

OPTIMIZERS = ("auto", "lbfgs", "saga", "sgd", "momentum", "nesterov", "rmsprop", "adam")


def _takes_steps(model: Any) -> bool:
    """Whether there is a `partial_fit`; an AttributeError says why not."""
    if model.optimizer in ("lbfgs", "saga") or model.l1_ratio:
        name = "saga" if model.l1_ratio else model.optimizer
        raise AttributeError(
            f"partial_fit takes steps of mini-batches: optimizer={name!r} needs all rows again; use 'adam', say"
        )
    return True


class StreamingClassifier(ScoredPredictions, ClassifierMixin, BaseEstimator):
    """Logistic or softmax regression in bounded memory: rows are read a batch at a time, as often as needed.

    It minimises ``mean_i w_i ce_i + alpha (l1_ratio |coef|_1 + (1 - l1_ratio) |coef|_2^2 / 2)``: the minimum of
    `LogisticRegression` at ``C = 1 / (alpha sum_i w_i)``. With "lbfgs" each iteration sums value and gradient over all
    batches, in whitened coordinates, and ends at that minimum with the same certificate. "saga" takes a step a
    mini-batch, remembers every row's slopes, and ends at the minimum too, with an L1 penalty as well. The other
    optimisers take a step a mini-batch: quick to a rough answer, the only way for a stream that passes once, and in
    need of scaled features and a fitting rate.

    Parameters
    ----------
    alpha : float, default 1e-4
        Strength of the penalty beside the mean cross-entropy, the intercept aside; 0 for none.
    l1_ratio : float from 0 to 1, default 0.0
        Share of the L1 penalty; above 0 it needs "saga".
    optimizer : str, default "auto"
        "lbfgs", "saga", "sgd", "momentum", "nesterov", "rmsprop" or "adam"; "auto" is "lbfgs" for `fit` ("saga" with
        an L1 penalty) and "adam" for `partial_fit`. `optimizer_` says which ran. "saga" holds ``8 N K`` bytes (``8 N``
        for two classes), works on features of unit size, and slows down where these are strongly correlated.
    learning_rate : float, optional
        By default 0.1 for "sgd", 0.01 for "momentum" and "nesterov", 0.001 for "rmsprop" and "adam".
    schedule : "constant", "inverse", "linear" or "cosine"
        Of the rate over the mini-batches: as it is, over the root of their number, or down to 0 at the end of `fit`.
    momentum : float, default 0.9
        Of "momentum" and "nesterov".
    clip : float, optional
        The longest gradient taken; longer ones are cut to it.
    normalize : bool, default False
        Take every gradient at length 1.
    batch_size : int, default 256
        Rows of a mini-batch.
    max_iter : int, default 1000
        Most iterations ("lbfgs"), or epochs.
    tol : float, default 1e-5
        "lbfgs" stops where the measure of `LogisticRegression` is at most this, "saga" where a pass at one point finds
        zero at most this far from the subgradient. Mini-batches go on for `max_iter` epochs or until `early_stopping`
        ends them; then the whole gradient is taken, and a warning says if it is above `tol`.
    fit_intercept : bool, default True
    shuffle : bool, default True
        Take the rows of a batch in random order, by `random_state` (arrays are one batch; files are batches of 2^22
        numbers).
    early_stopping : bool, default False
        Hold out `validation_fraction` of the rows (in memory), stop when their cross-entropy has not fallen for
        `n_iter_no_change` iterations or epochs, and give back the best weights.
    validation_fraction : float, default 0.1
    n_iter_no_change : int, default 5
    random_state : int, RandomState or None
    verbose : int, default 0
        Above 0, a progress bar on stderr.
    callback : callable, optional
        Called with the estimator and the newest entry of ``history_`` after each iteration or epoch; what it
        returns, if true, ends the fit. ``coef_`` is up to date then.
    sampled_classes : int, optional
        For thousands of classes, with "sgd" or "adam" ("auto" is "adam" then): a mini-batch computes, and moves, no
        more than its rows' own classes and this many drawn ones; each row's softmax is over its own and the drawn ones,
        with the logarithm of the chance to be drawn taken off the logits. Where the model is right its minimum is that
        of all classes for any number; where not, it comes near as the number grows, and with all of them it is the
        same. "loss" is of the drawn classes, "validation_loss" and `convergence_` of all.
    sampling : "uniform", "log-uniform" or "frequency"
        How likely a class is to be drawn: all alike; by Zipf's law, for labels in order of falling frequency; or as
        often as it occurs.

    Attributes
    ----------
    classes_, coef_, intercept_, n_features_in_, feature_names_in_
        As for `LogisticRegression`.
    n_iter_ : int
        Iterations or epochs.
    optimizer_ : str
    convergence_ : float
        The measure at the solution: of "lbfgs" and "saga" the one `tol` is for, else the largest entry of the whole
        gradient; NaN after `partial_fit`, or when batches could be read only once.
    history_ : list of dict
        The learning curves: "step", "loss" (of the objective; for mini-batches and "saga" the mean over the epoch, as
        the weights moved), "validation_loss" and "convergence", None where there is none; and the "learning_rate" of
        mini-batches.

    Warns
    -----
    ConvergenceWarning
        When `tol` was not reached, unless `early_stopping` or the callback ended the fit.

    References
    ----------
    Defazio, Bach & Lacoste-Julien, "SAGA", NIPS 2014; the other optimisers: `xent.solvers`.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2))
    >>> y = X[:, 0] > 0.3 * rng.normal(size=300)
    >>> batches = lambda: ((X[i : i + 100], y[i : i + 100]) for i in range(0, 300, 100))
    >>> streamed, whole = StreamingClassifier().fit(batches), StreamingClassifier().fit(X, y)
    >>> bool(np.allclose(streamed.coef_, whole.coef_, atol=1e-4))
    True
    """

    def __init__(
        self,
        *,
        alpha: float = 1e-4,
        l1_ratio: float = 0.0,
        optimizer: str = "auto",
        learning_rate: float | None = None,
        schedule: str = "constant",
        momentum: float = 0.9,
        clip: float | None = None,
        normalize: bool = False,
        batch_size: int = 256,
        max_iter: int = 1000,
        tol: float = 1e-5,
        fit_intercept: bool = True,
        shuffle: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 5,
        random_state: Any = None,
        verbose: int = 0,
        callback: Any = None,
        sampled_classes: int | None = None,
        sampling: str = "uniform",
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.momentum = momentum
        self.clip = clip
        self.normalize = normalize
        self.batch_size = batch_size
        self.max_iter = max_iter
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.random_state = random_state
        self.verbose = verbose
        self.callback = callback
        self.sampled_classes = sampled_classes
        self.sampling = sampling

    history_: list[dict[str, Any]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, *, classes: Any = None) -> StreamingClassifier:
        """Fit from the start.

        Parameters
        ----------
        X : array, frame or CSR matrix (N, D); path; function; or iterable
            Features; a ``.npy`` file of them; a ``.parquet`` file of numbers, the labels among its columns; or batches
            ``(X, y)`` or ``(X, y, sample_weight)``: a function that returns an iterator of them, or something that
            gives a new iterator each time. An iterator that ends for good will do for one epoch of mini-batches.
        y : array (N,), path of a ``.npy`` file, or name of a Parquet column
        sample_weight : array (N,), path of a ``.npy`` file, or name of a Parquet column, optional
        classes : array (K,), optional
            All labels, where one more pass to find them is too much, or not possible.

        Returns
        -------
        self
        """
        self._check()
        source = source_of(X, y, sample_weight)
        for name in ("_steps", "coef_", "classes_"):
            if hasattr(self, name):
                delattr(self, name)
        name = self.optimizer
        if name == "auto":
            name = "saga" if self.l1_ratio else "lbfgs" if self.sampled_classes is None else "adam"
        self._check_method(name)
        if not source.again and (name in ("lbfgs", "saga") or self.max_iter != 1 or classes is None):
            raise ValueError(
                "these batches can be read only once: give a function that returns a new iterator; or an optimizer of "
                "mini-batches with max_iter=1 and classes=..."
            )
        self.history_, self.optimizer_ = [], name
        rows = Rows(self, source, classes)
        if name in ("lbfgs", "saga"):
            self._minimize(rows)
        else:
            self._epochs(rows)
        return self

    @available_if(_takes_steps)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> StreamingClassifier:
        """One epoch of mini-batches over these rows, in their order, from where the last call ended.

        Parameters
        ----------
        X : array, frame or CSR matrix (N, D)
        y : array (N,)
        classes : array (K,)
            All labels there will be; needed in the first call.
        sample_weight : array (N,), optional

        Returns
        -------
        self
        """
        self._check()
        name = "adam" if self.optimizer == "auto" else self.optimizer
        self._check_method(name)
        first = not hasattr(self, "coef_")
        if first and classes is None:
            raise ValueError("classes must be given in the first call of partial_fit: all labels there will be")
        if first:
            self.classes_, self.history_ = class_list(classes), []
        elif classes is not None and not np.array_equal(self.classes_, np.unique(classes)):
            raise ValueError(f"classes={list(classes)} differ from the first call's, {self.classes_.tolist()}")
        batch = encoded(self, (X, y, sample_weight), reset=first)
        if first:
            self._set(np.zeros(self._shape(batch[0].shape[1])), batch[0].dtype)
        if not hasattr(self, "_steps"):
            self._steps = self._new_steps(name, int(check_random_state(self.random_state).randint(2**31 - 1)), None)
        self.optimizer_ = name
        theta, loss = self._steps.over(self._theta(), batch, None, None, None)
        self._set(theta, batch[0].dtype)
        self.n_iter_, self.convergence_ = getattr(self, "n_iter_", 0) + 1, np.nan
        record(self, loss, None, None, learning_rate=self._steps.rate)
        return self

    def _check(self) -> None:
        check_positive(
            self, alpha=(0, True), batch_size=(1, True), max_iter=(1, True), tol=(0, True), n_iter_no_change=(1, True)
        )
        check_positive(self, momentum=(0, True))
        if self.sampled_classes is not None:
            check_positive(self, sampled_classes=(1, True))
        for name in ("learning_rate", "clip"):
            if getattr(self, name) is not None:
                check_positive(self, **{name: (0, False)})
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("sampling", SAMPLING)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"validation_fraction must be between 0 and 1, not {self.validation_fraction!r}")
        if not 0 <= self.l1_ratio <= 1:
            raise ValueError(f"l1_ratio must be from 0 to 1, not {self.l1_ratio!r}")
        if not self.momentum < 1:
            raise ValueError(f"momentum must be below 1, not {self.momentum!r}")

    def _check_method(self, name: str) -> None:
        if self.sampled_classes is not None and name not in ("sgd", "adam"):
            raise ValueError(f"sampled_classes needs optimizer='sgd' or 'adam', not {name!r}")
        if self.l1_ratio and name != "saga":
            raise ValueError(f"an L1 penalty (l1_ratio={self.l1_ratio:g}) needs optimizer='saga', not {name!r}")

    def _shape(self, features: int) -> tuple[int, int]:
        K = len(self.classes_)
        return (1 if K == 2 else K, features + bool(self.fit_intercept))

    def _set(self, theta: Any, dtype: Any) -> None:
        D = theta.shape[1] - bool(self.fit_intercept)
        self.coef_ = np.array(theta[:, :D], dtype, order="C")
        self.intercept_ = theta[:, D].astype(dtype) if self.fit_intercept else np.zeros(len(theta), dtype)

    def _theta(self) -> Any:
        parts = [self.coef_, self.intercept_[:, None]] if self.fit_intercept else [self.coef_]
        return np.hstack(parts).astype(np.float64)

    def _new_steps(self, name: str, seed: int, rows: Rows | None) -> Steps:
        """The mini-batches' beginning; of `partial_fit` without rows."""
        m, K = self.sampled_classes, len(self.classes_)
        if m is None:
            return Steps(self, name, None)
        if K == 2:
            raise ValueError("sampled_classes needs more than 2 classes, of which to draw some")
        if m > K:
            raise ValueError(f"sampled_classes={m} of {K} classes cannot be drawn")
        frequency = None
        if self.sampling == "frequency":
            if rows is None or not rows.source.again:
                raise ValueError(
                    "sampling='frequency' counts the classes first: these rows are read only once; use 'uniform'"
                )
            frequency = sum(np.bincount(label, minlength=K) for _, label, _ in rows.batches())
        return Steps(self, name, Sampler(self.sampling, K, int(m), seed, frequency))

    def _epochs(self, rows: Rows) -> None:
        name, rng = self.optimizer_, rows.rng if self.shuffle else None
        self._steps = self._new_steps(name, rows.seed, rows)
        theta: Any = np.zeros(self._shape(rows.features)) if rows.features else None
        ended = False
        with progress(bool(self.verbose), int(self.max_iter), name) as tell:
            monitor = Monitor(self, lambda theta: self._set(theta, rows.dtype), rows.validation_loss, tell)
            for _ in range(int(self.max_iter)):
                loss = total = 0.0
                for batch in rows.batches():
                    theta = np.zeros(self._shape(batch[0].shape[1])) if theta is None else theta
                    own = float(batch[2].sum())
                    steps = None if rows.rows is None else int(self.max_iter) * -(-rows.rows // int(self.batch_size))
                    theta, part = self._steps.over(theta, batch, rng, steps, rows.full_weight)
                    loss, total = loss + part * own, total + own
                if theta is None or total == 0:
                    raise ValueError("there are no rows: an iterator that was read before has none left")
                ended = monitor.step(theta, loss / total, None, learning_rate=self._steps.rate)
                if ended:
                    break
        theta = theta if monitor.stopped is None else monitor.stopped[0]
        self._set(theta, rows.dtype)
        self.n_iter_, self.convergence_ = len(self.history_), np.nan
        if rows.source.again:
            self.convergence_ = float(np.abs(rows.objective().value_and_grad(theta.ravel())[1]).max())
            if self.convergence_ > self.tol and not (ended or self.early_stopping):
                warnings.warn(
                    f"{name} ended after {self.n_iter_} epochs with a gradient of {self.convergence_:.2g}, above "
                    f"tol={self.tol:g}: scale the features, let the rate fall (schedule='cosine'), raise max_iter, or "
                    "take optimizer='lbfgs'",
                    ConvergenceWarning,
                    stacklevel=3,
                )

    def _minimize(self, rows: Rows) -> None:
        """Run the solver that ends at the minimum, with its certificate."""
        name, start = self.optimizer_, np.zeros(self._shape(rows.features))
        options: dict[str, Any] = {"tol": float(self.tol), "max_iter": int(self.max_iter)}
        with progress(bool(self.verbose), int(self.max_iter), name) as tell:
            monitor = Monitor(self, lambda theta: self._set(theta, rows.dtype), rows.validation_loss, tell)
            try:
                if name == "saga":
                    l1, l2 = float(self.alpha * self.l1_ratio), float(self.alpha * (1 - self.l1_ratio))
                    problem = SagaProblem(rows, l1, l2, int(self.batch_size), bool(self.shuffle))
                    found = saga(problem, start.ravel(), callback=monitor, **options)
                else:
                    found = lbfgs(rows.objective().preconditioned(), start, callback=monitor, **options)
            except StoppedError:
                found = None
        self.n_iter_ = len(self.history_)
        if monitor.stopped is not None:
            theta, entry = monitor.stopped
            self._set(theta, rows.dtype)
            self.convergence_ = entry["convergence"]
            return
        assert found is not None
        self._set(found.x, rows.dtype)
        self.convergence_ = found.convergence
        if not found.converged:
            full = found.n_iter >= self.max_iter
            do = f"raise max_iter={self.max_iter}" if full else "that is as far as rounding allows: a larger tol"
            if name == "saga" and full:
                other = "LogisticRegression (rows in memory)" if self.l1_ratio else "optimizer='lbfgs'"
                do += f"; correlated features make it slow: {other} is not"
            warnings.warn(
                f"{name} did not converge: after {found.n_iter} {'epochs' if name == 'saga' else 'iterations'} its "
                f"measure is {found.convergence:.2g}, above tol={self.tol:g}; {do}",
                ConvergenceWarning,
                stacklevel=3,
            )
