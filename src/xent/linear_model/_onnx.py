"""Fitted classifiers as ONNX graphs: an input "X", the outputs "label" and "probabilities"."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .._files import write_whole
from ..losses.margins import unit
from ._array_api import in_numpy
from ._export import layer

# Old enough for every runtime of the last years; the graphs need no newer operator.
OPSET = 17
IR_VERSION = 8
# In place of infinity in float32 and float64: differences with it stay numbers.
FAR = 1e30


class Graph:
    """Nodes and constants, named as they come.

    Parameters
    ----------
    dtype : float32 or float64
    classes : array
        What "label" takes its values from.
    """

    def __init__(self, dtype: np.dtype, classes: np.ndarray) -> None:
        self.dtype, self.nodes = dtype, list[Any]()
        self.constants: dict[str, np.ndarray] = {"classes": classes}

    def constant(self, name: str, value: Any) -> str:
        """Numbers in the graph's dtype."""
        self.constants[name] = np.ascontiguousarray(np.asarray(value).astype(self.dtype))
        return name

    def shape(self, name: str, value: list[int]) -> str:
        """Axes or a shape."""
        self.constants[name] = np.array(value, np.int64)
        return name

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        """A node, and the name of what it gives."""
        from onnx import helper

        name = to or f"{operator.lower()}_{len(self.nodes)}"
        if operator == "Cast":  # its attribute has the name of ours
            attributes = {"to": attributes["to_type"]}
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def choose(self, scores: str) -> None:
        """The label with the largest score."""
        best = self.add("ArgMax", scores, axis=1, keepdims=0)
        self.add("Gather", "classes", best, to="label", axis=0)

    def softmax(self, scores: str) -> None:
        """Label and probabilities of logits."""
        self.add("Softmax", scores, to="probabilities", axis=1)
        self.choose(scores)

    def affine(self, coef: Any, intercept: Any) -> str:
        """``X coef' + intercept``."""
        product = self.add("MatMul", "X", self.constant("coef", coef.T))
        return self.add("Add", product, self.constant("intercept", intercept))


def _linear(model: Any, graph: Graph) -> None:
    coef, intercept = layer(model)
    scores = graph.affine(coef, intercept)
    if len(coef) == 1:  # the first class's logit is 0
        zeros = graph.add("Mul", scores, graph.constant("zero", np.zeros(1)))
        scores = graph.add("Concat", zeros, scores, axis=1)
    graph.softmax(scores)


def _labels(model: Any, graph: Graph) -> None:
    scores = graph.affine(*layer(model))
    if model._one:  # the logarithms of the odds for and against
        graph.add("Sigmoid", graph.add("Concat", graph.add("Neg", scores), scores, axis=1), to="probabilities")
        first = graph.add("Greater", scores, graph.constant("zero", np.zeros(1)))
        index = graph.add("Squeeze", graph.add("Cast", first, to_type=7), graph.shape("one", [1]))
        graph.add("Gather", "classes", index, to="label", axis=0)
        return
    graph.add("Sigmoid", scores, to="probabilities")
    yes = graph.add("Greater", scores, graph.constant("zero", np.zeros(1)))
    graph.add("Cast", yes, to="label", to_type=7)


def _ordinal(model: Any, graph: Graph) -> None:
    """Of every label, by its interval ``a < F's argument < b``; what depends on its width alone is a constant."""
    theta = model.thresholds_.astype(np.float64)
    with np.errstate(divide="ignore"):
        width = np.concatenate([[0.0], np.log(-np.expm1(-np.diff(theta))), [0.0]])
    score = graph.add("MatMul", "X", graph.constant("coef", model.coef_[:, None]))
    a = graph.add("Sub", graph.constant("lower", np.r_[-FAR, theta]), score)
    b = graph.add("Sub", graph.constant("upper", np.r_[theta, FAR]), score)
    if model.link == "logit":
        log_p = graph.add("Sub", graph.constant("width", width), _softplus(graph, a, "a"))
        log_p = graph.add("Sub", log_p, _softplus(graph, graph.add("Neg", b), "b"))
        graph.add("Exp", log_p, to="probabilities")
    elif model.link == "cloglog":
        rate = graph.add("Exp", graph.add("Add", b, graph.constant("width", width)))
        inside = graph.add("Sub", graph.constant("one", np.ones(1)), graph.add("Exp", graph.add("Neg", rate)))
        log_p = graph.add("Neg", graph.add("Exp", a))
        graph.add("Mul", graph.add("Exp", log_p), inside, to="probabilities")
    else:
        half = graph.constant("half", np.full(1, 0.5))
        both = [_erf(graph, graph.add("Mul", x, graph.constant("root", np.full(1, 0.5**0.5)))) for x in (b, a)]
        graph.add("Mul", graph.add("Sub", *both), half, to="probabilities")
    graph.choose("probabilities")


