"""The options of the logistic models: checked, the penalty read, a solver chosen with its reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_random_state

SOLVERS = ("auto", "lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga")
PENALTIES = ("l1", "l2", "elasticnet", None, "deprecated")
# Newton's method with the whole Hessian wins where a pass is short beside what a call costs.
NEWTON_FLOPS = 5e6
NEWTON_CLASSES = 3
BY_NAME = "asked for by name"

Rule = tuple[Callable[[Any], bool], str]


def _number(kind: Any, holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda v: isinstance(v, kind) and not isinstance(v, bool | np.bool_) and bool(holds(v))


def _is_bool(v: Any) -> bool:
    return isinstance(v, bool | np.bool_)


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda v: (v is None or isinstance(v, str)) and v in values


def _is_seed(v: Any) -> bool:
    try:
        check_random_state(v)
    except ValueError:
        return False
    return True


RULES: dict[str, Rule] = {
    "penalty": (_one_of(*PENALTIES), "'l1', 'l2', 'elasticnet' or None (or better: left out, for l1_ratio and C)"),
    "C": (_number(Real, lambda v: v > 0), "a number above 0, or np.inf for no penalty"),
    "l1_ratio": (lambda v: v is None or _number(Real, lambda r: 0 <= r <= 1)(v), "a number from 0 to 1"),
    "dual": (_is_bool, "True or False"),
    "tol": (_number(Real, lambda v: 0 <= v < np.inf), "a number from 0"),
    "fit_intercept": (_is_bool, "True or False"),
    "intercept_scaling": (_number(Real, lambda v: 0 < v < np.inf), "a number above 0"),
    "class_weight": (lambda v: v is None or isinstance(v, dict) or v == "balanced", "a dict, 'balanced' or None"),
    "random_state": (_is_seed, "None, a whole number from 0 or a RandomState"),
    "solver": (_one_of(*SOLVERS), f"one of {', '.join(SOLVERS)}"),
    "max_iter": (_number(Integral, lambda v: v >= 0), "a whole number from 0"),
    "verbose": (lambda v: _is_bool(v) or _number(Integral, lambda n: n >= 0)(v), "a whole number from 0, or a bool"),
    "warm_start": (_is_bool, "True or False"),
    "n_jobs": (lambda v: v is None or isinstance(v, Integral), "a whole number or None"),
    "Cs": (
        lambda v: _number(Integral, lambda n: n >= 1)(v) or (not isinstance(v, Integral | str) and len(v) > 0),
        "a whole number from 1, or a list of numbers above 0",
    ),
    "refit": (_is_bool, "True or False"),
    "rule": (lambda v: v in ("best", "one_standard_error"), "'best' or 'one_standard_error'"),
    "group_lasso": (_is_bool, "True or False"),
    "early_stopping": (_is_bool, "True or False"),
    "validation_fraction": (_number(Real, lambda v: 0 < v < 1), "a number between 0 and 1"),
    "n_iter_no_change": (_number(Integral, lambda v: v >= 1), "a whole number from 1"),
    "callback": (lambda v: v is None or callable(v), "a function of the estimator and an entry of history_, or None"),
    "use_legacy_attributes": (lambda v: _is_bool(v) or v == "warn", "True or False"),
}


def check_parameters(model: Any) -> None:
    """Raise a ValueError that names the first parameter of an estimator that is not what it must be."""
    for name, value in model.get_params(deep=False).items():
        holds, wanted = RULES.get(name, (lambda _: True, ""))
        if not holds(value):
            raise ValueError(f"{name} must be {wanted}, not {value!r}")


@dataclass(frozen=True)
class Penalty:
    """What is added to ``C`` times the summed cross-entropy: ``l1_ratio |w|_1 + (1 - l1_ratio) |w|_2^2 / 2``.

    `kind` is scikit-learn's word for it: "l1", "l2", "elasticnet" or None.
    """

    kind: str | None
    C: float
    l1_ratio: float


def penalty_of(C: float, l1_ratio: float, kind: str | None = None) -> Penalty:
    """The penalty at a C, which may be infinite; its kind, where none is given, is what `l1_ratio` makes it."""
    if np.isinf(C):
        return Penalty(None, np.inf, 0.0)
    kind = kind or ("l2" if l1_ratio == 0 else "l1" if l1_ratio == 1 else "elasticnet")
    return Penalty(kind, float(C), float(l1_ratio))


def read_penalty(penalty: Any, C: float, l1_ratio: float | None) -> Penalty:
    """The penalty that ``penalty``, ``C`` and ``l1_ratio`` ask for, with scikit-learn 1.9's warnings about them."""
    if penalty == "deprecated":
        if l1_ratio is None:
            warnings.warn(
                "'l1_ratio=None' was deprecated in version 1.8 of scikit-learn and is an error from 1.10 on: use a "
                "number from 0 to 1",
                FutureWarning,
                stacklevel=4,
            )
        return penalty_of(C, l1_ratio or 0.0)
    warnings.warn(
        "'penalty' was deprecated in version 1.8 of scikit-learn and goes in 1.10: use l1_ratio=0 for 'l2', 1 for "
        "'l1', a number between for 'elasticnet', and C=np.inf for None",
        FutureWarning,
        stacklevel=4,
    )
    if penalty != "elasticnet" and l1_ratio is not None and 0 < l1_ratio < 1:
        warnings.warn(
            f"l1_ratio parameter is only used when penalty is 'elasticnet'. Got (penalty={penalty})", stacklevel=4
        )
    if (penalty, l1_ratio) not in (("l2", 0), ("l1", 1)) and penalty in ("l1", "l2"):
        warnings.warn(
            f"Inconsistent values: penalty={penalty} with l1_ratio={l1_ratio}. penalty decides; it is deprecated, so "
            "use l1_ratio only",
            stacklevel=4,
        )
    if penalty == "elasticnet" and l1_ratio is None:
        raise ValueError("l1_ratio must be specified when penalty is elasticnet")
    if penalty is None:
        if C != 1.0:
            warnings.warn("Setting penalty=None will ignore the C and l1_ratio parameters", stacklevel=4)
        return Penalty(None, np.inf, 0.0)
    fixed = {"l1": 1.0, "l2": 0.0}.get(penalty, float(l1_ratio or 0.0))
    return Penalty(penalty, float(C), fixed)


