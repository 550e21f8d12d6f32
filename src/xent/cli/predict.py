"""``xent predict``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from .options import json_option, missing_option
from .output import evaluation_rows, print_json, print_notes, print_table

if TYPE_CHECKING:
    import numpy as np

    from ..evaluate import Figures
    from ..tabular.classifier import TableClassifier
    from ..tabular.read import Table

_EPILOG = """\b
Examples:
  xent predict birds.xent new.csv -o predictions.csv
  xent predict birds.xent new.parquet -o predictions.parquet --keep id
  xent predict digits.xent digits | head

The output has the target where TABLE has it, "predicted", p_CLASS for every class, and each row's loss in nats where
the target is there. Its ending says the format: .csv, .tsv or .jsonl (with .gz or .zst if wanted), .parquet, .arrow.
"""


@click.command("predict", epilog=_EPILOG)
@click.argument("model")
@click.argument("table")
@click.option("--output", "-o", default="-", help='The predictions; "-" for CSV on standard output.  [default: -]')
@click.option(
    "--keep", multiple=True, metavar="COLUMN", help="Copy a column of TABLE to the output, an id for instance."
)
@missing_option
@json_option
def command(
    model: str, table: str, output: str, keep: tuple[str, ...], missing: tuple[str, ...], as_json: bool
) -> None:
    """Predict the rows of a table with a trained model.

    Columns are found by name: their order does not matter, and others are ignored.
    """
    from ..tabular.store import load_model
    from ..tabular.write import csv_bytes, write_table

    if as_json and output == "-":
        raise click.UsageError("--json needs -o FILE: both would go to standard output")
    if output != "-":
        _check_output(output, model, table)
    classifier = load_model(model)
    loaded = _read(classifier, table, missing)
    keep = tuple(loaded.require(name).name for name in keep)
    log_proba, report = classifier.log_proba(loaded.frame, where=loaded.name)
    predictions = classifier.predictions(loaded.frame, log_proba, keep=keep, where=loaded.name)
    result, label_notes = _judge(classifier, loaded, log_proba)
    report.ignored = [n for n in report.ignored if n not in keep]
    notes = [*loaded.notes, *report.lines(), *label_notes]
    if output == "-":
        _to_stdout(csv_bytes(predictions))
    else:
        write_table(predictions, output)
    if as_json:
        print_json({
            "rows": predictions.height, "output": output, "class_names": classifier.class_names, "notes": notes,
            "ignored": report.ignored, "unseen": report.unseen, "filled": report.missing,
            "evaluation": result.to_dict() if result else None,
        })  # fmt: skip
        return
    if result is not None:
        print_table("Figures of the labelled rows", ("", "", ""), evaluation_rows(result), err=output == "-")
    if output != "-":
        print_table("", ("", ""), [("predictions", f"{output} ({predictions.height} rows)")])
    print_notes(notes)


def _to_stdout(data: bytes) -> None:
    if sys.stdout is None:  # the shell closed it
        from ..tabular.errors import TableError

        raise TableError("standard output is closed", todo="Name a file with -o.")
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _check_output(output: str, *inputs: str) -> None:
    from ..tabular.write import check_output

    check_output(output, *inputs)


def _read(classifier: TableClassifier, table: str, missing: tuple[str, ...]) -> Table:
    """Read the table with the columns that were text in training as text, so that "007" is still "007"."""
    from ..tabular.encoders import CategoryEncoder
    from ..tabular.read import read_table

    encoders = classifier.preprocessor.encoders
    text = [e.name for e in encoders if isinstance(e, CategoryEncoder) and not e.boolean]
    if classifier.label_type == "text":
        text.append(classifier.target)
    return read_table(table, missing=missing, text_columns=text)


def _judge(classifier: TableClassifier, table: Table, log_proba: np.ndarray) -> tuple[Figures | None, list[str]]:
    """Judge the labelled rows, if there are any; labels the model does not know cost infinity."""
    import numpy as np

    from ..evaluate import figures

    if classifier.target not in table.frame.columns:
        return None, []
    index = classifier.label_index(table.frame.get_column(classifier.target))
    there = np.flatnonzero(index != -1)
    notes = []
    if len(there) < len(index):
        notes.append(f"{len(index) - len(there)} rows have no label and no loss")
    unknown = int((index == -2).sum())
    if unknown:
        values = table.frame.get_column(classifier.target).gather(np.flatnonzero(index == -2))
        shown = ", ".join(repr(v) for v in values.unique(maintain_order=True).head(3).to_list())
        notes.append(f"{unknown} rows have a label the model does not know ({shown}): their loss is infinite")
    if not len(there):
        return None, notes
    return figures(log_proba[there], np.maximum(index[there], -1)), notes
