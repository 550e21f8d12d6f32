"""Cross-entropy of ordered labels: the textbook in probabilities by mpmath, the three libraries, and the edges."""

from __future__ import annotations

import functools
import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from xent.autodiff import rows
from xent.functional import binary_cross_entropy, value_and_grad
from xent.functional.ordinal import ordinal_cross_entropy, read_ordinal
from xent.rows.normal import mills
from xent.rows.ordinal import LINKS

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(50)
LIBRARIES = ["numpy", "torch", "jax"]
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")

# 1 - F, which keeps its digits above, F, and F'
TEXTBOOK = {
    "logit": (
        lambda x: 1 / (1 + mpmath.exp(x)),
        lambda x: 1 / (1 + mpmath.exp(-x)),
        lambda x: mpmath.exp(-x) / (1 + mpmath.exp(-x)) ** 2,
    ),
    "probit": (lambda x: mpmath.ncdf(-x), mpmath.ncdf, mpmath.npdf),
    "cloglog": (
        lambda x: mpmath.exp(-mpmath.exp(x)),
        lambda x: -mpmath.expm1(-mpmath.exp(x)),
        lambda x: mpmath.exp(x - mpmath.exp(x)),
    ),
}


def truth(link, score, lower, upper):
    """The loss and its derivatives in score, lower and upper."""
    above, below, density = TEXTBOOK[link]
    a = -mpmath.inf if lower == -INF else mpf(lower) - mpf(score)
    b = mpmath.inf if upper == INF else mpf(upper) - mpf(score)
    at_a, at_b = (mpf(0) if mpmath.isinf(v) else density(v) for v in (a, b))
    if mpmath.isinf(a):
        P = below(b)
    elif mpmath.isinf(b):
        P = above(a)
    else:
        P = above(a) - above(b) if a + b > 0 else below(b) - below(a)
    return [-mpmath.log(P), (at_b - at_a) / P, at_a / P, -at_b / P]


def ordinary(link):
    """(score, lower, upper): every number a multiple of 1/64, so that differences are exact."""
    found = []
    for _ in range(40):
        score, lower = (round(64 * v) / 64 for v in RNG.normal(size=2))
        found.append((score, lower, lower + RNG.integers(4, 200) / 64))
        found += [(score, -INF, lower), (score, lower, INF)]
    return found


def edges(link):
    far = {"logit": 30, "probit": 8, "cloglog": 3}[link]
    most = {"logit": 700, "probit": 1000, "cloglog": 6}[link]
    found = []
    for at in (0.0, 1.5, -1.5, far, -far, most, -most, *([-700.0] if link == "cloglog" else [])):
        found += [(-at, 0.0, width) for width in (2.0**-40, 2.0**-20, 0.125, 3.0, 40.0)]
        found += [(-at, -width, 0.0) for width in (2.0**-40, 2.0**-20, 0.125, 3.0, 40.0)]
        found += [(-at, 0.0, INF), (-at, -INF, 0.0)]
    # next to where one way of computing gives way to another
    found += [(0.0, a, a + w) for a in (0.0, -0.125, 0.5) for w in (1.0, 1.25, 1.5, 1.515625)]
    found += [(0.0, -INF, v) for v in (-69.0, -69.5, -1.375, -1.390625, 2.0)]
    return found


@functools.cache
def table(kind, link):
    """Points, and the loss and its three derivatives at each (4, N)."""
    points = kind(link)
    with mpmath.workdps(60 if kind is ordinary else 350):
        return points, np.array([[float(v) for v in truth(link, *p)] for p in points]).T


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


def derivatives(library, link, points):
    """Value and slopes in score, lower and upper, each (N,)."""
    arrays, op = [tensor(library, list(v)) for v in zip(*points, strict=True)], LINKS[link]
    if library == "numpy":
        with np.errstate(all="ignore"):
            return [op.value(np, *arrays), *op.grads(np, (True, True, True), *arrays)]
    if library == "torch":
        torch = pytest.importorskip("torch")
        arrays = [v.requires_grad_() for v in arrays]
        value = rows(op, *arrays)
        return [plain(value), *(plain(v) for v in torch.autograd.grad(value.sum(), arrays))]
    jax = pytest.importorskip("jax")
    slopes = jax.grad(lambda *v: rows(op, *v).sum(), argnums=(0, 1, 2))(*arrays)
    return [plain(rows(op, *arrays)), *(plain(v) for v in slopes)]