def check_solver(solver: str, kind: str | None, dual: bool) -> None:
    """Raise where scikit-learn's solver of this name does not do what is asked, in its words."""
    if solver not in ("auto", "liblinear", "saga") and kind not in ("l2", None):
        raise ValueError(f"Solver {solver} supports only 'l2' or None penalties, got {kind} penalty.")
    if solver != "liblinear" and dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual=True")
    if solver == "liblinear":
        if kind == "elasticnet":
            raise ValueError("Only 'saga' solver supports elasticnet penalty, got solver=liblinear.")
        if kind is None:
            raise ValueError("C=np.inf as well as penalty=None is not supported for the liblinear solver")
        if kind == "l1" and dual:
            raise ValueError("solver liblinear has no dual of the l1 penalty: dual=True needs l1_ratio=0")


def check_grouped(group_lasso: bool, l1_ratio: float) -> bool:
    """Raise where a group lasso is asked for of a penalty without L1 part; else whether it is."""
    if group_lasso and not l1_ratio:
        raise ValueError(
            "group_lasso=True groups the L1 part of the penalty: set l1_ratio above 0 (and C below np.inf)"
        )
    return bool(group_lasso)


class Choice(NamedTuple):
    """A solver of `xent.solvers`, and why it was chosen."""

    name: str
    reason: str

    @property
    def by_name(self) -> bool:
        """Whether the caller named it."""
        return BY_NAME in self.reason

    def with_log(self, log: str) -> Choice:
        """The same, with what else is to be said of the run."""
        return self._replace(reason=f"{self.reason}; {log}") if log else self


def choose(solver: str, penalty: Penalty, X: Any, vectors: int, fit_intercept: bool) -> Choice:
    """The solver for a problem, with the reason.

    Parameters
    ----------
    solver : one of SOLVERS
    penalty : Penalty
    X : array or CSR matrix (N, D)
    vectors : int
        1 for two classes, else K.
    fit_intercept : bool
    """
    if penalty.l1_ratio > 0:
        why = "an L1 penalty" if penalty.l1_ratio == 1 else "an elastic net"
        return Choice("prox-newton", f"prox-newton: {why} needs working sets" + _said(solver))
    if solver in ("lbfgs", "newton-cg", "newton-cholesky"):
        where = f"passes on {X.place.device}, " if hasattr(X, "place") else ""
        return Choice(solver, f"{solver}: {where}{BY_NAME}")
    P = vectors * (X.shape[1] + fit_intercept)
    flops = X.shape[0] * float(P) ** 2
    if isinstance(X, np.ndarray) and vectors <= NEWTON_CLASSES and flops <= NEWTON_FLOPS and _squares_fit(X):
        why = f"{P} parameters: a Hessian costs {flops:.0e} multiplications"
        return Choice("newton-cholesky", f"newton-cholesky: {why}{_said(solver)}")
    where = f", passes on {X.place.device}" if hasattr(X, "place") else ""
    return Choice("lbfgs", f"lbfgs: {P} parameters, in whitened coordinates{where}{_said(solver)}")


def choose_boxed(solver: str, penalty: Penalty) -> Choice:
    """The solver for coefficients with bounds; a ValueError where there is none."""
    if penalty.l1_ratio > 0:
        raise ValueError(f"bounds go with an L2 penalty or none: l1_ratio must be 0, not {penalty.l1_ratio:g}")
    if solver not in ("auto", "lbfgs"):
        raise ValueError(f"bounds need solver='auto' or 'lbfgs', not {solver!r}")
    return Choice("boxed", "boxed: L-BFGS-B keeps the bounds of the coefficients")


def _said(solver: str) -> str:
    return "" if solver == "auto" else f", in place of {solver}"


def _squares_fit(X: Any) -> bool:
    largest = max(float(X.max(initial=0)), -float(X.min(initial=0)))
    smallest = np.abs(X).max(axis=0, initial=0)
    smallest = float(smallest[smallest > 0].min(initial=1.0))
    return largest < 1e100 and smallest > 1e-100
