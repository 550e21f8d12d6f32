"""Counting observations, in NumPy: of one variable, over the union of several alphabets, and of tuples of variables.

Rows are counted at once; each row of observations has its own alphabet where that keeps the table small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ._inputs import Inputs, read_weights

# A dense table of pairs has at most this many cells, or this many for each observation.
_DENSE_CELLS, _DENSE_PER_SAMPLE = 1 << 20, 4


@dataclass(frozen=True)
class Codes:
    """Observations as integers 0 .. size - 1, in rows of shape (rows, N)."""

    codes: np.ndarray
    size: int


@dataclass(frozen=True)
class Pairs:
    """The distinct pairs of each row of two variables: arrays (rows, cells), zero where a row has fewer."""

    xy: np.ndarray  # count of the pair
    x: np.ndarray  # count of its first symbol
    y: np.ndarray  # count of its second symbol
    table: np.ndarray | None  # all pairs, (rows, first, second), where that is small


def _encode(arrays: Sequence[np.ndarray], names: Sequence[str]) -> tuple[list[np.ndarray], int]:
    """Return the arrays as integers over the union of their symbols."""
    text = [a.dtype.kind in "USO" for a in arrays]
    if len(set(text)) > 1:
        raise TypeError(f"{' and '.join(names)} share no alphabet: one holds text and another numbers")
    for name, a in zip(names, arrays, strict=True):
        if a.size == 0:
            raise ValueError(f"{name} of shape {a.shape} holds no observations")
    if all(a.dtype.kind in "iu" for a in arrays) and np.result_type(*arrays).kind == "f":
        arrays = [a.astype(object) for a in arrays]  # signed and unsigned would meet as floats, and lose digits
    try:
        symbols, inverse = np.unique(np.concatenate([a.ravel() for a in arrays]), return_inverse=True)
    except TypeError as error:  # None among text, for instance
        raise TypeError(f"{' and '.join(names)} must hold observations that can be sorted: {error}") from None
    ends = np.cumsum([a.size for a in arrays])[:-1]
    return [c.reshape(a.shape) for c, a in zip(np.split(inverse.ravel(), ends), arrays, strict=True)], symbols.size


def _rows(codes: np.ndarray, axis: int) -> np.ndarray:
    return np.moveaxis(codes, axis, -1).reshape(-1, codes.shape[axis])


def _relabel(codes: np.ndarray, size: int) -> Codes:
    """Return the codes with those that a row lacks left out, row by row."""
    if len(codes) == 1 and size <= codes.size:
        return Codes(codes, size)
    order = np.argsort(codes, axis=1, kind="stable")
    ordered = np.take_along_axis(codes, order, 1)
    steps = np.zeros(codes.shape, dtype=np.intp)
    np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1, out=steps[:, 1:])
    relabelled = np.empty_like(steps)
    np.put_along_axis(relabelled, order, steps, 1)
    return Codes(relabelled, int(steps[:, -1].max()) + 1)


def _count(codes: np.ndarray, size: int, weights: np.ndarray | None) -> np.ndarray:
    flat = (codes + size * np.arange(len(codes))[:, None]).ravel()
    total = len(codes) * size
    return np.bincount(flat, None if weights is None else weights.ravel(), total).reshape(-1, size).astype(np.float64)


def _row_weights(weights: np.ndarray | None, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """Return weights, a vector along ``axis`` or an array of the observations' shape, as rows."""
    if weights is None:
        return None
    if weights.shape == (shape[axis],):
        weights = np.broadcast_to(weights.reshape((-1,) + (1,) * (-axis - 1)), shape)
    if weights.shape != shape:
        raise ValueError(f"weights of shape {weights.shape} do not fit observations of shape {shape}")
    return _rows(weights, axis)


def counted(inputs: Inputs, axis: tuple[int, ...], weights: Sequence[np.ndarray | None]) -> Inputs:
    """Return the inputs with each array of observations replaced by its counts of the symbols of all, along ``axis``.

    ``weights`` holds one array of weights (or None) for each array of observations.
    """
    (a,) = one_axis(axis)
    codes, size = _encode(inputs.values, inputs.names)
    counts = []
    for c, w, name in zip(codes, weights, inputs.names, strict=True):
        rows = _rows(c, a)
        # A variable alone needs no alphabet in common with others, nor do its rows.
        labels = _relabel(rows, size) if len(codes) == 1 else Codes(rows, size)
        table = _count(labels.codes, labels.size, _row_weights(w, c.shape, a))
        if not (table.sum(1) > 0).all():
            raise ValueError(f"the weights of {name} sum to 0")
        batch = np.moveaxis(c, a, -1).shape[:-1]
        counts.append(np.moveaxis(table.reshape(*batch, labels.size), -1, a))
    return replace(inputs, values=tuple(counts), kinds=("counts",) * len(counts))


