"""One fit: an objective made from arrays, the chosen solver run on it, and what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from .._blas import one_blas_thread
from ..coordinates import COPIED, MOST_FACTORED
from ..objective import SoftmaxObjective
from ..preconditioned import begun
from ..second_order import (
    BinaryL1Objective,
    Boxed,
    CurvedCoordinates,
    GroupObjective,
    L1Objective,
    NewtonProblem,
    RidgePath,
)
from ..solvers import (
    GroupLasso,
    Lasso,
    Solution,
    boxed,
    lbfgs,
    newton_cg,
    newton_cholesky,
    prox_newton,
    ridge_path,
)
from ._finish import ends_of, exact_end, most_iterations, patience
from ._inputs import coefficient_bounds, feature_factors
from ._options import Choice, Penalty, check_grouped, choose, choose_boxed
from ._resident import Resident, ResidentObjective

# Classes, and numbers in a float64 X, from which on they are faster.
FLOAT32_CLASSES, FLOAT32_SIZE = 8, 2**18
# A fit to this share of the rows comes first, if it has so many of them for each parameter.
HEAD_SHARE, HEAD_ROWS = 10, 100
# Multiplications of a change of coordinates that are not worth a second BLAS thread.
SHORT_SOLVE = 2e7
SHORT_HESSIAN = 1e9
# Columns of a sparse X that a first working set holds: to read them out is one pass for any number.
SPARSE_FIRST = 512


@dataclass(frozen=True)
class Task:
    """What a fit minimises, and how far.

    Attributes
    ----------
    X : array or CSR matrix (N, D)
    label : int array (N,)
    classes : int
    weight : float64 array (N,) or None
    penalty : Penalty
    fit_intercept : bool
    intercept_scaling : float or None
        liblinear's: the intercept is the weight of a feature of this value, and is penalised as one.
    choice : Choice
    tol : float
    max_iter : int
    offset : float64 array (N, V) or None
        Fixed logits.
    factor : float64 array (D,) or None
        What the penalty of each feature is multiplied with.
    bounds : two float64 arrays (V, D), or None
        Of the weights.
    grouped : bool
        Whether the L1 part is a group lasso over the classes.
    """

    X: Any
    label: Any
    classes: int
    weight: Any
    penalty: Penalty
    fit_intercept: bool
    intercept_scaling: float | None
    choice: Choice
    tol: float
    max_iter: int
    offset: Any = None
    factor: Any = None
    bounds: Any = None
    grouped: bool = False

    @property
    def strengths(self) -> tuple[float, float]:
        """L1 and L2 strengths beside the mean cross-entropy."""
        total = float(self.X.shape[0] if self.weight is None else self.weight.sum())
        # finite; beyond 1e300 no number tells the fits apart
        alpha = 0.0 if np.isinf(self.penalty.C) else 1 / max(self.penalty.C * total, 1e-300)
        return alpha * self.penalty.l1_ratio, alpha * (1 - self.penalty.l1_ratio)

    def objective(self, dtype: Any = None) -> SoftmaxObjective:
        """The smooth part of what is minimised."""
        _, l2 = self.strengths
        own = l2 / self.intercept_scaling**2 if self.intercept_scaling and self.fit_intercept else 0.0
        kind: Any = ResidentObjective if isinstance(self.X, Resident) else SoftmaxObjective
        return kind(
            self.X,
            self.label,
            self.classes,
            weight=self.weight,
            l2=l2 if self.factor is None else l2 * self.factor,
            fit_intercept=self.fit_intercept,
            intercept_l2=own,
            dtype=dtype,
            offset=self.offset,
        )

    def rows(self, chosen: Any) -> Task:
        """The same of the chosen rows, (N,) booleans."""
        weight = None if self.weight is None else self.weight[chosen]
        offset = None if self.offset is None else self.offset[chosen]
        return replace(self, X=self.X[chosen], label=self.label[chosen], weight=weight, offset=offset)

    def cross_entropy(self) -> SoftmaxObjective:
        """What is minimised without the penalty."""
        free = replace(self, penalty=Penalty(None, np.inf, 0.0), intercept_scaling=None)
        return free.objective()


def make_task(model: Any, X: Any, label: Any, classes: int, weight: Any, penalty: Penalty) -> Task:
    """What an estimator's parameters ask for on these rows."""
    fit_intercept = bool(model.fit_intercept)
    choice: Choice = choose(model.solver, penalty, X, 1 if classes == 2 else classes, fit_intercept)
    return Task(
        X,
        label,
        classes,
        weight,
        penalty,
        fit_intercept,
        float(model.intercept_scaling) if model.solver == "liblinear" else None,
        choice,
        float(model.tol),
        int(model.max_iter),
    )


def own_options(model: Any, task: Task) -> Task:
    """The task with what xent's estimators take beyond scikit-learn's: factors, bounds, groups."""
    V, D = 1 if task.classes == 2 else task.classes, task.X.shape[1]
    task = replace(task, factor=feature_factors(model.penalty_factor, D))
    task = replace(task, grouped=check_grouped(model.group_lasso, task.penalty.l1_ratio))
    if model.bounds is None:
        return task
    bounds = coefficient_bounds(model.bounds, (V, D))
    return replace(task, bounds=bounds, choice=choose_boxed(model.solver, task.penalty))


