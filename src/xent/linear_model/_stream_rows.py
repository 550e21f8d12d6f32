"""The rows of a streaming fit: batches with labels as numbers, those held out apart, and the best weights so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from ._inputs import kept, row_weights
from ._sources import Source
from ._stream_objective import Batch, StreamObjective


class Rows:
    """The batches of a source with labels as numbers, those held out apart."""

    def __init__(self, model: Any, source: Source, classes: Any) -> None:
        self.model, self.source = model, source
        self.rng = check_random_state(model.random_state)
        self.seed = int(self.rng.randint(2**31 - 1))
        self._held: list[Batch] = []
        self.rows: int | None = None
        self.features, self.total, self.dtype = 0, 0.0, np.dtype(np.float64)
        self._list: list[Batch] | None = None
        self._known = False  # whether the first batch has said how many features there are
        if not source.again:
            model.classes_ = class_list(classes)
            return
        self._scan(classes)
        if model.early_stopping and not self._held:
            raise ValueError("no row was held out: there are too few rows for validation_fraction")

    def _scan(self, classes: Any) -> None:
        """One pass: the classes, how many rows there are, and those held out."""
        model = self.model
        model.classes_ = class_list(self._labels() if classes is None else classes)
        self.rows, encoded = 0, []
        for batch in self._encode(held=self._held):
            self.rows += len(batch[1])
            self.total += float(batch[2].sum())
            self.features, self.dtype = batch[0].shape[1], batch[0].dtype
            if self.source.kept:
                encoded.append(batch)
        if self.total == 0:
            raise ValueError("no row is left to fit: the weights are zero, or all rows are held out")
        self._list = encoded if self.source.kept else None

    def _labels(self) -> Any:
        """Every label that a row of some weight has."""
        found = []
        for _, y, weight in self.source.batches():
            if y is None:
                raise ValueError("requires y to be passed, but the target y is None")
            assert_all_finite(y, input_name="y")
            check_classification_targets(y)
            y = np.asarray(y).ravel()
            rows = None if weight is None else np.broadcast_to(np.asarray(weight) != 0, y.shape)
            found.append(np.unique(y if rows is None else y[rows]))
        if not found:
            raise ValueError("there are no batches")
        labels = np.concatenate(found)
        if not len(labels):
            raise ValueError("no row is left to fit: sample_weight is zero for every row")
        return labels

    @property
    def full_weight(self) -> float | None:
        """What a full mini-batch weighs on the average; None where the rows are not known beforehand."""
        if not self.rows:
            return None
        return min(int(self.model.batch_size), self.rows) * self.total / self.rows

    def batches(self) -> Iterator[Batch]:
        """Those to fit to."""
        return iter(self._list) if self._list is not None else self._encode(held=None)

    def _encode(self, held: list[Batch] | None) -> Iterator[Batch]:
        for number, batch in enumerate(self.source.batches()):
            X, label, weight = encoded(self.model, batch, reset=not self._known)
            self._known = True
            if self.model.early_stopping:
                out = self._held_out(number, len(label))
                if held is not None and out.any():
                    held.append((X[out], label[out], weight[out]))
                X, label, weight = X[~out], label[~out], weight[~out]
            self.dtype = X.dtype
            yield X, label, weight

    def _held_out(self, number: int, n: int) -> Any:
        """Which rows of a batch are held out, (n,) booleans: the same each time it is read."""
        rng = np.random.default_rng([self.seed, number])
        count = int(self.model.validation_fraction * n + rng.random())  # of small batches, some hold out one more
        if self.source.kept and number == 0:
            count = max(count, 1)
        out = np.zeros(n, bool)
        out[rng.permutation(n)[:count]] = True
        return out

    def _objective(self, batches: Callable[[], Iterator[Batch]], total: float, l2: float) -> StreamObjective:
        model = self.model
        return StreamObjective(batches, len(model.classes_), self.features, total, l2, bool(model.fit_intercept))

    def objective(self) -> StreamObjective:
        """Of the rows to fit to."""
        return self._objective(self.batches, self.total, float(self.model.alpha))

    def validation_loss(self, theta: Any) -> float | None:
        """Cross-entropy of the rows held out, in nats, without the penalty."""
        if not self._held:
            return None
        total = sum(float(weight.sum()) for _, _, weight in self._held)
        return self._objective(lambda: iter(self._held), total, 0.0).value_and_grad(theta.ravel())[0]


def class_list(classes: Any) -> Any:
    out = np.unique(np.asarray(classes))
    if len(out) < 2:
        only = f"only one class, {out.tolist()[0]!r}" if len(out) else "none"
        raise ValueError(f"fitting needs at least 2 classes, but the data hold {only}")
    return out


def encoded(model: Any, batch: Any, *, reset: bool) -> Batch:
    """A batch checked, its labels as numbers, with weights and without rows of weight 0."""
    X, y, sample_weight = batch
    X, y = validate_data(model, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], order="C", reset=reset)
    given = None if sample_weight is None else np.asarray(sample_weight, np.float64)
    if given is not None and given.shape == (X.shape[0],) and not given.any():
        return X[:0], np.zeros(0, np.int64), np.zeros(0)  # other batches may have rows
    X, y, weight = kept(X, y, row_weights(given, X.shape[0]))
    place = np.minimum(np.searchsorted(model.classes_, y), len(model.classes_) - 1)
    strange = model.classes_[place] != y
    if strange.any():
        raise ValueError(f"y holds {y[strange].tolist()[0]!r}, which is none of the classes {model.classes_.tolist()}")
    return X, place, np.ones(len(place)) if weight is None else weight
