"""How each peer is asked for a problem's minimum: its own names for the same objective.

A peer is a function of a `Problem` and a tolerance that gives `Fitted`; what it imports is imported before the clock
starts, by a first fit on a few rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse


@dataclass(frozen=True)
class Problem:
    """``mean_i ce_i + l2 |W|^2 / 2 + l1 |W|_1``; `lambdas`: a path of L1 strengths, the last of them `l1`."""

    X: Any
    y: np.ndarray
    classes: int
    l1: float
    l2: float
    lambdas: np.ndarray

    @property
    def C(self) -> float:  # noqa: N802
        """scikit-learn's number for the strength."""
        return 1 / (max(self.l1, self.l2) * len(self.y))


@dataclass(frozen=True)
class Fitted:
    """W (V, D), b (V,) and iterations, and which objective that is the minimum of.

    Attributes
    ----------
    W, b : float64 arrays
    iterations : int or None
    intercept : "free", "none" or "penalised"
    penalised : whether the coefficients are
    """

    W: Any
    b: Any
    iterations: int | None = None
    intercept: str = "free"
    penalised: bool = True


@dataclass(frozen=True)
class Peer:
    """A peer's solver.

    Attributes
    ----------
    package : the distribution whose version is kept
    fit : function of a problem and a tolerance
    takes : function of a problem: whether it solves such
    """

    package: str
    fit: Callable[[Problem, float], Fitted]
    takes: Callable[[Problem], bool]


MANY = 1_000_000


def two_classes(p: Problem) -> bool:
    return p.classes == 2


def plain(p: Problem) -> bool:
    return p.l1 == 0


def single(p: Problem) -> bool:
    return len(p.lambdas) == 1


def fitted(model: Any, **options: Any) -> Fitted:
    """What a scikit-learn-like model found."""
    W = np.atleast_2d(np.asarray(model.coef_, float))
    b = np.atleast_1d(np.asarray(getattr(model, "intercept_", 0.0), float))
    b = np.broadcast_to(b, (len(W),)).copy()
    count = getattr(model, "n_iter_", None)
    return Fitted(W, b, None if count is None else int(np.max(count)), **options)


def xent(p: Problem, tol: float) -> Fitted:
    from xent.linear_model import LogisticRegression, logistic_path

    if not single(p):
        path = logistic_path(p.X, p.y, Cs=1 / (p.lambdas * len(p.y)), l1_ratio=float(p.l1 > 0), tol=tol)
        return Fitted(path.coefs[-1], path.intercepts[-1], int(path.n_iter.sum()))
    return fitted(LogisticRegression(C=p.C, l1_ratio=float(p.l1 > 0), tol=tol).fit(p.X, p.y))


def xent_default(p: Problem, tol: float) -> Fitted:
    from xent.linear_model import LogisticRegression

    return fitted(LogisticRegression(C=p.C, l1_ratio=float(p.l1 > 0)).fit(p.X, p.y))


def sklearn(solver: str) -> Callable[[Problem, float], Fitted]:
    def fit(p: Problem, tol: float) -> Fitted:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=p.C, l1_ratio=float(p.l1 > 0), solver=solver, tol=tol, max_iter=MANY)
        return fitted(model.fit(p.X, p.y), intercept="penalised" if solver == "liblinear" else "free")

    return fit


def sklearnex(solver: str) -> Callable[[Problem, float], Fitted]:
    def fit(p: Problem, tol: float) -> Fitted:
        from sklearnex.linear_model import LogisticRegression

        return fitted(LogisticRegression(C=p.C, solver=solver, tol=tol, max_iter=MANY).fit(p.X, p.y))

    return fit


def glum(solver: str) -> Callable[[Problem, float], Fitted]:
    def fit(p: Problem, tol: float) -> Fitted:
        from glum import GeneralizedLinearRegressor

        model = GeneralizedLinearRegressor(
            family="binomial",
            alpha=p.l1 or p.l2,
            l1_ratio=float(p.l1 > 0),
            solver=solver,
            gradient_tol=tol,
            max_iter=MANY,
        )
        return fitted(model.fit(p.X, p.y.astype(float)))

    return fit


def skglm_lbfgs(p: Problem, tol: float) -> Fitted:
    from skglm import GeneralizedLinearEstimator
    from skglm.datafits import Logistic
    from skglm.penalties import L2
    from skglm.solvers import LBFGS

    X = sparse.csc_matrix(p.X) if sparse.issparse(p.X) else p.X
    model = GeneralizedLinearEstimator(Logistic(), L2(p.l2), LBFGS(tol=tol, max_iter=100_000))
    return fitted(model.fit(X, 2.0 * p.y - 1), intercept="none")


def skglm_l1(p: Problem, tol: float) -> Fitted:
    from skglm import SparseLogisticRegression

    X = sparse.csc_matrix(p.X) if sparse.issparse(p.X) else np.asfortranarray(p.X)
    model = SparseLogisticRegression(p.lambdas[0], tol=tol, max_iter=1000, warm_start=True)
    for strength in p.lambdas:
        model.alpha = strength
        model.fit(X, p.y)
    return fitted(model)


def celer(p: Problem, tol: float) -> Fitted:
    from celer import LogisticRegression

    X = sparse.csc_matrix(p.X) if sparse.issparse(p.X) else np.asfortranarray(p.X)
    model = LogisticRegression(C=1 / (p.lambdas[0] * len(p.y)), tol=tol, max_iter=1000, warm_start=True)
    for strength in p.lambdas:
        model.C = 1 / (strength * len(p.y))
        model.fit(X, p.y)
    return fitted(model, intercept="none")


