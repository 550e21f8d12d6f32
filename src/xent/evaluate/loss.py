"""The logarithmic loss of labels: exact, never clipped, summed as it streams.

>>> import numpy as np
>>> round(log_loss([1, 0, 1], np.array([0.9, 0.2, 0.6])).mean, 12)
0.279776563579
>>> log_loss([0], [[0.0, 1.0]]).impossible_rows
(0,)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .intervals import mean_interval

KINDS = ("probabilities", "log", "logits")
SUM_TOLERANCE = 1e-5
"""How far from one the probabilities of a row may sum: what rounding to float32 or to six decimals leaves."""

_BLOCK = 1 << 14  # numbers at a time: what is computed of them stays in the second-level cache
_TOLD = 10  # impossible rows that are named


@dataclass
class LossSum:
    """A running sum of losses, with what an interval needs of them. Two of them merge into one.

    The sum is compensated (Neumaier) over chunks whose own sums are pairwise; the second and third central moments are
    merged by Pébay's formulas (Sandia report SAND2008-6212), and are those of the finite losses.

    Attributes
    ----------
    rows : int
        Rows seen.
    impossible : int
        Rows whose loss is infinite.
    impossible_rows : tuple of int
        The first ten of them, counted from 0.

    Examples
    --------
    >>> total = LossSum()
    >>> total.add(np.array([1.0, 2.0]))
    >>> total.add(np.array([3.0]))
    >>> total.rows, total.mean, total.standard_error
    (3, 2.0, 0.5773502691896258)
    """

    rows: int = 0
    impossible: int = 0
    impossible_rows: tuple[int, ...] = ()
    _high: float = 0.0
    _low: float = 0.0
    _second: float = 0.0
    _third: float = 0.0

    def add(self, losses: NDArray[np.float64]) -> None:
        """Add the losses of the next rows."""
        if not losses.size:
            return
        total = float(losses.sum())
        part = LossSum(rows=losses.size)
        if not math.isfinite(total):
            at = np.flatnonzero(np.isinf(losses))
            part.impossible, part.impossible_rows = at.size, tuple(at[:_TOLD].tolist())
            losses = losses[np.isfinite(losses)]
            total = float(losses.sum())
        part._high = total
        if losses.size:
            from_mean = losses - total / losses.size
            square = from_mean * from_mean
            part._second = float(square.sum())
            square *= from_mean  # not a dot product: the BLAS's second thread would spin into what follows
            part._third = float(square.sum())
        self.merge(part)

    def merge(self, other: LossSum) -> None:
        """Add another sum's rows, taken to come after this one's."""
        a, b = self.rows - self.impossible, other.rows - other.impossible
        if a and b:
            n = a + b
            delta = other.finite_mean - self.finite_mean
            self._third += (
                other._third
                + delta**3 * a * b * (a - b) / n**2
                + 3 * delta * (a * other._second - b * self._second) / n
            )
            self._second += other._second + delta**2 * a * b / n
        else:
            self._second, self._third = self._second + other._second, self._third + other._third
        for value in (other._high, other._low):
            total = self._high + value
            larger, smaller = (self._high, value) if abs(self._high) >= abs(value) else (value, self._high)
            self._low += (larger - total) + smaller
            self._high = total
        later = tuple(self.rows + r for r in other.impossible_rows)
        self.impossible_rows = (self.impossible_rows + later)[:_TOLD]
        self.rows += other.rows
        self.impossible += other.impossible

    @property
    def finite_mean(self) -> float:
        """The mean loss of the rows whose loss is finite, in nats; NaN where there are none."""
        rows = self.rows - self.impossible
        return (self._high + self._low) / rows if rows else math.nan

    @property
    def total(self) -> float:
        """The sum of the losses, in nats."""
        return math.inf if self.impossible else self._high + self._low

    @property
    def mean(self) -> float:
        """The mean loss, in nats: the cross-entropy. NaN for no rows."""
        return self.total / self.rows if self.rows else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation (n - 1) of the rows' losses; NaN for fewer than two rows and an infinite loss."""
        if self.impossible or self.rows < 2:
            return math.nan
        return math.sqrt(self._second / (self.rows - 1))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean, in nats."""
        return self.deviation / math.sqrt(self.rows) if self.rows else math.nan

    @property
    def skewness(self) -> float:
        """Third central moment over the cube of the standard deviation (both over n); 0 where all are the same."""
        if self.impossible or self.rows < 2:
            return math.nan
        if self._second == 0:
            return 0.0
        return self._third / self.rows / (self._second / self.rows) ** 1.5

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return an interval for the mean (`xent.evaluate.intervals.mean_interval`), in nats; NaN where infinite.

        A loss is not negative, and neither is the interval.
        """
        low, high = mean_interval(self.rows, self.mean, self.deviation, self.skewness, level=level)
        return (max(low, 0.0), high) if low == low else (low, high)


