"""Formulas: a softmax loss as a function of three numbers a row.

A formula takes the statistics ``m, s, t, u`` of `xent.kernels.contract` and returns the loss, its slopes and its
curvatures, on NumPy, PyTorch and JAX arrays alike. It knows no kernel, no weight and no reduction.
"""

from . import margins
from .cross_entropy import CrossEntropy
from .focal import Focal
from .formula import Affine, Curvatures, Formula, OfCrossEntropy
from .generalized import GeneralizedCrossEntropy
from .log_softmax import log_softmax
from .poly import Poly1

__all__ = [
    "Affine",
    "CrossEntropy",
    "Curvatures",
    "Focal",
    "Formula",
    "GeneralizedCrossEntropy",
    "OfCrossEntropy",
    "Poly1",
    "log_softmax",
    "margins",
]