def solve(task: Task, start: Any, callback: Any = None) -> Solution:
    """Minimise from `start` (V, D [+ 1]); the solution's x has that shape."""
    name = task.choice.name
    if name == "prox-newton" and not task.strengths[0]:  # a path of L1 penalties that ends without one
        name = "lbfgs"
    # where BLAS serves only short products between passes, its threads would spin against the kernels' own
    short = _short(start.shape[1], task.classes)
    if name == "newton-cholesky":
        short = task.X.shape[0] * float(start.size) ** 2 < SHORT_HESSIAN
    with one_blas_thread() if short or name == "prox-newton" else contextlib.nullcontext():
        if name == "lbfgs":
            found = _lbfgs(replace(task, max_iter=most_iterations(task)), start, callback)
        elif name == "newton-cg":
            inner = task.objective(np.float64).preconditioned(start if start.any() else None)
            found = newton_cg(CurvedCoordinates(inner), start, tol=task.tol, max_iter=task.max_iter, callback=callback)
        elif name == "boxed":
            found = _boxed(replace(task, max_iter=most_iterations(task)), start, callback)
        elif name == "newton-cholesky":
            problem = NewtonProblem(task.objective(np.float64))
            found = newton_cholesky(problem, start, tol=task.tol, max_iter=task.max_iter, callback=callback)
        else:
            problem, lasso = _sparse(task)
            found = prox_newton(problem, lasso, start, tol=task.tol, max_iter=task.max_iter, callback=callback)
        if name not in ("lbfgs", "newton-cg", "boxed"):
            return found
        return _ended(task, found, callback) if name == "lbfgs" else exact_end(task, found, callback)


def _ended(task: Task, found: Solution, callback: Any = None) -> Solution:
    """`exact_end`, and L-BFGS again where Newton's steps, taken over early, moved by rounding alone."""
    end = exact_end(task, found, callback)
    if end.converged or end.n_iter >= task.max_iter or not np.isfinite(end.x).all():
        return end
    more = _lbfgs(replace(task, max_iter=task.max_iter - end.n_iter), end.x, callback)
    return replace(more, n_iter=end.n_iter + more.n_iter, n_eval=end.n_eval + more.n_eval)


def _short(P: int, classes: int) -> bool:
    """Whether changes of coordinates are short products, or none: those of many features are a scale for each."""
    return P > MOST_FACTORED or P**2 * classes < SHORT_SOLVE


def _sparse(task: Task, known: Any = None) -> tuple[Any, Any]:
    """The problem and the penalty of a fit with an L1 part; `known` is the problem of a fit to the same rows."""
    l1, _ = task.strengths
    own = l1 / task.intercept_scaling if task.intercept_scaling else 0.0
    each, f = l1 if task.factor is None else l1 * task.factor, task.objective(np.float64)
    if task.grouped and f.vectors > 1:
        groups = GroupObjective(f, each, known)
        return groups, GroupLasso(groups.unit_l1, f.vectors)
    if f.vectors == 1:  # of one number the length is its size
        binary = BinaryL1Objective(f, each, own, known)
        return binary, Lasso(binary.l1, first=SPARSE_FIRST if sparse.issparse(task.X) else Lasso.first)
    model = L1Objective(f, each, own, known)
    return model, Lasso(model.l1)


def _boxed(task: Task, start: Any, callback: Any) -> Solution:
    problem = Boxed(task.objective(np.float64))
    return boxed(problem, start.ravel(), *ends_of(task), tol=task.tol, max_iter=task.max_iter, callback=callback)


