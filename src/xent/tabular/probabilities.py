"""Columns of probabilities, log-probabilities and logits as numbers, each checked for what it says it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from .errors import TableError, count
from .values import to_number

SUM_TOLERANCE = 1e-5
"""How far from one the probabilities of a row may sum: what rounding to float32 or to six decimals leaves."""

PLAIN, LOG = "probabilities", "log"


def are_logarithms(columns: Sequence[pl.Series]) -> bool:
    """Whether no number is above 0 and some are below it: logarithms of probabilities, and nothing else."""
    below = False
    for series in columns:
        if not series.dtype.is_numeric():
            return False
        largest: Any = series.max()
        if largest is None or largest > 0:
            return False
        smallest: Any = series.min()
        below = below or smallest < 0
    return below


def logarithm(series: pl.Series, where: str, rows: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """Read a column of log-probabilities: known, not above 0; -inf is one."""
    x = _numbers(series, where)
    _refuse(series.name, np.isnan(x), "missing or NaN", where, rows, x, "")
    _refuse(series.name, x > SUM_TOLERANCE, "above 0", where, rows, x, "Logarithms of probabilities are not.")
    return np.minimum(x, 0.0)


def logit(series: pl.Series, where: str, rows: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """Read a column of logits: known; -inf is a class that is masked."""
    x = _numbers(series, where)
    _refuse(series.name, np.isnan(x) | (x == np.inf), "missing, NaN or +inf", where, rows, x, "")
    return x


def _numbers(series: pl.Series, where: str) -> np.ndarray:
    """Numbers, -inf among them."""
    if not series.dtype.is_float():
        return to_number(series, where=where, todo="")
    return np.asarray(series.cast(pl.Float64).to_numpy(), dtype=np.float64)


def check_logarithms(matrix: np.ndarray, where: str, rows: np.ndarray) -> None:
    """Refuse rows whose exponentials do not sum to one."""
    sums = np.exp(matrix).sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > SUM_TOLERANCE)
    if off.size:
        raise TableError(
            f"the exponentials of the log-probabilities do not sum to one in {count(off.size, 'row')}, the first is "
            f"row {rows[off[0]] + 1} with a sum of {sums[off[0]]:.9g}",
            where=where,
            todo="Are they logits? Say so with --kind logits.",
        )


_LOGITS = "Are they logits or logarithms? Say so with --kind logits or --kind log."
_ABOVE = "Are they percents? One column a class, --normalize takes those. Are they logits? Say so: --kind logits."
PERCENT = 100.0


def probability(series: pl.Series, where: str, rows: np.ndarray, unit: float = 1.0) -> np.ndarray:
    """Read a column of probabilities, each known and between 0 and ``unit``, as parts of it."""
    p = to_number(series, where=where, todo="")
    p = p / unit if unit != 1.0 else p
    if not (p.min() >= 0 and p.max() <= 1 + SUM_TOLERANCE):  # NaN is neither
        _refuse(series.name, np.isnan(p), "missing or NaN", where, rows, p, "")
        _refuse(series.name, p < 0, "negative", where, rows, p, _LOGITS)
        _refuse(series.name, p > 1 + SUM_TOLERANCE, "above one", where, rows, p, _ABOVE)
    return np.minimum(p, 1.0)  # rounding may leave 1.0000001


def _refuse(name: str, bad: np.ndarray, what: str, where: str, rows: np.ndarray, values: np.ndarray, todo: str) -> None:
    if not bad.any():
        return
    at = int(np.flatnonzero(bad)[0])
    value = "" if np.isnan(values[at]) else f" ({values[at]:.6g})"
    raise TableError(
        f"column {name!r} is {what} in {count(int(bad.sum()), 'row')}, the first in row {rows[at] + 1}{value}",
        where=where,
        todo=todo,
    )


def are_percents(columns: Sequence[pl.Series]) -> bool:
    """Whether every row sums to a hundred, give or take what rounding to whole percents leaves."""
    sums = np.sum([to_number(c, todo="") for c in columns], axis=0)
    return bool(np.all(np.abs(sums - PERCENT) <= 0.5 * len(columns)))


def sum_to_one(matrix: np.ndarray, normalize: bool, rows: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
    """Refuse rows that do not sum to one, or divide them by their sums."""
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
