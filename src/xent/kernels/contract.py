"""What a backend is: operations that know no formula, a plain loss in one pass, and second derivatives.

Shapes: ``N`` rows, ``K`` classes, ``D`` features. Logits ``a`` are (N, K), ``x`` (N, D), ``w`` (K, D), ``bias`` (K,).

The statistics of a row are measured from its maximum ``m``, so that nothing cancels later:

    s = log sum_j exp(a_j - m) >= 0,    t = sum_j q_j (a_j - m) <= 0,    u = sum_j (a_j - m) <= 0

and a formula gives the loss ``l(s, t, u)`` and its slopes. Then ``dl/da_j = l_s p_j + l_t q_j + l_u``.

A linear layer of a dense x is computed in the dtype of w, and x may be stored in the other of float32 and float64: it
is converted as it is read, some rows at a time, and its numbers beyond the range of float32 become infinite.

The x of a linear layer may be a CSR matrix or array of SciPy, with int32 or int64 indices, sorted or not, a column
named twice being the sum. Then x itself has no gradient and no direction, and all is computed in its own dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

# bfloat16 where NumPy has no name for it: its two bytes. `ml_dtypes.bfloat16` is taken for the same.
BFLOAT16 = np.dtype("V2")
HALVES = ("float16", "bfloat16")  # computed in float32
# Rows whose second moments may be summed up in the dtype of the products.
MOMENT_ROWS = 512


def dtype_name(dtype: Any) -> str:
    """The name of a dtype; bfloat16 for the two bytes that stand for it too.

    >>> dtype_name(BFLOAT16), dtype_name(np.float32)
    ('bfloat16', 'float32')
    """
    kind = np.dtype(dtype)
    return "bfloat16" if kind == BFLOAT16 else kind.name


def widened(a: Array) -> Array:
    """A half precision as float32, by its bits where NumPy has no name for it; other arrays as they are.

    >>> float(widened(np.array([0x3FC0], np.uint16).view(BFLOAT16))[0])
    1.5
    """
    if a.dtype == BFLOAT16:
        return (a.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return a.astype(np.float32) if dtype_name(a.dtype) in HALVES else a


def narrowed(a: Array, dtype: Any) -> Array:
    """Numbers rounded to a dtype; to the nearest bfloat16, of two the even one, where NumPy has no name for it.

    >>> narrowed(np.float32([1.5]), BFLOAT16).view(np.uint16).tolist() == [0x3FC0]
    True
    """
    if dtype != BFLOAT16:
        return a.astype(dtype, copy=False)
    bits = a.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(a), 0x7FC0, rounded).astype(np.uint16).view(BFLOAT16)


@dataclass(frozen=True)
class Target:
    """The target of each row.

    Attributes
    ----------
    label : int64 array (N,), or None
        The class of each row. -1 leaves a row out: it costs nothing, its gradient is zero, and nothing in it is read.
        Beside `probs`, only its -1 entries mean anything.
    probs : array (N, K) in the dtype of the logits, or None
        The probability of each class.
    """

    label: Array | None
    probs: Array | None = None


class RowStats(NamedTuple):
    """Four float64 numbers a row: the maximum, and s, t, u measured from it; ``u`` only where it was asked for."""

    m: Array
    s: Array
    t: Array
    u: Array | None


class Slopes(NamedTuple):
    """The slopes of the loss in s, t and u: a float64 number a row each, or (for the fused calls) one for all rows."""

    s: Any
    t: Any
    u: Any


class LinearGrads(NamedTuple):
    """Gradients of a linear layer, None where not asked for.

    dx (N, D) in x's dtype, dw (K, D) in that of the computation (`layer_dtype`), db (K,) in float64.
    """

    x: Array | None
    w: Array | None
    bias: Array | None


class Need(NamedTuple):
    """Which gradients of a linear layer are asked for."""

    x: bool = False
    w: bool = True
    bias: bool = False


class Directions(NamedTuple):
    """A direction in x (N, D), w (K, D) and bias (K,) of a linear layer; None is zero."""

    x: Any = None
    w: Any = None
    bias: Any = None


class Curvatures(NamedTuple):
    """The loss's second derivatives in s and t, float64, (N,) each or numbers. (u enters every formula linearly.)"""

    ss: Any
    st: Any
    tt: Any


