"""Coordinates of a factor for each class, drawn rows, and passes in float32: against NumPy's textbook Hessian."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg, sparse
from sklearn.exceptions import ConvergenceWarning

from hessian_truth import class_blocks
from xent.class_factors import ClassMoments, class_factors, draw, drawn_rows, worth_it
from xent.linear_model import LogisticRegression
from xent.objective import SoftmaxObjective
from xent.preconditioned import ROUGH, Staged


@pytest.mark.parametrize("intercept", [False, True])
def test_coordinates_are_those_of_the_blocks(intercept, monkeypatch):
    rng = np.random.default_rng(0)
    monkeypatch.setattr("xent.class_factors.LEAST", 0.0)
    X, y = rng.normal(size=(60, 5)) * [1, 10, 0.1, 1, 1], rng.integers(0, 4, 60)
    f = SoftmaxObjective(X, y, 4, weight=rng.random(60), l2=0.3, fit_intercept=intercept)
    theta = 0.3 * rng.normal(size=f.shape)
    theta -= theta.mean(axis=0)
    problem = f.preconditioned(None, Staged, tol=1e-6).renewed(theta)
    v = problem.to_coordinates(theta)
    np.testing.assert_allclose(problem.to_parameters(v), theta, atol=1e-12)
    value, gradient = problem.value_and_grad(v)
    assert value == pytest.approx(f.value_and_grad(theta.ravel())[0], rel=1e-13)
    h = 1e-6
    for i in range(v.size):
        e = np.zeros(v.size)
        e[i] = h
        slope = (problem.value_and_grad(v + e)[0] - problem.value_and_grad(v - e)[0]) / (2 * h)
        assert gradient[i] == pytest.approx(slope, abs=1e-8)
    # T T' is the inverse of the blocks between the points whose sum over classes is zero
    T = np.array([problem.coordinates.to_parameters(e.reshape(f.shape)).ravel() for e in np.eye(v.size)]).T
    inside = np.kron(np.eye(4) - 1 / 4, np.eye(f.shape[1]))
    inverse = linalg.block_diag(*np.linalg.inv(class_blocks(f, theta) + np.diag(f.penalty)))
    np.testing.assert_allclose(T @ T.T, inside @ inverse @ inside, rtol=1e-5, atol=1e-8)


def test_what_classes_share_is_left_out():
    rng = np.random.default_rng(1)
    f = SoftmaxObjective(rng.normal(size=(50, 3)), rng.integers(0, 3, 50), 3, l2=0.1, fit_intercept=True)
    space, _, _ = class_factors(f, np.zeros(f.shape))
    assert abs(space.to_parameters(rng.normal(size=f.shape)).sum(axis=0)).max() < 1e-13
    w = rng.normal(size=f.shape)
    np.testing.assert_allclose(space.to_parameters(space.to_coordinates(w)), w - w.mean(axis=0), atol=1e-12)


def test_rows_are_drawn_with_their_share():
    rng = np.random.default_rng(2)
    weight = rng.exponential(size=10_000) ** 3
    weight[5] = weight.sum()  # more than one share: in, as it is
    at, stands_for = draw(weight, 300)
    assert len(set(at)) == len(at)
    assert abs(len(at) - 300) <= 1
    assert stands_for[at == 5] == weight[5]
    assert stands_for.sum() == pytest.approx(weight.sum(), rel=1e-12)
    x = rng.normal(size=10_000)
    rest = np.arange(10_000) != 5
    mean = np.average(x[rest], weights=weight[rest])
    drawn = at != 5
    error = np.average(x[at[drawn]], weights=stands_for[drawn]) - mean
    assert abs(error) < 4 / np.sqrt(300)
    few, own = draw(np.array([0.0, 2.0, 0.0, 1.0]), 10)  # no more than there are
    assert dict(zip(few, own, strict=True)) == {1: 2.0, 3: 1.0}
    assert draw(np.zeros(4), 2)[0].size == 0


def test_drawn_rows_tell_the_blocks():
    """Of 30000 rows some hundred: the eigenvalues of one in the other stay around one."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(30_000, 12)) @ rng.normal(size=(12, 12))
    theta = rng.normal(size=(5, 12)) * 0.5
    theta -= theta.mean(axis=0)
    y = (X @ theta.T + rng.gumbel(size=(30_000, 5))).argmax(axis=1)
    f = SoftmaxObjective(X, y, 5, l2=1e-5, fit_intercept=False)
    assert drawn_rows(f) == 512
    space, curvature, step = class_factors(f, theta)
    np.testing.assert_allclose(curvature, f.curvature(theta, step), rtol=1e-8)
    for H, found in zip(class_blocks(f, theta) + np.diag(f.penalty), found_blocks(space), strict=True):
        ratios = linalg.eigvalsh(found, H)
        assert 0.5 < ratios.min() < ratios.max() < 2


