"""Every kind of fitted classifier in onnxruntime and PyTorch."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from xent.linear_model import (
    LogisticRegression,
    MarginClassifier,
    MultiLabelClassifier,
    OrdinalClassifier,
    StreamingClassifier,
)
from xent.losses.margins import AMSoftmax, ArcFace, LSoftmax, SMSoftmax

X, Y = datasets.load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
LABELS = np.column_stack([Y == 0, Y > 0, X[:, 0] > 5.8]).astype(int)
CASES = {
    "streaming": (StreamingClassifier(), NAMES),
    "streaming, two classes": (StreamingClassifier(alpha=1e-2), Y > 0),
    "ordinal": (OrdinalClassifier(), Y + 5),
    "ordinal, text": (OrdinalClassifier(categories=["virginica", "versicolor", "setosa"]), NAMES),
    "ordinal, two labels": (OrdinalClassifier(), Y > 1),
    "cloglog": (OrdinalClassifier(link="cloglog"), Y),
    "probit": (OrdinalClassifier(link="probit"), Y),
    "labels": (MultiLabelClassifier(), LABELS),
    "one label": (MultiLabelClassifier(), LABELS[:, [2]]),
    "two classes": (MultiLabelClassifier(), NAMES != "setosa"),
    "margin": (MarginClassifier(AMSoftmax(0.2, scale=5)), NAMES),
    "sub-centres": (MarginClassifier(ArcFace(0.2, scale=8), centres=3, random_state=0, max_iter=20), Y),
    "centres of any length": (MarginClassifier(LSoftmax(2), max_iter=20), Y),
    "nothing normalised": (MarginClassifier(SMSoftmax(1.0), max_iter=20), Y),
}


def fitted(name, dtype):
    model, y = CASES[name]
    return model.fit(X.astype(dtype), y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_says_the_same(tmp_path, name, dtype):
    ort = pytest.importorskip("onnxruntime")
    model = fitted(name, dtype)
    proto = model.to_onnx(tmp_path / "m.onnx")
    assert proto.graph.name == type(model).__name__
    session = ort.InferenceSession(str(tmp_path / "m.onnx"))
    assert [o.name for o in session.get_outputs()] == ["label", "probabilities"]
    exact = 2e-5 if dtype == np.float32 else 1e-6 if name == "probit" else 1e-12
    for x in (X, 1000 * X, -X, X[:0] if not isinstance(model, StreamingClassifier) else X[:1]):
        x = x.astype(dtype)
        label, p = session.run(None, {"X": x})
        assert p.dtype == dtype
        if not len(x):
            assert p.shape == (0, len(model.classes_))
            continue
        expected = model.predict_proba(x)
        assert p.shape == expected.shape
        np.testing.assert_allclose(p, expected, rtol=0, atol=exact)
        near = np.sort(expected.reshape(len(x), -1), axis=1)
        clear = np.ones(len(x), bool) if near.shape[1] < 2 else near[:, -1] - near[:, -2] > 1e-4
        np.testing.assert_array_equal(label[clear], np.asarray(model.predict(x))[clear])
    if name == "margin":  # a row of zeros has no direction: every class is as likely
        np.testing.assert_allclose(session.run(None, {"X": np.zeros((1, 4), dtype)})[1], 1 / 3, rtol=1e-6)
        far = session.run(None, {"X": (X * 1e25).astype(dtype)})[1]
        np.testing.assert_allclose(far, model.predict_proba(X), atol=2e-6)


def test_tails_keep_their_digits():
    """log(F(b) - F(a)) far out, where the difference of two probabilities would be none."""
    ort = pytest.importorskip("onnxruntime")
    model = OrdinalClassifier().fit(X, Y)
    session = ort.InferenceSession(model.to_onnx().SerializeToString())
    x = X * 6
    p, expected = session.run(None, {"X": x})[1], model.predict_proba(x)
    assert expected.min() < 1e-40
    np.testing.assert_allclose(p, expected, rtol=1e-9)


def test_labels_that_all_rows_have():
    ort = pytest.importorskip("onnxruntime")
    with pytest.warns(UserWarning, match="the same in every row"):
        model = MultiLabelClassifier().fit(X, np.column_stack([LABELS[:, 0], np.ones(150), np.zeros(150)]).astype(int))
    label, p = ort.InferenceSession(model.to_onnx().SerializeToString()).run(None, {"X": X})
    np.testing.assert_allclose(p, model.predict_proba(X), atol=1e-12)
    np.testing.assert_array_equal(label, model.predict(X))
    assert (p[:, 1:] == [1, 0]).all()


def test_names_another_dtype_and_what_is_refused():
    onnx = pytest.importorskip("onnx")
    model = OrdinalClassifier().fit(pd.DataFrame(X, columns=list("abcd")), Y)
    proto = model.to_onnx(dtype=np.float32)
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert proto.metadata_props[0].value == "a\nb\nc\nd"
    with pytest.raises(ValueError, match="float16"):
        model.to_onnx(dtype=np.float16)
    for kind in (OrdinalClassifier, MultiLabelClassifier, MarginClassifier):
        with pytest.raises(ValueError, match="not fitted"):
            kind().to_onnx()
        pytest.importorskip("torch")
        with pytest.raises(ValueError, match="not fitted"):
            kind().to_torch()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_pytorch_says_the_same_and_learns_on(name, dtype):
    torch = pytest.importorskip("torch")
    model, tol = fitted(name, dtype), 1e-5 if dtype == np.float32 else 1e-12
    module, x = model.to_torch(), torch.from_numpy(X.astype(dtype))
    out = module(x)
    assert out.dtype == x.dtype
    if isinstance(model, OrdinalClassifier):
        np.testing.assert_allclose(out.detach(), model.latent(X), rtol=tol, atol=tol)
        log_p = module.log_proba(x)
        np.testing.assert_allclose(log_p.detach(), model.predict_log_proba(X), rtol=10 * tol, atol=10 * tol)
        log_p.sum().backward()
    elif isinstance(model, MarginClassifier):
        np.testing.assert_allclose(torch.softmax(out, 1).detach(), model.predict_proba(X), atol=10 * tol)
        out.sum().backward()
    else:
        expected = np.asarray(model.decision_function(X)).reshape(len(X), -1)
        np.testing.assert_allclose(out.detach(), expected, rtol=tol, atol=10 * tol)
        out.sum().backward()
    before = [p.detach().clone() for p in module.parameters()]
    assert all(p.grad is not None for p in module.parameters())
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
    again = model.to_torch()  # copies
    assert all(torch.equal(p, b) for p, b in zip(again.parameters(), before, strict=True))


def test_the_module_is_saved_by_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    module = OrdinalClassifier().fit(X, Y).to_torch()
    torch.save(module.state_dict(), tmp_path / "m.pt")
    other = OrdinalClassifier().fit(X[::2], Y[::2]).to_torch()
    other.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert torch.equal(other.coef, module.coef)


def test_early_stopped_fits_go_too():
    torch = pytest.importorskip("torch")
    model = LogisticRegression(early_stopping=True, random_state=0).fit(X, Y)
    out = model.to_torch()(torch.from_numpy(X)).detach()
    np.testing.assert_allclose(out, model.decision_function(X), rtol=1e-12, atol=1e-12)
