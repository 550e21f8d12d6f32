"""Model files: one ``.xent`` file, written whole, read without running anything.

Why safetensors, and not pickle, joblib or skops. A pickle (and a joblib file, which is one) is a program: loading it
runs whatever its author put in, and reads only with the library versions it was written with. skops lists the types it
will trust and still rebuilds Python objects by name. A safetensors file holds a JSON header and bare numbers, nothing
that could run; the format is a page long, is read by many languages, and is one small dependency.

The layout. Tensors, all float64 or int64, little-endian: ``coef`` (classes or 1, features), ``intercept``, ``mean``,
``scale``, ``keep``. The header's metadata: ``format`` (``"xent"``), ``version`` (an integer as text), ``model`` (a JSON
document: target, classes with their type, C, the columns' encoders, training figures) and ``sha256``: the hash of the
whole file with those 64 digits replaced by zeros, so that a change of any byte anywhere is found.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from .._files import seal_holds, sealed
from .atomic import write_whole
from .classifier import TableClassifier
from .errors import TableError
from .labels import labels_from_json, labels_to_json
from .preprocess import Preprocessor

FORMAT = "xent"
VERSION = 1
"""The version this code writes; files up to it are read, later ones refused."""

_MAX_HEADER = 100_000_000
_MAX_COEF = 1e200  # times a feature, of 1e100 at most, it is finite
_DTYPES = {"coef": "F64", "intercept": "F64", "mean": "F64", "scale": "F64", "keep": "I64"}


def save_model(model: TableClassifier, path: str | os.PathLike[str]) -> None:
    """Write a model, whole or not at all; a file of that name is replaced.

    Raises
    ------
    TableError
        When the folder does not exist or cannot be written to.
    """
    data = model_bytes(model)
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def model_bytes(model: TableClassifier) -> bytes:
    """Return the file's content."""
    tensors = {
        "coef": np.ascontiguousarray(model.coef, dtype="<f8"),
        "intercept": np.ascontiguousarray(model.intercept, dtype="<f8"),
        "mean": np.ascontiguousarray(model.preprocessor.mean, dtype="<f8"),
        "scale": np.ascontiguousarray(model.preprocessor.scale, dtype="<f8"),
        "keep": np.ascontiguousarray(model.preprocessor.keep, dtype="<i8"),
    }
    document = {
        "target": model.target,
        "classes": labels_to_json(model.classes, model.label_type),
        "c": model.penalty_c,
        "columns": model.preprocessor.to_json(),
        "info": _plain(model.info),
    }
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "model": json.dumps(document, ensure_ascii=True, allow_nan=False),
    }
    return sealed(tensors, metadata)


def load_model(path: str | os.PathLike[str]) -> TableClassifier:
    """Read a model. Nothing in the file is run, and everything in it is checked.

    Raises
    ------
    TableError
        No such file; not an xent model; written by a newer xent; damaged or cut short; fields that do not fit.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"no such file: {str(path)!r}", todo="Make a model with: xent train TABLE --target COLUMN.")
    if path.is_dir():
        raise TableError("this is a folder, not a model", where=str(path))
    where = str(path)
    _read_header(path)  # before the whole file is read: it may be anything, of any size
    data = path.read_bytes()
    _check_digest(data, where)
    document, tensors = _parts(data, where)
    try:
        return _build(document, tensors)
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise TableError(f"the model's fields do not fit together: {error}", where=where) from error


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file is an xent model by its header, of any version, whole or not."""
    try:
        _read_header(Path(path), any_version=True)
    except (TableError, OSError):
        return False
    return True


