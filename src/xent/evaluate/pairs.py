"""Intervals and the DET curve of open-set verification: how far other pairs of the same kind could have been.

Two ways, and the result says which:

- *independent pairs*: no two pairs share anything. AUC: DeLong, DeLong and Clarke-Pearson (Biometrics, 1988), on the
  logit scale. TAR at FAR: the threshold that a resample of the impostors would give is an order statistic of a known
  law, so it is drawn from that, and the share of genuine pairs above it from Jeffreys' posterior. EER: the bootstrap of
  both kinds of pairs.
- *subjects*: pairs share subjects, so subjects are drawn again, and a pair counts as often as both of its subjects were
  drawn together (the vertex bootstrap: Snijders and Borgatti, 1999; for error rates of verification Poh, Martin and
  Bengio, 2007). Percentiles of all three figures, expanded for few subjects (Hesterberg, The American Statistician,
  2015): of a level that is the normal's for Student's t times sqrt(S / (S - 1)).

>>> rng = np.random.default_rng(0)
>>> scores = np.append(rng.normal(2, 1, 300), rng.normal(0, 1, 3000))
>>> found = verify_intervals(scores, np.arange(3300) < 300, far=(0.01,))
>>> found.method, [round(v, 2) for v in found.auc]
('independent pairs', [0.9, 0.93])
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._means import wilson
from .intervals import two_sided_t
from .verification import _checked_embeddings, _checked_pairs, _checked_rates

MOST_PAIRS = 2_000_000
"""Pairs of embeddings that are kept for a bootstrap over subjects."""
_GROUPS = 4096  # operating points of the bootstrap of the EER; between two, rates are lines
_MOST_WORK = 300_000_000  # pairs times resamples
Array = NDArray[np.float64]


@dataclass(frozen=True)
class VerificationIntervals:
    """Intervals of `Verification`'s figures.

    Attributes
    ----------
    method : str
        "independent pairs" or "subjects".
    level : float
    resamples : int
    subjects : int or None
        How many there are, where they were drawn.
    far : tuple of float
    tar : tuple of (low, high)
        One for each rate in `far`.
    eer, auc : (low, high)
    """

    method: str
    level: float
    resamples: int
    subjects: int | None
    far: tuple[float, ...]
    tar: tuple[tuple[float, float], ...]
    eer: tuple[float, float]
    auc: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name, intervals as lists."""
        out = asdict(self)
        out["far"], out["tar"] = list(self.far), [list(v) for v in self.tar]
        out["eer"], out["auc"] = list(self.eer), list(self.auc)
        return out


@dataclass(frozen=True)
class DetCurve:
    """Detection error trade-off: the two error rates at each threshold.

    Attributes
    ----------
    thresholds : float64 array (points,)
        Falling; a pair is accepted from the threshold up. The first is infinite: nothing is accepted.
    far, frr : float64 arrays (points,)
        False accept rate, rising, and false reject rate, falling.
    """

    thresholds: Array
    far: Array
    frr: Array

    def thinned(self, most: int = 200) -> DetCurve:
        """At most so many points, evenly along the axes of a DET plot, which are those of the normal quantile."""
        if len(self.far) <= most:
            return self
        normal = NormalDist().inv_cdf
        last = len(self.far) - 1

        def along(point: int) -> float:  # rising; a few of millions are looked at
            rates = float(self.far[point]), 1 - float(self.frr[point])
            return sum(normal(min(max(v, 1e-9), 1 - 1e-9)) for v in rates)

        wanted = np.linspace(along(0), along(last), most)
        kept = np.unique([min(bisect_left(range(last + 1), w, key=along), last) for w in wanted.tolist()])
        kept[0], kept[-1] = 0, last
        return DetCurve(self.thresholds[kept], self.far[kept], self.frr[kept])