# ---- the truth


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("kind", [ordinary, edges])
def test_against_mpmath(x64, kind, link, library):
    points, expected = table(kind, link)
    found = derivatives(library, link, points)
    rel = 1e-13 if kind is ordinary else 1e-10
    # where the two densities cancel, the score's slope is exact to their own size
    size = [np.abs(v) for v in expected]
    if kind is ordinary:
        size[1] = np.maximum(size[1], 1e-2 * (size[2] + size[3]))
    for one, true, scale in zip(found, expected, size, strict=True):
        np.testing.assert_array_less(np.abs(one - true), rel * scale + 1e-300)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_curvature_against_mpmath(x64, library, link):
    """The second derivative in the score, which for narrow intervals is a difference of huge numbers."""
    points = [(0.5, 0.0, 1.0), (0.25, -2.0, 3.0), (0.5, -INF, 1.0), (0.5, 0.25, INF), (1.0, 0.5, 0.5 + 2.0**-26)]
    points += [(3.0, -2.0, -1.0), (-4.0, 0.0, 2.0), (0.0, 0.0, 2.0), (1.0, 0.0, 1.0)]
    points += {"logit": [(-300.0, 0.0, 1.0), (40.0, -INF, 0.0)], "probit": [(30.0, 0.0, 1.0), (25.0, -INF, 0.0)]}.get(
        link, [(30.0, 0.0, 1.0), (300.0, -INF, 0.0)]
    )
    score, lower, upper = (tensor(library, list(v)) for v in zip(*points, strict=True))
    if library == "torch":
        torch = pytest.importorskip("torch")
        score = score.requires_grad_()
        (slope,) = torch.autograd.grad(rows(LINKS[link], score, lower, upper).sum(), score, create_graph=True)
        found = plain(torch.autograd.grad(slope.sum(), score)[0])
    else:
        slope = x64.grad(lambda v: rows(LINKS[link], v, lower, upper).sum())
        found = plain(x64.jvp(slope, (score,), (x64.numpy.ones_like(score),))[1])
    with mpmath.workdps(400):
        expected = [float(mpmath.diff(lambda v: truth(link, v, *p[1:])[1], mpf(p[0]))) for p in points]  # noqa: B023
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-15)


def test_cloglog_far_below_in_float32():
    """Where e^k has few digits in float32, or none, the loss is -k."""
    upper = np.array([-69.5, -80.0, -100.0, -1000.0], np.float32)
    found = LINKS["cloglog"].value(np, np.zeros(4, np.float32), np.full(4, -INF, np.float32), upper)
    np.testing.assert_allclose(found, -upper, rtol=1e-6)


def test_mills_ratio():
    x = np.concatenate([np.linspace(0, 6, 200), np.geomspace(6, 1e8, 200), [1e300]])
    with mpmath.workdps(60):
        expected = [
            float(mpmath.ncdf(-mpf(v)) / mpmath.npdf(mpf(v)) if v < 1e3 else 1 / mpf(v) * (1 - 1 / mpf(v) ** 2))
            for v in x
        ]
        expected[-1] = 1e-300
    # beyond 1e3 the two terms of the asymptotic series above are good to 3 / x^4
    rel = np.where(x < 1e3, 2e-15, 2e-15 + 4.0 / np.clip(x, 1e3, 1e9) ** 4)
    np.testing.assert_array_less(np.abs(mills(np, x) - expected), rel * expected)
    assert mills(np, np.array([INF])) == 0


# ---- the rules, written out


def explicit(link, f, theta, y):
    """-log of the label's probability, each; the labels' probabilities sum to one."""
    ends = [-INF, *theta.tolist(), INF]
    table = np.array([[float(truth(link, v, *ends[k : k + 2])[0]) for k in range(len(ends) - 1)] for v in f.ravel()])
    np.testing.assert_allclose(np.exp(-table).sum(axis=1), 1)
    return np.take_along_axis(table, y.reshape(-1, 1), axis=1).reshape(f.shape)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("weighted", [False, True])
def test_weights_and_reductions(x64, weighted, reduction, link, library):
    f, theta, y = RNG.normal(size=(4, 5)), np.array([-1.0, 0.25, 0.5, 2.0]), RNG.integers(0, 5, (4, 5))
    w, s = (RNG.random(5), RNG.random((4, 1))) if weighted else (None, None)
    each = (1.0 if w is None else w[y]) * (1.0 if s is None else s) * np.ones_like(f)
    loss = explicit(link, f, theta, y) * each
    expected = {"none": loss, "sum": loss.sum(), "mean": loss.sum() / each.sum()}[reduction]
    found = ordinal_cross_entropy(
        tensor(library, f), theta.tolist(), y, link=link, weight=w, sample_weight=s, reduction=reduction
    )
    np.testing.assert_allclose(plain(found), expected, rtol=1e-12)


