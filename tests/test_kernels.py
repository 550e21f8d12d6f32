"""Every backend against mpmath on one table of rows, and against the reference on random shapes."""

from __future__ import annotations

import numpy as np
import pytest

from table import ROWS, truth
from xent.kernels import Need, Slopes, Target, cpu, reference, select, set_num_threads
from xent.kernels.threads import get_num_threads
from xent.losses import CrossEntropy

BACKENDS = [("reference", None), *(("cpu", level) for level in cpu.levels())]
SHAPES = [(7, 5, 3), (300, 20, 10), (1, 1, 1), (33, 1, 1), (0, 3, 2), (5, 0, 4), (257, 33, 70), (50, 600, 33)]
SHAPES += [(1000, 64, 4200), (513, 17, 24), (513, 17, 25), (130, 520, 2)]


@pytest.fixture(params=BACKENDS, ids=lambda b: b[0] if b[1] is None else f"{b[0]}-{b[1]}")
def backend(request, monkeypatch):
    name, level = request.param
    if level:
        monkeypatch.setenv("XENT_CPU_LEVEL", level)
    return select(name).backend


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def dtype(request):
    return request.param


def as_target(target, dtype):
    if isinstance(target, int):
        return Target(np.array([target]))
    return Target(None, np.array([target], dtype))


def error(found, true):
    """Largest relative error; infinities must be equal."""
    found, true = np.atleast_1d(np.asarray(found, float)), np.atleast_1d(true)
    finite = np.isfinite(true)
    np.testing.assert_array_equal(found[~finite], true[~finite])
    found, true = found[finite], true[finite]
    scale = np.where(true == 0, 1e-300, np.abs(true))
    return float((np.abs(found - true) / scale).max(initial=0))


@pytest.mark.parametrize("smoothing", [0.0, 0.125])
@pytest.mark.parametrize("name", ROWS)
def test_loss_and_gradient_against_mpmath(backend, dtype, name, smoothing):
    logits, target = ROWS[name]
    loss, grad = truth(logits, target, smoothing)
    a, q = np.array([logits], dtype), as_target(target, dtype)
    formula = CrossEntropy(len(logits), smoothing)
    slopes = Slopes(*formula.slopes)
    eps = np.finfo(dtype).eps if backend is not reference else 2.3e-16
    # float32 sums thousands of terms; soft gradients near zero keep an absolute error of the size of q
    bound = (40 if len(logits) > 1000 else 12) * eps
    fused, da = backend.row_fused(a, q, slopes)
    stats = backend.row_stats(a, q, need_u=formula.needs_u)
    apart = formula.value(stats.s, stats.t, stats.u)
    row = [np.full(1, v) for v in slopes]
    da2 = backend.row_grad(a, q, stats, Slopes(*row))
    for value in (fused, apart):
        assert error(value, loss) < bound
    absolute = 4 * np.finfo(dtype).eps * (0 if isinstance(target, int) and not smoothing else 1)
    for gradient in (da, da2):
        wrong = np.abs(gradient[0] - grad) > (bound + np.finfo(dtype).eps) * np.abs(grad) + absolute + 1e-37
        assert not wrong.any(), (gradient[0][wrong], grad[wrong])


def test_long_rows_of_float32_are_summed_in_blocks(backend):
    """A million equal terms, each rounded the same way: a plain float32 sum of them has three digits."""
    K = 2**20
    a = np.full((1, K), -1, np.float32)
    a[0, 5] = 0
    loss, _ = backend.row_fused(a, Target(np.array([5])), Slopes(1.0, -1.0, 0.0))
    assert loss[0] == pytest.approx(np.log1p((K - 1) * np.exp(-1)), rel=1e-6)


@pytest.mark.parametrize("K", [3, 40])
def test_a_slope_of_zero_takes_its_statistic_out(backend, K):
    """Even where it is infinite: with a smoothing of 1 a masked target costs inf by the sum of all, and not NaN."""
    a = np.zeros((1, K))
    a[0, 1] = -np.inf
    assert backend.row_fused(a, Target(np.array([1])), Slopes(1.0, 0.0, -1 / K))[0][0] == np.inf
    assert backend.row_fused(a, Target(np.array([1])), Slopes(1.0, 0.0, 0.0))[0][0] == pytest.approx(np.log(K - 1))


