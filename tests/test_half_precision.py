"""Half precisions go to the kernels as they are: nothing is widened, and no digit is lost that PyTorch keeps."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
import torch

from xent import cross_entropy, focal_loss, generalized_cross_entropy, hvp, poly_loss, value_and_grad
from xent.kernels import narrowed, widened
from xent.kernels.contract import BFLOAT16

HALVES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
MIB = 2**20
CALLS = {
    "plain": (cross_entropy, {}),
    "smoothing": (cross_entropy, {"label_smoothing": 0.1}),
    "z-loss": (cross_entropy, {"z_loss": 1e-3}),
    "focal": (focal_loss, {}),
    "poly": (poly_loss, {}),
    "generalised": (generalized_cross_entropy, {}),
}


def data(N, K, dtype, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((N, K), np.float32) * 4).astype(HALVES[dtype]), rng.integers(0, K, N)


def tensor(z):
    if z.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(z.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(z)


def peak(call):
    """Most bytes that NumPy holds during a call beyond those before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = call()
        return tracemalloc.get_traced_memory()[1] - before, found
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", CALLS)
def test_no_widened_copy_in_numpy(name, dtype):
    function, options = CALLS[name]
    z, y = data(4000, 1000, dtype)
    function(z[:8], y[:8], **options)
    rows = 200 * len(y)  # statistics, slopes, losses of each row
    spent, _ = peak(lambda: function(z, y, **options))
    assert spent < rows < z.nbytes / 8
    spent, (_, grads) = peak(lambda: value_and_grad(function)(z, y, **options))
    assert grads.logits.nbytes == z.nbytes
    assert spent < z.nbytes + rows


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", CALLS)
def test_they_are_float32s_answers_rounded(name, dtype):
    """Values in float32, gradients of the half precision: one rounding of what its numbers in float32 give."""
    function, options = CALLS[name]
    z, y = data(300, 90, dtype)
    y[7], z[7] = -100, np.nan
    value, grads = value_and_grad(function)(z, y, reduction="sum", **options)
    wide, wide_grads = value_and_grad(function)(z.astype(np.float32), y, reduction="sum", **options)
    assert value.dtype == np.float32
    assert value == pytest.approx(wide, rel=1e-6)
    assert grads.logits.dtype == z.dtype
    eps = float(ml_dtypes.finfo(z.dtype).eps)
    found = grads.logits.astype(np.float64)
    np.testing.assert_allclose(found, wide_grads.logits, rtol=eps, atol=2.0**-24)  # halves' smallest number
    t = tensor(z).requires_grad_()
    loss = function(t, torch.from_numpy(y), reduction="sum", **options)
    (theirs,) = torch.autograd.grad(loss, t, retain_graph=True)
    assert (loss.dtype, theirs.dtype) == (torch.float32, t.dtype)
    assert loss.item() == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(theirs.double().numpy(), found, rtol=eps, atol=2.0**-24)
    # made of PyTorch's operations where it is to be differentiated again
    (again,) = torch.autograd.grad(loss, t, create_graph=True)
    np.testing.assert_allclose(again.detach().double().numpy(), found, rtol=2 * eps, atol=2.0**-23)
    (second,) = torch.autograd.grad(again.float().square().sum(), t)
    assert second.isfinite().all()
    assert second.any()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("K", [3, 50, 5000])
@pytest.mark.parametrize("soft", [False, True])
def test_no_worse_than_torch(dtype, K, soft):
    z, y = data(200, K, dtype, seed=K)
    target = np.random.default_rng(1).dirichlet(np.ones(K), 200).astype(np.float32) if soft else y
    wide = torch.from_numpy(z.astype(np.float64)).requires_grad_()
    aim = torch.from_numpy(target)
    truth = torch.nn.functional.cross_entropy(wide, aim.double() if soft else aim, reduction="sum")
    (slope,) = torch.autograd.grad(truth, wide)
    t = tensor(z).requires_grad_()
    off = {}
    for name, function, given in (
        ("xent", cross_entropy, aim),
        ("torch", torch.nn.functional.cross_entropy, aim.to(t.dtype) if soft else aim),
    ):
        loss = function(t, given, reduction="sum")
        (grad,) = torch.autograd.grad(loss, t)
        off[name] = abs(loss.item() - truth.item()), float((grad.double() - slope).abs().mean())
    value, grads = value_and_grad(cross_entropy)(z, target, reduction="sum", wrt="logits")
    off["numpy"] = abs(value - truth.item()), np.abs(grads.logits.astype(float) - slope.numpy()).mean()
    for ours in ("xent", "numpy"):
        assert off[ours][0] <= off["torch"][0] + 1e-6 * truth.item()
        assert off[ours][1] <= off["torch"][1] * 1.01


def test_target_gradients_and_products_of_halves_are_float32s():
    z, y = data(6, 5, "bfloat16")
    q = np.random.default_rng(0).dirichlet(np.ones(5), 6).astype(np.float32)
    wide = value_and_grad(cross_entropy)(z.astype(np.float32), q)[1].target
    np.testing.assert_allclose(value_and_grad(cross_entropy)(z, q)[1].target, wide, rtol=1e-6)
    t = torch.from_numpy(q).requires_grad_()
    cross_entropy(tensor(z), t).backward()
    np.testing.assert_allclose(t.grad.numpy(), wide, rtol=1e-6)
    v = np.random.default_rng(1).normal(size=z.shape)
    found = hvp(cross_entropy)(z, y, vector=v)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, hvp(cross_entropy)(z.astype(np.float32), y, vector=v), rtol=1e-6)


