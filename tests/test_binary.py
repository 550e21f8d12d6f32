"""Losses of yes-or-no answers: the textbook in probabilities by mpmath, the three libraries, and the edges."""

from __future__ import annotations

import functools
import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from xent.autodiff import rows
from xent.functional import binary_cross_entropy, binary_focal_loss, value_and_grad
from xent.losses import CrossEntropy, Focal, GeneralizedCrossEntropy, Poly1
from xent.rows.binary import BinaryRows, OfLogits, OfProbs

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(40)
LIBRARIES = ["numpy", "torch", "jax"]

# name: (formula, what a label of probability p costs, as the papers have it)
TEXTBOOK = {
    "cross-entropy": (CrossEntropy(2), lambda p: -mpmath.log(p)),
    "focal 0": (Focal(0.0), lambda p: -mpmath.log(p)),
    "focal 0.5": (Focal(0.5), lambda p: -mpmath.sqrt(1 - p) * mpmath.log(p)),
    "focal 1": (Focal(1.0), lambda p: -(1 - p) * mpmath.log(p)),
    "focal 2": (Focal(2.0), lambda p: -((1 - p) ** 2) * mpmath.log(p)),
    "poly": (Poly1(1.5), lambda p: -mpmath.log(p) + 1.5 * (1 - p)),
    "poly -1": (Poly1(-1.0), lambda p: -mpmath.log(p) - (1 - p)),
    "generalised": (GeneralizedCrossEntropy(0.75), lambda p: (1 - p ** mpf(0.75)) / mpf(0.75)),
    "generalised 1": (GeneralizedCrossEntropy(1.0), lambda p: 1 - p),
}
ORDINARY = [0.0, 0.5, -0.75, 1.5, -2.0, 3.25, *RNG.uniform(-6, 6, 8).tolist()]
EDGES = [1e-9, -1e-20, 17.0, -30.0, 36.5, -40.0, 100.0, -250.0, 700.0, -700.0]
PROBS = [0.5, 0.25, 0.9, *RNG.uniform(0.02, 0.98, 8).tolist()]
PROB_EDGES = [1e-20, 1e-150, 1e-300, 1e-9, 1 - 2**-30, 1 - 2**-53, 0.999]


@pytest.fixture
def x64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


def tensor(library, x, **options):
    """An array of the library, in float64 if it is a list."""
    x = np.asarray(x, dtype=None if hasattr(x, "dtype") else np.float64)
    if library == "torch":
        return pytest.importorskip("torch").tensor(x, **options)
    return pytest.importorskip("jax.numpy").asarray(x) if library == "jax" else x


def plain(x):
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


def derivatives(library, op, x, yes, no):
    """Values, first and second derivatives in x of a row function, (N,) each; None for what NumPy leaves out."""
    arrays = [tensor(library, v) for v in (x, yes, no)]
    if library == "numpy":
        with np.errstate(all="ignore"):
            return op.value(np, *arrays), op.grads(np, (True, False, False), *arrays)[0], None
    if library == "torch":
        torch = pytest.importorskip("torch")
        z = arrays[0].requires_grad_()
        value = rows(op, z, *arrays[1:])
        (slope,) = torch.autograd.grad(value.sum(), z, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), z) if slope.requires_grad else (torch.zeros_like(z),)
        return plain(value), plain(slope), plain(bend)
    jax = pytest.importorskip("jax")

    def total(z):
        return rows(op, z, *arrays[1:]).sum()

    bend = jax.jvp(jax.grad(total), (arrays[0],), (jax.numpy.ones_like(arrays[0]),))[1]
    return plain(rows(op, *arrays)), plain(jax.grad(total)(arrays[0])), plain(bend)


def close(found, expected, rel, floor=1e-300):
    np.testing.assert_array_less(np.abs(found - expected), rel * np.abs(expected) + floor)


# ---- the truth


