"""``xent evaluate``: what it reads, what it writes, the gate, files in parts."""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from command import run
from xent.evaluate import evaluate
from xent.tabular import prediction_files


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predictions(rows=300, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(classes, 0.7), rows)
    y = (p.cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    return y, p


def judged(*args):
    return json.loads(run("evaluate", *args, "--json").stdout)


def table(y, p, prefix="p_", **more):
    return pl.DataFrame({"y": y, **{f"{prefix}{k}": p[:, k] for k in range(p.shape[1])}, **more})


FORMS = ["columns", "lists", "arrays", "logs", "log lists", "logits", "csv", "npz", "npz logits", "safetensors"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file(form):
    y, p = predictions()
    truth = evaluate(y, p)
    logits, more, f = np.log(p) + 2.5, (), "f.parquet"
    if form == "columns":
        table(y, p).write_parquet(f)
    elif form == "lists":
        pl.DataFrame({"y": y, "p": p.tolist()}).write_parquet(f)
        more = ("-p", "p")
    elif form == "arrays":
        pl.DataFrame({"y": y, "p": pl.Series(p, dtype=pl.Array(pl.Float64, 3))}).write_parquet(f)
        more = ("-p", "p")
    elif form == "logs":
        table(y, np.log(p), "lp_").write_parquet(f)
        more = ("-p", "lp_*")
    elif form == "log lists":
        f = "f.jsonl"
        pl.DataFrame({"y": y, "lp": np.log(p).tolist()}).write_ndjson(f)
        more = ("-p", "lp")
    elif form == "logits":
        table(y, logits, "z_").write_parquet(f)
        more = ("-p", "z_{class}", "--kind", "logits")
    elif form == "csv":
        f = "f.csv"
        table(y, p).write_csv(f)
    elif form.startswith("npz"):
        f = "f.npz"
        np.savez(f, y=y, **({"logits": logits} if "logits" in form else {"probs": p}))
    else:
        f = "f.safetensors"
        save_file({"labels": y, "logits": logits.astype(np.float32)}, f)
    found = judged(f, *(() if f.endswith(("npz", "safetensors")) else ("-t", "y")), *more)
    tight = 1e-5 if form == "safetensors" else 1e-9
    assert found["cross_entropy"] == pytest.approx(truth.cross_entropy, rel=tight)
    assert found["class_names"] == ["0", "1", "2"]
    assert found["per_class"][1]["auc"] == pytest.approx(truth.per_class[1]["auc"], abs=1e-6)
    assert "labels from" in found["method"]["took"]
    assert found["method"]["input_sha256"] == hashlib.sha256(Path(f).read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["probabilities", "log", "logits"])
def test_a_single_column_of_every_kind(form):
    y, p = predictions(200, 2)
    column = {"probabilities": p[:, 1], "log": np.log(p[:, 1]), "logits": np.log(p[:, 1] / p[:, 0])}[form]
    pl.DataFrame({"y": np.where(y, "yes", "no"), "s": column}).write_parquet("f.parquet")
    kind = ("--kind", "logits") if form == "logits" else ()  # logarithms are told by their sign
    found = judged("f.parquet", "-t", "y", "-p", "s", "--positive", "yes", *kind)
    assert found["cross_entropy"] == pytest.approx(evaluate(y, p[:, 1]).cross_entropy)
    assert found["class_names"] == ["no", "yes"]
    assert found["positive"] == "yes"


def test_it_says_in_one_line_what_it_took_for_what():
    y, p = predictions()
    table(y, p).write_parquet("f.parquet")
    first = run("evaluate", "f.parquet", "-t", "y").stderr.splitlines()[0]
    assert first == "Note: labels from 'y'; probabilities of 3 classes from columns 'p_*'."


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv", "jsonl"])
def test_a_file_in_parts_is_the_whole(ending, monkeypatch):
    y, p = predictions(500, 2, seed=1)
    y[:200] = 0  # the first part has one label only
    frame = pl.DataFrame({"y": np.where(y, "b", "a"), "s": p[:, 1], "g": np.arange(500) % 3, "id": np.arange(500)})
    frame = frame.with_columns(pl.when(pl.col("id") == 450).then(None).otherwise(pl.col("y")).alias("y"))
    write = {"parquet": frame.write_parquet, "arrow": frame.write_ipc, "csv": frame.write_csv,
             "jsonl": frame.write_ndjson}[ending]  # fmt: skip
    write(f"f.{ending}")
    args = (f"f.{ending}", "-t", "y", "-p", "s", "--positive", "b", "--drop-missing", "--by", "g", "--id", "id")
    with monkeypatch.context() as patch:
        patch.setattr(prediction_files, "_lazy", lambda path, text=(): None)
        whole = judged(*args)
    monkeypatch.setattr(prediction_files, "WHOLE", 0)
    monkeypatch.setattr(prediction_files, "_ROWS", 64)
    parts = []
    real = prediction_files.read_predictions
    monkeypatch.setattr(prediction_files, "read_predictions", lambda *a, **k: parts.append(1) or real(*a, **k))
    found = judged(*args)
    assert len(parts) > 1
    assert found["rows"] == whole["rows"] == 499
    assert found["cross_entropy"] == pytest.approx(whole["cross_entropy"], rel=1e-12)
    assert found["class_names"] == whole["class_names"] == ["a", "b"]
    assert [r["row"] for r in found["surprise"]["rows"]] == [r["row"] for r in whole["surprise"]["rows"]]
    for r in found["surprise"]["rows"]:
        assert r["carried"]["id"] == str(r["row"])
    assert [v["value"] for v in found["slices"][0]["values"]] == [v["value"] for v in whole["slices"][0]["values"]]
    assert found["per_class"] == [
        {k: pytest.approx(v) if isinstance(v, float) else v for k, v in c.items()} for c in whole["per_class"]
    ]


def test_errors_in_a_later_part_tell_the_row(monkeypatch):
    monkeypatch.setattr(prediction_files, "_ROWS", 50)
    s = np.full(200, 0.25)
    s[170] = 1.5
    pl.DataFrame({"y": np.arange(200) % 2, "s": s}).write_parquet("f.parquet")
    result = run("evaluate", "f.parquet", "-t", "y", "-p", "s", code=2)
    assert "above one in 1 row, the first in row 171 (1.5)" in result.stderr
    pl.DataFrame({"y": np.arange(200) % 3, "s": np.full(200, 0.25)}).write_parquet("f.parquet")
    assert "3 classes" in run("evaluate", "f.parquet", "-t", "y", "-p", "s", code=2).stderr


def test_notes_add_up_over_parts(monkeypatch):
    monkeypatch.setattr(prediction_files, "_ROWS", 50)
    y = [k % 2 for k in range(200)]
    y[50:100] = [None] * 50  # a part without any label
    y[120] = None
    frame = pl.DataFrame({"y": y, "p_0": [0.5] * 200, "p_1": [0.5] * 200, "p_2": [0.0] * 50 + [0.25] * 150})
    frame.write_parquet("f.parquet")
    result = run("evaluate", "f.parquet", "-t", "y", "--drop-missing", "--normalize")
    notes = result.stderr.splitlines()
    assert "Note: 51 rows without a label left out." in notes
    assert "Note: 99 rows divided by the sum of their probabilities." in notes
    assert "Note: no row has the label '2', which the predictions name." in notes
    frame.with_columns(pl.lit(None).alias("y")).write_parquet("f.parquet")
    assert "all missing" in run("evaluate", "f.parquet", "-t", "y", "--drop-missing", code=2).stderr


def test_impossible_rows_of_a_later_part(monkeypatch):
    monkeypatch.setattr(prediction_files, "_ROWS", 50)
    s = np.full(200, 0.25)
    s[171] = 0.0
    pl.DataFrame({"y": np.arange(200) % 2, "s": s}).write_parquet("f.parquet")
    found = judged("f.parquet", "-t", "y", "-p", "s")
    assert (found["cross_entropy"], found["impossible_rows"]) == ("inf", [171])


def test_reports_by_suffix():
    y, p = predictions()
    table(y, p, g=np.arange(300) % 2).write_csv("f.csv")
    for ending in ("json", "md", "csv"):
        out = run("evaluate", "f.csv", "-t", "y", "--by", "g", "-o", f"r.{ending}")
        assert f"written to r.{ending}" in out.stderr
    document = json.loads(Path("r.json").read_text())
    assert document["schema"] == "xent.evaluation/1"
    assert [v["value"] for v in document["slices"][0]["values"]] == sorted(
        "01", key=lambda g: -next(v["cross_entropy"] for v in document["slices"][0]["values"] if v["value"] == g)
    )
    assert "## By g" in Path("r.md").read_text()
    with open("r.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["panel", "item", "value"]
    assert float(next(r[2] for r in rows if r[0] == "cross_entropy")) == document["cross_entropy"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("r.pdf", "the ending '.pdf' names no report. Endings: .html, .json, .md, .csv."),
        ("none/r.json", "there is no folder"),
    ],
)
def test_reports_that_cannot_be_written(output, message):
    Path("f.csv").write_text("y,p_a,p_b\na,0.5,0.5\n")
    result = run("evaluate", "f.csv", "-t", "y", "-o", output, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_the_gate():
    Path("f.csv").write_text("y,p_a,p_b\na,0.5,0.5\nb,0.5,0.5\n")
    run("evaluate", "f.csv", "-t", "y", "--fail-above", "0.7")
    failed = run("evaluate", "f.csv", "-t", "y", "--fail-above", "0.69", code=1)
    assert "Failed: cross-entropy 0.6931 is above 0.69 nats." in failed.stderr
    assert "Figures of f.csv" in failed.stdout
    Path("f.csv").write_text("y,p_a,p_b\na,0,1\nb,0.5,0.5\n")
    run("evaluate", "f.csv", "-t", "y", "--fail-above", "1e9", code=1)


def test_the_terminal_gets_every_panel(monkeypatch):
    import xent.cli.output as output

    y, p = predictions()
    table(y, p, g=np.array(["x[red]", "y"])[np.arange(300) % 2]).write_csv("f.csv")
    monkeypatch.setattr(output, "is_terminal", lambda *, err: not err)
    out = run("evaluate", "f.csv", "-t", "y", "--by", "g").stdout
    for title in ("Where the loss comes from", "Calibration", "Classes", "Surprises", "Most surprising rows", "By g"):
        assert title in out
    assert "x[red]" in out
    assert "The cross-entropy is" in out


def test_slices_of_missing_values_are_a_slice():
    Path("f.csv").write_text("y,p_a,p_b,g\na,0.5,0.5,u\nb,0.5,0.5,\na,0.9,0.1,u\n")
    values = judged("f.csv", "-t", "y", "--by", "g")["slices"][0]["values"]
    assert {v["value"]: v["rows"] for v in values} == {"u": 2, "missing": 1}


def write_arrays(**arrays):
    np.savez("f.npz", **arrays)


BAD = [
    (lambda: write_arrays(a=np.zeros(3)), [], "no array of labels. Name it with --target. There are: 'a'."),
    (lambda: write_arrays(y=np.zeros(3, int), a=np.zeros((3, 2))), [], "whether 'a' holds probabilities, log, logits"),
    (lambda: write_arrays(y=np.zeros(3, int), a=np.zeros((3, 2)), b=np.zeros((3, 2))), [], "which array holds"),
    (lambda: write_arrays(y=np.zeros(3, int), probs=np.zeros((3, 2))), ["-p", "prob"], "Did you mean 'probs'?"),
    (lambda: write_arrays(y=np.zeros(2, int), logits=np.zeros((3, 2))), [], "got (2,) and (3, 2)"),
    (lambda: write_arrays(y=np.full(3, 2), logits=np.zeros((3, 2))), [], "label 2 in row 0 is out of range"),
    (lambda: write_arrays(y=np.zeros(3, int), logits=np.full((3, 2), np.nan)), [], "nan nats in row 0"),
    (lambda: write_arrays(y=np.array(["a"] * 3), logits=np.zeros((3, 2))), [], "--classes"),
    (lambda: write_arrays(y=np.zeros(3, int), logits=np.zeros((3, 2))), ["--by", "g"], "no array 'g'"),
    (lambda: write_arrays(y=np.zeros(3, int), logits=np.zeros((3, 2))), ["--classes", "a,b,c"], "3 classes are named"),
    (lambda: write_arrays(y=np.zeros(3, int), logits=np.zeros((3, 2))), ["--normalize"], "taken as they are"),
    (lambda: write_arrays(y=np.array([object()]), logits=np.zeros((1, 2))), [], "cannot be read"),
    (lambda: Path("f.npz").write_bytes(b"PK"), [], "cannot be read"),
    (lambda: None, [], "no such file"),
]


@pytest.mark.parametrize(("write", "args", "message"), BAD)
def test_bad_arrays(write, args, message):
    write()
    result = run("evaluate", "f.npz", *args, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_named_classes_of_arrays_and_lists():
    np.savez("f.npz", y=np.array(["cat", "dog"]), probs=np.array([[0.5, 0.5], [0.25, 0.75]]))
    found = judged("f.npz", "--classes", "cat,dog")
    assert found["class_names"] == ["cat", "dog"]
    pl.DataFrame({"y": ["cat", "dog"], "p": [[0.5, 0.5], [0.25, 0.75]]}).write_ndjson("f.jsonl")
    assert judged("f.jsonl", "-t", "y", "-p", "p", "--classes", "cat,dog")["cross_entropy"] == found["cross_entropy"]
    assert "--classes cat,dog,fish" in run("evaluate", "f.jsonl", "-t", "y", "-p", "p", code=2).stderr


BAD_TABLES = [
    ({"y": [0, 1], "p": [[0.5, 0.5], [1.0]]}, ["-p", "p"], "row 1 has 2, row 2 1"),
    ({"y": [0, 1], "lp_0": [-1.0, -1.0], "lp_1": [-1.0, -1.0]}, ["-p", "lp_*"], "--kind logits"),
    ({"y": [0, 1], "s": [0.5, 0.5]}, ["-p", "s", "--normalize"], "nothing to divide by a sum"),
    ({"y": [0, 1], "s": [0.5, 0.5]}, ["-p", "s", "--by", "g"], "no column 'g'"),
    ({"y": [0, 1], "s": [0.5, 0.5]}, ["-p", "s", "--kind", "log"], "above 0"),
    ({"y": [0, 1], "s": [0.5, 0.5]}, ["-p", "t"], "no column 't'"),
]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@pytest.mark.parametrize(("columns", "args", "message"), BAD_TABLES)
def test_bad_tables(columns, args, message, ending):
    frame = pl.DataFrame(columns)
    (frame.write_parquet if ending == "parquet" else frame.write_ndjson)(f"f.{ending}")
    result = run("evaluate", f"f.{ending}", "-t", "y", *args, code=2)
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_too_many_slices():
    pl.DataFrame({"y": [0] * 1100, "s": [0.5] * 1100, "id": range(1100)}).write_parquet("f.parquet")
    result = run("evaluate", "f.parquet", "-t", "y", "-p", "s", "--by", "id", code=2)
    assert "column 'id' has more than 1000 values, too many to slice by" in result.stderr


def test_a_damaged_parquet_file_is_one_line():
    pl.DataFrame({"y": [0] * 1100, "s": [0.5] * 1100}).write_parquet("f.parquet")
    data = Path("f.parquet").read_bytes()
    Path("f.parquet").write_bytes(data[:200] + data[260:])
    result = run("evaluate", "f.parquet", "-t", "y", "-p", "s", code=2)
    assert result.stderr.count("\n") == 1


def test_an_empty_parquet_file():
    pl.DataFrame({"y": [], "s": []}).write_parquet("f.parquet")
    assert "no rows" in run("evaluate", "f.parquet", "-t", "y", "-p", "s", code=2).stderr
