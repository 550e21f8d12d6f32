"""The softmax objective as solvers of second order see it: Hessians, their products, models on a few coordinates."""

from .binary import BinaryL1Objective
from .groups import GroupObjective
from .newton import Boxed, CurvedCoordinates, NewtonProblem
from .ridge import RidgePath
from .rows import Rows
from .sparse import L1Objective

__all__ = [
    "BinaryL1Objective",
    "Boxed",
    "CurvedCoordinates",
    "GroupObjective",
    "L1Objective",
    "NewtonProblem",
    "RidgePath",
    "Rows",
]
