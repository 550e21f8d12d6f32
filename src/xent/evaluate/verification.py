"""Open-set verification: are two things of the same class, judged by a score of each pair.

The classes may be ones that training never saw, so there are no probabilities to judge, only scores. A score that
reaches the threshold accepts the pair as one class. With I impostor pairs (of two classes) and G genuine ones (of one):

- FAR, the false accept rate: accepted impostor pairs over I;
- TAR, the true accept rate: accepted genuine pairs over G; FRR, the false reject rate, is ``1 - TAR``.

All figures come from counts at the distinct scores, so ties are exact and the order of the pairs does not matter.

Sources: ISO/IEC 19795-1 for the rates; Fawcett, An introduction to ROC analysis (2006), for ties on the curve; Hanley
and McNeil (1982) for the area as the Mann-Whitney statistic.
"""

from __future__ import annotations

import math
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Steps of the cosine between 0 and 1. A step of 2.4e-7 is what cosines of float32 embeddings are good for, and the
# counts of both kinds of pairs take 134 MB.
_STEPS = 1 << 22


@dataclass(frozen=True)
class Verification:
    """How well scores tell pairs of one class from pairs of two.

    Attributes
    ----------
    genuine, impostor : int
        Numbers of pairs of one class, and of two.
    far : tuple of float
        The false accept rates that were asked for.
    tar : tuple of float
        For each of them the largest true accept rate of any threshold whose false accept rate is at most that.
    thresholds : tuple of float
        The highest threshold that gives that true accept rate; infinite where no genuine pair can be accepted.
    far_reached : tuple of float
        The false accept rate at that threshold: the smallest that comes with that true accept rate.
    eer : float
        Equal error rate: the value of FAR and FRR where they cross. Between two operating points next to each other
        both rates are linear: pairs whose scores tie at the threshold are accepted in part.
    eer_threshold : float
        The highest score at which FAR is at least FRR. Where several pairs tie at it, the rates are equal when those
        are accepted in part.
    auc : float
        The chance that a genuine pair scores higher than an impostor pair, ties counted half: the area under the curve
        of TAR over FAR.
    """

    genuine: int
    impostor: int
    far: tuple[float, ...]
    tar: tuple[float, ...]
    thresholds: tuple[float, ...]
    far_reached: tuple[float, ...]
    eer: float
    eer_threshold: float
    auc: float

    @property
    def resolved(self) -> tuple[bool, ...]:
        """Whether there are impostor pairs enough for one false accept at each rate; a rate of 0 asks for none."""
        return tuple(f == 0 or 1 / self.impostor <= f for f in self.far)

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name, as numbers and lists. An infinite threshold stays a float."""
        figures = {**asdict(self), "resolved": self.resolved}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in figures.items()}


def verify(scores: ArrayLike, same: ArrayLike, *, far: Sequence[float] = (1e-2, 1e-3)) -> Verification:
    """Judge scores of pairs by whether the pairs are of one class.

    Parameters
    ----------
    scores : array of shape (pairs,)
        Higher means more alike, on any scale; -inf is a score, NaN and +inf are not. (Of distances give the negative.)
    same : bool or 0/1 array of shape (pairs,)
        Whether the pair is of one class.
    far : sequence of float in [0, 1]
        False accept rates at which the true accept rate is wanted. A share k/I counts as at most f when its float64
        quotient is, so that 29 of 100 meets 0.29. There is no interpolation.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        Shapes that do not fit, NaN or +inf among the scores, no genuine or no impostor pair, a rate outside [0, 1],
        `same` that is neither bool nor 0 and 1.

    Warns
    -----
    UserWarning
        Where there are too few impostor pairs for one false accept at a rate above 0: its true accept rate is then the
        one without any.

    Examples
    --------
    >>> result = verify([0.9, 0.8, 0.6, 0.7, 0.2, 0.1], [1, 1, 1, 0, 0, 0], far=(0.0, 0.5))
    >>> [round(t, 3) for t in result.tar], result.thresholds
    ([0.667, 1.0], (0.8, 0.6))
    >>> round(result.eer, 3), round(result.auc, 3)
    (0.333, 0.889)
    """
    values, genuine = _checked_pairs(scores, same)
    order = np.argsort(values)[::-1]
    values, genuine = values[order], genuine[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], values.size > 0))  # ends of runs of equal scores
    true = np.cumsum(genuine, dtype=np.int64)[last]
    return figures_of(values[last], true, last + 1 - true, _checked_rates(far))


def verify_embeddings(
    embeddings: ArrayLike, labels: ArrayLike, *, far: Sequence[float] = (1e-2, 1e-3), block: int = 1024
) -> Verification:
    """Judge embeddings by the cosine similarities of all their pairs.

    Parameters
    ----------
    embeddings : array of shape (rows, D)
        One a row; their lengths do not matter.
    labels : array of shape (rows,)
        The class of each row: integers or strings.
    far : sequence of float in [0, 1]
        As for `verify`.
    block : int
        Pairs are looked at in tiles of block x block rows, about 25 bytes for each pair of a tile.

    Returns
    -------
    Verification
        Over the rows (rows - 1) / 2 pairs of two different rows.

    Raises
    ------
    ValueError
        As for `verify`; also NaN or infinity among the embeddings, and an embedding of zeros, which has no direction.

    Warns
    -----
    UserWarning
        As for `verify`.

    Notes
    -----
    Memory does not grow with the number of pairs: cosines are computed in float64, rounded to the nearest multiple of
    2**-22 (2.4e-7) and counted, 134 MB for any number of rows. The figures are exact for those rounded cosines, which
    also makes ties of what differs only by the rounding of sums, as copies of one embedding do. The thresholds lie
    half a step below, so that ``cosine >= threshold`` accepts the very pairs that were counted.

    Time grows with the pairs: about 7 s for 30000 rows of 128 features on one core.

    Examples
    --------
    >>> result = verify_embeddings([[1, 0], [2, 0.1], [0, 1], [0.1, 3]], ["a", "a", "b", "b"], far=(0.25,))
    >>> result.genuine, result.impostor, result.tar, result.eer, result.auc
    (2, 4, (1.0,), 0.0, 1.0)
    """
    rates = _checked_rates(far)
    return figures_of(*embedding_points(embeddings, labels, block), rates)


def embedding_points(
    embeddings: ArrayLike, labels: ArrayLike, block: int = 1024
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Thresholds of all pairs of embeddings, strictest first, with the genuine and impostor pairs that each accepts.

    Parameters and errors are `verify_embeddings`'s.
    """
    unit, classes = _checked_embeddings(embeddings, labels)
    if block < 1:
        raise ValueError(f"block must be at least 1, got {block}")
    counts = np.zeros((2, 2 * _STEPS + 1), dtype=np.int64)  # impostor, genuine; by the cosine's step from -1
    for rows, columns in _tiles(len(unit), block):
        step = unit[rows] @ unit[columns].T
        step *= _STEPS
        step += _STEPS + 0.5
        cell = step.astype(np.int64)  # what is cut off makes it the nearest step
        cell += (classes[rows, None] == classes[columns]) * counts.shape[1]
        if rows == columns:
            cell = cell[~np.tri(len(cell), dtype=np.bool_)]
        np.add.at(counts.reshape(-1), cell.reshape(-1), 1)
    found = np.flatnonzero(counts.any(axis=0))[::-1]
    false, true = np.cumsum(counts[:, found], axis=1)
    return (found - 0.5) / _STEPS - 1, true, false


