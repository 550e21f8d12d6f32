"""The margins in PyTorch and JAX: what NumPy gives, differentiated as often as one likes."""

from __future__ import annotations

import math

import array_api_compat.torch as torch_api
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import torch

import margin_truth
from margin_table import (
    HOLDS_CONSTANT,
    MARGINS,
    PER_CLASS,
    batch,
    ordinary,
    with_gradients,
)
from xent.functional.margin import margin_cross_entropy
from xent.losses.margins import (
    ArcFace,
    pair,
)


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("centres", [1, 2])
@pytest.mark.parametrize("name", MARGINS)
def test_pytorch_and_jax_agree_with_numpy(name, centres):
    x, w, y, bias, options = batch(name, centres)
    margin = MARGINS[name]
    value, grads = with_gradients(x, w, y, margin, bias, **options)
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, w, bias)]
    loss = margin_cross_entropy(*leaves[:2], torch.tensor(y), margin, bias=leaves[2], **options)
    loss.backward()
    assert loss.item() == pytest.approx(value, rel=1e-14)
    for leaf, grad in zip(leaves, grads.values(), strict=True):
        np.testing.assert_allclose(leaf.grad.numpy(), grad, rtol=1e-12, atol=1e-13 * np.abs(grad).max())

    def function(x, w, bias):
        return margin_cross_entropy(x, w, jnp.asarray(y), margin, bias=bias, **options)

    gradients = jax.value_and_grad(function, (0, 1, 2))
    if name in ("Arc per class", "Curricular", "Mag", "A 3"):  # compiling takes a second each
        gradients = jax.jit(gradients)
    found, found_grads = gradients(x, w, bias)
    assert found == pytest.approx(value, rel=1e-14)
    for a, b in zip(found_grads, grads.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13 * np.abs(b).max())


@pytest.mark.parametrize("name", sorted(set(MARGINS) - set(HOLDS_CONSTANT)))
def test_second_derivatives(name):
    """Hessian-vector products of both libraries, against differences of NumPy's gradient."""
    x, w, y, bias, options = batch(name)
    margin, rng = MARGINS[name], np.random.default_rng(1)
    along = [rng.normal(size=v.shape) for v in (x, w, bias)]
    along[0][2] = 0
    sides = []
    for step in (1e-6, -1e-6):
        moved = [v + step * d for v, d in zip((x, w, bias), along, strict=True)]
        sides.append(with_gradients(moved[0], moved[1], y, margin, moved[2], **options)[1])
    wanted = [(sides[0][k] - sides[1][k]) / 2e-6 for k in ("x", "w", "bias")]

    leaves = [torch.tensor(v, requires_grad=True) for v in (x, w, bias)]
    loss = margin_cross_entropy(*leaves[:2], torch.tensor(y), margin, bias=leaves[2], **options)
    grads = torch.autograd.grad(loss, leaves, create_graph=True)
    inner = sum((g * torch.tensor(d)).sum() for g, d in zip(grads, along, strict=True))
    found = [v.numpy() for v in torch.autograd.grad(inner, leaves)]

    def function(x, w, bias):
        return margin_cross_entropy(x, w, jnp.asarray(y), margin, bias=bias, **options)

    forward = jax.jvp(jax.grad(function, (0, 1, 2)), (x, w, bias), tuple(along))[1]
    size = max(np.abs(v).max() for v in wanted)
    for a, b, c in zip(found, forward, wanted, strict=True):
        np.testing.assert_allclose(a, c, atol=1e-6 * size)
        np.testing.assert_allclose(b, a, atol=1e-12 * size)


