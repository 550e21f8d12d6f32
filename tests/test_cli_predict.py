"""``xent predict``, and that it agrees with ``xent train`` and ``xent evaluate``."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from command import run
from xent.tabular import read_table
from xent.tabular.split import split_test


def frame(n=90, seed=0):
    rng = np.random.default_rng(seed)
    k = np.arange(n) % 3
    return pl.DataFrame(
        {
            "key": [f"k{i}" for i in range(n)],
            "x": k + rng.normal(0, 0.5, n),
            "colour": [["red", "green", "blue"][(i + rng.integers(2)) % 3] for i in k],
            "code": [f"00{(i + rng.integers(2)) % 3}" for i in k],
            "kind": [["a", "b", "c"][i] for i in k],
        }
    )


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame().write_csv("t.csv")
    run("train", "t.csv", "-t", "kind", "--type", "code=category", "--c", "1", "-o", "m.xent")


def test_columns_of_the_output():
    result = run("predict", "m.xent", "t.csv", "-o", "p.csv")
    out = read_table("p.csv").frame
    assert out.columns == ["kind", "predicted", "p_a", "p_b", "p_c", "loss"]
    assert out.select("p_a", "p_b", "p_c").sum_horizontal().to_numpy() == pytest.approx(np.ones(90))
    p = out.select("p_a", "p_b", "p_c").to_numpy()
    assert out["loss"].to_numpy() == pytest.approx(-np.log(p[np.arange(90), np.arange(90) % 3]))
    assert "Figures of the labelled rows" in result.stdout
    assert "1 column the model does not use, ignored: 'key'" in result.stderr


def test_without_the_target_and_with_a_column_kept():
    frame().drop("kind").write_parquet("new.parquet")
    result = run("predict", "m.xent", "new.parquet", "-o", "p.parquet", "--keep", "key")
    out = read_table("p.parquet").frame
    assert out.columns == ["key", "predicted", "p_a", "p_b", "p_c"]
    assert out["key"].to_list() == frame()["key"].to_list()
    assert "Figures" not in result.stdout
    assert "ignored" not in result.stderr


@pytest.mark.parametrize(
    "ending", ["csv", "tsv", "jsonl", "csv.gz", "jsonl.gz", "csv.zst", "parquet", "arrow", "feather"]
)
def test_formats_agree(ending):
    run("predict", "m.xent", "t.csv", "-o", "p.csv")
    run("predict", "m.xent", "t.csv", "-o", f"q.{ending}")
    assert read_table(f"q.{ending}").frame.equals(read_table("p.csv").frame)


def test_standard_output_is_the_table_alone():
    run("predict", "m.xent", "t.csv", "-o", "p.csv")
    result = run("predict", "m.xent", "t.csv")
    assert result.stdout == Path("p.csv").read_text()
    assert "Figures of the labelled rows" in result.stderr
    assert run("predict", "m.xent", "-", text=Path("t.csv").read_text()).stdout == result.stdout
    assert "--json needs -o FILE" in run("predict", "m.xent", "t.csv", "--json", code=2).stderr


def test_train_predict_and_evaluate_give_the_same_figures():
    trained = json.loads(run("train", "t.csv", "-t", "kind", "--type", "code=category", "--c", "1", "--json").stdout)
    _, test_rows = split_test(np.arange(90) % 3, 0.2, 0)
    frame()[test_rows].write_csv("test.csv")
    predicted = json.loads(run("predict", "t.xent", "test.csv", "-o", "p.csv", "--json").stdout)["evaluation"]
    judged = json.loads(run("evaluate", "p.csv", "-t", "kind", "--json").stdout)
    for name in ("rows", "cross_entropy", "standard_error", "label_entropy", "skill", "accuracy", "brier"):
        assert predicted[name] == pytest.approx(trained[name], rel=1e-12), name
        assert judged[name] == pytest.approx(trained[name], rel=1e-9), name


def test_another_order_more_columns_and_unseen_values():
    new = frame().with_columns(
        pl.Series("colour", ["violet", None, *frame()["colour"][2:]]), pl.lit(1).alias("длина ☃")
    )
    new.select(reversed(new.columns)).write_csv("new.csv")
    result = run("predict", "m.xent", "new.csv", "-o", "p.csv", "--json")
    document = json.loads(result.stdout)
    assert document["ignored"] == ["длина ☃", "key"]
    assert document["unseen"] == {"colour": 1}
    assert document["filled"] == {"colour": 1}
    assert any("another order" in note for note in document["notes"])
    assert any("1 row with a value training had not, or too rarely ('violet')" in note for note in document["notes"])
    old = run("predict", "m.xent", "t.csv").stdout.splitlines()
    assert Path("p.csv").read_text().splitlines()[3:] == old[3:]


def test_codes_that_look_like_numbers_stay_text():
    frame()[:3].with_columns(code=pl.lit("001")).write_csv("new.csv")
    document = json.loads(run("predict", "m.xent", "new.csv", "-o", "p.csv", "--json").stdout)
    assert document["unseen"] == {}


def test_labels_unknown_and_missing():
    new = frame()[:4].with_columns(kind=pl.Series(["a", "martian", None, "a"]))
    new.write_csv("new.csv")
    result = run("predict", "m.xent", "new.csv", "-o", "p.csv", "--json")
    document = json.loads(result.stdout)
    assert document["evaluation"]["cross_entropy"] == "inf"
    assert document["evaluation"]["impossible"] == 1
    assert document["evaluation"]["rows"] == 3
    assert any("1 rows have a label the model does not know ('martian')" in n for n in document["notes"])
    out = pl.read_csv("p.csv")
    assert out["loss"][1] == float("inf")
    assert out["loss"][2] is None
    assert out["kind"].to_list() == ["a", "martian", None, "a"]


BAD = [
    (frame().drop("x"), "1 column the model needs is not there: 'x'"),
    (frame().rename({"colour": "color"}), "not there: 'colour'. Did you mean 'color'?"),
    (frame().with_columns(x=pl.lit("wide")), "column 'x': 'wide' in row 1 is not a number (and 89 more such values)"),
    (frame().with_columns(x=pl.lit(float("inf"))), "column 'x' holds 90 infinite numbers"),
]


@pytest.mark.parametrize(("new", "message"), BAD)
def test_tables_that_do_not_fit(new, message):
    new.write_csv("new.csv")
    result = run("predict", "m.xent", "new.csv", "-o", "p.csv", code=2)
    assert message in result.stderr
    assert result.stderr.startswith("Error: new.csv: ")
    assert not os.path.exists("p.csv")


def test_bad_arguments():
    before = sorted(os.listdir())
    for args, message in [
        (["none.xent", "t.csv"], "no such file: 'none.xent'"),
        (["t.csv", "m.xent"], "not an xent model"),
        (["m.xent", "none.csv"], "no such file: 'none.csv'"),
        (["m.xent", "m.xent"], "stored model"),
        (["m.xent", "t.csv", "-o", "p.xlsx"], "the ending '.xlsx' says no format to write"),
        (["m.xent", "t.csv", "-o", "none/p.csv"], "no folder"),
        (["m.xent", "t.csv", "-o", "t.csv"], "over an input"),
        (["m.xent", "t.csv", "--keep", "kez"], "no column 'kez'. Did you mean 'key'?"),
    ]:
        assert message in run("predict", *args, code=2).stderr, args
    assert sorted(os.listdir()) == before


def test_a_failure_while_writing_leaves_the_old_file(monkeypatch):
    Path("p.csv").write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device", "p.csv")

    monkeypatch.setattr(os, "replace", fail)
    before = sorted(os.listdir())
    assert "no space left" in run("predict", "m.xent", "t.csv", "-o", "p.csv", code=2).stderr
    assert Path("p.csv").read_text() == "old"
    assert sorted(os.listdir()) == before


def test_a_damaged_model():
    data = bytearray(Path("m.xent").read_bytes())
    data[-9] ^= 1
    Path("m.xent").write_bytes(data)
    assert "the model is damaged" in run("predict", "m.xent", "t.csv", code=2).stderr


def test_standard_output_that_the_shell_closed(monkeypatch):
    import sys

    from xent.cli.predict import _to_stdout
    from xent.tabular import TableError

    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(TableError, match=r"standard output is closed\. Name a file with -o"):
        _to_stdout(b"a")


def test_labels_with_commas_quotes_and_newlines_come_back():
    frame().with_columns(kind=pl.Series(['"x"', "d,e", "b\nc"] * 30)).write_csv("odd.csv")
    run("train", "odd.csv", "-t", "kind", "--c", "1", "-o", "odd.xent")
    told = run("predict", "odd.xent", "odd.csv", "-o", "p.csv", "--json").stdout
    judged = run("evaluate", "p.csv", "-t", "kind", "--json").stdout
    assert json.loads(told)["evaluation"]["cross_entropy"] == pytest.approx(json.loads(judged)["cross_entropy"])


def test_another_spelling_of_the_same_letters():
    frame().rename({"x": "e\u0301"}).write_csv("a.csv")
    frame().rename({"x": "\u00e9"}).write_csv("b.csv")
    run("train", "a.csv", "-t", "kind", "--c", "1", "-o", "m.xent")
    run("predict", "m.xent", "b.csv", "-o", "p.csv")
    run("train", "a.csv", "-t", "kind", "--c", "1", "-o", "m.xent", "--drop", "\u00e9")
