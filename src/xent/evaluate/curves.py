"""ROC and precision-recall curves and thresholds, from counts of scores; ties are exact.

Sources: T. Fawcett, An introduction to ROC analysis (2006); average precision as scikit-learn defines it, without
interpolation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranked import Ranked

_POINTS = 200


def area_under_roc(ranked: Ranked) -> float:
    """Return the chance that an event scores higher than a non-event, ties half; NaN without both.

    Examples
    --------
    >>> from .ranked import ScoreCounts
    >>> counts = ScoreCounts()
    >>> p = np.array([0.1, 0.4, 0.35, 0.8])
    >>> counts.add(p, 1 - p, np.array([0, 0, 1, 1]))
    >>> area_under_roc(counts.ranked())
    0.75
    """
    hits, misses = ranked.hits, ranked.rows - ranked.hits
    events, others = int(hits.sum()), int(misses.sum())
    if not events or not others:
        return math.nan
    twice_below = 2 * np.cumsum(misses) - misses
    return float(np.dot(hits.astype(np.float64), twice_below.astype(np.float64))) / (2 * events * others)


def average_precision(ranked: Ranked) -> float:
    """Return the sum over thresholds of precision times the step of recall; NaN without events."""
    accepted, true = _accepted(ranked)
    if not true[-1]:
        return math.nan
    return float(np.dot(np.diff(true, prepend=0) / true[-1], true / accepted))


def _accepted(ranked: Ranked) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows, and events among them, at or above each score, highest score first."""
    return np.cumsum(ranked.rows[::-1]), np.cumsum(ranked.hits[::-1])


def curves_panel(ranked: Ranked) -> dict[str, Any]:
    """Return both curves at no more than 200 thresholds, and the exact areas under them.

    Keys: ``auc``, ``average_precision``, ``roc`` (list of {threshold, fpr, tpr}), ``pr`` (list of {threshold, recall,
    precision}). A row counts as positive where its score is at least the threshold; the ROC curve begins at (0, 0)
    with an infinite threshold.
    """
    accepted, true = _accepted(ranked)
    false = accepted - true
    p = ranked.p[::-1]
    events, others = max(int(true[-1]), 1), max(int(false[-1]), 1)
    way = true / events + false / others  # grows along the curve: points are spread evenly on it
    keep = np.arange(p.size)
    if p.size > _POINTS:
        keep = np.unique(np.searchsorted(way, np.linspace(way[0], way[-1], _POINTS)).clip(max=p.size - 1))
    roc = [{"threshold": math.inf, "fpr": 0.0, "tpr": 0.0}]
    roc += [{"threshold": float(p[i]), "fpr": float(false[i] / others), "tpr": float(true[i] / events)} for i in keep]
    pr = [
        {"threshold": float(p[i]), "recall": float(true[i] / events), "precision": float(true[i] / accepted[i])}
        for i in keep
    ]
    return {"auc": area_under_roc(ranked), "average_precision": average_precision(ranked), "roc": roc, "pr": pr}


def thresholds_panel(ranked: Ranked) -> list[dict[str, Any]]:
    """Return what deciding at a threshold gives, for 0.05, 0.1, ..., 0.95 and the best of all by F1 and by accuracy.

    Each: ``threshold``, ``why`` ("grid", "best F1", "best accuracy"), ``tp``, ``fp``, ``fn``, ``tn``, ``precision``
    (None where nothing is accepted), ``recall``, ``specificity`` (None without such rows), ``f1``, ``accuracy``.
    """
    accepted, true = _accepted(ranked)
    rows, events = int(accepted[-1]), int(true[-1])
    f1 = 2 * true / (accepted + events)
    right = 2 * true - accepted + (rows - events)
    ascending = ranked.p
    found = []
    for share in np.arange(1, 20) / 20:
        count = int(ascending.size - np.searchsorted(ascending, share))  # distinct scores at or above
        a, t = (int(accepted[count - 1]), int(true[count - 1])) if count else (0, 0)
        found.append(_at(float(share), "grid", a, t, rows, events))
    for name, quality in (("best F1", f1), ("best accuracy", right)):
        i = int(np.argmax(quality))
        found.append(_at(float(ascending[::-1][i]), name, int(accepted[i]), int(true[i]), rows, events))
    return found


def _at(threshold: float, why: str, accepted: int, true: int, rows: int, events: int) -> dict[str, Any]:
    negative = rows - events
    tn = negative - (accepted - true)
    return {
        "threshold": threshold,
        "why": why,
        "tp": true,
        "fp": accepted - true,
        "fn": events - true,
        "tn": tn,
        "precision": true / accepted if accepted else None,
        "recall": true / events if events else None,
        "specificity": tn / negative if negative else None,
        "f1": 2 * true / (accepted + events) if accepted + events else None,
        "accuracy": (true + tn) / rows,
    }


def coverage_panel(ranked: Ranked) -> list[dict[str, Any]]:
    """Return what answering only where the likeliest class is sure enough gives (`ranked` of the top label).

    Each: ``threshold``, ``rows`` at or above it, ``coverage`` (their share) and ``accuracy`` (None without rows).
    """
    accepted, true = _accepted(ranked)
    found = []
    for share in (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999):
        count = int(ranked.p.size - np.searchsorted(ranked.p, share))
        a, t = (int(accepted[count - 1]), int(true[count - 1])) if count else (0, 0)
        found.append(
            {"threshold": share, "rows": a, "coverage": a / int(accepted[-1]), "accuracy": t / a if a else None}
        )
    return found