def _tiles(rows: int, block: int) -> Iterator[tuple[slice, slice]]:
    """Squares that hold every pair of rows once, those on the diagonal twice and with themselves."""
    cuts = [slice(start, min(start + block, rows)) for start in range(0, rows, block)]
    return ((a, b) for i, a in enumerate(cuts) for b in cuts[i:])


def figures_of(
    thresholds: NDArray[np.float64], true: NDArray[np.int64], false: NDArray[np.int64], far: tuple[float, ...]
) -> Verification:
    """All figures from the operating points, strictest first: thresholds, accepted genuine and impostor pairs."""
    genuine, impostor = (int(true[-1]), int(false[-1])) if true.size else (0, 0)
    if not genuine or not impostor:
        raise ValueError(f"pairs of both kinds are needed, got {genuine} genuine and {impostor} impostor pairs")
    points = [_at_rate(f, thresholds, true, false) for f in far]
    eer, eer_threshold = _equal_error(thresholds, true, false)
    result = Verification(
        genuine=genuine,
        impostor=impostor,
        far=far,
        tar=tuple(p[0] for p in points),
        thresholds=tuple(p[1] for p in points),
        far_reached=tuple(p[2] for p in points),
        eer=eer,
        eer_threshold=eer_threshold,
        auc=_area(true, false),
    )
    short = [f for f, enough in zip(far, result.resolved, strict=True) if not enough]
    if short:
        warnings.warn(
            f"{impostor} impostor pairs are too few for one false accept at FAR {', '.join(f'{f:g}' for f in short)}: "
            "TAR there is the one without any",
            stacklevel=3,
        )
    return result


