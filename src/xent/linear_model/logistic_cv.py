"""Logistic and softmax regression with the penalty chosen by cross-validation."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import sklearn
from scipy import sparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import check_cv
from sklearn.utils import Bunch, compute_class_weight
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data

from ._array_api import as_numpy, check_home, in_numpy, settle
from ._folds import Data, Fitted, fit_path, simplest
from ._inputs import check_classes, logit_offset, row_weights
from ._options import RULES, Penalty, check_parameters, check_solver, penalty_of
from ._predict import LinearPredictions
from ._solve import Task, advice, make_task, no_minimum, own_options, solve


class LogisticRegressionCV(LinearPredictions, ClassifierMixin, BaseEstimator):
    """`LogisticRegression` with `C` and `l1_ratio` chosen by cross-validation.

    It takes the place of scikit-learn's class of this name: change the import. **One default differs**: `scoring` is
    "neg_log_loss", the cross-entropy that is minimised, as scikit-learn's will be from 1.11; ``scoring=None`` is
    accuracy, as there. So is `tol` (1e-5), `max_iter` (1000) and `solver` ("auto"), as in `LogisticRegression`.

    Parameters
    ----------
    Cs : int or list of floats, default 10
        Values of C; a whole number n stands for n of them, from 1e-4 to 1e4 evenly on a log scale.
    l1_ratios : list of floats from 0 to 1
        Values of `l1_ratio`. None, the default in scikit-learn 1.9, means (0,), and is warned of as there.
    fit_intercept, dual, penalty, solver, tol, max_iter, class_weight, verbose, intercept_scaling, random_state
        As in `LogisticRegression`. "balanced" weights are those of all rows, in every fold.
    cv : int, splitter or list of (train, test)
        5 folds, stratified, by default.
    scoring : str, callable or None, default "neg_log_loss"
        What is highest at the best penalty. A fold that lacks a class is scored with all classes known.
    n_jobs : int or None
        Threads over the folds (and l1_ratios).
    refit : bool, default True
        Fit all rows with the best penalty; False averages the coefficients and penalties that were best in each fold.
    use_legacy_attributes : bool
        The shapes of the attributes, below. scikit-learn 1.9 defaults to True and warns, and so does this.
    rule : "best" or "one_standard_error", default "best"
        Not in scikit-learn. "one_standard_error" takes, with the l1_ratio of the best mean score, the smallest C (the
        strongest penalty) whose mean score over the folds is at most one standard error of the best one's below it:
        simpler, and no worse as far as these folds can tell. It needs ``refit=True`` and two folds.
    penalty_factor, bounds, group_lasso
        Not in scikit-learn. As in `LogisticRegression`, for every fit.

    Attributes
    ----------
    classes_, coef_, intercept_, n_features_in_, feature_names_in_
        As in `LogisticRegression`.
    Cs_ : array (n_cs,)
    l1_ratios_ : array (n_l1_ratios,)
    C_, l1_ratio_ : float; legacy: arrays (K,), or (1,) for two classes
        The best.
    coefs_paths_ : array (n_folds, n_l1_ratios, n_cs, K or 1, D [+ 1])
        Legacy: a dict of a class to an array (n_folds, n_cs, n_l1_ratios, D [+ 1]).
    scores_ : array (n_folds, n_l1_ratios, n_cs)
        Legacy: a dict of a class to an array (n_folds, n_cs, n_l1_ratios).
    n_iter_ : array (n_folds, n_l1_ratios, n_cs)
        Legacy: (1, n_folds, n_cs, n_l1_ratios). The legacy shapes are without n_l1_ratios where `l1_ratios` is None.
    solver_ : Choice
        Of the last fit.

    Warns
    -----
    ConvergenceWarning
        Once, for all the fits that did not reach `tol`.

    See Also
    --------
    LogisticRegression : one fit.

    References
    ----------
    M. Stone, "Cross-validatory choice and assessment of statistical predictions", JRSS B 36, 1974. L. Breiman, J.
    Friedman, C. Stone & R. Olshen, *Classification and Regression Trees*, 1984, section 3.4.3 (one standard error).

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegressionCV(l1_ratios=(0,), use_legacy_attributes=False).fit(X, y)
    >>> round(model.C_, 1), model.scores_.shape, round(model.score(X, y), 2)
    (166.8, (5, 1, 10), -0.04)
    """

    __metadata_request__score = {"sample_weight": UNUSED}  # noqa: RUF012

    def __init__(
        self,
        *,
        Cs: Any = 10,
        l1_ratios: Any = "warn",
        fit_intercept: bool = True,
        cv: Any = None,
        dual: bool = False,
        penalty: Any = "deprecated",
        scoring: Any = "neg_log_loss",
        solver: str = "auto",
        tol: float = 1e-5,
        max_iter: int = 1000,
        class_weight: Any = None,
        n_jobs: Any = None,
        verbose: int = 0,
        refit: bool = True,
        intercept_scaling: float = 1.0,
        random_state: Any = None,
        use_legacy_attributes: Any = "warn",
        rule: str = "best",
        penalty_factor: Any = None,
        bounds: Any = None,
        group_lasso: bool = False,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.fit_intercept = fit_intercept
        self.cv = cv
        self.dual = dual
        self.penalty = penalty
        self.scoring = scoring
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.class_weight = class_weight
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.refit = refit
        self.intercept_scaling = intercept_scaling
        self.random_state = random_state
        self.use_legacy_attributes = use_legacy_attributes
        self.rule = rule
        self.penalty_factor = penalty_factor
        self.bounds = bounds
        self.group_lasso = group_lasso

    C_: Any
    l1_ratio_: Any
    coefs_paths_: Any
    scores_: Any
    n_iter_: Any

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse, tags.array_api_support = True, True
        tags.classifier_tags.multi_class = self.solver != "liblinear"
        return tags

    def fit(self, X: Any, y: Any, sample_weight: Any = None, offset: Any = None, **params: Any) -> LogisticRegressionCV:
        """Fit every fold along every penalty, and all rows with the best.

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, D)
            Arrays of other libraries (``array_api_dispatch``) are copied to the CPU's memory, where the folds are
            fitted; attributes and predictions are of that library, on its device.
        y : array (N,)
        sample_weight : array (N,), optional
            Not negative. The scorer is given it too, where it takes it (and, with metadata routing, asks for it).
        offset : array (N,) for two classes, else (N, K), optional
            As in `LogisticRegression.fit`. What each fold leaves out is scored with its offset.
        **params
            For the splitter and the scorer, with metadata routing enabled.

        Returns
        -------
        self
        """
        _only_routed(params, "fit")
        check_parameters(self)
        if self.rule == "one_standard_error" and not self.refit:
            raise ValueError("rule='one_standard_error' chooses one penalty for all folds: it needs refit=True")
        kind, ratios = self._ratios()
        legacy = self._legacy()
        check_solver(self.solver, kind, self.dual)
        given, (X, y, sample_weight, offset) = (X, y), as_numpy(X, y, sample_weight, offset)
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C")
        check_classification_targets(y)
        weight = row_weights(sample_weight, X.shape[0])
        self.classes_ = np.unique(y)
        check_classes(self.classes_, self.solver)
        fixed = logit_offset(offset, X.shape[0], len(self.classes_))
        data = Data(X, y, self.classes_, weight, self._class_weights(y, weight), fixed)
        self.Cs_ = np.logspace(-4, 4, self.Cs) if isinstance(self.Cs, Integral) else np.asarray(self.Cs, float)
        if not (self.Cs_ > 0).all():
            raise ValueError(f"Cs must be {RULES['Cs'][1]}, not {self.Cs!r}")
        grid = [[penalty_of(C, ratio, kind) for C in self.Cs_] for ratio in ratios]
        label = np.searchsorted(self.classes_, y)
        for_row = [max(row, key=lambda p: p.l1_ratio) for row in grid]
        tasks = [own_options(self, make_task(self, X, label, len(self.classes_), weight, p)) for p in for_row]
        problems = self._paths(data, tasks, grid, self._routed(weight, params))
        theta = self._best(data, tasks, grid, ratios, problems)
        D = X.shape[1]
        self.coef_ = np.array(theta[:, :D], X.dtype)
        self.intercept_ = theta[:, D].astype(X.dtype) if self.fit_intercept else np.zeros(len(theta), X.dtype)
        if problems:
            self._warn(problems)
        if legacy:
            self._legacy_shapes()
        settle(self, *given)
        return self

    def _paths(self, data: Data, tasks: list[Task], grid: list[list[Penalty]], routed: Any) -> list[Any]:
        """All folds along all penalties, as attributes; and the fits that did not converge."""
        folds = list(check_cv(self.cv, data.y, classifier=True).split(data.X, data.y, **routed.splitter.split))
        scoring = (self._get_scorer(), routed.scorer.score)
        found = Parallel(n_jobs=self.n_jobs, verbose=int(self.verbose), prefer="threads")(
            delayed(fit_path)(data, task, self.__sklearn_tags__(), fold, row, scoring)
            for fold in folds
            for task, row in zip(tasks, grid, strict=True)
        )
        shape = (len(folds), len(grid), len(self.Cs_))
        coefs, scores, n_iter, failed = zip(*found, strict=True)
        self.coefs_paths_ = np.reshape(coefs, (*shape, *coefs[0].shape[1:]))
        self.scores_, self.n_iter_ = np.reshape(scores, shape), np.reshape(n_iter, shape)
        unset = self.l1_ratios is None or isinstance(self.l1_ratios, str)
        self.l1_ratios_ = np.asarray([None] if unset else list(self.l1_ratios))
        return [problem for part in failed for problem in part]

    def _warn(self, problems: list[Any]) -> None:
        worst = max(problems, key=lambda f: f[0].convergence)
        warnings.warn(
            f"{len(problems)} of {self.scores_.size + self.refit} fits did not converge, the worst with "
            f"C={worst[1].penalty.C:g}: {advice(worst[0], worst[1], self.solver)}",
            ConvergenceWarning,
            stacklevel=3,
        )

    def _ratios(self) -> tuple[str | None, list[float]]:
        """scikit-learn's word for the penalty, and the l1_ratios, with its warnings of deprecated forms."""
        ratios, given = self.l1_ratios, self.penalty
        if isinstance(ratios, str):
            if ratios != "warn":
                raise ValueError(f"l1_ratios must be a list of numbers from 0 to 1, not {ratios!r}")
            ratios = None
            _future("The default value for l1_ratios will change from None to (0.0,) in scikit-learn 1.10: set it")
        if given == "deprecated":
            if self.l1_ratios is None:
                _future("'l1_ratios=None' was deprecated in scikit-learn 1.8 and is an error from 1.10 on: use (0,)")
            values = np.asarray(0.0 if ratios is None else ratios, float)
            kind = "l2" if (values == 0).all() else "l1" if (values == 1).all() else "elasticnet"
        else:
            _future("'penalty' was deprecated in scikit-learn 1.8 and goes in 1.10: use l1_ratios, and Cs=(np.inf,)")
            kind = given
            if kind is None:
                raise ValueError("penalty must be 'l1', 'l2' or 'elasticnet', not None: use Cs=(np.inf,)")
            if kind != "elasticnet" and ratios is not None:
                warnings.warn(
                    f"l1_ratios parameter is only used when penalty is 'elasticnet'. Got (penalty={kind})", stacklevel=3
                )
        valid = ratios is not None and len(ratios) and all(isinstance(r, Real) and 0 <= float(r) <= 1 for r in ratios)
        if not valid and (kind == "elasticnet" or ratios is not None):
            raise ValueError(f"l1_ratios must be an array-like of numbers between 0 and 1; got (l1_ratios={ratios!r})")
        if kind == "elasticnet":
            return kind, [float(r) for r in ratios]
        fixed = 1.0 if kind == "l1" else 0.0
        return kind, [fixed] * (1 if ratios is None else len(ratios))

    def _legacy(self) -> bool:
        if isinstance(self.use_legacy_attributes, str):
            _future(
                "The default value of use_legacy_attributes will change from True to False in scikit-learn 1.10: set "
                f"it, to choose the shapes of {type(self).__name__}'s attributes"
            )
            return True
        return bool(self.use_legacy_attributes)

    def _class_weights(self, y: Any, weight: Any) -> Any:
        if isinstance(self.class_weight, dict) and not set(self.class_weight) <= set(self.classes_):
            raise ValueError(
                f"The given class_weight dict must have the class labels as keys; classes={self.classes_} but "
                f"key={self.class_weight.keys()}"
            )
        if self.class_weight is None:
            return None
        each = compute_class_weight(self.class_weight, classes=self.classes_, y=y, sample_weight=weight)
        return dict(zip(self.classes_.tolist(), each.tolist(), strict=True))

    def _best(
        self, data: Data, tasks: list[Task], grid: list[list[Penalty]], ratios: list[float], problems: list[Any]
    ) -> Any:
        """The parameters at the best penalty, refitted or averaged, and `C_`, `l1_ratio_` and `solver_`."""
        paths, n_folds = self.coefs_paths_, len(self.scores_)
        self.solver_ = tasks[-1].choice
        if not self.refit:
            each = self.scores_.swapaxes(1, 2).reshape(n_folds, -1).argmax(axis=1)
            c, r = each // len(ratios), each % len(ratios)
            self.C_, self.l1_ratio_ = float(self.Cs_[c].mean()), float(np.mean([ratios[i] for i in r]))
            return paths[np.arange(n_folds), r, c].mean(axis=0)
        # over C first, then l1_ratio: of equals, scikit-learn takes the smallest C
        best = int(self.scores_.sum(axis=0).T.argmax())
        c, r = best // len(ratios), best % len(ratios)
        if self.rule == "one_standard_error":
            c = simplest(self.scores_[:, r], self.Cs_, c)
        self.C_, self.l1_ratio_, self.solver_ = float(self.Cs_[c]), ratios[r], tasks[r].choice
        task = replace(data.task(np.arange(data.X.shape[0]), tasks[r]), penalty=grid[r][c])
        found = solve(task, paths[:, r, c].mean(axis=0))
        if not found.converged:
            problems.append((found, task))
        elif no_minimum(found, task):
            warnings.warn(no_minimum(found, task), ConvergenceWarning, stacklevel=3)
        return found.x.reshape(paths.shape[-2:])

    def _legacy_shapes(self) -> None:
        two, none = len(self.classes_) == 2, self.l1_ratios_[0] is None
        keys: Any
        keys = self.classes_[1:] if two else self.classes_
        squeeze = (lambda a: a[..., 0]) if none else (lambda a: a)
        paths, scores = self.coefs_paths_, squeeze(self.scores_.swapaxes(1, 2))
        by_class = np.moveaxis(paths, 3, 0).swapaxes(2, 3)  # (K, n_folds, n_cs, n_l1_ratios, dof)
        self.coefs_paths_ = {k: a[:, :, 0] if none else a for k, a in zip(keys, by_class, strict=True)}
        self.scores_ = {k: scores.copy() for k in keys}
        self.n_iter_ = squeeze(self.n_iter_.swapaxes(1, 2))[None]
        self.C_ = np.full(len(keys), self.C_)
        self.l1_ratio_ = np.full(len(keys), None if none and self.refit else self.l1_ratio_)

    def score(self, X: Any, y: Any, *, sample_weight: Any = None, offset: Any = None, **score_params: Any) -> float:
        """What `scoring` says of rows X (N, D) with labels y (N,): by default minus the cross-entropy, in nats.

        Parameters
        ----------
        X : array, data frame or sparse matrix (N, D)
        y : array (N,)
        sample_weight : array (N,), optional
        offset : array (N,) for two classes, else (N, K), optional
            As in `fit`.
        **score_params
            For the scorer, with metadata routing enabled.
        """
        _only_routed(score_params, "score")
        check_is_fitted(self)
        check_home(self, X, "score")
        if sample_weight is not None:
            score_params["sample_weight"] = sample_weight
        if _routing():
            score_params = process_routing(self, "score", **score_params).scorer.score
        # scorers of scikit-learn's that take probabilities know NumPy's arrays alone
        model, (X, y, offset) = in_numpy(self), as_numpy(X, y, offset)
        score_params = {name: as_numpy(value)[0] for name, value in score_params.items()}
        if offset is not None:
            fixed = logit_offset(offset, len(y), len(model.classes_))
            coef = model.coef_.toarray() if sparse.issparse(model.coef_) else model.coef_
            theta = np.column_stack([coef, model.intercept_])
            model = Fitted(self.__sklearn_tags__(), model.classes_, theta, self.n_features_in_, fixed)
        return self._get_scorer()(model, X, y, **score_params)

    def _routed(self, sample_weight: Any, params: dict[str, Any]) -> Any:
        if _routing():
            return process_routing(self, "fit", sample_weight=sample_weight, **params)
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return Bunch(splitter=Bunch(split={}), scorer=Bunch(score=weight))

    def get_metadata_routing(self) -> Any:
        """What metadata goes where: to the splitter in `fit`, to the scorer in `fit` and `score`."""
        fit_and_score = MethodMapping().add(caller="score", callee="score").add(caller="fit", callee="score")
        return (
            MetadataRouter(owner=self)
            .add_self_request(self)
            .add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
            .add(scorer=self._get_scorer(), method_mapping=fit_and_score)
        )

    def _get_scorer(self) -> Any:
        return get_scorer(self.scoring or "accuracy")


def _future(text: str) -> None:
    warnings.warn(text, FutureWarning, stacklevel=4)


def _routing() -> bool:
    return bool(sklearn.get_config().get("enable_metadata_routing", False))


def _only_routed(params: dict[str, Any], method: str) -> None:
    if params and not _routing():
        raise ValueError(
            f"{method}: passing {sorted(params)} is only supported if enable_metadata_routing=True, which "
            "sklearn.set_config sets"
        )
