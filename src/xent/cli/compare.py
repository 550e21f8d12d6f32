"""``xent compare``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import drop_missing_option, json_option, missing_option
from .output import Rows, json_ready, number, print_json, print_notes, print_table

if TYPE_CHECKING:
    from ..evaluate.compare import Comparison, Pair, Part

_EPILOG = """\b
Examples:
  xent compare logistic.csv forest.csv --target species --id row
  xent compare a.parquet b.parquet c.parquet -t y --cluster patient --by hospital
  xent compare a.csv b.csv -t y --probs score --positive yes --json
  xent compare a.csv net.npz -t y --kind net=logits --probs net=logits

Two models are compared row by row, on the same rows, so the error of their difference is far smaller than those of the
two cross-entropies. Rows are matched by --id; without it the files must hold the same labels in the same order. Models
that cannot be told apart share a rank; p is Holm's, corrected for the number of pairs.
"""


_PICTURES = (".png", ".svg", ".pdf")


@click.command("compare", epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="A B [C ...]")
@click.option("--target", "-t", metavar="COLUMN", help="The column (or array) of labels, in every file.")
@click.option("--id", "id_column", metavar="COLUMN", help="Match rows by this column; each value once in a file.")
@click.option(
    "--probs",
    "-p",
    multiple=True,
    metavar="[NAME=]PATTERN",
    help="As xent evaluate takes it, p_* by default; NAME=PATTERN for the file of that name alone; may be repeated.",
)
@click.option(
    "--kind",
    multiple=True,
    metavar="[NAME=]KIND",
    help="What the numbers are: probabilities, log or logits; NAME=KIND for one file; may be repeated.",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    help="The classes of lists or an array, in their order; of a pattern, those to take.",
)
@click.option("--positive", metavar="LABEL", help="The class of a single column; needless for 0/1 and false/true.")
@click.option("--normalize", is_flag=True, help="Divide each row by its sum instead of refusing it.")
@click.option("--cluster", metavar="COLUMN", help="Rows of one value may depend on each other (of the first file).")
@click.option(
    "--by", multiple=True, metavar="COLUMN", help="Differences by the values of a column (of the first file)."
)
@click.option(
    "--output",
    "-o",
    metavar="PATH",
    help="Write all figures (.json), or the picture of the models' reliability over each other (.png, .svg, .pdf).",
)
@click.option("--level", default=0.95, show_default=True, help="Of the intervals and the tests.")
@drop_missing_option
@missing_option
@json_option
def command(
    files: tuple[str, ...],
    target: str | None,
    id_column: str | None,
    probs: tuple[str, ...],
    kind: tuple[str, ...],
    classes: str | None,
    positive: str | None,
    normalize: bool,
    cluster: str | None,
    by: tuple[str, ...],
    output: str | None,
    level: float,
    drop_missing: bool,
    missing: tuple[str, ...],
    as_json: bool,
) -> None:
    """Whether one model really beats another.

    Prints the cross-entropy of each file's predictions, and of each two their difference with its interval and test,
    the share of rows won, and where each wins.
    """
    if len(files) < 2:
        raise click.UsageError("two files or more are compared")
    if not 0 < level < 1:
        raise click.UsageError(f"--level must lie between 0 and 1, got {level}")
    if target is None and not all(f.lower().endswith((".npz", ".safetensors")) for f in files):
        raise click.UsageError("Missing option '--target' / '-t'.")
    if output is not None:
        _check_output(output, files)
    from dataclasses import replace

    from ..evaluate.compare import compare_losses
    from ..evaluate.overlay import overlay
    from ..tabular.aligned import read_aligned

    found = read_aligned(
        files,
        target,
        probs,
        kind=kind,
        classes=classes.split(",") if classes else None,
        id_column=id_column,
        columns=tuple(dict.fromkeys([*([cluster] if cluster else []), *by])),
        positive=positive,
        normalize=normalize,
        drop_missing=drop_missing,
        missing=missing,
    )
    result = compare_losses(
        found.losses,
        classes=found.labels,
        clusters=found.columns[cluster] if cluster else None,
        slices={name: found.columns[name] for name in by},
        level=level,
    )
    result = replace(result, reliability=overlay(found.scores, found.event))
    document = {"files": list(files), "unit": "nats", **result.to_dict(), "notes": found.notes}
    if output is not None:
        _write(output, result, document)
    if as_json:
        print_json(document)
        return
    _print(result)
    print_notes([*found.notes, *_notes(result), *([f"written to {output}"] if output is not None else [])])


def _check_output(output: str, files: Sequence[str]) -> None:
    """Refuse an output that cannot be written, or is an input, before the work is done."""
    from importlib.util import find_spec

    from ..tabular.atomic import check_writable
    from ..tabular.errors import TableError

    ending = Path(output).suffix.lower()
    if ending not in (".json", *_PICTURES):
        endings = ", ".join((".json", *_PICTURES))
        raise TableError(f"the ending {ending!r} names nothing to write", where=output, todo=f"Endings: {endings}.")
    if ending in _PICTURES and find_spec("matplotlib") is None:
        raise TableError("the picture needs matplotlib", where=output, todo='Install it: pip install "xent[plot]".')
    check_writable(output, *files)


def _write(output: str, result: Comparison, document: dict[str, Any]) -> None:
    import json

    from ..tabular.atomic import write_whole

    ending = Path(output).suffix.lower()
    if ending == ".json":
        text = json.dumps(json_ready(document), ensure_ascii=False, indent=1) + "\n"
        write_whole(output, lambda path: path.write_text(text, encoding="utf-8"))
        return
    import matplotlib

    matplotlib.use("Agg")
    figure = result.plot().figure
    write_whole(output, lambda path: figure.savefig(path, format=ending[1:], dpi=150))


def _print(result: Comparison) -> None:
    clusters = f" in {result.clusters} clusters" if result.clusters is not None else ""
    print_table(
        f"{len(result.models)} models on {result.rows} rows{clusters}",
        ("rank", "model", "cross-entropy", "impossible"),
        [(str(m.rank), m.name, _with_error(m.cross_entropy, m.error), str(m.impossible) if m.impossible else "")
         for m in result.models],
    )  # fmt: skip
    print_table(
        f"Differences in nats, {result.level:.0%} intervals" if len(result.pairs) > 1 else "The difference",
        ("", "difference", "interval", "p", "rows won", ""),
        [(f"{p.first} - {p.second}", number(p.difference), _interval(p.interval) + _short(p), _p(p.p_adjusted),
          f"{p.won:.1%}" + (f", {p.tied:.1%} tied" if p.tied else ""), _verdict(p)) for p in result.pairs],
    )  # fmt: skip
    if result.reliability is not None:
        _print_reliability(result.reliability, [m.name for m in result.models])
    best = result.models[0].name
    for pair in result.pairs:
        if best not in (pair.first, pair.second):
            continue
        for title, parts in (("label", pair.classes), *pair.slices.items()):
            if len(parts) > 1:
                header = (title, "rows", "difference", "interval", f"{pair.first} lost less", "")
                print_table(f"{pair.first} - {pair.second} by {title}", header, _part_rows(parts, pair))


def _part_rows(parts: Sequence[Part], pair: Pair, most: int = 20) -> Rows:
    """The parts with the largest differences, counted with their rows."""

    def weight(part: Part) -> float:
        if any(part.infinite):
            return -math.inf
        return -abs(part.difference) * part.rows if not math.isnan(part.difference) else 0.0

    rows: Rows = []
    for part in sorted(parts, key=weight)[:most]:
        low, high = part.interval
        better = pair.first if high < 0 else pair.second if low > 0 else ""
        said = _impossible(part, pair) if any(part.infinite) else f"{better} better" if better else ""
        won = "" if math.isnan(part.won) else f"{part.won:.1%}"
        rows.append(
            (part.name, str(part.rows), number(part.difference), _interval(part.interval) + _short(part), won, said)
        )
    if len(parts) > most:
        rows.append((f"and {len(parts) - most} more", "", "", "", "", "--json has all"))
    return rows


def _impossible(part: Part, pair: Pair) -> str:
    """Who gave probability 0 to what happened, and what the other rows say."""
    first, second, both = part.infinite
    who = [f"{n} in {k}" for n, k in ((pair.first, first + both), (pair.second, second + both)) if k]
    difference, low, high = part.finite
    rest = "" if math.isnan(difference) else f"; the other rows {number(difference)} {_interval((low, high))}".rstrip()
    return f"probability 0: {', '.join(who)}{rest}"


def _print_reliability(panel: dict[str, Any], names: Sequence[str]) -> None:
    rows: Rows = []
    for name in names:
        m = panel["models"][name]
        rows.append((name, f"{m['mean_predicted']:.1%}", f"{m['observed_share']:.1%}", number(m["calibration_error"]),
                     number(m["expected_if_calibrated"]), _p(m["p_value"])))  # fmt: skip
    header = ("", "predicted", "happened", "calibration error", "by chance", "p")
    print_table(f"Calibration, of {panel['event']}", header, rows)


def _verdict(pair: Pair) -> str:
    if not pair.distinguishable:
        return "cannot be told apart"
    return f"{pair.first} is better" if pair.difference < 0 else f"{pair.second} is better"


def _notes(result: Comparison) -> list[str]:
    notes = []
    every: list[Pair | Part] = [*result.pairs]
    for p in result.pairs:
        every += [*p.classes, *(part for parts in p.slices.values() for part in parts)]
    if any(map(_short, every)):
        notes.append(
            "an interval may be too short, and p too small, where fewer than 5 rows had a label that either model "
            "gave less than one half: it knows nothing of costly rows that chance kept away"
        )
    for pair in result.pairs:
        first, second, both = pair.infinite
        if first or second or both:
            notes.append(
                f"{pair.first} and {pair.second}: probability 0 was given to the label in {first} rows by the first "
                f"alone, {second} by the second alone, {both} by both, so a cross-entropy is infinite; on the other "
                f"{pair.finite.rows} rows the difference is {number(pair.finite.difference)} "
                f"{_interval(pair.finite.interval)}"
            )
    return notes


def _with_error(value: float, error: float) -> str:
    return number(value) if math.isnan(error) else f"{number(value)} ± {number(error)}"


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"


def _short(part: Pair | Part) -> str:
    """Said of an interval where too few rows were costly; a tie in every row needs no word."""
    from ..evaluate.rare import FEW

    known = not math.isnan(part.interval[0]) and (part.difference != 0 or part.error > 0)
    return ", may be too short" if known and part.costly < FEW else ""


def _p(p: float) -> str:
    return "" if math.isnan(p) else "< 0.0001" if p < 1e-4 else f"{p:.4f}"
