"""The native operations on logits: every number of classes that has code of its own, every dtype, every level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from xent.kernels import Slopes, Target, cpu, plan, reference, select
from xent.kernels.contract import BFLOAT16

RNG = np.random.default_rng(0)
CLASSES = [1, 2, 3, 4, 5, 8, 10, 16, 17, 33, 63, 64, 65, 100, 128, 700, 5000]
SLOPES = [Slopes(1.0, -1.0, 0.0), Slopes(1.0, -0.75, -0.25 / 7), Slopes(0.0, -1.0, 0.0), Slopes(1.0, 0.0, 0.0)]
DTYPES = ["float64", "float32", "bfloat16", "float16"]


@pytest.fixture(params=cpu.levels())
def level(request, monkeypatch):
    monkeypatch.setenv("XENT_CPU_LEVEL", request.param)
    return request.param


def widened(a):
    """What an array of any dtype holds, in float64."""
    with np.errstate(invalid="ignore"):  # NaN with a mark
        if a.dtype == BFLOAT16:
            return (a.view(np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        return a.astype(np.float64)


def narrowed(a, dtype):
    """The nearest numbers of a dtype, ties to even."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return a.astype(dtype)
    bits = a.astype(np.float32).view(np.uint32)
    rounded = np.where(np.isnan(a), bits | 0x400000, bits + 0x7FFF + (bits >> 16 & 1))
    return (rounded >> 16).astype(np.uint16).view(BFLOAT16)


def case(K, dtype, soft, N=67):
    """Ordinary rows, and among them: confident, tied, masked, huge, undefined and left-out ones."""
    a = RNG.normal(size=(N, K)) * 4
    y = RNG.integers(0, K, N)
    a[1] = 0
    a[2, 0] = 60 if dtype != "float64" else 500
    y[2] = 0
    a[3, y[3]] = -80
    if K > 1:
        a[4, (y[4] + 1) % K] = -np.inf
        a[5, y[5]] = -np.inf
    a[6, K // 2] = np.nan
    a[7, 0] = np.inf
    a[8] = -np.inf
    y[9] = y[66] = -1
    a[9] = np.nan
    a[10] += 1000
    a = narrowed(a, dtype)
    computed = np.float64 if dtype == "float64" else np.float32
    q = None
    if soft:
        q = RNG.dirichlet(np.ones(K) * 0.4, N).astype(computed)
        q[11] = 0
        q[11, K - 1] = 1
        if K > 1:
            q[4, (y[4] + 1) % K] = 0
            q[4] /= q[4].sum()
    weight = RNG.random(N)
    weight[12] = 0
    a[12, 0] = narrowed(np.array(np.nan), dtype)
    return a, Target(y.astype(np.int64), q), weight


EPS = {"float64": 2**-52, "float32": 2**-23, "bfloat16": 2**-8, "float16": 2**-10}


def close(found, true, rel, scale, what):
    with np.errstate(invalid="ignore"):
        off = np.abs(found - true) > rel * np.abs(true) + scale
    off |= np.isnan(found) != np.isnan(true)
    off &= ~((found == true) | (np.isnan(found) & np.isnan(true)))
    assert not off.any(), (what, np.argwhere(off)[:5], found[off][:5], true[off][:5])


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_against_the_reference(level, K, dtype, soft):
    a, target, weight = case(K, dtype, soft)
    wide = widened(a)
    eps = EPS["float64" if dtype == "float64" else "float32"]
    scale = 60 * eps  # of sums of a few hundred terms, measured from the maximum
    true = reference.row_stats(wide, target, need_u=True)
    found = cpu.row_stats(a, target, need_u=True)
    defined = np.isfinite(true.m) & np.isfinite(true.s)
    assert np.isnan(found.s[~defined]).all()
    for name, f, t in zip("mstu", found, true, strict=True):
        f, t = f[defined], t[defined]
        close(f, t, scale * max(1, K / 500), 0 if name == "s" else scale * 60, (name, K, dtype))
    for slopes, w in itertools.product(SLOPES, [None, weight]):
        loss, grad = reference.row_fused(wide, target, slopes, weight=w)
        each, da = cpu.row_fused(a, target, slopes, weight=w)
        size = max(1.0, float(np.nanmax(np.abs(np.where(np.isfinite(loss), loss, 0)))))
        close(each, loss, scale * max(1, K / 500), scale * size, ("loss", slopes))
        close(
            widened(da), grad, 2 * EPS[dtype] + scale, 8 * eps + (2**-25 if dtype == "float16" else 0), ("grad", slopes)
        )
        np.testing.assert_array_equal(cpu.row_loss(a, target, slopes, weight=w), each)
        kept = np.isfinite(each)
        total, again = cpu.row_fused(
            a[kept], part(target, kept), slopes, weight=None if w is None else w[kept], total=True
        )
        assert total == pytest.approx(
            float((each if w is None else each * w)[kept].sum()), rel=1e-12 if eps < 1e-10 else 1e-6
        )
        np.testing.assert_array_equal(widened(again), widened(da)[kept])
        apart = cpu.row_grad(a, target, true, Slopes(*(np.full(len(a), v) for v in slopes)), weight=w)
        close(
            widened(apart),
            grad,
            2 * EPS[dtype] + scale,
            8 * eps + (2**-25 if dtype == "float16" else 0),
            ("apart", slopes),
        )


def part(target, rows):
    return Target(target.label[rows], None if target.probs is None else target.probs[rows])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 3, 10, 100, 128, 130, 1000, 3001])
