"""``xent evaluate``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import drop_missing_option, json_option, missing_option
from .output import json_ready, number, print_json, print_notes, print_report

if TYPE_CHECKING:
    from ..evaluate import Evaluation

_EPILOG = """\b
Examples:
  xent evaluate predictions.csv --target species
  xent evaluate scores.parquet --target y --probs 'prob_{class}' --by country
  xent evaluate scores.csv --target churned --probs score --positive yes
  xent evaluate logits.npz -o report.html
  xent evaluate predictions.csv -t y --fail-above 0.35

The probabilities of a row must sum to one within 0.00001. Nothing is clipped: a label that was given probability 0
costs infinity, and its row is told. What a perfectly calibrated model of the same size would show stands beside every
figure of calibration.
"""

_SUFFIXES = (".html", ".json", ".md", ".csv")


@click.command("evaluate", epilog=_EPILOG)
@click.argument("file")
@click.option("--target", "-t", metavar="COLUMN", help="The column of labels (the array, of .npz and .safetensors).")
@click.option(
    "--probs",
    "-p",
    metavar="PATTERN",
    help="Columns of probabilities, * or {class} for the class (p_* by default); or a single column, of lists or of "
    "--positive; or an array.",
)
@click.option("--positive", metavar="LABEL", help="The class of a single column; needless for 0/1 and false/true.")
@click.option(
    "--kind",
    type=click.Choice(("probabilities", "log", "logits")),
    help="What the numbers are; logits are never guessed in a table.",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    help="The classes of lists or an array, in their order; of a pattern, those to take.",
)
@click.option("--by", multiple=True, metavar="COLUMN", help="Judge the slices of this column too; may be repeated.")
@click.option("--weight", metavar="COLUMN", help="What each row counts for; panels that only count rows are left out.")
@click.option("--id", "ids", multiple=True, metavar="COLUMN", help="Tell this column of the most surprising rows.")
@click.option("--output", "-o", metavar="PATH", help="Write the whole report: .html (one page), .json, .md or .csv.")
@click.option("--fail-above", type=float, metavar="NATS", help="Exit with 1 where the cross-entropy is above this.")
@click.option("--seed", default=0, show_default=True, help="Of the draws of a calibrated model.")
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
    target: str | None,
    output: str | None,
    by: tuple[str, ...],
    ids: tuple[str, ...],
    fail_above: float | None,
    pairs: bool,
    seed: int,
    classes: str | None,
    as_json: bool,
    **reading: Any,
) -> int:
    """Judge anybody's predicted probabilities.

    Prints a verdict in words, the cross-entropy with its interval, where it comes from, whether the probabilities can
    be trusted, and who carries the loss.
    """
    if pairs:  # xent verify has more options
        from .verify import run_verify

        if reading["weight"] is not None:
            raise click.UsageError("--pairs takes no --weight")
        score = None if reading["probs"] == "p_*" else reading["probs"]
        run_verify(file, score, target, None, None, None, (), 0.95, 1000, 0, output, reading["missing"], as_json)
        return 0
    if target is None and not file.endswith((".npz", ".safetensors")):
        raise click.UsageError("Missing option '--target' / '-t'.")
    if reading["weight"] is not None:
        _check_weighted(ids)
    if fail_above is not None and math.isnan(fail_above):
        raise click.UsageError("--fail-above needs a number of nats, got nan")
    if output is not None:
        _check_output(output, file)
    evaluation, notes = _judge(
        file, seed, by, ids, target=target, classes=tuple(classes.split(",")) if classes else None, **reading
    )
    document = {"file": file, "target": target, **evaluation.to_dict(), "notes": notes}
    if output is not None:
        _write(output, evaluation, document)
        notes = [*notes, f"written to {output}"]
    if as_json:
        print_json(document)
    else:
        print_report(f"Figures of {file}", evaluation)
    print_notes(notes)
    if fail_above is not None and not evaluation.cross_entropy <= fail_above:
        click.echo(f"Failed: cross-entropy {number(evaluation.cross_entropy)} is above {fail_above:g} nats.", err=True)
        return 1
    return 0


def _judge(
    file: str, seed: int, by: tuple[str, ...], ids: tuple[str, ...], **reading: Any
) -> tuple[Evaluation, list[str]]:
    """Read the file part by part and judge it; with what is to be noted."""
    from ..evaluate import Collector, WeightedCollector
    from ..tabular.errors import TableError
    from ..tabular.prediction_files import Options, open_predictions

    found = open_predictions(file, Options(columns=tuple(dict.fromkeys((*by, *ids))), **reading))
    weighted = WeightedCollector(found.classes, kind=found.kind, seed=seed)
    collector = Collector(found.classes, kind=found.kind, seed=seed)
    try:
        for part in found.parts():
            p, slices = part.predictions, {c: part.columns[c] for c in by}
            if part.weights is not None:
                weighted.add(p.target, p.values, part.weights, by=slices, rows=p.rows)
                continue
            carried = {c: part.columns[c] for c in ids}
            collector.add(p.target, p.values, by=slices, carried=carried, rows=p.rows)
    except ValueError as error:
        raise error if isinstance(error, TableError) else TableError(str(error), where=file) from error
    method = {"input": file, "input_sha256": found.sha256, "took": found.took}
    if reading["weight"] is None:
        return collector.finish(method), [found.took, *found.notes]
    try:
        evaluation = weighted.finish({**method, "weight": reading["weight"]})
    except ValueError as error:
        raise TableError(str(error), where=file) from error
    return evaluation, [found.took, *found.notes, f"left out: {evaluation.method['left_out']}"]


def _check_weighted(ids: tuple[str, ...]) -> None:
    """Refuse what tells of panels that take no weights."""
    if ids:
        raise click.UsageError("--id tells of the most surprising rows, which are not listed with --weight")


def _check_output(output: str, file: str) -> None:
    """Refuse an output that cannot be written, or is the input, before the work is done."""
    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError

    suffix = Path(output).suffix.lower()
    if suffix not in _SUFFIXES:
        raise TableError(
            f"the ending {suffix!r} names no report", where=output, todo=f"Endings: {', '.join(_SUFFIXES)}."
        )
    check_writable(output, file)


def _write(output: str, evaluation: Evaluation, document: dict[str, Any]) -> None:
    import csv
    import io
    import json

    from ..tabular.atomic import write_whole

    suffix = Path(output).suffix.lower()
    if suffix == ".html":
        text = evaluation.to_html()
    elif suffix == ".json":
        text = json.dumps(json_ready(document), ensure_ascii=False, indent=1) + "\n"
    elif suffix == ".md":
        text = evaluation.to_markdown()
    else:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(("panel", "item", "value"))
        writer.writerows(evaluation.to_rows())
        text = buffer.getvalue()
    write_whole(output, lambda path: path.write_text(text, encoding="utf-8"))
