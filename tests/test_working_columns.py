"""L1 fits of two classes: the kernels of the working columns, the corrected Hessian, and columns left out by bounds."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression as Theirs

from xent.kernels import cpu
from xent.kernels.contract import Entries
from xent.kernels.cpu import working
from xent.linear_model import LogisticRegression, logistic_path
from xent.second_order import BinaryL1Objective, binary, columns


def unsorted(dtype=np.float64, index=np.int32, N=203, D=40):
    """Rows of 0 to 30 entries in no order, columns named twice among them; and the same as a dense array."""
    rng = np.random.default_rng(3)
    start = np.concatenate([[0], np.cumsum(rng.integers(0, 31, N))])
    at, value = rng.integers(0, D, start[-1]), rng.normal(size=start[-1]).astype(dtype)
    x = sparse.csr_matrix((N, D), dtype=dtype)
    x.data, x.indices, x.indptr = value, at.astype(index), start.astype(index)
    dense = np.zeros((N, D))
    np.add.at(dense, (np.repeat(np.arange(N), np.diff(start)), at), value.astype(np.float64))
    return x, dense


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_columns_and_their_products(backend, dtype, index, monkeypatch):
    x, dense = unsorted(dtype, index)
    rng, wanted = np.random.default_rng(0), np.array([39, 2, 17, 0, 5])
    w, v, r = rng.random(len(dense)), rng.normal(size=5), rng.normal(size=len(dense))
    part = dense[:, wanted]
    full = part.T * w @ part
    for seen, rows in ((16384, 4096), (1, 30)):  # room enough at once, and not; one chunk of rows, and several
        monkeypatch.setattr(working, "SEEN", seen)
        monkeypatch.setattr(working, "CHUNK_ROWS", rows)
        taken = backend.take_columns(x, wanted)
        assert taken.width == 5
        assert {v.dtype for v in taken.value} == {np.dtype(np.float64)}
        assert taken.rows[-1][1] == len(dense)
        np.testing.assert_allclose(backend.gram(taken, w), full, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(backend.product(taken, v), part @ v, atol=1e-12)
    np.testing.assert_allclose(backend.pull_back(taken, r), part.T @ r, atol=1e-12)
    np.testing.assert_allclose(backend.pull_back(x, r), dense.T @ r, atol=1e-12)
    fewer = part[:, :3].T * w @ part[:, :3]
    np.testing.assert_allclose(backend.gram(taken, w, known=fewer), full, rtol=1e-12, atol=1e-12)
    known = backend.gram(taken, w, known=7 * fewer)
    np.testing.assert_array_equal(known[:3, :3], 7 * fewer)


def test_products_from_a_sample_of_rows(backend, monkeypatch):
    monkeypatch.setattr(working, "CHUNK_ROWS", 30)  # whose first rows are not all of the sample
    x, _ = unsorted()
    x.sum_duplicates()
    w = np.random.default_rng(0).random(x.shape[0])
    dense = x.toarray()
    some = 4 * dense[::4].T * w[::4] @ dense[::4]
    expected = np.where(np.eye(x.shape[1]), np.maximum(some, np.diag(w @ dense**2)), some)
    taken = backend.take_columns(x, np.arange(x.shape[1]))
    np.testing.assert_allclose(backend.gram(taken, w, step=4), expected, rtol=1e-12, atol=1e-12)


def test_rows_of_two_classes(backend):
    z = np.array([-800.0, -40.0, -3.0, -1e-9, 0.0, 1e-9, 0.7, 36.0, 40.0, 700.0, 800.0])
    z, label = np.repeat(z, 2), np.tile([0, 1], 11)
    weight = np.random.default_rng(1).random(22)
    loss, p, r = backend.logistic_rows(z, label, weight)
    with mpmath.workdps(400):
        share = [1 / (1 + mpmath.exp(-mpmath.mpf(float(v)))) for v in z]
        each = [-mpmath.log(q if y else 1 - q) for q, y in zip(share, label, strict=True)]
        slope = [float(w * (q - int(y))) for q, y, w in zip(share, label, weight, strict=True)]
        total = float(sum(w * v for w, v in zip(weight, each, strict=True)))
    np.testing.assert_allclose(p, [float(q) for q in share], rtol=4e-15, atol=1e-320)
    np.testing.assert_allclose(r, slope, rtol=4e-15, atol=1e-320)
    np.testing.assert_allclose(loss, total, rtol=4e-15)


def test_no_loss_is_made_of_nan(backend):
    for at in (0, 3, 8):
        z = np.zeros(9)
        z[at] = np.nan
        assert np.isnan(backend.logistic_rows(z, np.ones(9, np.int64), np.ones(9))[0])


def test_what_lies_outside_is_refused(monkeypatch):
    x, _ = unsorted()
    x.indices[-1] = 40
    row = int(np.flatnonzero(np.diff(x.indptr))[-1])
    monkeypatch.setattr(working, "CHUNK_ROWS", 30)
    for call in (lambda: cpu.take_columns(x, np.array([1])), lambda: cpu.pull_back(x, np.ones(x.shape[0]))):
        with pytest.raises(ValueError, match=f"row {row} of the sparse x does not lie within its 40 columns"):
            call()
    start = (np.array([0, 2]),)
    for column in ([0, 3], [-1, 0]):
        bad = Entries(start, (np.array(column, np.int32),), (np.ones(2),), 3)
        for call in (
            lambda bad=bad: cpu.product(bad, np.ones(3)),
            lambda bad=bad: cpu.pull_back(bad, np.ones(1)),
            lambda bad=bad: cpu.gram(bad, np.ones(1)),
        ):
            with pytest.raises(ValueError, match="no place"):
                call()
    with pytest.raises(ValueError, match="follow each other"):
        cpu.product(Entries((np.array([0, 5]),), (np.zeros(2, np.int32),), (np.ones(2),), 3), np.ones(3))


def words(N=1500, D=400, seed=0):
    """Rows of a few of many columns, most of them rare; labels of some of them."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(3, D + 3)
    at = np.searchsorted(np.cumsum(share) / share.sum(), rng.random((N, 25)))
    x = sparse.csr_matrix((rng.random(N * 25), at.ravel(), np.arange(0, N * 25 + 1, 25)), (N, D))
    y = rng.random(N) < 1 / (1 + np.exp(-(x @ rng.normal(size=D) * 2)))
    return x, y.astype(int)


