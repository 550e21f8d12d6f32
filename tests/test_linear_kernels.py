"""The native operations on linear layers: their three ways of cutting, against the reference; memory; threads."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from xent.kernels import Need, Slopes, Target, cpu, get_num_threads, plan, reference, set_num_threads
from xent.testing.backend import problem

ALL = Need(True, True, True)
PLAIN = Slopes(1.0, -1.0, 0.0)


def tight(shape, dtype):
    """The smallest budget, which cuts a layer of any size into blocks of classes."""
    for memory in range(2**12, 2**26, 2**12):
        try:
            plan.linear_plan(*shape, np.dtype(dtype).itemsize, memory)
        except ValueError:
            continue
        return memory
    raise AssertionError


def near(found, true, dtype):
    bound = 3e-13 if dtype == np.float64 else 2e-5
    scale = np.abs(true).max(initial=0) + 1e-3
    np.testing.assert_allclose(np.asarray(found) / scale, true / scale, rtol=0, atol=bound)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 1),
        (0, 3, 2),
        (5, 0, 4),
        (70, 33, 1000),
        (260, 17, 300),
        (40, 130, 2111),
        (61, 50, 2),
        (90, 100, 10),
        (37, 9, 3),
    ],
    ids=str,
)
@pytest.mark.parametrize("room", ["tight", "kept", "default"])
def test_every_way_agrees_with_the_reference(level, dtype, soft, shape, room, monkeypatch):
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    dtype = np.dtype(dtype)
    x, w, b, target, weight = problem(shape, dtype, soft)
    memory = {"tight": tight(shape, dtype), "kept": 2 * tight(shape, dtype) + 2**19, "default": None}[room]
    slopes = Slopes(1.0, -0.875, -0.125 / shape[2])
    exact = (x.astype(float), w.astype(float), b.astype(float), target)
    true_stats = reference.linear_stats(*exact, need_u=True)
    true_loss, true = reference.linear_fused(*exact, slopes, weight=weight, need=ALL)
    stats = cpu.linear_stats(x, w, b, target, need_u=True, memory=memory)
    for found, expected in zip(stats, true_stats, strict=True):
        near(found, expected, dtype)
    loss, fused = cpu.linear_fused(x, w, b, target, slopes, weight=weight, need=ALL, memory=memory)
    near(loss, true_loss, dtype)
    apart = cpu.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=ALL, memory=memory)
    for grads in (fused, apart):
        for found, expected in zip(grads, true, strict=True):
            near(found, expected, dtype)
    summed, alone = cpu.linear_fused(x, w, b, target, slopes, weight=weight, memory=memory, total=True)
    assert summed == pytest.approx(float(true_loss @ weight), rel=1e-4 if dtype == np.float32 else 1e-12)
    np.testing.assert_array_equal(alone.w, fused.w)  # whatever else is asked for
    assert alone.x is None
    assert alone.bias is None


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("features", [1, 15, 50, 136, 300])
def test_few_classes_of_any_number(level, dtype, features, monkeypatch):
    """Dot products by groups of classes, rows far apart in long ones, strips of dw, shallow products of dx."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    dtype = np.dtype(dtype)
    for classes in range(1, 18):
        x, w, b, target, weight = problem((67, features, classes), dtype, False)
        exact = (x.astype(float), w.astype(float), b.astype(float), target)
        for bias in (None, 1):
            given = [(*v[:2], None if bias is None else v[2], v[3]) for v in ((x, w, b, target), exact)]
            true_loss, true = reference.linear_fused(*given[1], PLAIN, weight=weight, need=ALL)
            loss, grads = cpu.linear_fused(*given[0], PLAIN, weight=weight, need=ALL)
            near(loss, true_loss, dtype)
            for found, expected in zip(grads, true, strict=True):
                near(found, expected, dtype)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(300, 37, 3), (50, 20, 1500)], ids=str)
