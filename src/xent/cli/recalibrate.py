"""``xent recalibrate``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from .options import drop_missing_option, json_option, missing_option
from .output import Rows, number, print_json, print_notes, print_table

if TYPE_CHECKING:
    from ..evaluate import CrossFitted, Recalibration
    from ..tabular.prediction_files import Options
    from ..tabular.predictions import Predictions

_EPILOG = """\b
Examples:
  xent recalibrate held_out.csv --target species -o map.json
  xent recalibrate held_out.csv --target species --method temperature -o map.json
  xent recalibrate --apply map.json new.csv -o better.csv

FILE must hold rows that the model was not trained on. Losses "after" are those of rows whose map was fitted without
them. The map is a small JSON file of numbers. Nothing is clipped: an event of probability 0 that happened costs
infinity, and only isotonic regression, or a --floor, can mend it.
"""
_METHODS = ["best", "temperature", "platt", "isotonic", "vector", "matrix", "dirichlet"]


@click.command("recalibrate", epilog=_EPILOG)
@click.argument("file")
@click.option("--output", "-o", metavar="FILE", help="The map; with --apply the table, '-' for standard output as CSV.")
@click.option("--apply", "map_file", metavar="MAP", help="Apply this map to FILE instead of fitting one.")
@click.option("--target", "-t", metavar="COLUMN", help="The column of labels; needless with --apply.")
@click.option("--probs", "-p", metavar="PATTERN", help="As xent evaluate takes it, p_* by default; or an array.")
@click.option("--kind", type=click.Choice(("probabilities", "log", "logits")),
              help="What the numbers are; logits are never guessed in a table.")  # fmt: skip
@click.option(
    "--classes",
    metavar="A,B,...",
    help="The classes of lists or an array, in their order; of a pattern, those to take.",
)
@click.option("--positive", metavar="LABEL", help="The class of a single column; needless for 0/1 and false/true.")
@click.option("--method", "-m", type=click.Choice(_METHODS), default="best", show_default=True,
              help="best: the lowest cross-fitted loss.")  # fmt: skip
@click.option("--folds", default=5, show_default=True, help="Folds of the cross-fitting.")
@click.option("--seed", default=0, show_default=True, help="Of the folds.")
@click.option("--group", metavar="COLUMN", help="Rows of one value stay in one fold.")
@click.option("--floor", default=0.0, show_default=True, help="Raise smaller probabilities to this first.")
@click.option("--normalize", is_flag=True, help="Divide each row by its sum instead of refusing it.")
@drop_missing_option
@missing_option
@json_option
def command(
    file: str,
    output: str | None,
    map_file: str | None,
    target: str | None,
    probs: str | None,
    kind: str | None,
    classes: str | None,
    positive: str | None,
    method: str,
    folds: int,
    seed: int,
    group: str | None,
    floor: float,
    normalize: bool,
    drop_missing: bool,
    missing: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make predicted probabilities cost less by a small map.

    Fits temperature, Platt, isotonic, vector or Dirichlet recalibration to predictions and what happened, and says what
    each would have gained on rows it had not seen.
    """
    context = click.get_current_context()
    given = {n for n in ("target", "positive", "method", "folds", "seed", "group", "floor", "drop_missing")
             if context.get_parameter_source(n) != click.core.ParameterSource.DEFAULT}  # fmt: skip
    from ..tabular.prediction_files import ARRAYS, Options

    if map_file is not None:
        if given:
            raise click.UsageError(f"--apply takes no --{sorted(given)[0].replace('_', '-')}: it fits nothing")
        if output is None:
            raise click.UsageError("--apply needs an output, -o FILE")
        options = Options(probs=probs, normalize=normalize, kind=kind, missing=missing,
                          classes=tuple(classes.split(",")) if classes else None)  # fmt: skip
        _apply(file, map_file, output, options, as_json)
        return
    if target is None and not file.endswith(ARRAYS):
        raise click.UsageError("Missing option '--target' / '-t'.")
    from ..evaluate import cross_fitted
    from ..evaluate.recalibration import default_methods
    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError
    from ..tabular.recalibrate import save_map

    if output is not None:
        check_writable(output, file)
    options = Options(target, probs, positive, normalize, drop_missing, kind,
                      tuple(classes.split(",")) if classes else None, missing,
                      (group,) if group is not None else ())  # fmt: skip
    found, groups, read_notes = _read(file, options)
    zeros = bool((found.log_proba == -math.inf).any()) and not floor
    methods = default_methods(len(found.classes), zeros) if method == "best" else (method,)
    try:
        result = cross_fitted(found.target, found.log_proba, methods, folds, seed, groups=groups, floor=floor,
                              names=found.classes)  # fmt: skip
    except ValueError as error:
        raise TableError(str(error), where=file) from None
    chosen = _chosen(result, method, file)
    if output is not None:
        save_map(chosen.map, output)  # type: ignore[arg-type]
    notes = [*read_notes, *_notes(result)]
    if as_json:
        print_json({"file": file, "target": target, "class_names": found.classes, "unit": "nats", **result.to_dict(),
                    "written": chosen.method if output else None, "output": output, "notes": notes})  # fmt: skip
        return
    print_table(f"Recalibration of {file}", ("", "nats", "gain", "interval", "parameters"), _rows(result))
    if output is not None:
        print_table("", ("", ""), [("map", f"{output} ({chosen.method})")])
    print_notes(notes)


