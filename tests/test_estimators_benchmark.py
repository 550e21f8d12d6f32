"""The benchmark of whole fits: that its judge is right, and that a fit in a process of its own is judged by it."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.estimators import data, judge, run, work
from scipy import sparse
from scipy.optimize import approx_fprime

RNG = np.random.default_rng(4)


@pytest.mark.parametrize("V", [1, 3])
@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix])
def test_the_gradient_is_the_values(V, make):
    X, y = RNG.normal(size=(20, 4)), np.arange(20) % max(V, 2)
    theta = RNG.normal(size=V * 5)

    def split(t):
        return t[: V * 4].reshape(V, 4), t[V * 4 :]

    value, dW, db = judge.gradient(make(X), y, *split(theta))
    slopes = approx_fprime(theta, lambda t: judge.gradient(X, y, *split(t))[0], 1e-7)
    np.testing.assert_allclose(np.r_[dW.ravel(), db], slopes, atol=1e-6)
    if V == 1:  # the mean of -log p, in probabilities
        p = 1 / (1 + np.exp(-(X @ theta[:4] + theta[4])))
        assert value == pytest.approx(-np.log(np.where(y == 1, p, 1 - p)).mean(), rel=1e-12)


def test_an_l1_penalty_is_judged_by_the_subgradient_nearest_to_zero():
    X, y = RNG.normal(size=(50, 3)), np.arange(50) % 2
    top = judge.largest_penalty(X, y, 1)
    b = judge.null(y, 1)
    assert judge.largest(X, y, np.zeros((1, 3)), b, 1.001 * top, 0)[1] < 1e-12  # the minimum
    assert judge.largest(X, y, np.zeros((1, 3)), b, 0.9 * top, 0)[1] == pytest.approx(0.1 * top)
    some = np.array([[0.0, 1e-9, 0.0]])  # a coefficient that is there has a slope of its own
    assert judge.largest(X, y, some, b, 1.001 * top, 0)[1] > 1e-3 * top


def test_every_case_can_be_made_small_and_is_what_it_says():
    rng = np.random.default_rng(0)
    sizes = {"pixels": {"N": 20}, "words": {"N": 50, "D": 500}, "embeddings": {"N": 60, "D": 8, "K": 5}}
    for name, maker in data.MAKERS.items():
        X, y = maker(rng, **sizes.get(name, {} if name in ("digits", "cancer") else {"N": 300}))
        assert X.shape[0] == len(y)
        assert np.isfinite(X.data if sparse.issparse(X) else X).all()
        assert len(np.unique(y)) > 1
    assert {c.make for c in data.CASES.values()} == set(data.MAKERS)


def test_a_fit_in_its_own_process(tmp_path):
    name = "cancer 569 x 30, unscaled"
    data.make(data.CASES[name], tmp_path)
    found = run.fit(name, run.AS_IT_COMES, 0.0, str(tmp_path), threads=1, budget=30)
    assert found["gradient"] < 1e-4
    assert found["intercept"] == "free"
    X, y = data.load(data.CASES[name], tmp_path)
    posed = work.problem(data.CASES[name], X, y)
    assert pytest.approx(1) == posed.C
    assert found["objective"] < judge.gradient(X, y, np.zeros((1, 30)), judge.null(y, 1))[0]


def test_a_fit_beyond_its_budget_is_none(tmp_path):
    name = "digits 1797 x 64, 10 classes"
    data.make(data.CASES[name], tmp_path)
    assert run.fit(name, "sklearn saga", 1e-12, str(tmp_path), threads=1, budget=0.5) is None