def _at_rate(
    far: float, thresholds: NDArray[np.float64], true: NDArray[np.int64], false: NDArray[np.int64]
) -> tuple[float, float, float]:
    """TAR, threshold and FAR reached where FAR may be at most `far`."""
    allowed = int(np.searchsorted(false / false[-1], far, side="right"))  # operating points that keep to it
    best = int(true[allowed - 1]) if allowed else 0
    if not best:
        return 0.0, math.inf, 0.0
    first = int(np.searchsorted(true, best))  # of those that reach it, the one with the fewest false accepts
    return best / int(true[-1]), float(thresholds[first]), int(false[first]) / int(false[-1])


def _equal_error(
    thresholds: NDArray[np.float64], true: NDArray[np.int64], false: NDArray[np.int64]
) -> tuple[float, float]:
    """The equal error rate, rounded once, and its threshold.

    FAR - FRR grows from -1, where nothing is accepted, to 1. In units of 1 / (G I) it is an integer, and the rate
    where it passes 0 on the line between two operating points a fraction: nothing is rounded before the end.
    """
    genuine, impostor = int(true[-1]), int(false[-1])

    def excess(point: int) -> int:
        return int(false[point]) * genuine - (genuine - int(true[point])) * impostor

    after = bisect_left(range(len(true)), 0, key=excess)
    before_excess, before_false = (excess(after - 1), int(false[after - 1])) if after else (-genuine * impostor, 0)
    share = Fraction(-before_excess, excess(after) - before_excess)
    accepted = before_false + share * (int(false[after]) - before_false)
    return float(accepted / impostor), float(thresholds[after])


def _area(true: NDArray[np.int64], false: NDArray[np.int64]) -> float:
    """The area under the curve, ties half, rounded once."""
    genuine, impostor = int(true[-1]), int(false[-1])
    exact = np.int64 if 2 * genuine * impostor < 2**63 else object  # Python's integers where int64 is too short
    here = np.diff(true, prepend=0).astype(exact)
    passed = false.astype(exact)
    twice_below = 2 * impostor - passed - np.append(0, passed[:-1])  # impostors below this score twice, equal ones once
    return int(np.dot(here, twice_below)) / (2 * genuine * impostor)


def _checked_rates(far: Sequence[float]) -> tuple[float, ...]:
    rates = tuple(float(f) for f in far)
    for f in rates:
        if not 0 <= f <= 1:
            raise ValueError(f"a false accept rate lies in [0, 1], got {f}")
    return rates


def _checked_pairs(scores: ArrayLike, same: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, marks = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if values.ndim != 1 or marks.shape != values.shape:
        raise ValueError(f"scores and same of shape (pairs,) are needed, got {values.shape} and {marks.shape}")
    if marks.dtype.kind != "b":
        if not np.isin(marks, (0, 1)).all():
            raise ValueError("same must be bool, or 0 for pairs of two classes and 1 for pairs of one")
        marks = marks.astype(np.bool_)
    bad = np.flatnonzero(np.isnan(values) | (values == np.inf))
    if bad.size:
        raise ValueError(f"the score of pair {bad[0]} is {values[bad[0]]}")
    return values, marks


def _checked_embeddings(embeddings: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Embeddings of length 1, and their classes as integers."""
    x, y = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"embeddings of shape (rows, D) and labels of shape (rows,) are needed, "
                         f"got {x.shape} and {y.shape}")  # fmt: skip
    if y.dtype == object and all(isinstance(label, str) for label in y):  # as pandas gives strings
        y = y.astype(np.str_)
    if y.dtype.kind not in "iubUST":
        raise ValueError(f"labels must be integers or strings, got dtype {y.dtype}")
    largest = np.max(np.abs(x), axis=1, initial=0.0, keepdims=True)  # NaN comes through
    bad = np.flatnonzero(~np.isfinite(largest[:, 0]))
    if bad.size:
        raise ValueError(f"the embedding in row {bad[0]} holds NaN or infinity")
    zero = np.flatnonzero(largest[:, 0] == 0)
    if zero.size:
        raise ValueError(f"the embedding in row {zero[0]} is zero and has no direction")
    x = x / largest  # squares neither overflow nor vanish
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x, np.unique(y, return_inverse=True)[1].astype(np.int64)
