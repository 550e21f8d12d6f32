"""``xent recalibrate``: a map fitted, written, applied; and what is refused."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from command import run
from xent.evaluate import recalibrate
from xent.losses import log_softmax

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, rows=400, classes="uvw", temperature=2.0, **more):
    z = RNG.normal(size=(rows, len(classes))) * 3
    p = np.exp(log_softmax(z / temperature))
    y = (p.cumsum(axis=1) > RNG.random(rows)[:, None]).argmax(axis=1)
    q = np.exp(log_softmax(z))
    frame = pl.DataFrame({"y": [classes[k] for k in y], **more, **{f"p_{c}": q[:, k] for k, c in enumerate(classes)}})
    frame.write_parquet(name)
    return y, q


def test_fit_and_apply():
    y, q = write("a.parquet", note=["n"] * 400)
    text = run("recalibrate", "a.parquet", "-t", "y", "-m", "temperature", "-o", "map.json").stdout
    expected = recalibrate(y, np.log(q))
    assert f"T = {expected.parameters['temperature']:.6g}" in text
    document = json.loads(Path("map.json").read_text())
    assert document["method"] == "temperature"
    assert document["names"] == ["u", "v", "w"]
    run("recalibrate", "--apply", "map.json", "a.parquet", "-o", "b.parquet")
    out = pl.read_parquet("b.parquet")
    assert out.columns == ["y", "note", "p_u", "p_v", "p_w"]
    assert out.select("p_u", "p_v", "p_w").to_numpy() == pytest.approx(np.exp(expected.apply(np.log(q))), rel=1e-9)
    assert "p_u" in run("recalibrate", "--apply", "map.json", "a.parquet", "-o", "-").stdout


def test_best_says_what_each_gains():
    write("a.parquet")
    document = json.loads(run("recalibrate", "a.parquet", "-t", "y", "-o", "map.json", "--json").stdout)
    after = {r["method"]: r["loss_after"] for r in document["results"]}
    assert list(after) == ["temperature", "vector", "isotonic", "dirichlet"]
    assert document["written"] == document["best"] == min(after, key=after.get)
    assert json.loads(Path("map.json").read_text())["method"] == document["best"]
    assert all(v < document["loss_before"] for v in after.values())


def test_a_single_column():
    y, q = write("a.parquet", classes="ab")
    frame = pl.read_parquet("a.parquet").select("y", score="p_b")
    frame.write_csv("a.csv")
    run("recalibrate", "a.csv", "-t", "y", "-p", "score", "--positive", "b", "-m", "platt", "-o", "map.json")
    run("recalibrate", "--apply", "map.json", "a.csv", "-p", "score", "-o", "b.csv")
    expected = np.exp(recalibrate(y, np.log(q), "platt").apply(np.log(q)))[:, 1]
    assert pl.read_csv("b.csv")["score"].to_numpy() == pytest.approx(expected, rel=1e-5)


def test_nothing_helps_what_is_right():
    pl.DataFrame({"y": [0, 1] * 200, "p": [0.5] * 400}).write_csv("a.csv")
    result = run("recalibrate", "a.csv", "-t", "y", "-p", "p", "-o", "map.json", code=2)
    assert "no map makes these predictions cost less than 0.6931 nats" in result.stderr
    assert not Path("map.json").exists()
    run("recalibrate", "a.csv", "-t", "y", "-p", "p", "-m", "temperature", "-o", "map.json")


def test_impossible_events_and_zeros():
    y, q = write("a.parquet")
    q[0] = np.eye(3)[(y[0] + 1) % 3]
    pl.read_parquet("a.parquet").with_columns([pl.Series(f"p_{c}", q[:, k]) for k, c in enumerate("uvw")]).write_csv(
        "a.csv"
    )
    result = run("recalibrate", "a.csv", "-t", "y", "--normalize")
    assert "temperature cannot mend 1 rows whose label had probability 0" in result.stderr
    assert "vector" not in result.stdout
    assert "floor" in run("recalibrate", "a.csv", "-t", "y", "-m", "dirichlet", code=2).stderr
    run("recalibrate", "a.csv", "-t", "y", "-m", "dirichlet", "--floor", "1e-6", "-o", "map.json")
    assert json.loads(Path("map.json").read_text())["floor"] == 1e-6


def test_groups():
    y, q = write("a.parquet", site=[str(k % 50) for k in range(400)])
    plain = json.loads(run("recalibrate", "a.parquet", "-t", "y", "--json").stdout)
    grouped = json.loads(run("recalibrate", "a.parquet", "-t", "y", "--group", "site", "--json").stdout)
    assert plain["results"][0]["loss_after"] != grouped["results"][0]["loss_after"]
    assert len(y) == len(q)


BAD = [
    (["a.parquet"], "Missing option '--target'"),
    (["a.parquet", "--apply", "map.json"], "--apply needs an output"),
    (["a.parquet", "--apply", "map.json", "-t", "y", "-o", "b.csv"], "--apply takes no --target"),
    (["a.parquet", "--apply", "none.json", "-o", "b.csv"], "no such file: 'none.json'"),
    (["a.parquet", "--apply", "a.parquet", "-o", "b.csv"], "a.parquet: this is no JSON"),
    (["a.parquet", "--apply", "map.json", "-o", "b.csv", "-p", "q_*"], "no column 'q_u', 'q_v', 'q_w'"),
    (["a.parquet", "--apply", "map.json", "-o", "b.csv", "-p", "p_u"], "the map has 3 classes"),
    (["wide.csv", "--apply", "map.json", "-o", "b.csv"], "the map knows no class for 'p_x'"),
    (["a.parquet", "-t", "y", "-m", "platt"], "platt is for two classes"),
    (["a.parquet", "-t", "y", "--folds", "1"], "folds must be from 2"),
    (["a.parquet", "-t", "y", "--group", "sites"], "no column 'sites'"),
    (["a.parquet", "-t", "y", "-o", "nowhere/map.json"], "there is no folder"),
]


@pytest.mark.parametrize(("args", "message"), BAD)
def test_bad_calls_are_told(args, message):
    write("a.parquet")
    run("recalibrate", "a.parquet", "-t", "y", "-m", "temperature", "-o", "map.json")
    pl.read_parquet("a.parquet").with_columns(p_x=0.0).write_csv("wide.csv")
    result = run("recalibrate", *args, code=2)
    assert message in result.stderr
    assert not Path("b.csv").exists()


def test_columns_that_went_stale_are_told():
    write("a.parquet", loss=[1.0] * 400)
    run("recalibrate", "a.parquet", "-t", "y", "-m", "temperature", "-o", "map.json")
    assert "'loss' still say" in run("recalibrate", "--apply", "map.json", "a.parquet", "-o", "b.csv").stderr
