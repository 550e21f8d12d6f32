"""What the machine can do at best: copying, reading, multiplying. Several ways each, of which the best counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..harness import times_in_turn
from .case import tensor

Run = Callable[[], Any]
TILE = 1024  # rows of logits at a time where all of them would not fit beside the rest
MOST_LOGITS = 2e9  # bytes
SQUARE = 2048  # of the product that tells the best rate


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        return None
    return torch


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def in_parts(call: Callable[[int, int], Any], total: int, threads: int) -> list[Any]:
    """``call(begin, end)`` on equal parts of ``range(total)``, one a thread."""
    cuts = [total * i // threads for i in range(threads + 1)]
    return list(_pool(threads).map(call, cuts[:-1], cuts[1:]))


def copying(source: Any, threads: int) -> dict[str, Run]:
    """Ways to copy an array into memory that is already there."""
    flat, target = source.reshape(-1), np.ones_like(source).reshape(-1)
    ways: dict[str, Run] = {
        "np.copyto": lambda: np.copyto(target, flat),
        f"np.copyto by {threads} threads": lambda: in_parts(
            lambda a, b: np.copyto(target[a:b], flat[a:b]), len(flat), threads
        ),
    }
    torch = _torch()
    if torch is not None and source.dtype.kind == "f":
        # bytes: PyTorch cannot see every dtype of NumPy
        there, here = torch.from_numpy(target.view(np.int8)), torch.from_numpy(flat.view(np.int8))
        ways["torch copy_"] = lambda: there.copy_(here)
    return ways


def reading(arrays: list[Any], threads: int) -> dict[str, Run]:
    """Ways to read arrays once and keep next to nothing."""
    flat = [a.reshape(-1).view(np.float32 if a.nbytes % 4 == 0 else a.dtype) for a in arrays]
    step = 2**18  # 1 MB at a time: NumPy gives way to other threads in between

    def each(call: Callable[[Any], Any]) -> Run:
        def part(a: Any, begin: int, end: int) -> None:
            for i in range(begin, end, step):
                call(a[i : min(i + step, end)])

        return lambda: [in_parts(functools.partial(part, a), len(a), threads) for a in flat]

    ways = {"np.max": each(np.max), "np.dot": each(lambda v: np.dot(v, v)), "np.sum": each(np.sum)}
    torch = _torch()
    if torch is not None:
        tensors = [torch.from_numpy(a) for a in flat]
        ways["torch.sum"] = lambda: [t.sum() for t in tensors]
    return ways


def products(x: Any, w: Any, with_dx: bool, count: int | None = None) -> dict[str, Run]:
    """Ways to do the bare products ``z = x w'``, ``dw = z' x`` and, with dx, ``dx = z w``, into memory that is there.

    `count` products beyond these repeat the first. Very many logits are done a tile of rows at a time, and dw is then
    of the last tile.
    """
    (N, _), K = x.shape, len(w)
    rows = N if N * K * x.itemsize <= MOST_LOGITS else TILE
    z, dw, dx = np.ones((rows, K), x.dtype), np.ones_like(w), np.ones((rows, x.shape[1]), x.dtype)
    again = (count or 0) - 2 - with_dx

    def numpy(product: Callable[..., Any], x: Any, w: Any, z: Any, dw: Any, dx: Any) -> None:
        for i in range(0, N, rows):
            some = x[i : i + rows]
            z = z[: len(some)]
            for _ in range(1 + max(0, again)):
                product(some, w.T, out=z)
            product(z.T, some, out=dw)
            if with_dx:
                product(z, w, out=dx[: len(some)])

    ways: dict[str, Run] = {"NumPy": lambda: numpy(np.matmul, x, w, z, dw, dx)}
    if x.itemsize == 2:  # of which NumPy multiplies one number at a time
        ways = {}
    torch = _torch()
    if torch is not None:
        tensors = [tensor(a) for a in (x, w, z, dw, dx)]
        ways["torch"] = lambda: numpy(torch.mm, *tensors)
    jitted = _jax_products(x, w, rows, with_dx, max(0, again))
    return ways if jitted is None else {**ways, "JAX": jitted}


def _jax_products(x: Any, w: Any, rows: int, with_dx: bool, again: int) -> Run | None:
    """The same by JAX, compiled, or None without it; it makes its own room for what comes out."""
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    there, weights = jax.numpy.asarray(x), jax.numpy.asarray(w)
    z = jax.numpy.ones((rows, len(w)), there.dtype)
    directions = [weights * (i + 2) for i in range(again)]  # of the same numbers the compiler would make one product

    @jax.jit
    def product(some: Any, w: Any, z: Any, directions: Any) -> Any:
        z = z[: len(some)]
        return some @ w.T, z.T @ some, z @ w if with_dx else None, [some @ v.T for v in directions]

    def run() -> None:
        for i in range(0, len(x), rows):
            jax.block_until_ready(product(there[i : i + rows] if rows < len(x) else there, weights, z, directions))

    run()
    return run


@functools.cache
def rate(dtype: str, threads: int) -> float:
    """Multiplications and additions a second of the quickest of two large square products, on the threads pinned.

    The quickest run and not the median: a limit is what the machine can do, and a rate that is too low flatters.
    """
    a = np.ones((SQUARE, SQUARE), dtype)
    ways = products(a, a, False)
    times = times_in_turn(ways, dict.fromkeys(ways, 6))
    return 4 * SQUARE**3 / min(min(t) for t in times.values())
