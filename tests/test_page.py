"""The report as a web page: whole, harmless, small, its numbers and drawings true, readable without seeing."""

import base64
import dataclasses
import hashlib
import json
import re

import numpy as np
import polars as pl
import pytest

import xent
from command import run
from pages import NASTY, binary, cells, read, several
from xent.evaluate import cross_fitted, evaluate
from xent.evaluate.page import MOST_BYTES, render
from xent.evaluate.page.decisions import stops

SECTIONS = ["loss", "data", "parts", "reliability", "classes", "losses", "surprises", "confusion", "decisions"]


def nasty(rows=300):
    rng = np.random.default_rng(3)
    text = np.array(NASTY, dtype=object)[rng.integers(0, len(NASTY), rows)]
    return several(NASTY, rows, by={NASTY[0]: text}, carried={NASTY[1]: text, NASTY[2]: text})


def model_of(names):
    coefficients = [
        {"class": c, "feature": f, "coefficient": 0.5 - k, "low": None, "high": None}
        for c in names
        for k, f in enumerate(names)
    ]
    columns = [{"name": c, "kind": "number", "reason": c, "missing": 1, "made": c} for c in names]
    curve = [{"c": 10.0**k, "cross_entropy": 0.5 + k * k / 9, "standard_error": 0.02} for k in range(-2, 3)]
    return {
        "coefficients": coefficients,
        "unit": names[0],
        "columns": columns,
        "curve": curve,
        "c": 1.0,
        "notes": names,
    }


CASES = {
    "binary": lambda: binary()[2],
    "slices": lambda: binary(by={"k": np.arange(500) % 3}, carried={"id": np.arange(500)})[2],
    "nasty": nasty,
    "impossible": lambda: evaluate([1, 0, 1], [0.0, 0.2, 0.7]),
    "one row": lambda: evaluate([1], [0.3]),
    "one label": lambda: evaluate([1, 1, 1], [0.3, 0.9, 1.0]),
    "certain": lambda: evaluate([0, 1, 2], np.eye(3)),
    "one score": lambda: evaluate([0, 1, 0, 1], [0.5] * 4),
    "rare": lambda: evaluate([0] * 300 + [1], np.full(301, 0.003)),
    "unseen classes": lambda: evaluate([0, 1, 1], np.full((3, 40), 1 / 40)),
    "logits": lambda: evaluate([0, 1, 1], [[1.0, -2.0], [0.0, 3.0], [800.0, 0.0]], kind="logits"),
    "logs": lambda: evaluate([0, 1], np.log([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1]]), kind="log"),
}


@pytest.fixture(scope="module", params=CASES)
def page(request):
    return read(CASES[request.param]().to_html())


def test_every_section_is_there_in_order_and_in_the_contents(page):
    keys = [s["id"] for s in page.all("section")]
    assert [k for k in keys if k in SECTIONS] == SECTIONS
    assert keys[-1] == "method"
    assert [a["href"] for a in page.all("nav")[0].all("a")] == [f"#{k}" for k in keys]
    headings = [h.text for h in page.all("h2")]
    assert [a.text for a in page.all("nav")[0].all("a")] == headings


def test_it_is_one_document_with_one_title_and_a_language(page):
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("head")) == 1
    (title,) = page.all("head")[0].all("title")
    assert title.text == page.all("h1")[0].text != ""


def test_identifiers_are_unique_and_references_lead_somewhere(page):
    identifiers = [e["id"] for e in page.all() if e["id"]]
    assert len(set(identifiers)) == len(identifiers)
    for e in page.all():
        for key in ("aria-labelledby", "aria-describedby", "for"):
            assert not e[key] or e[key] in identifiers, (e.name, key, e[key])


