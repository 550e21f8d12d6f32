"""Verification: every threshold by hand in fractions, scikit-learn's area, ties, bounds, bad input."""

import itertools
import math
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from xent.evaluate import Verification, verification, verify, verify_embeddings

RATES = (0.0, 0.1, 0.29, 0.5, 1.0)


def by_hand(scores, same, far):
    """TAR, FAR reached and thresholds by trying every threshold; EER on the polyline; AUC by all pairs of pairs."""
    genuine = [s for s, y in zip(scores, same, strict=True) if y]
    impostor = [s for s, y in zip(scores, same, strict=True) if not y]
    points = []
    for t in [math.inf, *sorted(set(scores), reverse=True)]:
        tar = Fraction(sum(s >= t for s in genuine), len(genuine))
        points.append((t, tar, Fraction(sum(s >= t for s in impostor), len(impostor))))
    chosen = []
    for f in far:
        tar = max(p[1] for p in points if float(p[2]) <= f)
        chosen.append(max((p for p in points if p[1] == tar), key=lambda p: p[0]))
    for (_, tar, fa), (t, next_tar, next_fa) in itertools.pairwise(points):
        if next_fa >= 1 - next_tar:
            # fa + s (next_fa - fa) = (1 - tar) - s (next_tar - tar)
            s = (1 - tar - fa) / (next_fa - fa + next_tar - tar)
            eer, eer_threshold = fa + s * (next_fa - fa), t
            break
    wins = sum(Fraction(1) if g > i else Fraction(1, 2) if g == i else Fraction(0) for g in genuine for i in impostor)
    auc = wins / (len(genuine) * len(impostor))
    return chosen, eer, eer_threshold, auc


