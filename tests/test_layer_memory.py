"""A linear layer's budget of memory: kept, refused where nobody keeps it, and without a trace in the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from xent import TopK, hvp, linear_cross_entropy, value_and_grad
from xent.kernels.plan import linear_plan
from xent.kernels.plan_half import half_plan

RNG = np.random.default_rng(0)
MIB = 2**20
N, D, K = 300, 24, 700
X, W, B = (RNG.normal(size=s).astype(np.float32) for s in ((N, D), (K, D), (K,)))
Y, Q = RNG.integers(0, K, N), RNG.dirichlet(np.ones(K), N).astype(np.float32)
OPTIONS = {"plain": {}, "smoothing": {"label_smoothing": 0.1}, "z-loss": {"z_loss": 1e-2}}

# What a process of its own measures: the peak of resident memory during a call, with 8 bytes a number of results.
MEASURE = """
import ctypes, gc, json, sys, numpy as np, torch, xent
kind, N, D, K, memory = json.loads(sys.argv[1])
torch.set_num_threads(2); xent.set_num_threads(2)
rng = np.random.default_rng(0)

def status(field):
    line = next(l for l in open("/proc/self/status") if l.startswith(field))
    return int(line.split()[1]) * 1024

def call(N, K, memory):
    x, w = (rng.standard_normal((n, D), np.float32) for n in (N, K))
    y = rng.integers(0, K, N)
    if kind == "numpy":
        run = lambda: xent.value_and_grad(xent.linear_cross_entropy)(x, w, y, memory=memory)
    else:
        x, w = (torch.from_numpy(v).to(getattr(torch, kind)).requires_grad_() for v in (x, w))
        y = torch.from_numpy(y)
        run = lambda: xent.linear_cross_entropy(x, w, y, memory=memory).backward()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = status("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    found = run()
    return status("VmHWM") - before

call(64, 300, None)  # what a first call loads and starts
print(call(N, K, memory))
"""


def halves(*arrays):
    return [torch.from_numpy(v).bfloat16() for v in arrays]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the peak since a moment")
@pytest.mark.parametrize(("kind", "memory"), [("numpy", 12), ("float32", 12), ("bfloat16", 12), ("bfloat16", 40)])
def test_the_budget_is_kept(kind, memory):
    shape, size = (4096, 64, 8192), 2 if kind == "bfloat16" else 4
    logits = shape[0] * shape[2] * size / MIB
    asked = json.dumps([kind, *shape, memory * MIB])
    done = subprocess.run([sys.executable, "-c", MEASURE, asked], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    spent = int(done.stdout) / MIB
    results = (shape[0] + shape[2]) * shape[1] * size / MIB
    # code that the first call of a size loads, and the stacks of threads; what PyTorch's products pack
    rest = 8 if kind == "bfloat16" else 4
    assert spent <= memory + results + 96 * shape[0] / MIB + rest
    assert memory + results + rest < logits


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_a_budget_changes_the_way_and_not_the_answer(library, name, soft):
    options, y = OPTIONS[name], Q if soft else Y
    budgets = (None, 400_000, 4_000_000)
    assert len({linear_plan(N, D, K, 4, m).way for m in budgets}) == 2
    results = []
    for memory in budgets:
        if library == "numpy":
            wrt = ("x", "w", "bias")
            value, grads = value_and_grad(linear_cross_entropy)(X, W, y, bias=B, wrt=wrt, memory=memory, **options)
        else:
            leaves = [torch.from_numpy(v).requires_grad_() for v in (X, W, B)]
            value = linear_cross_entropy(
                leaves[0], leaves[1], torch.from_numpy(y), bias=leaves[2], memory=memory, **options
            )
            grads = [g.numpy() for g in torch.autograd.grad(value, leaves)]
        results.append((value.item(), *grads))
    for other in results[1:]:
        assert other[0] == pytest.approx(results[0][0], rel=1e-6)
        for a, b in zip(other[1:], results[0][1:], strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-7)


# ---- bfloat16 by PyTorch's products

BUDGETS = {"whole": None, "blocks": 200_000, "blocks in chunks": 60_000}


def errors(function, x, w, b, target, need=(True, True, True)):
    """The mean errors of the loss and of the gradients over the mean size of the true ones, and the gradients."""
    wide = [v.detach().double().requires_grad_() for v in (x, w, b)]
    aim = target.double() if target.is_floating_point() else target
    layer = torch.nn.functional.linear
    loss = torch.nn.functional.cross_entropy(layer(*wide), aim)
    true = [loss, *torch.autograd.grad(loss, wide)]
    leaves = [v.detach().requires_grad_(n) for v, n in zip((x, w, b), need, strict=True)]
    value = function(*leaves, target)
    value.backward()
    found = [value, *(v.grad for v in leaves)]
    off = [
        None if f is None else float((f.detach().double() - t.detach()).abs().mean() / t.detach().abs().mean())
        for f, t in zip(found, true, strict=True)
    ]
    return off, found


def theirs(x, w, b, target):
    target = target.to(x.dtype) if target.is_floating_point() else target
    return torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, w, b), target)


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("need", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)])
def test_bfloat16_is_no_worse_than_torch(budget, soft, need):
    memory = BUDGETS[budget]
    plan = half_plan(N, D, K, memory, soft=soft)
    assert (plan.classes > 0) == ("blocks" in budget)
    assert (plan.chunk_rows < N) == ("chunks" in budget or (soft and "blocks" in budget))
    (x, w, b), y = halves(X, W / 4, B), torch.from_numpy(Q if soft else Y)
    ours, found = errors(lambda *a: linear_cross_entropy(*a[:2], a[3], bias=a[2], memory=memory), x, w, b, y, need)
    torchs, _ = errors(theirs, x, w, b, y, need)
    assert found[0].dtype == torch.float32
    assert [v is not None for v in found[1:]] == list(need)
    assert {v.dtype for v in found[1:] if v is not None} == {torch.bfloat16}
    # parts of a sum over the rows, where the budget is too small for all of them, are rounded one by one
    slack = 1.25 if plan.chunk_rows < N else 1.02
    for a, t in zip(ours, torchs, strict=True):
        assert a is None or a <= t * slack


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("name", OPTIONS)
def test_bfloat16_leaves_out_rows_and_knows_every_option(budget, name):
    """As the float32 layer on the same numbers: NaN in rows left out, weights, label smoothing, z-loss."""
    options, y, memory = OPTIONS[name], Y.copy(), BUDGETS[budget]
    (x, w, b), weight = halves(X, W / 4, B), torch.from_numpy(RNG.random(K))
    y[::5], x[::5] = -100, float("nan")
    samples = torch.from_numpy(RNG.integers(0, 3, N).astype(float))
    samples[1], x[1] = 0, float("inf")
    options = {**options, "weight": weight, "sample_weight": samples}
    results = []
    for widen in (False, True):
        leaves = [(v.float() if widen else v).detach().requires_grad_() for v in (x, w, b)]
        given = {} if widen else {"memory": memory}
        value = linear_cross_entropy(leaves[0], leaves[1], torch.from_numpy(y), bias=leaves[2], **given, **options)
        results.append([value.item(), *(g.double().numpy() for g in torch.autograd.grad(value, leaves))])
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    for a, b in zip(results[0][1:], results[1][1:], strict=True):
        assert np.isfinite(a).all()
        assert np.abs(a - b).mean() < 5e-3 * np.abs(b).mean()
    assert not results[0][1][[1, *range(0, N, 5)]].any()


def test_bfloat16_in_other_ways():
    """No bias, no rows, transforms, other modes of differentiation: all in float32 or as above."""
    x, w, y = torch.randn(6, 4).bfloat16(), torch.randn(5, 4).bfloat16(), torch.tensor([0, 1, 2, 3, 4, 0])
    wide = linear_cross_entropy(x.float(), w.float(), y)
    assert linear_cross_entropy(x, w, y).item() == pytest.approx(wide.item(), rel=1e-2)
    assert linear_cross_entropy(x[:0], w, y[:0]).item() == 0
    for options in ({"temperature": 2.0}, {"prior": torch.arange(1.0, 6.0)}):
        found = linear_cross_entropy(x, w, y, **options)
        assert found.item() == pytest.approx(linear_cross_entropy(x.float(), w.float(), y, **options).item(), rel=1e-6)
    slopes = torch.func.grad(lambda x: linear_cross_entropy(x, w, y))(x)
    each = torch.func.vmap(torch.func.grad(lambda x, y: linear_cross_entropy(x, w, y)))(x, y)
    assert slopes.dtype == each.dtype == torch.bfloat16
    torch.testing.assert_close(each / 6, slopes, rtol=2e-2, atol=2e-3)
    leaf = x.clone().requires_grad_()
    loss = linear_cross_entropy(leaf, w, y)
    (once,) = torch.autograd.grad(loss, leaf, create_graph=True)
    (twice,) = torch.autograd.grad(once.float().square().sum(), leaf)
    assert twice.isfinite().all()
    assert twice.any()
    half = linear_cross_entropy(x.half(), w.half(), y)
    assert half.item() == pytest.approx(linear_cross_entropy(x.half().float(), w.half().float(), y).item(), rel=1e-6)


# ---- what is refused


def test_budgets_that_cannot_be_kept():
    with pytest.raises(ValueError, match=r"memory=1000 bytes are too few for this layer: \d+ would do"):
        linear_cross_entropy(X, W, Y, memory=1000)
    with pytest.raises(ValueError, match=r"memory=1000 bytes are too few for this layer: \d+ would do"):
        linear_cross_entropy(*halves(X, W), torch.from_numpy(Y), memory=1000)
    with pytest.raises(ValueError, match="memory must be a number of bytes from 1, not 0"):
        linear_cross_entropy(X, W, Y, memory=0)
    few = f"memory={W.nbytes} bytes are too few: copies of x and w in float32 and C order take {W.nbytes}"
    with pytest.raises(ValueError, match=few):
        linear_cross_entropy(X, W, Y, temperature=2.0, memory=W.nbytes)
    with pytest.raises(ValueError, match=f"float32 and C order take {X.nbytes + W.nbytes}"):
        linear_cross_entropy(X.astype(np.float16), W.astype(np.float16), Y, memory=W.nbytes)
    with pytest.raises(ValueError, match=f"C order take {X.nbytes}"):
        linear_cross_entropy(np.asfortranarray(X), W, Y, memory=10)
    top = TopK(Y[:, None], np.ones((N, 1)))
    for call in (
        lambda: linear_cross_entropy(X, W, top, memory=MIB),
        lambda: value_and_grad(linear_cross_entropy)(X, W, top, memory=MIB),
        lambda: value_and_grad(linear_cross_entropy)(X, W, Q, memory=MIB),
        lambda: hvp(linear_cross_entropy)(X, W, Y, memory=MIB, vector={"w": W}),
    ):
        with pytest.raises(ValueError, match="is not one for the native kernels, which are what keeps a budget"):
            call()
    with pytest.raises(ValueError, match="XLA, which compiles JAX's operations, decides"):
        linear_cross_entropy(jnp.asarray(X), jnp.asarray(W), jnp.asarray(Y), memory=MIB)


def test_second_derivatives_keep_no_budget():
    x = torch.from_numpy(X).requires_grad_()
    loss = linear_cross_entropy(x, torch.from_numpy(W), torch.from_numpy(Y), memory=MIB)
    with pytest.raises(ValueError, match="a derivative of this kind is not one for the native kernels"):
        torch.autograd.grad(loss, x, create_graph=True)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("clean", [False, True])
def test_plans_of_halves_keep_their_budget_or_say_what_would(soft, clean):
    shapes = [(20_000, 256, 1000), (8192, 512, 128_000), (50_000, 128, 100), (10**6, 64, 200_000), (7, 3, 2), (0, 4, 5)]
    for n, d, k in shapes:
        for memory in (None, 10**4, 10**5, 10**6, 10**7, 10**9):
            try:
                plan = half_plan(n, d, k, memory, soft=soft, clean=clean)
            except ValueError as error:
                memory = int(str(error).split(": ")[1].split()[0])
                plan = half_plan(n, d, k, memory, soft=soft, clean=clean)
            most = 64 * MIB if memory is None else memory
            assert max(plan.bytes, plan.loss_bytes) <= most
            assert 1 <= plan.tile_rows <= max(n, 1)
            # the formula, written out
            if not plan.classes:
                assert plan.bytes == n * (2 * k + 2 * d * clean)
                continue
            widest = k - (k - 1) // plan.classes * plan.classes
            widest = plan.classes + (widest if widest < 96 else 0) if k > plan.classes else k
            block = plan.chunk_rows * ((2 + 4 * soft) * widest + 2 * d * clean)
            block += 10 * widest * d if plan.chunk_rows < n else 0
            assert plan.bytes == max(2 * k * plan.tile_rows, block)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("where", ["beside", "itself", "strided", "overlapping"])
def test_the_gradient_in_x_is_right_wherever_it_goes(options, reduction, where):
    """In memory of the caller's, too; and where that lies over x, which is read until the end."""
    x = X.copy()
    options = {**options, "bias": B, "reduction": reduction}
    value, grads = value_and_grad(linear_cross_entropy)(x, W, Y, **options)
    rooms = {
        "beside": lambda: (x, np.empty_like(x)),
        "itself": lambda: (x, x),
        "strided": lambda: (x, np.empty((N, 2 * D), np.float32)[:, ::2]),
        "overlapping": lambda: (lambda both: (both[:N], both[1:]))(np.concatenate([x, x[-1:]])),
    }
    given, room = rooms[where]()
    found, into = value_and_grad(linear_cross_entropy)(given, W, Y, out=room, **options)
    assert found == value
    assert into.x is room
    for a, b in zip(into, grads, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_room_for_the_gradient_in_x():
    with pytest.raises(ValueError, match=r"gradient in x, float32 \(300, 24\), not float32 \(2, 24\)"):
        value_and_grad(linear_cross_entropy)(X, W, Y, out=np.empty((2, D), np.float32))
    with pytest.raises(ValueError, match="or in x of a layer; wrt names w"):
        value_and_grad(linear_cross_entropy)(X, W, Y, wrt="w", out=np.empty_like(X))
    with pytest.raises(ValueError, match="wrt names bias"):
        value_and_grad(linear_cross_entropy)(X, W, Y, bias=B, wrt="bias", out=np.empty_like(X))


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_loss_with_gradients_is_the_loss(weights, reduction):
    """The pass that keeps no row's loss, with rows and classes that weigh nothing and rows left out."""
    y = np.where(np.arange(N) % 7, Y, -100)
    options = {"reduction": reduction, "bias": B}
    if weights:
        options |= {"sample_weight": np.arange(N) % 5, "weight": np.arange(K) % 3}
    value = value_and_grad(linear_cross_entropy)(X, W, y, **options)[0]
    assert value.dtype == np.float32
    assert value == pytest.approx(float(linear_cross_entropy(X, W, y, **options)), rel=1e-6)
    x = np.vstack([X, np.full((1, D), np.nan, np.float32)])
    assert value_and_grad(linear_cross_entropy)(x, W, [*y, -100], bias=B)[0] == pytest.approx(
        float(linear_cross_entropy(X, W, y, bias=B)), rel=1e-6
    )
    assert value_and_grad(linear_cross_entropy)(X, W, np.full(N, -100), **options)[0] == 0