def test_two_labels_are_the_binary_case():
    f, y = RNG.normal(size=30) * 5, RNG.integers(0, 2, 30)
    assert ordinal_cross_entropy(f, [0.5], y) == pytest.approx(binary_cross_entropy(f - 0.5, y), rel=1e-15)


# ---- the edges


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("link", LINKS)
def test_infinite_and_nan_scores(link, library):
    f = np.array([INF, INF, INF, -INF, -INF, -INF, NAN], np.float32)
    y = np.array([0, 1, 2, 0, 1, 2, 1])
    each = plain(ordinal_cross_entropy(tensor(library, f), [-1.0, 1.0], y, link=link, reduction="none"))
    np.testing.assert_array_equal(each, [INF, INF, 0, 0, INF, INF, NAN])
    _, grads = value_and_grad(ordinal_cross_entropy)(
        tensor(library, f[:6]), tensor(library, np.array([-1.0, 1.0], np.float32)), y[:6], link=link, reduction="sum"
    )
    found = plain(grads.scores)
    steep = {"logit": (1, -1), "probit": (INF, -INF), "cloglog": (1, -INF)}[link]
    np.testing.assert_array_equal(found, [steep[0], steep[0], 0, 0, steep[1], steep[1]])
    if link == "logit":
        assert np.isfinite(plain(grads.thresholds)).all()


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("link", LINKS)
def test_what_is_left_out_costs_nothing_and_poisons_nothing(link, reduction, library):
    f = np.array([NAN, 1.0, INF, -2.0, NAN, -INF], np.float32)
    y, s = np.array([-100, 1, -100, 2, 9, 1]), np.array([1, 2, NAN, 0.5, 0, 0], np.float32)
    theta, kept = np.array([-1.0, 1.0], np.float32), np.array([1, 3])
    options = {"link": link, "reduction": reduction}
    value, grads = value_and_grad(ordinal_cross_entropy)(
        tensor(library, f), tensor(library, theta), y, sample_weight=s, **options
    )
    expected, slopes = value_and_grad(ordinal_cross_entropy)(f[kept], theta, y[kept], sample_weight=s[kept], **options)
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(plain(grads.thresholds), slopes.thresholds, rtol=2e-5)
    assert not plain(grads.scores)[[0, 2, 4, 5]].any()
    np.testing.assert_allclose(plain(grads.scores)[kept], slopes.scores, rtol=2e-5)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nothing_kept_is_zero(reduction, library):
    theta = tensor(library, np.array([0.0, 1.0], np.float32))
    cases = [
        (np.full((2, 3), NAN, np.float32), np.full((2, 3), -100), {}),
        (np.full(3, NAN, np.float32), np.array([0, 1, 7]), {"sample_weight": np.zeros(3)}),
        (np.array([INF, 0.0], np.float32), np.array([1, 1]), {"weight": [1.0, 0.0, 2.0]}),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), int), {}),
    ]
    for f, y, options in cases:
        value, grads = value_and_grad(ordinal_cross_entropy)(
            tensor(library, f), theta, y, reduction=reduction, **options
        )
        assert float(value) == 0
        np.testing.assert_array_equal(plain(grads.scores), np.zeros_like(f))
        np.testing.assert_array_equal(plain(grads.thresholds), [0, 0])
    assert ordinal_cross_entropy([], [0.0], [], reduction="none").shape == (0,)


# ---- gradients


