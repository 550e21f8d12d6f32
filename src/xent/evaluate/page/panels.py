"""The panels of every report, in its order: what is said of the probabilities and of the rows."""

from __future__ import annotations

import math
from typing import Any

from . import charts
from .markup import Html, chance, clip, el, number, plain, probability, share, span, unbroken
from .parts import Page, names, note, only

Document = dict[str, Any]


def verdict(page: Page, d: Document, title: str) -> Html:
    """Say the verdict in words, then the figures that matter first."""
    first, *rest = map(unbroken, d["verdict"])
    return el(
        "header",
        el("h1", title),
        el("p", first, class_="lead"),
        el("ul", [el("li", sentence) for sentence in rest], class_="verdict"),
        el("dl", [el("div", el("dt", name), el("dd", value, el("small", more))) for name, value, more in _tiles(d)]),
    )


def _tiles(d: Document) -> list[tuple[str, str, str]]:
    every = d["calibration"]
    level = f"{100 * d['level']:g} % interval {span(*d['interval'])}"
    if d["impossible"]:
        level = f"without the impossible events {number(d['finite_cross_entropy'])}"
    tiles = [
        ("Cross-entropy", f"{number(d['cross_entropy'])} nats", level),
        ("In bits", number(d["cross_entropy_bits"]), f"perplexity {number(d['perplexity'])} of {number(d['classes'])}"),
        ("Skill", share(d["skill"]), f"class shares alone cost {number(d['label_entropy'])} nats"),
        ("Accuracy", share(d["accuracy"]), f"mean confidence {share(d['confidence'])}"),
        ("Brier score", number(d["brier"]), "summed over classes, 0 to 2"),
    ]
    if every:
        top = every.get("event", every["top_label"])["reliability"]
        chance_made = f"{number(top['expected_if_calibrated'], 3)}, 95 % below {number(top['chance_95'], 3)}"
        error = number(top["calibration_error"], 3)
        tiles.insert(4, ("Calibration error", error, f"a calibrated model: {chance_made}"))
    return tiles


def compared(page: Page, d: Document) -> Html:
    """Place the cross-entropy among what it can be compared with."""
    low, high = d["interval"]
    rows = [("class shares", d["label_entropy"], None, None, "mark other", "what always predicting the shares costs")]
    rows.append(("these predictions", d["cross_entropy"], low, high, "mark", "what happened, with its interval"))
    rows.append(
        (
            "as they expect",
            d["expected_cross_entropy"],
            None,
            None,
            "mark other",
            "what they say themselves that they cost",
        )
    )
    best = _best(d["recalibration"])
    if best is not None:
        rows.append(
            ("recalibrated", best["loss_after"], None, None, "mark other", f"by {best['method']}, cross-fitted")
        )
    table = page.table(
        "Cross-entropy beside its references",
        ("", "nats", "bits", "interval, nats", "what it is"),
        [(n, number(v), number(v / math.log(2)), span(a, b), what) for n, v, a, b, _, what in rows],
        text=(0, 4),
    )
    chart = charts.forest([r[:5] for r in rows], "nats a row", reference=d["label_entropy"])
    told = "Lower is better. Left of the dashed line, the predictions know more than the classes' shares."
    return page.section("loss", "Cross-entropy", page.figure("Cross-entropy beside its references", told, chart, table))


def _best(recalibration: Document | None) -> Document | None:
    if recalibration is None or recalibration.get("best") is None:
        return None
    return next(r for r in recalibration["results"] if r["method"] == recalibration["best"])


