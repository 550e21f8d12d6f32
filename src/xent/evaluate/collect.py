"""Predictions in, chunk by chunk; an `Evaluation` out. Beyond four million scores memory no longer grows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import per_class
from .confusion import Confusion
from .curves import coverage_panel, curves_panel, thresholds_panel
from .decomposition import Null, decomposition_panel
from .inputs import check_log_sums, checked_columns, checked_labels, hash_arrays, judge_many, judge_two, probabilities
from .loss import LossSum, check_probabilities, row_loss
from .measures import _weights
from .mended import recalibration_panel, sample_size
from .ranked import Ranked, ScoreCounts
from .rare import FEW, upper_limit
from .reliability import reliability_panel
from .repeats import Repeats
from .report import Evaluation
from .sample import RowSample
from .slices import GroupSums, SliceSums
from .surprise import LossCounts, Tail, WorstRows, distribution_panel, surprise_panel
from .verdict import flat_figures, saving, sentences

_CHUNK = 1 << 16  # rows of a single column at a time; fewer of many classes
_NUMBERS = 1 << 21
_NULLS = 12  # classes up to which each has draws of its own


class Collector:
    """Judges predictions that come in chunks of rows.

    Parameters
    ----------
    class_names : sequence of str
        The classes in the order of the columns; of a single column the negative and the positive one.
    kind : {"probabilities", "log", "logits"}
        What the predictions are.
    level : float
        Of the intervals.
    seed, simulations : int
        Of the draws that show what a calibrated model of this size looks like.
    worst : int
        How many of the most surprising rows are kept.
    recalibrate : bool
        Whether recalibrations are cross-fitted, on a sample of the rows where there are many.

    Examples
    --------
    >>> collector = Collector(["no", "yes"])
    >>> collector.add(np.array([0, 1]), np.array([0.1, 0.7]))
    >>> collector.add(np.array([1]), np.array([0.8]))
    >>> round(collector.finish().cross_entropy, 4)
    0.2284
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        kind: str = "probabilities",
        level: float = 0.95,
        seed: int = 0,
        simulations: int = 400,
        worst: int = 50,
        recalibrate: bool = True,
    ) -> None:
        self.names = [str(n) for n in class_names]
        self.kind, self.level, self.seed, self.simulations = kind, level, seed, simulations
        classes = len(self.names)
        self.losses, self._distribution = LossSum(), LossCounts()
        self._scores = None if classes > per_class.MOST else ScoreCounts(1 if classes == 2 else classes)
        self._every = ScoreCounts() if self._scores is None else None  # of many classes, for what is expected
        self._top = ScoreCounts()
        self._by_label = GroupSums(classes)
        self._confusion = Confusion(classes)
        self._worst = WorstRows(worst)
        self._slices: dict[str, SliceSums] = {}
        self._brier, self._right, self._farthest_sum = LossSum(), 0, 0.0
        self._repeats = Repeats(classes)
        self._sample = RowSample(sample_size(classes), seed) if recalibrate else None

    def add(
        self,
        labels: NDArray[Any],
        values: NDArray[Any],
        *,
        by: Mapping[str, NDArray[Any]] | None = None,
        carried: Mapping[str, NDArray[Any]] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Add rows.

        Parameters
        ----------
        labels : int array of shape (n,)
        values : array of shape (n,) or (n, classes)
        by : mapping of column to array of shape (n,), optional
            What to slice by; the same columns in every chunk.
        carried : mapping of column to array of shape (n,), optional
            What is told of the most surprising rows.
        rows : int array of shape (n,), optional
            Which rows these are, counted from 0; those after the last by default.
        """
        for part in steps(len(labels), values):
            self._add(
                labels[part],
                values[part],
                {k: v[part] for k, v in (by or {}).items()},
                {k: v[part] for k, v in (carried or {}).items()},
                rows[part] if rows is not None else None,
            )

    def _add(
        self,
        labels: NDArray[Any],
        values: NDArray[Any],
        by: dict[str, NDArray[Any]],
        carried: dict[str, NDArray[Any]],
        rows: NDArray[np.int64] | None,
    ) -> None:
        first = self.losses.rows
        if self.kind == "probabilities":
            self._farthest_sum = max(self._farthest_sum, check_probabilities(values, first))
        losses = row_loss(labels, values, self.kind, first)
        self._repeats.add(labels, values)
        p, q = probabilities(values, self.kind)
        if self.kind == "log":
            self._farthest_sum = max(self._farthest_sum, check_log_sums(values, p, q, first))
        if len(self.names) == 2:
            predicted, confidence, unsure, brier = judge_two(labels, p, q)
            if self._scores is not None:
                self._scores.add(p, q, labels)
        else:
            predicted, confidence, unsure, brier = judge_many(labels, p, q)
            if self._scores is not None:
                self._scores.add(p, q, labels)
            elif self._every is not None:
                self._every.add(p.reshape(-1), q.reshape(-1), np.zeros(p.size, dtype=np.bool_))
        right = predicted == labels
        self._top.add(confidence, unsure, right)
        self._distribution.add(losses)
        self._by_label.add(labels.astype(np.int64, copy=False), losses, right, confidence)
        self._confusion.add(labels, predicted, losses)
        for name, column in by.items():
            self._slices.setdefault(name, SliceSums(name)).add(column, losses, right, confidence)
        if self._sample is not None:
            places = rows if rows is not None else np.arange(first, first + len(labels))
            self._sample.add(places, labels, values)
        at = self._worst.candidates(losses)
        if at.size:
            self._worst.add(
                self._entry(int(i), first, labels, predicted, confidence, losses, carried, rows) for i in at
            )
        self._brier.add(brier)
        self._right += int(np.count_nonzero(right))
        before = self.losses.impossible_rows
        self.losses.add(losses)
        if rows is not None and len(self.losses.impossible_rows) > len(before):  # by their place in the file
            new = tuple(int(rows[r - first]) for r in self.losses.impossible_rows[len(before) :])
            self.losses.impossible_rows = before + new

    def _entry(
        self,
        i: int,
        first: int,
        labels: NDArray[Any],
        predicted: NDArray[np.int64],
        confidence: NDArray[np.float64],
        losses: NDArray[np.float64],
        carried: dict[str, NDArray[Any]],
        rows: NDArray[np.int64] | None,
    ) -> dict[str, Any]:
        return {
            "row": int(rows[i]) if rows is not None else first + i,
            "label": self.names[int(labels[i])],
            "p": math.exp(-float(losses[i])),
            "predicted": self.names[int(predicted[i])],
            "p_predicted": float(confidence[i]),
            "nats": float(losses[i]),
            **({"carried": {k: _plain(v[i]) for k, v in carried.items()}} if carried else {}),
        }

    def finish(self, method: dict[str, Any] | None = None) -> Evaluation:
        """Make every panel of what was added.

        Raises
        ------
        ValueError
            Nothing was added.
        """
        if not self.losses.rows:
            raise ValueError("there are no rows to evaluate")
        calibration = self._calibration()
        figures = self._figures(calibration)
        spread = distribution_panel(self._distribution)
        one_percent = next(c["loss_share"] for c in spread["carried"] if c["rows_share"] == 0.01)
        main = calibration.get("event", calibration["top_label"])
        binary = len(self.names) == 2
        event = self._scores.ranked() if binary and self._scores is not None else None
        tail = self._tail(event)
        figures["expected_cross_entropy"] = tail.expected_loss / self.losses.rows
        total = self.losses.total
        mended, how = self._recalibration()
        return Evaluation(
            figures=figures,
            verdict=sentences(figures, main, one_percent, mended),
            data=self._data(),
            calibration=calibration,
            per_class=per_class.per_class_panel(
                self.names, self._by_label, self._scores, self._confusion, total, self.level
            ),
            losses=spread,
            surprise=surprise_panel(self._worst, self._distribution, tail, self.losses.rows),
            confusion=self._confusion.panel(self.names),
            curves=curves_panel(event) if event is not None else None,
            thresholds=thresholds_panel(event) if event is not None else None,
            coverage=coverage_panel(self._top.ranked()),
            slices=[s.panel(total, self.level) for s in self._slices.values()],
            recalibration=mended,
            method=self._method({"recalibration": how, **(method or {})}),
        )

    def _recalibration(self) -> tuple[dict[str, Any] | None, str]:
        if self._sample is None:
            return None, "not asked for"
        return recalibration_panel(self._sample, len(self.names), self.kind, self.seed, self.level, self.names)

    def _tail(self, event: Ranked | None) -> Tail:
        if event is not None:
            return Tail([event], both_sides=True)
        if self._scores is None:
            assert self._every is not None
            return Tail([self._every.ranked()], both_sides=False)
        return Tail((self._scores.ranked(k) for k in range(len(self.names))), both_sides=False)

    def _calibration(self) -> dict[str, Any]:
        """Decomposition and reliability of the event (two classes), the top label, and each of a few classes."""
        panels: dict[str, Any] = {}
        classes = len(self.names)
        if classes == 2 and self._scores is not None:
            loss = self.losses.mean
            panels["event"] = self._judged(self._scores.ranked(), loss)
        panels["top_label"] = self._judged(self._top.ranked())
        if self._scores is not None and 2 < classes <= _NULLS:
            panels["classes"] = {n: self._judged(self._scores.ranked(k), groups=256) for k, n in enumerate(self.names)}
        return panels

    def _judged(self, ranked: Ranked, loss: float | None = None, groups: int = 1024) -> dict[str, Any]:
        null = Null.draw(ranked, seed=self.seed, simulations=self.simulations, groups=groups)
        return {
            "decomposition": decomposition_panel(ranked, null, loss),
            "reliability": reliability_panel(ranked, null),
        }

    def _figures(self, calibration: dict[str, Any]) -> dict[str, Any]:
        losses, top = self.losses, calibration["top_label"]["reliability"]
        gains = saving(losses, self._by_label, self.level)
        return {
            **flat_figures(losses, self._by_label, gains, self.names, self.level),
            "accuracy": self._right / losses.rows,
            "confidence": top["mean_predicted"],
            "confidence_z": top["bias_z"],
            "brier": self._brier.mean,
            "impossible": losses.impossible,
            "impossible_rows": list(losses.impossible_rows),
            "misses": losses.rows - self._right,
            **self._interval(losses.interval(self.level)),
        }

    def _interval(self, interval: tuple[float, float]) -> dict[str, list[float]]:
        """The interval, with an end that allows for costly rows that chance may have kept from being seen."""
        low, high = interval
        if len(self.names) == 2 and self.losses.rows - self._right < FEW and not math.isnan(high):
            high = max(high, upper_limit(self._top.ranked(), self.level))
        return {"interval": [low, high], "interval_bits": [low / math.log(2), high / math.log(2)]}

    def _data(self) -> dict[str, Any]:
        never = [n for n, k in zip(self.names, self._by_label.rows.tolist(), strict=True) if k == 0]
        return {
            "rows": self.losses.rows,
            "classes": len(self.names),
            "kind": self.kind,
            "farthest_sum": self._farthest_sum,
            "repeated": self._repeats.count(),
            "impossible": self.losses.impossible,
            "impossible_rows": list(self.losses.impossible_rows),
            "classes_never_seen": never[:50],
            "classes_never_seen_count": len(never),
        }

    def _method(self, given: dict[str, Any]) -> dict[str, Any]:
        exact = (self._scores is None or self._scores.exact) and self._top.exact
        return {
            **environment(),
            "seed": self.seed,
            "simulations": self.simulations,
            "exact_scores": exact,
            **given,
        }


def environment() -> dict[str, Any]:
    """Return the versions for the method notes."""
    import platform

    from .. import __version__

    return {"versions": {"xent": __version__, "numpy": np.__version__, "python": platform.python_version()}}


def steps(rows: int, values: NDArray[Any]) -> Iterator[slice]:
    """Cut rows into chunks that stay in the cache."""
    step = _CHUNK if values.ndim == 1 else max(1, min(_CHUNK, _NUMBERS // values.shape[1]))
    return (slice(start, start + step) for start in range(0, rows, step))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def evaluate(
    y: ArrayLike,
    probs: ArrayLike,
    *,
    classes: Sequence[Any] | None = None,
    kind: str = "probabilities",
    by: Mapping[str, ArrayLike] | None = None,
    carried: Mapping[str, ArrayLike] | None = None,
    sample_weight: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    worst: int = 50,
    recalibrate: bool = True,
) -> Evaluation:
    """Judge predicted probabilities by what happened: every panel of the report.

    Parameters
    ----------
    y : array of shape (rows,)
        Class indices (0 and 1, or bool, for a single column); or labels, where `classes` names them.
    probs : array of shape (rows, classes) or (rows,)
        Predictions; a single column is that of class 1.
    classes : sequence, optional
        The classes in the order of the columns; of a single column the negative and the positive one. Where `y` holds
        anything but class indices they are what it is matched to.
    kind : {"probabilities", "log", "logits"}
        What `probs` holds: probabilities, their natural logarithms, or logits.
    by : mapping of name to array of shape (rows,), optional
        Columns to slice by.
    carried : mapping of name to array of shape (rows,), optional
        Columns that are told of the most surprising rows, an identifier for one.
    sample_weight : array of shape (rows,), optional
        What each row counts for, not negative; no scale of them changes a figure. The loss with its interval, the
        comparison with the class shares, classes, slices and recalibrations take them; the other panels are empty, and
        ``method["left_out"]`` names them.
    level : float
        Of the intervals.
    seed : int
        Of the draws from the null of calibration; the same seed gives the same report.
    worst : int
        How many of the most surprising rows are told.
    recalibrate : bool
        Cross-fit recalibrations, on a sample of the rows where there are many (`mended.sample_size`).

    Returns
    -------
    Evaluation

    Raises
    ------
    ValueError
        Shapes that do not fit, no rows, labels that are no class, NaN, probabilities outside [0, 1] or that do not sum
        to one within 0.00001, weights that are none, `carried` beside weights (those rows are not told then).

    Examples
    --------
    >>> result = evaluate([0, 1, 1], [0.2, 0.9, 0.6])
    >>> round(result.cross_entropy, 4), result.accuracy
    (0.2798, 1.0)
    >>> evaluate(["b", "a"], [[0.3, 0.7], [0.5, 0.5]], classes=["a", "b"]).per_class[0]["rows"]
    1
    """
    labels, values, names = checked_labels(y, probs, classes, kind)
    method = {"input": "arrays", "input_sha256": hash_arrays(labels, values)}
    if sample_weight is not None:
        from .weighted import WeightedCollector

        if carried:
            raise ValueError("carried columns are told of the most surprising rows, a panel that takes no weights")
        weights = _weights(sample_weight, len(labels))
        assert weights is not None
        weighted = WeightedCollector(names, kind=kind, level=level, seed=seed, recalibrate=recalibrate)
        weighted.add(labels, values, weights, by=checked_columns(by, len(labels), "by"))
        return weighted.finish(method | {"weights_sha256": hash_arrays(weights)})
    collector = Collector(names, kind=kind, level=level, seed=seed, worst=worst, recalibrate=recalibrate)
    collector.add(
        labels,
        values,
        by=checked_columns(by, len(labels), "by"),
        carried=checked_columns(carried, len(labels), "carried"),
    )
    return collector.finish(method)
