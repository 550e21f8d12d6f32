"""What the calls on logits and on linear layers share: dtypes, levels, and operands as the kernels take them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from .. import _cpu
from ..contract import Array, Curvatures, RowStats, Slopes, Target, dtype_name
from ..plan import LINE_BYTES, MIB
from ..threads import run

# What features and weights may be.
LAYER_DTYPES = ("float32", "float64")
# What logits may be, and what the kernels for it are called.
SUFFIXES = {"float32": "", "float64": "", "bfloat16": "_bf16", "float16": "_f16"}
# Bytes of the scratch memory that stays for the next call, at most, and that memory.
MOST_KEPT = 8 * MIB
_kept: list[Array] = []


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


def stored(a: Array) -> Array:
    """An array as the kernels take it: half precisions as their bits."""
    return a.view(np.uint16) if a.itemsize == 2 else a


def operands(logits: Array, target: Target) -> tuple[Array, Any, Any]:
    """Logits, labels and probabilities in C order; the last in the dtype of the computation."""
    if dtype_name(logits.dtype) not in SUFFIXES:
        raise TypeError(
            f"the cpu backend takes {', '.join(SUFFIXES)} here, not {logits.dtype}; the reference takes any"
        )
    computed = logits.dtype if logits.itemsize > 2 else np.dtype(np.float32)
    label = None if target.label is None else np.ascontiguousarray(target.label, np.int64)
    probs = None if target.probs is None else np.ascontiguousarray(target.probs, computed)
    return np.ascontiguousarray(logits), label, probs


def layer_operands(x: Array, w: Array, bias: Array | None, target: Target) -> tuple[Any, ...]:
    """x, w, bias, labels and probabilities in C order; x as it is stored, the others in the dtype of w."""
    check_layer(x, w)
    for name, a in (("x", x), ("w", w)):
        if a.dtype.char not in "fd":  # LAYER_DTYPES: to make a name takes longer
            kinds = ", ".join(LAYER_DTYPES)
            raise TypeError(f"the cpu backend takes {kinds} here, and {name} is {a.dtype}; the reference takes any")
    label = None if target.label is None else np.ascontiguousarray(target.label, np.int64)
    others = (None if v is None else np.ascontiguousarray(v, w.dtype) for v in (w, bias))
    probs = None if target.probs is None else np.ascontiguousarray(target.probs, w.dtype)
    return np.ascontiguousarray(x), *others, label, probs


def check_layer(x: Any, w: Array) -> None:
    """Raise unless x (N, D), dense or sparse, and w (K, D) share D."""
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ValueError(f"x (N, D) and w (K, D) must share D: x has the shape {x.shape}, w {w.shape}")


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


def each(pieces: Any, call: Any, at_once: int | None = None) -> None:
    """Call with the ends of each piece, on all threads."""
    run(lambda i: call(*pieces[i]), len(pieces), at_once)


def aligned(shape: tuple[int, ...], dtype: np.dtype, *, zero: bool = False) -> Array:
    """An array that begins with a cache line, so that a row of whole lines lies in no more of them than it fills."""
    size, line = int(np.prod(shape)), LINE_BYTES // dtype.itemsize
    flat = (np.zeros if zero else np.empty)(size + line, dtype)
    skip = -flat.ctypes.data % LINE_BYTES // dtype.itemsize
    return flat[skip : skip + size].reshape(shape)


@contextmanager
def scratch(shape: tuple[int, ...], dtype: Any) -> Iterator[Array]:
    """An array like `aligned`'s for the time of a call, with any numbers in it; nothing of it may be kept.

    One of up to `MOST_KEPT` bytes stays for the next call: memory that is new to the process comes a page at a time,
    and each costs microseconds, more where several threads ask.

    >>> with scratch((2, 3), np.float64) as room:
    ...     room.shape
    (2, 3)
    """
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    try:
        room = _kept.pop()  # so that no other thread has it
    except IndexError:
        room = np.empty(0, np.uint8)
    if len(room) < size:
        room = aligned((size,), np.dtype(np.uint8))
    try:
        yield room[:size].view(dtype).reshape(shape)
    finally:
        if len(room) <= MOST_KEPT and not _kept:
            _kept.append(room)


def room_for_dx(x: Array, out: Array | None) -> Array:
    """Where the gradient in x goes: `out` if given, which must be an array like x beside it."""
    if out is None:
        return np.empty_like(x)
    if out.shape != x.shape or out.dtype != x.dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"out must be a writable C-ordered {x.dtype} array {x.shape}, not {out.dtype} {out.shape}")
    if np.may_share_memory(out, x):
        raise ValueError("out shares memory with x, which is read until the end: give another array")
    return out
