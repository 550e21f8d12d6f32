"""From a table to a classifier and back: reading files, typing columns, training, predicting, storing.

>>> from xent import tabular
>>> table = tabular.read_table("iris")
>>> result = tabular.train(table, "species")
>>> tabular.save_model(result.model, "iris.xent")  # doctest: +SKIP

Everything a user can get wrong raises :class:`TableError`, whose text says what is wrong, where, and what to do.
The names are loaded when they are first used, so that the command line starts without polars or NumPy.
"""

from __future__ import annotations

import importlib
from typing import Any

_NAMES = {
    "ColumnKind": "schema",
    "Preprocessor": "preprocess",
    "Table": "read",
    "TableClassifier": "classifier",
    "TableError": "errors",
    "TrainOptions": "training",
    "TrainResult": "training",
    "column_information": "information",
    "load_model": "store",
    "read_predictions": "predictions",
    "read_table": "read",
    "save_model": "store",
    "train": "training",
    "type_columns": "schema",
    "write_table": "write",
}

__all__ = sorted(_NAMES)


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
