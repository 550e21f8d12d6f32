"""What recalibration would save, in the report: the sample, the panel, the words."""

import json
import math

import numpy as np
import pytest
from scipy.special import expit, log_expit

from xent.evaluate import Collector, cross_fitted, evaluate
from xent.evaluate.mended import sample_size
from xent.evaluate.sample import RowSample

MOST = sample_size(2)


def overconfident(rows, seed, factor=2.0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    return (rng.random(rows) < expit(z)).astype(int), expit(factor * z)


def collected(y, p, step, **options):
    collector = Collector(["0", "1"], simulations=10, **options)
    for start in range(0, len(y), step):
        collector.add(y[start : start + step], p[start : start + step])
    return collector.finish()


def test_every_row_is_as_likely_and_pairs_are_too():
    """Of 200 rows 40 stay: each with chance 1/5, two of them with 40 * 39 / (200 * 199)."""
    counts, together = np.zeros(200), 0
    for seed in range(1500):
        sample = RowSample(40, seed)
        sample.add(np.arange(200), np.arange(200))
        kept = sample.columns()[0]
        assert len(set(kept.tolist())) == 40
        counts[kept] += 1
        together += 3 in kept and 4 in kept
    deviation = math.sqrt(1500 * 0.2 * 0.8)
    assert np.abs(counts - 300).max() < 4.5 * deviation
    chi2 = ((counts - 300) ** 2).sum() / deviation**2  # 199 degrees of freedom, sd 20
    assert 120 < chi2 < 280
    pair = 1500 * 40 * 39 / (200 * 199)
    assert abs(together - pair) < 4 * math.sqrt(pair)


def test_a_sample_is_exact_where_all_rows_fit_and_knows_no_chunks():
    values = np.random.default_rng(0).normal(size=(1000, 3))
    for most in (1000, 70):
        found = []
        for step in (1000, 7):
            sample = RowSample(most, 5)
            for start in range(0, 1000, step):
                rows = np.arange(start, min(start + step, 1000))
                sample.add(rows, values[rows], rows)
            found.append(sample.columns())
            assert sample.seen == 1000
        assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))
        assert np.array_equal(found[0][0], values[found[0][1]])
        assert len(found[0][1]) == most
        assert (np.diff(found[0][1]) > 0).all()


def test_samples_of_parts_merge_into_that_of_the_whole():
    whole, left, right = (RowSample(50, 9) for _ in range(3))
    whole.add(np.arange(500), np.arange(500))
    left.add(np.arange(300), np.arange(300))
    right.add(np.arange(300, 500), np.arange(300, 500))
    left.merge(right)
    assert left.seen == 500
    assert np.array_equal(left.columns()[0], whole.columns()[0])


def test_the_panel_is_cross_fitted_on_all_rows_where_they_fit():
    y, p = overconfident(3000, 0)
    report = evaluate(y, p, seed=4)
    logs = np.log(np.column_stack([1 - p, p]))
    own = cross_fitted(y, logs, ["temperature", "platt", "isotonic"], 5, 4)
    panel = report.recalibration
    assert (panel["rows"], panel["of_rows"], panel["best"]) == (3000, 3000, own.best.method)
    assert panel["loss_before"] == pytest.approx(report.cross_entropy, rel=1e-12)
    for result, truth in zip(panel["results"], own.results, strict=True):
        assert result["method"] == truth.method
        assert result["loss_after"] == pytest.approx(truth.loss_after, rel=1e-9)
    assert panel["results"][0]["parameters"]["temperature"] == pytest.approx(2, abs=0.3)
    assert "all 3000 rows" in report.method["recalibration"]


def test_a_large_input_is_judged_by_a_sample_that_chunks_do_not_change():
    y, p = overconfident(MOST + 5000, 1)
    one, other = collected(y, p, len(y)), collected(y, p, 1234)
    assert one.recalibration == other.recalibration
    assert (one.recalibration["rows"], one.recalibration["of_rows"]) == (MOST, len(y))
    assert f"a random {MOST} of the {len(y)} rows" in one.method["recalibration"]
    assert collected(y, p, len(y), seed=1).recalibration["loss_before"] != one.recalibration["loss_before"]


