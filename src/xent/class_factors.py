"""A factor of the Hessian's block of each class, from few rows: those in which the class is uncertain.

The block of class k is ``sum_i w_i p_ik (1 - p_ik) x_i x_i'`` plus the penalty. Most rows are sure of most classes, so
rows drawn with a share of that weight tell it well: some for each feature, however many rows there are.

Sources: W. G. Madow & L. H. Madow, "On the theory of systematic sampling", Ann. Math. Statist. 15, 1944 (the draw);
P. Xu, J. Yang, F. Roosta-Khorasani, C. Re & M. W. Mahoney, "Sub-sampled Newton methods with non-uniform sampling",
NeurIPS 2016 (rows drawn by their share of a Hessian).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._blas import in_pieces
from .coordinates import COPIED, MOST_FACTORED, PerClass
from .kernels.cpu.triangles import SOLVE, SOLVE_TURNED, factor, with_triangles

if TYPE_CHECKING:
    from .objective import SoftmaxObjective

Array = Any
# Rows drawn for each feature, or in all: as few as do, and as many as help where they cost less than some passes.
FEWEST, MOST, SMALL = 4, 7, 512
CHEAP = 4
# Rows they are drawn from, for each of them.
CANDIDATES = 8
# Numbers of a sum of the blocks that each thread has at a time.
AT_HAND = 2**15
# What the factors may take: numbers, or a share of those of X.
HELD, SHARE = 2**22, 1 / 3
# Calls of a class, a row's logit of one, and reading a number of X cost about as much as so many multiplications.
CALLS, LOGIT, READ = 2e6, 3000, 23
# Of the mean of all blocks, what is added to each: a class that next to no row is unsure of would go any length, and
# what classes share would follow it.
LEAST = 1e-2
# What is added to a diagonal of ones for columns that depend on each other, at first and over what was too little.
JITTER, MORE = 1e-10, 100
# Moments whose products are in float32 are out by about 1e-6 of sizes. They do where squares are above the first, and
# where over sizes no eigenvalue is seen below the second: of matrices made to be hard, factors are out by a twentieth.
ROUNDED_SIZE, ROUNDED_LEAST = 1e-28, 1e-4


def drawn_rows(f: SoftmaxObjective, most: int = MOST) -> int:
    """How many rows are drawn for each class; where they are cheap, `most` for a feature."""
    N, P = f.X.shape[0], f.shape[1]
    within = CHEAP * 2 * N / P  # whose products cost as much as so many passes
    return int(min(N, np.clip(within, FEWEST * P, max(SMALL, most * P))))


def most_held(N: int, D: int) -> float:
    """How many numbers the factors may have."""
    return max(HELD, SHARE * N * D)


def tells_classes_apart(f: SoftmaxObjective) -> bool:
    """Whether classes can have coordinates of their own at all."""
    K, P = f.shape
    return f.by_class and not f.in_units and K >= 3 and P <= MOST_FACTORED and not sparse.issparse(f.X)


def pass_cost(f: SoftmaxObjective) -> int:
    """What a pass over X takes, in multiplications."""
    N, D = f.X.shape
    return int(N * D * (3 * f.shape[0] + READ))


def worth_it(f: SoftmaxObjective, passes: float, rows: int | None = None) -> bool:
    """Whether factors can be had, and cost less than so many passes over X; of the usual `rows` drawn, or so many.

    Both in multiplications in float64, as which the time of what else they do is counted; some passes are in float32.
    """
    (N, D), (K, P) = f.X.shape, f.shape
    if not tells_classes_apart(f) or most_held(N, D) < K * P**2:
        return False
    rows = rows or drawn_rows(f)
    own = K * (rows * P**2 + P**3 + CALLS + LOGIT * min(N, CANDIDATES * rows))
    return own < passes * pass_cost(f)


def class_factors(f: SoftmaxObjective, theta: Array) -> tuple[PerClass, Array, int]:
    """The factors at `theta` (K, P), the curvature (`SoftmaxObjective.curvature`) of every so many rows, how many."""
    found = ClassMoments(f, theta, drawn_rows(f))
    return found.coordinates(f.penalty, last=True), found.curvature, found.step


class ClassMoments:
    """The Hessian's block of each class at one place, without the penalty, from drawn rows.

    Parameters
    ----------
    f : SoftmaxObjective
    theta : array (K, P)
    rows : int
        How many are drawn for each class.

    Attributes
    ----------
    curvature : array (n,)
        As `SoftmaxObjective.curvature` has it, of every `step`-th row.
    """

    def __init__(self, f: SoftmaxObjective, theta: Array, rows: int) -> None:
        self._f, self._theta, self._rows = f, theta.copy(), rows
        self._rare = f.rare_moments  # here, once: asked for by several tasks, each would make them
        self._make()

    def _make(self) -> None:
        """In float32 unless that was seen to be too little for these features."""
        f, rows, K = self._f, self._rows, self._f.shape[0]
        q, places, self.step = _uncertain(f, self._theta, rows)
        self.curvature, self._totals = q.mean(axis=0), q.sum(axis=1)
        self._rounded = f.rounded_moments
        dtype = np.float32 if self._rounded else np.float64
        # new pages of memory take a fifth as long as the products: as few as do
        kept = np.empty((K, *2 * [f.shape[1]]), dtype) if self._rounded else [np.empty(0)] * K
        self._moments: Any = kept

        def draw_from(k: int, _: int) -> None:
            at, stands_for = draw(q[k], rows)
            with np.errstate(over="ignore", invalid="ignore"):  # squares that float32 does not hold: seen below
                kept[k] = f.backend.second_moments(f.X, stands_for, rows=places[at], ones=f.fit_intercept, dtype=dtype)

        in_pieces(draw_from, K, 1)
        self._mean = np.empty(self._moments[0].shape)

        def add_up(begin: int, end: int) -> None:
            part = self._mean[begin:end]
            with np.errstate(invalid="ignore", over="ignore"):  # squares that no number holds: the caller sees
                np.copyto(part, self._moments[0][begin:end])
                for moments in self._moments[1:]:
                    part += moments[begin:end]
                part *= LEAST / K

        in_pieces(add_up, len(self._mean), max(1, AT_HAND // len(self._mean)))
        if self._rounded and not self._squares_in_range():
            self._exactly()

    def _exactly(self) -> None:
        """All again in float64, as for these features from now on."""
        self._f.rounded_moments = False
        self._moments = None
        self._make()

    def _sizes(self) -> Array:
        """The diagonals of the blocks, (K, P)."""
        with np.errstate(invalid="ignore", over="ignore"):
            return np.array([np.diag(moments) for moments in self._moments]) + np.diag(self._mean)

    def _squares_in_range(self) -> bool:
        """Whether float32 holds the squares of all columns: none is too small for it that is not zero in all rows."""
        sizes = self._sizes()
        empty = np.zeros(sizes.shape[1], bool)
        empty[: len(self._f.rare)] = self._f.rare & (self._rare[: len(self._f.rare)] == 0)
        told = np.maximum(sizes, self._rare * self._totals[:, None]) > ROUNDED_SIZE
        return bool((np.isfinite(sizes) & (told | empty)).all())

    def coordinates(self, penalty: Array, times: float = 1.0, *, last: bool = False) -> PerClass:
        """Those of the blocks and so many times a penalty (P,), the `last` ones asked for; in float32, unless that was
        seen to be too little.
        """
        K, P = len(self._moments), len(penalty)
        in_place = last and self._rounded
        factors = self._moments if in_place else np.empty((K, P, P), np.float32 if self._rounded else np.float64)
        size, least, probe = self._sizes(), np.empty(K), np.random.default_rng(0).normal(size=P)
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.maximum(size, self._rare * self._totals[:, None]) + times * penalty
        size[~(np.isfinite(size) & (size > 0))] = 1.0
        scale = 1 / np.sqrt(size)

        def factor_of(k: int, _: int) -> None:
            least[k] = _factor(self._moments[k], self._mean, scale[k], factors[k : k + 1], probe)
            if last and not in_place:
                self._moments[k] = np.empty(0)

        in_pieces(factor_of, K, 1)
        if self._rounded and least.min() < ROUNDED_LEAST:
            del factors
            self._exactly()
            return self.coordinates(penalty, times, last=last)
        return PerClass(scale, factors)


def _factor(H: Array, more: Array, scale: Array, out: Array, probe: Array) -> float:
    """The lower triangle (1, P, P) of a class, into `out`, from its second moments, `more` and its scale (P,).

    And about the least eigenvalue over sizes, seen by a step of the inverse iteration; 0 where rounding hides it.
    """
    if factor(H, more, scale, 1 + JITTER, out[0]):
        return _least_eigenvalue(out, probe)
    if out.dtype == np.float32:
        return 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        finite = np.isfinite((H + more) * scale[:, None] * scale).all()
    if not finite:  # squares that no number holds
        out[0] = np.eye(len(H))
        return 0.0
    jitter = JITTER * MORE  # columns that depend on each other more than that
    while not factor(H, more, scale, 1 + jitter, out[0]):
        jitter *= MORE
    return 0.0


def _least_eigenvalue(L: Array, probe: Array) -> float:
    """The least eigenvalue of ``L L'`` (1, P, P), or somewhat more: from where all directions count."""
    y = with_triangles(L, probe[None].copy(), SOLVE)
    before = float((y * y).sum())
    z = with_triangles(L, y, SOLVE_TURNED)
    return before / float((z * z).sum())