def off(x, y, W, b, l1, l2=0.0, weight=None):
    """The largest violation of the conditions of a minimum, from probabilities made here."""
    weight = np.ones(len(y)) if weight is None else weight
    r = (1 / (1 + np.exp(-(x @ W + b))) - y) * weight / weight.sum()
    g = x.T @ r + l2 * W
    return max(np.where(W != 0, abs(g + l1 * np.sign(W)), np.maximum(abs(g) - l1, 0)).max(), abs(r.sum()))


@pytest.mark.parametrize("kind", ["as it is", "sampled", "in pieces", "int64", "float32"])
@pytest.mark.parametrize("l1_ratio", [1.0, 0.6])
def test_sparse_fits_are_minima(kind, l1_ratio, monkeypatch):
    x, y = words()
    if kind == "sampled":
        monkeypatch.setattr(columns, "MANY_PRODUCTS", 0)
    if kind == "in pieces":
        monkeypatch.setattr(binary, "MOST_COORDINATES", 5)
    if kind == "int64":
        x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    if kind == "float32":
        x = x.astype(np.float32)
    model = LogisticRegression(C=0.5, l1_ratio=l1_ratio, tol=1e-9).fit(x, y)
    alpha = 1 / (0.5 * len(y))
    W, b = model.coef_[0].astype(float), float(model.intercept_[0])
    tol = 1e-7 if kind == "float32" else 1.1e-9
    assert off(x.astype(float), y, W, b, alpha * l1_ratio, alpha * (1 - l1_ratio)) <= tol
    assert model.dual_gap_ <= 1e-9
    assert 5 < np.count_nonzero(W) < 390


