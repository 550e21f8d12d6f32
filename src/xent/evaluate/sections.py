"""The report as sections of text: a title, a header and rows, for the terminal and for Markdown alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import Evaluation

Row = tuple[str, ...]
Section = tuple[str, Row, list[Row]]

_CLASSES = 20
_WORST = 10
_SLICES = 15


def sections(e: Evaluation) -> list[Section]:
    """Return the sections in the order of the report; those that have nothing to say are left out."""
    found = [
        _figures(e.figures),
        _data(e.data),
        _decomposition(e.calibration),
        _reliability(e),
        _recalibration(e.recalibration),
        _per_class(e.per_class),
        _carried(e.losses),
        _tail(e.surprise),
        _worst(e.surprise),
        _confusion(e.confusion),
        _thresholds(e),
        *(_slice(s) for s in e.slices),
        _method(e),
    ]
    return [s for s in found if s[2]]


SHORT = ", may be too short"
"""Said of an interval where fewer than five rows were costly."""


def figure(value: float | None, digits: int = 4) -> str:
    """Write a number with a few significant digits; a dash where there is none.

    >>> figure(0.123456), figure(float("inf")), figure(None), figure(12)
    ('0.1235', 'inf', '-', '12')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def percent(share: float | None) -> str:
    """Write a share in percent.

    >>> percent(0.0123), percent(None)
    ('1.23 %', '-')
    """
    if share is None or math.isnan(share):
        return "-"
    return f"{100 * share:.3g} %"