def test_columns_that_few_rows_have():
    """Rows that are drawn miss them; their diagonal is what all rows tell."""
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(40_000, 6)), rng.integers(0, 3, 40_000)
    X[:, 5] = 0
    X[rng.choice(40_000, 10, replace=False), 5] = 3
    f = SoftmaxObjective(X, y, 3, l2=1e-9, fit_intercept=True)
    space, _, _ = class_factors(f, np.zeros(f.shape))
    np.testing.assert_allclose(space.sizes[:, 5] ** 2, 10 * 9 / 40_000 * 2 / 9, rtol=0.1)


@pytest.mark.parametrize("make", ["twice", "zero", "huge", "tiny", "constant"])
def test_features_that_are_hard_to_factor(make):
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(400, 6)), rng.integers(0, 4, 400)
    X[:, 5] = {"twice": X[:, 4], "zero": 0.0, "huge": 1e160, "tiny": 1e-160 * X[:, 5], "constant": 1.0}[make]
    f = SoftmaxObjective(X, y, 4, l2=1e-6 if make != "huge" else 0.0, fit_intercept=True)
    space, _, _ = class_factors(f, np.zeros(f.shape))
    there = space.to_parameters(rng.normal(size=f.shape))
    assert np.isfinite(there).all()
    assert np.isfinite(space.to_coordinates(there)).all()


def found_blocks(space):
    """What the factors are of, (K, P, P)."""
    return [
        np.tril(L) @ np.tril(L).T / scale[:, None] / scale for scale, L in zip(space.scale, space.factors, strict=True)
    ]


@pytest.mark.parametrize(
    ("features", "rounded"),
    [
        ("alike", True),
        ("units", True),  # from 1e-6 to 1e6
        ("correlated", True),  # up to 0.99: a fiftieth of the last is its own
        ("no rows", True),  # a column of zeros
        ("far", False),  # from zero by 3000 deviations: no digit of their float32 squares is theirs
        ("dependent", False),  # but for 1e-5
        ("small", False),  # squares that float32 takes for zero
        ("large", False),  # or for infinite
        ("some small", False),  # of few rows
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_in_float32_where_that_does(features, rounded, dtype, monkeypatch):
    """Of all rows, so that nothing but rounding stands between a factor and the textbook's block."""
    monkeypatch.setattr("xent.class_factors.LEAST", 0.0)
    rng = np.random.default_rng(13)
    X, y = rng.normal(size=(400, 8)), rng.integers(0, 3, 400)
    if features == "units":
        X *= 10.0 ** rng.integers(-6, 7, 8)
    elif features == "correlated":
        X[:, 4:] = X[:, :4] + 0.15 * X[:, 4:]
    elif features == "no rows":
        X[:, 3] = 0
    elif features == "far":
        X += 3000
    elif features == "dependent":
        X[:, 7] = X[:, :7].sum(axis=1) + 1e-5 * X[:, 7]
    elif features == "small":
        X[:, 3] *= 1e-18
    elif features == "large":
        X[:, 3] *= 1e22
    elif features == "some small":
        X[:, 3] = np.where(np.arange(400) < 5, 1e-18, 0)
    X = X.astype(dtype)
    l2 = 0.0 if features != "no rows" else 1e-3
    f = SoftmaxObjective(X.astype(np.float64), y, 3, l2=l2, fit_intercept=True)
    theta = np.zeros(f.shape)
    stored = SoftmaxObjective(X, y, 3, l2=l2, fit_intercept=True)
    found = ClassMoments(stored, theta, 400)
    space = found.coordinates(stored.penalty)
    assert stored.rounded_moments is rounded
    again = ClassMoments(stored, theta, 400).coordinates(stored.penalty, last=True)
    assert stored.rounded_moments is rounded
    for H, made, other in zip(
        class_blocks(f, theta) + np.diag(f.penalty), found_blocks(space), found_blocks(again), strict=True
    ):
        size = 1 / np.sqrt(np.diag(H))
        some = H * size[:, None] * size  # all of size one, for the eigenvalues
        # as exact as coordinates have to be: what is drawn is out by tenths
        ratios = linalg.eigvalsh(made * size[:, None] * size, some + 1e-10 * np.eye(len(H)))
        assert 0.97 < ratios.min() < ratios.max() < 1.03
        np.testing.assert_allclose(other, made, rtol=1e-12, atol=1e-12 / size.min() ** 2)


def test_a_factor_that_fails_gets_more_on_its_diagonal(monkeypatch):
    """Not the identity: the columns that are told apart keep what is theirs."""
    monkeypatch.setattr("xent.class_factors.JITTER", 1e-20)
    monkeypatch.setattr("xent.class_factors.LEAST", 0.0)
    rng = np.random.default_rng(14)
    X, y = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 30)), rng.integers(0, 3, 300)
    f = SoftmaxObjective(X, y, 3, fit_intercept=False)
    space = ClassMoments(f, np.zeros(f.shape), 300).coordinates(f.penalty)
    for H, made in zip(class_blocks(f, np.zeros(f.shape)) + np.diag(f.penalty), found_blocks(space), strict=True):
        np.testing.assert_allclose(made, H, atol=1e-5 * np.diag(H).max())


