"""Linear classifiers with the scikit-learn interface."""

from .logistic import LogisticRegression

__all__ = ["LogisticRegression"]