class Entries(NamedTuple):
    """Some columns of sparse rows, one chunk of rows after the other.

    Of each chunk: where each of its n rows begins (n + 1), int64; places (e,), int32; values (e,), float64.
    """

    start: tuple[Array, ...]
    column: tuple[Array, ...]
    value: tuple[Array, ...]
    width: int

    @property
    def stored(self) -> int:
        """How many entries there are."""
        return sum(map(len, self.value))

    @property
    def rows(self) -> list[tuple[int, int]]:
        """The rows [begin, end) of each chunk."""
        ends = list(accumulate((len(start) - 1 for start in self.start), initial=0))
        return list(pairwise(ends))


class ByColumn(NamedTuple):
    """Coordinates of weights (V, C): j is the weight of vector ``vector[j]`` at column ``column[j]`` of a matrix.

    Where each of its C columns begins (C + 1), int64; rows (e,), int32; values (e,), float64; columns and vectors (P,),
    int32.
    """

    start: Array
    row: Array
    value: Array
    column: Array
    vector: Array


class RowModel(NamedTuple):
    """A quadratic model of the rows of logits (N, V), and how far they have moved in it; all float64, in C order.

    Of two classes (V = 1) `p` and `mean` are None, `weight` (N,) is the second derivative of each row, and `change`
    (N, 1) what the slopes have changed. Of several that derivative is ``weight (diag(p) - p p')``, with p (N, V),
    `change` (N, V) what the logits have changed, and `mean` (N,) ``p'change`` of each row. `diagonal` (P,) is the
    model's second derivative along each coordinate, with the L2 penalty.
    """

    weight: Array
    p: Array | None
    change: Array
    mean: Array | None
    diagonal: Array


WEIGHTS_ONLY = Need()


def is_sparse(x: Any) -> bool:
    """Whether x is a sparse matrix or array of SciPy (which need not be loaded to tell)."""
    return hasattr(x, "nnz") and hasattr(x, "format")


def layer_dtype(x: Any, w: Array) -> np.dtype:
    """What a linear layer is computed in: the dtype of w, of a sparse x its own.

    >>> layer_dtype(np.ones((2, 3)), np.ones((4, 3), np.float32))
    dtype('float32')
    """
    return np.dtype(x.dtype if is_sparse(x) else w.dtype)


def products_in(dtype: DTypeLike) -> np.dtype:
    """What second moments are to be computed in.

    >>> products_in("float32")
    dtype('float32')
    """
    found = np.dtype(dtype)
    if found.name not in ("float32", "float64"):
        raise TypeError(f"second moments are computed in float32 or float64, not dtype={found}")
    return found


def check_csr(x: Any, need: Need = WEIGHTS_ONLY, directions: Directions | None = None) -> None:
    """Raise unless sparse features are CSR, and nothing is asked in them: that would be a dense (N, D) array."""
    if x.format != "csr":
        raise TypeError(f"a sparse x must be CSR, not {x.format.upper()}: give x.tocsr()")
    if need.x:
        raise ValueError(f"a sparse x has no gradient here: it would be a dense array of the shape {x.shape}")
    if directions is not None and directions.x is not None:
        raise ValueError(f"a sparse x has no direction here: it would be a dense array of the shape {x.shape}")


