"""Losses as row functions (`xent.autodiff`): the value of each row and its derivative, for every array library."""

from .probs import ProbsRows
from .softmax import EntropyRows, LabelRows, SoftRows, TopKRows

__all__ = ["EntropyRows", "LabelRows", "ProbsRows", "SoftRows", "TopKRows"]
