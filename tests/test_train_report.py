"""The web page of a training: its held-out part, and the model's own pages."""

import json
import re

import numpy as np
import polars as pl
import pytest

from command import run
from pages import cells, read
from xent.linear_model import LogisticRegression
from xent.tabular import read_table
from xent.tabular.training import TrainOptions, train


def table(rows=240):
    rng = np.random.default_rng(5)
    x, kind = rng.normal(50, 9, rows), rng.choice(["red", "green", "rare <b>"], rows, p=[0.5, 0.4, 0.1])
    y = rng.random(rows) < 1 / (1 + np.exp(-(x - 50) / 6 - (kind == "red")))
    frame = pl.DataFrame({"n": np.arange(rows), "x": x, "kind": kind, "y": np.where(y, "yes", "no")})
    gaps = [None if k % 17 == 0 else v for k, v in enumerate(frame["x"].to_list())]
    return frame.with_columns(pl.Series("x", gaps))


def test_xent_train_writes_it_for_the_held_out_part(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().write_csv("t.csv")
    out = run("train", "t.csv", "-t", "y", "--report", "r.html", "--grid", "0.1,1").stdout
    assert re.search(r"report +r\.html", out)
    tree = read((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert tree.all("h1")[0].text == "y in t.csv: 48 rows held out"
    keys = [s["id"] for s in tree.all("section")]
    assert keys[-4:] == ["coefficients", "columns", "tuning", "method"]
    tables = {t.all("caption")[0].text: cells(t) for t in tree.all("table")}
    columns = {r[0]: r[1:] for r in tables["What each column was taken for"][1:]}
    assert columns["n"][-1] == "none"
    assert re.search(r"missing as \d\d\.?\d*, the median; missing is told apart", columns["x"][-1])
    assert "3 levels" in columns["kind"][-1]
    assert len(tables["Cross-validated cross-entropy by C"]) == 3
    assert "rare <b>" in tree.all("main")[0].text
    assert not tree.all("b")
    document = json.loads(run("train", "t.csv", "-t", "y", "--report", "r.html", "--c", "1", "--json").stdout)
    assert document["report"] == "r.html"
    assert "nothing was tuned" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("report", ["r.txt", "t.csv", "nowhere/r.html"])
def test_a_report_that_cannot_be_written_is_refused_before_the_training(tmp_path, monkeypatch, report):
    monkeypatch.chdir(tmp_path)
    table().write_csv("t.csv")
    before = (tmp_path / "t.csv").read_bytes()
    assert report in run("train", "t.csv", "-t", "y", "--report", report, code=2).stderr
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]
    assert (tmp_path / "t.csv").read_bytes() == before


def test_a_report_does_not_take_the_models_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table().write_csv("t.csv")
    run("train", "t.csv", "-t", "y", "--report", "m.html", "-o", "m.html", code=2)


def test_coefficients_are_those_of_the_fit_with_their_spread():
    result = train(table(), "y", TrainOptions(grid=(1.0,), report=True, drop=("n",)))
    held = result.held
    fit = LogisticRegression(C=1.0, tol=1e-8).fit(held.matrix, held.index)
    summary = fit.summary(held.matrix, held.index, penalized=True)
    tree = read(result.to_html("t"))
    (rows,) = [cells(t)[1:] for t in tree.all("table") if t.all("caption")[0].text == "Coefficients"]
    found = {r[0]: r for r in rows}
    assert (
        set(found)
        == {"x", "x missing", "kind=red", "kind=green", "kind=rare <b>"}
        == set(result.model.preprocessor.names)
    )
    for j, name in enumerate(result.model.preprocessor.names):
        assert float(found[name][2].replace("−", "-")) == pytest.approx(fit.coef_[0, j], rel=1e-3)
        low, high = (float(v.replace("−", "-")) for v in found[name][3].split(" to "))
        assert (low, high) == pytest.approx((summary.lower[0, j], summary.upper[0, j]), rel=2e-3)


def test_the_rows_told_are_those_of_the_table():
    frame = table().with_columns(pl.when(pl.col("n") % 5 == 0).then(None).otherwise(pl.col("y")).alias("y"))
    result = train(frame, "y", TrainOptions(grid=(1.0,), report=True, drop_missing=True))
    tree = read(result.to_html("t"))
    (rows,) = [cells(t)[1:] for t in tree.all("table") if t.all("caption")[0].text == "The most surprising rows"]
    assert len(rows) > 10
    for row in rows:
        at = int(row[0]) - 1
        assert (row[1], row[7]) == (frame["y"][at], str(at))


def test_a_training_without_a_report_keeps_nothing_for_one():
    result = train(table(), "y", TrainOptions(grid=(1.0,)))
    assert result.held is None
    with pytest.raises(ValueError, match="report=True"):
        result.to_html()


def test_cross_validated_rows_are_judged_where_none_are_held_out():
    result = train(table(), "y", TrainOptions(grid=(1.0,), report=True, test=0, folds=3))
    assert sorted(result.held.rows) == list(range(240))
    tree = read(result.to_html("t"))
    assert tree.all("h1")[0].text == "y in t: 240 rows cross-validated"
    assert "every row, by the fit of other folds" in tree.all("main")[0].text


def test_coefficients_without_intervals_say_why(monkeypatch):
    monkeypatch.setattr("xent.tabular.report._MOST_WORK", 0)
    result = train(read_table("iris"), "species", TrainOptions(grid=(1.0,), report=True))
    (section,) = [s for s in read(result.to_html("iris")).all("section") if s["id"] == "coefficients"]
    assert "against the mean of all classes" in section.text
    assert "No intervals: 12 coefficients of 120 rows take too long." in section.text
    rows = cells(section.all("table")[0])
    assert rows[0] == ["feature", "class", "coefficient"]
    found = {(r[1], r[0]): float(r[2].replace("−", "-")) for r in rows[1:]}
    for name, row in zip(result.model.class_names, result.model.coef, strict=True):
        for feature, value in zip(result.model.preprocessor.names, row, strict=True):
            assert found[name, feature] == pytest.approx(value, rel=1e-3)


def test_coefficients_of_several_classes_are_against_the_first():
    result = train(read_table("iris"), "species", TrainOptions(grid=(1.0,), report=True))
    (section,) = [s for s in read(result.to_html("iris")).all("section") if s["id"] == "coefficients"]
    assert "Log-odds against setosa" in section.text
    found = {(r[1], r[0]): float(r[2].replace("−", "-")) for r in cells(section.all("table")[0])[1:]}
    coef = result.model.coef
    for k, name in enumerate(result.model.class_names[1:], 1):
        for j, feature in enumerate(result.model.preprocessor.names):
            assert found[name, feature] == pytest.approx(coef[k, j] - coef[0, j], rel=2e-3)
