"""A model's own pages: its coefficients, what preprocessing decided, how the penalty was chosen."""

from __future__ import annotations

from typing import Any

from . import charts
from .markup import Html, clip, el, number, span
from .parts import Page, note, only

Document = dict[str, Any]


def pages(page: Page, m: Document) -> list[Html]:
    """Return the sections of a model.

    Parameters
    ----------
    page : Page
    m : dict
        ``coefficients``: list of {class, feature, coefficient, low, high}, low and
        high None where no interval is known, the same features in the same order for each class; ``unit``: what a
        coefficient is, in words; ``columns``: list of {name, kind, reason, missing, made} (``made``: the
        features made of it, in words); ``curve``: list of {c, cross_entropy, standard_error}; ``c``;
        ``notes``: list of text.
    """
    return [_coefficients(page, m), _columns(page, m), _tuning(page, m)]


def _coefficients(page: Page, m: Document) -> Html:
    every = m["coefficients"]
    strongest = sorted(every, key=lambda c: -abs(c["coefficient"]))
    shown = strongest[: page.most]
    several = len({c["class"] for c in every}) > 1
    known = any(c["low"] is not None for c in every)

    def name(c: Document) -> str:
        return f"{c['feature']} ({c['class']})" if several else str(c["feature"])

    rows = [
        (
            clip(c["feature"], 60),
            clip(c["class"], 60),
            number(c["coefficient"]),
            *((span(c["low"], c["high"]),) if known else ()),
        )
        for c in shown
    ]
    header = ("feature", "class", "coefficient", *(("interval",) if known else ()))
    table = page.table("Coefficients", header, rows, text=(0, 1), sortable=True)
    drawn = [(name(c), c["coefficient"], c["low"], c["high"], "mark") for c in strongest[:15]]
    chart = charts.forest(drawn, "change of the log-odds, nats", reference=0.0, zero=False)
    told = f"The {len(drawn)} largest of {len(every):,}. {m['unit']}"
    return page.section(
        "coefficients",
        "Coefficients",
        page.figure("Largest coefficients", told, chart, table),
        only(len(shown), len(every), "coefficients", "that are largest"),
    )


def _columns(page: Page, m: Document) -> Html:
    every = m["columns"]
    shown = every[: page.most]
    table = page.table(
        "What each column was taken for",
        ("column", "kind", "why", "missing", "features made of it"),
        [(clip(c["name"], 60), c["kind"], clip(c["reason"]), number(c["missing"]), clip(c["made"])) for c in shown],
        text=(0, 1, 2, 4),
        sortable=True,
    )
    told = el("ul", [el("li", clip(n, 300)) for n in m["notes"][:30]], class_="notes") if m["notes"] else None
    return page.section(
        "columns",
        "What preprocessing decided",
        table,
        only(len(shown), len(every), "columns", "that come first"),
        told,
    )


def _tuning(page: Page, m: Document) -> Html:
    curve = m["curve"]
    if not curve:
        return page.section("tuning", "Penalty", note(f"C = {m['c']:g} was given; nothing was tuned."))
    table = page.table(
        "Cross-validated cross-entropy by C",
        ("C", "nats a row", "standard error"),
        [(number(p["c"], 3), number(p["cross_entropy"]), number(p["standard_error"], 3)) for p in curve],
        text=(),
    )
    told = f"C = {m['c']:.3g} was chosen: the lowest of {len(curve)}. The band is one standard error to each side."
    return page.section("tuning", "Penalty", page.figure("Tuning curve", told, charts.tuning(curve, m["c"]), table))
