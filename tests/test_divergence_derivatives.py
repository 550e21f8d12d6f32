"""Derivatives of the divergences by PyTorch and JAX: of either order, in either mode, mapped and compiled."""

from __future__ import annotations

import numpy as np
import pytest

from probability_truth import DIVERGENCES, FORWARD_MODE, gradients, x64_mode
from xent.autodiff import rows
from xent.functional import value_and_grad
from xent.functional.divergence import distillation_loss, js_loss
from xent.rows.divergence import JSRows, KLRows

RNG = np.random.default_rng(33)
OPS = {
    "kl": KLRows(),
    "kl T": KLRows(1.7),
    "reverse": KLRows(reverse=True),
    "js": JSRows(0.8),
    "teacher": KLRows(1.7, teacher=True),
    "teacher reverse": KLRows(0.8, teacher=True, reverse=True),
    "teacher js": JSRows(1.7, teacher=True),
}


def arrays(op, near=False):
    """Logits and a target, off the distributions too: the entries of q are free."""
    a = RNG.normal(size=(3, 4)) * 2
    if op.teacher:
        return a, a + 1e-3 * RNG.normal(size=(3, 4)) if near else RNG.normal(size=(3, 4)) * 2
    e = np.exp(a / op.temperature)
    p = e / e.sum(axis=1, keepdims=True)
    return a, p * (1 + 1e-3 * RNG.normal(size=(3, 4))) if near else RNG.uniform(0.05, 1.0, (3, 4))


@FORWARD_MODE
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch_derivatives(op, near):
    torch = pytest.importorskip("torch")
    a, q = (torch.tensor(x, requires_grad=True) for x in arrays(op, near))
    label = torch.tensor([0, -1, 0])
    assert torch.autograd.gradcheck(lambda a, q: rows(op, a, q, label), (a, q))
    assert torch.autograd.gradgradcheck(lambda a, q: rows(op, a, q, label), (a, q))
    assert torch.autograd.gradcheck(
        lambda a, q: rows(op, a, q, label), (a, q), check_forward_ad=True, check_backward_ad=False
    )


@FORWARD_MODE
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_torch_func(op):
    torch = pytest.importorskip("torch")
    a, q = (torch.tensor(x) for x in arrays(op))

    def one(a, q):
        return rows(op, a[None], q[None], torch.zeros(1, dtype=torch.int64))[0]

    each = torch.func.vmap(one)(a, q)
    torch.testing.assert_close(each, rows(op, a, q, torch.zeros(3, dtype=torch.int64)), rtol=1e-14, atol=0)
    slopes = torch.func.vmap(torch.func.grad(one, argnums=(0, 1)))(a, q)
    for i, slope in enumerate(slopes):
        forward = torch.func.vmap(torch.func.jacfwd(one, argnums=i))(a, q)
        torch.testing.assert_close(forward, slope, rtol=1e-12, atol=1e-14)
    bend = torch.func.hessian(one)(a[0], q[0])
    torch.testing.assert_close(bend, bend.T, rtol=1e-12, atol=1e-14)
    v, h = torch.tensor(RNG.normal(size=4)), 1e-5
    slope = torch.func.grad(one)
    numeric = (slope(a[0] + h * v, q[0]) - slope(a[0] - h * v, q[0])) / (2 * h)
    torch.testing.assert_close(bend @ v, numeric, rtol=1e-7, atol=1e-9)


@pytest.fixture
def x64():
    yield from x64_mode()