def numeric(f, x, h=1e-6):
    out = np.empty_like(x)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        out[i] = (f(up) - f(down)) / (2 * h)
    return out


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("link", LINKS)
def test_gradients_by_finite_differences(link, reduction):
    f, theta, y = RNG.normal(size=(3, 4)), np.array([-1.5, 0.0, 0.75]), RNG.integers(0, 4, (3, 4))
    y[0, 0] = -100
    options = {"link": link, "reduction": reduction, "weight": RNG.random(4), "sample_weight": RNG.random((3, 4))}
    value, grads = value_and_grad(ordinal_cross_entropy)(f, theta, y, **options)
    assert grads._fields == ("scores", "thresholds")
    assert value == ordinal_cross_entropy(f, theta, y, **options)
    np.testing.assert_allclose(
        grads.scores, numeric(lambda v: ordinal_cross_entropy(v, theta, y, **options), f), atol=5e-9
    )
    np.testing.assert_allclose(
        grads.thresholds, numeric(lambda v: ordinal_cross_entropy(f, v, y, **options), theta), atol=5e-9
    )
    alone = value_and_grad(ordinal_cross_entropy)(f, theta, y, wrt="thresholds", **options)[1]
    np.testing.assert_array_equal(alone.thresholds, grads.thresholds)
    for library in ("torch", "jax"):  # JAX in float32
        found = value_and_grad(ordinal_cross_entropy)(tensor(library, f), tensor(library, theta), y, **options)[1]
        np.testing.assert_allclose(plain(found.scores), grads.scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(plain(found.thresholds), grads.thresholds, rtol=1e-4, atol=1e-6)


@FORWARD_MODE
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize("link", LINKS)
def test_torch_derivatives(link, reduction):
    torch = pytest.importorskip("torch")
    f, theta = RNG.normal(size=(2, 3)), np.array([-1.0, 0.25, 1.0])
    args = tuple(torch.tensor(v, requires_grad=True) for v in (f, theta, RNG.uniform(0.5, 2, (2, 1))))
    y = torch.tensor([[0, 1, 2], [3, -100, 0]])

    def loss(f, theta, s):
        return ordinal_cross_entropy(f, theta, y, link=link, sample_weight=s, reduction=reduction)

    torch.autograd.gradcheck(loss, args, check_forward_ad=True, check_batched_grad=True)
    torch.autograd.gradgradcheck(loss, args, check_fwd_over_rev=True)


@FORWARD_MODE
@pytest.mark.parametrize("link", LINKS)
def test_torch_func(link):
    torch = pytest.importorskip("torch")
    f, theta = torch.tensor(RNG.normal(size=(4, 3))), torch.tensor([-1.0, 0.5], dtype=torch.float64)
    y = torch.tensor(RNG.integers(0, 3, (4, 3)))

    def loss(f, theta, y):
        return ordinal_cross_entropy(f, theta, y, link=link)

    each = torch.func.vmap(torch.func.grad(loss, argnums=1), (0, None, 0))(f, theta, y)
    hessian = torch.func.hessian(loss)(f[0], theta, y[0])
    for i in range(4):
        torch.testing.assert_close(each[i], torch.func.grad(loss, argnums=1)(f[i], theta, y[i]))
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(lambda v: loss(v, theta, y[0]), f[0]))
    _, along = torch.func.jvp(lambda v: loss(f, v, y), (theta,), (torch.ones_like(theta),))
    torch.testing.assert_close(along, torch.func.grad(loss, argnums=1)(f, theta, y).sum())


@pytest.mark.parametrize("link", LINKS)
def test_jax_derivatives(x64, link):
    jax, jnp = x64, x64.numpy
    from jax.test_util import check_grads

    f, theta, y = (
        jnp.asarray(RNG.normal(size=(4, 3))),
        jnp.asarray([-1.0, 0.5]),
        jnp.asarray(RNG.integers(0, 3, (4, 3))),
    )

    def loss(f, theta, y=y):
        return ordinal_cross_entropy(f, theta, y, link=link)

    check_grads(jax.jit(loss), (f, theta), order=2, modes=["fwd", "rev"], eps=1e-5)
    np.testing.assert_allclose(jax.jit(loss)(f, theta, y), loss(f, theta, y), rtol=1e-14)
    each = jax.jit(jax.vmap(jax.grad(loss, argnums=1), (0, None, 0)))(f, theta, y)
    np.testing.assert_allclose(each[2], jax.grad(loss, argnums=1)(f[2], theta, y[2]), rtol=1e-12)
    hessian = jax.hessian(loss, argnums=1)(f, theta)
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-12)
    _, along = jax.jvp(lambda v: loss(v, theta), (f,), (jnp.ones_like(f),))
    np.testing.assert_allclose(along, jax.grad(loss)(f, theta).sum(), rtol=1e-12)


