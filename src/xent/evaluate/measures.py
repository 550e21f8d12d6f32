"""Cross-entropy, skill, Brier score and accuracy of predicted probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._means import entropy_of, mean_of

_CHUNK = 1 << 21  # probabilities looked at at once, so that a large prediction needs no second copy of itself


@dataclass(frozen=True)
class Figures:
    """How good predicted probabilities are, over ``rows`` rows.

    Attributes
    ----------
    rows, classes : int
        How many rows were judged, how many classes the predictions name.
    cross_entropy : float
        Mean of -log p(label), in nats; infinite where an event of probability 0 happened.
    standard_error : float
        Of the cross-entropy: the standard deviation (n - 1) of the rows' losses over sqrt(n); NaN for one row and
        where the cross-entropy is infinite.
    label_entropy : float
        Entropy in nats of the judged rows' own labels: the cross-entropy of always predicting their shares, which is
        what knowing nothing about a row costs at best.
    skill : float
        ``1 - cross_entropy / label_entropy``: 1 is perfect, 0 is as good as the shares, negative is worse. NaN where
        all labels are the same. The same reference serves every command, so that figures of the same rows agree.
    accuracy : float
        Share of rows whose likeliest class (the first among equals) is the label.
    brier : float
        Mean over rows of the sum over classes of (p - y)^2, from 0 to 2. (For two classes, twice the score that counts
        only the positive one.)
    impossible : int
        Rows whose label had probability 0.
    impossible_rows : tuple of int
        The first ten of them, counted from 0.
    """

    rows: int
    classes: int
    cross_entropy: float
    standard_error: float
    label_entropy: float
    skill: float
    accuracy: float
    brier: float
    impossible: int = 0
    impossible_rows: tuple[int, ...] = ()

    @property
    def cross_entropy_bits(self) -> float:
        """The cross-entropy in bits."""
        return self.cross_entropy / math.log(2)

    @property
    def standard_error_bits(self) -> float:
        """The standard error in bits."""
        return self.standard_error / math.log(2)

    @property
    def label_entropy_bits(self) -> float:
        """The label entropy in bits."""
        return self.label_entropy / math.log(2)

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name, those in bits too. Infinities and NaN stay floats."""
        return {
            **asdict(self),
            "impossible_rows": list(self.impossible_rows),
            "cross_entropy_bits": self.cross_entropy_bits,
            "standard_error_bits": self.standard_error_bits,
            "label_entropy_bits": self.label_entropy_bits,
        }


def row_losses(log_proba: ArrayLike, target: ArrayLike) -> NDArray[np.float64]:
    """Return -log p(label) of every row, in nats, exactly: no clipping.

    Parameters
    ----------
    log_proba : array of shape (rows, classes)
        Natural logarithms of the probabilities; -inf for 0.
    target : int array of shape (rows,)
        The labels' class indices; -1 for a label that is none of the classes: its loss is infinite.

    Returns
    -------
    float64 array of shape (rows,)
    """
    logs, labels = _checked(log_proba, target)
    known = labels >= 0
    losses = np.full(len(labels), np.inf)
    losses[known] = -logs[np.flatnonzero(known), labels[known]]
    return losses + 0.0  # -0.0 becomes 0.0


def figures(log_proba: ArrayLike, target: ArrayLike, *, weights: ArrayLike | None = None) -> Figures:
    """Judge predicted log-probabilities by what happened: the few figures that every command prints.

    Parameters
    ----------
    log_proba : array of shape (rows, classes)
        Natural logarithms of the probabilities, so that tiny ones are exact; -inf for 0.
    target : int array of shape (rows,)
        The labels' class indices; -1 for a label that is none of the classes.
    weights : array of shape (rows,), optional
        Non-negative row weights; every mean becomes a weighted mean.

    Returns
    -------
    Figures

    Raises
    ------
    ValueError
        Shapes that do not fit, no rows, a label out of range, NaN among the probabilities, weights that are negative,
        not finite or sum to zero.
    """
    logs, labels = _checked(log_proba, target)
    rows, classes = logs.shape
    weight = _weights(weights, rows)
    losses = row_losses(logs, labels)
    brier, right = np.empty(rows), np.empty(rows, dtype=bool)
    for part in _chunks(rows, classes):
        brier[part], right[part] = _brier_and_right(logs[part], labels[part])
    cost = mean_of(losses, weight)
    label_entropy = entropy_of(np.bincount(labels + 1, weights=weight))  # unknown labels (-1) are one more class
    impossible = np.flatnonzero(np.isinf(losses))
    return Figures(
        rows=rows,
        classes=classes,
        cross_entropy=cost.value,
        standard_error=cost.error,
        label_entropy=label_entropy,
        skill=1.0 - cost.value / label_entropy if label_entropy > 0 else math.nan,
        accuracy=mean_of(right, weight).value,
        brier=mean_of(brier, weight).value,
        impossible=impossible.size,
        impossible_rows=tuple(impossible[:10].tolist()),
    )


