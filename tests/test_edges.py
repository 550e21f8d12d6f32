"""Every numeric edge of the softmax losses in a row, in every array library and dtype: by a rule, or by mpmath."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import ml_dtypes
import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from edge_rows import COMPILED, DTYPES, FUNCTIONS, INF, NAN, WAYS, each_row, floats, to_torch
from xent import cross_entropy
from xent.testing._textbook import Textbook, row_truth


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


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


@functools.cache
def truth(name, logits, aim):
    """What is true of a row: of one dtype's logits for all libraries."""
    _, options, f = FUNCTIONS[name]
    aim = list(aim) if isinstance(aim, tuple) else aim
    return row_truth(textbook(f), list(logits), aim, options.get("label_smoothing", 0.0), 0.0)


textbook = functools.cache(Textbook)


def check_rows(way, name, dtype, rows, target):
    function, options, _ = FUNCTIONS[name]
    z, exact = in_dtype(rows, dtype)
    losses, kind, grads, grad_kind = each_row(way, function, z, target, **options)
    assert kind == ("float64" if dtype == "float64" else "float32")
    assert grad_kind == dtype
    for i, (row, (_, aim)) in enumerate(rows.items()):
        what = f"{row}: {losses[i]} {grads[i]}"
        if aim == -100:
            assert losses[i] == 0, what
            assert (grads[i] == 0).all(), what
        elif not np.isfinite(exact[i]).any() or (exact[i] == INF).any() or np.isnan(exact[i]).any():
            assert np.isnan(losses[i]), what
            assert np.isnan(grads[i]).all(), what
        else:
            true = truth(name, tuple(exact[i].tolist()), tuple(aim) if isinstance(aim, list) else aim)
            eps = 2.3e-16 if dtype == "float64" else 1.2e-7
            wanted = float(true.value.true[0])
            assert losses[i] == wanted or abs(losses[i] - wanted) < 40 * eps * true.value.scale[0] + 1e-37, (
                f"{what}, {wanted}"
            )
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
        values = jax.jvp(
            lambda a: function(a, jnp.asarray(y), reduction="none", **options), (jnp.asarray(z),), (jnp.asarray(v),)
        )
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
    # rounded once in halves, where it is computed in float32
    roundings = 1 if "16" in dtype else 4
    assert grads[0, 0] == pytest.approx(true, rel=roundings * float(ml_dtypes.finfo(DTYPES[dtype]).eps))
