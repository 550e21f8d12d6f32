"""The margins against mpmath on the papers' formulas, at every angle."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import margin_truth
from margin_table import (
    HOLDS_CONSTANT,
    MARGINS,
    NOT_NORMALISED,
    batch,
    ordinary,
    with_gradients,
)
from xent.functional.margin import margin_cross_entropy, margin_logits, target_angles
from xent.losses.margins import (
    AdaFace,
    ArcFace,
    ASoftmax,
    CombinedMargin,
    CosFace,
    CurricularFace,
    LSoftmax,
    MagFace,
    SMSoftmax,
    SphereFace,
    pair,
)


def check(margin, x, w, label, tolerance, bias=None):
    value, dx, dw = margin_truth.truth(margin, x, w, label, bias)
    found, grads = with_gradients(x, w, label, margin, bias)
    assert margin_truth.relative_error(found, value) < tolerance
    assert margin_truth.relative_error(grads["x"], dx) < tolerance
    assert margin_truth.relative_error(grads["w"], dw) < tolerance


@pytest.mark.parametrize("name", MARGINS)
@pytest.mark.parametrize("theta", [None, 0.2, 0.9, 1.5, 1.7, 2.2, 2.9])
def test_against_the_papers_formula(name, theta):
    check(MARGINS[name], *ordinary(3 if theta is None else 4, theta), 1e-13)
    check(MARGINS[name], *ordinary(5, theta), 1e-13, bias=np.array([0.5, -1.0, 2.0]))


EDGES = {
    **{f"near the centre, {t:g}": (t, {}) for t in (1e-3, 1e-6, 1e-9, 1e-12, 1e-15)},
    **{f"near the opposite, {t:g}": (math.pi - t, {}) for t in (1e-3, 1e-6, 1e-9, 1e-12)},
    **{f"knot {share:.3g} pi": (share * math.pi, {}) for share in (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)},
    "theta + m before pi": (math.pi - 0.5 - 1e-9, {}),
    "theta + m after pi": (math.pi - 0.5 + 1e-9, {}),
    "tiny embedding": (1.0, {"x_length": 1e-200}),
    "tiny, near the centre": (1e-9, {"x_length": 1e-200}),
    "tiny centre": (1.0, {"w_length": 1e-150}),
    "huge embedding": (1.0, {"x_length": 1e200}),
    "huge, near the centre": (1e-9, {"x_length": 1e250, "w_length": 1e200}),
}


AT_EDGES = [
    (name, edge)
    for name in MARGINS
    for edge in EDGES
    if not (name.startswith(NOT_NORMALISED) and EDGES[edge][1])  # its logits grow with the lengths
    and not ("easy" in name and edge == "knot 0.5 pi")  # it jumps there
]


@pytest.mark.parametrize(("name", "edge"), AT_EDGES)
def test_at_the_edges(name, edge):
    theta, lengths = EDGES[edge]
    check(MARGINS[name], *ordinary(7, theta, **lengths), 1e-10)


def test_the_truth_is_no_copy():
    """The branches, pieces and constants of the truth on numbers worked out by hand."""
    with mpmath.workdps(30):
        assert float(margin_truth.piecewise(mpmath.pi, 4)) == -7
        assert float(margin_truth.piecewise(mpmath.pi / 2, 2)) == -1
        assert float(margin_truth.arc(mpmath.pi, 0.5, ArcFace(monotone=True))) == pytest.approx(
            -1 - 0.5 * math.sin(0.5)
        )


PARALLEL = {
    "twice": ([1.0, -2.0, 0.5], 2.0),
    "three times": ([1.0, -2.0, 7.0], 3.0),
    "on an axis": ([0.0, 0.0, 4.0], 0.25),
    "many digits": ([0.1, 0.7, -0.3], 4.0),
    "opposite": ([1.0, -2.0, 0.5], -2.0),
    "opposite, three times": ([5.0, -2.0, 7.0], -3.0),
    "tiny": ([1e-200, -2e-200, 5e-201], 2.0),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", PARALLEL)
def test_on_the_centre_and_opposite(name, dtype):
    """|d theta / dx| is 1 / |x| there too: the target pulls with |sin m| / |x|, along a direction that is fixed."""
    x, times = PARALLEL[name]
    if name == "tiny" and dtype == "float32":
        x = [v * 1e170 for v in x]
    x = np.array(x, dtype)
    eps = float(np.finfo(dtype).eps)
    centre = (x * dtype_number(dtype, times))[None]
    found = pair(np, x[None], centre)
    assert found.theta[0] == pytest.approx(0.0 if times > 0 else math.pi, abs=4 * eps)
    for gradient, at in ((found.dx[0], x), (found.dw[0], centre[0])):
        length = np.linalg.norm(at / np.abs(at).max()) * np.abs(at).max()
        turned = gradient.astype(np.float64) * float(length)
        assert np.linalg.norm(turned) == pytest.approx(1, abs=8 * eps)
        assert abs(turned @ (at.astype(np.float64) / float(length))) < 8 * eps
    again = pair(np, x[None], centre)
    np.testing.assert_array_equal(found.dx, again.dx)
    np.testing.assert_array_equal(found.dx, pair(np, x[None], 0.5 * centre).dx)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("features", [2, 64])
def test_parallel_though_their_quotient_is_rounded(features, dtype):
    """w = p v and x = q v exactly, and p / q is no float: what is left of the centre across x is rounding alone."""
    bits = 24 if dtype == "float64" else 10
    v = np.random.default_rng(0).integers(-(2**bits), 2**bits, size=(100, features))
    for p, q in ((3, 7), (7, 3), (-5, 11), (1, 3)):
        x, w = (q * v).astype(dtype), (p * v).astype(dtype)
        found = pair(np, x, w)
        assert (found.theta == (0.0 if p > 0 else dtype_number(dtype, math.pi))).all()
        length = np.linalg.norm(x.astype(float), axis=1)[:, None]
        np.testing.assert_allclose(np.linalg.norm(found.dx * length, axis=1), 1, rtol=8 * np.finfo(dtype).eps)
        np.testing.assert_allclose((found.dx * x).sum(axis=1), 0, atol=8 * np.finfo(dtype).eps)


def dtype_number(dtype, value):
    return np.dtype(dtype).type(value)


@pytest.mark.parametrize(
    ("margin", "slope"),
    [
        (ArcFace(0.5, scale=4), -math.sin(0.5)),
        (ArcFace(0.5, scale=4, monotone=True), -math.sin(0.5)),
        (ArcFace(0.5, scale=4, detach=True), 0.0),
        (CombinedMargin(0.9, 0.4, 0.15, scale=4), -0.9 * math.sin(0.4)),
        (CurricularFace(0.5, scale=4), -math.sin(0.5)),
        (MagFace(1.0, 5.0, scale=4, weight=0.0), -math.sin(0.45 + 0.35 * (math.sqrt(5.25) - 1) / 4)),
        (AdaFace(0.4, scale=4, mean=0.0, std=0.1), math.sin(0.4)),
        (LSoftmax(4), 0.0),
        (ASoftmax(4), 0.0),
        (CosFace(scale=4), 0.0),
    ],
)
def test_the_pull_on_the_centre(margin, slope):
    """Of the gradient in x, what the target adds across x; the rest is written out here."""
    x = np.array([1.0, -2.0, 0.5])
    w = np.array([[2.0, 1.0, 0.0], [2.0, -4.0, 1.0]])  # the first is orthogonal to x
    value, grads = with_gradients(x, w, 1, margin)
    other = math.expm1(value) / math.exp(value)  # its probability
    length = np.linalg.norm(x) if isinstance(margin, LSoftmax | ASoftmax) else 1.0
    scale = margin.scale * length * (np.linalg.norm(w[1]) if isinstance(margin, LSoftmax) else 1.0)
    first = (
        w[0]
        if isinstance(margin, LSoftmax)
        else margin.scale * w[0] / np.linalg.norm(w[0]) / np.linalg.norm(x) * length
    )
    across = grads["x"] - other * first
    across -= across @ x / (x @ x) * x
    assert np.linalg.norm(across) == pytest.approx(other * scale * abs(slope) / np.linalg.norm(x), abs=1e-14)
    assert np.isfinite(grads["w"]).all()


@pytest.mark.parametrize("name", ["AM", "Arc", "Curricular", "Mag", "combined"])
def test_a_length_beyond_the_largest_number(name):
    """The angles are there, and a gradient over an infinite length is 0."""
    x, w = np.array([[3e38, 3e38, 1e38]], np.float32), np.eye(3, dtype=np.float32)
    value, grads = with_gradients(x, w, [0], MARGINS[name])
    small, _ = with_gradients(x * np.float32(1e-37), w, [0], MARGINS[name])
    assert value == pytest.approx(float(small), rel=1e-5)
    assert (grads["x"] == 0).all()
    assert np.isfinite(grads["w"]).all()


def test_one_dimension_has_no_direction():
    value, grads = with_gradients([[2.0], [-1.0]], [[1.0], [-3.0]], [0, 0], ArcFace(0.5, scale=2))
    z = np.array([[2 * math.cos(0.5), -2.0], [2 * math.cos(math.pi + 0.5), 2.0]])
    assert value == pytest.approx((np.log(np.exp(z).sum(axis=1)) - z[:, 0]).mean(), rel=1e-14)
    assert (grads["x"] == 0).all()
    assert (grads["w"] == 0).all()


@pytest.mark.parametrize("name", MARGINS)
def test_zero_embeddings_and_centres(name):
    """Their cosines are 0, and nothing is infinite or NaN."""
    x, w = np.zeros((2, 3)), np.eye(3)
    x[1], w[2] = [1.0, 2.0, 3.0], 0
    margin = MARGINS[name]
    value, grads = with_gradients(x, w, [0, 2], margin)
    assert np.isfinite(value)
    assert all(np.isfinite(v).all() for v in grads.values())
    plain = margin_logits(x, w, None, margin)
    assert (plain[0] == 0).all()
    assert plain[1, 2] == 0
    assert target_angles(x, w, [0, 2]).tolist() == [math.pi / 2] * 2
    if not name.startswith(NOT_NORMALISED):
        assert (grads["x"][0] == 0).all()
        assert (grads["w"][2] == 0).all()


def test_float32_near_the_centre():
    """Where the gradient through a rounded arccosine is 3.5 times too long, and NaN a little nearer."""
    for theta in (1e-2, 1e-4, 1e-6):
        x, w, label = (v if isinstance(v, int) else v.astype(np.float32) for v in ordinary(11, theta, features=32))
        for name in ("Arc", "Ada", "Mag", "combined 0.9"):
            margin = MARGINS[name]
            value, grads = with_gradients(x, w, label, margin)
            exact, exact_grads = with_gradients(x.astype(float), w.astype(float), label, margin)
            assert value.dtype == grads["x"].dtype == np.float32
            assert value == pytest.approx(exact, rel=1e-4)
            for key, grad in exact_grads.items():
                assert np.linalg.norm(grads[key] - grad) < 3e-5 * np.linalg.norm(grad), (name, theta, key)


@pytest.mark.parametrize("centres", [1, 3])
@pytest.mark.parametrize("name", sorted(set(MARGINS) - set(HOLDS_CONSTANT)))
def test_by_finite_differences(name, centres):
    x, w, y, bias, options = batch(name, centres)
    margin = MARGINS[name]
    value, grads = with_gradients(x, w, y, margin, bias, **options)
    given = {"x": x, "w": w, "bias": bias}
    assert value == pytest.approx(margin_cross_entropy(x, w, y, margin, bias=bias, **options), rel=1e-15)
    for key, array in given.items():
        wanted = np.zeros(array.shape)
        for index in np.ndindex(*array.shape):
            sides = []
            for step in (1e-6, -1e-6):
                moved = dict(given) | {key: array.copy()}
                moved[key][index] += step
                moved_x, moved_w, moved_bias = moved.values()
                sides.append(float(margin_cross_entropy(moved_x, moved_w, y, margin, bias=moved_bias, **options)))
            wanted[index] = (sides[0] - sides[1]) / 2e-6
        np.testing.assert_allclose(grads[key], wanted, atol=1e-7 * np.abs(wanted).max())
    assert (grads["x"][2] == 0).all()


@pytest.mark.parametrize("name", MARGINS)
def test_psi_is_what_changes_the_target(name):
    """The logits' target is length psi(theta), and its slopes are those of differences, 0 where held constant."""
    margin = MARGINS[name]
    theta = np.array([0.0, 0.5, 1.2, 1.8, 2.4, 3.0])
    m = 0.3 if isinstance(margin.margin, tuple) else None
    value, slope, _margin_slope = margin.psi(np, theta, m)
    if not getattr(margin, "detach", False):
        up, down = (margin.psi(np, theta + h, m).value for h in (1e-6, -1e-6))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, atol=1e-8)
    else:
        np.testing.assert_allclose(slope, -np.sin(theta), atol=1e-15)
    up, down = (margin.psi(np, theta, np.full(6, 0.3 + h)).value for h in (1e-6, -1e-6))
    at = margin.psi(np, theta, np.full(6, 0.3)).margin_slope
    wanted = np.zeros(6) if getattr(margin, "detach", False) else (up - down) / 2e-6
    np.testing.assert_allclose(at, wanted, atol=1e-8)
    w = np.array([[0.0, 2.0], [1.0, 0.0], [1.0, 1.0]])
    x = 3 * np.stack([np.sin(theta), np.cos(theta)], axis=1)
    if isinstance(margin, MagFace | AdaFace) or m is not None or isinstance(margin, SMSoftmax):
        return
    z = margin_logits(x, w, np.zeros(6, int), margin)[:, 0]
    length = {LSoftmax: 6.0, ASoftmax: 3.0}.get(type(margin), margin.scale)
    np.testing.assert_allclose(z, length * value, rtol=1e-13, atol=1e-12)


