"""Measures of predictions: worked examples, textbook formulas in mpmath, scikit-learn where it is right."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from xent.evaluate import Figures, figures, prior_cross_entropy, row_losses


def logs(p):
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(p, dtype=float))


MODEL_1 = [[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]]
MODEL_2 = [[0.1, 0.2, 0.7], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]]
LABELS = [2, 1, 0]


def test_two_models_of_one_accuracy_and_unlike_cross_entropy():
    first, second = figures(logs(MODEL_1), LABELS), figures(logs(MODEL_2), LABELS)
    assert first.accuracy == second.accuracy == pytest.approx(2 / 3)
    assert first.cross_entropy == pytest.approx(1.378, abs=5e-4)
    assert second.cross_entropy == pytest.approx(0.639, abs=5e-4)
    assert row_losses(logs(MODEL_1), LABELS) == pytest.approx([0.916, 0.916, 2.303], abs=5e-4)
    assert row_losses(logs(MODEL_2), LABELS) == pytest.approx([0.357, 0.357, 1.204], abs=5e-4)
    assert first.label_entropy == pytest.approx(math.log(3))
    assert first.skill == pytest.approx(1 - first.cross_entropy / math.log(3))


def test_worked_binary_example():
    p = np.array([0.1, 0.9, 0.8, 0.4])
    result = figures(logs(np.column_stack([1 - p, p])), [0, 1, 1, 0])
    assert result.cross_entropy == pytest.approx(0.2362, abs=5e-5)
    assert result.cross_entropy_bits == pytest.approx(result.cross_entropy / math.log(2))
    assert result.brier == pytest.approx(2 * np.mean([0.01, 0.01, 0.04, 0.16]))


@given(st.integers(2, 5), st.integers(2, 30), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_agrees_with_textbook_in_high_precision(classes, rows, seed):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.3), rows).clip(1e-300)
    y = rng.integers(0, classes, rows)
    result = figures(np.log(p), y)
    with mpmath.workdps(40):
        losses = [-mpmath.log(mpmath.mpf(p[i, y[i]])) for i in range(rows)]
        mean = mpmath.fsum(losses) / rows
        spread = mpmath.sqrt(mpmath.fsum((v - mean) ** 2 for v in losses) / (rows - 1) / rows)
        shares = [mpmath.mpf(int(k)) / rows for k in np.bincount(y) if k]
        entropy = -mpmath.fsum(s * mpmath.log(s) for s in shares)
    assert result.cross_entropy == pytest.approx(float(mean), rel=1e-12)
    assert result.standard_error == pytest.approx(float(spread), rel=1e-9)
    assert result.label_entropy == pytest.approx(float(entropy), rel=1e-12, abs=1e-15)
    one_hot = np.eye(classes)[y]
    assert result.brier == pytest.approx(np.mean(np.sum((p - one_hot) ** 2, axis=1)))
    assert result.accuracy == accuracy_score(y, p.argmax(axis=1))


def test_agrees_with_scikit_learn_away_from_its_clipping():
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1, 1], 500)
    y = rng.integers(0, 4, 500)
    result = figures(np.log(p), y)
    assert result.cross_entropy == pytest.approx(log_loss(y, p))
    assert result.brier == pytest.approx(brier_score_loss(y, p, scale_by_half=False))


def test_nothing_is_clipped():
    assert figures([[-1e-20, -46.0]], [0]).cross_entropy == 1e-20
    assert figures([[-700.0, 0.0]], [0]).cross_entropy == 700.0
    perfect = figures(logs([[1, 0], [0, 1]]), [0, 1])
    assert perfect.cross_entropy == 0.0
    assert not math.copysign(1, perfect.cross_entropy) < 0
    assert perfect.skill == 1.0


def test_an_impossible_event_costs_infinity_and_is_told():
    result = figures(logs([[1, 0], [0.5, 0.5], [0, 1]]), [1, 0, 0])
    assert result.cross_entropy == math.inf
    assert math.isnan(result.standard_error)
    assert result.skill == -math.inf
    assert (result.impossible, result.impossible_rows) == (2, (0, 2))


def test_a_label_that_is_no_class():
    result = figures(logs([[0.5, 0.5], [0.9, 0.1]]), [-1, 0])
    assert result.cross_entropy == math.inf
    assert result.accuracy == 0.5
    assert result.brier == pytest.approx(((0.25 + 0.25 + 1) + (0.01 + 0.01)) / 2)
    assert result.label_entropy == pytest.approx(math.log(2))


def test_one_row_and_one_label():
    one = figures(logs([[0.25, 0.75]]), [1])
    assert one.cross_entropy == pytest.approx(-math.log(0.75))
    assert math.isnan(one.standard_error)
    assert one.label_entropy == 0
    assert math.isnan(one.skill)


def test_whole_weights_are_repeated_rows():
    rng = np.random.default_rng(1)
    p, y, w = rng.dirichlet([1, 1, 1], 40), rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    weighted = figures(np.log(p), y, weights=w)
    repeated = figures(np.repeat(np.log(p), w, axis=0), np.repeat(y, w))
    for name in ("cross_entropy", "label_entropy", "skill", "accuracy", "brier"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name)), name


def test_equal_weights_change_nothing():
    p = logs(MODEL_1)
    weighted, plain = figures(p, LABELS, weights=[3, 3, 3]).to_dict(), figures(p, LABELS).to_dict()
    assert weighted.pop("impossible_rows") == plain.pop("impossible_rows")
    assert weighted == pytest.approx(plain)


def test_a_row_of_no_weight_costs_nothing_even_if_impossible():
    assert figures(logs([[1, 0], [0.5, 0.5]]), [1, 0], weights=[0, 1]).cross_entropy == pytest.approx(math.log(2))


def test_many_rows_in_chunks(monkeypatch):
    import xent.evaluate.measures as measures

    rng = np.random.default_rng(2)
    p, y = np.log(rng.dirichlet([1, 1, 1], 101)), rng.integers(0, 3, 101)
    whole = figures(p, y)
    monkeypatch.setattr(measures, "_CHUNK", 30)
    assert figures(p, y) == whole


def test_prior_cross_entropy():
    # shares 3/4 and 1/4; test labels 0, 1
    expected = -(math.log(0.75) + math.log(0.25)) / 2
    assert prior_cross_entropy([0, 0, 0, 1], [0, 1]) == pytest.approx(expected)
    assert prior_cross_entropy([0, 0], [0, 0]) == 0.0
    assert prior_cross_entropy([0, 0], [1]) == math.inf


@pytest.mark.parametrize(
    ("log_proba", "target", "weights", "message"),
    [
        ([0.0, 1.0], [0], None, r"shape \(rows, classes\)"),
        ([[0.0, -1.0]], [0, 1], None, "shape"),
        ([[0.0, -1.0]], [0.5], None, "class indices"),
        ([[0.0, -1.0]], [2], None, "label 2 in row 0 is out of range for 2 classes"),
        ([[0.0, -1.0]], [-2], None, "label -2"),
        ([[0.0, math.nan]], [0], None, "NaN in row 0"),
        (np.empty((0, 2)), np.empty(0, dtype=int), None, "no rows"),
        ([[0.0, -1.0]], [0], [1, 2], r"shape \(1,\)"),
        ([[0.0, -1.0]], [0], [-1], "not negative"),
        ([[0.0, -1.0]], [0], [0], "not all zero"),
        ([[0.0, -1.0]], [0], [math.inf], "finite"),
    ],
)
def test_errors(log_proba, target, weights, message):
    with pytest.raises(ValueError, match=message):
        figures(log_proba, target, weights=weights)


def test_is_frozen_and_has_a_dictionary():
    result = figures(logs(MODEL_1), LABELS)
    assert isinstance(result, Figures)
    with pytest.raises(AttributeError):
        result.rows = 4
    document = result.to_dict()
    assert document["rows"] == 3
    assert document["cross_entropy_bits"] == result.cross_entropy_bits
    assert document["impossible_rows"] == []
