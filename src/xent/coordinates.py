"""Changes of variables in which an approximate Hessian, shared by all classes, is the identity."""

from __future__ import annotations

from copy import copy
from typing import Any, Protocol

import numpy as np
from scipy import linalg

from ._blas import in_pieces
from .kernels.cpu.triangles import SOLVE, SOLVE_TURNED, TIMES_TURNED, with_triangles

Array = Any
# A gradient entry is measured in units of its feature beyond this size: its last digits are rounding there.
LARGE = 100.0
# A factor of D x D costs D^3 / 3 and each pass 4 K D^2: beyond this many features the diagonal is used.
MOST_FACTORED = 3000
# Numbers of logits, or of a sample of X, held at once ...
COPIED = 2**22
# ... and of X, for its second moments or to convert it.
COPIED_AT_ONCE = 2**20
# Columns of a product with a triangle that one task makes, where there are three times as many.
STRIP = 196
# Multiplications of one that are done about when another thread has woken.
SHORT = 2**21


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


class Centred:
    """``T T' = (diag(d) + s m m')^-1``: columns by themselves about their means m, and what the means add together.

    Sparse columns hardly correlate but for their means: counts, 0/1 and words all point the same way, and a diagonal
    takes that direction for as many as there are columns. With an intercept, whose slope is the sum s of the rows'
    curvatures, it is a change to ``b + m'w``, about the mean of the rows.

    Parameters
    ----------
    spread : float64 array (D,)
        The curvature of each column about its mean, with the penalty: d.
    mean : float64 array (D,)
    total : float
        The rows' curvature, s.
    intercept_l2 : float or None
        The penalty of the intercept, the last of D + 1 coordinates; None where there is none.
    """

    def __init__(self, spread: Array, mean: Array, total: float, intercept_l2: float | None) -> None:
        self.root, self.mean = np.sqrt(_positive(spread)), mean
        whole = total if intercept_l2 is None else total + intercept_l2
        self.share = 0.0 if intercept_l2 is None or whole <= 0 else total / whole
        self.intercept = None if intercept_l2 is None else float(_positive(np.array(whole))) ** 0.5
        # what the intercept does not take off: diag(d) + left m m' of the weights
        left = total if intercept_l2 is None else self.share * intercept_l2
        self.turned = mean / self.root
        length = float(np.linalg.norm(self.turned))
        self.turned = self.turned / (length or 1.0)
        self._longer = (1 + left * length**2) ** 0.5
        diagonal = spread + total * mean**2
        self.sizes = np.sqrt(_positive(diagonal if intercept_l2 is None else np.append(diagonal, whole)))

    def _stretched(self, v: Array, by: float, out: Array) -> None:
        """The rows of v (V, D), `by` times as long in the direction of the mean, in `out`, which may be v."""
        if by != 1:
            np.add(v, ((by - 1) * (v @ self.turned))[:, None] * self.turned, out=out)
        elif out is not v:
            out[...] = v

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        D, out = len(self.root), np.empty_like(v)
        weights = out[:, :D]
        self._stretched(v[:, :D], 1 / self._longer, weights)
        weights /= self.root
        if self.intercept is not None:
            out[:, D] = v[:, D] / self.intercept - self.share * (weights @ self.mean)
        return out

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        D, out = len(self.root), np.empty_like(w)
        self._stretched(w[:, :D] * self.root, self._longer, out[:, :D])
        if self.intercept is not None:
            out[:, D] = (w[:, D] + self.share * (w[:, :D] @ self.mean)) * self.intercept
        return out

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        D, out = len(self.root), np.empty_like(gradient)
        slope, weights = gradient[:, :D], out[:, :D]
        if self.intercept is not None:
            out[:, D] = gradient[:, D] / self.intercept
            np.multiply(self.share * gradient[:, D:], self.mean, out=weights)
            slope = np.subtract(slope, weights, out=weights)
        np.divide(slope, self.root, out=weights)
        self._stretched(weights, 1 / self._longer, weights)
        return out


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
        w = _times_lower(v, self.inverse)
        w *= self.scale
        return w

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        return _times_lower(w / self.scale, self.L)

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        return _times_lower(gradient * self.scale, self.inverse, turned=True)


def _times_lower(v: Array, L: Array, *, turned: bool = False) -> Array:
    """``v L`` or ``v L'`` of a lower triangle with zeros above: strips of columns, but for what is zero in them."""
    P = len(L)
    if P < 3 * STRIP or v.size * P < SHORT:
        return np.asarray(v @ (L.T if turned else L))
    out = np.empty(v.shape)

    def strip(a: int, b: int) -> None:
        if turned:
            np.matmul(v[:, :b], L[a:b, :b].T, out=out[:, a:b])
        else:
            np.matmul(v[:, a:], L[a:, a:b], out=out[:, a:b])

    in_pieces(strip, P, STRIP)
    return out


