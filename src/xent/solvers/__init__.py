"""Solvers: they see a value, its derivatives and a measure of convergence, and know nothing of losses."""

from .adam import Adam
from .gradient_descent import GradientDescent
from .lbfgs import lbfgs
from .newton_cg import newton_cg
from .newton_cholesky import newton_cholesky
from .problem import Solution
from .prox_newton import prox_newton
from .rmsprop import RMSprop
from .stochastic import Rule, rate_at, shortened

__all__ = [
    "Adam",
    "GradientDescent",
    "RMSprop",
    "Rule",
    "Solution",
    "lbfgs",
    "newton_cg",
    "newton_cholesky",
    "prox_newton",
    "rate_at",
    "shortened",
]
