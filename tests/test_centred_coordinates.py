"""Coordinates of sparse fits: a diagonal about the columns' means, held against the Hessian they stand for."""

import numpy as np
import pytest
from scipy import sparse

from xent.coordinates import MOST_FACTORED, Centred, Diagonal
from xent.kernels import cpu, reference
from xent.linear_model import LogisticRegression
from xent.objective import SoftmaxObjective

WIDE = MOST_FACTORED + 1


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def counts(rng, N=500, D=WIDE, each=20):
    """Rows that count words of Zipf's frequencies: all of them point the same way."""
    column = np.minimum(rng.zipf(1.3, size=(N, each)) - 1, D - 1)
    X = sparse.csr_matrix((np.ones(N * each), column.ravel(), np.arange(0, N * each + 1, each)), shape=(N, D))
    X.sum_duplicates()
    return X


@pytest.mark.parametrize("intercept_l2", [None, 0.0, 0.3, 1e6])
def test_they_make_their_hessian_the_identity(rng, intercept_l2):
    D, total = 7, 0.25
    spread, mean = rng.uniform(0.1, 2, size=D), rng.normal(size=D)
    space = Centred(spread, mean, total, intercept_l2)
    m = mean if intercept_l2 is None else np.append(mean, 1.0)
    H = np.diag(spread if intercept_l2 is None else np.append(spread, intercept_l2)) + total * np.outer(m, m)
    T = space.to_parameters(np.eye(len(m))).T  # w = T v
    np.testing.assert_allclose(T.T @ H @ T, np.eye(len(m)), atol=1e-8)
    np.testing.assert_allclose(space.pull_back(np.eye(len(m))).T, T.T, atol=1e-12)
    np.testing.assert_allclose(space.to_coordinates(T.T), np.eye(len(m)), atol=1e-8)
    np.testing.assert_allclose(space.sizes**2, np.diag(H), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("backend", [cpu, reference])
def test_moments_of_columns(rng, backend, dtype, index):
    X = sparse.random(3000, 50, density=0.3, format="csr", random_state=rng).astype(dtype)
    X.indices, X.indptr = X.indices.astype(index), X.indptr.astype(index)
    weight, dense = rng.uniform(size=X.shape[0]), X.toarray().astype(np.float64)
    found = backend.column_moments(X, weight)
    np.testing.assert_allclose(found, np.stack([weight @ dense, weight @ dense**2], axis=1), rtol=1e-12)


def test_moments_of_rows_outside_the_matrix():
    X = sparse.csr_matrix(np.eye(4))
    X.indices[2] = 9
    with pytest.raises(ValueError, match="row 2"):
        cpu.column_moments(X, np.ones(4))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("kind", [sparse.csr_matrix, np.asarray])
def test_a_common_direction_costs_no_iterations(rng, fit_intercept, kind):
    X = counts(rng)
    y = (np.asarray(X @ rng.normal(size=WIDE)).ravel() > 0).astype(int)
    X = kind(X) if kind is sparse.csr_matrix else X.toarray()
    f = SoftmaxObjective(X, y, 2, l2=1 / len(y), fit_intercept=fit_intercept)
    dense = X.toarray() if sparse.issparse(X) else X
    dense = np.hstack([dense, np.ones((len(y), 1))]) if fit_intercept else dense
    H = dense.T @ dense / (4 * len(y)) + np.diag(f.penalty)
    at = np.flatnonzero(np.diag(H) > 2 / len(y))  # columns that are there, whose curvature is not the penalty's
    space = f.preconditioned().coordinates
    T = space.to_parameters(np.eye(f.shape[1])[at])
    largest = np.linalg.eigvalsh(T @ H @ T.T)[-1]
    root = np.sqrt(np.diag(H)[at])
    assert largest < 0.5 * np.linalg.eigvalsh(H[np.ix_(at, at)] / root / root[:, None])[-1]


@pytest.mark.filterwarnings("ignore:the classes are separable")
def test_columns_that_are_constant_or_empty(rng):
    X = sparse.lil_matrix(counts(rng, N=300))
    X[:, 5], X[:, 6] = 1.0, 0.0
    X = X.tocsr()
    y = (rng.random(X.shape[0]) < 0.3).astype(int)
    for C in (1e-2, 1.0, np.inf):
        model = LogisticRegression(C=C, tol=1e-8 if np.inf > C else 1e-3).fit(X, y)
        assert np.isfinite(model.coef_).all()
        assert model.convergence_ <= model.tol
        if np.inf > C:
            p = model.predict_proba(X)[:, 1]
            slope = X.T @ (p - y) / len(y) + model.coef_[0] / (C * len(y))
            assert np.abs(slope).max() < 1e-7
            assert abs((p - y).mean()) < 1e-7


def test_numbers_whose_squares_leave_the_range(rng):
    X = counts(rng, N=200).astype(np.float64)
    X.data *= np.where(X.indices % 2, 1e200, 1e-200)
    space = SoftmaxObjective(X, np.arange(200) % 2, 2, l2=0.01, fit_intercept=True).preconditioned().coordinates
    assert isinstance(space, Diagonal)
    assert np.isfinite(space.sizes).all()
