"""What libraries do at the numeric edges of cross-entropy, beside the truth: ``python -m benchmarks edges``.

Each row is data in `cases`: what is given and what the answer is. Every call runs by itself, every library in a process
of its own. An answer is right where value and gradient are within 16 units of rounding of the truth (2 in half
precisions), wrong elsewhere, and an error where the library raises though there is an answer.
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..harness import report
from .case import Answer, Case, Length, Refused, comparable, gradient_is_right, mark, value_is_right
from .cases import sections
from .run import COLUMNS, elsewhere

NOT_INSTALLED = "-"


def cell(case: Case, answer: Answer | None) -> str:
    """What a library does: "right", "x" with what is wrong, "!" with the error, or nothing where it has no function."""
    if answer is None:
        return ""
    found = mark(case, answer)
    if answer.error is not None:
        return f"right: {answer.error}" if found == "right" else f"! {answer.error}"
    if isinstance(case.truth, Refused):
        return "right: nan" if found == "right" else f"x {shown(answer.value, answer.gradient)}"
    if found == "right":
        return "right"
    parts = []
    if not value_is_right(case, answer):
        parts.append(difference(answer.value, case.truth.value))
    if not gradient_is_right(case, answer):
        parts.append(f"grad {difference(*comparable(case, answer))}")
    return f"x {', '.join(parts)}"


def difference(found: Any, truth: Any) -> str:
    """What was found, in as many digits as show that it is not the truth, and "ok" for rows of it that are."""
    for digits in range(4, 18):
        text, right = numbers(found, digits).split(" | "), numbers(truth, digits).split(" | ")
        if text != right:
            break
    if len(text) == len(right):
        text = ["ok" if a == b else a for a, b in zip(text, right, strict=True)]
    return " | ".join(text)


def shown(value: Any, gradient: Any) -> str:
    """A value and a gradient in short, rows of a gradient between bars."""
    return f"{numbers(value, 4)}, grad {numbers(gradient, 4)}"


def numbers(x: Any, digits: int) -> str:
    """Numbers with blanks between them."""
    x = np.asarray(x, float)
    if x.ndim == 2 and x.size:
        return " | ".join(numbers(row, digits) for row in x)
    text = " ".join(f"{v + 0.0:.{digits}g}" for v in x.ravel())
    return text if x.size else "[]"


def true(case: Case) -> str:
    """The truth in short."""
    truth = case.truth
    if isinstance(truth, Refused):
        return "none: error or nan"
    if isinstance(truth.gradient, Length):
        return f"{numbers(truth.value, 4)}, |grad| {numbers(truth.gradient.value, 4)}"
    return shown(truth.value, comparable(case, Answer(gradient=truth.gradient))[1])


def table(rows: list[list[str]]) -> None:
    """Print rows in columns, the first row above a line."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for i, row in enumerate(rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
        if i == 0:
            print("  ".join("-" * width for width in widths))


def print_sections(rows: list[dict[str, str]], columns: list[str]) -> None:
    """A table for each part, with the libraries that have something there."""
    for title in dict.fromkeys(row["section"] for row in rows):
        part = [row for row in rows if row["section"] == title]
        there = ["case", "truth", *(c for c in columns if any(row[c] for row in part))]
        print(f"\n{title}\n")
        table([["", *there[1:]], *([row[c] for c in there] for row in part)])


def counts(column: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    """How often a library is right."""
    kinds = {"r": "right", "x": "wrong", "!": "error", "": "not offered"}
    found = [kinds.get(row[column][:1]) for row in rows]
    return {"library": column} | {kind: found.count(kind) if any(found) else None for kind in kinds.values()}


def ask(columns: list[str], dtype: str) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The rows with what each library does, and the versions of those that are installed."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(columns, pool.map(lambda column: elsewhere(column, dtype), columns), strict=True))
    versions = {package: version for _, own in found.values() for package, version in own.items()}
    rows = [
        {"section": title, "case": case.name, "truth": true(case)}
        | {c: NOT_INSTALLED if said is None else cell(case, said[case.name]) for c, (said, _) in found.items()}
        for title, cases in sections(dtype).items()
        for case in cases
    ]
    return rows, versions


def main(arguments: list[str] | None = None) -> None:
    """Ask every library, print the table and count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="libraries whose names begin so, such as xent")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"], help="of rows that name none")
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    columns = [column for column in COLUMNS if column.startswith(options.only)]
    rows, versions = ask(columns, options.dtype)
    print(
        "right: within rounding of the truth; x: wrong, with what came; !: error; -: not installed; blank: not offered"
    )
    print_sections(rows, columns)
    print(f"\n{', '.join(f'{package} {version}' for package, version in sorted(versions.items()))}\n")
    totals = [counts(column, rows) for column in columns]
    shown = ["library", "right", "wrong", "error", "not offered"]
    report("edges", totals, shown, options.keep, dtype=options.dtype, versions=versions, cases=rows)
