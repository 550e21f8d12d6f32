"""Classes that columns separate: then a fit without a penalty has no finite solution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize, sparse
from sklearn.utils import check_X_y

from ._inputs import kept, row_weights

# A column counts where it moves a logit by this share of what the strongest column does.
NEGLIGIBLE = 1e-7
# What the intercept costs beside a column: nearly nothing, so that columns are named only where it alone does not do.
INTERCEPT = 1e-3


@dataclass(frozen=True, eq=False)
class Separation:
    """What `find_separation` found.

    Attributes
    ----------
    kind : "none", "quasi-complete" or "complete"
        Complete: every row is told from every other class. Quasi-complete: some rows are, or from some classes.
    columns : tuple of str
        Columns that separate, together with the intercept where there is one; none of them can be left out. Others may
        do so too. Empty for "none".
    direction : float64 array (V, D)
        Added to the coefficients as often as one likes, it never lowers the likelihood, and it raises it at the
        separated rows. V is 1 for two classes, else K, in the order of `classes`.
    intercept : float64 array (V,)
        The intercepts' part of the direction.
    rows : bool array (N,)
        The separated rows, as the rows of X are counted.
    classes : array (K,)
    """

    kind: str
    columns: tuple[str, ...]
    direction: np.ndarray
    intercept: np.ndarray
    rows: np.ndarray
    classes: np.ndarray

    def __bool__(self) -> bool:
        return self.kind != "none"

    def __str__(self) -> str:
        if not self:
            return "The classes are not separated: the maximum of the likelihood is finite where columns do not repeat."
        names = ", ".join(self.columns) or "the intercept alone"
        return (
            f"The classes are separated ({self.kind}) by {names}: {int(self.rows.sum())} of {len(self.rows)} rows. "
            "Without a penalty their coefficients grow without end: use a penalty (C=1.0, say), or leave columns out."
        )


def find_separation(
    X: Any, y: Any, sample_weight: Any = None, *, fit_intercept: bool = True, feature_names: Any = None
) -> Separation:
    """Whether a linear rule tells classes apart without error, and which columns do.

    Parameters
    ----------
    X : array, data frame or sparse matrix (N, D)
    y : array (N,)
    sample_weight : array (N,), optional
        Rows of weight 0 do not count.
    fit_intercept : bool
    feature_names : sequence of D str, optional
        By default the names of a data frame's columns, else x0, x1, ...

    Returns
    -------
    Separation

    Raises
    ------
    ValueError
        Shapes that do not fit, values that are not finite, fewer than two classes.
    RuntimeError
        When the linear program was not solved.

    Notes
    -----
    A direction B separates where ``x_i . (B_y - B_k) >= 0`` for every row i of label y and every other class k, and
    somewhere ``> 0``. A linear program finds the direction that separates the most rows (the sum of t_i with
    ``x_i . (B_y - B_k) >= t_ik`` and ``0 <= t <= 1``); a second one the direction with the same rows and the smallest
    sum of absolute coefficients (of columns scaled to standard deviation 1). From its columns those that the others can
    do without are left out, the weakest first, a program each. A program has N (K - 1) rows: seconds for 10^4 of them.

    References
    ----------
    Albert & Anderson, "On the existence of maximum likelihood estimates in logistic regression models", Biometrika 71,
    1984. Konis, "Linear programming algorithms for detecting separated data in binary logistic regression models",
    DPhil thesis, Oxford, 2007.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.1, 1.0], [0.4, 3.0], [0.2, 7.0], [0.3, 8.0]])
    >>> found = find_separation(X, [0, 0, 1, 1])
    >>> found.kind, found.columns
    ('complete', ('x1',))
    """
    names = getattr(X, "columns", None) if feature_names is None else feature_names
    X, y = check_X_y(X, y, accept_sparse="csr", dtype=np.float64)
    names = [f"x{j}" for j in range(X.shape[1])] if names is None else [str(name) for name in names]
    if len(names) != X.shape[1]:
        raise ValueError(f"feature_names has {len(names)} names; X has {X.shape[1]} columns")
    N = X.shape[0]
    weight = row_weights(sample_weight, N)
    used = np.arange(N) if weight is None else np.flatnonzero(weight)
    X, y, _ = kept(X, y, weight)
    classes, label = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has one class, {classes[0]!r}: nothing to separate")
    A, scale = _comparisons(X, label, len(classes), fit_intercept)
    separated = _most_rows(A)
    vectors = 1 if len(classes) == 2 else len(classes)
    rows = np.zeros(N, bool)
    rows[used] = separated.reshape(len(used), -1).any(axis=1)
    B = np.zeros((vectors, X.shape[1] + fit_intercept))
    if separated.any():
        B = _fewest_columns(A, separated, B.shape, X.shape[1])
    size = np.abs(B[:, : X.shape[1]])
    kept_entries = size > NEGLIGIBLE * size.max(initial=0)
    direction = np.where(kept_entries, B[:, : X.shape[1]] / scale, 0.0)
    intercept = B[:, -1] if fit_intercept else np.zeros(vectors)
    columns = tuple(names[j] for j in np.flatnonzero(kept_entries.any(axis=0)))
    kind = "none" if not separated.any() else "complete" if separated.all() else "quasi-complete"
    return Separation(kind, columns, direction, intercept, rows, classes)


def _comparisons(X: Any, label: Any, K: int, fit_intercept: bool) -> tuple[Any, Any]:
    """One row for each row i and other class k: ``A vec(B) = x_i . (B_y - B_k)``, of scaled columns; and the scales."""
    X = sparse.csr_array(X)
    N = X.shape[0]
    mean = np.asarray(X.mean(axis=0)).ravel()
    spread = np.sqrt(np.maximum(np.asarray(X.multiply(X).mean(axis=0)).ravel() - mean**2, 0))
    largest = np.asarray(abs(X).max(axis=0).todense()).ravel()
    scale = np.where(spread > 1e-9 * largest, spread, np.where(largest > 0, largest, 1.0))
    Z = sparse.csr_array(X.multiply(1 / scale))
    if fit_intercept:
        Z = sparse.hstack([Z, np.ones((N, 1))], format="csr")
    if K == 2:
        return sparse.csr_array(Z.multiply(np.where(label == 1, 1.0, -1.0)[:, None])), scale
    others = np.array([[k for k in range(K) if k != y] for y in range(K)])[label]  # (N, K - 1)
    row, pairs = np.repeat(np.arange(N), K - 1), N * (K - 1)
    ones, at = np.ones(pairs), np.arange(pairs)
    blocks = []
    for k in range(K):
        own, other = label[row] == k, others.ravel() == k
        pick = sparse.csr_array((ones[own], (at[own], row[own])), shape=(pairs, N))
        drop = sparse.csr_array((ones[other], (at[other], row[other])), shape=(pairs, N))
        blocks.append((pick - drop) @ Z)
    return sparse.hstack(blocks, format="csr"), scale


def _most_rows(A: Any) -> Any:
    """The comparisons that one direction can make positive while none is negative, (M,) booleans."""
    M, P = A.shape
    cost = np.concatenate([np.zeros(P), -np.ones(M)])
    below = sparse.hstack([-A, sparse.identity(M)], format="csr")  # t <= A b
    bounds = [(None, None)] * P + [(0, 1)] * M
    found = optimize.linprog(cost, A_ub=below, b_ub=np.zeros(M), bounds=bounds, method="highs")
    if found.x is None:
        raise RuntimeError(f"the linear program of separation was not solved: {found.message}")
    return found.x[P:] > 0.5  # 0 or 1: a longer b makes any positive t one


def _least(A: Any, separated: Any, price: Any) -> Any:
    """The direction of least ``sum price |B|`` that separates those comparisons by at least 1; None if none does."""
    if not len(price):
        return None
    cost = np.concatenate([price, price])
    both = sparse.hstack([-A, A], format="csr")
    found = optimize.linprog(cost, A_ub=both, b_ub=-separated.astype(float), bounds=(0, None), method="highs")
    return None if found.x is None else found.x[: len(price)] - found.x[len(price) :]


def _fewest_columns(A: Any, separated: Any, shape: tuple[int, int], features: int) -> Any:
    """A direction (V, P) that separates those comparisons, with columns none of which can be left out."""
    price = np.ones(shape)
    price[:, features:] = INTERCEPT
    B = _least(A, separated, price.ravel())
    if B is None:
        raise RuntimeError("rounding hides whether the columns separate the classes: scale or round them")
    B = B.reshape(shape)
    size = np.abs(B[:, :features]).max(axis=0)
    inside = size > NEGLIGIBLE * size.max(initial=0)
    for j in np.argsort(size, kind="stable"):
        if not inside[j]:
            continue
        less = inside.copy()
        less[j] = False
        each = np.tile(np.r_[less, np.ones(shape[1] - features, bool)], shape[0])
        smaller = _least(A[:, each], separated, price.ravel()[each])
        if smaller is not None:
            inside = less
            B = np.zeros(shape)
            B.ravel()[each] = smaller
    return B
