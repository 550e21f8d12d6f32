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


def hvp_plan(N: int, D: int, K: int, itemsize: int) -> LinearPlan:
    """Cut (N, D) rows against (K, D) weights and as many directions: a tile holds two sets of logits.

    >>> hvp_plan(60_000, 784, 10, 4).partials
    55
    >>> hvp_plan(4096, 1024, 32_000, 4).partials
    0
    """
    tile = max(24, min(240, TILE_BYTES // max(1, (2 * K + D) * itemsize) // 12 * 12))
    dw_bytes = max(1, K * D * itemsize)
    partials = min(MOST_PARTIALS, PARTIAL_BYTES // dw_bytes)
    if partials >= FEWEST_PARTIALS:
        chunk = ceil_div(ceil_div(max(N, 1), tile), partials) * tile
        reason = f"dw is {dw_bytes} bytes: a partial sum for each chunk of rows"
        return LinearPlan(tile, chunk, ceil_div(max(N, 1), chunk), K, reason)
    tiles = max(1, RESIDUAL_BYTES // max(1, 2 * K * itemsize) // tile)
    block = max(96, ceil_div(ceil_div(K, 32), 96) * 96)
    reason = f"dw is {dw_bytes} bytes: summed in place, by blocks of classes"
    return LinearPlan(tile, tiles * tile, 0, block, reason)


# Numbers of a column of weights that are read and written as one: a vector, or several of a cache line each.
LINE_BYTES = 64
# Blocks of columns of dw, a task each: a row's nonzeros in a block should be many, as finding them costs as much as
# adding some ten of them.
BLOCK_NONZEROS = 24
FEWEST_BLOCKS = 4
MOST_BLOCKS = 64
# Nonzeros of a chunk of rows, which are read again for dw.
CHUNK_NONZEROS = 2**20
# Nonzeros of a tile, by the size of their values: what they touch should stay in the first-level cache.
TILE_NONZEROS_BYTES = 8192


@dataclass(frozen=True)
class SparsePlan:
    """How the rows of a sparse (CSR) linear layer are cut.

    Attributes
    ----------
    tile_rows : rows whose logits are there at once
    task_rows : rows of one task where nothing is summed over them
    chunk_rows : rows of one partial sum of dw, or whose residuals are kept between the two phases
    partials : number of partial sums; 0 when dw is summed in place, a block of columns a task
    beside : whether each partial sum lies beside a copy of the weights, column by column
    blocks, shift : blocks of ``2^shift`` columns
    reason : why
    """

    tile_rows: int
    task_rows: int
    chunk_rows: int
    partials: int
    beside: bool
    blocks: int
    shift: int
    reason: str


def lanes(K: int, itemsize: int) -> int:
    """Numbers kept for a column of K weights: 1, 2, 4, 8, or whole cache lines.

    >>> lanes(3, 8), lanes(20, 8), lanes(20, 4)
    (4, 24, 32)
    """
    line = LINE_BYTES // itemsize
    return ceil_div(K, line) * line if line // 2 < K else 1 << max(0, K - 1).bit_length()


def sparse_plan(N: int, D: int, width: int, nonzeros: int, itemsize: int) -> SparsePlan:
    """Cut N sparse rows against weights of `width` lanes (see `lanes`) in each of D columns.

    Beyond its operands and results a call holds: the weights by columns, ``D width`` numbers, and either the partial
    sums, at most `PARTIAL_BYTES`, or dw by columns, the residuals, at most `RESIDUAL_BYTES`, and blocks + 1 numbers of
    4 bytes for each of their rows.

    >>> sparse_plan(100_000, 50_000, 1, 10_000_000, 8).partials
    8
    >>> sparse_plan(100_000, 50_000, 24, 10_000_000, 8).partials
    0
    """
    row = ceil_div(max(nonzeros, 1), max(N, 1))
    tile = max(8, min(64, ceil_div(TILE_NONZEROS_BYTES // itemsize, row) // 8 * 8))
    task = max(tile, min(ceil_div(max(N, 1), 8), ceil_div(CHUNK_NONZEROS // 32, row)) // tile * tile)
    beside = 2 * width * itemsize <= LINE_BYTES
    part = max(1, D * width * itemsize * (1 + beside))
    # zeroing and summing the parts should cost little beside the nonzeros
    worth = max(FEWEST_PARTIALS, min(MOST_PARTIALS, nonzeros // max(1, 32 * D)))
    partials = min(worth, PARTIAL_BYTES // part)
    if partials >= FEWEST_PARTIALS and nonzeros >= D:
        chunk = ceil_div(ceil_div(max(N, 1), partials), tile) * tile
        reason = f"dw is {part} bytes: a partial sum for each chunk of rows"
        return SparsePlan(tile, task, chunk, ceil_div(max(N, 1), chunk), beside, 1, 63 - 1, reason)
    columns = ceil_div(max(D, 1), max(FEWEST_BLOCKS, min(MOST_BLOCKS, row // BLOCK_NONZEROS)))
    shift = (columns - 1).bit_length()
    kept = min(RESIDUAL_BYTES // max(1, width * itemsize), ceil_div(CHUNK_NONZEROS, row), max(1, N))
    chunk = max(task, kept // task * task)
    blocks = ceil_div(max(D, 1), 1 << shift)
    reason = f"dw is {part} bytes: summed in place, by blocks of columns"
    return SparsePlan(tile, task, chunk, 0, False, blocks, shift, reason)
