"""The verdict: the figures that matter first, and what they say in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ._means import entropy_of
from .intervals import two_sided_t
from .loss import LossSum
from .rare import FEW
from .slices import GroupSums

if TYPE_CHECKING:
    from .weighted import WeightedLoss


def saving(losses: LossSum | WeightedLoss, by_label: GroupSums, level: float) -> tuple[float, float, float]:
    """Return what the predictions save against the classes' shares, in nats a row, with its interval.

    The difference of label entropy and cross-entropy is the mean over rows of ``-log share(label) - loss``; its error
    by the delta method is that of this mean, the shares' own error included.
    """
    n, mass = losses.rows, by_label.mass
    value = entropy_of(by_label.mass) - losses.mean
    if losses.impossible or n < 2:
        return value, math.nan, math.nan
    variance = by_label.variance_about(-np.log(np.where(mass > 0, mass / mass.sum(), 1.0)))
    error = two_sided_t(level, n - 1) * math.sqrt(variance / n)
    return value, value - error, value + error


def flat_figures(
    losses: LossSum | WeightedLoss,
    by_label: GroupSums,
    saved: tuple[float, float, float],
    names: list[str],
    level: float,
) -> dict[str, Any]:
    """Return the flat figures of the loss, and of what it saves against the classes' shares."""
    bit, entropy, interval = math.log(2), entropy_of(by_label.mass), losses.interval(level)
    return {
        "rows": losses.rows,
        "classes": len(names),
        "class_names": names,
        "positive": names[1] if len(names) == 2 else None,
        "level": level,
        "cross_entropy": losses.mean,
        "finite_cross_entropy": losses.finite_mean,
        "interval": list(interval),
        "standard_error": losses.standard_error,
        "perplexity": math.exp(losses.mean) if losses.mean < 700 else math.inf,
        "cross_entropy_bits": losses.mean / bit,
        "interval_bits": [v / bit for v in interval],
        "standard_error_bits": losses.standard_error / bit,
        "label_entropy": entropy,
        "label_entropy_bits": entropy / bit,
        "skill": 1.0 - losses.mean / entropy if entropy > 0 else math.nan,
        **dict(zip(("saving", "saving_low", "saving_high"), saved, strict=True)),
    }


def sentences(
    figures: dict[str, Any],
    calibration: dict[str, Any] | None,
    carried: float | None,
    recalibration: dict[str, Any] | None = None,
    *,
    weighted: bool = False,
) -> list[str]:
    """Say the verdict in words.

    Parameters
    ----------
    figures : dict
        The flat figures of `Evaluation.to_dict`, with ``saving``, ``saving_low``, ``saving_high``.
    calibration : dict
        The panel of the event of a binary prediction, else of the top label; None where there is none.
    carried : float or None
        The part of the loss that 1 % of the rows carry.
    recalibration : dict, optional
        Its panel, where recalibrations were tried.
    weighted : bool
        Rows have weights.
    """
    said = [_cost(figures), _against_shares(figures), *_few(figures, weighted)]
    if calibration is not None:
        said.append(_calibrated(figures, calibration, recalibration is None))
    if recalibration is not None and figures["label_entropy"] > 0:  # with one label any map to it would gain
        said.append(against_recalibration(recalibration))
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


def _few(f: dict[str, Any], weighted: bool) -> list[str]:
    """Warn where too few rows were costly for the interval to know what such rows cost."""
    wrong = f["misses"]
    if wrong >= FEW or f["impossible"] or math.isnan(f["interval"][0]):
        return []
    rows = "No row" if not wrong else "Only 1 row" if wrong == 1 else f"Only {wrong} rows"
    said = f"{rows} went against the likeliest class: "
    if f["classes"] == 2 and not weighted and f["interval"][1] > 0:  # 0: every row certain, no odds to go by
        return [f"{said}the interval allows for costly rows that chance kept away, as far as the odds given can tell."]
    return [f"{said}the interval may be too short, for it knows nothing of costly rows that chance kept away."]


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


def against_recalibration(panel: dict[str, Any]) -> str:
    """Say what the best recalibration would save."""
    best = next((r for r in panel["results"] if r["method"] == panel["best"]), None)
    if best is None:
        tried = ", ".join(r["method"] for r in panel["results"] if not r["reason"])
        return f"No recalibration of those tried ({tried}) makes rows that its map has not seen cost less."
    name, after = best["method"], f"{best['loss_after']:.4g} nats on rows that its map has not seen"
    if panel["loss_before"] == math.inf:
        return f"The best recalibration, {name}, makes the cross-entropy finite: {after}."
    low, high = best["interval"]
    if not low > 0:
        spread = "" if math.isnan(low) else f" ({low:.2g} to {high:.2g})"
        return f"The best recalibration, {name}, saves {best['gain']:.2g} nats a row{spread}: nothing that can be told."
    worth = f"saves {best['gain']:.3g} nats a row ({low:.3g} to {high:.3g})"
    return f"The best recalibration, {name}{_setting(best)}, {worth}: {after}."


def _setting(result: dict[str, Any]) -> str:
    p = result["parameters"]
    if result["method"] == "temperature":
        T = float(p["temperature"])  # an infinite one is text
        return f" with T = {T:.4g}" if math.isfinite(T) else " with T = inf (all classes alike)"
    if result["method"] == "platt":
        return f" with slope {p['slope']:.4g} and intercept {p['intercept']:.4g}"
    return ""


def _calibrated(f: dict[str, Any], c: dict[str, Any], alone: bool) -> str:
    parts, reliability = c["decomposition"], c["reliability"]
    p = min(parts["p_value"], reliability["p_value"])
    subject = "The probabilities" if f["classes"] == 2 else "The probabilities of the likeliest class"
    if p > 0.025:  # two tests at half of 5 %
        chance = f"what chance makes of {_rows(f['rows'])} (p = {2 * min(p, 0.5):.2g})"
        return f"{subject} show no miscalibration beyond {chance}."
    level = "clearly" if p <= 0.005 else "probably"
    gain = parts["miscalibration"] - parts["expected_miscalibration"]
    worth = f"; recalibration could save about {gain:.2g} nats a row" if alone and 0 < gain < math.inf else ""
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
