"""Softmax regression with an elastic net, of rows that come in batches, as a sum over blocks of rows for SAGA."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any

import numpy as np
from scipy import sparse, special

from ..coordinates import LARGE
from ..losses import log_softmax
from ._stream_objective import Batch
from ._stream_rows import Rows


class _Block:
    """Rows in the problem's coordinates: features centred and of unit size, the intercept's ones beside them.

    Sparse ones stay sparse: their centre is taken off the products.
    """

    def __init__(self, problem: SagaProblem, name: Hashable, X: Any, label: Any, weight: Any) -> None:
        self.problem, self.name, self.label, self.weight = problem, name, label, weight / problem.total
        self.shift: Any = None  # what a sparse block, whose zeros are not stored, is off centre by
        if sparse.issparse(X):
            self.U = X.astype(np.float64) @ sparse.diags_array(1 / problem.size)
            self.shift = problem.mean / problem.size
        else:
            self.U = (X - problem.mean) / problem.size

    @property
    def smoothness(self) -> float:
        """The largest eigenvalue of ``U' diag(weight) U``, times the most that a row curves in its logits."""
        V, one = self.problem.shape[0], float(self.problem.fit_intercept)
        U, root = self.U, np.sqrt(self.weight)
        rows, columns = U.shape
        if self.shift is not None:
            along = U @ self.shift
            gram = (U @ U.T).toarray() - along[:, None] - along + self.shift @ self.shift + one
            gram = root[:, None] * gram * root
        elif rows <= columns:
            gram = root[:, None] * (U @ U.T + one) * root
        else:
            U = np.column_stack([U, np.full(rows, one)]) * root[:, None]
            gram = U.T @ U
        return float(np.linalg.eigvalsh(gram)[-1]) * (0.25 if V == 1 else 0.5)

    @property
    def moments(self) -> Any:
        """The diagonal of ``U' diag(weight) U``, (D,)."""
        if self.shift is None:
            return self.weight @ self.U**2
        first, second = self.weight @ self.U, self.weight @ self.U.multiply(self.U)
        return second - 2 * self.shift * first + self.shift**2 * self.weight.sum()

    def slopes(self, x: Any) -> tuple[float, Any]:
        W = x.reshape(self.problem.shape)
        D = self.U.shape[1]
        z = self.U @ W[:, :D].T
        if self.shift is not None:
            z -= W[:, :D] @ self.shift
        if self.problem.fit_intercept:
            z += W[:, D]
        if z.shape[1] == 1:
            sign = np.where(self.label == 1, -1.0, 1.0)
            loss, r = np.logaddexp(0, sign * z[:, 0]), (sign * special.expit(sign * z[:, 0]))[:, None]
        else:
            logp, each = log_softmax(z), np.arange(len(z))
            loss, r = -logp[each, self.label], np.exp(logp)
            r[each, self.label] = 0
            r[each, self.label] = -r.sum(axis=1)
        return float(self.weight @ loss), r * self.weight[:, None]

    def pull_back(self, slopes: Any) -> Any:
        out = np.empty(self.problem.shape)
        D = self.U.shape[1]
        out[:, :D] = (self.U.T @ slopes).T
        if self.shift is not None:
            out[:, :D] -= np.outer(slopes.sum(axis=0), self.shift)
        if self.problem.fit_intercept:
            out[:, D] = slopes.sum(axis=0)
        return out.ravel()


