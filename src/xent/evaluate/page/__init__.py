"""The report as one web page that needs nothing else: no network, no library, works from disk.

The page holds what is binned or summarised, never the rows (but for the most surprising ones), so that its size does
not grow with them. Its policy (Content-Security-Policy) lets it load nothing and run only its own script, whose hash it
names: text of the user that came to be markup, which escaping prevents, would still not run.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Any

from . import decisions, panels
from .markup import Html, clip, el
from .method import method
from .model import pages
from .parts import Page

MOST_BYTES = 400_000
"""Size that a page does not exceed: longer tables are cut until it fits."""
_MOST = (200, 100, 50, 25, 12, 6)


def render(document: dict[str, Any], *, title: str | None = None, model: dict[str, Any] | None = None) -> str:
    """Make the page.

    Parameters
    ----------
    document : dict
        Of `Evaluation.to_dict`.
    title : str, optional
        By default the name of the input.
    model : dict, optional
        What a model tells of itself, see `xent.evaluate.page.model.pages`.

    Returns
    -------
    str
        A whole document, at most 400 kB as UTF-8.
    """
    title = clip(title if title is not None else _title(document))
    text = ""
    for most in _MOST:
        text = _render(document, title, model, Page(most))
        if len(text.encode()) <= MOST_BYTES:
            break
    return text


def framed(text: str) -> str:
    """Return the page in a frame of its own, for notebooks: its styles do not touch what is around it."""
    frame = el("iframe", srcdoc=text, title="Evaluation", width="100%", height="720", sandbox="allow-scripts")
    return str(frame)


def _title(document: dict[str, Any]) -> str:
    source = document["method"].get("input", "arrays")
    return "Evaluation" if source == "arrays" else f"Evaluation of {source}"


def _render(d: dict[str, Any], title: str, model: dict[str, Any] | None, page: Page) -> str:
    head = panels.verdict(page, d, title)
    body = [
        el("div", panels.compared(page, d), panels.data(page, d), class_="pair"),
        *panels.calibration(page, d),
        panels.recalibration(page, d),
        panels.classes(page, d),
        panels.losses(page, d),
        panels.surprises(page, d),
        decisions.confusion(page, d),
        decisions.decisions(page, d),
        decisions.slices(page, d),
        *(pages(page, model) if model is not None else ()),
        method(page, d),
    ]
    links = el("ul", [el("li", el("a", name, href=f"#{key}")) for key, name in page.contents])
    whole = el(
        "html",
        _head(title),
        el(
            "body",
            el("a", "Skip to the report", href="#report", class_="skip"),
            head,
            el("nav", links, aria_label="Contents"),
            el("main", body, id="report", tabindex="-1"),
            el("script", Html(_asset("report.js"))),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{whole}\n"


def _head(title: str) -> Html:
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name_="color-scheme", content="light dark"),
        el("meta", name_="referrer", content="no-referrer"),
        el("link", rel="icon", href="data:,"),
        el("title", title),
        el("style", Html(style)),
    )


@cache
def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


__all__ = ["MOST_BYTES", "framed", "render"]