def log_loss(y: ArrayLike, probs: ArrayLike, *, kind: str = "probabilities", check: bool = False) -> LossSum:
    """Return the sum and the mean of -log p(label), in nats: exact, never clipped.

    Parameters
    ----------
    y : array of shape (rows,)
        Class indices; for a single column 0 and 1, or bool.
    probs : array of shape (rows, classes) or (rows,)
        Predictions; a single column is that of class 1. Computed in float64 whatever the dtype.
    kind : {"probabilities", "log", "logits"}
        What `probs` holds: probabilities, their natural logarithms, or logits.
    check : bool
        Look at every probability: refuse those outside [0, 1] and rows that do not sum to one within 0.00001. Without
        it only the labels' own are looked at, which is what makes many classes fast; `evaluate` checks them all.

    Returns
    -------
    LossSum
        ``.mean`` is the cross-entropy: infinite where an event of probability 0 happened, and then
        ``.impossible_rows`` says where.

    Raises
    ------
    ValueError
        Shapes that do not fit, labels out of range, NaN, probabilities that are none.

    Notes
    -----
    In a single column the other class costs ``-log1p(-p)``, so that p = 1e-20 costs 1e-20.

    Examples
    --------
    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.25, 0.75]]).mean, 12)
    0.490414626506
    >>> log_loss([0, 0], [1e-20, 1e-20]).mean
    1e-20
    """
    labels, values = checked_pair(y, probs, kind)
    total = LossSum()
    step = _BLOCK if values.ndim == 1 else max(1, len(labels))
    for start in range(0, len(labels), step):
        part = slice(start, start + step)
        if check and kind == "probabilities":
            check_probabilities(values[part], start)
        total.add(row_loss(labels[part], values[part], kind, start))
    return total


