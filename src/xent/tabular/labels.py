"""Class labels: numbers, text, booleans, dates; as Python values, as text, as JSON, as indices."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from .errors import TableError
from .values import NESTED, category_text, naive_utc, parse_iso

LABEL_TYPES = ("integer", "number", "text", "boolean", "date", "datetime")
Label = int | float | str | bool | dt.date | dt.datetime


def label_type(series: pl.Series) -> str:
    """Say which of :data:`LABEL_TYPES` a target column holds.

    Raises
    ------
    TableError
        For lists, structures, durations and whatever else cannot name a class.
    """
    dtype = series.dtype
    if dtype == pl.String:
        return "text"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date:
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    if dtype.is_integer():
        # Beyond 64 bits neither NumPy nor JSON's readers keep the digits: such numbers are names.
        return "integer" if series.cast(pl.Int64, strict=False).null_count() == series.null_count() else "text"
    if dtype.is_float():
        values = series.drop_nulls()
        whole = values.is_finite() & (values.round() == values) & (values.abs() < 2.0**53)
        return "integer" if whole.all() else "number"
    kind = "nested" if isinstance(dtype, NESTED) else str(dtype)
    raise TableError(f"target {series.name!r} holds {kind} values, which cannot name classes")


def to_classes(series: pl.Series) -> tuple[list[Label], str, np.ndarray]:
    """Sort out the classes of a target column without missing values.

    Returns
    -------
    classes : list
        The distinct labels in ascending order, as Python values.
    type : str
        One of :data:`LABEL_TYPES`.
    index : int64 array of shape (rows,)
        Each row's place in ``classes``.
    """
    kind = label_type(series)
    plain = _plain(series, kind)
    if kind == "number" and not bool(plain.is_finite().all()):
        raise TableError(f"target {series.name!r} holds an infinite number")
    levels = plain.unique().sort()
    index = plain.replace_strict(levels, pl.int_range(len(levels), eager=True), return_dtype=pl.Int64)
    return levels.to_list(), kind, index.to_numpy()


def label_text(label: Label) -> str:
    """Write a label as text: the way it stands in a column name ``p_<label>`` and in messages.

    >>> label_text(True), label_text(2.5), label_text(7)
    ('true', '2.5', '7')
    """
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, dt.date):  # a datetime is one too
        return label.isoformat()
    return label if isinstance(label, str) else repr(label)


def index_labels(series: pl.Series, classes: Sequence[Label], kind: str) -> np.ndarray:
    """Find each row's class: its index, -1 where the label is missing, -2 where it is none of the classes.

    Labels of another type than the classes' are matched by their text, so that ``1`` finds ``"1"`` and, for booleans,
    ``"True"`` finds ``true``.
    """
    texts = [label_text(c) for c in classes]
    values = category_text(series)
    if kind in ("boolean", "integer", "number") and series.dtype == pl.String:
        values = pl.Series(series.name, [_canonical(v, kind) for v in values.to_list()], dtype=pl.String)
    elif kind in ("date", "datetime") and series.dtype == pl.String:  # 2024-05-31 10:00 is 2024-05-31T10:00:00
        when = parse_iso(series)
        same = category_text(when.cast(pl.Date) if kind == "date" else when)
        values = pl.select(pl.when(when.is_null()).then(values).otherwise(same)).to_series()
    elif kind == "number" and series.dtype.is_numeric():
        values = pl.Series(series.name, [None if v is None else repr(float(v)) for v in series.to_list()])
    elif kind == "datetime" and series.dtype == pl.Date:
        values = category_text(naive_utc(series))
    index = values.replace_strict(texts, range(len(texts)), default=-2, return_dtype=pl.Int64)
    return pl.select(pl.when(series.is_null()).then(-1).otherwise(index)).to_series().to_numpy().astype(np.int64)


def labels_as_series(name: str, classes: Sequence[Label], kind: str, index: np.ndarray) -> pl.Series:
    """Return the labels of class indices, in the type of the classes."""
    dtypes: dict[str, Any] = {
        "integer": pl.Int64,
        "number": pl.Float64,
        "text": pl.String,
        "boolean": pl.Boolean,
        "date": pl.Date,
        "datetime": pl.Datetime("us"),
    }
    return pl.Series(name, list(classes), dtype=dtypes[kind]).gather(index)


def labels_to_json(classes: Sequence[Label], kind: str) -> dict[str, Any]:
    """Write labels with their type: dates as ISO text, the others as JSON has them."""
    dates = kind in ("date", "datetime")
    return {"type": kind, "values": [label_text(c) if dates else c for c in classes]}


def labels_from_json(document: Any) -> tuple[list[Label], str]:
    """Read back what :func:`labels_to_json` wrote; a ``ValueError`` says what is wrong with anything else."""
    kind, values = document["type"], document["values"]
    if kind not in LABEL_TYPES or not isinstance(values, list) or len(values) < 2:
        raise ValueError("the classes are not a list of two or more labels of a known type")
    readers: dict[str, Any] = {"date": dt.date.fromisoformat, "datetime": dt.datetime.fromisoformat}
    wanted: dict[str, type] = {"integer": int, "number": float, "text": str, "boolean": bool}
    labels: list[Any]
    if kind in readers:
        labels = [readers[kind](v) for v in values]
    else:
        labels = values
        if any(type(v) is not wanted[kind] or v in (math.inf, -math.inf) or v != v for v in labels):
            raise ValueError(f"a class label is not of the type {kind!r}")
    if len(set(labels)) != len(labels):
        raise ValueError("a class is there twice")
    return labels, kind


def _plain(series: pl.Series, kind: str) -> pl.Series:
    if kind == "integer":
        return series.cast(pl.Int64)
    if kind == "number":
        return series.cast(pl.Float64)
    if kind == "text":
        return series.cast(pl.String)
    return naive_utc(series) if kind == "datetime" else series


def _canonical(text: str | None, kind: str) -> str | None:
    if text is None:
        return None
    if kind == "boolean":
        return text.strip().lower()
    try:
        if kind == "integer":
            return str(int(text))  # a float would not keep all digits
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return text
    return str(int(value)) if kind == "integer" and value.is_integer() else repr(value)
