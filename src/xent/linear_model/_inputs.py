"""Weights of rows and classes, checked; rows that have none left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from sklearn import get_config
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets

from .._blas import in_pieces

# Integer labels are counted where their range is at most this many times their number.
COUNTED = 4
# Numbers of X that one task reads, and so few that they are read before a task has begun.
READ, FEW = 2**19, 2**13


def check_finite(X: Any, name: str) -> None:
    """Raise scikit-learn's error for NaN and infinity, having read X but once where there are none.

    The sums of all squares tell, unless they overflow.
    """
    if get_config()["assume_finite"]:
        return
    numbers = (X.data if sparse.issparse(X) else X).ravel()
    squares = np.zeros(max(1, -(-len(numbers) // READ)))

    def add_up(begin: int, end: int) -> None:
        some = numbers[begin:end]
        with np.errstate(over="ignore", invalid="ignore"):
            squares[begin // READ] = np.vdot(some, some)

    if len(numbers) <= FEW:
        add_up(0, len(numbers))
    else:
        in_pieces(add_up, len(numbers), READ)
    if not np.isfinite(squares).all():
        assert_all_finite(X, estimator_name=name, input_name="X")


def encoded(y: Any) -> tuple[Any, Any]:
    """The different labels, and each label's place among them, int64 (N,); an error where they are no classes."""
    if len(y) and (y.dtype.kind == "i" or (y.dtype.kind == "u" and y.itemsize < 8)):
        low, high = int(y.min()), int(y.max())
        if high - low < len(y) // COUNTED:  # fewer classes than scikit-learn warns of, too
            shifted = y.astype(np.int64) - low
            there = np.bincount(shifted, minlength=high - low + 1) > 0
            classes = (np.flatnonzero(there) + low).astype(y.dtype)
            return classes, shifted if there.all() else (np.cumsum(there) - 1)[shifted]
    check_classification_targets(y)
    classes, label = np.unique(y, return_inverse=True)
    return classes, label


def row_weights(given: Any, N: int, name: str = "sample_weight") -> Any:
    """Weights as float64 (N,), or None; a ValueError names what is wrong with them."""
    if given is None:
        return None
    weight = np.asarray(given, np.float64)
    if weight.ndim == 0:
        weight = np.full(N, float(weight))
    if weight.shape != (N,):
        raise ValueError(f"{name} has the shape {weight.shape}; X has {N} rows, so it must be ({N},)")
    if not (np.isfinite(weight).all() and (weight >= 0).all()):
        raise ValueError(f"{name} must be finite and not negative")
    if weight.max() > np.finfo(np.float64).max / N:
        raise ValueError(f"the sum of {name} overflows: divide the weights by their largest")
    if not weight.any():
        raise ValueError(f"{name} is zero for every row: no class is left to fit")
    return weight


def logit_offset(given: Any, N: int, classes: int) -> Any:
    """Fixed logits as float64 (N, 1) for two classes, else (N, K), or None."""
    if given is None:
        return None
    offset = np.asarray(given, np.float64)
    wanted = (N,) if classes == 2 else (N, classes)
    if offset.shape != wanted:
        of = "the second class's logit" if classes == 2 else f"the logits of the {classes} classes"
        raise ValueError(f"offset has the shape {offset.shape}; it is added to {of}, so it must be {wanted}")
    if not np.isfinite(offset).all():
        raise ValueError("offset must be finite")
    return offset.reshape(N, -1)


def feature_factors(given: Any, D: int) -> Any:
    """What the penalty of each feature is multiplied with, as float64 (D,), or None."""
    if given is None:
        return None
    factor = np.asarray(given, np.float64)
    if factor.shape != (D,):
        raise ValueError(f"penalty_factor has the shape {factor.shape}; X has {D} features, so it must be ({D},)")
    if not (np.isfinite(factor).all() and (factor >= 0).all()):
        raise ValueError("penalty_factor must be finite and not negative")
    return factor


def coefficient_bounds(given: Any, shape: tuple[int, int]) -> Any:
    """Lower and upper bounds of the coefficients as float64 (V, D) each, or None."""
    if given is None:
        return None
    if not (isinstance(given, tuple | list) and len(given) == 2):
        raise ValueError(f"bounds must be a pair (lower, upper), not {given!r}")
    both = []
    for bound, word, free in zip(given, ("lower", "upper"), (-np.inf, np.inf), strict=True):
        array = np.asarray(free if bound is None else bound, np.float64)
        try:
            both.append(np.broadcast_to(array, shape))
        except ValueError:
            raise ValueError(
                f"the {word} bounds have the shape {array.shape}, which does not go with that of coef_, {shape}"
            ) from None
    if not (both[0] <= both[1]).all() or (both[0] == np.inf).any() or (both[1] == -np.inf).any():
        raise ValueError("bounds: each lower bound must be at most the upper one, and neither NaN")
    return tuple(both)


def kept(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Without the rows of weight 0, so that leaving a row out and giving it no weight are one thing."""
    if weight is None or weight.all():
        return X, y, weight
    rows = np.flatnonzero(weight)
    return X[rows], y[rows], weight[rows]


def check_classes(classes: Any, solver: str) -> None:
    """Raise where there are too few classes, or too many for liblinear."""
    if len(classes) < 2:
        only = f"only one class, {classes[0]}" if len(classes) else "none"
        raise ValueError(f"fitting needs at least 2 classes, but the data hold {only}")
    if solver == "liblinear" and len(classes) > 2:
        raise ValueError(
            "Only binary classification is supported. The type of the target is multiclass. The 'liblinear' solver "
            f"does not support multiclass classification (n_classes >= 3), and y has {len(classes)} classes: leave "
            "solver='auto', or wrap the estimator in sklearn.multiclass.OneVsRestClassifier"
        )
