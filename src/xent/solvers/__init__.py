"""Solvers: they see a value, its derivatives and a measure of convergence, and know nothing of losses."""

from .boxed import boxed
from .lbfgs import lbfgs
from .newton_cg import newton_cg
from .newton_cholesky import newton_cholesky
from .problem import Solution
from .prox_newton import prox_newton
from .ridge_path import ridge_path

__all__ = ["Solution", "boxed", "lbfgs", "newton_cg", "newton_cholesky", "prox_newton", "ridge_path"]
