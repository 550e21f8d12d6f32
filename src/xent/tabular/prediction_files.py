"""Files of predictions, read in parts: tables of any kind, and arrays (.npz, .safetensors).

Parquet and Arrow files are read a part at a time whatever their size, CSV, TSV and JSON lines from 256 MB on; smaller
ones are read whole, with all that :mod:`xent.tabular.read` mends.
"""

from __future__ import annotations

import hashlib
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import polars as pl

from .array_files import load_arrays, values_of
from .errors import TableError, count, nearest, some
from .labels import to_classes
from .predictions import KIND_WORDS, Predictions, absent_note, positive_class, read_predictions
from .read import Table, read_table, uniform
from .read_csv import ALWAYS_MISSING
from .sniff import kind_by_bytes, kind_by_name
from .values import category_text, nfc, to_number

WHOLE = 1 << 28
"""Bytes of a text file up to which it is read whole."""

ARRAYS = (".npz", ".safetensors")
_ROWS = 1 << 18  # of a part
_WITHOUT = "without a label left out"
_LABELS = ("y", "label", "labels", "target", "targets", "y_true")


@dataclass(frozen=True)
class Options:
    """How a file of predictions is to be read; see :func:`xent.tabular.predictions.read_predictions`."""

    target: str | None = None
    probs: str | None = None
    positive: str | None = None
    normalize: bool = False
    drop_missing: bool = False
    kind: str | None = None
    classes: tuple[str, ...] | None = None
    missing: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    weight: str | None = None
    text: tuple[str, ...] = ()  # columns that stay text, whatever they look like
    told: bool = True  # `columns` are wanted as arrays; else `Part.series` gives them


class Column(Protocol):
    """Gives a column's values at the rows of a part, as text unless `raw`; missing is null."""

    def __call__(self, name: str, *, raw: bool = False) -> pl.Series:
        """Return them."""


@dataclass
class Part:
    """Some rows: their predictions, the columns that were asked for beside them, and their weights."""

    predictions: Predictions
    columns: dict[str, np.ndarray]
    weights: np.ndarray | None = None
    series: Column | None = None


@dataclass
class PredictionFile:
    """A file of predictions.

    Attributes
    ----------
    classes : list of str
        In the order of the columns.
    kind : str
        "probabilities", "log" or "logits".
    took : str
        One line: what was taken for what.
    sha256 : str
        Of the bytes of the file.
    notes : list of str
        Complete once all parts were read.
    """

    classes: list[str]
    kind: str
    took: str
    sha256: str
    notes: list[str]
    _parts: Iterator[Part] = field(repr=False)
    _left_out: list[int] = field(default_factory=list, repr=False)  # rows of parts without any label

    def parts(self) -> Iterator[Part]:
        """Give the parts in the order of the rows, once."""
        seen = np.zeros(len(self.classes), dtype=np.int64)
        told: dict[str, int] = {}  # numbers of rows, by what was done with them, add up over the parts
        for part in self._parts:
            seen += np.bincount(part.predictions.target, minlength=seen.size)
            for note in part.predictions.notes:
                rows = re.match(r"(\d+) rows? (.*)", note)
                told[rows[2] if rows else note] = told.get(rows[2], 0) + int(rows[1]) if rows else 0
            yield part
        if self._left_out:
            told[_WITHOUT] = told.get(_WITHOUT, 0) + sum(self._left_out)
        notes = [f"{count(n, 'row')} {note}" if n else note for note, n in told.items()]
        self.notes += [n for n in dict.fromkeys([*notes, *absent_note(self.classes, seen)]) if n not in self.notes]


def open_predictions(source: str | Path, options: Options, *, stdin: BinaryIO | None = None) -> PredictionFile:
    """Open a file of predictions.

    Parameters
    ----------
    source : str or Path
        A table (CSV, TSV, Parquet, Arrow, JSON lines, JSON), ``-`` for one on standard input, or a file of arrays.
    options : Options
    stdin : binary file, optional
        What ``-`` reads.

    Returns
    -------
    PredictionFile
        Opened far enough to know classes and kind; damage further on is found as the parts are read.

    Raises
    ------
    TableError
        As :func:`xent.tabular.read_table` and :func:`xent.tabular.predictions.read_predictions`; no target named for a
        table.
    """
    if Path(source).suffix.lower() in ARRAYS and str(source) != "-":
        return _arrays(Path(source), options)
    if options.target is None:
        raise TableError("the column of labels must be named", where=str(source), todo="Name it with --target.")
    if str(source) == "-":
        stream = stdin or getattr(sys.stdin, "buffer", None)
        data = stream.read() if stream is not None else b""
        table = read_table("-", missing=options.missing, text_columns=options.text, stdin=io.BytesIO(data))
        return _from_table(table, options, hashlib.sha256(data).hexdigest())
    path = Path(source)
    frame = _lazy(path, options.text) if path.is_file() else None
    if frame is None:
        table = read_table(source, missing=options.missing, text_columns=options.text)
        return _from_table(table, options, _hash(path))
    return _streamed(path, frame, options)


