"""What a fit does beside its passes, in pieces: second moments, checks, copies; the same by any number of threads."""

import itertools

import numpy as np
import pytest
import threadpoolctl
from benchmarks.estimators import run as estimators
from benchmarks.estimators import scaling
from benchmarks.estimators.data import CASES
from scipy import sparse

import xent
from xent import _blas, curvature
from xent.kernels import cpu
from xent.kernels.cpu import moments, working
from xent.linear_model import LogisticRegression, _inputs, logistic_path
from xent.objective import SoftmaxObjective
from xent.second_order import columns, rows
from xent.second_order import sparse as l1


@pytest.fixture(autouse=True)
def threads_as_they_were():
    before = xent.get_num_threads()
    yield
    xent.set_num_threads(before)


@pytest.mark.parametrize("products", [np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ones", [False, True])
@pytest.mark.parametrize(
    ("N", "D", "step"), [(0, 3, 1), (1, 1, 1), (700, 5, 1), (203, 16, 3), (131, 63, 2), (97, 150, 5)]
)
def test_second_moments_of_whole_numbers_are_exact(backend, dtype, products, ones, N, D, step, monkeypatch):
    for name, value in {"CHUNK_ROWS": 100, "SMALL": 60, "STRIP": 20}.items():
        monkeypatch.setattr(moments, name, value)
    rng = np.random.default_rng(N + D)
    x, weight = rng.integers(-9, 10, (N, D)), rng.integers(0, 5, len(range(0, N, step)))
    some = np.hstack([x[::step], np.ones((len(weight), int(ones)), np.int64)])
    found = backend.second_moments(
        x.astype(dtype),
        weight.astype(float),
        rows=None if step == 1 else np.arange(0, N, step),
        ones=ones,
        dtype=products,
    )
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, some.T @ (weight[:, None] * some))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("D", [2, 40, 400])
def test_second_moments_in_float32_round_as_one_tile_does(backend, dtype, D):
    """Their rounding does not grow with the rows: a sum of 20000 thirds in float32 is out by 1e-4 of it and more."""
    x, weight = np.full((20_000, D), 1 / 3, dtype), np.full(20_000, 1e-4)
    found = backend.second_moments(x, weight, ones=True, dtype="float32")
    exact = backend.second_moments(x, weight, ones=True)
    np.testing.assert_allclose(exact[:D, :D], 2 / 9, rtol=2e-7 if dtype == np.float32 else 1e-12)
    np.testing.assert_allclose(found, exact, rtol=1e-5)
    assert np.abs(found / exact - 1).max() > 1e-9  # float32 it is


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_second_moments_in_float32_are_those_of_numpy(backend, dtype):
    rng = np.random.default_rng(3)
    x, weight = rng.normal(size=(1500, 70)).astype(dtype) * 10.0 ** rng.integers(-6, 7, 70), rng.random(1500) / 1500
    x = x.astype(dtype)
    rows = np.sort(rng.choice(1500, 900, replace=False))
    found = backend.second_moments(x, weight[:900], rows=rows, dtype=np.float32)
    some = x[rows].astype(np.float64)
    truth = some.T @ (weight[:900, None] * some)
    size = np.sqrt(np.diag(truth))
    assert np.abs((found - truth) / np.outer(size, size)).max() < 3e-6
    with pytest.raises(TypeError, match="float32 or float64, not dtype=float16"):
        backend.second_moments(x, weight, dtype=np.float16)


def test_second_moments_keep_what_is_no_number_in_its_column(backend):
    x = np.ones((40, 20))
    x[7, 3] = np.nan
    found = backend.second_moments(x, np.ones(40))
    wrong = np.zeros((20, 20), bool)
    wrong[3], wrong[:, 3] = True, True
    np.testing.assert_array_equal(np.isnan(found), wrong)
    with pytest.raises(TypeError, match="float32 and float64, not float16"):
        cpu.second_moments(x.astype(np.float16), np.ones(40))


def test_strips_are_all_rows_in_equal_areas():
    for P in (1, 383, 384, 785, 3001):
        cuts = moments.strips(P)
        assert cuts[0][0] == 0
        assert cuts[-1][1] == P
        assert all(a[1] == b[0] for a, b in itertools.pairwise(cuts))
        areas = [(b * b - a * a) / 2 for a, b in cuts]
        assert max(areas) < 1.1 * P * P / 2 / len(areas)


def test_pieces_are_done_once_each_with_one_blas_thread_and_say_what_failed():
    xent.set_num_threads(3)
    done, limits = [], []

    def look(begin, end):
        done.append((begin, end))
        limits.extend(p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas")
        if begin == 60:
            raise ValueError("the piece from 60")

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        _blas.in_pieces(look, 50, 10)
        assert sorted(done) == [(k, k + 10) for k in range(0, 50, 10)]
        assert set(limits) == {1}
        limits.clear()
        _blas.in_pieces(look, 10, 10)
        assert set(limits) == {1}  # of one piece too
        with pytest.raises(ValueError, match="from 60"):
            _blas.in_pieces(look, 100, 10)
        after = {p["num_threads"] for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"}
        assert after == {2}
    _blas.in_pieces(look, 0, 10)


@pytest.mark.parametrize("at", [0, 6, 7, 99])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_found_in_any_piece(at, bad, monkeypatch):
    monkeypatch.setattr(_inputs, "READ", 7)
    x = np.ones((25, 4))
    _inputs.check_finite(x, "some model")
    x[0, 1] = 1e300  # its square is infinite, and it is not
    _inputs.check_finite(x, "some model")
    _inputs.check_finite(sparse.csr_array((3, 4)), "some model")
    x.ravel()[at] = bad
    for given in (x, sparse.csr_array(x)):
        with pytest.raises(ValueError, match=r"some model does not accept missing values|contains infinity"):
            _inputs.check_finite(given, "some model")


def test_rare_columns_are_those_that_count_in_few_rows(monkeypatch):
    monkeypatch.setattr(curvature, "AT_HAND", 64)  # several pieces
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 6)).astype(np.float32) + 3
    x[:, 2] = np.arange(500) % 50 == 0  # in 10 rows
    x[:, 3] = np.arange(500) % 20 == 0  # in 25
    x[:, 4] = 7
    f = SoftmaxObjective(x, np.arange(500) % 3, 3, fit_intercept=True)
    assert f.rare.tolist() == [False, False, True, False, True, False]


def test_squares_of_sparse_columns_are_those_of_a_dense_array():
    x = sparse.random(300, 3100, 0.05, format="csr", random_state=0)  # more columns than are factored
    label, weight = np.arange(300) % 3, np.random.default_rng(0).random(300)
    found = [
        SoftmaxObjective(kind, label, 3, weight=weight, l2=0.1, fit_intercept=True).averaged_hessian(weight)
        for kind in (x, x.astype(np.float32), x.toarray())
    ]
    exact = np.append((x.toarray() ** 2).T @ weight + 0.1, weight.sum())
    for (H, units), rtol in zip(found, (1e-13, 1e-6, 1e-13), strict=True):
        np.testing.assert_allclose(H, exact, rtol=rtol)
        assert (units == 1).all()


def data(kind):
    """Features and labels that take every part of a fit through several pieces."""
    rng = np.random.default_rng(1)
    if kind.startswith(("sparse", "wide")):  # the sums over 30000 coordinates are long enough for BLAS's own threads
        N, D, share = (400, 30_000, 0.002) if kind == "wide" else (1200, 150, 0.1)
        x = sparse.random(N, D, share, format="csr", random_state=1)
        return x, (x @ rng.normal(size=D) + 0.3 * rng.normal(size=N) > 0).astype(int)
    x = rng.normal(size=(1300, 12)) @ rng.normal(size=(12, 12))
    classes = 5 if "classes" in kind else 2
    z = x @ rng.normal(size=(12, classes)) / 6 + rng.gumbel(size=(1300, classes))
    return x, z.argmax(axis=1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("two", {}),
        ("classes", {}),
        ("classes", {"l1_ratio": 1.0}),
        ("two", {"l1_ratio": 1.0, "C": 0.1}),
        ("sparse", {}),
        ("wide", {}),
        ("sparse", {"l1_ratio": 1.0, "C": 0.5}),
        ("sparse path", {"l1_ratio": 1.0}),
        ("two path", {"l1_ratio": 1.0}),
    ],
)
def test_fits_are_the_same_by_any_number_of_threads(kind, options, monkeypatch):
    small = [
        (_inputs, "READ", 500),
        (curvature, "AT_HAND", 300),
        (moments, "CHUNK_ROWS", 100),
        (working, "CHUNK_ROWS", 90),
        (working, "ROWS", 100),
        (columns, "COPIED_ROWS", 64),
        (columns, "READ", 900),
        (columns, "AT_HAND", 300),
        (columns, "SAMPLED", 3),
        (rows, "READ", 900),
        (l1, "ROWS", 200),
    ]
    for module, name, value in small:
        monkeypatch.setattr(module, name, value)
    x, y = data(kind)
    found = []
    for n in (1, 2, 3, 2):
        xent.set_num_threads(n)
        with threadpoolctl.threadpool_limits(n, user_api="blas"):
            if "path" in kind:
                path = logistic_path(x, y, Cs=5, tol=1e-6, **options)
                found.append((path.coefs, path.intercepts))
            else:
                model = LogisticRegression(tol=1e-6, **options).fit(x, y)
                found.append((model.coef_, model.intercept_))
    for coef, intercept in found[1:]:
        np.testing.assert_array_equal(coef, found[0][0])
        np.testing.assert_array_equal(intercept, found[0][1])


def test_the_benchmark_by_threads_measures_both_and_compares_what_they_find(tmp_path, capsys):
    name = "cancer 569 x 30, unscaled"
    found = scaling.run_case(
        name, CASES[name], str(tmp_path), [1e-3], (1e-2, 1e-4, 1e-6), threads=2, repeats=1, budget=60.0
    )
    (row,) = found
    assert row["same bits"]
    assert row["tol"] in (1e-2, 1e-4, 1e-6)
    assert row["ratio"] == pytest.approx(row["wall s 1"] / row["wall s"])
    assert set(scaling.COLUMNS) <= set(row)
    assert "on one thread" in capsys.readouterr().out
    none = scaling.run_case(name, CASES[name], str(tmp_path), [1e-30], (1e-2,), threads=2, repeats=1, budget=60.0)
    assert none == []
    with pytest.raises(SystemExit):
        estimators.main(["--scaling", "--threads", "1"])
    assert "--threads is from 2 to" in capsys.readouterr().err
