"""Mini-batch gradient descent, plain, with momentum, or with Nesterov's."""

from __future__ import annotations

from typing import Any


class GradientDescent:
    """``v <- momentum v + g``, and the step ``-rate v``; Nesterov's is ``-rate (g + momentum v)``.

    Parameters
    ----------
    momentum : float from 0 to below 1
    nesterov : bool

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods", 1964. Sutskever et al., "On the
    importance of initialization and momentum in deep learning", ICML 2013 (Nesterov's in this form).

    Examples
    --------
    >>> rule = GradientDescent(momentum=0.5)
    >>> rule.step(1.0, 0.1), rule.step(1.0, 0.1)
    (-0.1, -0.15000000000000002)
    """

    def __init__(self, momentum: float = 0.0, nesterov: bool = False) -> None:
        self.momentum, self.nesterov = momentum, nesterov
        self.velocity: Any = None

    def step(self, gradient: Any, rate: float) -> Any:
        """What to add to the parameters."""
        self.velocity = gradient if self.velocity is None else self.momentum * self.velocity + gradient
        return -rate * (gradient + self.momentum * self.velocity if self.nesterov else self.velocity)

    def step_rows(self, gradient: Any, rate: float, rows: Any, count: int) -> Any:
        """What to add to some rows of the parameters, which alone have a gradient; without momentum.

        Raises
        ------
        ValueError
            With momentum, which would move the other rows too.
        """
        if self.momentum:
            raise ValueError("steps of some rows alone have no momentum")
        return -rate * gradient