def quiet(function, *arguments, **options):
    """Without the warning of too few impostors, which the small cases here would all give."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*impostor pairs are too few")
        return function(*arguments, **options)


def check(result, scores, same, far=RATES):
    chosen, eer, eer_threshold, auc = by_hand(scores, same, far)
    assert result.thresholds == tuple(p[0] for p in chosen)
    assert result.tar == tuple(float(p[1]) for p in chosen)
    assert result.far_reached == tuple(float(p[2]) for p in chosen)
    assert (result.eer, result.eer_threshold) == (float(eer), eer_threshold)
    assert result.auc == float(auc)
    assert (result.genuine, result.impostor) == (sum(same), len(same) - sum(same))


tied = st.integers(-3, 3).map(float)
untied = st.floats(allow_nan=False, allow_infinity=False)
lowest = st.just(-math.inf)


@given(st.lists(st.tuples(tied | lowest, st.booleans()), min_size=2, max_size=40))
@settings(max_examples=300, deadline=None)
def test_agrees_with_every_threshold_where_scores_tie(pairs):
    scores, same = [p[0] for p in pairs], [p[1] for p in pairs]
    assume(0 < sum(same) < len(same))
    check(quiet(verify, scores, same, far=RATES), scores, same)


@given(st.lists(st.tuples(untied, st.booleans()), min_size=2, max_size=40))
@example([(1.7e308, False), (-3e307, True)])
@settings(max_examples=200, deadline=None)
def test_agrees_with_every_threshold(pairs):
    scores, same = [p[0] for p in pairs], [p[1] for p in pairs]
    assume(0 < sum(same) < len(same))
    result = quiet(verify, scores, same, far=RATES)
    check(result, scores, same)
    with np.errstate(over="ignore"):  # scikit-learn subtracts scores
        expected = roc_auc_score(same, scores)
    assert result.auc == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("levels", [3, 50, 10**9])
def test_area_is_scikit_learns(levels):
    rng = np.random.default_rng(levels)
    same = rng.random(5000) < 0.2
    scores = rng.integers(0, levels, 5000) + same * levels // 3
    assert verify(scores, same).auc == pytest.approx(roc_auc_score(same, scores), abs=1e-13)


def test_worked_example():
    # accepted at 0.9: 1 of 2, 0 of 4; at 0.5: the other genuine pair and two of the four impostors tie
    scores, same = [0.9, 0.5, 0.5, 0.5, 0.3, 0.1], [True, True, False, False, False, False]
    result = verify(scores, same, far=(0.25, 0.5))
    assert result.tar == (0.5, 1.0)
    assert result.far_reached == (0.0, 0.5)
    assert result.thresholds == (0.9, 0.5)
    assert result.eer == 0.25  # half of those that tie: FAR 1/4, FRR 1/4
    assert result.eer_threshold == 0.5
    assert result.auc == (4 + 2 + 2 / 2) / 8


def test_perfect_useless_and_reversed_scores():
    perfect = verify([2.0, 3.0, 0.0, 1.0], [1, 1, 0, 0], far=(0.0,))
    assert (perfect.tar, perfect.thresholds, perfect.eer, perfect.auc) == ((1.0,), (2.0,), 0.0, 1.0)
    useless = verify(np.zeros(10), np.arange(10) < 5, far=(0.5, 1.0))
    assert (useless.tar, useless.eer, useless.auc) == ((0.0, 1.0), 0.5, 0.5)
    assert useless.thresholds == (math.inf, 0.0)
    reverse = verify([0.0, 1.0, 2.0, 3.0], [1, 1, 0, 0], far=(0.5,))
    assert (reverse.tar, reverse.eer, reverse.auc) == ((0.0,), 1.0, 0.0)


def test_a_share_equal_to_the_rate_is_allowed():
    impostor = np.arange(100.0)
    for k in range(101):  # k / 100 as a literal: 0.29 * 100 is below 29
        result = verify(np.append(impostor, 99.5 - k), [False] * 100 + [True], far=(float(f"{k / 100:.2f}"),))
        assert result.tar == (1.0,), k


def test_too_few_impostors_are_said():
    scores, same = np.arange(20.0), np.arange(20) >= 10
    with pytest.warns(UserWarning, match="10 impostor pairs are too few for one false accept at FAR 0.01, 0.001"):
        result = verify(scores, same)
    assert result.tar == (1.0, 1.0)
    assert result.resolved == (False, False)
    scores[9] = 15.5  # the best impostor: genuine pairs above it need no false accept
    with pytest.warns(UserWarning, match="too few"):
        result = verify(scores, same)
    assert result.tar == (0.4, 0.4)
    assert result.far_reached == (0.0, 0.0)
    assert verify(scores, same, far=(0.0, 0.1)).resolved == (True, True)


def test_no_rate_asked_for():
    assert verify([0.0, 1.0], [0, 1], far=()).tar == ()


def test_large_counts_do_not_overflow():
    # 2 G I is above 2^63: every genuine pair ties with a fifth of the impostors and beats the rest
    true, false = np.array([3 * 10**9, 3 * 10**9]), np.array([10**9, 5 * 10**9])
    result = verification.figures_of(np.array([1.0, 0.0]), true, false, (0.5,))
    assert result.auc == 0.9
    # FAR 1/5 s = FRR 1 - s
    assert result.eer == float(Fraction(1, 6))


def test_to_dict_is_plain():
    result = verify([0.9, 0.1], [1, 0], far=(0.0,))
    figures = result.to_dict()
    assert figures["tar"] == [1.0]
    assert figures["resolved"] == [True]
    assert Verification(**{k: tuple(v) if isinstance(v, list) else v for k, v in figures.items() if k != "resolved"})


@pytest.mark.parametrize(
    ("scores", "same", "match"),
    [
        ([0.1, math.nan], [1, 0], "score of pair 1 is nan"),
        ([math.inf, 0.0], [1, 0], "score of pair 0 is inf"),
        ([0.1, 0.2], [1, 1], "2 genuine and 0 impostor"),
        ([0.1, 0.2], [0, 0], "0 genuine and 2 impostor"),
        ([], [], "0 genuine and 0 impostor"),
        ([0.1, 0.2], [1], "shape"),
        ([[0.1, 0.2]], [[1, 0]], "shape"),
        ([0.1, 0.2], [1, 2], "same must be"),
        ([0.1, 0.2], ["yes", "no"], "same must be"),
        ([0.1, 0.2], [1.0, math.nan], "same must be"),
    ],
)
def test_bad_pairs(scores, same, match):
    with pytest.raises(ValueError, match=match):
        verify(scores, same)


@pytest.mark.parametrize("far", [(-0.1,), (1.5,), (math.nan,)])
def test_bad_rates(far):
    with pytest.raises(ValueError, match="false accept rate"):
        verify([0.0, 1.0], [0, 1], far=far)
    with pytest.raises(ValueError, match="false accept rate"):
        verify_embeddings(np.eye(3), [0, 0, 1], far=far)


def cosines_by_hand(x, y):
    """The rounded cosine of every pair by sums of Python's floats, and whether it is genuine."""
    scores, same = [], []
    for i, j in itertools.combinations(range(len(x)), 2):
        a, b = [float(v) for v in x[i]], [float(v) for v in x[j]]
        dot = math.fsum(p * q for p, q in zip(a, b, strict=True))
        cosine = dot / math.sqrt(math.fsum(p * p for p in a)) / math.sqrt(math.fsum(q * q for q in b))
        scores.append((math.floor(cosine * 2**22 + 0.5) - 0.5) / 2**22)
        same.append(bool(y[i] == y[j]))
    return scores, same