def data(page: Page, d: Document) -> Html:
    """Say what was read, and what is odd about it."""
    x = d["data"]
    kind = {"log": "natural logarithms of probabilities"}.get(x["kind"], x["kind"])
    rows = [
        ("Rows", number(x["rows"])),
        *_weighted(x),
        ("Classes", f"{number(x['classes'])}: {names(d['class_names'])}"),
        ("Predictions", kind),
    ]
    if x["kind"] != "logits":
        rows.append(("Farthest row sum from 1", number(x["farthest_sum"], 2)))
    if x["repeated"] is not None:
        few = " (rounded or tied scores repeat too)" if x["repeated"] and x["classes"] == 2 else ""
        rows.append(("Rows that repeat an earlier one, label and all", number(x["repeated"]) + few))
    if x["impossible"]:
        first = ", ".join(number(r + 1) for r in x["impossible_rows"])
        more = ", …" if x["impossible"] > len(x["impossible_rows"]) else ""
        rows.append(("Impossible events that happened", f"{number(x['impossible'])}, in rows {first}{more}"))
    else:
        rows.append(("Impossible events that happened", "0"))
    if x["classes_never_seen_count"]:
        seen = f"{number(x['classes_never_seen_count'])}: {names(x['classes_never_seen'])}"
        rows.append(("Classes that never happened", seen))
    table = page.table("What was read", ("", ""), rows, text=(0, 1), class_="pairs")
    return page.section("data", "Data", table)


def _weighted(x: Document) -> list[tuple[str, str]]:
    """What is to be known of weights, where rows have them."""
    if "effective_rows" not in x:
        return []
    alike = f"as good as {number(x['effective_rows'])} rows alike"
    left_out = x["rows_of_weight_0"]
    return [("Weights", alike + (f"; {number(left_out)} more rows have weight 0" if left_out else ""))]


def calibration(page: Page, d: Document) -> list[Html]:
    """Show where the loss comes from, and reliability, for the event, the likeliest class and each class."""
    every = d["calibration"]
    if not every:  # rows have weights
        return []
    named = [(f"“{clip(d['positive'], 40)}”", every["event"])] if "event" in every else []
    named.append(("the likeliest class", every["top_label"]))
    named += [(f"“{clip(n, 40)}”", panel) for n, panel in every.get("classes", {}).items()]
    parts = page.section(
        "parts",
        "Where the loss comes from",
        note(
            "Uncertainty is what the shares cost; discrimination is what telling the rows apart saves; miscalibration "
            "is what the best rising recalibration in hindsight would take off. The bar across miscalibration is what "
            "chance alone makes of as many rows."
        ),
        el(
            "div",
            [_parts(page, n, p["decomposition"]) for n, p in named[: 2 if "event" in every else 1]],
            class_="figures",
        ),
        _parts_table(page, named),
    )
    reliable = page.section(
        "reliability",
        "Can the probabilities be trusted?",
        note(
            "The line is what happened (isotonic regression); the band is where 90 % of perfectly calibrated models "
            "lie. A line inside it is no evidence against the predictions. Bars: rows given each probability."
        ),
        el("div", [_reliable(page, *each, told=i < 2) for i, each in enumerate(named)], class_="figures"),
        _errors(page, named),
    )
    return [parts, reliable]


def _parts(page: Page, name: str, p: Document) -> Html:
    title = f"Loss of {name}"
    told = f"{number(p['uncertainty'])} − {number(p['discrimination'])} + {number(p['miscalibration'])} = "
    told += f"{number(p['loss'])} nats a row."
    keys = ("uncertainty", "discrimination", "miscalibration", "loss")
    table = page.table(f"{title}, in parts", ("part", "nats a row"), [(k, number(p[k])) for k in keys])
    return page.figure(title, told, charts.decomposition(p), table)


def _parts_table(page: Page, named: list[tuple[str, Document]]) -> Html:
    rows = []
    for name, panel in named:
        p = panel["decomposition"]
        parts = (number(p[k]) for k in ("loss", "uncertainty", "discrimination", "miscalibration"))
        rows.append(
            (name, *parts, number(p["expected_miscalibration"], 3), number(p["chance_95"], 3), chance(p["p_value"]))
        )
    header = ("of", "loss", "uncertainty", "− discrimination", "+ miscalibration", "by chance", "95 % below", "p")
    return page.table("Where the loss comes from, in nats a row", header, rows)


