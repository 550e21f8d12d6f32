"""Judging probabilistic predictions, exactly: no clipping, an impossible event that happened costs infinity.

`evaluate` makes the whole report; `log_loss` the loss alone, fast; `figures` the few figures the commands print.

>>> from xent.evaluate import evaluate
>>> result = evaluate([0, 1], [[0.8, 0.2], [0.4, 0.6]])
>>> round(result.cross_entropy, 4), result.accuracy
(0.367, 1.0)
"""

from __future__ import annotations

from .collect import Collector, evaluate
from .loss import LossSum, log_loss
from .measures import Figures, figures, prior_cross_entropy, row_losses
from .report import Evaluation
from .verification import Verification, verify, verify_embeddings

__all__ = [
    "Collector",
    "Evaluation",
    "Figures",
    "LossSum",
    "Verification",
    "evaluate",
    "figures",
    "log_loss",
    "prior_cross_entropy",
    "row_losses",
    "verify",
    "verify_embeddings",
]
