"""Every numeric edge of the softmax losses, in every array library and dtype: by a rule where there is one, by mpmath else."""

from __future__ import annotations

import warnings

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from xent import (
    TopK,
    cross_entropy,
    focal_loss,
    generalized_cross_entropy,
    linear_cross_entropy,
    poly_loss,
    value_and_grad,
)
from xent.testing._textbook import Textbook, row_truth

INF, NAN = float("inf"), float("nan")
WAYS = ("numpy", "torch", "torch vmap", "jax", "jax jit")
UNTRACED = ("numpy", "torch", "jax")
DTYPES = {"float64": np.float64, "float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def to_torch(x):
    x = np.asarray(x)
    return torch.tensor(x.astype(np.float32)).to(torch.bfloat16) if x.dtype == ml_dtypes.bfloat16 else torch.tensor(x)


def make(way, x):
    """An array in the library of a way; a list of arrays if there are several."""
    if isinstance(x, TopK):
        return TopK(make(way, x.indices), make(way, x.probs), x.rest)
    if not isinstance(x, np.ndarray) or way == "numpy":
        return x
    return to_torch(x) if way.startswith("torch") else jnp.asarray(x)


def floats(x):
    """As float64, with the dtype it had."""
    if isinstance(x, torch.Tensor):
        return x.detach().to(torch.float64).numpy(), str(x.dtype).removeprefix("torch.")
    return np.asarray(x).astype(np.float64), np.asarray(x).dtype.name


def each_row(way, function, z, target, **options):
    """The loss of each row and the gradient of their sum, as float64 with the dtypes that they came in."""
    a, y, options = make(way, z), make(way, target), {k: make(way, x) for k, x in options.items()}
    if way == "numpy":
        _, grads = value_and_grad(function)(a, y, wrt="logits", reduction="sum", **options)
        return *floats(function(a, y, reduction="none", **options)), *floats(grads.logits)
    if way == "torch":
        a.requires_grad_()
        losses = function(a, y, reduction="none", **options)
        return *floats(losses), *floats(torch.autograd.grad(losses.sum(), a)[0])
    if way == "torch vmap":
        one = torch.func.grad_and_value(lambda a, y: function(a, y, reduction="sum", **options))
        grads, losses = torch.func.vmap(one)(a, y)
        return *floats(losses), *floats(grads)

    def both(a, y):
        losses, pull = jax.vjp(lambda a: function(a, y, reduction="none", **options), a)
        return losses, pull(jnp.ones_like(losses))[0]

    if way == "jax jit":
        losses, grads = jax.jit(both)(a, y)
    else:
        with jax.disable_jit():
            losses, grads = both(a, y)
    return *floats(losses), *floats(grads)


def reduced(way, function, z, target, **options):
    """The mean, and its gradient."""
    a, y, options = make(way, z), make(way, target), {k: make(way, x) for k, x in options.items()}
    if way != "jax jit":
        value, grads = value_and_grad(function)(a, y, wrt="logits", **options)
        return floats(value)[0], floats(grads.logits)[0]
    value, grad = jax.jit(jax.value_and_grad(lambda a: function(a, y, **options)))(a)
    return floats(value)[0], floats(grad)[0]


def plain(p):
    return -mpmath.log(p)


FUNCTIONS = {
    "CE": (cross_entropy, {}, plain),
    "CE, smoothing": (cross_entropy, {"label_smoothing": 0.125}, plain),
    "focal 0.5": (focal_loss, {"gamma": 0.5}, lambda p: -mpmath.sqrt(1 - p) * mpmath.log(p)),
    "focal 2": (focal_loss, {}, lambda p: -((1 - p) ** 2) * mpmath.log(p)),
    "poly": (poly_loss, {"epsilon": -1.0}, lambda p: -mpmath.log(p) - (1 - p)),
    "generalised": (generalized_cross_entropy, {}, lambda p: (1 - p ** mpf("0.7")) / mpf("0.7")),
}
# What XLA compiles takes seconds each.
COMPILED = {("CE", "float64"), ("CE", "float32"), ("CE", "bfloat16"), ("focal 0.5", "float32")}


# ---- rows of labels and of mixtures, all in one batch: what is undefined must be alone

BIG = [65504.0, 65472.0, 65440.0]  # the largest of float16, and two below it
LABELS = {
    "ordinary": ([0.5, -1.25, 2.0], 1),
    "p = 0.999": ([7.59375, 0.0, 0.0], 0),
    "focal below 1, confident": ([100.0, 0.0, -1.0], 0),
    "focal, hopeless": ([100.0, -1.0, 0.0], 1),
    "hopeless": ([1e4, -1e4, 0.0], 1),
    "certain": ([1e4, -1e4, 0.0], 0),
    "p = 1e-20": ([46.0625, 0.0, -100.0], 1),
    "offset 1e4": ([10000.0, 10008.0, 9984.0], 0),
    "offset -1e4": ([-10000.0, -10008.0, -9984.0], 0),
    "offset 1e6": ([1e6, 1e6 + 0.5, 1e6 - 2.0], 1),
    "near the largest of float16": (BIG, 2),
    "and wrong by its whole range": ([65504.0, -65504.0, 0.0], 1),
    "beyond it": ([7e4, 7e4 + 1, 0.0], 1),
    "-inf on another class": ([1.0, -INF, 0.25], 2),
    "-inf on all others": ([-INF, 0.25, -INF], 1),
    "-inf on the target": ([1.0, -INF, 0.25], 1),
    "+inf on the target": ([0.0, INF, 1.0], 1),
    "+inf on another class": ([INF, 0.0, 1.0], 1),
    "nothing but -inf": ([-INF, -INF, -INF], 0),
    "NaN on the target": ([0.0, NAN, 1.0], 1),
    "NaN on another class": ([NAN, 0.0, 1.0], 1),
    "ignored": ([0.0, 1.0, 2.0], -100),
    "ignored with NaN": ([NAN, 0.0, 1.0], -100),
    "ignored with inf": ([INF, -INF, 1.0], -100),
    "ignored with nothing but -inf": ([-INF, -INF, -INF], -100),
}
MIXTURES = {
    "ordinary": ([0.5, -1.25, 2.0], [0.25, 0.5, 0.25]),
    "certain target": ([20.0, -2.0, 0.5], [1.0, 0.0, 0.0]),
    "offset 1e4": ([10000.0, 10008.0, 9984.0], [0.5, 0.0, 0.5]),
    "target 0 on -inf": ([1.0, -INF, 0.25], [0.5, 0.0, 0.5]),
    "target on -inf": ([1.0, -INF, 0.25], [0.5, 0.25, 0.25]),
    "certain, target 0 on -inf": ([-INF, 0.25, -INF], [0.0, 1.0, 0.0]),
    "a logit of +inf, target 0": ([INF, 0.0, 1.0], [0.0, 0.5, 0.5]),
    "nothing but -inf": ([-INF, -INF, -INF], [0.0, 0.5, 0.5]),
    "NaN where the target is 0": ([NAN, 0.0, 1.0], [0.0, 0.5, 0.5]),
}


def in_dtype(rows, dtype):
    """Logits rounded to the dtype, and what they are then."""
    with np.errstate(over="ignore"):
        z = np.array([row for row, _ in rows.values()]).astype(DTYPES[dtype])
    return z, z.astype(np.float64)


def check_rows(way, name, dtype, rows, target):
    function, options, f = FUNCTIONS[name]
    z, exact = in_dtype(rows, dtype)
    losses, kind, grads, grad_kind = each_row(way, function, z, target, **options)
    assert kind == ("float64" if dtype == "float64" else "float32")
    assert grad_kind == dtype
    textbook = Textbook(f)
    for i, (row, (_, aim)) in enumerate(rows.items()):
        what = f"{row}: {losses[i]} {grads[i]}"
        if aim == -100:
            assert losses[i] == 0, what
            assert (grads[i] == 0).all(), what
        elif not np.isfinite(exact[i]).any() or (exact[i] == INF).any() or np.isnan(exact[i]).any():
            assert np.isnan(losses[i]), what
            assert np.isnan(grads[i]).all(), what
        else:
            true = row_truth(textbook, exact[i].tolist(), aim, options.get("label_smoothing", 0.0), 0.0)
            eps = 2.3e-16 if dtype == "float64" else 1.2e-7
            wanted = float(true.value.true[0])
            assert losses[i] == wanted or abs(losses[i] - wanted) < 40 * eps * true.value.scale[0] + 1e-37, f"{what}, {wanted}"
            # the gradient is rounded once more, where half precisions have few digits and a coarse smallest number
            info = ml_dtypes.finfo(DTYPES[dtype])
            smallest = float(info.smallest_subnormal) if dtype == "float16" else float(info.smallest_normal)
            allowed = 40 * eps * true.grad.scale + float(info.eps) * np.abs(true.grad.true) + smallest
            assert (np.abs(grads[i] - true.grad.true) <= allowed).all(), f"{what}, {true.grad.true}"
            assert not np.signbit(losses[i]), what


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", WAYS)
def test_labels(way, name, dtype):
    if way == "jax jit" and (name, dtype) not in COMPILED:
        pytest.skip("compiled for some")
    check_rows(way, name, dtype, LABELS, np.array([y for _, y in LABELS.values()]))


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", ["CE", "CE, smoothing", "focal 0.5", "generalised"])
@pytest.mark.parametrize("way", WAYS)
def test_mixtures(way, name, dtype):
    if way == "jax jit" and (name, dtype) not in COMPILED:
        pytest.skip("compiled for some")
    target = np.array([q for _, q in MIXTURES.values()], dtype=DTYPES[dtype])
    check_rows(way, name, dtype, MIXTURES, target)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_further_derivatives_at_the_edges(name):
    """Where a row has a loss it has a second derivative, and a directional one without NaN."""
    function, options, _ = FUNCTIONS[name]
    z, _ = in_dtype(LABELS, "float64")
    y = np.array([y for _, y in LABELS.values()])
    fine = np.isfinite(z).any(axis=1) & ~(z == INF).any(axis=1) & ~np.isnan(z).any(axis=1) | (y < 0)
    v = np.random.default_rng(0).normal(size=z.shape)
    a = torch.tensor(z, requires_grad=True)
    losses = function(a, torch.tensor(y), reduction="none", **options)
    (grad,) = torch.autograd.grad(losses.sum(), a, create_graph=True)
    (product,) = torch.autograd.grad((grad * torch.tensor(v)).sum(), a)
    with jax.disable_jit():
        slope = lambda a: jax.grad(lambda a: function(a, jnp.asarray(y), reduction="sum", **options))(a)  # noqa: E731
        forward = jax.jvp(slope, (jnp.asarray(z),), (jnp.asarray(v),))[1]
        values = jax.jvp(lambda a: function(a, jnp.asarray(y), reduction="none", **options), (jnp.asarray(z),), (jnp.asarray(v),))
    assert np.isfinite(product.numpy()[fine]).all()
    assert np.isfinite(np.asarray(forward)[fine]).all()
    assert np.isfinite(np.asarray(values[1])[fine]).all()
    np.testing.assert_allclose(np.asarray(forward)[fine], product.numpy()[fine], rtol=1e-6, atol=1e-15)


# ---- low precision, beside PyTorch's own in the same dtype


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("way", WAYS)
def test_no_worse_than_torch(way, dtype):
    if way == "jax jit" and dtype == "float16":
        pytest.skip("compiled for some")
    rng = np.random.default_rng(1)
    z = (rng.normal(size=(400, 20)) * 6).astype(DTYPES[dtype])
    y = z.astype(float).argmax(axis=1)
    y[::3] = rng.integers(0, 20, y[::3].size)
    true, _, true_grads, _ = each_row("numpy", cross_entropy, z.astype(np.float64), y)
    losses, _, grads, _ = each_row(way, cross_entropy, z, y)
    t = to_torch(z).requires_grad_()
    theirs = torch.nn.functional.cross_entropy(t, torch.tensor(y), reduction="none")
    (their_grads,) = torch.autograd.grad(theirs.sum(), t)
    their_off = np.abs(floats(theirs)[0] - true)
    off = np.abs(losses - true)
    assert off.max() <= their_off.max()
    assert off.mean() <= their_off.mean()
    grad_off, their_grad_off = np.abs(grads - true_grads), np.abs(floats(their_grads)[0] - true_grads)
    assert grad_off.max() <= their_grad_off.max() * 1.001
    assert grad_off.mean() <= their_grad_off.mean() * 1.001
    # the entry of the label keeps its digits in sure rows, where theirs has none
    at = np.arange(len(y)), y
    relative = np.abs(grads[at] / true_grads[at] - 1)
    assert relative.max() <= max(2 * float(ml_dtypes.finfo(DTYPES[dtype]).eps), 3e-6) or dtype == "float16"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", ["numpy", "torch", "jax"])
def test_a_confident_row_keeps_the_digits_of_its_labels_gradient(way, dtype):
    z = np.array([[7.59375, 0.0, 0.0]]).astype(DTYPES[dtype])  # p = 0.999
    _, _, grads, _ = each_row(way, cross_entropy, z, np.array([0]))
    with mpmath.workdps(30):
        e = 2 * mpmath.exp(mpf(-7.59375))
        true = float(-e / (1 + e))
    assert grads[0, 0] == pytest.approx(true, rel=4 * float(ml_dtypes.finfo(DTYPES[dtype]).eps) / (4 if "16" in dtype else 1))


# ---- labels that are none


@pytest.mark.parametrize("label", [-1, 3, 1000, -(2**31)])
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", UNTRACED)
def test_a_label_out_of_range_is_an_error(way, name, label):
    function, options, _ = FUNCTIONS[name]
    z, y = np.zeros((2, 3)), np.array([1, label])
    with pytest.raises(ValueError, match=f"label {label} at row 1 is outside 0 ... 2: the logits have K = 3"):
        function(make(way, z), make(way, y), **options)


@pytest.mark.parametrize(("way", "name"), [("torch vmap", name) for name in FUNCTIONS] + [("jax jit", "CE"), ("jax jit", "focal 0.5")])
def test_a_label_out_of_range_that_nobody_can_read_is_nan(way, name):
    function, options, _ = FUNCTIONS[name]
    y = np.array([1, -1, 0, 3, -100, 1000, 2])
    z = np.random.default_rng(0).normal(size=(len(y), 3))
    losses, _, grads, _ = each_row(way, function, z, y, **options)
    none = np.array([False, True, False, True, False, True, False])
    assert np.isnan(losses).tolist() == none.tolist()
    assert np.isnan(grads).all(axis=1).tolist() == none.tolist()
    assert np.isnan(grads).any(axis=1).tolist() == none.tolist()
    fine = ~none
    expected = each_row("numpy", function, z[fine], y[fine], **options)
    np.testing.assert_allclose(losses[fine], expected[0], rtol=1e-13)
    np.testing.assert_allclose(grads[fine], expected[2], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("extra", [{"weight": np.array([1.0, 2.0, 0.5])}, {"mask": np.array([True, True, True])}])
def test_nor_do_options_hide_it(extra):
    y, z = np.array([1, -1, 3]), np.random.default_rng(0).normal(size=(3, 3))
    for way in ("torch vmap", "jax jit"):
        for options in ({}, {"label_smoothing": 0.1}):
            losses, _, grads, _ = each_row(way, cross_entropy, z, y, **extra, **options)
            assert np.isnan(losses).tolist() == [False, True, True]
            assert np.isnan(grads).all(axis=1).tolist() == [False, True, True]


def test_in_a_linear_layer_too():
    rng = np.random.default_rng(0)
    x, w, y = rng.normal(size=(4, 5)), rng.normal(size=(3, 5)), np.array([1, -1, 3, -100])
    with pytest.raises(ValueError, match="label -1 at row 1"):
        linear_cross_entropy(torch.tensor(x), torch.tensor(w), torch.tensor(y))
    losses = jax.jit(lambda x, y: linear_cross_entropy(x, jnp.asarray(w), y, reduction="none"))(jnp.asarray(x), jnp.asarray(y))
    assert np.isnan(np.asarray(losses)).tolist() == [False, True, True, False]
    each = torch.func.vmap(lambda x, y: linear_cross_entropy(x, torch.tensor(w), y))(torch.tensor(x), torch.tensor(y))
    assert torch.isnan(each).tolist() == [False, True, True, False]


@pytest.mark.parametrize("index", [-1, 3])
def test_a_class_out_of_range_among_a_few(index):
    z = np.random.default_rng(0).normal(size=(2, 3))
    few = TopK(np.array([[0, 1], [0, index]]), np.array([[0.5, 0.5], [0.5, 0.5]]))
    for way in UNTRACED:
        with pytest.raises(ValueError, match=f"index {index} at row 1 of a TopK target is outside 0 ... 2"):
            cross_entropy(make(way, z), make(way, few))
    for rest in ("zero", "spread"):

        def loss(z, index, probs, rest=rest):
            return cross_entropy(z, TopK(index, probs, rest), reduction="none")

        arrays = jnp.asarray(z), jnp.asarray(few.indices), jnp.asarray(few.probs)
        found, grads = jax.jit(lambda *a: (loss(*a), jax.grad(lambda z: loss(z, *a[1:]).sum())(a[0])))(*arrays)
        assert np.isnan(np.asarray(found)).tolist() == [False, True]
        assert np.isnan(np.asarray(grads)).all(axis=1).tolist() == [False, True]
        each = torch.func.vmap(lambda *a: loss(*(v[None] for v in a)))(*(torch.tensor(np.asarray(v)) for v in arrays))
        assert torch.isnan(each[:, 0]).tolist() == [False, True]


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool"])
@pytest.mark.parametrize("way", ["torch", "torch vmap", "jax", "jax jit"])
def test_labels_of_any_integer_dtype(way, kind):
    if way == "jax jit" and kind not in ("int32", "uint8"):
        pytest.skip("compiled for some")
    if way == "torch vmap" and kind in ("uint32", "uint64"):
        pytest.skip("PyTorch cannot compare these in a batch")
    z, y = np.random.default_rng(0).normal(size=(4, 2)), np.array([0, 1, 1, 0])
    expected = each_row("numpy", cross_entropy, z, y)
    found = each_row(way, cross_entropy, z, y.astype(kind))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-14)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-14)