def test_each_chart_has_a_name_a_description_and_a_table_behind_it(page):
    figures = page.all("figure")
    assert len(page.all("svg")) == len(figures) >= 4
    for figure in figures:
        (chart,) = figure.all("svg")
        assert chart["role"] == "img"
        assert [c.name for c in chart.children[:2]] == ["title", "desc"]
        assert chart.children[0].text
        assert chart.children[1].text
        (table,) = figure.all("details")[0].all("table")
        assert table.all("caption")[0].text
        assert len(table.all("tbody")[0].all("tr")) >= 1


def test_tables_have_headings_for_columns_and_rows(page):
    for table in page.all("table"):
        assert table.all("caption")
        width = {len(row.children) for row in table.all("tr")}
        assert len(width) == 1
        assert all(row.children[0]["scope"] == "row" for body in table.all("tbody") for row in body.all("tr"))
        assert table.parent["tabindex"] == "0"  # it may scroll, and the keyboard must reach it


def test_nothing_is_drawn_at_no_number_or_outside_the_chart(page):
    for chart in page.all("svg"):
        _, _, width, height = map(float, chart["viewbox"].split())
        for e in chart.all():
            for key, limit in {"x": width, "cx": width, "x1": width, "x2": width, "y": height, "cy": height}.items():
                assert e[key] is None or -1 <= float(e[key]) <= limit + 1, (e.name, key, e[key])
            for x, y in re.findall(r"([^ML,]+),([^ML,Z]+)", e["d"] or ""):
                assert -1 <= float(x) <= width + 1
                assert -1 <= float(y) <= height + 1


def test_it_refers_to_nothing_outside(page):
    for e in page.all():
        for key, value in e.attributes.items():
            assert not key.startswith("on"), f"{e.name} {key}"
            if key in ("src", "href", "action", "xlink:href", "data", "poster"):
                assert value.startswith(("#", "data:")), f"{e.name} {key}={value}"
            assert key != "style"
    for text in (e.text for e in page.all("style", "script")):
        assert "http" not in text
        assert "@import" not in text
        assert "url(" not in text


def test_its_policy_names_the_hashes_of_its_own_script_and_style(page):
    (policy,) = [m["content"] for m in page.all("meta") if m["http-equiv"]]
    assert "default-src 'none'" in policy
    scripts = [s for s in page.all("script") if s["type"] is None]
    assert len(scripts) == 1
    for element in (*scripts, *page.all("style")):
        digest = base64.b64encode(hashlib.sha256(element.text.encode()).digest()).decode()
        assert f"{element.name}-src 'sha256-{digest}'" in policy


def test_text_of_the_user_stays_text():
    e = nasty()
    text = render(e.to_dict(), title=NASTY[2], model=model_of(NASTY))
    tree, plain = read(text), read(several(list("abcde"), 300).to_html())
    assert [s["type"] for s in tree.all("script")] == [s["type"] for s in plain.all("script")]
    assert not tree.all("img")
    assert tree.all("h1")[0].text == NASTY[2]
    assert "\x00" not in text
    shown = {c.text for t in tree.all("table") for c in t.all("th", "td")}
    assert set(NASTY[:4]) <= shown
    assert {f"By {NASTY[0]}", "Coefficients", "What each column was taken for"} <= {c.text for c in tree.all("caption")}


def test_two_classes_of_nasty_names():
    y, p, _ = binary(80)
    e = evaluate(np.array([NASTY[0], NASTY[2]], dtype=object)[y], p, classes=[NASTY[0], NASTY[2]])
    tree = read(e.to_html())
    assert len(tree.all("script")) == 2
    assert not tree.all("img")


