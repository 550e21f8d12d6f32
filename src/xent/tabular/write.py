"""Writing tables, whole or not at all, in the format the ending asks for."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import BinaryIO

import polars as pl

from .atomic import check_writable, write_whole
from .errors import TableError
from .sniff import TEXT_FORMATS, Kind, kind_by_name

_ENDINGS = ".csv, .tsv, .jsonl (each with .gz or .zst if wanted), .parquet, .arrow, .feather"


def check_output(path: str | Path, *inputs: str | Path) -> None:
    """Refuse an output that cannot be written, or that is one of the inputs, before the work is done."""
    check_writable(path, *inputs)
    _kind(Path(path))


def write_table(frame: pl.DataFrame, path: str | Path) -> None:
    """Write a table; the ending says how.

    Parameters
    ----------
    frame : polars.DataFrame
    path : str or Path
        Ending in .csv, .tsv or .jsonl (with .gz or .zst if wanted), .parquet, .arrow or .feather. A file of that name
        is replaced in one step once the new one is whole.

    Raises
    ------
    TableError
        Another ending, or a folder that is not there or not writable.
    """
    path = Path(path)
    kind = _kind(path)
    write_whole(path, lambda temporary: _write(frame, kind, temporary))


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """Return a table as CSV, for standard output."""
    return frame.write_csv().encode()


def _kind(path: Path) -> Kind:
    kind = kind_by_name(path)
    if not kind.format or kind.format == "json" or (kind.compression and kind.format not in TEXT_FORMATS):
        raise TableError(f"the ending {kind.words!r} says no format to write", where=str(path), todo=f"Use {_ENDINGS}.")
    return kind


def _write(frame: pl.DataFrame, kind: Kind, path: Path) -> None:
    if kind.format == "parquet":
        frame.write_parquet(path)
    elif kind.format == "arrow":
        frame.write_ipc(path)
    elif kind.compression == "gzip":
        buffer = io.BytesIO()
        _write_text(frame, kind.format, buffer)
        # mtime=0: the same table gives the same bytes
        path.write_bytes(gzip.compress(buffer.getvalue(), compresslevel=6, mtime=0))
    elif kind.compression == "zstd":
        if kind.format == "jsonl":
            frame.write_ndjson(path, compression="zstd", check_extension=False)
        else:
            frame.write_csv(path, separator=_separator(kind.format), compression="zstd", check_extension=False)
    else:
        with path.open("wb") as file:
            _write_text(frame, kind.format, file)


def _write_text(frame: pl.DataFrame, fmt: str, stream: BinaryIO | io.BytesIO) -> None:
    if fmt == "jsonl":
        frame.write_ndjson(stream)
    else:
        frame.write_csv(stream, separator=_separator(fmt))


def _separator(fmt: str) -> str:
    return "\t" if fmt == "tsv" else ","