def checked_pair(y: ArrayLike, probs: ArrayLike, kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return labels and predictions as arrays whose shapes and labels fit."""
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    labels, values = np.asarray(y), np.asarray(probs)
    if values.ndim not in (1, 2) or labels.shape != values.shape[:1]:
        raise ValueError(f"y of shape (rows,) and probs of shape (rows,) or (rows, classes) are needed, "
                         f"got {labels.shape} and {values.shape}")  # fmt: skip
    if values.ndim == 2 and values.shape[1] < 2:
        raise ValueError(f"probs of shape {values.shape} has one class only; give the column itself, of shape (rows,)")
    if values.dtype.kind not in "fiub":
        raise ValueError(f"probs must hold numbers, got dtype {values.dtype}")
    if not labels.size:
        raise ValueError("there are no rows to evaluate")
    if labels.dtype.kind == "b":
        labels = labels.view(np.uint8)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"y must hold class indices, got dtype {labels.dtype}")
    classes = 2 if values.ndim == 1 else values.shape[1]
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        row = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
        raise ValueError(f"label {labels[row]} in row {row} is out of range for {classes} classes")
    return labels, values


def check_probabilities(values: NDArray[Any], first: int = 0) -> float:
    """Refuse what is no probability: NaN, negative, above one, rows that do not sum to one.

    Returns the largest distance of a row's sum from one; 0 for a single column.
    """
    if values.ndim == 1:
        if not (values.min() >= 0 and values.max() <= 1 + SUM_TOLERANCE):
            _refuse(values, first)
        return 0.0
    step = max(1, (1 << 18) // values.shape[1])  # both passes over a block while it is in the cache
    farthest = 0.0
    for start in range(0, len(values), step):
        block = values[start : start + step]
        off = np.abs(row_sums(block) - 1.0)
        if not (off.max() <= SUM_TOLERANCE and block.min() >= 0):  # then none is above one either
            _refuse(block, first + start)
        farthest = max(farthest, float(off.max()))
    return farthest


def _refuse(values: NDArray[Any], first: int) -> None:
    bad = ~((values >= 0) & (values <= 1 + SUM_TOLERANCE))
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        where = f"row {first + at[0]}" + (f", class {at[1]}" if len(at) == 2 else "")
        raise ValueError(f"probs holds {values[at]} in {where}: probabilities lie in [0, 1]; "
                         "say kind='logits' or kind='log' if they are those")  # fmt: skip
    sums = row_sums(values)
    row = int(np.argmax(np.abs(sums - 1) > SUM_TOLERANCE))
    raise ValueError(f"the probabilities of row {first + row} sum to {sums[row]:.9g}, not to one")


def row_sums(values: NDArray[Any]) -> NDArray[Any]:
    """Sums of rows; as a product with ones, which reads at the speed of memory."""
    if values.dtype not in (np.float32, np.float64):
        values = values.astype(np.float64)
    return values @ np.ones(values.shape[1], dtype=values.dtype)


def row_loss(labels: NDArray[Any], values: NDArray[Any], kind: str, first: int = 0) -> NDArray[np.float64]:
    """Return -log p(label) of every row, in nats, from predictions that fit (`checked_pair`).

    Raises
    ------
    ValueError
        NaN or a negative loss, told by its row counted from ``first``.
    """
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        losses = _single(labels, values, kind) if values.ndim == 1 else _gathered(labels, values, kind)
    if not losses.min() >= -SUM_TOLERANCE:  # NaN too
        bad = int(np.flatnonzero(~(losses >= -SUM_TOLERANCE))[0])
        raise ValueError(f"probs gives {losses[bad]:.6g} nats in row {first + bad}, with {values[bad]} for class "
                         f"{labels[bad]}: is it kind={kind!r}?")  # fmt: skip
    return losses


def _gathered(labels: NDArray[Any], values: NDArray[Any], kind: str) -> NDArray[np.float64]:
    if kind == "logits":
        from ..functional import cross_entropy

        if values.dtype not in (np.float32, np.float64):
            values = values.astype(np.float64)
        losses = cross_entropy(np.ascontiguousarray(values), labels.astype(np.int64), reduction="none")
        return np.asarray(losses, dtype=np.float64)
    chosen = values[np.arange(len(labels)), labels].astype(np.float64)
    return 0.0 - (chosen if kind == "log" else np.log(chosen))  # 0 - x: no negative zero


def _single(labels: NDArray[Any], values: NDArray[Any], kind: str) -> NDArray[np.float64]:
    x = values.astype(np.float64, copy=False)
    yes = labels != 0
    if kind == "logits":
        return np.logaddexp(0.0, np.where(yes, -x, x))
    if kind == "log":
        return 0.0 - np.where(yes, x, log_of_rest(x))
    return 0.0 - np.where(yes, np.log(x), np.log1p(-x))


def log_of_rest(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log(1 - e^x)`` of log-probabilities, by expm1 near 0 and by log1p far from it (Maechler 2012)."""
    with np.errstate(divide="ignore"):
        return np.where(x > -math.log(2), np.log(-np.expm1(x)), np.log1p(-np.exp(x)))
