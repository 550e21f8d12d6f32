"""Targets of a few classes a row, such as the largest probabilities of a teacher."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from .._arrays import Array
from ._arguments import (
    as_array,
    as_floats,
    check_choice,
    first,
    integers,
    is_integer,
    number,
    row_name,
    tolerance,
    wide,
    wrong,
)


@dataclass(frozen=True, eq=False)
class TopK:
    """A target that names k classes of each row and their probabilities: no array (..., K) is made of it.

    Parameters
    ----------
    indices : integer array (..., k)
        Classes, 0 ... K - 1, none twice in a row.
    probs : floating array (..., k)
        Their probabilities.
    rest : "zero" or "spread"
        What the other classes have: nothing, then the probabilities of a row sum to one; or equal parts of what is
        left to one.

    Raises
    ------
    ValueError
        When used: shapes that do not fit, an index outside 0 ... K - 1 or twice in a row, sums that are not one (or are
        above one).

    Examples
    --------
    >>> import xent
    >>> target = TopK([[2, 0]], [[0.75, 0.25]])
    >>> round(float(xent.cross_entropy([[0.0, 0.0, 0.0, 0.0]], target)), 4)  # log 4
    1.3863
    """

    indices: Any
    probs: Any
    rest: Literal["zero", "spread"] = "zero"

    def __post_init__(self) -> None:
        check_choice("rest", self.rest, ("zero", "spread"))

    @property
    def spread(self) -> bool:
        """Whether the other classes have something."""
        return self.rest == "spread"

    def read(self, xp: Any, logits: Array, leading: tuple[int, ...], K: int) -> tuple[Array, Array]:
        """Flat indices and probabilities (N, k) beside logits."""
        index = as_array(xp, self.indices, logits)
        probs = as_floats("probs", self.probs, xp, logits)
        shape, other = tuple(index.shape), tuple(probs.shape)
        if shape != other or shape[:-1] != leading or not 1 <= (shape[-1] if shape else 0) <= K:
            raise ValueError(
                f"indices and probs of a TopK target must both have the shape {(*leading, 'k')} with k from 1 to "
                f"K = {K}: they have {shape} and {other}"
            )
        if not is_integer(xp, index):
            raise TypeError(f"indices of a TopK target must be integers, not {index.dtype}")
        flat = (math.prod(leading), shape[-1])
        return integers(xp, xp.reshape(index, flat)), xp.astype(xp.reshape(probs, flat), logits.dtype)

    def check(self, xp: Any, index: Array, probs: Array, leading: tuple[int, ...], K: int) -> None:
        """Raise unless a few classes of a distribution each."""
        outside = (index < 0) | (index >= K)
        if wrong(xp, outside):
            i, k = first(outside)
            raise ValueError(
                f"index {number(index, (i, k))} at {row_name(i, leading)} of a TopK target is outside 0 ... {K - 1}"
            )
        ordered = xp.sort(index, axis=1)
        twice = ordered[:, 1:] == ordered[:, :-1]
        if wrong(xp, twice):
            raise ValueError(f"{row_name(first(twice)[0], leading)} of a TopK target names a class twice")
        slack = tolerance(xp, probs.dtype)
        bad = ~((probs >= 0) & (probs <= 1 + slack))
        if wrong(xp, bad):
            i, k = first(bad)
            raise ValueError(f"probs of a TopK target: {row_name(i, leading)} has {number(probs, (i, k))}")
        sums = xp.sum(probs, axis=1, dtype=wide(xp, probs))
        off = sums > 1 + slack if self.spread else xp.abs(sums - 1) > slack
        if wrong(xp, off):
            i = first(off)[0]
            allowed = "at most one" if self.spread else 'one (rest="spread" gives the other classes what is left)'
            raise ValueError(
                f"probs of a TopK target must sum to {allowed}: {row_name(i, leading)} sums to {number(sums, (i,)):.6g}"
            )
