"""The panels of decisions: confusion, ROC and precision-recall, thresholds, coverage, slices."""

from __future__ import annotations

import json
import math
from typing import Any

from . import charts
from .markup import Html, chance, clip, el, number, plain, share, span
from .parts import Page, note, only

Document = dict[str, Any]
_SHADES = 8
_WIDE = 12  # classes whose matrix of losses is shown too


def confusion(page: Page, d: Document) -> Html | None:
    """Show which class is taken for which."""
    if not d["confusion"]:
        return None
    found, names = d["confusion"], [clip(n, 24) for n in d["class_names"]]
    matrices: list[Any] = []
    if found["counts"] is not None:
        matrices.append(_matrix(page, "Rows", names, found["counts"], number))
        if len(names) <= _WIDE:
            matrices.append(_matrix(page, "Loss, nats", names, found["loss"], lambda v: number(float(v), 3)))
    shown = found["pairs"][: max(10, page.most // 8)]
    pairs = page.table(
        "Taken for another class, by the loss of those rows",
        ("label", "likeliest", "rows", "loss, nats", "of all loss"),
        [(clip(p["label"], 60), clip(p["predicted"], 60), number(p["rows"]), number(p["loss"]), share(p["loss_share"]))
         for p in shown],
        text=(0, 1),
        sortable=True,
    )  # fmt: skip
    told = (
        "A row of the table is a label, a column the class that was likeliest; shaded by their part of the label's row."
    )
    return page.section(
        "confusion",
        "Confusion",
        note(told) if matrices else None,
        el("div", matrices, class_="live"),
        pairs if shown else note("No row was taken for another class."),
    )


def _matrix(page: Page, caption: str, names: list[str], values: list[list[float]], write: Any) -> Html:
    rows: list[list[Any]] = []
    for name, line in zip(names, values, strict=True):
        finite = [v for v in line if math.isfinite(v)]
        whole = sum(finite) or 1.0
        cells = [_shaded(write(v), v / whole if math.isfinite(v) else 1.0, bool(v)) for v in line]
        rows.append([name, *cells])
    return page.table(f"{caption} by label and likeliest class", ("label", *names), rows, class_="matrix")


def _shaded(text: str, part: float, there: bool) -> Html:
    if not there:
        return el("span", "0", class_="s0")
    return el("span", text, class_=f"s{max(1, round(_SHADES * part))}")


def decisions(page: Page, d: Document) -> Html | None:
    """Show the curves and the thresholds of two classes, and what answering only when sure gives."""
    if not d["coverage"]:
        return None
    parts: list[Any] = []
    if d["curves"] is not None and d["thresholds"] is not None:
        parts += _thresholds(page, d)
    covered = page.table(
        "Answering only when the likeliest class is sure enough",
        ("confidence from", "rows", "coverage", "accuracy there"),
        [(plain(c["threshold"]), number(c["rows"]), share(c["coverage"]), share(c["accuracy"])) for c in _distinct(d)],
        text=(),
    )
    return page.section("decisions", "Decisions", parts, el("h3", "Answering only when sure"), covered)


def _distinct(d: Document) -> list[Document]:
    """The coverage panel without thresholds below every confidence, but the last of them."""
    every = d["coverage"]
    whole = sum(c["rows"] == d["rows"] for c in every)
    return list(every[max(whole - 1, 0) :])


def stops(curves: Document, thresholds: list[Document]) -> list[tuple[float, int, int]]:
    """Return what the slider can stand on: (threshold, true positives, false positives), ascending, all exact.

    The scores at which the curves are known, and the grid of thresholds.
    """
    first = thresholds[0]
    events, others = first["tp"] + first["fn"], first["fp"] + first["tn"]
    found = {
        r["threshold"]: (round(r["tpr"] * events), round(r["fpr"] * others))
        for r in curves["roc"]
        if math.isfinite(r["threshold"])
    }
    found.update({t["threshold"]: (t["tp"], t["fp"]) for t in thresholds})
    return [(t, *found[t]) for t in sorted(found)]


def _thresholds(page: Page, d: Document) -> list[Any]:
    every, table = stops(d["curves"], d["thresholds"]), d["thresholds"]
    events, others = table[0]["tp"] + table[0]["fn"], table[0]["fp"] + table[0]["tn"]
    start = next(i for i, s in enumerate(every) if s[0] == 0.5)
    known = json.dumps(
        {"t": [float(f"{t:.6g}") for t, _, _ in every], "tp": [s[1] for s in every], "fp": [s[2] for s in every],
         "events": events, "others": others, "start": start},
        separators=(",", ":"),
    )  # fmt: skip
    positive = clip(d["positive"], 40)
    return [
        note(
            f"A row counts as {positive} where its probability is at least the threshold. The slider moves it "
            "everywhere: in the figures, the table of outcomes and on both curves."
        ),
        el("script", Html(known.replace("<", "\\u003c")), type="application/json", id="stops"),
        _slider(every, start),
        el("div", _outcomes(page, d, every[start]), _rates(page, every[start], events, others), class_="live"),
        el("div", _curves(page, d), class_="figures"),
        _threshold_table(page, d, every),
    ]


def _slider(every: list[tuple[float, int, int]], start: int) -> Html:
    """The control; hidden until the script is there to answer it."""
    return el(
        "div",
        el("label", "Threshold", for_="threshold"),
        el(
            "input",
            type="range",
            id="threshold",
            min=0,
            max=len(every) - 1,
            step=1,
            value=start,
            aria_valuetext=plain(every[start][0]),
        ),
        el("output", plain(every[start][0]), for_="threshold", id="chosen"),
        class_="slider",
        hidden=True,
    )


def _live(name: str, value: str) -> Html:
    return el("span", value, data_live=name)


def _outcomes(page: Page, d: Document, stop: tuple[float, int, int]) -> Html:
    _, tp, fp = stop
    first = d["thresholds"][0]
    events, others = first["tp"] + first["fn"], first["fp"] + first["tn"]
    negative, positive = (clip(n, 24) for n in d["class_names"])
    rows = [
        (positive, _live("tp", number(tp)), _live("fn", number(events - tp))),
        (negative, _live("fp", number(fp)), _live("tn", number(others - fp))),
    ]
    return page.table("Outcomes at the threshold, rows", ("label", f"called {positive}", f"called {negative}"), rows)


def rates(tp: int, fp: int, events: int, others: int) -> dict[str, float | None]:
    """Return precision, recall, specificity, accuracy and F1 of a decision; None where one is not defined.

    >>> rates(3, 1, 4, 6)
    {'precision': 0.75, 'recall': 0.75, 'specificity': 0.8333333333333334, 'accuracy': 0.8, 'F1': 0.75}
    """
    return {
        "precision": tp / (tp + fp) if tp + fp else None,
        "recall": tp / events if events else None,
        "specificity": (others - fp) / others if others else None,
        "accuracy": (tp + others - fp) / (events + others),
        "F1": 2 * tp / (tp + fp + events) if tp + fp + events else None,
    }


def _rates(page: Page, stop: tuple[float, int, int], events: int, others: int) -> Html:
    found = rates(stop[1], stop[2], events, others)
    rows = [(name, _live(name, share(value) if name != "F1" else number(value))) for name, value in found.items()]
    return page.table("Figures at the threshold", ("", "value"), rows)


def _curves(page: Page, d: Document) -> list[Html]:
    c, base = d["curves"], d["thresholds"][0]
    prior = (base["tp"] + base["fn"]) / d["rows"]
    roc = page.table(
        "ROC curve",
        ("threshold", "false positive rate", "true positive rate"),
        [(number(r["threshold"], 3), number(r["fpr"], 3), number(r["tpr"], 3)) for r in c["roc"]],
        text=(),
    )
    pr = page.table(
        "Precision-recall curve",
        ("threshold", "recall", "precision"),
        [(number(r["threshold"], 3), number(r["recall"], 3), number(r["precision"], 3)) for r in c["pr"]],
        text=(),
    )
    chart = charts.curve([(r["fpr"], r["tpr"]) for r in c["roc"]], ("false positive rate", "true positive rate"),
                         reference=((0, 0), (1, 1)), key="roc-mark")  # fmt: skip
    told = f"Area {number(c['auc'])}: the chance that a row with the event scores higher than one without."
    box = ",".join(f"{v:g}" for v in chart.box)
    figures = [page.figure("ROC curve", told, chart, roc, data_box=box)]
    chart = charts.curve([(r["recall"], r["precision"]) for r in c["pr"]], ("recall", "precision"),
                         reference=((0, prior), (1, prior)), key="pr-mark")  # fmt: skip
    told = f"Average precision {number(c['average_precision'])}; the dashed line is the event's share, {share(prior)}."
    figures.append(page.figure("Precision and recall", told, chart, pr, data_box=box))
    return figures


def _threshold_table(page: Page, d: Document, every: list[tuple[float, int, int]]) -> Html:
    place = {t: i for i, (t, _, _) in enumerate(every)}
    rows = []
    for t in d["thresholds"]:
        if t["why"] == "grid" and round(20 * t["threshold"]) % 2:
            continue
        shares = (share(t[k]) for k in ("precision", "recall", "specificity", "accuracy"))
        counts = (number(t[k]) for k in ("tp", "fp", "fn", "tn"))
        go = el("button", plain(t["threshold"]), type="button", class_="stop", data_stop=place[t["threshold"]])
        rows.append((go, "" if t["why"] == "grid" else t["why"], *shares, number(t["f1"]), *counts))
    header = (
        "from",
        "",
        "precision",
        "recall",
        "specificity",
        "accuracy",
        "F1",
        "true +",
        "false +",
        "false −",
        "true −",
    )
    return page.table("Thresholds", header, rows, text=(1,), class_="thresholds")


def slices(page: Page, d: Document) -> Html | None:
    """Show the slices of each column, the worst first."""
    if not d["slices"]:
        return None
    return page.section(
        "slices",
        "Slices",
        note("p: against all other rows, adjusted for the number of values (Holm)."),
        [_slice(page, panel, d) for panel in d["slices"]],
    )


def _slice(page: Page, panel: Document, d: Document) -> list[Any]:
    values, most = panel["values"], max(8, page.most // 4)
    shown = values[:most]
    rows = []
    for s in shown:
        gap = None if s["confidence"] is None else s["confidence"] - s["accuracy"]
        interval = span(s["low"], s["high"], 3, few=s["few"])
        figures = (share(s["loss_share"]), share(s["accuracy"]), share(gap), chance(s["p_value"]))
        rows.append((clip(s["value"], 60), number(s["rows"]), number(s["cross_entropy"]), interval, *figures))
    column = clip(panel["column"], 60)
    header = (column, "rows", "loss", "interval", "of all loss", "accuracy", "confidence − accuracy", "p")
    table = page.table(f"By {column}", header, rows, sortable=True)
    drawn = [(s["value"], s["cross_entropy"], s["low"], s["high"], "mark") for s in shown[:12]]
    reference = d["cross_entropy"] if math.isfinite(d["cross_entropy"]) else None
    chart = charts.forest(drawn, "nats a row", reference=reference)
    told = "Mean loss with its interval; the dashed line is that of all rows."
    cut = only(len(shown), len(values), "values", "with the largest loss")
    return [page.figure(f"Loss by {column}", told, chart, table), cut]
