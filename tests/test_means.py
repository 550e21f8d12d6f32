"""Student's t, Wilson's interval, Holm, clustered errors: SciPy, mpmath and by hand."""

import math

import mpmath
import numpy as np
import pytest
from scipy import stats

from xent.evaluate._means import Mean, holm, mean_of, t_two_sided, wilson
from xent.evaluate.intervals import two_sided_t

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("df", [1, 2, 3, 7.5, 30, 99, 101, 1e3, 1e5, 1e7])
@pytest.mark.parametrize("t", [0.0, 1e-8, 0.3, 1.0, 1.7, 1.74, 2.5, 6.0, 25.0])
def test_students_tail(t, df):
    with mpmath.workdps(40):
        x = mpmath.mpf(df) / (df + mpmath.mpf(t) ** 2)
        truth = float(mpmath.betainc(mpmath.mpf(df) / 2, 0.5, 0, x, regularized=True)) if df < 1e4 else None
    if truth is None:
        truth = 2 * stats.t.sf(t, df)
    assert t_two_sided(t, df) == pytest.approx(truth, rel=1e-9 if df > 1e6 else 1e-11)
    assert t_two_sided(-t, df) == t_two_sided(t, df)


def test_students_tail_at_the_ends():
    assert t_two_sided(math.inf, 3) == 0
    assert math.isnan(t_two_sided(math.nan, 3))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("df", [1, 2, 10, 1e6])
def test_students_quantile(level, df):
    assert two_sided_t(level, df) == pytest.approx(stats.t.ppf(0.5 + level / 2, df), rel=1e-9)
    with pytest.raises(ValueError, match="level"):
        two_sided_t(1.0, df)


def test_wilson_is_scipys():
    for k, n in [(0, 7), (7, 7), (3, 9), (123, 100_000)]:
        theirs = stats.binomtest(k, n).proportion_ci(0.9, method="wilson")
        assert wilson(k, n, 0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_holm():
    found = holm([0.02, math.nan, 0.011, 0.5])
    # four tests: 0.011 x 4, 0.02 x 3, 0.5 x 2
    assert [found[k] for k in (0, 2, 3)] == pytest.approx([0.06, 0.044, 1.0])
    assert math.isnan(found[1])
    p = RNG.random(8) ** 3
    theirs = [max(min(1.0, (8 - i) * v) for i, v in enumerate(sorted(p)) if v <= q) for q in p]
    assert holm(p.tolist()) == pytest.approx(theirs)


def test_a_mean_and_its_test_are_scipys():
    v = RNG.normal(size=30) + 0.3
    found, theirs = mean_of(v), stats.ttest_1samp(v, 0)
    assert found.p_value() == pytest.approx(theirs.pvalue, rel=1e-10)
    assert found.interval(0.9) == pytest.approx(tuple(theirs.confidence_interval(0.9)), rel=1e-9)


def test_clusters():
    v, c = RNG.normal(size=40), np.repeat(np.arange(10), 4)
    found = mean_of(v, clusters=c)
    means = v.reshape(10, 4).mean(axis=1)  # clusters of one size: the means of the clusters are the sample
    assert found.value == pytest.approx(means.mean())
    assert found.error == pytest.approx(stats.sem(means))
    assert found.df == 9
    alone = mean_of(v, clusters=np.arange(40))
    assert alone.error == pytest.approx(mean_of(v).error)
    copies = mean_of(np.repeat(v, 5), clusters=np.repeat(np.arange(40), 5))
    assert copies.error == pytest.approx(mean_of(v).error)


def test_weights():
    v, w = RNG.normal(size=20), RNG.random(20)
    w[3] = 0
    v[3] = math.inf  # 0 times infinity is not a cost
    found = mean_of(v, w)
    kept = w > 0
    assert found.value == pytest.approx(np.average(v[kept], weights=w[kept]))
    assert found.df == 18


def test_what_is_not_known_is_nan():
    assert math.isnan(mean_of([1.0]).error)
    assert mean_of([1.0, math.inf]).value == math.inf
    assert math.isnan(mean_of([1.0, math.inf]).error)
    assert math.isnan(mean_of([-math.inf, math.inf]).value)
    assert Mean(0.0, 0.0, 5).p_value() == 1.0
    assert math.isnan(Mean(1.0, 0.0, 5).p_value())
    assert math.isnan(Mean(1.0, math.nan, 5).p_value())
    assert all(math.isnan(v) for v in Mean(1.0, math.nan, 5).interval())
