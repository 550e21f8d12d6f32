"""How work is cut into pieces: pure functions of shapes, so that the same call gives the same bits on any machine load
and any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

# A tile's logits and features should share a second-level cache of 1 MB with a panel of weights.
TILE_BYTES = 512 * 1024
# Partial sums of dw, one a chunk of rows; beyond this dw is summed in place, by blocks of classes.
PARTIAL_BYTES = 16 * 1024 * 1024
# Residuals kept between the two phases of the second way.
RESIDUAL_BYTES = 16 * 1024 * 1024
# A result that is larger than this leaves the caches before it is read again.
PAST_BYTES = 16 * 1024 * 1024
MOST_PARTIALS = 64
FEWEST_PARTIALS = 8


@dataclass(frozen=True)
class LinearPlan:
    """How a linear layer's rows are cut.

    Attributes
    ----------
    tile_rows : rows whose logits are in the cache at once
    chunk_rows : rows of one task; with partial sums, one partial sum of dw a chunk
    partials : number of partial sums of dw; 0 when dw is summed in place, a block of classes a task
    class_block : classes of one task of the second phase
    reason : why
    """

    tile_rows: int
    chunk_rows: int
    partials: int
    class_block: int
    reason: str


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)


def row_chunk(N: int, K: int, itemsize: int) -> int:
    """Rows of one task on logits: about 1 MB of them, at least one row, at most a quarter of all where N allows."""
    return max(1, min(2**20 // max(1, K * itemsize), ceil_div(N, 4)))


def goes_past(nbytes: int) -> bool:
    """Whether a result of this size is written past the caches: it would not be there when it is read again."""
    return nbytes > PAST_BYTES


def linear_plan(N: int, D: int, K: int, itemsize: int) -> LinearPlan:
    """Cut (N, D) rows against (K, D) weights.

    >>> linear_plan(60_000, 784, 10, 4).partials
    55
    >>> linear_plan(4096, 1024, 32_000, 4).partials
    0
    """
    tile = TILE_BYTES // max(1, (K + D) * itemsize)
    tile = max(24, min(240, tile // 12 * 12))
    dw_bytes = max(1, K * D * itemsize)
    partials = min(MOST_PARTIALS, PARTIAL_BYTES // dw_bytes)
    if partials >= FEWEST_PARTIALS:
        tiles = ceil_div(max(N, 1), tile)
        chunk = ceil_div(tiles, partials) * tile
        return LinearPlan(
            tile, chunk, ceil_div(max(N, 1), chunk), K, f"dw is {dw_bytes} bytes: a partial sum for each chunk of rows"
        )
    tiles = max(1, RESIDUAL_BYTES // max(1, K * itemsize) // tile)
    block = max(96, ceil_div(ceil_div(K, 32), 96) * 96)
    return LinearPlan(tile, tiles * tile, 0, block, f"dw is {dw_bytes} bytes: summed in place, by blocks of classes")
