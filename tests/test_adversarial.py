"""The losses of a generator and its discriminator against the definition, in the three libraries."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from xent.functional import binary_cross_entropy, value_and_grad
from xent.functional.adversarial import discriminator_loss, generator_loss

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(60)
LIBRARIES = ["numpy", "torch", "jax"]
REAL, FAKE = [0.5, -2.0, 3.25, 40.0, -745.0], [1.0, -0.5, 100.0]
FORWARD_MODE = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")


def tensor(library, x):
    x = np.asarray(x, dtype=None if hasattr(x, "dtype") else np.float64)
    if library == "torch":
        return pytest.importorskip("torch").tensor(x)
    return pytest.importorskip("jax.numpy").asarray(x) if library == "jax" else x


def plain(x):
    return x.detach().numpy() if hasattr(x, "detach") else np.asarray(x)


@pytest.fixture
def x64():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


def probability(z):
    return 1 / (1 + mpmath.exp(-mpf(z)))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("smooth", [1.0, 0.9])
def test_the_discriminator_against_mpmath(x64, smooth, library):
    """Mean over the real ones plus mean over the generated ones, in the sign of a loss (Goodfellow et al., eq. 1)."""
    with mpmath.workdps(400):
        s = mpf(smooth)
        real = [-s * mpmath.log(probability(z)) - (1 - s) * mpmath.log(1 - probability(z)) for z in REAL]
        fake = [-mpmath.log(1 - probability(z)) for z in FAKE]
        mean, total = sum(real) / len(real) + sum(fake) / len(fake), sum(real) + sum(fake)
        slopes = [
            [float((probability(z) - s) / len(real)) for z in REAL],
            [float(probability(z) / len(fake)) for z in FAKE],
        ]
    arrays = tensor(library, REAL), tensor(library, FAKE)
    value, grads = value_and_grad(discriminator_loss)(*arrays, real_target=smooth)
    assert grads._fields == ("real_logits", "fake_logits")
    assert float(value) == pytest.approx(float(mean), rel=1e-13)
    assert float(discriminator_loss(*arrays, real_target=smooth, reduction="sum")) == pytest.approx(
        float(total), rel=1e-13
    )
    for found, expected in zip(grads, slopes, strict=True):
        np.testing.assert_allclose(plain(found), expected, rtol=1e-13, atol=1e-17)
    each = discriminator_loss(*arrays, real_target=smooth, reduction="none")
    for found, expected in zip(each, (real, fake), strict=True):
        np.testing.assert_allclose(plain(found), [float(v) for v in expected], rtol=1e-13)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(("kind", "sign"), [("non-saturating", 1), ("minimax", -1)])
def test_the_generator_against_mpmath(x64, kind, sign, library):
    """-log D(G(z)), or the discriminator's own term with the other sign."""
    with mpmath.workdps(400):
        each = [-mpmath.log(probability(z)) if sign > 0 else mpmath.log(1 - probability(z)) for z in REAL]
        slopes = [float((probability(z) - 1 if sign > 0 else -probability(z)) / len(REAL)) for z in REAL]
    z = tensor(library, REAL)
    value, grads = value_and_grad(generator_loss)(z, kind=kind)
    assert float(value) == pytest.approx(float(sum(each)) / len(REAL), rel=1e-13)
    np.testing.assert_allclose(plain(grads.fake_logits), slopes, rtol=1e-12, atol=1e-300)
    assert float(generator_loss(z, kind=kind, reduction="sum")) == pytest.approx(float(sum(each)), rel=1e-13)
    np.testing.assert_allclose(
        plain(generator_loss(z, kind=kind, reduction="none")), [float(v) for v in each], rtol=1e-13, atol=1e-300
    )


def test_what_the_kinds_are_for():
    """Against a discriminator that is sure, minimax has no slope and the other one has all of it."""
    sure = np.array([-50.0])
    assert abs(value_and_grad(generator_loss)(sure, kind="minimax")[1].fake_logits[0]) < 1e-20
    assert value_and_grad(generator_loss)(sure)[1].fake_logits[0] == -1
    assert discriminator_loss(np.zeros(3), np.zeros(7)) == pytest.approx(math.log(4))
    assert generator_loss(sure, kind="minimax", reduction="sum") == -discriminator_loss([], sure, reduction="sum")
    z = RNG.normal(size=5)
    assert discriminator_loss(z, []) == binary_cross_entropy(z, np.ones(5))


