"""Solvers: they see a value, a gradient and a measure of convergence, and know nothing of losses."""

from .lbfgs import Solution, lbfgs

__all__ = ["Solution", "lbfgs"]