# ---- nothing to learn from


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("way", ["numpy", "torch", "jax", "jax jit"])
def test_nothing_kept_is_zero(way, name):
    if way == "jax jit" and name not in ("CE", "focal 0.5"):
        pytest.skip("compiled for some")
    function, options, _ = FUNCTIONS[name]
    bad, y = np.array([[NAN, 0.0, INF], [-INF, -INF, -INF]]), np.array([0, 1])
    cases = {
        "empty": (np.zeros((0, 3)), np.zeros(0, np.int64), {}),
        "all ignored": (bad, np.array([-100, -100]), {}),
        "no sample weight": (bad, y, {"sample_weight": np.zeros(2)}),
        "no class weight": (bad, y, {"weight": np.array([0.0, 0.0, 1.0])}),
        "empty mixtures": (np.zeros((0, 3)), np.zeros((0, 3)), {}),
        "mixtures of no weight": (bad, np.full((2, 3), [0.5, 0.5, 0.0]), {"weight": np.array([0.0, 0.0, 1.0])}),
    }
    for case, (z, target, extra) in cases.items():
        value, grad = reduced(way, function, z, target, **options, **extra)
        assert value.shape == (), case
        assert value == 0, case
        assert grad.shape == z.shape, case
        assert (grad == 0).all(), case


