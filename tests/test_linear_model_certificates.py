"""What fits say of their own optimum, held against gradients and objectives that NumPy computes in float64."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import scale

from xent.linear_model import LogisticRegression

DIABETES, LINNERUD, DIGITS = (
    getattr(datasets, f"load_{n}")(return_X_y=True) for n in ("diabetes", "linnerud", "digits")
)
SETS = {
    "iris": datasets.load_iris(return_X_y=True),
    "wine": datasets.load_wine(return_X_y=True),
    "breast cancer": datasets.load_breast_cancer(return_X_y=True),
    "digits": (DIGITS[0][:200], DIGITS[1][:200]),
    "diabetes": (DIABETES[0], (DIABETES[1] > np.median(DIABETES[1])).astype(int)),
    "linnerud": (LINNERUD[0], (LINNERUD[1][:, 0] > np.median(LINNERUD[1][:, 0])).astype(int)),
}
FITS = {
    "auto": {},
    "lbfgs": {"solver": "lbfgs"},
    "newton-cg": {"solver": "newton-cg"},
    "newton-cholesky": {"solver": "newton-cholesky"},
    "L1": {"l1_ratio": 1.0},
    "elastic net": {"l1_ratio": 0.5},
    "group lasso": {"l1_ratio": 1.0, "group_lasso": True},
}


def truth(model, X, y, C, l1_ratio, grouped):
    """The objective, and the largest violation of the optimality conditions in units of features above 100."""
    W, b, N = model.coef_, model.intercept_, len(y)
    label = np.searchsorted(model.classes_, y)
    z = X @ W.T + b
    z = np.column_stack([np.zeros(N), z]) if z.shape[1] == 1 else z
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    r = (np.exp(log_p) - np.eye(len(model.classes_))[label])[:, -len(W) :] / N
    l1, l2 = l1_ratio / (C * N), (1 - l1_ratio) / (C * N)
    size = np.linalg.norm(W, axis=0) if grouped else np.abs(W)
    value = -log_p[np.arange(N), label].mean() + l1 * size.sum() + l2 / 2 * (W**2).sum()
    G = r.T @ X + l2 * W
    with np.errstate(invalid="ignore"):
        inside = G + l1 * np.where(size > 0, W / size, 0)
    length = (lambda a: np.linalg.norm(a, axis=0)) if grouped else np.abs
    off = np.where(size > 0, length(inside), np.maximum(length(G) - l1, 0))
    off = off / np.maximum(1, np.abs(X).max(axis=0) / 100)
    return value, max(off.max(), np.abs(r.sum(axis=0)).max())


@pytest.mark.parametrize("C", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("fit", list(FITS))
@pytest.mark.parametrize("name", list(SETS))
def test_certificates_hold(name, fit, C):
    X, y = SETS[name]
    options = FITS[fit]
    if name == "digits" and (fit == "newton-cholesky" or (C > 1 and fit in ("L1", "elastic net"))):
        pytest.skip("seconds")
    for features in (X, scale(X)):
        model = LogisticRegression(C=C, **options)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            model.fit(features, y)
        warned = any(issubclass(w.category, ConvergenceWarning) for w in seen)
        assert warned == (model.convergence_ > model.tol)
        grouped = bool(options.get("group_lasso")) and len(model.classes_) > 2
        value, off = truth(model, features, y, C, model.l1_ratio, grouped)
        assert model.objective_ == pytest.approx(value, rel=1e-9, abs=1e-12)
        assert off <= 1.0001 * model.convergence_ + 1e-12
        if model.l1_ratio:  # nothing found by a longer way is lower by more than the gap
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                further = LogisticRegression(C=C, tol=1e-9, max_iter=200, **options).fit(features, y)
            assert model.objective_ - further.objective_ <= model.dual_gap_ + 1e-13


def test_a_coordinate_that_goes_to_zero_and_back_does_not_end_the_inner_steps():
    # one coefficient of iris as it comes was moved up by sweeps and down by Newton steps: 784 models, 73 s
    X, y = SETS["iris"]
    model = LogisticRegression(C=1e4, l1_ratio=0.5, tol=1e-8, max_iter=40)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(X, y)
    assert truth(model, X, y, 1e4, 0.5, False)[1] <= 1e-8
