"""CSV and TSV: header checks, separators, marks for missing values, numbers among text."""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from .errors import TableError, count, some
from .values import check_name, nfc

ALWAYS_MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
MISSING_AMONG_NUMBERS = ("?", "-", "--", ".", "None", "none", "n/a", "na")


def read(
    content: Path | bytes, fmt: str, name: str, notes: list[str], missing: Sequence[str], text: frozenset[str]
) -> pl.DataFrame:
    """Read a text table (zstd is undone by polars, gzip by the caller); see :mod:`xent.tabular.read` for the marks."""
    separator = "\t" if fmt == "tsv" else ","
    header = _header(content, separator, name)
    if len(header) == 1 and fmt == "csv":
        separator, header = _other_separator(content, header, name, notes)
    _check_header(header, name)
    try:
        frame = pl.read_csv(
            content,
            separator=separator,
            has_header=True,
            null_values=[*ALWAYS_MISSING, *missing],
            infer_schema_length=None,
            schema_overrides={_in_header(n): pl.String for n in header if nfc(n.strip()) in text},
            **_options(content),
        )
    except pl.exceptions.PolarsError as error:
        _explain(content, separator, len(header), name, error)
        raise
    if frame.columns not in (header, [_in_header(n) for n in header]):  # polars renames only what _check_header refuses
        raise TableError(f"the header could not be read: {some(header)}", where=name)
    frame.columns = header
    frame = _without_blank_lines(frame, content, name, notes)
    return _tidy(frame, name, notes, text, decimal_comma=separator == ";")


def _in_header(name: str) -> str:
    """Write a name as polars reads it from a header: it leaves doubled quotes doubled."""
    return name.replace('"', '""')


def _options(content: Path | bytes) -> dict[str, Any]:
    return {"glob": False} if isinstance(content, Path) else {}


def _header(content: Path | bytes, separator: str, name: str) -> list[str]:
    """Read the names as they stand, before anything renames duplicates."""
    try:
        frame = pl.read_csv(
            content,
            separator=separator,
            has_header=False,
            n_rows=1,
            infer_schema=False,
            truncate_ragged_lines=True,
            **_options(content),
        )
    except pl.exceptions.NoDataError as error:
        raise TableError("the file is empty", where=name) from error
    except pl.exceptions.ComputeError as error:
        if "utf-8" in str(error):
            raise TableError("the text is not UTF-8", where=name, todo="Save it as UTF-8 first.") from error
        _explain(content, separator, sys.maxsize, name, error)
        raise
    return ["" if value is None else str(value) for value in frame.row(0)]


def _other_separator(content: Path | bytes, header: list[str], name: str, notes: list[str]) -> tuple[str, list[str]]:
    """Find out whether a CSV of one column is in truth separated by semicolons, tabs or bars."""
    best = max(";\t|", key=header[0].count)
    if best not in header[0]:
        return ",", header
    notes.append(f"{name} is separated by {best!r}, not by commas")
    return best, _header(content, best, name)


