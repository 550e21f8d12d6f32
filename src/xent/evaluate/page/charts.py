"""The report's charts: what is drawn of each panel's numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .markup import clip, number, plain, share
from .svg import Chart, Scale, ceiling

_BOX = (44.0, 30.0, 346.0, 258.0)


def _percents(value: float) -> str:
    return f"{100 * value:.6g} %"


def reliability(panel: dict[str, Any], event: str, *, told: bool = True) -> Chart:
    """Draw the isotonic curve, the band of calibrated models and, below, how many rows were given each probability.

    ``told``: each point says its numbers where the pointer rests on it.
    """
    points = panel["points"]
    most = max((max(p["predicted"], p["observed"], p["high"]) for p in points), default=1.0)
    top = 1.0 if most > 0.6 else ceiling(most)
    left, upper, right, lower = _BOX
    least = min((min(p["predicted"], p["observed"], p["low"]) for p in points), default=0.0)
    low = round(1 - ceiling(1 - least), 10) if 0.5 < least < 1 else 0.0
    x, y = Scale(low, top, left, right), Scale(low, top, lower, upper)
    chart = Chart(346, (left, upper, right, lower))
    chart.axis_y(y, "share that happened", plain)
    chart.band([(x(p["predicted"]), y(p["low"])) for p in points], [(x(p["predicted"]), y(p["high"])) for p in points],
               "band")  # fmt: skip
    chart.line([(x(low), y(low)), (x(top), y(top))], "reference")
    chart.line([(x(p["predicted"]), y(p["observed"])) for p in points], "main")
    for p in points:
        says = f"{share(p['predicted'])} predicted, {share(p['observed'])} happened, {number(p['rows'])} rows"
        chart.dot((x(p["predicted"]), y(p["observed"])), "dot", says if told else None, 2.2)
    chart.axis_x(x, f"predicted probability of {clip(event, 30)}", plain)
    base = 342.0  # below the labels
    fullest = max((b["rows"] for b in panel["bins"]), default=1) or 1
    for b in panel["bins"]:
        if b["rows"] and b["from"] < top and b["to"] > low:
            tall = max(36 * b["rows"] / fullest, 1.0)
            width = x(b["to"]) - x(b["from"]) - 1.5
            says = f"{number(b['rows'])} rows from {b['from']:.3g} to {b['to']:.3g}"
            chart.bar(x(b["from"]), base - tall, width, tall, "bars", says)
    return chart


def decomposition(parts: dict[str, Any]) -> Chart:
    """Draw the sum: uncertainty, less discrimination, plus miscalibration, is the loss."""
    u, d, m, loss = (parts[k] for k in ("uncertainty", "discrimination", "miscalibration", "loss"))
    finite = [v for v in (u, u - d, loss) if math.isfinite(v)]
    x = Scale(0, max(ceiling(max(finite)), 1e-12), 118, 300)
    chart = Chart(190, (118, 8, 300, 144))
    chart.axis_x(x, "nats a row", plain, marks=x.ticks(4))
    steps = (
        ("uncertainty", 0.0, u, "bars quiet", ""),
        ("discrimination", u - d, u, "bars good", "−"),
        ("miscalibration", u - d, u - d + m, "bars bad", "+"),
        ("loss", 0.0, loss, "bars", "="),
    )
    for place, (name, low, high, class_, sign) in enumerate(steps):
        top = 14 + 33 * place
        end = x(high) if math.isfinite(high) else 300.0
        chart.text(108, top + 16, name, "name", "end")
        value = (u, d, m, loss)[place]
        chart.bar(x(low), top, max(end - x(low), 1.0), 22, class_, f"{name}: {number(value)} nats")
        chart.text(end + 5, top + 16, f"{sign} {number(value, 3)}".strip(), "value")
    if parts.get("chance_95") is not None and math.isfinite(loss):
        at = x(u - d + parts["expected_miscalibration"])
        chart.add("line", x1=at, x2=at, y1=76, y2=106, class_="by-chance")
    return chart


def forest(
    rows: Sequence[tuple[str, float, float | None, float | None, str]],
    label: str,
    *,
    reference: float | None = None,
    zero: bool = True,
) -> Chart:
    """Draw values with their intervals under each other: (name, value, low, high, class of the dot)."""
    ends = [v for _, value, low, high, _ in rows for v in (value, low, high) if v is not None and math.isfinite(v)]
    ends += [reference] if reference is not None else []
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    if zero and low >= 0:
        low, high = 0.0, ceiling(high)
    else:
        room = 0.06 * (high - low) or 1.0
        low, high = low - room, high + room
    bottom = 14.0 + 24 * len(rows)
    x = Scale(low, high, 124, 304)
    chart = Chart(bottom + 46, (124, 8, 304, bottom))
    chart.axis_x(x, label, plain, marks=x.ticks(4))
    if reference is not None:
        chart.add("line", x1=x(reference), x2=x(reference), y1=8, y2=bottom, class_="reference")
    for place, (name, value, lower, upper, class_) in enumerate(rows):
        y = 24.0 + 24 * place
        told = f"{clip(name, 60)}: {number(value)}"
        chart.text(114, y + 4, clip(name, 17), "name", "end")
        if lower is not None and upper is not None and math.isfinite(lower) and math.isfinite(upper):
            told += f", {number(lower)} to {number(upper)}"
            chart.add("line", x1=x(lower), x2=x(upper), y1=y, y2=y, class_="interval")
        chart.dot((x(value) if math.isfinite(value) else 304.0, y), class_, told, 4)
        chart.text(312, y + 4, number(value, 3), "value")
    return chart


def histogram(bars: Sequence[dict[str, Any]]) -> Chart:
    """Draw how many rows have a loss within each step, rows on a log scale."""
    left, top, right, bottom = 52.0, 30.0, 346.0, 190.0
    most = max((b["rows"] for b in bars), default=1) or 1
    y = Scale(0.5, 10 ** math.ceil(math.log10(max(most, 2))), bottom, top, log=True)
    chart = Chart(238, (left, top, right, bottom))
    chart.axis_y(y, "rows, log scale", _thousands, marks=y.ticks(4))
    width = (right - left) / max(len(bars), 1)
    for place, b in enumerate(bars):
        x = left + place * width
        if b["rows"]:
            told = f"{number(b['rows'])} rows from {b['from_bits']:g} to {number(b['to_bits'])} bits"
            chart.bar(x + 1, y(b["rows"]), width - 2, bottom - y(b["rows"]), "bars", told)
        if place % 2 == 0 or len(bars) <= 8:
            chart.text(x, bottom + 16, plain(b["from_bits"]), anchor="middle")
    chart.add("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis")
    chart.text((left + right) / 2, bottom + 34, "loss of a row in bits, from", "label", "middle")
    return chart


def _thousands(value: float) -> str:
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{letter}"
    return f"{value:g}"


def carried(shares: Sequence[dict[str, Any]]) -> Chart:
    """Draw the part of the loss that the worst rows carry, their share on a log scale."""
    points = [(c["rows_share"], c["loss_share"]) for c in shares] + [(1.0, 1.0)]
    left, top, right, bottom = 52.0, 30.0, 340.0, 190.0
    x, y = Scale(min(p[0] for p in points), 1.0, left, right, log=True), Scale(0, 1, bottom, top)
    chart = Chart(238, (left, top, right, bottom))
    chart.axis_y(y, "of all loss", _percents)
    chart.axis_x(x, "share of the rows, the worst first", _percents, marks=x.ticks(4))
    chart.line([(x(a), y(a)) for a in (10 ** (-4 + k / 10) for k in range(41)) if a >= x.low], "reference")
    chart.line([(x(a), y(b)) for a, b in points], "main")
    for a, b in points:
        chart.dot((x(a), y(b)), "dot", f"{share(a)} of the rows carry {share(b)} of the loss")
    return chart


def tail(steps: Sequence[dict[str, Any]]) -> Chart:
    """Draw how many rows were at least so surprising, and how many the predictions expected."""
    left, top, right, bottom = 52.0, 30.0, 346.0, 190.0
    most = max([1.0, *(max(t["rows"], t["expected"]) for t in steps)])
    low = 0.1
    y = Scale(low, 10 ** math.ceil(math.log10(most * 1.01)), bottom, top, log=True)
    x = Scale(0, max(t["bits"] for t in steps), left + 8, right - 8)
    chart = Chart(238, (left, top, right, bottom))
    chart.axis_y(y, "rows, log scale", _thousands, marks=y.ticks(4))
    chart.axis_x(x, "surprise of at least so many bits", plain)
    chart.line([(x(t["bits"]), y(t["expected"])) for t in steps if t["expected"] >= low], "reference")
    seen = [t for t in steps if t["rows"]]
    chart.line([(x(t["bits"]), y(t["rows"])) for t in seen], "main")
    for t in seen:
        told = f"{t['bits']:g} bits or more: {number(t['rows'])} rows, {number(t['expected'], 3)} expected"
        chart.dot((x(t["bits"]), y(t["rows"])), "dot", told)
    return chart


def curve(
    points: Sequence[tuple[float, float]],
    labels: tuple[str, str],
    *,
    reference: Sequence[tuple[float, float]],
    key: str,
) -> Chart:
    """Draw a curve in the unit square, with a mark that the threshold moves."""
    left, top, right, bottom = _BOX
    x, y = Scale(0, 1, left, right), Scale(0, 1, bottom, top)
    chart = Chart(304, _BOX)
    chart.axis_y(y, labels[1], plain)
    chart.axis_x(x, labels[0], plain)
    chart.line([(x(a), y(b)) for a, b in reference], "reference")
    chart.line([(x(a), y(b)) for a, b in points], "main")
    chart.add("circle", id=key, class_="mark", cx=x(0), cy=y(0), r=6, visibility="hidden")
    return chart


def tuning(points: Sequence[dict[str, Any]], chosen: float) -> Chart:
    """Draw the cross-validated loss over C with its standard error, and the C that was chosen."""
    left, top, right, bottom = 52.0, 30.0, 346.0, 220.0
    cs = [p["c"] for p in points]
    lows = [p["cross_entropy"] - p["standard_error"] for p in points]
    highs = [p["cross_entropy"] + p["standard_error"] for p in points]
    room = 0.08 * (max(highs) - min(lows)) or 0.1
    low, high = max(min(lows) - room, 0.0), max(highs) + room
    x = Scale(min(cs), max(cs), left + 8, right - 8, log=True) if min(cs) < max(cs) else Scale(0, 1, left, right)
    y = Scale(low, high, bottom, top)
    chart = Chart(268, (left, top, right, bottom))
    chart.axis_y(y, "cross-validated nats a row", plain)
    chart.axis_x(x, "C, log scale: weaker penalty to the right", plain)
    chart.band([(x(c), y(v)) for c, v in zip(cs, lows, strict=True)],
               [(x(c), y(v)) for c, v in zip(cs, highs, strict=True)], "band")  # fmt: skip
    chart.line([(x(p["c"]), y(p["cross_entropy"])) for p in points], "main")
    for p in points:
        mine = p["c"] == chosen
        told = f"C = {p['c']:.3g}: {number(p['cross_entropy'])} ± {number(p['standard_error'], 2)} nats"
        chart.dot((x(p["c"]), y(p["cross_entropy"])), "mark" if mine else "dot", told, 6 if mine else 3)
    return chart
