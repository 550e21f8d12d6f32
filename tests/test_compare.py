"""Comparisons: SciPy's tests, a sandwich by hand, and files whose rows do and do not match."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from command import run
from xent.evaluate import compare, compare_losses

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def three(rows=300, classes=3):
    y = RNG.integers(0, classes, rows)
    z = RNG.normal(size=(rows, classes)) + 2 * np.eye(classes)[y]
    models = {"sharp": z, "blunt": 0.3 * z, "noisy": z + RNG.normal(size=z.shape)}
    return y, {n: np.exp(v) / np.exp(v).sum(axis=1, keepdims=True) for n, v in models.items()}


def test_each_pair_is_scipys_paired_test():
    y, models = three()
    found = compare(y, models)
    for pair in found.pairs:
        a, b = (-np.log(models[n][np.arange(300), y]) for n in (pair.first, pair.second))
        theirs = stats.ttest_rel(a, b)
        assert pair.difference == pytest.approx((a - b).mean())
        assert pair.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
        assert pair.interval == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-8)
        assert pair.won == np.mean(a < b)
        assert [p.rows for p in pair.classes] == np.bincount(y).tolist()
        parts = sum(p.difference * p.rows for p in pair.classes)
        assert parts / 300 == pytest.approx(pair.difference)
    raw = sorted(p.p_value for p in found.pairs)
    assert min(p.p_adjusted for p in found.pairs) == pytest.approx(3 * raw[0])
    assert found.models[0].name == "sharp"


def test_logarithms_and_probabilities_say_the_same():
    y, models = three(50)
    logs = {n: np.log(p) for n, p in models.items()}
    assert compare(y, models).to_dict() == compare(y, logs, log=True).to_dict()


def test_copies_of_rows_in_clusters_add_nothing():
    y, models = three(40)
    alone = compare(y, models).pairs[0]
    times = np.repeat(np.arange(40), 25)
    copied = {n: p[times] for n, p in models.items()}
    assert compare(y[times], copied).pairs[0].error < alone.error / 4
    clustered = compare(y[times], copied, clusters=times)
    assert clustered.pairs[0].error == pytest.approx(alone.error)
    assert clustered.pairs[0].p_value == pytest.approx(alone.p_value)
    assert clustered.clusters == 40


def test_ranks_are_shared_by_what_cannot_be_told_apart():
    rows, hard = 400, RNG.exponential(size=400)
    noise = [RNG.normal(scale=0.2, size=rows) for _ in range(3)]
    noise = [e - e.mean() for e in noise]
    losses = {"a": hard + noise[0], "b": hard + 0.015 + noise[1], "c": hard + 0.04 + noise[2], "d": hard + 1}
    found = compare_losses(losses)
    ranks = {m.name: m.rank for m in found.models}
    assert not found.pair("a", "b").distinguishable
    assert not found.pair("b", "c").distinguishable
    assert found.pair("a", "c").distinguishable
    # b cannot be told from a, nor from c, which is behind a
    assert ranks == {"a": 1, "b": 1, "c": 2, "d": 4}
    with pytest.raises(KeyError):
        found.pair("a", "e")


def test_the_same_predictions_tie():
    y, models = three(20)
    pair = compare(y, {"a": models["sharp"], "b": models["sharp"].copy()}).pairs[0]
    assert (pair.difference, pair.p_value, pair.tied, pair.distinguishable) == (0.0, 1.0, 1.0, False)
    shifted = compare_losses({"a": np.ones(5), "b": np.full(5, 1.5)}).pairs[0]
    assert (shifted.p_value, shifted.distinguishable) == (0.0, True)


def test_few_costly_rows_are_said():
    a, b = np.full(40, 0.9), np.full(40, 0.8)
    a[:3], b[3] = 0.1, 0.4  # four rows below one half by either, three of them of class 0
    y = np.r_[0, 0, 0, np.ones(37, dtype=int)]
    given = {n: np.where(np.arange(2) == y[:, None], p[:, None], 1 - p[:, None]) for n, p in (("a", a), ("b", b))}
    pair = compare(y, given).pairs[0]
    assert (pair.costly, [p.costly for p in pair.classes]) == (4, [3, 1])
    for name, p in given.items():
        pl.DataFrame({"y": y, "p_0": p[:, 0], "p_1": p[:, 1]}).write_csv(f"{name}.csv")
    result = run("compare", "a.csv", "b.csv", "-t", "y")
    assert result.stdout.count(", may be too short") == 3
    assert "costly rows that chance kept away" in result.stderr
    b[4:6] = 0.4
    given["b"] = np.where(np.arange(2) == y[:, None], b[:, None], 1 - b[:, None])
    assert compare(y, given).pairs[0].costly == 6


def test_impossible_events():
    y, models = three(100)
    a, b = models["sharp"].copy(), models["blunt"].copy()
    a[0] = np.eye(3)[(y[0] + 1) % 3]
    pair = compare(y, {"a": a, "b": b}).pairs[0]
    assert (pair.first, pair.second) == ("b", "a")  # the finite one is ahead
    assert pair.difference == -math.inf
    assert pair.distinguishable
    assert math.isnan(pair.p_value)
    assert pair.infinite == (0, 1, 0)
    assert pair.finite.rows == 99
    whole = compare(y[1:], {"a": a[1:], "b": b[1:]}).pairs[0]
    assert pair.finite.difference == pytest.approx(-whole.difference)  # there the other is first
    b[0] = a[0]
    b[1] = np.eye(3)[(y[1] + 1) % 3]
    found = compare(y, {"a": a, "b": b})
    assert math.isnan(found.pairs[0].difference)
    assert not found.pairs[0].distinguishable
    assert [m.rank for m in found.models] == [1, 1]
    assert sorted(m.impossible for m in found.models) == [1, 2]


def test_slices_and_weights():
    y, models = three(90)
    where = np.array(["x", "y", "z"])[np.arange(90) % 3]
    pair = compare(y, models, slices={"where": where}).pairs[0]
    only = compare(y[where == "y"], {n: p[where == "y"] for n, p in models.items()})
    part = pair.slices["where"][1]
    match = only.pair(pair.first, pair.second)
    sign = 1 if match.first == pair.first else -1
    assert (part.name, part.rows) == ("y", 30)
    assert part.difference == pytest.approx(sign * match.difference)
    assert part.error == pytest.approx(match.error)
    weight = (where == "y") * 2.0
    assert compare(y, models, weights=weight).pair(pair.first, pair.second).error == pytest.approx(match.error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, m: compare(y, {"a": m["sharp"]}), "two models or more"),
        (lambda y, m: compare(y, {"a": m["sharp"], "b": m["blunt"][1:]}), "b: log_proba"),
        (lambda y, m: compare(y, {"a": m["sharp"], "b": np.log(m["blunt"])}), "b: probabilities lie from 0 to 1"),
        (lambda y, m: compare(y, m, level=1), "level"),
        (lambda y, m: compare(y, m, clusters=[1]), "clusters of shape"),
        (lambda y, m: compare_losses({"a": [1.0], "b": [math.nan]}), "b has the loss nan"),
        (lambda y, m: compare_losses({"a": [], "b": []}), "one row each"),
    ],
)
def test_what_cannot_be_compared(call, message):
    with pytest.raises(ValueError, match=message):
        call(*three(20))


def write(name, y, p, ids=None, **more):
    columns = {"id": ids if ids is not None else np.arange(len(y)), "y": np.array(["u", "v", "w"])[y], **more}
    pl.DataFrame({**columns, **{f"p_{c}": p[:, k] for k, c in enumerate("uvw")}}).write_csv(name)


def test_command_matches_rows_by_id():
    y, models = three(60)
    order = RNG.permutation(60)
    write("a.csv", y, models["sharp"], site=np.array(["s", "t"])[np.arange(60) % 2])
    write("b.csv", y[order], models["blunt"][order], ids=order)
    document = json.loads(run("compare", "a.csv", "b.csv", "-t", "y", "--id", "id", "--by", "site", "--json").stdout)
    straight = compare(y, {"a": models["sharp"], "b": models["blunt"]})
    assert document["pairs"][0]["difference"] == pytest.approx(straight.pairs[0].difference)
    assert [p["name"] for p in document["pairs"][0]["classes"]] == ["u", "v", "w"]
    assert [p["name"] for p in document["pairs"][0]["slices"]["site"]] == ["s", "t"]
    text = run("compare", "a.csv", "b.csv", "-t", "y", "--id", "id", "--by", "site").stdout
    assert "a is better" in text
    assert "by label" in text
    assert "by site" in text
    clustered = json.loads(
        run("compare", "a.csv", "b.csv", "-t", "y", "--id", "id", "--cluster", "site", "--json").stdout
    )
    assert clustered["clusters"] == 2


def test_command_says_which_ids_do_not_match():
    y, models = three(30)
    write("a.csv", y, models["sharp"])
    write("b.csv", y, models["blunt"], ids=np.append(np.arange(29), 99))
    message = run("compare", "a.csv", "b.csv", "-t", "y", "--id", "id", code=2).stderr
    assert "1 id of 'id' only in a.csv: '29'; 1 id of 'id' only here: '99'" in message
    write("c.csv", y, models["blunt"], ids=np.arange(30) // 2)
    assert (
        "stand in more than one row: '0', '1'"
        in run("compare", "a.csv", "c.csv", "-t", "y", "--id", "id", code=2).stderr
    )
    write("d.csv", (y + 1) % 3, models["blunt"])
    message = run("compare", "a.csv", "d.csv", "-t", "y", code=2).stderr
    assert "the labels differ from those of a.csv in 30 rows, the first is row 1" in message
    assert "--id COLUMN" in message
    write("e.csv", y[1:], models["blunt"][1:])
    assert "29 rows with a label" in run("compare", "a.csv", "e.csv", "-t", "y", code=2).stderr


def test_command_is_honest_about_infinities():
    y, models = three(30)
    bad = models["blunt"].copy()
    bad[4] = np.eye(3)[(y[4] + 1) % 3]
    write("a.csv", y, models["sharp"])
    write("b.csv", y, bad)
    result = run("compare", "a.csv", "b.csv", "-t", "y")
    assert "inf" in result.stdout
    assert "probability 0 was given to the label in 0 rows by the first alone, 1 by the second alone" in result.stderr
    assert "on the other 29 rows the difference is" in result.stderr


def test_command_names_files_and_refuses_one():
    y, models = three(10)
    Path("x").mkdir()
    write("x/a.csv", y, models["sharp"])
    write("a.csv", y, models["blunt"])
    document = json.loads(run("compare", "a.csv", "x/a.csv", "-t", "y", "--json").stdout)
    assert {m["name"] for m in document["models"]} == {"a.csv", "x/a.csv"}
    assert "two files or more" in run("compare", "a.csv", "-t", "y", code=2).stderr
    assert "given twice" in run("compare", "a.csv", "a.csv", "-t", "y", code=2).stderr
    assert "--level" in run("compare", "a.csv", "x/a.csv", "-t", "y", "--level", "95", code=2).stderr