@functools.cache
def truth(given, kind, name):
    """Entries, targets and weights, (N,) each, and the loss with two derivatives: a yes, a no and a mixture."""
    points = {"logits": (ORDINARY, EDGES), "probabilities": (PROBS, PROB_EDGES)}[given][kind == "edges"]
    x, y = (v.ravel() for v in np.meshgrid(points, [0.0, 1.0, 0.25]))
    w, cost = np.where(y == 0.25, 2.0, 1.0), TEXTBOOK[name][1]

    def loss(v, y, w):
        p = 1 / (1 + mpmath.exp(-v)) if given == "logits" else v
        return (w * y * cost(p) if y else 0) + (w * (1 - y) * cost(1 - p) if y < 1 else 0)

    # steps of derivatives must stay within (0, 1)
    with mpmath.workdps(60 if kind == "ordinary" else 750):
        cases = [(mpf(v), mpf(a), mpf(b)) for v, a, b in zip(x.tolist(), y.tolist(), w.tolist(), strict=True)]
        rows = [[float(mpmath.diff(lambda v: loss(v, *c[1:]), c[0], n)) for n in (0, 1, 2)] for c in cases]  # noqa: B023
    return x, y, w, np.array(rows).T


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", TEXTBOOK)
@pytest.mark.parametrize("kind", ["ordinary", "edges"])
@pytest.mark.parametrize("given", ["logits", "probabilities"])
def test_against_mpmath(x64, given, kind, name, library):
    """Value, gradient and second derivative."""
    x, y, w, expected = truth(given, kind, name)
    op = BinaryRows((OfLogits if given == "logits" else OfProbs)(TEXTBOOK[name][0]))
    found = derivatives(library, op, x, w * y, w * (1 - y))
    rel = 1e-13 if kind == "ordinary" else 1e-10
    close(found[0], expected[0], rel)
    close(found[1], expected[1], rel)
    if found[2] is None:
        return
    # 1 - p has no second derivative, but is found by a difference of f' and f''
    finite = (np.abs(expected[2]) < 1e300) & (given == "logits" or name != "generalised 1")
    assert (np.isfinite(found[2]) | ~finite).all()
    near = given == "logits" and np.abs(x) < 1e-6  # zeros of the second derivative lie at 0
    floor = np.where(near | np.full(x.shape, kind == "ordinary"), 1e-16, 1e-290)
    close(found[2][finite], expected[2][finite], 100 * rel, floor[finite])


def test_a_confident_answer_keeps_its_digits():
    for library in ("numpy", "torch"):  # JAX has no float64 here
        loss = plain(binary_cross_entropy(tensor(library, [690.0, -690.0]), [1, 0], reduction="none"))
        with mpmath.workdps(700):
            np.testing.assert_allclose(loss, float(-mpmath.log(1 / (1 + mpmath.exp(-690)))), rtol=1e-13)
    assert binary_cross_entropy([1e-300], [0], from_probs=True) == 1e-300


# ---- the rules, written out


