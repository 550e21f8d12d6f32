"""What each column is: a number, a category, a date, or something to leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from .errors import TableError, nearest
from .values import NESTED, category_text, nfc, parse_iso

MAX_LEVELS = 100
"""A category keeps at most this many levels; the rest share one, "other"."""


class ColumnKind(StrEnum):
    """What a column is taken for. The first three are used, the others are left out."""

    NUMBER = "number"
    CATEGORY = "category"
    DATE = "date"
    ID = "id"
    CONSTANT = "constant"
    TEXT = "text"
    EMPTY = "empty"
    NESTED = "nested"
    DROPPED = "dropped"

    @property
    def used(self) -> bool:
        """Whether a classifier is trained on such a column."""
        return self in (ColumnKind.NUMBER, ColumnKind.CATEGORY, ColumnKind.DATE)


@dataclass(frozen=True)
class Column:
    """One column's name, kind, and why it was taken for that."""

    name: str
    kind: ColumnKind
    reason: str
    missing: int = 0


def type_column(series: pl.Series) -> Column:
    """Decide what a column is, from its values alone.

    The first rule that fits decides:

    ==================================================================================  ==========
    all values missing                                                                  empty
    lists, structures, raw bytes                                                        nested
    one value only (and none missing)                                                   constant
    dates, datetimes; text of ISO dates (2024-05-31, 2024-05-31T10:00:00Z)              date
    booleans                                                                            category
    whole numbers 0, 1, 2, ... or 1, 2, 3, ... in the order of the rows                 id
    whole numbers, all distinct, in a column named like one (id, index, key, ...)       id
    any other number, a duration, a time of day                                         number
    text, every value distinct                                                          id
    text, more than 20 values and more than half as many values as rows                 text
    any other text                                                                      category
    ==================================================================================  ==========

    One value with gaps is a category of two: "there" and "missing" may matter. An id tells rows apart and says
    nothing about rows to come; a text whose values hardly repeat would be learnt by heart.

    Parameters
    ----------
    series : polars.Series
        The values; missing ones are null.

    Returns
    -------
    Column
        With a reason for people.

    Examples
    --------
    >>> type_column(pl.Series("island", ["a", "b", "a"])).reason
    'text, 2 values'
    """
    name, rows, missing = series.name, len(series), series.null_count()

    def column(kind: ColumnKind, reason: str) -> Column:
        return Column(name, kind, reason, missing)

    if missing == rows:
        return column(ColumnKind.EMPTY, "all missing")
    if isinstance(series.dtype, NESTED):
        return column(ColumnKind.NESTED, f"holds {str(series.dtype).split('(')[0].lower()} values")
    values = series.drop_nulls()
    distinct = values.n_unique()
    if distinct == 1:
        if not missing:
            return column(ColumnKind.CONSTANT, f"always {values[0]}")
        return column(ColumnKind.CATEGORY, f"{values[0]} or missing")
    if series.dtype == pl.Date or isinstance(series.dtype, pl.Datetime):
        return column(ColumnKind.DATE, "dates")
    if series.dtype == pl.Boolean:
        return column(ColumnKind.CATEGORY, "true or false")
    if series.dtype == pl.String:
        return column(*_type_text(values, distinct))
    if series.dtype.is_integer() and not missing and distinct == rows:
        first = int(values[0])
        if first in (0, 1) and bool((series == pl.int_range(first, first + rows, eager=True)).all()):
            return column(ColumnKind.ID, f"row numbers {first}, {first + 1}, ...")
        if _named_like_id(name):
            return column(ColumnKind.ID, "distinct whole numbers, named like an id")
    return column(ColumnKind.NUMBER, "numbers" if distinct > 2 else "numbers, 2 values")


def _type_text(values: pl.Series, distinct: int) -> tuple[ColumnKind, str]:
    if _all_iso(values):
        return ColumnKind.DATE, "text of ISO dates"
    if distinct == len(values) and distinct > 2:
        return ColumnKind.ID, "text, every value distinct"
    if distinct > 20 and distinct > len(values) / 2:
        return ColumnKind.TEXT, f"text, {distinct} values in {len(values)} rows"
    return ColumnKind.CATEGORY, f"text, {distinct} values"


def _all_iso(values: pl.Series) -> bool:
    return all(parse_iso(part).null_count() == 0 for part in (values.head(50), values))


def _named_like_id(name: str) -> bool:
    words = name.strip().lower().replace("-", "_").replace(" ", "_").replace(":", "").split("_")
    if name.strip() == "" or name.endswith(("Id", "ID")):
        return True
    return words[-1] in ("id", "ids", "index", "key", "uuid", "rowid", "rownames", "nr", "no") or words[0] == "unnamed"


def type_columns(
    frame: pl.DataFrame,
    *,
    target: str | None = None,
    types: Mapping[str, str] | None = None,
    drop: Iterable[str] = (),
    where: str = "",
) -> list[Column]:
    """Type every column but the target; the user's own word goes first.

    Parameters
    ----------
    frame : polars.DataFrame
    target : str, optional
        Left out.
    types : mapping of str to str, optional
        Column name to ``number``, ``category``, ``date`` or ``drop``.
    drop : iterable of str, optional
        Columns to leave out.
    where : str, optional
        What messages call the table.

    Raises
    ------
    TableError
        A name that is not a column, a type that is not known or cannot be, the target named among them.

    Returns
    -------
    list of Column
        In the table's order.
    """
    asked = {nfc(name): kind for name, kind in {**dict.fromkeys(drop, "drop"), **(types or {})}.items()}
    for name, kind in asked.items():
        if name not in frame.columns:
            raise TableError(f"no column {name!r}", where=where, todo=nearest(name, frame.columns))
        if name == target:
            raise TableError(f"column {name!r} is the target, it is not typed or dropped", where=where)
        if kind not in ("number", "category", "date", "drop"):
            raise TableError(f"no column type {kind!r}", todo="There are: number, category, date, drop.")
    return [_asked(s, asked[s.name], where) if s.name in asked else type_column(s) for s in frame if s.name != target]


def _asked(series: pl.Series, kind: str, where: str) -> Column:
    if kind == "drop":
        return Column(series.name, ColumnKind.DROPPED, "you asked for it", series.null_count())
    if isinstance(series.dtype, NESTED):
        raise TableError(f"column {series.name!r} holds {series.dtype} values, it cannot be a {kind}", where=where)
    if series.null_count() == len(series):
        raise TableError(f"column {series.name!r} is all missing, it cannot be a {kind}", where=where)
    if kind == "category" and category_text(series).drop_nulls().n_unique() < 2 and not series.null_count():
        return Column(series.name, ColumnKind.CONSTANT, f"always {series[0]}")
    return Column(series.name, ColumnKind(kind), "you asked for it", series.null_count())
