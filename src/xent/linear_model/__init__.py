"""Linear classifiers with the scikit-learn interface."""

from .logistic import LogisticRegression
from .logistic_cv import LogisticRegressionCV

__all__ = ["LogisticRegression", "LogisticRegressionCV"]