def _span(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None or math.isnan(low) else f"{figure(low)} to {figure(high)}"


def _figures(f: dict[str, Any]) -> Section:
    rows: list[Row] = [
        ("cross-entropy", figure(f["cross_entropy"]), figure(f["cross_entropy_bits"]), ""),
        (f"  {100 * f['level']:g} % interval", _span(*f["interval"]), _span(*f["interval_bits"]), ""),
        ("perplexity", figure(f["perplexity"]), "", "equally likely classes"),
        ("label entropy", figure(f["label_entropy"]), figure(f["label_entropy_bits"]), "what the class shares cost"),
        ("saved", figure(f["saving"]), "", f"{_span(f['saving_low'], f['saving_high'])} nats"),
        ("skill", percent(f["skill"]), "", "1 - cross-entropy / label entropy"),
        ("expected", figure(f["expected_cross_entropy"]), "", "the cross-entropy that the predictions expect"),
        ("accuracy", percent(f["accuracy"]), "", f"mean confidence {percent(f['confidence'])}"),
        ("Brier score", figure(f["brier"]), "", "sum over classes, 0 to 2"),
        ("rows", str(f["rows"]), "", f"{f['classes']} classes"),
    ]
    if f["impossible"]:
        first = ", ".join(str(r + 1) for r in f["impossible_rows"])
        more = ", ..." if f["impossible"] > len(f["impossible_rows"]) else ""
        rows.append(("impossible", str(f["impossible"]), "", f"rows whose label had probability 0: {first}{more}"))
    return "Figures", ("", "nats", "bits", ""), rows


def _data(d: dict[str, Any]) -> Section:
    rows: list[Row] = [("predictions", d["kind"]), ("rows, classes", f"{d['rows']}, {d['classes']}")]
    if "effective_rows" in d:
        rows.append(("weights", f"as good as {figure(d['effective_rows'])} rows alike"))
    if d["kind"] != "logits":
        rows.append(("farthest row sum from 1", figure(d["farthest_sum"], 2)))
    if d["repeated"] is not None:
        rows.append(("rows that repeat an earlier one", str(d["repeated"])))
    rows.append(("impossible events that happened", str(d["impossible"])))
    if d["classes_never_seen_count"]:
        more = ", ..." if d["classes_never_seen_count"] > 10 else ""
        rows.append(("classes that never happened", ", ".join(d["classes_never_seen"][:10]) + more))
    return "Data", ("", ""), rows


def _named(calibration: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if not calibration:  # left out: rows have weights
        return []
    named = []
    if "event" in calibration:
        named.append(("event", calibration["event"]))
    named.append(("likeliest class", calibration["top_label"]))
    return named + list(calibration.get("classes", {}).items())


def _decomposition(calibration: dict[str, Any]) -> Section:
    rows: list[Row] = []
    for name, panel in _named(calibration):
        d = panel["decomposition"]
        parts = (figure(d[k]) for k in ("loss", "uncertainty", "discrimination", "miscalibration"))
        by_chance = figure(d["expected_miscalibration"], 3)
        rows.append((name, *parts, by_chance, figure(d["chance_95"], 3), figure(d["p_value"], 2)))
    header = ("", "loss", "uncertainty", "- discrimination", "+ miscalibration", "by chance", "95 % below", "p")
    return "Where the loss comes from, nats", header, rows


def _reliability(e: Evaluation) -> Section:
    rows: list[Row] = []
    for name, panel in _named(e.calibration):
        r = panel["reliability"]
        predicted, observed = percent(r["mean_predicted"]), percent(r["observed_share"])
        chance = (figure(r["calibration_error"], 3), figure(r["expected_if_calibrated"], 3), figure(r["chance_95"], 3))
        inside = sum(p["low"] <= p["observed"] <= p["high"] for p in r["points"])
        rows.append((name, predicted, observed, *chance, figure(r["p_value"], 2), f"{inside} of {len(r['points'])}"))
    header = ("", "predicted", "happened", "calibration error", "by chance", "95 % below", "p", "points in 90 % band")
    return "Calibration", header, rows


def _recalibration(panel: dict[str, Any] | None) -> Section:
    rows: list[Row] = []
    if panel is not None:
        rows.append(("as they are", figure(panel["loss_before"]), "", "", ""))
        for r in panel["results"]:
            low, high = r["interval"]
            numbers = ", ".join(f"{k} {float(v):.6g}" for k, v in r["parameters"].items() if not isinstance(v, list))
            told = r["reason"] or numbers or f"{r['numbers']} numbers"
            rows.append((r["method"], figure(r["loss_after"]), figure(r["gain"], 3), _span(low, high), told))
        rows += [(o["method"], "-", "-", "-", f"left out, it takes long: {o['reason']}") for o in panel["left_out"]]
    return "Recalibrated, nats on rows that the map has not seen", ("", "loss", "saved", "interval", ""), rows


def _per_class(table: list[dict[str, Any]]) -> Section:
    shown = table
    title = "Classes"
    if len(table) > _CLASSES:
        shown = sorted(table, key=lambda c: -(c["loss_share"] or 0.0))[:_CLASSES]
        title = f"Classes, the {_CLASSES} of {len(table)} that carry most of the loss"
    rows: list[Row] = []
    for c in shown:
        wrong = f"{c['confused_with']} ({c['confused_rows']})" if c["confused_with"] else "-"
        rows.append(
            (
                c["class"],
                str(c["rows"]),
                figure(c["cross_entropy"]),
                percent(c["loss_share"]),
                percent(c["share"]),
                percent(c["mean_predicted"]),
                figure(c["auc"]),
                percent(c["recall"]),
                percent(c["precision"]),
                wrong,
            )
        )
    header = ("class", "rows", "loss", "of all loss", "share", "predicted", "AUC", "recall", "precision", "taken for")
    return title, header, rows


def _carried(losses: dict[str, Any]) -> Section:
    carried = [c for c in losses.get("carried", ()) if c["loss_share"] is not None]
    rows: list[Row] = [(percent(c["rows_share"]), percent(c["loss_share"])) for c in carried]
    return "Who carries the loss", ("worst rows", "of all loss"), rows


def _tail(surprise: dict[str, Any]) -> Section:
    rows: list[Row] = [
        (figure(t["bits"]), str(t["rows"]), figure(t["expected"], 3))
        for t in surprise.get("tail", ())
        if t["rows"] or t["expected"] >= 0.05
    ]
    return "Surprises", ("bits or more", "rows", "expected by the predictions"), rows


def _worst(surprise: dict[str, Any]) -> Section:
    rows: list[Row] = []
    for r in surprise.get("rows", ())[:_WORST]:
        told = ", ".join(f"{k}={v}" for k, v in r.get("carried", {}).items())
        sure = f"{r['predicted']} ({percent(r['p_predicted'])})"
        expected = figure(r["expected"], 2)
        rows.append((str(r["row"] + 1), r["label"], figure(r["p"], 3), sure, figure(r["bits"]), expected, told))
    return "Most surprising rows", ("row", "label", "its probability", "predicted", "bits", "expected", ""), rows


def _confusion(confusion: dict[str, Any]) -> Section:
    rows: list[Row] = [
        (p["label"], p["predicted"], str(p["rows"]), figure(p["loss"]), percent(p["loss_share"]))
        for p in confusion.get("pairs", ())[:_WORST]
    ]
    return "Taken for another class", ("label", "likeliest", "rows", "loss, nats", "of all loss"), rows


def _thresholds(e: Evaluation) -> Section:
    rows: list[Row] = []
    if e.thresholds is None:
        rows = [
            (figure(c["threshold"]), str(c["rows"]), percent(c["coverage"]), percent(c["accuracy"])) for c in e.coverage
        ]
        return "Answering only when sure", ("confidence from", "rows", "coverage", "accuracy there"), rows
    assert e.curves is not None
    for t in e.thresholds:
        if t["why"] != "grid" or round(20 * t["threshold"]) % 2 == 0:
            shares = (percent(t[k]) for k in ("precision", "recall", "specificity", "accuracy"))
            why = "" if t["why"] == "grid" else t["why"]
            rows.append((figure(t["threshold"]), *shares, figure(t["f1"]), why))
    title = f"Thresholds; ROC AUC {figure(e.curves['auc'])}, average precision {figure(e.curves['average_precision'])}"
    return title, ("from", "precision", "recall", "specificity", "right", "F1", ""), rows


def _slice(panel: dict[str, Any]) -> Section:
    values = panel["values"]
    rows: list[Row] = []
    for s in values[:_SLICES]:
        gap = None if s["confidence"] is None else s["confidence"] - s["accuracy"]
        rows.append(
            (
                s["value"],
                str(s["rows"]),
                figure(s["cross_entropy"]),
                _span(s["low"], s["high"]) + (SHORT if s["few"] else ""),
                percent(s["loss_share"]),
                percent(s["accuracy"]),
                percent(gap),
                figure(s["p_value"], 2),
            )
        )
    title = f"By {panel['column']}"
    if len(values) > _SLICES:
        title += f", the worst {_SLICES} of {len(values)}"
    header = (panel["column"], "rows", "loss", "interval", "of all loss", "right", "confidence - right", "p, adjusted")
    return title, header, rows


def _method(e: Evaluation) -> Section:
    m = e.method
    versions = ", ".join(f"{k} {v}" for k, v in m["versions"].items())
    rows: list[Row] = [("versions", versions)]
    if "simulations" in m:
        exact = "every score as it is" if m["exact_scores"] else "scores counted in narrow cells"
        draws = f"{m['simulations']} of a calibrated model, seed {m['seed']}"
        rows += [("draws", draws), ("counts", exact)]
    rows += [(k, str(v)) for k, v in m.items() if k not in ("versions", "seed", "simulations", "exact_scores")]
    return "Method", ("", ""), rows