def _head_start(objective: Any, theta: Any, task: Task) -> Any:
    """About the minimum over some of the rows, where theta is zero and they are enough to tell of all.

    Then only what the others say differently takes passes over all of them.
    """
    if not isinstance(objective, SoftmaxObjective):  # X lies on an accelerator
        return theta
    N, D = objective.X.shape
    rows = min(N // HEAD_SHARE, COPIED // D)
    if theta.any() or sparse.issparse(objective.X) or rows < HEAD_ROWS * theta.size or objective.rare.any():
        return theta
    few = objective.thinned(N // rows)
    # no nearer to its minimum than that is to the one over all rows
    noise = max(task.tol, 0.2 * float(np.sqrt(theta.size / rows)))
    found = lbfgs(few.preconditioned(), theta, tol=noise, max_iter=task.max_iter)
    return found.x if np.isfinite(found.x).all() else theta


def _float32_pays(task: Task) -> bool:
    """Whether passes are faster in float32: they are bound by products, or by the bytes of X."""
    if sparse.issparse(task.X) or task.offset is not None:
        return False
    large = task.X.shape[0] * task.X.shape[1] >= FLOAT32_SIZE
    return task.X.dtype == np.float32 or (task.classes >= FLOAT32_CLASSES and large)


def _lbfgs(task: Task, start: Any, callback: Any) -> Solution:
    objective = task.objective(np.float64)
    theta = _head_start(objective, start, task)
    rough = task.objective(np.float32) if _float32_pays(task) else None
    inner, theta = begun(objective, theta, rough=rough, tol=task.tol)
    found = lbfgs(inner, theta, tol=task.tol, max_iter=task.max_iter, callback=callback)
    # what all classes share changes no probability and costs penalty: rounding, which coordinates enlarge
    shared = found.x.mean(axis=0) if objective.vectors > 1 and found.n_iter else 0.0
    return Solution(
        found.x - shared,
        found.value,
        found.convergence,
        found.n_iter,
        found.n_eval,
        found.converged,
        found.message,
    )


def solve_path(task: Task, penalties: Sequence[Penalty]) -> list[Solution]:
    """Minima for the penalties in turn, from strong to weak, each from those before; x is (V, D [+ 1])."""
    shape = task.objective().shape
    if task.bounds is not None or any(p.l1_ratio for p in penalties):
        found, theta, last = [], np.zeros(shape), None
        for penalty in penalties:
            one = replace(task, penalty=penalty)
            if one.bounds is None and one.strengths[0]:
                with one_blas_thread():
                    last, lasso = _sparse(one, last)
                    there = prox_newton(last, lasso, theta, tol=task.tol, max_iter=task.max_iter)
                found.append(replace(there, n_eval=last.passes))
            else:
                found.append(solve(one, theta))
            theta = found[-1].x.reshape(shape)
        return [replace(s, x=s.x.reshape(shape)) for s in found]
    free = replace(task, penalty=Penalty(None, np.inf, 0.0)).objective(np.float64)
    squares = np.ones(shape[1])
    squares[: task.X.shape[1]] = 1.0 if task.factor is None else task.factor
    if task.fit_intercept:
        squares[-1] = 1 / task.intercept_scaling**2 if task.intercept_scaling else 0.0
    strengths = [replace(task, penalty=penalty).strengths[1] for penalty in penalties]
    short = _short(shape[1], task.classes)
    threads = one_blas_thread() if short else contextlib.nullcontext()
    with threads, np.errstate(over="ignore", invalid="ignore"):  # a step that goes too far is not taken
        problem = RidgePath(free, squares, rough=_float32_pays(task))
        options: Any = {"tol": task.tol, "max_iter": task.max_iter}
        after = patience(task)
        if after is not None:
            options |= {"hard": lambda i, there: _ended(replace(task, penalty=penalties[i]), there), "after": after}
        found = ridge_path(problem, strengths, np.zeros(shape), **options)
    return [replace(s, x=s.x.reshape(shape)) for s in found]


# scikit-learn's own words, for those who look for them in a warning
_WORDS = {
    "lbfgs": "lbfgs failed to converge after {n} iteration(s)",
    "newton-cg": "newton-cg failed to converge after {n} iterations",
    "newton-cholesky": "Newton solver did not converge after {n} iterations",
    "liblinear": "Liblinear failed to converge, increase the number of iterations",
    "sag": "The max_iter was reached which means the coef_ did not converge",
    "saga": "The max_iter was reached which means the coef_ did not converge",
}


def advice(found: Solution, task: Task, solver: str) -> str:
    """What a warning says about a fit that did not reach its tolerance: by how much, and what to change."""
    full = found.n_iter >= task.max_iter
    words = _WORDS.get(solver, "{name} did not converge") if full else "{name} did not converge"
    what = "a gradient" if found.gap is None else "optimality conditions violated by, or a duality gap in nats"
    text = (
        f"{words.format(n=found.n_iter, name=task.choice.name)}: stopped after {found.n_iter} iterations "
        f"with {what} of {found.convergence:.2g}, above tol={task.tol:g} ({found.message})."
    )
    if full:
        return f"{text} Increase the number of iterations (max_iter={task.max_iter})."
    return (
        f"{text} That is as far as rounding allows here: a larger tol, or a smaller C where classes are separable "
        "(xent.linear_model.find_separation says by which columns)."
    )


def no_minimum(found: Solution, task: Task) -> str:
    """What a warning says of a fit without a penalty that tells all classes apart; empty where none is known to."""
    free = not any(task.strengths) or (task.factor is not None and not task.factor.any())
    if not free or task.bounds is not None or task.offset is not None:
        return ""
    least = 1 / task.X.shape[0] if task.weight is None else float(task.weight.min()) / float(task.weight.sum())
    # no row then has a loss of log 2: the probability of each row's class is above one half
    if not found.value < least * np.log(2):
        return ""
    return (
        f"the classes are separable: every row is predicted right, with a mean cross-entropy of {found.value:.1g} "
        "nats. Without a penalty there is no minimum: the coefficients grow without end, and where they stopped "
        "depends on tol. Use a penalty (C=1.0, say) or leave columns out "
        "(xent.linear_model.find_separation says by which columns the classes are separated)."
    )