@pytest.mark.parametrize("way", ["numpy", "torch", "jax"])
def test_a_linear_layer_with_nothing_kept(way):
    w = np.ones((3, 4))
    for x, y in ((np.zeros((0, 4)), np.zeros(0, np.int64)), (np.full((2, 4), NAN), np.array([-100, -100]))):
        value, grads = value_and_grad(linear_cross_entropy)(make(way, x), make(way, w), make(way, y))
        assert float(value) == 0
        for grad, like in zip(grads, (x, w), strict=True):
            assert grad.shape == like.shape
            assert (floats(grad)[0] == 0).all()


# ---- probabilities given as such

PROBS = {
    "ordinary": ([0.25, 0.5, 0.25], 1),
    "certain": ([1.0, 0.0, 0.0], 0),
    "impossible": ([1.0, 0.0, 0.0], 1),
    "nearly certain": ([1e-20, 1.0, 0.0], 1),
    "p = 1e-20": ([1e-20, 1.0, 0.0], 0),
    "ignored": ([NAN, INF, -1.0], -100),
}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n != "CE, smoothing"])
@pytest.mark.parametrize("way", WAYS)
def test_probabilities(way, name, dtype):
    """``f(p)`` and ``f'(p)`` in the label's entry, nothing in the others."""
    if way == "jax jit" and (name, dtype) not in COMPILED:
        pytest.skip("compiled for some")
    function, options, f = FUNCTIONS[name]
    p = np.array([row for row, _ in PROBS.values()]).astype(DTYPES[dtype])
    y = np.array([label for _, label in PROBS.values()])
    losses, _, grads, _ = each_row(way, function, p, y, from_probs=True, **options)
    eps = 1e-14 if dtype == "float64" else 1e-6
    for i, label in enumerate(y.tolist()):
        if label < 0:
            assert losses[i] == 0
            assert (grads[i] == 0).all()
            continue
        q = mpf(float(p[i, label]))
        with mpmath.workdps(60):
            true = Textbook(f)(-mpmath.log(q) if q else mpmath.inf)
            slope = mpmath.diff(f, q, h=q * mpf(10) ** -25, direction=-1) if q else -mpmath.inf
            # the slopes of the others' probabilities are 0: the row is not normalised again
        assert losses[i] == pytest.approx(float(true), rel=eps)
        assert not np.signbit(losses[i])
        coarse = float(ml_dtypes.finfo(DTYPES[dtype]).eps)
        if name == "generalised" and q == 0 or q == 1:
            assert not np.isnan(grads[i]).any()
            continue
        assert grads[i, label] == pytest.approx(float(slope), rel=max(coarse, eps), abs=1e-14)
        assert (np.delete(grads[i], label) == 0).all()


