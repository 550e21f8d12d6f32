"""Reliability of several models beside each other: of the same event, on the same rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .decomposition import Null, decomposition_panel
from .inputs import judge_many, judge_two, probabilities
from .ranked import ScoreCounts
from .reliability import reliability_panel

if TYPE_CHECKING:
    from .compare import Comparison

TOP = "the likeliest class"
Scores = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]


def scores(labels: NDArray[np.int64], values: NDArray[Any], kind: str, event: int | None) -> Scores:
    """Return p, 1 - p and whether it happened, of each row; of class ``event`` of two, or where None the likeliest.

    A label of -1 is none of the classes: no event of theirs happened.
    """
    p, q = probabilities(values, kind)
    if event is not None:
        return (p, q, labels == 1) if event == 1 else (q, p, labels == 0)
    judge = judge_two if p.ndim == 1 else judge_many
    predicted, confidence, unsure, _ = judge(np.maximum(labels, 0), p, q)
    return confidence, unsure, predicted == labels


def overlay(
    models: Mapping[str, Scores], event: str, *, level: float = 0.9, seed: int = 0, simulations: int = 200
) -> dict[str, Any]:
    """Return the reliability of each model.

    Returns
    -------
    dict
        ``event`` (whose probability it is), ``level`` (of the bands), ``models``: of each name ``points`` (list of
        {predicted, observed, low, high, rows}), ``mean_predicted``, ``observed_share``, ``calibration_error`` with
        ``expected_if_calibrated``, ``chance_95`` and ``p_value``, and ``discrimination`` and ``miscalibration`` in nats
        with ``expected_miscalibration``; see `reliability.reliability_panel` and `decomposition.decomposition_panel`.
    """
    found = {}
    for name, (p, q, hit) in models.items():
        counts = ScoreCounts()
        counts.add(p, q, hit)
        ranked = counts.ranked()
        null = Null.draw(ranked, seed=seed, simulations=simulations, groups=256)
        parts = decomposition_panel(ranked, null)
        panel = reliability_panel(ranked, null, level=level)
        keys = ("discrimination", "miscalibration", "expected_miscalibration")
        left = ("level", "bins", "bias", "bias_z")
        found[name] = {k: v for k, v in panel.items() if k not in left} | {k: parts[k] for k in keys}
    return {"event": event, "level": level, "models": found}


def draw(comparison: Comparison, ax: Any) -> Any:
    """Draw the reliability curves over each other; see `Comparison.plot`."""
    panel = comparison.reliability
    if panel is None:
        raise ValueError("reliability was not computed: it takes predictions (`compare`, not `compare_losses`) "
                         "and no weights")  # fmt: skip
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5, 5), layout="constrained")
    ax.plot([0, 1], [0, 1], color="grey", lw=0.8)
    for model in comparison.models:
        own = panel["models"][model.name]
        x = [p["predicted"] for p in own["points"]]
        label = f"{model.name} ({model.cross_entropy:.4g} nats)"
        (line,) = ax.plot(x, [p["observed"] for p in own["points"]], marker=".", label=label)
        ax.fill_between(x, [p["low"] for p in own["points"]], [p["high"] for p in own["points"]], alpha=0.12, lw=0,
                        color=line.get_color())  # fmt: skip
    ax.set(xlabel=f"probability of {panel['event']}", ylabel="share that happened", xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="upper left", title=f"bands: {100 * panel['level']:g} % of calibrated models")
    return ax