def explicit(p, y, cost, of_yes, of_no, samples, e, reduction):
    """Every entry as the mixture of two labels, each with its weight."""
    cost_yes, cost_no = (1 - e / 2) * cost(p) + e / 2 * cost(1 - p), (1 - e / 2) * cost(1 - p) + e / 2 * cost(p)
    loss = samples * (of_yes * y * cost_yes + of_no * (1 - y) * cost_no)
    weight = samples * (of_yes * y + of_no * (1 - y))
    return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / weight.sum()}[reduction]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("e", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", ["", "class", "sample", "both"])
def test_weights_smoothing_temperature_and_reductions(x64, weighted, soft, e, reduction, library):
    z = RNG.normal(size=(5, 3)) * 2
    y = RNG.random((5, 3)) if soft else RNG.integers(0, 2, (5, 3)).astype(float)
    w = RNG.random(3) if weighted in ("class", "both") else None
    samples = RNG.random((5, 1)) if weighted in ("sample", "both") else None
    options = {"label_smoothing": e, "reduction": reduction, "sample_weight": samples, "temperature": 1.7}
    p, s = 1 / (1 + np.exp(-z / 1.7)), 1.0 if samples is None else samples + np.zeros((5, 3))
    s = np.ones((5, 3)) * s
    zt = tensor(library, z)
    found = binary_cross_entropy(zt, y, pos_weight=w, **options)
    expected = explicit(p, y, lambda p: -np.log(p), 1.0 if w is None else w, 1.0, s, e, reduction)
    np.testing.assert_allclose(plain(found), expected, rtol=1e-12)
    found = binary_focal_loss(zt, tensor(library, y), gamma=1.5, alpha=w, **options)
    pair = (1.0, 1.0) if w is None else (w, 1 - w)
    expected = explicit(p, y, lambda p: -((1 - p) ** 1.5) * np.log(p), *pair, s, e, reduction)
    np.testing.assert_allclose(plain(found), expected, rtol=1e-12)
    options.pop("temperature")
    p = 1 / (1 + np.exp(-z))
    found = binary_focal_loss(tensor(library, p), y, gamma=1.5, alpha=w, from_probs=True, **options)
    np.testing.assert_allclose(plain(found), plain(binary_focal_loss(zt, y, gamma=1.5, alpha=w, **options)), rtol=1e-12)


def test_the_focal_loss_of_torchvision():
    """Its example: alpha for a yes and 1 - alpha for a no; its mean is over entries, ours over weights."""
    z, y = RNG.normal(size=20) * 3, RNG.integers(0, 2, 20).astype(float)
    p = 1 / (1 + np.exp(-z))
    p_t, a_t = p * y + (1 - p) * (1 - y), 0.25 * y + 0.75 * (1 - y)
    theirs = -a_t * (1 - p_t) ** 2 * np.log(p_t)
    np.testing.assert_allclose(binary_focal_loss(z, y, alpha=0.25, reduction="none"), theirs, rtol=1e-12)
    assert binary_focal_loss(z, y, alpha=0.25, reduction="sum") / 20 == pytest.approx(theirs.mean(), rel=1e-13)
    assert binary_focal_loss(z, y, alpha=0.25) == pytest.approx(theirs.sum() / a_t.sum(), rel=1e-13)
    assert binary_focal_loss(z, y, gamma=0) == binary_cross_entropy(z, y)


def test_many_labels_with_a_weight_each():
    z, y, w = RNG.normal(size=(6, 4)), RNG.integers(0, 2, (6, 4)), np.array([1.0, 2.0, 0.5, 7.0])
    each = binary_cross_entropy(z, y, pos_weight=w, reduction="none")
    for label in range(4):
        alone = binary_cross_entropy(z[:, label], y[:, label], pos_weight=w[label], reduction="none")
        np.testing.assert_array_equal(each[:, label], alone)
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(z), torch.tensor(y, dtype=torch.float64), pos_weight=torch.tensor(w), reduction="none"
    )
    np.testing.assert_allclose(each, theirs.numpy(), rtol=1e-13)


def test_each_mass_has_its_own_slope():
    """What its answer costs, whichever of the two is asked for; one that is infinite costs nothing without mass."""
    op = BinaryRows(OfProbs(CrossEntropy(2)))
    x, yes, no = np.array([0.25, 0.0]), np.array([1.0, 0.0]), np.array([2.0, 1.0])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(op.value(np, x, yes, no), [math.log(4) + 2 * math.log(4 / 3), 0.0], rtol=1e-15)
        for asked in ((False, True, False), (False, False, True), (True, True, True), (True, False, False)):
            found = op.grads(np, asked, x, yes, no)
            assert tuple(v is not None for v in found) == asked
            for v, wanted in zip(found[1:], ([math.log(4), INF], [math.log(4 / 3), 0.0]), strict=True):
                if v is not None:
                    np.testing.assert_allclose(v, wanted, rtol=1e-15)


def test_the_slope_of_a_certain_mistake():
    """Of 1 - p, at p = 0 and for the other answer at 1, where f' is 0 and what divides it too."""
    op = BinaryRows(OfProbs(GeneralizedCrossEntropy(1.0)))
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = op.grads(np, (True, False, False), np.array([0.0, 1.0]), np.array([1.0, 0.0]), np.array([0.0, 1.0]))[0]
    np.testing.assert_allclose(slope, [-1.0, 1.0], rtol=1e-12)


def test_slopes_of_answers_without_mass_are_finite():
    """They are mixed derivatives, 0 where they are infinite."""
    p, none = np.array([0.0, 1.0, 0.25]), np.zeros(3, bool)
    with np.errstate(divide="ignore"):
        yes, no = OfProbs(CrossEntropy(2)).slopes(np, p, none, none)
    assert yes.tolist() == [0.0, -1.0, -4.0]
    np.testing.assert_allclose(no, [1.0, 0.0, 4 / 3], rtol=1e-15)


