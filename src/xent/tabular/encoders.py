"""One column to one block of raw features: numbers, categories, dates.

Each encoder is fitted on a training series and has a ``width`` (how many raw features it makes), their
``feature_names``, ``indicators`` (which of them are 0/1), ``write(series, out, report, where)`` and ``to_json()``.
``write`` fills ``out``, an array of shape (rows, width) that comes as zeros; NaN in it means "as the training mean".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import polars as pl

from .values import category_text, to_datetime, to_number

_DAY = 86_400_000_000  # microseconds


class Report(Protocol):
    """Where an encoder notes what it met; see :class:`xent.tabular.preprocess.TransformReport`."""

    unseen: dict[str, int]
    examples: dict[str, list[str]]
    missing: dict[str, int]


@dataclass(frozen=True)
class NumberEncoder:
    """A number, its median for the missing ones, and a 0/1 column where some were missing in training."""

    name: str
    median: float
    gaps: bool
    kind: ClassVar[str] = "number"

    @classmethod
    def fit(cls, series: pl.Series) -> NumberEncoder:
        """Learn the median; infinite numbers and text are errors."""
        values = to_number(series)
        return cls(series.name, _median(values), bool(np.isnan(values).any()))

    @property
    def width(self) -> int:
        """One, or two with gaps."""
        return 1 + self.gaps

    @property
    def feature_names(self) -> list[str]:
        """The column's name, and "... missing"."""
        return [self.name, f"{self.name} missing"][: self.width]

    @property
    def indicators(self) -> list[bool]:
        """Only the gaps."""
        return [False, True][: self.width]

    def write(self, series: pl.Series, out: np.ndarray, report: Report, where: str) -> None:
        """See the module."""
        values = to_number(series, where=where)
        _fill(self.name, values, self.median, self.gaps, out, report)

    def to_json(self) -> dict[str, Any]:
        """See the module."""
        return {"kind": self.kind, "name": self.name, "median": self.median, "gaps": self.gaps}


@dataclass(frozen=True)
class CategoryEncoder:
    """One 0/1 column a level; "other" and missing are levels where training had them."""

    name: str
    levels: tuple[str, ...]
    other: bool
    gaps: bool
    boolean: bool = False
    kind: ClassVar[str] = "category"

    @classmethod
    def fit(cls, series: pl.Series, min_category: int, max_levels: int) -> CategoryEncoder:
        """Learn the levels, commonest first; ties in the order of their text."""
        text = category_text(series)
        if series.dtype == pl.Boolean and text.drop_nulls().n_unique() == 2:
            return cls(series.name, ("false", "true"), False, series.null_count() > 0, True)
        counts = text.drop_nulls().value_counts().sort(["count", text.name], descending=[True, False])
        levels = counts.filter(counts["count"] >= min_category)[text.name].to_list()[:max_levels]
        other = len(levels) < counts.height
        return cls(series.name, tuple(levels), other, series.null_count() > 0, series.dtype == pl.Boolean)

    @property
    def width(self) -> int:
        """One a level; two levels without gaps need only one."""
        return 1 if self._binary else len(self.levels) + self.other + self.gaps

    @property
    def _binary(self) -> bool:
        return len(self.levels) == 2 and not self.other and not self.gaps

    @property
    def feature_names(self) -> list[str]:
        """``column=level``, "column other", "column missing"."""
        levels = self.levels[1:] if self._binary else self.levels
        names = [f"{self.name}={level}" for level in levels]
        return names + [f"{self.name} other"] * self.other + [f"{self.name} missing"] * self.gaps

    @property
    def indicators(self) -> list[bool]:
        """All."""
        return [True] * self.width

    def write(self, series: pl.Series, out: np.ndarray, report: Report, where: str) -> None:
        """See the module. A level never seen is "other" if there is one, else NaN: the training mean."""
        text = category_text(series)
        if self.boolean and series.dtype == pl.String:
            text = text.str.to_lowercase()
        codes = text.cast(pl.Enum(self.levels), strict=False).to_physical().cast(pl.Int64)
        code = codes.fill_null(-1).to_numpy()
        gap = series.is_null().to_numpy()
        rows = np.flatnonzero(code >= 0)
        if self._binary:
            out[rows, 0] = code[rows]
        else:
            out[rows, code[rows]] = 1.0
        unseen = (code < 0) & ~gap
        if self.other:
            out[unseen, len(self.levels)] = 1.0
        else:
            out[unseen] = np.nan
        if self.gaps:
            out[gap, len(self.levels) + self.other] = 1.0
        elif gap.any():
            out[gap] = np.nan
            report.missing[self.name] = int(gap.sum())
        if unseen.any():
            report.unseen[self.name] = int(unseen.sum())
            report.examples[self.name] = text.filter(pl.Series(unseen)).unique(maintain_order=True).head(3).to_list()

    def to_json(self) -> dict[str, Any]:
        """See the module."""
        return {
            "kind": self.kind,
            "name": self.name,
            "levels": list(self.levels),
            "other": self.other,
            "gaps": self.gaps,
            "boolean": self.boolean,
        }


