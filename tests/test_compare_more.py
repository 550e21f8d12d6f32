"""Comparison: reliability overlaid, patterns of each file, parts with infinite losses."""

import json
import math

import matplotlib
import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from command import run
from xent.evaluate import compare, compare_losses, evaluate
from xent.evaluate._means import mean_of

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def two(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=rows)
    y = (rng.random(rows) < expit(z)).astype(int)
    return y, expit(z), expit(3 * z)


def both(p):
    return np.column_stack([1 - p, p])


@pytest.mark.parametrize("classes", [2, 3])
def test_reliability_is_that_of_each_models_own_report(classes):
    if classes == 2:
        y, p, q = two()
        models = {"a": both(p), "b": both(q)}
    else:
        rng = np.random.default_rng(1)
        z = rng.normal(size=(400, 3))
        y = rng.integers(0, 3, 400)
        models = {n: np.exp(k * z) / np.exp(k * z).sum(axis=1, keepdims=True) for n, k in (("a", 0.2), ("b", 2.0))}
    found = compare(y, models, names=["u", "v", "w"][:classes]).to_dict()["reliability"]
    assert found["event"] == ("v" if classes == 2 else "the likeliest class")
    for name, probs in models.items():
        truth = evaluate(y, probs).calibration["event" if classes == 2 else "top_label"]["reliability"]
        own = found["models"][name]
        assert own["calibration_error"] == pytest.approx(truth["calibration_error"], rel=1e-9)
        assert [v["observed"] for v in own["points"]] == pytest.approx([v["observed"] for v in truth["points"]])
        assert own["p_value"] == pytest.approx(truth["p_value"], abs=0.1)


def test_curves_are_drawn_over_each_other():
    y, p, q = two()
    found = compare(y, {"a": both(p), "b": both(q)})
    ax = found.plot()
    curves = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    assert [line.get_label().split(" (")[0] for line in curves] == ["a", "b"]
    own = found.reliability["models"]["a"]["points"]
    assert curves[0].get_xdata().tolist() == [v["predicted"] for v in own]
    for bare in (compare_losses({"a": np.ones(3), "b": np.zeros(3)}),
                 compare(y, {"a": both(p), "b": both(q)}, weights=np.ones(400))):  # fmt: skip
        assert bare.reliability is None
        with pytest.raises(ValueError, match="no weights"):
            bare.plot()


def test_parts_say_who_gave_probability_0_and_what_the_rest_say():
    a = np.array([np.inf, 0.1, 0.2, 0.4, np.inf, 0.3, 0.5, 1.0])
    b = np.array([0.5, 0.3, 0.1, np.inf, np.inf, 0.2, 0.9, 2.0])
    where = np.array(list("uuuuvvvw"))
    parts = {p.name: p for p in compare_losses({"a": a, "b": b}, classes=where).pairs[0].classes}
    assert [parts[n].infinite for n in "uvw"] == [(1, 1, 0), (0, 0, 1), (0, 0, 0)]
    assert math.isnan(parts["u"].difference)
    assert [parts[n].won for n in "uvw"] == [0.5, 1 / 3, 1.0]
    for name, rows in (("u", [1, 2]), ("v", [5, 6])):
        rest = mean_of(a[rows] - b[rows])
        assert parts[name].finite == pytest.approx((rest.value, *rest.interval()))
    assert parts["w"].finite[0] == -1.0


def test_the_command_tells_of_them():
    y, p, q = two(60)
    q[np.flatnonzero(y == 1)[:2]] = 0
    for name, v in (("a", p), ("b", q)):
        pl.DataFrame({"y": y, "p_0": 1 - v, "p_1": v}).write_csv(f"{name}.csv")
    text = run("compare", "a.csv", "b.csv", "-t", "y").stdout
    assert "probability 0: b in 2; the other rows" in text
    assert "Calibration, of 1" in text
    assert "a lost less" in text


def test_each_file_has_a_pattern_and_its_own_order_of_classes():
    y, p, q = two(200)
    text = np.array(["no", "yes"])[y]
    pl.DataFrame({"y": text, "p_yes": p, "p_no": 1 - p}).write_csv("a.csv")
    pl.DataFrame({"y": text, "score": q}).write_parquet("b.parquet")
    pl.DataFrame({"y": text, "q_no": 1 - q, "q_yes": q}).write_csv("c.csv")
    own = ["--probs", "b=score", "--probs", "c.csv=q_*", "--positive", "yes"]
    document = json.loads(run("compare", "a.csv", "b.parquet", "c.csv", "-t", "y", *own, "--json").stdout)
    truth = compare(y, {"a": both(p), "b": both(q), "c": both(q)})
    costs = {m["name"]: m["cross_entropy"] for m in document["models"]}
    for model in truth.models:
        assert costs[model.name] == pytest.approx(model.cross_entropy, rel=1e-9)
    panel = document["reliability"]
    event = panel["event"]
    mean = {"yes": q.mean(), "no": 1 - q.mean()}[event]
    assert panel["models"]["b"]["mean_predicted"] == pytest.approx(mean, rel=1e-9)
    assert panel["models"]["c"]["mean_predicted"] == pytest.approx(mean, rel=1e-9)
    assert panel["models"]["b"]["calibration_error"] == pytest.approx(panel["models"]["c"]["calibration_error"])


def test_logits_and_lists_are_compared():
    y, p, q = two(100)
    for name, v in (("a", p), ("b", q)):
        pl.DataFrame({"y": y, "z": np.log(both(v)).tolist()}).write_parquet(f"{name}.parquet")
    args = ("-t", "y", "-p", "z", "--kind", "logits", "--classes", "0,1", "--json")
    document = json.loads(run("compare", "a.parquet", "b.parquet", *args).stdout)
    truth = compare(y, {"a": both(p), "b": both(q)})
    assert document["pairs"][0]["difference"] == pytest.approx(truth.pairs[0].difference, rel=1e-9)


def test_patterns_of_no_file_are_refused():
    y, p, q = two(20)
    for name, v in (("a", p), ("b", q)):
        pl.DataFrame({"y": y, "p_0": 1 - v, "p_1": v}).write_csv(f"{name}.csv")
    message = run("compare", "a.csv", "b.csv", "-t", "y", "-p", "aa=p_*", "-p", "b=p_*", code=2).stderr
    assert "there is no file 'aa'" in message
    message = run("compare", "a.csv", "b.csv", "-t", "y", "--positive", "1", code=2).stderr
    assert "a positive class is for a single column" in message
