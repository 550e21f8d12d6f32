"""L1 fits of many coordinates of a sparse X, whose models are products by columns."""

import numpy as np
import pytest
from scipy import sparse

import xent
from xent.linear_model import LogisticRegression, logistic_path
from xent.second_order import swept
from xent.second_order.sparse import SWEPT
from xent.solvers.l1_descent import l1_descent


class Dense:
    """The model of a Hessian that is a matrix, as the descent takes it."""

    def __init__(self, H):
        self.H, self.diagonal, self.order = H, H.diagonal(), np.arange(len(H))
        self.products = 0

    def begin(self, g, x):
        self.g, self.at, self.u = g, x.copy(), x.copy()

    def slope(self, which, u):
        return (self.g + self.H @ (u - self.at))[which]

    def times(self, which, step):
        self.products += 1
        return self.H[np.ix_(which, which)] @ step

    def move(self, which, step):
        pass

    def descend(self, which, l1, u):
        worst = 0.0
        for j in which:
            slope = self.slope([j], u)[0]
            worst = max(worst, abs(slope + l1[j] * np.sign(u[j])) if u[j] else max(abs(slope) - l1[j], 0))
            if self.diagonal[j] > 0:
                z = u[j] - slope / self.diagonal[j]
                u[j] = np.sign(z) * max(abs(z) - l1[j] / self.diagonal[j], 0)
        return worst


@pytest.mark.parametrize("apart", [0.0, 0.99])  # columns that are nearly one another: sweeps alone take very long
def test_the_minimum_of_a_model_meets_its_conditions(apart):
    rng, P = np.random.default_rng(0), 30
    A = rng.normal(size=(60, P)) + 10 * apart * rng.normal(size=(60, 1))
    H, g = A.T @ A / 60, rng.normal(size=P)
    l1 = np.where(np.arange(P) < 3, 0.0, 0.3)
    model, x = Dense(H), rng.normal(size=P) * (rng.random(P) < 0.3)
    u = l1_descent(model, g, x, l1, tol=1e-12)
    for _ in range(40):  # each call leaves a share of what it found
        u = l1_descent(model, g + H @ (u - x), u, l1, tol=1e-12)

    slope = g + H @ (u - x)
    away = np.where(u != 0, np.abs(slope + l1 * np.sign(u)), np.maximum(np.abs(slope) - l1, 0))
    assert away.max() < 1e-11
    assert 0 < (u == 0).sum() < P - 3
    assert (apart > 0) <= (model.products > 0)


def rows(classes, *, twice=False):
    rng, (N, D) = np.random.default_rng(classes), (4000, 1600 // max(1, classes - 1))
    X = sparse.random(N, D, density=0.02, format="csr", random_state=0, data_rvs=rng.standard_normal)
    z = X @ rng.normal(size=(D, classes)) + rng.gumbel(size=(N, classes))
    y = z.argmax(axis=1)
    if twice:  # each entry in two parts of it
        X = sparse.csr_array((np.repeat(X.data, 2) / 2, np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    return X, y


def violation(X, y, W, b, l1, l2):
    """Of the conditions of a minimum of the mean loss plus ``l1 |W|_1 + l2 |W|^2 / 2``, written out."""
    z = X @ W.T + b
    if len(W) == 1:
        z = np.hstack([np.zeros_like(z), z])
    p = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
    p[np.arange(len(y)), y] -= 1
    p = p[:, -len(W) :] / len(y)
    G = (X.T @ p).T + l2 * W
    away = np.where(W != 0, np.abs(G + l1 * np.sign(W)), np.maximum(np.abs(G) - l1, 0))
    return max(away.max(), np.abs(p.sum(axis=0)).max())


@pytest.mark.parametrize(
    ("classes", "ratio", "twice"), [(2, 1.0, False), (2, 0.7, True), (3, 1.0, False), (3, 0.7, True)]
)
def test_fits_meet_the_conditions_of_a_minimum(classes, ratio, twice, monkeypatch):
    X, y = rows(classes, twice=twice)
    C, called = 5.0, []
    hessian = swept.SweptPart.hessian
    monkeypatch.setattr(swept.SweptPart, "hessian", lambda self, **how: called.append(1) or hessian(self, **how))
    fit = LogisticRegression(C=C, l1_ratio=ratio, tol=1e-8).fit(X, y)
    assert called  # by this way and no other
    assert (fit.coef_ != 0).sum() > SWEPT / 4
    scale = 1 / (C * len(y))
    assert violation(X, y, fit.coef_, fit.intercept_, ratio * scale, (1 - ratio) * scale) < 1e-7


def test_points_of_a_path_are_the_fits_of_their_penalties():
    X, y = rows(2)
    Cs = [0.5, 2.0, 8.0]
    path = logistic_path(X, y, Cs=Cs, l1_ratio=1.0, tol=1e-8)
    for C, W, b in zip(Cs, path.coefs, path.intercepts, strict=True):
        assert violation(X, y, np.atleast_2d(W), b, 1 / (C * len(y)), 0.0) < 1e-7


def test_threads_change_no_bit():
    X, y = rows(3)
    before, found = xent.get_num_threads(), []
    try:
        for threads in (1, 2):
            xent.set_num_threads(threads)
            found.append(LogisticRegression(C=5.0, l1_ratio=1.0).fit(X, y).coef_)
    finally:
        xent.set_num_threads(before)
    assert (found[0] == found[1]).all()
