"""The distribution of the losses, who carries them, and the most surprising rows beside the number expected.

A row whose label had probability p is a surprise of -log2 p bits. Rare events do happen: the model itself says how many
rows it expects beyond each surprise, the sum over rows and classes of the probabilities that small. Many more than
that is overconfidence, or labels that are wrong.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .ranked import EXACT, Ranked, log_of

_FINE = 8  # cells of a loss: 256 an octave, so a share or quantile is off by a four-hundredth at most
_LOWEST = 1023 - 64
_CELLS = (76 << _FINE) + 2
EDGES_BITS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, math.inf)
TAIL_BITS = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0)
_SHARES = (0.0001, 0.001, 0.01, 0.05, 0.1, 0.25, 0.5)
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


class LossCounts:
    """Losses in order: as they are up to four million, then counted in cells of 1/256 of an octave."""

    def __init__(self, *, exact: int = EXACT) -> None:
        self._exact, self._kept = exact, 0
        self._raw: list[NDArray[np.float64]] = []
        self._rows: NDArray[np.int64] | None = None
        self._sums = np.empty(0)

    def add(self, losses: NDArray[np.float64]) -> None:
        """Add the losses of the next rows, in nats."""
        if self._rows is not None:
            self._count(losses)
            return
        self._raw.append(np.array(losses))
        self._kept += losses.size
        if self._kept > self._exact:
            self._rows, self._sums = np.zeros(_CELLS + 1, dtype=np.int64), np.zeros(_CELLS + 1)
            raw, self._raw = self._raw, []
            for part in raw:
                self._count(part)

    def _count(self, losses: NDArray[np.float64]) -> None:
        assert self._rows is not None
        bits = (losses + 0.0).view(np.int64)
        cell = ((bits >> (52 - _FINE)) - ((_LOWEST << _FINE) - 1)).clip(0, _CELLS)
        cell[np.isposinf(losses)] = _CELLS
        np.add.at(self._rows, cell, 1)
        np.add.at(self._sums, cell, losses)

    def ordered(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Distinct losses (means of cells), ascending, and the rows of each."""
        if self._rows is None:
            losses = np.concatenate(self._raw) if self._raw else np.empty(0)
            values, rows = np.unique(losses, return_counts=True)
            return values, rows.astype(np.int64)
        found = np.flatnonzero(self._rows)
        return self._sums[found] / self._rows[found], self._rows[found]


def distribution_panel(counts: LossCounts) -> dict[str, Any]:
    """Return how the losses are spread and who carries them.

    Keys: ``quantiles`` (list of {share, nats}); ``histogram`` (list of {from_bits, to_bits, rows}); ``carried`` (list
    of {rows_share, loss_share}: the worst 0.01 % ... 50 % of the rows carry this share of the loss; None where it is 0
    or infinite).
    """
    values, rows = counts.ordered()
    upto = np.cumsum(rows)
    total = int(upto[-1])
    bits = values / math.log(2)
    inner = np.searchsorted(bits, EDGES_BITS[1:-1])
    cuts = np.concatenate([[0], inner, [values.size]])
    histogram = np.diff(np.append(0, upto)[cuts])
    places = [int(np.searchsorted(upto, q * total)) for q in _QUANTILES]
    return {
        "quantiles": [{"share": q, "nats": float(values[min(i, values.size - 1)])} for q, i in
                      zip(_QUANTILES, places, strict=True)],
        "histogram": [{"from_bits": a, "to_bits": b, "rows": int(n)} for a, b, n in
                      zip(EDGES_BITS[:-1], EDGES_BITS[1:], histogram, strict=True)],
        "carried": [{"rows_share": s, "loss_share": _carried(values, rows, s)} for s in _SHARES],
    }  # fmt: skip


def _carried(values: NDArray[np.float64], rows: NDArray[np.int64], share: float) -> float | None:
    """The worst rows' part of the loss; of rows that tie at the border a part counts."""
    total = float(np.dot(values, rows))
    if not 0 < total < math.inf:
        return None
    wanted = share * int(rows.sum())
    worst_rows, worst_values = rows[::-1], values[::-1]
    upto = np.cumsum(worst_rows)
    whole = int(np.searchsorted(upto, wanted, side="right"))
    loss = float(np.dot(worst_values[:whole], worst_rows[:whole]))
    if whole < rows.size:
        loss += float(worst_values[whole]) * (wanted - (int(upto[whole - 1]) if whole else 0))
    return min(loss / total, 1.0)


@dataclass
class WorstRows:
    """Keeps the rows of largest loss, the earlier of equal ones first."""

    most: int = 50
    _kept: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)

    def candidates(self, losses: NDArray[np.float64]) -> NDArray[np.int64]:
        """Places of a chunk's rows that may be among the worst."""
        bar = self._kept[-1][0] if len(self._kept) >= self.most else -math.inf
        at = np.flatnonzero(losses > bar)
        if at.size > self.most:
            order = np.argsort(-losses[at], kind="stable")[: self.most]
            at = at[order]
        return at

    def add(self, entries: Iterable[dict[str, Any]]) -> None:
        """Add rows as {row, label, p, predicted, p_predicted, nats, ...}."""
        self._kept += [(e["nats"], e["row"], e) for e in entries]
        self._kept = heapq.nsmallest(self.most, self._kept, key=lambda k: (-k[0], k[1]))

    def rows(self) -> list[dict[str, Any]]:
        """Return them, worst first."""
        return [e for _, _, e in self._kept]


class Tail:
    """How many rows the model expects to lose at least so much."""

    def __init__(self, columns: Iterable[Ranked], *, both_sides: bool) -> None:
        losses, mass = [np.empty(0)], [np.empty(0)]
        for r in columns:
            sides = ((r.p, r.q), (r.q, r.p)) if both_sides else ((r.p, r.q),)
            for p, q in sides:
                there = p > 0
                losses.append(-log_of(p[there], q[there]))
                mass.append(p[there] * r.rows[there])
        every, weight = np.concatenate(losses), np.concatenate(mass)
        order = np.argsort(every)
        self._losses = every[order]
        self._mass = np.append(np.cumsum(weight[order][::-1])[::-1], 0.0)
        self.expected_loss = float(np.dot(every, weight))

    def expected(self, loss: float) -> float:
        """Expected number of rows with at least this loss, in nats; rounding of p is allowed for."""
        return float(self._mass[np.searchsorted(self._losses, loss * (1 - 1e-9))])


def surprise_panel(worst: WorstRows, counts: LossCounts, tail: Tail, total_rows: int) -> dict[str, Any]:
    """Return the most surprising rows and the tail of surprises beside what the model expects.

    Keys: ``tail`` (list of {bits, rows, expected}: rows whose label had probability 2**-bits or less), ``rows`` (list
    of {row, label, p, predicted, p_predicted, nats, bits, expected, ...}, worst first; ``expected`` is how many rows
    the model expects to be at least as surprising).
    """
    values, rows = counts.ordered()
    above = np.append(np.cumsum(rows[::-1])[::-1], 0)
    found = []
    for bits in TAIL_BITS:
        nats = bits * math.log(2)
        seen = int(above[np.searchsorted(values, nats * (1 - 1e-9))])
        found.append({"bits": bits, "rows": seen, "expected": tail.expected(nats)})
    listed = [
        {**e, "bits": e["nats"] / math.log(2), "expected": tail.expected(e["nats"]) if e["nats"] < math.inf else 0.0}
        for e in worst.rows()
    ]
    return {"tail": found, "rows": listed, "of": total_rows}
