"""Recalibration maps and tables: map files, and columns of probabilities with a map applied."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl

from ..evaluate import RecalibrationMap
from .atomic import write_whole
from .errors import TableError, some
from .probabilities import probability, sum_to_one
from .read import Table
from .values import nfc

_MOST_BYTES = 1 << 30


def save_map(found: RecalibrationMap, path: str | os.PathLike[str]) -> None:
    """Write a map as JSON, whole or not at all.

    Raises
    ------
    TableError
        When the folder does not exist or cannot be written to.
    """
    text = found.to_json()
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def load_map(path: str | os.PathLike[str]) -> RecalibrationMap:
    """Read a map; nothing in the file runs.

    Raises
    ------
    TableError
        No such file, or one that is no map.
    """
    path = Path(path)
    if not path.is_file():
        raise TableError(f"no such file: {str(path)!r}")
    if path.stat().st_size > _MOST_BYTES:
        raise TableError("this is too large for a recalibration map", where=str(path))
    try:
        return RecalibrationMap.from_json(path.read_bytes())
    except ValueError as error:  # UnicodeDecodeError is one
        raise TableError(str(error), where=str(path)) from None


def apply_map(
    table: Table, found: RecalibrationMap, probs: str = "p_*", *, normalize: bool = False
) -> tuple[pl.DataFrame, list[str]]:
    """The table with its probabilities recalibrated, all other columns as they were; and notes.

    Parameters
    ----------
    table : Table
    found : RecalibrationMap
        With the classes' names.
    probs : str
        A pattern whose ``*`` (or ``{class}``) stands for the class; or one column, that of the map's second class.
    normalize : bool
        Divide rows by their sums.

    Raises
    ------
    TableError
        A class without a column, a column of a class that the map does not know; probabilities that are none.
    """
    if not found.names:
        raise TableError("this map does not name its classes, so columns cannot be found for them")
    rows, notes = np.arange(table.frame.height), list(table.notes)
    pattern = nfc(probs).replace("{class}", "*")
    if "*" not in pattern:
        if found.classes != 2:
            raise TableError(f"one column of probabilities, and the map has {found.classes} classes")
        p = probability(table.require(pattern), table.name, rows)
        columns, matrix = [pattern], np.column_stack([1.0 - p, p])
    else:
        columns = [pattern.replace("*", name) for name in found.names]
        before, after = pattern.split("*", 1)
        there = [c for c in table.frame.columns if c.startswith(before) and c.endswith(after) and c not in columns]
        lost = [c for c in columns if c not in table.frame.columns]
        if lost:
            raise TableError(
                f"no column {some(lost)}; the map's classes are {some(found.names)}",
                where=table.name,
                todo=f"{probs!r} also fits {some(there)}." if there else "",
            )
        if there:
            raise TableError(f"the map knows no class for {some(there)}", where=table.name)
        matrix = np.column_stack([probability(table.require(c), table.name, rows) for c in columns])
        matrix = sum_to_one(matrix, normalize, rows, table.name, notes)
    with np.errstate(divide="ignore"):
        logs = np.log(matrix)
    try:
        out = np.exp(found.apply(logs))
    except ValueError as error:
        raise TableError(str(error), where=table.name) from None
    out = out[:, 1:] if len(columns) == 1 else out
    stale = [c for c in ("predicted", "loss") if c in table.frame.columns]
    if stale:
        notes.append(f"{some(stale)} still say what the probabilities said before")
    return table.frame.with_columns([pl.Series(c, out[:, k]) for k, c in enumerate(columns)]), notes
