"""Several files of predictions of the same rows, read in parts and brought into one order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from ..evaluate import row_losses
from ..evaluate.inputs import log_probabilities
from ..evaluate.measures import Coded
from ..evaluate.overlay import TOP, Scores, scores
from .errors import TableError, count, nearest, some
from .prediction_files import ARRAYS, Options, Part, PredictionFile, open_predictions
from .predictions import KINDS
from .values import category_text

_LABEL = ""  # the key of the labels among the texts
_NUMBERS = 1 << 21  # of which logarithms are taken at a time


@dataclass(frozen=True)
class Aligned:
    """Losses of several models on the same rows, in the order of the first file.

    Attributes
    ----------
    losses : dict of name to float64 array (rows,)
        In nats; infinite for a label of probability 0. The names are the files', without what they share.
    labels : Coded
        The text of each row's label.
    scores : dict of name to three arrays (rows,)
        Probability of the event, one minus it, and whether it happened; see `xent.evaluate.overlay.scores`.
    event : str
        The second class of two, or that the likeliest class is right.
    columns : dict of name to Coded
        Columns of the first file, as text; missing values are "(missing)".
    notes : list of str
    """

    losses: dict[str, np.ndarray]
    labels: Coded
    scores: dict[str, Scores]
    event: str
    columns: dict[str, Coded]
    notes: list[str] = field(default_factory=list)


def read_aligned(
    files: Sequence[str],
    target: str | None,
    probs: Sequence[str] = (),
    *,
    kind: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    id_column: str | None = None,
    columns: Sequence[str] = (),
    positive: str | None = None,
    normalize: bool = False,
    drop_missing: bool = False,
    missing: Sequence[str] = (),
) -> Aligned:
    """Read predictions of the same rows from several files.

    Large files are read in parts (`open_predictions`): of a row its loss, its score, its label and id are kept, about
    40 bytes and the text of the id, whatever the number of classes.

    Parameters
    ----------
    files : sequence of str
        Tables of any kind and files of arrays, mixed as they come.
    target : str, optional
        The column (array) of labels; needless where all files are of arrays that name it as they do.
    classes, positive, normalize, drop_missing
        As `read_predictions` takes them; the last three are for tables and not for arrays.
    probs : sequence of str
        Patterns as `read_predictions` takes them, ``p_*`` where there is none: one for all files, or for one file
        ``NAME=PATTERN`` by its name in the result, or its path.
    kind : sequence of str
        What the numbers are: one for all files, or ``NAME=KIND``.
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
    arrays = [Path(f).suffix.lower() in ARRAYS for f in files]
    patterns = _own(probs, names, files, "--probs")
    kinds = _own(kind, names, files, "--kind")
    _check(patterns, kinds, arrays, positive)
    found: dict[str, _Read] = {}
    texts = _Texts()
    for n, (name, file, is_array) in enumerate(zip(names, files, arrays, strict=True)):
        of_tables = not is_array or all(arrays)  # arrays refuse what is for tables
        pattern = patterns[n]
        single = pattern is not None and "*" not in pattern and "{class}" not in pattern
        beside = tuple(dict.fromkeys([*([id_column] if id_column else []), *(columns if n == 0 else ())]))
        options = Options(
            target=target,
            probs=pattern if pattern is not None or is_array else "p_*",
            positive=positive if single and of_tables else None,
            normalize=normalize and of_tables,
            drop_missing=drop_missing and of_tables,
            kind=kinds[n],
            classes=tuple(classes) if classes is not None else None,
            missing=tuple(missing) if of_tables else (),
            columns=beside,
            text=(id_column,) if id_column else (),
            told=False,
        )
        found[name] = _Read(open_predictions(file, options), file)
    every = [read.classes for read in found.values()]
    two = all(len(c) == 2 and every[0][1] in c for c in every)
    event = every[0][1] if two else None
    for n, read in enumerate(found.values()):
        read.take(texts, target, id_column, columns if n == 0 else (), event)
    return _together(found, texts, id_column, columns, event)


