"""Judging probabilistic predictions, exactly: no clipping, an impossible event that happened costs infinity.

`evaluate` makes the whole report; `log_loss` the loss alone, fast; `figures` the few figures the commands print.

>>> from xent.evaluate import evaluate
>>> result = evaluate([0, 1], [[0.8, 0.2], [0.4, 0.6]])
>>> round(result.cross_entropy, 4), result.accuracy
(0.367, 1.0)
"""

from __future__ import annotations

from typing import Any

from ._maps import RecalibrationMap
from .collect import Collector, evaluate
from .compare import Comparison, compare, compare_losses
from .language import Documents, LanguageEvaluation, compare_language, evaluate_language
from .loss import LossSum, log_loss
from .measures import Figures, figures, prior_cross_entropy, row_losses
from .recalibration import CrossFitted, Recalibration, cross_fitted, recalibrate
from .report import Evaluation
from .verification import Verification, verify, verify_embeddings
from .weighted import WeightedCollector

__all__ = [
    "Collector",
    "Comparison",
    "CrossFitted",
    "Documents",
    "Evaluation",
    "Figures",
    "LanguageEvaluation",
    "LossSum",
    "Recalibrated",
    "Recalibration",
    "RecalibrationMap",
    "Verification",
    "WeightedCollector",
    "compare",
    "compare_language",
    "compare_losses",
    "cross_fitted",
    "evaluate",
    "evaluate_language",
    "figures",
    "log_loss",
    "prior_cross_entropy",
    "recalibrate",
    "row_losses",
    "verify",
    "verify_embeddings",
]


def __getattr__(name: str) -> Any:
    if name == "Recalibrated":  # scikit-learn is loaded by who asks for it
        from .recalibrated import Recalibrated

        return Recalibrated
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