@pytest.mark.parametrize("block", [1, 3, 7, 1024])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_embeddings_are_all_their_pairs(block, dtype):
    rng = np.random.default_rng(7)
    y = rng.integers(0, 4, 20)
    x = (rng.normal(size=(20, 3)) + np.eye(4, 3)[y]) * 8
    x = np.where(x == 0, 1, x).astype(dtype)
    x[5] = x[6] * 2  # one direction, twice
    check(quiet(verify_embeddings, x, y, far=RATES, block=block), *cosines_by_hand(x, y))


def test_thresholds_of_embeddings_accept_what_was_counted():
    rng = np.random.default_rng(3)
    y = rng.integers(0, 5, 300)
    x = rng.normal(size=(300, 8)) + 2 * np.eye(5, 8)[y]
    result = verify_embeddings(x, y, far=(0.01, 0.1))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    i, j = np.triu_indices(300, 1)
    cosine, same = np.sum(unit[i] * unit[j], axis=1), y[i] == y[j]
    for tar, far, t in zip(result.tar, result.far_reached, result.thresholds, strict=True):
        assert tar == np.mean(cosine[same] >= t)
        assert far == np.mean(cosine[~same] >= t)
    plain = verify(cosine, same, far=(0.01, 0.1))
    assert result.auc == pytest.approx(plain.auc, abs=1e-5)
    assert result.tar == pytest.approx(plain.tar, abs=1e-3)


def test_lengths_do_not_matter_not_even_extreme_ones():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(30, 4)), np.repeat(list("abc"), 10)
    expected = quiet(verify_embeddings, x, y)
    for length in (2.0**-1000, 2.0**1000):
        assert quiet(verify_embeddings, x * length, y.astype(object)) == expected


def test_copies_of_an_embedding_tie_at_one():
    x = np.repeat(np.random.default_rng(0).normal(size=(1, 50)), 40, axis=0) * np.arange(1, 41)[:, None]
    result = verify_embeddings(x, np.arange(40) % 2, far=(0.5,))
    assert (result.tar, result.eer, result.auc) == ((0.0,), 0.5, 0.5)
    opposite = quiet(verify_embeddings, [[1, 0], [1, 0], [-1, 0]], [0, 0, 1])
    assert (opposite.eer, opposite.auc) == (0.0, 1.0)


def test_memory_does_not_grow_with_the_pairs():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 100, 4000)
    x = rng.choice([-1.0, 1.0], size=(4000, 8))  # 8e6 pairs, 64 MB of float64 scores, of 9 values
    tracemalloc.start()
    result = verify_embeddings(x, y, block=256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.genuine + result.impostor == 4000 * 3999 // 2
    assert peak < 134e6 + 20e6  # the counts, and a tile


@pytest.mark.parametrize(
    ("x", "y", "match"),
    [
        ([[1.0, math.nan], [0.0, 1.0]], [0, 1], "row 0 holds NaN"),
        ([[1.0, 0.0], [math.inf, 1.0]], [0, 1], "row 1 holds NaN or infinity"),
        ([[1.0, 0.0], [0.0, 0.0]], [0, 1], "row 1 is zero"),
        ([[], []], [0, 1], "row 0 is zero"),
        ([1.0, 2.0], [0, 1], "shape"),
        (np.eye(3), [0, 1], "shape"),
        (np.eye(3), [0.5, 1.0, 1.0], "labels must be"),
        (np.eye(3), [None, "a", "b"], "labels must be"),
        (np.eye(3), [0, 0, 0], "3 genuine and 0 impostor"),
        (np.eye(3), [0, 1, 2], "0 genuine and 3 impostor"),
        (np.eye(1), [0], "0 genuine and 0 impostor"),
        (np.zeros((0, 2)), np.zeros(0, dtype=int), "0 genuine and 0 impostor"),
    ],
)
def test_bad_embeddings(x, y, match):
    with pytest.raises(ValueError, match=match):
        verify_embeddings(x, y)


def test_bad_block():
    with pytest.raises(ValueError, match="block"):
        verify_embeddings(np.eye(3), [0, 0, 1], block=0)
