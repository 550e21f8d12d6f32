"""What `evaluate` is given, checked once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..losses import log_softmax
from .loss import SUM_TOLERANCE, checked_pair, log_of_rest


def checked_labels(
    y: ArrayLike, probs: ArrayLike, classes: Sequence[Any] | None, kind: str
) -> tuple[NDArray[Any], NDArray[Any], list[str]]:
    """Return class indices, predictions and the classes' names.

    Raises
    ------
    ValueError
        A label that is none of the classes, classes that do not fit the columns.
    """
    labels, values = np.asarray(y), np.asarray(probs)
    width = 2 if values.ndim == 1 else values.shape[-1]
    if classes is not None:
        given = list(classes)
        if len(given) != width or len(set(given)) != width:
            raise ValueError(f"{width} distinct classes are needed for probs of shape {values.shape}, got {given[:10]}")
        if given != list(range(width)):
            labels = _indices(labels, given)
    elif labels.dtype.kind in "USO":
        raise ValueError(f"y holds labels of dtype {labels.dtype}; give classes= in the order of the columns")
    elif labels.dtype.kind == "f" and labels.size and np.array_equal(labels, np.round(labels)):
        labels = labels.astype(np.int64)
    names = [str(c) for c in (classes if classes is not None else range(width))]
    return *checked_pair(labels, values, kind), names


def _indices(labels: NDArray[Any], classes: list[Any]) -> NDArray[np.int64]:
    place = {c: k for k, c in enumerate(classes)}
    distinct, index = np.unique(labels, return_inverse=True)
    found = [place.get(v, -1) for v in distinct.tolist()]
    unknown = [v for v, k in zip(distinct.tolist(), found, strict=True) if k < 0]
    if unknown:
        rows = int(np.count_nonzero(labels == unknown[0]))
        raise ValueError(f"the label {unknown[0]!r} ({rows} rows) is none of the classes {classes[:10]}")
    return np.array(found, dtype=np.int64)[index.reshape(-1)]


def checked_columns(columns: Mapping[str, ArrayLike] | None, rows: int, what: str) -> dict[str, NDArray[Any]]:
    """Return columns of one length as arrays."""
    found = {str(name): np.asarray(values) for name, values in (columns or {}).items()}
    for name, values in found.items():
        if values.shape != (rows,):
            raise ValueError(f"{what}[{name!r}] of shape ({rows},) is needed, got {values.shape}")
    return found


def hash_arrays(*arrays: NDArray[Any]) -> str:
    """Return the SHA-256 of shapes, dtypes and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def probabilities(values: NDArray[Any], kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the probabilities of what is predicted and of its opposite, both to all their digits.

    Of two classes those of class 1 and of class 0, each of shape (rows,); of more, shape (rows, classes).
    """
    x = values.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        if kind == "logits":
            if x.ndim == 2 and x.shape[1] == 2:
                x = x[:, 1] - x[:, 0]
            if x.ndim == 1:
                return 1 / (1 + np.exp(-x)), 1 / (1 + np.exp(x))
            x = log_softmax(x)
        if kind in ("log", "logits"):
            if x.ndim == 2 and x.shape[1] == 2:
                return np.exp(x[:, 1]), np.exp(x[:, 0])
            return np.exp(x), -np.expm1(x)
    if x.ndim == 2 and x.shape[1] == 2:
        return np.ascontiguousarray(x[:, 1]), np.ascontiguousarray(x[:, 0])
    return x, 1.0 - x


def check_log_sums(values: NDArray[Any], p: NDArray[np.float64], q: NDArray[np.float64], first: int = 0) -> float:
    """Return how far a row of log-probabilities is from a sum of one at most; p and q as `probabilities` gives them.

    Raises
    ------
    ValueError
        A row's exponentials do not sum to one within 0.00001, or what half precision loses of it.
    """
    if values.ndim == 1:
        return 0.0
    off = np.abs((p + q if p.ndim == 1 else p.sum(axis=1)) - 1)
    row = int(np.argmax(off))
    rounding = 8 * float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    if off[row] > max(SUM_TOLERANCE, rounding):
        raise ValueError(
            f"the exponentials of the log-probabilities of row {first + row} are {off[row]:.3g} away from a sum of "
            "one; say kind='logits' if they are logits"
        )
    return float(off[row])


def log_probabilities(values: NDArray[Any], kind: str) -> NDArray[np.float64]:
    """Return natural logarithms of the probabilities, of shape (rows, classes); -inf for 0.

    A single column gives two: of class 0, whose digits are kept where class 1 is nearly certain, and of class 1.
    """
    x = values.astype(np.float64, copy=False)
    with np.errstate(divide="ignore"):
        if kind == "probabilities":
            return np.column_stack([np.log1p(-x), np.log(x)]) if x.ndim == 1 else np.log(x)
        if kind == "log":
            return np.column_stack([log_of_rest(x), x]) if x.ndim == 1 else x
    if x.ndim == 1:
        return -np.column_stack([np.logaddexp(0.0, x), np.logaddexp(0.0, -x)])
    return log_softmax(x)


_Rows = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def judge_two(labels: NDArray[Any], p: NDArray[np.float64], q: NDArray[np.float64]) -> _Rows:
    """Return the likeliest class (the first among equals), its probability, one minus that, and the Brier score."""
    yes = labels != 0
    miss = np.where(yes, q, p)
    other = np.where(yes, 1 - p, 1 - q)
    return (p > q).astype(np.int64), np.maximum(p, q), np.minimum(p, q), miss * miss + other * other


def judge_many(labels: NDArray[Any], p: NDArray[np.float64], q: NDArray[np.float64]) -> _Rows:
    """Return what `judge_two` does, of more than two classes."""
    rows = np.arange(len(labels))
    predicted = p.argmax(axis=1)
    own = p[rows, labels]
    brier = np.einsum("ij,ij->i", p, p) - own * own + (1 - own) ** 2
    return predicted, p[rows, predicted], q[rows, predicted], brier
