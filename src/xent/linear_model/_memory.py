"""What a fit takes beside X: one formula, which tests hold against real fits."""

from __future__ import annotations

from ..class_factors import most_held
from ..coordinates import COPIED, MOST_FACTORED
from ..second_order.sparse import SWEPT

# Pieces of X, converted or weighted; the tiles of the kernels; the buffers of BLAS.
FIXED = 64 * 2**20


def fit_bytes(N: int, D: int, K: int, solver: str, *, columns: int = 0) -> int:
    """Most bytes that `LogisticRegression.fit` takes beside X and y.

    Of X (N, D) that stays as it is: float32 or float64 in C order, or CSR. `solver` is that of `solver_`. With an L1
    penalty (prox-newton) `columns` is how many features its largest working set has.

    Examples
    --------
    >>> fit_bytes(10**6, 1000, 2, "lbfgs") / (4 * 10**9) < 0.06  # a share of X in float32
    True
    """
    V = 1 if K == 2 else K
    P = V * (D + 1)
    rows = 80 * N + 16 * min(N * V, COPIED)  # labels, weights, curvatures; logits for the coordinates
    square = 48 * (D + 1) ** 2 if D + 1 <= MOST_FACTORED else 48 * (D + 1)
    common = FIXED + rows + square + 450 * P  # 20 pairs of L-BFGS, and gradients
    if solver == "lbfgs" and V > 2 and most_held(N, D) >= V * (D + 1) ** 2:
        common += 16 * V * (D + 1) ** 2  # a factor for each class, and those made before
    elif solver == "lbfgs" and V > 2 and D + 1 <= MOST_FACTORED:
        common += 100 * P + 40 * (D + 1) ** 2  # what tells classes apart, and what did before
    if solver == "newton-cholesky":
        return common + 64 * N * V + 40 * P**2
    if solver == "newton-cg":
        return common + 40 * N * V
    if solver == "prox-newton":
        rows_of_models = 128 if V * (columns + 1) >= SWEPT else 64  # in products: changes and slopes of rows besides
        return common + rows_of_models * N * V + 32 * N * columns + 32 * (V * columns) ** 2
    return common
