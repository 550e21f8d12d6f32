"""Columns as numbers, dates or category names: the same reading in training and in prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from .errors import TableError, count

NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)
"""Types with no reading as a number, a date or a category."""


def category_text(series: pl.Series) -> pl.Series:
    """Write values as text, one text a value whatever type they are stored in.

    Whole floats are written as integers (a column of integers with a gap is stored as floats by some tools), booleans
    as ``true`` and ``false``, dates in ISO form. Missing stays missing.
    """
    if series.dtype == pl.String:
        return series
    if series.dtype.is_float():
        return pl.Series(series.name, [_float_text(v) for v in series.to_list()], dtype=pl.String)
    if isinstance(series.dtype, pl.Datetime):
        texts = [None if v is None else v.isoformat() for v in naive_utc(series).to_list()]
        return pl.Series(series.name, texts, dtype=pl.String)
    return series.cast(pl.String)


def _float_text(value: float | None) -> str | None:
    if value is None:
        return None
    # repr of a Python float is the shortest text that reads back as the same number
    return str(int(value)) if value.is_integer() and abs(value) < 2.0**53 else repr(value)


def naive_utc(series: pl.Series) -> pl.Series:
    """Turn a date or a datetime of any zone into a UTC datetime in microseconds without a zone."""
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.cast(pl.Datetime("us"))


def to_number(series: pl.Series, *, where: str = "") -> np.ndarray:
    """Read a column as float64, missing as NaN.

    Raises
    ------
    TableError
        A text that is not a number (with its row, counted from 1), a type that has no number, an infinite value.
    """
    name, dtype = series.name, series.dtype
    if dtype == pl.String:
        stripped = series.str.strip_chars()
        values = stripped.cast(pl.Float64, strict=False)
        _check_parsed(series, values, "a number", where)
    elif dtype == pl.Duration:
        values = series.dt.total_microseconds() / 1e6
    elif dtype == pl.Time:
        values = series.cast(pl.Int64) / 1e9
    elif dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        values = series.cast(pl.Float64)
    else:
        raise TableError(f"column {name!r} should hold numbers, it holds {dtype}", where=where)
    out = values.to_numpy().astype(np.float64, copy=False)
    infinite = np.flatnonzero(np.isinf(out))
    if infinite.size:
        raise TableError(
            f"column {name!r} holds {count(infinite.size, 'infinite number')}, the first in row {infinite[0] + 1} "
            f"({out[infinite[0]]})",
            where=where,
            todo=f"Mend them, leave them empty, or leave the column out (--drop {_quoted(name)}).",
        )
    return out


def to_datetime(series: pl.Series, *, where: str = "") -> pl.Series:
    """Read a column as UTC datetimes in microseconds; text in ISO form is read too.

    Raises
    ------
    TableError
        A text that is not an ISO date (with its row, counted from 1), or a type that is no date.
    """
    if series.dtype == pl.String:
        values = parse_iso(series)
        _check_parsed(series, values, "a date like 2024-05-31", where)
        return values
    if series.dtype in (pl.Date, pl.Null) or isinstance(series.dtype, pl.Datetime):
        return naive_utc(series)
    raise TableError(f"column {series.name!r} should hold dates, it holds {series.dtype}", where=where)


_ISO = r"^(\d{4}-\d{2}-\d{2}|\d{4}/\d{2}/\d{2})([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"


def parse_iso(series: pl.Series) -> pl.Series:
    """Read ISO dates and datetimes, with a zone or without, as UTC datetimes; null where the text is none of them.

    2024/05/31 is read too; forms whose order of day and month is a matter of country are not.
    """
    text = series.str.strip_chars()
    text = pl.select(pl.when(text.str.contains(_ISO)).then(text).otherwise(None)).to_series()
    text = text.str.replace_all("/", "-", literal=True)
    text = text.str.replace("T", " ", literal=True).str.replace("Z", "+0000", literal=True)
    # One form for all: date, time to the microsecond, zone.
    text = text.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1} 00:00:00")
    text = text.str.replace(r" (\d{2}:\d{2})($|[+-])", " ${1}:00${2}")
    text = text.str.replace(r"([+-]\d{2}):(\d{2})$", "${1}${2}")
    text = pl.select(pl.when(text.str.contains(r" .*[+-]\d{4}$")).then(text).otherwise(text + "+0000")).to_series()
    whole = text.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%z", time_unit="us", strict=False)
    return whole.dt.replace_time_zone(None).alias(series.name)


def _check_parsed(text: pl.Series, values: pl.Series, kind: str, where: str) -> None:
    bad = (values.is_null() | values.is_nan() if values.dtype.is_float() else values.is_null()) & text.is_not_null()
    if bad.any():
        row = int(bad.arg_true()[0])
        more = int(bad.sum()) - 1
        raise TableError(
            f"column {text.name!r}: {text[row]!r} in row {row + 1} is not {kind}"
            + (f" (and {more} more such value{'s' if more > 1 else ''})" if more else ""),
            where=where,
        )


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f"'{name}'"


def as_python(value: Any) -> Any:
    """Turn a NumPy scalar into the Python value of the same meaning."""
    return value.item() if isinstance(value, np.generic) else value
