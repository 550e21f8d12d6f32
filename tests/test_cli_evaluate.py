"""``xent evaluate``: the worked examples, and the errors."""

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from command import run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIRST = "label,p_1,p_2,p_3\n3,0.3,0.3,0.4\n2,0.3,0.4,0.3\n1,0.1,0.2,0.7\n"
SECOND = "label,p_1,p_2,p_3\n3,0.1,0.2,0.7\n2,0.1,0.7,0.2\n1,0.3,0.4,0.3\n"


def test_two_models_of_one_accuracy():
    first = json.loads(run("evaluate", "-", "-t", "label", "--json", text=FIRST).stdout)
    second = json.loads(run("evaluate", "-", "-t", "label", "--json", text=SECOND).stdout)
    assert first["cross_entropy"] == pytest.approx(1.378, abs=5e-4)
    assert second["cross_entropy"] == pytest.approx(0.639, abs=5e-4)
    assert first["accuracy"] == second["accuracy"] == pytest.approx(2 / 3)


def test_plain_output():
    Path("f.csv").write_text(SECOND)
    out = run("evaluate", "f.csv", "-t", "label").stdout
    lines = {line.split("  ")[1]: line for line in out.splitlines()[1:]}
    assert out.startswith("Figures of f.csv\n")
    assert "0.6391 ± 0.2824 nats" in lines["cross-entropy"]
    assert "1.0986 nats" in lines["label entropy"]
    assert "41.8 %" in lines["skill"]
    assert "66.7 %" in lines["accuracy"]


def test_binary_example():
    Path("f.csv").write_text("y,score\n0,0.1\n1,0.9\n1,0.8\n0,0.4\n")
    document = json.loads(run("evaluate", "f.csv", "-t", "y", "-p", "score", "--json").stdout)
    assert document["cross_entropy"] == pytest.approx(0.2362, abs=5e-5)
    assert document["class_names"] == ["0", "1"]


def test_an_impossible_event_is_told_with_its_row():
    Path("f.csv").write_text("y,p_a,p_b\n,,\na,0.5,0.5\nb,1,0\n")
    result = run("evaluate", "f.csv", "-t", "y", "--drop-missing")
    assert "inf nats" in result.stdout
    assert "their label had probability 0: rows 3" in result.stdout
    document = json.loads(run("evaluate", "f.csv", "-t", "y", "--drop-missing", "--json").stdout)
    assert document["cross_entropy"] == "inf"
    assert document["standard_error"] == "nan"
    assert document["impossible_rows"] == [2]


def test_ten_thousand_rows():
    rng = np.random.default_rng(0)
    p, y = rng.dirichlet([1, 1, 1], 10_000), rng.integers(0, 3, 10_000)
    frame = pl.DataFrame({"y": y, **{f"p_{k}": p[:, k] for k in range(3)}})
    frame.write_parquet("f.parquet")
    frame.write_csv("f.csv")
    documents = [json.loads(run("evaluate", f, "-t", "y", "--json").stdout) for f in ("f.parquet", "f.csv")]
    assert documents[0]["cross_entropy"] == documents[1]["cross_entropy"]
    assert documents[0]["cross_entropy"] == pytest.approx(-math.fsum(np.log(p[np.arange(10_000), y])) / 10_000)


BAD = [
    ("y,p_a,p_b\na,0.5,0.6\n", [], "do not sum to one in 1 row, the first is row 1 with a sum of 1.1."),
    ("y,p_a,p_b\nc,0.5,0.5\n", [], "the label 'c' (1 row) has no column of probabilities"),
    ("y,p_a,p_b\na,1.5,-0.5\n", [], "above one"),
    ("y,p_a,p_b\na,,1\n", [], "missing or NaN"),
    ("y,p_a,p_b\n,0.5,0.5\na,1,0\n", [], "missing in 1 of 2 rows. Leave those rows out with --drop-missing"),
    ("y,p_a,p_b\na,0.5,0.5\n", ["--probs", "q_*"], "no column fits the pattern 'q_*'"),
    ("y,s\na,0.5\nb,0.5\n", ["--probs", "s"], "--positive LABEL"),
    ("yy,p_a,p_b\na,0.5,0.5\n", [], "no column 'y'. Did you mean 'yy'?"),
]


@pytest.mark.parametrize(("text", "args", "message"), BAD)
def test_bad_predictions_are_one_line(text, args, message):
    Path("f.csv").write_text(text)
    result = run("evaluate", "f.csv", "-t", "y", *args, code=2)
    assert result.stdout == ""
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_notes():
    Path("f.csv").write_text("y,p_a,p_b,p_c\na,0.25,0.25,0\nb,0.25,0.25,0\n")
    result = run("evaluate", "f.csv", "-t", "y", "--normalize")
    assert "2 rows divided by the sum of their probabilities" in result.stderr
    assert "no row has the label 'c'" in result.stderr


def test_a_bound_that_is_no_number_is_refused():
    assert "--fail-above needs a number of nats" in run("evaluate", "-", "-t", "label", "--fail-above", "nan",
                                                        text=FIRST, code=2).stderr  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        ("evaluate", "f.csv", "-t", "label", "-o", "f.csv"),
        ("evaluate", "f.csv", "-t", "label", "-o", "link.csv"),
        ("compare", "f.json", "g.csv", "-t", "label", "-o", "f.json"),
        ("recalibrate", "f.csv", "-t", "label", "-o", "f.csv"),
        ("recalibrate", "--apply", "map.json", "f.csv", "-o", "f.csv"),
        ("evaluate", "--pairs", "f.csv", "-t", "label", "-p", "p_1", "-o", "f.csv"),
    ],
)
def test_no_output_takes_the_place_of_an_input(call):
    from xent.evaluate._maps import RecalibrationMap
    from xent.tabular.recalibrate import save_map

    for name in ("f.csv", "f.json", "g.csv"):
        Path(name).write_text(FIRST)
    Path("link.csv").symlink_to("f.csv")
    save_map(RecalibrationMap("temperature", 3, {"temperature": 2.0}), "map.json")
    assert "would be written over an input" in run(*call, code=2).stderr
    assert Path("f.csv").read_text() == Path("f.json").read_text() == FIRST


def verdict(y, p):
    rows = "".join(f"{a},{1 - b:.17g},{b:.17g}\n" for a, b in zip(y, p, strict=True))
    Path("v.csv").write_text("y,p_0,p_1\n" + rows)
    return " ".join(json.loads(run("evaluate", "v.csv", "-t", "y", "--json").stdout)["verdict"])


def test_sure_answers_leave_no_odds_to_allow_for_others():
    said = verdict([0, 1] * 30, [0.0, 1.0] * 30)
    assert "the interval may be too short" in said
    assert "allows for" not in said


def test_one_label_recommends_no_recalibration():
    said = verdict([0] * 60, [0.1] * 60)
    assert "nothing to be better than" in said
    assert "best recalibration" not in said
