"""JSON lines (one object a line) and JSON (an array of objects)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from .errors import TableError

_ZSTD = b"\x28\xb5\x2f\xfd"


def read(content: Path | bytes, fmt: str, name: str) -> pl.DataFrame:
    """Read objects as rows. Types are inferred from all of them; zstd is undone by polars, gzip by the caller.

    Raises
    ------
    TableError
        With the line that is not JSON, or the key that an object holds twice.
    """
    data = content.read_bytes() if isinstance(content, Path) else content
    zstd = data.startswith(_ZSTD)
    if not zstd:
        data = data.removeprefix(b"\xef\xbb\xbf")
        _check_first(data, fmt, name)
    try:
        if fmt == "json":
            return pl.read_json(data, infer_schema_length=None)
        return pl.read_ndjson(data, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        if fmt == "jsonl" and not zstd:
            _explain(data, name)
        raise


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that holds a key twice: the readers keep one of the two and say nothing."""
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise KeyError(key)
        seen[key] = value
    return seen


def _check_first(data: bytes, fmt: str, name: str) -> None:
    first = data.lstrip()
    first = first[: first.find(b"\n")] if fmt == "jsonl" and b"\n" in first else first
    if fmt == "json" and len(first) > 10_000_000:
        return
    try:
        json.loads(first, object_pairs_hook=_unique)
    except KeyError as error:
        text = f"duplicate column name: the key {error.args[0]!r} is twice in one object"
        raise TableError(text, where=name) from None
    except (ValueError, RecursionError):
        pass  # not JSON: the reader, or _explain, says so


def _explain(data: bytes, name: str) -> None:
    """Find the first line that is not a JSON object."""
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise TableError(f"line {number} is not JSON: {error}", where=name) from None
        if not isinstance(value, dict):
            raise TableError(f"line {number} is not a JSON object but {type(value).__name__}", where=name)


def _no_constant(text: str) -> Any:
    raise ValueError(f"{text} is not a JSON number; write null for a missing one")
