"""What the best recalibration would save: a panel from a sample of the rows, within the time of a report.

Every method is cross-fitted, that is judged on rows which its map has not seen. Methods that would take longer than all
the rest of the report are left out, and the panel says which.
"""

from __future__ import annotations

from typing import Any

from .._blas import one_blas_thread
from .inputs import log_probabilities
from .recalibration import cross_fitted, default_methods
from .sample import RowSample

FOLDS = 5
FEWEST = 10 * FOLDS
"""Rows below which no map is worth fitting."""
_NUMBERS, _FEWEST_MANY, _MOST_NUMBERS = 50_000, 2000, 2_000_000
_TOLD = 1000  # numbers of a map that are told
_DEAR: dict[str, str] = {
    "vector": "more than 100 classes",
    "isotonic": "more than 100 classes",
    "dirichlet": "rows times squared classes above 60000",
}


def sample_size(classes: int) -> int:
    """Rows that are kept for the fits.

    >>> sample_size(2), sample_size(10), sample_size(1000), sample_size(50_000)
    (25000, 5000, 2000, 40)
    """
    return min(max(_NUMBERS // classes, _FEWEST_MANY), _MOST_NUMBERS // classes)


def recalibration_panel(
    sample: RowSample, classes: int, kind: str, seed: int, level: float, names: list[str]
) -> tuple[dict[str, Any] | None, str]:
    """Return the panel and one line on how it came about.

    Parameters
    ----------
    sample : RowSample
        With the columns labels and values; and weights, where rows have them.
    kind : str
        What the values are, one of `loss.KINDS`.

    Returns
    -------
    panel : dict or None
        `CrossFitted.to_dict`, where ``rows`` are those of the sample and ``of_rows`` all of them; ``numbers`` of each
        result counts its map's numbers, whose ``parameters`` are told up to a thousand; ``left_out``, a list of
        {method, reason}. None for fewer than 50 rows.
    note : str
    """
    columns = sample.columns()
    rows = len(columns[0]) if columns else 0
    if rows < FEWEST:
        return None, f"not tried: {rows} row{'' if rows == 1 else 's'} kept, {FEWEST} are needed"
    labels, values, *weights = columns
    if weights and (weights[0] > 0).sum() < FEWEST:
        return None, f"not tried: fewer than {FEWEST} rows of weight above 0 kept"
    logs = log_probabilities(values, kind)
    zeros = bool((logs == -float("inf")).any())
    left_out = [m for m in default_methods(classes, zeros) if _dear(m, rows, classes)]
    methods = [m for m in default_methods(classes, zeros) if m not in left_out]
    if "dirichlet" in methods:
        from ..solvers import lbfgs  # noqa: F401 - loads SciPy's BLAS before threads are limited
    with one_blas_thread():  # a second one spins for longer than these products take
        found = cross_fitted(
            labels, logs, methods, FOLDS, seed, weights=weights[0] if weights else None, level=level, names=names,
            most_rows=rows,
        )  # fmt: skip
    panel = found.to_dict()
    panel["of_rows"] = sample.seen
    for result, own in zip(found.results, panel["results"], strict=True):
        own["numbers"] = sum(_size(v) for v in result.parameters.values())
        if own["numbers"] > _TOLD:
            own["parameters"] = {}
    panel["left_out"] = [{"method": m, "reason": _DEAR[m]} for m in left_out]
    which = f"all {rows} rows" if rows == sample.seen else f"a random {rows} of the {sample.seen} rows"
    note = f"{FOLDS} folds of {which}, seed {seed}"
    if left_out:
        note += "; left out, for their time: " + ", ".join(f"{m} ({_DEAR[m]})" for m in left_out)
    return panel, note


def _dear(method: str, rows: int, classes: int) -> bool:
    if method == "dirichlet":
        return rows * classes**2 > 60_000
    return method in ("vector", "isotonic") and classes > 100


def _size(value: Any) -> int:
    if isinstance(value, list):
        return sum(_size(v) for v in value)
    return int(getattr(value, "size", 1))