def problem(shape, dtype, seed=0, soft=False):
    rng = np.random.default_rng(seed)
    N, D, K = shape
    x = rng.normal(size=(N, D)).astype(dtype)
    w = (rng.normal(size=(K, D)) / np.sqrt(D + 1)).astype(dtype)
    b = rng.normal(size=K).astype(dtype)
    if soft:
        target = Target(None, rng.dirichlet(np.ones(K) * 0.3, N).reshape(N, K).astype(dtype))
    else:
        label = rng.integers(0, K, N)
        label[::5] = -1
        target = Target(label)
    weight = rng.random(N)
    weight[1::7] = 0
    return x, w, b, target, weight


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_linear_layer_against_the_reference(backend, dtype, shape, soft):
    x, w, b, target, weight = problem(shape, dtype, soft=soft)
    K = shape[2]
    slopes, need = Slopes(1.0, -0.875, -0.125 / K), Need(True, True, True)
    true_loss, true = reference.linear_fused(
        x.astype(float), w.astype(float), b.astype(float), target, slopes, weight=weight, need=need
    )
    bound = 3e-13 if dtype == np.float64 else 2e-5
    loss, grads = backend.linear_fused(x, w, b, target, slopes, weight=weight, need=need)
    stats = backend.linear_stats(x, w, b, target, need_u=True)
    apart = backend.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=need)
    np.testing.assert_allclose(loss, true_loss, rtol=bound, atol=bound)
    for name in ("x", "w", "bias"):
        expected = getattr(true, name)
        scale = np.abs(expected).max(initial=0) + 1e-3
        for found in (getattr(grads, name), getattr(apart, name)):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found / scale, expected / scale, rtol=0, atol=bound)


@pytest.mark.parametrize("shape", [(700, 5, 10), (700, 5, 40), (300, 700, 9000)], ids=str)
def test_each_row_has_its_own_slopes(backend, shape):
    if backend is reference and shape[2] > 1000:
        pytest.skip("the reference against itself")
    x, w, b, target, weight = problem(shape, np.float64)
    rng = np.random.default_rng(2)
    slopes = Slopes(*(rng.normal(size=shape[0]) for _ in range(3)))
    expected = reference.linear_stats(x, w, b, target)
    true = reference.linear_grad(x, w, b, target, expected, slopes, weight=weight, need=Need(True, True, True))
    stats = backend.linear_stats(x, w, b, target)
    found = backend.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=Need(True, True, True))
    for a, c in zip(found, true, strict=True):
        np.testing.assert_allclose(a, c, rtol=0, atol=1e-12 * np.abs(c).max())
    logits = x @ w.T + b
    da = backend.row_grad(logits, target, stats, slopes, weight=weight)
    np.testing.assert_allclose(da, reference.row_grad(logits, target, expected, slopes, weight=weight), atol=1e-12)


def test_only_what_is_needed_is_computed(backend):
    x, w, b, target, _ = problem((40, 6, 5), np.float64)
    for need in (Need(False, False, True), Need(True, False, False), Need(False, True, False)):
        _, grads = backend.linear_fused(x, w, b, target, Slopes(1.0, -1.0, 0.0), need=need)
        assert [g is not None for g in grads] == list(need)


@pytest.mark.parametrize("K", [3, 40])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_rows_left_out_poison_nothing(backend, dtype, K, bad):
    x, w, b, target, weight = problem((60, 6, K), dtype)
    out = (target.label < 0) | (weight == 0)
    assert 0 < out.sum() < 60
    need, slopes = Need(True, True, True), Slopes(1.0, -1.0, 0.0)
    poisoned = x.copy()
    poisoned[out] = bad
    with np.errstate(invalid="ignore"):
        clean, dirty = (backend.linear_fused(v, w, b, target, slopes, weight=weight, need=need) for v in (x, poisoned))
    np.testing.assert_array_equal(clean[0][out], 0)
    np.testing.assert_array_equal(clean[0], dirty[0])
    for a, c in zip(clean[1], dirty[1], strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-7)
        assert np.isfinite(c).all()
    logits = (x @ w.T + b).astype(dtype)
    spoiled = logits.copy()
    spoiled[out] = bad
    da = backend.row_fused(spoiled, target, slopes, weight=weight)[1]
    np.testing.assert_array_equal(da, backend.row_fused(logits, target, slopes, weight=weight)[1])
    np.testing.assert_array_equal(da[out], 0)


