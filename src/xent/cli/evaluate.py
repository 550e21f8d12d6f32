"""``xent evaluate``."""

from __future__ import annotations

import click

from .options import drop_missing_option, json_option, missing_option
from .output import evaluation_rows, print_json, print_notes, print_table

_EPILOG = """\b
Examples:
  xent evaluate predictions.csv --target species
  xent evaluate scores.parquet --target y --probs 'prob_{class}'
  xent evaluate scores.csv --target churned --probs score --positive yes

The probabilities of a row must sum to one within 0.00001. Nothing is clipped: a label that was given probability 0
costs infinity, and its row is told.
"""


@click.command("evaluate", epilog=_EPILOG)
@click.argument("file")
@click.option("--target", "-t", required=True, metavar="COLUMN", help="The column of labels.")
@click.option(
    "--probs",
    "-p",
    default="p_*",
    show_default=True,
    metavar="PATTERN",
    help="Columns of probabilities, * or {class} for the class; or a single column, that of --positive.",
)
@click.option("--positive", metavar="LABEL", help="The class of a single column; needless for 0/1 and false/true.")
@click.option(
    "--normalize", is_flag=True, help="Divide each row by its sum instead of refusing it; takes percents too."
)
@click.option(
    "--pairs", is_flag=True, help="Scores of pairs: --target says same or not, --probs is the score's column."
)
@drop_missing_option
@missing_option
@json_option
def command(
    file: str,
    target: str,
    probs: str,
    positive: str | None,
    normalize: bool,
    pairs: bool,
    drop_missing: bool,
    missing: tuple[str, ...],
    as_json: bool,
) -> None:
    """Judge anybody's predicted probabilities.

    Prints the cross-entropy with its standard error, the skill against the labels' own entropy, accuracy and Brier
    score of a file with a column of labels and columns of probabilities.
    """
    if pairs:  # xent verify has more options
        from .verify import run_verify

        score = None if probs == "p_*" else probs
        run_verify(file, score, target, None, None, None, (), 0.95, 1000, 0, None, missing, as_json)
        return
    from dataclasses import replace

    from ..evaluate import evaluate
    from ..tabular.predictions import read_predictions
    from ..tabular.read import read_table

    table = read_table(file, missing=missing)
    found = read_predictions(table, target, probs, positive=positive, normalize=normalize, drop_missing=drop_missing)
    result = evaluate(found.log_proba, found.target)
    # Rows are told by their place in the file, whatever was left out.
    result = replace(result, impossible_rows=tuple(int(found.rows[r]) for r in result.impossible_rows))
    notes = [*table.notes, *found.notes]
    if as_json:
        print_json({"file": file, "target": target, "class_names": found.classes, **result.to_dict(), "notes": notes})
        return
    print_table(f"Figures of {file}", ("", "", ""), evaluation_rows(result))
    print_notes(notes)