_PARTS = {"month": 12, "weekday": 7, "hour": 24}


@dataclass(frozen=True)
class DateEncoder:
    """Days since 1970-01-01, and month (1-12), weekday (1-7, Monday first), hour (0-23) where they varied."""

    name: str
    median: float
    gaps: bool
    parts: tuple[str, ...]
    kind: ClassVar[str] = "date"

    @classmethod
    def fit(cls, series: pl.Series) -> DateEncoder:
        """Learn the median day and which parts vary."""
        when = to_datetime(series)
        parts = tuple(p for p in _PARTS if _part(when, p).drop_nulls().n_unique() > 1)
        return cls(series.name, _median(_days(when)), when.null_count() > 0, parts)

    @property
    def width(self) -> int:
        """One for the day, one for gaps, and one for each month, weekday, hour."""
        return 1 + self.gaps + sum(_PARTS[p] for p in self.parts)

    @property
    def feature_names(self) -> list[str]:
        """``column``, "column missing", ``column month=1``, ..."""
        names = [self.name, f"{self.name} missing"][: 1 + self.gaps]
        for part in self.parts:
            first = 0 if part == "hour" else 1
            names += [f"{self.name} {part}={i}" for i in range(first, first + _PARTS[part])]
        return names

    @property
    def indicators(self) -> list[bool]:
        """All but the day."""
        return [False] + [True] * (self.width - 1)

    def write(self, series: pl.Series, out: np.ndarray, report: Report, where: str) -> None:
        """See the module. The parts of a missing date are NaN: the training mean."""
        when = to_datetime(series, where=where)
        _fill(self.name, _days(when), self.median, self.gaps, out, report)
        gap = when.is_null().to_numpy()
        rows = np.flatnonzero(~gap)
        start = 1 + self.gaps
        for part in self.parts:
            code = _part(when, part).cast(pl.Int64).fill_null(0).to_numpy() - (part != "hour")
            out[rows, start + code[rows]] = 1.0
            out[gap, start : start + _PARTS[part]] = np.nan
            start += _PARTS[part]

    def to_json(self) -> dict[str, Any]:
        """See the module."""
        return {
            "kind": self.kind,
            "name": self.name,
            "median": self.median,
            "gaps": self.gaps,
            "parts": list(self.parts),
        }


Encoder = NumberEncoder | CategoryEncoder | DateEncoder


def encoder_from_json(document: Any) -> Encoder:
    """Build an encoder again; a ``ValueError`` says what is wrong with a document that none wrote."""
    kind = _field(document, "kind", str)
    name, gaps = _field(document, "name", str), _field(document, "gaps", bool)
    if kind == "category":
        levels = _field(document, "levels", list)
        if not all(isinstance(v, str) for v in levels) or len(set(levels)) != len(levels):
            raise ValueError(f"the levels of {name!r} are not distinct texts")
        return CategoryEncoder(
            name, tuple(levels), _field(document, "other", bool), gaps, _field(document, "boolean", bool)
        )
    median = _field(document, "median", float)
    if not math.isfinite(median):
        raise ValueError(f"the median of {name!r} is not finite")
    if kind == "number":
        return NumberEncoder(name, median, gaps)
    if kind == "date":
        parts = _field(document, "parts", list)
        if any(p not in _PARTS for p in parts) or len(set(parts)) != len(parts):
            raise ValueError(f"the date parts of {name!r} are not known")
        return DateEncoder(name, median, gaps, tuple(parts))
    raise ValueError(f"column kind {kind!r} is not known")


def _field(document: Any, key: str, kind: type) -> Any:
    if not isinstance(document, dict) or type(document.get(key)) is not kind:
        raise ValueError(f"a column's field {key!r} is not there or is not {kind.__name__}")
    return document[key]


def _median(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    # Halves before the sum: two numbers near the end of the range do not overflow.
    if not known.size:
        return 0.0
    middle = np.partition(known, [(known.size - 1) // 2, known.size // 2])
    return float(middle[(known.size - 1) // 2] / 2 + middle[known.size // 2] / 2)


def _fill(name: str, values: np.ndarray, median: float, gaps: bool, out: np.ndarray, report: Report) -> None:
    gap = np.isnan(values)
    out[:, 0] = np.where(gap, median, values)
    if gaps:
        out[:, 1] = gap
    elif gap.any():
        report.missing[name] = int(gap.sum())


def _days(when: pl.Series) -> np.ndarray:
    return when.to_physical().cast(pl.Float64).to_numpy() / _DAY


def _part(when: pl.Series, part: str) -> pl.Series:
    if part == "month":
        return when.dt.month()
    return when.dt.weekday() if part == "weekday" else when.dt.hour()
