"""Margins: changes of the target's logit that push classes apart.

All but `SMSoftmax` work on the angles ``theta_j`` between the embedding and the centres of the classes. Angles and
angular margins are radians. They are used by `xent.margin_cross_entropy`.
"""

from .adaptive import AdaFace, MagFace
from .additive import AMSoftmax, CosFace, SMSoftmax
from .angle import Pair, TargetAngle, pair, unit
from .angular import ArcFace, CombinedMargin, CurricularFace
from .base import Margin, Own, Penalty, Psi
from .multiplicative import ASoftmax, LSoftmax, SphereFace, annealing

__all__ = [
    "AMSoftmax",
    "ASoftmax",
    "AdaFace",
    "ArcFace",
    "CombinedMargin",
    "CosFace",
    "CurricularFace",
    "LSoftmax",
    "MagFace",
    "Margin",
    "Own",
    "Pair",
    "Penalty",
    "Psi",
    "SMSoftmax",
    "SphereFace",
    "TargetAngle",
    "annealing",
    "pair",
    "unit",
]
