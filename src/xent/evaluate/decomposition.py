"""Where the cross-entropy comes from: uncertainty, discrimination and miscalibration (CORP).

``loss = uncertainty - discrimination + miscalibration``, all in nats a row, for the log loss of one event with
predicted probabilities. *Uncertainty* is the entropy of the event's share: what knowing nothing costs. *Miscalibration*
is what the best monotone recalibration in hindsight (isotonic regression, which also fits noise) would take off.
*Discrimination* is what the recalibrated predictions save against the share. All three are at least 0.

Isotonic regression finds something to mend even in perfect predictions, so miscalibration stands beside what it comes
to when the outcomes are drawn from the predictions themselves: its mean, its 95 % quantile, and the share of draws that
reach what was found (`Null`).

Source: T. Dimitriadis, T. Gneiting and A. I. Jordan, Stable reliability diagrams for probabilistic classifiers, PNAS
118 (2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .isotonic import pool
from .ranked import Ranked, compress, log_of

BINS = 15
_GROUPS = 1024


def decompose(ranked: Ranked, loss: float | None = None) -> dict[str, float]:
    """Split the log loss of one event.

    Parameters
    ----------
    ranked : Ranked
    loss : float, optional
        The mean log loss in nats where it is known better than the scores tell (labels with tiny probabilities).

    Returns
    -------
    dict
        ``loss``, ``uncertainty``, ``discrimination``, ``miscalibration``, in nats. Where an impossible event happened
        the loss and the miscalibration are infinite.

    Examples
    --------
    >>> from .ranked import ScoreCounts
    >>> counts = ScoreCounts()
    >>> p = np.array([0.1, 0.4, 0.35, 0.8])
    >>> counts.add(p, 1 - p, np.array([0, 0, 1, 1]))
    >>> {k: round(v, 4) for k, v in decompose(counts.ranked()).items()}
    {'loss': 0.4723, 'uncertainty': 0.6931, 'discrimination': 0.3466, 'miscalibration': 0.1257}
    """
    loss = ranked.loss() if loss is None else loss
    total, events = int(ranked.rows.sum()), int(ranked.hits.sum())
    _, rows, hits = pool(ranked.rows, ranked.hits)
    recalibrated = float(_entropy(hits, rows).sum()) / total
    uncertainty = float(_entropy(np.array([events]), np.array([total]))[0]) / total
    return {
        "loss": loss,
        "uncertainty": uncertainty,
        "discrimination": max(uncertainty - recalibrated, 0.0),
        "miscalibration": max(loss - recalibrated, 0.0),
    }


def _entropy(hits: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Total log loss in nats of predicting each block's own share."""
    out = np.zeros(hits.size)
    mixed = (hits > 0) & (hits < rows)
    k, n = hits[mixed].astype(np.float64), rows[mixed].astype(np.float64)
    # by log1p of the other side: the share of a rare event is exact on both
    out[mixed] = -(k * log_of(k / n, (n - k) / n) + (n - k) * log_of((n - k) / n, k / n))
    return out


@dataclass(frozen=True)
class Null:
    """What predictions of this size show when they are perfectly calibrated: outcomes drawn from them.

    Attributes
    ----------
    groups : Ranked
        Up to about a thousand groups of scores next to each other, cut at the edges of the bins of equal width.
    hits : int64 array of shape (simulations, groups)
        Drawn numbers of events.
    """

    groups: Ranked
    hits: NDArray[np.int64]

    @classmethod
    def draw(cls, ranked: Ranked, *, seed: int = 0, simulations: int = 400, groups: int = _GROUPS) -> Null:
        """Draw binomial numbers of events for groups of scores; the same seed draws the same.

        Within a group the scores are taken to be their mean: a group of up to N / 1024 rows whose scores lie next to
        each other.
        """
        first = compress(ranked, groups, np.arange(1, BINS) / BINS)
        rows = np.add.reduceat(ranked.rows, first)
        p = np.add.reduceat(ranked.p * ranked.rows, first) / rows
        q = np.add.reduceat(ranked.q * ranked.rows, first) / rows
        together = Ranked(p, q, rows, np.add.reduceat(ranked.hits, first))
        rng = np.random.default_rng(seed)
        drawn = rng.binomial(rows, np.clip(p, 0.0, 1.0), size=(simulations, rows.size))
        return cls(together, drawn.astype(np.int64))

    def fits(self) -> NDArray[np.float64]:
        """Isotonic fits of the draws: shape (simulations, groups)."""
        first, rows, hits = self._pooled
        lengths = np.diff(np.append(first, self.hits.size))
        return np.repeat(hits / rows, lengths).reshape(self.hits.shape)

    def miscalibrations(self) -> NDArray[np.float64]:
        """Miscalibration of each draw, in nats."""
        first, rows, hits = self._pooled
        draws, size = self.hits.shape
        best = np.bincount(first // size, weights=_entropy(hits, rows), minlength=draws)
        p, q, n = self.groups.p, self.groups.q, self.groups.rows
        with np.errstate(divide="ignore"):
            yes, no = -log_of(p, q), -log_of(q, p)
        yes[p <= 0], no[q <= 0] = 0.0, 0.0  # such events are not drawn
        given = self.hits @ yes + (n - self.hits) @ no
        return np.maximum(given - best, 0.0) / n.sum()

    @cached_property
    def _pooled(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        draws, size = self.hits.shape
        rows = np.tile(self.groups.rows, draws)
        return pool(rows, self.hits.reshape(-1), np.arange(draws) * size)


def decomposition_panel(ranked: Ranked, null: Null | None, loss: float | None = None) -> dict[str, Any]:
    """Return the decomposition and, from draws of the null, what miscalibration chance alone makes.

    Keys: those of `decompose`, ``expected_miscalibration`` (mean of the draws), ``chance_95`` (their 95 % quantile) and
    ``p_value`` (share of draws, the data among them, with at least the data's; small means miscalibrated). The last
    three are None without draws.
    """
    found: dict[str, Any] = dict(decompose(ranked, loss))
    if null is None:
        return {**found, "expected_miscalibration": None, "chance_95": None, "p_value": None}
    drawn = null.miscalibrations()
    mine = decompose(null.groups)["miscalibration"] if math.isfinite(found["loss"]) else math.inf
    return {
        **found,
        "expected_miscalibration": float(drawn.mean()),
        "chance_95": float(np.quantile(drawn, 0.95)),
        "p_value": float((1 + np.count_nonzero(drawn >= mine * (1 - 1e-12))) / (1 + drawn.size)),
    }