@pytest.mark.parametrize("kind", ["probabilities", "log", "logits"])
@pytest.mark.parametrize("single", [True, False])
def test_every_kind_of_numbers_gives_the_same_panel(kind, single):
    rng = np.random.default_rng(2)
    z = rng.normal(size=400)
    y = (rng.random(400) < expit(z / 2)).astype(int)
    numbers = {"probabilities": expit, "log": log_expit, "logits": lambda d: d}[kind]
    values = numbers(z) if single else np.column_stack([numbers(-z), numbers(z)])
    if kind == "logits" and not single:
        values = np.column_stack([np.zeros(400), z]) + 5
    report = evaluate(y, values, kind=kind)
    truth = evaluate(y, expit(z)).recalibration
    assert report.recalibration["loss_before"] == pytest.approx(truth["loss_before"], rel=1e-12)
    assert report.recalibration["results"][0]["loss_after"] == pytest.approx(
        truth["results"][0]["loss_after"], rel=1e-8
    )


@pytest.mark.parametrize(("factor", "rows", "said"), [
    (2.0, 4000, "The best recalibration, temperature with T = "),
    (1.0, 400, "nothing that can be told"),
    (1.0, 400, None),
])  # fmt: skip
def test_the_verdict_says_what_the_best_saves(factor, rows, said):
    y, p = overconfident(rows, 3, factor)
    report = evaluate(y, p)
    words = [s for s in report.verdict if "recalibration" in s]
    assert len(words) == 1  # said once: the estimate by isotonic regression gives way to the cross-fitted one
    if said and report.recalibration["best"]:
        assert said in words[0]
    panel = report.recalibration
    if panel["best"] is None:
        assert words[0].startswith("No recalibration of those tried (temperature, platt, isotonic)")
    elif next(r for r in panel["results"] if r["method"] == panel["best"])["interval"][0] > 0:
        assert "saves" in words[0]
        assert "nothing" not in words[0]


def test_an_infinite_loss_is_mended_by_isotonic_alone():
    y, p = overconfident(500, 4)
    p[np.flatnonzero(y == 1)[0]] = 0.0
    report = evaluate(y, p)
    assert report.cross_entropy == math.inf
    assert report.recalibration["best"] == "isotonic"
    assert any("isotonic, makes the cross-entropy finite" in s for s in report.verdict)
    assert "isotonic makes it finite" in report.to_html()
    json.loads(report.to_json())


def test_few_rows_are_not_tried_and_it_is_said():
    report = evaluate([0, 1], [0.2, 0.9])
    assert report.recalibration is None
    assert "2 rows" in report.method["recalibration"]
    assert evaluate(*overconfident(100, 5), recalibrate=False).method["recalibration"] == "not asked for"


def test_dear_methods_are_left_out_and_named():
    rng = np.random.default_rng(6)
    z = rng.normal(size=(300, 120))
    y = rng.integers(0, 120, 300)
    report = evaluate(y, z, kind="logits")
    panel = report.recalibration
    assert [r["method"] for r in panel["results"]] == ["temperature"]
    assert {o["method"] for o in panel["left_out"]} == {"vector", "isotonic"}
    text = report.to_markdown()
    assert "more than 100 classes" in text
    assert "more than 100 classes" in report.to_html()
    assert "| temperature |" in text
    assert ("recalibration", "results.0.method", "temperature") in report.to_rows()


def test_long_maps_are_counted_not_told():
    rng = np.random.default_rng(7)
    z = rng.normal(size=(2500, 60))
    y = np.array([rng.choice(60, p=w / w.sum()) for w in np.exp(z)])
    panel = evaluate(y, z, kind="logits").recalibration
    isotonic = next(r for r in panel["results"] if r["method"] == "isotonic")
    assert isotonic["numbers"] > 1000
    assert isotonic["parameters"] == {}


def test_samples_of_many_classes_stay_within_the_memory_of_a_report():
    assert all(sample_size(k) * k <= 2_000_000 for k in (2, 3, 50, 1000, 5000, 100_000))
