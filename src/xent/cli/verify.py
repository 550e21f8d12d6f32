"""``xent verify``, which is also ``xent evaluate --pairs``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import click

from .options import json_option, missing_option
from .output import Rows, number, print_json, print_notes, print_table

if TYPE_CHECKING:
    from ..evaluate import Verification
    from ..evaluate.pairs import VerificationIntervals

_EPILOG = """\b
Examples:
  xent verify pairs.csv --score similarity --same match
  xent verify pairs.csv --score similarity --same match --subjects left right --far 0.001
  xent verify faces.npz -o det.csv
  xent verify faces.parquet --embedding vector --label person

A pair a row, with a score (higher is more alike) and whether the two are of one class (0/1 or false/true); or a thing
a row with its embedding and its class, where all pairs are judged by their cosines. In a .npz file the arrays are
called embeddings and labels.
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("file")
@click.option("--score", metavar="COLUMN", help="Scores of pairs.  [default: score]")
@click.option("--same", metavar="COLUMN", help="Whether a pair is of one class.  [default: same]")
@click.option("--subjects", nargs=2, metavar="COLUMN COLUMN", help="Whom the two sides of a pair are of.")
@click.option("--embedding", metavar="COLUMN", help="A thing a row: the column of lists of numbers.")
@click.option("--label", metavar="COLUMN", help="Its class.")
@click.option("--far", multiple=True, type=float, help="False accept rates, may be repeated.  [default: 0.01, 0.001]")
@click.option("--level", default=0.95, show_default=True, help="Of the intervals.")
@click.option("--resamples", default=1000, show_default=True, help="Draws of the bootstrap.")
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap.")
@click.option("--output", "-o", metavar="FILE", help="The DET curve as a table.")
@missing_option
@json_option
def command(**options: Any) -> None:
    """Judge scores or embeddings of pairs: same class or not.

    Prints the true accept rate at false accept rates, the equal error rate and the area under the curve, with
    intervals.
    """
    run_verify(**options)


def run_verify(
    file: str,
    score: str | None,
    same: str | None,
    subjects: tuple[str, str] | None,
    embedding: str | None,
    label: str | None,
    far: tuple[float, ...],
    level: float,
    resamples: int,
    seed: int,
    output: str | None,
    missing: tuple[str, ...],
    as_json: bool,
) -> None:
    """Read, judge, print."""
    if (embedding is None) != (label is None):
        raise click.UsageError("--embedding and --label go together")
    if embedding is not None and (score or same or subjects):
        raise click.UsageError("--embedding is for a thing a row, --score, --same and --subjects for a pair a row")
    if resamples < 1:
        raise click.UsageError(f"--resamples must be 1 or more, got {resamples}")
    import warnings

    from ..tabular.errors import TableError
    from ..tabular.pairs import judge, read_pairs
    from ..tabular.write import check_output, write_table

    if output is not None:
        check_output(output, file)
    pairs, notes = read_pairs(file, score or "score", same or "same", subjects, embedding, label, missing=missing)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            result, intervals, curve = judge(pairs, far or (1e-2, 1e-3), level=level, resamples=resamples, seed=seed)
    except ValueError as error:
        raise TableError(str(error), where=file) from None
    notes += [str(w.message) for w in caught]
    if intervals.method.endswith("groups"):
        notes.append(f"there are too many pairs to keep: the intervals draw {intervals.method}")
    elif intervals.method == "independent pairs":
        notes.append("the intervals take pairs for independent; where they share subjects, give --subjects")
    if output is not None:
        write_table(curve, output)
    if as_json:
        print_json({"file": file, **result.to_dict(), "intervals": intervals.to_dict(),
                    "det": curve.to_dict(as_series=False), "notes": notes})  # fmt: skip
        return
    print_table(f"Figures of {file}", ("", "", "interval", ""), _rows(result, intervals))
    print_notes(notes)


def _rows(result: Verification, intervals: VerificationIntervals) -> Rows:
    def written(interval: tuple[float, float]) -> str:
        return f"[{number(interval[0])}, {number(interval[1])}]"

    rows: Rows = []
    for k, f in enumerate(result.far):
        note = "" if math.isinf(result.thresholds[k]) else f"score >= {result.thresholds[k]:.6g}"
        rows.append((f"TAR at FAR {f:g}", number(result.tar[k]), written(intervals.tar[k]), note))
    rows.append(("EER", number(result.eer), written(intervals.eer),
                 f"score >= {result.eer_threshold:.6g}"))  # fmt: skip
    rows.append(("AUC", number(result.auc), written(intervals.auc), ""))
    rows.append(("pairs", str(result.genuine + result.impostor), "",
                 f"{result.genuine} genuine, {result.impostor} impostor"))  # fmt: skip
    grouped = " " + intervals.method.removeprefix("subjects ") if intervals.method.endswith("groups") else ""
    by = f"{intervals.subjects} subjects{grouped}, drawn {intervals.resamples} times"
    rows.append(("intervals", f"{intervals.level:.0%}", "", by if intervals.subjects else intervals.method))
    return rows
