"""Sparse features: what `check_backend` (tests/test_kernels.py) does not reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from xent.kernels import Directions, Need, Slopes, Target, cpu, plan, reference, set_num_threads
from xent.kernels.cpu import operands
from xent.kernels.cpu import sparse as cpu_sparse
from xent.kernels.cpu.operands import MOST_KEPT, scratch
from xent.kernels.threads import get_num_threads
from xent.objective import SoftmaxObjective
from xent.testing.backend import problem, sparse_rows

PLAIN = Slopes(1.0, -1.0, 0.0)
WB = Need(False, True, True)


def random_csr(N, D, each, dtype, seed=0):
    rng = np.random.default_rng(seed)
    column = np.sort(rng.integers(0, D, (N, each)), axis=1).ravel()
    return sparse.csr_matrix(
        (rng.normal(size=N * each).astype(dtype), column, np.arange(0, N * each + 1, each)), (N, D)
    )


@pytest.mark.parametrize("K", [2, 5, 20])
@pytest.mark.parametrize("D", [300, 60_000])  # partial sums, and in place
def test_same_bits_for_any_number_of_threads(D, K):
    rng = np.random.default_rng(1)
    x, w = random_csr(3000, D, 30, np.float32), rng.normal(size=(K, D)).astype(np.float32)
    target, v = Target(rng.integers(0, K, 3000)), Directions(None, w[::-1].copy(), None)
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            set_num_threads(threads)
            loss, fused = cpu.linear_fused(x, w, None, target, PLAIN, need=WB)
            moved = cpu.linear_hvp(x, w, None, target, PLAIN, v, need=WB)
            results.append((loss, fused.w, fused.bias, moved.w, moved.bias))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("K", [2, 3, 20])
def test_ways_to_sum_agree(K, monkeypatch):
    shape = (500, 70, K)
    _, w, b, target, weight = problem(shape, np.float64)
    x = sparse_rows(shape, np.float64, np.int32)
    true = reference.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB)
    made = plan.sparse_plan(500, 70, plan.lanes(K, 8), x.nnz, 8)
    assert made.partials
    for other in (
        dataclasses.replace(made, beside=False),
        dataclasses.replace(made, tile_rows=8, task_rows=16, chunk_rows=48, partials=0, shift=4, blocks=5),
        dataclasses.replace(made, tile_rows=3, task_rows=7, chunk_rows=21, partials=0, shift=0, blocks=70),
    ):
        monkeypatch.setattr(cpu_sparse, "sparse_plan", lambda *_, other=other: other)
        loss, found = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB)
        np.testing.assert_allclose(loss, true[0], rtol=1e-13)
        np.testing.assert_allclose(found.w, true[1].w, atol=1e-12)
        np.testing.assert_allclose(found.bias, true[1].bias, atol=1e-12)


def test_rows_left_out_are_not_read():
    for K in (2, 3, 20):
        shape = (60, 50, K)
        _, w, b, target, weight = problem(shape, np.float64)
        x = sparse_rows(shape, np.float64, np.int32)
        out = (target.label < 0) | (weight == 0)
        clean = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB)
        x.data[np.repeat(out, np.diff(x.indptr))] = np.nan
        loss, found = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB)
        np.testing.assert_array_equal(loss, clean[0])
        np.testing.assert_array_equal(found.w, clean[1].w)
        v = Directions(None, np.ones_like(w), None)
        assert np.isfinite(cpu.linear_hvp(x, w, b, target, PLAIN, v, weight=weight, need=WB).w).all()


@pytest.mark.parametrize("backend", [cpu, reference], ids=["cpu", "reference"])
def test_what_sparse_features_refuse(backend):
    x, w, target = random_csr(6, 4, 2, np.float64), np.zeros((3, 4)), Target(np.zeros(6, int))
    with pytest.raises(ValueError, match=r"no gradient here: it would be a dense array of the shape \(6, 4\)"):
        backend.linear_fused(x, w, None, target, PLAIN, need=Need(True, True, False))
    with pytest.raises(ValueError, match=r"no direction here: .* \(6, 4\)"):
        backend.linear_hvp(x, w, None, target, PLAIN, Directions(np.zeros((6, 4)), None, None))
    with pytest.raises(TypeError, match=r"must be CSR, not CSC: give x.tocsr\(\)"):
        backend.linear_fused(x.tocsc(), w, None, target, PLAIN)


def test_kernels_refuse_indices_outside():
    for index in (np.int32, np.int64):
        for wrong in (4, -1, np.iinfo(index).max):
            for K in (2, 3):
                x = random_csr(6, 4, 2, np.float64)
                x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
                x.indices[7] = wrong
                with pytest.raises(ValueError, match="row 3 of the sparse x does not lie within its 4 columns"):
                    cpu.linear_fused(x, np.zeros((K, 4)), None, Target(np.zeros(6, int)), PLAIN)
    x = random_csr(6, 4, 2, np.float64)
    x.indptr[2] = 9
    with pytest.raises(ValueError, match="of the sparse x does not lie within"):
        cpu.linear_fused(x, np.zeros((3, 4)), None, Target(np.zeros(6, int)), PLAIN)
    with pytest.raises(ValueError, match=r"must share D: x has the shape \(6, 4\), w \(3, 5\)"):
        cpu.linear_stats(random_csr(6, 4, 2, np.float64), np.zeros((3, 5)), None, Target(np.zeros(6, int)))
    with pytest.raises(TypeError, match="takes float32 and float64, not int64"):
        cpu.linear_stats(sparse.csr_array(np.eye(3, dtype=int)), np.zeros((3, 3)), None, Target(np.zeros(3, int)))


def test_plan_covers_all_rows_and_columns_in_bounded_memory():
    for N, D, K, each, size in [
        (100_000, 50_000, 2, 100, 8),
        (100_000, 50_000, 20, 100, 4),
        (10, 10**7, 20, 50, 8),
        (10**7, 30, 3, 5, 4),
        (1, 1, 1, 0, 8),
        (1000, 2**24, 2, 2000, 4),
        (0, 0, 3, 0, 8),
    ]:
        width = plan.lanes(K, size)
        p = plan.sparse_plan(N, D, width, N * each, size)
        assert width >= K
        assert p.reason
        assert min(p.tile_rows, p.task_rows, p.chunk_rows, p.blocks) >= 1
        if p.partials:
            assert p.partials * p.chunk_rows >= N
            assert p.partials * D * width * size * (1 + p.beside) <= plan.SPARSE_PARTIAL_BYTES
        else:
            assert p.blocks << p.shift >= D
            assert p.blocks <= plan.MOST_BLOCKS
            assert p.chunk_rows * width * size <= max(plan.RESIDUAL_BYTES, p.task_rows * width * size)


@pytest.mark.parametrize("thin", [False, True])
@pytest.mark.parametrize("K", [2, 4])
def test_objective_is_scikit_learns(K, thin):
    from sklearn._loss.loss import HalfBinomialLoss, HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    rng = np.random.default_rng(2)
    X, y, weight = random_csr(300, 40, 8, np.float64), rng.integers(0, K, 300), rng.random(300)
    X = X if thin else X.toarray()
    f = SoftmaxObjective(X, y, K, weight=weight, l2=0.3, fit_intercept=True)
    theta, v = rng.normal(size=(2, *f.shape))
    peer = LinearModelLoss(HalfBinomialLoss() if K == 2 else HalfMultinomialLoss(n_classes=K), fit_intercept=True)
    at = theta.ravel("F")  # as scikit-learn has the classes, feature by feature
    value, gradient = peer.loss_gradient(at, X, y.astype(float), weight, 0.3)
    _, product = peer.gradient_hessian_product(at, X, y.astype(float), weight, 0.3)
    found, slopes = f.value_and_grad(theta.ravel())
    assert found == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(slopes.reshape(f.shape).ravel("F"), gradient, atol=1e-12)
    moved = f.hessian_vector_product(theta.ravel(), v.ravel()).reshape(f.shape)
    np.testing.assert_allclose(moved.ravel("F"), product(v.ravel("F")), atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("K", [2, 3, 20])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_total_is_the_weighted_sum_of_the_losses(dtype, K, weighted):
    """Of rows that are kept, and the same gradients."""
    shape = (500, 70, K)
    _, w, b, target, weight = problem(shape, dtype)
    x, weight = sparse_rows(shape, dtype, np.int32), weight if weighted else None
    true = reference.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB)
    total, grads = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=WB, total=True)
    kept = np.ones(500) if weight is None else weight
    losses = np.where(kept != 0, np.asarray(true[0], np.float64), 0)
    rough = 1e-5 if dtype == np.float32 else 1e-12
    assert total == pytest.approx(float((kept * losses).sum()), rel=rough)
    scale = np.abs(np.asarray(true[1].w)).max()
    np.testing.assert_allclose(grads.w, true[1].w, atol=10 * rough * scale)


def test_scratch_memory_is_nobody_elses_meanwhile_and_little_of_it_stays() -> None:
    with scratch((1000,), np.float64) as first, scratch((1000,), np.float64) as second:
        assert not np.shares_memory(first, second)
        assert first.ctypes.data % 64 == second.ctypes.data % 64 == 0
    with scratch((MOST_KEPT + 1,), np.uint8):
        pass
    assert sum(len(room) for room in operands._kept) <= MOST_KEPT
