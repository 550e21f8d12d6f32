"""Model files: round trips, and every way a file can be wrong."""

import datetime as dt
import hashlib
import json
import os
import pickle
import zipfile

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load, save, save_file

from xent.tabular import TableError, TrainOptions, load_model, read_table, save_model, train
from xent.tabular.atomic import write_whole
from xent.tabular.store import is_model, model_bytes

FAST = TrainOptions(grid=(1.0,))


def small_table(labels, rows=60, seed=0):
    rng = np.random.default_rng(seed)
    k = rng.integers(0, len(labels), rows)
    return pl.DataFrame(
        {
            "x": [None if i % 10 == 3 else float(v) for i, v in enumerate(k + rng.normal(0, 0.5, rows))],
            "имя ☃": [["a b", "c", "d"][v] if i % 7 else None for i, v in enumerate(rng.integers(0, 3, rows))],
            "when": [dt.date(2024, 1, 1) + dt.timedelta(int(d)) for d in rng.integers(0, 300, rows)],
            "flag": rng.integers(0, 2, rows).astype(bool),
            "label": [labels[i] for i in k],
        }
    )


LABELS = {
    "integer": [3, 1, 20],
    "number": [0.5, 1.25],
    "text": ["b", "a", "ü ∞"],
    "boolean": [True, False],
    "date": [dt.date(2020, 1, 2), dt.date(1999, 12, 31)],
    "datetime": [dt.datetime(2020, 1, 2, 3, 4, 5), dt.datetime(1999, 12, 31)],
}


@pytest.fixture(scope="module")
def model():
    return train(small_table(["no", "yes"]), "label", FAST).model


@pytest.fixture
def path(tmp_path, model):
    save_model(model, tmp_path / "m.xent")
    return tmp_path / "m.xent"


@pytest.mark.parametrize("kind", LABELS)
def test_round_trip_keeps_everything(tmp_path, kind):
    frame = small_table(LABELS[kind])
    model = train(frame, "label", FAST).model
    assert model.label_type == kind
    save_model(model, tmp_path / "m.xent")
    back = load_model(tmp_path / "m.xent")
    assert back.classes == model.classes == sorted(LABELS[kind])
    assert [type(c) for c in back.classes] == [type(c) for c in model.classes]
    assert (back.target, back.label_type, back.penalty_c) == (model.target, model.label_type, model.penalty_c)
    assert back.preprocessor.encoders == model.preprocessor.encoders
    assert back.preprocessor.names == model.preprocessor.names
    before, after = model.log_proba(frame)[0], back.log_proba(frame)[0]
    assert np.array_equal(before, after)
    assert back.predictions(frame, after).equals(model.predictions(frame, before))
    assert model_bytes(back) == model_bytes(model)


def test_the_same_model_gives_the_same_bytes(tmp_path, model):
    assert model_bytes(model) == model_bytes(model)


def test_it_is_plain_safetensors_with_json(path):
    tensors = load(path.read_bytes())
    assert {name: str(t.dtype) for name, t in tensors.items()} == {
        "coef": "float64",
        "intercept": "float64",
        "mean": "float64",
        "scale": "float64",
        "keep": "int64",
    }
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata = header["__metadata__"]
    assert (metadata["format"], metadata["version"]) == ("xent", "1")
    assert json.loads(metadata["model"])["classes"] == {"type": "text", "values": ["no", "yes"]}
    # the digest, as the module says it is made
    zeroed = raw.replace(metadata["sha256"].encode(), b"0" * 64)
    assert hashlib.sha256(zeroed).hexdigest() == metadata["sha256"]


def test_every_flipped_byte_is_refused(path):
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    header = 8 + int.from_bytes(good[:8], "little")
    places = [*range(200), *range(200, len(good), 23), *range(header - 40, header + 20), len(good) - 1]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        with pytest.raises(TableError):
            load_model(path)


