"""Linear classifiers with the scikit-learn interface."""

from typing import TYPE_CHECKING, Any

from .logistic import LogisticRegression

if TYPE_CHECKING:
    from .logistic_cv import LogisticRegressionCV

__all__ = ["LogisticRegression", "LogisticRegressionCV"]


def __getattr__(name: str) -> Any:
    if name != "LogisticRegressionCV":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .logistic_cv import LogisticRegressionCV  # with scikit-learn's scorers and splitters, which load much

    return LogisticRegressionCV
