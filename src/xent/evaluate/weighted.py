"""The report where rows count unequally: survey weights, classes that were sampled unevenly, importance weights.

Every mean is ``sum w v / sum w``, and its error the sandwich's: ``sqrt(n / (n - 1) sum (w (v - m))^2) / sum w`` over
the n rows of weight above 0 (as `_means.mean_of`); no scale of the weights changes a figure. Panels that count rows
(calibration beside chance, the curves, thresholds, the spread of losses, surprises, confusion) take no weights, and are
left out rather than made without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .collect import environment, steps
from .inputs import check_log_sums, judge_many, judge_two, probabilities
from .intervals import mean_interval
from .loss import check_probabilities, row_loss
from .mended import recalibration_panel, sample_size
from .ranked import log_of
from .report import Evaluation
from .sample import RowSample
from .slices import GroupSums, SliceSums
from .verdict import flat_figures, saving, sentences

LEFT_OUT = ("calibration", "losses", "surprise", "confusion", "curves", "thresholds", "coverage")
_TOLD = 10
# of the weight and of (loss - shift), whose products are summed
_POWERS = ((1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2), (3, 3))


class WeightedSums(GroupSums):
    """Weighted losses, hits and confidences of rows in groups; weights above 0.

    Examples
    --------
    >>> sums = WeightedSums(1)
    >>> sums.add_weighted(np.zeros(2, int), np.array([1.0, 4.0]), np.array([1, 0]), np.array([0.5, 0.5]),
    ...                   np.array([3.0, 1.0]))
    >>> sums.figures(0)["cross_entropy"], sums.figures(0)["accuracy"]
    (1.75, 0.75)
    """

    def __init__(self, groups: int = 0) -> None:
        super().__init__(groups)
        self._right = np.zeros(groups)
        self._sums = np.zeros((len(_POWERS), groups))
        self._scale = math.nan

    @property
    def mass(self) -> NDArray[np.float64]:
        """The weight of each group, over that of the first rows."""
        return self._sums[0]

    def add_weighted(
        self,
        group: NDArray[np.int64],
        losses: NDArray[np.float64],
        right: NDArray[Any],
        confidence: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> None:
        """Add rows, as `GroupSums.add`."""
        if not group.size:
            return
        self._grow(int(group.max()) + 1)
        finite = np.isfinite(losses)
        if not finite.all():
            np.add.at(self.impossible, group[~finite], 1)
            losses = np.where(finite, losses, 0.0)
        if math.isnan(self._shift):  # numbers near the losses and the weights keep their digits
            self._shift, self._scale = float(losses.mean()), float(weights.mean())
        w, away = weights / self._scale, losses - self._shift
        np.add.at(self.rows, group, 1)
        np.add.at(self._right, group, w * right)
        np.add.at(self._misses, group, 1 - np.asarray(right, dtype=np.int64))
        np.add.at(self._confidence, group, w * confidence)
        for place, (of_w, of_a) in enumerate(_POWERS):
            np.add.at(self._sums[place], group, w**of_w * away**of_a)

    def _mean_of(self, s: NDArray[np.float64]) -> float:
        return self._shift + float(s[1] / s[0])

    def _mean(self, group: int) -> float:
        return math.inf if self.impossible[group] else max(self._mean_of(self._sums[:, group]), 0.0)

    def _central(self, group: int) -> tuple[float, float]:
        n, s = int(self.rows[group]), self._sums[:, group]
        if n < 2 or self.impossible[group]:
            return math.nan, 0.0
        d = float(s[1] / s[0])
        second = float(s[4] - 2 * d * s[3] + d * d * s[2])
        third = float(s[8] - 3 * d * s[7] + 3 * d * d * s[6] - d**3 * s[5])
        if second <= 1e-14 * float(s[4]):
            return 0.0, 0.0
        deviation = n * math.sqrt(second / (n - 1)) / float(s[0])
        return deviation, (third / n) / (second / n) ** 1.5

    def variance_about(self, reference: NDArray[np.float64]) -> float:
        """n times the squared error of the mean over all rows of the loss minus the reference of the row's group."""
        n, s = int(self.rows.sum()), self._sums
        away = self._shift - reference
        total = float(s[0].sum())
        off = away - float((s[1] + s[0] * away).sum()) / total
        second = float((s[4] + 2 * off * s[3] + off**2 * s[2]).sum())
        return max(second, 0.0) * n * n / (n - 1) / total**2

    def _mean_and_square(self, n: int, s: NDArray[np.float64]) -> tuple[float, float]:
        d = float(s[1] / s[0])
        second = float(s[4] - 2 * d * s[3] + d * d * s[2])
        return d, max(second, 0.0) * n / (n - 1) / float(s[0]) ** 2


