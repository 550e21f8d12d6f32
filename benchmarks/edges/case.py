"""What a row of the table is: a loss, what it is given, and the truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Length:
    """The length of a gradient of which every direction is as good as another."""

    value: float


@dataclass(frozen=True)
class Truth:
    """The value, and the gradient in what is differentiated; lists for arrays.

    Each entry of a gradient in logits or probabilities counts by itself. One in an embedding is a vector, whose entries
    change with the axes: `size` is what its rounding is measured by as a whole.
    """

    value: Any
    gradient: Any
    size: float | None = None


@dataclass(frozen=True)
class Refused:
    """There is no answer: an error, or NaN in value and gradient where nothing can be raised."""


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes
    ----------
    name : what the reader sees
    loss : a name of the tables of functions in ``with_*.py``
    x : what is differentiated in: logits, probabilities, embeddings or centres
    target : labels where integers, else probabilities, or a teacher's logits
    truth : what the answer is
    options : further arguments; lists are arrays of the same dtype as `x`. The reduction is a sum unless it is here.
    dtype : of `x` and of a target that is not integer
    labels : the dtype of integer targets
    mode : "reverse"; "forward" for one derivative along (1, 2, 3, ...) in place of the gradient; "jit": compiled by JAX
    """

    name: str
    loss: str
    x: Any
    target: Any
    truth: Truth | Refused
    options: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    labels: str = "int64"
    mode: str = "reverse"

    def direction(self, shape: tuple[int, ...]) -> np.ndarray:
        """Where forward mode goes."""
        return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)


class NotOfferedError(Exception):
    """A library has no such function, or no such option of it."""


@dataclass(frozen=True)
class Answer:
    """What a library gave: a value and a gradient, or the name of what it raised."""

    value: Any = None
    gradient: Any = None
    error: str | None = None


# How many units of rounding of the input's dtype an answer may be away, and below what a number counts as zero.
_UNITS = {"float64": 16, "float32": 16, "float16": 2, "bfloat16": 2}
_EPS = {"float64": 2.0**-52, "float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
_TINY = {"float64": 2.0**-1022, "float32": 2.0**-126, "float16": 2.0**-24, "bfloat16": 2.0**-126}


def mark(case: Case, answer: Answer) -> str:
    """Whether an answer is "right", "wrong" or an "error"."""
    if isinstance(case.truth, Refused):
        nothing = answer.error is not None or (np.isnan(answer.value).any() and np.isnan(answer.gradient).any())
        return "right" if nothing else "wrong"
    if answer.error is not None:
        return "error"
    return "right" if value_is_right(case, answer) and gradient_is_right(case, answer) else "wrong"


def value_is_right(case: Case, answer: Answer) -> bool:
    """Whether the value is within the rounding of the truth, and an array where the truth is."""
    return _close(case, np.asarray(answer.value, float), np.asarray(case.truth.value, float))


def gradient_is_right(case: Case, answer: Answer) -> bool:
    """Whether the gradient is; a row that has none needs a NaN somewhere."""
    found, truth = comparable(case, answer)
    if found.ndim == 2 and found.shape == truth.shape and found.size:
        lost = np.isnan(truth).all(axis=1) & np.isnan(found).any(axis=1)
        found = np.where(lost[:, None], np.nan, found)
    return _close(case, found, truth, case.truth.size)


def comparable(case: Case, answer: Answer) -> tuple[np.ndarray, np.ndarray]:
    """The gradient found and the true one as what is compared: themselves, lengths, or slopes of forward mode."""
    found, truth = np.asarray(answer.gradient, float), case.truth.gradient
    if isinstance(truth, Length):
        found, truth = np.linalg.norm(found), truth.value
    elif case.mode == "forward":
        truth = (np.asarray(truth, float) * case.direction(np.shape(truth))).sum()
    return np.asarray(found), np.asarray(truth, float)


def _close(case: Case, found: np.ndarray, truth: np.ndarray, size: float | None = None) -> bool:
    if found.shape != truth.shape:
        return False
    ends = ~np.isfinite(found) | ~np.isfinite(truth)
    same = (found == truth) | (np.isnan(found) & np.isnan(truth))
    with np.errstate(invalid="ignore"):
        allowed = _UNITS[case.dtype] * _EPS[case.dtype] * (np.abs(truth) if size is None else size) + _TINY[case.dtype]
        return bool(np.where(ends, same, np.abs(found - truth) <= allowed).all())
