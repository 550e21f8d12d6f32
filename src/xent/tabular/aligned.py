"""Several files of predictions of the same rows, brought into one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ..evaluate import row_losses
from ..evaluate.overlay import TOP, Scores, scores
from .errors import TableError, count, nearest, some
from .predictions import Predictions, read_predictions
from .read import Table, read_table
from .values import category_text


@dataclass(frozen=True)
class Aligned:
    """Losses of several models on the same rows, in the order of the first file.

    Attributes
    ----------
    losses : dict of name to float64 array (rows,)
        In nats; infinite for a label of probability 0. The names are the files', without what they share.
    labels : array (rows,)
        The text of each row's label.
    scores : dict of name to three arrays (rows,)
        Probability of the event, one minus it, and whether it happened; see `xent.evaluate.overlay.scores`.
    event : str
        The second class of two, or that the likeliest class is right.
    columns : dict of name to array (rows,)
        Columns of the first file, as text; missing values are "(missing)".
    notes : list of str
    """

    losses: dict[str, np.ndarray]
    labels: np.ndarray
    scores: dict[str, Scores]
    event: str
    columns: dict[str, np.ndarray]
    notes: list[str] = field(default_factory=list)


def read_aligned(
    files: Sequence[str],
    target: str,
    probs: Sequence[str] = (),
    *,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    id_column: str | None = None,
    columns: Sequence[str] = (),
    positive: str | None = None,
    normalize: bool = False,
    drop_missing: bool = False,
    missing: Sequence[str] = (),
) -> Aligned:
    """Read predictions of the same rows from several files.

    Parameters
    ----------
    files : sequence of str
    target, kind, classes, positive, normalize, drop_missing
        As `read_predictions` takes them.
    probs : sequence of str
        Patterns as `read_predictions` takes them, ``p_*`` where there is none: one for all files, or for one file
        ``NAME=PATTERN`` by its name in the result, or its path.
    id_column : str, optional
        Rows are matched by it; without one they must stand in the same order, which their labels must show.
    columns : sequence of str
        Columns of the first file to bring along.
    missing : sequence of str
        Marks of missing values, as `read_table` takes them.

    Raises
    ------
    TableError
        Ids that are missing, there twice, or only in some files; numbers of rows or labels that differ.
    """
    names = _names(files)
    patterns = _patterns(probs, names, files)
    if positive is not None and all("*" in p or "{class}" in p for p in patterns):
        raise TableError("a positive class is for a single column of probabilities, and there are only patterns",
                         todo="Name the column with --probs, or leave --positive out.")  # fmt: skip
    tables = [read_table(f, missing=missing, text_columns=[id_column] if id_column else ()) for f in files]
    for name in columns:
        tables[0].require(name)
    found = [
        read_predictions(t, target, p, positive=positive if "*" not in p and "{class}" not in p else None,
                         normalize=normalize, drop_missing=drop_missing, kind=kind, classes=classes)
        for t, p in zip(tables, patterns, strict=True)
    ]  # fmt: skip
    orders = _by_id(tables, found, id_column) if id_column else _as_they_are(tables, found)
    labels = [_texts(t, p, target)[order] for t, p, order in zip(tables, found, orders, strict=True)]
    for table, other in zip(tables[1:], labels[1:], strict=True):
        off = np.flatnonzero(labels[0] != other)
        if off.size:
            r = int(found[0].rows[off[0]])
            raise TableError(
                f"the labels differ from those of {tables[0].name} in {count(off.size, 'row')}, the first is row "
                f"{r + 1} there: {labels[0][off[0]]!r}, here {other[off[0]]!r}",
                where=table.name,
                todo="" if id_column else "Match the rows with --id COLUMN.",
            )
    losses = {n: row_losses(p.log_proba, p.target)[o] for n, p, o in zip(names, found, orders, strict=True)}
    brought = {
        name: category_text(tables[0].require(name)).fill_null("(missing)").to_numpy()[found[0].rows]
        for name in columns
    }
    notes = [f"{n}: {note}" for n, t, p in zip(names, tables, found, strict=True) for note in (*t.notes, *p.notes)]
    scored, event = _scores(names, found, orders)
    return Aligned(losses, labels[0], scored, event, brought, notes)


def _patterns(probs: Sequence[str], names: Sequence[str], files: Sequence[str]) -> list[str]:
    """The pattern of each file."""
    common, own = "p_*", dict[str, str]()
    for given in probs:
        name, equals, pattern = given.partition("=")
        if equals and (name in names or name in files):
            own[name] = pattern
        elif equals and len(probs) > 1:
            raise TableError(f"--probs {given!r}: there is no file {name!r}", todo=nearest(name, names))
        else:
            common = given
    return [own.get(n, own.get(f, common)) for n, f in zip(names, files, strict=True)]


def _scores(
    names: Sequence[str], found: Sequence[Predictions], orders: Sequence[np.ndarray]
) -> tuple[dict[str, Scores], str]:
    """What reliability looks at, of one event in all files: their classes may stand in any order."""
    event = found[0].classes[1]
    two = all(len(p.classes) == 2 and event in p.classes for p in found)
    scored = {}
    for name, p, order in zip(names, found, orders, strict=True):
        own = scores(p.target, p.values, p.kind, p.classes.index(event) if two else None)
        scored[name] = (own[0][order], own[1][order], own[2][order])
    return scored, event if two else TOP


def _names(files: Sequence[str]) -> list[str]:
    """The files' names without folder and ending, where those differ."""
    if len(set(files)) < len(files):
        twice = next(f for f in files if list(files).count(f) > 1)
        raise TableError("the file is given twice", where=twice)
    for short in (lambda f: Path(f).name.split(".")[0] or f, lambda f: Path(f).name):
        names = [short(f) for f in files]
        if len(set(names)) == len(names):
            return names
    return list(files)