def test_where_they_are_not_worth_it():
    rng = np.random.default_rng(6)
    X, y = rng.normal(size=(300, 20)), rng.integers(0, 3, 300)
    three = SoftmaxObjective(X, y, 3, fit_intercept=True)
    assert worth_it(three, np.inf)
    assert not worth_it(three, 0.1)
    assert not worth_it(SoftmaxObjective(sparse.csr_array(X), y, 3, fit_intercept=True), np.inf)
    assert not worth_it(SoftmaxObjective(X, y > 0, 2, fit_intercept=True), np.inf)
    wide = SoftmaxObjective(rng.normal(size=(10, 2000)), y[:10], 3, fit_intercept=True)
    assert not worth_it(wide, np.inf)  # three factors would take 96 MB
    huge = SoftmaxObjective(1e200 * X, y, 3, fit_intercept=True)
    huge.preconditioned()
    assert not worth_it(huge, np.inf)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float32_leads_and_float64_ends(dtype, monkeypatch):
    rng = np.random.default_rng(7)
    X = rng.normal(size=(20_000, 16)).astype(dtype)
    y = (X @ rng.normal(size=(16, 9)) + rng.gumbel(size=(20_000, 9))).argmax(axis=1)
    seen = []
    plain = SoftmaxObjective.value_and_grad

    def watched(self, theta):
        seen.append(self.dtype)
        return plain(self, theta)

    monkeypatch.setattr(SoftmaxObjective, "value_and_grad", watched)
    monkeypatch.setattr("xent.linear_model._solve.FLOAT32_SIZE", 0)
    model = LogisticRegression(tol=1e-7, max_iter=200).fit(X, y)
    assert seen[0] == np.float32
    assert seen[-1] == np.float64
    assert seen == sorted(seen, key=lambda d: -np.finfo(d).eps)  # never back
    f = SoftmaxObjective(X, y, 9, l2=1 / 20_000, fit_intercept=True, dtype=np.float64)
    theta = np.hstack([model.coef_, model.intercept_[:, None]])
    value, gradient = plain(f, theta.ravel())
    assert model.objective_ == pytest.approx(value, rel=1e-12)
    assert np.abs(gradient).max() <= model.convergence_ <= 1e-7


