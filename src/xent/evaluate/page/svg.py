"""Small charts as SVG: scales, axes, marks. Colours and fonts come from the page's style sheet.

A chart is 360 units wide, as wide as a telephone, so that its letters stay readable there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .markup import Html, el

WIDTH = 360.0
Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From data to a length of the chart.

    >>> Scale(0.0, 1.0, 40.0, 340.0)(0.5), Scale(1.0, 100.0, 0.0, 10.0, log=True)(10.0)
    (190.0, 5.0)
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the place of a value; beyond the ends it is put on them."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        if self.log:
            value = math.log10(value) if value > 0 else -math.inf
        part = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(max(part, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[float]:
        """Return round numbers within the scale."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first) / most))
            return [10.0**k for k in range(first, last + 1, step)]
        return ticks(self.low, self.high, most)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers from low to high, about `most` of them.

    >>> ticks(0.0, 1.0), ticks(0.0, 0.35)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [0.0, 0.1, 0.2, 0.3])
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if unit * k * most >= (high - low) * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{k * step:.10g}") for k in range(first, last + 1)]


def ceiling(value: float) -> float:
    """Return the first round number that is not below a positive value.

    >>> ceiling(0.034), ceiling(1.0), ceiling(7.1)
    (0.04, 1.0, 8.0)
    """
    if not math.isfinite(value) or value <= 0:
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(float(f"{unit * k:.10g}") for k in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if unit * k >= value * (1 - 1e-9))


@dataclass
class Chart:
    """Marks on a plane, in the order in which they are added.

    Attributes
    ----------
    height : float
    box : tuple of float
        Left, top, right and bottom of the plane; the axes stand around it.
    """

    height: float
    box: tuple[float, float, float, float]
    parts: list[Html] = field(default_factory=list)

    def add(self, name: str, *children: Any, **attributes: Any) -> None:
        """Add any element."""
        self.parts.append(el(name, *children, **attributes))

    def text(self, x: float, y: float, text: str, class_: str = "tick", anchor: str | None = None) -> None:
        """Write text; anchor "middle" or "end", else it begins at x."""
        self.add("text", text, x=x, y=y, class_=class_, text_anchor=anchor)

    def axis_x(self, scale: Scale, label: str, write: Callable[[float], str], *, marks: Sequence[float] = ()) -> None:
        """Draw the axis below with its label, and lines across the plane."""
        left, top, right, bottom = self.box
        for value in marks or scale.ticks():
            x = scale(value)
            self.add("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid")
            self.text(x, bottom + 16, write(value), anchor="middle")
        self.add("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="axis")
        self.text((left + right) / 2, bottom + 34, label, "label", "middle")

    def axis_y(self, scale: Scale, label: str, write: Callable[[float], str], *, marks: Sequence[float] = ()) -> None:
        """Draw the axis at the left, its label lying above it, and lines across the plane."""
        left, top, right, _ = self.box
        for value in marks or scale.ticks():
            y = scale(value)
            self.add("line", x1=left, x2=right, y1=y, y2=y, class_="grid")
            self.text(left - 7, y + 4, write(value), anchor="end")
        self.text(2, top - 14, label, "label")

    def line(self, points: Iterable[Point], class_: str) -> None:
        """Draw a line through points of the chart."""
        self.add("path", d=_path(points), class_=class_)

    def band(self, lower: Sequence[Point], upper: Sequence[Point], class_: str) -> None:
        """Fill what lies between two lines."""
        self.add("path", d=_path([*lower, *reversed(upper)]) + "Z", class_=class_)

    def bar(self, x: float, y: float, width: float, height: float, class_: str, told: str | None = None) -> None:
        """Draw a rectangle."""
        told = el("title", told) if told else None
        self.add("rect", *filter(None, [told]), x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), class_=class_)

    def dot(self, at: Point, class_: str, told: str | None = None, radius: float = 3.0) -> None:
        """Draw a point."""
        told = el("title", told) if told else None
        self.add("circle", *filter(None, [told]), cx=at[0], cy=at[1], r=radius, class_=class_)

    def svg(self, key: str, title: str, described: str, **attributes: Any) -> Html:
        """Return the element, named and described for those who do not see it."""
        return el(
            "svg",
            el("title", title, id=f"{key}-t"),
            el("desc", described, id=f"{key}-d"),
            self.parts,
            viewbox=f"0 0 {WIDTH:g} {self.height:g}",
            role="img",
            aria_labelledby=f"{key}-t",
            aria_describedby=f"{key}-d",
            **attributes,
        )


def _path(points: Iterable[Point]) -> str:
    places = [f"{x:.1f},{y:.1f}" for x, y in points]
    kept = [p for i, p in enumerate(places) if i == 0 or p != places[i - 1]]
    return "M" + "L".join(kept) if kept else "M0,0"
