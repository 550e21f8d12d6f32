"""Pairs to be verified, from tables and arrays."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ..evaluate import Verification, verify, verify_embeddings
from ..evaluate.blocks import embedding_intervals
from ..evaluate.pairs import (
    MOST_PAIRS,
    DetCurve,
    VerificationIntervals,
    det_curve,
    det_of,
    embedding_pairs,
    verify_intervals,
)
from ..evaluate.verification import embedding_points, figures_of
from .errors import TableError, count
from .read import read_table
from .values import category_text, to_number


@dataclass(frozen=True)
class Pairs:
    """Scored pairs, or embeddings whose pairs are meant.

    Attributes
    ----------
    scores, same : arrays (pairs,) or None
    subjects : two arrays (pairs,) or None
    embeddings, labels : arrays (rows, D) and (rows,), or None
    """

    scores: Any = None
    same: Any = None
    subjects: Any = None
    embeddings: Any = None
    labels: Any = None


def read_pairs(
    file: str,
    score: str,
    same: str,
    subjects: Sequence[str] | None = None,
    embedding: str | None = None,
    label: str | None = None,
    *,
    missing: Sequence[str] = (),
) -> tuple[Pairs, list[str]]:
    """Read pairs from a table, or embeddings from a table or a .npz file.

    Raises
    ------
    TableError
        Columns or arrays that are not there, are missing values, or hold something else.
    """
    if file.lower().endswith(".npz"):
        return _read_npz(file), []
    text = [label] if label is not None else list(subjects or ())
    table = read_table(file, missing=missing, text_columns=[t for t in text if t])
    if embedding is not None and label is not None:
        lists, labels = table.require(embedding), category_text(table.require(label))
        for series in (lists, labels):
            _complete(series, table.name)
        if not isinstance(lists.dtype, (pl.List, pl.Array)):
            raise TableError(f"column {embedding!r} holds {lists.dtype} values, not lists of numbers", where=table.name)
        rows = lists.to_list()
        if len({len(r) for r in rows}) > 1:
            raise TableError(f"the lists of {embedding!r} are not all of one length", where=table.name)
        try:
            x = np.array(rows, dtype=np.float64)
        except (TypeError, ValueError):
            raise TableError(f"the lists of {embedding!r} do not hold numbers alone", where=table.name) from None
        return Pairs(embeddings=x, labels=labels.to_numpy().astype(np.str_)), list(table.notes)
    scores, marks = table.require(score), table.require(same)
    for series in (scores, marks):
        _complete(series, table.name)
    values = to_number(scores, where=table.name, todo="")
    known = {"0": 0, "1": 1, "false": 0, "true": 1}
    flags = category_text(marks).str.to_lowercase().replace_strict(known, default=None, return_dtype=pl.Int64)
    if flags.null_count():
        bad = marks.gather([int(flags.is_null().arg_true()[0])])[0]
        raise TableError(f"column {same!r} holds {bad!r}; it must hold 0 and 1, or false and true", where=table.name)
    sides = None
    if subjects:
        columns = [category_text(table.require(s)) for s in subjects]
        for series in columns:
            _complete(series, table.name)
        sides = tuple(c.to_numpy().astype(np.str_) for c in columns)
    return Pairs(scores=values, same=flags.to_numpy(), subjects=sides), list(table.notes)


def _complete(series: pl.Series, where: str) -> None:
    if series.null_count():
        raise TableError(f"{series.name!r} is missing in {count(series.null_count(), 'row')}", where=where)


def _read_npz(file: str) -> Pairs:
    if not Path(file).is_file():
        raise TableError(f"no such file: {file!r}")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            lost = [n for n in ("embeddings", "labels") if n not in arrays.files]
            if lost:
                raise TableError(f"no array {lost[0]!r}; there are {', '.join(arrays.files) or 'none'}", where=file)
            return Pairs(embeddings=arrays["embeddings"], labels=arrays["labels"])
    except (OSError, zipfile.BadZipFile) as error:
        raise TableError(f"this is no .npz file ({error})", where=file) from None
    except ValueError as error:
        if isinstance(error, TableError):
            raise
        raise TableError(f"its arrays cannot be read without running code ({error})", where=file) from None


def judge(
    pairs: Pairs, far: Sequence[float], *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> tuple[Verification, VerificationIntervals, pl.DataFrame]:
    """Figures, intervals (of many pairs of embeddings from their counts), and up to 500 points of the DET curve."""
    scores, same, subjects = pairs.scores, pairs.same, pairs.subjects
    options: dict[str, Any] = {"far": tuple(far), "level": level, "resamples": resamples, "seed": seed}
    if pairs.embeddings is not None:
        rows = len(pairs.labels)
        if rows * (rows - 1) // 2 > MOST_PAIRS:
            points = embedding_points(pairs.embeddings, pairs.labels)
            found = figures_of(*points, tuple(far))
            return found, embedding_intervals(pairs.embeddings, pairs.labels, **options), _table(det_of(*points))
        result = verify_embeddings(pairs.embeddings, pairs.labels, far=far)
        scores, same, first, second = embedding_pairs(pairs.embeddings, pairs.labels)
        subjects = (first, second)
    else:
        result = verify(scores, same, far=far)
    intervals = verify_intervals(scores, same, subjects=subjects, **options)
    return result, intervals, _table(det_curve(scores, same))


def _table(curve: DetCurve) -> pl.DataFrame:
    thin = curve.thinned(500)
    return pl.DataFrame({"threshold": thin.thresholds, "far": thin.far, "frr": thin.frr})
