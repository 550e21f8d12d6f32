"""Training a classifier on a table: type, split, tune, fit, judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from .. import __version__
from ..evaluate import Figures, figures, prior_cross_entropy
from .classifier import TableClassifier, matrix_log_proba
from .errors import TableError, count, some
from .labels import index_labels, label_text, to_classes
from .options import TrainOptions
from .read import Table, uniform
from .report import Held, html
from .schema import Column, ColumnKind, type_columns
from .split import check_folds, split_test
from .tune import GRID, CurvePoint, FitOptions, between, cross_validate, fit_path, out_of_fold, prepare, stopped_early
from .values import to_datetime, to_number

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and of how many."""


@dataclass(frozen=True)
class TrainResult:
    """A classifier and how it came to be.

    Attributes
    ----------
    model : TableClassifier
    evaluation : Figures or None
        Figures of the test part, or with ``test=0`` of the cross-validation; ``source`` says which.
    source : str
        ``"test"`` or ``"cross-validation"``.
    prior_cross_entropy : float
        In nats: what always predicting the training labels' shares costs on the same rows.
    curve : list of CurvePoint
        The cross-validated cross-entropy of each C; empty where C was fixed.
    columns : list of Column
    rows : dict
        How many in all, for training and for the test.
    seconds : dict
        Of each part of the work.
    notes : list of str
        What was done that the user may want to know.
    held : Held or None
        What `to_html` needs; None where it was not asked for.
    """

    model: TableClassifier
    evaluation: Figures
    source: str
    prior_cross_entropy: float
    curve: list[CurvePoint]
    columns: list[Column]
    rows: dict[str, int]
    seconds: dict[str, float]
    notes: list[str]
    held: Held | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything but the coefficients, for JSON: ``rows`` counts those judged, ``split`` those of each part."""
        return {
            "target": self.model.target,
            "class_names": self.model.class_names,
            "split": self.rows,
            "features": len(self.model.preprocessor.keep),
            "c": self.model.penalty_c,
            "source": self.source,
            **self.evaluation.to_dict(),
            "prior_cross_entropy": self.prior_cross_entropy,
            "curve": [asdict(p) for p in self.curve],
            "columns": [{**asdict(c), "kind": str(c.kind), "used": c.kind.used} for c in self.columns],
            "seconds": self.seconds,
            "notes": self.notes,
        }

    def to_html(self, table: str = "a table") -> str:
        """Return the report on the judged rows with the model's own pages, as one web page; `table` is its name.

        Raises
        ------
        ValueError
            It was trained without ``TrainOptions(report=True)``.
        """
        if self.held is None:
            raise ValueError("train with TrainOptions(report=True), which keeps what the report needs")
        return html(self, self.held, table)


def train(
    table: Table | pl.DataFrame, target: str, options: TrainOptions | None = None, *, progress: Progress | None = None
) -> TrainResult:
    """Train, tune and judge a classifier of the ``target`` column by all the others.

    Parameters
    ----------
    table : Table or polars.DataFrame
    target : str
        A column of labels: numbers, text, booleans or dates.
    options : TrainOptions, optional
    progress : callable, optional
        See :data:`Progress`.

    Returns
    -------
    TrainResult

    Raises
    ------
    TableError
        No such column; labels missing; fewer than two classes; a class too small for the folds; a column all missing;
        infinite numbers; nothing to learn from.

    Examples
    --------
    >>> result = train(read_table("iris"), "species")  # doctest: +SKIP
    >>> result.evaluation.cross_entropy  # nats  # doctest: +SKIP
    """
    options = options or TrainOptions()
    if not isinstance(table, Table):
        notes: list[str] = []
        frame = uniform(table, (), notes, "table")
        table = Table(frame, "table", "table", tuple(notes))
    job = _Job(table, target, options, progress or (lambda what, done, total: None))
    return job.run()


class _Job:
    """One training, step by step; the attributes are what one step leaves for the next."""

    def __init__(self, table: Table, target: str, options: TrainOptions, progress: Progress) -> None:
        self.table, self.target, self.options, self.progress = table, target, options, progress
        self.notes: list[str] = list(table.notes)
        self.seconds: dict[str, float] = {}
        self.fit_options = FitOptions(options.min_category, options.max_levels, options.select, options.seed)

    def run(self) -> TrainResult:
        self._timed("prepare", self._labels, self._columns, self._split)
        self._timed("tune", self._tune)
        self._timed("fit", self._fit)
        self._timed("evaluate", self._evaluate)
        self._describe()
        rows = {"all": len(self.index), "train": len(self.train), "test": len(self.test)}
        return TrainResult(
            model=self.model,
            evaluation=self.evaluation,
            source=self.source,
            prior_cross_entropy=self.prior,
            curve=self.curve,
            columns=self.columns,
            rows=rows,
            seconds=self.seconds,
            notes=self.notes,
            held=Held(*self.judged, *self.fitted) if self.options.report else None,
        )

    def _timed(self, name: str, *steps: Callable[[], None]) -> None:
        start = time.perf_counter()
        for step in steps:
            step()
        self.seconds[name] = time.perf_counter() - start

    def _labels(self) -> None:
        series = self.table.require(self.target)
        self.target = series.name
        frame, where = self.table.frame, self.table.name
        self.places = np.arange(frame.height)
        missing = series.null_count()
        if missing == len(series):
            raise TableError(f"the target {self.target!r} is all missing", where=where)
        if missing and not self.options.drop_missing:
            raise TableError(
                f"the target {self.target!r} is missing in {missing} of {count(len(series), 'row')}",
                where=where,
                todo="Leave those rows out with --drop-missing.",
            )
        if missing:
            frame = frame.filter(series.is_not_null())
            self.places = np.flatnonzero(series.is_not_null().to_numpy())
            self.notes.append(f"{count(missing, 'row')} without a label left out")
        if self.options.drop_class:
            frame = self._without_classes(frame)
        self.classes, self.label_type, self.index = to_classes(frame.get_column(self.target))
        self.names = [label_text(c) for c in self.classes]
        self.frame = frame
        if len(self.classes) < 2:
            raise TableError(
                f"the target {self.target!r} has one class only, {self.names[0]!r}: there is nothing to tell apart",
                where=where,
            )
        if len(self.classes) > max(2, len(self.index) / 2):
            raise TableError(
                f"the target {self.target!r} has {len(self.classes)} different values in "
                f"{count(len(self.index), 'row')}: that is a measured number or an id, not classes",
                where=where,
            )

    def _without_classes(self, frame: pl.DataFrame) -> pl.DataFrame:
        classes, kind, _ = to_classes(frame.get_column(self.target))
        wanted = index_labels(pl.Series(self.options.drop_class), classes, kind)
        if (wanted < 0).any():
            name = self.options.drop_class[int(np.flatnonzero(wanted < 0)[0])]
            there = some(map(label_text, classes), most=12)
            raise TableError(f"no class {name!r} in {self.target!r}", todo=f"There are: {there}.")
        out = np.isin(index_labels(frame.get_column(self.target), classes, kind), wanted)
        self.notes.append(f"{count(int(out.sum()), 'row')} of the classes {some(self.options.drop_class)} left out")
        if out.all():
            raise TableError("no rows are left once those classes are left out", where=self.table.name)
        self.places = self.places[~out]
        return frame.filter(pl.Series(~out))

    def _columns(self) -> None:
        where = self.table.name
        self.columns = type_columns(
            self.frame, target=self.target, types=self.options.types, drop=self.options.drop, where=where
        )
        empty = [c.name for c in self.columns if c.kind == ColumnKind.EMPTY]
        if empty:
            drop = " ".join(f"--drop {n if n.isidentifier() else repr(n)}" for n in empty[:5])
            noun = "column" if len(empty) == 1 else "columns"
            verb, them = ("is", "it") if len(empty) == 1 else ("are", "them")
            raise TableError(f"{noun} {some(empty)} {verb} all missing", where=where, todo=f"Leave {them} out: {drop}.")
        self.used = [c for c in self.columns if c.kind.used]
        if not self.used:
            why = "; ".join(f"{c.name!r} is {c.kind} ({c.reason})" for c in self.columns[:5])
            raise TableError(
                f"no column is left to learn from: {why or 'there is only the target'}",
                where=where,
                todo="Say what a column is with --type COLUMN=number, category or date." if self.columns else "",
            )
        for column in self.used:  # read once, whole, so that what cannot be read is told with its row of the file
            series = self.table.frame.get_column(column.name)
            if column.kind == ColumnKind.NUMBER:
                drop = f"--drop {series.name if series.name.isidentifier() else repr(series.name)}"
                to_number(series, where=where, todo=f"Mend them, leave them empty, or leave the column out: {drop}.")
            elif column.kind == ColumnKind.DATE:
                to_datetime(series, where=where)
        weak = [c.name for c in self.used if c.missing > len(self.index) / 2]
        if weak:
            self.notes.append(f"more than half missing: {', '.join(weak)}")

    def _split(self) -> None:
        options = self.options
        self.grid = options.grid or GRID
        self.tuned = len(self.grid) > 1
        self.train, self.test = split_test(self.index, options.test, options.seed)
        if options.test and not len(self.test):
            raise TableError(
                f"the test part would be empty: a share of {options.test:g} of {count(len(self.index), 'row')}, "
                "where every class keeps a row for training",
                todo="Use a larger --test, or --test 0.",
            )
        if self.tuned or not options.test:
            total = np.bincount(self.index, minlength=len(self.names))
            check_folds(self.index[self.train], options.folds, self.names, total, tuned=self.tuned)
        if options.test:
            absent = np.flatnonzero(np.bincount(self.index[self.test], minlength=len(self.names)) == 0)
            if absent.size:
                self.notes.append(
                    f"the test part ({count(len(self.test), 'row')}) has none of {some(self.names[k] for k in absent)}"
                )
        self.train_frame = self.frame[self.train]
        extra = options.folds if not options.test else 0
        fits = len(self.grid) + (len(between(GRID, 1)) if options.grid is None else 0)
        self.total = (options.folds * fits if self.tuned else 0) + extra + 1
        self.done = 0

    def _step(self) -> None:
        self.done += 1
        self.progress("cross-validating" if self.done < self.total else "fitting", self.done, self.total)

    def _tune(self) -> None:
        grid = self.grid
        self.progress("cross-validating" if self.total > 1 else "fitting", 0, self.total)
        self.curve: list[CurvePoint] = []
        self.c = grid[0]
        if not self.tuned:
            return
        self.curve = self._measured(grid)
        if self.options.grid is None:
            finer = between(grid, int(np.argmin([p.cross_entropy for p in self.curve])))
            self.total -= self.options.folds * (len(between(GRID, 1)) - len(finer))  # fewer at an end of the grid
            self.curve = sorted(self.curve + self._measured(finer), key=lambda p: p.c)
        self.c = min(self.curve, key=lambda p: p.cross_entropy).c
        best = [p.cross_entropy for p in self.curve]
        if self.c == grid[-1] and best[-2] - best[-1] > 1e-3 * best[-2]:  # not where the end of the curve is flat
            self.notes.append(f"the best C, {self.c:g}, is the largest tried: a weaker penalty may do better (--grid)")
        if self.c == grid[0]:
            self.notes.append(f"the best C, {self.c:g}, is the smallest tried: the columns say little of the target")

    def _measured(self, grid: Sequence[float]) -> list[CurvePoint]:
        index, folds = self.index[self.train], self.options.folds
        return cross_validate(self.train_frame, self.used, index, grid, folds, self.fit_options, self._step)

    def _fit(self) -> None:
        index = self.index[self.train]
        preprocessor, matrix = prepare(self.train_frame, self.used, index, self.fit_options)
        if self.options.select is not None and self.options.select > matrix.shape[1]:
            self.notes.append(f"{self.options.select} features asked for (--select), all {matrix.shape[1]} kept")
        (model,) = fit_path(matrix, index, [self.c], self.fit_options, tol=1e-6)
        self.fitted = (model, matrix, index) if self.options.report else ()
        if stopped_early(model):
            self.notes.append(f"the fit stopped after {model.max_iter} iterations, before its tolerance was reached")
        self.model = TableClassifier(
            self.target,
            self.classes,
            self.label_type,
            preprocessor,
            np.ascontiguousarray(model.coef_, dtype=np.float64),
            np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64)),
            float(self.c),
        )
        self._step()

    def _evaluate(self) -> None:
        train_index = self.index[self.train]
        if self.options.test:
            self.source = "test"
            matrix, report = self.model.preprocessor.transform(self.frame[self.test])
            logs, labels = matrix_log_proba(matrix, self.model.coef, self.model.intercept), self.index[self.test]
            self.notes += [f"in the test part, {line}" for line in report.lines() if "ignored" not in line]
        else:
            self.source = "cross-validation"
            logs = out_of_fold(
                self.train_frame, self.used, train_index, self.c, self.options.folds, self.fit_options, self._step
            )
            labels = train_index
        place = self.test if self.options.test else self.train
        self.judged = (logs, labels, self.places[place], self.frame[place]) if self.options.report else ()
        self.evaluation = figures(logs, labels)
        self.prior = prior_cross_entropy(train_index, labels)

    def _describe(self) -> None:
        """Note what the preprocessing did, and keep the figures with the model."""
        for encoder in self.model.preprocessor.encoders:
            levels = getattr(encoder, "levels", ())
            if getattr(encoder, "other", False):
                self.notes.append(
                    f"{encoder.name}: {count(len(levels), 'level')} kept, those seen fewer than "
                    f"{self.options.min_category} times or beyond {self.options.max_levels} levels share one"
                )
        self.model.info = {
            "xent_version": __version__,
            "source": self.source,
            "rows": {"all": len(self.index), "train": len(self.train), "test": len(self.test)},
            "evaluation": self.evaluation.to_dict(),
            "prior_cross_entropy": self.prior,
            "curve": [asdict(p) for p in self.curve],
            "seed": self.options.seed,
            "features": self.model.preprocessor.names,
        }
