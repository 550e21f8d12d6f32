"""The interval where almost no row was costly: its law by brute force, its words, and what it does to coverage."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from xent.evaluate import evaluate
from xent.evaluate.intervals import mean_interval
from xent.evaluate.ranked import ScoreCounts
from xent.evaluate.rare import FEW, misses, upper_limit


def top(p, right):
    counts = ScoreCounts()
    counts.add(np.asarray(p), 1 - np.asarray(p), np.asarray(right))
    return counts.ranked()


def truth(p, wrong, level):
    """The same by convolution of the rows' own laws and a root of SciPy's."""
    odds = (1 - p) / p

    def chances(log_factor):
        f = odds * math.exp(log_factor)
        return f / (1 + f)

    def mid_p(log_factor):
        law = np.array([1.0])
        for c in chances(log_factor):
            law = np.convolve(law, [1 - c, c])
        return law[:wrong].sum() + law[wrong] / 2

    def expected(log_factor):
        c = chances(log_factor)
        return (1 - c) * -np.log(p) + c * -np.log1p(-p)

    high = expected(optimize.brentq(lambda g: mid_p(g) - (1 - level) / 2, -30, 30, xtol=1e-13))
    at = -np.log(p)
    if wrong:
        at = expected(optimize.brentq(lambda g: mid_p(g) - 0.5, -30, 30, xtol=1e-13))
    spread = stats.t.ppf(0.5 + level / 2, len(p) - 1) * high.std(ddof=1) / math.sqrt(len(p))
    return at.mean() + math.hypot(high.mean() - at.mean(), spread)


@pytest.mark.parametrize("wrong", range(FEW))
@pytest.mark.parametrize(("rows", "level"), [(30, 0.95), (61, 0.8)])
def test_the_limit_is_that_of_the_convolution(wrong, rows, level):
    p = 1 - np.random.default_rng(wrong).beta(0.5, 6, rows).clip(1e-9, 0.5)
    p[:4] = p[0]  # scores that several rows share
    found = upper_limit(top(p, np.arange(rows) >= wrong), level)
    assert found == pytest.approx(truth(p, wrong, level), rel=1e-9)


def test_there_is_nothing_to_raise():
    p = np.full(20, 0.9)
    assert upper_limit(top(p, np.arange(20) >= FEW)) == -math.inf
    assert upper_limit(top([0.9], [1])) == -math.inf
    assert upper_limit(top(np.ones(9), np.ones(9))) == -math.inf
    assert upper_limit(top(np.ones(9), np.arange(9) > 0)) == math.inf
    some = upper_limit(top(np.append(np.ones(9), 0.8), np.ones(10)))  # certain rows stay certain
    assert 0 < some < math.log(5)
    assert misses(top(p, np.arange(20) >= 3)) == 3


def test_the_report_takes_it_only_where_it_is_wider():
    p = np.full(30, 0.05)
    y = np.zeros(30, dtype=int)
    quiet = evaluate(y, p, recalibrate=False)
    assert quiet.interval[1] == pytest.approx(truth(1 - p, 0, 0.95), rel=1e-9)
    assert quiet.figures["interval_bits"][1] == pytest.approx(quiet.interval[1] / math.log(2))
    assert quiet.interval[0] == pytest.approx(-math.log(0.95))
    y[0] = 1
    losses = np.where(y, -np.log(0.05), -np.log(0.95))
    spread = losses.std(ddof=1)
    hall = mean_interval(30, losses.mean(), spread, stats.skew(losses))
    found = evaluate(y, p, recalibrate=False)
    assert found.interval == pytest.approx((max(hall[0], 0), max(hall[1], truth(1 - p, 1, 0.95))), rel=1e-9)
    many = evaluate([0, 1] * 30, [0.4, 0.3] * 30, recalibrate=False)
    assert not any("went against" in s for s in many.verdict)


def three(wrong):
    p = np.tile([0.9, 0.06, 0.04], (40, 1))
    return (np.arange(40) < wrong).astype(int), p


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (lambda: evaluate([0] * 30, np.full(30, 0.05)), "No row went against the likeliest class: the interval allows"),
        (lambda: evaluate([1] + [0] * 29, np.full(30, 0.05)), "Only 1 row went against the likeliest class"),
        (lambda: evaluate(*three(2)), "Only 2 rows went against the likeliest class: the interval may be too short"),
        (lambda: evaluate(*three(3), sample_weight=np.ones(40)), "Only 3 rows went against the likeliest class"),
        (lambda: evaluate([0] * 30, np.full(30, 0.05), sample_weight=np.ones(30)), "the interval may be too short"),
    ],
)
def test_the_verdict_warns(report, says):
    made = report()
    assert any(says in sentence for sentence in made.verdict)
    assert "went against the likeliest" in made.to_markdown()
    assert "went against the likeliest" in made.to_html()


@pytest.mark.parametrize("report", [lambda: evaluate(*three(5)), lambda: evaluate([1], [0.9])])
def test_the_verdict_does_not_warn_in_vain(report):
    assert not any("went against" in sentence for sentence in report().verdict)


def test_the_truth_is_held_where_it_was_missed():
    rng = np.random.default_rng(5)
    held = before = 0
    for _ in range(300):
        p = np.full(30, 0.05)
        y = rng.random(30) < p
        low, high = evaluate(y.astype(int), p, recalibrate=False, worst=1).interval
        entropy = -0.05 * math.log(0.05) - 0.95 * math.log(0.95)
        held += low <= entropy <= high
        losses = np.where(y, -math.log(0.05), -math.log(0.95))
        if y.any():
            old = mean_interval(30, losses.mean(), losses.std(ddof=1), stats.skew(losses))
            before += old[0] <= entropy <= old[1]
    assert before / 300 < 0.85
    assert held / 300 > 0.95