# ---- dtypes


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("link", LINKS)
def test_low_precision_is_computed_in_float32(link, dtype):
    torch = pytest.importorskip("torch")
    f = (torch.randn(500, generator=torch.Generator().manual_seed(4), dtype=torch.float64) * 2).to(
        getattr(torch, dtype)
    )
    theta, y = torch.tensor([-2.0, -1.0, 0.5, 0.75]), torch.tensor(RNG.integers(0, 5, 500))
    options = {"link": link, "reduction": "none"}
    true = ordinal_cross_entropy(f.double().numpy(), theta.double().numpy(), y.numpy(), **options)
    found = ordinal_cross_entropy(f, theta, y, **options)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), true, rtol=5e-6)
    if dtype != "bfloat16":
        ours = ordinal_cross_entropy(f.numpy(), theta.numpy(), y.numpy(), **options)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, true, rtol=1e-7)
    slope = value_and_grad(ordinal_cross_entropy)(f.double().numpy(), theta.double().numpy(), y.numpy(), link=link)[1]
    grads = value_and_grad(ordinal_cross_entropy)(f, theta, y, link=link)[1]
    assert (grads.scores.dtype, grads.thresholds.dtype) == (f.dtype, torch.float32)
    rel = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1e-2}[dtype]
    np.testing.assert_allclose(grads.scores.double().numpy(), slope.scores, rtol=rel, atol=1e-7)
    np.testing.assert_allclose(grads.thresholds.numpy(), slope.thresholds, rtol=2e-5, atol=1e-7)


# ---- bad input


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("f", "theta", "y", "options", "error", "message"),
    [
        ([0.0], [1.0, 0.5], [0], {}, ValueError, "thresholds must increase: number 1 is 0.5, after 1.0"),
        ([0.0], [0.0, 1.0, 1.0], [0], {}, ValueError, "thresholds must increase: number 2 is 1.0, after 1.0"),
        ([0.0], [0.0, INF], [0], {}, ValueError, "thresholds must be finite: number 1 is inf"),
        ([0.0], [NAN], [0], {}, ValueError, "thresholds must be finite: number 0 is nan"),
        ([0.0], [], [0], {}, ValueError, r"thresholds must have the shape \(K - 1,\) with K >= 2 labels, not \(0,\)"),
        ([0.0], [[0.0]], [0], {}, ValueError, r"not \(1, 1\)"),
        ([0.0, 1.0], [0.0], [0, 2], {}, ValueError, r"label 2 at row 1 is outside 0 ... 1: .* K = 2"),
        ([0.0, 1.0], [0.0], [-1, 1], {}, ValueError, "label -1 at row 0"),
        ([0.0, 1.0], [0.0], [0], {}, ValueError, r"scores and target must have the same shape: \(2,\) and \(1,\)"),
        ([0.0], [0.0], [0.5], {}, TypeError, "target holds labels, which must be integers, not"),
        ([0.0], [0.0], [0], {"link": "cauchit"}, ValueError, "link must be one of 'logit', 'probit', 'cloglog'"),
        ([0.0], [0.0], [0], {"reduction": "avg"}, ValueError, "reduction must be one of"),
        (
            [0.0],
            [0.0],
            [0],
            {"weight": [1.0] * 3},
            ValueError,
            r"weight has the shape \(3,\), which does not fit \(2,\)",
        ),
    ],
)
def test_bad_input(library, f, theta, y, options, error, message):
    with pytest.raises(error, match=message):
        ordinal_cross_entropy(tensor(library, np.array(f, np.float32)), theta, np.array(y), **options)


def test_what_a_traced_call_cannot_refuse_is_nan():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    f, y = np.array([0.5, 0.5, 0.5], np.float32), np.array([0, 3, -100])
    expected = [math.log1p(math.exp(0.5)), NAN, 0.0]
    jitted = jax.jit(lambda a, b: ordinal_cross_entropy(a, [0.0, 1.0], b, reduction="none"))
    np.testing.assert_allclose(jitted(f, y), expected, rtol=1e-6)
    mapped = torch.func.vmap(lambda a, b: ordinal_cross_entropy(a, [0.0, 1.0], b, reduction="none"))
    np.testing.assert_allclose(mapped(torch.tensor(f), torch.tensor(y)), expected, rtol=1e-6)


def test_the_reader_keeps_what_it_was_given():
    loss = read_ordinal(np.zeros(3, np.float16), [0.0], [0, 1, 1])
    assert loss.value().dtype == np.float32
    value, grads = loss.gradients(("scores",))
    assert (grads["scores"].dtype, value) == (np.float16, pytest.approx(math.log(2), rel=1e-6))
