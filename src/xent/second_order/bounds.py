"""Bounds of the slopes of columns of a dense X, from passes made earlier: which columns need no reading now."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._blas import in_pieces

Array = Any
# Passes that are remembered; residuals that differ from those before by a smaller share say nothing of their own.
PASSES, LEAST_SHARE = 3, 1e-6
# What rounding may add to a bound, of its own size and of the columns' times the residuals': that of a pass divided by
# the share above.
SLACK = 1e-9
# Numbers of X of one task, read three times.
READ = 2**16


class SlopeBounds:
    """Of each column x: where ``r = sum_k c_k r_k + rest``, ``|x'r - sum_k c_k x'r_k|`` is at most
    ``|x - mean| |rest| + |mean| |sum(rest)|``, and ``x'r_k`` is known of the passes r_k.

    On a path residuals change smoothly: of the last three the rest is a small part of what changed since the last. They
    take ``48 (N + D)`` bytes.

    Parameters
    ----------
    X : array (N, D)

    References
    ----------
    L. El Ghaoui, V. Viallon & T. Rabbani, "Safe feature elimination for the lasso", Pacific J. Optim. 8, 2012.
    """

    def __init__(self, X: Array) -> None:
        self._size, self._mean = _spread(X)
        self._passes: list[tuple[Array, Array]] = []  # residuals and slopes, the last first
        self._basis = np.empty((0, len(X)))  # orthonormal, of those residuals
        self._slopes = np.empty((0, X.shape[1]))  # each column's products with it

    def add(self, r: Array, slopes: Array) -> None:
        """Remember a pass: residuals (N,) and each column's product with them, (D,)."""
        self._passes = [(r, slopes), *self._passes][:PASSES]
        basis: list[Array] = []
        known: list[Array] = []
        for own, products in self._passes:
            q, s, size = own.copy(), products.copy(), np.sqrt(own @ own)
            for _ in range(2):  # twice is enough
                for other, its in zip(basis, known, strict=True):
                    c = other @ q
                    q -= c * other
                    s -= c * its
            rest = np.sqrt(q @ q)
            if rest > LEAST_SHARE * size:
                basis.append(q / rest)
                known.append(s / rest)
        self._basis, self._slopes = np.array(basis).reshape(-1, len(r)), np.array(known).reshape(-1, len(slopes))

    def __call__(self, r: Array) -> tuple[Array, Array]:
        """About the slopes (D,) at residuals r (N,), and the largest size that each may have; inf without a pass."""
        c = self._basis @ r
        rest = r - c @ self._basis
        about = c @ self._slopes
        more = self._size * np.sqrt(rest @ rest) + self._mean * abs(rest.sum())
        rounding = (self._size + np.sqrt(len(r)) * self._mean) * np.sqrt(r @ r)
        return about, np.abs(about) + (1 + SLACK) * more + SLACK * rounding


def _spread(X: Array) -> tuple[Array, Array]:
    """Of each column: its distance from its mean, and that mean's size."""
    N, D = X.shape
    step = max(1, READ // max(1, D))
    pieces = -(-N // step)
    each = np.zeros((min(pieces, 16), 2, D))
    step *= -(-pieces // len(each))
    small = max(1, READ // max(1, D))

    def look(begin: int, end: int) -> None:
        for a in range(begin, end, small):
            some = X[a : min(end, a + small)]
            each[begin // step, 0] += some.sum(axis=0, dtype=np.float64)
            each[begin // step, 1] += np.einsum("ij,ij->j", some, some, dtype=np.float64)

    in_pieces(look, N, step)
    sums, squares = each.sum(axis=0)
    mean = sums / N
    # the mean's share of the squares is their rounding where the column hardly varies
    size = np.sqrt(np.maximum(squares - N * mean**2, 0) + 1e-13 * squares)
    return size, np.abs(mean) * (1 + 1e-6) + 1e-300