# ---- the edge table


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("function", "x", "y", "options", "loss", "slope"),
    [
        (binary_cross_entropy, 0.0, 1, {"from_probs": True}, INF, -INF),
        (binary_cross_entropy, 0.0, 0, {"from_probs": True}, 0.0, 1.0),
        (binary_cross_entropy, 1.0, 0, {"from_probs": True}, INF, INF),
        (binary_cross_entropy, 1.0, 1, {"from_probs": True}, 0.0, -1.0),
        (binary_cross_entropy, 1e-20, 1, {"from_probs": True}, 46.05170185988092, -1e20),
        (binary_cross_entropy, 0.0, 1, {"from_probs": True, "eps": 0.25}, math.log(4), 0.0),
        (binary_cross_entropy, 1.0, 1, {"from_probs": True, "eps": 0.25}, math.log(4 / 3), 0.0),
        (binary_cross_entropy, 0.0, 0, {"from_probs": True, "eps": 0.25}, math.log(4 / 3), 0.0),
        (binary_cross_entropy, 1.0, 0, {"from_probs": True, "eps": 0.25}, math.log(4), 0.0),
        (binary_cross_entropy, 1e4, 0, {}, 1e4, 1.0),
        (binary_cross_entropy, 1e4, 1, {}, 0.0, 0.0),
        (binary_cross_entropy, -1e4, 1, {}, 1e4, -1.0),
        (binary_cross_entropy, INF, 1, {}, 0.0, 0.0),
        (binary_cross_entropy, -INF, 0, {}, 0.0, 0.0),
        (binary_cross_entropy, -INF, 1, {}, INF, -1.0),
        (binary_cross_entropy, INF, 0, {}, INF, 1.0),
        (binary_cross_entropy, INF, 0.75, {}, INF, 0.25),
        (binary_cross_entropy, NAN, 1, {}, NAN, NAN),
        (binary_focal_loss, 100.0, 1, {"gamma": 0.5}, 0.0, 0.0),
        (binary_focal_loss, 17.0, 1, {"gamma": 0.5}, 8.4234634e-12, -1.2635195e-11),
        (binary_focal_loss, -100.0, 1, {"gamma": 2.0}, 100.0, -1.0),
        (binary_focal_loss, -INF, 1, {"gamma": 2.0}, INF, -1.0),
        (binary_focal_loss, INF, 1, {"gamma": 0.5}, 0.0, 0.0),
        (binary_focal_loss, 1.0, 1, {"gamma": 0.5, "from_probs": True}, 0.0, 0.0),
        (binary_focal_loss, 0.0, 1, {"gamma": 2.0, "from_probs": True}, INF, -INF),
        (binary_focal_loss, -100.0, 1, {"gamma": 2.0, "alpha": 0.25, "reduction": "sum"}, 25.0, -0.25),
    ],
)
def test_edges(library, function, x, y, options, loss, slope):
    """In float32, which all three have."""
    given = tensor(library, np.array([x], np.float32))
    value, grads = value_and_grad(function)(given, np.array([y], np.float32), wrt="logits", **options)
    for found, expected in ((plain(value), loss), (plain(grads.logits)[0], slope)):
        if abs(expected) in (0.0, INF):
            assert found == expected or abs(found) < 1e-21
        else:
            np.testing.assert_allclose(found, expected, rtol=4e-6)
    assert not np.signbit(plain(value)) or loss != 0


