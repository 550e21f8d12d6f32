"""Hessians of the softmax objective, and their products, for Newton's method."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..coordinates import COPIED, LARGE
from ..objective import SoftmaxObjective
from ..preconditioned import Preconditioned
from .rows import Rows, gradient, logits

Array = Any
# Numbers of the features that are weighted at once, in as many ways as there are pairs of classes.
AT_ONCE = 2**17


class NewtonProblem:
    """The objective with its whole Hessian, as `xent.solvers.newton_cholesky` takes it.

    Parameters
    ----------
    objective : SoftmaxObjective
        Its Hessian takes ``8 (V (D + 1))^2`` bytes and ``V^2 N (D + 1)^2 / 2`` multiplications.
    bounded : bool
        Whether weights have bounds, so that a change of a feature's weights in all classes alike is not free.
    """

    def __init__(self, objective: SoftmaxObjective, *, bounded: bool = False) -> None:
        self.objective, self._rows, self._bounded = objective, Rows(objective), bounded
        self._sizes = np.ones(objective.shape)
        self._pairs = np.tril_indices(objective.vectors)  # of classes

    def value_and_grad(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient at flat parameters (P,)."""
        return self.objective.value_and_grad(theta)

    def largest(self, slope: Array) -> float:
        """The largest entry, over the size of its feature where that is above `LARGE`."""
        entries = np.abs(slope.reshape(self.objective.shape)) / np.maximum(1, self._sizes / LARGE)
        return float(entries.max(initial=0))

    def hessian(self, theta: Array) -> Array:
        """The Hessian at flat parameters, (P, P), built in blocks of two classes.

        Directions that change all classes alike and that no penalty holds have no curvature and no slope. They get
        the mean curvature of the classes, which makes the matrix regular and leaves the steps as they are.

        Raises
        ------
        ValueError
            When it overflows.
        """
        f, V = self.objective, self.objective.vectors
        p = self._rows.probabilities(logits(f, theta))
        D = f.shape[1]
        H = np.empty((V, D, V, D))
        first, second = self._pairs
        # of few rows all blocks at once: each product by itself would cost less than what calls it
        many = 1 if sparse.issparse(f.X) else max(1, AT_ONCE // max(1, f.X.shape[0] * D))
        for start in range(0, len(first), many):
            some = first[start : start + many], second[start : start + many]
            roots = np.sqrt(np.abs(self._rows.curvatures(p, *some)))
            for k, m, block in zip(*some, self._grams(roots), strict=True):
                H[k, :, m] = H[m, :, k] = block if k == m else -block
        if not np.isfinite(H).all():
            raise ValueError(
                "the squares of the features overflow in the Hessian: divide the largest features by a "
                "constant, or use solver='lbfgs'"
            )
        self._sizes = np.sqrt(np.einsum("kdkd->kd", H))
        return self._regular(H)

    def bound(self) -> Array:
        """A matrix that no Hessian is above, (P, P): for K classes ``(I - 11'/K) / 2`` times the Gram matrix."""
        V = self.objective.vectors
        classes = np.full((1, 1), 0.25) if V == 1 else (np.eye(V) - 1 / V) / 2
        return self._regular(np.einsum("km,de->kdme", classes, self.gram()))

    def gram(self) -> Array:
        """The weighted second moments of the features and the intercept, (D, D)."""
        return self._grams(np.sqrt(self.objective.weight)[None])[0]

    def _regular(self, H: Array) -> Array:
        """With the penalty, and curvature where only a change of all classes alike has none, as (P, P)."""
        V, D = H.shape[:2]
        penalty = self.objective.penalty
        if V > 1:
            free = np.flatnonzero(penalty == 0)
            free = free[free >= self.objective.X.shape[1]] if self._bounded else free
            if free.size:
                mean = sum(H[k, free[:, None], k, free] for k in range(V)) / V
                H[:, free[:, None], :, free] += (mean / V)[:, :, None, None]
        out = np.ascontiguousarray(H).reshape(V * D, V * D)
        out.ravel()[:: V * D + 1] += np.tile(penalty, V)
        return out

    def _grams(self, roots: Array) -> Array:
        """``X' diag(root)^2 X`` of each of the roots (M, N), with the intercept as a column of ones, (M, D, D)."""
        f = self.objective
        if sparse.issparse(f.X):
            return np.array([self._sparse_gram(root) for root in roots])
        (N, features), D, M = f.X.shape, f.shape[1], len(roots)
        out, step = np.zeros((M, D, D)), max(256, COPIED // (4 * max(1, M * D)))
        buffer = np.empty((M, min(N, step), D))
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, N, step):
                part = roots[:, start : start + step]
                X = buffer[:, : part.shape[1]]
                np.multiply(f.X[start : start + step], part[:, :, None], out=X[:, :, :features])
                if f.fit_intercept:
                    X[:, :, -1] = part
                out += X.swapaxes(1, 2) @ X  # NumPy sees the symmetry: half a product
        return out

    def _sparse_gram(self, root: Array) -> Array:
        """The same of one root and of sparse features, (D, D)."""
        f, D = self.objective, self.objective.shape[1]
        features, out = f.X.shape[1], np.zeros((D, D))
        for X, part in f.weighted_pieces(root):
            out[:features, :features] += (X.T @ X).toarray()
            if f.fit_intercept:
                out[-1, :-1] += np.asarray(X.T @ part).ravel()
                out[-1, -1] += part @ part
        if f.fit_intercept:
            out[:-1, -1] = out[-1, :-1]
        return out


class Boxed:
    """The objective as `xent.solvers.boxed` takes it: coordinates that bounds allow, each scaled by itself.

    Parameters
    ----------
    objective : SoftmaxObjective
    """

    def __init__(self, objective: SoftmaxObjective) -> None:
        self.value_and_grad = objective.value_and_grad
        H, units = objective.averaged_hessian(objective.curvature(None, objective.stride))
        diagonal = H if H.ndim == 1 else H.diagonal()
        self.roots = np.tile(units * np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), objective.vectors)

    def measure(self, projected: Array) -> float:
        """The largest entry of a projected gradient, or its length with each entry over the root of its curvature."""
        entries = np.abs(projected) / np.maximum(1, self.roots / LARGE)
        return max(float(entries.max(initial=0)), float(np.linalg.norm(projected / self.roots)))


class CurvedCoordinates:
    """A preconditioned objective with products of its Hessian, as `xent.solvers.newton_cg` takes it.

    Parameters
    ----------
    inner : Preconditioned
    """

    def __init__(self, inner: Preconditioned) -> None:
        self.inner, self._rows = inner, Rows(inner.objective)
        self._at: Array = None
        self._p: Array = None
        self.value_and_grad, self.convergence = inner.value_and_grad, inner.convergence
        self.to_parameters, self.to_coordinates = inner.to_parameters, inner.to_coordinates
        self.is_stale = inner.is_stale

    def renewed(self, theta: Array, stuck: bool = False) -> CurvedCoordinates:
        """The same in coordinates made at `theta`."""
        return CurvedCoordinates(self.inner.renewed(theta))

    def hessian_product(self, v: Array, direction: Array) -> Array:
        """The Hessian at v times a direction, flat; the probabilities at v are kept for the next one."""
        f = self.inner.objective
        if self._at is None or not np.array_equal(v, self._at):
            self._at, self._p = v.copy(), self._rows.probabilities(logits(f, self.inner.to_parameters(v)))
        change = self.inner.to_parameters(direction)
        out = gradient(f, self._rows.product(self._p, logits(f, change, change=True))) + f.penalty * change
        return np.ascontiguousarray(self.inner.coordinates.pull_back(out)).ravel()
