"""Squared and absolute errors of probabilities: the textbook in mpmath, finite differences, PyTorch, JAX, the edges."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from probability_truth import DIGITS, INF, distribution, error, softmax, through_softmax
from xent.autodiff import rows
from xent.functional import value_and_grad
from xent.functional.distance import absolute_error, binary_absolute_error, binary_squared_error, squared_error
from xent.rows.distance import BinaryDistanceRows, DistanceRows

RNG = np.random.default_rng(32)
SOFTMAX = {"squared": squared_error, "absolute": absolute_error}
BINARY = {"squared": binary_squared_error, "absolute": binary_absolute_error}
EVERY = {**SOFTMAX, **{f"binary {name}": loss for name, loss in BINARY.items()}}


# ---- the truth


def cost(name, d):
    """What a difference costs, and its slope."""
    return (d**2, 2 * d) if name == "squared" else (abs(d), mpf(int(mpmath.sign(d))))


def spread(K, seed):
    rng = np.random.default_rng(seed)
    q = (rng.multinomial(2048, rng.dirichlet(np.ones(K))) / 2048).tolist()
    return (rng.normal(size=K) * 2).tolist(), q


ORDINARY = {
    "two": ([0.5, -1.25], 1),
    "two, soft": ([0.5, -1.25], [0.25, 0.75]),
    "one class": ([3.5], 0),
    "ties": ([2.0, 2.0, 2.0, -1.0], 2),
    **{f"{K} classes": (spread(K, K)[0], K // 2) for K in (3, 10, 100)},
    **{f"{K} classes, soft": spread(K, K) for K in (3, 10, 100)},
}
EDGES = {
    "offset 1e4": ([1e4, 1e4 + 0.5, 1e4 - 1], 0),
    "offset 1e6": ([1e6, 1e6 + 0.5, 1e6 - 2], 1),
    "offset 1e6, soft": ([1e6, 1e6 + 0.5, 1e6 - 2], [0.25, 0.5, 0.25]),
    "confident": ([30.0, 0.0, -5.0, 1.0], 0),
    "very confident": ([60.0, 0.0, -5.0, 1.0], 0),
    "as confident as can be": ([350.0, 0.0, -5.0, 1.0], 0),
    "confident, soft": ([60.0, 0.0, -5.0, 1.0], [1.0, 0.0, 0.0, 0.0]),
    "confident, less sure": ([20.0, -2.0, 0.5], [0.875, 0.0625, 0.0625]),
    "confident and wrong": ([30.0, 0.0, -5.0, 1.0], 2),
    "hopeless": ([300.0, -300.0], 1),
    "masked": ([1.0, -INF, 0.25], 2),
    "masked target": ([1.0, -INF, 0.25], 1),
    "masked, soft": ([1.0, -INF, 0.25], [0.5, 0.25, 0.25]),
}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("row", [*ORDINARY, *EDGES])
def test_against_mpmath(row, name, temperature):
    logits, target = {**ORDINARY, **EDGES}[row]
    # a difference of two probabilities has an absolute error of theirs, if it is not that of a confident row
    bound, floor = (1e-13, 1e-2) if row in ORDINARY else (1e-10, 0.0)
    with mpmath.workdps(3 * DIGITS):
        p, q = softmax(logits, temperature), distribution(target, len(logits))
        costs, slopes = zip(*(cost(name, a - b) for a, b in zip(p, q, strict=True)), strict=True)
        expected = through_softmax(p, slopes, temperature)
        value, grads = value_and_grad(SOFTMAX[name])([logits], np.array([target]), temperature=temperature)
        assert error(value, mpmath.fsum(costs)) < bound
        assert error(grads.logits[0], expected, floor) < bound
        if not isinstance(target, int):
            assert error(grads.target[0], [-v for v in slopes], floor) < bound


@pytest.mark.parametrize("name", SOFTMAX)
@pytest.mark.parametrize("target", [0, [0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
def test_probabilities_against_mpmath(name, target):
    p = [0.125, 0.5, 0.375]
    with mpmath.workdps(DIGITS):
        q = distribution(target, 3)
        costs, slopes = zip(*(cost(name, mpf(a) - b) for a, b in zip(p, q, strict=True)), strict=True)
        value, grads = value_and_grad(SOFTMAX[name])([p], np.array([target]), from_probs=True)
        assert error(value, mpmath.fsum(costs)) < 1e-15
        assert error(grads.logits[0], slopes) < 1e-15


@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("z", [0.0, 1.5, -3.0, 40.0, -40.0, 345.0, -345.0, INF, -INF])
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
def test_binary_against_mpmath(y, z, name, temperature):
    with mpmath.workdps(3 * DIGITS):
        T = mpf(temperature)
        p = mpf(int(z > 0)) if math.isinf(z) else 1 / (1 + mpmath.exp(-mpf(z) / T))
        value, slope = cost(name, p - mpf(y))
        found, grads = value_and_grad(BINARY[name])([z], [y], temperature=temperature)
        assert error(found, value) < 1e-13
        assert error(grads.logits, [slope * p * (1 - p) / T]) < 1e-13
        assert error(grads.target, [-slope]) < 1e-13
        found, grads = value_and_grad(BINARY[name])([0.75], [y], from_probs=True)
        value, slope = cost(name, mpf(0.75) - mpf(y))
        assert error(found, value) < 1e-15
        assert error(grads.logits, [slope]) < 1e-15


def test_worked_numbers():
    p = np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])
    assert squared_error(p, [2, 1, 0], from_probs=True, reduction="none").round(2).tolist() == [0.54, 0.54, 1.34]
    better = np.array([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]])
    assert squared_error(better, [2, 1, 0], from_probs=True, reduction="none").round(2).tolist() == [0.14, 0.14, 0.74]
    assert absolute_error(better, [2, 1, 0], from_probs=True) == pytest.approx((0.6 + 0.6 + 1.4) / 3, rel=1e-15)


@pytest.mark.parametrize("name", SOFTMAX)
def test_two_classes_are_twice_the_binary_case(name):
    z, y = RNG.normal(size=50) * 4, RNG.integers(0, 2, 50)
    both = np.column_stack([np.zeros(50), z])
    value, grads = value_and_grad(SOFTMAX[name])(both, y, weight=[1.0, 2.5])
    binary, slopes = value_and_grad(BINARY[name])(z, y, pos_weight=2.5)
    assert value == pytest.approx(2 * binary, rel=1e-14)
    np.testing.assert_allclose(grads.logits[:, 1], 2 * slopes.logits, rtol=1e-13)


# ---- the rules


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", ["", "class", "sample", "both"])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", SOFTMAX)
def test_weights_and_reductions(name, soft, weighted, reduction):
    a, y = RNG.normal(size=(3, 4, 5)), RNG.integers(0, 5, (3, 4))
    q = RNG.dirichlet(np.ones(5), (3, 4)) if soft else np.eye(5)[y]
    w = RNG.random(5) if weighted in ("class", "both") else None
    sample = RNG.random((3, 4)) if weighted in ("sample", "both") else None
    e = np.exp(a)
    d = e / e.sum(axis=-1, keepdims=True) - q
    each = (d**2 if name == "squared" else abs(d)).sum(axis=-1)
    share = (q * (1.0 if w is None else w)).sum(axis=-1) * (1.0 if sample is None else sample)
    expected = {"none": share * each, "sum": (share * each).sum(), "mean": (share * each).sum() / share.sum()}
    options = {"weight": w, "sample_weight": sample, "reduction": reduction}
    np.testing.assert_allclose(SOFTMAX[name](a, q if soft else y, **options), expected[reduction], rtol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("weight", [None, [1.0, 0.5, 2.0], [0.0, 0.5, 2.0]])
@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("name", SOFTMAX)
def test_gradients_by_finite_differences(name, from_probs, weight, reduction):
    a, q = RNG.normal(size=(4, 3)), RNG.dirichlet(np.ones(3) * 5, 4)
    if from_probs:
        a = RNG.dirichlet(np.ones(3) * 5, 4)
    options = {
        "weight": weight,
        "sample_weight": [1.0, 2.0, 0.5, 0.0],
        "reduction": reduction,
        "from_probs": from_probs,
    }
    loss = SOFTMAX[name]
    _, grads = value_and_grad(loss)(a, q, **options)
    for x, g, function in (
        (a, grads.logits, lambda v: loss(v, q, **options)),
        (q, grads.target, lambda v: loss(a, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-5
        step -= step.mean(axis=1, keepdims=True)  # which keeps distributions what they are
        change = function(x + step) - function(x - step)
        assert float((g * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)
    y = np.array([0, 2, 1, -100])
    _, grads = value_and_grad(loss)(a, y, **options)
    step = RNG.normal(size=a.shape) * 1e-5
    step -= step.mean(axis=1, keepdims=True)
    change = loss(a + step, y, **options) - loss(a - step, y, **options)
    assert float((grads.logits * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5, 0.0])
@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("name", BINARY)
def test_binary_gradients_by_finite_differences(name, from_probs, pos_weight, reduction):
    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    y = RNG.uniform(0.1, 0.9, (2, 3))
    options = {
        "pos_weight": pos_weight,
        "sample_weight": RNG.random((2, 3)),
        "reduction": reduction,
        "from_probs": from_probs,
    }
    loss = BINARY[name]
    _, grads = value_and_grad(loss)(z, y, **options)
    for x, g, function in (
        (z, grads.logits, lambda v: loss(v, y, **options)),
        (y, grads.target, lambda v: loss(z, v, **options)),
    ):
        step = RNG.normal(size=x.shape) * 1e-6
        change = function(x + step) - function(x - step)
        assert float((g * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)


def test_the_slope_where_nothing_is_wrong_is_zero():
    p = np.array([[0.25, 0.75]])
    for loss in (absolute_error, squared_error):
        value, grads = value_and_grad(loss)(p, p, from_probs=True)
        assert value == 0
        assert not grads.logits.any()
        assert not grads.target.any()
    assert not value_and_grad(binary_absolute_error)([0.0], [0.5])[1].logits.any()


# ---- derivatives of the libraries

# PyTorch's forward mode loads what it has itself deprecated.
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
OPS = {
    f"{name} {kind}": (power, kind)
    for name, power in (("squared", 2), ("absolute", 1))
    for kind in ("label", "soft", "probs", "binary")
}


def problem(power, kind):
    """A row function and its arrays but for the label, and the label."""
    if kind == "binary":
        return (
            BinaryDistanceRows(power, temperature=1.3),
            [RNG.normal(size=4), RNG.uniform(size=4)],
            np.array([0, -1, 0, 0]),
        )
    q = [] if kind == "label" else [RNG.uniform(0.0, 1.0, (4, 3))]
    op = DistanceRows(power, kind == "probs", 1.0 if kind == "probs" else 1.7)
    return (
        op,
        [RNG.uniform(0.0, 1.0, (4, 3)) if kind == "probs" else RNG.normal(size=(4, 3)), *q],
        np.array([2, -1, 1, 0]),
    )


@FORWARD_MODE
@pytest.mark.parametrize("power_kind", OPS.values(), ids=OPS)
def test_torch_derivatives(power_kind):
    torch = pytest.importorskip("torch")
    op, arrays, label = problem(*power_kind)
    leaves = tuple(torch.tensor(x, requires_grad=True) for x in arrays)
    label = torch.tensor(label)

    def each(*arrays):
        return rows(op, *arrays, label)

    assert torch.autograd.gradcheck(each, leaves)
    assert torch.autograd.gradgradcheck(each, leaves)
    assert torch.autograd.gradcheck(each, leaves, check_forward_ad=True, check_backward_ad=False)


@FORWARD_MODE
@pytest.mark.parametrize("power_kind", OPS.values(), ids=OPS)
def test_torch_func(power_kind):
    torch = pytest.importorskip("torch")
    op, arrays, label = problem(*power_kind)
    arrays, label = [torch.tensor(x) for x in arrays], torch.tensor(label)

    def one(label, *arrays):
        return rows(op, *(x[None] for x in arrays), label[None])[0]

    torch.testing.assert_close(torch.func.vmap(one)(label, *arrays), rows(op, *arrays, label), rtol=1e-14, atol=0)
    for i in range(1, 1 + len(arrays)):
        slope = torch.func.vmap(torch.func.grad(one, argnums=i))(label, *arrays)
        forward = torch.func.vmap(torch.func.jacfwd(one, argnums=i))(label, *arrays)
        torch.testing.assert_close(forward, slope, rtol=1e-12, atol=1e-15)
    first = [x[0] for x in arrays]
    bend = torch.func.hessian(one, argnums=1)(label[0], *first)
    v, h = torch.tensor(RNG.normal(size=first[0].shape)), 1e-5
    slope = torch.func.grad(one, argnums=1)
    up, down = (slope(label[0], first[0] + s * h * v, *first[1:]) for s in (1, -1))
    torch.testing.assert_close(bend @ v if bend.ndim else bend * v, (up - down) / (2 * h), rtol=1e-6, atol=1e-9)


@pytest.fixture
def x64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


@FORWARD_MODE
@pytest.mark.parametrize("power_kind", OPS.values(), ids=OPS)
def test_jax_derivatives(x64, power_kind):
    jax, jnp = x64, x64.numpy
    torch = pytest.importorskip("torch")
    from jax.test_util import check_grads

    op, arrays, label = problem(*power_kind)
    theirs = [torch.tensor(x) for x in (label, *arrays)]
    label, arrays = jnp.asarray(label), [jnp.asarray(x) for x in arrays]

    def each(*arrays):
        return rows(op, *(jnp.asarray(x) for x in arrays), label)  # `check_grads` gives it NumPy arrays too

    def one(label, *arrays):
        return rows(op, *(x[None] for x in arrays), label[None])[0]

    np.testing.assert_allclose(jax.jit(each)(*arrays), each(*arrays), rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(one)(label, *arrays), each(*arrays), rtol=1e-13)
    check_grads(each, arrays, order=2, modes=["fwd", "rev"], eps=1e-6, rtol=1e-4)
    found = jax.hessian(one, argnums=1)(label[0], *(x[0] for x in arrays))
    bend = torch.func.hessian(one, argnums=1)(*(x[0] for x in theirs))
    np.testing.assert_allclose(found, bend, rtol=1e-10, atol=1e-14)


def test_the_three_libraries_agree(x64):
    torch = pytest.importorskip("torch")
    a, q, y = RNG.normal(size=(6, 5)), RNG.dirichlet(np.ones(5), 6), np.array([0, 1, -100, 2, 4, 3])
    sample, weight = np.array([1.0, 2.0, 1.0, 0.0, 0.5, 1.0]), np.array([1.0, 0.0, 2.0, 0.5, 1.0])
    q[5] = [0.0, 1.0, 0.0, 0.0, 0.0]  # all on the class of no weight
    z, t, pos = (
        RNG.normal(size=6),
        np.array([0.0, 1.0, 0.25, -100.0, 1.0, 0.5]),
        np.array([2.0, 0.0, 1.0, 1.0, 3.0, 0.0]),
    )
    for make in (torch.tensor, x64.numpy.asarray):
        for reduction in ("sum", "mean"):
            options = {"sample_weight": sample, "reduction": reduction}
            cases = [
                (loss, (a, target), {**options, "weight": weight}) for loss in SOFTMAX.values() for target in (q, y)
            ]
            cases += [(loss, (z, t), {**options, "pos_weight": pos}) for loss in BINARY.values()]
            for loss, args, given in cases:
                value, grads = value_and_grad(loss)(*args, **given)
                other, theirs = value_and_grad(loss)(*(make(x) for x in args), **given)
                assert float(other) == pytest.approx(value, rel=1e-13)
                for g, found in zip(grads, theirs, strict=True):
                    np.testing.assert_allclose(found, g, rtol=1e-12, atol=1e-15)


# ---- precision


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("K", [3, 50, 2000])
def test_no_worse_than_torch_in_the_same_dtype(dtype, K):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    a = torch.tensor(RNG.normal(size=(200, K)) * 4).to(getattr(torch, dtype))
    y = torch.tensor(RNG.integers(0, K, 200))
    z, t = a[:, 0].contiguous(), (y % 2).to(a.dtype)
    one_hot = functional.one_hot(y, K).to(a.dtype)
    for ours, target, x, theirs in (
        (squared_error, y, a, lambda v: functional.mse_loss(v.softmax(1), one_hot, reduction="sum") / 200),
        (absolute_error, y, a, lambda v: functional.l1_loss(v.softmax(1), one_hot, reduction="sum") / 200),
        (binary_squared_error, t, z, lambda v: functional.mse_loss(v.sigmoid(), t)),
        (binary_absolute_error, t, z, lambda v: functional.l1_loss(v.sigmoid(), t)),
    ):
        true, grads = value_and_grad(ours)(x.double(), target, wrt="logits")
        off = {}
        for name, loss in (("ours", lambda v, f=ours, y=target: f(v, y)), ("theirs", theirs)):
            leaf = x.clone().requires_grad_()
            value = loss(leaf)
            value.backward()
            assert leaf.grad.dtype == x.dtype
            off[name] = abs(float(value.detach()) - float(true)), float((leaf.grad.double() - grads.logits).abs().max())
        assert ours(x, target).dtype == torch.float32
        assert off["ours"][0] <= off["theirs"][0] + 2e-7 * float(true)
        assert off["ours"][1] <= off["theirs"][1] * 1.001 + 1e-18


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confident_row_keeps_its_digits(dtype):
    """`mse_loss` of PyTorch's softmax has lost the target's part, and the gradient with it."""
    torch = pytest.importorskip("torch")
    a = np.array([[40.0, 0.0, 1.0]], dtype)
    with mpmath.workdps(DIGITS):
        p = softmax(a[0])
        d = [p[0] - 1, p[1], p[2]]
        expected = through_softmax(p, [2 * v for v in d])
        value, grads = value_and_grad(squared_error)(a, [0])
        assert error(value, mpmath.fsum(v**2 for v in d)) < 8 * np.finfo(dtype).eps
        assert error(grads.logits[0], expected) < 12 * np.finfo(dtype).eps
        leaf = torch.tensor(a, requires_grad=True)
        torch.nn.functional.mse_loss(leaf.softmax(1), torch.tensor([[1.0, 0.0, 0.0]]), reduction="sum").backward()
        assert error(leaf.grad[0], expected) > 0.1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes_in_and_out(dtype):
    wide = np.float64 if dtype is np.float64 else np.float32
    value, grads = value_and_grad(squared_error)(np.zeros((2, 4), dtype), np.full((2, 4), 0.25, dtype))
    assert value.dtype == wide
    assert grads.logits.dtype == grads.target.dtype == dtype
    value, grads = value_and_grad(binary_absolute_error)(np.zeros(2, dtype), np.ones(2, dtype))
    assert value.dtype == wide
    assert grads.logits.dtype == grads.target.dtype == dtype
    assert binary_squared_error(np.zeros(2, dtype), [True, False]) == 0.25


# ---- edges

KINDS = ["numpy", "torch", "jax"]


def maker(kind):
    if kind == "numpy":
        return np.asarray
    if kind == "torch":
        return pytest.importorskip("torch").tensor
    return pytest.importorskip("jax.numpy").asarray


def case(name, rng=RNG):
    """A loss, logits and a target of three rows."""
    if name.startswith("binary"):
        return EVERY[name], rng.normal(size=3).astype(np.float32), np.array([0.0, 1.0, 0.25], np.float32)
    return EVERY[name], rng.normal(size=(3, 4)).astype(np.float32), rng.dirichlet(np.ones(4), 3).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EVERY)
def test_nothing_of_a_row_left_out_is_read(name, kind):
    make = maker(kind)
    loss, a, q = case(name)
    bad, bad_q, w = a.copy(), q.copy(), np.array([1.0, 0.0, 2.0], np.float32)
    bad[1] = bad_q[1] = math.nan
    kept = w > 0
    value, grads = value_and_grad(loss)(make(bad), make(bad_q), sample_weight=make(w))
    assert float(value) == pytest.approx(float(loss(a[kept], q[kept], sample_weight=w[kept])), rel=1e-6)
    for g in grads:
        g = np.asarray(g)
        assert np.isfinite(g).all()
        assert not g[1].any()
    y = np.array([1, -100, 0]) if a.ndim > 1 else np.array([1.0, -100.0, 0.0], np.float32)
    value, grads = value_and_grad(loss)(make(bad), make(y), wrt="logits")
    assert float(value) == pytest.approx(float(loss(a[kept], y[kept])), rel=1e-6)
    assert np.isfinite(np.asarray(grads.logits)).all()
    assert not np.asarray(grads.logits)[1].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", EVERY)
def test_nothing_kept_is_zero(name, reduction, kind):
    make = maker(kind)
    loss, a, q = case(name)
    a = np.full_like(a, math.nan)
    for x, t, w in ((a, q, make(np.zeros(3, np.float32))), (a[:0], q[:0], None)):
        value, grads = value_and_grad(loss)(make(x), make(t), sample_weight=w, reduction=reduction)
        assert float(value) == 0
        assert grads.logits.shape == x.shape
        assert not np.asarray(grads.logits).any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [[math.nan, 0.0, 1.0], [INF, 0.0, 1.0], [-INF, -INF, -INF]])
@pytest.mark.parametrize("name", SOFTMAX)
def test_a_row_that_is_none_is_nan_alone(name, bad, kind):
    a = maker(kind)([bad, [1.0, 2.0, 3.0]])
    for target in ([0, 1], [[0.25, 0.5, 0.25]] * 2):
        target = maker(kind)(target)
        assert np.isnan(np.asarray(SOFTMAX[name](a, target, reduction="none"))).tolist() == [True, False]
        _, grads = value_and_grad(SOFTMAX[name])(a, target, reduction="sum", wrt="logits")
        assert np.isfinite(np.asarray(grads.logits)).all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize("kind", KINDS)
def test_infinite_and_undefined_logits_of_two_classes(kind):
    z, y = maker(kind)([INF, -INF, INF, -INF, math.nan]), maker(kind)([1.0, 0.0, 0.0, 1.0, 1.0])
    for loss in BINARY.values():
        each = np.asarray(loss(z, y, reduction="none"))
        np.testing.assert_array_equal(each, [0, 0, 1, 1, math.nan])
        _, grads = value_and_grad(loss)(z, y, reduction="sum", wrt="logits")
        np.testing.assert_array_equal(np.asarray(grads.logits)[:4], 0)


def test_under_jit_what_is_invalid_makes_its_row_nan():
    jax = pytest.importorskip("jax")
    a, y = jax.numpy.zeros((2, 3)), jax.numpy.asarray([1, 7])
    for loss in SOFTMAX.values():
        each, slope = jax.jit(jax.vmap(jax.value_and_grad(lambda a, y, f=loss: f(a[None], y[None]))))(a, y)
        assert np.isnan(each).tolist() == [False, True]
        assert np.isnan(slope).any(axis=1).tolist() == [False, True]
    for loss in BINARY.values():
        each = jax.jit(lambda y, f=loss: f(jax.numpy.zeros(2), y, reduction="none"))(jax.numpy.asarray([1.0, 7.0]))
        assert np.isnan(each).tolist() == [False, True]


def test_offsets_change_nothing():
    a = RNG.integers(-40, 40, (5, 6)) / 4
    y, q = RNG.integers(0, 6, 5), RNG.multinomial(64, np.ones(6) / 6, 5) / 64
    for loss in SOFTMAX.values():
        for target in (y, q):
            for T in (1.0, 3.0):
                for offset in (1e4, -1e6):
                    assert loss(a + offset, target, temperature=T) == loss(a, target, temperature=T)


def test_bad_input():
    a, p = np.zeros((2, 3)), np.full((2, 3), 1 / 3)
    for message, call in {
        "label 3 at row 1": lambda: squared_error(a, [0, 3]),
        r"row 0 sums to 0\.75": lambda: absolute_error(a, [[0.25, 0.25, 0.25]] * 2),
        "weight must be finite and not negative": lambda: squared_error(a, [0, 1], weight=[1, -1, 1]),
        "temperature must be": lambda: squared_error(a, [0, 1], temperature=-1.0),
        "temperature needs logits": lambda: absolute_error(p, [0, 1], temperature=2.0, from_probs=True),
        r"probabilities must be probabilities.*leave from_probs out": lambda: squared_error(
            [[2.0, -1, 0]], [0], from_probs=True
        ),
        "reduction must be": lambda: squared_error(a, [0, 1], reduction="avg"),
        r"must have the same shape: \(2,\) and \(3,\)": lambda: binary_squared_error([0.0, 1.0], [0, 1, 1]),
        r"target must be in \[0, 1\] .* row 1 is 2": lambda: binary_absolute_error([0.0, 1.0], [0, 2]),
        r"probabilities must be in \[0, 1\]: row 0 is 1.5": lambda: binary_squared_error([1.5], [1], from_probs=True),
        "pos_weight must be finite": lambda: binary_squared_error([0.0], [1], pos_weight=-1.0),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.warns(UserWarning, match="pass from_probs=True if they are"):
        squared_error(p, [0, 1])
