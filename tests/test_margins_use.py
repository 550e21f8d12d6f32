"""How margins are used: rows left out, sub-centres, state, options, errors."""

from __future__ import annotations

import dataclasses
import math

import array_api_compat.torch as torch_api
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from margin_table import (
    CLASSES,
    MARGINS,
    PER_CLASS,
    batch,
    ordinary,
    with_gradients,
)
from xent.functional._margin_layer import read_centres, row_tiles
from xent.functional.margin import margin_cross_entropy, margin_logits, target_angles
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
    SMSoftmax,
    annealing,
    unit,
)


def test_sub_centres_are_the_nearest_ones():
    x, w, y, _, _ = batch("", 3)
    margin = ArcFace()
    unit_x, unit_w = unit(np, x)[0], unit(np, w)[0]
    best = np.einsum("nd,kcd->nkc", unit_x, unit_w).argmax(axis=2)
    losses = margin_cross_entropy(x, w, y, margin, reduction="none")
    for i in range(len(x)):
        if y[i] >= 0:
            chosen = w[np.arange(CLASSES), best[i]]
            assert losses[i] == pytest.approx(margin_cross_entropy(x[i], chosen, y[i], margin), rel=1e-12)
            assert target_angles(x, w, y)[i] == pytest.approx(target_angles(x[i], chosen, y[i]), rel=1e-14)
    _, grads = with_gradients(x[:1], w, y[:1], margin)
    touched = np.abs(grads["w"]).sum(axis=2) > 0
    np.testing.assert_array_equal(touched, np.arange(3) == best[0][:, None])


@pytest.mark.parametrize("kind", [SMSoftmax, AMSoftmax, CosFace, ArcFace, CurricularFace])
def test_margins_of_classes_are_those_of_the_label(kind):
    x, w, y, _, _ = batch("")
    together = margin_cross_entropy(x, w, y, kind(PER_CLASS), reduction="none")
    for i in range(len(x)):
        if y[i] >= 0:
            alone = margin_cross_entropy(x[i], w, y[i], kind(PER_CLASS[y[i]]))
            assert together[i] == pytest.approx(alone, rel=1e-13)
    assert hash(kind(PER_CLASS)) == hash(kind(np.array(PER_CLASS)))
    assert kind(PER_CLASS) == kind(list(PER_CLASS))


