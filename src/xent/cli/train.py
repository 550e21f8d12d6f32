"""``xent train``."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import drop_missing_option, json_option, missing_option, pairs
from .output import Rows, evaluation_rows, number, print_json, print_notes, print_table, progress_bar

if TYPE_CHECKING:
    from ..tabular.training import TrainResult

_EPILOG = """\b
Examples:
  xent train digits
  xent train birds.csv --target species -o birds.xent --report birds.html
  xent train sales.parquet --target paid --drop customer --type zip=category
  xent train huge.csv.gz --target y --c 1 --json > figures.json

TABLE is a CSV, TSV, Parquet, Arrow/Feather, JSON lines or JSON file (text files also as .gz or .zst), "-" for standard
input, or one of the sets iris, wine, breast_cancer, digits.

Skill is 1 - cross-entropy / entropy of the labels of the same rows: 100 % is perfect, 0 % is knowing nothing.
"""


@click.command("train", epilog=_EPILOG)
@click.argument("table")
@click.option("--target", "-t", metavar="COLUMN", help="The column to predict. The built-in sets know theirs.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), help="The model file; TABLE's name with .xent if not given."
)
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write a web page on the held-out part: every panel of xent evaluate, the coefficients, what preprocessing "
    "decided, the tuning curve.",
)
@click.option("--test", default=0.2, show_default=True, help="Share of the rows held out for the figures; 0 for none.")
@click.option("--folds", default=5, show_default=True, help="Folds of the cross-validation.")
@click.option("--c", "--C", "fixed_c", type=float, help="Fix C, the inverse strength of the penalty; nothing is tuned.")
@click.option(
    "--grid",
    metavar="C,C,...",
    help="Values of C to try. [default: ten from 0.0001 to 10000, then six around the best]",
)
@click.option("--select", type=int, metavar="N", help="Keep the N features with the largest ANOVA F.")
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="COLUMN=KIND",
    callback=pairs,
    help="Take a column for a number, category or date, or drop it.",
)
@click.option("--drop", multiple=True, metavar="COLUMN", help="Leave a column out.")
@click.option("--drop-class", multiple=True, metavar="LABEL", help="Leave the rows of a class out.")
@click.option("--min-category", default=2, show_default=True, help="Rarer values of a category share one level.")
@click.option("--max-levels", default=100, show_default=True, help="Levels of a category beyond so many share one.")
@drop_missing_option
@missing_option
@click.option("--seed", default=0, show_default=True, help="Of the split and the folds.")
@click.option("--force", is_flag=True, help="Replace an output file that is not an xent model.")
@json_option
def command(
    table: str,
    target: str | None,
    output: Path | None,
    fixed_c: float | None,
    grid: str | None,
    force: bool,
    report: Path | None,
    missing: tuple[str, ...],
    as_json: bool,
    **rest: Any,
) -> None:
    """Train, tune and judge a classifier on a table.

    Types the columns, fills and standardises, holds out a test part, tunes the penalty by cross-validation, fits, and
    prints what the predictions of the test part cost. The model is stored without pickle.
    """
    from ..tabular.atomic import write_whole
    from ..tabular.read import read_table
    from ..tabular.store import save_model
    from ..tabular.training import TrainOptions, train
    from ..tabular.values import nfc

    if fixed_c is not None and grid is not None:
        raise click.UsageError("--c and --grid exclude each other")
    values = (fixed_c,) if fixed_c is not None else _numbers(grid) if grid is not None else None
    options = TrainOptions(grid=values, report=report is not None, **rest)
    if report is not None:
        _check_report(report, table, output)
    start = time.perf_counter()
    with progress_bar(enabled=not as_json) as progress:
        text = [nfc(name) for name, kind in options.types.items() if kind == "category"]
        loaded = read_table(table, missing=missing, text_columns=text)
        target = target or loaded.target
        if target is None:
            raise click.UsageError(
                f"--target COLUMN is needed; the columns are: {', '.join(loaded.frame.columns[:20])}"
            )
        path = output or Path(f"{loaded.stem}.xent")
        replaced = _check_output(path, table, force)
        read = time.perf_counter() - start
        result = train(loaded, target, options, progress=progress)
    save_model(result.model, path)
    if report is not None:
        write_whole(report, partial(_write, result.to_html(loaded.name)))
    seconds = {"read": read, **result.seconds, "total": time.perf_counter() - start}
    if as_json:
        print_json(
            {
                **result.to_dict(),
                "seconds": seconds,
                "model": str(path),
                "replaced": replaced,
                "report": str(report) if report else None,
            }
        )
        return
    _print(result, [("model", str(path)), *([("report", str(report))] if report else [])], seconds)
    print_notes([*result.notes, *([f"{path} replaced an older model"] if replaced else [])])


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--grid needs numbers separated by commas, not {text!r}") from None


def _check_output(path: Path, table: str, force: bool) -> bool:
    """Refuse to write over anything but a model, before an hour of training; say whether one is replaced."""
    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError
    from ..tabular.store import is_model

    check_writable(path)
    if not path.is_file():
        return False
    if Path(table).exists() and path.samefile(table):
        raise TableError("the model would be written over the table", where=str(path))
    if not is_model(path) and not force:
        raise TableError(
            "the file is there and is not an xent model", where=str(path), todo="Replace it with --force, or use -o."
        )
    return True


def _check_report(path: Path, table: str, output: Path | None) -> None:
    """Refuse a report that cannot be written, or that would take another file's place, before an hour of training."""
    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError

    if path.suffix.lower() != ".html":
        raise TableError(f"the ending {path.suffix!r} names no report", where=str(path), todo="Its ending is .html.")
    check_writable(path)
    for other in (Path(table), output):
        if other is not None and other.resolve() == path.resolve():
            raise TableError(f"the report would be written over {str(other)!r}", where=str(path))


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def _print(result: TrainResult, files: Rows, seconds: dict[str, float]) -> None:
    used = sum(c.kind.used for c in result.columns)
    dropped = len(result.columns) - used
    print_table(
        f"Columns: {used} used, {dropped} dropped",
        ("column", "kind", "why", "missing"),
        _column_rows(result),
    )
    model = result.model
    rows: Rows = [
        ("target", repr(model.target), f"{len(model.classes)} classes: {_listed(model.class_names)}"),
        ("rows", f"{result.rows['train']} training", f"{result.rows['test']} test"),
        ("features", str(len(model.preprocessor.keep)), "columns of the matrix"),
        ("C", f"{model.penalty_c:g}", _curve_text(result)),
    ]
    click.echo()
    print_table("Model", ("", "", ""), rows)
    click.echo()
    source = "the test part" if result.source == "test" else "cross-validation (C was chosen on the same folds)"
    print_table(f"Figures of {source}", ("", "", ""), evaluation_rows(result.evaluation, result.prior_cross_entropy))
    click.echo()
    parts = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items() if name != "total")
    print_table("", ("", ""), [("time", f"{seconds['total']:.2f} s ({parts})"), *files])


def _column_rows(result: TrainResult) -> Rows:
    """One row a column; many numbers in a row are told once, so that 64 pixels do not hide the rest."""
    rows: Rows = []
    columns = result.columns
    place = 0
    while place < len(columns):
        c = columns[place]
        end = place
        while end + 1 < len(columns) and (columns[end + 1].kind, columns[end + 1].reason, columns[end + 1].missing) == (
            c.kind,
            c.reason,
            c.missing,
        ):
            end += 1
        name = c.name if end - place < 4 else f"{c.name} ... {columns[end].name} ({end - place + 1})"
        end = end if end - place >= 4 else place
        kind = str(c.kind) if c.kind.used or c.kind == "dropped" else f"{c.kind}, dropped"
        rows.append((name, kind, c.reason, str(c.missing) if c.missing else ""))
        place = end + 1
    return rows


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _curve_text(result: TrainResult) -> str:
    if not result.curve:
        return "fixed"
    best = min(result.curve, key=lambda p: p.cross_entropy)
    return f"best of {len(result.curve)} by cross-validation: {number(best.cross_entropy)} nats"
