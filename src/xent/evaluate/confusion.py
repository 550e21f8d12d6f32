"""Which class is taken for which: counts, and the loss of those rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

_WHOLE = 30  # classes up to which the whole matrix is given
_PAIRS = 50


class Confusion:
    """Counts and losses of (label, likeliest class), chunk by chunk.

    Kept as a matrix up to 2048 classes, as the pairs that occur beyond.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self._dense = classes <= 2048
        size = classes * classes if self._dense else 0
        self._keys = np.empty(0, dtype=np.int64)
        self._rows, self._loss = np.zeros(size, dtype=np.int64), np.zeros(size)

    def add(self, labels: NDArray[Any], predicted: NDArray[np.int64], losses: NDArray[np.float64]) -> None:
        """Add rows."""
        key = labels.astype(np.int64) * self.classes + predicted
        if self._dense:
            np.add.at(self._rows, key, 1)
            np.add.at(self._loss, key, losses)
            return
        keys, index = np.unique(np.concatenate([self._keys, key]), return_inverse=True)
        rows, loss = np.zeros(keys.size, dtype=np.int64), np.zeros(keys.size)
        np.add.at(rows, index, np.concatenate([self._rows, np.ones(key.size, dtype=np.int64)]))
        np.add.at(loss, index, np.concatenate([self._loss, losses]))
        self._keys, self._rows, self._loss = keys, rows, loss

    def _found(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        at = np.flatnonzero(self._rows)
        return (at if self._dense else self._keys[at]), self._rows[at], self._loss[at]

    def by_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[int, tuple[int, int]]]:
        """Return rows predicted and rows right of each class, and each label's most frequent wrong (class, rows)."""
        keys, rows, _ = self._found()
        label, predicted = np.divmod(keys, self.classes)
        given = np.bincount(predicted, weights=rows, minlength=self.classes).astype(np.int64)
        same = label == predicted
        right = np.bincount(label[same], weights=rows[same], minlength=self.classes).astype(np.int64)
        top: dict[int, tuple[int, int]] = {}
        for i in np.flatnonzero(~same)[np.argsort(rows[~same], kind="stable")]:  # the last, most frequent, stays
            top[int(label[i])] = (int(predicted[i]), int(rows[i]))
        return given, right, top

    def panel(self, names: list[str]) -> dict[str, Any]:
        """Return counts and losses.

        Keys: ``counts`` and ``loss`` (matrices, a row a label, a column a likeliest class, the loss summed in nats;
        None for more than 30 classes), ``pairs`` (the wrong pairs that carry most of the loss, at most 50: {label,
        predicted, rows, loss, loss_share}).
        """
        keys, rows, loss = self._found()
        label, predicted = np.divmod(keys, self.classes)
        total = float(loss.sum())
        wrong = np.flatnonzero(label != predicted)
        wrong = wrong[np.lexsort((keys[wrong], -rows[wrong], -loss[wrong]))][:_PAIRS]
        pairs = [
            {
                "label": names[label[i]],
                "predicted": names[predicted[i]],
                "rows": int(rows[i]),
                "loss": float(loss[i]),
                "loss_share": float(loss[i]) / total if 0 < total < math.inf else None,
            }
            for i in wrong
        ]
        whole = self._dense and self.classes <= _WHOLE
        shape = (self.classes, self.classes)
        return {
            "counts": self._rows.reshape(shape).tolist() if whole else None,
            "loss": self._loss.reshape(shape).tolist() if whole else None,
            "pairs": pairs,
        }