@pytest.mark.parametrize("K", [4, 50])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_undefined_rows_are_nan_and_alone(backend, dtype, K, value):
    a = np.random.default_rng(0).normal(size=(40, K)).astype(dtype)
    for column in (0, K - 1):
        b = a.copy()
        b[7, column] = value
        b[9] = -np.inf
        loss, da = backend.row_fused(b, Target(np.full(40, 1)), Slopes(1.0, -1.0, 0.0))
        bad = np.isnan(loss)
        assert bad.nonzero()[0].tolist() == [7, 9]
        assert np.isnan(da[bad]).all()
        assert np.isfinite(da[~bad]).all()


@pytest.mark.parametrize("K", [10, 300])
def test_in_place_and_given_output(backend, dtype, K):
    a = np.random.default_rng(1).normal(size=(90, K)).astype(dtype)
    target, slopes = Target(np.arange(90) % K), Slopes(1.0, -1.0, 0.0)
    loss, da = backend.row_fused(a, target, slopes)
    own, given = a.copy(), np.asfortranarray(np.empty_like(a))
    for out in (own, given):
        loss2, da2 = backend.row_fused(own if out is own else a, target, slopes, out=out)
        assert da2 is out
        np.testing.assert_allclose(da2, da, rtol=1e-6, atol=1e-12)
        np.testing.assert_array_equal(loss2, loss)


@pytest.mark.parametrize("shape", [(5000, 30, 10), (3000, 40, 700), (200, 700, 9000)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    x, w, b, target, weight = problem(shape, np.float32)
    before = get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3, 7):
            set_num_threads(threads)
            loss, grads = cpu.linear_fused(
                x, w, b, target, Slopes(1.0, -1.0, 0.0), weight=weight, need=Need(True, True, True)
            )
            results.append((loss, *grads))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_select_tells_its_reason(monkeypatch):
    monkeypatch.delenv("XENT_BACKEND", raising=False)
    assert select(dtype=np.float32).backend is cpu
    assert "native kernels take float32" in select(dtype=np.float32).reason
    assert select(dtype=np.float16).backend is reference
    assert "no faster backend takes float16" in select(dtype=np.float16).reason
    assert "asked for by name" in select("reference").reason
    monkeypatch.setenv("XENT_BACKEND", "reference")
    assert select().backend is reference
    assert "XENT_BACKEND" in select().reason
    with pytest.raises(ValueError, match=r"no backend 'gpu': there are cpu, reference"):
        select("gpu")
    with pytest.raises(TypeError, match=r"the cpu backend cannot take float16: reference can"):
        select("cpu", dtype=np.float16)
    with pytest.raises(TypeError, match="floating arrays, not int64"):
        select(dtype=np.int64)


def test_kernels_refuse_what_does_not_fit(monkeypatch):
    a = np.zeros((4, 3))
    slopes = Slopes(1.0, -1.0, 0.0)
    with pytest.raises(ValueError, match="a label is out of range"):
        cpu.row_fused(a, Target(np.array([0, 1, 2, 3])), slopes)
    with pytest.raises(ValueError, match="labels and rows differ in number"):
        cpu.row_fused(a, Target(np.zeros(3, int)), slopes)
    with pytest.raises(ValueError, match="probabilities and logits differ in shape"):
        cpu.row_stats(a, Target(None, np.zeros((4, 2))))
    with pytest.raises(ValueError, match=r"must share D: x has the shape \(4, 3\), w \(2, 5\)"):
        cpu.linear_stats(np.zeros((4, 3)), np.zeros((2, 5)), None, Target(np.zeros(4, int)))
    with pytest.raises(TypeError, match="takes float32 and float64, not int64"):
        cpu.row_stats(a.astype(int), Target(np.zeros(4, int)))
    with pytest.raises(ValueError, match=r"out is float32\[4, 3\], the logits are float64\[4, 3\]"):
        cpu.row_fused(a, Target(np.zeros(4, int)), slopes, out=np.zeros((4, 3), np.float32))
    monkeypatch.setenv("XENT_CPU_LEVEL", "abacus")
    with pytest.raises(ValueError, match=r"this machine has .*plain"):
        cpu.row_stats(a, Target(np.zeros(4, int)))
