"""SAGA: a lasso with a known minimum, and streams with an elastic net beside scikit-learn's and our own minima."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs

from xent.linear_model import LogisticRegression, StreamingClassifier
from xent.solvers import saga

RNG = np.random.default_rng(0)


class Lasso:
    """``sum_i (a_i x - b_i)^2 / 2 + l1 |x|_1`` over blocks of one row."""

    def __init__(self, A, b, l1):
        self.A, self.b, self.l1 = A, b, l1

    def blocks(self):
        for i in RNG.permutation(len(self.b)):
            yield _Row(self.A[i], self.b[i], int(i))

    def proximal(self, x, step):
        return np.sign(x) * np.maximum(np.abs(x) - step * self.l1, 0)

    def penalty(self, x):
        return self.l1 * np.abs(x).sum()

    def measure(self, x, gradient):
        away = np.where(x != 0, np.abs(gradient + self.l1 * np.sign(x)), np.maximum(np.abs(gradient) - self.l1, 0))
        return float(away.max())

    def to_parameters(self, x):
        return x


class _Row:
    def __init__(self, a, b, name):
        self.a, self.b, self.name, self.smoothness = a, b, name, float(a @ a)

    def slopes(self, x):
        r = self.a @ x - self.b
        return 0.5 * r * r, np.array([r])

    def pull_back(self, slopes):
        return slopes[0] * self.a


def test_a_lasso_with_orthogonal_columns_is_shrunk_least_squares():
    A = np.linalg.qr(RNG.normal(size=(40, 5)))[0]
    b, l1 = A @ np.array([3.0, -2.0, 0.05, 0.0, 1.0]) + 0.01 * RNG.normal(size=40), 0.2
    free = A.T @ b
    found = saga(Lasso(A, b, l1), np.zeros(5), tol=1e-10, max_iter=2000)
    assert found.converged
    np.testing.assert_allclose(found.x, np.sign(free) * np.maximum(np.abs(free) - l1, 0), atol=1e-9)
    assert found.x[2] == 0
    expected = 0.5 * ((A @ found.x - b) ** 2).sum() + l1 * np.abs(found.x).sum()
    assert found.value == pytest.approx(expected, rel=1e-12)
    short = saga(Lasso(A, b, l1), np.zeros(5), tol=1e-10, max_iter=2)
    assert (short.converged, short.n_iter, short.message) == (False, 2, "no epochs left")


def test_too_long_steps_are_halved():
    """A smoothness that claims a hundredth of the truth makes steps diverge; the run notices."""
    A = RNG.normal(size=(60, 3))
    problem = Lasso(A, A @ np.array([1.0, 0.0, -1.0]), 0.1)
    rows = problem.blocks

    def careless():
        for row in rows():
            row.smoothness /= 100
            yield row

    problem.blocks = careless
    with np.errstate(over="ignore", invalid="ignore"):
        found = saga(problem, np.zeros(3), tol=1e-6, max_iter=5000)
    assert found.converged


def rows(classes, N=1500, D=5):
    X = RNG.normal(size=(N, D)) * np.logspace(-1, 1, D) + 3
    Z = (X - 3) / np.logspace(-1, 1, D) @ RNG.normal(size=(D, classes))
    return X, np.argmax(Z + RNG.gumbel(size=(N, classes)), axis=1)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("l1_ratio", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_has_the_minimum_of_memory(classes, l1_ratio, stream):
    X, y = rows(classes)
    weight = RNG.uniform(0.5, 2, len(y))
    alpha = 0.02
    data = (X, y, weight)
    if stream:
        cuts = [(X[i : i + 400], y[i : i + 400], weight[i : i + 400]) for i in range(0, len(y), 400)]
        data = (lambda: iter(cuts),)
    options = {"alpha": alpha, "l1_ratio": l1_ratio, "batch_size": 16, "tol": 1e-8}
    model = StreamingClassifier(**options, optimizer="saga", random_state=0).fit(*data)
    assert model.convergence_ <= 1e-8
    C = 1 / (alpha * weight.sum())
    whole = LogisticRegression(C=C, l1_ratio=l1_ratio, tol=1e-10).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=2e-6)
    assert (model.coef_ == 0).sum() == (whole.coef_ == 0).sum()
    shift = 0 if classes == 2 else (model.intercept_ - whole.intercept_).mean()
    np.testing.assert_allclose(model.intercept_ - shift, whole.intercept_, atol=2e-5)
    options = {"C": C, "l1_ratio": l1_ratio, "solver": "saga", "tol": 1e-6, "max_iter": 5000}
    theirs = Theirs(**options).fit((X - X.mean(axis=0)), y, weight)  # theirs crawls on features off centre
    np.testing.assert_allclose(model.coef_, theirs.coef_, atol=2e-3)


def test_sparse_rows_in_order_and_no_intercept():
    X = sparse.random_array((800, 30), density=0.2, rng=RNG, format="csr")
    y = np.asarray(X[:, :3].sum(axis=1)).ravel() > 0.3
    options = {"alpha": 5e-3, "l1_ratio": 1.0, "batch_size": 20, "tol": 1e-7, "fit_intercept": False}
    model = StreamingClassifier(**options, shuffle=False).fit(X, y)
    assert model.optimizer_ == "saga"  # "auto", with an L1 penalty
    whole = LogisticRegression(C=1 / (5e-3 * 800), l1_ratio=1, fit_intercept=False, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-4)
    assert model.intercept_.tolist() == [0]
    dense = StreamingClassifier(**options, shuffle=False).fit(X.toarray(), y)
    np.testing.assert_allclose(model.coef_, dense.coef_, atol=1e-5)


def test_the_certificate_is_of_the_point_that_comes_back():
    X, y = rows(3)
    with pytest.warns(ConvergenceWarning, match=r"saga did not converge: after 3 epochs its measure is .*max_iter=3"):
        model = StreamingClassifier(alpha=0.02, l1_ratio=0.5, max_iter=3, random_state=0).fit(X, y)
    p = model.predict_proba(X)
    p[np.arange(len(y)), y] -= 1
    slope = p.T @ X / len(y) + 0.01 * model.coef_
    w = model.coef_
    away = np.where(w != 0, np.abs(slope + 0.01 * np.sign(w)), np.maximum(np.abs(slope) - 0.01, 0))
    assert model.convergence_ == pytest.approx(max(away.max(), np.abs(p.mean(axis=0)).max()), rel=1e-9)
    assert [entry["step"] for entry in model.history_] == [1, 2, 3]


def test_early_stopping_and_what_is_refused():
    X, y = rows(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = StreamingClassifier(l1_ratio=1.0, early_stopping=True, n_iter_no_change=2, random_state=0).fit(X, y)
    losses = [entry["validation_loss"] for entry in model.history_]
    assert model.convergence_ == model.history_[int(np.argmin(losses))]["convergence"]
    for options, words in (
        (
            {"l1_ratio": 0.5, "optimizer": "lbfgs"},
            r"\(l1_ratio=0.5\) needs optimizer='saga', not 'lbfgs'",
        ),
        ({"l1_ratio": 1.5}, "l1_ratio must be from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=words):
            StreamingClassifier(**options).fit(X, y)
    for options in ({"optimizer": "saga"}, {"l1_ratio": 0.1}):
        assert not hasattr(StreamingClassifier(**options), "partial_fit")
    with pytest.raises(ValueError, match="read only once"):
        StreamingClassifier(l1_ratio=0.1, max_iter=1).fit(iter([(X, y)]), classes=[0, 1])
    with pytest.raises(ValueError, match="the squares of the features overflow"):
        StreamingClassifier(l1_ratio=0.1).fit(X * 1e200, y)