def test_where_the_gradient_goes_changes_no_bit(level, K, dtype, monkeypatch):
    """In place, past the caches, and from any address."""
    a, target, weight = case(K, dtype, False)
    a, target, weight = a.repeat(3, 0), part(target, np.repeat(np.arange(67), 3)), weight.repeat(3)
    slopes = Slopes(1.0, -1.0, 0.0)
    _, plain = cpu.row_fused(a, target, slopes, weight=weight)
    bits = plain.view(np.uint8)
    here = a.copy()
    _, da = cpu.row_fused(here, target, slopes, weight=weight, out=here)
    assert da is here
    np.testing.assert_array_equal(here.view(np.uint8), bits)
    monkeypatch.setattr(plan, "PAST_BYTES", 0)
    for offset in (0, 1, 5, 8, 31):
        room = np.full(a.size + 64, 7, np.uint16 if a.itemsize == 2 else a.dtype)
        out = room[offset : offset + a.size].reshape(a.shape)
        cpu.row_fused(a, target, slopes, weight=weight, out=out.view(a.dtype))
        np.testing.assert_array_equal(out.view(a.dtype).view(np.uint8), bits)
        assert (room[:offset] == 7).all(), "written before the output"
        assert (room[offset + a.size :] == 7).all(), "written behind the output"


@pytest.mark.parametrize("dtype", DTYPES)
def test_levels_agree_to_the_last_digits(dtype, monkeypatch):
    if len(cpu.levels()) == 1:
        pytest.skip("this machine has one level")
    results = []
    a = narrowed(RNG.normal(size=(200, 90)) * 3, dtype)
    target = Target(RNG.integers(0, 90, 200))
    for name in cpu.levels():
        monkeypatch.setenv("XENT_CPU_LEVEL", name)
        loss, grad = cpu.row_fused(a, target, Slopes(1.0, -1.0, 0.0))
        results.append((loss, widened(grad)))
    eps = EPS["float64" if dtype == "float64" else "float32"]
    for loss, grad in results[1:]:
        np.testing.assert_allclose(loss, results[0][0], rtol=8 * eps)
        np.testing.assert_allclose(
            grad, results[0][1], rtol=8 * eps + EPS[dtype] * (dtype not in ("float32", "float64"))
        )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_every_half_is_read_and_written_as_it_is(level, dtype):
    """Softmax of one class against a weight of -p: the gradient of l = -t with q = z, whose entries are the numbers."""
    every = np.arange(2**16, dtype=np.uint16)
    stored = every.view(BFLOAT16 if dtype == "bfloat16" else np.float16)
    value = widened(stored)
    finite = np.isfinite(value) & (np.abs(value) < 1e38)
    logits = np.zeros((finite.sum(), 1), stored.dtype)
    target = Target(None, value[finite].astype(np.float32).reshape(-1, 1))
    _, da = cpu.row_fused(logits, target, Slopes(0.0, 1.0, 0.0))
    low = np.abs(value[finite]) <= 0.5  # above it p - 1 enters
    np.testing.assert_array_equal(widened(da)[low, 0], value[finite][low])
    stats = cpu.row_stats(stored.reshape(-1, 1), Target(np.zeros(2**16, int)))
    np.testing.assert_array_equal(stats.m[finite], value[finite])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("K", [2, 10, 100, 3000])
def test_no_worse_than_torch(dtype, K):
    torch = pytest.importorskip("torch")
    z = (
        torch.randn(500, K, generator=torch.Generator().manual_seed(K), dtype=torch.float64)
        .mul(4)
        .to(getattr(torch, dtype))
    )
    y = torch.randint(0, K, (500,), generator=torch.Generator().manual_seed(1))
    exact = z.double().requires_grad_()
    truth = torch.nn.functional.cross_entropy(exact, y, reduction="none")
    (slope,) = torch.autograd.grad(truth.sum(), exact)
    z.requires_grad_()
    theirs = torch.nn.functional.cross_entropy(z, y, reduction="none")
    (their_slope,) = torch.autograd.grad(theirs.sum(), z)
    off, slope_off = (theirs.double() - truth).abs().mean(), (their_slope.double() - slope).abs().mean()
    a = z.detach().view(torch.uint16).numpy().view(BFLOAT16) if dtype == "bfloat16" else z.detach().numpy()
    loss, da = cpu.row_fused(a, Target(y.numpy()), Slopes(1.0, -1.0, 0.0))
    assert np.abs(loss - truth.detach().numpy()).mean() <= float(off.detach()) * 1.05
    assert np.abs(widened(da) - slope.numpy()).mean() <= float(slope_off) * 1.05


def test_dtypes_are_chosen_and_refused():
    assert select(dtype=np.float16).reason == "cpu: the native kernels take float16"
    with pytest.raises(TypeError, match=r"takes float32, float64, bfloat16, float16 here, not int64"):
        cpu.row_stats(np.zeros((2, 2), int), Target(np.zeros(2, int)))
    with pytest.raises(TypeError, match=r"takes float32, float64 here, and x is float16"):
        cpu.linear_stats(np.zeros((2, 2), np.float16), np.zeros((2, 2), np.float16), None, Target(np.zeros(2, int)))