def _hash(path: Path) -> str:
    if not path.is_file():  # a pipe is gone once read
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lazy(path: Path, text: tuple[str, ...] = ()) -> pl.LazyFrame | None:
    """A scan of the file, where its parts can be read without the whole; None where it is read whole."""
    kind = kind_by_name(path)
    with path.open("rb") as file:
        seen = kind_by_bytes(file.read(65536))
    if kind.compression or kind.format != seen.format:
        return None
    if kind.format == "parquet":
        return pl.scan_parquet(path, glob=False)
    if kind.format == "arrow" and path.suffix != ".arrows":
        return pl.scan_ipc(path)
    if path.stat().st_size < WHOLE:
        return None
    if kind.format in ("csv", "tsv"):
        separator = "\t" if kind.format == "tsv" else ","
        return pl.scan_csv(
            path,
            separator=separator,
            null_values=list(ALWAYS_MISSING),
            infer_schema_length=100_000,
            schema_overrides=dict.fromkeys(text, pl.String),
            glob=False,
        )
    return pl.scan_ndjson(path, infer_schema_length=100_000) if kind.format == "jsonl" else None


def _from_table(table: Table, options: Options, sha256: str) -> PredictionFile:
    found = _read(table, options, options.kind, None)
    part = _part(table, found, 0, options)
    return PredictionFile(found.classes, found.kind, found.took, sha256, list(table.notes), iter([part]))


def _read(table: Table, options: Options, kind: str | None, first_row: int | None) -> Predictions:
    assert options.target is not None
    return read_predictions(
        table,
        options.target,
        options.probs or "p_*",
        positive=options.positive,
        normalize=options.normalize,
        drop_missing=options.drop_missing,
        kind=kind,
        classes=options.classes,
        first_row=first_row,
    )


def _column(series: pl.Series, rows: np.ndarray) -> np.ndarray:
    """Return a column's values at these rows as text; missing is "missing"."""
    values = series if len(rows) == len(series) else series.gather(rows)
    return category_text(values).fill_null("missing").to_numpy()


def _streamed(path: Path, frame: pl.LazyFrame, options: Options) -> PredictionFile:
    """Read the labels first, for the classes; then all of it, a part at a time."""
    name = str(path)
    try:
        schema = frame.collect_schema()
    except pl.exceptions.PolarsError:
        table = read_table(path, missing=options.missing, text_columns=options.text)  # it says what is wrong
        return _from_table(table, options, _hash(path))
    wanted = _wanted(schema, options, name)
    left_out: list[int] = []
    batches = _batches(frame.select(wanted), options, name, left_out)
    first = next(batches, None)
    if first is None:
        if left_out:
            raise TableError(f"the target {options.target!r} is all missing", where=name)
        raise TableError("the table has a header and no rows", where=name)
    start = _read(first[1], options, options.kind, 0)
    classes, took = start.classes, start.took
    if start.values.ndim == 1:  # the first part may not have both labels
        classes = _names(frame, options, name)
        took = took.replace(repr(start.classes[1]), repr(classes[1]))

    def parts() -> Iterator[Part]:
        yield _part(first[1], start, first[0], options)
        for begin, table in batches:
            yield _part(table, _read(table, options, start.kind, begin), begin, options)

    return PredictionFile(classes, start.kind, took, _hash(path), [], parts(), left_out)


def _wanted(schema: pl.Schema, options: Options, name: str) -> list[str]:
    """The columns that are needed, all of the pattern's among them."""
    assert options.target is not None
    probs = nfc(options.probs or "p_*").replace("{class}", "*")
    composed = {nfc(n): n for n in schema}
    before, star, after = probs.partition("*")
    fitting = [n for c, n in composed.items() if (c.startswith(before) and c.endswith(after) if star else c == probs)]
    if not fitting:  # the whole table's names are what the message is about
        fitting = list(schema)
    beside = (options.target, *options.columns, *([options.weight] if options.weight is not None else []))
    for column in beside:
        if nfc(column) not in composed:
            raise TableError(f"no column {column!r}", where=name, todo=nearest(column, composed))
    needed = {composed[nfc(c)] for c in beside} | set(fitting)
    return [n for n in schema if n in needed]


def _batches(frame: pl.LazyFrame, options: Options, name: str, left_out: list[int]) -> Iterator[tuple[int, Table]]:
    first = 0
    try:
        for batch in frame.collect_batches(chunk_size=_ROWS, maintain_order=True):
            if not batch.height:
                continue
            table = Table(uniform(batch, options.missing, [], name), name, name)
            assert options.target is not None
            if options.drop_missing and table.require(options.target).null_count() == batch.height:
                left_out.append(batch.height)
            else:
                yield first, table
            first += batch.height
    except pl.exceptions.PolarsError as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TableError(f"cannot be read after row {first}: {text}", where=name, todo="Is it a whole file?") from error


