"""The small sets that come with scikit-learn, as tables."""

from __future__ import annotations

import polars as pl

NAMES = {"iris": "species", "wine": "cultivar", "breast_cancer": "diagnosis", "digits": "digit"}
"""Name of each set, and of its target column."""


def load(name: str) -> tuple[pl.DataFrame, str]:
    """Return the set as a table, and the name of its target column.

    The classes are written by their names (``setosa``), the ten digits by their numbers.
    """
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    target = NAMES[name]
    frame = pl.DataFrame(bunch.data, schema=[str(n) for n in bunch.feature_names], orient="row")
    if name == "digits":
        labels = pl.Series(target, bunch.target)
    else:
        labels = pl.Series(target, [str(bunch.target_names[i]) for i in bunch.target])
    return frame.with_columns(labels), target
