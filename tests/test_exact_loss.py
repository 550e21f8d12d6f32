"""The loss of labels: mpmath's sums, the values that peers get wrong, merging, intervals."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import log_loss as their_log_loss

from xent.evaluate import LossSum, log_loss
from xent.evaluate.intervals import mean_interval, t_quantile


def exact(y, p):
    """-log p(label), a binary column or a matrix, summed in 40 digits."""
    with mpmath.workdps(40):
        losses = []
        for label, row in zip(y, p, strict=True):
            if np.ndim(row):
                losses.append(-mpmath.log(mpmath.mpf(float(row[label]))))
            else:
                q = mpmath.mpf(float(row))
                losses.append(-mpmath.log(q if label else 1 - q))
        return float(mpmath.fsum(losses) / len(losses))


@given(st.integers(1, 40), st.integers(0, 10**6), st.sampled_from([np.float64, np.float32, np.float16]))
@settings(max_examples=40, deadline=None)
def test_binary_agrees_with_mpmath(rows, seed, dtype):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.2, 0.2, rows).clip(1e-4, 0.999).astype(dtype)
    y = rng.integers(0, 2, rows)
    assert log_loss(y, p).mean == pytest.approx(exact(y, p), rel=1e-14)


@given(st.integers(2, 6), st.integers(1, 40), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_many_classes_in_three_forms(classes, rows, seed):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 5, (rows, classes))
    y = rng.integers(0, classes, rows)
    with mpmath.workdps(40):
        losses = [mpmath.log(mpmath.fsum(mpmath.exp(mpmath.mpf(v)) for v in z)) - mpmath.mpf(z[t])
                  for z, t in zip(logits, y, strict=True)]  # fmt: skip
        mean = float(mpmath.fsum(losses) / rows)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    assert log_loss(y, logits, kind="logits").mean == pytest.approx(mean, rel=1e-13)
    assert log_loss(y, np.log(p), kind="log").mean == pytest.approx(exact(y, p), rel=1e-13)
    assert log_loss(y, p).mean == pytest.approx(exact(y, p), rel=1e-14)


@pytest.mark.parametrize(
    ("y", "p", "kind", "truth"),
    [
        # scikit-learn clips to the epsilon of the dtype: 36.04, 36.04, 15.94, 6.93, 1.2e-7 for these five
        ([1], np.array([0.0]), "probabilities", math.inf),
        ([1], np.array([1e-20]), "probabilities", 46.05170185988091),
        ([1], np.array([1e-10], dtype=np.float32), "probabilities", exact([1], np.float32([1e-10]))),
        ([1], np.array([1e-4], dtype=np.float16), "probabilities", exact([1], np.float16([1e-4]))),
        ([1], np.array([1.0], dtype=np.float32), "probabilities", 0.0),
        ([0], np.array([1e-20]), "probabilities", 1e-20),
        ([0], np.array([1.0]), "probabilities", math.inf),
        ([0], np.array([-1e-20]), "log", 46.05170185988091),
        ([0], np.array([-50.0]), "log", 1.9287498479639178e-22),
        ([1], np.array([800.0]), "logits", 0.0),
        ([0], np.array([800.0]), "logits", 800.0),  # a sigmoid first: inf
        ([0], np.array([[-800.0, 0.0]]), "logits", 800.0),
        ([1], np.array([[0.0, -np.inf]]), "logits", math.inf),
        ([0, 0], np.array([[1.0, 0.0], [1.0, 0.0]]), "probabilities", 0.0),  # one label only: scikit-learn raises
    ],
)
def test_edges(y, p, kind, truth):
    found = log_loss(y, p, kind=kind).mean
    assert found == pytest.approx(truth, rel=1e-15, abs=0)
    assert math.copysign(1, found) == 1


def test_agrees_with_scikit_learn_where_that_is_right():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet([1, 1, 1], 500), rng.integers(0, 3, 500)
    assert log_loss(y, p).mean == pytest.approx(their_log_loss(y, p), rel=1e-12)


def test_impossible_rows_are_told_across_chunks():
    p = np.full(40_000, 0.5)
    p[[3, 20_000, 39_999]] = 0.0
    total = log_loss(np.ones(40_000, dtype=int), p)
    assert (total.mean, total.impossible, total.impossible_rows) == (math.inf, 3, (3, 20_000, 39_999))
    assert math.isnan(total.standard_error)
    assert all(math.isnan(v) for v in total.interval())


def test_the_sum_is_compensated():
    # large and tiny chunks: a plain running sum loses the tiny ones altogether
    total, values = LossSum(), [1e16, 1.0, 1.0, 1.0, 1.0]
    for value in values:
        total.add(np.array([value]))
    assert total.total == math.fsum(values)
    running = 0.0
    for value in values:
        running += value
    assert running != math.fsum(values)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_chunks_and_merges_are_the_whole(sizes, seed):
    rng = np.random.default_rng(seed)
    parts = [rng.exponential(1.0, n) ** 2 for n in sizes]
    whole = np.concatenate(parts)
    chunked, left, right = LossSum(), LossSum(), LossSum()
    for k, part in enumerate(parts):
        chunked.add(part)
        (left if k < len(parts) // 2 else right).add(part)
    left.merge(right)
    for total in (chunked, left):
        assert total.rows == whole.size
        if whole.size > 2:
            assert total.mean == pytest.approx(whole.mean(), rel=1e-13)
            assert total.deviation == pytest.approx(whole.std(ddof=1), rel=1e-10)
            assert total.skewness == pytest.approx(stats.skew(whole), rel=1e-8)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 60, 61, 200, 10**6])
@pytest.mark.parametrize("share", [0.005, 0.3, 0.9, 0.975, 0.9995])
def test_quantiles_of_t_agree_with_scipy(freedom, share):
    assert t_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-7)


def test_without_skewness_the_interval_is_that_of_t():
    low, high = mean_interval(20, 3.0, 2.0, 0.0)
    assert (low, high) == pytest.approx(stats.t.interval(0.95, 19, 3.0, 2.0 / math.sqrt(20)))
    assert mean_interval(10**6, 3.0, 2.0, 1e-4) == pytest.approx(mean_interval(10**6, 3.0, 2.0, 0.0), abs=1e-9)


def test_the_interval_solves_halls_equation():
    rows, mean, deviation, skew = 50, 2.0, 3.0, 1.7
    t = stats.t.ppf(0.975, rows - 1)
    g = skew / math.sqrt(rows)
    for limit, wanted in zip(mean_interval(rows, mean, deviation, skew), (t, -t), strict=True):
        x = (mean - limit) / (deviation / math.sqrt(rows))
        assert x + g * x * x / 3 + g * g * x**3 / 27 + g / 6 == pytest.approx(wanted)


def test_intervals_cover_skewed_losses_better_than_t():
    rng = np.random.default_rng(1)
    truth, hits, plain = 1.0, 0, 0
    t = stats.t.ppf(0.975, 99)
    for _ in range(2000):
        losses = rng.gamma(0.25, 4.0, 100)  # skewness 4
        total = LossSum()
        total.add(losses)
        low, high = total.interval()
        hits += low <= truth <= high
        plain += abs(losses.mean() - truth) <= t * losses.std(ddof=1) / 10
    assert 0.93 < hits / 2000 < 0.97
    assert hits > plain + 20


@pytest.mark.parametrize(
    ("y", "p", "kind", "message"),
    [
        ([0, 1], [0.5], "probabilities", r"got \(2,\) and \(1,\)"),
        ([0], [[0.5]], "probabilities", "one class only"),
        ([2], [0.5], "probabilities", "label 2 in row 0 is out of range for 2 classes"),
        ([0.5], [0.5], "probabilities", "class indices"),
        ([], [], "probabilities", "no rows"),
        ([0, 1], [[0.5, 0.5], [0.5, 0.6]], "probabilities", "row 1 sum to 1.1"),
        ([0, 1], [[0.5, 0.5], [1.5, -0.5]], "probabilities", "row 1, class 0"),
        ([0, 1], [0.5, math.nan], "probabilities", "nan in row 1"),
        ([0, 1], [-1.0, 2.0], "probabilities", "kind='logits'"),
        ([0], [[math.nan, 0.0]], "logits", "nan nats in row 0"),
        ([0], [0.5], "odds", "kind must be one of"),
    ],
)
def test_errors(y, p, kind, message):
    with pytest.raises(ValueError, match=message):
        log_loss(np.array(y), np.array(p), kind=kind, check=True)


def test_without_checks_only_what_is_looked_up_counts():
    assert log_loss([0], [[0.5, 7.0]]).mean == math.log(2)
    with pytest.raises(ValueError, match="in row 1, with"):
        log_loss([0, 1], [[0.5, 0.5], [0.5, 7.0]])
    with pytest.raises(ValueError, match="nan nats in row 0"):
        log_loss([0], [[-1.0, 2.0]])