def test_float32_that_gets_nowhere_is_left():
    """Features far from zero: float32 logits are noise, and the fit is none the worse for it."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(3000, 10))
    y = (X @ rng.normal(size=(10, 9)) + rng.gumbel(size=(3000, 9))).argmax(axis=1)
    far = X + 1e7
    rough = SoftmaxObjective(far, y, 9, l2=1e-3, fit_intercept=True, dtype=np.float32)
    f = SoftmaxObjective(far, y, 9, l2=1e-3, fit_intercept=True)
    from xent.solvers import lbfgs

    found = lbfgs(f.preconditioned(None, Staged, rough=rough, tol=1e-5), np.zeros(f.shape), tol=1e-5, max_iter=500)
    alone = lbfgs(f.preconditioned(), np.zeros(f.shape), tol=1e-5, max_iter=500)
    assert found.value <= alone.value + 1e-6
    assert ROUGH > 1e-5


def test_a_class_that_no_row_is_unsure_of():
    """Weights of sixteen orders of magnitude: whole classes next to vanish, and what is shared must not follow them."""
    rng = np.random.default_rng(9)
    X, y, weight = rng.normal(size=(600, 10)), rng.integers(0, 40, 600), 10.0 ** rng.uniform(-8, 8, 600)
    f = SoftmaxObjective(X, y, 40, weight=weight, l2=1 / float(weight.sum()), fit_intercept=True)
    from xent.solvers import lbfgs

    start = np.zeros(f.shape)
    with_own = lbfgs(f.preconditioned(None, Staged, tol=1e-6), start, tol=1e-6, max_iter=300)
    alike = lbfgs(f.preconditioned(), start, tol=1e-6, max_iter=300)
    assert with_own.value <= alike.value + 1e-6


def test_separable_classes_end_at_once():
    """Without curvature coordinates are stale wherever they are made; a fit that has converged is not asked again."""
    rng = np.random.default_rng(10)
    with pytest.warns(ConvergenceWarning, match="the classes are separable"):
        model = LogisticRegression(C=np.inf, tol=1e-6).fit(rng.normal(size=(100, 200)), np.arange(100) % 20)
    assert model.convergence_ <= 1e-6
    assert model.n_iter_[0] < 50


def test_noise_of_float32_ends_its_passes(monkeypatch):
    """Features far from zero: a few evaluations show that float32 goes no further, not hundreds."""
    rng = np.random.default_rng(11)
    X = rng.normal(size=(4000, 20))
    y = (X @ rng.normal(size=(20, 10)) + rng.gumbel(size=(4000, 10))).argmax(axis=1)
    counted = []
    plain = SoftmaxObjective.value_and_grad
    monkeypatch.setattr(SoftmaxObjective, "value_and_grad", lambda f, t: (counted.append(f.dtype), plain(f, t))[1])
    monkeypatch.setattr("xent.linear_model._solve.FLOAT32_SIZE", 0)
    model = LogisticRegression(tol=1e-4).fit(X + 1e4, y)
    assert model.convergence_ <= 1e-4
    assert counted.count(np.float32) < 60


def test_new_coordinates_know_the_point_that_they_are_made_at(monkeypatch):
    """No pass for what was just computed there; one where the point is another."""
    rng = np.random.default_rng(12)
    f = SoftmaxObjective(rng.normal(size=(80, 4)), rng.integers(0, 3, 80), 3, l2=0.1, fit_intercept=True)
    theta = 0.1 * rng.normal(size=f.shape)
    theta -= theta.mean(axis=0)
    passes = []
    plain = SoftmaxObjective.value_and_grad
    monkeypatch.setattr(SoftmaxObjective, "value_and_grad", lambda s, t: (passes.append(1), plain(s, t))[1])
    problem = f.preconditioned(None, Staged, tol=1e-9)
    v = problem.to_coordinates(theta)
    problem.value_and_grad(v)
    there = problem.to_parameters(v)
    new = problem.renewed(there)
    told = new.value_and_grad(new.to_coordinates(there))
    assert len(passes) == 1
    monkeypatch.undo()
    fresh = f.preconditioned(None, Staged, tol=1e-9).renewed(there)
    value, gradient = fresh.value_and_grad(fresh.to_coordinates(there))
    assert told[0] == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(told[1], gradient, atol=1e-13)
    elsewhere = problem.renewed(2 * there)
    assert elsewhere.value_and_grad(elsewhere.to_coordinates(2 * there))[0] == pytest.approx(
        plain(f, 2 * there.ravel())[0], rel=1e-13
    )