def _check(
    patterns: Sequence[str | None], kinds: Sequence[str | None], arrays: Sequence[bool], positive: str | None
) -> None:
    """Refuse what fits no file."""
    for kind in kinds:
        if kind is not None and kind not in KINDS:
            raise TableError(f"--kind {kind!r} is none of {', '.join(KINDS)}", todo=nearest(kind, KINDS))
    tables = [p or "p_*" for p, of_array in zip(patterns, arrays, strict=True) if not of_array]
    if positive is not None and all("*" in p or "{class}" in p for p in tables):
        raise TableError("a positive class is for a single column of probabilities, and there are only patterns",
                         todo="Name the column with --probs, or leave --positive out.")  # fmt: skip


def _own(given: Sequence[str], names: Sequence[str], files: Sequence[str], option: str) -> list[str | None]:
    """What is said of each file: its own, or what is said of all."""
    common, own = None, dict[str, str]()
    for value in given:
        name, equals, rest = value.partition("=")
        if equals and (name in names or name in files):
            own[name] = rest
        elif equals and (len(given) > 1 or option == "--kind"):
            raise TableError(f"{option} {value!r}: there is no file {name!r}", todo=nearest(name, names))
        else:
            common = value
    return [own.get(n, own.get(f, common)) for n, f in zip(names, files, strict=True)]


class _Texts:
    """Texts of several columns as whole numbers, the same in every file."""

    def __init__(self) -> None:
        self._places: dict[str, dict[str, int]] = {}

    def encode(self, column: str, series: pl.Series) -> np.ndarray:
        places = self._places.setdefault(column, {})
        distinct = series.unique()
        for text in distinct.to_list():
            places.setdefault(text, len(places))
        known = [places[t] for t in distinct.to_list()]
        return series.replace_strict(distinct, known, return_dtype=pl.Int32).to_numpy()

    def texts(self, column: str) -> list[str]:
        return list(self._places[column])


