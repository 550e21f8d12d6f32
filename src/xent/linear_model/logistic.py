"""Logistic and softmax regression."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, compute_class_weight
from sklearn.utils.validation import validate_data

from ..solvers import Solution
from ._array_api import as_numpy, settle
from ._callbacks import CallbackSupport, Iterations, has_callbacks, with_callbacks
from ._inputs import check_classes, check_finite, encoded, kept, logit_offset, row_weights
from ._mixins import Inference
from ._monitor import Monitor, StoppedError, held_out
from ._options import Penalty, check_parameters, check_solver, read_penalty
from ._predict import ScoredPredictions
from ._progress import progress
from ._resident import resident, stays
from ._solve import Task, advice, make_task, no_minimum, own_options, solve


class LogisticRegression(Inference, CallbackSupport, ScoredPredictions, ClassifierMixin, BaseEstimator):
    """Logistic regression for two classes, softmax regression for more.

    It takes the place of scikit-learn's class of this name: change the import. It minimises
    ``mean_i w_i ce_i + (l1_ratio |coef|_1 + (1 - l1_ratio) |coef|_2^2 / 2) / (C sum_i w_i)``, which has the minimum of
    scikit-learn's objective; the intercept is not penalised. Unscaled and correlated features cost no more
    iterations than round ones. Where it stops is certified (`convergence_`, `dual_gap_`).

    Parameters
    ----------
    penalty : "l1", "l2", "elasticnet" or None
        Deprecated by scikit-learn, and warned of as there: use `l1_ratio`, and ``C=np.inf`` for None.
    C : float, default 1.0
        Inverse strength of the penalty; ``np.inf`` for none.
    l1_ratio : float from 0 to 1, default 0.0
        Share of the L1 penalty: 0 is L2 alone, 1 is L1 alone.
    dual : bool, default False
        Only ``solver="liblinear"`` with an L2 penalty takes True. It asks for the same minimum by way of the dual
        problem; xent finds that minimum in the primal either way.
    tol : float, default 1e-5
        Without an L1 penalty: stop when the largest entry of the gradient (over the feature's size, where that is far
        above one), and the gradient's length in the metric of the Hessian, are at most this; the objective is then
        about ``tol**2 / 2`` nats above its minimum. The length is exact with newton-cholesky, and with more than two
        classes or bounds where there are at most 1000 parameters P, ``N P^2 < 1e9`` (1e8 if X is sparse), a Hessian
        costs no more than the fit did and X is not on an accelerator: there the other solvers end with that decrement,
        and with Newton's steps if it is too large.
        Else it is one in whitened coordinates: an estimate, good to about a factor of two with two classes and of five
        with more; far too low for classes that are rare and hardly penalised. `certify` measures it on any fit. With an
        L1 penalty: stop when the optimality conditions are violated by at most this, and the duality gap in nats is at
        most this. (scikit-learn: 1e-4, and another meaning for each solver.)
    fit_intercept : bool, default True
    intercept_scaling : float, default 1.0
        Only for ``solver="liblinear"``, whose intercept is the weight of a constant feature of this value, and
        penalised.
    class_weight : dict, "balanced" or None
        Weights of the classes, multiplied with ``sample_weight``.
    random_state : int, RandomState or None
        Draws the rows that `early_stopping` holds out. Else without effect: no solver here draws random numbers.
    solver : str, default "auto"
        "auto" chooses, and says why in ``solver_``: prox-newton where there is an L1 penalty, newton-cholesky where
        the data and the parameters are few, else lbfgs. scikit-learn's names are taken, with its rules of which
        penalty each supports, and mean:

        - "lbfgs": L-BFGS in coordinates whitened by the Hessian at zero;
        - "newton-cg": trust-region Newton, conjugate gradients on Hessian-vector products in those coordinates;
        - "newton-cholesky": Newton with the whole Hessian, which takes ``8 (K (D + 1))^2`` bytes;
        - "liblinear": two classes, and a penalised intercept; solved as "auto" would;
        - "sag" and "saga": solved as "auto" would. The minimum is that of scikit-learn's stochastic solvers; the way
          there is not. (SAGA itself, for rows that do not fit in memory: `StreamingClassifier`.)
    max_iter : int, default 1000
        Most iterations of the solver (scikit-learn: 100).
    verbose : int, default 0
        1 for the solver with its reason and a progress bar, on stderr; above 1, both and the objective and the
        convergence after each iteration are printed.
    warm_start : bool, default False
        Start the next fit from this one's coefficients.
    n_jobs : None
        Without effect, deprecated by scikit-learn, and warned of as there.
    penalty_factor : array (D,), optional
        Not in scikit-learn. What the penalty of each feature is multiplied with: not negative; 0 leaves a feature
        without one. With an L1 penalty, `dual_gap_` then takes the slope of such a feature, at most `tol`, for zero.
    bounds : (lower, upper), optional
        Not in scikit-learn. Bounds of `coef_`, each a number, None, or an array (D,) or of the shape of `coef_`;
        ``(0, None)`` for no negative coefficient. With more than two classes they hold the coefficients as they are:
        a number added to those of a feature in all classes changes no prediction, but may meet or break them. Without
        an L1 penalty. `convergence_` then measures the projected gradient, in the metric of the Hessian of what no
        bound holds where that is exact (see `tol`), else scaled by a diagonal: a weak estimate of correlated features.
    group_lasso : bool, default False
        Not in scikit-learn. Whether the L1 part of the penalty is ``sum_j |coef_[:, j]|_2``, a group lasso over the
        classes, in place of ``|coef|_1``: each feature is in for all classes or out for all. It needs `l1_ratio`
        above 0; with two classes both are the same.
    early_stopping : bool, default False
        Not in scikit-learn's class, but in its others. Hold out `validation_fraction` of each class at random, fit to
        the other rows, stop when the cross-entropy of those held out has not fallen for `n_iter_no_change` iterations,
        and give back the weights that had the lowest. The solvers here take few and long steps, so there are few
        points to stop at: C tunes more finely.
    validation_fraction : float, default 0.1
    n_iter_no_change : int, default 10
    callback : callable, optional
        Not in scikit-learn. Called with the estimator and the newest entry of ``history_`` after each iteration; what
        it returns, if true, ends the fit. ``coef_`` and ``intercept_`` are up to date then.

    Attributes
    ----------
    classes_ : array (K,)
    coef_ : array (K, D), or (1, D) for two classes
        In the dtype of X.
    intercept_ : array (K,) or (1,)
    n_iter_ : int array (1,)
        Iterations of the solver.
    solver_ : Choice
        ``solver_.name``, the solver that ran, and ``solver_.reason``: why, and what another one added to its end.
    convergence_ : float
        What ``tol`` is compared with, at the solution.
    objective_ : float
        The minimum, in nats.
    dual_gap_ : float or None
        With an L1 penalty: no coefficients have an objective lower by more than this, in nats. Else None, as where
        `early_stopping` or the callback chose the coefficients.
    history_ : list of dict
        The learning curves: "step", "loss" (the objective, in nats), "validation_loss" (the cross-entropy of the rows
        held out, without the penalty; or None) and "convergence" (the solver's measure) of each iteration.
    n_features_in_, feature_names_in_
        As scikit-learn sets them.

    Warns
    -----
    ConvergenceWarning
        When ``tol`` was not reached; the message says by how much, and what to change. Or when there is no penalty and
        the fit tells all classes apart: then there is no minimum. Not where `early_stopping` or the callback ended the
        fit.

    Notes
    -----
    *Memory beside X.* X in float32 or float64 and C order, or CSR, is not copied. With V = K vectors (1 for two
    classes) and P = V (D + 1) parameters a fit takes at most
    ``64 MiB + 80 N + 16 min(N V, 2^22) + 48 (D + 1)^2 + 450 P`` bytes (``48 (D + 1)`` in place of the square beyond
    3000), and more

    - ``16 V (D + 1)^2`` with lbfgs, where V > 2 and ``V (D + 1)^2 <= max(2^22, N D / 3)``, and ``100 P + 40 (D + 1)^2``
      where V is larger than that and D below 3000;
    - ``40 N V`` with newton-cg;
    - ``64 N V + 40 P^2`` with newton-cholesky;
    - ``64 N V + 32 N A + 32 (V A)^2`` with an L1 penalty, whose working set of A features is copied in float64
      (``128 N V`` where V A is 1000 or more).

    Other dtypes and orders (whole numbers, float16, F order, data frames) are copied once, ``8 N D`` bytes or
    ``4 N D`` from float32; rows of weight 0 cost a copy of the others, and `early_stopping` one of all.

    See Also
    --------
    LogisticRegressionCV : the same, with C and l1_ratio chosen by cross-validation.
    certify : the distance from the minimum, measured.
    xent.linear_cross_entropy : the loss that is minimised.

    References
    ----------
    D. R. Cox, "The Regression Analysis of Binary Sequences", JRSS B 20, 1958. D. Böhning, "Multinomial logistic
    regression algorithm", AISM 44, 1992 (the bound on the Hessian that the coordinates use). M. Yuan & Y. Lin, "Model
    selection and estimation in regression with grouped variables", JRSS B 68(1), 2006 (`group_lasso`).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> model.coef_.shape, round(model.score(X, y), 2)
    ((3, 4), 0.97)
    >>> sparse = LogisticRegression(l1_ratio=1, C=0.1).fit(X, y)
    >>> int((sparse.coef_ != 0).sum()), sparse.dual_gap_ < 1e-5, sparse.solver_.name
    (2, True, 'prox-newton')
    >>> LogisticRegression(l1_ratio=1, C=0.1, group_lasso=True).fit(X, y).coef_.any(axis=0)
    array([False, False,  True, False])
    """

    def __init__(
        self,
        penalty: Any = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        dual: bool = False,
        tol: float = 1e-5,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "auto",
        max_iter: int = 1000,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: Any = None,
        penalty_factor: Any = None,
        bounds: Any = None,
        group_lasso: bool = False,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        callback: Any = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.penalty_factor = penalty_factor
        self.bounds = bounds
        self.group_lasso = group_lasso
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.callback = callback

    history_: list[dict[str, Any]]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse, tags.array_api_support = True, True
        tags.classifier_tags.multi_class = self.solver != "liblinear"
        return tags

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None) -> LogisticRegression:
        """Fit to features X (N, D), dense or sparse, and labels y (N,).

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, D)
            float32 and float64 are used as they are, other dtypes become float64. With scikit-learn's
            ``array_api_dispatch``, of any library of the array API: the fitted attributes and the predictions are
            arrays of that library on that device. Features on an accelerator stay there, and passes over them run
            there, where L-BFGS serves (solver "auto" or "lbfgs"; no L1 penalty, no bounds); else the fit runs in the
            CPU's memory, to which they are copied.
        y : array (N,)
            At least two different labels, of any kind.
        sample_weight : array (N,), optional
            Not negative; 0 leaves a row out.
        offset : array (N,) for two classes, else (N, K), optional
            Fixed logits, to which those of the model are added: of the second class, or of each. The predicting
            methods take it too.

        Returns
        -------
        self
        """
        task, shown = self._task(X, y, sample_weight, offset)
        given = {"sample_weight": sample_weight, "offset": offset}
        self._solve(task, shown, {k: v for k, v in given.items() if v is not None} or None)
        settle(self, X, y)
        return self

    def _task(self, X: Any, y: Any, sample_weight: Any, offset: Any = None) -> tuple[Task, tuple[Any, Any]]:
        """What the parameters ask for on these data, checked; and the data as callbacks are shown them."""
        check_parameters(self)
        penalty = read_penalty(self.penalty, self.C, self.l1_ratio)
        check_solver(self.solver, penalty.kind, self.dual)
        if self.n_jobs is not None:
            warnings.warn(
                f"'n_jobs' has no effect (scikit-learn deprecates it too): leave n_jobs={self.n_jobs} out",
                FutureWarning,
                stacklevel=4,
            )
        y, sample_weight, offset = as_numpy(y, sample_weight, offset)
        if self._stays(X, penalty):
            X, y = resident(self, X, y)
        else:
            kinds = {"accept_sparse": "csr", "dtype": [np.float64, np.float32], "order": "C"}
            X, y = validate_data(self, *as_numpy(X), y, ensure_all_finite=False, **kinds)
            check_finite(X, type(self).__name__)
        shown = (getattr(X, "array", X), y)
        weight = row_weights(sample_weight, X.shape[0])
        used = None if weight is None else weight != 0
        X, y, weight = kept(X, y, weight)
        self.classes_, label = encoded(y)
        check_classes(self.classes_, self.solver)
        if self.class_weight is not None:
            each = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weight)
            weight = row_weights(each[label] * (1.0 if weight is None else weight), len(label), "class_weight")
            used = np.ones(len(y), bool) if used is None else used
            used[used] = weight != 0
            X, label, weight = kept(X, label, weight)
        z = logit_offset(offset, len(shown[1]), len(self.classes_))
        if z is not None and used is not None:
            z = z[used]
        task = make_task(self, X, label, len(self.classes_), weight, penalty)
        return replace(own_options(self, task), offset=z), shown

    def _stays(self, X: Any, penalty: Penalty) -> bool:
        """Whether the passes over X run on its accelerator."""
        return self.solver in ("auto", "lbfgs") and not penalty.l1_ratio and self.bounds is None and stays(X)

    def _solve(self, task: Task, shown: tuple[Any, Any], metadata: Any) -> LogisticRegression:
        task, held = self._split(task)
        start = self._start(task)
        listener: Any = None
        if has_callbacks(self):
            context = self._init_callback_context(max_subtasks=max(self.max_iter, 1) + 1)
            about = dict(zip(("X", "y"), shown, strict=True), metadata=metadata)
            context.call_on_fit_task_begin(estimator=self, **about)
            listener = Iterations(self, context, *shown, metadata, self._attributes(start, task))

        def after_iteration(theta: Any, value: float, measure: float) -> None:
            if self.verbose > 1:
                print(f"iteration {len(self.history_) + 1}: objective {value:.10g}, convergence {measure:.3g}")
            if listener is not None:
                listener.step(self._attributes(theta, task))
            monitor(theta, value, measure)

        if self.verbose:
            print(task.choice.reason, file=sys.stderr if self.verbose == 1 else sys.stdout)
        with progress(self.verbose == 1, int(self.max_iter), task.choice.name) as tell:
            monitor = Monitor(self, lambda theta: self._put(theta, task), held, tell)
            try:
                found = solve(task, start, after_iteration)
            except StoppedError:
                found = None
        n_iter = len(self.history_) if found is None else found.n_iter
        if monitor.stopped is not None:
            theta, entry = monitor.stopped
            found = Solution(theta, entry["loss"], entry["convergence"], n_iter, 0, True, "stopped early")
        assert found is not None
        self._put(found.x, task)
        self.n_iter_, self.solver_ = np.array([n_iter], np.int32), task.choice.with_log(found.log)
        self.convergence_, self.objective_, self.dual_gap_ = found.convergence, found.value, found.gap
        if self.verbose > 1:
            print(f"{self.solver_.reason}: {found.message}")
        if not found.converged:
            warnings.warn(advice(found, task, self.solver), ConvergenceWarning, stacklevel=4)
        elif monitor.stopped is None and no_minimum(found, task):
            warnings.warn(no_minimum(found, task), ConvergenceWarning, stacklevel=4)
        if listener is not None:
            listener.close()
            context.call_on_fit_task_end(estimator=self, reconstruction_attributes={}, **about)
        return self

    def _split(self, task: Task) -> tuple[Task, Callable[[Any], float | None]]:
        """The rows to fit to, and the cross-entropy of those held out as a function of the parameters."""
        if not self.early_stopping:
            return task, lambda theta: None
        out = held_out(task.label, self.validation_fraction, check_random_state(self.random_state))
        apart = task.rows(out).cross_entropy()
        return task.rows(~out), lambda theta: apart.value_and_grad(np.ravel(theta))[0]

    def _put(self, theta: Any, task: Task) -> None:
        for name, value in self._attributes(theta, task).items():
            setattr(self, name, value)

    def _attributes(self, theta: Any, task: Task) -> dict[str, Any]:
        """Parameters as the attributes `coef_` and `intercept_`."""
        D, dtype = task.X.shape[1], task.X.dtype
        theta = theta.reshape(-1, D + task.fit_intercept)
        b = theta[:, D].astype(dtype) if task.fit_intercept else np.zeros(len(theta), dtype)
        return {"coef_": np.array(theta[:, :D], dtype, order="C"), "intercept_": b}

    def _start(self, task: Task) -> Any:
        """Zeros, or with ``warm_start`` the coefficients of the last fit."""
        vectors, D = 1 if task.classes == 2 else task.classes, task.X.shape[1]
        theta = np.zeros((vectors, D + task.fit_intercept))
        if not self.warm_start or not hasattr(self, "coef_"):
            return theta
        if tuple(self.coef_.shape) != (vectors, D):
            raise ValueError(
                f"warm_start: the last fit's coef_ is of shape {tuple(self.coef_.shape)}, expected shape "
                f"{(vectors, D)} for these data; set warm_start=False to begin anew"
            )
        coef, b = as_numpy(self.coef_, self.intercept_)
        theta[:, :D] = coef.toarray() if sparse.issparse(coef) else coef
        if task.fit_intercept:
            theta[:, D] = b
        return theta
