"""Kernels: the operations that cost time, behind one contract (`contract`), and which of them to use (`select`)."""

from __future__ import annotations

import importlib
import os
from typing import Any, NamedTuple

import numpy as np

from .contract import (
    HALVES,
    Backend,
    Curvatures,
    Directions,
    LinearGrads,
    Need,
    RowStats,
    Slopes,
    Target,
    dtype_name,
    narrowed,
    widened,
)
from .threads import get_num_threads, set_num_threads

__all__ = [
    "HALVES",
    "Backend",
    "Curvatures",
    "Directions",
    "LinearGrads",
    "Need",
    "RowStats",
    "Selection",
    "Slopes",
    "Target",
    "dtype_name",
    "get_num_threads",
    "narrowed",
    "select",
    "set_num_threads",
    "widened",
]

# name: the dtypes it takes (None: any floating dtype)
_BACKENDS: dict[str, tuple[str, ...] | None] = {"cpu": ("float32", "float64", "bfloat16", "float16"), "reference": None}


class Selection(NamedTuple):
    """A backend, and why it was chosen."""

    backend: Backend
    reason: str


def select(name: str | None = None, *, dtype: Any = np.float64) -> Selection:
    """The backend to use for arrays of this dtype, with the reason.

    Parameters
    ----------
    name : "cpu", "reference" or None
        Ask for one by name; None leaves the choice to ``XENT_BACKEND`` and then to the rules.
    dtype : NumPy dtype of the logits or features

    Raises
    ------
    ValueError
        No such backend.
    TypeError
        The backend asked for cannot do this dtype; the message names who can.

    Examples
    --------
    >>> select(dtype="float32").reason
    'cpu: the native kernels take float32'
    """
    asked = name or os.environ.get("XENT_BACKEND") or None
    kind = dtype_name(dtype)
    able = [b for b, dtypes in _BACKENDS.items() if dtypes is None or kind in dtypes]
    if asked is not None and asked not in _BACKENDS:
        raise ValueError(f"no backend {asked!r}: there are {', '.join(_BACKENDS)}")
    if np.dtype(dtype).kind != "f" and kind not in HALVES:
        raise TypeError(f"kernels take floating arrays, not {kind}")
    if asked is not None and asked not in able:
        raise TypeError(f"the {asked} backend cannot take {kind}: {', '.join(able)} can")
    chosen = asked or able[0]
    if name:
        reason = f"{chosen}: asked for by name"
    elif asked:
        reason = f"{chosen}: XENT_BACKEND says so"
    elif chosen == "cpu":
        reason = f"cpu: the native kernels take {kind}"
    else:
        reason = f"{chosen}: no faster backend takes {kind}"
    backend: Any = importlib.import_module(f".{chosen}", __name__)
    return Selection(backend, reason)
