"""Standard errors, intervals and tests of a fitted logistic or softmax regression."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse, special
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from ..objective import SoftmaxObjective
from ..second_order import Rows
from ._array_api import as_numpy, in_numpy
from ._covariance import Maximum, contrasts, dependent, maximum, meat
from ._inputs import kept, logit_offset, row_weights
from ._options import read_penalty
from ._solve import make_task
from ._summary import Summary, Test, chi_square
from .separation import find_separation

COVARIANCES = ("model", "HC0", "HC1", "cluster")
WEIGHTS = ("frequency", "probability")
# Standard errors between the coefficients and the minimum on the rows given, above which those are others.
FAR = 0.5
# A change on the way to the exact maximum that is worth a note, in standard errors.
WORTH_TELLING = 0.01
# Bytes of the covariance's matrices above which they are refused.
MOST_BYTES = 8e9


class _Data(NamedTuple):
    X: Any
    label: Any
    weight: Any
    groups: Any
    rows: int
    offset: Any = None


def summarize(
    model: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    *,
    covariance: str = "model",
    groups: Any = None,
    weights: str = "frequency",
    reference: Any = None,
    level: float = 0.95,
    likelihood_ratio: bool = False,
    penalized: bool = False,
    offset: Any = None,
) -> Summary:
    """What `LogisticRegression.summary` documents, for the fitted `model`."""
    check_is_fitted(model)
    model, (X, y, sample_weight, offset) = in_numpy(model), as_numpy(X, y, sample_weight, offset)
    _check_options(model, covariance, groups, weights, level, penalized)
    data, names = _read(model, X, y, sample_weight, groups, offset)
    K = len(model.classes_)
    other = _reference(model, reference)
    penalty, bare = _penalty(model, penalized)
    task = make_task(model, data.X, data.label, K, data.weight, penalty)
    f = replace(task, offset=data.offset).objective(np.float64)
    if 3 * 8.0 * (f.shape[0] * f.shape[1]) ** 2 > MOST_BYTES:
        raise ValueError(f"{f.shape[0] * f.shape[1]} coefficients: their covariance takes too much memory")
    at = _at_maximum(model, f, data, names, bare)
    V = _covariance(f, at, data, covariance, weights, bare)
    T = contrasts(K, f.shape[1], other)
    shape = (-1, f.shape[1])
    b, V = (T @ at.theta.ravel()).reshape(shape), T @ V @ T.T
    error = np.sqrt(np.diag(V)).reshape(shape)
    half = special.ndtri(0.5 + level / 2) * error
    z = b / error if bare else np.full(b.shape, np.nan)
    pairs = tuple((c, model.classes_[other]) for k, c in enumerate(model.classes_) if k != other)
    table = Summary(
        classes=pairs,
        names=(*names, "intercept") if f.fit_intercept else tuple(names),
        coefficient=b,
        standard_error=error,
        z=z,
        p=2 * special.ndtr(-np.abs(z)),
        lower=b - half,
        upper=b + half,
        covariance=V,
        covariance_kind=_kind(covariance, weights, data),
        level=float(level),
        columns={},
        notes=_notes(at, bare),
        **_figures(f, at, data, weights, bare),
    )
    return _with_tests(model, table, f, at, data, likelihood_ratio and bare)


def _check_options(model: Any, covariance: str, groups: Any, weights: str, level: float, penalized: bool) -> None:
    if model.bounds is not None:
        raise ValueError("bounds hold coefficients at their edges, where no standard error of this kind is right")
    if model.penalty_factor is not None and penalized:
        raise ValueError("summary(..., penalized=True) takes one penalty for all features: penalty_factor is not None")
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance must be one of {', '.join(COVARIANCES)}, not {covariance!r}")
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be 'frequency' or 'probability', not {weights!r}")
    if (covariance == "cluster") != (groups is not None):
        raise ValueError("covariance='cluster' and groups go together: a label for each row, of the cluster it is in")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level!r}")
    if covariance == "model" and (weights == "probability" or model.class_weight is not None):
        why = "class_weight" if model.class_weight is not None else "weights='probability'"
        raise ValueError(
            f"with {why} the objective is no likelihood, and model-based standard errors are wrong: use "
            "covariance='HC1', which holds for weighted rows"
        )
    if model.class_weight is not None and weights == "frequency":
        raise ValueError("class_weight makes weights that are no frequencies: use weights='probability'")


def _penalty(model: Any, penalized: bool) -> tuple[Any, bool]:
    """The penalty, and whether there is none; refused where errors would not be honest."""
    penalty = read_penalty(model.penalty, model.C, model.l1_ratio)
    bare = bool(np.isinf(penalty.C))
    if not bare and penalty.l1_ratio:
        raise ValueError(
            "an L1 penalty chooses its columns by these very rows, so no standard error of what it left is honest: fit "
            "the chosen columns with C=np.inf on other rows, and summarize that"
        )
    if not bare and not penalized:
        raise ValueError(
            f"the fit has an L2 penalty (C={penalty.C:g}): its coefficients are drawn towards zero, so intervals "
            "around them do not hold the true ones at the stated level. Fit with C=np.inf; or ask for summary(..., "
            "penalized=True), which gives the spread of the penalised coefficients and no tests"
        )
    return penalty, bare


def _read(model: Any, X: Any, y: Any, sample_weight: Any, groups: Any, offset: Any) -> tuple[_Data, list[str]]:
    """The rows as `fit` takes them: labels as numbers, weights with those of the classes, no rows of weight 0."""
    X, y = validate_data(model, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=False)
    N = X.shape[0]
    weight = row_weights(sample_weight, N)
    if model.class_weight is not None:
        label = _labels(model, y)
        each = compute_class_weight(model.class_weight, classes=model.classes_, y=y, sample_weight=weight)
        weight = row_weights(each[label] * (1.0 if weight is None else weight), N, "class_weight")
    which: Any = np.arange(N) if weight is None else np.flatnonzero(weight)
    X, y, weight = kept(X, y, weight)
    if groups is not None:
        groups = np.asarray(groups)
        if groups.shape != (N,):
            raise ValueError(f"groups has the shape {groups.shape}; X has {N} rows, so it must be ({N},)")
        groups = np.unique(groups[which], return_inverse=True)[1]
        if groups.max() == 0:
            raise ValueError("groups holds one cluster: standard errors need at least two")
    z = logit_offset(offset, N, len(model.classes_))
    names = getattr(model, "feature_names_in_", None)
    names = [f"x{j}" for j in range(X.shape[1])] if names is None else list(names)
    return _Data(X, _labels(model, y), weight, groups, X.shape[0], None if z is None else z[which]), names


def _labels(model: Any, y: Any) -> Any:
    at = np.searchsorted(model.classes_, y)
    label = np.minimum(at, len(model.classes_) - 1)
    strange = model.classes_[label] != y
    if strange.any():
        raise ValueError(
            f"y holds {y[strange].tolist()[0]!r}, which is none of the model's classes {model.classes_.tolist()}"
        )
    return label


def _reference(model: Any, reference: Any) -> int:
    if reference is None:
        return 0
    found = np.flatnonzero(model.classes_ == reference)
    if not len(found):
        raise ValueError(f"reference={reference!r} is none of the classes {model.classes_.tolist()}")
    return int(found[0])


def _at_maximum(model: Any, f: Any, data: _Data, names: list[str], bare: bool) -> Maximum:
    """The exact maximum on these rows, if there is one and the model is at it."""
    if bare:
        repeated = dependent(f)
        if len(repeated):
            which = ", ".join([*names, "the intercept"][j] for j in repeated)
            raise ValueError(
                f"columns depend linearly on each other, so their coefficients are not determined: {which}. "
                "Leave out enough of them"
            )
    coef = model.coef_.toarray() if sparse.issparse(model.coef_) else model.coef_
    start = np.column_stack([coef, model.intercept_]) if f.fit_intercept else coef
    at = maximum(f, start, float(f.X.shape[0] if data.weight is None else data.weight.sum()))
    if bare and at.certain:
        found = find_separation(data.X, data.label, fit_intercept=f.fit_intercept, feature_names=names)
        if found:
            raise ValueError(f"the likelihood has no maximum. {found}")
    if not at.distance < FAR:
        raise ValueError(
            f"the coefficients are {at.distance:.2g} standard errors from the best ones for these rows: give the X, y "
            "and sample_weight of the fit; or, if these are they, fit with a smaller tol"
        )
    return at


def _covariance(f: Any, at: Maximum, data: _Data, covariance: str, weights: str, bare: bool) -> Any:
    """Of the coefficients, (V P, V P); only contrasts of classes have a meaning where no penalty holds them."""
    if covariance == "model":
        return at.inverse if bare else at.inverse @ at.information @ at.inverse
    weight = np.ones(data.rows) if data.weight is None else data.weight
    n = float(weight.sum()) if weights == "frequency" else float(data.rows)
    if covariance == "cluster":
        G, size = int(data.groups.max()) + 1, _coefficients(f)
        B = meat(f, at.theta, weight, data.groups) * (G / (G - 1) * (n - 1) / (n - size))
    else:
        B = meat(f, at.theta, np.sqrt(weight) if weights == "frequency" else weight)
        if covariance == "HC1":
            B *= n / (n - _coefficients(f))
    return at.inverse @ B @ at.inverse


def _coefficients(f: Any) -> int:
    """Free coefficients: of K classes, K - 1 have them."""
    return max(1, f.classes - 1) * f.shape[1]


def _figures(f: Any, at: Maximum, data: _Data, weights: str, bare: bool) -> dict[str, Any]:
    size, intercepts = float(_coefficients(f)), max(1, f.classes - 1) * f.fit_intercept
    if not bare:
        # of a change of all classes alike, the unpenalised coordinates count 1 each in `information`
        size = float(np.einsum("ij,ji->", at.inverse, at.information))
        size -= int((f.penalty == 0).sum()) if f.vectors > 1 else 0
    frequency = weights == "frequency"
    n = at.total if frequency else float(data.rows)
    null = _null(f, at.total) if frequency else np.nan
    ll = at.log_likelihood
    df = size - intercepts
    tested = bare and frequency and df > 0
    return {
        "n": n,
        "df_model": df,
        "df_residual": n - size,
        "log_likelihood": ll,
        "null_log_likelihood": null,
        "aic": 2 * size - 2 * ll if frequency else np.nan,
        "bic": np.log(n) * size - 2 * ll if frequency else np.nan,
        "mcfadden": 1 - ll / null if frequency else np.nan,
        "likelihood_ratio": chi_square(2 * (ll - null), int(df)) if tested else None,
        "wald": None,
    }


def _null(f: Any, total: float) -> float:
    """The log-likelihood with intercepts alone, or with nothing; the offset stays."""
    if f.offset is not None:
        if not f.fit_intercept:
            return -total * Rows(f).value(f.offset)
        bare = SoftmaxObjective(
            f.X[:, :0], f.label, f.classes, weight=f.weight, fit_intercept=True, dtype=np.float64, offset=f.offset
        )
        return maximum(bare, np.zeros(bare.shape), total).log_likelihood
    if not f.fit_intercept:
        return -total * float(np.log(f.classes))
    share = np.bincount(f.label, weights=f.weight, minlength=f.classes)
    return -total * float(special.entr(share).sum())


def _with_tests(model: Any, table: Summary, f: Any, at: Maximum, data: _Data, likelihood_ratio: bool) -> Summary:
    names = [name for name in table.names if name != "intercept"] if f.fit_intercept else list(table.names)
    if np.isnan(table.z).all():
        return table
    columns: dict[str, dict[str, Test]] = {name: {"wald": table.wald_test(name)} for name in names}
    if likelihood_ratio:
        if np.isnan(table.aic):
            raise ValueError("weights='probability' has no likelihood, so no likelihood-ratio tests")
        df = len(table.classes)
        for j, name in enumerate(names):
            less = _without(model, f, at, data, j)
            columns[name]["likelihood_ratio"] = chi_square(2 * (at.log_likelihood - less), df)
    return replace(table, columns=columns, wald=table.wald_test(names) if names else None)


def _without(model: Any, f: Any, at: Maximum, data: _Data, j: int) -> float:
    """The log-likelihood of the fit without column j."""
    rest = np.delete(np.arange(f.X.shape[1]), j)
    if not len(rest):
        return _null(f, at.total)
    penalty = read_penalty(model.penalty, model.C, model.l1_ratio)
    X = data.X[:, rest] if sparse.issparse(data.X) else np.ascontiguousarray(data.X[:, rest])
    task = make_task(model, X, data.label, f.classes, data.weight, penalty)
    less = replace(task, offset=data.offset).objective(np.float64)
    return maximum(less, np.delete(at.theta, j, axis=1), at.total).log_likelihood


def _kind(covariance: str, weights: str, data: _Data) -> str:
    words = {
        "model": "model-based",
        "HC0": "robust (HC0)",
        "HC1": "robust (HC1)",
        "cluster": "robust, clustered",
    }[covariance]
    return words if data.weight is None else f"{words}; {weights} weights"


def _notes(at: Maximum, bare: bool) -> tuple[str, ...]:
    notes = []
    if not bare:
        notes.append(
            "L2 penalty: errors and intervals are those of the penalised coefficients around their own mean, which is "
            "drawn towards zero; they are not intervals for the true coefficients, and there are no tests. Degrees of "
            "freedom are effective ones."
        )
    if at.change > WORTH_TELLING:
        notes.append(
            f"the table is of the exact maximum; coef_ differs from it by up to {at.change:.2g} standard errors "
            "(a smaller tol would bring them together)."
        )
    return tuple(notes)
