"""Fitted estimators taken elsewhere: files, PyTorch, ONNX."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load, save_file
from scipy import sparse
from sklearn import datasets

from xent._files import FileError
from xent.linear_model import LogisticRegression, LogisticRegressionCV, load_estimator
from xent.linear_model._store import estimator_bytes

X, Y = datasets.load_iris(return_X_y=True)
TWO = Y < 2
LABELS = {
    "int": np.array([3, -1, 2**40]),
    "float": np.array([5.0, -2.0, 1e15]),
    "text": np.array(["b", "a", "ü ∞"]),
    "object": np.array(["b", "a", "ü ∞"], object),
    "datetime": np.array(["2020-01-02", "1999-12-31", "2001-01-01"], "M8[D]"),
    "small": np.array([3, 1, 2], np.uint8),
}


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    elif sparse.issparse(a):
        same(a.toarray(), b.toarray())
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    else:
        assert a == b or (a != a and b != b)


def same_model(a, b):
    assert type(a) is type(b)
    same(a.get_params(), b.get_params())
    fitted = {k: v for k, v in vars(a).items() if k.endswith("_") and not k.startswith("_")}
    same(dict(sorted(fitted.items())), {k: getattr(b, k) for k in sorted(fitted)})


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_file_keeps_everything(tmp_path, kind, dtype):
    model = LogisticRegression(C=np.inf, tol=1e-3, class_weight="balanced").fit(X.astype(dtype), LABELS[kind][Y])
    model.save(tmp_path / "m.xent")
    back = load_estimator(tmp_path / "m.xent")
    same_model(model, back)
    np.testing.assert_array_equal(back.predict_log_proba(X), model.predict_log_proba(X))
    same(back.predict(X), model.predict(X))
    assert estimator_bytes(back) == estimator_bytes(model)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(l1_ratio=1, C=0.1, class_weight={0: 1.0, 1: 2.5, 2: 1}, random_state=3),
        LogisticRegressionCV(Cs=(0.1, 10.0), cv=2, l1_ratios=(0, 1), use_legacy_attributes=True, scoring="accuracy"),
    ],
)
def test_frames_sparse_coefficients_and_cross_validation(tmp_path, model):
    frame = pd.DataFrame(X, columns=["a", "b b", "ü", "d"])
    model = model.fit(frame, Y).sparsify()
    model.save(tmp_path / "m.xent")
    back = load_estimator(tmp_path / "m.xent")
    same_model(model, back)
    same(back.predict_proba(frame), model.predict_proba(frame))
    with pytest.raises(ValueError, match="feature names should match"):
        back.predict(frame.rename(columns={"a": "A"}))


def test_an_unfitted_estimator_is_one_too(tmp_path):
    LogisticRegression(C=3.0).save(tmp_path / "m")
    back = load_estimator(tmp_path / "m")
    assert back.get_params() == LogisticRegression(C=3.0).get_params()
    assert not hasattr(back, "coef_")


def test_what_is_no_number_or_text_is_refused_and_nothing_is_written(tmp_path):
    model = LogisticRegressionCV(Cs=2, cv=2, scoring=lambda *_: 0.0, l1_ratios=(0,), use_legacy_attributes=False)
    with pytest.raises(TypeError, match="the parameter scoring: function"):
        model.save(tmp_path / "m")
    with pytest.raises(TypeError, match="Mine is none of the classes"):
        type("Mine", (LogisticRegression,), {})().save(tmp_path / "m")
    with pytest.raises(FileError, match="no folder"):
        LogisticRegression().save(tmp_path / "none" / "m")
    assert os.listdir(tmp_path) == []


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "m"
    LogisticRegression().fit(X, Y).save(path)
    good = path.read_bytes()
    for place in [*range(0, 300, 7), *range(300, len(good), 41), len(good) - 1]:
        bad = bytearray(good)
        bad[place] ^= 4
        path.write_bytes(bad)
        with pytest.raises(FileError):
            load_estimator(path)
    for length in [*range(0, 40, 5), *range(40, len(good), 97), len(good) - 1]:
        path.write_bytes(good[:length])
        with pytest.raises(FileError):
            load_estimator(path)
    trap = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(trap),))

    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FileError, match="no estimator"):
        load_estimator(path)
    assert not trap.exists()
    save_file({"w": np.zeros(3)}, path)
    with pytest.raises(FileError, match="no estimator"):
        load_estimator(path)
    with pytest.raises(FileError, match="no such file"):
        load_estimator(tmp_path / "other")


def forged(path, model, change, tensors=lambda t: t):
    """A file with a right seal and a changed document."""
    from xent._files import sealed

    data = estimator_bytes(model)
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    document = json.loads(metadata["estimator"])
    change(document, metadata)
    metadata["estimator"] = json.dumps(document)
    del metadata["sha256"]
    path.write_bytes(sealed(tensors(load(data)), metadata))


def test_forged_files_run_nothing_and_are_refused(tmp_path):
    model, path = LogisticRegression().fit(X, Y), tmp_path / "m"

    def refused(change, words, tensors=lambda t: t):
        forged(path, model, change, tensors)
        with pytest.raises(FileError, match=words):
            load_estimator(path)

    forged(path, model, lambda d, m: None)
    same_model(load_estimator(path), model)
    refused(lambda d, m: m.update(version="2"), "format version 2, this xent reads up to 1. Update xent")
    refused(lambda d, m: d.update({"class": "os.system"}), "no estimator is called 'os.system'")
    refused(lambda d, m: d["fitted"].update(predict=1), "'predict' is no name of a fitted attribute")
    refused(lambda d, m: d["fitted"].update(__class__=1), "__class__")
    refused(lambda d, m: d["fitted"].update(coef_={"eval": "1"}), "eval")
    refused(lambda d, m: d["fitted"].update(solver_={"record": ["Popen", {"dict": []}]}), "Popen")
    refused(lambda d, m: d["params"].update(unheard=1), "unheard")
    refused(lambda d, m: d["fitted"].update(coef_={"array": "intercept_"}), r"coef_ \(3,\)")
    refused(lambda d, m: None, "not finite", lambda t: {**t, "coef_": t["coef_"] * np.nan})
    refused(lambda d, m: None, "make", lambda t: {**t, "classes_": np.arange(5)})


@pytest.mark.parametrize("rows", [slice(None), TWO])
@pytest.mark.parametrize("options", [{}, {"fit_intercept": False}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_torch_gives_the_same_logits(rows, options, dtype):
    torch = pytest.importorskip("torch")
    x = X[rows].astype(dtype)
    model = LogisticRegression(**options).fit(x, Y[rows])
    linear = model.to_torch()
    assert (linear.bias is None) == bool(options)
    assert linear.weight.requires_grad
    out = linear(torch.from_numpy(x)).detach().numpy()
    assert out.dtype == dtype
    expected = model.decision_function(x).reshape(len(x), -1)
    np.testing.assert_allclose(out, expected, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-5)
    before = model.coef_.copy()
    with torch.no_grad():
        linear.weight.zero_()
    np.testing.assert_array_equal(model.coef_, before)


@pytest.mark.parametrize("kind", ["int", "float", "text", "object", "small", "bool"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_onnxruntime_gives_the_same_labels_and_probabilities(tmp_path, kind, classes, dtype):
    ort = pytest.importorskip("onnxruntime")
    if kind == "bool" and classes == 3:
        return
    rows = TWO if classes == 2 else slice(None)
    labels = {**LABELS, "bool": np.array([True, False])}[kind]
    x, y = X[rows].astype(dtype), labels[Y[rows]]
    model = LogisticRegression(C=0.5).fit(x, y)
    model.to_onnx(tmp_path / "m.onnx")
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    assert [i.name for i in session.get_inputs()] == ["X"]
    assert [o.name for o in session.get_outputs()] == ["label", "probabilities"]
    label, p = session.run(None, {"X": x})
    assert label.tolist() == model.predict(x).tolist()
    assert p.dtype == dtype
    np.testing.assert_allclose(p, model.predict_proba(x), rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-7)
    # far from the classes, where probabilities are 0 and 1; and no row at all
    _, far = session.run(None, {"X": x * dtype(1000)})
    np.testing.assert_allclose(far, model.predict_proba(x * dtype(1000)), atol=1e-6)
    assert session.run(None, {"X": x[:0]})[1].shape == (0, classes)


def test_onnx_in_another_dtype_with_names_and_without_a_file():
    onnx = pytest.importorskip("onnx")
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = LogisticRegression().fit(frame, Y).sparsify()
    proto = model.to_onnx(dtype=np.float32)
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert proto.metadata_props[0].value == "a\nb\nc\nd"
    with pytest.raises(ValueError, match="float16"):
        model.to_onnx(dtype=np.float16)
    with pytest.raises(TypeError, match="datetime64"):
        LogisticRegression().fit(X, LABELS["datetime"][Y]).to_onnx()
