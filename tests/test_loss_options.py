"""The softmax losses as functions, option by option, in NumPy, PyTorch and JAX, against the textbook in mpmath."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import loss_truth
from loss_cases import (
    CASES,
    FUNCTIONS,
    IN_JAX,
    KINDS,
    OPTIONS,
    PRIOR,
    SAMPLE,
    K,
    N,
    Q,
    V,
    W,
    Y,
    Z,
    derivatives,
    few,
    make,
    target,
    true_case,
)
from xent import TopK, cross_entropy, focal_loss, hvp, value_and_grad


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def check_case(kind, name, which, soft):
    function, own, _ = FUNCTIONS[name]
    value, grad, product = true_case(name, which, soft)
    assert value != 0
    options = {**own, **OPTIONS[which]}
    found, gradient, curved = derivatives(kind, function, Z, target(soft, options)[0], options, V)
    assert found == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(gradient, grad, rtol=1e-12, atol=1e-13 * np.abs(grad).max())
    if curved is not None:
        np.testing.assert_allclose(curved, product, rtol=1e-11, atol=1e-12 * np.abs(product).max())


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "mixtures"])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("name", "which"), CASES, ids=str)
def test_public_functions(name, which, kind, soft):
    check_case(kind, name, which, soft)


@pytest.mark.parametrize(("name", "which"), [c for c in CASES if c[1] in IN_JAX], ids=str)
def test_public_functions_in_jax(name, which):
    for soft in (False, True):
        check_case("jax", name, which, soft)


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_are_of_the_same_rows(kind):
    options = {"weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2}
    z, y, given = make(kind, Z), make(kind, Y), {k: make(kind, x) for k, x in options.items()}
    with jax.disable_jit():
        rows = np.asarray(cross_entropy(z, y, reduction="none", **given))
        total = float(cross_entropy(z, y, reduction="sum", **given))
        mean = float(cross_entropy(z, y, **given))
        cube = np.asarray(cross_entropy(make(kind, Z.reshape(2, 2, K)), make(kind, Y.reshape(2, 2)), reduction="none"))
        flat = np.asarray(cross_entropy(z, y, reduction="none"))
    assert rows.shape == (N,)
    assert total == pytest.approx(rows.sum(), rel=1e-14)
    assert mean == pytest.approx(rows.sum() / (W[Y] * SAMPLE).sum(), rel=1e-14)
    np.testing.assert_allclose(cube, flat.reshape(2, 2), rtol=1e-15)


# ---- targets


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [False, True], ids=["zero", "spread"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_few_classes_are_the_target_they_say(name, spread, kind):
    function, own, _ = FUNCTIONS[name]
    aim, dense = few(spread)
    if spread and name != "CE":
        with pytest.raises(ValueError, match='rest="spread" is there for cross_entropy only'):
            function(make(kind, Z), make(kind, aim), **own)
        return
    options = {**own, "sample_weight": SAMPLE, "temperature": 1.5, "prior": PRIOR}
    found = derivatives(kind, function, Z, aim, options, V)
    for a, b in zip(found, derivatives("numpy", function, Z, dense, options, V), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{"z_loss": 0.25, "confidence_penalty": 0.5}, {"weight": W}], ids=["terms", "weights"]
)
@pytest.mark.parametrize("spread", [False, True], ids=["zero", "spread"])
def test_a_few_classes_with_more_options(spread, options, kind):
    aim, dense = few(spread)
    if spread and "weight" in options:
        with pytest.raises(ValueError, match="weigh every class of every row"):
            cross_entropy(make(kind, Z), make(kind, aim), weight=make(kind, W))
        return
    found = derivatives(kind, cross_entropy, Z, aim, options, V)
    for a, b in zip(found, derivatives("torch", cross_entropy, Z, dense, options, V), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


def test_a_few_classes_may_be_all_of_them():
    index = np.tile(np.arange(K), (N, 1))
    for rest in ("zero", "spread"):
        found = derivatives("numpy", cross_entropy, Z, TopK(index, Q, rest), {}, V)
        for a, b in zip(found, derivatives("numpy", cross_entropy, Z, Q, {}, V), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_a_few_classes_may_be_all_but_one():
    """What is left goes to that one; where nothing is left, it may be impossible."""
    index, z = np.tile(np.arange(K - 1), (N, 1)), Z.copy()
    aim = TopK(index, Q[:, :-1].copy(), "spread")
    found = derivatives("numpy", cross_entropy, z, aim, {}, V)
    for a, b in zip(found, derivatives("numpy", cross_entropy, z, Q, {}, V), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
    q = torch.tensor(aim.probs, requires_grad=True)
    cross_entropy(torch.tensor(z), TopK(torch.tensor(index), q, "spread"), reduction="sum").backward()
    np.testing.assert_allclose(q.grad.numpy(), z[:, -1:] - z[:, :-1], rtol=1e-13)  # the difference of two costs
    aim.probs[:] /= aim.probs.sum(axis=1, keepdims=True)
    aim.probs[:, 0] += 1 - aim.probs.sum(axis=1)
    z[:, -1] = -np.inf
    value, grad, _ = derivatives("numpy", cross_entropy, z, aim, {}, V)
    wanted, wanted_grad, _ = derivatives("numpy", cross_entropy, z[:, :-1], aim.probs, {}, V[:, :-1])
    assert value == pytest.approx(wanted, rel=1e-14)
    np.testing.assert_allclose(grad[:, :-1], wanted_grad, rtol=1e-12, atol=1e-15)
    assert (grad[:, -1] == 0).all()


@pytest.mark.parametrize("spread", [False, True], ids=["zero", "spread"])
def test_the_gradient_in_the_probabilities_of_a_few_classes(spread):
    """Along directions that keep their sums; the loss is linear in them."""
    aim, _ = few(spread)
    q = torch.tensor(aim.probs, requires_grad=True)
    cross_entropy(torch.tensor(Z), TopK(torch.tensor(aim.indices), q, aim.rest)).backward()
    with jax.disable_jit():
        by_jax = jax.grad(lambda q: cross_entropy(jnp.asarray(Z), TopK(jnp.asarray(aim.indices), q, aim.rest)))(
            jnp.asarray(aim.probs)
        )
    step = 1e-3 * np.array([[1.0, -1.0], [0.5, -0.5], [-2.0, 2.0], [0.25, -0.25]])
    inner = np.clip(aim.probs, 0.01, 0.99)
    inner = inner / inner.sum(axis=1, keepdims=True) * aim.probs.sum(axis=1, keepdims=True)
    losses = [cross_entropy(Z, TopK(aim.indices, p, aim.rest)) for p in (inner + step, inner)]
    assert float((q.grad.numpy() * step).sum()) == pytest.approx(losses[0] - losses[1], rel=1e-10)
    np.testing.assert_allclose(np.asarray(by_jax), q.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_in_a_mixture(name):
    """What each label would cost, in all libraries, where its probability is 0 too."""
    function, own, f = FUNCTIONS[name]
    q = Q.copy()
    q[0] = [0, 0, 0.5, 0.5, 0]
    options = {**own, "reduction": "sum", "label_smoothing": 0.2}
    costs = np.array(
        [[loss_truth.truth(z[None], one[None], f, smoothing=0.2, reduction="sum")[0] for one in np.eye(K)] for z in Z]
    )
    found = value_and_grad(function)(Z, q, wrt="target", **options)[1].target
    t = torch.tensor(q, requires_grad=True)
    function(torch.tensor(Z), t, **options).backward()
    with jax.disable_jit():
        by_jax = jax.grad(lambda q: function(jnp.asarray(Z), q, **options))(jnp.asarray(q))
    for gradient in (found, t.grad.numpy(), np.asarray(by_jax)):
        np.testing.assert_allclose(gradient, costs, rtol=1e-13)


def test_weights_can_be_differentiated_in():
    """Of samples and classes, by PyTorch and JAX, through the divisor of the mean too."""
    weight, sample = W + 0.5, SAMPLE + 1  # a row without weight is left out, and has no slope

    def loss(w, s, kind="numpy"):
        return cross_entropy(make(kind, Z), make(kind, Y), weight=w, sample_weight=s, label_smoothing=0.2)

    w, s = torch.tensor(weight, requires_grad=True), torch.tensor(sample, requires_grad=True)
    loss(w, s, "torch").backward()
    with jax.disable_jit():
        by_jax = jax.grad(lambda w, s: loss(w, s, "jax"), (0, 1))(jnp.asarray(weight), jnp.asarray(sample))
    for k, (gradient, other) in enumerate(zip((w.grad, s.grad), by_jax, strict=True)):
        given = [weight, sample]
        wanted = np.empty(len(given[k]))
        for i in range(len(wanted)):
            sides = []
            for step in (1e-5, -1e-5):
                moved = [v.copy() for v in given]
                moved[k][i] += step
                sides.append(loss(*moved))
            wanted[i] = (sides[0] - sides[1]) / 2e-5
        np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(np.asarray(other), gradient.numpy(), rtol=1e-12, atol=1e-15)


# ---- transformations


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # PyTorch's own, for its forward mode
@pytest.mark.parametrize("name", ["CE", "focal", "generalised"])
def test_torch_func_and_forward_mode(name):
    function, own, _ = FUNCTIONS[name]
    z, y, v = torch.tensor(Z), torch.tensor(Y), torch.tensor(V)
    expected = value_and_grad(function)(Z, Y, reduction="sum", **own)[1].logits
    each = torch.func.vmap(torch.func.grad(lambda z, y: function(z, y, **own)))(z, y)
    np.testing.assert_allclose(each.numpy(), expected, rtol=1e-12, atol=1e-15)
    value, along = torch.func.jvp(lambda z: function(z, y, reduction="sum", **own), (z,), (v,))
    assert along.item() == pytest.approx(float((expected * V).sum()), rel=1e-12)
    assert value.item() == pytest.approx(float(function(Z, Y, reduction="sum", **own)), rel=1e-14)
    hessian = torch.func.hessian(lambda z: function(z, y, reduction="sum", **own))(z)
    product = torch.einsum("ijkl,kl->ij", hessian, v)
    np.testing.assert_allclose(
        product.numpy(), hvp(function)(Z, Y, vector=V, reduction="sum", **own), rtol=1e-11, atol=1e-14
    )


def test_jax_transformations():
    z, y = jnp.asarray(Z), jnp.asarray(Y)
    expected = value_and_grad(focal_loss)(Z, Y, reduction="sum")[1].logits
    compiled = jax.jit(jax.grad(lambda z, y: focal_loss(z, y, reduction="sum")))
    np.testing.assert_allclose(np.asarray(compiled(z, y)), expected, rtol=1e-12, atol=1e-15)
    each = jax.jit(jax.vmap(jax.grad(focal_loss)))(z, y)
    np.testing.assert_allclose(np.asarray(each), expected, rtol=1e-12, atol=1e-15)


def test_torch_gradcheck():
    z, q = torch.tensor(Z, requires_grad=True), torch.tensor(Q)
    for function, own, _ in FUNCTIONS.values():
        assert torch.autograd.gradcheck(lambda z, f=function, o=own: f(z, q, **o), z)
        assert torch.autograd.gradgradcheck(lambda z, f=function, o=own: f(z, q, **o), z)
