"""The formulas of the softmax losses, by `xent.testing.check_loss`."""

from __future__ import annotations

import dataclasses

import mpmath
import numpy as np
import pytest
import torch
from mpmath import mpf

from loss_cases import focal, generalized, plain, poly
from xent.losses import CrossEntropy, Focal, GeneralizedCrossEntropy, OfCrossEntropy, Poly1
from xent.losses.formula import slope_at_zero, x_over_expm1
from xent.testing import ROWS, check_loss

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
# the whole table for one of each kind of formula; elsewhere what is random or wide is left out
WHOLE = ("CE, z-loss", "focal 0.5")
EDGES = {name: row for name, row in ROWS.items() if "classes" not in name and len(row[0]) < 70}
IN_JAX = ("CE, smoothing and z-loss", "focal 0.5", "poly -1.0", "generalised 0.7")


@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    check_loss(*FORMULAS[name], kinds=["numpy", "torch"], rows=None if name in WHOLE else EDGES)


@pytest.mark.parametrize("name", IN_JAX)
def test_formulas_in_jax(name):
    check_loss(*FORMULAS[name], kinds=["jax"], dtypes=["float64"], rows=EDGES)


def test_formulas_compiled_by_jax():
    rows = {name: EDGES[name] for name in ("ties", "confident", "very confident", "confident and wrong")}
    check_loss(*FORMULAS["focal 0.5"], kinds=["jax"], dtypes=["float32"], rows=rows, compiled=True)


@pytest.mark.parametrize("formula", [Focal(0.5), Focal(1.0), Focal(2.0)])
def test_focal_of_a_certain_label(formula):
    """Rounding may leave a cross-entropy a little below 0: there the loss and its slopes are those at 0."""
    d = np.array([0.0, -1e-17, -1e-300])
    assert (formula.f(d) == 0).all()
    assert (formula.df(d) == 0).all()
    assert (formula.d2f(d) == 0).all()


def test_focal_slope_has_a_slope_at_zero():
    """f'' is 2 e^-d - d e^-d for gamma = 1."""
    d = torch.tensor([0.0, 1e-9, 0.5], dtype=torch.float64, requires_grad=True)
    (bend,) = torch.autograd.grad(Focal(1.0).df(d).sum(), d)
    np.testing.assert_allclose(bend, [2.0, 2.0 - 3e-9, 1.5 * np.exp(-0.5)], rtol=1e-15)


def test_x_over_expm1():
    """To the last digits on both sides of where its series ends, and its derivative by a library."""
    x = np.concatenate([np.linspace(0, 0.5, 400), [1.0, 30.0, 700.0, 1e4, np.inf]])
    t = torch.tensor(x, requires_grad=True)
    found = x_over_expm1(t)
    (slope,) = torch.autograd.grad(found.sum(), t)
    for v, f, d in zip(x.tolist(), found.tolist(), slope.tolist(), strict=True):
        y = mpf(v)
        true = y / mpmath.expm1(y) if 0 < y < mpmath.inf else mpf(y == 0)
        true_slope = mpmath.diff(lambda y: y / mpmath.expm1(y), y) if 0 < y < 1e4 else mpf(-0.5 * (y == 0))
        assert f == pytest.approx(float(true), rel=6e-16, abs=0), v
        assert d == pytest.approx(float(true_slope), rel=4e-15, abs=0), v


def test_slope_in_a_probability_of_zero():
    """f' / p grows like p^(q - 1), and like 1 / p where f' has a limit."""
    assert slope_at_zero(GeneralizedCrossEntropy(1.0)) == pytest.approx(1.0, rel=1e-12)
    for formula in (
        GeneralizedCrossEntropy(0.999),
        GeneralizedCrossEntropy(0.0),
        Focal(),
        Poly1(-1.0),
        CrossEntropy(2),
    ):
        assert slope_at_zero(formula) == np.inf


def test_a_formula_is_not_smoothed_unless_it_says_so():
    @dataclasses.dataclass(frozen=True)
    class Square(OfCrossEntropy):
        def f(self, d):
            return d * d

        def df(self, d):
            return 2.0 * d

        def d2f(self, d):
            return np.full_like(d, 2.0)

    assert Square().label_smoothing == 0  # the check below goes by it
    rows = {name: EDGES[name] for name in ("ties", "confident")}
    check_loss(Square(), lambda p: mpmath.log(p) ** 2, kinds=["numpy"], rows=rows)


def test_options_have_the_papers_defaults():
    assert CrossEntropy(3) == CrossEntropy(3, 0.0, 0.0)
    assert Focal() == Focal(2.0, 0.0)
    assert Poly1() == Poly1(1.0, 0.0)
    assert GeneralizedCrossEntropy() == GeneralizedCrossEntropy(0.7, 0.0)
    assert CrossEntropy(3).linear
    assert not any(f.linear for f in (Focal(), Poly1(), GeneralizedCrossEntropy()))


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
        (lambda: Poly1(-1.5), r"epsilon must be a finite number >= -1 .*, not -1.5"),
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
