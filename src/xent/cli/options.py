"""Options that several commands share."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
missing_option = click.option(
    "--missing", multiple=True, metavar="MARK", help="One more mark that means missing, such as -999 in a text column."
)
drop_missing_option = click.option("--drop-missing", is_flag=True, help="Leave rows without a label out.")


def pairs(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """Read COLUMN=KIND options; the last equals sign divides, so that names may hold one."""
    out = {}
    for value in values:
        name, sign, kind = value.rpartition("=")
        if not sign or not name:
            raise click.BadParameter(f"{value!r} is not COLUMN=KIND", ctx, param)
        out[name] = kind
    return out
