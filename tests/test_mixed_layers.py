"""Layers whose x is stored in float32 and computed with in float64, or the other way round; x is never copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from xent.kernels import (
    Curvatures,
    Directions,
    Need,
    Slopes,
    Target,
    cpu,
    get_num_threads,
    plan,
    reference,
    set_num_threads,
)
from xent.kernels.contract import layer_dtype
from xent.objective import SoftmaxObjective
from xent.testing.backend import problem

ALL = Need(True, True, True)
PLAIN = Slopes(1.0, -1.0, 0.0)
KINDS = [("float64", "float32"), ("float32", "float64")]
# few, with dot products and without, in steps of rows; one logit a row is below; middle; many
SHAPES = [
    (400, 100, 10),
    (130, 784, 10),
    (90, 2100, 3),
    (70, 5, 16),
    (300, 50, 100),
    (50, 20, 1500),
    (3, 1, 1),
    (0, 4, 3),
]


def mixed(shape, stored, computed, soft=False):
    """A layer with x in one dtype and the rest in another, and the same in float64."""
    _, w, b, target, weight = problem(shape, computed, soft)
    x = problem(shape, stored)[0]
    return (x, w, b, target), (x.astype(float), w.astype(float), b.astype(float), target), weight


def near(found, true, computed):
    bound = 3e-13 if computed == "float64" else 2e-6
    found, scale = np.asarray(found), np.abs(true).max(initial=0) + 1e-3
    if found.dtype == np.float32:
        bound = max(bound, 1e-7)
    np.testing.assert_allclose(found / scale, np.asarray(true) / scale, rtol=0, atol=bound)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize(("stored", "computed"), KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("small", [False, True])
def test_every_way_agrees_with_the_reference(level, stored, computed, shape, small, monkeypatch):
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    memory = least(shape, computed) if small else None
    for soft in (False, True):
        given, exact, weight = mixed(shape, stored, computed, soft)
        slopes = Slopes(1.0, -0.875, -0.125 / shape[2])
        true_loss, true = reference.linear_fused(*exact, slopes, weight=weight, need=ALL)
        loss, fused = cpu.linear_fused(*given, slopes, weight=weight, need=ALL, memory=memory)
        stats = cpu.linear_stats(*given, need_u=True, memory=memory)
        apart = cpu.linear_grad(*given, stats, slopes, weight=weight, need=ALL, memory=memory)
        near(loss, true_loss, computed)
        for grads in (fused, apart):
            for found, expected in zip(grads, true, strict=True):
                near(found, expected, computed)
            assert grads.x.dtype == stored
            assert grads.w.dtype == layer_dtype(*given[:2]) == computed
        total, _ = cpu.linear_fused(*given, slopes, weight=weight, memory=memory, total=True)
        near(total, true_loss @ weight, computed)


def least(shape, computed):
    """The smallest budget for the layer, in steps of 4 KiB."""
    itemsize = np.dtype(computed).itemsize
    for memory in range(2**12, 2**26, 2**12):
        try:
            plan.linear_plan(*shape, itemsize, memory, converts=True)
        except ValueError:
            continue
        return memory
    raise AssertionError


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize("shape", [(500, 100, 10), (300, 50, 100), (333, 60, 2)], ids=str)
def test_the_same_bits_as_of_rounded_features(level, shape, monkeypatch):
    """In float32 nothing is lost but what the rounding of x takes; the sums are those of float32 features."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    (x, w, b, target), _, weight = mixed(shape, "float64", "float32")
    if shape[2] == 2:
        w[0], b[0] = 0, 0  # one logit a row
    found = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=Need(False, True, True))
    alone = cpu.linear_fused(x.astype(np.float32), w, b, target, PLAIN, weight=weight, need=Need(False, True, True))
    np.testing.assert_array_equal(found[0], alone[0])
    np.testing.assert_array_equal(found[1].w, alone[1].w)
    np.testing.assert_array_equal(found[1].bias, alone[1].bias)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize(("stored", "computed"), KINDS)
@pytest.mark.parametrize("features", [1, 16, 50, 130, 2100])
def test_one_logit_a_row(level, stored, computed, features, monkeypatch):
    """Two classes of which the first has no weights; rows left out hold what no float32 holds."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    (x, w, b, target, weight) = (*mixed((77, features, 2), stored, computed)[0], np.random.default_rng(1).random(77))
    w, b, label = (w * [[0], [1]]).astype(computed), (b * [0, 1]).astype(computed), target.label.copy()
    label[::7], weight[2::5] = -1, 0
    x[::7] = np.nan
    x[2::5] = 1e300 if stored == "float64" else np.inf
    given = {"weight": weight, "need": Need(False, True, True)}
    with np.errstate(invalid="ignore", over="ignore"):
        for total in (False, True):
            loss, grads = cpu.linear_fused(x, w, b, Target(label), PLAIN, **given, total=total)
            true_loss, true = reference.linear_fused(x, w, b, Target(label), PLAIN, **given, total=total)
            near(loss, true_loss, computed)
            near(grads.w, true.w, computed)
            near(grads.bias, true.bias, computed)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize(("stored", "computed"), KINDS)
@pytest.mark.parametrize("shape", [(90, 30, 10), (70, 40, 300), (40, 600, 9000)], ids=str)
def test_hessian_vector_products(level, stored, computed, shape, monkeypatch):
    """With partial sums of dw, and with dw summed in place; rows left out hold NaN."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    if level != cpu.levels()[0] and shape[2] > 1000:
        pytest.skip("one level is enough for the largest")
    given, exact, weight = mixed(shape, stored, computed)
    out = (given[3].label < 0) | (weight == 0)
    rng = np.random.default_rng(4)
    exact_v = Directions(
        *(rng.normal(size=s).astype(computed).astype(float) for s in (exact[0].shape, exact[1].shape, shape[2]))
    )
    v = Directions(*(d.astype(computed) for d in exact_v))
    bend = Curvatures(*rng.normal(size=(3, shape[0])))
    true = reference.linear_hvp(*exact, PLAIN, exact_v, curvatures=bend, weight=weight, need=ALL)
    given[0][out] = np.nan
    found = cpu.linear_hvp(*given, PLAIN, v, curvatures=bend, weight=weight, need=ALL)
    for a, c in zip(found, true, strict=True):
        near(a, c, computed)
    assert (found.x.dtype, found.w.dtype) == (stored, computed)


