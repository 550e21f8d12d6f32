"""Row functions without native kernels, a tile of rows at a time: what lies between input and result stays small.

For NumPy, and PyTorch's tensors in the CPU's memory, a tile fits the cache and the tiles are spread over the threads.
For other PyTorch tensors a tile bounds the memory in use at once. XLA fuses JAX's operations by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, along, is_torch, where
from ..kernels import threads

Wrt = tuple[bool, ...]
Grads = tuple[Array | None, ...]
# Of the first array; some ten others of its size are in use at once.
CACHE_BYTES = 64 * 1024
TORCH_BYTES = 64 * 2**20


class Tiled:
    """A row function of arrays of which the last is ``label`` (N,): negative leaves a row out, unread.

    A subclass has ``_parts``, what value and gradients share, and ``_value`` and ``_grads`` made of them. In NumPy
    these never see a row that is left out.
    """

    native = True

    def value(self, xp: Any, *arrays: Array) -> Array:
        """Of each row."""
        if _is_numpy(xp):
            return self._numpy(None, None, *arrays)[0]
        tiles = _torch_tiles(xp, arrays)
        values = [self._value(xp, self._parts(xp, *t), *t) for t in tiles]
        return values[0] if len(tiles) == 1 else xp.concat(values)

    def grads(self, xp: Any, wrt: Wrt, *arrays: Array) -> Grads:
        """In each array that `wrt` marks."""
        if _is_numpy(xp):
            return self._numpy(np.ones(arrays[0].shape[0], arrays[0].dtype), wrt, *arrays)[1]
        tiles = _torch_tiles(xp, arrays)
        each = [self._grads(xp, wrt, self._parts(xp, *t), *t) for t in tiles]
        return (
            each[0]
            if len(tiles) == 1
            else tuple(None if d[0] is None else xp.concat(d) for d in zip(*each, strict=True))
        )

    def weighted_grads(self, xp: Any, g: Array, wrt: Wrt, *arrays: Array) -> Grads:
        """The same times `g` (N,)."""
        if _is_numpy(xp):
            return self._numpy(g, wrt, *arrays)[1]
        return tuple(None if d is None else along(g, d) * d for d in self.grads(xp, wrt, *arrays))

    def value_and_grads(self, g: Array, wrt: Wrt, *arrays: Array) -> tuple[Array, Grads]:
        """NumPy: the value of each row, and the gradients times `g`, in one pass."""
        return self._numpy(g, wrt, *arrays, both=True)

    def _numpy(self, g: Array | None, wrt: Wrt | None, *arrays: Array, both: bool = False) -> tuple[Array, Grads]:
        first = arrays[0]
        loss = np.zeros(first.shape[0], first.dtype)
        found = tuple(np.zeros(x.shape, x.dtype) if w else None for w, x in zip(wrt or (), arrays, strict=False))

        def tile(rows: slice) -> None:
            part = tuple(x[rows] for x in arrays)
            inside: Any = slice(None)
            if (part[-1] < 0).any():
                inside = part[-1] >= 0
                part = tuple(x[inside] for x in part)
            parts = self._parts(NUMPY, *part)
            if wrt is None or both:
                loss[rows][inside] = self._value(NUMPY, parts, *part)
            if wrt is not None and g is not None:
                for out, d in zip(found, self._grads(NUMPY, wrt, parts, *part), strict=True):
                    if out is not None and d is not None:
                        out[rows][inside] = along(g[rows][inside], d) * d

        _each_tile(tile, first)
        return loss, found

    def _kept(self, xp: Any, label: Array) -> Array | None:
        """Which rows are not left out (N, 1), None for all."""
        return None if _is_numpy(xp) else (label >= 0)[:, None]

    def _parts(self, xp: Any, *arrays: Array) -> Any:
        raise NotImplementedError

    def _value(self, xp: Any, parts: Any, *arrays: Array) -> Array:
        raise NotImplementedError

    def _grads(self, xp: Any, wrt: Wrt, parts: Any, *arrays: Array) -> Grads:
        raise NotImplementedError


def kept_or(xp: Any, kept: Array | None, x: Array, other: float) -> Array:
    """`x` where rows are kept (None: all), and a constant elsewhere."""
    if kept is None:
        return x
    return where(xp, kept if x.ndim == 2 else kept[:, 0], x, other)


def unless(xp: Any, seldom: Array, special: Any, usual: Array) -> Array:
    """``where(seldom, special, usual)``; NumPy looks first whether there is any."""
    if _is_numpy(xp) and not seldom.any():
        return usual
    return where(xp, seldom, special, usual)


def patch(xp: Any, mask: Array, base: Array, f: Callable[..., Array], x: Array, *others: Array) -> Array:
    """``f(x, *others)`` where the mask says so, and `base`, which may be overwritten, elsewhere.

    f must be finite at x = 0: what it gives where it is not wanted would reach a derivative all the same. NumPy
    computes it only where it is wanted, if that is seldom.
    """
    if _is_numpy(xp) and 4 * np.count_nonzero(mask) < mask.size:
        at = np.nonzero(mask)
        base[at] = f(*(v[at] for v in (x, *others)))
        return base
    return where(xp, mask, f(where(xp, mask, x, 0.0), *others), base)


def _is_numpy(xp: Any) -> bool:
    return xp is np or xp is NUMPY


def _each_tile(tile: Callable[[slice], None], like: Array) -> None:
    """Call `tile` with all rows, cut by their shape alone."""
    step = _rows(like, CACHE_BYTES)
    pieces = threads.ranges(like.shape[0], step)

    def task(i: int) -> None:
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # of the thread, not of the caller
            tile(slice(*pieces[i]))

    threads.run(task, len(pieces))


def _torch_tiles(xp: Any, arrays: tuple[Array, ...]) -> list[tuple[Array, ...]]:
    """The arrays in tiles of rows; one for JAX, or where they are small."""
    N = arrays[0].shape[0]
    step = _rows(arrays[0], TORCH_BYTES) if is_torch(xp) else N
    return [tuple(x[i : i + step] for x in arrays) for i in range(0, N, step)] if step < N else [arrays]


def _rows(x: Array, size: int) -> int:
    """How many rows have about this size."""
    row = x.dtype.itemsize
    for n in x.shape[1:]:
        row *= n
    return max(1, size // max(1, row))
