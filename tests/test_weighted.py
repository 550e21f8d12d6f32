"""Weights: as rows repeated, as mpmath sums, as `figures`; never silently left away."""

import json
import math

import mpmath
import numpy as np
import polars as pl
import pytest
from scipy import stats
from scipy.special import expit

from command import run
from pages import read
from xent.evaluate import WeightedCollector, cross_fitted, evaluate, figures
from xent.evaluate._means import mean_of
from xent.evaluate.inputs import log_probabilities

MEANS = ("cross_entropy", "label_entropy", "skill", "saving", "accuracy", "confidence", "brier", "perplexity",
         "expected_cross_entropy")  # fmt: skip


def case(rows=300, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, classes))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(classes, p=q) for q in p])
    if classes == 2:
        p = p[:, 1]
    return y, p, rng.integers(0, 4, rows).astype(float), rng.integers(0, 3, rows)


@pytest.mark.parametrize("classes", [2, 3])
def test_whole_weights_are_rows_repeated(classes):
    y, p, w, by = case(classes=classes)
    times = w.astype(int)
    one = evaluate(y, p, sample_weight=w, by={"part": by})
    many = evaluate(np.repeat(y, times), np.repeat(p, times, axis=0), by={"part": np.repeat(by, times)})
    for name in MEANS:
        assert one.figures[name] == pytest.approx(many.figures[name], rel=1e-12), name
    for a, b in zip(one.per_class, many.per_class, strict=True):
        for name in ("cross_entropy", "share", "loss_share", "recall", "precision"):
            assert a[name] == pytest.approx(b[name], rel=1e-12), name
    for a, b in zip(one.slices[0]["values"], many.slices[0]["values"], strict=True):
        assert a["value"] == b["value"]
        for name in ("cross_entropy", "share", "loss_share", "accuracy", "confidence"):
            assert a[name] == pytest.approx(b[name], rel=1e-12), name


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_the_loss_and_its_error_by_mpmath_at_any_scale(scale):
    y, p, w, _ = case(40, 2, 1)
    w = w + 0.25
    found = evaluate(y, p, sample_weight=w * scale)
    with mpmath.workdps(40):
        losses = [
            -mpmath.log(mpmath.mpf(float(q)) if k else 1 - mpmath.mpf(float(q))) for k, q in zip(y, p, strict=True)
        ]
        weight = [mpmath.mpf(float(v)) for v in w]
        total = mpmath.fsum(weight)
        mean = mpmath.fsum(a * b for a, b in zip(weight, losses, strict=True)) / total
        square = mpmath.fsum((a * (b - mean)) ** 2 for a, b in zip(weight, losses, strict=True))
        error = mpmath.sqrt(square * 40 / 39) / total
        effective = total**2 / mpmath.fsum(a * a for a in weight)
    assert found.cross_entropy == pytest.approx(float(mean), rel=1e-14)
    assert found.figures["standard_error"] == pytest.approx(float(error), rel=1e-12)
    assert found.data["effective_rows"] == pytest.approx(float(effective), rel=1e-12)


def test_the_figures_of_every_command_and_the_error_of_the_saving():
    y, p, w, _ = case(500, 4, 2)
    found = evaluate(y, p, sample_weight=w)
    other = figures(np.log(p), y, weights=w)
    for name in ("cross_entropy", "standard_error", "label_entropy", "skill", "accuracy", "brier"):
        assert found.figures[name] == pytest.approx(getattr(other, name), rel=1e-12), name
    shares = np.bincount(y, weights=w) / w.sum()
    saved = mean_of(-np.log(shares[y]) + np.log(p[np.arange(500), y]), w)
    assert found.figures["saving"] == pytest.approx(saved.value, rel=1e-10)
    assert (found.figures["saving_low"], found.figures["saving_high"]) == pytest.approx(saved.interval(), rel=1e-9)


