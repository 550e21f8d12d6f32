"""Splitting rows so that every class is in every part, or a reason why that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import TableError, count


def split_test(index: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Set aside a stratified share of the rows.

    Every class gives its share, rounded so that the total is right (largest remainders first); a class always keeps a
    row for training.

    Parameters
    ----------
    index : int array of shape (rows,)
        Class indices.
    share : float
        Between 0 and 1.
    seed : int

    Returns
    -------
    train, test : int arrays
        Row numbers in ascending order.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(index)
    wanted = counts * share
    give = np.floor(wanted).astype(np.int64)
    left = round(len(index) * share) - int(give.sum())
    for k in np.argsort(-(wanted - give), kind="stable")[: max(left, 0)]:
        give[k] += 1
    give = np.minimum(give, np.maximum(counts - 1, 0))
    test = np.concatenate([rng.permutation(np.flatnonzero(index == k))[: give[k]] for k in range(len(counts))])
    chosen = np.zeros(len(index), dtype=bool)
    chosen[test] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def check_folds(index: np.ndarray, folds: int, names: Sequence[str], total: np.ndarray, *, tuned: bool = True) -> None:
    """Refuse cross-validation where a class has fewer training rows than there are folds.

    Parameters
    ----------
    index : int array
        Class indices of the training rows.
    folds : int
    names : sequence of str
        The classes, for the message.
    total : int array
        How many rows each class has before the test part is set aside.
    tuned : bool, optional
        Whether the folds are for the penalty; if not, for the figures, which a test part would give too.
    """
    counts = np.bincount(index, minlength=len(names))
    small = np.flatnonzero(counts < folds)
    if not small.size:
        return
    worst = int(small[np.argmin(counts[small])])
    has = count(int(counts[worst]), "training row")
    if total[worst] != counts[worst]:
        has += f" ({total[worst]} with the test part)"
    also = f", and {count(small.size - 1, 'more class', 'more classes')}" if small.size > 1 else ""
    fewest = int(counts[worst])
    offer = []
    if fewest >= 2:
        offer.append(f"fewer folds (--folds {fewest})")
    elif total[worst] >= 2:
        offer.append(f"no test part (--test 0 --folds {min(folds, int(total[worst]))})")
    if len(names) > 2:
        offer.append(f"leaving the class out (--drop-class {_quoted(names[worst])})")
    offer.append("a fixed penalty, which needs no folds (--c 1)" if tuned else "a test part, not folds (--test 0.2)")
    raise TableError(
        f"class {names[worst]!r} has {has}, fewer than the {folds} folds{also}", todo=f"Try {', or '.join(offer)}."
    )


def _quoted(name: str) -> str:
    return name if name.isalnum() else f"'{name}'"
