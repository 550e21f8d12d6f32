"""Anybody's predictions in a table: columns of probabilities matched to the labels that happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from .errors import TableError, count, nearest, some
from .labels import Label, index_labels, label_text, to_classes
from .read import Table
from .values import nfc, parse_iso, to_number

SUM_TOLERANCE = 1e-5
"""How far from one the probabilities of a row may sum: what rounding to float32 or to six decimals leaves."""


@dataclass(frozen=True)
class Predictions:
    """Probabilities and what happened.

    Attributes
    ----------
    log_proba : float64 array of shape (rows, classes)
        Natural logarithms; -inf for 0.
    target : int array of shape (rows,)
        Class indices.
    classes : list of str
        The classes, in the order of the columns.
    notes : list of str
        What was done that the user may want to know.
    rows : int array of shape (rows,)
        Which rows of the table these are, counted from 0.
    """

    log_proba: np.ndarray
    target: np.ndarray
    classes: list[str]
    rows: np.ndarray
    notes: list[str] = field(default_factory=list)


def read_predictions(
    table: Table,
    target: str,
    probs: str = "p_*",
    *,
    positive: str | None = None,
    normalize: bool = False,
    drop_missing: bool = False,
) -> Predictions:
    """Find the probabilities in a table and match their columns to the target's labels.

    Parameters
    ----------
    table : Table
    target : str
        The column of labels.
    probs : str, optional
        A pattern whose ``*`` (or ``{class}``) stands for the class: ``p_*`` finds ``p_cat`` and ``p_dog``. Without one,
        the name of a single column, the probability of the positive class.
    positive : str, optional
        The positive class of a single column; needless where the labels are 0 and 1 or false and true.
    normalize : bool, optional
        Divide each row by its sum instead of refusing rows that do not sum to one; percents are taken too.
    drop_missing : bool, optional
        Leave rows without a label out instead of refusing them.

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
    wild = "{class}" in probs or "*" in probs
    if wild:
        if positive is not None:
            raise TableError(
                f"a positive class is for a single column of probabilities, and {probs!r} is a pattern",
                todo="Name the column with --probs, or leave --positive out.",
            )
        classes, index, matrix = _many(frame, labels, nfc(probs), table.name, rows, notes if normalize else None)
    else:
        classes, index, matrix = _single(frame, labels, probs, positive, table, rows)
    matrix = _sum_to_one(matrix, normalize, rows, table.name, notes)
    absent = np.flatnonzero(np.bincount(index, minlength=len(classes)) == 0)
    if absent.size:
        notes.append(f"no row has the label {some(classes[k] for k in absent)}, which the predictions name")
    with np.errstate(divide="ignore"):
        return Predictions(np.log(matrix), index, classes, rows, notes)


def _many(
    frame: pl.DataFrame, labels: pl.Series, probs: str, where: str, rows: np.ndarray, notes: list[str] | None
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """One column a class. ``notes`` is there where rows are to be divided by their sums; then percents are taken."""
    pattern = probs.replace("{class}", "*")
    if pattern.count("*") != 1:
        raise TableError(f"the pattern {probs!r} must hold one * (or {{class}}), for the class")
    before, after = pattern.split("*")
    size = len(before) + len(after)
    columns = [
        n for n in frame.columns
        if n.startswith(before) and n.endswith(after) and len(n) > size and n != labels.name
    ]  # fmt: skip
    if len(columns) < 2:
        found = f"only {columns[0]!r} fits" if columns else "no column fits"
        todo = f"There are: {some(frame.columns, most=12)}."
        if columns:
            todo = f"For a single column of probabilities: --probs {columns[0]} --positive LABEL."
        raise TableError(f"{found} the pattern {probs!r}", where=where, todo=todo)
    names = [n[len(before) : len(n) - len(after)] for n in columns]
    if labels.dtype == pl.String and not parse_iso(labels).null_count():
        labels = parse_iso(labels)  # dates in text files come in many spellings
    # Matched in the labels' own type: p_1.0 is the column of the label 1, p_True that of true.
    distinct, kind, place = to_classes(labels)
    match = index_labels(pl.Series(names), distinct, kind)
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
    if notes is not None and _are_percents(series):
        unit = _PERCENT
        notes.append("the probabilities are percents")
    matrix = np.column_stack([_probability(s, where, rows, unit) for s in series])
    return names, order[place], matrix


def _single(
    frame: pl.DataFrame, labels: pl.Series, column: str, positive: str | None, table: Table, rows: np.ndarray
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """One column: the probability of the positive class."""
    p = _probability(table.require(column).gather(rows), table.name, rows)
    distinct, kind, place = to_classes(labels)
    if len(distinct) > 2:
        raise TableError(
            f"one column of probabilities, but {len(distinct)} classes in {labels.name!r}: "
            f"{some(map(label_text, distinct))}",
            where=table.name,
            todo="Give a pattern for one column a class, like --probs 'p_*'.",
        )
    names, yes = _positive(distinct, kind, positive, labels.name, table.name)
    return names, (place == yes).astype(np.int64), np.column_stack([1.0 - p, p])


def _positive(
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


_LOGITS = "Are they logits or logarithms? A softmax makes probabilities of them."
_ABOVE = (
    "Are they percents? One column a class, --normalize takes those. Are they logits? A softmax makes probabilities."
)
_PERCENT = 100.0


def _probability(series: pl.Series, where: str, rows: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """Read a column of probabilities, each known and between 0 and ``unit``, as parts of it."""
    p = to_number(series, where=where, todo="") / unit
    above = p > 1 + SUM_TOLERANCE
    for bad, what, todo in (
        (np.isnan(p), "missing or NaN", ""),
        (p < 0, "negative", _LOGITS),
        (above, "above one", _ABOVE),
    ):
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            value = "" if np.isnan(p[at]) else f" ({p[at]:.6g})"
            raise TableError(
                f"column {series.name!r} is {what} in {count(int(bad.sum()), 'row')}, the first in row "
                f"{rows[at] + 1}{value}",
                where=where,
                todo=todo,
            )
    return np.minimum(p, 1.0)  # rounding may leave 1.0000001


def _are_percents(columns: Sequence[pl.Series]) -> bool:
    """Whether every row sums to a hundred, give or take what rounding to whole percents leaves."""
    sums = np.sum([to_number(c, todo="") for c in columns], axis=0)
    return bool(np.all(np.abs(sums - _PERCENT) <= 0.5 * len(columns)))


def _sum_to_one(matrix: np.ndarray, normalize: bool, rows: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    sums = matrix.sum(axis=1)
    if normalize:
        if not sums.all():
            raise TableError(f"all probabilities are 0 in row {rows[int(np.argmin(sums))] + 1}", where=where)
        off = int((np.abs(sums - 1) > SUM_TOLERANCE).sum())
        if off:
            notes.append(f"{count(off, 'row')} divided by the sum of their probabilities")
        return matrix / sums[:, None]
    off_rows = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if off_rows.size:
        first = int(off_rows[0])
        raise TableError(
            f"the probabilities do not sum to one in {count(off_rows.size, 'row')}, the first is row "
            f"{rows[first] + 1} with a sum of {sums[first]:.9g}",
            where=where,
            todo="Divide each row by its sum with --normalize, or check that every class has its column.",
        )
    return matrix