class Backend(Protocol):
    """The operations of a backend. `weight` (N,) float64 multiplies each row's slopes; a weight of 0 leaves it out."""

    name: str

    def row_stats(self, logits: Array, target: Target, *, need_u: bool = False) -> RowStats:
        """Statistics of each row of the logits."""

    def row_grad(
        self,
        logits: Array,
        target: Target,
        stats: RowStats,
        slopes: Slopes,
        *,
        weight: Array | None = None,
        out: Array | None = None,
    ) -> Array:
        """Gradient in the logits; `out` may be the logits themselves."""

    def row_fused(
        self,
        logits: Array,
        target: Target,
        slopes: Slopes,
        *,
        weight: Array | None = None,
        out: Array | None = None,
        total: bool = False,
    ) -> tuple[Any, Array]:
        """Loss of each row (float64, not weighted) and the weighted gradient, for slopes that are the same for all.

        With `total`, the weighted sum of the losses, a float, in the place of the first: on few classes the losses of
        the rows are as much memory as the logits.
        """

    def row_loss(
        self, logits: Array, target: Target, slopes: Slopes, *, weight: Array | None = None, total: bool = False
    ) -> Any:
        """The first result of `row_fused` alone."""

    def linear_stats(
        self, x: Array, w: Array, bias: Array | None, target: Target, *, need_u: bool = False, memory: int | None = None
    ) -> RowStats:
        """Statistics of each row of ``x w' + bias``; the logits are never stored.

        `memory` is the most that a call on a linear layer may take beside its arguments and results, in bytes; None
        leaves it to the backend. A budget that is too small is a ValueError that says what would do.
        """

    def linear_grad(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        target: Target,
        stats: RowStats,
        slopes: Slopes,
        *,
        weight: Array | None = None,
        need: Need = WEIGHTS_ONLY,
        memory: int | None = None,
        out: Array | None = None,
    ) -> LinearGrads:
        """Gradients in x, w and bias; the logits are computed again, a tile at a time.

        That in x goes into `out` if given: an array like x, in C order, that shares no memory with it.
        """

    def linear_fused(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        target: Target,
        slopes: Slopes,
        *,
        weight: Array | None = None,
        need: Need = WEIGHTS_ONLY,
        memory: int | None = None,
        total: bool = False,
        out: Array | None = None,
    ) -> tuple[Any, LinearGrads]:
        """Loss of each row and the gradients in one pass over x, for slopes that are the same for all.

        With `total`, the weighted sum of the losses, a float, in the place of the loss of each row (N,). `out` as for
        `linear_grad`.
        """

    def linear_hvp(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        target: Target,
        slopes: Slopes,
        directions: Directions,
        *,
        curvatures: Curvatures | None = None,
        weight: Array | None = None,
        need: Need = WEIGHTS_ONLY,
    ) -> LinearGrads:
        """How the gradients in x, w and bias move along a direction: the Hessian of the loss times it.

        `slopes` and `curvatures` are those of each row's loss at the point itself, numbers where all rows share them;
        `curvatures` may be left out where they are zero. Probabilities must sum to one.
        """

    def second_moments(
        self, x: Array, weight: Array, *, rows: Array | None = None, ones: bool = False, dtype: DTypeLike = np.float64
    ) -> Array:
        """``sum_i weight_i x_i x_i'`` of a dense x (N, D), or of its rows at these places, float64 (D, D).

        weight is of those rows, not negative. With `ones` a column of ones stands behind the others: (D + 1, D + 1).

        Numbers are converted to `dtype`, float32 or float64, in which products and their sums over `MOMENT_ROWS` rows
        at most are; the sum of those is in float64. So an entry in float32 is out by about 1e-6 of the root of the two
        that stand on the diagonal, whatever the number of rows, where squares times weights are within its range.
        """

    def column_moments(self, x: Any, weight: Array) -> Array:
        """``sum_i weight_i x_ij`` and ``sum_i weight_i x_ij^2`` of each column of a CSR x (N, D), float64 (D, 2).

        Of a column that a row names twice, the squares are of either number alone.
        """

    def take_columns(self, x: Any, columns: Array) -> Entries:
        """Some columns of a CSR x (N, D), by their place in `columns` (int, each once)."""

    def gram(self, x: Entries, weight: Array, *, step: int = 1, known: Array | None = None) -> Array:
        """``sum_i weight_i x_i x_i'``, float64 (P, P); weight is (N,), not negative.

        With `step` an estimate from every step-th row, on whose diagonal no square is less than that of all rows.
        `known` (p, p) is that of the first columns.
        """

    def product(self, x: Entries, w: Array) -> Array:
        """``x w``, (N,)."""

    def pull_back(self, x: Any, r: Array) -> Array:
        """``x' r``, float64 (P,), of `Entries` or of all columns of a CSR matrix."""

    def logistic_rows(self, z: Array, label: Array, weight: Array) -> tuple[float, Array, Array]:
        """Of two classes with the logit z (N,) of the second: the weighted sum of the losses in nats, the second's
        probability p (N,), and the weighted slope in the logit, ``weight (p - label)`` without what cancels in it.
        """

    def spread(self, x: ByColumn, which: Array, step: Array, z: Array) -> None:
        """Add to logits z (N, V) what the coordinates `which` (n,), int64, change by their steps, of all (P,)."""

    def gather(self, x: ByColumn, which: Array, r: Array, *, squares: bool = False) -> Array:
        """Of each coordinate in `which` (n,), int64: its column, or its squares, times its vector of r (N, V); (n,)."""

    def descend(self, x: ByColumn, which: Array, model: RowModel, base: Array, l1: Array, l2: Array, u: Array) -> float:
        """Exact minimum over each coordinate in `which` (n,), int64, in turn; u (P,) and the model's rows in place.

        The slope at u is ``base + l2 u`` and what the rows of the model add, its penalty ``l1 |u|``, all (P,). Returns
        the largest violation of the optimality conditions that was met.
        """
