"""The verdict: the figures that matter first, and what they say in words."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .intervals import t_quantile
from .loss import LossSum
from .slices import GroupSums


def saving(losses: LossSum, by_label: GroupSums, level: float) -> tuple[float, float, float]:
    """Return what the predictions save against the classes' shares, in nats a row, with its interval.

    The difference of label entropy and cross-entropy is the mean over rows of ``-log share(label) - loss``; its error
    by the delta method is that of this mean, the shares' own error included.
    """
    n = losses.rows
    shares = by_label.rows[by_label.rows > 0] / n
    entropy = float(-(shares * np.log(shares)).sum()) + 0.0
    value = entropy - losses.mean
    if losses.impossible or n < 2:
        return value, math.nan, math.nan
    variance = by_label.variance_about(-np.log(np.maximum(by_label.rows, 1) / n))
    error = t_quantile(0.5 + level / 2, n - 1) * math.sqrt(variance / n)
    return value, value - error, value + error


def sentences(figures: dict[str, Any], calibration: dict[str, Any], carried: float | None) -> list[str]:
    """Say the verdict in words.

    Parameters
    ----------
    figures : dict
        The flat figures of `Evaluation.to_dict`, with ``saving``, ``saving_low``, ``saving_high``.
    calibration : dict
        The panel of the event of a binary prediction, else of the top label.
    carried : float or None
        The part of the loss that 1 % of the rows carry.
    """
    said = [_cost(figures), _against_shares(figures), _calibrated(figures, calibration)]
    if carried is not None and figures["rows"] >= 200:
        said.append(f"1 % of the rows carry {_percent(carried)} of the loss.")
    return said


def _cost(f: dict[str, Any]) -> str:
    if f["impossible"]:
        rows = f["impossible"]
        what = "1 event that was" if rows == 1 else f"{rows} events that were"
        said = f"The cross-entropy is infinite: {what} given probability 0 happened."
        if math.isnan(f["finite_cross_entropy"]):
            return said
        return f"{said} The other rows cost {f['finite_cross_entropy']:.4g} nats each."
    low, high = f["interval"]
    interval = "" if math.isnan(low) else f" ({100 * f['level']:g} % interval {low:.4g} to {high:.4g})"
    return (
        f"The cross-entropy is {f['cross_entropy']:.4g} nats a row{interval}, {f['cross_entropy_bits']:.4g} bits: "
        f"as uncertain as {f['perplexity']:.4g} equally likely classes."
    )


def _against_shares(f: dict[str, Any]) -> str:
    entropy = f["label_entropy"]
    if entropy == 0:
        return "All rows have the same label, so there is nothing to be better than."
    known = f"knowing nothing but the classes' shares ({entropy:.4g} nats)"
    if f["impossible"]:
        return f"That is worse than {known}; give no event probability 0 unless it cannot happen."
    if f["saving_low"] > 0:
        return f"That is better than {known}: it saves {_percent(f['skill'])} of it."
    if f["saving_high"] < 0:
        return f"That is worse than {known}: the shares would be the better prediction."
    if math.isnan(f["saving_low"]):
        return f"One row cannot tell it from {known}."
    return f"These rows cannot tell it from {known}."


def _calibrated(f: dict[str, Any], c: dict[str, Any]) -> str:
    parts, reliability = c["decomposition"], c["reliability"]
    p = min(parts["p_value"], reliability["p_value"])
    subject = "The probabilities" if f["classes"] == 2 else "The probabilities of the likeliest class"
    if p > 0.025:  # two tests at half of 5 %
        chance = f"what chance makes of {_rows(f['rows'])} (p = {2 * min(p, 0.5):.2g})"
        return f"{subject} show no miscalibration beyond {chance}."
    level = "clearly" if p <= 0.005 else "probably"
    gain = parts["miscalibration"] - parts["expected_miscalibration"]
    worth = f"; recalibration could save about {gain:.2g} nats a row" if 0 < gain < math.inf else ""
    return f"{subject} are {level} miscalibrated, {_direction(f, c)}{worth}."


def _direction(f: dict[str, Any], c: dict[str, Any]) -> str:
    """Whether they are too high, too extreme, or neither as a whole."""
    top = f["confidence"] - f["accuracy"]
    reliability = c["reliability"]
    if f["classes"] == 2 and abs(reliability["bias_z"]) > 3 and abs(reliability["bias"]) > 0.5 * abs(top):
        word = "too high" if reliability["bias"] > 0 else "too low"
        mean, share = _percent(reliability["mean_predicted"]), _percent(reliability["observed_share"])
        return f"{word} (mean {mean} for {f['positive']!r}, which happened in {share})"
    if abs(f["confidence_z"]) > 3:
        word = "overconfident" if top > 0 else "underconfident"
        return f"{word} (mean confidence {_percent(f['confidence'])}, accuracy {_percent(f['accuracy'])})"
    mean, share = _percent(f["confidence"]), _percent(f["accuracy"])
    return f"in places rather than as a whole (mean confidence {mean}, accuracy {share})"


def _rows(number: int) -> str:
    return f"{number} row" if number == 1 else f"{number} rows"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
