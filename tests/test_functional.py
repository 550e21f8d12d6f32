"""The loss functions against the textbook in mpmath, finite differences, and PyTorch where it is right."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest

import xent
from xent import binary_cross_entropy, cross_entropy, linear_cross_entropy, value_and_grad
from xent.testing import ROWS, truth

RNG = np.random.default_rng(5)
P1 = np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])
P2 = np.array([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]])


# ---- the worked numbers of the textbooks


@pytest.mark.parametrize(("p", "expected"), [(P1, [0.916, 0.916, 2.303]), (P2, [0.357, 0.357, 1.204])])
def test_two_models_of_equal_accuracy(p, expected):
    target = [2, 1, 0]
    assert (p.argmax(axis=1) == target).sum() == 2
    for value in (
        cross_entropy(p, target, from_probs=True, reduction="none"),
        cross_entropy(np.log(p), target, reduction="none"),
        cross_entropy(np.log(p), np.eye(3)[target], reduction="none"),
    ):
        np.testing.assert_allclose(value, expected, atol=5e-4)
    mean = cross_entropy(p, target, from_probs=True)
    assert mean == pytest.approx({0.916: 1.378, 0.357: 0.639}[expected[0]], abs=5e-4)


def test_worked_single_numbers():
    rows = np.array([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.01, 0.99, 0.0]])
    losses = cross_entropy(rows, [1, 1, 1], from_probs=True, reduction="none")
    assert losses.round(2).tolist() == [0.22, 1.61, 0.01]
    assert binary_cross_entropy([0.1, 0.9, 0.8, 0.4], [0, 1, 1, 0], from_probs=True) == pytest.approx(0.2362, abs=5e-5)
    three = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    assert cross_entropy(three, np.eye(3), from_probs=True) == pytest.approx(0.3635, abs=5e-5)


def test_two_classes_are_the_binary_case():
    z, y = RNG.normal(size=50) * 4, RNG.integers(0, 2, 50)
    both = np.column_stack([np.zeros(50), z])
    assert cross_entropy(both, y) == pytest.approx(binary_cross_entropy(z, y), rel=1e-15)
    weighted = cross_entropy(both, y, weight=[1, 2.5], label_smoothing=0.1)
    assert weighted == pytest.approx(binary_cross_entropy(z, y, pos_weight=2.5, label_smoothing=0.1), rel=1e-14)


# ---- exactness


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_against_mpmath(name, dtype):
    logits, target = ROWS[name]
    loss, _ = truth(logits, target)
    found = cross_entropy(np.array([logits], dtype), np.array([target]))
    assert found.dtype == dtype
    assert found == pytest.approx(loss, rel=12 * float(np.finfo(dtype).eps), abs=1e-44)


@pytest.mark.parametrize("z", [0.0, 1.5, -3.0, 40.0, -40.0, 700.0, -745.0, 1e4, np.inf, -np.inf])
@pytest.mark.parametrize("y", [0.0, 1.0, 0.25])
def test_binary_against_mpmath(z, y):
    with mpmath.workdps(5000):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        yes, no = (mpmath.inf if v == 0 else -mpmath.log(v) for v in (p, 1 - p))
        expected = (y * yes if y else 0) + ((1 - y) * no if y < 1 else 0)
        slope = float(p - y)
    value, grads = value_and_grad(binary_cross_entropy)([z], [y])
    assert value == pytest.approx(float(expected), rel=1e-14)
    assert grads.logits[0] == pytest.approx(slope, rel=1e-14, abs=5e-324)


def test_probabilities_are_exact_at_zero_and_one():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [1e-300, 1.0]])
    assert cross_entropy(p, [0, 0, 0], from_probs=True, reduction="none").tolist() == [0, np.inf, -np.log(1e-300)]
    assert cross_entropy(p, np.eye(2)[[0, 1, 1]], from_probs=True) == 0
    assert cross_entropy(p, [0, 0, 0], from_probs=True, eps=1e-3, reduction="none")[1] == -np.log(1e-3)
    b = binary_cross_entropy([0.0, 0.0, 1.0, 1.0], [0, 1, 0, 1], from_probs=True, reduction="none")
    assert b.tolist() == [0, np.inf, np.inf, 0]
    assert not np.signbit(b[[0, 3]]).any()
    tiny = binary_cross_entropy([1e-20], [0], from_probs=True)
    assert tiny == 1e-20
    value, grads = value_and_grad(cross_entropy)(p[:2], [0, 1], from_probs=True)
    assert value == 0
    assert grads.logits.tolist() == [[-0.5, 0], [0, -0.5]]


def test_offsets_and_confidence_keep_digits_in_float32():
    torch = pytest.importorskip("torch")
    z = RNG.normal(size=(200, 50)).astype(np.float32)
    z = (z + np.float32(1e4)).astype(np.float32)
    y = RNG.integers(0, 50, 200)
    exact = cross_entropy(z.astype(np.float64), y, reduction="none")
    ours = np.abs(cross_entropy(z, y, reduction="none") - exact).max()
    theirs = torch.nn.functional.cross_entropy(torch.tensor(z), torch.tensor(y), reduction="none").numpy()
    assert ours <= np.abs(theirs - exact).max() + 1e-7
    confident = np.zeros((1, 4), np.float32)
    confident[0, 0] = 25
    with mpmath.workdps(40):
        expected = float(mpmath.log1p(3 * mpmath.exp(-25)))
    assert cross_entropy(confident, [0]) == pytest.approx(expected, rel=1e-6)  # PyTorch says 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("K", [2, 10, 100])
def test_no_worse_than_torch_in_the_same_dtype(dtype, K):
    torch = pytest.importorskip("torch")
    z = (RNG.normal(size=(300, K)) * 6).astype(dtype)
    y = RNG.integers(0, K, 300)
    true, true_grads = value_and_grad(cross_entropy)(z.astype(np.float64), y)
    value, grads = value_and_grad(cross_entropy)(z, y)
    t = torch.tensor(z, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(t, torch.tensor(y))
    loss.backward()
    eps = float(np.finfo(dtype).eps)
    assert abs(value - true) <= abs(float(loss.detach()) - true) + eps * true
    off = np.abs(grads.logits.astype(float) - true_grads.logits)
    theirs = np.abs(t.grad.numpy().astype(float) - true_grads.logits)
    assert off.max() <= theirs.max() * 1.001 + 1e-18
    assert grads.logits.dtype == dtype


# ---- the rules: weights, ignoring, reductions, shapes


def explicit(z, q, w, sample, smoothing, reduction):
    """Each row's loss written out as the mixture of labels that its target is."""
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    K = z.shape[-1]
    each = -(1 - smoothing) * logp - smoothing / K * logp.sum(axis=-1, keepdims=True)  # what each label would cost
    loss, weight = sample * (q * w * each).sum(axis=-1), sample * (q * w).sum(axis=-1)
    return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / weight.sum()}[reduction]


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("weighted", ["", "class", "sample", "both"])
@pytest.mark.parametrize("soft", [False, True])
def test_weights_smoothing_and_reductions(soft, weighted, smoothing, reduction):
    z = RNG.normal(size=(3, 4, 5))
    y = RNG.integers(0, 5, (3, 4))
    q = RNG.dirichlet(np.ones(5), (3, 4)) if soft else np.eye(5)[y]
    w = RNG.random(5) if weighted in ("class", "both") else None
    sample = RNG.random((3, 4)) if weighted in ("sample", "both") else None
    expected = explicit(
        z, q, np.ones(5) if w is None else w, np.ones((3, 4)) if sample is None else sample, smoothing, reduction
    )
    options = {"weight": w, "sample_weight": sample, "label_smoothing": smoothing, "reduction": reduction}
    found = cross_entropy(z, q if soft else y, **options)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    x, weights, bias = RNG.normal(size=(3, 4, 6)), RNG.normal(size=(5, 6)), RNG.normal(size=5)
    linear = linear_cross_entropy(x, weights, q if soft else y, bias=bias, **options)
    np.testing.assert_allclose(linear, cross_entropy(x @ weights.T + bias, q if soft else y, **options), rtol=1e-11)


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int16, np.int32, np.uint32, np.int64, np.uint64, bool])
def test_any_integer_label(kind):
    z = RNG.normal(size=(6, 2))
    y = np.array([0, 1, 1, 0, 1, 0])
    assert cross_entropy(z, y.astype(kind)) == cross_entropy(z, y)


