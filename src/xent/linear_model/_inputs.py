"""Weights of rows and classes, checked; rows that have none left out."""

from __future__ import annotations

from typing import Any

import numpy as np


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


def kept(X: Any, y: Any, weight: Any) -> tuple[Any, Any, Any]:
    """Without the rows of weight 0, so that leaving a row out and giving it no weight are one thing."""
    if weight is None or weight.all():
        return X, y, weight
    rows = np.flatnonzero(weight)
    return X[rows], y[rows], weight[rows]
