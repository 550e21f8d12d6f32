"""Saying what differs from the truth, and where."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._textbook import Exact

# How many units in the last place the result of some tens of operations may be off, times the size of its terms.
UNITS = 32


def rounding(dtype: Any) -> float:
    """The relative distance of neighbouring numbers."""
    return float(np.finfo(dtype).eps)


def compare(what: str, found: Any, exact: Exact, dtype: Any, units: float = UNITS) -> None:
    """Raise an AssertionError where `found` is further from the truth than its terms are rounded.

    Parameters
    ----------
    what : str
        What was computed, of what.
    found : array
    exact : the true numbers, and the sizes of their terms
    dtype : of the computation
    units : float
        How many times the rounding of that dtype.
    """
    found, true = np.broadcast_arrays(np.asarray(found, dtype=np.float64), exact.true)
    scale = np.where(np.isfinite(exact.scale), exact.scale, 0)
    # below the smallest normal number the digits run out
    allowed = units * (rounding(dtype) * scale + float(np.finfo(dtype).tiny))
    # what is beyond the largest number is infinite
    beyond = np.abs(true) > float(np.finfo(dtype).max)
    with np.errstate(invalid="ignore"):
        same = (found == true) | (np.isnan(found) & np.isnan(true)) | (np.abs(found - true) <= allowed)
        same |= beyond & (found == np.sign(true) * np.inf)
    if same.all():
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(same, 0, np.abs(found - true) / np.where(allowed > 0, allowed, 1))
    worst = np.nan_to_num(np.where(same, -1, off), nan=np.inf).argmax()
    place = np.unravel_index(worst, np.shape(true))
    at = f"[{', '.join(map(str, place))}]" if place else ""
    one, other = float(found[place]), float(true[place])
    raise AssertionError(
        f"{what}{at} is {one!r}, the truth is {other!r}: off by {abs(one - other):.3g}, allowed are "
        f"{float(np.broadcast_to(allowed, true.shape)[place]):.3g}"
        + (f" ({(~same).sum()} of {same.size} are off)" if same.size > 1 else "")
    )


def relative(found: Any, exact: Exact) -> float:
    """The largest error over the largest number, of what is finite; infinite where something is finite in one only.

    A hundredth of the terms' size counts as a number too: where they add up to nothing, nothing is what remains.
    """
    found, true = np.asarray(found, dtype=np.float64), exact.true
    finite = np.isfinite(true)
    if (np.isfinite(found) != finite).any():
        return float("inf")
    terms = exact.scale[np.isfinite(exact.scale)].max(initial=0) / 100
    size = max(np.abs(true[finite]).max(initial=0), terms)
    off = np.abs(found[finite] - true[finite]).max(initial=0)
    return float(off / size) if size > np.finfo(np.float64).tiny else float(off)


def short(values: Any) -> str:
    """A list with its middle left out where it is long."""
    items = [f"{v:g}" for v in values]
    return f"[{', '.join(items if len(items) <= 8 else [*items[:4], '...', *items[-3:]])}]"


def require(condition: Any, message: str) -> None:
    """Raise an AssertionError with the message unless true; it stays where Python leaves assertions out."""
    if not condition:
        raise AssertionError(message)