@pytest.mark.parametrize("skew", [0, 1, 5])
def test_the_gradient_in_x_goes_where_it_is_told(level, dtype, shape, skew, monkeypatch):
    """The same bits in memory that is there, through the caches or past them, at any place in a line."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    x, w, b, target, weight = problem(shape, np.dtype(dtype), False)
    memory = tight(shape, dtype) if shape[2] > 1000 else None
    expected = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=ALL, memory=memory)[1]
    stats = cpu.linear_stats(x, w, b, target, memory=memory)
    for past in (False, True):
        monkeypatch.setattr("xent.kernels.cpu.linear.goes_past", lambda nbytes, past=past: past)
        for apart in (False, True):
            around = np.full(x.size + skew + 9, 7, dtype)
            out = around[skew : skew + x.size].reshape(x.shape)
            options = {"weight": weight, "need": ALL, "memory": memory, "out": out}
            if apart:
                grads = cpu.linear_grad(x, w, b, target, stats, Slopes(*map(each(len(x)), PLAIN)), **options)
            else:
                grads = cpu.linear_fused(x, w, b, target, PLAIN, **options)[1]
            assert grads.x is out
            if apart:
                near(out, expected.x, np.dtype(dtype))
            else:
                np.testing.assert_array_equal(out, expected.x)
            assert (around[:skew] == 7).all()
            assert (around[skew + x.size :] == 7).all()
    for wrong in (out[1:], out.astype("float16"), out.T, x):
        with pytest.raises(ValueError, match="out "):
            cpu.linear_fused(x, w, b, target, PLAIN, need=ALL, memory=memory, out=wrong)


def each(rows):
    """A slope for each row."""
    return lambda slope: np.full(rows, slope)


@pytest.mark.parametrize("level", cpu.levels())
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1), (16, 8), (61, 50), (100, 3), (333, 130), (40, 700), (0, 4), (7, 0)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_one_logit_a_row_agrees_with_the_reference(level, dtype, shape, weighted, monkeypatch):
    """Two classes of which the first has no weights, as those who fit them ask; rows left out hold NaN."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    x, w, b, target, weight = problem((*shape, 2), np.dtype(dtype), False)
    w, b, label = w * [[0], [1]], b * np.array([0, 1], b.dtype), target.label.copy()
    label[::7] = -1
    x[::7] = np.nan
    if weighted:
        weight = np.where(np.arange(len(x)) % 5 == 2, 0.0, weight)
        x[2::5] = np.inf
    given = {"weight": weight if weighted else None, "need": Need(False, True, True)}
    for total in (False, True):
        arguments = (x, np.ascontiguousarray(w, dtype), b, Target(label), PLAIN)
        loss, grads = cpu.linear_fused(*arguments, **given, total=total)
        true_loss, true = reference.linear_fused(*arguments, **given, total=total)
        near(loss, true_loss, dtype)
        near(grads.w, true.w, dtype)
        near(grads.bias, true.bias, dtype)