def test_ignored_rows_cost_nothing_and_poison_nothing():
    z = RNG.normal(size=(6, 4))
    y = np.array([0, -100, 3, 2, -100, 1])
    bad = z.copy()
    bad[y == -100] = np.nan
    kept = y != -100
    value, grads = value_and_grad(cross_entropy)(bad, y, weight=[1, 2, 3, 4.0])
    assert value == pytest.approx(cross_entropy(z[kept], y[kept], weight=[1, 2, 3, 4.0]), rel=1e-15)
    np.testing.assert_array_equal(grads.logits[~kept], 0)
    assert cross_entropy(bad, y, reduction="none")[~kept].tolist() == [0, 0]
    zero = value_and_grad(cross_entropy)(bad, np.where(kept, y, 0), sample_weight=kept.astype(float))
    np.testing.assert_array_equal(zero[1].logits[~kept], 0)
    assert cross_entropy(z, np.where(kept, y, 7), ignore_index=7) == cross_entropy(z[kept], y[kept])
    b = binary_cross_entropy([np.nan, 1.0, np.nan], [-100, 1, 0], sample_weight=[1, 1, 0])
    assert b == binary_cross_entropy([1.0], [1])


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_nothing_kept_is_zero(reduction):
    z = np.full((3, 4), np.nan)
    for options in ({"target": [-100] * 3}, {"target": [0] * 3, "sample_weight": np.zeros(3)}):
        value, grads = value_and_grad(cross_entropy)(z, **options, reduction=reduction)
        assert value == 0
        np.testing.assert_array_equal(grads.logits, np.zeros((3, 4)))
    value, grads = value_and_grad(cross_entropy)(np.zeros((0, 4)), np.zeros(0, int), reduction=reduction)
    assert value == 0
    assert grads.logits.shape == (0, 4)
    assert linear_cross_entropy(np.zeros((0, 3)), np.zeros((4, 3)), np.zeros(0, int), reduction=reduction) == 0
    assert binary_cross_entropy([], [], reduction=reduction) == 0
    assert cross_entropy(np.zeros((0, 4)), [], reduction=reduction) == 0
    value, grads = value_and_grad(linear_cross_entropy)(np.zeros((2, 0)), np.zeros((4, 0)), [0, 3], reduction="mean")
    assert value == pytest.approx(np.log(4))
    assert (grads.x.shape, grads.w.shape) == ((2, 0), (4, 0))


