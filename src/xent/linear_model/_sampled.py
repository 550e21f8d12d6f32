"""Softmax over the row's own class and some that are drawn, corrected for how likely each was to be drawn.

A mini-batch shares one set S of drawn classes. A row's candidates are S and its label, and the logit of each has the
logarithm of its chance to be in S taken off. For sets drawn as here that makes the exact probability of the label given
the candidates (which of them was the label changes the chance of the set by that factor alone), so that where the model
is right its minimum is the true one for any number of classes drawn; with all drawn, it is the softmax.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from ..losses import log_softmax

SAMPLING = ("uniform", "log-uniform", "frequency")


class Sampler:
    """Draws sets of classes.

    "uniform" draws m without replacement; the others draw each class by itself, m on average, with a chance in
    proportion to ``log((k + 2) / (k + 1))`` (Zipf's law, for classes in order of falling frequency) or to its
    frequency plus one row, though never above 1.

    Parameters
    ----------
    kind : one of SAMPLING
    classes : int
    count : int
        m.
    seed : int
    frequency : array (K,), optional
        Rows of each class, for "frequency".
    """

    def __init__(self, kind: str, classes: int, count: int, seed: int, frequency: Any = None) -> None:
        self.classes, self.count, self.kind = classes, count, kind
        self._rng = np.random.default_rng(seed)
        k = np.arange(classes)
        share = {"uniform": np.ones(classes), "log-uniform": np.log1p(1 / (k + 1.0))}.get(kind)
        self.chance = _chances(np.asarray(frequency, np.float64) + 1 if share is None else share, count)

    def draw(self) -> Any:
        """Classes, increasing."""
        if self.kind == "uniform":
            return np.sort(self._rng.choice(self.classes, self.count, replace=False, shuffle=False))
        return np.flatnonzero(self._rng.random(self.classes) < self.chance)


def _chances(share: Any, count: int) -> Any:
    """In proportion to shares, at most 1 each, `count` together."""
    chance = np.ones(len(share))
    free = np.ones(len(share), bool)
    while free.any():
        left = count - float((~free).sum())
        chance[free] = left * share[free] / share[free].sum()
        over = free & (chance >= 1)
        if not over.any():
            break
        chance[over], free = 1.0, free & ~over
    return chance


class SampledObjective:
    """That of one mini-batch, in the parameters of the classes that it touches.

    The penalty is of the drawn classes, each over its chance: on average that of all.

    Parameters
    ----------
    X : array or CSR matrix (n, D)
    label : int array (n,)
    weight : array (n,)
    sampler : Sampler
    l2 : float
    fit_intercept : bool

    Attributes
    ----------
    touched : int array (t,)
        The drawn classes and those of the rows.

    References
    ----------
    D. McFadden, "Modelling the choice of residential location", 1978 (sets of alternatives). Y. Bengio & J.-S. Senecal,
    "Adaptive importance sampling to accelerate training of a neural probabilistic language model", IEEE Trans. Neural
    Networks 19, 2008. S. Jean et al., "On using very large target vocabulary for neural machine translation", ACL 2015.
    """

    def __init__(self, X: Any, label: Any, weight: Any, sampler: Sampler, l2: float, fit_intercept: bool) -> None:
        drawn = sampler.draw()
        self.X, self.weight, self.l2, self.fit_intercept = X, weight / float(weight.sum()), l2, fit_intercept
        self.touched = np.union1d(drawn, label)
        self._own = np.searchsorted(self.touched, label)
        self._drawn = np.isin(self.touched, drawn, assume_unique=True)
        self._chance = sampler.chance[self.touched]

    def value_and_grad(self, theta: Any) -> tuple[float, Any]:
        """At the parameters (t, D [+ 1]) of the touched classes."""
        D, each = self.X.shape[1], np.arange(len(self._own))
        W = theta[:, :D]
        z = np.asarray(self.X @ W.T, np.float64) - np.log(self._chance)
        if self.fit_intercept:
            z += theta[:, D]
        own = z[each, self._own]
        z[:, ~self._drawn] = -np.inf
        z[each, self._own] = own  # once, though it may have been drawn too
        logp = log_softmax(z)
        r = np.exp(logp) * self.weight[:, None]
        r[each, self._own] -= self.weight
        pull = np.where(self._drawn, self.l2 / self._chance, 0.0)[:, None]
        gradient = np.empty_like(theta)
        product = self.X.T @ r
        gradient[:, :D] = (product.toarray() if sparse.issparse(product) else product).T + pull * W
        if self.fit_intercept:
            gradient[:, D] = r.sum(axis=0)
        return float(-self.weight @ logp[each, self._own]) + 0.5 * float((pull * W**2).sum()), gradient