def test_a_certain_probability_may_have_a_finite_slope():
    """Generalised cross-entropy with q = 1 is 1 - p, also at p = 0; with less it is steep without bound there."""
    for q, slope in ((1.0, -1.0), (0.5, -INF)):
        op = BinaryRows(OfProbs(GeneralizedCrossEntropy(q)))
        (found, *_) = op.grads(np, (True, False, False), *np.array([[0.0], [1.0], [0.0]]))
        assert found[0] == pytest.approx(slope, rel=1e-10)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (binary_cross_entropy, {}),
        (binary_cross_entropy, {"pos_weight": 3.0}),
        (binary_focal_loss, {}),
        (binary_focal_loss, {"alpha": 0.25}),
    ],
)
def test_what_is_left_out_costs_nothing_and_poisons_nothing(function, options, reduction, library):
    z = np.array([NAN, 1.0, INF, -2.0, NAN, -INF], np.float32)
    y = np.array([-100, 1, -100, 0.25, 0, 1], np.float32)
    samples = np.array([1, 2, NAN, 0.5, 0, 0], np.float32)
    kept = np.array([1, 3])
    options = {**options, "reduction": reduction}
    arrays = [tensor(library, v) for v in (z, y, samples)]
    value, grads = value_and_grad(function)(arrays[0], arrays[1], sample_weight=arrays[2], **options)
    expected, slopes = value_and_grad(function)(z[kept], y[kept], sample_weight=samples[kept], **options)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    for found, slope in zip(grads, slopes, strict=True):
        found = plain(found)
        assert not found[[0, 2, 4, 5]].any()
        np.testing.assert_allclose(found[kept], slope, rtol=2e-6)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("function", [binary_cross_entropy, binary_focal_loss])
def test_nothing_kept_is_zero(function, reduction, library):
    z = np.full((2, 3), NAN, np.float32)
    for y, options in (
        (np.full((2, 3), -100), {}),
        (np.full((2, 3), NAN, np.float32), {"sample_weight": np.zeros((2, 1))}),
    ):
        value, grads = value_and_grad(function)(
            tensor(library, z), tensor(library, y), wrt="logits", reduction=reduction, **options
        )
        assert float(value) == 0
        np.testing.assert_array_equal(plain(grads.logits), np.zeros((2, 3)))
    value, grads = value_and_grad(function)(
        tensor(library, np.zeros((0, 3), np.float32)), np.zeros((0, 3), int), reduction=reduction
    )
    assert (float(value), tuple(grads.logits.shape)) == (0, (0, 3))
    assert function([], [], reduction="none").shape == (0,)
    # a class without weight, and nothing but it
    value, grads = value_and_grad(binary_cross_entropy)(
        tensor(library, np.array([-INF, 0.5], np.float32)), [1, 1], pos_weight=0.0, reduction=reduction
    )
    assert float(value) == 0
    np.testing.assert_array_equal(plain(grads.logits), 0)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_weight_of_zero_takes_an_infinite_cost_out_of_the_targets_gradient(library):
    z, y = np.array([-INF, 1.0], np.float32), np.array([0.5, 0.5], np.float32)
    value, grads = value_and_grad(binary_cross_entropy)(
        tensor(library, z), tensor(library, y), pos_weight=0.0, reduction="sum"
    )
    assert float(value) == pytest.approx(0.5 * math.log1p(math.e), rel=1e-6)
    np.testing.assert_allclose(plain(grads.target), [0.0, -math.log1p(math.e)], rtol=1e-6)
    np.testing.assert_allclose(plain(grads.logits), [0.0, 0.5 / (1 + math.exp(-1))], rtol=1e-6)


# ---- gradients


def numeric(f, x, h=1e-6):
    out = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up) - f(down)) / (2 * h)
    return out


@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(
    ("function", "options"),
    [
        (binary_cross_entropy, {"pos_weight": [2.5, 1.0, 0.2]}),
        (binary_cross_entropy, {}),
        (binary_focal_loss, {"gamma": 0.5}),
        (binary_focal_loss, {"gamma": 2.0, "alpha": 0.25}),
    ],
)
def test_gradients_by_finite_differences(function, options, reduction, from_probs):
    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    y = RNG.uniform(0.1, 0.9, (2, 3))
    options = {**options, "reduction": reduction, "label_smoothing": 0.1, "from_probs": from_probs}
    options |= {"sample_weight": RNG.random((2, 3))} | ({} if from_probs else {"temperature": 0.6})
    value, grads = value_and_grad(function)(z, y, **options)
    assert value == function(z, y, **options)
    np.testing.assert_allclose(grads.logits, numeric(lambda v: function(v, y, **options), z), atol=5e-9)
    np.testing.assert_allclose(grads.target, numeric(lambda v: function(z, v, **options), y), atol=5e-9)


FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