def test_one_row_without_leading_axes():
    assert cross_entropy([0.0, 0.0], 1) == pytest.approx(np.log(2))
    assert cross_entropy([0.0, 0.0], [0.25, 0.75]) == pytest.approx(np.log(2))
    assert binary_cross_entropy(0.0, 1) == pytest.approx(np.log(2))


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
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.3}, {"weight": [1.0, 0.5, 2.0], "label_smoothing": 0.1}])
@pytest.mark.parametrize("soft", [False, True])
def test_gradients_by_finite_differences(soft, options, reduction):
    z, x, w, b = (RNG.normal(size=s) for s in ((4, 3), (4, 5), (3, 5), (3,)))
    target = RNG.dirichlet(np.ones(3), 4) if soft else RNG.integers(0, 3, 4)
    options = {**options, "reduction": reduction, "sample_weight": [1.0, 2.0, 0.5, 0.0]}
    _, grads = value_and_grad(cross_entropy)(z, target, **options)
    np.testing.assert_allclose(grads.logits, numeric(lambda v: cross_entropy(v, target, **options), z), atol=2e-9)
    _, grads = value_and_grad(linear_cross_entropy)(x, w, target, bias=b, **options)
    for name, f in {
        "x": lambda v: linear_cross_entropy(v, w, target, bias=b, **options),
        "w": lambda v: linear_cross_entropy(x, v, target, bias=b, **options),
        "bias": lambda v: linear_cross_entropy(x, w, target, bias=v, **options),
    }.items():
        at = {"x": x, "w": w, "bias": b}[name]
        np.testing.assert_allclose(getattr(grads, name), numeric(f, at), atol=2e-9, err_msg=name)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize(
    "options", [{}, {"weight": [1.0, 0.5, 2.0], "label_smoothing": 0.1}, {"weight": [0.0, 0.5, 2.0]}]
)
def test_gradient_in_the_target(options, reduction):
    """Along directions that keep the target a distribution, as steps off it are refused."""
    z, w, q = RNG.normal(size=(4, 3)), RNG.normal(size=(3, 3)), RNG.dirichlet(np.ones(3) * 5, 4)
    step = RNG.normal(size=(4, 3)) * 1e-5
    step -= step.mean(axis=1, keepdims=True)
    options = {**options, "reduction": reduction, "sample_weight": [1.0, 2.0, 0.5, 0.0]}
    for f, args in ((cross_entropy, (z,)), (linear_cross_entropy, (z, w))):
        _, grads = value_and_grad(f)(*args, q, **options, wrt="target")
        change = f(*args, q + step, **options) - f(*args, q - step, **options)
        assert float((grads.target * 2 * step).sum()) == pytest.approx(change, rel=1e-6, abs=1e-13)
        assert grads._fields == ("target",)