@dataclass
class _Read:
    """What is kept of a file's rows."""

    opened: PredictionFile
    file: str
    losses: list[np.ndarray] = field(default_factory=list)
    scores: list[Scores] = field(default_factory=list)
    rows: list[np.ndarray] = field(default_factory=list)
    ids: list[pl.Series] = field(default_factory=list)
    texts: dict[str, list[np.ndarray]] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return self.opened.classes

    def take(
        self, texts: _Texts, target: str | None, id_column: str | None, columns: Sequence[str], event: str | None
    ) -> None:
        """Read the file; the event is the class whose reliability is looked at, None for the likeliest."""
        for part in self.opened.parts():
            p = part.predictions
            self.rows.append(p.rows)
            self._judge(part, event)
            assert part.series is not None
            label = part.series(target) if target is not None else pl.Series(np.array(self.classes)[p.target])
            self._text(_LABEL, texts.encode(_LABEL, label))
            for name in columns:
                self._text(f"column {name}", texts.encode(f"column {name}", part.series(name).fill_null("(missing)")))
            if id_column is not None:
                self.ids.append(part.series(id_column, raw=True).rename("id"))

    def _judge(self, part: Part, event: str | None) -> None:
        p = part.predictions
        place = None if event is None else self.classes.index(event)
        step = max(1, _NUMBERS // max(p.values[:1].size, 1))
        for start in range(0, len(p.target), step):
            label, values = p.target[start : start + step], p.values[start : start + step]
            self.losses.append(row_losses(log_probabilities(values, p.kind), label))
            self.scores.append(scores(label, values, p.kind, place))

    def _text(self, key: str, places: np.ndarray) -> None:
        self.texts.setdefault(key, []).append(places)

    def text(self, key: str) -> np.ndarray:
        return np.concatenate(self.texts[key])


def _together(
    found: Mapping[str, _Read], texts: _Texts, id_column: str | None, columns: Sequence[str], event: str | None
) -> Aligned:
    reads = list(found.values())
    rows = [np.concatenate(r.rows) for r in reads]
    orders = _by_id(reads, rows, id_column) if id_column else _as_they_are(reads, rows)
    labels = [r.text(_LABEL) if o is None else r.text(_LABEL)[o] for r, o in zip(reads, orders, strict=True)]
    known = texts.texts(_LABEL)
    for read, other in zip(reads[1:], labels[1:], strict=True):
        off = np.flatnonzero(labels[0] != other)
        if off.size:
            first = off[0]
            raise TableError(
                f"the labels differ from those of {reads[0].file} in {count(off.size, 'row')}, the first is row "
                f"{int(rows[0][first]) + 1} there: {known[labels[0][first]]!r}, here {known[other[first]]!r}",
                where=read.file,
                todo=_todo(reads[0].classes, read.classes, id_column),
            )
    losses, scored = {}, {}
    for (name, read), order in zip(found.items(), orders, strict=True):
        losses[name] = _ordered([read.losses], order)[0]
        p, q, hit = _ordered(list(zip(*read.scores, strict=True)), order)
        scored[name] = (p, q, hit)
    brought = {n: Coded(reads[0].text(f"column {n}"), texts.texts(f"column {n}")) for n in columns}
    notes = [f"{name}: {note}" for name, read in found.items() for note in read.opened.notes]
    return Aligned(losses, Coded(labels[0], known), scored, event if event is not None else TOP, brought, notes)


def _todo(ours: Sequence[str], theirs: Sequence[str], id_column: str | None) -> str:
    if not set(ours) & set(theirs):  # numbers in an array, names in a table
        return "Name the classes of lists and arrays in their order with --classes A,B,..."
    return "" if id_column else "Match the rows with --id COLUMN."


def _ordered(columns: Sequence[Sequence[np.ndarray]], order: np.ndarray | None) -> list[np.ndarray]:
    whole = [np.concatenate(c) for c in columns]
    return whole if order is None else [c[order] for c in whole]


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


def _by_id(reads: Sequence[_Read], rows: Sequence[np.ndarray], column: str) -> list[np.ndarray | None]:
    """For each file the rows in the order of the first one's ids."""
    series = []
    numbers = all(s.dtype.is_integer() and s.dtype != pl.UInt64 for read in reads for s in read.ids)
    for read, own in zip(reads, rows, strict=True):
        ids = pl.concat([s.cast(pl.Int64) if numbers else category_text(s) for s in read.ids])
        read.ids = []
        if ids.null_count():
            first = int(own[ids.is_null().arg_true()[0]])
            raise TableError(
                f"the id {column!r} is missing in {count(ids.null_count(), 'row')}, the first is row {first + 1}",
                where=read.file,
            )
        twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
        if len(twice):
            told, stand = some([str(v) for v in twice.to_list()]), "stands" if len(twice) == 1 else "stand"
            raise TableError(
                f"{count(len(twice), 'id')} of {column!r} {stand} in more than one row: {told}",
                where=read.file,
            )
        series.append(ids)
    ours = series[0]
    orders: list[np.ndarray | None] = [None]
    for read, ids in zip(reads[1:], series[1:], strict=True):
        lost, extra = ours.filter(~ours.is_in(ids.implode())), ids.filter(~ids.is_in(ours.implode()))
        if len(lost) or len(extra):
            said = [f"{count(len(s), 'id')} of {column!r} only {where}: {some([str(v) for v in s.to_list()])}"
                    for s, where in ((lost, f"in {reads[0].file}"), (extra, "here")) if len(s)]  # fmt: skip
            raise TableError("the rows do not match: " + "; ".join(said), where=read.file)
        place = pl.DataFrame({"id": ids, "row": np.arange(len(ids))})
        joined = pl.DataFrame({"id": ours}).join(place, on="id", how="left", maintain_order="left")
        orders.append(joined["row"].to_numpy())
    return orders


def _as_they_are(reads: Sequence[_Read], rows: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    for read, own in zip(reads[1:], rows[1:], strict=True):
        if len(own) != len(rows[0]) or not np.array_equal(own, rows[0]):
            raise TableError(
                f"{count(len(own), 'row')} with a label, and {reads[0].file} has {len(rows[0])}, or others",
                where=read.file,
                todo="Match the rows with --id COLUMN.",
            )
    return [None] * len(reads)