@pytest.mark.parametrize("name", MARGINS)
def test_libraries_at_the_edges(name):
    """On the centre, opposite, at zero and without weight: the gradients of NumPy, and finite second ones."""
    x = np.array([[1.0, -2.0, 0.5], [-1.0, 2.0, -0.5], [0.0, 0.0, 0.0], [3.0, 1.0, 2.0], [np.nan] * 3])
    w = np.array([[2.0, -4.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    y = np.array([0, 0, 2, 1, -100])
    margin = MARGINS[name]
    value, grads = with_gradients(x, w, y, margin)
    leaves = [torch.tensor(v, requires_grad=True) for v in (x, w)]
    loss = margin_cross_entropy(*leaves, torch.tensor(y), margin)
    first = torch.autograd.grad(loss, leaves, create_graph=True)
    second = torch.autograd.grad(sum((g * g).sum() for g in first), leaves)
    assert loss.item() == pytest.approx(value, rel=1e-14)

    def function(x, w):
        return margin_cross_entropy(x, w, jnp.asarray(y), margin)

    jax_first = jax.grad(function, (0, 1))(x, w)
    jax_second = jax.grad(lambda x, w: sum((g * g).sum() for g in jax.grad(function, (0, 1))(x, w)), (0, 1))(x, w)
    for i, grad in enumerate(grads.values()):
        np.testing.assert_allclose(first[i].detach().numpy(), grad, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(jax_first[i], grad, rtol=1e-12, atol=1e-12)
        assert torch.isfinite(second[i]).all()
        assert jnp.isfinite(jax_second[i]).all()


@pytest.mark.parametrize("theta", [1.0, 1e-3, 1e-6, 1e-12, 1e-16, math.pi - 1e-9])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_angle_keeps_its_digits_in_every_library(theta, dtype):
    """XLA, too, which fuses products with sums where it may."""
    x, w, label = ordinary(3, theta, features=16)
    x, w = x.astype(dtype)[None], w[label].astype(dtype)[None]
    with mpmath.workdps(80):
        X, W = margin_truth.exact(x[0]), margin_truth.exact(w[0])
        rest = [b - margin_truth.dot(X, W) / margin_truth.dot(X, X) * a for a, b in zip(X, W, strict=True)]
        wanted = mpmath.atan2(margin_truth.norm(rest) * margin_truth.norm(X), margin_truth.dot(X, W))
        dx = [-v / margin_truth.norm(rest) / margin_truth.norm(X) for v in rest]
    results = {
        "NumPy": pair(np, x, w),
        "PyTorch": pair(torch_api, torch.tensor(x), torch.tensor(w)),
        "JAX": jax.jit(lambda x, w: pair(jnp, x, w))(x, w),
    }
    for name, found in results.items():
        tolerance = 16 * np.finfo(dtype).eps
        assert margin_truth.relative_error(found.theta[0], wanted) < tolerance, name
        assert margin_truth.relative_error(found.dx[0], dx) < tolerance, name


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # PyTorch's own, when it first runs forward
def test_torch_func_and_forward_mode():
    x, w, y, _, _ = batch("")
    x[2] = 1.0
    tx, tw, ty = torch.tensor(x), torch.tensor(w), torch.tensor(y)
    margin = ArcFace(PER_CLASS)

    def one(x, y):
        return margin_cross_entropy(x, tw, y, margin, reduction="sum")

    jacobian = torch.func.vmap(torch.func.grad(one))(tx, ty)
    _, grads = with_gradients(x, w, y, margin, reduction="sum")
    np.testing.assert_allclose(jacobian.numpy(), grads["x"], rtol=1e-12, atol=1e-12)
    mapped = jax.vmap(jax.grad(lambda x, y: margin_cross_entropy(x, w, y, margin, reduction="sum")))(x, jnp.asarray(y))
    np.testing.assert_allclose(mapped, grads["x"], rtol=1e-12, atol=1e-12)
    along = np.random.default_rng(0).normal(size=x.shape)
    whole = torch.func.jvp(
        lambda x: margin_cross_entropy(x, tw, ty, margin, reduction="sum"), (tx,), (torch.tensor(along),)
    )
    assert whole[1].item() == pytest.approx((grads["x"] * along).sum(), rel=1e-12)
    tangent = jax.jvp(lambda x: margin_cross_entropy(x, w, jnp.asarray(y), margin, reduction="sum"), (x,), (along,))[1]
    assert tangent == pytest.approx((grads["x"] * along).sum(), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precisions_compute_in_float32(dtype):
    x, w, y, _, _ = batch("")
    x[2] = 0
    tx = torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True)
    tw = torch.tensor(w, dtype=getattr(torch, dtype))
    loss = margin_cross_entropy(tx, tw, torch.tensor(y), ArcFace())
    loss.backward()
    wide, grads = with_gradients(tx.detach().float().numpy(), tw.float().numpy(), y, ArcFace())
    assert loss.dtype == torch.float32
    assert tx.grad.dtype == tx.dtype
    assert loss.item() == pytest.approx(float(wide), rel=1e-6)
    np.testing.assert_allclose(tx.grad.float().numpy(), grads["x"], rtol=2e-2, atol=2e-2)
    if dtype == "float16":
        half, half_grads = with_gradients(tx.detach().numpy(), tw.numpy(), y, ArcFace())
        assert half.dtype == np.float32
        assert half_grads["x"].dtype == np.float16