@FORWARD_MODE
@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("name", ["cross-entropy", "focal 0.5", "focal 2"])
def test_torch_derivatives(name, reduction, from_probs):
    """Backward, double backward, forward mode, batched; in logits, target and weights."""
    torch = pytest.importorskip("torch")
    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    args = (z, RNG.uniform(0.1, 0.9, (2, 3)), RNG.uniform(0.2, 0.8, 3), RNG.uniform(0.5, 2, (2, 1)))
    args = tuple(torch.tensor(v, requires_grad=True) for v in args)

    def loss(z, y, w, s):
        options = {"sample_weight": s, "reduction": reduction, "label_smoothing": 0.1, "from_probs": from_probs}
        if name == "cross-entropy":
            return binary_cross_entropy(z, y, pos_weight=w, **options)
        return binary_focal_loss(z, y, gamma=float(name.split()[1]), alpha=w, **options)

    torch.autograd.gradcheck(loss, args, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(loss, args, check_fwd_over_rev=True)


@pytest.mark.parametrize("from_probs", [False, True])
def test_mixed_derivatives_where_a_share_is_zero(x64, from_probs):
    """d2l / dx dy is the difference of the two slopes, at labels as at mixtures."""
    torch, jax = pytest.importorskip("torch"), x64
    x, y = np.array([0.25, 0.5, 0.75, 1e-200 if from_probs else 40.0]), np.array([0.0, 1.0, 0.5, 0.0])
    expected = -1 / x - 1 / (1 - x) if from_probs else -np.ones(4)

    def loss(x, y):
        return binary_cross_entropy(x, y, from_probs=from_probs, reduction="sum")

    a, b = (torch.tensor(v, requires_grad=True) for v in (x, y))
    (slope,) = torch.autograd.grad(loss(a, b), a, create_graph=True)
    np.testing.assert_allclose(torch.autograd.grad(slope.sum(), b)[0].numpy(), expected, rtol=1e-14)
    (cost,) = torch.autograd.grad(loss(a, b), b, create_graph=True)
    np.testing.assert_allclose(torch.autograd.grad(cost.sum(), a)[0].numpy(), expected, rtol=1e-14)
    mixed = jax.jacfwd(jax.grad(loss), argnums=1)(jax.numpy.asarray(x), jax.numpy.asarray(y))
    np.testing.assert_allclose(np.diag(mixed), expected, rtol=1e-14)


@FORWARD_MODE
def test_torch_func():
    torch = pytest.importorskip("torch")
    z, y = torch.tensor(RNG.normal(size=(4, 3))), torch.tensor(RNG.random((4, 3)))

    def loss(z, y):
        return binary_focal_loss(z, y, gamma=1.5, alpha=0.3)

    each = torch.func.vmap(torch.func.grad(loss))(z, y)
    hessians = torch.func.vmap(torch.func.hessian(loss))(z, y)
    for i in range(4):
        row = z[i].clone().requires_grad_()
        torch.testing.assert_close(each[i], torch.autograd.grad(loss(row, y[i]), row)[0])
        torch.testing.assert_close(hessians[i], torch.autograd.functional.hessian(lambda v: loss(v, y[i]), row))  # noqa: B023
    value, along = torch.func.jvp(lambda v: loss(v, y), (z,), (torch.ones_like(z),))
    torch.testing.assert_close(value, loss(z, y))
    torch.testing.assert_close(along, torch.func.grad(lambda v: loss(v, y))(z).sum())


@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("name", ["cross-entropy", "focal 0.5", "focal 2"])
def test_jax_derivatives(x64, name, from_probs):
    jax, jnp = x64, x64.numpy
    from jax.test_util import check_grads

    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    z, y, w = (jnp.asarray(v) for v in (z, RNG.uniform(0.1, 0.9, (2, 3)), RNG.uniform(0.2, 0.8, 3)))

    def loss(z, y, w):
        options = {"label_smoothing": 0.1, "from_probs": from_probs}
        if name == "cross-entropy":
            return binary_cross_entropy(z, y, pos_weight=w, **options)
        return binary_focal_loss(z, y, gamma=float(name.split()[1]), alpha=w, **options)

    check_grads(jax.jit(loss), (z, y, w), order=2, modes=["fwd", "rev"], eps=1e-5)
    np.testing.assert_allclose(jax.jit(loss)(z, y, w), loss(z, y, w), rtol=1e-14)
    for mapped in (jax.vmap(jax.grad(loss), (0, 0, None)), jax.jit(jax.vmap(jax.grad(loss), (0, 0, None)))):
        np.testing.assert_allclose(mapped(z, y, w)[1], jax.grad(loss)(z[1], y[1], w), rtol=1e-13)
    hessian = np.asarray(jax.hessian(loss)(z[0], y[0], w))
    assert np.count_nonzero(hessian) == 3
    _, along = jax.jvp(lambda v: loss(v, y, w), (z,), (jnp.ones_like(z),))
    np.testing.assert_allclose(along, jax.grad(loss)(z, y, w).sum(), rtol=1e-12)


def test_the_three_libraries_agree(x64):
    z, y = RNG.normal(size=(4, 3)) * 3, RNG.random((4, 3))
    options = {"sample_weight": RNG.random((4, 1)), "label_smoothing": 0.1}
    for function, own in ((binary_cross_entropy, {"pos_weight": RNG.random(3)}), (binary_focal_loss, {"alpha": 0.4})):
        expected, grads = value_and_grad(function)(z, y, **own, **options)
        for library in ("torch", "jax"):
            value, found = value_and_grad(function)(tensor(library, z), tensor(library, y), **own, **options)
            assert float(value) == pytest.approx(expected, rel=1e-13)
            for name in ("logits", "target"):
                np.testing.assert_allclose(plain(getattr(found, name)), getattr(grads, name), rtol=1e-12, atol=1e-17)


# ---- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_no_worse_than_torch_in_the_same_dtype(dtype):
    torch = pytest.importorskip("torch")
    own = getattr(torch, dtype)
    z = (torch.randn(2000, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 8).to(own)
    y = torch.tensor(RNG.integers(0, 2, 2000)).to(own)
    true, slope = value_and_grad(binary_cross_entropy)(z.double().numpy(), y.double().numpy(), wrt="logits")
    each = binary_cross_entropy(z.double().numpy(), y.double().numpy(), reduction="none")
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(z.requires_grad_(), y, reduction="none")
    (their_slope,) = torch.autograd.grad(theirs.double().mean(), z)
    off = np.abs(theirs.detach().double().numpy() - each)
    slope_off = np.abs(their_slope.double().numpy() - slope.logits)
    found = {"torch": (z, y)}
    if dtype != "bfloat16":
        found["numpy"] = (z.detach().numpy(), y.numpy())
    jnp = pytest.importorskip("jax.numpy")
    found["jax"] = tuple(jnp.asarray(v.detach().float().numpy()).astype(dtype) for v in (z, y))
    for library, (a, b) in found.items():
        loss = binary_cross_entropy(a, b, reduction="none")
        assert str(loss.dtype).endswith("float32"), library
        loss = plain(loss).astype(float)
        assert (np.abs(loss - each) <= off + 2e-7 * each).all(), library
        assert np.abs(loss - each).mean() <= off.mean() * 1.01
        value, grads = value_and_grad(binary_cross_entropy)(a, b, wrt="logits")
        assert str(grads.logits.dtype).endswith(dtype)
        own = grads.logits.detach().double().numpy() if library == "torch" else np.asarray(grads.logits).astype(float)
        own_off = np.abs(own - slope.logits)  # the means compare; the largest of 2000 goes either way
        assert own_off.mean() <= slope_off.mean() * 1.001
        assert own_off.max() <= slope_off.max() * 1.2 + 1e-20
        assert float(value) == pytest.approx(true, rel=1e-6)


def test_dtypes_and_kinds_that_mix():
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    z, y = [0.5, -1.0, 2.0], [1, 0, 1]
    expected = binary_cross_entropy(z, y, sample_weight=[1, 2, 3], pos_weight=2)
    assert expected.dtype == np.float64
    for logits in (torch.tensor(z), torch.tensor(z, dtype=torch.float64), jnp.asarray(z)):
        for target in (
            y,
            np.array(y),
            np.array(y, bool),
            torch.tensor(y) if torch.is_tensor(logits) else jnp.asarray(y),
        ):
            found = binary_cross_entropy(logits, target, sample_weight=[1, 2, 3], pos_weight=np.array(2.0))
            assert found.dtype == logits.dtype
            assert float(found) == pytest.approx(expected, rel=1e-6)
    assert binary_cross_entropy(np.array(z, np.float16), y).dtype == np.float32
    with pytest.raises(TypeError, match="arrays of different libraries: logits is PyTorch, target is JAX"):
        binary_cross_entropy(torch.tensor(z), jnp.asarray(y))


# ---- bad input


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([0.0, 1.0], [0, 1, 1], {}, r"must have the same shape: \(2,\) and \(3,\)"),
        ([0.0, 1.0], [0, 2], {}, r"target must be in \[0, 1\] \(or -100 to leave an entry out\): row 1 is 2"),
        ([[0.0, 1.0]], [[0.5, NAN]], {}, r"target must be in \[0, 1\] .* row \(0, 1\) is nan"),
        (
            [1.5, 0.5],
            [1, 1],
            {"from_probs": True},
            r"probabilities must be in \[0, 1\]: row 0 is 1.5. If these are log",
        ),
        ([0.5, NAN], [1, 1], {"from_probs": True}, "row 1 is nan"),
        ([0.5], [1], {"pos_weight": -1.0}, "pos_weight must be finite and not negative: entry 0 is -1.0"),
        ([0.5], [1], {"pos_weight": [1.0, 2.0]}, r"pos_weight has the shape \(2,\), which does not fit \(1,\)"),
        ([0.5], [1], {"sample_weight": [INF]}, "sample_weight must be finite"),
        ([0.5], [1], {"label_smoothing": 2}, r"label_smoothing must be in \[0, 1\], not 2"),
        ([0.5], [1], {"reduction": "avg"}, "reduction must be one of 'none', 'mean', 'sum'"),
        ([0.5], [1], {"eps": 0.1}, "goes with from_probs=True"),
        ([0.5], [1], {"eps": 0.5, "from_probs": True}, r"eps must be in \[0, 0.5\), not 0.5"),
        ([0.5], [1], {"temperature": 0.0}, "temperature must be a finite number above 0, not 0.0"),
        ([0.5], [1], {"temperature": 2.0, "from_probs": True}, "temperature needs logits"),
    ],
)
def test_bad_input(library, x, y, options, message):
    with pytest.raises(ValueError, match=message):
        binary_cross_entropy(tensor(library, np.array(x, np.float32)), y, **options)