@pytest.mark.parametrize("dtype", HALVES)
def test_the_reference_takes_them_too(dtype, monkeypatch):
    z, y = data(20, 7, dtype)
    t = tensor(z).requires_grad_()
    found = {}
    for backend in ("cpu", "reference"):
        monkeypatch.setenv("XENT_BACKEND", backend)
        loss = cross_entropy(t, torch.from_numpy(y))
        found[backend] = loss.item(), torch.autograd.grad(loss, t)[0].double().numpy()
    assert found["cpu"][0] == pytest.approx(found["reference"][0], rel=1e-6)
    np.testing.assert_allclose(found["cpu"][1], found["reference"][1], rtol=2 * float(ml_dtypes.finfo(z.dtype).eps))


def test_bits_of_bfloat16_are_its_own():
    every = np.arange(2**16, dtype=np.uint16)
    true = every.view(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(widened(every.view(BFLOAT16)), true)
    some = np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32).view(np.float32)
    some = np.append(some, np.float32([1 + 2**-8, 1 + 3 * 2**-8, 3.4e38, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-40]))
    with np.errstate(invalid="ignore"):
        ours, theirs = widened(narrowed(some, BFLOAT16)), some.astype(ml_dtypes.bfloat16).astype(np.float32)
    np.testing.assert_array_equal(ours, theirs)


# ---- the gradient in memory that is there


@pytest.mark.parametrize("dtype", [*HALVES, "float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_a_gradient_may_take_the_logits_place(name, dtype):
    function, options = CALLS[name]
    kind = HALVES.get(dtype, dtype)
    z = (np.random.default_rng(0).normal(size=(40, 50, 300)) * 3).astype(kind)
    y = np.random.default_rng(1).integers(0, 300, (40, 50))
    value, grads = value_and_grad(function)(z, y, **options)
    room, same = np.full_like(z, 7), z.copy()
    beside = value_and_grad(function)(z, y, out=room, **options)
    spent, inside = peak(lambda: value_and_grad(function)(same, y, out=same, **options))
    assert spent < 200 * y.size < z.nbytes
    for found, at in ((beside, room), (inside, same)):
        assert found[0] == value
        assert found[1].logits is at
        np.testing.assert_array_equal(at.astype(np.float64), grads.logits.astype(np.float64))


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 2.0},
        {"softcap": 5.0, "mask": np.arange(30) > 2},
        {"confidence_penalty": 0.1},
        {"from_probs": True},
        {"soft": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("where", ["beside", "itself", "strided", "overlapping"])
def test_it_is_right_wherever_it_goes(options, where):
    """Where other arrays are made on the way, too; and where it lies over other logits than its own."""
    options = dict(options)
    z = np.random.default_rng(0).dirichlet(np.ones(30), 20)
    y = np.random.default_rng(1).integers(3, 30, 20)
    if options.pop("soft", False):
        y = np.random.default_rng(1).dirichlet(np.ones(30), 20)
        z = np.log(z)
    elif "from_probs" not in options:
        z = np.log(z)
    value, grads = value_and_grad(cross_entropy)(z, y, **options)
    rooms = {
        "beside": lambda: (z, np.empty_like(z)),
        "itself": lambda: (z, z),
        "strided": lambda: (z, np.empty((20, 60))[:, ::2]),
        "overlapping": lambda: (lambda both: (both[:20], both[1:]))(np.concatenate([z, z[-1:]])),
    }
    given, room = rooms[where]()
    found, (da, *rest) = value_and_grad(cross_entropy)(given, y, out=room, **options)
    assert found == value
    assert da is room
    np.testing.assert_array_equal(da, grads.logits)
    for a, b in zip(rest, grads[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        (np.zeros((2, 4)), ValueError, r"like the gradient in the logits, float64 \(2, 3\), not float64 \(2, 4\)"),
        (np.zeros((2, 3), np.float32), ValueError, r"not float32 \(2, 3\)"),
        ([[0.0] * 3] * 2, ValueError, "not list"),
        (np.broadcast_to(0.0, (2, 3)), ValueError, "out is read-only"),
    ],
    ids=str,
)
def test_room_that_does_not_fit(out, error, message):
    with pytest.raises(error, match=message):
        value_and_grad(cross_entropy)(np.arange(6.0).reshape(2, 3), [0, 1], out=out)


def test_room_where_there_is_no_use_for_it():
    z, q = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match="in x of a layer; wrt names target"):
        value_and_grad(cross_entropy)(z, q, wrt="target", out=z)
    with pytest.raises(TypeError, match="out= is for NumPy arrays; PyTorch makes its own"):
        value_and_grad(cross_entropy)(torch.zeros(2, 3), torch.tensor([0, 1]), out=z)
    from xent import kl_loss

    with pytest.raises(TypeError, match="losses of a softmax's logits, not for kl_loss"):
        value_and_grad(kl_loss)(z, q, out=z)
