"""The softmax losses: formulas by `xent.testing.check_loss`, and the public functions, option by option, against mpmath."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import loss_truth
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
    hvp,
    linear_cross_entropy,
    poly_loss,
    value_and_grad,
)
from xent.losses import CrossEntropy, Focal, GeneralizedCrossEntropy, Poly1
from xent.rows import linear as linear_rows
from xent.testing import ROWS, check_loss


def plain(p):
    return -mpmath.log(p)


def focal(gamma):
    return lambda p: -((1 - p) ** mpf(gamma)) * mpmath.log(p)


def poly(epsilon):
    return lambda p: -mpmath.log(p) + mpf(epsilon) * (1 - p)


def generalized(q):
    return lambda p: -mpmath.log(p) if q == 0 else (1 - p ** mpf(q)) / mpf(q)


@pytest.fixture(autouse=True)
def in_float64():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


# ---- formulas: by themselves and on the table of rows

FORMULAS = {
    "CE": (CrossEntropy(1), plain),
    "CE, z-loss": (CrossEntropy(1, 0.0, 0.125), plain),
    "CE, smoothing": (CrossEntropy(1, 0.125), plain),
    "CE, all smoothing": (CrossEntropy(1, 1.0), plain),
    "CE, smoothing and z-loss": (CrossEntropy(1, 0.25, 0.01), plain),
    **{f"focal {g}": (Focal(g), focal(g)) for g in (0.0, 0.5, 1.0, 2.0, 5.0)},
    "focal, smoothing": (Focal(0.5, 0.125), focal(0.5)),
    **{f"poly {e}": (Poly1(e), poly(e)) for e in (-1.0, -0.75, -0.5, 1.0, 2.0)},
    "poly, smoothing": (Poly1(-1.0, 0.125), poly(-1)),
    **{f"generalised {q}": (GeneralizedCrossEntropy(q), generalized(q)) for q in (0.0, 0.3, 0.7, 1.0)},
    "generalised, smoothing": (GeneralizedCrossEntropy(0.7, 0.125), generalized(0.7)),
}
# the whole table for one of each kind; elsewhere what is random is left out
WHOLE = ("CE", "CE, smoothing", "focal 0.5", "poly -1.0", "generalised 0.7")
EDGES = {name: row for name, row in ROWS.items() if "classes" not in name and len(row[0]) <= 70}
IN_JAX = ("CE, smoothing and z-loss", "focal 0.5", "poly -1.0", "generalised 0.7")


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    check_loss(*FORMULAS[name], kinds=["numpy", "torch"], rows=None if name in WHOLE else EDGES)


@pytest.mark.parametrize("name", IN_JAX)
def test_formulas_in_jax(name):
    check_loss(*FORMULAS[name], kinds=["jax"], dtypes=["float64"], rows=EDGES)


def test_formulas_compiled():
    few = {name: EDGES[name] for name in ("ties", "confident", "very confident", "confident and wrong")}
    check_loss(*FORMULAS["focal 0.5"], kinds=["jax"], dtypes=["float32"], rows=few, compiled=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrossEntropy(2, -0.1), r"label_smoothing must be in \[0, 1\], not -0.1"),
        (lambda: CrossEntropy(2, 1.5), "label_smoothing"),
        (lambda: CrossEntropy(2, 0.0, -1.0), "z_loss must be a finite number >= 0, not -1"),
        (lambda: CrossEntropy(2, 0.0, float("inf")), "z_loss"),
        (lambda: CrossEntropy(2, 0.0, float("nan")), "z_loss"),
        (lambda: Focal(-0.5), "gamma must be a finite number >= 0, not -0.5"),
        (lambda: Focal(float("nan")), "gamma"),
        (lambda: Focal(float("inf")), "gamma"),
        (lambda: Focal(2.0, 1.5), "label_smoothing"),
        (lambda: Poly1(-1.5), "epsilon must be a finite number >= -1 .*, not -1.5"),
        (lambda: Poly1(float("inf")), "epsilon"),
        (lambda: Poly1(1.0, 1.5), "label_smoothing"),
        (lambda: GeneralizedCrossEntropy(1.5), r"q must be in \[0, 1\], not 1.5"),
        (lambda: GeneralizedCrossEntropy(-0.5), "q must be"),
        (lambda: GeneralizedCrossEntropy(0.5, -0.5), "label_smoothing"),
    ],
)
def test_options_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- public functions, in NumPy, PyTorch and JAX

KINDS = ("numpy", "torch", "jax")
RNG = np.random.default_rng(7)
N, K = 4, 5
Z = np.round(RNG.normal(size=(N, K)) * 3, 3)
Y = np.array([3, 0, 4, 1])
Q = RNG.multinomial(1024, RNG.dirichlet(np.ones(K), N)) / 1024
W = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
SAMPLE = np.array([1.0, 0.25, 0.0, 2.5])
PRIOR = np.array([5.0, 1.0, 0.25, 30.0, 2.0])
MASK = np.array([True, True, False, True, True])
MASKS = np.array([[True] * 5, [True, True, False, True, False], [False, True, True, True, True], [True, True, True, True, False]])
V = RNG.normal(size=(N, K))
FUNCTIONS = {
    "CE": (cross_entropy, {}, plain),
    "focal": (focal_loss, {"gamma": 0.5}, focal(0.5)),
    "focal 2": (focal_loss, {}, focal(2)),
    "poly": (poly_loss, {"epsilon": -1.0}, poly(-1)),
    "generalised": (generalized_cross_entropy, {"q": 0.7}, generalized(0.7)),
}
OPTIONS = {
    "none": {},
    "sum": {"reduction": "sum"},
    "smoothing": {"label_smoothing": 0.3},
    "all smoothing": {"label_smoothing": 1.0},
    "class weights": {"weight": W},
    "class weights and smoothing": {"weight": W, "label_smoothing": 0.3},
    "sample weights": {"sample_weight": SAMPLE},
    "all weights": {"weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2},
    "temperature": {"temperature": 2.5},
    "softcap": {"softcap": 2.0},
    "prior": {"prior": PRIOR},
    "mask": {"mask": MASK},
    "masks of rows, smoothing": {"mask": MASKS, "label_smoothing": 0.25},
    "everything": {
        "weight": W,
        "sample_weight": SAMPLE,
        "label_smoothing": 0.1,
        "temperature": 0.5,
        "softcap": 30.0,
        "prior": PRIOR,
        "mask": MASKS,
        "reduction": "sum",
    },
}
ONLY_CE = {
    "z-loss": {"z_loss": 0.25},
    "confidence penalty": {"confidence_penalty": 0.5},
    "z-loss, weights and smoothing": {"z_loss": 0.1, "weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2},
    "all of it": {
        "z_loss": 0.1,
        "confidence_penalty": 0.5,
        "weight": W,
        "sample_weight": SAMPLE,
        "label_smoothing": 0.2,
        "temperature": 2.0,
        "softcap": 5.0,
        "prior": PRIOR,
        "mask": MASKS,
    },
}
CASES = [(name, o) for name in FUNCTIONS for o in (OPTIONS if name in ("CE", "focal") else ("none", "all weights", "everything"))]
CASES += [("CE", o) for o in ONLY_CE]
TRUTH_NAMES = {"label_smoothing": "smoothing", "sample_weight": "sample", "confidence_penalty": "penalty"}


def targets(soft, options):
    """A target that the masks allow, and what it is as probabilities."""
    if not soft:
        return Y, np.eye(K)[Y]
    kept = np.broadcast_to(options.get("mask", True), (N, K))
    q = np.where(kept, Q, 0)
    q[:, 3] += 1 - q.sum(axis=1)  # which every mask keeps
    return q, q


def make(kind, x):
    """A NumPy array in a library."""
    if not isinstance(x, np.ndarray):
        return x
    return {"numpy": lambda: x, "torch": lambda: torch.tensor(x), "jax": lambda: jnp.asarray(x)}[kind]()


def derivatives(kind, function, z, target, options, v):
    """Value, gradient and the Hessian's product as the library gives them."""
    options = {k: make(kind, x) for k, x in options.items()}
    target = make(kind, target)
    if kind == "numpy":
        value, grads = value_and_grad(function)(z, target, wrt="logits", **options)
        if options.get("softcap") or options.get("confidence_penalty"):
            return value, grads.logits, None
        return value, grads.logits, hvp(function)(z, target, vector=v, **options)
    if kind == "torch":
        a = torch.tensor(z, requires_grad=True)
        value = function(a, target, **options)
        (once,) = torch.autograd.grad(value, a, retain_graph=True)
        (grad,) = torch.autograd.grad(value, a, create_graph=True)
        np.testing.assert_allclose(once.numpy(), grad.detach().numpy(), rtol=1e-12, atol=1e-15)
        (product,) = torch.autograd.grad((grad * torch.tensor(v)).sum(), a)
        return value.item(), grad.detach().numpy(), product.numpy()
    with jax.disable_jit():
        value, grad = jax.value_and_grad(lambda a: function(a, target, **options))(jnp.asarray(z))
        product = jax.jvp(jax.grad(lambda a: function(a, target, **options)), (jnp.asarray(z),), (jnp.asarray(v),))[1]
        return float(value), np.asarray(grad), np.asarray(product)