def test_bad_input_to_the_focal_loss():
    with pytest.raises(ValueError, match="gamma must be a finite number >= 0, not -1"):
        binary_focal_loss([0.0], [1], gamma=-1)
    with pytest.raises(ValueError, match=r"alpha must be in \[0, 1\], not 1.5"):
        binary_focal_loss([0.0], [1], alpha=1.5)
    with pytest.raises(TypeError, match="logits must be real numbers"):
        binary_focal_loss([1j], [1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'pos_weight'"):
        binary_focal_loss([0.0], [1], pos_weight=2)


def test_what_a_traced_call_cannot_refuse_is_nan():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    z, y = np.array([0.5, 0.5, 0.5], np.float32), np.array([1, 2, -100], np.float32)
    expected = [math.log1p(math.exp(-0.5)), NAN, 0.0]
    jitted = jax.jit(lambda a, b: binary_cross_entropy(a, b, reduction="none"))
    np.testing.assert_allclose(jitted(z, y), expected, rtol=1e-6)
    mapped = torch.func.vmap(lambda a, b: binary_cross_entropy(a, b, reduction="none"))
    np.testing.assert_allclose(mapped(torch.tensor(z), torch.tensor(y)), expected, rtol=1e-6)
    probs = jax.jit(lambda a, b: binary_cross_entropy(a, b, reduction="none", from_probs=True))
    np.testing.assert_allclose(probs(np.array([0.5, 1.5]), np.array([1, 1])), [math.log(2), NAN], rtol=1e-6)

    def loss(a):
        return binary_cross_entropy(a, y, reduction="sum")

    assert np.isnan(jax.jit(jax.grad(loss))(z)[1])
    with pytest.raises(ValueError, match="row 1 is 2"):  # here it can be read
        jax.grad(loss)(jax.numpy.asarray(z))
