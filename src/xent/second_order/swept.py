"""Many coordinates of a sparse X at once: models in products alone, by columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.contract import ByColumn, RowModel
from .rows import Rows

Array = Any


class HeldColumns:
    """Columns of a CSR X in float64, by columns, with a last one of ones; they grow as they are asked for."""

    def __init__(self, X: Any) -> None:
        self.X = X
        self.place = np.full(X.shape[1] + 1, -1, np.int64)
        self._held: tuple[Array, Array, Array] | None = None

    def of(self, coordinates: Array, D: int) -> ByColumn:
        """Coordinates (P,) of weights (V, D [+ 1])."""
        column = coordinates % D
        if (self.place[column] < 0).any():
            self._take(np.unique(column))
        assert self._held is not None
        return ByColumn(*self._held, self.place[column].astype(np.int32), (coordinates // D).astype(np.int32))

    def _take(self, wanted: Array) -> None:
        N, D = self.X.shape
        wanted = wanted[wanted < D]
        self._held = None
        if 2 * len(wanted) > D:
            wanted = np.arange(D)
            part = self.X.tocsc()
        else:
            part = self.X[:, wanted].tocsc()
        part.sum_duplicates()  # the square of an entry in two parts is not the sum of their squares
        start = np.append(part.indptr.astype(np.int64), part.nnz + N)
        row = np.concatenate([part.indices.astype(np.int32), np.arange(N, dtype=np.int32)])
        self._held = start, row, np.concatenate([part.data.astype(np.float64), np.ones(N)])
        self.place[:] = -1
        self.place[wanted], self.place[D] = np.arange(len(wanted)), len(wanted)


class RowsModel:
    """The quadratic model of a softmax's rows, as `xent.solvers.l1_descent` takes it.

    Parameters
    ----------
    backend : Backend
    columns : ByColumn
    rows : Rows
    p : array (N, V)
        Probabilities where the model is made.
    l2 : array (P,)
    order : int64 array (P,)
    """

    def __init__(self, backend: Any, columns: ByColumn, rows: Rows, p: Array, l2: Array, order: Array) -> None:
        self.backend, self.columns, self.l2, self.order = backend, columns, l2, order
        every = np.arange(len(l2))
        if rows.V == 1:
            weight, several = rows.curvature(p, 0, 0), None
            curvatures = weight[:, None]
        else:
            weight, several = np.ascontiguousarray(rows.weight, np.float64), np.ascontiguousarray(p)
            curvatures = weight[:, None] * p * (1 - p)
        self.diagonal = backend.gather(columns, every, np.ascontiguousarray(curvatures), squares=True) + l2
        mean = None if several is None else np.zeros(len(p))
        self._rows = RowModel(weight, several, np.zeros(p.shape), mean, self.diagonal)
        self._base = np.zeros(len(l2))

    def begin(self, g: Array, x: Array) -> None:
        """See `Model.begin`."""
        self._rows.change[:] = 0
        if self._rows.mean is not None:
            self._rows.mean[:] = 0
        self._base = g - self.l2 * x

    def descend(self, which: Array, l1: Array, u: Array) -> float:
        """See `Model.descend`."""
        return float(self.backend.descend(self.columns, which, self._rows, self._base, l1, self.l2, u))

    def _slopes(self, change: Array, mean: Array | None) -> Array:
        rows = self._rows
        if rows.p is None or mean is None:
            return change
        return rows.weight[:, None] * rows.p * (change - mean[:, None])

    def slope(self, which: Array, u: Array) -> Array:
        """See `Model.slope`."""
        slopes = self._slopes(self._rows.change, self._rows.mean)
        return self.backend.gather(self.columns, which, slopes) + self._base[which] + self.l2[which] * u[which]

    def logits(self, which: Array, step: Array) -> Array:
        """What a step of some coordinates changes of the logits, (N, V)."""
        full, z = np.zeros(len(self.l2)), np.zeros(self._rows.change.shape)
        full[which] = step
        self.backend.spread(self.columns, which, full, z)
        return z

    def _moved(self, which: Array, step: Array) -> tuple[Array, Array | None]:
        z = self.logits(which, step)
        if self._rows.p is None:
            z *= self._rows.weight[:, None]
            return z, None
        return z, np.einsum("ik,ik->i", self._rows.p, z)

    def times(self, which: Array, step: Array) -> Array:
        """See `Model.times`."""
        slopes = self._slopes(*self._moved(which, step))
        return self.backend.gather(self.columns, which, slopes) + self.l2[which] * step

    def move(self, which: Array, step: Array) -> None:
        """See `Model.move`."""
        change, mean = self._moved(which, step)
        self._rows.change[:] += change
        if self._rows.mean is not None:
            self._rows.mean[:] += mean


class SweptPart:
    """The problem on many coordinates at once."""

    cheap = False  # a model is made at each point

    def __init__(self, problem: Any, coordinates: Array, held: HeldColumns) -> None:
        self.problem, self.coordinates, self.units = problem, coordinates, coordinates
        self.columns = held.of(coordinates, problem.objective.shape[1])
        self._every = np.arange(len(coordinates))
        # all classes of a feature after each other: their entries are then at hand
        self._order = np.lexsort((self.columns.vector, self.columns.column))
        self._change: tuple[Array, Array] | None = None
        self._tried = (0.0, 0.0)
        self._moved = False

    def slope(self) -> Array:
        """Slope (p,) of the smooth part at the present point."""
        problem, at = self.problem, self.coordinates
        if self._moved:
            r = problem.rows.residual(problem.p)
            g = problem.objective.backend.gather(self.columns, self._every, r)
        else:
            g = problem._slope[at]
        return g + problem.l2[at] * problem.theta[at]

    def hessian(self, *, fresh: bool) -> tuple[Any, bool]:
        """That of the present point, in products; and that it is."""
        problem = self.problem
        backend, l2 = problem.objective.backend, problem.l2[self.coordinates]
        self._model = RowsModel(backend, self.columns, problem.rows, problem.p, l2, self._order)
        return self._model, True

    def _logits(self, step: Array) -> Array:
        if self._change is None or self._change[0] is not step:
            self._change = step, self._model.logits(self._every, step)
        return self._change[1]

    def value_after(self, step: Array, t: float) -> float:
        """The smooth part's value at the present point plus ``t * step``, but for the penalty of other coordinates."""
        problem = self.problem
        new = problem.theta[self.coordinates] + t * step
        loss = problem.rows.value(problem.z + t * self._logits(step)) if t else problem.loss
        self._tried = t, loss
        return loss + 0.5 * float(problem.l2[self.coordinates] @ (new * new))

    def move(self, step: Array, t: float) -> None:
        """Make that the present point."""
        problem = self.problem
        loss = self._tried[1] if self._tried[0] == t else None
        problem.stand(problem.z + t * self._logits(step), loss)
        problem.moves += 1
        self._moved = True
