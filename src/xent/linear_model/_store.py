"""Files of fitted estimators: numbers and text in a safetensors file, read without running anything.

The tensors are the fitted arrays. The header's metadata: ``format`` ("xent-estimator"), ``version``, ``estimator`` (a
JSON document: the class's name, its parameters, its fitted attributes) and ``sha256``, as `xent._files.sealed` makes
it. In the document, what JSON lacks is written as an object of one key that names it, such as ``{"float": "inf"}``;
`_READERS` lists them all, and nothing else is read.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .._files import FileError, seal_holds, sealed, write_whole
from ..losses import margins
from ._array_api import in_numpy
from ._options import Choice

FORMAT = "xent-estimator"
VERSION = 1
"""The version this code writes; files up to it are read, later ones refused."""

# The classes that a file may name, and where they are.
CLASSES = {
    "LogisticRegression": "logistic",
    "LogisticRegressionCV": "logistic_cv",
    "MarginClassifier": "margin",
    "MultiLabelClassifier": "multilabel",
    "OrdinalClassifier": "ordinal",
    "StreamingClassifier": "streaming",
}
_MARGINS = {name: getattr(margins, name) for name in margins.__all__ if isinstance(getattr(margins, name), type)}
_RECORDS: dict[str, Any] = {
    "Choice": Choice,
    **{n: m for n, m in _MARGINS.items() if issubclass(m, margins.Margin) and dataclasses.is_dataclass(m)},
}
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_]*_")


def save_estimator(model: Any, path: str | os.PathLike[str]) -> None:
    """What `save` of the estimators documents."""
    data = estimator_bytes(model)
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def estimator_bytes(model: Any) -> bytes:
    """The file's content."""
    name = type(model).__name__
    if name not in CLASSES or type(model) is not _class(name):
        raise TypeError(f"{name} is none of the classes that a file can name: {', '.join(CLASSES)}")
    model = in_numpy(model)
    tensors: dict[str, np.ndarray] = {}
    fitted = {key: value for key, value in vars(model).items() if _NAME.fullmatch(key)}
    document = {
        "class": name,
        "params": {k: _write(v, f"the parameter {k}", tensors) for k, v in model.get_params(deep=False).items()},
        "fitted": {k: _write(v, k, tensors) for k, v in fitted.items()},
    }
    metadata = {"format": FORMAT, "version": str(VERSION), "estimator": json.dumps(document, allow_nan=False)}
    return sealed(tensors, metadata)


