"""What L1 fits of two classes carry from one model, and from one penalty of a path, to the next."""

import numpy as np
import pytest

from xent.objective import SoftmaxObjective
from xent.second_order import BinaryL1Objective
from xent.second_order.bounds import SlopeBounds
from xent.second_order.corrected import Corrected
from xent.solvers import Lasso, prox_newton


def bfgs(B, step, change):
    """Nocedal & Wright, eq. 6.19."""
    along = B @ step
    return B - np.outer(along, along) / (step @ along) + np.outer(change, change) / (step @ change)


def positive(rng, P):
    A = rng.normal(size=(3 * P, P))
    return A.T @ A


def test_coordinates_that_join_find_the_corrections_made():
    rng, P = np.random.default_rng(0), 9
    B, true = positive(rng, P), positive(rng, P)
    first, second = np.array([0, 1, 2, 8]), np.array([0, 1, 2, 3, 4, 8])
    found = Corrected(B[np.ix_(first, first)])
    expected = B.copy()
    for at, following in ((first, second), (second, np.arange(P))):
        for _ in range(5):
            step, change = np.zeros(P), np.zeros(P)
            step[at] = rng.normal(size=len(at))
            change = expected @ step  # where nobody looked, what the model says
            change[at] = true[np.ix_(at, at)] @ step[at]
            found.correct(step[at], change[at])
            expected = bfgs(expected, step, change)
        found.grow(B[np.ix_(following, following)], np.searchsorted(following, at))
        here = np.ix_(following, following)
        np.testing.assert_allclose(found.matrix, expected[here], rtol=0, atol=1e-9 * np.abs(expected).max())
    assert np.abs(expected - B).max() > 1


def test_a_step_without_curvature_corrects_nothing():
    H = Corrected(np.eye(2))
    H.correct(np.array([1.0, 0.0]), np.array([-1.0, 0.0]))
    H.correct(np.array([1.0, 0.0]), np.array([1e-14, 0.0]))
    assert (H.matrix == np.eye(2)).all()


@pytest.mark.parametrize("shift", [0.0, 1e3])
def test_bounds_hold_and_are_narrow_where_residuals_change_smoothly(shift):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 30)) + shift * rng.normal(size=30)
    X[:, 0] = 7.0  # does not vary
    start, turn = rng.normal(size=(2, 400))
    bend = 0.1 * rng.normal(size=400)
    turn, bend = turn - turn.mean(), bend - bend.mean()  # as an intercept makes them
    bounds = SlopeBounds(X)

    def at(t):
        return start + t * turn + t * t * bend

    for t in (0.0, 0.1, 0.2, 0.2, 0.3):  # one of them twice: it says nothing new
        bounds.add(at(t), X.T @ at(t))
    for r in (at(0.4), at(0.1), rng.normal(size=400), np.zeros(400)):
        about, most = bounds(r)
        exact = X.T @ r
        assert (np.abs(exact) <= most).all()
        assert (np.abs(exact - about) <= most - np.abs(about)).all()
    about, most = bounds(at(0.4))
    far = np.linalg.norm(X - X.mean(axis=0), axis=0) * np.linalg.norm(at(0.4) - at(0.3))
    assert ((most - np.abs(about))[1:] < 0.2 * far[1:]).all()  # the last pass alone would allow for all of that


def test_without_a_pass_nothing_is_shown():
    X = np.random.default_rng(2).normal(size=(50, 4))
    r = np.ones(50)
    about, most = SlopeBounds(X)(r)
    assert (about == 0).all()
    assert (np.abs(X.T @ r) <= most).all()


def test_a_path_reads_all_columns_now_and_then_and_misses_none():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(1500, 120)) + rng.normal(size=(1500, 1))
    y = (rng.random(1500) < 1 / (1 + np.exp(-X[:, :15] @ rng.normal(size=15)))).astype(np.int64)
    f = SoftmaxObjective(X, y, 2, fit_intercept=True)
    theta, last, passes = np.zeros(f.shape), None, 0
    top = np.abs(X.T @ (y - y.mean())).max() / len(y)
    for l1 in top * np.geomspace(0.95, 0.1, 40):
        last = BinaryL1Objective(f, l1, known=last)
        found = prox_newton(last, Lasso(last.l1), theta, tol=1e-7, max_iter=100)
        theta, passes = found.x, passes + last.passes
        w, b = found.x[:-1], found.x[-1]
        slope = X.T @ (1 / (1 + np.exp(-(X @ w + b))) - y) / len(y)
        assert found.converged
        assert found.gap <= 1e-7
        assert np.where(w != 0, np.abs(slope + l1 * np.sign(w)), np.maximum(np.abs(slope) - l1, 0)).max() <= 1.01e-7
    assert passes < 40