def _erf(graph: Graph, x: str) -> str:
    """In single precision, which is all that runtimes have of it."""
    if graph.dtype == np.float32:
        return graph.add("Erf", x)
    return graph.add("Cast", graph.add("Erf", graph.add("Cast", x, to_type=1)), to_type=11)


def _softplus(graph: Graph, x: str, name: str) -> str:
    """``max(x, 0) + log(1 + e^-|x|)``: the operator of that name is not everywhere in double precision."""
    far = graph.add("Exp", graph.add("Neg", graph.add("Abs", x)))
    return graph.add(
        "Add",
        graph.add("Relu", x),
        graph.add("Log", graph.add("Add", far, graph.constant(f"one_{name}", np.ones(1)))),
    )


def _margin(model: Any, graph: Graph) -> None:
    K, C, D = model.centres_.shape
    margin, centres = model._margin(), model.centres_.astype(np.float64).reshape(K * C, D)
    if margin.unit_centres:
        centres = unit(np, centres)[0]
    x = "X"
    if margin.unit_features:  # the largest first, so that squares are numbers; rows of zeros stay so
        tiny = graph.constant("tiny", np.full(1, np.finfo(graph.dtype).tiny))
        largest = graph.add("ReduceMax", graph.add("Abs", x), axes=[1], keepdims=1)
        x = graph.add("Div", x, graph.add("Max", largest, tiny))
        square = graph.add("ReduceSum", graph.add("Mul", x, x), graph.shape("one", [1]), keepdims=1)
        x = graph.add("Div", x, graph.add("Sqrt", graph.add("Max", square, tiny)))
    z = graph.add("MatMul", x, graph.constant("centres", margin.scale * centres.T))
    if C > 1:
        z = graph.add("Reshape", z, graph.shape("by_class", [-1, K, C]))
        z = graph.add("ReduceMax", z, axes=[2], keepdims=0)
    graph.softmax(z)


_KINDS = {"linear": _linear, "labels": _labels, "ordinal": _ordinal, "margin": _margin}


def to_onnx(model: Any, path: Any = None, *, dtype: Any = None) -> Any:
    """What `to_onnx` of the estimators documents."""
    try:
        import onnx
    except ImportError:
        raise ImportError('to_onnx needs the package onnx: pip install "xent[onnx]"') from None
    from onnx import TensorProto, checker, helper, numpy_helper

    check_is_fitted(model)
    model = in_numpy(model)
    dtype = np.dtype(dtype or (model.centres_ if hasattr(model, "centres_") else model.coef_).dtype)
    if dtype not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, not {dtype}")
    number = TensorProto.FLOAT if dtype == np.float32 else TensorProto.DOUBLE
    graph = Graph(dtype, _class_tensor(np.asarray(model.classes_)))
    _KINDS[model._export_kind](model, graph)
    several = model._export_kind == "labels" and not model._one
    if several:
        del graph.constants["classes"]
    weights = {name: numpy_helper.from_array(value, name) for name, value in graph.constants.items()}
    label = TensorProto.INT64 if several else weights["classes"].data_type
    K = len(model.classes_)
    made = helper.make_graph(
        graph.nodes,
        type(model).__name__,
        [helper.make_tensor_value_info("X", number, ["N", model.n_features_in_])],
        [
            helper.make_tensor_value_info("label", label, ["N", K] if several else ["N"]),
            helper.make_tensor_value_info("probabilities", number, ["N", K]),
        ],
        list(weights.values()),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    proto = helper.make_model(made, producer_name="xent", opset_imports=opsets, ir_version=IR_VERSION)
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
