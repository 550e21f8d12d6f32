"""Triangles in float32 and float64 against NumPy's solutions and factors."""

from __future__ import annotations

import numpy as np
import pytest

import xent
from xent.coordinates import Factor
from xent.kernels.cpu.operands import levels
from xent.kernels.cpu.triangles import SOLVE, SOLVE_TURNED, TIMES_TURNED, factor, with_triangles

SIZES = [1, 2, 7, 8, 9, 31, 32, 33, 65, 130]


@pytest.fixture(params=levels())
def level(request, monkeypatch):
    monkeypatch.setenv("XENT_CPU_LEVEL", request.param)


def _matrix(P):
    rng = np.random.default_rng(P)
    A = rng.normal(size=(3 * P, P)) * 10.0 ** rng.integers(-3, 4, P)
    H, more = A.T @ A, np.diag(rng.random(P))
    scale = 1 / np.sqrt(np.diag(H + more))
    unit = (H + more) * scale[:, None] * scale
    unit[np.diag_indices(P)] = 1.25
    return H, more, scale, unit


@pytest.mark.parametrize("P", SIZES)
@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 3e-6), (np.float64, 1e-13)])
def test_a_factor_is_that_of_the_scaled_matrix(level, P, dtype, error):
    H, more, scale, unit = _matrix(P)
    out = np.full((P, P), np.nan, dtype)
    # what lies above the diagonal is neither read nor written
    half = (np.tril(H) + np.triu(np.full((P, P), np.nan), 1)).astype(dtype)
    assert factor(half, np.tril(more), scale, 1.25, out)
    assert np.isnan(out[np.triu_indices(P, 1)]).all()
    np.testing.assert_allclose(np.tril(out), np.linalg.cholesky(unit), atol=error)
    assert factor(half, more, scale, 1.25, half)  # in place
    np.testing.assert_array_equal(half, out)


@pytest.mark.parametrize("P", [1, 5, 32, 40, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_indefinite_matrix_has_no_factor(level, P, dtype):
    H, more, scale, unit = _matrix(P)
    least = np.linalg.eigvalsh(unit)[0]
    H = H.astype(dtype)
    assert factor(H, more, scale, 1.25 - 0.99 * least, np.empty((P, P), dtype))
    assert not factor(H, more, scale, 1.25 - 1.01 * least, np.empty((P, P), dtype))


@pytest.mark.parametrize("P", [5, 32, 40, 100])
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_not_finite_has_no_factor(P, wrong, dtype):
    """Wherever it is, in the first block or the last."""
    H, more, scale, _ = _matrix(P)
    for at in {1, P // 2, P - 1}:
        bad = H.astype(dtype)
        bad[at, at // 2] = wrong
        assert not factor(bad, more, scale, 1.25, np.empty((P, P), dtype))


@pytest.mark.parametrize("P", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_solutions_and_products(level, P, dtype):
    """In double, of triangles as they are stored; one for each vector; the same with any number of threads."""
    rng = np.random.default_rng(P)
    K = 2 * 2**18 // P**2 % 50 + 3
    L = rng.normal(size=(K, P, P)).astype(dtype) / P + 2 * np.eye(P, dtype=dtype)
    x = rng.normal(size=(K, P))
    lower = np.tril(L).astype(np.float64)
    turned = lower.transpose(0, 2, 1)
    truth = {
        SOLVE: np.linalg.solve(lower, x[..., None])[..., 0],
        SOLVE_TURNED: np.linalg.solve(turned, x[..., None])[..., 0],
        TIMES_TURNED: (turned @ x[..., None])[..., 0],
    }
    before = xent.get_num_threads()
    try:
        for what, expected in truth.items():
            found = []
            for threads in (1, 3):
                xent.set_num_threads(threads)
                found.append(with_triangles(L, x.copy(), what))
            np.testing.assert_allclose(found[0], expected, rtol=1e-12, atol=1e-13)
            np.testing.assert_array_equal(*found)
    finally:
        xent.set_num_threads(before)


@pytest.mark.parametrize(("P", "V"), [(30, 4), (600, 8)])  # the second in strips
def test_coordinates_of_a_shared_factor(P, V):
    rng = np.random.default_rng(0)
    A, v = rng.normal(size=(2 * P, P)), rng.normal(size=(V, P))
    H, before, found = A.T @ A, xent.get_num_threads(), []
    space = Factor.of(H.copy(), np.ones(P))
    L = np.linalg.cholesky(H)
    try:
        for threads in (1, 3):
            xent.set_num_threads(threads)
            found.append([space.to_parameters(v), space.pull_back(v), space.to_coordinates(v)])
    finally:
        xent.set_num_threads(before)
    truth = [np.linalg.solve(L.T, v.T).T, np.linalg.solve(L, v.T).T, v @ L]
    for one, other, expected in zip(*found, truth, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, expected, rtol=1e-6, atol=1e-7 * abs(expected).max())


def test_shapes_that_differ():
    with pytest.raises(ValueError, match="differ in shape"):
        with_triangles(np.ones((2, 3, 3)), np.ones((2, 4)), SOLVE)
    with pytest.raises(ValueError, match="differ in shape"):
        factor(np.ones((3, 3)), np.ones((2, 2)), np.ones(3), 1.0, np.empty((3, 3)))