@pytest.mark.parametrize("library", LIBRARIES)
def test_edges(library):
    certain = tensor(library, np.array([INF, -INF, 1e4, -1e4], np.float32))
    each = discriminator_loss(certain, certain, reduction="none")
    np.testing.assert_array_equal(plain(each[0]), [0, INF, 0, 1e4])
    np.testing.assert_array_equal(plain(each[1]), [INF, 0, 1e4, 0])
    np.testing.assert_array_equal(plain(generator_loss(certain, reduction="none")), [0, INF, 0, 1e4])
    np.testing.assert_array_equal(plain(generator_loss(certain, kind="minimax", reduction="none")), [-INF, 0, -1e4, 0])
    _, grads = value_and_grad(discriminator_loss)(certain, certain, reduction="sum")
    np.testing.assert_array_equal(plain(grads.real_logits), [0, -1, 0, -1])
    np.testing.assert_array_equal(plain(grads.fake_logits), [1, 0, 1, 0])
    nothing = tensor(library, np.zeros((0, 2), np.float32))
    one = tensor(library, np.zeros(1, np.float32))
    value, grads = value_and_grad(discriminator_loss)(nothing, one)
    assert float(value) == pytest.approx(math.log(2))
    assert (tuple(grads.real_logits.shape), float(grads.fake_logits[0])) == ((0, 2), 0.5)
    for kind in ("non-saturating", "minimax"):
        found = plain(generator_loss(nothing, kind=kind))
        assert found == 0
        assert not np.signbit(found)
    assert np.isnan(plain(generator_loss(tensor(library, np.array([NAN], np.float32)))))


@FORWARD_MODE
def test_torch_derivatives():
    torch = pytest.importorskip("torch")
    real, fake = (torch.tensor(RNG.normal(size=s), requires_grad=True) for s in ((3, 1), (2, 2)))
    for options in ({}, {"real_target": 0.9, "reduction": "sum"}, {"reduction": "none"}):
        torch.autograd.gradcheck(lambda a, b: discriminator_loss(a, b, **options), (real, fake), check_forward_ad=True)  # noqa: B023
        torch.autograd.gradgradcheck(lambda a, b: discriminator_loss(a, b, **options), (real, fake))  # noqa: B023
    for kind in ("non-saturating", "minimax"):
        torch.autograd.gradcheck(lambda a: generator_loss(a, kind=kind), (fake,), check_forward_ad=True)  # noqa: B023
        torch.autograd.gradgradcheck(lambda a: generator_loss(a, kind=kind), (fake,))  # noqa: B023
        hessian = torch.func.hessian(lambda a: generator_loss(a, kind=kind))(fake)  # noqa: B023
        p = torch.sigmoid(fake)
        curvature = (1 if kind == "non-saturating" else -1) * p * (1 - p) / 4
        torch.testing.assert_close(hessian.reshape(4, 4), torch.diag(curvature.ravel()))


def test_jax_derivatives(x64):
    from jax.test_util import check_grads

    real, fake = (x64.numpy.asarray(RNG.normal(size=s)) for s in (3, (2, 2)))
    check_grads(lambda a, b: discriminator_loss(a, b, real_target=0.9), (real, fake), order=2, modes=["fwd", "rev"])
    for kind in ("non-saturating", "minimax"):
        check_grads(lambda a: generator_loss(a, kind=kind), (fake,), order=2, modes=["fwd", "rev"])  # noqa: B023
        mapped = x64.jit(x64.vmap(x64.grad(lambda a: generator_loss(a, kind=kind))))(fake)  # noqa: B023
        assert mapped.shape == (2, 2)


def test_dtypes():
    half = np.zeros(2, np.float16)
    value, grads = value_and_grad(discriminator_loss)(half, np.zeros(1))
    assert value.dtype == np.float64
    assert [g.dtype for g in grads] == [np.float16, np.float64]
    assert generator_loss(half).dtype == np.float32
    torch = pytest.importorskip("torch")
    assert generator_loss(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32
    assert discriminator_loss(torch.zeros(2), [0.0, 1.0]).dtype == torch.float32


def test_bad_input():
    with pytest.raises(ValueError, match=r"real_target must be in \[0, 1\], not 1.1"):
        discriminator_loss([0.0], [0.0], real_target=1.1)
    with pytest.raises(ValueError, match="kind must be one of 'non-saturating', 'minimax', not 'wgan'"):
        generator_loss([0.0], kind="wgan")
    with pytest.raises(ValueError, match="reduction must be one of"):
        generator_loss([0.0], reduction="avg")
    with pytest.raises(ValueError, match="a gradient needs one number"):
        value_and_grad(discriminator_loss)([0.0], [0.0], reduction="none")
    with pytest.raises(TypeError, match="fake_logits must be real numbers"):
        discriminator_loss([0.0], [1j])
    torch, jnp = pytest.importorskip("torch"), pytest.importorskip("jax.numpy")
    with pytest.raises(TypeError, match="real_logits is PyTorch, fake_logits is JAX"):
        discriminator_loss(torch.zeros(1), jnp.zeros(1))
