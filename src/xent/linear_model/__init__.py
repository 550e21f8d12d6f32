"""Linear classifiers with the scikit-learn interface."""

import importlib
from typing import TYPE_CHECKING, Any

from .logistic import LogisticRegression

if TYPE_CHECKING:
    from ._store import load_estimator
    from .logistic_cv import LogisticRegressionCV
    from .margin import MarginClassifier
    from .multilabel import MultiLabelClassifier
    from .ordinal import OrdinalClassifier
    from .separation import Separation, find_separation
    from .streaming import StreamingClassifier

__all__ = [
    "LogisticRegression",
    "LogisticRegressionCV",
    "MarginClassifier",
    "MultiLabelClassifier",
    "OrdinalClassifier",
    "Separation",
    "StreamingClassifier",
    "find_separation",
    "load_estimator",
]

# Loaded when first used: scikit-learn's scorers and splitters, linear programming and others load much.
_LATER = {
    "LogisticRegressionCV": "logistic_cv",
    "MarginClassifier": "margin",
    "MultiLabelClassifier": "multilabel",
    "OrdinalClassifier": "ordinal",
    "Separation": "separation",
    "StreamingClassifier": "streaming",
    "find_separation": "separation",
    "load_estimator": "_store",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
