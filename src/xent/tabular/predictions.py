"""Anybody's predictions in a table: columns of probabilities matched to the labels that happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .errors import TableError, count, nearest, some
from .labels import Label, index_labels, label_text, to_classes
from .probabilities import (
    LOG,
    PERCENT,
    PLAIN,
    are_logarithms,
    are_percents,
    check_logarithms,
    logarithm,
    logit,
    probability,
    sum_to_one,
)
from .read import Table
from .values import nfc, parse_iso

KINDS = ("probabilities", "log", "logits")
"""What a file's predictions may be: probabilities, their natural logarithms, logits."""
KIND_WORDS = {"probabilities": "probabilities", "log": "log-probabilities", "logits": "logits"}


@dataclass(frozen=True)
class Predictions:
    """Predictions and what happened.

    Attributes
    ----------
    values : float64 array of shape (rows, classes) or (rows,)
        As they stand in the table; a single column is of class 1.
    kind : str
        One of :data:`KINDS`.
    target : int array of shape (rows,)
        Class indices.
    classes : list of str
        The classes, in the order of the columns.
    rows : int array of shape (rows,)
        Which rows of the table these are, counted from 0.
    notes : list of str
        What was done that the user may want to know.
    took : str
        One line: what was taken for what.
    """

    values: np.ndarray
    kind: str
    target: np.ndarray
    classes: list[str]
    rows: np.ndarray
    notes: list[str] = field(default_factory=list)
    took: str = ""

    @property
    def log_proba(self) -> np.ndarray:
        """Natural logarithms of the probabilities, float64 of shape (rows, classes); -inf for 0."""
        from ..evaluate.inputs import log_probabilities

        return log_probabilities(self.values, self.kind)


def read_predictions(
    table: Table,
    target: str,
    probs: str = "p_*",
    *,
    positive: str | None = None,
    normalize: bool = False,
    drop_missing: bool = False,
    kind: str | None = None,
    classes: Sequence[str] | None = None,
    first_row: int | None = None,
) -> Predictions:
    """Find the probabilities in a table and match their columns to the target's labels.

    Parameters
    ----------
    table : Table
    target : str
        The column of labels.
    probs : str, optional
        A pattern whose ``*`` (or ``{class}``) stands for the class: ``p_*`` finds ``p_cat`` and ``p_dog``. Without one,
        the name of a single column: of lists, one number a class; or of the positive class.
    positive : str, optional
        The positive class of a single column; needless where the labels are 0 and 1 or false and true.
    normalize : bool, optional
        Divide each row by its sum instead of refusing rows that do not sum to one; percents are taken too.
    drop_missing : bool, optional
        Leave rows without a label out instead of refusing them.
    kind : str, optional
        One of :data:`KINDS`. Told by the numbers where it is not given: numbers of which none is above 0 and some are
        below it are logarithms. Logits are never guessed.
    classes : sequence of str, optional
        The classes of a column of lists, in their order; needless where the labels are 0 to K - 1. Of a pattern, the
        classes whose columns are taken: ``"*"`` with ``["cat", "dog"]`` takes the columns ``cat`` and ``dog``.
    first_row : int, optional
        The table is a part of a larger one and begins with this row of it.

    Raises
    ------
    TableError
        No such column, nothing that fits the pattern, labels missing or without a column, probabilities that are
        missing, negative, above one, or do not sum to one.
    """
    labels = table.require(target)
    notes: list[str] = []
    rows = np.arange(len(labels))
    if labels.null_count():
        missing = labels.null_count()
        if missing == len(labels):
            raise TableError(f"the target {target!r} is all missing", where=table.name)
        if not drop_missing:
            raise TableError(
                f"the target {target!r} is missing in {missing} of {count(len(labels), 'row')}",
                where=table.name,
                todo="Leave those rows out with --drop-missing.",
            )
        rows = np.flatnonzero(labels.is_not_null().to_numpy())
        notes.append(f"{count(missing, 'row')} without a label left out")
    frame = table.frame[rows] if len(rows) < len(labels) else table.frame
    labels = frame.get_column(labels.name)
    rows = rows + (first_row or 0)
    wild = "{class}" in probs or "*" in probs
    if wild and positive is not None:
        raise TableError(
            f"a positive class is for a single column of probabilities, and {probs!r} is a pattern",
            todo="Name the column with --probs, or leave --positive out.",
        )
    if wild:
        names, index, values, kind = _many(
            frame, labels, nfc(probs), table.name, rows, notes if normalize else None, kind, classes
        )
        took = f"columns {probs!r}"
    elif isinstance(table.require(probs).dtype, (pl.List, pl.Array)):
        names, index, values, kind = _list(frame, labels, nfc(probs), table.name, rows, classes, kind)
        took = f"the lists of {probs!r}"
    else:
        names, index, values, kind = _single(frame, labels, nfc(probs), positive, table.name, rows, kind)
        took = f"the column {probs!r}, of class {names[1]!r}"
    if kind == "probabilities" and values.ndim == 2:
        values = sum_to_one(values, normalize, rows, table.name, notes)
    elif normalize:
        raise TableError(f"{took} has nothing to divide by a sum", where=table.name, todo="Leave --normalize out.")
    if first_row is None:
        notes += absent_note(names, np.bincount(index, minlength=len(names)))
    took = f"labels from {target!r}; {KIND_WORDS[kind]} of {count(len(names), 'class', 'classes')} from {took}"
    return Predictions(values, kind, index, names, rows, notes, took)