class PerClass:
    """``T = (1 - 11'/K) diag_k(S_k L_k^-T)`` where ``S_k H_k S_k = L_k L_k'``: a factor for each class.

    What all classes share is left out: it changes no probability, and the blocks H_k of the Hessian, which say nothing
    of how classes hold each other, would let it run. So T maps onto the parameters whose sum over classes is zero, and
    `to_coordinates` gives one of the points that lead there.

    Parameters
    ----------
    scale : array (K, P)
    factors : float32 or float64 array (K, P, P), lower triangles; what lies above is not read
    """

    def __init__(self, scale: Array, factors: Array) -> None:
        self.scale, self.factors, self.sizes = scale, factors, 1 / scale

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        w = with_triangles(self.factors, np.array(v, np.float64, order="C"), SOLVE_TURNED)
        w *= self.scale
        w -= w.mean(axis=0)
        return w

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        return with_triangles(self.factors, (w - w.mean(axis=0)) / self.scale, TIMES_TURNED)

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        return with_triangles(self.factors, (gradient - gradient.mean(axis=0)) * self.scale, SOLVE)


class SharedAndOwn:
    """``T = (1 - 11'/K) diag_k(T_k)``, ``T_k T_k' = (c_k M + diag(l) + U_k U_k')^-1``: a share of one matrix for each
    class, the penalty, and a few directions of its own.

    In coordinates where M and diag(l) both are diagonal, those of a class are a scale each and a matrix that is one but
    for its few directions, whose root is another of these. What all classes share is left out, as by `PerClass`.

    Parameters
    ----------
    shared : array (P, P)
        M, without negative eigenvalues; overwritten.
    penalty : array (P,)
        l.
    share : array (K,)
        c, above zero.
    own : array (R, K, P)
        U.
    """

    def __init__(self, shared: Array, penalty: Array, share: Array, own: Array) -> None:
        # of two classes of one size the block is half the shared matrix, and so is the penalty beside it
        mean = float(share.mean())
        self._penalty, self._squares = penalty, share[:, None] * np.diag(shared) + (own * own).sum(axis=0)
        shared *= mean
        np.einsum("ii->i", shared)[...] += penalty
        factor = Factor.of(shared, np.ones(len(penalty)))
        to = factor.inverse * factor.scale
        eigenvalues, turn = linalg.eigh((to * penalty) @ to.T)
        self._ridge, self._share = np.clip(eigenvalues, 0.0, 1.0), share[:, None] / mean
        self._to, self._from = turn.T @ to, (factor.L / factor.scale[:, None]) @ turn
        self._turned = own @ self._to.T
        self._of(1.0)

    def times(self, much: float) -> SharedAndOwn:
        """The same for so many times the penalty: what makes both matrices diagonal still does."""
        new = copy(self)
        new._of(much)
        return new

    def _of(self, much: float) -> None:
        self.sizes = np.sqrt(_positive(self._squares + much * self._penalty))
        self._root = np.sqrt(self._share * (1 - self._ridge) + much * self._ridge)
        A = self._turned / self._root
        square, turn = np.linalg.eigh(np.einsum("akp,bkp->kab", A, A, optimize=True))  # (K, R), (K, R, R)
        square = np.maximum(square, 0.0)
        self._longer = np.sqrt(1 + square).T
        turn /= np.sqrt(_positive(square))[:, None, :]
        self._own = np.einsum("akp,kab->bkp", A, turn, optimize=True)

    def _stretched(self, v: Array, by: Array) -> Array:
        """The rows of v (K, P), `by` (R, K) times as long in the directions of their own."""
        for direction, times in zip(self._own, by, strict=True):
            # they are orthogonal, so that one after the other is all at once
            v = v + ((times - 1) * np.einsum("kp,kp->k", v, direction))[:, None] * direction
        return v

    def to_parameters(self, v: Array) -> Array:  # noqa: D102
        w = (self._stretched(v, 1 / self._longer) / self._root) @ self._to
        w -= w.mean(axis=0)
        return w

    def to_coordinates(self, w: Array) -> Array:  # noqa: D102
        return self._stretched(((w - w.mean(axis=0)) @ self._from) * self._root, self._longer)

    def pull_back(self, gradient: Array) -> Array:  # noqa: D102
        g = ((gradient - gradient.mean(axis=0)) @ self._to.T) / self._root
        return self._stretched(g, 1 / self._longer)


def coordinates(H: Array, units: Array) -> Coordinates:
    """Coordinates in which H, or the diagonal H, of features over units is the identity; H is overwritten."""
    return Diagonal(units * np.sqrt(_positive(H))) if H.ndim == 1 else Factor.of(H, units)