class SagaProblem:
    """A `xent.solvers.saga.FiniteSum`: mean cross-entropy plus ``l1 |W|_1 + l2 / 2 |W|^2``.

    Its coordinates are those of features centred and divided by their spread, with which the L1 penalty
    stays one of each coordinate. The moments take three passes.

    Parameters
    ----------
    rows : Rows
    l1, l2 : float
    batch_size : int
        Rows of a block.
    shuffle : bool
    """

    def __init__(self, rows: Rows, l1: float, l2: float, batch_size: int, shuffle: bool) -> None:
        self.rows, self.l1, self.l2, self.batch_size, self.shuffle = rows, l1, l2, batch_size, shuffle
        self.total, self.fit_intercept = rows.total, bool(rows.model.fit_intercept)
        D, K = rows.features, len(rows.model.classes_)
        self.shape = (1 if K == 2 else K, D + self.fit_intercept)
        first, second, self.mean = np.zeros(D), np.zeros(D), np.zeros(D)
        flat = False
        for X, _, weight in rows.batches():
            flat = flat or sparse.issparse(X)
            share = weight / self.total
            first += share @ X
            with np.errstate(over="ignore"):
                second += share @ (X.multiply(X) if sparse.issparse(X) else np.square(X, dtype=np.float64))
        if not np.isfinite(second).all():
            raise ValueError("the squares of the features overflow: divide the largest features by a constant")
        if self.fit_intercept:
            self.mean = first
            if flat:  # not as exact as below, and no more than a scale
                second = np.maximum(second - first**2, 1e-6 * second)
            else:
                second = sum(weight / self.total @ np.square(X - first) for X, _, weight in rows.batches())
        self.size = np.sqrt(np.where(second > 0, second, 1.0))
        # a rare feature is large where it is not zero, and steps must suit that block: more of its size
        largest = np.zeros(D)
        M = 0
        for block in self.blocks():
            largest = np.maximum(largest, block.moments)
            M += 1
        self.size = self.size * np.sqrt(np.maximum(M * largest, 1.0))

    def blocks(self) -> Iterator[_Block]:
        for number, batch in enumerate(self.rows.batches()):
            yield from self._of(number, batch)

    def _of(self, number: int, batch: Batch) -> Iterator[_Block]:
        X, label, weight = batch
        n = len(label)
        starts = np.arange(0, n, self.batch_size)
        if self.shuffle:  # the same blocks each time, in another order
            order = np.random.default_rng([self.rows.seed, number]).permutation(n)
            starts = self.rows.rng.permutation(starts)
        for start in starts.tolist():
            part: Any = slice(start, start + self.batch_size)
            part = order[part] if self.shuffle else part
            yield _Block(self, (number, start), X[part], label[part], weight[part])

    def _scaled(self, x: Any) -> Any:
        """The strengths of both penalties in the coordinates, (D,) each, and the weights among x."""
        return self.l1 / self.size, self.l2 / self.size**2, x.reshape(self.shape)[:, : len(self.size)]

    def proximal(self, x: Any, step: float) -> Any:
        x = x.copy()
        l1, l2, W = self._scaled(x)
        W[...] = np.sign(W) * np.maximum(np.abs(W) - step * l1, 0) / (1 + step * l2)
        return x

    def penalty(self, x: Any) -> float:
        l1, l2, W = self._scaled(x)
        return float((l1 * np.abs(W)).sum() + 0.5 * (l2 * W**2).sum())

    def measure(self, x: Any, gradient: Any) -> float:
        """How far zero is from the subgradient in the parameters, at most; of large features over their size."""
        D, W = len(self.size), self.to_parameters(x)
        g = gradient.reshape(self.shape)
        slope = g[:, :D] * self.size + self.l2 * W[:, :D]
        if self.fit_intercept:
            slope = slope + g[:, D:] * self.mean
        off = np.where(
            W[:, :D] != 0, np.abs(slope + self.l1 * np.sign(W[:, :D])), np.maximum(np.abs(slope) - self.l1, 0)
        )
        worst = float((off / np.maximum(1, np.hypot(self.size, self.mean) / LARGE)).max(initial=0))
        return max(worst, float(np.abs(g[:, D:]).max(initial=0)))

    def to_parameters(self, x: Any) -> Any:
        theta = np.array(x.reshape(self.shape))
        theta[:, : len(self.size)] /= self.size
        if self.fit_intercept:
            theta[:, -1] -= theta[:, :-1] @ self.mean
        return theta