def prior_cross_entropy(train: ArrayLike, test: ArrayLike) -> float:
    """Cross-entropy in nats, on the test labels, of always predicting the training labels' shares.

    The honest price of knowing nothing but the training labels; a label that training never had costs infinity.
    """
    train, test = np.asarray(train), np.asarray(test)
    size = int(max(train.max(), test.max())) + 1
    with np.errstate(divide="ignore"):
        logs = np.log(np.bincount(train, minlength=size) / train.size)
    return float(np.mean(-logs[test])) + 0.0


def _checked(log_proba: ArrayLike, target: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    logs, labels = np.asarray(log_proba, dtype=np.float64), np.asarray(target)
    if logs.ndim != 2 or labels.shape != logs.shape[:1]:
        raise ValueError(f"log_proba of shape (rows, classes) and target of shape (rows,) are needed, "
                         f"got {logs.shape} and {labels.shape}")  # fmt: skip
    if labels.dtype.kind not in "iu":
        raise ValueError(f"target must hold class indices, got dtype {labels.dtype}")
    if not labels.size:
        raise ValueError("there are no rows to evaluate")
    bad = np.flatnonzero((labels < -1) | (labels >= logs.shape[1]))
    if bad.size:
        raise ValueError(f"label {labels[bad[0]]} in row {bad[0]} is out of range for {logs.shape[1]} classes")
    if np.isnan(logs).any():
        raise ValueError(f"log_proba holds NaN in row {int(np.flatnonzero(np.isnan(logs).any(axis=1))[0])}")
    return logs, labels.astype(np.int64)


def _weights(weights: ArrayLike | None, rows: int) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    weight = np.asarray(weights, dtype=np.float64)
    if weight.shape != (rows,):
        raise ValueError(f"weights of shape ({rows},) are needed, got {weight.shape}")
    if not np.isfinite(weight).all() or (weight < 0).any() or weight.sum() == 0:
        raise ValueError("weights must be finite, not negative, and not all zero")
    return weight


class Coded(NamedTuple):
    """A column of text as the places of its values in a list: millions of rows without millions of strings."""

    places: NDArray[Any]
    texts: list[str]


def codes(values: ArrayLike | Coded, rows: int, what: str) -> tuple[NDArray[np.int64], list[str]]:
    """Return the place of each row's value among the distinct ones, and those as text."""
    if isinstance(values, Coded):
        place, texts = codes(values.places, rows, what)
        order = sorted(range(len(texts)), key=lambda k: values.texts[int(texts[k])])
        turned = np.empty(len(order), dtype=np.int64)
        turned[order] = np.arange(len(order))
        return turned[place], [values.texts[int(texts[k])] for k in order]
    array = np.asarray(values)
    if array.shape != (rows,):
        raise ValueError(f"{what} of shape ({rows},) are needed, got {array.shape}")
    if array.dtype == object:
        array = np.array([str(v) for v in array])
    found, code = np.unique(array, return_inverse=True)
    return code.astype(np.int64), [str(v) for v in found.tolist()]


def _chunks(rows: int, classes: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(1, classes))
    return (slice(start, start + step) for start in range(0, rows, step))


def _brier_and_right(
    logs: NDArray[np.float64], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Squared distance between prediction and truth, and whether the likeliest class is the label."""
    difference = np.exp(logs)
    known = np.flatnonzero(labels >= 0)
    difference[known, labels[known]] -= 1.0
    score = np.einsum("ij,ij->i", difference, difference)
    score[labels < 0] += 1.0  # the label has no column: its own (0 - 1)^2
    return score, logs.argmax(axis=1) == labels
