"""The report of a training: its held-out part judged, and the model's own pages."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from ..evaluate import Collector, Evaluation
from .encoders import CategoryEncoder, DateEncoder, Encoder, NumberEncoder
from .errors import count, some
from .schema import ColumnKind

if TYPE_CHECKING:
    from .training import TrainResult

_CARRIED = 6
_MOST_WORK = 2e10
"""Coefficients squared times rows, above which their errors are not computed: about ten seconds on two cores."""


@dataclass(frozen=True, eq=False)
class Held:
    """What a report needs of a training beyond its result.

    Attributes
    ----------
    log_proba : float64 array of shape (rows, classes)
        Of the judged rows: the test part, or with ``test=0`` every row by the fit that did not see it.
    labels : int64 array of shape (rows,)
    rows : int64 array of shape (rows,)
        Where they are in the table, from 0.
    frame : polars.DataFrame
        The judged rows.
    estimator : LogisticRegression
    matrix : float64 array of shape (training rows, features)
    index : int64 array of shape (training rows,)
        What the estimator was fitted to.
    """

    log_proba: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    frame: pl.DataFrame
    estimator: Any
    matrix: np.ndarray
    index: np.ndarray


def judge(result: TrainResult, held: Held, table: str) -> Evaluation:
    """Make every panel of the judged rows; the first columns of the table are told of the most surprising ones."""
    names = [c.name for c in result.columns if c.kind != ColumnKind.NESTED][:_CARRIED]
    carried = {n: held.frame.get_column(n).cast(pl.String, strict=False).fill_null("").to_numpy() for n in names}
    collector = Collector(result.model.class_names, kind="log")
    collector.add(held.labels, held.log_proba, carried=carried, rows=held.rows)
    judged = "the test part" if result.source == "test" else "every row, by the fit of other folds"
    prior = f"{result.prior_cross_entropy:.4g} nats"
    return collector.finish(
        {"input": table, "judged": judged, "training rows": result.rows["train"], "training labels' shares cost": prior}
    )


def html(result: TrainResult, held: Held, table: str) -> str:
    """Return the report as one web page, with the model's own pages."""
    part = "held out" if result.source == "test" else "cross-validated"
    title = f"{result.model.target} in {table}: {count(len(held.labels), 'row')} {part}"
    return judge(result, held, table).to_html(title=title, model=pages(result, held))


def pages(result: TrainResult, held: Held) -> dict[str, Any]:
    """Return what the model tells of itself, as `xent.evaluate.page.model.pages` takes it."""
    table, said = coefficients(result, held)
    return {
        "coefficients": table,
        "unit": f"{said} A number counts in standard deviations of the training part, a level as 0 or 1.",
        "columns": _columns(result),
        "curve": [asdict(p) for p in result.curve],
        "c": result.model.penalty_c,
        "notes": result.notes,
    }


def coefficients(result: TrainResult, held: Held) -> tuple[list[dict[str, Any]], str]:
    """Return each coefficient with its interval where one can be had, and in words what they are.

    The fit has a penalty, which draws coefficients towards zero: the interval is the spread of the penalised ones
    (`LogisticRegression.summary` with ``penalized``), and the words say so.
    """
    model, features = result.model, result.model.preprocessor.names
    work = float(model.coef.size) ** 2 * len(held.index)
    why = f"No intervals: {model.coef.size} coefficients of {len(held.index)} rows take too long."
    if work <= _MOST_WORK:
        try:
            found = held.estimator.summary(held.matrix, held.index, penalized=True)
        except ValueError as error:
            why = f"No intervals: {error}."
        else:
            numbers = np.stack([found.coefficient, found.lower, found.upper], axis=2).tolist()
            table = [
                _entry(model.class_names[int(one)], name, *numbers[r][j])
                for r, (one, _) in enumerate(found.classes)
                for j, name in enumerate(features)
            ]
            said = (
                f"Log-odds against {model.class_names[int(found.classes[0][1])]}, in nats, with the spread (95 %) of "
            )
            return table, f"{said}penalised coefficients, which the penalty draws towards zero."
    names = model.class_names[1:] if len(model.coef) == 1 else model.class_names
    table = [
        _entry(name, feature, float(value), None, None)
        for name, row in zip(names, model.coef, strict=True)
        for feature, value in zip(features, row, strict=True)
    ]
    against = model.class_names[0] if len(model.coef) == 1 else "the mean of all classes"
    return table, f"Log-odds against {against}, in nats. {why}"


def _entry(name: str, feature: str, value: float, low: float | None, high: float | None) -> dict[str, Any]:
    return {"class": name, "feature": feature, "coefficient": value, "low": low, "high": high}


def _columns(result: TrainResult) -> list[dict[str, Any]]:
    made = {e.name: _made(e) for e in result.model.preprocessor.encoders}
    needed = set(result.model.preprocessor.needed)
    return [
        {
            "name": c.name,
            "kind": str(c.kind),
            "reason": c.reason,
            "missing": c.missing,
            "made": made[c.name] if c.name in needed else "none",
        }
        for c in result.columns
    ]


def _made(encoder: Encoder) -> str:
    """Say what became of a column."""
    gaps = "; missing is told apart" if encoder.gaps else ""
    if isinstance(encoder, CategoryEncoder):
        rest = "; rarer ones share one" if encoder.other else ""
        return f"{count(len(encoder.levels), 'level')}: {some(encoder.levels)}{rest}{gaps}"
    filled = f"missing as {encoder.median:.4g}, the median" if encoder.gaps else ""
    if isinstance(encoder, NumberEncoder):
        return "; ".join(filter(None, ["the number", filled])) + gaps
    assert isinstance(encoder, DateEncoder)
    return ", ".join(["days since 1970-01-01", *encoder.parts]) + gaps