@pytest.mark.parametrize("name", ["Arc", "Cos", "Mag", "L 4", "SM", "Curricular"])
def test_rows_left_out(name):
    """A row with the label -100 or without weight costs nothing, and nothing in it is read."""
    x, w, y, bias, _ = batch(name)
    margin, kept = MARGINS[name], [0, 1, 3, 4]
    weights = np.array([1.0, 2.0, 1.0, 0.5, 3.0, 0.0])
    x[5] = np.inf
    value, grads = with_gradients(x, w, y, margin, bias, sample_weight=weights)
    alone, grads_alone = with_gradients(x[kept], w, y[kept], margin, bias, sample_weight=weights[kept])
    assert value == pytest.approx(alone, rel=1e-14)
    for key in ("w", "bias"):
        np.testing.assert_allclose(grads[key], grads_alone[key], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(grads["x"][kept], grads_alone["x"], rtol=1e-12, atol=1e-14)
    assert (grads["x"][[2, 5]] == 0).all()
    each = margin_cross_entropy(x, w, y, margin, bias=bias, sample_weight=weights, reduction="none")
    assert each[2] == each[5] == 0
    assert value == pytest.approx(each.sum() / weights[kept].sum(), rel=1e-13)


@pytest.mark.parametrize("name", MARGINS)
def test_nothing_to_learn_from(name):
    w = np.eye(3)
    for x, y in ((np.zeros((0, 3)), np.zeros(0, int)), (np.full((2, 3), np.nan), [-100, -100])):
        value, grads = with_gradients(x, w, y, MARGINS[name])
        assert value == 0
        assert grads["x"].shape == np.shape(x)
        assert all((v == 0).all() for v in grads.values())
    assert np.isnan(target_angles(x, w, y)).all()


def test_a_nan_row_is_nan_alone():
    x, w, y, _, _ = batch("")
    y[2] = 1
    for margin in (ArcFace(), AdaFace(), CosFace(), MagFace()):
        losses = margin_cross_entropy(x, w, y, margin, reduction="none")
        assert np.isnan(losses).tolist() == [False, False, True, False, False, False]
        losses = margin_cross_entropy(*(torch.tensor(v) for v in (x, w, y)), margin, reduction="none")
        assert torch.isnan(losses).tolist() == [False, False, True, False, False, False]


def test_the_loss_is_the_cross_entropy_of_the_logits():
    x, w, y, bias, _ = batch("")
    x[2], y[2] = 0, 1
    for name, margin in MARGINS.items():
        z = margin_logits(x, w, y, margin, bias=bias)
        top = z.max(axis=1)
        losses = np.log(np.exp(z - top[:, None]).sum(axis=1)) + top - z[np.arange(6), y]
        penalty = margin.penalty(np, np.linalg.norm(x, axis=1))
        losses += 0 if penalty is None else penalty.value
        found = margin_cross_entropy(x, w, y, margin, bias=bias, reduction="none")
        np.testing.assert_allclose(found, losses, rtol=1e-12, atol=1e-12, err_msg=name)
        plain = margin_logits(x, w, None, margin, bias=bias)
        changed = np.isclose(z, plain, rtol=1e-13, atol=0)
        if "Curricular" not in name:
            assert changed[np.arange(CLASSES) != y[:, None]].all()


def test_annealing():
    assert annealing(0) == 1000
    assert annealing(100) == pytest.approx(1000 / 13)
    assert annealing(10**6) == 5
    l_softmax = annealing(1000, base=1000, gamma=2.5e-5, power=35, minimum=0)
    assert l_softmax == pytest.approx(1000 * 1.025**-35)
    theta = np.array([0.3, 2.0])
    far = ASoftmax(4, annealing=1e12).psi(np, theta).value
    np.testing.assert_allclose(far, np.cos(theta), atol=1e-11)
    for wrong in ({"step": -1}, {"step": 0, "gamma": -1.0}, {"step": 0, "base": math.inf}):
        with pytest.raises(ValueError, match="must be"):
            annealing(**wrong)


def test_curricular_update():
    margin = CurricularFace(t=0.5).updated(0.2)
    assert margin.t == pytest.approx(0.99 * 0.5 + 0.01 * 0.2)
    state = CurricularFace().updated(torch.tensor(0.5, requires_grad=True)).t
    assert state.item() == pytest.approx(0.005)
    assert not state.requires_grad
    x, w, y, _, _ = batch("")
    x[2] = 1.0
    tensor = dataclasses.replace(margin, t=torch.tensor(margin.t, dtype=torch.float64))
    loss = margin_cross_entropy(torch.tensor(x), torch.tensor(w), torch.tensor(y), tensor)
    assert loss.item() == pytest.approx(margin_cross_entropy(x, w, y, margin), rel=1e-14)


def test_adaface_moments():
    """By default those of the rows kept; averaged over batches by `updated`; never of one row."""
    x, w, y, _, _ = batch("")
    kept = y >= 0
    lengths = np.linalg.norm(x[kept], axis=1)
    given = AdaFace(mean=lengths.mean(), std=lengths.std(ddof=1))
    found = margin_cross_entropy(x, w, y, AdaFace(), reduction="none")
    np.testing.assert_allclose(found, margin_cross_entropy(x, w, y, given, reduction="none"), rtol=1e-12)
    once = AdaFace().updated(lengths)
    assert once.mean == pytest.approx(lengths.mean())
    assert once.std == pytest.approx(lengths.std(ddof=1))
    for share, options in ((0.75, {"momentum": 0.75}), (0.99, {})):  # the paper's
        twice = once.updated(2 * lengths, **options)
        assert twice.mean == pytest.approx((1 + share) * lengths.mean())
        assert twice.std == pytest.approx((1 + share) * lengths.std(ddof=1))
    few = [AdaFace().updated(v) for v in (lengths[:1], lengths[:2])]
    assert [v.mean for v in few] == pytest.approx([lengths[0], lengths[:2].mean()])
    assert [v.std for v in few] == pytest.approx([0.0, abs(lengths[0] - lengths[1]) / math.sqrt(2)])
    assert AdaFace().quality(np, np.array([3.0]), np.array([True])).tolist() == [0.0]
    one = margin_cross_entropy(x[:1], w, y[:1], AdaFace(0.4))
    assert one == pytest.approx(margin_cross_entropy(x[:1], w, y[:1], CosFace(0.4)), rel=1e-13)


def test_magface_beyond_its_lengths():
    """Outside [lower, upper] the length has no slope."""
    margin = MagFace(1.0, 5.0)
    for length, size in ((0.5, 0.45), (7.0, 0.8)):
        x, w, label = ordinary(3, 0.7, x_length=length)
        _, grads = with_gradients(x, w, label, margin)
        assert abs(grads["x"] @ x) < 1e-12
        z = margin_logits(x, w, label, margin)
        np.testing.assert_allclose(z, margin_logits(x, w, label, ArcFace(size)), rtol=1e-13)
    tx = torch.tensor([0.5, 7.0, 1.0, 5.0], dtype=torch.float64, requires_grad=True)
    own = margin.own(torch_api, None, tx, None)
    own.value.sum().backward()
    assert tx.grad.tolist() == own.slope.tolist() == pytest.approx([0.0, 0.0, 0.35 / 4, 0.35 / 4])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SMSoftmax(-0.1), "margin of SMSoftmax must be in"),
        (lambda: CosFace(math.nan), "margin of CosFace"),
        (lambda: ArcFace(28.6), "radians"),
        (lambda: ArcFace([0.1, 4.0]), "4 for class 1"),
        (lambda: ArcFace(np.zeros((2, 2))), r"an array \(K,\)"),
        (lambda: ArcFace("0.5"), "must be a number"),
        (lambda: ArcFace(scale=0), r"scale of ArcFace must be in \(0, inf\)"),
        (lambda: ArcFace(scale=math.inf), "scale of ArcFace"),
        (lambda: ArcFace(scale="64"), "must be a number"),
        (lambda: ArcFace(monotone=True, easy=True), "not both"),
        (lambda: LSoftmax(0), "at least 1"),
        (lambda: LSoftmax(1.5), "whole number"),
        (lambda: ASoftmax(4, annealing=-1.0), "annealing of ASoftmax"),
        (lambda: CombinedMargin(0.0), "m1 of CombinedMargin"),
        (lambda: CombinedMargin(m2=-0.1), "m2 of CombinedMargin"),
        (lambda: MagFace(10, 5), "upper of MagFace"),
        (lambda: MagFace(lower_margin=0.9), "upper_margin of MagFace"),
        (lambda: AdaFace(mean=1.0), "together"),
        (lambda: AdaFace(h=0), "h of AdaFace"),
        (lambda: ArcFace([0.1, 0.2]).psi(np, np.zeros(1)), "psi needs m"),
    ],
)
def test_options_are_checked(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 4], ArcFace()), {}, "label 4 at row 1 is outside 0 ... 3"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, -1], ArcFace()), {}, "label -1 at row 1"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0], ArcFace()), {}, r"\(2, 4\)"),
        ((np.ones((2, 3)), np.ones((4, 2)), [0, 1], ArcFace()), {}, r"x has the shape \(2, 3\), w \(4, 2\)"),
        ((np.ones((2, 3)), np.ones(3), [0, 1], ArcFace()), {}, r"w \(3,\)"),
        (
            (np.ones((2, 3)), np.ones((4, 3)), [0, 1], ArcFace()),
            {"bias": np.ones(3)},
            r"bias must have the shape \(4,\)",
        ),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 1], ArcFace([0.1, 0.2])), {}, "margins for 2 classes; w has 4"),
        (
            (np.ones((2, 3)), np.ones((4, 3)), np.full((2, 4), 0.25), ArcFace()),
            {},
            "integer labels .* not probabilities",
        ),
        ((np.ones((2, 3)), np.ones((4, 3)), [0.0, 1.0], ArcFace()), {}, "must be integers"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 1], 0.5), {}, "xent.losses.margins, not 0.5"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 1], ArcFace), {}, "xent.losses.margins, not <class"),
        ((np.ones((2, 0)), np.ones((4, 0)), [0, 1], ArcFace()), {}, "at least one"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 1], ArcFace()), {"reduction": "avg"}, "reduction must be one of"),
        ((np.ones((2, 3)), np.ones((4, 3)), [0, 1], ArcFace()), {"label_smoothing": 2.0}, "label_smoothing"),
        ((np.ones((2, 3)), torch.ones(4, 3), jnp.zeros(2, int), ArcFace()), {}, "different libraries"),
    ],
)
def test_arguments_are_checked(arguments, options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        margin_cross_entropy(*arguments, **options)


@pytest.mark.parametrize("name", ["Arc", "Curricular", "Mag", "Ada of the batch", "L 4", "AM per class"])
@pytest.mark.parametrize("centres", [1, 2])
def test_rows_come_in_tiles(name, centres):
    """More rows than are taken at a time, in NumPy; the same bits each time."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(600, 3)), rng.normal(size=(1100, centres, 3))
    y, weights = rng.integers(0, 1100, 600), rng.uniform(0.5, 2, 600)
    margin = AdaFace() if name == "Ada of the batch" else MARGINS[name]
    if isinstance(getattr(margin, "margin", None), tuple):
        margin = dataclasses.replace(margin, margin=rng.uniform(0, 0.5, 1100))
    assert len(row_tiles(600, read_centres(np, w, margin))) == 3
    value, grads = with_gradients(x, w, y, margin, sample_weight=weights)
    tensors = [torch.tensor(v, requires_grad=True) for v in (x, w)]
    loss = margin_cross_entropy(*tensors, torch.tensor(y), margin, sample_weight=weights)
    loss.backward()
    assert value == pytest.approx(loss.item(), rel=1e-13)
    assert margin_cross_entropy(x, w, y, margin, sample_weight=weights) == pytest.approx(value, rel=1e-14)
    for tensor, grad in zip(tensors, grads.values(), strict=True):
        np.testing.assert_allclose(grad, tensor.grad.numpy(), rtol=1e-9, atol=1e-12 * np.abs(grad).max())
    again, grads_again = with_gradients(x, w, y, margin, sample_weight=weights)
    assert again == value
    assert all((grads[k] == grads_again[k]).all() for k in grads)


def test_leading_axes():
    x, w, y, _, _ = batch("")
    x[2] = 1.0
    flat = margin_cross_entropy(x, w, y, ArcFace(), reduction="none")
    boxed = margin_cross_entropy(x.reshape(2, 3, 3), w, y.reshape(2, 3), ArcFace(), reduction="none")
    np.testing.assert_array_equal(flat.reshape(2, 3), boxed)
    assert margin_logits(x.reshape(2, 3, 3), w, y.reshape(2, 3), ArcFace()).shape == (2, 3, CLASSES)
    assert target_angles(x.reshape(2, 3, 3), w, y.reshape(2, 3)).shape == (2, 3)
    _, grads = with_gradients(x.reshape(2, 3, 3), w, y.reshape(2, 3), ArcFace())
    assert grads["x"].shape == (2, 3, 3)
    assert margin_cross_entropy(x[0], w, y[0], ArcFace()).shape == ()