def absent_note(classes: Sequence[str], seen: np.ndarray) -> list[str]:
    """Note the classes that no row has."""
    absent = [c for c, n in zip(classes, seen, strict=True) if not n]
    return [f"no row has the label {some(absent)}, which the predictions name"] if absent else []


def _many(
    frame: pl.DataFrame,
    labels: pl.Series,
    probs: str,
    where: str,
    rows: np.ndarray,
    notes: list[str] | None,
    kind: str | None,
    classes: Sequence[str] | None,
) -> tuple[list[str], np.ndarray, np.ndarray, str]:
    """One column a class. ``notes`` is there where rows are to be divided by their sums; then percents are taken."""
    names, columns = _class_columns(frame, labels.name, probs, classes, where)
    if labels.dtype == pl.String and not parse_iso(labels).null_count():
        labels = parse_iso(labels)  # dates in text files come in many spellings
    # Matched in the labels' own type: p_1.0 is the column of the label 1, p_True that of true.
    distinct, label_kind, place = to_classes(labels)
    match = index_labels(pl.Series(names), distinct, label_kind)
    twice = [k for k in set(match.tolist()) if k >= 0 and (match == k).sum() > 1]
    if twice:
        both = [c for c, k in zip(columns, match, strict=True) if k == twice[0]]
        raise TableError(f"columns {some(both)} are of one class, {label_text(distinct[twice[0]])!r}", where=where)
    column_of = {int(k): c for c, k in enumerate(match) if k >= 0}
    without = [label_text(distinct[k]) for k in range(len(distinct)) if k not in column_of]
    if without:
        n = int(np.isin(place, [k for k in range(len(distinct)) if k not in column_of]).sum())
        subject = "the label {} ({}) has" if len(without) == 1 else "the labels {} ({}) have"
        raise TableError(
            f"{subject.format(some(without), count(n, 'row'))} no column of probabilities",
            where=where,
            todo=f"{probs!r} names the classes {some(names, most=10)}.",
        )
    order = np.array([column_of[k] for k in range(len(distinct))])
    series = [frame.get_column(c) for c in columns]
    unit = 1.0
    if notes is not None and are_percents(series):
        unit = PERCENT
        notes.append("the probabilities are percents")
    matrix, kind = column_values(series, where, rows, kind, unit)
    return names, order[place], matrix, kind


def _class_columns(
    frame: pl.DataFrame, target: str, probs: str, classes: Sequence[str] | None, where: str
) -> tuple[list[str], list[str]]:
    """The classes and their columns: those that fit the pattern, or of these the ones of the classes named."""
    pattern = probs.replace("{class}", "*")
    if pattern.count("*") != 1:
        raise TableError(f"the pattern {probs!r} must hold one * (or {{class}}), for the class")
    before, after = pattern.split("*")
    there = f"There are: {some(frame.columns, most=12)}."
    if classes is not None:
        named = {nfc(c): pattern.replace("*", nfc(c)) for c in classes}
        gone = [n for n in named.values() if n not in frame.columns or n == target]
        if gone or len(named) < 2:
            wrong = f"no column {gone[0]!r} for a class" if gone else "only one class is named"
            raise TableError(f"{wrong} of --classes", where=where, todo=there)
        return list(named), list(named.values())
    size = len(before) + len(after)
    columns = [
        n for n in frame.columns
        if n.startswith(before) and n.endswith(after) and len(n) > size and n != target
    ]  # fmt: skip
    if len(columns) < 2:
        found = f"only {columns[0]!r} fits" if columns else "no column fits"
        todo = f"{there} Columns named as the classes alone: --probs '*' --classes A,B,..."
        if columns:
            todo = f"For a single column of probabilities: --probs {columns[0]} --positive LABEL."
        raise TableError(f"{found} the pattern {probs!r}", where=where, todo=todo)
    return [n[len(before) : len(n) - len(after)] for n in columns], columns