def test_weights_of_one_change_no_interval():
    y, p, _, by = case(400, 3, 3)
    one, plain = evaluate(y, p, sample_weight=np.full(400, 7.0), by={"b": by}), evaluate(y, p, by={"b": by})
    for name in ("interval", "standard_error", "saving_low", "saving_high", "cross_entropy"):
        assert one.figures[name] == pytest.approx(plain.figures[name], rel=1e-9), name
    for a, b in zip([*one.per_class, *one.slices[0]["values"]], [*plain.per_class, *plain.slices[0]["values"]],
                    strict=True):  # fmt: skip
        for name in ("low", "high", *(["p_value"] if "p_value" in a else [])):
            assert a[name] == pytest.approx(b[name], rel=1e-6), name


def test_slices_are_tested_against_the_rest_by_weighted_means():
    y, p, w, by = case(600, 2, 4)
    found = evaluate(y, p, sample_weight=w, by={"b": by == 0})
    loss = -log_probabilities(p, "probabilities")[np.arange(600), y]
    here, there = mean_of(loss[by == 0], w[by == 0]), mean_of(loss[by != 0], w[by != 0])
    t = abs(here.value - there.value) / math.hypot(here.error, there.error)
    freedom = math.hypot(here.error, there.error) ** 4 / (here.error**4 / here.df + there.error**4 / there.df)
    truth = 2 * stats.t.sf(t, freedom)
    assert found.slices[0]["values"][0]["p_value"] == pytest.approx(min(1, 2 * truth), rel=1e-6)  # Holm, of two


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Beta(1, 1) probabilities that come true, rows drawn by p and weighted back: the truth is 1/2 nat."""
    rng, held, trials = np.random.default_rng(5), 0, 400
    for _ in range(trials):
        p = rng.beta(1.5, 1, 300)  # sampled with density ~ sqrt(p)
        report = evaluate((rng.random(300) < p).astype(int), p, sample_weight=p**-0.5, recalibrate=False)
        held += report.interval[0] <= 0.5 <= report.interval[1]
    assert abs(held / trials - 0.95) < 4 * math.sqrt(0.05 * 0.95 / trials)


def test_recalibration_takes_the_weights():
    rng = np.random.default_rng(6)
    z = rng.normal(size=2000)
    factor = np.where(np.arange(2000) % 2, 3.0, 1.0)
    y = (rng.random(2000) < expit(z)).astype(int)
    p, w = expit(factor * z), np.where(factor == 3, 1.0, 0.0)
    report = evaluate(y, p, sample_weight=w, seed=1)
    best = report.recalibration["results"][0]
    assert best["parameters"]["temperature"] == pytest.approx(3, abs=0.5)
    half = factor == 3
    own = cross_fitted(y[half], log_probabilities(p[half], "probabilities"), ["temperature"], 5, 1)
    assert best["loss_after"] == pytest.approx(own.results[0].loss_after, rel=1e-9)
    assert any("The best recalibration" in s and "saves" in s for s in report.verdict)


def test_rows_of_weight_0_cost_nothing_not_even_infinity():
    report = evaluate([0, 1, 1], [0.2, 0.9, 0.0], sample_weight=[1, 1, 0])
    assert report.cross_entropy == pytest.approx(-(math.log(0.8) + math.log(0.9)) / 2)
    assert report.data["rows_of_weight_0"] == 1
    lost = evaluate([0, 1, 1], [0.2, 0.9, 0.0], sample_weight=[3, 1, 0.5])
    assert (lost.cross_entropy, lost.figures["impossible_rows"]) == (math.inf, [2])
    assert lost.figures["finite_cross_entropy"] == pytest.approx(-(3 * math.log(0.8) + math.log(0.9)) / 4)
    assert "infinite" in str(lost)


def test_what_takes_no_weights_is_empty_and_named():
    y, p, w, _ = case(200, 2)
    report = evaluate(y, p, sample_weight=w)
    for name in report.method["left_out"].split(":")[0].split(", "):
        assert not getattr(report, name)
    text = report.to_markdown()
    assert "they take no weights" in text
    assert "Calibration" not in text
    json.loads(report.to_json())
    assert report.to_rows()
    assert "iframe" in report._repr_html_()
    for panel in ("reliability", "losses", "decomposition", "roc"):
        with pytest.raises(ValueError, match="takes no weights"):
            report.plot(panel)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_page_has_the_panels_that_take_weights(classes):
    y, p, w, by = case(300, classes)
    w[:5] = 0
    report = evaluate(y, p, sample_weight=w, by={"part": by})
    page = read(report.to_html())
    keys = [s["id"] for s in page.all("section")]
    assert keys == ["loss", "data", "recalibration", "classes", "slices", "method"]
    text = page.all("main")[0].text
    assert f"{np.count_nonzero(w == 0)} more rows have weight 0" in text
    assert "Panels that count rows take no weights and are left out" in text
    assert "each as it is" not in text  # nothing was drawn
    shown = page.all("dl")[0].text
    assert f"{report.cross_entropy:.3g}"[:4] in shown
    assert "Calibration error" not in shown


def test_chunks_are_the_whole():
    y, p, w, by = case(1000, 3, 8)
    one = WeightedCollector(["a", "b", "c"])
    for start in range(0, 1000, 37):
        part = slice(start, start + 37)
        one.add(y[part], p[part], w[part], by={"b": by[part]})
    split, whole = one.finish(), evaluate(y, p, sample_weight=w, by={"b": by})
    for name in (*MEANS, "standard_error", "saving_low"):
        assert split.figures[name] == pytest.approx(whole.figures[name], rel=1e-10), name


@pytest.mark.parametrize(
    ("weights", "words"),
    [([1, -1], "not negative"), ([1, math.nan], "finite"), ([0, 0], "not all zero"), ([1], r"shape \(2,\)")],
)
def test_what_is_no_weight(weights, words):
    with pytest.raises(ValueError, match=words):
        evaluate([0, 1], [0.2, 0.7], sample_weight=weights)
    with pytest.raises(ValueError, match="surprising"):
        evaluate([0, 1], [0.2, 0.7], sample_weight=[1, 1], carried={"id": [1, 2]})


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.npz"])
def test_the_command(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    y, p, w, by = case(300, 2, 9)
    if name.endswith("npz"):
        np.savez(name, y=y, probs=p, w=w, b=by)
        args = []
    else:
        frame = pl.DataFrame({"y": y, "p": p, "w": w, "b": by})
        (frame.write_csv if name.endswith("csv") else frame.write_parquet)(name)
        args = ["-t", "y", "-p", "p"]
    result = run("evaluate", name, *args, "--weight", "w", "--by", "b", "--json")
    document = json.loads(result.stdout)
    truth = evaluate(y, p, sample_weight=w, by={"b": by})
    assert document["cross_entropy"] == pytest.approx(truth.cross_entropy, rel=1e-12)
    assert document["interval"] == pytest.approx(list(truth.interval), rel=1e-9)
    assert len(document["slices"][0]["values"]) == 3
    assert "take no weights" in result.stderr
    shown = run("evaluate", name, *args, "--weight", "w", "-o", "r.md")
    assert "-- Classes" in shown.stdout
    assert "-- Calibration" not in shown.stdout
    assert "take no weights" in (tmp_path / "r.md").read_text()
    run("evaluate", name, *args, "--weight", "w", "-o", "r.html")
    assert "take no weights" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize(
    ("column", "args", "words"),
    [
        ("1,-2", [], "the first is row 2 (-2)"),
        ("1,", [], "missing"),
        ("0,0", [], "no rows of weight above 0"),
        ("1,1", ["--id", "w"], "--id tells of the most surprising rows"),
        ("1,1", ["--pairs"], "--pairs takes no --weight"),
    ],
)
def test_the_command_refuses(tmp_path, monkeypatch, column, args, words):
    monkeypatch.chdir(tmp_path)
    a, b = column.split(",")
    (tmp_path / "p.csv").write_text(f"y,p,w\n0,0.2,{a}\n1,0.7,{b}\n")
    assert words in run("evaluate", "p.csv", "-t", "y", "-p", "p", "--weight", "w", *args, code=2).stderr
