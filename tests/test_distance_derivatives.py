"""Derivatives of the distances by PyTorch and JAX: of either order, in either mode, mapped and compiled."""

from __future__ import annotations

import numpy as np
import pytest

from probability_truth import FORWARD_MODE, x64_mode
from xent.autodiff import rows
from xent.functional import value_and_grad
from xent.functional.distance import absolute_error, binary_absolute_error, binary_squared_error, squared_error
from xent.rows.distance import BinaryDistanceRows, DistanceRows

RNG = np.random.default_rng(35)
SOFTMAX = {"squared": squared_error, "absolute": absolute_error}
BINARY = {"squared": binary_squared_error, "absolute": binary_absolute_error}
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
    yield from x64_mode()


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