def _part(table: Table, found: Predictions, begin: int, options: Options) -> Part:
    rows = found.rows - begin
    weights = None
    if options.weight is not None:
        series = table.require(options.weight)
        weights = _weights(to_number(series if len(rows) == len(series) else series.gather(rows), where=table.name,
                                     todo=""), options.weight, table.name, found.rows)  # fmt: skip
    told = {c: _column(table.require(c), rows) for c in options.columns} if options.told else {}

    def column_of(name: str, *, raw: bool = False) -> pl.Series:
        column = table.require(name)
        column = column if len(rows) == len(column) else column.gather(rows)
        return column if raw else category_text(column)

    return Part(found, told, weights, column_of)


def _weights(values: np.ndarray, column: str, where: str, rows: np.ndarray) -> np.ndarray:
    """Refuse what is no weight."""
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if bad.size:
        value = "missing" if np.isnan(values[bad[0]]) else f"{values[bad[0]]:g}"
        raise TableError(
            f"the weights {column!r} must be finite and not negative: {count(bad.size, 'row')} "
            f"{'is' if bad.size == 1 else 'are'} not, the first is row {rows[bad[0]] + 1} ({value})",
            where=where,
        )
    return np.asarray(values, dtype=np.float64)


def _names(frame: pl.LazyFrame, options: Options, name: str) -> list[str]:
    """Negative and positive class of a single column, from the labels of the whole file."""
    assert options.target is not None
    distinct = frame.select(pl.col(options.target).drop_nulls().unique()).collect(engine="streaming")
    labels = uniform(distinct, options.missing, [], name).to_series().drop_nulls()
    found, kind, _ = to_classes(labels)
    if len(found) > 2:
        raise TableError(f"one column of probabilities, but {len(found)} classes in {options.target!r}", where=name,
                         todo="Give a pattern for one column a class, like --probs 'p_*'.")  # fmt: skip
    return positive_class(found, kind, options.positive, options.target, name)[0]


def _arrays(path: Path, options: Options) -> PredictionFile:
    """A file of arrays: labels of shape (rows,), predictions of shape (rows, classes) or (rows,)."""
    arrays = load_arrays(path)
    name = str(path)
    if options.normalize or options.drop_missing or options.missing or options.positive is not None:
        raise TableError(
            "arrays are taken as they are: no --normalize, --drop-missing, --missing, --positive", where=name
        )
    y_name = options.target or next((n for n in _LABELS if n in arrays), None)
    if y_name is None or y_name not in arrays:
        raise TableError(f"no array of labels{f' {y_name!r}' if y_name else ''}", where=name,
                         todo=f"Name it with --target. There are: {some(arrays, most=12)}.")  # fmt: skip
    v_name, kind = values_of(arrays, options, y_name, name)
    values, labels = arrays[v_name], arrays[y_name]
    width = 2 if values.ndim == 1 else values.shape[-1]
    classes = list(options.classes) if options.classes is not None else [str(k) for k in range(width)]
    from ..evaluate.inputs import checked_labels

    try:
        if labels.dtype.kind in "US" and options.classes is None:
            raise ValueError(f"the labels {y_name!r} are text; name the classes in their order with --classes")
        by_name = classes if labels.dtype.kind in "US" else None
        labels, values, _ = checked_labels(labels, values, by_name, kind)
    except ValueError as error:
        raise TableError(str(error), where=name) from error
    if len(classes) != width:
        raise TableError(f"{len(classes)} classes are named, {v_name!r} is of shape {values.shape}", where=name)
    columns = {}
    for column in options.columns:
        if column not in arrays or arrays[column].shape != labels.shape:
            raise TableError(f"no array {column!r} of shape {labels.shape}", where=name, todo=nearest(column, arrays))
        columns[column] = arrays[column].astype(str)
    weights = None
    if options.weight is not None:
        if options.weight not in arrays or arrays[options.weight].shape != labels.shape:
            raise TableError(f"no array of weights {options.weight!r} of shape {labels.shape}", where=name,
                             todo=nearest(options.weight, arrays))  # fmt: skip
        if arrays[options.weight].dtype.kind not in "fiub":
            raise TableError(f"the weights {options.weight!r} are no numbers", where=name)
        given = arrays[options.weight].astype(np.float64)
        weights = _weights(given, options.weight, name, np.arange(len(labels)))
    took = f"labels from {y_name!r}; {KIND_WORDS[kind]} from {v_name!r} of shape {values.shape}"
    found = Predictions(values, kind, labels, classes, np.arange(len(labels)), [], took)

    def series(name: str, *, raw: bool = False) -> pl.Series:
        if name == y_name:  # by the classes' names, as a table has them
            return pl.Series(name, np.array(classes)[labels])
        values = pl.Series(name, arrays[name])
        return values if raw else category_text(values)

    part = Part(found, columns, weights, series)
    return PredictionFile(classes, kind, took, _hash(path), [], iter([part]))
