"""Linear classifiers with the scikit-learn interface."""

import importlib
from typing import TYPE_CHECKING, Any

from .logistic import LogisticRegression

if TYPE_CHECKING:
    from .leave_one_out import LeaveOneOut, approximate_leave_one_out
    from .logistic_cv import LogisticRegressionCV
    from .path import LogisticPath, logistic_path

__all__ = [
    "LeaveOneOut",
    "LogisticPath",
    "LogisticRegression",
    "LogisticRegressionCV",
    "approximate_leave_one_out",
    "logistic_path",
]

# loaded when first used: scikit-learn's scorers and splitters load much
_WHERE = {
    "LeaveOneOut": "leave_one_out",
    "LogisticPath": "path",
    "LogisticRegressionCV": "logistic_cv",
    "approximate_leave_one_out": "leave_one_out",
    "logistic_path": "path",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
