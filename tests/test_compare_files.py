"""`xent compare` of files of every kind, read in parts, matched by ids; against `compare` of the same numbers."""

import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file
from scipy.special import log_softmax, softmax

from command import run
from xent.evaluate import compare
from xent.evaluate.measures import Coded, codes
from xent.tabular import prediction_files

CLASSES = ["cat", "dog", "fish"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def case(rows=500, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 3))
    y = (softmax(z, axis=1).cumsum(axis=1) > rng.random((rows, 1))).argmax(axis=1)
    others = {n: z + s * rng.normal(size=z.shape) for n, s in (("near", 0.3), ("far", 1.0), ("wild", 2.0))}
    return y, {"true": z, **others}


def told(*args, code=0):
    return json.loads(run("compare", *args, "--json", code=code).stdout)


def check(document, y, logits):
    truth = compare(y, {n: log_softmax(z, axis=1) for n, z in logits.items()}, log=True, names=CLASSES)
    assert [m["name"] for m in document["models"]] == [m.name for m in truth.models]
    for theirs, ours in zip(document["pairs"], truth.pairs, strict=True):
        assert theirs["difference"] == pytest.approx(ours.difference, rel=1e-6)
        assert theirs["interval"] == pytest.approx(list(ours.interval), rel=1e-5)
        assert {c["name"]: c["rows"] for c in theirs["classes"]} == {c.name: c.rows for c in ours.classes}
    for name, own in document["reliability"]["models"].items():
        other = truth.reliability["models"][name]
        assert own["calibration_error"] == pytest.approx(other["calibration_error"], rel=1e-5)


@pytest.mark.parametrize("shuffled", [False, True])
def test_files_of_every_kind_together(shuffled):
    y, logits = case()
    order = np.random.default_rng(1).permutation(len(y)) if shuffled else np.arange(len(y))
    names, ids = np.array(CLASSES)[y], np.array([f"{k:04d}" for k in range(len(y))])
    p = softmax(logits["true"], axis=1)
    pl.DataFrame({"y": names, "id": ids} | {f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)}).write_csv("true.csv")
    logs = log_softmax(logits["near"], axis=1)[order]
    lists = pl.DataFrame({"y": names[order], "id": ids[order], "logs": logs.tolist()})
    lists.write_ndjson("near.jsonl")
    np.savez("far.npz", y=y[order], id=ids[order], logits=logits["far"][order].astype(np.float32))
    numbers = ids.astype(np.int64)
    rows = {"y": y[order], "id": numbers[order], "z": logits["wild"][order]}
    if shuffled:  # safetensors holds no text, so its ids are numbers
        columns = {f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)}
        pl.DataFrame({"y": names, "id": numbers} | columns).write_parquet("true.parquet")
        save_file(rows, "wild.safetensors")
        args = ("true.parquet", "wild.safetensors", "-t", "y", "--id", "id", "--probs", "wild=z", "--kind",
                "wild=logits", "--classes", ",".join(CLASSES))  # fmt: skip
        check(told(*args), y, {n: logits[n] for n in ("true", "wild")})
    else:
        save_file({k: v for k, v in rows.items() if k != "id"}, "wild.safetensors")
    files = ["true.csv", "near.jsonl", "far.npz", *([] if shuffled else ["wild.safetensors"])]
    own = ["--probs", "near=logs", *([] if shuffled else ["--probs", "wild=z", "--kind", "wild.safetensors=logits"])]
    args = [*files, "-t", "y", "--classes", ",".join(CLASSES), *own, *(["--id", "id"] if shuffled else [])]
    check(told(*args), y, {f.split(".")[0]: logits[f.split(".")[0]] for f in files})


