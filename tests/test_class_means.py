"""Coordinates of many classes, and where their fits begin: against NumPy's textbook Hessian and fits without them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, sparse

from hessian_truth import class_blocks
from xent.class_means import class_means, drawn, first_guess, rows_looked_at, worth_it
from xent.coordinates import PerClass, SharedAndOwn
from xent.objective import SoftmaxObjective
from xent.preconditioned import Staged, begun
from xent.solvers import lbfgs


def found(space, K, P):
    """The matrices (K, P, P) whose inverses ``T_k T_k'`` are."""
    out = []
    for k in range(K):
        columns = []
        for e in np.eye(P):
            v = np.zeros((K, P))
            v[k] = e
            w = space.to_parameters(v)
            columns.append(w[k] - w[k - 1])  # without what is taken off all classes alike
        T = np.array(columns).T
        out.append(np.linalg.inv(T @ T.T))
    return np.array(out)


def around(rng, N, D, K, spread=1.0, shares=None):
    """Rows around the centres of their classes."""
    y = np.r_[np.arange(K), rng.choice(K, size=N - K, p=shares)]
    return rng.normal(size=(K, D))[y] + spread * rng.normal(size=(N, D)) * np.arange(1, D + 1) ** -0.3, y


@pytest.fixture
def many(monkeypatch):
    """No factor of a class fits into memory, as where there are a thousand."""
    monkeypatch.setattr("xent.class_factors.HELD", 0)
    monkeypatch.setattr("xent.class_factors.SHARE", 0.0)


@pytest.mark.parametrize("R", [0, 1, 3])
def test_coordinates_of_a_share_and_directions(R):
    rng = np.random.default_rng(R)
    root, penalty, share = rng.normal(size=(6, 5)), np.array([0.3, 0, 2, 1e-3, 0, 5]), rng.random(4) + 0.01
    own = rng.normal(size=(R, 4, 6)) * [1, 10, 1e-3, 1, 1, 1]
    shared = root @ root.T + 0.01 * np.eye(6)
    H = share[:, None, None] * shared + np.diag(penalty) + np.einsum("rkp,rkq->kpq", own, own)
    space = SharedAndOwn(shared.copy(), penalty, share, own)
    np.testing.assert_allclose(found(space, 4, 6), H, rtol=1e-6, atol=1e-7 * np.abs(H).max())
    np.testing.assert_allclose(space.sizes**2, np.einsum("kii->ki", H), rtol=1e-12)
    T = np.array([space.to_parameters(e.reshape(4, 6)).ravel() for e in np.eye(24)]).T
    inside = np.kron(np.eye(4) - 1 / 4, np.eye(6))
    np.testing.assert_allclose(T @ T.T, inside @ linalg.block_diag(*np.linalg.inv(H)) @ inside, rtol=1e-6, atol=1e-6)
    v, w = rng.normal(size=(2, 4, 6))
    np.testing.assert_allclose(space.pull_back(w).ravel(), T.T @ w.ravel(), atol=1e-9)
    np.testing.assert_allclose(space.to_parameters(space.to_coordinates(w)), w - w.mean(axis=0), atol=1e-8)
    assert abs(space.to_parameters(v).sum(axis=0)).max() < 1e-12


@pytest.mark.parametrize("weighted", [False, True])
def test_blocks_have_their_means_and_add_up(weighted, monkeypatch):
    """Of all rows, what each class says of its intercept is exact, and so is the sum of all classes."""
    rng = np.random.default_rng(1)
    monkeypatch.setattr("xent.class_means.LEAST", 1e-9)
    X, y = around(rng, 300, 6, 13)
    weight = rng.random(300) if weighted else None
    f = SoftmaxObjective(X, y, 13, weight=weight, l2=0.01, intercept_l2=1e-3, fit_intercept=True)
    assert rows_looked_at(f) == 300
    theta = 0.5 * rng.normal(size=f.shape)
    space, curvature, step = class_means(f, theta)
    assert step == 1
    assert curvature.sum() == pytest.approx(f.curvature(theta).sum(), rel=1e-6)  # of float32 logits
    H, truth = found(space, *f.shape) - np.diag(f.penalty), class_blocks(f, theta)
    np.testing.assert_allclose(H[:, -1], truth[:, -1], atol=1e-6 * np.abs(truth).max())
    np.testing.assert_allclose(H.sum(axis=0), truth.sum(axis=0), atol=1e-6 * np.abs(truth).max())


