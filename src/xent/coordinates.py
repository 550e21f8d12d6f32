"""Changes of variables in which an approximate Hessian, shared by all classes, is the identity."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from scipy import linalg
from scipy.linalg import blas

Array = Any
# A gradient entry is measured in units of its feature beyond this size: its last digits are rounding there.
LARGE = 100.0
# A factor of D x D costs D^3 / 3 and each pass 4 K D^2: beyond this many features the diagonal is used.
MOST_FACTORED = 3000
# Numbers of logits, or of a sample of X, held at once ...
COPIED = 2**22
# ... and of X, for its second moments or to convert it.
COPIED_AT_ONCE = 2**20


def _positive(diagonal: Array) -> Array:
    """Entries that are zero (a column of zeros without a penalty) become one: such a coordinate does not move."""
    return np.where(diagonal > 0, diagonal, 1.0)


class Coordinates(Protocol):
    """A change of variables ``w = T v`` for each row of the parameters."""

    sizes: Array  # the roots of the Hessian's diagonal

    def to_parameters(self, v: Array) -> Array:
        """``w = T v``."""

    def to_coordinates(self, w: Array) -> Array:
        """``v = T^-1 w``."""

    def pull_back(self, gradient: Array) -> Array:
        """The gradient in v, ``T' g``."""


class Diagonal:
    """``T = diag(H)^-1/2``, from the root."""

    def __init__(self, root: Array) -> None:
        self.root = self.sizes = root

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        return v / self.root

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        return w * self.root

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        return gradient / self.root


class Factor:
    """``T = S L^-T`` where ``S H S = L L'`` and S makes the diagonal of ``S H S`` one."""

    def __init__(self, scale: Array, L: Array) -> None:
        self.scale, self.L, self.sizes = scale, L, 1 / scale
        # a product a pass, where solving would spend more on checks than on numbers for small D
        self.inverse, _ = linalg.lapack.dtrtri(L, lower=1)

    @classmethod
    def of(cls, H: Array, units: Array) -> Factor:
        """Factor H, whose features are over `units`, adding what rounding needs where columns depend on each other."""
        scale = 1 / np.sqrt(_positive(np.diag(H).copy()))
        unit = H * scale[:, None] * scale
        jitter = 1e-10
        while True:
            unit[np.diag_indices(len(unit))] = np.diag(unit) + jitter
            try:
                return cls(scale / units, linalg.cholesky(unit, lower=True))
            except linalg.LinAlgError:
                jitter *= 100

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        return (v @ self.inverse) * self.scale

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        return (w / self.scale) @ self.L

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        return (gradient * self.scale) @ self.inverse.T


class PerClass:
    """``T = (1 - 11'/K) diag_k(S_k L_k^-T)`` where ``S_k H_k S_k = L_k L_k'``: a factor for each class.

    What all classes share is left out: it changes no probability, and the blocks H_k of the Hessian, which say nothing
    of how classes hold each other, would let it run. So T maps onto the parameters whose sum over classes is zero, and
    `to_coordinates` gives one of the points that lead there.

    Parameters
    ----------
    scale : array (K, P)
    factors : list of K arrays (P, P), lower triangles, Fortran order
    """

    def __init__(self, scale: Array, factors: list[Array]) -> None:
        self.scale, self.factors, self.sizes = scale, factors, 1 / scale

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        w = np.array([blas.dtrsv(L, row, lower=1, trans=1) for L, row in zip(self.factors, v, strict=True)])
        w *= self.scale
        return w - w.mean(axis=0)

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        w = (w - w.mean(axis=0)) / self.scale
        return np.array([blas.dtrmv(L, row, lower=1, trans=1) for L, row in zip(self.factors, w, strict=True)])

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        g = (gradient - gradient.mean(axis=0)) * self.scale
        return np.array([blas.dtrsv(L, row, lower=1) for L, row in zip(self.factors, g, strict=True)])


def coordinates(H: Array, units: Array) -> Coordinates:
    """Coordinates in which H, or the diagonal H, of features over units is the identity; H is overwritten."""
    return Diagonal(units * np.sqrt(_positive(H))) if H.ndim == 1 else Factor.of(H, units)
