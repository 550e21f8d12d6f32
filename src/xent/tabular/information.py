"""Entropy and mutual information of a table's columns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from ..info import conditional_entropy, entropy, joint_entropy, mutual_information
from .errors import TableError, count
from .read import Table
from .values import NESTED, category_text, to_number

BIN_BEYOND = 20
"""A column of numbers or dates with more distinct values than this is binned."""


@dataclass(frozen=True)
class ColumnInformation:
    """One column, in nats.

    ``values`` counts the distinct values or bins, missing among them; ``perplexity`` is exp(entropy): the number of
    equally likely values with that entropy. ``bins`` holds the inner bin edges, where there are any.
    """

    name: str
    entropy: float
    perplexity: float
    values: int
    missing: int
    bins: list[float] | None = None


@dataclass(frozen=True)
class PairInformation:
    """Two columns, X and Y, in nats.

    Attributes
    ----------
    joint, x_given_y, y_given_x, mutual : float
        H(X,Y), H(X|Y), H(Y|X), I(X;Y).
    normalized : float
        2 I / (H(X) + H(Y)), from 0 to 1; NaN where both entropies are zero.
    by_chance : float
        What the mutual information of so many rows would come to, about, if the columns had nothing to do with each
        other: (values of X - 1)(values of Y - 1) / (2 rows).
    """

    joint: float
    x_given_y: float
    y_given_x: float
    mutual: float
    normalized: float
    by_chance: float


@dataclass(frozen=True)
class Information:
    """One or two columns of ``rows`` rows; ``pair`` is None for one."""

    rows: int
    columns: list[ColumnInformation]
    pair: PairInformation | None = None
    notes: list[str] = field(default_factory=list)


def column_information(
    table: Table, columns: tuple[str, ...], *, bins: int = 10, drop_missing: bool = False
) -> Information:
    """Measure the entropy of one column, or of two and what they say of each other.

    The figures are those of the empirical distribution. Missing is a value of its own unless ``drop_missing``. A
    column of more than 20 distinct numbers or dates is cut at its quantiles into ``bins`` bins of about equally many
    rows; with ``bins=0`` every number is a value of its own.

    Raises
    ------
    TableError
        No such column, one that holds lists or structures, infinite numbers to be binned, no rows left.
    """
    if not 1 <= len(columns) <= 2:
        raise TableError(f"one or two columns are measured at a time, not {len(columns)}")
    if bins < 0 or bins == 1:
        raise TableError(f"bins must be 0 (none) or at least 2, not {bins}")
    found = [table.require(name) for name in columns]
    # Not frame.select: to polars "*" and "^...$" are patterns.
    frame, notes = pl.DataFrame({s.name: s for s in found}), list(table.notes)
    missing = {s.name: s.null_count() for s in frame}
    if drop_missing and any(missing.values()):
        before = frame.height
        frame = frame.drop_nulls()
        notes.append(f"{count(before - frame.height, 'row')} with missing values left out")
        missing = dict.fromkeys(missing, 0)
    if not frame.height:
        raise TableError("no rows are left without missing values", where=table.name)
    coded, parts = [], []
    for name in [s.name for s in found]:
        codes, edges = _codes(frame.get_column(name), bins, table.name)
        if edges is not None:
            notes.append(f"{name}: numbers cut at quantiles into {len(edges) + 1} bins (--bins)")
        if missing[name]:
            notes.append(f"{name}: missing ({missing[name]}) is a value of its own (--drop-missing leaves it out)")
        counts = np.bincount(codes).astype(np.float64)
        h = float(entropy(counts, kind="counts"))
        coded.append(codes)
        parts.append(ColumnInformation(name, h, math.exp(h), int((counts > 0).sum()), missing[name], edges))
    return Information(frame.height, parts, _pair(parts, coded) if len(parts) == 2 else None, notes)


def _pair(parts: list[ColumnInformation], coded: list[np.ndarray]) -> PairInformation:
    (x, y), (of_x, of_y) = coded, parts
    mutual = float(mutual_information(x, y, kind="samples"))
    total = of_x.entropy + of_y.entropy
    return PairInformation(
        joint=float(joint_entropy(x, y, kind="samples")),
        x_given_y=float(conditional_entropy(x, y, kind="samples")),
        y_given_x=float(conditional_entropy(y, x, kind="samples")),
        mutual=mutual,
        normalized=min(1.0, 2 * mutual / total) if total > 0 else math.nan,
        by_chance=(of_x.values - 1) * (of_y.values - 1) / (2 * len(x)),
    )


def _codes(series: pl.Series, bins: int, where: str) -> tuple[np.ndarray, list[float] | None]:
    """Number the values of a column; cut numbers of many values into bins. Returns codes and inner edges."""
    dtype = series.dtype
    if isinstance(dtype, NESTED):
        raise TableError(f"column {series.name!r} holds {dtype} values, which are not measured", where=where)
    number = dtype.is_numeric() or dtype.is_temporal()
    if bins and number and series.drop_nulls().n_unique() > max(BIN_BEYOND, bins):
        values = to_number(series if dtype.is_numeric() else series.to_physical(), where=where)
        known = values[~np.isnan(values)]
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1]))
        edges = edges[edges > known.min()]  # an edge at the least value would leave an empty bin below it
        codes = np.digitize(values, edges)
        codes[np.isnan(values)] = len(edges) + 1
        return codes, [float(e) for e in edges]
    text = category_text(series)
    return text.rank("dense").fill_null(0).cast(pl.Int64).to_numpy(), None
