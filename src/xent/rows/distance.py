"""Distances of probabilities: squared and absolute differences of a target and a softmax, a sigmoid, or what is given.

A difference ``p - q`` is made of the smaller parts where both are large: of a confident row it keeps its digits, and so
does the gradient, in which such differences are differenced again. ``label`` (N,) integers, -1 for a row left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._arrays import Array, where
from ..kernels.arrays import one_hot
from .jacobian import pull, softmax
from .tiles import Grads, Tiled, Wrt, kept_or, patch

Parts = tuple[Array, Array]


@dataclass(frozen=True)
class _Distance(Tiled):
    """The options that all share.

    Parameters
    ----------
    power : 1 or 2
        Of the absolute difference.
    from_probs : bool
        The first array holds probabilities.
    temperature : float
        Divides logits.
    """

    power: int
    from_probs: bool = False
    temperature: float = 1.0

    def _cost(self, xp: Any, d: Array) -> Array:
        return d * d if self.power == 2 else xp.abs(d)

    def _slope(self, xp: Any, d: Array) -> Array:
        """Its derivative, 0 where d is and NaN where d is."""
        if self.power == 2:
            return 2.0 * d
        # the array API's sign looks for NaN by indexing, which PyTorch cannot map over a batch
        return where(xp, d > 0.0, 1.0, where(xp, d < 0.0, -1.0, d))


@dataclass(frozen=True)
class DistanceRows(_Distance):
    """``sum_j |p_j - q_j|^power``. Arrays ``a, label``, or ``a, q (N, K), label``; without q, q is the label's."""

    def _value(self, xp: Any, parts: Parts, a: Array, *target: Array) -> Array:
        value = xp.sum(self._cost(xp, parts[1]), axis=1)
        value = where(xp, target[-1] >= a.shape[1], float("nan"), value)
        return kept_or(xp, self._kept(xp, target[-1]), value, 0.0)

    def _grads(self, xp: Any, wrt: Wrt, parts: Parts, a: Array, *target: Array) -> Grads:
        """In the logits, ``p_j (v_j - sum_k p_k v_k)`` for the slopes v in p; in q, -v."""
        kept, (p, d) = self._kept(xp, target[-1]), parts
        slope = self._slope(xp, d)
        da = dq = None
        if wrt[0]:
            da = slope if self.from_probs else pull(xp, p, slope)
            # an invalid label makes its row NaN
            share = where(xp, target[-1] >= a.shape[1], float("nan"), xp.ones_like(da[:, 0]) / self.temperature)
            da = kept_or(xp, kept, da * share[:, None], 0.0)
        if len(target) == 2 and wrt[1]:
            dq = kept_or(xp, kept, -slope, 0.0)
        return (da, None) if len(target) == 1 else (da, dq, None)

    def _parts(self, xp: Any, a: Array, *target: Array) -> Parts:
        """p and ``p - q``."""
        kept = self._kept(xp, target[-1])
        if len(target) == 1:
            q = where(xp, one_hot(xp, target[-1], a), 1.0, xp.zeros_like(a))
        else:
            q = kept_or(xp, kept, target[0], 0.0)
        if self.from_probs:
            p = kept_or(xp, kept, a, 0.0)
            return p, p - q
        p, log_p = (s := softmax(xp, a, kept, self.temperature)).p, s.log_p
        return p, patch(xp, p > 0.5, p - q, lambda log_p, q: (1.0 - q) + xp.expm1(log_p), log_p, q)


@dataclass(frozen=True)
class BinaryDistanceRows(_Distance):
    """``|sigmoid(z) - y|^power``. Arrays ``z, y, label``, (N,) each."""

    def _value(self, xp: Any, parts: Parts, z: Array, y: Array, label: Array) -> Array:
        return kept_or(xp, self._kept(xp, label), self._cost(xp, parts[0]), 0.0)

    def _grads(self, xp: Any, wrt: Wrt, parts: Parts, z: Array, y: Array, label: Array) -> Grads:
        """The slope, times ``p (1 - p)`` in the logit, and its negative in y."""
        kept, (d, steep) = self._kept(xp, label), parts
        slope = self._slope(xp, d)
        dz = kept_or(xp, kept, slope * steep, 0.0) if wrt[0] else None
        return dz, (kept_or(xp, kept, -slope, 0.0) if wrt[1] else None), None

    def _parts(self, xp: Any, z: Array, y: Array, label: Array) -> Parts:
        """``p - y``, and dp / dz."""
        kept = self._kept(xp, label)
        z, y = kept_or(xp, kept, z, 0.0), kept_or(xp, kept, y, 0.0)
        if self.from_probs:
            return z - y, xp.ones_like(z)
        positive = z > 0.0
        # by hand and not abs(z), whose derivative at 0 is 0
        tail = xp.exp(xp.where(positive, -z, z) / self.temperature)
        near, far = 1.0 / (1.0 + tail), tail / (1.0 + tail)
        d = xp.where(positive, (1.0 - y) - far, far - y)
        return d, near * far / self.temperature
