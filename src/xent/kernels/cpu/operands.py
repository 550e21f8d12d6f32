"""What the calls on logits and on linear layers share: dtypes, levels, and operands as the kernels take them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, Curvatures, RowStats, Slopes, Target
from ..threads import run

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def levels() -> list[str]:
    """The instruction sets that this machine has, best first."""
    return list(_cpu.levels())


def level_in_use() -> int:
    """The level in use: the best, or the one that ``XENT_CPU_LEVEL`` names."""
    wanted = os.environ.get("XENT_CPU_LEVEL")
    if not wanted:
        return 0
    if wanted not in levels():
        raise ValueError(f"XENT_CPU_LEVEL={wanted!r}: this machine has {', '.join(levels())}")
    return levels().index(wanted)


def operands(logits: Array, target: Target) -> tuple[Array, Array | None, Array | None]:
    """Logits or features, labels and probabilities in C order, of one dtype."""
    if logits.dtype not in DTYPES:
        raise TypeError(f"the cpu backend takes float32 and float64, not {logits.dtype}; the reference takes any")
    label = None if target.label is None else np.ascontiguousarray(target.label, np.int64)
    probs = None if target.probs is None else np.ascontiguousarray(target.probs, logits.dtype)
    return np.ascontiguousarray(logits), label, probs


def empty_stats(N: int, need_u: bool) -> RowStats:
    """Room for the statistics of N rows."""
    return RowStats(np.empty(N), np.empty(N), np.empty(N), np.empty(N) if need_u else None)


def per_row_slopes(slopes: Slopes | Curvatures, N: int) -> tuple[Array, ...]:
    """The three slopes of each row."""
    return tuple(np.ascontiguousarray(np.broadcast_to(np.asarray(v, np.float64), N)) for v in slopes)


def one_slope(slopes: Slopes) -> tuple[Array, ...]:
    """The three slopes that all rows share."""
    return tuple(np.asarray([v], np.float64) for v in slopes)


def weight_column(weight: Array | None) -> Array | None:
    """Weights as the kernels take them."""
    return None if weight is None else np.ascontiguousarray(weight, np.float64)


def each(pieces: Any, call: Any) -> None:
    """Call with the ends of each piece, on all threads."""
    run(lambda i: call(*pieces[i]), len(pieces))
