"""From typed columns to a float64 matrix, with what was learnt in training applied unchanged at prediction.

A number becomes itself and, if some were missing in training, a 0/1 column "missing"; a missing one is the training
median. A date becomes the days since 1970-01-01 (UTC, with the fraction of the day) and, where they vary in training,
its month, weekday and hour as categories. A category becomes one 0/1 column a level: levels seen fewer than
``min_category`` times, and all beyond the ``max_levels`` commonest, share the level "other"; missing is a level where
it was seen in training.

Numbers and days are centred and divided by their training standard deviation, so that one penalty fits all. The 0/1
columns are centred and not divided: the deviation of a rare level is small, and dividing by it would let the penalty go
easy on just those levels of which least is known. Measured over nine tables with categories (penguins, cars, weather,
drawn ones; three or four splits each, C tuned for each variant), the held-out cross-entropies sum to 3.78 nats this
way, to 3.93 with all columns standardised, and to 3.79 with the 0/1 columns divided by one half.

Columns without variation are dropped. A level never seen in training becomes zeros of the *centred* matrix: such a row
is scored at the training mean of that category, which is what not knowing means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl

from .encoders import CategoryEncoder, DateEncoder, Encoder, NumberEncoder, encoder_from_json
from .errors import TableError, count, nearest, some
from .schema import MAX_LEVELS, Column, ColumnKind


@dataclass
class TransformReport:
    """What happened to a table on its way to the matrix: counts by column."""

    unseen: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    reordered: bool = False

    def lines(self) -> list[str]:
        """One sentence a fact, for people."""
        out = []
        if self.ignored:
            out.append(f"{count(len(self.ignored), 'column')} the model does not use, ignored: {some(self.ignored)}")
        if self.reordered:
            out.append("the columns stand in another order than in training; they were matched by name")
        for name, n in self.unseen.items():
            values = ", ".join(repr(v) for v in self.examples[name])
            out.append(f"{name}: {count(n, 'row')} with a value training had not, or too rarely ({values})")
        for name, n in self.missing.items():
            out.append(f"{name}: {count(n, 'missing value')} filled in (none was missing in training)")
        return out


@dataclass(frozen=True)
class Preprocessor:
    """A fitted way from a table to a matrix of shape (rows, features).

    Attributes
    ----------
    encoders : tuple of Encoder
        One a column, in training order; each makes one or more raw columns.
    keep : int64 array
        Which raw columns are features of the matrix.
    mean, scale : float64 arrays, one value a feature
        The features are ``(raw - mean) / scale``; the scale of 0/1 features is 1.
    """

    encoders: tuple[Encoder, ...]
    keep: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(
        cls, frame: pl.DataFrame, columns: Sequence[Column], *, min_category: int = 2, max_levels: int = MAX_LEVELS
    ) -> Preprocessor:
        """Learn medians, levels, means and scales from the training rows."""
        return cls.fit_transform(frame, columns, min_category=min_category, max_levels=max_levels)[0]

    @classmethod
    def fit_transform(
        cls, frame: pl.DataFrame, columns: Sequence[Column], *, min_category: int = 2, max_levels: int = MAX_LEVELS
    ) -> tuple[Preprocessor, np.ndarray]:
        """Learn from the training rows and return their matrix too, shape (rows, features)."""
        encoders: list[Encoder] = []
        for column in columns:
            series = frame.get_column(column.name)
            if column.kind == ColumnKind.NUMBER:
                encoders.append(NumberEncoder.fit(series))
            elif column.kind == ColumnKind.DATE:
                encoders.append(DateEncoder.fit(series))
            elif column.kind == ColumnKind.CATEGORY:
                encoders.append(CategoryEncoder.fit(series, min_category, max_levels))
        raw = _raw(encoders, frame, TransformReport(), "")
        keep = np.array([j for j in range(raw.shape[1]) if _varies(raw[:, j])], dtype=np.int64)
        moments = np.array([_mean_and_scale(raw[:, j]) for j in keep]).reshape(-1, 2)
        indicator = np.array([flag for e in encoders for flag in e.indicators], dtype=bool)[keep]
        scale = np.where(indicator, 1.0, moments[:, 1])
        fitted = cls(tuple(encoders), keep, moments[:, 0].copy(), scale)
        return fitted, fitted._standardise(raw)

    def transform(self, frame: pl.DataFrame, *, where: str = "") -> tuple[np.ndarray, TransformReport]:
        """Make the matrix of a table, shape (rows, features), and a report.

        Columns are found by name; those not needed are ignored.

        Raises
        ------
        TableError
            A needed column that is not there, a value that cannot be read as what its column is, an infinite number.
        """
        needed = self.needed
        lost = [name for name in needed if name not in frame.columns]
        if lost:
            beside = [c for c in frame.columns if c not in needed]
            is_are = "column the model needs is" if len(lost) == 1 else "columns the model needs are"
            raise TableError(
                f"{len(lost)} {is_are} not there: {some(lost)}", where=where, todo=nearest(lost[0], beside)
            )
        order = [c for c in frame.columns if c in needed]
        report = TransformReport(ignored=[c for c in frame.columns if c not in needed], reordered=order != needed)
        return self._standardise(_raw(self.encoders, frame, report, where, self._used)), report

    @property
    def names(self) -> list[str]:
        """The features' names: ``bill_length_mm``, ``island=Dream``, ``bill_length_mm missing``, ..."""
        raw = [name for encoder in self.encoders for name in encoder.feature_names]
        return [raw[j] for j in self.keep]

    @property
    def needed(self) -> list[str]:
        """The columns a table must have: those with at least one feature."""
        return [e.name for e, used in zip(self.encoders, self._used, strict=True) if used]

    @property
    def _used(self) -> list[bool]:
        ends = np.cumsum([0, *(e.width for e in self.encoders)])
        return [bool(np.any((self.keep >= a) & (self.keep < b))) for a, b in pairwise(ends)]

    def select(self, features: np.ndarray) -> Preprocessor:
        """Keep only some features, given by their place in the matrix."""
        return replace(self, keep=self.keep[features], mean=self.mean[features], scale=self.scale[features])

    def _standardise(self, raw: np.ndarray) -> np.ndarray:
        # A copy of the kept columns, then in place: the raw matrix may be the largest thing there is.
        out = raw if len(self.keep) == raw.shape[1] else np.take(raw, self.keep, axis=1)  # stays in row order
        mean, scale = self.mean, self.scale
        if np.abs(mean).max(initial=0.0) > 1e300:  # halves, so that the difference of two numbers does not overflow
            out, mean, scale = out * 0.5, mean * 0.5, scale * 0.5
        with np.errstate(over="ignore"):
            out -= mean
            out /= scale
        # A number beyond anything trained on stays finite, and its products with the coefficients do.
        np.clip(out, -1e100, 1e100, out=out)
        out[np.isnan(out)] = 0.0  # marks "never seen": the training mean
        return out

    def to_json(self) -> list[dict[str, Any]]:
        """Describe the encoders; the arrays are stored beside them."""
        return [e.to_json() for e in self.encoders]

    @staticmethod
    def encoders_from_json(documents: Any) -> tuple[Encoder, ...]:
        """Read back what :meth:`to_json` wrote; a ``ValueError`` says what is wrong with anything else."""
        if not isinstance(documents, list):
            raise ValueError("the columns are not a list")
        return tuple(encoder_from_json(d) for d in documents)


def _raw(
    encoders: Sequence[Encoder],
    frame: pl.DataFrame,
    report: TransformReport,
    where: str,
    used: Sequence[bool] | None = None,
) -> np.ndarray:
    """Let every encoder write its block; blocks nothing is kept of stay unread."""
    out = np.zeros((frame.height, sum(e.width for e in encoders)))
    start = 0
    for place, encoder in enumerate(encoders):
        if used is None or used[place]:
            encoder.write(frame.get_column(encoder.name), out[:, start : start + encoder.width], report, where)
        start += encoder.width
    return out


def _varies(values: np.ndarray) -> bool:
    known = values[~np.isnan(values)]
    return bool(known.size and known.min() != known.max())


def _mean_and_scale(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (of the population), without overflow for numbers near the end of the range."""
    unit = float(np.nanmax(np.abs(values)))
    with np.errstate(under="ignore"):
        scaled = values / unit
        mean, scale = float(np.nanmean(scaled)), float(np.nanstd(scaled))
    return mean * unit, scale * unit if scale * unit > 0 else unit
