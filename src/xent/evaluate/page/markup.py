"""HTML and SVG elements as text in which everything that is not an element is escaped.

>>> el("p", "a < b ", el("b", "bold"), class_="note")
'<p class="note">a &lt; b <b>bold</b></p>'
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from html import escape
from typing import Any

_VOID = frozenset(("input", "link", "meta", "br", "path", "line", "rect", "circle"))
_LONGEST = 120
_CONTROLS = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160)), "\N{REPLACEMENT CHARACTER}")


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def el(name: str, *children: Any, **attributes: Any) -> Html:
    """Make an element.

    Parameters
    ----------
    name : str
        The element's name; never the user's text.
    *children : Html, str, number, None or iterable of these
        Text is escaped, None is nothing.
    **attributes
        ``class_`` is class, ``aria_label`` aria-label; None and False leave one out, True writes its name alone.
    """
    given = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID and not children:
        return Html(f"<{name}{given}>" if name in ("input", "link", "meta", "br") else f"<{name}{given}/>")
    return Html(f"<{name}{given}>{join(children)}</{name}>")


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    key = {"viewbox": "viewBox"}.get(key, key)
    return f" {key}" if value is True else f' {key}="{escape(_text(value))}"'


def join(children: Iterable[Any]) -> Html:
    """Put children in a row: text escaped, elements as they are, None left out, iterables opened."""
    return Html("".join(_one(child) for child in children))


def _one(child: Any) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return str.__str__(child)
    if isinstance(child, (str, int, float)):
        return escape(_text(child))
    return join(child)


def _text(value: Any) -> str:
    """Text without characters that no HTML may hold; a coordinate to a tenth."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value).translate(_CONTROLS).encode("utf-8", "replace").decode("utf-8")


def clip(text: object, longest: int = _LONGEST) -> str:
    """Cut what is too long to show.

    >>> clip("abcdefgh", 5)
    'abcd…'
    """
    whole = " ".join(str(text).split()) or "(empty)"
    return whole if len(whole) <= longest else whole[: longest - 1] + "…"


def number(value: float | None, digits: int = 4) -> str:
    """Write a number for people: a real minus, commas between thousands, a dash where there is none.

    >>> number(1234567), number(-0.012345), number(0.5), number(None), number(float("inf"))
    ('1,234,567', '−0.01235', '0.5000', '–', '∞')
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    return _digits(value, digits) if value else "0"


def plain(value: float) -> str:
    """Write a number that is round, without zeros at its end.

    >>> plain(0.5), plain(-2.0), plain(10000.0)
    ('0.5', '−2', '10,000')
    """
    whole = 1e3 <= abs(value) < 1e9 and value == int(value)
    return (f"{int(value):,}" if whole else f"{value:.4g}").replace("-", "−")


def _digits(value: float, digits: int) -> str:
    """Significant digits, zeros at the end included, so that numbers under each other line up.

    Halves go away from zero, as in the page's script.
    """
    exact = Decimal(value)
    exact = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP)
    text = f"{float(exact):#.{digits}g}"
    mantissa, letter, exponent = text.partition("e")
    return (mantissa.removesuffix(".") + letter + exponent).replace("-", "−")


def share(value: float | None) -> str:
    r"""Write a share in percent; what is not all of it never reads as 100 %.

    >>> share(0.0), share(None), share(-0.5) == "−50.0\N{NO-BREAK SPACE}%"
    ('0\xa0%', '–', True)
    >>> share(0.71250).split()[0], share(0.7545).split()[0]  # 71.25 is a half, 75.45 is a little less
    ('71.3', '75.4')
    >>> share(0.99987).split(), share(1.0).split()
    (['99.99', '%'], ['100', '%'])
    """
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return (_near_whole(100 * value, 100) if value else "0") + "\N{NO-BREAK SPACE}%"


def probability(value: float) -> str:
    """Write a probability; what is not 1 never reads as 1.

    >>> probability(0.25), probability(0.99987), probability(1.0)
    ('0.250', '0.9999', '1')
    """
    return ("1" if value == 1 else _near_whole(value, 1)) if value else "0"


def _near_whole(value: float, whole: int) -> str:
    """Three significant digits; just below the whole, as many as the rest to it needs."""
    rest = 1 - value / whole
    if not 0 < rest < 0.0005:
        return _digits(value, 3)
    places = min(math.ceil(-math.log10(rest) - 1e-9), 14) - (2 if whole == 100 else 0)
    text = f"{value:.{places}f}"
    return text if float(text) < whole else f"{value:.{places + 1}f}"


def span(low: float | None, high: float | None, digits: int = 4, *, few: bool = False) -> str:
    """Write an interval; few: of few costly rows, so that it may be too short.

    >>> span(0.1, 0.2), span(None, None)
    ('0.1000 to 0.2000', '–')
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "–"
    return f"{number(low, digits)} to {number(high, digits)}" + (", may be too short" if few else "")


def chance(p: float | None) -> str:
    """Write a p-value.

    >>> chance(0.0424), chance(0.00001), chance(None)
    ('0.042', '< 0.001', '–')
    """
    if p is None or math.isnan(p):
        return "–"
    return "< 0.001" if p < 0.001 else number(float(p), 2)


def unbroken(sentence: str) -> str:
    r"""Keep numbers and their units on one line.

    >>> unbroken("1 % of 5 nats")
    '1\xa0% of 5\xa0nats'
    """
    return re.sub(r"(?<=[0-9]) (?=(%|nats|bits)\b|%)", "\N{NO-BREAK SPACE}", sentence)