def test_the_same_as_saga():
    x, y = words(600, 60)
    # dense: of sparse rows saga's intercept takes steps a hundred times shorter
    theirs = Theirs(C=0.3, l1_ratio=1, solver="saga", tol=1e-10, max_iter=20000).fit(x.toarray(), y)
    ours = LogisticRegression(C=0.3, l1_ratio=1, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-6)
    assert (ours.coef_ != 0).sum() > 3


@pytest.mark.parametrize("wrong", [0.02, 1.0, 30.0])
def test_a_first_hessian_that_misleads_is_mended(wrong, monkeypatch):
    x, y = words(800, 80)
    true, calls = columns.Columns.gram, []

    def first_is_wrong(self, weight, **options):
        calls.append(options)
        return true(self, weight, **options) * (wrong if len(calls) == 1 else 1.0)

    monkeypatch.setattr(columns.Columns, "gram", first_is_wrong)
    model = LogisticRegression(C=1.0, l1_ratio=1, tol=1e-9).fit(x, y)
    assert off(x, y, model.coef_[0], model.intercept_[0], 1 / len(y)) <= 1.1e-9
    assert model.n_iter_[0] < 30


def correlated(shift):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1200, 60)) + rng.normal(size=(1200, 1)) + shift * rng.normal(size=60)
    x *= np.exp(rng.normal(size=60))
    y = rng.random(1200) < 1 / (1 + np.exp(-(x - x.mean(axis=0))[:, :6] @ rng.normal(size=6)))
    return x, y.astype(int), rng.random(1200)


@pytest.mark.parametrize("shift", [0.0, 20.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_columns_left_out_by_bounds_are_zero(shift, fit_intercept, monkeypatch):
    x, y, weight = correlated(shift)
    found, true = [], BinaryL1Objective._by_bounds

    def watched(self):
        slopes = true(self)
        found.append(slopes is not None)
        if slopes is not None:  # each is exact, or says no more than that the column may stay at zero, and so it may
            exact = x.T @ self.r
            read = np.isclose(slopes[:60], exact, rtol=1e-9, atol=1e-13)
            assert (read | ((np.abs(exact) <= self.l1[:60]) & (np.abs(slopes[:60]) <= self.l1[:60]))).all()
            assert read[self.theta[:60] != 0].all()
        return slopes

    monkeypatch.setattr(BinaryL1Objective, "_by_bounds", watched)
    options = {"l1_ratio": 1.0, "tol": 1e-8, "sample_weight": weight, "fit_intercept": fit_intercept}
    path = logistic_path(x, y, Cs=40, **options)
    assert sum(found) > 10
    assert path.n_evals.sum() < len(found)
    assert (path.convergence <= 1e-8).all()
    assert (path.dual_gaps <= 1e-8).all()
    for C, W, b in zip(path.Cs, path.coefs[:, 0], path.intercepts[:, 0], strict=True):
        r = (1 / (1 + np.exp(-(x @ W + b))) - y) * weight / weight.sum()
        g, l1 = x.T @ r, 1 / (C * weight.sum())
        size = np.maximum(1, np.abs(x).max(axis=0) / 100)
        worst = np.where(W != 0, abs(g + l1 * np.sign(W)), np.maximum(abs(g) - l1, 0)) / size
        assert worst.max() <= 1.1e-8
        if fit_intercept:
            assert abs(r.sum()) <= 1e-8


@pytest.mark.parametrize(("N", "D", "C", "seed"), [(400, 150, 100, 1), (800, 300, 300, 0)])
def test_small_violations_and_a_gap_above_the_tolerance_go_on(N, D, C, seed):
    rng = np.random.default_rng(seed)
    x = sparse.random(N, D, 0.05, format="csr", random_state=seed)
    y = (rng.random(N) < 1 / (1 + np.exp(-x @ rng.normal(size=D) * 5))).astype(int)
    model = LogisticRegression(C=C, l1_ratio=1, tol=1e-5).fit(x, y)  # a warning is an error here
    assert model.dual_gap_ <= model.convergence_ <= 1e-5