@pytest.mark.parametrize("from_probs", [False, True])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_binary_gradients_by_finite_differences(pos_weight, reduction, from_probs):
    z = RNG.uniform(0.1, 0.9, (2, 3)) if from_probs else RNG.normal(size=(2, 3))
    y = RNG.uniform(0.1, 0.9, (2, 3))
    options = {"pos_weight": pos_weight, "reduction": reduction, "label_smoothing": 0.1, "from_probs": from_probs}
    options["sample_weight"] = RNG.random((2, 3))
    _, grads = value_and_grad(binary_cross_entropy)(z, y, **options)
    np.testing.assert_allclose(grads.logits, numeric(lambda v: binary_cross_entropy(v, y, **options), z), atol=2e-9)
    np.testing.assert_allclose(grads.target, numeric(lambda v: binary_cross_entropy(z, v, **options), y), atol=2e-9)


@pytest.mark.parametrize("soft", [False, True])
def test_gradient_in_probabilities(soft):
    """Checked through the softmax: dL/dz = J' dL/dp."""
    z = RNG.normal(size=(5, 4))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    target = RNG.dirichlet(np.ones(4), 5) if soft else RNG.integers(0, 4, 5)
    for e in (0.0, 0.2):
        dp = value_and_grad(cross_entropy)(p, target, from_probs=True, label_smoothing=e, wrt="logits")[1].logits
        through = p * (dp - (dp * p).sum(axis=1, keepdims=True))
        dz = value_and_grad(cross_entropy)(z, target, label_smoothing=e, wrt="logits")[1].logits
        np.testing.assert_allclose(through, dz, atol=1e-15)


def test_the_gradients_named_are_the_ones_returned():
    x, w = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
    value, grads = value_and_grad(linear_cross_entropy)(x, w, [0, 1, 2, 3])
    assert grads._fields == ("x", "w")
    value2, (dw,) = value_and_grad(linear_cross_entropy)(x, w, target=[0, 1, 2, 3], wrt=["w"])
    assert value == value2
    np.testing.assert_array_equal(dw, grads.w)
    assert value_and_grad(cross_entropy)(x, np.full((4, 3), 1 / 3))[1]._fields == ("logits", "target")
    with pytest.raises(ValueError, match="wrt names bias; here it can name x, w"):
        value_and_grad(linear_cross_entropy)(x, w, [0, 1, 2, 3], wrt="bias")
    with pytest.raises(ValueError, match='use reduction="mean" or "sum"'):
        value_and_grad(cross_entropy)(x, [0, 1, 2, 0], reduction="none")
    with pytest.raises(TypeError, match=r"gradients of cross_entropy, .* not of 'sum'"):
        value_and_grad(sum)
    for args, options in (((x, [0, 1, 2, 0], None), {}), ((x, [0, 1, 2, 0]), {"logits": x})):
        with pytest.raises(TypeError, match="takes logits, target by position and the rest by name"):
            value_and_grad(cross_entropy)(*args, **options)
    with pytest.raises(TypeError, match="cross_entropy: missing a required argument: 'target'"):
        value_and_grad(cross_entropy)(x)
    with pytest.raises(TypeError, match="cross_entropy: got an unexpected keyword argument 'smoothing'"):
        value_and_grad(cross_entropy)(x, [0, 1, 2, 0], smoothing=0.1)


