"""Intervals of verification where the pairs of embeddings are too many to be kept.

Classes are drawn again, as in `pairs`, but from counts: how many pairs of two classes have a cosine in each of about a
thousand cells. Of more than 64 classes, 64 random groups of them take their place and are drawn whole; a pair within a
group counts as often as the group. The cells are cut where the error rates change, fine at small false accept rates,
and within a cell rates are lines. Memory does not grow with the pairs; the cosines are computed a second time.

Sources: those of `pairs`; for groups drawn whole K. M. Wolter, Introduction to Variance Estimation (2007), chapter 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .intervals import two_sided_t
from .pairs import VerificationIntervals, _eer, _percentiles
from .verification import _STEPS, _checked_embeddings, _checked_rates, _tiles, embedding_points

GROUPS = 64
"""Classes, or groups of classes, that are drawn."""
_CELLS = 1024
Array = NDArray[np.float64]


def embedding_intervals(
    embeddings: ArrayLike,
    labels: ArrayLike,
    *,
    far: Sequence[float] = (1e-2, 1e-3),
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    block: int = 1024,
) -> VerificationIntervals:
    """Intervals of `verify_embeddings`' figures for any number of pairs.

    Parameters
    ----------
    embeddings, labels, far, block
        As `verify_embeddings` takes them.
    level : float
    resamples : int
        Draws.
    seed : int
        Of the groups and the draws.

    Returns
    -------
    VerificationIntervals
        ``method`` is "subjects", or "subjects in 64 groups"; ``subjects`` how many there are.

    Raises
    ------
    ValueError
        As `verify_embeddings`; fewer than three classes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = np.repeat(np.arange(20), 10)
    >>> found = embedding_intervals(rng.normal(size=(20, 8))[labels] + rng.normal(size=(200, 8)), labels, far=(0.1,))
    >>> found.method, found.subjects, found.auc[0] < 0.9 < found.auc[1]
    ('subjects', 20, True)
    """
    rates, rng = _checked_rates(far), np.random.default_rng(seed)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    unit, classes = _checked_embeddings(embeddings, labels)
    number = int(classes.max(initial=-1)) + 1
    if number < 3:
        raise ValueError(f"a bootstrap over subjects needs three of them or more, got {number}")
    thresholds, true, false = embedding_points(embeddings, labels, block)
    if not true.size or not true[-1] or not false[-1]:
        raise ValueError(f"pairs of both kinds are needed, got {true[-1]} genuine and {false[-1]} impostor pairs")
    drawn = min(number, GROUPS)
    group = rng.permutation(number) % drawn
    genuine, impostor = _counts(unit, classes, group[classes], drawn, _cuts(thresholds, true, false), block)
    figures = _draws(genuine, impostor, rates, resamples, rng)
    wide = two_sided_t(level, drawn - 1) * math.sqrt(drawn / (drawn - 1))
    expanded = 2 * NormalDist().cdf(wide) - 1
    auc, eer, *tar = (_percentiles(column, expanded) for column in figures.T)
    method = "subjects" if drawn == number else f"subjects in {drawn} groups"
    return VerificationIntervals(method, level, len(figures), number, rates, tuple(tar), eer, auc)


def _cuts(thresholds: Array, true: NDArray[np.int64], false: NDArray[np.int64]) -> Array:
    """Thresholds of cells, falling, the last below every pair: even in TAR, and in FAR and its logarithm."""
    share = np.linspace(0, 1, _CELLS // 3)[1:]
    small = np.geomspace(1, false[-1], _CELLS // 3)
    places = [np.searchsorted(v, w) for v, w in ((true, share * true[-1]), (false, share * false[-1]), (false, small))]
    kept = np.unique(np.concatenate([*places, [len(true) - 1]]).clip(0, len(true) - 1))
    return thresholds[kept]


def _counts(
    unit: Array, classes: NDArray[np.int64], group: NDArray[np.int64], drawn: int, cuts: Array, block: int
) -> tuple[Array, Array]:
    """Genuine pairs by group and cell, impostor pairs by two groups and cell; cells from the highest cosine."""
    cells = len(cuts)
    genuine = np.zeros(drawn * cells, dtype=np.int64)
    impostor = np.zeros(drawn * drawn * cells, dtype=np.int64)
    rising = cuts[::-1]
    for rows, columns in _tiles(len(unit), block):
        cosine = np.round(unit[rows] @ unit[columns].T * _STEPS) / _STEPS  # as they were counted
        cell = cells - np.searchsorted(rising, cosine, side="right")
        same = classes[rows, None] == classes[columns]
        first, second = np.broadcast_arrays(group[rows, None], group[columns])
        if rows == columns:
            kept = ~np.tri(len(cell), dtype=np.bool_)
            cell, same, first, second = cell[kept], same[kept], first[kept], second[kept]
        np.add.at(genuine, (first * cells + cell)[same], 1)
        np.add.at(impostor, ((first * drawn + second) * cells + cell)[~same], 1)
    return (
        genuine.reshape(drawn, cells).astype(np.float64),
        impostor.reshape(drawn * drawn, cells).astype(np.float64),
    )


def _draws(
    genuine: Array, impostor: Array, far: tuple[float, ...], resamples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """AUC, EER and the TARs of each draw of the groups."""
    drawn = len(genuine)
    found: list[list[float]] = []
    while len(found) < resamples:
        times = rng.multinomial(drawn, np.full(drawn, 1 / drawn), min(100, resamples - len(found))).astype(np.float64)
        both = times[:, :, None] * times[:, None, :]
        both[:, range(drawn), range(drawn)] = times  # a group drawn twice is twice the same pairs, not four times
        for here, there in zip(times @ genuine, both.reshape(len(times), -1) @ impostor, strict=True):
            if not here.any() or not there.any():
                continue  # a draw without one of the kinds has no rates
            true, false = np.cumsum(here), np.cumsum(there)
            below = false[-1] - false + there / 2
            rates, accepted = np.append(0, false / false[-1]), np.append(0, true / true[-1])
            row = [float(here @ below) / float(true[-1] * false[-1]), _eer(here, there)]
            found.append(row + [_at(f, rates, accepted) for f in far])
    return np.array(found)


def _at(rate: float, far: Array, tar: Array) -> float:
    """The true accept rate where the false one is at most this, on the line between two cells."""
    after = int(np.searchsorted(far, rate, side="right"))
    if after == len(far):
        return float(tar[-1])
    share = (rate - far[after - 1]) / (far[after] - far[after - 1])
    return float(tar[after - 1] + share * (tar[after] - tar[after - 1]))
