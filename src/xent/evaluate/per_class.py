"""What each class costs: its rows, its part of the loss, its own calibration and ranking."""

from __future__ import annotations

import math
from typing import Any

from .confusion import Confusion
from .curves import area_under_roc
from .decomposition import decompose
from .ranked import Ranked, ScoreCounts
from .slices import GroupSums

MOST = 2000
"""Classes up to which each is judged against the rest."""


def other_side(ranked: Ranked) -> Ranked:
    """Return the scores of the event that did not happen: of class 0 where those of class 1 are known."""
    return Ranked(ranked.q[::-1], ranked.p[::-1], ranked.rows[::-1], (ranked.rows - ranked.hits)[::-1])


def column(scores: ScoreCounts, k: int) -> Ranked:
    """Return the scores of class k; a single column of counts is that of class 1."""
    if scores.columns > 1:
        return scores.ranked(k)
    return scores.ranked() if k else other_side(scores.ranked())


def per_class_panel(
    names: list[str],
    by_label: GroupSums,
    scores: ScoreCounts | None,
    confusion: Confusion,
    total: float,
    level: float = 0.95,
) -> list[dict[str, Any]]:
    """Return a table, a class an entry.

    Keys: ``class``; ``rows``, ``share``; ``cross_entropy`` (mean loss of the rows of that label) with ``low`` and
    ``high``, and ``few`` as `GroupSums.figures` has it; ``loss_share`` (their part of the whole loss);
    ``impossible``; ``recall``, ``precision`` and ``predicted_rows`` of taking the likeliest class; ``confused_with``
    and ``confused_rows``; and, against all other classes: ``mean_predicted``, ``bias`` (that minus the share),
    ``auc``, ``brier`` (one-sided, 0 to 1), ``uncertainty``, ``discrimination`` and ``miscalibration`` in nats. None
    where a figure is not defined, or there are more than 2000 classes.
    """
    rows = int(by_label.rows.sum())
    given, right, top = confusion.by_class()
    table = []
    for k, name in enumerate(names):
        figures = by_label.figures(k, level)
        n = figures["rows"]
        loss = figures["cross_entropy"] * n if n else 0.0
        wrong = top.get(k)
        table.append(
            {
                "class": name,
                "share": n / rows,
                **{key: figures[key] for key in ("rows", "cross_entropy", "low", "high", "few", "impossible")},
                "loss_share": loss / total if 0 < total < math.inf else None,
                "recall": int(right[k]) / n if n else None,
                "precision": int(right[k]) / int(given[k]) if given[k] else None,
                "predicted_rows": int(given[k]),
                "confused_with": names[wrong[0]] if wrong else None,
                "confused_rows": wrong[1] if wrong else 0,
                **_against_rest(column(scores, k) if scores is not None else None),
            }
        )
    return table


def _against_rest(ranked: Ranked | None) -> dict[str, Any]:
    names = ("mean_predicted", "bias", "auc", "brier", "uncertainty", "discrimination", "miscalibration")
    if ranked is None:
        return dict.fromkeys(names)
    rows, hits = int(ranked.rows.sum()), int(ranked.hits.sum())
    mean = float(ranked.p @ ranked.rows) / rows
    brier = float(ranked.q**2 @ ranked.hits + ranked.p**2 @ (ranked.rows - ranked.hits)) / rows
    auc = area_under_roc(ranked)
    parts = decompose(ranked)
    return {
        "mean_predicted": mean,
        "bias": mean - hits / rows,
        "auc": None if math.isnan(auc) else auc,
        "brier": brier,
        **{key: parts[key] for key in ("uncertainty", "discrimination", "miscalibration")},
    }