def test_every_truncation_and_addition_is_refused(path):
    good = path.read_bytes()
    for length in [*range(40), *range(40, len(good), 97), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(TableError):
            load_model(path)
    path.write_bytes(good + b"\0")
    with pytest.raises(TableError, match="damaged"):
        load_model(path)


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_is_refused_and_not_run(tmp_path):
    trap = tmp_path / "ran"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        (tmp_path / "m.xent").write_bytes(pickle.dumps(Trap(trap), protocol))
        with pytest.raises(TableError, match="not an xent model"):
            load_model(tmp_path / "m.xent")
    assert not trap.exists()
    (tmp_path / "m.xent").write_bytes(pickle.dumps(Trap(trap), 4))
    with pytest.raises(TableError, match="looks like a Python pickle"):
        load_model(tmp_path / "m.xent")


def test_code_in_the_names_is_only_text(tmp_path):
    frame = small_table(["__import__('os').mkdir('ran')", "{{7*7}}"]).rename({"x": "${HOME}; touch ran"})
    save_model(train(frame, "label", FAST).model, tmp_path / "m.xent")
    model = load_model(tmp_path / "m.xent")
    assert model.class_names[0].startswith("__import__")
    assert not (tmp_path / "ran").exists()


def test_other_files_are_refused_with_a_reason(tmp_path):
    path = tmp_path / "m.xent"
    with pytest.raises(TableError, match="no such file"):
        load_model(path)
    with pytest.raises(TableError, match="folder"):
        load_model(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(TableError, match="empty"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(TableError, match="zip archive"):
        load_model(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(TableError, match="looks like text"):
        load_model(path)
    pl.DataFrame({"a": [1]}).write_parquet(path)
    with pytest.raises(TableError, match="Parquet"):
        load_model(path)
    save_file({"w": np.zeros(3)}, path)
    with pytest.raises(TableError, match="not an xent model"):
        load_model(path)
    save_file({"w": np.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(TableError, match="not an xent model"):
        load_model(path)


def reseal(path, change):
    """Change the document of a model file and put the right digest on it: what someone hostile would do."""
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    metadata, tensors = header["__metadata__"], load(raw)
    document = json.loads(metadata["model"])
    change(document, tensors, metadata)
    metadata.update(model=json.dumps(document), sha256="0" * 64)
    data = bytes(save(tensors, metadata=metadata))
    data = data.replace(b'"sha256":"' + b"0" * 64, b'"sha256":"' + hashlib.sha256(data).hexdigest().encode())
    path.write_bytes(data)


def test_reseal_itself_makes_a_good_file(path):
    reseal(path, lambda d, t, m: None)
    load_model(path)


def test_a_newer_version_is_refused(path):
    reseal(path, lambda d, t, m: m.update(version="2"))
    with pytest.raises(TableError, match=r"format version 2, this xent reads up to 1.*Update xent"):
        load_model(path)
    assert is_model(path)


BAD_VERSIONS = ["", "0", "-1", "one", "1.5", "²"]


@pytest.mark.parametrize("version", BAD_VERSIONS)
def test_a_version_that_is_none_is_refused(path, version):
    reseal(path, lambda d, t, m: m.update(version=version))
    with pytest.raises(TableError, match="no version"):
        load_model(path)


def changed(*steps):
    """Make a function that sets one field deep in the document."""

    def change(document, tensors, metadata):
        *path, key, value = steps
        for step in path:
            document = document[step]
        if value is KeyError:
            del document[key]
        else:
            document[key] = value

    return change


BAD_FIELDS = [
    changed("target", 3),
    changed("target", "x"),
    changed("target", KeyError),
    changed("c", "1"),
    changed("c", -1.0),
    changed("c", True),
    changed("info", []),
    changed("classes", []),
    changed("classes", "values", ["a"]),
    changed("classes", "values", ["a", "a"]),
    changed("classes", "values", ["a", 1]),
    changed("classes", "values", ["a", "b", "c"]),
    changed("classes", "values", [["a"], ["b"]]),
    changed("classes", "type", "pickle"),
    changed("classes", "type", "date"),
    changed("classes", "type", ["text"]),
    changed("columns", {}),
    changed("columns", [3]),
    changed("columns", []),
    changed("columns", 0, "kind", "code"),
    changed("columns", 0, "median", "1"),
    changed("columns", 0, "gaps", 1),
    changed("columns", 0, "name", None),
    changed("columns", 1, "levels", "abc"),
    changed("columns", 1, "levels", ["a", "a"]),
    changed("columns", 1, "levels", [1]),
    changed("columns", 1, "other", None),
    changed("columns", 1, "levels", 0, "\ud800"),
    changed("columns", 2, "parts", ["minute"]),
    changed("columns", 2, "parts", [["month"]]),
]


@pytest.mark.parametrize("change", BAD_FIELDS)
def test_fields_that_do_not_fit_are_refused(path, change):
    reseal(path, change)
    with pytest.raises(TableError, match=r"fit together|damaged"):
        load_model(path)


def bad_tensor(name, make):
    return lambda d, t, m: t.update({name: make(t[name])})


BAD_TENSORS = [
    bad_tensor("coef", lambda a: a[:, :-1].copy()),
    bad_tensor("coef", lambda a: a * np.nan),
    bad_tensor("coef", lambda a: np.sign(a) * 1e300),
    bad_tensor("coef", lambda a: a.astype(np.float32)),
    bad_tensor("coef", lambda a: a.ravel()),
    bad_tensor("intercept", lambda a: np.zeros(5)),
    bad_tensor("mean", lambda a: a + np.inf),
    bad_tensor("scale", lambda a: -a),
    bad_tensor("scale", lambda a: a * 0),
    bad_tensor("keep", lambda a: a[::-1].copy()),
    bad_tensor("keep", lambda a: a + 1000),
    bad_tensor("keep", lambda a: a - 5),
    lambda d, t, m: t.pop("mean"),
    lambda d, t, m: t.update(extra=np.zeros(1)),
]


@pytest.mark.parametrize("change", BAD_TENSORS)
def test_tensors_that_do_not_fit_are_refused(path, change):
    reseal(path, change)
    with pytest.raises(TableError, match=r"fit together|damaged"):
        load_model(path)


def test_a_header_nested_without_end_is_refused(path):
    deep = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    path.write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(TableError):
        load_model(path)


def test_written_whole_or_not_at_all(tmp_path, model, monkeypatch):
    path = tmp_path / "m.xent"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, step, fail)
            with pytest.raises(OSError, match="No space"):
                save_model(model, path)
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["m.xent"]

    def half(temporary):
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, half)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.xent"]


def test_writing_keeps_links_and_permissions(tmp_path):
    target = tmp_path / "real"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    write_whole(link, lambda p: p.write_bytes(b"new"))
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_writing_where_one_cannot(tmp_path):
    with pytest.raises(TableError, match="no folder"):
        write_whole(tmp_path / "none" / "m.xent", lambda p: None)
    with pytest.raises(TableError, match="folder"):
        write_whole(tmp_path, lambda p: None)
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(TableError, match="circle"):
        write_whole(tmp_path / "round", lambda p: None)
    (tmp_path / "out").symlink_to("none/m.xent")
    with pytest.raises(TableError, match=r"no folder '.*none'"):
        write_whole(tmp_path / "out", lambda p: None)


def test_iris_round_trip(tmp_path):
    result = train(read_table("iris"), "species", FAST)
    save_model(result.model, tmp_path / "iris.xent")
    assert load_model(tmp_path / "iris.xent").info == json.loads(json.dumps(result.model.info))