def det_curve(scores: ArrayLike, same: ArrayLike) -> DetCurve:
    """The DET curve of scored pairs (Martin et al., Eurospeech 1997).

    Parameters
    ----------
    scores, same
        As `verify` takes them.

    Returns
    -------
    DetCurve
        A point at each distinct score, and one where nothing is accepted.

    Examples
    --------
    >>> curve = det_curve([3, 2, 1, 0], [1, 0, 1, 0])
    >>> curve.far.tolist(), curve.frr.tolist()
    ([0.0, 0.0, 0.5, 0.5, 1.0], [1.0, 0.5, 0.5, 0.0, 0.0])
    """
    values, genuine = _both_kinds(scores, same)
    order = np.argsort(-values, kind="stable")
    values, genuine = values[order], genuine[order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    true = np.cumsum(genuine, dtype=np.int64)[last]
    return det_of(values[last], true, last + 1 - true)


def det_of(thresholds: Array, true: NDArray[np.int64], false: NDArray[np.int64]) -> DetCurve:
    """The DET curve of the genuine and impostor pairs that each threshold accepts, the strictest first."""
    return DetCurve(np.append(np.inf, thresholds), np.append(0, false / false[-1]), np.append(1, 1 - true / true[-1]))


def verify_intervals(
    scores: ArrayLike,
    same: ArrayLike,
    *,
    far: Sequence[float] = (1e-2, 1e-3),
    subjects: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> VerificationIntervals:
    """Intervals of the figures that `verify` gives.

    Parameters
    ----------
    scores, same, far
        As `verify` takes them.
    subjects : two arrays of shape (pairs,), optional
        Whom the two sides of each pair are of. Without them pairs are taken to be independent, which pairs out of one
        collection are not: their intervals are then too short.
    level : float
    resamples : int
        Draws; fewer, but not below 200, where pairs times draws would pass 300 million.
    seed : int

    Returns
    -------
    VerificationIntervals

    Raises
    ------
    ValueError
        As `verify`; fewer than three subjects.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    values, genuine = _both_kinds(scores, same)
    rates, rng = _checked_rates(far), np.random.default_rng(seed)
    if subjects is not None:
        codes, number = _codes(subjects, len(values))
        return _by_subjects(values, genuine, codes, number, rates, level, resamples, rng)
    g, i = np.sort(values[genuine]), np.sort(values[~genuine])
    return VerificationIntervals(
        method="independent pairs",
        level=level,
        resamples=resamples,
        subjects=None,
        far=rates,
        tar=tuple(_tar_interval(g, i, f, level, resamples, rng) for f in rates),
        eer=_eer_interval(g, i, level, resamples, rng),
        auc=delong(g, i, level),
    )


def embedding_pairs(embeddings: ArrayLike, labels: ArrayLike) -> tuple[Array, NDArray[np.bool_], Any, Any]:
    """Cosines of all pairs of rows, whether they are of one class, and the classes of both sides.

    For `verify_intervals`, with the classes as subjects.

    Raises
    ------
    ValueError
        As `verify_embeddings`; more pairs than `MOST_PAIRS`.
    """
    unit, classes = _checked_embeddings(embeddings, labels)
    pairs = len(unit) * (len(unit) - 1) // 2
    if pairs > MOST_PAIRS:
        raise ValueError(f"{pairs} pairs are more than the {MOST_PAIRS} that a bootstrap over subjects keeps")
    a, b = np.triu_indices(len(unit), 1)
    # rounded as verify_embeddings does, so that copies tie
    scores = np.round((unit @ unit.T)[a, b] * 2**22) / 2**22
    return scores, classes[a] == classes[b], classes[a], classes[b]


def delong(genuine: Array, impostor: Array, level: float = 0.95) -> tuple[float, float]:
    """DeLong's interval of the AUC on the logit scale; ties count half.

    Where the AUC is 0 or 1 its variance is 0 and nothing is known from it: then Wilson's interval for as many trials as
    there are of the rarer kind.
    """
    high = (np.searchsorted(impostor, genuine, "left") + np.searchsorted(impostor, genuine, "right")) / 2
    low = (np.searchsorted(genuine, impostor, "left") + np.searchsorted(genuine, impostor, "right")) / 2
    x, y = high / len(impostor), 1 - low / len(genuine)
    auc = float(x.mean())
    n = min(len(genuine), len(impostor))
    if auc in (0.0, 1.0) or n < 2:
        return wilson(round(auc * n), n, level)
    error = math.sqrt(float(x.var(ddof=1)) / len(x) + float(y.var(ddof=1)) / len(y))
    z = NormalDist().inv_cdf(0.5 + level / 2) * error / (auc * (1 - auc))
    middle = math.log(auc / (1 - auc))
    return 1 / (1 + math.exp(-(middle - z))), 1 / (1 + math.exp(-(middle + z)))


def _tar_interval(
    genuine: Array, impostor: Array, far: float, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """The k-th largest of a resample of I impostors is the ceil(I U)-th largest, U the k-th smallest of I uniforms."""
    I, G = len(impostor), len(genuine)  # noqa: E741
    allowed = int(np.searchsorted(np.arange(1, I + 1) / I, far, side="right"))  # false accepts that keep to the rate
    if allowed >= I:
        above = np.full(resamples, G)
    else:
        u = rng.beta(allowed + 1, I - allowed, resamples)
        # the first impostor that may not be accepted: genuine pairs must score above it
        place = np.ceil(I * u).astype(np.int64).clip(1, I)
        above = G - np.searchsorted(genuine, impostor[I - place], side="right")
    return _percentiles(rng.beta(above + 0.5, G - above + 0.5), level)


def _eer_interval(
    genuine: Array, impostor: Array, level: float, resamples: int, rng: np.random.Generator
) -> tuple[float, float]:
    if genuine[0] > impostor[-1]:  # no errors at all: each rate is at most its own limit at the threshold between
        return 0.0, max(wilson(0, len(genuine), level)[1], wilson(0, len(impostor), level)[1])
    both = np.unique(np.concatenate([genuine, impostor]))
    cuts = both if len(both) <= _GROUPS else _cuts(genuine, impostor, both)
    counts = [np.bincount(np.searchsorted(cuts, v, side="left"), minlength=len(cuts)) for v in (genuine, impostor)]
    draws = [rng.multinomial(c.sum(), c / c.sum(), resamples) for c in counts]
    return _percentiles(np.array([_eer(g[::-1], i[::-1]) for g, i in zip(*draws, strict=True)]), level)


def _cuts(genuine: Array, impostor: Array, both: Array) -> Array:
    """Groups of scores of few pairs of either kind."""
    share = np.linspace(0, 1, _GROUPS // 2)
    cuts = np.unique(np.concatenate([np.quantile(v, share, method="higher") for v in (genuine, impostor)]))
    return cuts if cuts[-1] == both[-1] else np.append(cuts, both[-1])


def _eer(genuine: ArrayLike, impostor: ArrayLike) -> float:
    """Where the rates cross, from counts (or weights) at falling scores; lines between two points."""
    true, false = np.cumsum(genuine, dtype=np.float64), np.cumsum(impostor, dtype=np.float64)
    far, frr = np.append(0, false / false[-1]), np.append(1, 1 - true / true[-1])
    off = far - frr
    after = int(np.argmax(off >= 0))
    share = -off[after - 1] / (off[after] - off[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def _by_subjects(
    values: Array,
    genuine: NDArray[np.bool_],
    codes: tuple[NDArray[np.int64], NDArray[np.int64]],
    number: int,
    far: tuple[float, ...],
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> VerificationIntervals:
    resamples = max(min(resamples, 200), min(resamples, _MOST_WORK // len(values)))
    order = np.argsort(-values, kind="stable")
    values, genuine = values[order], genuine[order]
    a, b = codes[0][order], codes[1][order]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    draws: list[list[float]] = []
    while len(draws) < resamples:
        times = rng.multinomial(number, np.full(number, 1 / number))
        # a subject drawn twice is one subject twice: its genuine pairs count twice, not four times
        weight = np.where(a == b, times[a], times[a] * times[b])
        true, false = (np.cumsum(weight * kind)[last] for kind in (genuine, ~genuine))
        if not true[-1] or not false[-1]:
            continue  # a draw without one of the kinds has no rates
        here, there = np.diff(true, prepend=0), np.diff(false, prepend=0)
        below = false[-1] - false + there / 2
        row = [float(here @ below) / (float(true[-1]) * float(false[-1])), _eer(here, there)]
        for f in far:
            allowed = int(np.searchsorted(false / false[-1], f, side="right"))
            row.append(float(true[allowed - 1] / true[-1]) if allowed else 0.0)
        draws.append(row)
    wide = two_sided_t(level, number - 1) * math.sqrt(number / (number - 1))
    expanded = 2 * NormalDist().cdf(wide) - 1
    auc, eer, *tar = (_percentiles(np.array(column), expanded) for column in zip(*draws, strict=True))
    return VerificationIntervals("subjects", level, resamples, number, far, tuple(tar), eer, auc)


def _percentiles(values: Array, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


def _both_kinds(scores: ArrayLike, same: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    values, genuine = _checked_pairs(scores, same)
    if not genuine.any() or genuine.all():
        n = int(genuine.sum())
        raise ValueError(f"pairs of both kinds are needed, got {n} genuine and {len(genuine) - n} impostor pairs")
    return values, genuine


def _codes(
    subjects: tuple[ArrayLike, ArrayLike], pairs: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], int]:
    first, second = (np.asarray(s) for s in subjects)
    if first.shape != (pairs,) or second.shape != (pairs,):
        raise ValueError(f"subjects of shape ({pairs},) are needed, two, got {first.shape} and {second.shape}")
    found, code = np.unique(np.concatenate([first, second]), return_inverse=True)
    if len(found) < 3:
        raise ValueError(f"a bootstrap over subjects needs three of them or more, got {len(found)}")
    return (code[:pairs].astype(np.int64), code[pairs:].astype(np.int64)), len(found)