def _list(
    frame: pl.DataFrame,
    labels: pl.Series,
    column: str,
    where: str,
    rows: np.ndarray,
    classes: Sequence[str] | None,
    kind: str | None,
) -> tuple[list[str], np.ndarray, np.ndarray, str]:
    """A column of lists, one number a class."""
    matrix, kind = list_values(frame, column, where, rows, kind)
    width = matrix.shape[1]
    names = [nfc(c) for c in classes] if classes is not None else [str(k) for k in range(width)]
    if len(names) != width:
        raise TableError(f"{len(names)} classes are named, the lists of {column!r} have {width} numbers", where=where)
    distinct, label_kind, place = to_classes(labels)
    found = index_labels(pl.Series(names), distinct, label_kind)
    column_of = {int(k): c for c, k in enumerate(found) if k >= 0}
    without = [label_text(label) for k, label in enumerate(distinct) if k not in column_of]
    if without:
        raise TableError(
            f"the labels {some(without)} are none of the classes {some(names)} of the lists {column!r}",
            where=where,
            todo="" if classes is not None else "Name the classes in their order: --classes cat,dog,fish.",
        )
    return names, np.array([column_of[k] for k in range(len(distinct))])[place], matrix, kind


def list_values(
    frame: pl.DataFrame, column: str, where: str, rows: np.ndarray, kind: str | None
) -> tuple[np.ndarray, str]:
    """Read a column of lists as a matrix, and say what its numbers are."""
    lists = frame.get_column(column)
    lists = lists.arr.to_list() if isinstance(lists.dtype, pl.Array) else lists
    lengths = lists.list.len()
    width = int(lengths[0] or 0) if len(lengths) else 0
    odd = (lengths.fill_null(0) != width).arg_true()
    if len(odd) or width < 2:
        at = int(odd[0]) if len(odd) else 0
        raise TableError(
            f"the lists of {column!r} must have one number a class: row {rows[0] + 1} has {width}, row {rows[at] + 1} "
            f"{lengths[at] or 0}",
            where=where,
        )
    flat = lists.explode()
    flat_matrix, kind = column_values([flat], where, np.repeat(rows, width), kind)
    matrix = flat_matrix.reshape(-1, width)
    if kind == LOG:
        check_logarithms(matrix, where, rows)
    return matrix, kind


def column_values(
    series: Sequence[pl.Series], where: str, rows: np.ndarray, kind: str | None, unit: float = 1.0
) -> tuple[np.ndarray, str]:
    """Read columns as a matrix, and say what its numbers are: told by them where ``kind`` does not."""
    kind = kind or (LOG if are_logarithms(series) else PLAIN)
    read = probability if kind == PLAIN else logarithm if kind == LOG else logit
    matrix = np.empty((len(series[0]), len(series)))
    for k, column in enumerate(series):
        matrix[:, k] = read(column, where, rows, unit)
    if kind == LOG and len(series) > 1:
        check_logarithms(matrix, where, rows)
    return matrix, kind


def _single(
    frame: pl.DataFrame,
    labels: pl.Series,
    column: str,
    positive: str | None,
    where: str,
    rows: np.ndarray,
    kind: str | None,
) -> tuple[list[str], np.ndarray, np.ndarray, str]:
    """One column: the probability of the positive class."""
    matrix, kind = column_values([frame.get_column(column)], where, rows, kind)
    p = matrix[:, 0]
    distinct, label_kind, place = to_classes(labels)
    if len(distinct) > 2:
        raise TableError(
            f"one column of probabilities, but {len(distinct)} classes in {labels.name!r}: "
            f"{some(map(label_text, distinct))}",
            where=where,
            todo="Give a pattern for one column a class, like --probs 'p_*'.",
        )
    names, yes = positive_class(distinct, label_kind, positive, labels.name, where)
    return names, (place == yes).astype(np.int64), p, kind


def positive_class(
    distinct: list[Label], kind: str, positive: str | None, name: str, where: str
) -> tuple[list[str], int | None]:
    """Name the negative and the positive class, and find the positive label's place (None: it never happened)."""
    texts = [label_text(c) for c in distinct]
    if positive is None:
        if not (set(distinct) <= {0, 1} and kind in ("integer", "boolean")):
            raise TableError(
                f"which of {some(texts)} the probabilities are of is not clear",
                where=where,
                todo="Say so with --positive LABEL.",
            )
        positive = "true" if kind == "boolean" else "1"
    found = int(index_labels(pl.Series([positive]), distinct, kind)[0])
    if found < 0:
        if len(distinct) == 2:
            raise TableError(f"no label {positive!r} in {name!r}", where=where, todo=nearest(positive, texts))
        return [texts[0], positive], None
    others = [t for k, t in enumerate(texts) if k != found]
    return [others[0] if others else f"not {texts[found]}", texts[found]], found