def load_estimator(path: str | os.PathLike[str]) -> Any:
    """Read an estimator that its `save` wrote. Nothing in the file is run, and everything in it is checked.

    Parameters
    ----------
    path : path of the file

    Returns
    -------
    estimator
        Of the class that was saved, with its parameters and fitted attributes.

    Raises
    ------
    FileError
        No such file; another kind of file; one written by a newer xent, damaged or cut short; parts that do not fit.
        (A ValueError.)

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from sklearn.datasets import load_iris
    >>> from xent.linear_model import LogisticRegression
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(pathlib.Path(folder) / "iris.xent")
    ...     back = load_estimator(pathlib.Path(folder) / "iris.xent")
    >>> bool((back.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = Path(path)
    where = str(path)
    if not path.is_file():
        raise FileError("no such file", where=where)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    try:
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        ours = metadata["format"] == FORMAT
    except (ValueError, KeyError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise FileError("this is no estimator of xent, or a damaged one", where=where)
    version = str(metadata.get("version", ""))
    if version.isascii() and version.isdigit() and int(version[:9]) > VERSION:
        raise FileError(f"format version {version}, this xent reads up to {VERSION}", where=where, todo="Update xent.")
    if not seal_holds(data):
        raise FileError("the file is damaged: its content is not what was written (SHA-256)", where=where)
    try:
        return _build(json.loads(metadata["estimator"]), load(data))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, SafetensorError) as error:
        raise FileError(f"the estimator's parts do not fit together: {error}", where=where) from error


def _class(name: str) -> Any:
    return getattr(importlib.import_module(f".{CLASSES[name]}", __package__), name)


def _build(document: Any, tensors: dict[str, np.ndarray]) -> Any:
    if document["class"] not in CLASSES:
        raise ValueError(f"no estimator is called {document['class']!r}")
    kind = _class(document["class"])
    model = kind(**{key: _read(value, tensors) for key, value in document["params"].items()})
    for key, value in document["fitted"].items():
        if not _NAME.fullmatch(key) or hasattr(kind, key):
            raise ValueError(f"{key!r} is no name of a fitted attribute")
        setattr(model, key, _read(value, tensors))
    check = getattr(model, "_check_fitted", None)
    if document["fitted"] and check is not None:
        check()
    return model


def _write(value: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    """A value as JSON, its arrays put among the tensors."""
    if value is None or isinstance(value, bool | str) or (isinstance(value, int) and not isinstance(value, np.generic)):
        return value
    if isinstance(value, float) and not isinstance(value, np.generic):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic) and value.dtype.kind in "biufU" and value.dtype.char not in "gO":
        return {"scalar": [value.dtype.str, _write(value.item(), name, tensors)]}
    if isinstance(value, np.ndarray):
        return _write_array(value, name, tensors)
    if sparse.issparse(value):
        parts = {part: _write_array(getattr(value, part), f"{name}.{part}", tensors) for part in _CSR}
        return {"csr": {**parts, "shape": list(value.shape)}}
    if type(value) in _RECORDS.values():
        return {"record": [type(value).__name__, _write(_fields(value), name, tensors)]}
    if isinstance(value, list | tuple):
        items = [_write(v, f"{name}[{i}]", tensors) for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else {"list": items}
    if isinstance(value, dict):
        each = enumerate(value.items())
        return {"dict": [[_write(k, name, tensors), _write(v, f"{name}[{i}]", tensors)] for i, (k, v) in each]}
    raise TypeError(f"a file of numbers and text cannot hold {name}: {type(value).__name__}; set it to None, say")


def _write_array(value: np.ndarray, name: str, tensors: dict[str, np.ndarray]) -> Any:
    if value.dtype.kind in "biuf" and value.dtype.itemsize <= 8:
        if name in tensors:
            raise TypeError(f"a file cannot hold two arrays called {name}")
        tensors[name] = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).reshape(value.shape)
        return {"array": name}
    if value.dtype.kind == "M":
        tensors[name] = np.ascontiguousarray(value).view("<i8")
        return {"datetime": [name, np.datetime_data(value.dtype)[0]]}
    flat = value.ravel().tolist()
    if value.dtype.kind in "UO" and all(isinstance(v, str) for v in flat):
        return {"text": [flat, list(value.shape), value.dtype.kind]}
    if value.dtype.kind == "O" and all(type(v) in (str, bool, int, float) for v in flat):
        return {"objects": [[_write(v, name, tensors) for v in flat], list(value.shape)]}
    raise TypeError(f"a file of numbers and text cannot hold {name}: an array of {value.dtype}")


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, tuple):
        return value._asdict()  # type: ignore[attr-defined]
    return {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}


_CSR = ("data", "indices", "indptr")


def _text(content: Any, tensors: Any) -> np.ndarray:
    flat, shape, kind = content
    if kind not in ("U", "O") or not all(isinstance(v, str) for v in flat):
        raise ValueError("an array of text holds something else")
    return np.array(flat, dtype=object if kind == "O" else None).reshape(shape) if flat else np.empty(shape, object)


def _objects(content: Any, tensors: Any) -> np.ndarray:
    out = np.empty(len(content[0]), object)
    out[:] = [_read(v, tensors) for v in content[0]]
    return out.reshape(content[1])


def _csr(content: Any, tensors: Any) -> Any:
    out = sparse.csr_matrix(tuple(_read(content[part], tensors) for part in _CSR), shape=tuple(content["shape"]))
    out.check_format(full_check=True)
    return out


def _record(content: Any, tensors: Any) -> Any:
    name, fields = content
    return _RECORDS[name](**_read(fields, tensors))


def _scalar(content: Any, tensors: Any) -> Any:
    dtype, value = np.dtype(str(content[0])), _read(content[1], tensors)
    if dtype.kind not in "biufU":
        raise ValueError(f"a number of dtype {dtype}")
    return dtype.type(value)


def _datetime(content: Any, tensors: Any) -> np.ndarray:
    return tensors[content[0]].view(np.dtype(f"datetime64[{content[1]}]"))


_READERS: dict[str, Any] = {
    "float": lambda v, t: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[v],
    "scalar": _scalar,
    "array": lambda v, t: t[v],
    "datetime": _datetime,
    "text": _text,
    "objects": _objects,
    "csr": _csr,
    "record": _record,
    "list": lambda v, t: [_read(x, t) for x in v],
    "tuple": lambda v, t: tuple(_read(x, t) for x in v),
    "dict": lambda v, t: {_read(k, t): _read(x, t) for k, x in v},
}


def _read(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        if isinstance(value, list):
            raise ValueError("a bare list")
        return value
    ((kind, content),) = value.items()
    return _READERS[kind](content, tensors)