@pytest.mark.parametrize("soft", [False, True], ids=["labels", "mixtures"])
@pytest.mark.parametrize(("name", "which"), CASES, ids=lambda v: v)
def test_public_functions(name, which, soft):
    function, own, f = FUNCTIONS[name]
    options = {**OPTIONS, **ONLY_CE}[which]
    target, q = targets(soft, options)
    named = {TRUTH_NAMES.get(k, k): x for k, x in options.items()}
    value, grad, product = loss_truth.truth(Z, q, f, V, **named)
    assert value != 0
    for kind in KINDS:
        found, gradient, curved = derivatives(kind, function, Z, target, {**own, **options}, V)
        assert found == pytest.approx(value, rel=1e-13), kind
        np.testing.assert_allclose(gradient, grad, rtol=1e-12, atol=1e-13 * np.abs(grad).max(), err_msg=kind)
        if curved is not None:
            np.testing.assert_allclose(curved, product, rtol=1e-11, atol=1e-12 * np.abs(product).max(), err_msg=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_are_of_the_same_rows(kind):
    options = {"weight": W, "sample_weight": SAMPLE, "label_smoothing": 0.2}
    z, y, given = make(kind, Z), make(kind, Y), {k: make(kind, x) for k, x in options.items()}
    rows = np.asarray(cross_entropy(z, y, reduction="none", **given))
    size = W[Y] * SAMPLE
    assert rows.shape == (N,)
    assert float(cross_entropy(z, y, reduction="sum", **given)) == pytest.approx(rows.sum(), rel=1e-14)
    assert float(cross_entropy(z, y, **given)) == pytest.approx(rows.sum() / size.sum(), rel=1e-14)
    cube = np.asarray(cross_entropy(make(kind, Z.reshape(2, 2, K)), make(kind, Y.reshape(2, 2)), reduction="none"))
    np.testing.assert_allclose(cube.ravel(), np.asarray(cross_entropy(z, y, reduction="none")), rtol=1e-15)


# ---- targets


def top(spread):
    """A few classes, and the same target in full."""
    index = np.array([[3, 1], [0, 4], [2, 0], [1, 3]])
    probs = np.array([[0.5, 0.25], [0.125, 0.5], [1.0, 0.0], [0.0, 0.75]]) if spread else np.array(
        [[0.5, 0.5], [0.125, 0.875], [1.0, 0.0], [0.0, 1.0]]
    )
    dense = np.repeat(((1 - probs.sum(axis=1)) / (K - 2))[:, None], K, axis=1)
    np.put_along_axis(dense, index, probs, axis=1)
    return index, probs, dense


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_few_classes_are_the_target_they_say(name, spread, kind):
    function, own, _ = FUNCTIONS[name]
    index, probs, dense = top(spread)
    options = {**own, "sample_weight": SAMPLE, "temperature": 1.5, "prior": PRIOR}
    few = TopK(make(kind, index), make(kind, probs), rest="spread" if spread else "zero")
    if spread and name != "CE":
        with pytest.raises(ValueError, match='rest="spread" is there for cross_entropy only'):
            function(make(kind, Z), few, **own)
        return
    found = derivatives(kind, function, Z, few, options, V)
    for a, b in zip(found, derivatives("numpy", function, Z, dense, options, V), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{"z_loss": 0.25, "confidence_penalty": 0.5}, {"weight": W}], ids=["terms", "weights"])