def _reliable(page: Page, name: str, panel: Document, *, told: bool) -> Html:
    r = panel["reliability"]
    inside = sum(p["low"] <= p["observed"] <= p["high"] for p in r["points"])
    says = f"{inside} of {len(r['points'])} points are inside the {100 * r['level']:g} % band."
    table = page.table(
        f"Reliability of {name}",
        ("predicted", "happened", "band", "rows"),
        [
            (probability(p["predicted"]), probability(p["observed"]), span(p["low"], p["high"], 3), number(p["rows"]))
            for p in r["points"][:: max(1, math.ceil(len(r["points"]) / page.most))]
        ],
        text=(),
    )
    return page.figure(f"Reliability of {name}", says, charts.reliability(r, name, told=told), table)


def _errors(page: Page, named: list[tuple[str, Document]]) -> Html:
    rows = []
    for name, panel in named:
        r = panel["reliability"]
        error = (number(r[k], 3) for k in ("calibration_error", "expected_if_calibrated", "chance_95"))
        rows.append((name, share(r["mean_predicted"]), share(r["observed_share"]), *error, chance(r["p_value"])))
    header = ("of", "predicted", "happened", "calibration error", "if calibrated", "95 % below", "p")
    return page.table("Calibration error, 15 bins, beside that of a calibrated model", header, rows)


def recalibration(page: Page, d: Document) -> Html | None:
    """Say whether recalibration would help: the loss before and after, cross-fitted."""
    r = d["recalibration"]
    if r is None:
        return None
    rows = []
    for m in r["results"]:
        gain = span(*m["interval"])
        told = m["reason"] or _parameters(m["parameters"])
        rows.append((m["method"], number(m["loss_after"]), number(m["gain"], 3), gain, clip(told, 300)))
    rows += [(o["method"], "–", "–", "–", f"left out, it takes long: {o['reason']}") for o in r.get("left_out", ())]
    best = _best(r)
    said = "None would help."
    if best is not None:
        said = f"The best, {best['method']}, would save {number(best['gain'], 3)} nats a row."
        if r["loss_before"] == math.inf:
            after = number(best["loss_after"])
            said = f"The loss is infinite as it is; {best['method']} makes it finite: {after} nats."
        elif not best["interval"][0] > 0:
            said = f"None is shown to help: the interval of the best, {best['method']}, holds 0."
    judged = f"Judged on {number(r['rows'])} of {number(r['of_rows'])} rows, each by a map fitted without it "
    judged += f"({r['folds']} folds). The loss as it is: {number(r['loss_before'])} nats."
    table = page.table(
        "Recalibration, cross-fitted",
        ("method", "loss after", "gain", "interval of the gain", "its numbers"),
        rows,
        text=(0, 4),
    )
    return page.section("recalibration", "Would recalibration help?", note(said, " ", judged), table)


def _parameters(parameters: Document) -> str:
    told = []
    for name, value in parameters.items():
        if isinstance(value, (int, float)):
            told.append(f"{name} {number(float(value), 6)}")
        elif isinstance(value, list) and value and all(isinstance(v, (int, float)) for v in value) and len(value) <= 12:
            told.append(f"{name} " + " ".join(number(float(v), 4) for v in value))
    return ", ".join(told) or "a table of numbers; xent recalibrate writes it"


def classes(page: Page, d: Document) -> Html:
    """Show what each class costs."""
    every = sorted(d["per_class"], key=lambda c: -(c["loss_share"] or 0.0))
    shown = every[: page.most]
    rows: list[tuple[str, ...]] = []
    for c in shown:
        wrong = f"{clip(c['confused_with'], 40)} ({number(c['confused_rows'])})" if c["confused_with"] else "–"
        rows.append(
            (
                clip(c["class"], 60),
                number(c["rows"]),
                number(c["cross_entropy"], 3),
                span(c["low"], c["high"], 3, few=c["few"]),
                share(c["loss_share"]),
                share(c["share"]),
                share(c["mean_predicted"]),
                number(c["auc"], 3),
                number(c["brier"], 3),
                share(c["recall"]),
                share(c["precision"]),
                wrong,
            )
        )
    header: tuple[str, ...] = ("class", "rows", "loss", "interval", "of all loss", "share", "predicted", "AUC", "Brier",
                               "recall", "precision", "taken for")  # fmt: skip
    told = "Loss: mean of the rows with that label, in nats."
    text: tuple[int, ...] = (0, 11)
    if d["calibration"]:
        told += " AUC and Brier score: that class against all others."
    else:  # rows have weights, and four columns take none
        header, text = (*header[:6], *header[9:11]), text[:1]
        rows = [(*r[:6], *r[9:11]) for r in rows]
    table = page.table("What each class costs", header, rows, text=text, sortable=True)
    return page.section("classes", "Classes", note(told), only(len(shown), len(every), "classes", _CARRY), table)


