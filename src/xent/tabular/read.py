"""Reading tables: CSV, TSV, Parquet, Arrow/Feather, JSON lines, JSON, and the sets that come with scikit-learn.

What counts as missing
----------------------
In text files (CSV, TSV) an empty field and ``NA``, ``N/A``, ``#N/A``, ``NaN``, ``nan``, ``null``, ``NULL`` are missing
everywhere. The ambiguous marks ``?``, ``-``, ``--``, ``.``, ``None``, ``none``, ``n/a``, ``na`` are missing only in a
column where everything else is a number; in a column of text they stay what they are, a value of their own, because
"None" may well be an answer. Marks given with ``missing=`` count everywhere. In every format an empty text and a NaN
are missing. What was replaced is told in :attr:`Table.notes`.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from . import read_csv, read_json, samples
from .errors import TableError, nearest
from .sniff import COMPRESSIONS, FORMATS, TEXT_FORMATS, TITLES, Kind, kind_by_bytes, kind_by_name
from .values import check_name, check_years, nfc

_HEAD = 65536
_JSON_FORMS = {"json": "an array of objects, [{...}, {...}]", "jsonl": "one object, {...}, a line"}


@dataclass(frozen=True)
class Table:
    """A table and where it came from.

    Attributes
    ----------
    frame : polars.DataFrame
        The rows. Column names are unique, NaN and empty text are null.
    name : str
        What messages call it: the path as the user gave it, or the name of a built-in set.
    stem : str
        The name without folder and endings.
    notes : tuple of str
        What the reader did that the user may want to know.
    target : str or None
        The column a built-in set is about.
    """

    frame: pl.DataFrame
    name: str
    stem: str
    notes: tuple[str, ...] = ()
    target: str | None = None

    def require(self, column: str, *, what: str = "column") -> pl.Series:
        """Return a column, or raise a :class:`TableError` that suggests the nearest name."""
        column = nfc(column)
        if column not in self.frame.columns:
            raise TableError(f"no {what} {column!r}", where=self.name, todo=nearest(column, self.frame.columns))
        return self.frame.get_column(column)


def read_table(
    source: str | Path, *, missing: Sequence[str] = (), text_columns: Iterable[str] = (), stdin: BinaryIO | None = None
) -> Table:
    """Read a table, whatever it is stored in.

    Parameters
    ----------
    source : str or Path
        A file; ``-`` for standard input; or ``iris``, ``wine``, ``breast_cancer``, ``digits``. A file of that name
        wins over the built-in set.
    missing : sequence of str, optional
        More marks that mean "missing", in every text column (see the module's own text).
    text_columns : iterable of str, optional
        Columns of text files to be left as text even where they look like numbers ("007" stays "007").
    stdin : binary file, optional
        What ``-`` reads; standard input by default.

    Returns
    -------
    Table

    Raises
    ------
    TableError
        No such file, an empty one, one that is not what its ending says, damaged content, duplicate column names,
        no rows.
    """
    if str(source) == "-":
        stream = stdin or getattr(sys.stdin, "buffer", None)  # None where the shell closed it
        if stream is None:
            raise TableError("standard input is closed")
        return _read_bytes(stream.read(), "standard input", "stdin", missing, frozenset(text_columns))
    path = Path(source)
    if not path.exists():
        if str(source) in samples.NAMES:
            frame, target = samples.load(str(source))
            return Table(frame, str(source), str(source), target=target)
        if path.is_symlink():
            raise TableError(f"the link {str(source)!r} leads to no file")
        raise TableError(f"no such file: {str(source)!r}", todo=_near_file(path))
    if path.is_dir():
        raise TableError("this is a folder, not a table", where=str(path))
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if not path.is_file():  # a pipe, such as /dev/stdin or <(command), is read once
            kind = kind_by_bytes(head)
            data = head + file.read() if kind.format or kind.compression else head
            return _read_bytes(data, str(path), _stem(path), missing, frozenset(text_columns))
    kind, notes = _decide(kind_by_name(path), kind_by_bytes(head), str(path))
    if not head.strip():
        raise TableError("the file is empty", where=str(path))
    content: Path | bytes = path
    if kind.compression == "gzip":
        content = _gunzip(path)
        _check_inner(content, kind, str(path))
    return _finish(content, kind, str(path), _stem(path), notes, missing, frozenset(text_columns))


def _read_bytes(data: bytes, name: str, stem: str, missing: Sequence[str], text: frozenset[str]) -> Table:
    """Read what has no ending: its content decides."""
    kind = kind_by_bytes(data[:_HEAD])
    if kind.compression == "gzip":
        data = _gunzip(io.BytesIO(data), name)
        kind = kind_by_bytes(data[:_HEAD])
    elif kind.compression == "zstd":
        kind = Kind(kind_by_bytes(_first_line_of_zstd(data)).format or "csv", "zstd", kind.words)
    if not data.strip():
        raise TableError("nothing to read, it is empty", where=name)
    if not kind.format:
        raise TableError(f"it looks like {kind.words}, which cannot be read here", where=name)
    return _finish(data, kind, name, stem, [], missing, text)


def _finish(
    content: Path | bytes,
    kind: Kind,
    name: str,
    stem: str,
    notes: list[str],
    missing: Sequence[str],
    text: frozenset[str],
) -> Table:
    """Parse, check what holds for every format, and put missing values in one form."""
    try:
        if kind.format in ("csv", "tsv"):
            frame = read_csv.read(content, kind.format, name, notes, missing, text)
        elif kind.format in ("jsonl", "json"):
            frame = read_json.read(content, kind.format, name)
        else:
            frame = _read_binary(content, kind.format)
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise TableError(_first_line(error), where=name, todo=_damaged(kind)) from error
    except pl.exceptions.PanicException as error:
        raise TableError("the file is damaged, or has two columns of one name", where=name) from error
    if frame.width == 0:
        raise TableError("the table has no columns", where=name)
    if frame.height == 0:
        raise TableError("the table has a header and no rows", where=name)
    frame = uniform(frame, missing, notes, name)
    return Table(frame, name, stem, tuple(notes))


def _read_binary(content: Path | bytes, fmt: str) -> pl.DataFrame:
    if fmt == "parquet":
        return pl.read_parquet(content, glob=False) if isinstance(content, Path) else pl.read_parquet(content)
    data = content.read_bytes() if isinstance(content, Path) else content
    return pl.read_ipc_stream(data) if data.startswith(b"\xff\xff\xff\xff") else pl.read_ipc(data)


def uniform(frame: pl.DataFrame, missing: Sequence[str], notes: list[str], name: str) -> pl.DataFrame:
    """Make NaN and empty text null, categorical text plain, decimals float64, and names composed letters."""
    columns: dict[str, pl.Series] = {}
    blank = []
    for series in frame:
        series = series.alias(nfc(series.name))
        check_name(series.name, name)
        check_years(series, name)
        if series.name in columns:
            raise TableError(f"two columns are named {series.name!r}, one with composed letters", where=name)
        dtype = series.dtype
        if isinstance(dtype, (pl.Categorical, pl.Enum)):
            series = series.cast(pl.String)
        elif dtype.is_decimal():
            series = series.cast(pl.Float64)
        if series.dtype == pl.String:
            marks = ["", *missing]
            found = int(series.is_in(marks).sum() or 0)
            if found:
                series = pl.select(pl.when(series.is_in(marks)).then(None).otherwise(series).alias(series.name))[
                    series.name
                ]
        elif series.dtype.is_float():
            found = int(series.is_nan().sum() or 0)
            if found:
                series = series.fill_nan(None)
        else:
            found = 0
        if found:
            blank.append(f"{series.name} ({found})")
        columns[series.name] = series
    if blank:
        notes.append(f"counted as missing: NaN, empty or marked values in {', '.join(blank)}")
    return pl.DataFrame(columns)  # from a list, a column without a name would be given one


def _decide(named: Kind, seen: Kind, name: str) -> tuple[Kind, list[str]]:
    """Compare what the ending says with what the bytes say."""
    if not named.format and not named.compression:
        if not seen.format:
            raise TableError(
                f"it looks like {seen.words}, which cannot be read here", where=name, todo=f"Readable: {_endings()}."
            )
        if seen.compression:
            raise TableError(f"the ending {named.words!r} does not say what is inside", where=name)
        return seen, [f"the ending does not say what {name} is; read as {TITLES[seen.format]}"]
    if named.compression:
        if seen.compression != named.compression:
            raise TableError(f"the ending says {named.compression}, but it looks like {seen.words}", where=name)
        if named.format not in TEXT_FORMATS:
            if named.format:
                raise TableError(f"{TITLES[named.format]} is not read compressed from outside", where=name)
            return Kind("csv", named.compression, named.words), [f"{name}: read as CSV, the ending does not say"]
        return named, []
    fits = seen.format == named.format or (seen.format == "csv" and named.format == "tsv")
    if named.format == "json" and seen.format == "jsonl":
        return seen, [f"{name} holds JSON lines"]
    if not fits and not (named.format in ("jsonl", "json") and not seen.words):
        proper = next((e[0] for m, e in COMPRESSIONS.items() if m == seen.compression), "")
        ending = named.words + proper if proper else FORMATS[seen.format][0] if seen.format else ""
        todo = f"If so, name it with {ending!r}." if ending else f"Readable: {_endings()}."
        if named.format in _JSON_FORMS and seen.format == "csv":
            todo = f"{TITLES[named.format]} here is {_JSON_FORMS[named.format]}."
        raise TableError(f"this is not {TITLES[named.format]}: it looks like {seen.words}", where=name, todo=todo)
    return named, []


def _check_inner(data: bytes, kind: Kind, name: str) -> None:
    seen = kind_by_bytes(data[:_HEAD])
    if not data.strip():
        raise TableError("the file is empty once decompressed", where=name)
    if seen.format != kind.format and not (seen.format == "csv" and kind.format == "tsv"):
        raise TableError(f"inside the {kind.compression} it is not {TITLES[kind.format]}: it looks like {seen.words}",
                         where=name)  # fmt: skip


def _gunzip(source: Path | BinaryIO, name: str = "") -> bytes:
    try:
        with gzip.open(source, "rb") as file:
            return file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"the gzip data is damaged or cut short ({error})", where=name or str(source)) from error


def _first_line_of_zstd(data: bytes) -> bytes:
    """Return the first line of compressed text; polars is who can decompress."""
    try:
        frame = pl.read_csv(data, has_header=False, separator="\x1f", quote_char=None, n_rows=1, infer_schema=False)
    except pl.exceptions.PolarsError:
        return b""  # damaged, or no text: reading it will say so
    return str(frame.item(0, 0)).encode()


def _damaged(kind: Kind) -> str:
    return "" if kind.format in ("csv", "tsv") else f"Is it a whole {TITLES[kind.format]} file?"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"cannot be read: {text[0].strip() if text else type(error).__name__}"


def _endings() -> str:
    return ", ".join(e for endings in FORMATS.values() for e in endings[:1]) + ", and .gz or .zst after a text ending"


def _stem(path: Path) -> str:
    name = path.name
    known: tuple[Any, ...] = (*FORMATS.values(), *COMPRESSIONS.values())
    while any(name.lower().endswith(e) and len(name) > len(e) for endings in known for e in endings):
        name = Path(name).stem
    return name


def _near_file(path: Path) -> str:
    """Suggest a file of the same folder, or a built-in set."""
    try:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    except OSError:
        beside = []
    hint = nearest(path.name, [*beside, *samples.NAMES], most=0)
    if hint.startswith("Did you mean"):
        return hint
    if not path.parent.is_dir():
        return f"There is no folder {str(path.parent)!r}."
    return f"Sets that need no file: {', '.join(samples.NAMES)}."
