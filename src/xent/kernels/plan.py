"""How work is cut into pieces: pure functions of shapes and of a budget of memory, so that the same call gives the same
bits on any machine load and any number of threads.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

MIB = 2**20
# The memory of a call beside its arguments and results, where none is asked for.
MEMORY = 64 * MIB

# Few and middle: a tile's logits and features should share a second-level cache of 1 MB with a panel of weights.
TILE_BYTES = 640 * 1024
FEW_TILE_BYTES = 256 * 1024  # the next tile of x is fetched meanwhile
FEWEST_TILE_ROWS, MOST_TILE_ROWS = 24, 240
# Partial sums of dw, one a chunk of rows; where there is no room for a few, dw is summed in place.
PARTIAL_BYTES = 16 * MIB
MOST_PARTIALS = 32
# A result that is larger than this leaves the caches before it is read again.
PAST_BYTES = 16 * MIB
FEWEST_PARTIALS = 8
# Multiplications of a product that are done about when another thread has woken, and of a chunk beside which a call of
# it costs little; but no more rows than these for that alone, whose sum is in float32 if w is.
ALONE, CHUNK, CHUNK_ROWS = 3 * 2**19, 2**17, 4096
# Few: up to here a row of logits is one vector, and the product is bound by reading x.
FEW = 16

# Many: rows of a tile, whole blocks of the products; beyond, w and dw go by seldom enough. Below FEWEST_KEPT it is
# better to compute logits twice.
MOST_ROWS = 480
TILE_ROWS_BYTES = 800 * 1024  # of a tile of x, and of a group's share of dx: both are in the second-level cache
FEWEST_KEPT = 64
BLOCK_BYTES = 352 * 1024  # of logits, in the second-level cache beside
STRIP_BYTES = 384 * 1024  # of w
MOST_GROUPS = 16
TURNED = 96  # classes whose logits are turned over at once: ClassBlock in linear_many.h
FEWEST_CLASSES = 96  # of a block, unless it has all: linear_many.h; fewer are taken into the block before
PAD = 32  # classes of the widest panel
PART = 48  # bytes of the statistics of a row in a group: Part in linear_many.h
SPARE_TASKS = 3  # tasks that must find room at once, so that a few threads do


@dataclass(frozen=True)
class LinearPlan:
    """How a linear layer is cut.

    Attributes
    ----------
    way : "few", "middle" or "many"
        A tile of rows against all classes, the products bound by reading x or by arithmetic; or against blocks of
        classes.
    tile_rows : rows whose logits are there at once
    chunk_rows : few and middle: rows of one task, with a partial sum of dw of its own
    partials : few and middle: the number of these sums
    group, block, strip : many: classes of one task, of one block of logits, and of one piece of w in the cache
    kept : many: whether the logits of a tile stay between the statistics and the gradient, or are made again
    shared_bytes : memory that the call takes once
    task_bytes : memory that each task takes while it runs
    most_tasks : tasks that may run at once
    reason : why
    """

    way: str
    tile_rows: int
    chunk_rows: int
    partials: int
    group: int
    block: int
    strip: int
    kept: bool
    shared_bytes: int
    task_bytes: int
    most_tasks: int
    reason: str


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)


def round_up(a: int, b: int) -> int:
    """The multiple of b from a on."""
    return ceil_div(a, b) * b


def row_chunk(N: int, K: int, itemsize: int) -> int:
    """Rows of one task on logits: about 1 MB of them, at least one row, at most a quarter of all where N allows."""
    return max(1, min(2**20 // max(1, K * itemsize), ceil_div(N, 4)))


def goes_past(nbytes: int) -> bool:
    """Whether a result of this size is written past the caches: it would not be there when it is read again."""
    return nbytes > PAST_BYTES


def check_memory(memory: int | None) -> int:
    """A budget in bytes; 64 MiB for None."""
    if memory is None:
        return MEMORY
    if isinstance(memory, bool) or int(memory) != memory or memory < 1:
        raise ValueError(f"memory must be a number of bytes from 1, not {memory!r}")
    return int(memory)


def linear_plan(
    N: int,
    D: int,
    K: int,
    itemsize: int,
    memory: int | None = None,
    *,
    twice: bool = True,
    converts: bool = False,
) -> LinearPlan:
    """Cut (N, D) rows against (K, D) weights.

    Beside the arguments and the results, a call takes at most ``shared_bytes + task_bytes * (tasks at once)``, which is
    no more than `memory`. With s = itemsize, T = tile_rows, and K', D' and T' rounded up to 32:

    few, middle: shared ``s K' D + partials (s K D + 8 K)`` (w packed, the partial sums), a task
    ``(s (K + D) + 8) T``.
    many, of G groups: shared ``s T' D + s T D' + G T (s D + 48) + 40 T`` (the tile packed both ways, the shares of dx,
    the statistics) and, where the logits are kept, ``s K T``; a task ``s T (96 + 2 (block + 96)) + 64 T``.
    With `converts`, of a tile of x in the dtype computed in and of its dx: few, middle: a task ``s D T`` more; many:
    shared ``2 s D T`` more.

    Parameters
    ----------
    N, D, K : rows, features, classes
    itemsize : bytes of a number of w, in whose dtype all is computed
    memory : int, optional
        Bytes; 64 MiB if None.
    twice : bool
        Whether logits serve both the statistics and the gradient, so that keeping them saves a product.
    converts : bool
        Whether x is stored in another dtype than w.

    Raises
    ------
    ValueError
        The budget is too small; the message says what would do.

    Examples
    --------
    >>> linear_plan(60_000, 784, 10, 4).way
    'few'
    >>> linear_plan(20_000, 256, 1000, 4).way
    'middle'
    >>> linear_plan(8192, 512, 128_000, 4).reason
    'many: dw is 262144000 bytes, too large for 8 sums of it; the logits of 96 rows are kept'
    """
    budget = check_memory(memory)
    return _within(N, D, K, itemsize, budget, bool(twice), bool(converts))


@functools.lru_cache(maxsize=1024)  # asked for with the same numbers in each pass of a fit
def _within(N: int, D: int, K: int, itemsize: int, budget: int, twice: bool, converts: bool) -> LinearPlan:
    plan = _plan(N, D, K, itemsize, budget, twice, converts)
    least = plan.shared_bytes + plan.task_bytes
    if least > budget:
        # a tile of all classes may need less than a block of many rows
        other = max(8 * FEWEST_TILE_ROWS * (K + D) * itemsize, 2 * FEWEST_PARTIALS * K * D * itemsize)
        few = _plan(N, D, K, itemsize, other, twice, converts)
        if few.shared_bytes + few.task_bytes <= other:
            least = min(least, other)
        raise ValueError(f"memory={budget} bytes are too few for this layer: {least} would do")
    return replace(plan, most_tasks=(budget - plan.shared_bytes) // max(1, plan.task_bytes))


def _plan(N: int, D: int, K: int, itemsize: int, budget: int, twice: bool, converts: bool) -> LinearPlan:
    most = min(FEW_TILE_BYTES if K <= FEW else TILE_BYTES, budget // 8)
    tile = most // max(1, (K + D) * itemsize) // 12 * 12
    if tile >= FEWEST_TILE_ROWS and K * D * itemsize * FEWEST_PARTIALS <= min(PARTIAL_BYTES, budget // 2):
        return _tiles(N, D, K, itemsize, budget, min(MOST_TILE_ROWS, tile), converts)
    return _blocks(N, D, K, itemsize, budget, twice, converts)


def _tiles(N: int, D: int, K: int, itemsize: int, budget: int, tile: int, converts: bool) -> LinearPlan:
    dw = max(1, K * D * itemsize)
    partials = min(MOST_PARTIALS, min(PARTIAL_BYTES, budget // 2) // dw)
    # chunks of one size, and tiles of one size in them, lest a thread waits for a longer one
    worth = ceil_div(ALONE if N * D * K <= ALONE else CHUNK, max(1, D * K))
    chunk = round_up(max(ceil_div(N, partials), min(tile, 96), min(worth, CHUNK_ROWS, N)), 12)
    tile = round_up(ceil_div(chunk, ceil_div(chunk, tile)), 12)
    partials = ceil_div(max(N, 1), chunk)
    shared = itemsize * round_up(K, PAD) * D + partials * (dw + 8 * K)
    task = (itemsize * (K + D) + 8) * tile  # logits, losses, and dx where it goes past the caches
    task += itemsize * D * tile if converts else 0
    way, why = ("few", "reading x is the limit") if K <= FEW else ("middle", "arithmetic is the limit")
    reason = f"{way}: dw is {dw} bytes, a sum of it for each chunk of rows; {why}"
    return LinearPlan(way, tile, chunk, partials, K, K, K, True, shared, task, 1, reason)


def _blocks(N: int, D: int, K: int, itemsize: int, budget: int, twice: bool, converts: bool) -> LinearPlan:
    dw = K * D * itemsize
    why = f"many: dw is {dw} bytes, too large for {FEWEST_PARTIALS} sums of it"
    strip = max(48, min(K, STRIP_BYTES // max(1, D * itemsize) // 48 * 48))

    def of(rows: int, kept: bool) -> LinearPlan:
        most_block = min(768, round_up(ceil_div(K, MOST_GROUPS), 96))
        block = max(96, min(most_block, BLOCK_BYTES // (rows * itemsize) // 96 * 96))
        group = round_up(ceil_div(K, MOST_GROUPS), block)
        groups, s = ceil_div(K, group), itemsize
        shared = s * round_up(rows, PAD) * D + s * rows * round_up(D, PAD) + groups * rows * (s * D + PART) + 40 * rows
        shared += (s * K * rows if kept else 0) + (2 * s * D * rows if converts else 0)
        task = s * rows * (TURNED + 2 * (block + FEWEST_CLASSES)) + 64 * rows
        return LinearPlan("many", rows, rows, 0, group, block, strip, kept, shared, task, 1, why)

    def most(kept: bool) -> int:
        rows = max(96, min(MOST_ROWS, TILE_ROWS_BYTES // max(1, D * itemsize)) // 96 * 96)
        while rows > 16 and (p := of(rows, kept)).shared_bytes + SPARE_TASKS * p.task_bytes > budget:
            rows -= 96 if rows > 96 else 16
        return rows

    rows, kept = most(True), True
    if not twice or (rows < FEWEST_KEPT and rows < N):
        rows, kept = most(False), False
    tiles = max(1, ceil_div(N, rows))
    plan = of(min(rows, round_up(ceil_div(max(N, 1), tiles), 16)), kept)
    return replace(
        plan, reason=f"{why}; the logits of {plan.tile_rows} rows are {'kept' if kept else 'made for each use'}"
    )


# Hessian-vector products: two sets of logits in the cache; residuals kept between the two phases of the second way.
HVP_TILE_BYTES = 512 * 1024
RESIDUAL_BYTES = 16 * MIB


@dataclass(frozen=True)
class HvpPlan:
    """How a linear layer's rows are cut for the directional derivative of its gradients.

    Attributes
    ----------
    tile_rows : rows whose logits and their directions are in the cache at once
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