@pytest.mark.parametrize("classes", [2, 12, 30, 1000])
def test_size_with_much_of_everything(classes):
    rng = np.random.default_rng(0)
    rows, long = 1500, "a long name of a class, ü and 日本 " * 6
    p = rng.dirichlet(np.full(classes, 0.3), rows)
    y = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    by = {f"column {k} {long}": rng.integers(0, 300, rows) for k in range(8)}
    carried = {f"{k}{long}": np.full(rows, long * 3) for k in range(20)}
    e = evaluate(y, p, by=by, carried=carried)
    document = {**e.to_dict(), "class_names": [f"{k} {long}" for k in range(classes)]}
    document["per_class"] = [{**c, "class": f"{c['class']} {long}"} for c in document["per_class"]]
    text = render(document, title=long * 20, model=model_of([f"{k} {long}" for k in range(min(classes, 40))]))
    assert len(text.encode()) <= MOST_BYTES == 400_000
    read(text)


def test_size_does_not_grow_with_rows():
    few, many = binary(2_000)[2].to_html(), binary(60_000)[2].to_html()
    assert len(many) < 1.1 * len(few)


def test_long_tables_say_what_was_cut():
    e = several([f"c{k}" for k in range(300)], 900)
    (section,) = [s for s in read(e.to_html()).all("section") if s["id"] == "classes"]
    assert len(section.all("tbody")[0].all("tr")) == 200
    assert "The 200 of 300 classes that carry most of the loss." in section.text


def test_stops_of_the_slider_are_exact():
    y, p, e = binary(5_000)
    found = stops(e.curves, e.thresholds)
    assert [t for t, _, _ in found] == sorted({t for t, _, _ in found})
    assert 200 <= len(found) <= 225
    for t, tp, fp in found:
        assert (tp, fp) == (np.sum((p >= t) & (y == 1)), np.sum((p >= t) & (y == 0)))
    tree = read(e.to_html())
    (data,) = [json.loads(s.text) for s in tree.all("script") if s["id"] == "stops"]
    assert data["tp"] == [tp for _, tp, _ in found]
    assert data["fp"] == [fp for _, _, fp in found]
    assert (data["events"], data["others"]) == (y.sum(), (1 - y).sum())
    assert data["t"][data["start"]] == 0.5
    (slider,) = [i for i in tree.all("input") if i["type"] == "range"]
    assert (slider["value"], slider["max"]) == (str(data["start"]), str(len(found) - 1))
    for button in (b for b in tree.all("button") if b["data-stop"]):
        place = int(button["data-stop"])
        row = [c.text.replace(",", "") for c in button.above("tr").children]
        tp, fp = found[place][1:]
        assert [int(v) for v in row[-4:]] == [tp, fp, y.sum() - tp, (1 - y).sum() - fp]


def test_curves_are_drawn_where_their_points_are():
    e = binary(300)[2]
    for chart, points in (
        ("roc-mark", [(r["fpr"], r["tpr"]) for r in e.curves["roc"]]),
        ("pr-mark", [(r["recall"], r["precision"]) for r in e.curves["pr"]]),
    ):
        (mark,) = [c for c in read(e.to_html()).all("circle") if c["id"] == chart]
        svg = mark.parent
        left, top, right, bottom = map(float, svg["data-box"].split(","))
        (line,) = [p for p in svg.all("path") if p["class"] == "main"]
        drawn = [tuple(map(float, at.split(","))) for at in line["d"][1:].split("L")]
        wanted = [(left + x * (right - left), bottom - y * (bottom - top)) for x, y in points]
        assert np.abs(np.array(drawn)[:, None] - np.array(wanted)).sum(axis=2).min(axis=1).max() < 0.12
        assert np.abs(np.array(wanted)[:, None] - np.array(drawn)).sum(axis=2).min(axis=1).max() < 0.12


