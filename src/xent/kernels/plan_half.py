"""How a linear layer in bfloat16 is cut, whose products are PyTorch's: a pure function of shapes and a budget."""

from __future__ import annotations

from dataclasses import dataclass

from .plan import FEWEST_CLASSES, MIB, ceil_div, check_memory, round_up

TILE_BYTES = 16 * MIB  # of logits that go from one product to the next
GOOD_ROWS = 512  # so many anyway: with fewer, reading w would be the limit
LEAST_ROWS = 16


@dataclass(frozen=True)
class HalfPlan:
    """How a layer in bfloat16 is cut.

    Attributes
    ----------
    tile_rows : rows whose logits are computed at once, against all classes
    classes : classes of a block of dw, whose logits are made again for it; 0 where the logits of all rows are kept
    chunk_rows : rows of such a block that are there at once
    loss_bytes, bytes : memory that the loss takes, and the gradients
    """

    tile_rows: int
    classes: int
    chunk_rows: int
    loss_bytes: int
    bytes: int


def half_plan(
    N: int, D: int, K: int, memory: int | None = None, *, soft: bool = False, clean: bool = False
) -> HalfPlan:
    """Cut (N, D) rows against (K, D) weights in bfloat16, for PyTorch's products.

    Beside the arguments, the results, 96 bytes a row and the few MiB that PyTorch's products pack, a call takes no more
    than `memory` bytes: with q = 1 for a
    target of probabilities, and c = 1 where rows are left out, which x is then copied without,

    the loss: ``2 K T`` for the logits of T rows; gradients: ``N (2 K + 2 c D)`` where that is within the budget; else
    ``2 K T`` for what is not dw, and for dw blocks of C classes by M rows: ``M (2 C + 4 q C + 2 c D)``, and ``10 C D``
    where M is not N. That is a fourth product; a dw summed over tiles of rows would be rounded to bfloat16 in each.

    Parameters
    ----------
    N, D, K : rows, features, classes
    memory : int, optional
        Bytes; 64 MiB if None.
    soft, clean : bool
        Whether the target is probabilities, and whether rows are left out.

    Raises
    ------
    ValueError
        The budget is too small; the message says what would do.

    Examples
    --------
    >>> half_plan(20_000, 256, 1000)
    HalfPlan(tile_rows=6672, classes=0, chunk_rows=20000, loss_bytes=13344000, bytes=40000000)
    >>> half_plan(8192, 512, 128_000)
    HalfPlan(tile_rows=256, classes=3936, chunk_rows=8192, loss_bytes=65536000, bytes=65536000)
    """
    budget = check_memory(memory)
    T = _even(N, min(budget, max(TILE_BYTES, GOOD_ROWS * 2 * K)) // (2 * K))
    tile, whole = 2 * K * T, N * (2 * K + 2 * D * clean)
    if whole <= budget:
        return HalfPlan(T, 0, N, tile, whole)
    a_row, spare = 2 + 4 * soft, FEWEST_CLASSES - 1  # that the last block may have more
    most = (budget // N - 2 * D * clean) // a_row - spare
    C = max(FEWEST_CLASSES, most // FEWEST_CLASSES * FEWEST_CLASSES)
    widest = max(d - c for c, d in class_blocks(K, C))
    part, summed, M = a_row * widest + 2 * D * clean, 10 * widest * D, N
    if N * part > budget:
        M = _even(N, (budget - summed) // part)
    need = max(tile, M * part + (summed if M < N else 0))
    if need > budget:
        least = max(LEAST_ROWS * 2 * K, LEAST_ROWS * part + summed)
        raise ValueError(f"memory={budget} bytes are too few for this layer: {least} would do")
    return HalfPlan(T, C, M, tile, need)


def class_blocks(K: int, step: int) -> list[tuple[int, int]]:
    """Blocks of classes, none of them with few: a kernel for narrow rows would look for their maximum itself.

    >>> class_blocks(1000, 480)
    [(0, 480), (480, 1000)]
    """
    blocks = [(i, min(i + step, K)) for i in range(0, K, step)]
    if len(blocks) > 1 and K - blocks[-1][0] < FEWEST_CLASSES:
        blocks[-2:] = [(blocks[-2][0], K)]
    return blocks


def _even(N: int, most: int) -> int:
    """Rows of pieces of about one size, at most so many."""
    most = max(LEAST_ROWS, most // LEAST_ROWS * LEAST_ROWS)
    return max(1, min(N, round_up(ceil_div(N, ceil_div(max(N, 1), most)), LEAST_ROWS)))
