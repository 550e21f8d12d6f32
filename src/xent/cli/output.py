"""What the commands print: tables for people, plain text for pipes, JSON for programs.

In JSON, numbers that JSON does not have are the texts ``"inf"``, ``"-inf"`` and ``"nan"``: they survive, and most
languages read them back as numbers.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

import click

if TYPE_CHECKING:
    from ..evaluate import Evaluation, Figures

Rows = list[tuple[str, ...]]


def print_json(document: Any) -> None:
    """Print one JSON object to standard output."""
    click.echo(json.dumps(json_ready(document), indent=2, ensure_ascii=False))


def json_ready(value: Any) -> Any:
    """Replace infinities and NaN by their texts, tuples by lists."""
    if isinstance(value, dict):
        return {str(k): json_ready(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_ready(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, err: bool = False) -> None:
    """Print rows under a title: framed and coloured on a terminal, aligned plain text anywhere else.

    Cells before the last are never cut; an empty header prints none.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    if not is_terminal(err=err):
        click.echo(_plain(title, header, rows), err=err)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", show_header=any(header))
    table.box = SIMPLE_HEAD if any(header) else None
    for place, name in enumerate(header):
        table.add_column(name, style="bold" if place == 0 else "", overflow="fold", no_wrap=False)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets in the user's names are no markup
    Console(stderr=err).print(table)


def is_terminal(*, err: bool) -> bool:
    """Whether a person looks at the stream; a closed one is None."""
    stream = sys.stderr if err else sys.stdout
    return stream is not None and stream.isatty()


def _plain(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(header)] if any(header) else []
    lines += [list(row) for row in rows]
    widths = [max((_width(line[j]) for line in lines), default=0) for j in range(len(header))]
    out = [title] if title else []
    for line in lines:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)]
        out.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(out)


def _width(text: str) -> int:
    """Count terminal columns: letters of East Asia take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def print_notes(notes: Iterable[str]) -> None:
    """Print what was done that the user may want to know, to standard error."""
    for note in notes:
        click.echo(f"Note: {note}.", err=True)


def number(value: float) -> str:
    """Write a figure with four decimals, a small one with three significant digits.

    >>> number(0.13456789), number(0.0123456), number(float("inf"))
    ('0.1346', '0.0123', 'inf')
    """
    if not math.isfinite(value):
        return repr(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 0.1 else f"{value:.3g}"


def evaluation_rows(result: Figures, prior: float | None = None) -> Rows:
    """Lay out figures of predictions, in nats and bits where they are information."""
    percent = "undefined, one label only" if math.isnan(result.skill) else f"{round(100 * result.skill, 1) + 0.0:.1f} %"
    error = "" if math.isnan(result.standard_error) else f" ± {number(result.standard_error)}"
    bits = "" if math.isnan(result.standard_error) else f" ± {number(result.standard_error_bits)}"
    rows: Rows = [
        (
            "cross-entropy",
            f"{number(result.cross_entropy)}{error} nats",
            f"{number(result.cross_entropy_bits)}{bits} bits",
        ),
        (
            "label entropy",
            f"{number(result.label_entropy)} nats",
            f"{number(result.label_entropy_bits)} bits, what knowing nothing costs",
        ),
        ("skill", percent, "1 - cross-entropy / label entropy"),
    ]
    if prior is not None:
        rows.append(("training shares", f"{number(prior)} nats", "cost of predicting the training labels' shares"))
    rows += [
        ("accuracy", f"{100 * result.accuracy:.1f} %", ""),
        ("Brier score", number(result.brier), "sum over classes, 0 to 2"),
        ("rows", str(result.rows), f"{result.classes} classes"),
    ]
    if result.impossible:
        first = ", ".join(str(r + 1) for r in result.impossible_rows)
        more = ", ..." if result.impossible > len(result.impossible_rows) else ""
        rows.append(
            (
                "impossible",
                f"{result.impossible} row{'s' * (result.impossible != 1)}",
                f"their label had probability 0: rows {first}{more}",
            )
        )
    return rows


def _more_rows(f: dict[str, Any]) -> Rows:
    """What the whole report knows beyond the summary."""
    rows: Rows = []
    if not math.isnan(f["interval"][0]):
        nats, bits = (" to ".join(map(number, f[k])) for k in ("interval", "interval_bits"))
        rows.append((f"{100 * f['level']:g} % interval", f"{nats} nats", f"{bits} bits"))
    rows.append(("perplexity", number(f["perplexity"]), "equally likely classes"))
    rows.append(("expected", f"{number(f['expected_cross_entropy'])} nats", "by the predictions themselves"))
    if not math.isnan(f["saving_low"]):
        low, high = number(f["saving_low"]), number(f["saving_high"])
        rows.append(("saved", f"{number(f['saving'])} nats", f"{low} to {high}, against the class shares"))
    return rows


def print_report(title: str, evaluation: Evaluation) -> None:
    """Print the whole report: the verdict in words, then its tables; in a pipe without a blank line."""
    from ..evaluate.sections import sections

    terminal = is_terminal(err=False)
    _, *rest = sections(evaluation)
    rows = evaluation_rows(evaluation.summary)
    rows[1:1] = _more_rows(evaluation.figures)
    print_table(title, ("", "", ""), rows)
    if terminal:
        from rich.console import Console
        from rich.text import Text

        for sentence in evaluation.verdict:
            Console().print(Text(f"  {sentence}"))
        click.echo()
    else:
        for sentence in evaluation.verdict:
            click.echo(f"  {sentence}")
    for name, header, rows in rest:
        print_table(name if terminal else f"  -- {name}", header, rows)


@contextmanager
def progress_bar(*, enabled: bool = True) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows progress on standard error, where that is a terminal; elsewhere it does nothing."""
    if not enabled or not is_terminal(err=True):
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)