def _read_header(path: Path, *, any_version: bool = False) -> dict[str, str]:
    """Read and check the metadata without reading the tensors."""
    where, size = str(path), path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if size == 0:
            raise TableError("the file is empty", where=where)
        if size < 10 or not 2 <= length <= _MAX_HEADER:
            raise _foreign(start, where)
        raw = file.read(length)
    if not raw.startswith(b"{"):
        raise _foreign(start + raw[:64], where)
    if len(raw) < length:
        raise TableError("the model is damaged: the file is cut short", where=where)
    try:
        header = json.loads(raw)
        metadata = header.get("__metadata__", {})
        ours = isinstance(metadata, dict) and metadata.get("format") == FORMAT
    except (ValueError, RecursionError, AttributeError) as error:
        raise TableError("the model is damaged: its header cannot be read", where=where) from error
    if not ours:
        raise TableError("this is a safetensors file, but not an xent model", where=where)
    version = str(metadata.get("version", ""))
    if not any_version:
        _check_version(version, where)
    return metadata


def _check_version(version: str, where: str) -> None:
    if not (version.isascii() and version.isdigit() and len(version) < 10) or int(version) < 1:
        raise TableError("the model is damaged: it has no version", where=where)
    if int(version) > VERSION:
        raise TableError(
            f"the model has format version {int(version)}, this xent reads up to {VERSION}",
            where=where,
            todo="Update xent.",
        )


def _foreign(head: bytes, where: str) -> TableError:
    from .sniff import kind_by_bytes

    kind = kind_by_bytes(head)
    looks = f": it looks like {kind.words}" if kind.words and "safetensors" not in kind.words else ""
    return TableError(f"this is not an xent model{looks}", where=where)


def _check_digest(data: bytes, where: str) -> None:
    """Compare the hash of everything, with the hash's own place zeroed, to the one written there."""
    if not seal_holds(data):
        raise TableError("the model is damaged: its content is not what was written (SHA-256)", where=where)


def _parts(data: bytes, where: str) -> tuple[Any, dict[str, np.ndarray]]:
    """Take the file apart: the JSON document and the tensors, of the names and dtypes they must have."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        document = json.loads(header["__metadata__"]["model"])
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is no text; polars would trip over it
        dtypes = {name: entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
        if dtypes != _DTYPES:
            raise ValueError(f"tensors {dtypes} where {_DTYPES} belong")
        return document, load(data)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
        raise TableError(f"the model is damaged: {error}", where=where) from error


def _build(document: Any, tensors: dict[str, np.ndarray]) -> TableClassifier:
    """Build the classifier; a ``ValueError`` or the like says what does not fit."""
    classes, label_type = labels_from_json(document["classes"])
    encoders = Preprocessor.encoders_from_json(document["columns"])
    target, c, info = document["target"], document["c"], document["info"]
    if not isinstance(target, str) or type(c) is not float or not isinstance(info, dict):
        raise ValueError("target, C or info has the wrong type")
    if not (math.isfinite(c) and c > 0):
        raise ValueError(f"C is {c}")
    names = [e.name for e in encoders]
    if len(set(names)) != len(names) or target in names:
        raise ValueError("a column is there twice")
    keep = tensors["keep"]
    features, outputs = keep.size, 1 if len(classes) == 2 else len(classes)
    shapes = {"coef": (outputs, features), "intercept": (outputs,), "mean": (features,), "scale": (features,)}
    for name, shape in {**shapes, "keep": (features,)}.items():
        if tensors[name].shape != shape:
            raise ValueError(f"{name} has shape {tensors[name].shape}, not {shape}")
        if not np.isfinite(tensors[name]).all():
            raise ValueError(f"{name} is not finite")
    if any(np.abs(tensors[name]).max(initial=0.0) > _MAX_COEF for name in ("coef", "intercept")):
        raise ValueError("a coefficient is too large")
    if not features or np.any(np.diff(keep) <= 0) or keep[0] < 0 or keep[-1] >= sum(e.width for e in encoders):
        raise ValueError("the kept features are not those of the columns")
    if (tensors["scale"] <= 0).any():
        raise ValueError("a scale is not positive")
    preprocessor = Preprocessor(encoders, keep, tensors["mean"], tensors["scale"])
    return TableClassifier(target, classes, label_type, preprocessor, tensors["coef"], tensors["intercept"], c, info)


def _plain(value: Any) -> Any:
    """Make training figures JSON: infinities and NaN become text, tuples lists."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value