def hvp_plan(N: int, D: int, K: int, itemsize: int) -> HvpPlan:
    """Cut (N, D) rows against (K, D) weights and as many directions: a tile holds two sets of logits.

    >>> hvp_plan(60_000, 784, 10, 4).partials
    30
    >>> hvp_plan(4096, 1024, 32_000, 4).partials
    0
    """
    tile = max(24, min(240, HVP_TILE_BYTES // max(1, (2 * K + D) * itemsize) // 12 * 12))
    dw_bytes = max(1, K * D * itemsize)
    partials = min(MOST_PARTIALS, PARTIAL_BYTES // dw_bytes)
    if partials >= FEWEST_PARTIALS:
        chunk = ceil_div(ceil_div(max(N, 1), tile), partials) * tile
        reason = f"dw is {dw_bytes} bytes: a partial sum for each chunk of rows"
        return HvpPlan(tile, chunk, ceil_div(max(N, 1), chunk), K, reason)
    tiles = max(1, RESIDUAL_BYTES // max(1, 2 * K * itemsize) // tile)
    block = max(96, ceil_div(ceil_div(K, 32), 96) * 96)
    reason = f"dw is {dw_bytes} bytes: summed in place, by blocks of classes"
    return HvpPlan(tile, tiles * tile, 0, block, reason)


# Numbers of a column of weights that are read and written as one: a vector, or several of a cache line each.
LINE_BYTES = 64
# Blocks of columns of dw, a task each: a row's nonzeros in a block should be many, as finding them costs as much as
# adding some ten of them.
BLOCK_NONZEROS = 24
FEWEST_BLOCKS = 4
MOST_BLOCKS = 64
# Nonzeros of a chunk of rows, which are read again for dw.
CHUNK_NONZEROS = 2**20
# Partial sums of dw, each of which is summed and zeroed for what it saves: reading x twice.
SPARSE_PARTIAL_BYTES = 32 * MIB
# Nonzeros of a tile, by the size of their values: what they touch should stay in the first-level cache.
TILE_NONZEROS_BYTES = 8192
# One weight a column: x may come from the second level again, where the loss of so few rows would wait for itself.
THIN_TILE_BYTES = 32768


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
    sums, at most `SPARSE_PARTIAL_BYTES`, or dw by columns, the residuals, at most `RESIDUAL_BYTES`, and blocks + 1
    numbers of 4 bytes for each of their rows.

    >>> sparse_plan(100_000, 50_000, 1, 10_000_000, 8).partials
    8
    >>> sparse_plan(100_000, 50_000, 24, 10_000_000, 8).partials
    0
    """
    row = ceil_div(max(nonzeros, 1), max(N, 1))
    most = THIN_TILE_BYTES if width == 1 else TILE_NONZEROS_BYTES
    tile = max(8, min(64, ceil_div(most // itemsize, row) // 8 * 8))
    task = max(tile, min(ceil_div(max(N, 1), 8), ceil_div(CHUNK_NONZEROS // 32, row)) // tile * tile)
    beside = 2 * width * itemsize <= LINE_BYTES
    part = max(1, D * width * itemsize * (1 + beside))
    # zeroing and summing the parts should cost little beside the nonzeros
    worth = max(FEWEST_PARTIALS, min(MOST_PARTIALS, nonzeros // max(1, 32 * D)))
    partials = min(worth, SPARSE_PARTIAL_BYTES // part)
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
