"""``xent recalibrate`` on every form of predictions that ``xent evaluate`` reads."""

import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import log_softmax

from command import run
from xent.evaluate import RecalibrationMap, recalibrate

NAMES = ("u", "v", "w")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def case(classes, rows=300):
    rng = np.random.default_rng(classes)
    z = rng.normal(size=(rows, classes))
    y = np.array([rng.choice(classes, p=p) for p in np.exp(log_softmax(z, axis=1))])
    return y, 2 * z


def saved(name="map.json"):
    with open(name) as file:
        return RecalibrationMap.from_json(file.read())


def numbers(z, kind):
    logs = log_softmax(z, axis=1)
    return {"probabilities": np.exp(logs), "log": logs, "logits": z}[kind]


@pytest.mark.parametrize("method", ["temperature", "vector"])
@pytest.mark.parametrize("kind", ["probabilities", "log", "logits"])
@pytest.mark.parametrize("form", ["columns", "lists"])
def test_tables(form, kind, method):
    y, z = case(3)
    values = numbers(z, kind)
    frame = pl.DataFrame({"y": np.array(NAMES)[y], "other": y})
    if form == "columns":
        frame = frame.with_columns([pl.Series(f"p_{c}", values[:, k]) for k, c in enumerate(NAMES)])
        how = []
    else:
        frame = frame.with_columns(pl.Series("q", values.tolist()))
        how = ["-p", "q"]
    frame.write_parquet("a.parquet")
    classes = ["--classes", "u,v,w"] if form == "lists" else []
    say = ["--kind", "logits"] if kind == "logits" else []
    run("recalibrate", "a.parquet", "-t", "y", *how, *classes, *say, "-m", method, "-o", "map.json")
    truth = recalibrate(y, log_softmax(z, axis=1), method)
    for name, value in truth.parameters.items():
        assert np.asarray(saved().parameters[name]) == pytest.approx(np.asarray(value), abs=1e-6)
    run("recalibrate", "--apply", "map.json", "a.parquet", *how, *say, "-o", "b.parquet")
    out = pl.read_parquet("b.parquet")
    found = out["q"].to_list() if form == "lists" else out.select([f"p_{c}" for c in NAMES]).to_numpy()
    expected = saved().apply(log_softmax(z, axis=1))
    expected = np.exp(expected) if kind == "probabilities" else expected
    assert np.asarray(found) == pytest.approx(expected, abs=1e-9)
    assert out["other"].to_list() == y.tolist()
    # and what was written is read as before
    judged = json.loads(run("evaluate", "b.parquet", "-t", "y", *how, *classes, *say, "--json").stdout)
    assert judged["cross_entropy"] == pytest.approx(-saved().apply(log_softmax(z, axis=1))[np.arange(300), y].mean())


def test_lists_in_another_order_of_classes():
    y, z = case(3)
    frame = pl.DataFrame({"y": np.array(NAMES)[y], "q": np.exp(log_softmax(z, axis=1)).tolist()})
    frame.write_parquet("a.parquet")
    run("recalibrate", "a.parquet", "-t", "y", "-p", "q", "--classes", "u,v,w", "-m", "vector", "-o", "map.json")
    turned = np.exp(log_softmax(z, axis=1))[:, [2, 0, 1]]
    pl.DataFrame({"q": turned.tolist()}).write_parquet("t.parquet")
    run("recalibrate", "--apply", "map.json", "t.parquet", "-p", "q", "--classes", "w,u,v", "-o", "b.parquet")
    expected = np.exp(saved().apply(log_softmax(z, axis=1)))[:, [2, 0, 1]]
    assert np.array(pl.read_parquet("b.parquet")["q"].to_list()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", ["probabilities", "log", "logits"])
def test_a_single_column_of_each_kind(kind):
    y, z = case(2)
    logs = log_softmax(z, axis=1)
    d = z[:, 1] - z[:, 0]
    values = {"probabilities": np.exp(logs[:, 1]), "log": logs[:, 1], "logits": d}[kind]
    pl.DataFrame({"y": y, "s": values}).write_parquet("a.parquet")
    say = ["-p", "s", *(["--kind", "logits"] if kind == "logits" else [])]
    run("recalibrate", "a.parquet", "-t", "y", *say, "-m", "platt", "-o", "map.json")
    run("recalibrate", "--apply", "map.json", "a.parquet", *say, "-o", "b.parquet")
    p = saved().parameters
    expected = p["slope"] * d + p["intercept"]
    expected = {
        "probabilities": 1 / (1 + np.exp(-expected)),
        "log": -np.logaddexp(0, -expected),
        "logits": expected,
    }[kind]
    assert pl.read_parquet("b.parquet")["s"].to_numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ending", [".npz", ".safetensors"])
def test_arrays(ending):
    y, z = case(3)
    arrays = {"logits": z.astype(np.float32), "y": y, "more": np.arange(4.0)}
    if ending == ".npz":
        np.savez("a.npz", **arrays)
    else:
        save_file(arrays, "a.safetensors")
    run("recalibrate", f"a{ending}", "-m", "temperature", "-o", "map.json")
    assert saved().names == ("0", "1", "2")
    result = run("recalibrate", "--apply", "map.json", f"a{ending}", "-o", f"b{ending}")
    assert "log-probabilities, which are logits too" in result.stderr
    out = dict(np.load("b.npz")) if ending == ".npz" else load_file("b.safetensors")
    expected = saved().apply(log_softmax(arrays["logits"].astype(float), axis=1))
    assert out["logits"] == pytest.approx(expected, abs=1e-9)
    assert out["more"].tolist() == [0, 1, 2, 3]
    judged = json.loads(run("evaluate", f"b{ending}", "--json").stdout)
    assert judged["cross_entropy"] == pytest.approx(-expected[np.arange(300), y].mean(), rel=1e-9)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["l.parquet", "-p", "q", "--classes", "u,v,x", "-o", "b.csv"], "the map's classes are 'u', 'v', 'w'"),
        (["p.parquet", "--classes", "u,v,x", "-o", "b.csv"], "the map's classes are 'u', 'v', 'w', not 'u', 'v', 'x'"),
        (["z.parquet", "-p", "q", "-o", "b.csv"], "Say so with --kind logits"),
        (["l.parquet", "-p", "q", "--normalize", "--kind", "log", "-o", "b.parquet"], "above 0"),
        (["a.npz", "-o", "b.csv"], "is of no file of arrays"),
        (["a.npz", "--normalize", "-o", "b.npz"], "arrays are taken as they are"),
        (["b.npz", "-o", "c.npz"], "the map has 3 classes"),
        (["n.npz", "-o", "c.npz"], "sum to"),
    ],
)
def test_what_does_not_fit_is_told(args, words):
    y, z = case(3)
    p = np.exp(log_softmax(z, axis=1))
    frame = pl.DataFrame({"y": np.array(NAMES)[y], **{f"p_{c}": p[:, k] for k, c in enumerate(NAMES)}})
    frame.write_parquet("p.parquet")
    pl.DataFrame({"q": p.tolist()}).write_parquet("l.parquet")
    pl.DataFrame({"q": z.tolist()}).write_parquet("z.parquet")
    np.savez("a.npz", probs=p, y=y)
    np.savez("b.npz", probs=p[:, 0])
    np.savez("n.npz", probs=p / 2)
    run("recalibrate", "p.parquet", "-t", "y", "-m", "temperature", "-o", "map.json")
    assert words in run("recalibrate", "--apply", "map.json", *args, code=2).stderr
