"""What solvers share: the problem as they see it, and where they stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

# Called after each iteration with the parameters, the value and the measure of convergence there.
Callback = Callable[[Any, float, float], None]


@dataclass(frozen=True)
class Solution:
    """Where a solver stopped, and why.

    Attributes
    ----------
    x : the parameters
    value : the objective there
    convergence : the problem's measure there
    n_iter, n_eval : iterations, evaluations of value and gradient
    converged : whether `convergence` is at most the tolerance
    message : why it stopped
    gap : the duality gap there, where the solver has one: no point is lower by more
    log : what else the way was, in words
    """

    x: Any
    value: float
    convergence: float
    n_iter: int
    n_eval: int
    converged: bool
    message: str
    gap: float | None = None
    log: str = ""


class Problem(Protocol):
    """What every smooth solver needs: coordinates, value and gradient in them, and a measure of convergence."""

    patience: int  # iterations between two looks at the coordinates
    rough: bool  # whether values are not exact to the last digits of float64 yet

    def value_and_grad(self, v: Any) -> tuple[float, Any]:
        """Value and gradient at v."""

    def convergence(self, gradient: Any) -> float:
        """How far the last point, which has this gradient, is from a minimum, in the problem's own units."""

    def to_parameters(self, v: Any) -> Any:
        """A point of this problem's coordinates in coordinates that do not change."""

    def to_coordinates(self, theta: Any) -> Any:
        """The inverse of `to_parameters`, flat."""

    def is_stale(self, theta: Any, left: float = 1.0) -> bool:
        """Whether the coordinates fit the place no longer, or not well enough to go `left` times nearer."""

    def renewed(self, theta: Any, stuck: bool = False) -> Problem:
        """The problem in coordinates that fit there; `stuck`: steps in the old ones gained nothing."""
