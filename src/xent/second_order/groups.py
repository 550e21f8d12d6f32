"""The softmax objective with a group lasso over the classes: a feature's coefficients are a unit, zero together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..objective import SoftmaxObjective
from .sparse import MOST_COORDINATES, MOST_FLOPS, L1Objective, Part

Array = Any


class GroupObjective(L1Objective):
    """An objective plus ``sum_j l1_j |W_:j|_2``, as `xent.solvers.prox_newton` takes it.

    The intercepts are a free unit.

    Parameters
    ----------
    objective : SoftmaxObjective
        Of more than two classes, with the L2 part of the penalty; its intercept has none.
    l1 : float or float64 array (D,)
        Strength of the penalty of the groups, or of each feature's.
    known : L1Objective, optional
        As there.

    References
    ----------
    M. Yuan & Y. Lin, "Model selection and estimation in regression with grouped variables", JRSS B 68(1), 2006.
    M. Vincent & N. R. Hansen, "Sparse group lasso and high dimensional multinomial classification", CSDA 71, 2014.
    """

    def __init__(self, objective: SoftmaxObjective, l1: Array, known: L1Objective | None = None) -> None:
        super().__init__(objective, l1, known=known)
        self.unit_l1 = self.l1.reshape(objective.shape)[0]

    def parts(self, chosen: Array) -> list[Part]:
        """The problem on the chosen features: at once where that is cheap, else in pieces with all classes each."""
        V, D = self.objective.shape
        most = min(float(MOST_COORDINATES), (MOST_FLOPS / max(1, self.objective.X.shape[0])) ** 0.5)
        pieces = max(1, -(-len(chosen) // max(1, int(most // V))))
        classes = np.arange(V)[:, None] * D
        return [Part(self, (classes + units).ravel(), units) for units in np.array_split(chosen, pieces) if len(units)]

    def certificate(self, theta: Array, slope: Array) -> tuple[float, float]:
        """The larger of the worst violation of the optimality conditions and the gap in nats; and the gap."""
        W, g = theta.reshape(self.objective.shape), slope.reshape(self.objective.shape)
        norm = np.linalg.norm(W, axis=0)
        pull = W * (self.unit_l1 / np.where(norm > 0, norm, 1.0))
        away = np.linalg.norm(g + pull, axis=0) - np.where(norm > 0, 0.0, self.unit_l1)
        gap = self.gap(theta, slope)
        return max(float((away / self._sizes[: len(away)]).max(initial=0)), gap), gap

    def _penalty_gap(self, theta: Array, G: Array) -> tuple[float, float]:
        W, u = theta.reshape(self.objective.shape), -G.reshape(self.objective.shape)
        l1, l2 = self.unit_l1, self.objective.penalty
        lasso, size = (l1 > 0) & (l2 == 0), np.linalg.norm(u, axis=0)
        over = lasso & (size > l1)
        s = float((l1[over] / size[over]).min()) if over.any() else 1.0
        u, size, norm = s * u, s * size, np.linalg.norm(W, axis=0)
        ahead = u / np.where(size > 0, size, 1.0)
        along = norm * ((W / np.where(norm > 0, norm, 1.0) - ahead) ** 2).sum(axis=0) / 2  # |w| - w.u / |u|
        total = np.where(lasso, (l1 - np.minimum(size, l1)) * norm + size * along, 0.0)
        ridge = l2 > 0
        beyond = np.maximum(size - l1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            curved = ((beyond * ahead - l2 * W) ** 2).sum(axis=0) / (2 * l2)
        # h(w) + h*(u) - u.w where u is beyond l1, and short of it
        far, near = l1 * along + curved, (l1 - size) * norm + size * along + l2 * norm**2 / 2
        return s, float((total + np.where(ridge, np.where(beyond > 0, far, near), 0.0)).sum())
