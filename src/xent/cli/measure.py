"""``xent measure``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from .options import json_option, missing_option
from .output import Rows, number, print_json, print_notes, print_table

if TYPE_CHECKING:
    from ..tabular.information import Information

_EPILOG = """\b
Examples:
  xent measure birds.csv species
  xent measure birds.csv species island
  xent measure iris species 'petal length (cm)' --bins 5

Figures are those of the rows as they are (no correction for small samples). Two columns that have nothing to do with
each other still share a little in a finite table; "by chance" says about how much.
"""


@click.command("measure", epilog=_EPILOG)
@click.argument("table")
@click.argument("columns", nargs=-1, required=True, metavar="COLUMN [COLUMN]")
@click.option("--bins", default=10, show_default=True, help="Bins for more than 20 distinct numbers; 0 for none.")
@click.option("--drop-missing", is_flag=True, help="Leave rows with missing values out.")
@missing_option
@json_option
def command(
    table: str, columns: tuple[str, ...], bins: int, drop_missing: bool, missing: tuple[str, ...], as_json: bool
) -> None:
    """Entropy and mutual information of columns.

    One column: its entropy and perplexity. Two, X and Y: also the joint and conditional entropies and the mutual
    information.
    """
    if len(columns) > 2:
        raise click.UsageError(f"one or two columns are measured at a time, not {len(columns)}")
    from ..tabular.information import column_information
    from ..tabular.read import read_table

    info = column_information(read_table(table, missing=missing), columns, bins=bins, drop_missing=drop_missing)
    if as_json:
        print_json(_document(table, info))
        return
    print_table(f"{table}: {info.rows} rows", ("", "nats", "bits", ""), _rows(info))
    print_notes(info.notes)


def _document(table: str, info: Information) -> dict[str, Any]:
    from dataclasses import asdict

    document = asdict(info)
    pair = document.pop("pair") or {}
    return {"table": table, "unit": "nats", **document, **pair}


def _rows(info: Information) -> Rows:
    def row(name: str, value: float, note: str = "") -> tuple[str, ...]:
        return name, number(value), number(value / math.log(2)), note

    rows: Rows = []
    for symbol, column in zip("XY", info.columns, strict=False):
        note = f"{column.values} values, perplexity {number(column.perplexity)}"
        symbol = f"{symbol} = " if len(info.columns) == 2 else ""
        rows.append(row(f"H({symbol}{column.name})", column.entropy, note))
    if info.pair is None:
        return rows
    pair = info.pair
    hx, hy = (c.entropy for c in info.columns)
    return [
        *rows,
        row("H(X,Y)", pair.joint),
        row("H(X|Y)", pair.x_given_y, f"Y tells {_share(pair.mutual, hx)} of X"),
        row("H(Y|X)", pair.y_given_x, f"X tells {_share(pair.mutual, hy)} of Y"),
        row("I(X;Y)", pair.mutual, f"about {number(pair.by_chance)} nats by chance"),
        ("I normalised", number(pair.normalized), "", "2 I / (H(X) + H(Y)), from 0 to 1"),
    ]


def _share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole > 0 else "nothing"