def test_drawn_rows_tell_the_blocks():
    """The eigenvalues of whole blocks in those of some rows stay around one; in what is shared they do not."""
    rng = np.random.default_rng(2)
    X, y = around(rng, 12_000, 20, 60, spread=1.5)
    f = SoftmaxObjective(X, y, 60, l2=1e-5, fit_intercept=True)
    assert rows_looked_at(f) == 1500
    theta = first_guess(f)
    space, _, _ = class_means(f, theta)
    truth, some = class_blocks(f, theta) + np.diag(f.penalty), found(space, *f.shape)
    ratios = np.array([linalg.eigvalsh(H, M)[[0, -1]] for H, M in zip(truth, some, strict=True)])
    shared = np.array([linalg.eigvalsh(H, truth.mean(axis=0))[[0, -1]] for H in truth])
    assert np.median(ratios[:, 1] / ratios[:, 0]) < 0.5 * np.median(shared[:, 1] / shared[:, 0])
    assert 0.15 < ratios[:, 0].min() < ratios[:, 1].max() < 8


def test_rows_are_drawn_from_every_class():
    rng = np.random.default_rng(3)
    y = np.r_[np.zeros(9000), np.ones(990), np.full(7, 2), np.full(3, 3)].astype(int)
    rng.shuffle(y)
    weight = rng.exponential(size=10_000) ** 2
    weight[y == 3] = [0, 1, 2]
    f = SoftmaxObjective(rng.normal(size=(10_000, 3)), y, 4, weight=weight, fit_intercept=True)
    at, stands_for = drawn(f)
    assert (np.diff(at) > 0).all()
    assert abs(len(at) - rows_looked_at(f)) <= 4
    assert set(np.flatnonzero((y >= 2) & (f.weight > 0.1 * f.weight.mean()))) <= set(at)
    sums = [np.bincount(y[a], w, minlength=4) for a, w in ((slice(None), f.weight), (at, stands_for))]
    np.testing.assert_allclose(sums[1], sums[0], rtol=1e-2)
    assert np.isin(np.argsort(-f.weight * (y == 1))[:5], at).all()  # those of much weight are in


@pytest.mark.parametrize("intercept", [False, True])
def test_a_guess_is_the_lowest_of_its_line(intercept):
    rng = np.random.default_rng(4)
    shares = np.arange(1, 31) ** -1.0
    X, y = around(rng, 1500, 12, 30, shares=shares / shares.sum())
    f = SoftmaxObjective(X, y, 30, l2=1e-3, fit_intercept=intercept)
    guess = first_guess(f)
    assert abs(guess.sum(axis=0)).max() < 1e-10
    start = np.zeros(f.shape)
    if intercept:
        share = np.bincount(y) / len(y)
        start[:, -1] = np.log(share) - np.log(share).mean()
    along = [f.value_and_grad((start + t * (guess - start)).ravel())[0] for t in (0, 0.8, 1, 1.25)]
    assert along[2] < min(along[1], along[3])
    best = lbfgs(f.preconditioned(), np.zeros(f.shape), tol=1e-6, max_iter=300).value
    assert along[2] - best < 0.3 * (along[0] - best)


def test_where_there_is_no_guess_and_where_none_is_wanted(many):
    rng = np.random.default_rng(5)
    X, y = around(rng, 400, 5, 12)
    fixed = SoftmaxObjective(X, y, 12, l2=0.1, fit_intercept=True, offset=rng.normal(size=(400, 12)))
    assert first_guess(fixed) is None
    problem, theta = begun(fixed, np.zeros(fixed.shape), rough=None, tol=0.0)
    assert not theta.any()
    assert isinstance(problem.renewed(rng.normal(size=fixed.shape)).coordinates, SharedAndOwn)
    for X_there in (1e200 * X, 1e-200 * X):
        far = SoftmaxObjective(X_there, y, 12, fit_intercept=True)
        assert first_guess(far) is None
        assert class_means(far, np.zeros(far.shape)) is None
        begun(far, np.zeros(far.shape), rough=None, tol=0.0)
        assert not worth_it(far, np.inf)  # known from then on
    f = SoftmaxObjective(X, y, 12, l2=0.1, fit_intercept=True)
    start = rng.normal(size=f.shape)
    problem, theta = begun(f, start, rough=None, tol=0.0)
    assert theta is start
    assert isinstance(problem.coordinates, SharedAndOwn)
    assert worth_it(f, np.inf)
    assert not worth_it(f, 0.01)
    assert not worth_it(SoftmaxObjective(sparse.csr_array(X), y, 12, fit_intercept=True), np.inf)
    assert not worth_it(SoftmaxObjective(X, y > 5, 2, fit_intercept=True), np.inf)


