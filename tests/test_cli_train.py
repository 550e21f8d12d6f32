"""``xent train``: what it prints, what it writes, what it refuses."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import palmerpenguins
import polars as pl
import pytest

from command import run
from xent.tabular import load_model


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows(n=60, classes=("a", "b"), seed=0, **columns):
    rng = np.random.default_rng(seed)
    k = np.arange(n) % len(classes)
    return pl.DataFrame(
        {"x": k + rng.normal(0, 0.7, n), "z": rng.normal(size=n), "y": [classes[i] for i in k], **columns}
    )


def test_digits_from_nothing():
    out = run("train", "digits", "--c", "0.1").stdout
    assert "Columns: 61 used, 3 dropped" in out
    assert re.search(r"pixel_0_0 +constant, dropped +always 0.0", out)
    assert re.search(r"cross-entropy +0\.\d+ ± 0\.\d+ nats +0\.\d+ ± 0\.\d+ bits", out)
    assert re.search(r"label entropy +2\.302\d nats", out)
    assert re.search(r"skill +9\d\.\d %", out)
    assert re.search(r"accuracy +9\d\.\d %", out)
    assert re.search(r"Brier score +0\.\d+", out)
    assert re.search(r"time +\d+\.\d\d s", out)
    assert re.search(r"model +digits.xent", out)
    assert os.listdir() == ["digits.xent"]
    assert load_model("digits.xent").classes == list(range(10))


def test_json_has_everything():
    rows().write_csv("t.csv")
    result = run("train", "t.csv", "--target", "y", "--json", "-o", "m.xent")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert document["model"] == "m.xent"
    assert document["replaced"] is False
    assert len(document["curve"]) == 16
    assert document["split"] == {"all": 60, "train": 48, "test": 12}
    assert document["rows"] == 12
    assert document["cross_entropy_bits"] == pytest.approx(document["cross_entropy"] / math.log(2))
    assert document["skill"] == pytest.approx(1 - document["cross_entropy"] / document["label_entropy"])
    assert {c["name"]: c["kind"] for c in document["columns"]} == {"x": "number", "z": "number"}
    assert document["seconds"]["total"] > 0


def test_figures_that_json_does_not_have_are_text():
    rows(6).write_csv("t.csv")
    text = run("train", "t.csv", "-t", "y", "--c", "1", "--test", "0.1", "--json").stdout
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert document["standard_error"] == "nan"
    assert math.isnan(float(document["skill"]))


def test_penguins():
    path = os.path.join(os.path.dirname(palmerpenguins.__file__), "data", "penguins.csv")
    out = run("train", path, "-t", "species", "--grid", "0.1,1,10").stdout
    assert "Columns: 7 used, 0 dropped" in out
    assert re.search(r"sex +category +text, 2 values +11", out)
    assert "best of 3 by cross-validation" in out
    raw = path.replace("penguins.csv", "penguins-raw.csv")
    out = run("train", raw, "-t", "Species", "--c", "1").stdout
    assert re.search(r"Individual ID +text, dropped", out)
    assert re.search(r"Date Egg +date", out)
    assert re.search(r"Region +constant, dropped +always Anvers", out)


def test_piped_output_has_no_colour_and_no_boxes():
    rows().write_csv("t.csv")
    code = "from xent.cli import main; main(['train', 't.csv', '-t', 'y', '--c', '1'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert not re.search("[─-╿█]", done.stdout)
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_colour", [False, True])
def test_on_a_terminal(no_colour):
    import pty

    rows().write_csv("t.csv")
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    environment.pop("NO_COLOR", None)
    if no_colour:
        environment["NO_COLOR"] = "1"
    leader, follower = pty.openpty()
    code = "from xent.cli import main; main(['train', 't.csv', '-t', 'y', '--grid', '0.1,1'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=follower, stderr=follower, env=environment
    ) as process:  # fmt: skip
        os.close(follower)
        chunks = []
        while True:
            try:
                chunk = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(leader)
    text = b"".join(chunks).decode()
    assert process.returncode == 0
    assert "cross-validating" in text
    assert "skill" in text
    coloured = re.search(r"\x1b\[(\d+;)*(3|9)\d(;\d+)*m", text)
    assert bool(coloured) is not no_colour


def test_an_existing_model_is_replaced_and_told():
    rows().write_csv("t.csv")
    run("train", "t.csv", "-t", "y", "--c", "1")
    before = Path("t.xent").read_bytes()
    result = run("train", "t.csv", "-t", "y", "--c", "2")
    assert "t.xent replaced an older model" in result.stderr
    assert Path("t.xent").read_bytes() != before
    assert sorted(os.listdir()) == ["t.csv", "t.xent"]


def test_another_file_is_not_replaced_without_force():
    rows().write_csv("t.csv")
    Path("notes.txt").write_text("mine")
    result = run("train", "t.csv", "-t", "y", "--c", "1", "-o", "notes.txt", code=2)
    assert "not an xent model. Replace it with --force" in result.stderr
    assert Path("notes.txt").read_text() == "mine"
    run("train", "t.csv", "-t", "y", "--c", "1", "-o", "notes.txt", "--force")
    load_model("notes.txt")
    assert "over the table" in run("train", "t.csv", "-t", "y", "-o", "t.csv", "--force", code=2).stderr


def test_standard_input_and_options():
    text = rows(zip=[f"0{i % 3}" for i in range(60)]).write_csv()
    options = ["--type", "zip=category", "--drop", "z", "--c", "1", "--select", 2, "--json"]
    document = json.loads(run("train", "-", "-t", "y", *options, text=text).stdout)
    assert document["model"] == "stdin.xent"
    assert {c["name"]: c["kind"] for c in document["columns"]} == {"x": "number", "z": "dropped", "zip": "category"}
    assert document["features"] == 2
    assert load_model("stdin.xent").preprocessor.encoders[1].levels == ("00", "01", "02")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "arrow", "jsonl", "csv.gz", "jsonl.zst"])
def test_every_format_gives_the_same_model(ending):
    from xent.tabular import write_table

    write_table(rows(), f"t.{ending}")
    document = json.loads(run("train", f"t.{ending}", "-t", "y", "--c", "1", "--json").stdout)
    assert document["model"] == "t.xent"
    assert document["cross_entropy"] == pytest.approx(0.4, abs=0.3)
    assert load_model("t.xent").coef == pytest.approx(load_model("t.xent").coef)


BAD = [
    ("t.csv", b"", "t.csv: the file is empty"),
    ("t.csv", b"x,x,y\n1,2,a\n", "duplicate column name 'x'"),
    ("t.csv", b"x,y\n1,a\n2,\n3,b\n", "missing in 1 of 3 rows. Leave those rows out with --drop-missing"),
    ("t.csv", b"x,y\n" + b"1.5,a\n" * 9, "one class only, 'a'"),
    ("t.csv", b"x,y\n" + b"1.5,a\n2.5,b\n" * 9 + b"1.5,c\n", "class 'c' has 1 training row, fewer than the 5 folds"),
    ("t.csv", b"x,w,y\n" + b"1.5,,a\n2.5,,b\n" * 9, "column 'w' is all missing. Leave it out: --drop w"),
    (
        "t.csv",
        b"x,y\n" + b"1.5,a\n2.5,b\n" * 9 + b"inf,b\n",
        "holds 1 infinite number, the first in row 19",
    ),
    ("t.csv", b"x,yy\n1,a\n", "no column 'y'. Did you mean 'yy'?"),
    ("t.csv", b"PAR1x,y\n1,a\n", "not CSV: it looks like a Parquet file. If so, name it with '.parquet'"),
    ("t.parquet", b"x,y\n1,a\n", "not Parquet: it looks like text"),
    ("t.jsonl", b'{"x": 1}\n{', "line 2 is not JSON"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD)
def test_bad_input_is_one_line_and_nothing_is_written(name, data, message):
    Path(name).write_bytes(data)
    result = run("train", name, "--target", "y", code=2)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert os.listdir() == [name]


def test_bad_arguments():
    rows().write_csv("t.csv")
    for args, message in [
        (["nothing.csv", "-t", "y"], "no such file: 'nothing.csv'"),
        (["digitz"], "Did you mean 'digits'?"),
        (["t.csv"], "--target COLUMN is needed; the columns are: x, z, y"),
        (["t.csv", "-t", "y", "--c", "1", "--grid", "1,2"], "exclude each other"),
        (["t.csv", "-t", "y", "--grid", "1,zwei"], "numbers separated by commas"),
        (["t.csv", "-t", "y", "--c", "-1"], "C must be a positive number"),
        (["t.csv", "-t", "y", "--type", "x"], "is not COLUMN=KIND"),
        (["t.csv", "-t", "y", "--type", "x=text"], "no column type 'text'"),
        (["t.csv", "-t", "y", "--drop", "q"], "no column 'q'"),
        (["t.csv", "-t", "y", "--folds", "1"], "at least 2 folds"),
        (["t.csv", "-t", "y", "--test", "2"], "from 0 to below 1"),
        (["t.csv", "-t", "y", "-o", "none/m.xent"], "no folder 'none'"),
        (["t.csv", "-t", "y", "-o", "."], "folder"),
    ]:
        assert message in run("train", *args, code=2).stderr, args
    assert os.listdir() == ["t.csv"]


def test_the_output_is_checked_before_the_work(monkeypatch):
    import xent.tabular.training

    monkeypatch.setattr(xent.tabular.training, "train", lambda *_, **__: pytest.fail("trained"))
    assert "no folder" in run("train", "iris", "-o", "none/m.xent", code=2).stderr


def test_a_failure_while_writing_leaves_the_old_model(monkeypatch):
    rows().write_csv("t.csv")
    run("train", "t.csv", "-t", "y", "--c", "1")
    before = Path("t.xent").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device", "t.xent")

    monkeypatch.setattr(os, "fsync", fail)
    assert run("train", "t.csv", "-t", "y", "--c", "2", code=2).stderr == "Error: t.xent: no space left on device\n"
    assert Path("t.xent").read_bytes() == before
    assert sorted(os.listdir()) == ["t.csv", "t.xent"]


def test_unusual_names_and_notes():
    frame = rows(
        rare=["common"] * 57 + ["one", "two", "three"],
        gone=[None] * 40 + [1.0, 2.0] * 10,
    ).rename({"x": "длина [см]", "y": "вид птицы"})  # fmt: skip
    frame.write_csv("ein tisch ☃.csv")
    result = run("train", "ein tisch ☃.csv", "-t", "вид птицы", "--c", "1")
    assert "длина [см]" in result.stdout
    assert "ein tisch ☃.xent" in result.stdout
    assert "more than half missing: gone" in result.stderr
    assert "rare: 1 level kept" in result.stderr
    assert os.path.exists("ein tisch ☃.xent")
