"""The panels: scikit-learn and SciPy where they are right, closed forms, the known wrong cases of peers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import isotonic_regression
from sklearn import metrics

from xent.evaluate import curves, decomposition, evaluate, isotonic, ranked, reliability, slices, surprise
from xent.evaluate.confusion import Confusion
from xent.evaluate.ranked import Ranked, ScoreCounts


def counted(p, y, **options):
    counts = ScoreCounts(**options)
    p = np.asarray(p, dtype=float)
    counts.add(p, 1 - p, np.asarray(y))
    return counts.ranked()


def drawn(rows, seed, digits=None):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.5, 1.0, rows)
    p = p.round(digits) if digits else p
    return p, (rng.random(rows) < p**1.3).astype(np.int64)


@given(st.integers(1, 60), st.integers(0, 10**6), st.booleans())
@settings(max_examples=60, deadline=None)
def test_isotonic_agrees_with_scipy(size, seed, stack):
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 6, size)
    hits = rng.binomial(rows, 0.5)
    first, n, k = isotonic.pool(rows, hits)
    if stack:
        fence = np.zeros(size, dtype=bool)
        fence[0] = True
        first, n, k = isotonic._one_by_one(np.arange(size), rows, hits, fence)
    fit = np.repeat(k / n, np.diff(np.append(first, size)))
    assert fit == pytest.approx(isotonic_regression(hits / rows, weights=rows).x)
    assert (np.diff(k / n) > 0).all()


def test_isotonic_of_many_sequences_and_of_a_long_staircase():
    rng = np.random.default_rng(0)
    rows, hits = np.ones(120, dtype=np.int64), rng.integers(0, 2, 120)
    first, n, k = isotonic.pool(rows, hits, np.arange(0, 120, 40))
    fit = np.repeat(k / n, np.diff(np.append(first, 120)))
    for start in (0, 40, 80):
        part = slice(start, start + 40)
        assert fit[part] == pytest.approx(isotonic_regression(hits[part].astype(float)).x)
    size = 300  # each late score pulls one more step down: more passes than are made over all
    rows = np.full(size + 1, 1000, dtype=np.int64)
    hits = np.append(np.arange(size) + 1, 0)
    rows[-1] = 10**6
    first, n, k = isotonic.pool(rows, hits)
    fit = np.repeat(k / n, np.diff(np.append(first, size + 1)))
    assert fit == pytest.approx(isotonic_regression(hits / rows, weights=rows).x)


@given(st.integers(2, 80), st.integers(0, 10**6), st.sampled_from([None, 1, 2]))
@settings(max_examples=60, deadline=None)
def test_curves_agree_with_scikit_learn(rows, seed, digits):
    p, y = drawn(rows, seed, digits)
    y[:2] = [0, 1]
    panel = curves.curves_panel(counted(p, y))
    assert panel["auc"] == pytest.approx(metrics.roc_auc_score(y, p))
    assert panel["average_precision"] == pytest.approx(metrics.average_precision_score(y, p))
    fpr, tpr, _ = metrics.roc_curve(y, p, drop_intermediate=False)
    assert [r["fpr"] for r in panel["roc"]] == pytest.approx(fpr)
    assert [r["tpr"] for r in panel["roc"]] == pytest.approx(tpr)


def test_curves_are_bounded_and_the_areas_are_not_thinned():
    p, y = drawn(5000, 1)
    panel = curves.curves_panel(counted(p, y))
    assert len(panel["roc"]) <= 202
    assert panel["auc"] == pytest.approx(metrics.roc_auc_score(y, p), rel=1e-12)
    assert panel["roc"][-1]["fpr"] == panel["roc"][-1]["tpr"] == 1.0


def test_thresholds_agree_with_scikit_learn():
    p, y = drawn(400, 2, 2)
    table = curves.thresholds_panel(counted(p, y))
    for t in table:
        chosen = p >= t["threshold"]
        tn, fp, fn, tp = metrics.confusion_matrix(y, chosen, labels=[0, 1]).ravel()
        assert (t["tn"], t["fp"], t["fn"], t["tp"]) == (tn, fp, fn, tp)
        assert t["f1"] == pytest.approx(metrics.f1_score(y, chosen))
    best = max(metrics.f1_score(y, p >= s) for s in np.unique(p))
    assert next(t for t in table if t["why"] == "best F1")["f1"] == pytest.approx(best)


@given(st.integers(2, 60), st.integers(0, 10**6), st.sampled_from([None, 1]))
@settings(max_examples=60, deadline=None)
def test_decomposition_is_that_of_the_paper(rows, seed, digits):
    p, y = drawn(rows, seed, digits)
    p = p.clip(0.01, 0.99)
    order = np.argsort(p, kind="stable")
    values, start = np.unique(p[order], return_index=True)
    weights = np.diff(np.append(start, rows))
    fit = isotonic_regression(np.add.reduceat(y[order], start) / weights, weights=weights).x
    recalibrated = fit[np.searchsorted(values, p)]
    share = y.mean()

    def loss(q):
        q = np.broadcast_to(q, y.shape)
        chosen = np.where(y, q, 1 - q)
        return -np.log(chosen).mean()

    found = decomposition.decompose(counted(p, y))
    assert found["loss"] == pytest.approx(loss(p))
    assert found["uncertainty"] == pytest.approx(loss(share), abs=1e-12)
    assert found["miscalibration"] == pytest.approx(loss(p) - loss(recalibrated), abs=1e-12)
    assert found["discrimination"] == pytest.approx(loss(share) - loss(recalibrated), abs=1e-12)


def test_an_impossible_event_leaves_discrimination_finite():
    found = decomposition.decompose(counted([0.0, 0.5, 1.0, 1.0], [1, 0, 1, 1]))
    assert found["loss"] == found["miscalibration"] == math.inf
    assert 0 <= found["discrimination"] <= found["uncertainty"]


def test_calibration_error_of_a_certain_prediction_stays_in_the_last_bin():
    # torchmetrics puts p = 1 into a bin of its own and says 0.525 (issue 3510)
    assert reliability.calibration_error(counted([0.95, 1.0], [1, 0])) == pytest.approx(0.475)
    # and takes a softmax's 1.0000002 for logits
    assert reliability.calibration_error(counted([0.95, 1.0000002], [1, 0])) == pytest.approx(0.475, abs=1e-6)


def test_calibration_error_stands_beside_what_chance_makes():
    for rows in (300, 3000):
        rng = np.random.default_rng(rows)
        p = rng.beta(1, 2, rows)
        r = counted(p, rng.random(rows) < p)
        panel = reliability.reliability_panel(r, decomposition.Null.draw(r))
        place = (p * 15).astype(int)
        drawn_errors = [
            np.abs(np.bincount(place, weights=p - (rng.random(rows) < p), minlength=15)).sum() / rows
            for _ in range(400)
        ]
        assert panel["expected_if_calibrated"] == pytest.approx(np.mean(drawn_errors), rel=0.05)
        assert panel["chance_95"] == pytest.approx(np.quantile(drawn_errors, 0.95), rel=0.06)


def test_calibrated_predictions_are_rejected_at_the_level():
    p_decomposition, p_error, inside, points = [], [], 0, 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        p = rng.beta(1, 2, 400)
        r = counted(p, rng.random(400) < p)
        null = decomposition.Null.draw(r, seed=seed, simulations=99)
        p_decomposition.append(decomposition.decomposition_panel(r, null)["p_value"])
        panel = reliability.reliability_panel(r, null)
        p_error.append(panel["p_value"])
        inside += sum(q["low"] - 1e-12 <= q["observed"] <= q["high"] + 1e-12 for q in panel["points"])
        points += len(panel["points"])
    for values in (p_decomposition, p_error):
        assert 0 <= np.mean(np.array(values) <= 0.05) <= 0.12
        assert 0.4 < np.mean(values) < 0.6
    assert 0.85 < inside / points < 0.95


def test_overconfidence_is_found():
    rng = np.random.default_rng(3)
    z = rng.normal(0, 1.5, 2000)
    y = rng.random(2000) < 1 / (1 + np.exp(-z))
    r = counted(1 / (1 + np.exp(-1.7 * z)), y)
    null = decomposition.Null.draw(r)
    panel = decomposition.decomposition_panel(r, null)
    assert panel["p_value"] < 0.01
    assert panel["miscalibration"] > panel["chance_95"]


def test_draws_repeat_with_the_seed():
    r = counted(*drawn(300, 4))
    one, same, other = (decomposition.Null.draw(r, seed=s).hits for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_cells_hold_what_the_scores_do():
    p, y = drawn(20_000, 5)
    p[:3], y[:3] = [0.0, 1.0, 1e-30], [0, 1, 0]
    exact, cells = counted(p, y), counted(p, y, exact=100)
    assert exact.p.size > 19_000
    assert cells.rows.sum() == exact.rows.sum()
    assert cells.hits.sum() == exact.hits.sum()
    assert (np.diff(cells.p) >= 0).all()
    assert cells.p @ cells.rows == pytest.approx(exact.p @ exact.rows, rel=1e-12)
    assert curves.area_under_roc(cells) == pytest.approx(curves.area_under_roc(exact), abs=1e-6)
    one, other = decomposition.decompose(cells), decomposition.decompose(exact)
    for name in one:
        assert one[name] == pytest.approx(other[name], abs=1e-4), name
    assert cells.loss() == pytest.approx(exact.loss(), rel=1e-7)


def test_cells_of_several_columns_are_those_of_each():
    rng = np.random.default_rng(6)
    p = rng.dirichlet([0.3, 0.3, 0.3], 500)
    y = rng.integers(0, 3, 500)
    for exact in (10**6, 100):
        counts = ScoreCounts(3, exact=exact)
        for part in (slice(0, 200), slice(200, 500)):
            counts.add(p[part], 1 - p[part], y[part])
        assert counts.exact == (exact > 1500)
        for k in range(3):
            found, alone = counts.ranked(k), counted(p[:, k], y == k, exact=exact)
            assert found.hits.sum() == (y == k).sum()
            assert curves.area_under_roc(found) == pytest.approx(curves.area_under_roc(alone), abs=1e-4)


def test_both_ends_keep_their_digits():
    tiny = 1e-25
    counts = ScoreCounts()
    counts.add(np.array([1.0, tiny]), np.array([tiny, 1.0]), np.array([0, 1]))
    assert counts.ranked().loss() == pytest.approx(-math.log(tiny))


def test_groups_are_cut_at_the_edges_and_are_of_equal_size():
    r = counted(*drawn(5000, 7))
    first = ranked.compress(r, 50, np.array([0.5]))
    assert len(first) <= 51
    assert int(np.searchsorted(r.p, 0.5)) in first
    assert np.add.reduceat(r.rows, first).max() <= 101


def test_loss_shares_are_those_of_sorted_losses():
    rng = np.random.default_rng(8)
    losses = rng.exponential(1.0, 1000) ** 2
    counts = surprise.LossCounts()
    counts.add(losses[:300])
    counts.add(losses[300:])
    panel = surprise.distribution_panel(counts)
    worst = np.sort(losses)[::-1]
    for c in panel["carried"]:
        k = c["rows_share"] * 1000
        part = worst[: int(k)].sum() + worst[int(k)] * (k - int(k))
        assert c["loss_share"] == pytest.approx(part / losses.sum())
    assert sum(b["rows"] for b in panel["histogram"]) == 1000
    median = next(q["nats"] for q in panel["quantiles"] if q["share"] == 0.5)
    assert median == pytest.approx(np.median(losses), rel=0.01)
    coarse = surprise.LossCounts(exact=10)
    coarse.add(losses)
    for one, other in zip(surprise.distribution_panel(coarse)["carried"], panel["carried"], strict=True):
        assert one["loss_share"] == pytest.approx(other["loss_share"], rel=5e-3)


def test_infinite_losses_carry_everything_and_say_nothing():
    counts = surprise.LossCounts()
    counts.add(np.array([0.1, math.inf]))
    panel = surprise.distribution_panel(counts)
    assert all(c["loss_share"] is None for c in panel["carried"])
    assert panel["histogram"][-1]["rows"] == 1


def test_no_more_surprises_than_expected_where_the_model_is_right():
    # cleanlab flags 17 % of such rows as label errors
    rng = np.random.default_rng(9)
    p = rng.dirichlet([0.4] * 5, 20_000)
    y = (p.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    columns = [counted(p[:, k], y == k) for k in range(5)]
    tail = surprise.Tail(columns, both_sides=False)
    losses = -np.log(p[np.arange(20_000), y])
    for nats in (0.5, 1.0, 3.0, 5.0):
        expected = tail.expected(nats)
        assert abs((losses >= nats).sum() - expected) < 4 * math.sqrt(expected)
    entropies = -(p * np.log(np.maximum(p, 1e-300))).sum()
    assert tail.expected_loss == pytest.approx(entropies)


def test_slices_and_their_tests():
    rng = np.random.default_rng(10)
    names = np.array(["a", "b", "c"])[rng.integers(0, 3, 900)]
    losses = rng.exponential(1.0, 900) + (names == "b")
    right = rng.random(900) < 0.7
    sums = slices.SliceSums("g")
    for part in (slice(0, 10), slice(10, 900)):
        sums.add(names[part], losses[part], right[part], np.full(900, 0.6)[part])
    panel = sums.panel(losses.sum())
    assert panel["values"][0]["value"] == "b"
    for v in panel["values"]:
        mine = losses[names == v["value"]]
        assert v["rows"] == mine.size
        assert v["cross_entropy"] == pytest.approx(mine.mean())
        assert v["low"] < mine.mean() < v["high"]
        assert v["accuracy"] == pytest.approx(right[names == v["value"]].mean())
        assert v["loss_share"] == pytest.approx(mine.sum() / losses.sum())
    assert panel["values"][0]["p_value"] < 1e-6
    with pytest.raises(ValueError, match="more than 1000 values"):
        slices.SliceSums("id").add(np.arange(1001), np.zeros(1001), np.zeros(1001), np.zeros(1001))


def test_slices_are_tested_by_welchs_t():
    rng = np.random.default_rng(3)
    group, losses = np.r_[0, 0, 0, np.ones(40, dtype=int)], rng.exponential(1.0, 43)
    sums = slices.GroupSums()
    sums.add(group, losses, np.ones(43), np.ones(43))
    truth = stats.ttest_ind(losses[:3], losses[3:], equal_var=False).pvalue
    assert sums.against_rest() == pytest.approx([min(1.0, 2 * truth)] * 2, rel=1e-9)  # Holm, of two
    tiny = slices.GroupSums()
    tiny.add(group, losses * 1e-150, np.ones(43), np.ones(43))
    assert tiny.against_rest() == pytest.approx(sums.against_rest(), rel=1e-9)


def test_intervals_of_few_costly_rows_say_so():
    sums = slices.GroupSums()
    right = np.r_[np.zeros(4), np.ones(20), np.zeros(5), np.ones(20), 1]
    group = np.r_[np.zeros(24, dtype=int), np.ones(25, dtype=int), 2]
    sums.add(group, np.where(right == 1, 0.1, 2.0), right, np.full(50, 0.9))
    found = [sums.figures(g) for g in range(3)]
    assert [f["misses"] for f in found] == [4, 5, 0]
    assert [f["few"] for f in found] == [True, False, False]  # a single row has no interval


def test_intervals_of_classes_are_at_the_level_asked():
    rng = np.random.default_rng(5)
    p = rng.dirichlet([2, 2], 300)
    y = (rng.random(300) < p[:, 1]).astype(int)
    wide, narrow = evaluate(y, p, level=0.99), evaluate(y, p, level=0.5)
    for a, b in zip(wide.per_class, narrow.per_class, strict=True):
        assert a["low"] < b["low"] < b["high"] < a["high"]


def test_slices_alike_are_called_unlike_no_more_often_than_the_level():
    found = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sums = slices.GroupSums()
        sums.add(rng.integers(0, 5, 500), rng.exponential(1.0, 500), np.ones(500), np.ones(500))
        found += min(sums.against_rest()) <= 0.05
    assert found <= 22


@pytest.mark.parametrize("classes", [3, 3000])
def test_confusion(classes):
    rng = np.random.default_rng(11)
    y, predicted, loss = rng.integers(0, 3, 200), rng.integers(0, 3, 200), rng.exponential(1.0, 200)
    confusion = Confusion(classes)
    for part in (slice(0, 90), slice(90, 200)):
        confusion.add(y[part], predicted[part], loss[part])
    names = [f"c{k}" for k in range(classes)]
    panel = confusion.panel(names)
    truth = metrics.confusion_matrix(y, predicted)
    if classes == 3:
        assert panel["counts"] == truth.tolist()
    else:
        assert panel["counts"] is None
    for pair in panel["pairs"]:
        a, b = names.index(pair["label"]), names.index(pair["predicted"])
        assert pair["rows"] == truth[a, b]
        assert pair["loss"] == pytest.approx(loss[(y == a) & (predicted == b)].sum())
    given, right, top = confusion.by_class()
    assert given[:3].tolist() == truth.sum(axis=0).tolist()
    assert right[:3].tolist() == truth.diagonal().tolist()
    off = truth - np.diag(truth.diagonal())
    assert [top[k][1] for k in range(3)] == off.max(axis=1).tolist()


def test_empty_counts_have_no_scores():
    empty = ScoreCounts().ranked()
    assert isinstance(empty, Ranked)
    assert empty.p.size == 0