_CARRY = "that carry most of the loss"


def losses(page: Page, d: Document) -> Html | None:
    """Show how the losses are spread and who carries them."""
    spread = d["losses"]
    if not spread:
        return None
    bars = list(spread["histogram"])
    while len(bars) > 1 and not bars[-1]["rows"]:
        bars.pop()
    table = page.table(
        "Rows by their loss",
        ("bits from", "to", "rows"),
        [
            (
                plain(b["from_bits"]),
                number(b["to_bits"]) if b["to_bits"] == math.inf else plain(b["to_bits"]),
                number(b["rows"]),
            )
            for b in bars
        ],
        text=(),
    )
    told = "Quantiles in nats: " + ", ".join(
        f"{100 * q['share']:g} % {number(q['nats'], 3)}"
        for q in spread["quantiles"]
        if q["share"] in (0.05, 0.5, 0.95, 0.99)
    )
    figures = [page.figure("How the losses are spread", f"{told}.", charts.histogram(bars), table)]
    known = [c for c in spread["carried"] if c["loss_share"] is not None]
    if known:
        carried = page.table(
            "Who carries the loss",
            ("worst rows", "of all loss"),
            [(share(c["rows_share"]), share(c["loss_share"])) for c in known],
            text=(),
        )
        one = next(c["loss_share"] for c in known if c["rows_share"] == 0.01)
        told = f"1 % of the rows carry {share(one)} of the loss; the dashed line is were all rows alike."
        figures.append(page.figure("Who carries the loss", told, charts.carried(known), carried))
    else:
        figures.append(note("No share of the loss can be given to rows, for it is 0 or infinite."))
    figures.append(_tail(page, d["surprise"]["tail"]))
    return page.section("losses", "Losses", el("div", figures, class_="figures"))


def _tail(page: Page, every: list[Document]) -> Html:
    """Show how many surprises happened, and how many the predictions expected."""
    steps = [t for t in every if t["rows"] or t["expected"] >= 0.05] or every[:1]
    table = page.table(
        "Rows at least so surprising",
        ("bits or more", "rows", "expected"),
        [(plain(t["bits"]), number(t["rows"]), number(t["expected"], 3)) for t in steps],
        text=(),
    )
    told = "Line: rows that happened. Dashed: rows that the predictions expected. Many more mean overconfidence, or "
    told += "wrong labels."
    return page.figure("Surprises", told, charts.tail(steps), table)


def surprises(page: Page, d: Document) -> Html | None:
    """Show the most surprising rows, and how many such the predictions expected."""
    found = d["surprise"]
    if not found:
        return None
    rows, carried = found["rows"], list(dict.fromkeys(k for r in found["rows"] for k in r.get("carried", {})))[:12]
    shown = rows[: max(10, page.most // 2)]
    listed = page.table(
        "The most surprising rows",
        (
            "row",
            "label",
            "its probability",
            "predicted",
            "probability",
            "bits",
            "expected",
            *(clip(c, 40) for c in carried),
        ),
        [
            (
                number(r["row"] + 1),
                clip(r["label"], 60),
                probability(r["p"]),
                clip(r["predicted"], 60),
                probability(r["p_predicted"]),
                number(r["bits"]),
                number(r["expected"], 2),
                *(clip(r.get("carried", {}).get(c, ""), 60) for c in carried),
            )
            for r in shown
        ],
        text=(1, 3, *range(7, 7 + len(carried))),
        sortable=True,
    )
    told = "Rows count from 1; a heading sorts. Expected: how many rows at least as surprising the predictions expect."
    return page.section("surprises", "Most surprising rows", note(told), listed)
