"""Linear classifiers with the scikit-learn interface."""

import importlib
from typing import TYPE_CHECKING, Any

from .logistic import LogisticRegression

if TYPE_CHECKING:
    from ._store import load_estimator
    from .certificate import Certificate, certify
    from .leave_one_out import LeaveOneOut, approximate_leave_one_out
    from .logistic_cv import LogisticRegressionCV
    from .margin import MarginClassifier
    from .multilabel import MultiLabelClassifier
    from .ordinal import OrdinalClassifier
    from .path import LogisticPath, logistic_path
    from .separation import Separation, find_separation
    from .streaming import StreamingClassifier

__all__ = [
    "Certificate",
    "LeaveOneOut",
    "LogisticPath",
    "LogisticRegression",
    "LogisticRegressionCV",
    "MarginClassifier",
    "MultiLabelClassifier",
    "OrdinalClassifier",
    "Separation",
    "StreamingClassifier",
    "approximate_leave_one_out",
    "certify",
    "find_separation",
    "load_estimator",
    "logistic_path",
]

# Loaded when first used: scikit-learn's scorers and splitters, linear programming and others load much.
_LATER = {
    "Certificate": "certificate",
    "LeaveOneOut": "leave_one_out",
    "LogisticPath": "path",
    "LogisticRegressionCV": "logistic_cv",
    "MarginClassifier": "margin",
    "MultiLabelClassifier": "multilabel",
    "OrdinalClassifier": "ordinal",
    "Separation": "separation",
    "StreamingClassifier": "streaming",
    "approximate_leave_one_out": "leave_one_out",
    "certify": "certificate",
    "find_separation": "separation",
    "load_estimator": "_store",
    "logistic_path": "path",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
