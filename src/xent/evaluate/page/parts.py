"""What panels are made of: sections, figures with the table behind them, tables that scroll and sort."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .markup import Html, clip, el, unbroken
from .svg import Chart

Cell = str | Html
Row = Sequence[Cell]


@dataclass
class Page:
    """What the panels of one page share.

    Attributes
    ----------
    most : int
        Rows that a long table shows.
    contents : list of (key, title)
        The sections so far.
    """

    most: int = 200
    contents: list[tuple[str, str]] = field(default_factory=list)
    _count: Iterable[int] = field(default_factory=itertools.count)

    def key(self) -> str:
        """Return an identifier that no other element has."""
        return f"k{next(iter(self._count))}"

    def section(self, key: str, title: str, *children: Any) -> Html:
        """Make a section with a heading, and list it in the contents."""
        self.contents.append((key, title))
        return el("section", el("h2", title, id=f"{key}-h"), children, id=key, aria_labelledby=f"{key}-h")

    def table(
        self,
        caption: str,
        header: Row,
        rows: Iterable[Row],
        *,
        text: Iterable[int] = (0,),
        sortable: bool = False,
        class_: str | None = None,
    ) -> Html:
        """Make a table whose rows begin with their heading.

        Parameters
        ----------
        caption : str
        header, rows
        text : iterable of int
            Columns of words; the others are numbers, at the right.
        sortable : bool
            The headings are buttons that sort by their column.
        class_ : str, optional
        """
        words, key = set(text), self.key()
        head = [self._heading(h, i in words, sortable) for i, h in enumerate(header)]
        body = [
            el(
                "tr",
                el("th", row[0], scope="row", class_="w" if 0 in words else None),
                [el("td", cell, class_="w" if i in words else None) for i, cell in enumerate(row[1:], 1)],
            )
            for row in rows
        ]
        whole = el(
            "table",
            el("caption", caption, id=key),
            el("thead", el("tr", head)) if any(header) else None,
            el("tbody", body),
            class_=class_,
        )
        return el("div", whole, class_="scroll", tabindex="0", role="region", aria_labelledby=key)

    def _heading(self, text: Cell, words: bool, sortable: bool) -> Html:
        class_ = "w" if words else None
        if not sortable:
            return el("th", text, scope="col", class_=class_) if text else el("td", class_=class_)
        return el("th", el("button", text, type="button"), scope="col", class_=class_, aria_sort="none")

    def figure(self, title: str, told: str, chart: Chart, table: Html, **attributes: Any) -> Html:
        """Make a figure: its title, what it tells, the chart, and the numbers behind it."""
        return el(
            "figure",
            el("figcaption", el("h3", title), el("p", unbroken(told))),
            chart.svg(self.key(), title, told, **attributes),
            behind(f"Numbers: {title}", table),
        )


def behind(summary: str, *children: Any) -> Html:
    """Fold something away under a line of text."""
    return el("details", el("summary", summary), children)


def note(*said: str) -> Html:
    """Make a paragraph of explanation."""
    return el("p", unbroken("".join(said)), class_="note")


def only(count: int, of: int, what: str, which: str) -> Html | None:
    """Say that a table is cut; None where it is not."""
    return note(f"The {count:,} of {of:,} {what} {which}.") if count < of else None


def names(values: Iterable[object], most: int = 10) -> str:
    """List names, the first few of many.

    >>> names("abc"), names("abcd", 2)
    ('a, b, c', 'a, b and 2 more')
    """
    every = [clip(v, 60) for v in values]
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")