class WeightedLoss:
    """The weighted mean loss of all rows, with the figures of `loss.LossSum`."""

    def __init__(self) -> None:
        self.rows, self.impossible = 0, 0
        self.impossible_rows: tuple[int, ...] = ()
        self._finite = WeightedSums(1)

    def add(self, losses: NDArray[np.float64], weights: NDArray[np.float64], places: NDArray[np.int64]) -> None:
        """Add rows of weight above 0; places are told of those whose loss is infinite."""
        self.rows += len(losses)
        lost = np.isinf(losses)
        self.impossible += int(lost.sum())
        self.impossible_rows = (*self.impossible_rows, *places[lost].tolist())[:_TOLD]
        kept = losses[~lost]
        none = np.zeros(len(kept))
        self._finite.add_weighted(none.astype(np.int64), kept, none, none, weights[~lost])

    @property
    def finite_mean(self) -> float:
        """Mean of the finite losses, in nats; NaN where there are none."""
        return self._finite._mean(0) if self._finite.rows[0] else math.nan

    @property
    def mean(self) -> float:
        """The cross-entropy, in nats."""
        return math.inf if self.impossible else self.finite_mean

    @property
    def effective_rows(self) -> float:
        """Kish's number of equally weighted rows with as much to say; of the rows of finite loss."""
        s = self._finite._sums[:, 0]
        return float(s[0] ** 2 / s[2]) if s[2] else 0.0

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, in nats."""
        if self.impossible or self.rows < 2:
            return math.nan
        return self._finite._central(0)[0] / math.sqrt(self.rows)

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """As `LossSum.interval`."""
        if self.impossible:
            return math.nan, math.nan
        low, high = mean_interval(self.rows, self.mean, *self._finite._central(0), level=level)
        return (max(low, 0.0), high) if low == low else (low, high)


class WeightedCollector:
    """Judges weighted predictions that come in chunks of rows; parameters as `Collector`.

    Examples
    --------
    >>> collector = WeightedCollector(["no", "yes"])
    >>> collector.add(np.array([0, 1]), np.array([0.1, 0.7]), np.array([1.0, 3.0]))
    >>> round(collector.finish().cross_entropy, 4)
    0.2938
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        kind: str = "probabilities",
        level: float = 0.95,
        seed: int = 0,
        recalibrate: bool = True,
    ) -> None:
        self.names = [str(n) for n in class_names]
        self.kind, self.level, self.seed = kind, level, seed
        classes = len(self.names)
        self.losses, self._all = WeightedLoss(), WeightedSums(1)
        self._by_label, self._by_predicted = WeightedSums(classes), WeightedSums(classes)
        self._slices: dict[str, SliceSums] = {}
        self._brier = self._expected = self._farthest_sum = 0.0
        self._given, self._missed, self._seen = 0, 0, np.zeros(classes, dtype=np.int64)
        self._sample = RowSample(sample_size(classes), seed) if recalibrate else None

    def add(
        self,
        labels: NDArray[Any],
        values: NDArray[Any],
        weights: NDArray[np.float64],
        *,
        by: Mapping[str, NDArray[Any]] | None = None,
        rows: NDArray[np.int64] | None = None,
    ) -> None:
        """Add rows: weights of shape (n,), finite and not negative; the rest as `Collector.add`.

        Raises
        ------
        ValueError
            A weight that is none.
        """
        bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
        if bad.size:
            row = int(rows[bad[0]]) if rows is not None else self._given + int(bad[0])
            raise ValueError(f"weights are finite and not negative, row {row} has {weights[bad[0]]}")
        places = rows if rows is not None else np.arange(self._given, self._given + len(labels))
        for part in steps(len(labels), values):
            own = {k: v[part] for k, v in (by or {}).items()}
            self._add(labels[part], values[part], weights[part], own, places[part])

    def _add(
        self,
        labels: NDArray[Any],
        values: NDArray[Any],
        weights: NDArray[np.float64],
        by: dict[str, NDArray[Any]],
        places: NDArray[np.int64],
    ) -> None:
        first = self._given
        self._given += len(labels)
        if self.kind == "probabilities":
            self._farthest_sum = max(self._farthest_sum, check_probabilities(values, first))
        if self.kind == "log":
            self._farthest_sum = max(
                self._farthest_sum, check_log_sums(values, *probabilities(values, self.kind), first)
            )
        kept = weights > 0
        losses = row_loss(labels, values, self.kind, first)[kept]
        labels, values, w, places = labels[kept].astype(np.int64), values[kept], weights[kept], places[kept]
        if not len(labels):
            return
        p, q = probabilities(values, self.kind)
        two = len(self.names) == 2
        predicted, confidence, _, brier = (judge_two if two else judge_many)(labels, p, q)
        right = (predicted == labels).astype(np.float64)
        self._missed += int(np.count_nonzero(right == 0))
        told = (losses, right, confidence, w)
        self.losses.add(losses, w, places)
        self._all.add_weighted(np.zeros(len(labels), dtype=np.int64), *told)
        self._by_label.add_weighted(labels, *told)
        self._by_predicted.add_weighted(predicted, *told)
        for name, column in by.items():
            slices = self._slices.setdefault(name, SliceSums(name, WeightedSums()))
            slices.sums.add_weighted(slices.codes(column[kept]), *told)  # type: ignore[attr-defined]
        share = w / self._all._scale
        self._brier += float((share * brier).sum())
        self._expected += float((share * _entropies(p, q, two)).sum())
        self._seen += np.bincount(labels, minlength=len(self.names))
        if self._sample is not None:
            self._sample.add(places, labels, values, w)

    def finish(self, method: dict[str, Any] | None = None) -> Evaluation:
        """Make every panel that takes weights.

        Raises
        ------
        ValueError
            No row of weight above 0 was added.
        """
        if not self.losses.rows:
            raise ValueError("there are no rows of weight above 0 to evaluate")
        mass = float(self._all.mass[0])
        total = self.losses.mean * mass
        own = self._all.figures(0)
        gains = saving(self.losses, self._by_label, self.level)
        figures = flat_figures(self.losses, self._by_label, gains, self.names, self.level)
        figures |= {
            "accuracy": own["accuracy"],
            "confidence": own["confidence"],
            "confidence_z": math.nan,
            "brier": self._brier / mass,
            "impossible": self.losses.impossible,
            "impossible_rows": list(self.losses.impossible_rows),
            "misses": self._missed,
            "expected_cross_entropy": self._expected / mass,
        }
        mended, how = None, "not asked for"
        if self._sample is not None:
            options = (len(self.names), self.kind, self.seed, self.level, self.names)
            mended, how = recalibration_panel(self._sample, *options)
        effective = self.losses.effective_rows
        left_out = ", ".join(LEFT_OUT) + ": they take no weights"
        notes = {"weights": f"{self.losses.rows} rows of weight above 0, as good as {effective:.6g} alike",
                 "left_out": left_out, "recalibration": how}  # fmt: skip
        return Evaluation(
            figures=figures,
            verdict=sentences(figures, None, None, mended, weighted=True),
            data=self._data(effective),
            calibration={},
            per_class=self._per_class(total),
            losses={},
            surprise={},
            confusion={},
            curves=None,
            thresholds=None,
            coverage=[],
            slices=[s.panel(total, self.level) for s in self._slices.values()],
            recalibration=mended,
            method={**environment(), "seed": self.seed, **notes, **(method or {})},
        )

    def _data(self, effective: float) -> dict[str, Any]:
        never = [n for n, k in zip(self.names, self._seen.tolist(), strict=True) if k == 0]
        return {
            "rows": self.losses.rows,
            "rows_of_weight_0": self._given - self.losses.rows,
            "effective_rows": effective,
            "classes": len(self.names),
            "kind": self.kind,
            "farthest_sum": self._farthest_sum,
            "repeated": None,
            "impossible": self.losses.impossible,
            "impossible_rows": list(self.losses.impossible_rows),
            "classes_never_seen": never[:50],
            "classes_never_seen_count": len(never),
        }

    def _per_class(self, total: float) -> list[dict[str, Any]]:
        mass = self._by_label.mass
        unknown = ("predicted_rows", "confused_with", "auc", "uncertainty", "discrimination", "miscalibration")
        table = []
        for k, name in enumerate(self.names):
            own, given = self._by_label.figures(k, self.level), self._by_predicted.figures(k)
            loss = own["cross_entropy"] * float(mass[k]) if own["rows"] else 0.0
            table.append(
                {
                    "class": name,
                    "share": float(mass[k] / mass.sum()),
                    **{key: own[key] for key in ("rows", "cross_entropy", "low", "high", "few", "impossible")},
                    "loss_share": loss / total if 0 < total < math.inf else None,
                    "recall": own["accuracy"],
                    "precision": given["accuracy"],
                    **dict.fromkeys((*unknown, "mean_predicted", "bias", "brier")),
                    "confused_rows": None,
                }
            )
        return table


def _entropies(p: NDArray[np.float64], q: NDArray[np.float64], two: bool) -> NDArray[np.float64]:
    """What each row's probabilities expect of its loss, in nats."""
    with np.errstate(invalid="ignore"):  # 0 times the logarithm of 0 is 0
        if two:
            return -np.where(p > 0, p * log_of(p, q), 0.0) - np.where(q > 0, q * log_of(q, p), 0.0)
        return -np.where(p > 0, p * log_of(p, q), 0.0).sum(axis=1)