def _check_header(header: list[str], name: str) -> None:
    if any("\r" in n.rstrip("\r") for n in header):
        raise TableError("the lines end in carriage returns alone", where=name, todo="Save it with line feeds.")
    stripped = [nfc(n.strip()) for n in header]
    for n in stripped:
        check_name(n, name)
    twice = [n for n, k in Counter(stripped).items() if k > 1]
    if twice:
        places = [i + 1 for i, n in enumerate(stripped) if n == twice[0]]
        raise TableError(
            f"duplicate column name {twice[0]!r}, columns {' and '.join(map(str, places[:4]))}"
            + (", ..." if len(places) > 4 else "")
            + (f" (and {some(twice[1:])})" if twice[1:] else ""),
            where=name,
            todo="Every column needs a name of its own.",
        )
    if len(header) > 1 and all(_is_number(n) for n in stripped):
        raise TableError(
            f"the first line holds numbers ({some(stripped, most=3)}), not column names",
            where=name,
            todo="Put a line of names at the top.",
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _without_blank_lines(frame: pl.DataFrame, content: Path | bytes, name: str, notes: list[str]) -> pl.DataFrame:
    """Leave out the rows of nothing that the reader makes of blank lines, and no row that says "NA,NA".

    In a table of one column a blank line is a missing value.
    """
    if frame.width == 1:
        return frame
    text = cs.string()
    nothing = pl.all_horizontal((~text).is_null(), text.is_null() | (text.str.strip_chars() == ""))
    empty = frame.select(nothing).to_series()
    if not empty.any():
        return frame
    data = content.read_bytes() if isinstance(content, Path) else content
    lines = data.removesuffix(b"\n").split(b"\n")
    blank = sum(not line.strip() for line in lines)
    if blank != empty.sum():
        return frame
    notes.append(f"{count(blank, 'blank line')} of {name} skipped")
    return frame.filter(~empty)


def _tidy(
    frame: pl.DataFrame, name: str, notes: list[str], text: frozenset[str], *, decimal_comma: bool
) -> pl.DataFrame:
    """Strip blanks; turn text columns that are numbers or booleans but for a few marks into what they are."""
    columns, marked = {}, []
    for series in frame:
        series = series.alias(nfc(series.name.strip()))
        if series.dtype == pl.String:
            series = series.str.strip_chars()
            if series.name not in text:
                number = _as_number(series, decimal_comma=decimal_comma)
                if number is not None:
                    series, marks = number
                    if marks:
                        marked.append(f"{some(marks)} in {series.name}")
                elif series.null_count() < len(series) and _is_boolean(series):
                    series = series.str.to_lowercase() == "true"
        columns[series.name] = series
    if marked:
        notes.append(f"counted as missing: {'; '.join(marked)}")
    return pl.DataFrame(columns)


def _as_number(series: pl.Series, *, decimal_comma: bool) -> tuple[pl.Series, list[str]] | None:
    """Read a column as numbers with a few marks for missing among them; None where it is not one."""
    values = series.drop_nulls()
    # A look at the first few decides most columns of real text without a pass over the rest.
    for part in (values.head(200), values):
        marks = part.filter(part.is_in(MISSING_AMONG_NUMBERS)).unique().to_list()
        rest = part.filter(~part.is_in(MISSING_AMONG_NUMBERS))
        if decimal_comma:
            rest = rest.str.replace(",", ".", literal=True)
        if len(rest) != rest.cast(pl.Float64, strict=False).is_not_null().sum():
            return None
    if len(rest) == 0:
        return None
    cleaned = pl.select(pl.when(series.is_in(MISSING_AMONG_NUMBERS)).then(None).otherwise(series)).to_series()
    if decimal_comma:
        cleaned = cleaned.str.replace(",", ".", literal=True)
    whole = cleaned.cast(pl.Int64, strict=False)
    number = whole if whole.null_count() == cleaned.null_count() else cleaned.cast(pl.Float64)
    return number.alias(series.name), sorted(marks)


def _is_boolean(series: pl.Series) -> bool:
    return bool(series.drop_nulls().str.to_lowercase().is_in(["true", "false"]).all())


def _explain(content: Path | bytes, separator: str, width: int, name: str, error: Exception) -> None:
    """Turn the reader's complaint into one with a line number; return where there is nothing better to say."""
    if "utf-8" in str(error):
        raise TableError("the text is not UTF-8", where=name, todo="Save it as UTF-8 first.") from error
    data = content.read_bytes() if isinstance(content, Path) else content
    try:
        lines = data.decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError:
        return
    rows = csv.reader(lines, delimiter=separator, strict=True)
    start, stray = 0, False
    try:
        for row in rows:
            if len(row) > width:
                raise TableError(
                    f"line {rows.line_num} has {len(row)} fields, the header has {width}",
                    where=name,
                    todo="A field that holds a separator needs quotes around it.",
                ) from error
            stray = "".join(lines[start : rows.line_num]).count('"') % 2 == 1
            if stray:
                break
            start = rows.line_num
    except csv.Error as complaint:
        stray = "limit" not in str(complaint)  # of the length of a field, which is no fault
    if stray:
        raise TableError(
            f"a quote in line {start + 1} has no partner",
            where=name,
            todo="A field that holds a quote is written in quotes, with the quote doubled.",
        ) from error
