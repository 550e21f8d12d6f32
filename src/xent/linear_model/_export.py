"""Linear classifiers as a PyTorch layer and as an ONNX graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from .._files import write_whole
from ._array_api import in_numpy

# Old enough for every runtime of the last years; the graph needs no newer operator.
OPSET = 17
IR_VERSION = 8


def layer(model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Weights (V, D) and intercepts (V,) of a fitted model, dense, in one dtype."""
    check_is_fitted(model)
    model = in_numpy(model)
    coef = model.coef_.toarray() if sparse.issparse(model.coef_) else np.asarray(model.coef_)
    return np.ascontiguousarray(coef), np.asarray(model.intercept_, coef.dtype)


def to_torch(model: Any) -> Any:
    """What `to_torch` of the estimators documents."""
    try:
        import torch
    except ImportError:
        raise ImportError('to_torch needs PyTorch: pip install "xent[torch]"') from None
    coef, intercept = layer(model)
    W = torch.from_numpy(coef.copy())
    out = torch.nn.Linear(W.shape[1], W.shape[0], bias=bool(model.fit_intercept), dtype=W.dtype)
    with torch.no_grad():
        out.weight.copy_(W)
        if out.bias is not None:
            out.bias.copy_(torch.from_numpy(intercept.copy()))
    return out


def to_onnx(model: Any, path: Any = None, *, dtype: Any = None) -> Any:
    """What `to_onnx` of the estimators documents."""
    try:
        import onnx
    except ImportError:
        raise ImportError('to_onnx needs the package onnx: pip install "xent[onnx]"') from None
    from onnx import TensorProto, checker, helper, numpy_helper

    coef, intercept = layer(model)
    dtype = np.dtype(dtype or coef.dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, not {dtype}")
    number = TensorProto.FLOAT if dtype == np.float32 else TensorProto.DOUBLE
    classes = _class_tensor(np.asarray(in_numpy(model).classes_))
    constants = {"coef": coef.T.astype(dtype), "intercept": intercept.astype(dtype), "classes": classes}
    nodes = [
        helper.make_node("MatMul", ["X", "coef"], ["products"]),
        helper.make_node("Add", ["products", "intercept"], ["scores"]),
    ]
    if len(coef) == 1:  # the first class's logit is 0
        constants["zero"] = np.zeros(1, dtype)
        nodes += [
            helper.make_node("Mul", ["scores", "zero"], ["zeros"]),
            helper.make_node("Concat", ["zeros", "scores"], ["logits"], axis=1),
        ]
    nodes += [
        helper.make_node("Softmax", ["scores" if len(coef) > 1 else "logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["scores" if len(coef) > 1 else "logits"], ["index"], axis=1, keepdims=0),
        helper.make_node("Gather", ["classes", "index"], ["label"], axis=0),
    ]
    weights = [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()]
    label = weights[list(constants).index("classes")].data_type
    graph = helper.make_graph(
        nodes,
        type(model).__name__,
        [helper.make_tensor_value_info("X", number, ["N", coef.shape[1]])],
        [
            helper.make_tensor_value_info("label", label, ["N"]),
            helper.make_tensor_value_info("probabilities", number, ["N", len(model.classes_)]),
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(graph, producer_name="xent", opset_imports=opsets, ir_version=IR_VERSION)
    names = getattr(model, "feature_names_in_", None)
    if names is not None:
        helper.set_model_props(proto, {"feature_names": "\n".join(names)})
    checker.check_model(proto, full_check=True)
    if path is not None:
        write_whole(path, lambda temporary: onnx.save_model(proto, str(temporary), format="protobuf"))
    return proto


def _class_tensor(classes: np.ndarray) -> np.ndarray:
    """Classes as ONNX holds them: int64, floats, booleans or text."""
    if classes.dtype.kind in "iu":
        return classes.astype(np.int64)
    if classes.dtype.kind == "f":
        return classes.astype(np.float64 if classes.dtype.itemsize > 4 else np.float32)
    if classes.dtype.kind == "b":
        return classes
    if all(isinstance(c, str) for c in classes.tolist()):
        return classes.astype(object)
    raise TypeError(f"ONNX has labels of numbers, booleans or text, not of {classes.dtype}: fit to one of these")
