"""Second moments of dense rows: Python cuts the rows and the result, C++ computes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import DTypeLike

from .. import _cpu
from ..contract import Array, products_in
from ..threads import alone, ranges, run
from .operands import LAYER_DTYPES, each, level_in_use

# Results of fewer rows are summed from parts, one for each of no more than so many chunks of rows of X, ...
SMALL, MOST_PARTS = 384, 8
# ... which have so many rows at least; larger ones are cut into strips of about so many rows, each of one task.
CHUNK_ROWS, STRIP = 2048, 192


def strips(P: int) -> list[tuple[int, int]]:
    """Rows of a lower triangle (P, P) in strips that are equal areas.

    >>> strips(100)
    [(0, 100)]
    >>> strips(768)
    [(0, 384), (384, 543), (543, 665), (665, 768)]
    """
    count = 1 if P < SMALL else P // STRIP
    cuts = [int(P * (k / count) ** 0.5) for k in range(count)] + [P]
    return list(pairwise(cuts))


def second_moments(
    x: Array, weight: Array, *, rows: Array | None = None, ones: bool = False, dtype: DTypeLike = np.float64
) -> Array:
    """See `contract.Backend.second_moments`."""
    in_float = products_in(dtype) == np.float32
    if x.dtype.name not in LAYER_DTYPES:
        raise TypeError(f"the cpu backend takes float32 and float64, not {x.dtype}; the reference takes any")
    x, weight, level = np.ascontiguousarray(x), np.ascontiguousarray(weight, np.float64), level_in_use()
    at = np.arange(len(x)) if rows is None else np.ascontiguousarray(rows, np.int64)
    N, P = len(weight), x.shape[1] + ones
    chunk = max(CHUNK_ROWS, -(-N // MOST_PARTS)) if P < SMALL else max(1, N)
    parts = np.zeros((-(-N // chunk), P, P))
    # strips are for other threads, which read the rows again each; they change no bit of the sums
    cuts = [(0, P)] if alone() else strips(P)
    pieces = [(part, some, strip) for part, some in zip(parts, ranges(N, chunk), strict=True) for strip in cuts]

    def add(i: int) -> None:
        part, some, strip = pieces[-1 - i]  # the last strips, which read most columns, first
        _cpu.add_moments(level, x, at, weight, *some, *strip, in_float, part)

    run(add, len(pieces))
    # the sum of one part is itself: its lower triangle is read, and what lies across written
    out = parts[0] if len(parts) == 1 else np.empty((P, P))
    each(ranges(P, STRIP), lambda a, b: _cpu.both_triangles(level, parts, a, b, out))
    return out
