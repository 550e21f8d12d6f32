"""Models of L1 fits by columns of X: C++ computes, a thread for each piece of a product's coordinates."""

from __future__ import annotations

import numpy as np

from .. import _cpu
from ..contract import Array, ByColumn, RowModel
from ..threads import get_num_threads, ranges
from .operands import each, level_in_use

# Coordinates whose products are one task, at least: each call looks once whether all rows are there.
PIECE = 512


def _given(x: ByColumn) -> tuple[Array, ...]:
    return x.start, x.row, x.value, x.column, x.vector


def spread(x: ByColumn, which: Array, step: Array, z: Array) -> None:
    """See `contract.Backend.spread`."""
    _cpu.spread_columns(level_in_use(), *_given(x), which, step, z)


def gather(x: ByColumn, which: Array, r: Array, *, squares: bool = False) -> Array:
    """See `contract.Backend.gather`."""
    out, level = np.empty(len(which)), level_in_use()

    def look(begin: int, end: int) -> None:
        at = slice(begin, end)
        _cpu.gather_columns(level, *_given(x), which[at], r, squares, out[at])

    each(ranges(len(which), max(PIECE, -(-len(which) // get_num_threads()))), look)
    return out


def descend(x: ByColumn, which: Array, model: RowModel, base: Array, l1: Array, l2: Array, u: Array) -> float:
    """See `contract.Backend.descend`."""
    rows = model.weight, model.p, model.change, model.mean
    return float(_cpu.descend_columns(level_in_use(), *_given(x), which, *rows, base, l1, l2, model.diagonal, u))
