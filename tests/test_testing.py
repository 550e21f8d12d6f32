"""`xent.testing`: each check passes what is right, and fails what is wrong in a sign, a slope or an epsilon."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from mpmath import mpf

from xent.kernels import LinearGrads, cpu
from xent.losses import Affine, CrossEntropy, Curvatures, Focal, GeneralizedCrossEntropy, Poly1
from xent.losses.margins import AdaFace, ArcFace, ASoftmax, CosFace, LSoftmax, MagFace, Psi, SMSoftmax
from xent.testing import ROWS, check_backend, check_loss, check_margin
from xent.testing._textbook import Textbook, direction, row_truth

FEW = {name: ROWS[name] for name in ("two classes", "ties", "confident", "masked target", "soft", "soft certain")}


def plain(p):
    return -mpmath.log(p)


def focal(gamma):
    return lambda p: -((1 - p) ** mpf(gamma)) * mpmath.log(p)


# ---- the truth itself


@pytest.mark.parametrize("z_loss", [0.0, 0.25])
@pytest.mark.parametrize("smoothing", [0.0, 0.25])
@pytest.mark.parametrize("name", ["ties", "offset 1e4", "confident", "soft", "soft over a half", "3 classes soft"])
def test_the_truth_is_no_chain_rule_alone(name, smoothing, z_loss):
    """Gradient and Hessian of a row against differences of its loss, in 60 digits."""
    logits, target = ROWS[name]
    K = len(logits)
    f = focal(1.5)
    found = row_truth(Textbook(f), logits, target, smoothing, z_loss)
    q = [float(j == target) for j in range(K)] if isinstance(target, int) else target
    q = [(1 - mpf(smoothing)) * mpf(v) + mpf(smoothing) / K for v in q]

    def loss(*a):
        total = mpmath.fsum(mpmath.exp(v) for v in a)
        return mpmath.fsum(w * f(mpmath.exp(v) / total) for v, w in zip(a, q, strict=True)) + (
            mpf(z_loss) * mpmath.log(total) ** 2
        )

    with mpmath.workdps(60):
        a, v, h = [mpf(z) for z in logits], [mpf(float(x)) for x in direction(K)], mpf(10) ** -15
        assert found.value.true[0] == pytest.approx(float(loss(*a)), rel=1e-15)

        def gradient(a):
            return [
                (
                    loss(*(z + (i == j) * h for i, z in enumerate(a)))
                    - loss(*(z - (i == j) * h for i, z in enumerate(a)))
                )
                / (2 * h)
                for j in range(K)
            ]

        np.testing.assert_allclose(found.grad.true, [float(g) for g in gradient(a)], rtol=1e-12, atol=1e-25)
        up = gradient([z + mpf("1e-8") * w for z, w in zip(a, v, strict=True)])
        down = gradient([z - mpf("1e-8") * w for z, w in zip(a, v, strict=True)])
        product = [float((b - c) / mpf("2e-8")) for b, c in zip(up, down, strict=True)]
        np.testing.assert_allclose(found.product.true, product, rtol=1e-9, atol=1e-20)


def test_the_textbooks_derivatives():
    textbook = Textbook(focal(0.5))
    for d in (1e-300, 1e-20, 0.3, 700.0):
        x = mpf(d)
        with mpmath.workdps(1000):
            w, p = 1 - mpmath.exp(-x), mpmath.exp(-x)
            true = w ** mpf(0.5) + mpf(0.5) * w ** mpf(-0.5) * p * x
        assert float(textbook(x, 1)) == pytest.approx(float(true), rel=1e-14)
    assert float(textbook(mpf(0))) == float(textbook(mpf(0), 1)) == 0
    assert textbook(mpmath.inf) == mpmath.inf
    assert float(textbook(mpmath.inf, 1)) == 1
    assert Textbook(plain)(mpf(1e-200), 2) == 0  # and no rounding of two equal slopes


# ---- losses


@dataclass(frozen=True)
class _Wrong(Focal):
    """A focal loss with something wrong, to subclass."""

    gamma: float = 2.0


class WrongSign(_Wrong):
    def f(self, d):
        return -super().f(d)


class WrongEpsilon(_Wrong):
    def f(self, d):
        return super().f(d + 1e-12)


class WrongSlope(_Wrong):
    def df(self, d):
        return super().df(d) * (1 + 1e-12)


class WrongCurvature(_Wrong):
    def d2f(self, d):
        return -super().d2f(d)


class NaiveDifference(_Wrong):
    def f(self, d):
        return (1 - np.exp(-d)) ** self.gamma * d


class NaiveSlope(Focal):
    """As everyone has it: NaN at p = 1 for gamma below 1."""

    def df(self, d):
        p, rest = np.exp(-d), -np.expm1(-d)
        return rest**self.gamma + self.gamma * rest ** (self.gamma - 1) * p * np.where(np.isinf(d), 0, d)


class SlopesOfTheirOwn(_Wrong):
    def slopes(self, s, t, u=None, m=None):
        slope = super().slopes(s, t, u, m)
        return Affine(slope.s, slope.s, slope.u)


class CurvaturesOfTheirOwn(_Wrong):
    def curvatures(self, s, t, m=None):
        bend = super().curvatures(s, t, m).ss
        return Curvatures(bend, bend, bend)


class NoFocalSmoothing(_Wrong):
    linear = True


class WrongSmoothing(CrossEntropy):
    @property
    def _linear(self):
        e = self.label_smoothing
        return Affine(1.0, -(1.0 - e), -e / (self.classes - 1))


class WrongZ(CrossEntropy):
    def slopes(self, s, t, u=None, m=None):
        slope = super().slopes(s, t, u, m)
        return Affine(1.0 + self.z_loss * (m + s), slope.t, slope.u)


@pytest.mark.parametrize(
    ("formula", "truth", "message"),
    [
        (WrongSign(), focal(2), r"f\(0.29\) of WrongSign.* in numpy float64 is -0.0183.*, the truth is 0.0183"),
        (WrongEpsilon(), focal(2), "f"),
        (WrongSlope(), focal(2), r"df\("),
        (WrongCurvature(), focal(2), r"d2f\("),
        (NaiveDifference(), focal(2), r"f\(0.0003\)"),
        (NaiveSlope(0.5), focal(0.5), r"df\(0\).* is .*nan"),
        (SlopesOfTheirOwn(), focal(2), r"slopes.t\(m=0, s=0.7, t=0, u=-1.5\)"),
        (CurvaturesOfTheirOwn(), focal(2), r"curvatures.st"),
        (NoFocalSmoothing(), focal(2), "the loss of .*, row 'soft'"),
        (Focal(2.0, label_smoothing=0.25), focal(2.5), r"f\("),
        (Poly1(1.0), lambda p: plain(p) + mpf("1.000000000001") * (1 - p), r"f\("),
        (GeneralizedCrossEntropy(0.7), lambda p: 1 - p, r"f\("),
        (CrossEntropy(1), lambda p: -mpmath.log(p) / mpmath.log(2), r"f\("),
        (WrongSmoothing(1, 0.25), plain, r"value\("),
        (WrongZ(1, 0.0, 0.1), plain, r"slopes.s\("),
    ],
)
def test_a_wrong_loss_fails(formula, truth, message):
    with pytest.raises(AssertionError, match=message):
        check_loss(formula, truth, kinds=["numpy"], rows=FEW)


def test_a_right_loss_passes_on_rows_of_ones_own():
    rows = {"mine": ([0.5, 3.0, -2.0], 1), "mixed": ([0.5, 3.0, -2.0], [0.5, 0.25, 0.25])}
    check_loss(Focal(1.5), focal(1.5), kinds=["numpy", "torch"], rows=rows)
    check_loss(Focal(1.5), focal(1.5), kinds=["jax"], dtypes=["float64"], rows=rows)


def test_every_way_to_a_derivative_is_checked():
    """A formula may be right in NumPy and wrong in a library that differentiates its slope."""

    class NoGraph(_Wrong):
        def df(self, d):
            slope = super().df(d)
            return slope.detach() if hasattr(slope, "detach") else slope

    check_loss(NoGraph(), focal(2), kinds=["numpy"], rows=FEW)
    with pytest.raises(
        AssertionError, match=r"Hessian's product .* in torch float64, by autograd twice, row 'two classes'"
    ):
        check_loss(NoGraph(), focal(2), kinds=["torch"], rows=FEW)


def test_kinds_are_names():
    with pytest.raises(ValueError, match="no kind 'cupy': there are numpy, torch, jax"):
        check_loss(Focal(), focal(2), kinds=["cupy"])


@pytest.mark.parametrize(
    ("module", "message"), [("mpmath", "pip install mpmath"), ("torch", "install torch, or leave it")]
)
def test_what_to_install_is_said(module, message):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from xent.testing import check_loss\nfrom xent.losses import Focal\n"
        "check_loss(Focal(), lambda p: p, kinds=['torch'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert "ImportError" in result.stderr
    assert message in result.stderr


# ---- backends


class Backend:
    """The native one, to change something in."""

    name = "wrong"

    def __getattr__(self, name):
        return getattr(cpu, name)


class LossOff(Backend):
    def row_fused(self, *args, **options):
        loss, da = cpu.row_fused(*args, **options)
        return loss * (1 + 1e-14), da


class GradientOff(Backend):
    def row_grad(self, *args, **options):
        return cpu.row_grad(*args, **options) * (1 + 1e-14)


class NaiveSoftmax(Backend):
    """p - 1 at the label, where p has rounded to one."""

    def row_fused(self, logits, target, slopes, **options):
        loss, da = cpu.row_fused(logits, target, slopes, **options)
        if target.label is not None and (slopes.s, slopes.t, slopes.u) == (1.0, -1.0, 0.0):
            rows = np.arange(len(da))
            da[rows, target.label] = (da[rows, target.label] + 1) - 1
        return loss, da


class Poisoned(Backend):
    def linear_fused(self, x, *args, **options):
        loss, grads = cpu.linear_fused(x, *args, **options)
        return loss, LinearGrads(grads.x, grads.w if grads.w is None else grads.w + 0 * x.sum(), grads.bias)


class Generous(Backend):
    def linear_fused(self, *args, need=None, **options):
        from xent.kernels import Need

        return cpu.linear_fused(*args, need=Need(True, True, True), **options)


class NewArray(Backend):
    def row_fused(self, *args, out=None, **options):
        return cpu.row_fused(*args, **options)


class NoNan(Backend):
    def row_fused(self, *args, **options):
        loss, da = cpu.row_fused(*args, **options)
        return loss, np.nan_to_num(da, copy=False)


class WeightTwice(Backend):
    def linear_grad(self, *args, weight=None, **options):
        return cpu.linear_grad(*args, weight=None if weight is None else weight**2, **options)


class ForgetsKnown(Backend):
    def gram(self, x, weight, *, step=1, known=None):
        return cpu.gram(x, weight, step=step)


class Cancels(Backend):
    def logistic_rows(self, z, label, weight):
        loss, p, _ = cpu.logistic_rows(z, label, weight)
        return loss, p, weight * (p - label)


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        (LossOff(), "the loss by row_fused in float64, row 'two classes'"),
        (GradientOff(), "the gradient by row_grad in float64, row 'two classes'"),
        (NaiveSoftmax(), "row_fused's gradient of certain distributions"),
        (Poisoned(), "linear_fused's gradient in w where rows left out hold nan"),
        (Generous(), r"linear_fused computes \[True, True, True\] where \[False, False, True\] are needed"),
        (NewArray(), "row_fused with out=the logits .* does not return it"),
        (NoNan(), "row_fused's gradient .* is not all NaN"),
        (WeightTwice(), "linear_grad in x of slopes of rows"),
        (ForgetsKnown(), "what is known in gram"),
        (Cancels(), "the slopes of logistic_rows"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Backend) else "",
)
def test_a_wrong_backend_fails(backend, message):
    with pytest.raises(AssertionError, match=message):
        check_backend(backend, dtypes=["float64"])


# ---- margins


def multiplied(times, share=0):
    def psi(theta):
        k = min(int(mpmath.floor(theta * times / mpmath.pi)), times - 1)
        return ((-1) ** k * mpmath.cos(times * theta) - 2 * k + share * mpmath.cos(theta)) / (1 + share)

    return psi


def monotone(theta):
    half = mpf(0.5)
    return mpmath.cos(theta + half) if theta < mpmath.pi - half else mpmath.cos(theta) - half * mpmath.sin(half)


RIGHT = {
    "Arc": (ArcFace(0.5), lambda theta: mpmath.cos(theta + mpf(0.5)), {}),
    "Arc of classes": (ArcFace((0.1, 0.5)), lambda theta: mpmath.cos(theta + mpf(0.5)), {"m": 0.5}),
    "Arc monotone": (ArcFace(0.5, monotone=True), monotone, {}),
    "Arc detach": (ArcFace(detach=True), lambda t: mpmath.cos(t + mpf(0.5)), {"slope": lambda t: -mpmath.sin(t)}),
    "Cos": (CosFace(0.35), lambda theta: mpmath.cos(theta) - mpf(0.35), {}),
    "SM": (SMSoftmax(0.75), lambda theta: mpmath.cos(theta) - mpf(0.75), {}),
    "L 4": (LSoftmax(4), multiplied(4), {}),
    "A 3 annealed": (ASoftmax(3, annealing=5.0), multiplied(3, 5), {}),
    "Mag": (MagFace(1.0, 5.0), lambda theta: mpmath.cos(theta + mpf(0.45)), {"m": 0.45}),
    "Ada": (AdaFace(mean=2.0, std=0.25), lambda t: mpmath.cos(t - mpf(0.2)) - mpf(0.4) - mpf(0.2), {"m": 0.2}),
}


@pytest.mark.parametrize("name", RIGHT)
def test_margins(name):
    margin, truth, options = RIGHT[name]
    check_margin(margin, truth, kinds=["numpy", "torch"], **options)


def test_a_margin_in_jax():
    margin, truth, _ = RIGHT["Arc"]
    check_margin(margin, truth, kinds=["jax"], dtypes=["float64"])


class SignOfMargin(ArcFace):
    def psi(self, xp, theta, m=None):
        return ArcFace.psi(self, xp, theta, None if m is None else -m)


class SlopeOfMargin(ArcFace):
    def psi(self, xp, theta, m=None):
        return super().psi(xp, theta, m)._replace(slope=-xp.sin(theta))


class EpsilonOfMargin(ArcFace):
    def psi(self, xp, theta, m=None):
        return super().psi(xp, theta, self._margin(m) + 1e-12)


class MarginSlope(ArcFace):
    def psi(self, xp, theta, m=None):
        psi = super().psi(xp, theta, m)
        return psi._replace(margin_slope=-psi.margin_slope)


class ByCosine(ArcFace):
    """Through the square root: infinite slopes at 0 and pi where a library differentiates the value."""

    def psi(self, xp, theta, m=None):
        psi = super().psi(xp, theta, m)
        c, size = xp.cos(theta), self._margin(m)
        return Psi(c * np.cos(size) - xp.sqrt(1 - c * c) * np.sin(size), psi.slope, psi.margin_slope)


class ConstantSlope(ArcFace):
    """Right in value and slope, but with nothing to differentiate again."""

    def psi(self, xp, theta, m=None):
        psi = super().psi(xp, theta, m)
        return psi._replace(slope=psi.slope.detach() + 0 * theta if hasattr(theta, "detach") else psi.slope)


class Clamped(ArcFace):
    """What everyone does about the edges: no slope near them."""

    def psi(self, xp, theta, m=None):
        psi = super().psi(xp, theta, m)
        return psi._replace(slope=xp.where(theta < 1e-4, 0.0 * theta, psi.slope))


@pytest.mark.parametrize(
    ("margin", "kind", "message"),
    [
        (SignOfMargin(0.5), "numpy", None),
        (SlopeOfMargin(0.5), "numpy", r"psi\(.*\)'s slope"),
        (EpsilonOfMargin(0.5), "numpy", r"psi\("),
        (MarginSlope(0.5), "numpy", "psi's slope in the margin at 0.05"),
        (ByCosine(0.5), "torch", r"psi\(.*"),
        (ConstantSlope(0.5), "torch", r"psi\(.*\)'s second derivative, by autograd of its slope"),
        (Clamped(0.5), "numpy", r"psi\(0\)'s slope"),
        (ArcFace(0.5000001), "numpy", r"psi\(0\) of"),
        (ArcFace(0.5, easy=True), "numpy", r"psi\("),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, ArcFace) else "",
)
def test_a_wrong_margin_fails(margin, kind, message):
    if message is None:  # a sign that shows where margins are of rows
        margin, options = SignOfMargin((0.1, 0.5)), {"m": 0.5}
    else:
        options = {}
    with pytest.raises(AssertionError, match=message):
        check_margin(margin, lambda theta: mpmath.cos(theta + mpf(0.5)), kinds=[kind], **options)


def test_a_wrong_layer_fails(monkeypatch):
    """The gradient on the centre is checked through the layer, and not psi alone."""
    from xent.functional import _margin_layer

    pair = _margin_layer.pair

    def no_tangent(xp, x, w):
        found = pair(xp, x, w)
        return found._replace(dx=0 * found.dx)

    monkeypatch.setattr(_margin_layer, "pair", no_tangent)
    with pytest.raises(
        AssertionError, match=r"the gradient in x .*, on the centre \(w = 2 x\) has the length 0.0 across it"
    ):
        check_margin(*RIGHT["Arc"][:2], kinds=["numpy"])
