"""What tells one class's block of the Hessian from another's, where there are many: how much, and where its rows lie.

The block of class k is ``sum_i w_i p_ik (1 - p_ik) x_i x_i'`` plus the penalty. The rows that count in it are those of
the class and others that look like them. Each of the two kinds scatters about its own mean much as those of all classes
do, so a block is a share of one matrix, and two directions: K x (D + 1) numbers where blocks are K x (D + 1)^2. Some
rows of every class tell all of it.

Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7, 1936 (scatter
about the means of the classes, pooled; the first guess is his discriminant, as long as the rows ask for).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from ._blas import AT_HAND, in_pieces
from .class_factors import LEAST, LOGIT, draw, pass_cost, softmax_in_place, tells_classes_apart
from .coordinates import COPIED_AT_ONCE, SharedAndOwn

if TYPE_CHECKING:
    from .objective import SoftmaxObjective

Array = Any
Drawn = tuple[Array, Array]
# Rows of each class, rows for each feature, and a share of all rows: the most of the three are looked at.
OF_EACH, OF_FEATURE, SHARE = 24, 5, 1 / 8
# Of these, so many tell how far a first step goes: by halving a range, and up to so many times Newton's.
TRIED, HALVED, FARTHEST = 1024, 6, 64.0
# Factoring and eigenvectors of what is shared, in multiplications of the features' number cubed.
CUBES = 15
# Coordinates for one penalty serve those up to so many times as strong or weak, but for rounding.
FAR = 1e4
# Classes that one task adds up.
CLASSES = 32
# Sums over all rows are of so many parts.
PARTS = 8


def rows_looked_at(f: SoftmaxObjective, share: float = SHARE) -> int:
    """About how many rows are drawn, of all classes together."""
    N, (K, P) = f.X.shape[0], f.shape
    return int(min(N, max(OF_EACH * K, OF_FEATURE * P, share * N)))


def worth_it(f: SoftmaxObjective, passes: float, share: float = SHARE) -> bool:
    """Whether coordinates about the means of the classes can be had, and cost less than so many passes over X."""
    if not tells_classes_apart(f):
        return False
    rows, (K, P) = rows_looked_at(f, share), f.shape
    own = rows * K * (2 * f.X.shape[1] + LOGIT / 2) + rows * P**2 + CUBES * P**3
    return own < passes * pass_cost(f)


def penalty_is_cheap(f: SoftmaxObjective, passes: float) -> bool:
    """Whether such coordinates for another penalty cost less than so many passes."""
    return passes * pass_cost(f) > CUBES * f.shape[1] ** 3


def drawn(f: SoftmaxObjective, share: float = SHARE) -> Drawn:
    """Places (n,) of rows drawn by weight, half of them as many of every class; and the weight that each stands for."""
    K = f.shape[0]
    whole = np.bincount(f.label, f.weight, minlength=K)
    small = np.min_scalar_type(max(0, K - 1))  # of 16 bits and less are sorted ten times as fast
    order = np.argsort(f.label.astype(small, copy=False), kind="stable")
    label = f.label[order]
    worth = (1 / K / np.where(whole > 0, whole, 1) + 1)[label]
    found, stands_for = draw(f.weight[order] * worth, rows_looked_at(f, share))
    at, weight = order[found], stands_for / worth[found]
    order = np.argsort(at)
    return at[order], weight[order]


class _Sums:
    """Of drawn rows at `theta`: their curvature (n,), summed over classes; and for each class, of its own rows and of
    others, the sum of their weights ``w p (1 - p)``, (2, K), and with these of x, (2, K, P).
    """

    def __init__(self, f: SoftmaxObjective, theta: Array, at: Array, weight: Array) -> None:
        (K, P), D = f.shape, f.X.shape[1]
        self.curvature, self.totals, self.x = np.empty(len(at)), np.zeros((2, K)), np.zeros((2, K, P))
        step, every = max(64, COPIED_AT_ONCE // max(K, D)), max(64, AT_HAND // max(K, D))
        for start in range(0, len(at), step):
            some = slice(start, start + step)
            X, q = _curved_rows(f, theta, at[some], weight[some], self.curvature[some], every)
            label, each = f.label[at[some]], np.arange(len(X))
            own = sparse.csr_array((q[each, label], (label, each)), shape=(K, len(X)))
            q[each, label] = 0

            def add(begin: int, end: int, X: Array = X, q: Array = q, own: Any = own) -> None:
                classes = slice(begin, end)
                for kind, sums in enumerate((own[classes], q[:, classes].T)):
                    self.x[kind, classes, :D] += sums @ X
                    self.totals[kind, classes] += sums.sum(axis=1, dtype=np.float64)

            in_pieces(add, K, _evenly(K, CLASSES))
        if f.fit_intercept:
            self.x[:, :, D] = self.totals


def _evenly(total: int, most: int) -> int:
    """The size of as few equal parts of `total` as are no larger than `most`."""
    return -(-total // max(1, -(-total // most)))


def _curved_rows(
    f: SoftmaxObjective, theta: Array, at: Array, weight: Array, curvature: Array, step: int
) -> tuple[Array, Array]:
    """Rows of X (n, D), and their ``w p (1 - p)`` (n, K), whose sums over classes are written to `curvature` (n,).

    In float32, whose rounding is nothing beside `LEAST`.
    """
    W, b = f.split(theta)
    W = W.astype(np.float32)
    X, q = (np.empty((len(at), width), np.float32) for width in (f.X.shape[1], f.shape[0]))

    def piece(begin: int, end: int) -> None:
        rows = slice(begin, end)
        x, z = X[rows], q[rows]
        x[:] = f.X[at[rows]]
        np.matmul(x, W.T, out=z)
        z += 0 if b is None else b.astype(z.dtype)
        z += 0 if f.offset is None else f.offset[at[rows]].astype(z.dtype)
        softmax_in_place(z)
        z -= z * z
        z *= weight[rows, None].astype(z.dtype)
        curvature[rows] = z.sum(axis=1, dtype=np.float64)

    in_pieces(piece, len(at), step)
    return X, q


def class_means(f: SoftmaxObjective, theta: Array, rows: Drawn | None = None) -> tuple[SharedAndOwn, Array, int] | None:
    """Coordinates at `theta` (K, P); the curvature (`SoftmaxObjective.curvature`) of drawn rows, one in how many.

    None where squares of the features leave the range of numbers.
    """
    means = ClassMeans(f, theta, rows=rows)
    space = means.coordinates(f.penalty)
    return None if space is None else (space, means.curvature, means.step)


class ClassMeans:
    """Blocks of the Hessian at one place, without the penalty: shares of what drawn rows scatter, and directions.

    Parameters
    ----------
    f : SoftmaxObjective
    theta : array (K, P)
    share : float
        Which of all rows is drawn, or as many as there have to be.
    rows : tuple of arrays, optional
        What `drawn` has drawn already.

    Attributes
    ----------
    curvature : array (n,)
        `SoftmaxObjective.curvature` of the drawn rows, of which each is one in `step`.
    """

    def __init__(self, f: SoftmaxObjective, theta: Array, share: float = SHARE, rows: Drawn | None = None) -> None:
        K, (at, weight) = f.shape[0], rows or drawn(f, share)
        with np.errstate(over="ignore", invalid="ignore"):
            sums = _Sums(f, theta.reshape(f.shape), at, weight)
            sums.x /= np.sqrt(np.where(sums.totals > 0, sums.totals, 1))[:, :, None]
            totals = sums.totals.sum(axis=0)
            self.share = totals / float(totals.sum() or 1) + LEAST / K  # a class without any would go any length
            self.own, self.scatter = sums.x, _scatter(f, at, sums.curvature, sums.x)
        self.curvature, self.step, self._tiny = sums.curvature / K, max(1, f.X.shape[0] // len(at)), _tiny(f)
        self._last: tuple[Array, float, SharedAndOwn] | None = None

    def coordinates(self, penalty: Array, times: float = 1.0) -> SharedAndOwn | None:
        """Those of the blocks and so many times a penalty (P,); None where squares leave the range of numbers.

        What was made for one multiple serves others that are not much more or less.
        """
        if self._last is not None and self._last[0] is penalty and 1 / FAR < times / self._last[1] < FAR:
            return self._last[2].times(times / self._last[1])
        space = _space(self.scatter, times * penalty, self.share, self.own, self._tiny)
        self._last = None if space is None else (penalty, times, space)
        return space


def _tiny(f: SoftmaxObjective) -> float:
    """Squares below this are rounding, or nothing."""
    limits = np.finfo(f.X.dtype)
    return float(limits.tiny / limits.eps)


def _scatter(f: SoftmaxObjective, at: Array, weight: Array, own: Array) -> Array:
    """Second moments of weighted rows, but for those of `own` directions (.., K, P)."""
    moments = f.backend.second_moments(f.X, weight, rows=at, ones=f.fit_intercept)
    flat, diagonal = own.reshape(-1, own.shape[-1]), np.einsum("ii->i", moments)
    np.maximum(diagonal, f.rare_moments * float(weight.sum()), out=diagonal)
    # some of the whole stays: what is left of a column that the classes tell, or of the intercept, is rounding
    moments *= 1 + LEAST
    moments -= flat.T @ flat
    return moments


def _space(scatter: Array, penalty: Array, share: Array, own: Array, tiny: float) -> SharedAndOwn | None:
    """Coordinates of blocks: a share (K,) of one matrix, `own` (.., K, P) directions, and the penalty."""
    with np.errstate(over="ignore", invalid="ignore"):
        size = np.diag(scatter) + (own * own).sum(axis=(0, 1)) + penalty
    if not (np.isfinite(scatter).all() and np.isfinite(own).all() and (size > tiny).all()):
        return None
    return SharedAndOwn(scatter.copy(), penalty, share, own)


def first_guess(f: SoftmaxObjective, rows: Drawn | None = None) -> Array | None:
    """Parameters (K, P) to begin with: a Newton step from the classes' shares, as far as some rows ask for.

    None where there are fixed logits, or squares of the features leave the range of numbers. `rows` may be what
    `drawn` has drawn already.
    """
    if f.offset is not None:
        return None
    (K, _), (N, D) = f.shape, f.X.shape
    share, theta, gradient = np.full(K, 1 / K), np.zeros(f.shape), np.zeros(f.shape)
    gradient[:, :D] = -_sums_of_classes(f)
    if f.fit_intercept:
        share = np.maximum(np.bincount(f.label, f.weight, minlength=K), 0.5 / N)
        share /= share.sum()
        theta[:, D] = np.log(share) - np.log(share).mean()
    gradient[:, :D] -= share[:, None] * gradient[:, :D].sum(axis=0)
    gradient += f.penalty * theta
    at, weight = rows or drawn(f)
    each = share * (1 - share)
    with np.errstate(over="ignore", invalid="ignore"):
        none = np.zeros((0, *f.shape))
        scatter = _scatter(f, at, weight * each.sum(), none)
        space = _space(scatter, f.penalty, each / each.sum(), none, _tiny(f))
    if space is None:
        return None
    way = -space.to_parameters(space.pull_back(gradient))
    some = slice(None, None, max(1, len(at) // TRIED))
    return theta + _length(f, theta, way, at[some], weight[some] / float(weight[some].sum())) * way


def _sums_of_classes(f: SoftmaxObjective) -> Array:
    """Weighted sums of the rows of each class, (K, D)."""
    N, D = f.X.shape
    step = max(1024, COPIED_AT_ONCE // D)
    every = max(step, -(-N // PARTS))
    parts = np.zeros((-(-N // every), f.shape[0], D))

    def add(begin: int, end: int) -> None:
        for start in range(begin, end, step):
            rows = slice(start, min(start + step, end))
            X, label = f.X[rows], f.label[rows]
            one = sparse.csr_array((f.weight[rows], (label, np.arange(len(X)))), shape=(len(parts[0]), len(X)))
            parts[begin // every] += one @ X

    in_pieces(add, N, every)
    return parts.sum(axis=0)


def _length(f: SoftmaxObjective, theta: Array, way: Array, at: Array, weight: Array) -> float:
    """How many of the steps `way` from `theta` lead to the least objective of weighted rows."""
    (W, b), X, label, each = f.split(way), f.X[at], f.label[at], np.arange(len(at))
    move = (X @ W.astype(X.dtype).T).astype(np.float32)
    start, weight = f.split(theta)[1], weight.astype(np.float32)
    if b is not None and start is not None:
        move, start = move + b.astype(np.float32), start.astype(np.float32)

    def falls(length: float) -> bool:
        p = softmax_in_place(np.float32(length) * move + (np.float32(0) if start is None else start))
        slope = weight @ ((p * move).sum(axis=1) - move[each, label])
        return bool(slope + float(np.vdot(way, f.penalty * (theta + length * way))) < 0)

    least, most = 0.0, 1.0
    while most < FARTHEST and falls(most):
        least, most = most, 2 * most
    for _ in range(HALVED):
        middle = (least + most) / 2
        least, most = (middle, most) if falls(middle) else (least, middle)
    return least