def _texts(table: Table, found: Predictions, target: str) -> np.ndarray:
    return category_text(table.require(target).gather(found.rows)).to_numpy().astype(object)


def _by_id(tables: Sequence[Table], found: Sequence[Predictions], column: str) -> list[np.ndarray]:
    """For each file the rows in the order of the first one's ids."""
    series = []
    for table, p in zip(tables, found, strict=True):
        ids = category_text(table.require(column, what="id column").gather(p.rows))
        if ids.null_count():
            first = int(p.rows[ids.is_null().arg_true()[0]])
            raise TableError(
                f"the id {column!r} is missing in {count(ids.null_count(), 'row')}, the first is row {first + 1}",
                where=table.name,
            )
        twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
        if len(twice):
            raise TableError(
                f"{count(len(twice), 'id')} of {column!r} stand in more than one row: {some(twice.to_list())}",
                where=table.name,
            )
        series.append(ids)
    ours, orders = series[0], [np.arange(len(series[0]))]
    for table, ids in zip(tables[1:], series[1:], strict=True):
        lost, extra = ours.filter(~ours.is_in(ids.implode())), ids.filter(~ids.is_in(ours.implode()))
        if len(lost) or len(extra):
            said = [f"{count(len(s), 'id')} of {column!r} only {where}: {some(s.to_list())}"
                    for s, where in ((lost, f"in {tables[0].name}"), (extra, "here")) if len(s)]  # fmt: skip
            raise TableError("the rows do not match: " + "; ".join(said), where=table.name)
        place = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
        joined = pl.DataFrame({"id": ours}).join(place, on="id", how="left", maintain_order="left")
        orders.append(joined["row"].to_numpy())
    return orders


def _as_they_are(tables: Sequence[Table], found: Sequence[Predictions]) -> list[np.ndarray]:
    rows = len(found[0].rows)
    for table, p in zip(tables[1:], found[1:], strict=True):
        if len(p.rows) != rows or not np.array_equal(p.rows, found[0].rows):
            raise TableError(
                f"{count(len(p.rows), 'row')} with a label, and {tables[0].name} has {rows}, or others",
                where=table.name,
                todo="Match the rows with --id COLUMN.",
            )
    return [np.arange(rows)] * len(found)
