"""Cross-entropy of a linear layer, whose logits are never stored: the loss of its logits, in every array library."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from loss_cases import KINDS, PRIOR, RNG, SAMPLE, K, N, Q, W, Y, few, make
from xent import cross_entropy, linear_cross_entropy, value_and_grad
from xent.kernels import Need
from xent.losses import CrossEntropy, Focal
from xent.rows import LabelRows, SoftRows, TopKRows
from xent.rows import linear as linear_rows

X, LAYER, BIAS, ALONG = (RNG.normal(size=shape) for shape in ((N, 3), (K, 3), (K,), (N, 3)))
OPTIONS = {
    "none": {},
    "sum": {"reduction": "sum"},
    "smoothing": {"label_smoothing": 0.3},
    "weights": {"weight": W, "sample_weight": SAMPLE},
    "sample weights": {"sample_weight": SAMPLE},
    "z-loss": {"z_loss": 0.25},
    "temperature and prior": {"temperature": 2.5, "prior": PRIOR},
    "everything": {
        "weight": W,
        "sample_weight": SAMPLE,
        "label_smoothing": 0.1,
        "z_loss": 0.1,
        "temperature": 0.5,
        "prior": PRIOR,
        "reduction": "sum",
    },
}
TARGETS = {"labels": Y, "mixtures": Q, "few": few(False)[0], "few, spread": few(True)[0]}
NOT_OFFERED = {"few": {"label_smoothing"}, "few, spread": {"label_smoothing", "weight"}}
CASES = [(o, t) for o in OPTIONS for t in TARGETS if not NOT_OFFERED.get(t, set()) & set(OPTIONS[o])]


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


def layer(x, w, b, aim, options):
    return linear_cross_entropy(x, w, aim, bias=b, **options)


def by_logits(x, w, b, aim, options):
    return cross_entropy(x @ w.T + b, aim, **options)


def derivatives(kind, function, aim, options):
    """Value, gradients in x, w and bias, and the Hessian's product in x."""
    if kind == "numpy":
        wrt = ("x", "w", "bias")
        value, grads = value_and_grad(linear_cross_entropy)(X, LAYER, aim, bias=BIAS, wrt=wrt, **options)
        return value, tuple(grads), None
    options, aim = {k: make(kind, x) for k, x in options.items()}, make(kind, aim)
    if kind == "torch":
        leaves = [torch.tensor(x, requires_grad=True) for x in (X, LAYER, BIAS)]
        value = function(*leaves, aim, options)
        once = torch.autograd.grad(value, leaves, retain_graph=True)
        grads = torch.autograd.grad(value, leaves, create_graph=True)
        for a, b in zip(once, grads, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
        (product,) = torch.autograd.grad((grads[0] * torch.tensor(ALONG)).sum(), leaves[0])
        return value.item(), [g.detach().numpy() for g in grads], product.numpy()
    with jax.disable_jit():
        given = tuple(jnp.asarray(x) for x in (X, LAYER, BIAS))
        value, grads = jax.value_and_grad(lambda *leaves: function(*leaves, aim, options), (0, 1, 2))(*given)
        slope = jax.grad(lambda x: function(x, *given[1:], aim, options))
        product = jax.jvp(slope, given[:1], (jnp.asarray(ALONG),))[1]
        return float(value), [np.asarray(g) for g in grads], np.asarray(product)


def check(kind, which, name):
    aim, options = TARGETS[name], OPTIONS[which]
    true = derivatives("torch", by_logits, aim, options)
    value, grads, product = derivatives(kind, layer, aim, options)
    assert value == pytest.approx(true[0], rel=1e-13)
    for name, a, b in zip(("x", "w", "bias"), grads, true[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13, err_msg=name)
    if product is not None:
        np.testing.assert_allclose(product, true[2], rtol=1e-10, atol=1e-12)


@pytest.fixture(params=[False, True], ids=["", "tiled"])
def tiled(request, monkeypatch):
    """Two rows at a time."""
    if request.param:
        monkeypatch.setattr(linear_rows, "TILE", 2 * K)
        monkeypatch.setattr("xent.autodiff._jax.TILE", 2 * K)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
@pytest.mark.parametrize(("which", "name"), CASES, ids=str)
@pytest.mark.usefixtures("tiled")
def test_a_layer_is_the_loss_of_its_logits(which, name, kind):
    check(kind, which, name)


@pytest.mark.parametrize(("which", "name"), [c for c in CASES if c[0] in ("z-loss", "everything")], ids=str)
@pytest.mark.usefixtures("tiled")
def test_a_layer_is_the_loss_of_its_logits_in_jax(which, name):
    check("jax", which, name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_without_bias_and_with_rows_left_out(kind):
    x, y = X.copy(), Y.copy()
    x[2], y[2] = np.nan, -100
    kept = [0, 1, 3]
    expected = value_and_grad(linear_cross_entropy)(X[kept], LAYER, Y[kept])
    with jax.disable_jit():
        value, grads = value_and_grad(linear_cross_entropy)(make(kind, x), make(kind, LAYER), make(kind, y))
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-14)
    np.testing.assert_allclose(np.asarray(grads.w), expected[1].w, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.asarray(grads.x)[kept], expected[1].x, rtol=1e-12, atol=1e-15)
    assert (np.asarray(grads.x)[2] == 0).all()


def test_the_target_of_a_layer_can_be_differentiated_in():
    expected = value_and_grad(linear_cross_entropy)(X, LAYER, Q, wrt="target")[1].target
    q = torch.tensor(Q, requires_grad=True)
    linear_cross_entropy(torch.tensor(X), torch.tensor(LAYER), q).backward()
    np.testing.assert_allclose(q.grad.numpy(), expected, rtol=1e-12)
    with jax.disable_jit():
        found = jax.grad(lambda q: linear_cross_entropy(jnp.asarray(X), jnp.asarray(LAYER), q))(jnp.asarray(Q))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # PyTorch's own, for its forward mode
@pytest.mark.parametrize("name", TARGETS)
def test_forward_mode_and_maps_of_layers(name):
    aim = TARGETS[name]
    _, (dx, dw, db), _ = derivatives("torch", by_logits, aim, {"reduction": "sum"})
    given = tuple(torch.tensor(v) for v in (X, LAYER, BIAS))
    steps = tuple(torch.tensor(RNG.normal(size=v.shape)) for v in (X, LAYER, BIAS))
    loss = lambda x, w, b: layer(x, w, b, make("torch", aim), {"reduction": "sum"})  # noqa: E731
    along = torch.func.jvp(loss, given, steps)[1]
    wanted = sum(float((d * s.numpy()).sum()) for d, s in zip((dx, dw, db), steps, strict=True))
    assert along.item() == pytest.approx(wanted, rel=1e-12)
    if name not in ("labels", "mixtures"):
        return
    one = lambda x, aim: linear_cross_entropy(x, given[1], aim, bias=given[2])  # noqa: E731
    each = torch.func.vmap(torch.func.grad(one))(given[0], torch.tensor(aim))
    np.testing.assert_allclose(each.numpy(), dx, rtol=1e-11, atol=1e-14)
    # a layer for each of a batch
    layers = torch.stack([given[1], 2 * given[1]])
    both = torch.func.vmap(lambda w: linear_cross_entropy(given[0], w, torch.tensor(aim)))(layers)
    assert both.tolist() == pytest.approx(
        [linear_cross_entropy(X, LAYER, aim), linear_cross_entropy(X, 2 * LAYER, aim)], rel=1e-13
    )


@pytest.mark.parametrize(
    "op",
    [
        LabelRows(CrossEntropy(K)),
        LabelRows(CrossEntropy(K, 0.0, 0.25)),
        LabelRows(Focal()),
        SoftRows(CrossEntropy(K)),
        SoftRows(Focal()),
        TopKRows(CrossEntropy(K), True),
    ],
    ids=str,
)
def test_a_row_left_out_costs_nothing_in_numpy(op):
    """Nor is it read; the others are what they are alone."""
    x, label, need = X.copy(), Y.copy(), Need(True, True, True)
    x[1], label[1] = np.nan, -1
    more = (
        ()
        if isinstance(op, LabelRows)
        else (Q,)
        if isinstance(op, SoftRows)
        else (few(True)[0].indices, few(True)[0].probs)
    )
    rest = np.arange(N) != 1
    with np.errstate(invalid="ignore"):
        loss, grads = linear_rows.numpy_linear_grads(op, None, need, x, LAYER, BIAS, *more, label)
        np.testing.assert_allclose(linear_rows.numpy_linear(op, x, LAYER, BIAS, *more, label), loss, rtol=1e-14)
    kept = [v[rest] for v in (*more, label)]
    alone, grads_alone = linear_rows.numpy_linear_grads(op, None, need, x[rest], LAYER, BIAS, *kept)
    assert loss[1] == 0
    assert (grads.x[1] == 0).all()
    np.testing.assert_allclose(loss[rest], alone, rtol=1e-14)
    np.testing.assert_allclose(grads.x[rest], grads_alone.x, rtol=1e-12, atol=1e-15)
    for found, wanted in zip(grads[1:], grads_alone[1:], strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-15)