@pytest.mark.parametrize("level", cpu.levels())
def test_one_logit_that_is_not_finite(level, monkeypatch):
    """As two classes have it: minus infinity is a masked class; plus infinity and infinite features make a row NaN."""
    monkeypatch.setenv("XENT_CPU_LEVEL", level)
    x = np.array([[-1e200, 1], [-1e200, 1], [1e200, 1], [1e200, 1], [np.inf, 1], [-np.inf, 1], [0, np.nan], [1, 2]])
    w, label = np.array([[0, 0], [1e200, 1.0]]), np.array([0, 1, 0, 1, 1, 0, 1, 0])
    need = Need(False, True, True)
    loss, grads = cpu.linear_fused(x, w, np.zeros(2), Target(label), PLAIN, need=need)
    np.testing.assert_array_equal(loss, [0, np.inf, *[np.nan] * 5, 1e200])
    assert np.isnan(grads.w[1]).all()
    _, grads = cpu.linear_fused(x[:2], w, np.zeros(2), Target(label[:2]), PLAIN, need=need)
    np.testing.assert_array_equal(grads.w, [[-1e200, 1], [1e200, -1]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_of_masked_and_undefined_logits(dtype):
    """-inf on whole blocks of classes, rows of NaN, a row left out, maxima far apart: as with all classes at once."""
    N, D, K = 24, 6, 1500
    rng = np.random.default_rng(5)
    x, w = rng.normal(size=(N, D)).astype(dtype), rng.normal(size=(K, D)).astype(dtype)
    bias = rng.normal(size=K).astype(dtype)
    bias[:700] = -np.inf
    bias[900:] -= 60
    label = rng.integers(700, K, N)
    label[3], label[4], label[5] = 2, -1, 750  # an infinite loss, a row left out, and a row of NaN
    x[4:6] = np.nan
    x[6] *= 1e4  # certain
    memory = tight((N, D, K), dtype)
    assert plan.linear_plan(N, D, K, np.dtype(dtype).itemsize, memory).way == "many"
    weight = rng.uniform(0.5, 1.5, N)
    weight[7], x[7] = 0, np.inf
    target = Target(label)
    true_loss, true = reference.linear_fused(x, w, bias, target, PLAIN, weight=weight, need=ALL)
    loss, grads = cpu.linear_fused(x, w, bias, target, PLAIN, weight=weight, need=ALL, memory=memory)
    assert loss[3] == np.inf
    assert loss[4] == loss[7] == 0
    assert np.isnan(loss[5])
    np.testing.assert_allclose(loss, true_loss, rtol=1e-4 if dtype == "float32" else 1e-12)
    sound = np.delete(np.arange(N), 5)
    np.testing.assert_allclose(grads.x[sound], true.x[sound], atol=1e-3 if dtype == "float32" else 1e-11)
    assert np.isnan(grads.x[5]).all()
    keep = np.delete(np.arange(N), [5])
    loss, grads = cpu.linear_fused(
        x[keep], w, bias, Target(label[keep]), PLAIN, weight=weight[keep], need=ALL, memory=memory
    )
    true = reference.linear_fused(x[keep], w, bias, Target(label[keep]), PLAIN, weight=weight[keep], need=ALL)[1]
    for found, expected in zip(grads, true, strict=True):
        size = np.abs(expected).max()
        np.testing.assert_allclose(found / size, expected / size, atol=1e-5 if dtype == "float32" else 1e-12)


def test_a_certain_row_keeps_its_digits_over_blocks():
    """Loss and gradient of a row whose other classes add up to 1e-30: log1p of them, not the log of 1."""
    K = 1200
    bias = np.full(K, -75.0)
    bias[1000] = 0.0
    x, w = np.zeros((1, 2)), np.zeros((K, 2))
    memory = tight((1, 2, K), np.float64)
    loss, grads = cpu.linear_fused(x, w, bias, Target(np.array([1000])), PLAIN, need=ALL, memory=memory)
    others = (K - 1) * np.exp(-75.0)
    assert loss[0] == pytest.approx(others, rel=1e-12)
    assert grads.bias[1000] == pytest.approx(-others, rel=1e-12)
    assert grads.bias[:1000].sum() + grads.bias[1001:].sum() == pytest.approx(others, rel=1e-12)


@pytest.mark.parametrize("shape", [(3000, 40, 12), (900, 60, 300), (300, 50, 3000)], ids=str)
@pytest.mark.parametrize("small", [False, True])
def test_same_bits_for_any_number_of_threads(shape, small):
    x, w, b, target, weight = problem(shape, np.float32)
    memory, before, results = tight(shape, np.float32) if small else None, get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            set_num_threads(threads)
            loss, grads = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, need=ALL, memory=memory)
            total = cpu.linear_fused(x, w, b, target, PLAIN, weight=weight, memory=memory, total=True)[0]
            results.append((loss, *grads, total))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, c in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, c)