def symbols(inputs: Inputs, axis: tuple[int, ...]) -> tuple[Inputs, np.ndarray, tuple[int, ...]]:
    """Return the counts of each row's symbols, the symbols of its observations, and the shape with ``axis`` last."""
    (a,) = one_axis(axis)
    (codes,), size = _encode(inputs.values, inputs.names)
    labels = _relabel(_rows(codes, a), size)
    counts = _count(labels.codes, labels.size, _row_weights(inputs.weights, codes.shape, a))
    return replace(inputs, values=(counts,), kinds=("counts",)), labels.codes, np.moveaxis(codes, a, -1).shape


def one_axis(axis: tuple[int, ...]) -> tuple[int, ...]:
    """Return the only axis along which observations run."""
    if len(axis) != 1:
        raise ValueError(f"observations run along one axis, got {axis}")
    return axis


def weights_of_each(weights: Any, inputs: Inputs) -> list[np.ndarray | None]:
    """Read the weights of the observations of each argument: for two, a pair, either of which may be None."""
    count = len(inputs.values)
    if weights is None:
        return [None] * count
    if count > 1 and (not isinstance(weights, tuple) or len(weights) != count):
        raise ValueError(f"for {count} sets of samples, weights must be a tuple of {count}: those of each set, or None")
    each = weights if count > 1 else (weights,)
    return [None if w is None else read_weights(w) for w in each]


def tuples(inputs: Inputs) -> Inputs:
    """Return the inputs with the variables replaced by one, whose symbols are the tuples observed."""
    _same_shape(inputs)
    joint = np.zeros(inputs.values[0].shape, dtype=np.int64)
    for value, name in zip(inputs.values, inputs.names, strict=True):
        (codes,), count = _encode([value], [name])
        # Made dense again after each variable, the codes stay below the square of the number of observations.
        joint = np.unique(joint * count + codes, return_inverse=True)[1].reshape(joint.shape)
    return replace(inputs, values=(joint,), names=("the variables",), kinds=("samples",))


def pairs(inputs: Inputs, axis: tuple[int, ...]) -> tuple[Pairs, tuple[int, ...]]:
    """Return the counts of the pairs of two variables, and the shape of their results with ``axis`` kept."""
    _same_shape(inputs)
    (a,) = one_axis(axis)
    shape = inputs.values[0].shape
    weights = _row_weights(inputs.weights, shape, a)
    x, y = (
        _relabel(_rows(codes, a), size)
        for (codes,), size in (_encode([v], [n]) for v, n in zip(inputs.values, inputs.names, strict=True))
    )
    both = x.codes * y.size + y.codes
    xy = _relabel(both, x.size * y.size)
    counts = _count(xy.codes, xy.size, weights)
    if not (counts.sum(1) > 0).all():
        raise ValueError("weights sum to 0")

    def marginal(one: Codes) -> np.ndarray:
        symbol = np.zeros(counts.shape, dtype=np.intp)
        np.put_along_axis(symbol, xy.codes, one.codes, 1)
        return np.where(counts > 0, np.take_along_axis(_count(one.codes, one.size, weights), symbol, 1), 0.0)

    table = None
    if len(both) * x.size * y.size <= max(_DENSE_CELLS, _DENSE_PER_SAMPLE * both.size):
        table = _count(both, x.size * y.size, weights).reshape(-1, x.size, y.size)
    kept = list(shape)
    kept[a] = 1
    return Pairs(counts, marginal(x), marginal(y), table), tuple(kept)


def _same_shape(inputs: Inputs) -> None:
    shapes = {v.shape for v in inputs.values}
    if len(shapes) > 1:
        listing = ", ".join(f"{n} has shape {v.shape}" for n, v in zip(inputs.names, inputs.values, strict=True))
        raise ValueError(f"variables observed together must have one shape: {listing}")


def conditional_entropy(cells: Pairs) -> np.ndarray:
    """Return H(X|Y) of each row, in nats: the mean of log(n_y / n_xy), from the exact difference of the counts."""
    n = np.where(cells.xy > 0, cells.xy, 1.0)
    return (cells.xy * np.log1p((cells.y - cells.xy).clip(0.0) / n)).sum(1) / cells.xy.sum(1)


def mutual_information(cells: Pairs) -> np.ndarray:
    """Return I(X; Y) of each row, in nats, where too many pairs were not seen to write their table.

    These make it at least some 1/N^2, so the plain formula over the pairs that were seen has digits enough.
    """
    total = cells.xy.sum(1, keepdims=True)
    seen = cells.xy > 0
    x, y, xy = (np.where(seen, n / total, 1.0) for n in (cells.x, cells.y, cells.xy))
    return (np.where(seen, xy, 0.0) * np.log(xy / x / y)).sum(1).clip(0.0)
