"""Solvers: they see a value, its derivatives and a measure of convergence, and know nothing of losses."""

from .adam import Adam
from .boxed import boxed
from .boxed_newton import boxed_newton
from .gradient_descent import GradientDescent
from .group_quadratic import GroupLasso
from .l1_quadratic import Lasso
from .lbfgs import lbfgs
from .newton_cg import newton_cg
from .newton_cholesky import newton_cholesky
from .problem import Solution
from .prox_newton import prox_newton
from .ridge_path import ridge_path
from .rmsprop import RMSprop
from .saga import saga
from .stochastic import Rule, rate_at, shortened

__all__ = [
    "Adam",
    "GradientDescent",
    "GroupLasso",
    "Lasso",
    "RMSprop",
    "Rule",
    "Solution",
    "boxed",
    "boxed_newton",
    "lbfgs",
    "newton_cg",
    "newton_cholesky",
    "prox_newton",
    "rate_at",
    "ridge_path",
    "saga",
    "shortened",
]
