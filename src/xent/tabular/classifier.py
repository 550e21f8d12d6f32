"""The trained thing: a table in, class probabilities out. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from ..losses import log_softmax
from .errors import TableError
from .labels import Label, index_labels, label_text, labels_as_series
from .preprocess import Preprocessor, TransformReport


@dataclass
class TableClassifier:
    """A softmax regression on a table.

    Attributes
    ----------
    target : str
        The column it predicts.
    classes : list
        The labels, in ascending order; ``label_type`` says what they are (see ``labels.LABEL_TYPES``).
    preprocessor : Preprocessor
        From a table to the matrix of shape (rows, features).
    coef : float64 array of shape (classes, features), or (1, features) for two classes
    intercept : float64 array, one value a row of ``coef``
        One row is the logit of the second class against the first.
    penalty_c : float
        The C it was fitted with.
    info : dict
        Training figures, as JSON has them.
    """

    target: str
    classes: list[Label]
    label_type: str
    preprocessor: Preprocessor
    coef: np.ndarray
    intercept: np.ndarray
    penalty_c: float
    info: dict[str, Any] = field(default_factory=dict)

    def log_proba(self, frame: pl.DataFrame, *, where: str = "") -> tuple[np.ndarray, TransformReport]:
        """Return the logarithms of the class probabilities, shape (rows, classes), and what was done to the table."""
        matrix, report = self.preprocessor.transform(frame, where=where)
        report.ignored = [name for name in report.ignored if name != self.target]
        return matrix_log_proba(matrix, self.coef, self.intercept), report

    def label_index(self, series: pl.Series) -> np.ndarray:
        """Return class indices of a column of labels: -1 for missing, -2 for a label the model does not know."""
        return index_labels(series, self.classes, self.label_type)

    @property
    def class_names(self) -> list[str]:
        """The labels as text."""
        return [label_text(c) for c in self.classes]

    def predictions(
        self, frame: pl.DataFrame, log_proba: np.ndarray, *, keep: Sequence[str] = (), where: str = ""
    ) -> pl.DataFrame:
        """Lay predictions out as a table.

        Columns: those of ``keep``, the target where the table has it, ``predicted`` (a label), ``p_<class>`` for every
        class, and ``loss`` (nats; empty where the label is missing) where the table has the target.

        Raises
        ------
        TableError
            When two of these columns would have one name.
        """
        here = self.target in frame.columns
        columns = [frame.get_column(name) for name in dict.fromkeys([*keep, *([self.target] if here else [])])]
        columns.append(labels_as_series("predicted", self.classes, self.label_type, log_proba.argmax(axis=1)))
        columns += [pl.Series(f"p_{name}", np.exp(log_proba[:, k])) for k, name in enumerate(self.class_names)]
        if here:
            from ..evaluate import row_losses

            index = self.label_index(frame.get_column(self.target))
            loss = pl.Series("loss", row_losses(log_proba, np.maximum(index, -1)))
            missing = pl.Series(index == -1)
            columns.append(pl.select(pl.when(missing).then(None).otherwise(loss).alias("loss")).to_series())
        names = [c.name for c in columns]
        twice = [n for n in names if names.count(n) > 1]
        if twice:
            raise TableError(
                f"the output would have two columns {twice[0]!r}", where=where, todo="Rename the one in the table."
            )
        return pl.DataFrame({c.name: c for c in columns})  # a list would rename a column without a name


def matrix_log_proba(matrix: np.ndarray, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Return log-probabilities of a matrix (rows, features); :class:`TableClassifier` has the shapes."""
    logits = matrix @ coef.T + intercept
    if len(coef) == 1:
        logits = np.column_stack([np.zeros(len(logits)), logits])
    return log_softmax(logits)
