"""Reliability: what happened to rows of each predicted probability, and the calibration error.

The diagram's curve is the isotonic fit of what happened (no bins to choose); its band is where 90 % of such fits lie
at that point when the outcomes are drawn from the predictions: a curve inside it is no evidence against them. The
binned calibration error (ECE) is biased upward, by more the fewer the rows, and stands beside its values for the draws.

Sources: Dimitriadis, Gneiting and Jordan (2021), as in `decomposition`; J. Bröcker and L. A. Smith, Increasing the
reliability of reliability diagrams (2007), for consistency bands; M. P. Naeini, G. F. Cooper and M. Hauskrecht (2015)
for the ECE.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decomposition import BINS, Null
from .isotonic import pool
from .ranked import Ranked, compress

_POINTS = 100


def calibration_error(ranked: Ranked, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal width, [0, 1/bins), ..., [1 - 1/bins, 1].

    Examples
    --------
    >>> from .ranked import ScoreCounts
    >>> counts = ScoreCounts()
    >>> p = np.array([0.95, 1.0])
    >>> counts.add(p, 1 - p, np.array([1, 0]))
    >>> round(calibration_error(counts.ranked()), 12)
    0.475
    """
    gap = np.bincount(_bin(ranked.p, bins), weights=ranked.p * ranked.rows - ranked.hits, minlength=bins)
    return float(np.abs(gap).sum() / ranked.rows.sum())


def _bin(p: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    return np.searchsorted(np.arange(1, bins) / bins, p, side="right")


def reliability_panel(ranked: Ranked, null: Null, *, level: float = 0.9) -> dict[str, Any]:
    """Return the reliability diagram and the calibration error, each beside its values under calibration.

    Returns
    -------
    dict
        ``points``: at most about a hundred of {predicted, observed, low, high, rows}, ``observed`` the isotonic fit,
        low and high the consistency band of ``level``; ``bins``: fifteen of {from, to, rows, predicted, observed};
        ``calibration_error`` with ``expected_if_calibrated``, ``chance_95`` and ``p_value``; ``mean_predicted``,
        ``observed_share``, ``bias`` (the difference) and ``bias_z`` (over its standard error under calibration).
    """
    low, high = np.quantile(null.fits(), [(1 - level) / 2, (1 + level) / 2], axis=0)
    first, rows, hits = pool(ranked.rows, ranked.hits)
    fit = np.repeat(hits / rows, np.diff(np.append(first, ranked.p.size)))
    at = compress(ranked, _POINTS)
    count = np.add.reduceat(ranked.rows, at)
    predicted = np.add.reduceat(ranked.p * ranked.rows, at) / count
    observed = np.add.reduceat(fit * ranked.rows, at) / count
    bands = np.interp(predicted, null.groups.p, low), np.interp(predicted, null.groups.p, high)
    names = ("predicted", "observed", "low", "high")
    points = [
        {**dict(zip(names, (float(v) for v in values), strict=True)), "rows": int(n)}
        for *values, n in zip(predicted, observed, *bands, count, strict=True)
    ]
    return {"level": level, "points": points, **_error(ranked, null), **_bias(ranked), "bins": _bins(ranked)}


def _error(ranked: Ranked, null: Null) -> dict[str, Any]:
    groups = null.groups
    place = _bin(groups.p, BINS)
    first = np.flatnonzero(np.append(True, np.diff(place) > 0))
    gaps = np.add.reduceat(groups.p * groups.rows - null.hits, first, axis=1)
    drawn = np.abs(gaps).sum(axis=1) / groups.rows.sum()
    found = calibration_error(ranked)
    return {
        "calibration_error": found,
        "expected_if_calibrated": float(drawn.mean()),
        "chance_95": float(np.quantile(drawn, 0.95)),
        "p_value": float((1 + np.count_nonzero(drawn >= found * (1 - 1e-12))) / (1 + drawn.size)),
    }


def _bias(ranked: Ranked) -> dict[str, float]:
    total = int(ranked.rows.sum())
    predicted, observed = float(ranked.p @ ranked.rows) / total, int(ranked.hits.sum()) / total
    spread = float(np.sqrt((ranked.p * ranked.q) @ ranked.rows)) / total
    bias = predicted - observed
    return {
        "mean_predicted": predicted,
        "observed_share": observed,
        "bias": bias,
        "bias_z": bias / spread if spread > 0 else (0.0 if abs(bias) < 1e-12 else float(np.copysign(np.inf, bias))),
    }


def _bins(ranked: Ranked) -> list[dict[str, Any]]:
    place = _bin(ranked.p, BINS)
    rows = np.bincount(place, weights=ranked.rows, minlength=BINS)
    predicted = np.bincount(place, weights=ranked.p * ranked.rows, minlength=BINS)
    hits = np.bincount(place, weights=ranked.hits, minlength=BINS)
    return [
        {
            "from": k / BINS,
            "to": (k + 1) / BINS,
            "rows": int(rows[k]),
            "predicted": float(predicted[k] / rows[k]) if rows[k] else None,
            "observed": float(hits[k] / rows[k]) if rows[k] else None,
        }
        for k in range(BINS)
    ]
