"""What a margin is by default, which numbers it takes, and what it asks of the rows."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from margin_table import MARGINS, PER_CLASS, batch
from xent import cross_entropy
from xent.functional.margin import margin_cross_entropy
from xent.losses.margins import (
    AdaFace,
    AMSoftmax,
    ArcFace,
    ASoftmax,
    CombinedMargin,
    CosFace,
    CurricularFace,
    LSoftmax,
    MagFace,
    Margin,
    Psi,
    SMSoftmax,
)

# Of the papers, and where they give none of their authors' code.
DEFAULTS = {
    SMSoftmax: {"margin": 0.5},
    LSoftmax: {"margin": 4, "annealing": 0.0},
    ASoftmax: {"margin": 4, "annealing": 0.0},
    AMSoftmax: {"margin": 0.35, "scale": 30.0},
    CosFace: {"margin": 0.35, "scale": 64.0},
    ArcFace: {"margin": 0.5, "scale": 64.0, "monotone": False, "easy": False, "detach": False},
    CombinedMargin: {"m1": 1.0, "m2": 0.3, "m3": 0.2, "scale": 64.0, "detach": False},
    CurricularFace: {"margin": 0.5, "scale": 64.0, "t": 0.0, "monotone": False, "easy": False},
    MagFace: {
        "lower": 10.0,
        "upper": 110.0,
        "lower_margin": 0.45,
        "upper_margin": 0.8,
        "weight": 20.0,
        "scale": 64.0,
        "monotone": False,
        "easy": False,
    },
    AdaFace: {"margin": 0.4, "scale": 64.0, "h": 0.333, "mean": None, "std": None},
}
BELOW_PI = math.nextafter(math.pi, 0)
# what is taken, and what is refused
BOUNDS = {
    **{
        (kind, "scale"): ([0.5, 1e-300], [0.0, -1.0, math.inf, math.nan])
        for kind in DEFAULTS
        if "scale" in DEFAULTS[kind]
    },
    (ArcFace, "margin"): ([0.0, BELOW_PI], [-0.1, math.pi]),
    (CurricularFace, "margin"): ([0.0, BELOW_PI], [-0.1, math.pi]),
    (CurricularFace, "t"): ([-1.0, 3.0], [-1.01, math.inf]),
    (CosFace, "margin"): ([0.0, 5.0], [-0.1, math.inf]),
    (CombinedMargin, "m1"): ([0.5, 1e-300], [0.0, math.inf]),
    (CombinedMargin, "m2"): ([0.0, BELOW_PI], [-0.1, math.pi]),
    (CombinedMargin, "m3"): ([0.0, 3.0], [-0.1, math.inf]),
    (MagFace, "lower"): ([0.5, math.nextafter(110, 0)], [0.0, 110.0]),
    (MagFace, "upper"): ([math.nextafter(10, 11), 1e9], [10.0, math.inf]),
    (MagFace, "lower_margin"): ([0.0, 0.8], [-0.1, 0.81]),
    (MagFace, "upper_margin"): ([0.45, BELOW_PI], [0.44, math.pi]),
    (MagFace, "weight"): ([0.0, 0.5], [-0.1, math.inf]),
    (AdaFace, "margin"): ([0.0, math.nextafter(math.pi / 2, 0)], [-0.1, math.pi / 2]),
    (AdaFace, "h"): ([0.5, 1e-300], [0.0, math.inf]),
    (LSoftmax, "annealing"): ([0.0, 0.5, 1e9], [-0.1, math.inf]),
    (LSoftmax, "margin"): ([1, 9], [0]),
}


@pytest.mark.parametrize("kind", DEFAULTS)
def test_defaults(kind):
    assert dataclasses.asdict(kind()) == DEFAULTS[kind]
    assert kind().scale == DEFAULTS[kind].get("scale", 1.0)


@pytest.mark.parametrize(("kind", "name"), BOUNDS)
def test_bounds(kind, name):
    taken, refused = BOUNDS[kind, name]
    for value in taken:
        assert getattr(kind(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ValueError, match=f"{kind.__name__} must be"):
            kind(**{name: value})


def test_moments_of_adaface_may_be_zero():
    margin = AdaFace(mean=0, std=0)
    assert (margin.mean, margin.std) == (0.0, 0.0)
    for wrong in ({"mean": -0.1, "std": 1.0}, {"mean": 1.0, "std": -0.1}):
        with pytest.raises(ValueError, match="of AdaFace must be"):
            AdaFace(**wrong)


@pytest.mark.parametrize("name", MARGINS)
def test_the_margin_of_each_row(name):
    """It is the margin's own, unless it depends on the embedding; psi without it takes that of no embedding."""
    margin, lengths = MARGINS[name], np.array([2.0, 4.0], np.float32)
    found = margin.own(np, np.array([2, 0]), lengths, np.array([True, True])).value
    assert found.dtype == np.float32
    theta, alone = np.array([0.5, 2.0]), 0.0
    if isinstance(margin, MagFace):  # from 0.45 at the length 1 to 0.8 at 5
        wanted, alone = [0.45 + 0.35 / 4, 0.45 + 0.35 * 3 / 4], 0.45
    elif isinstance(margin, AdaFace):
        wanted = [0.0, 0.4 * min(1.0, 0.333 * 2 / margin.std)]
    elif isinstance(margin.margin, tuple):
        wanted, alone = [PER_CLASS[2], PER_CLASS[0]], None
    else:
        wanted = [margin.margin] * 2
        alone = margin.margin
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    if alone is not None:
        np.testing.assert_array_equal(margin.psi(np, theta).value, margin.psi(np, theta, np.full(2, alone)).value)


def test_a_margin_that_says_nothing_of_itself():
    """Unit vectors, the scale 1, the margin 0."""

    class Plain(Margin):
        def psi(self, xp, theta, m=None):
            return Psi(xp.cos(theta + self._margin(m)), -xp.sin(theta + self._margin(m)), -xp.sin(theta))

    x, w, y, _, _ = batch("")
    x[2], y[2] = 1.0, 0
    unit_x, unit_w = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, w))
    assert margin_cross_entropy(x, w, y, Plain()) == pytest.approx(cross_entropy(unit_x @ unit_w.T, y), rel=1e-14)
    theta = np.array([0.5, 2.0])
    np.testing.assert_array_equal(Plain().psi(np, theta).value, np.cos(theta))