def test_factors_that_fit_into_memory_stay_first():
    rng = np.random.default_rng(6)
    X, y = around(rng, 400, 5, 12)
    f = SoftmaxObjective(X, y, 12, l2=0.1, fit_intercept=True)
    problem, theta = begun(f, np.zeros(f.shape), rough=None, tol=1e-4)
    assert not theta.any()
    assert not isinstance(problem.coordinates, SharedAndOwn)


def test_fits_whose_factors_follow_begin_about_the_means_where_that_costs_little(monkeypatch):
    rng = np.random.default_rng(8)
    X, y = around(rng, 4000, 16, 20)
    f = SoftmaxObjective(X, y, 20, l2=1e-4, fit_intercept=True)
    zero, counted, plain = np.zeros(f.shape), [], SoftmaxObjective.value_and_grad
    monkeypatch.setattr(SoftmaxObjective, "value_and_grad", lambda s, t: (counted.append(1), plain(s, t))[1])
    ends, passes = [], []
    for little in (0.0, np.inf):
        monkeypatch.setattr("xent.preconditioned.LITTLE", little)
        problem, start = begun(f, zero, rough=None, tol=1e-8)
        assert isinstance(problem.coordinates, SharedAndOwn) is bool(little)
        counted.clear()
        ends.append(lbfgs(problem, start, tol=1e-8, max_iter=300))
        passes.append(len(counted))
        assert isinstance(problem.renewed(rng.normal(size=f.shape)).coordinates, PerClass)
        warm = rng.normal(size=f.shape)
        assert begun(f, warm, rough=None, tol=1e-8)[1] is warm  # a start that is given stays
    assert ends[0].converged
    assert ends[1].converged
    assert ends[1].value == pytest.approx(ends[0].value, abs=1e-13)
    assert passes[1] < passes[0]


CASES = ["even", "uneven", "float32", "weights", "offset", "no intercept", "columns", "separable"]


@pytest.mark.parametrize("case", CASES)
def test_fits_end_at_the_same_minimum_in_fewer_passes(case, many, monkeypatch):
    rng = np.random.default_rng(7)
    K, shares = 60, np.arange(1, 61) ** -1.0 if case == "uneven" else np.ones(60)
    X, y = around(rng, 6000, 24, K, 0.1 if case == "separable" else 1.5, shares / shares.sum())
    if case == "columns":
        X[:, 3], X[:, 4], X[:, 5], X[:, 6] = X[:, 2], 0, 1, 1e4 * X[:, 6]
        X[:, 7] = np.arange(6000) == 17
    options = {
        "weight": 10.0 ** rng.uniform(-5, 5, 6000) if case == "weights" else None,
        "offset": rng.normal(size=(6000, K)) if case == "offset" else None,
    }
    X = X.astype(np.float32) if case == "float32" else X
    f = SoftmaxObjective(X, y, K, l2=1e-4, fit_intercept=case != "no intercept", dtype=np.float64, **options)
    counted = []
    plain = SoftmaxObjective.value_and_grad
    monkeypatch.setattr(SoftmaxObjective, "value_and_grad", lambda s, t: (counted.append(1), plain(s, t))[1])
    alike = lbfgs(f.preconditioned(), np.zeros(f.shape), tol=1e-6, max_iter=1000)
    before = len(counted)
    problem, start = begun(f, np.zeros(f.shape), rough=None, tol=1e-6)
    own = lbfgs(problem, start, tol=1e-6, max_iter=1000)
    assert isinstance(problem, Staged)
    assert own.converged
    assert own.value == pytest.approx(alike.value, rel=1e-9, abs=1e-11)
    assert len(counted) - before < 0.75 * before