def _uncertain(f: SoftmaxObjective, theta: Array, rows: int) -> tuple[Array, Array, int]:
    """``w_i p_ik (1 - p_ik)`` of every so many rows, (K, n), for each class with the sum of about all; the places of
    these rows, and every how many it is one.
    """
    N, K = f.X.shape[0], f.shape[0]
    step = max(1, N // (CANDIDATES * rows), -(-N * K // COPIED))
    some, weight = f.sampled(step)
    q = np.empty((K, len(weight)))

    def look(rows: slice, z: Array) -> None:
        p = softmax_in_place(z)
        p -= p * p
        p *= weight[rows, None]
        q[:, rows] = p.T

    f.use_logits(theta, some, look)
    return q, np.arange(N)[some], step


def draw(weight: Array, rows: int) -> tuple[Array, Array]:
    """Places of about `rows` rows, one in every equal share of the sum of their weights (systematic sampling), and
    the weight that each stands for; rows of more than such a share are all in, with their own.
    """
    if rows >= len(weight):
        at = np.flatnonzero(weight)
        return at, weight[at]
    rest, many, left, total = weight, np.zeros(len(weight), bool), rows, float(weight.sum())
    while left > 0 and total > 0 and float(rest.max()) * left > total:  # rows that are in leave larger shares
        many |= rest * left > total
        rest = np.where(many, 0.0, weight)
        left, total = rows - int(many.sum()), float(rest.sum())
    at = np.flatnonzero(many)
    if left <= 0 or not total > 0:
        return at, weight[at]
    share = np.cumsum(rest)
    share *= left / total
    share += 0.5
    place = share.astype(np.int64)
    new = np.empty(len(place), bool)
    new[0], new[1:] = place[0] > 0, place[1:] > place[:-1]
    others = np.flatnonzero(new & ~many)
    shares = np.full(len(others), total / max(1, len(others)))
    return np.concatenate([at, others]), np.concatenate([weight[at], shares])


def softmax_in_place(z: Array) -> Array:
    """Probabilities where the logits (n, K) were."""
    z -= z.max(axis=1, keepdims=True)
    p = np.exp(z, out=z)
    p /= p.sum(axis=1, keepdims=True)
    return p