def test_monotone_and_easy_are_what_they_say():
    theta = np.linspace(0, math.pi, 1001)
    exact, monotone, easy = (ArcFace(0.5, **k).psi(np, theta).value for k in ({}, {"monotone": True}, {"easy": True}))
    before = theta < math.pi - 0.5
    np.testing.assert_array_equal(monotone[before], exact[before])
    assert (np.diff(monotone) < 0).all()
    assert exact[-1] > exact[before][-1]  # the exact one rises again
    np.testing.assert_array_equal(easy[theta < math.pi / 2], exact[theta < math.pi / 2])
    np.testing.assert_array_equal(easy[theta >= math.pi / 2], np.cos(theta[theta >= math.pi / 2]))


def test_detach_changes_the_gradient_only():
    x, w, label = ordinary(3, 0.45)
    exact, grads = with_gradients(x, w, label, ArcFace(scale=4))
    value, detached = with_gradients(x, w, label, ArcFace(scale=4, detach=True))
    assert value == pytest.approx(exact, rel=1e-15)
    assert np.linalg.norm(detached["x"] - grads["x"]) > 0.5 * np.linalg.norm(grads["x"])


def test_l_softmax_without_a_multiple_is_softmax():
    x, w, y, _, _ = batch("")
    x[2] = 0
    np.testing.assert_allclose(margin_logits(x, w, y, LSoftmax(1)), margin_logits(x, w, None, LSoftmax(1)), atol=1e-14)
    assert SphereFace is ASoftmax