def _read(file: str, options: Options) -> tuple[Predictions, Any, list[str]]:
    """The predictions of a table or a file of arrays, the groups of their rows, and notes."""
    from ..tabular.errors import TableError
    from ..tabular.prediction_files import ARRAYS, open_predictions
    from ..tabular.predictions import read_predictions
    from ..tabular.read import read_table

    group = options.columns[0] if options.columns else None
    if file.endswith(ARRAYS):
        opened = open_predictions(file, options)
        part = next(opened.parts())
        return part.predictions, part.columns.get(group) if group else None, [opened.took]
    assert options.target is not None
    table = read_table(file, missing=options.missing)
    found = read_predictions(
        table,
        options.target,
        options.probs or "p_*",
        positive=options.positive,
        normalize=options.normalize,
        drop_missing=options.drop_missing,
        kind=options.kind,
        classes=options.classes,
    )
    groups = None
    if group is not None:
        column = table.require(group).gather(found.rows)
        if column.null_count():
            raise TableError(f"{group!r} is missing in {column.null_count()} rows", where=file)
        groups = column.cast(str).to_numpy()
    return found, groups, [*table.notes, *found.notes]


def _chosen(result: CrossFitted, method: str, file: str) -> Recalibration:
    from ..tabular.errors import TableError

    if method != "best":
        only = result.results[0]
        if only.map is None:
            raise TableError(only.reason, where=file)
        return only
    if result.best is None:
        raise TableError(
            f"no map makes these predictions cost less than {number(result.loss_before)} nats",
            where=file,
            todo="They are best left as they are; --method NAME fits a map all the same.",
        )
    return result.best


def _rows(result: CrossFitted) -> Rows:
    rows: Rows = [("as they are", number(result.loss_before), "", "", "")]
    for r in result.results:
        low, high = r.interval
        interval = "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"
        gain = "" if math.isnan(r.gain) else number(r.gain)
        rows.append((r.method, number(r.loss_after), gain, interval, r.reason or _to_copy(r)))
    return rows


def _to_copy(r: Recalibration) -> str:
    """Parameters that fit a line; larger ones are in the map."""
    p = r.parameters
    if r.method == "temperature":
        return f"T = {p['temperature']:.6g}"
    if r.method == "platt":
        return f"slope {p['slope']:.6g}, intercept {p['intercept']:.6g}"
    if r.method == "isotonic":
        return f"{sum(len(x) for x in p['log_odds'])} knots"
    return f"{sum(v.size for v in p.values())} numbers"


def _notes(result: CrossFitted) -> list[str]:
    notes = []
    if result.rows < result.of_rows:
        notes.append(f"judged and fitted on a random {result.rows} of the {result.of_rows} rows")
    for r in result.results:
        if r.left_out:
            notes.append(
                f"{r.method} cannot mend {r.left_out} rows whose label had probability 0: it was fitted without"
            )
    return notes


def _apply(file: str, map_file: str, output: str, options: Options, as_json: bool) -> None:
    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError
    from ..tabular.prediction_files import ARRAYS
    from ..tabular.read import read_table
    from ..tabular.recalibrate import apply_map, apply_to_arrays, load_map
    from ..tabular.write import check_output, csv_bytes, write_table
    from .predict import _to_stdout as to_stdout

    if output == "-" and as_json:
        raise click.UsageError("--json and -o -: both would go to standard output")
    found = load_map(map_file)
    if file.endswith(ARRAYS):
        if options.normalize or options.missing or options.classes is not None:
            raise TableError("arrays are taken as they are, classes in the map's order: no --normalize, --missing, "
                             "--classes", where=file)  # fmt: skip
        check_writable(output, file, map_file)
        rows, notes = apply_to_arrays(file, output, found, options)
        _say(rows, output, found.method, notes, as_json)
        return
    if output != "-":
        check_output(output, file, map_file)
    table = read_table(file, missing=options.missing)
    frame, notes = apply_map(table, found, options.probs or "p_*", normalize=options.normalize, kind=options.kind,
                             classes=options.classes)  # fmt: skip
    if output == "-":
        to_stdout(csv_bytes(frame))
    else:
        write_table(frame, output)
    _say(frame.height, output, found.method, notes, as_json)


def _say(rows: int, output: str, method: str, notes: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"rows": rows, "output": output, "method": method, "notes": notes})
        return
    print_table("", ("", ""), [("recalibrated", f"{output} ({rows} rows, {method})")], err=output == "-")
    print_notes(notes)
