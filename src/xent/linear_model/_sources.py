"""Where a streaming fit reads its rows: arrays, files, batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Numbers of X read at once from a file.
READ = 2**22


class Source:
    """Batches (X, y, sample_weight or None), in the same order each time.

    Attributes
    ----------
    again : bool
        Whether it can be read more than once.
    kept : bool
        Whether its rows are in memory anyway, so that encoding them once costs no more.
    """

    def __init__(self, read: Callable[[], Iterator[Any]], *, again: bool, kept: bool) -> None:
        self.read, self.again, self.kept = read, again, kept

    def batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """Each batch as three."""
        for number, batch in enumerate(self.read()):
            if not isinstance(batch, tuple) or len(batch) not in (2, 3):
                shown = f"a tuple of {len(batch)}" if isinstance(batch, tuple) else type(batch).__name__
                raise TypeError(f"batch {number} is {shown}: each must be (X, y) or (X, y, sample_weight)")
            yield (*batch, None) if len(batch) == 2 else batch


def source_of(X: Any, y: Any, sample_weight: Any) -> Source:
    """What `StreamingClassifier.fit` was given."""
    if _is_path(X):
        path = Path(X)
        if not path.is_file():
            raise ValueError(f"no such file: {str(path)!r}")
        if path.suffix == ".npy":
            return _npy(path, y, sample_weight)
        if path.suffix == ".parquet":
            return _parquet(path, y, sample_weight)
        raise ValueError(
            f"{path.name!r} is neither .npy nor .parquet: give a function that returns an iterator of batches"
        )
    if callable(X):
        _no_more(y, sample_weight)
        return Source(X, again=True, kept=False)
    if hasattr(X, "__iter__") and not any(hasattr(X, name) for name in ("shape", "columns", "__array__")):
        if not isinstance(X, list):
            _no_more(y, sample_weight)
            return Source(lambda: iter(X), again=iter(X) is not X, kept=False)
        if y is None and X and isinstance(X[0], tuple):
            _no_more(y, sample_weight)
            return Source(lambda: iter(X), again=True, kept=True)
    return Source(lambda: iter([(X, y, sample_weight)]), again=True, kept=True)


def _is_path(a: Any) -> bool:
    return isinstance(a, str | os.PathLike)


def _no_more(y: Any, sample_weight: Any) -> None:
    if y is not None or sample_weight is not None:
        raise ValueError("batches bring their own labels and weights: (X, y) or (X, y, sample_weight); leave y out")


def _npy(path: Path, y: Any, sample_weight: Any) -> Source:
    """Features in a .npy file, mapped and read a piece at a time; labels in another one, or an array."""
    X = np.load(path, mmap_mode="r", allow_pickle=False)
    if X.ndim != 2:
        raise ValueError(f"{path.name} holds an array of shape {X.shape}: features are (N, D)")
    if y is None:
        raise ValueError(f"y is missing: the labels of the {len(X)} rows of {path.name}, as a .npy file or an array")
    label, weight = (np.load(a, allow_pickle=False) if _is_path(a) else np.asarray(a) for a in (y, sample_weight))
    if label.shape != (len(X),):
        raise ValueError(f"y has the shape {label.shape}; {path.name} has {len(X)} rows, so it must be ({len(X)},)")
    if sample_weight is not None and weight.shape != (len(X),):
        raise ValueError(f"sample_weight has the shape {weight.shape}; {path.name} has {len(X)} rows")
    step = max(1, READ // max(1, X.shape[1]))

    def read() -> Iterator[Any]:
        for start in range(0, len(X), step):
            rows = slice(start, start + step)
            yield np.array(X[rows]), label[rows], None if sample_weight is None else weight[rows]

    return Source(read, again=True, kept=False)


def _parquet(path: Path, y: Any, sample_weight: Any) -> Source:
    """All columns of a Parquet file but the label's, and the weight's if there is one, are features."""
    import polars as pl

    columns = pl.read_parquet_schema(path)
    for name, what in ((y, "y"), (sample_weight, "sample_weight")):
        if name is None and what == "sample_weight":
            continue
        if not isinstance(name, str) or name not in columns:
            raise ValueError(f"{what} must name a column of {path.name}, which has {', '.join(columns)}; not {name!r}")
    features = [name for name in columns if name not in (y, sample_weight)]
    odd = [name for name in features if not (columns[name].is_numeric() or columns[name] == pl.Boolean)]
    if odd:
        raise ValueError(f"column {odd[0]!r} of {path.name} holds {columns[odd[0]]}, not numbers: encode it first")
    step = max(1, READ // max(1, len(features)))

    def read() -> Iterator[Any]:
        for frame in pl.scan_parquet(path).collect_batches(chunk_size=step, maintain_order=True):
            weight = None if sample_weight is None else frame[sample_weight].to_numpy()
            yield frame.select(features), frame[y].to_numpy(), weight

    return Source(read, again=True, kept=False)
