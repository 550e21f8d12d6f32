"""Columns as numbers, dates or category names: the same reading in training and in prediction."""

from __future__ import annotations

import datetime as dt
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from .errors import TableError, count

NESTED = (pl.List, pl.Array, pl.Struct, pl.Object, pl.Binary)
"""Types with no reading as a number, a date or a category."""


def nfc(name: str) -> str:
    """Write a name with composed letters: é typed as e and an accent is the same column as é typed as one letter."""
    return unicodedata.normalize("NFC", name)


def check_name(name: str, where: str) -> None:
    """Refuse a name that polars takes for a pattern, whatever is asked of the column."""
    if name.startswith("^") and name.endswith("$"):
        raise TableError(f"column {name!r} cannot be read by that name", where=where, todo="Name it without ^ and $.")


def category_text(series: pl.Series) -> pl.Series:
    """Write values as text, one text a value whatever type they are stored in.

    Whole floats are written as integers (a column of integers with a gap is stored as floats by some tools), booleans
    as ``true`` and ``false``, dates in ISO form. Missing stays missing.
    """
    if series.dtype == pl.String:
        return series
    if series.dtype.is_float():
        return _as_text(series, _float_text)
    if isinstance(series.dtype, pl.Datetime):
        return _as_text(naive_utc(series), dt.datetime.isoformat)
    if series.dtype == pl.Duration:  # has no text of its own
        return _as_text(series, str)
    return series.cast(pl.String)


_DAYS = (-719_162, 2_932_896)  # of the years 1 to 9999, from 1970-01-01
_A_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


def check_years(series: pl.Series, where: str) -> None:
    """Refuse dates that Python does not have: to polars they are numbers, and writing one ends in a panic."""
    if series.dtype != pl.Date and not isinstance(series.dtype, pl.Datetime):
        return
    unit = _A_DAY[series.dtype.time_unit] if isinstance(series.dtype, pl.Datetime) else 1
    days = series.to_physical() // unit
    if not days.is_between(*_DAYS).all():
        raise TableError(f"column {series.name!r} holds dates outside the years 1 to 9999", where=where)


def _as_text(series: pl.Series, write: Callable[[Any], str]) -> pl.Series:
    texts = [None if v is None else write(v) for v in series.to_list()]
    return pl.Series(series.name, texts, dtype=pl.String)


def _float_text(value: float) -> str:
    # repr of a Python float is the shortest text that reads back as the same number
    return str(int(value)) if value.is_integer() and abs(value) < 2.0**53 else repr(value)


def naive_utc(series: pl.Series) -> pl.Series:
    """Turn a date or a datetime of any zone into a UTC datetime in microseconds without a zone."""
    if isinstance(series.dtype, pl.Datetime) and series.dtype.time_zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    return series.cast(pl.Datetime("us"))


def to_number(series: pl.Series, *, where: str = "", todo: str = "Mend them or leave them empty.") -> np.ndarray:
    """Read a column as float64, missing as NaN; ``todo`` is what can be done about infinite numbers.

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
            todo=todo,
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


def as_python(value: Any) -> Any:
    """Turn a NumPy scalar into the Python value of the same meaning."""
    return value.item() if isinstance(value, np.generic) else value