def test_arrays_alone_need_no_target():
    y, logits = case(200)
    for name in ("near", "far"):
        np.savez(f"{name}.npz", labels=y, logits=logits[name])
    found = told("near.npz", "far.npz", "--classes", ",".join(CLASSES))
    check(found, y, {n: logits[n] for n in ("near", "far")})
    pl.DataFrame({"y": y, "p_0": 0.5, "p_1": 0.5, "p_2": 0.0}).write_csv("a.csv")
    assert "Missing option '--target'" in run("compare", "a.csv", "far.npz", code=2).stderr


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_file_in_parts_is_the_whole(monkeypatch, ending):
    y, logits = case(700)
    for name in ("near", "far"):
        p = softmax(logits[name], axis=1)
        columns = {"y": np.array(CLASSES)[y], "id": [f"{k:05d}" for k in range(700)], "part": np.arange(700) % 7}
        frame = pl.DataFrame(columns | {f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)})
        if name == "far":
            frame = frame.reverse()
        write = {"parquet": frame.write_parquet, "csv": frame.write_csv, "jsonl": frame.write_ndjson}[ending]
        write(f"{name}.{ending}")
    args = (f"near.{ending}", f"far.{ending}", "-t", "y", "--id", "id", "--cluster", "part", "--by", "part")
    whole = told(*args)
    monkeypatch.setattr(prediction_files, "WHOLE", 0)
    monkeypatch.setattr(prediction_files, "_ROWS", 64)
    parts = 0
    before = prediction_files._part

    def counted(*given):
        nonlocal parts
        parts += 1
        return before(*given)

    monkeypatch.setattr(prediction_files, "_part", counted)
    assert told(*args) == whole
    assert parts > 4
    models = {n: log_softmax(logits[n], axis=1) for n in ("near", "far")}
    expected = compare(y, models, log=True, clusters=np.arange(700) % 7).pairs[0]
    assert whole["pairs"][0]["difference"] == pytest.approx(expected.difference, rel=1e-9)
    assert whole["pairs"][0]["interval"] == pytest.approx(list(expected.interval), rel=1e-9)
    assert len(whole["pairs"][0]["slices"]["part"]) == 7
    assert whole["clusters"] == 7


def test_it_refuses():
    y, logits = case(30)
    p = softmax(logits["near"], axis=1)
    pl.DataFrame({"y": y, "id": np.arange(30)} | {f"p_{k}": p[:, k] for k in range(3)}).write_csv("a.csv")
    np.savez("b.npz", y=y, id=np.r_[np.arange(29), 99], logits=logits["far"])
    np.savez("c.npz", y=np.roll(y, 1), logits=logits["far"])
    np.savez("d.npz", y=y[:20], logits=logits["far"][:20])
    for args, words in (
        (("a.csv", "b.npz", "--id", "id"), "the rows do not match: 1 id of 'id' only in a.csv: '29'; 1 id of 'id'"),
        (("a.csv", "c.npz"), "the labels differ from those of a.csv"),
        (("a.csv", "d.npz"), "20 rows with a label, and a.csv has 30"),
        (("a.csv", "b.npz", "--kind", "b=logit"), "'logit' is none of probabilities, log, logits"),
        (("a.csv", "b.npz", "--kind", "e=logits"), "there is no file 'e'"),
        (("a.csv", "b.npz", "--positive", "1"), "a positive class is for a single column"),
        (("b.npz", "c.npz", "--normalize"), "arrays are taken as they are"),
    ):
        assert words in run("compare", *args, "-t", "y", code=2).stderr


def test_numbers_beside_names_are_told_of():
    y, logits = case(30)
    p = softmax(logits["near"], axis=1)
    names = np.array(CLASSES)[y]
    pl.DataFrame({"y": names} | {f"p_{c}": p[:, k] for k, c in enumerate(CLASSES)}).write_csv("a.csv")
    np.savez("b.npz", y=y, logits=logits["far"])
    assert "with --classes A,B" in run("compare", "a.csv", "b.npz", "-t", "y", code=2).stderr
    check(told("a.csv", "b.npz", "-t", "y", "--classes", ",".join(CLASSES)), y,
          {"a": logits["near"], "b": logits["far"]})  # fmt: skip


def test_coded_columns_are_their_texts():
    values = np.array(list("bdabbd"))
    coded = Coded(np.array([1, 3, 0, 1, 1, 3]), ["a", "b", "c", "d"])
    place, texts = codes(coded, 6, "x")
    truth_place, truth_texts = codes(values, 6, "x")
    assert place.tolist() == truth_place.tolist()
    assert texts == truth_texts
    with pytest.raises(ValueError, match=r"x of shape \(7,\)"):
        codes(coded, 7, "x")


def test_the_figures_and_the_picture_are_written():
    y, logits = case(100)
    for name in ("near", "far"):
        np.savez(f"{name}.npz", labels=y, logits=logits[name])
    files = ("near.npz", "far.npz")
    document = told(*files)
    run("compare", *files, "-o", "c.json")
    with open("c.json", encoding="utf-8") as file:
        assert json.load(file) == document
    assert "written to c.svg" in run("compare", *files, "-o", "c.svg").stderr
    with open("c.svg", encoding="utf-8") as file:
        text = file.read()
    assert "<svg" in text
    run("compare", *files, "-o", "c.png")
    with open("c.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    assert "names nothing to write" in run("compare", *files, "-o", "c.html", code=2).stderr
    assert run("compare", *files, "-o", "no/c.png", code=2).stderr