@pytest.mark.parametrize("way", ["numpy", "torch", "torch vmap", "jax"])
def test_slopes_of_certain_and_impossible_probabilities(way):
    p, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 0])
    for name, at_one, at_zero in (
        ("CE", -1.0, -INF),
        ("focal 0.5", 0.0, -INF),
        ("focal 2", 0.0, -INF),
        ("poly", 0.0, -INF),
        ("generalised", -1.0, -INF),
    ):
        function, options, _ = FUNCTIONS[name]
        losses, _, grads, _ = each_row(way, function, p, y, from_probs=True, **options)
        assert losses.tolist() == [0.0, pytest.approx(1 / 0.7) if name == "generalised" else INF]
        assert grads.tolist() == [[at_one, 0.0], [at_zero, 0.0]], name


@pytest.mark.parametrize("way", UNTRACED)
def test_what_is_no_distribution_is_an_error(way):
    y = np.array([0, 1])
    for p, message in (
        ([[0.0, 0.0], [0.5, 0.5]], "row 0 sums to 0"),
        ([[0.5, 0.5], [NAN, 0.5]], "row 1 has nan for class 0"),
        ([[0.5, 0.5], [1.5, -0.5]], "row 1 has 1.5 for class 0"),
        ([[2.0, -1.0], [0.5, 3.0]], "row 0 has 2.0 for class 0.*leave from_probs out"),
    ):
        with pytest.raises(ValueError, match=message):
            cross_entropy(make(way, np.array(p)), make(way, y), from_probs=True)
    for q, message in (([[0.5, 0.5], [0.2, 0.2]], "row 1 sums to 0.4"), ([[0.5, 0.5], [NAN, 0.2]], "row 1 has nan")):
        with pytest.raises(ValueError, match=f"target must .*{message}"):
            cross_entropy(make(way, np.zeros((2, 2))), make(way, np.array(q)))


@pytest.mark.parametrize("way", UNTRACED)
def test_probabilities_where_logits_belong_are_noticed(way):
    p, y = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), np.array([0, 1])
    for function in (cross_entropy, focal_loss, poly_loss, generalized_cross_entropy):
        with pytest.warns(UserWarning, match="logits look like probabilities"):
            function(make(way, p), make(way, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cross_entropy(make(way, np.array([[0.7, 0.2, 0.2]])), make(way, y[:1]))