def test_tables_tell_the_reports_numbers():
    _, _, e = binary(400, by={"k": np.arange(400) % 3}, carried={"id": np.arange(400) + 7000})
    tables = {t.all("caption")[0].text: cells(t) for t in read(e.to_html()).all("table")}
    worst = tables["The most surprising rows"]
    assert [r[0] for r in worst[1:]] == [f"{r['row'] + 1:,}" for r in e.surprise["rows"]]
    assert [r[-1] for r in worst[1:]] == [str(r["carried"]["id"]) for r in e.surprise["rows"]]
    assert [float(r[5]) for r in worst[1:]] == pytest.approx([r["bits"] for r in e.surprise["rows"]], rel=5e-4)
    counts = tables["Rows by label and likeliest class"]
    assert [[int(v) for v in r[1:]] for r in counts[1:]] == e.confusion["counts"]
    by = {r[0]: r for r in tables["By k"][1:]}
    for s in e.slices[0]["values"]:
        assert float(by[s["value"]][2]) == pytest.approx(s["cross_entropy"], rel=5e-3)


def test_the_verdict_is_on_top_and_numbers_keep_their_units():
    e = binary()[2]
    header = read(e.to_html()).all("header")[0]
    said = [p.text for p in header.all("p", "li")]
    assert [s.replace("\xa0", " ") for s in said] == e.verdict
    assert all(not re.search(r"\d (%|nats|bits)", s) for s in said)


def test_what_is_not_all_is_not_called_all():
    p = np.concatenate([np.full(20_000, 0.0001), [0.9]])
    y = np.concatenate([[1], np.zeros(19_999, dtype=int), [1]])
    tree = read(evaluate(y, p).to_html())
    tables = {t.all("caption")[0].text: cells(t) for t in tree.all("table")}
    worst = {r[0]: r for r in tables["The most surprising rows"]}
    assert worst["1"][2:5] == ["0.000100", "0", "0.9999"]
    figures = {r[0]: r[1] for r in tables["Figures at the threshold"]}
    assert figures["accuracy"] == "99.995\xa0%"  # 20000 of 20001
    assert figures["specificity"] == "100\xa0%"


def test_a_recalibration_whose_gain_may_be_none_is_not_praised():
    y, p, e = binary(600, slope=1.0)
    found = cross_fitted(y, np.log(np.column_stack([1 - p, p])), ["temperature", "platt"]).to_dict()
    best = {**found["results"][0], "gain": 1e-5, "interval": [-1e-4, 1.2e-4]}
    found = {**found, "best": "temperature", "results": [best, found["results"][1]]}
    text = dataclasses.replace(e, recalibration=found).to_html()
    assert "None is shown to help" in text
    assert "would save" not in text


def test_recalibration_is_told():
    y, p, e = binary(600, slope=2.5)
    found = cross_fitted(y, np.log(np.column_stack([1 - p, p])), ["temperature", "platt"])
    tree = read(dataclasses.replace(e, recalibration=found.to_dict()).to_html())
    (section,) = [s for s in tree.all("section") if s["id"] == "recalibration"]
    rows = cells(section.all("table")[0])[1:]
    assert [r[0] for r in rows] == ["temperature", "platt"]
    for row, result in zip(rows, found.results, strict=True):
        assert float(row[1]) == pytest.approx(result.loss_after, rel=5e-4)
    assert f"temperature {found.results[0].parameters['temperature']:#.6g}" in rows[0][4]
    assert f"The best, {found.best.method}, would save" in section.text.replace("\xa0", " ")
    (loss,) = [s for s in tree.all("section") if s["id"] == "loss"]
    assert "recalibrated" in loss.text


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    e = binary(60)[2]
    (frame,) = read(e._repr_html_()).all()
    assert frame.name == "iframe"
    assert frame["srcdoc"] == e.to_html()
    assert frame["sandbox"] == "allow-scripts"


def test_xent_evaluate_writes_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    y, p, _ = binary(50)
    pl.DataFrame({"y": y, "p_0": 1 - p, "p_1": p}).write_csv("t.csv")
    assert "written to r.html" in run("evaluate", "t.csv", "-t", "y", "-o", "r.html").stderr
    tree = read((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert tree.all("h1")[0].text == "Evaluation of t.csv"
    assert f"xent {xent.__version__}" in tree.all("main")[0].text