# ---- bad input


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        (([[0.0, 0, 0]], [3]), {}, ValueError, r"label 3 at row 0 is outside 0 ... 2: the logits have K = 3 classes"),
        ((np.zeros((2, 2, 3)), [[0, 1], [-1, 0]]), {}, ValueError, r"label -1 at row \(1, 0\)"),
        (
            ([[0.0, 0, 0]], [1.0]),
            {},
            TypeError,
            r"must be integers, not float64; probabilities have the shape \(1, 3\)",
        ),
        ((np.zeros((4, 3)), [0, 1]), {}, ValueError, r"target has the shape \(2,\); logits of shape \(4, 3\) take"),
        ((np.zeros((1, 3)), [[0.5, 0.6, 0.1]]), {}, ValueError, r"row 0 sums to 1.2; the shape is \(1, 3\)"),
        ((np.zeros((1, 3)), [[1.5, -0.5, 0]]), {}, ValueError, "row 0 has 1.5 for class 0"),
        ((np.zeros((1, 3)), [[np.nan, 0.5, 0.5]]), {}, ValueError, "row 0 has nan for class 0"),
        (
            ([[0.0, 0, 0]], [0]),
            {"weight": [1.0, 2]},
            ValueError,
            r"weight has the shape \(2,\), which does not fit \(3,\)",
        ),
        (([[0.0, 0, 0]], [0]), {"weight": [1.0, -2, 0]}, ValueError, "weight must be finite and not negative: entry 1"),
        (([[0.0, 0, 0]], [0]), {"sample_weight": [np.nan]}, ValueError, "sample_weight must be finite"),
        (([[0.0, 0, 0]], [0]), {"label_smoothing": 1.5}, ValueError, r"label_smoothing must be in \[0, 1\], not 1.5"),
        (([[0.0, 0, 0]], [0]), {"reduction": "avg"}, ValueError, "reduction must be one of 'none', 'mean', 'sum'"),
        (([[0.0, 0, 0]], [0]), {"eps": 1e-3}, ValueError, "goes with from_probs=True"),
        (([[2.0, -1, 0]], [0]), {"from_probs": True}, ValueError, "row 0 has 2.0 for class 0.*leave from_probs out"),
        (([[0.3, 0.3, 0.3]], [0]), {"from_probs": True}, ValueError, "row 0 sums to 0.9"),
        (([[1j, 0, 0]], [0]), {}, TypeError, "logits must be real numbers"),
        ((np.zeros((2, 0)), [0, 0]), {}, ValueError, r"a last axis of at least one class; the shape is \(2, 0\)"),
    ],
)
def test_bad_input(args, options, error, message):
    with pytest.raises(error, match=message):
        cross_entropy(*args, **options)


def test_bad_input_to_the_others():
    with pytest.raises(ValueError, match=r"must share D: x has the shape \(2, 3\), w \(4, 5\)"):
        linear_cross_entropy(np.zeros((2, 3)), np.zeros((4, 5)), [0, 1])
    with pytest.raises(ValueError, match=r"bias must have the shape \(4,\) as w has 4 rows, not \(3,\)"):
        linear_cross_entropy(np.zeros((2, 3)), np.zeros((4, 3)), [0, 1], bias=np.zeros(3))
    with pytest.raises(ValueError, match=r"must have the same shape: \(2,\) and \(3,\)"):
        binary_cross_entropy([0.0, 1.0], [0, 1, 1])
    with pytest.raises(ValueError, match=r"target must be in \[0, 1\] .* row 1 is 2"):
        binary_cross_entropy([0.0, 1.0], [0, 2])
    with pytest.raises(ValueError, match=r"probabilities must be in \[0, 1\]: row 0 is 1.5"):
        binary_cross_entropy([1.5], [1], from_probs=True)


def test_probabilities_given_as_logits_are_noticed():
    with pytest.warns(UserWarning, match="pass from_probs=True"):
        cross_entropy(P1, [0, 1, 2])
    assert cross_entropy(np.ones((3, 1)), [0, 0, 0]) == 0  # one class: nothing to tell them apart by


def test_public_names():
    assert set(xent.__all__) <= set(dir(xent))
    for name in xent.__all__:
        assert getattr(xent, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'crossentropy'"):
        _ = xent.crossentropy