def test_a_few_classes_with_more_options(options, kind):
    index, probs, dense = top(False)
    few = TopK(make(kind, index), make(kind, probs))
    found = derivatives(kind, cross_entropy, Z, few, options, V)
    for a, b in zip(found, derivatives("torch", cross_entropy, Z, dense, options, V), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("spread", [False, True])
def test_the_gradient_in_the_probabilities_of_a_few_classes(spread):
    """Along directions that keep their sums."""
    index, probs, _ = top(spread)
    rest = "spread" if spread else "zero"
    step = np.array([[1.0, -1.0], [0.5, -0.5], [-2.0, 2.0], [0.25, -0.25]])
    q = torch.tensor(probs, requires_grad=True)
    cross_entropy(torch.tensor(Z), TopK(torch.tensor(index), q, rest)).backward()
    by_jax = jax.grad(lambda q: cross_entropy(jnp.asarray(Z), TopK(jnp.asarray(index), q, rest)))(jnp.asarray(probs))
    inner = np.clip(probs, 0.01, 0.99) * (1.0 if spread else 1.0)
    inner = inner / inner.sum(axis=1, keepdims=True) * probs.sum(axis=1, keepdims=True)
    change = cross_entropy(Z, TopK(index, inner + 1e-3 * step, rest)) - cross_entropy(Z, TopK(index, inner, rest))
    assert float((q.grad.numpy() * step).sum()) * 1e-3 == pytest.approx(change, rel=1e-10)  # it is linear
    np.testing.assert_allclose(np.asarray(by_jax), q.grad.numpy(), rtol=1e-13)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_in_a_mixture(name):
    """What each label would cost, in all libraries, where its probability is 0 too."""
    function, own, f = FUNCTIONS[name]
    q = Q.copy()
    q[0] = [0, 0, 0.5, 0.5, 0]
    options = {**own, "reduction": "sum", "label_smoothing": 0.2}
    costs = np.empty((N, K))
    for i in range(N):
        for j in range(K):
            costs[i, j] = loss_truth.truth(Z[i : i + 1], np.eye(K)[j : j + 1], f, smoothing=0.2, reduction="sum")[0]
    found = value_and_grad(function)(Z, q, wrt="target", **options)[1].target
    t = torch.tensor(q, requires_grad=True)
    function(torch.tensor(Z), t, **options).backward()
    with jax.disable_jit():
        j = jax.grad(lambda q: function(jnp.asarray(Z), q, **options))(jnp.asarray(q))
    for gradient in (found, t.grad.numpy(), np.asarray(j)):
        np.testing.assert_allclose(gradient, costs, rtol=1e-13)


def test_weights_can_be_differentiated_in():
    """Of samples and classes, by PyTorch and JAX, through the divisor of the mean too."""
    w, s = torch.tensor(W, requires_grad=True), torch.tensor(SAMPLE + 1, requires_grad=True)
    options = {"label_smoothing": 0.2}
    cross_entropy(torch.tensor(Z), torch.tensor(Y), weight=w, sample_weight=s, **options).backward()
    with jax.disable_jit():
        by_jax = jax.grad(lambda w, s: cross_entropy(jnp.asarray(Z), jnp.asarray(Y), weight=w, sample_weight=s, **options), (0, 1))(
            jnp.asarray(W), jnp.asarray(SAMPLE + 1)
        )
    for given, gradient, other in zip((W, SAMPLE + 1), (w.grad, s.grad), by_jax, strict=True):
        wanted = np.empty(len(given))
        for i in range(len(given)):
            if given is W and W[i] == 0:  # a row without weight is left out: no slope to compare
                wanted[i] = gradient[i]
                continue
            up, down = given.copy(), given.copy()
            up[i] += 1e-5
            down[i] -= 1e-5
            pairs = [(v, SAMPLE + 1) if given is W else (W, v) for v in (up, down)]
            a, b = (cross_entropy(Z, Y, weight=w_, sample_weight=s_, **options) for w_, s_ in pairs)
            wanted[i] = (a - b) / 2e-5
        np.testing.assert_allclose(gradient.numpy(), wanted, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(np.asarray(other), gradient.numpy(), rtol=1e-12, atol=1e-15)


# ---- a linear layer, whose logits are never stored

X, LAYER, BIAS = RNG.normal(size=(N, 3)), RNG.normal(size=(K, 3)), RNG.normal(size=K)
LINEAR = {
    "none": {},
    "sum": {"reduction": "sum"},
    "smoothing": {"label_smoothing": 0.3},
    "weights": {"weight": W, "sample_weight": SAMPLE},
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


def layer_derivatives(kind, function, arrays, target, options, v):
    """Value, gradients in x, w and bias, and the Hessian's product in x, of a function of these and the target."""
    options = {k: make(kind, x) for k, x in options.items()}
    if kind == "numpy":
        value, grads = value_and_grad(linear_cross_entropy)(
            arrays[0], arrays[1], target, bias=arrays[2], wrt=("x", "w", "bias"), **options
        )
        return value, tuple(grads), None
    if kind == "torch":
        leaves = [torch.tensor(x, requires_grad=True) for x in arrays]
        value = function(*leaves, make(kind, target), options)
        once = torch.autograd.grad(value, leaves, retain_graph=True)
        grads = torch.autograd.grad(value, leaves, create_graph=True)
        for a, b in zip(once, grads, strict=True):
            np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-14)
        (product,) = torch.autograd.grad((grads[0] * torch.tensor(v)).sum(), leaves[0])
        return value.item(), [g.detach().numpy() for g in grads], product.numpy()
    with jax.disable_jit():
        given = tuple(jnp.asarray(x) for x in arrays)
        value, grads = jax.value_and_grad(lambda x, w, b: function(x, w, b, make(kind, target), options), (0, 1, 2))(*given)
        slope = jax.grad(lambda x: function(x, *given[1:], make(kind, target), options))
        product = jax.jvp(slope, given[:1], (jnp.asarray(v),))[1]
        return float(value), [np.asarray(g) for g in grads], np.asarray(product)


def layer(x, w, b, target, options):
    return linear_cross_entropy(x, w, target, bias=b, **options)


def by_logits(x, w, b, target, options):
    return cross_entropy(x @ w.T + b, target, **options)


@pytest.mark.parametrize("tiled", [False, True], ids=["", "tiled"])
@pytest.mark.parametrize("target", ["labels", "mixtures", "few", "few, spread"])
@pytest.mark.parametrize("which", LINEAR)
def test_a_linear_layer_is_the_loss_of_its_logits(which, target, tiled, monkeypatch):
    options = LINEAR[which]
    if target.startswith("few") and "label_smoothing" in options or target == "few, spread" and "weight" in options:
        pytest.skip("not offered")
    if tiled:  # two rows at a time
        monkeypatch.setattr(linear_rows, "TILE", 2 * K)
        monkeypatch.setattr("xent.autodiff._jax.TILE", 2 * K)
    index, probs, _ = top(target == "few, spread")
    rest = "spread" if target == "few, spread" else "zero"
    v = RNG.normal(size=X.shape)

    def aim(kind):
        if target == "labels":
            return Y
        if target == "mixtures":
            return Q
        return TopK(make(kind, index), make(kind, probs), rest)

    true = layer_derivatives("torch", by_logits, (X, LAYER, BIAS), aim("torch"), options, v)
    for kind in KINDS:
        if kind == "jax" and not tiled and which not in ("none", "everything"):
            continue
        value, grads, product = layer_derivatives(kind, layer, (X, LAYER, BIAS), aim(kind), options, v)
        assert value == pytest.approx(true[0], rel=1e-13), kind
        for name, a, b in zip(("x", "w", "bias"), grads, true[1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13, err_msg=f"{name}, {kind}")
        if product is not None:
            np.testing.assert_allclose(product, true[2], rtol=1e-10, atol=1e-12, err_msg=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_linear_layer_without_bias_and_with_rows_left_out(kind):
    x, y = X.copy(), Y.copy()
    x[2], y[2] = np.nan, -100
    kept = [0, 1, 3]
    expected = value_and_grad(linear_cross_entropy)(X[kept], LAYER, Y[kept])
    value, grads = value_and_grad(linear_cross_entropy)(make(kind, x), make(kind, LAYER), make(kind, y))
    assert float(value) == pytest.approx(float(expected[0]), rel=1e-14)
    np.testing.assert_allclose(np.asarray(grads.w), expected[1].w, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(np.asarray(grads.x)[kept], expected[1].x, rtol=1e-12, atol=1e-15)
    assert (np.asarray(grads.x)[2] == 0).all()


def test_the_target_of_a_linear_layer_can_be_differentiated_in():
    expected = value_and_grad(linear_cross_entropy)(X, LAYER, Q, wrt="target")[1].target
    q = torch.tensor(Q, requires_grad=True)
    linear_cross_entropy(torch.tensor(X), torch.tensor(LAYER), q).backward()
    np.testing.assert_allclose(q.grad.numpy(), expected, rtol=1e-12)
    found = jax.grad(lambda q: linear_cross_entropy(jnp.asarray(X), jnp.asarray(LAYER), q))(jnp.asarray(Q))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-12)


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
    np.testing.assert_allclose(product.numpy(), hvp(function)(Z, Y, vector=V, reduction="sum", **own), rtol=1e-11, atol=1e-14)


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