@FORWARD_MODE
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_jax_derivatives(x64, op, near):
    jax, jnp = x64, x64.numpy
    from jax.test_util import check_grads

    a, q = arrays(op, near)
    label = jnp.asarray([0, -1, 0])
    np.testing.assert_allclose(
        jax.jit(lambda a, q: rows(op, a, q, label))(a, q), op.value(np, a, q, np.asarray(label)), rtol=1e-12
    )
    each = lambda a, q: rows(op, jnp.asarray(a), jnp.asarray(q), label)  # noqa: E731 - it is given NumPy arrays too
    check_grads(each, (jnp.asarray(a), jnp.asarray(q)), order=2, modes=["fwd", "rev"], eps=1e-6, rtol=1e-4)

    def one(a, q):
        return rows(op, a[None], q[None], label[:1])[0]

    slopes = jax.vmap(jax.grad(one, argnums=(0, 1)))(jnp.asarray(a), jnp.asarray(q))
    for slope, d in zip(slopes, op.grads(np, (True, True, False), a, q, np.zeros(3, int)), strict=False):
        np.testing.assert_allclose(slope, d, rtol=1e-11, atol=1e-14)
    torch = pytest.importorskip("torch")
    bend = torch.func.hessian(lambda a: rows(op, a[None], torch.tensor(q[:1]), torch.tensor([0]))[0])(
        torch.tensor(a[0])
    )
    found = jax.hessian(one)(jnp.asarray(a[0]), jnp.asarray(q[0]))
    np.testing.assert_allclose(found, bend, rtol=1e-10, atol=1e-13)


@FORWARD_MODE
@pytest.mark.parametrize("name", ["kl", "reverse", "js", "teacher", "teacher reverse", "teacher js"])
def test_second_derivatives_beside_a_masked_class(x64, name):
    """Those of the same row without the class, and 0 in its place."""
    jax, jnp = x64, x64.numpy
    torch = pytest.importorskip("torch")
    op, inf = OPS[name], float("inf")
    a, q = np.array([1.0, -inf, 0.25]), np.array([2.0, -inf, 0.0] if op.teacher else [0.75, 0.0, 0.25])
    few = a[[0, 2]], q[[0, 2]]
    for i in (0, 1):
        bend = jax.hessian(lambda a, q: rows(op, a[None], q[None], jnp.zeros(1, int))[0], argnums=i)
        one = torch.func.hessian(lambda a, q: rows(op, a[None], q[None], torch.zeros(1, dtype=int))[0], argnums=i)
        expected = np.zeros((3, 3))
        expected[np.ix_([0, 2], [0, 2])] = bend(*(jnp.asarray(x) for x in few))
        np.testing.assert_allclose(bend(jnp.asarray(a), jnp.asarray(q)), expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(one(torch.tensor(a), torch.tensor(q)), expected, rtol=1e-12, atol=1e-15)


def test_the_three_libraries_agree(x64):
    torch = pytest.importorskip("torch")
    a, b, y = RNG.normal(size=(6, 5)), RNG.normal(size=(6, 5)), np.array([0, 1, -100, 2, 4, 3])
    q = RNG.dirichlet(np.ones(5), 6)
    w = np.array([1.0, 2.0, 1.0, 0.0, 0.5, 1.0])
    options = {"target": y, "alpha": 0.6, "temperature": 2.0, "divergence": "js", "sample_weight": w}
    for make in (torch.tensor, x64.numpy.asarray):
        for name in DIVERGENCES:
            value, grads = gradients(name, a, q, sample_weight=w)
            other, theirs = gradients(name, make(a), make(q), sample_weight=make(w))
            assert float(other) == pytest.approx(value, rel=1e-13)
            for g, t in zip(grads, theirs, strict=True):
                np.testing.assert_allclose(t, g, rtol=1e-12, atol=1e-15)
        value, grads = value_and_grad(distillation_loss)(a, b, **options)
        other, theirs = value_and_grad(distillation_loss)(make(a), make(b), **{**options, "target": make(y)})
        assert float(other) == pytest.approx(value, rel=1e-13)
        for g, t in zip(grads, theirs, strict=True):
            np.testing.assert_allclose(t, g, rtol=1e-12, atol=1e-15)


def test_under_jit_an_invalid_label_makes_its_row_nan():
    jax = pytest.importorskip("jax")
    a = jax.numpy.zeros((2, 3))
    loss = jax.jit(lambda y: js_loss(a, y, reduction="none"))(jax.numpy.asarray([1, 7]))
    assert np.isnan(loss).tolist() == [False, True]