@pytest.mark.parametrize("K", [2, 5])
def test_an_objective_over_the_other_dtype_by_finite_differences(K):
    rng = np.random.default_rng(3)
    X, y, weight = rng.normal(size=(60, 6)).astype(np.float32), rng.integers(0, K, 60), rng.random(60)
    f = SoftmaxObjective(X, y, K, weight=weight, l2=0.3, fit_intercept=True, dtype=np.float64)
    theta, h = rng.normal(size=f.shape).ravel(), 1e-6
    value, gradient = f.value_and_grad(theta)
    for i in range(theta.size):
        step = np.zeros(theta.size)
        step[i] = h
        slope = (f.value_and_grad(theta + step)[0] - f.value_and_grad(theta - step)[0]) / (2 * h)
        assert gradient[i] == pytest.approx(slope, abs=1e-8)
    rough = SoftmaxObjective(X.astype(float), y, K, weight=weight, l2=0.3, fit_intercept=True, dtype=np.float32)
    found, rounded = rough.value_and_grad(theta)
    assert found == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(rounded, gradient, atol=3e-7)


def test_float32_sums_over_many_rows_stay_close():
    """A gradient that has almost vanished is the sum of terms that cancel: 1e-8 of their sizes is left at most."""
    rng = np.random.default_rng(6)
    N, D, K = 40_000, 20, 4
    X, w = rng.normal(size=(N, D)), rng.normal(size=(K, D)).astype(np.float32)
    z = X @ w.T.astype(float)
    label = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    given = {"weight": np.full(N, 1 / N), "need": Need(False, True, True), "total": True}
    true_loss, true = reference.linear_fused(X, w.astype(float), None, Target(label), PLAIN, **given)
    loss, grads = cpu.linear_fused(X, w, None, Target(label), PLAIN, **given)
    assert np.abs(true.w).max() < 0.02
    assert loss == pytest.approx(true_loss, rel=3e-8)
    np.testing.assert_allclose(grads.w, true.w, rtol=0, atol=3e-8)
    np.testing.assert_allclose(grads.bias, true.bias, rtol=0, atol=3e-8)


@pytest.mark.parametrize(("stored", "computed"), KINDS)
@pytest.mark.parametrize("shape", [(3000, 40, 12), (900, 60, 300)], ids=str)
def test_same_bits_for_any_number_of_threads(stored, computed, shape):
    given, _, weight = mixed(shape, stored, computed)
    before, results = get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            set_num_threads(threads)
            loss, grads = cpu.linear_fused(*given, PLAIN, weight=weight, need=ALL)
            results.append((loss, *grads))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, c in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, c)


@pytest.mark.parametrize(("stored", "computed"), KINDS)
@pytest.mark.parametrize("shape", [(20_000, 100, 10), (8000, 128, 300), (200, 64, 20_000)], ids=str)
def test_x_is_not_copied(stored, computed, shape):
    """What NumPy allocates is what the plan says; the tasks' own tiles are smaller than that."""
    given, _, weight = mixed(shape, stored, computed)
    p = plan.linear_plan(*shape, np.dtype(computed).itemsize, converts=True)
    need = Need(False, True, True)
    cpu.linear_fused(*given, PLAIN, weight=weight, need=need)
    tracemalloc.start()
    result = cpu.linear_fused(*given, PLAIN, weight=weight, need=need)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    outputs = result[0].nbytes + result[1].w.nbytes + result[1].bias.nbytes
    assert peak - outputs <= p.shared_bytes + 2**18
    same = plan.linear_plan(*shape, np.dtype(computed).itemsize)
    tile = np.dtype(computed).itemsize * shape[1] * p.tile_rows
    assert p.shared_bytes + p.task_bytes - same.shared_bytes - same.task_bytes == (2 if p.way == "many" else 1) * tile


def test_what_cannot_be_computed_in_is_refused():
    target = Target(np.zeros(2, int))
    for x, w, name in ((np.ones((2, 3), "f2"), np.ones((2, 3)), "x"), (np.ones((2, 3)), np.ones((2, 3), int), "w")):
        with pytest.raises(TypeError, match=f"float32, float64 here, and {name} is {(x if name == 'x' else w).dtype}"):
            cpu.linear_fused(x, w, None, target, PLAIN)