def glmnet(p: Problem, tol: float) -> Fitted:
    from glmnet import LogitNet

    # a path of one strength is not taken: the first of two is one that gives nothing
    path = np.r_[10 * p.lambdas[0], p.lambdas] if len(p.lambdas) == 1 else p.lambdas
    if not p.l1:
        path = np.array([10 * p.l2, p.l2])
    model = LogitNet(
        alpha=float(p.l1 > 0), lambda_path=path, standardize=False, n_splits=0, tol=tol * 1e-3, max_iter=10_000_000
    )
    model.fit(p.X, p.y)
    return Fitted(np.atleast_2d(model.coef_path_[..., -1]), np.atleast_1d(model.intercept_path_[..., -1]))


def adelie(p: Problem, tol: float) -> Fitted:
    import adelie as ad

    if sparse.issparse(p.X):
        X: Any = ad.matrix.sparse(sparse.csc_matrix(p.X), method="naive", n_threads=1)
    else:
        X = np.asfortranarray(p.X)
    path = p.lambdas if p.l1 else np.array([p.l2])
    options = {"alpha": float(p.l1 > 0), "lmda_path": path, "early_exit": False, "progress_bar": False}
    state = ad.grpnet(X, ad.glm.binomial(p.y.astype(float)), tol=tol * 1e-3, irls_tol=tol * 1e-3, **options)
    return Fitted(np.atleast_2d(state.betas.toarray()[-1]), np.atleast_1d(state.intercepts[-1]))


def snapml(p: Problem, tol: float) -> Fitted:
    from snapml import LogisticRegression

    model = LogisticRegression(
        regularizer=(p.l1 or p.l2) * len(p.y), penalty="l1" if p.l1 else "l2", dual=False, tol=tol, max_iter=100_000
    )
    return fitted(model.fit(p.X, p.y), intercept="none")


def liblinear(p: Problem, tol: float) -> Fitted:
    from liblinear.liblinearutil import parameter, problem, train

    kind = "-s 6" if p.l1 else "-s 0"
    model = train(problem(p.y, p.X, bias=1), parameter(f"{kind} -c {p.C:.17g} -e {tol:g} -B 1 -R -q"))
    w = np.array(model.w[: p.X.shape[1] + 1]) * (1 if model.get_labels()[0] == 1 else -1)
    return Fitted(w[None, :-1], w[-1:])


def statsmodels(p: Problem, tol: float) -> Fitted:
    import statsmodels.api as sm

    found = sm.Logit(p.y, sm.add_constant(p.X)).fit(disp=0, tol=tol, maxiter=1000)
    return Fitted(found.params[None, 1:], found.params[:1], penalised=False)


def gblinear(p: Problem, tol: float) -> Fitted:
    import xgboost

    rounds = int(3 * tol**-0.5)
    found = xgboost.train(
        {
            "booster": "gblinear",
            "updater": "coord_descent",
            "objective": "binary:logistic",
            "reg_lambda": p.l2,
            "reg_alpha": p.l1,
            "nthread": 1,
            "eta": 1.0,
            "base_score": 0.5,
        },
        xgboost.DMatrix(p.X, p.y),
        num_boost_round=rounds,
    )
    text = [float(line) for line in found.get_dump()[0].split() if line not in ("bias:", "weight:")]
    return Fitted(np.array([text[1:]]), np.array(text[:1]), rounds)


def dense(p: Problem) -> bool:
    return not sparse.issparse(p.X)


def _all(*rules: Callable[[Problem], bool]) -> Callable[[Problem], bool]:
    return lambda p: all(rule(p) for rule in rules)


def _l1(p: Problem) -> bool:
    return p.l1 > 0


PEERS = {
    "xent": Peer("xent", xent, lambda p: True),
    "xent as it comes": Peer("xent", xent_default, single),
    "sklearn lbfgs": Peer("scikit-learn", sklearn("lbfgs"), plain),
    "sklearn newton-cholesky": Peer("scikit-learn", sklearn("newton-cholesky"), _all(plain, dense)),
    "sklearn newton-cg": Peer("scikit-learn", sklearn("newton-cg"), plain),
    "sklearn sag": Peer("scikit-learn", sklearn("sag"), plain),
    "sklearn saga": Peer("scikit-learn", sklearn("saga"), single),
    "sklearn liblinear": Peer("scikit-learn", sklearn("liblinear"), _all(two_classes, single)),
    "sklearnex lbfgs": Peer("scikit-learn-intelex", sklearnex("lbfgs"), _all(plain, dense)),
    "sklearnex newton-cg": Peer("scikit-learn-intelex", sklearnex("newton-cg"), _all(plain, dense)),
    "glum lbfgs": Peer("glum", glum("lbfgs"), _all(two_classes, plain)),
    "glum irls-ls": Peer("glum", glum("irls-ls"), _all(two_classes, plain, dense)),
    "glum irls-cd": Peer("glum", glum("irls-cd"), _all(two_classes, _l1, single)),
    "skglm lbfgs": Peer("skglm", skglm_lbfgs, _all(two_classes, plain)),
    "skglm": Peer("skglm", skglm_l1, _all(two_classes, _l1)),
    "celer": Peer("celer", celer, _all(two_classes, _l1)),
    "glmnet": Peer("python-glmnet", glmnet, two_classes),
    "adelie": Peer("adelie", adelie, two_classes),
    "snapml": Peer("snapml", snapml, _all(two_classes, single)),
    "liblinear": Peer("liblinear-official", liblinear, _all(two_classes, single)),
    "statsmodels Logit": Peer("statsmodels", statsmodels, _all(two_classes, plain, dense)),
    "xgboost gblinear": Peer("xgboost", gblinear, _all(two_classes, single)),
}
