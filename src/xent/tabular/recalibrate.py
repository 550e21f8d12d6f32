"""Recalibration maps and tables: map files, and columns of probabilities with a map applied."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from ..evaluate import RecalibrationMap
from ..evaluate.inputs import log_probabilities
from ..evaluate.loss import check_probabilities, checked_pair
from .array_files import load_arrays, values_of
from .atomic import write_whole
from .errors import TableError, some
from .prediction_files import ARRAYS, Options
from .predictions import KIND_WORDS, column_values, list_values
from .probabilities import sum_to_one
from .read import Table
from .values import nfc

_MOST_BYTES = 1 << 30
_LOGITS = "the logits are now log-probabilities, which are logits too"


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
    table: Table,
    found: RecalibrationMap,
    probs: str = "p_*",
    *,
    normalize: bool = False,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
) -> tuple[pl.DataFrame, list[str]]:
    """The table with its predictions recalibrated, all other columns as they were; and notes.

    Parameters
    ----------
    table : Table
    found : RecalibrationMap
        With the classes' names.
    probs : str
        A pattern whose ``*`` (or ``{class}``) stands for the class; or one column: of lists, or of the map's second
        class.
    normalize : bool
        Divide rows by their sums.
    kind : str, optional
        What the numbers are, told by them where it is not given, as `read_predictions` does. Recalibrated ones are of
        the same kind; of logits they are log-probabilities, which are logits too.
    classes : sequence of str, optional
        The classes of a column of lists in their order, by default the map's; with a pattern, that only their columns
        are meant.

    Raises
    ------
    TableError
        A class without a column, a column of a class that the map does not know; probabilities that are none.
    """
    if not found.names:
        raise TableError("this map does not name its classes, so columns cannot be found for them")
    rows, notes = np.arange(table.frame.height), list(table.notes)
    pattern = nfc(probs).replace("{class}", "*")
    order = np.arange(found.classes)
    lists = False
    if "*" in pattern:
        columns = _columns(table, found, pattern, probs, classes)
        matrix, kind = column_values([table.require(c) for c in columns], table.name, rows, kind)
    else:
        series = table.require(pattern)
        columns = [series.name]
        lists = isinstance(series.dtype, (pl.List, pl.Array))
        if lists:
            matrix, kind = list_values(table.frame, series.name, table.name, rows, kind)
            order = _order(found, classes, matrix.shape[1], table.name)
        elif found.classes != 2:
            raise TableError(f"one column of probabilities, and the map has {found.classes} classes")
        else:
            matrix, kind = column_values([series], table.name, rows, kind)
    if classes is not None and not lists and "*" not in pattern:
        raise TableError(f"classes are named for lists or a pattern, and {probs!r} is neither", where=table.name)
    if matrix.shape[1] > 1 and kind == "probabilities":
        matrix = sum_to_one(matrix, normalize, rows, table.name, notes)
    elif normalize:
        raise TableError(f"{probs!r} has nothing to divide by a sum", where=table.name, todo="Leave --normalize out.")
    out = recalibrated(found, matrix[:, order] if len(order) == matrix.shape[1] else matrix, kind, table.name)
    out = out[:, np.argsort(order)] if out.shape[1] > 1 else out
    stale = [c for c in ("predicted", "loss") if c in table.frame.columns]
    if kind == "logits" and out.shape[1] > 1:
        notes.append(_LOGITS)
    if stale:
        notes.append(f"{some(stale)} still say what the probabilities said before")
    if lists:
        return table.frame.with_columns(pl.Series(columns[0], out.tolist(), dtype=pl.List(pl.Float64))), notes
    return table.frame.with_columns([pl.Series(c, out[:, k]) for k, c in enumerate(columns)]), notes


def _columns(
    table: Table, found: RecalibrationMap, pattern: str, probs: str, classes: Sequence[str] | None
) -> list[str]:
    """The column of each of the map's classes, which are all that fit the pattern unless the classes are named."""
    if classes is not None and sorted(map(nfc, classes)) != sorted(found.names):
        raise TableError(f"the map's classes are {some(found.names)}, not {some(classes)}", where=table.name)
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
    if there and classes is None:
        raise TableError(f"the map knows no class for {some(there)}", where=table.name)
    return columns


def _order(found: RecalibrationMap, classes: Sequence[str] | None, width: int, where: str) -> np.ndarray:
    """The place, among these classes, of each of the map's."""
    names = list(found.names) if classes is None else [nfc(c) for c in classes]
    if width != found.classes or sorted(names) != sorted(found.names):
        raise TableError(f"{width} numbers a row, of the classes {some(names)}; the map's classes are "
                         f"{some(found.names)}", where=where)  # fmt: skip
    return np.array([names.index(name) for name in found.names])


def recalibrated(found: RecalibrationMap, values: np.ndarray, kind: str, where: str) -> np.ndarray:
    """Predictions in the map's order of classes, (rows, classes) or (rows, 1) of the second, recalibrated; same kind.

    Raises
    ------
    TableError
        What the map cannot be applied to.
    """
    single = values.shape[1] == 1
    try:
        logs = found.apply(log_probabilities(values[:, 0] if single else values, kind))
    except ValueError as error:
        raise TableError(str(error), where=where) from None
    if single and kind == "logits":
        return np.asarray(logs[:, 1:] - logs[:, :1])
    out = logs[:, 1:] if single else logs
    return np.asarray(np.exp(out) if kind == "probabilities" else out)


def apply_to_arrays(source: str, output: str, found: RecalibrationMap, options: Options) -> tuple[int, list[str]]:
    """Write a file of arrays again with the predictions recalibrated; return the number of rows, and notes.

    Raises
    ------
    TableError
        As `xent.tabular.prediction_files.open_predictions`; an output that is no file of arrays.
    """
    arrays = load_arrays(Path(source))
    name, kind = values_of(arrays, options, "", source)
    values = np.asarray(arrays[name], dtype=np.float64)
    if values.ndim not in (1, 2) or (values.ndim == 1 and found.classes != 2):
        raise TableError(f"{name!r} is of shape {values.shape}, and the map has {found.classes} classes", where=source)
    try:
        checked_pair(np.zeros(len(values), dtype=np.int64), values, kind)
        if kind == "probabilities":
            check_probabilities(values)
    except ValueError as error:
        raise TableError(str(error), where=source) from None
    matrix = values[:, None] if values.ndim == 1 else values
    out = recalibrated(found, matrix, kind, source)
    arrays = {**arrays, name: out[:, 0] if values.ndim == 1 else out}
    suffix = Path(output).suffix.lower()
    if suffix not in ARRAYS:
        raise TableError(f"the ending {suffix!r} is of no file of arrays", where=output, todo=f"Use {some(ARRAYS)}.")

    def write(path: Path) -> None:
        if suffix == ".npz":
            with path.open("wb") as file:
                np.savez(file, **arrays)
            return
        from safetensors.numpy import save_file

        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, path)

    write_whole(output, write)
    notes = [f"{KIND_WORDS[kind]} in {name!r}, classes in the order of the map"]
    return len(values), notes + ([_LOGITS] if kind == "logits" and values.ndim == 2 else [])