SHAPES = [(0, 3, 2), (1, 1, 1), (60_000, 784, 10), (50_000, 128, 100), (20_000, 256, 1000), (4096, 1024, 32_000)]
SHAPES += [(8192, 512, 128_000), (8, 4096, 128_000), (10**5, 64, 10**6), (2000, 20_000, 1000), (10**6, 50, 2)]


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("twice", [False, True])
def test_a_plan_covers_the_layer_within_its_memory(shape, itemsize, twice):
    N, D, K = shape
    for memory in (None, 2**28, 2**40):
        p = plan.linear_plan(N, D, K, itemsize, memory, twice=twice)
        assert p == plan.linear_plan(N, D, K, itemsize, memory, twice=twice)
        assert p.shared_bytes + p.task_bytes * min(p.most_tasks, 2) <= (memory or plan.MEMORY)
        assert p.most_tasks >= 1
        assert 1 <= p.tile_rows <= max(plan.MOST_ROWS, plan.MOST_TILE_ROWS)
        assert p.way in p.reason
        if p.way == "many":
            assert p.group % p.block == 0
            assert p.block % 96 == 0
        else:
            assert p.chunk_rows >= p.tile_rows
            assert p.partials * p.chunk_rows >= N > (p.partials - 1) * p.chunk_rows or N == 0
    assert plan.linear_plan(N, D, K, itemsize, 2**40, twice=True).kept


def test_the_ways():
    assert [plan.linear_plan(*shape, 4).way for shape in SHAPES[2:7]] == ["few", "middle", "middle", "many", "many"]
    assert not plan.linear_plan(10**5, 64, 10**6, 4).kept  # a row of logits is 4 MB
    assert not plan.linear_plan(8192, 512, 128_000, 4, twice=False).kept


@pytest.mark.parametrize("shape", [(300, 20, 10), (300, 50, 3000)], ids=str)
def test_a_budget_too_small_says_what_would_do(shape):
    x, w, b, target, _ = problem(shape, np.float32)
    with pytest.raises(ValueError, match=r"memory=1000 bytes are too few for this layer: \d+ would do") as error:
        cpu.linear_fused(x, w, b, target, PLAIN, memory=1000)
    least = int(str(error.value).split(": ")[1].split()[0])
    cpu.linear_fused(x, w, b, target, PLAIN, need=ALL, memory=least)
    with pytest.raises(ValueError, match="too few"):
        cpu.linear_fused(x, w, b, target, PLAIN, memory=least - 1)
    for bad in (0, -5, 1.5, True):
        with pytest.raises(ValueError, match="memory must be a number of bytes from 1"):
            cpu.linear_stats(x, w, b, target, memory=bad)
    with pytest.raises(ValueError, match="the reference stores all logits"):
        reference.linear_stats(x, w, b, target, memory=2**30)


@pytest.mark.parametrize(
    ("shape", "memory"),
    [((6000, 100, 10), None), ((4000, 128, 700), None), ((500, 64, 20_000), None), ((500, 64, 20_000), 2**23)],
    ids=str,
)
def test_memory_is_as_the_plan_says(shape, memory):
    """What NumPy allocates; what the tasks take themselves is in the next test."""
    x, w, b, target, weight = problem(shape, np.float32)
    p = plan.linear_plan(*shape, 4, memory)
    kinds = (b, target, PLAIN)
    cpu.linear_fused(x, w, *kinds, weight=weight, need=ALL, memory=memory)
    tracemalloc.start()
    result = cpu.linear_fused(x, w, *kinds, weight=weight, need=ALL, memory=memory)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    outputs = sum(a.nbytes for a in (result[0], *result[1]))
    assert peak - outputs <= p.shared_bytes + 2**18
    assert peak - outputs >= p.shared_bytes / 4


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from resource")
def test_peak_memory_of_the_process():
    """Native allocations too: a layer whose logits and packed weights would be 120 MB and 60 MB."""
    code = """
import resource, sys, numpy as np, xent
from xent.kernels import Need, Slopes, Target, cpu, plan
xent.set_num_threads(2)
N, D, K = 500, 256, 60000
x, w, y = np.ones((N, D), np.float32), np.full((K, D), 0.01, np.float32), np.arange(N)
args = Target(y), Slopes(1.0, -1.0, 0.0)
unit = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
loss, grads = cpu.linear_fused(x, w, None, *args, need=Need(True, True, False), memory=2**25)
extra = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before - sum(a.nbytes for a in grads[:2])
p = plan.linear_plan(N, D, K, 4, 2**25)
print(extra, p.shared_bytes + 2 * p.task_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    extra, formula = map(int, done.stdout.split())
    assert formula <= 2**25
    assert extra <= formula + 2**22
