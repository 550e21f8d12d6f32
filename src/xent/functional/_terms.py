"""Losses that are sums of row functions, read and checked: what divergences, distillation and distances share."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array
from ..autodiff import rows as row_values
from ..autodiff import weighted
from ._arguments import as_floats, tolerance, wrong
from ._problem import Reduction, Rows
from ._softmax import cast
from ._topk import TopK


@dataclass(frozen=True, eq=False)
class Term:
    """``share * op(*arrays)`` of each row; `names` are the arguments that the arrays are, None for one that is none."""

    op: Any
    arrays: tuple[Array, ...]
    names: tuple[str | None, ...]
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class SumLoss:
    """``sum_i weight_i sum_terms``, read and checked.

    Attributes
    ----------
    terms : the row functions and what they are of
    rows : weights and how to bring rows together
    dtype : of the result
    given : the arguments, by name, as they were given
    target_weights : array (N, K) or (N,), or None
        What the weight of a row gains with each entry of its target, where that has class weights.
    """

    terms: tuple[Term, ...]
    rows: Rows
    reduction: Reduction
    dtype: Any
    given: Mapping[str, Any]
    target_weights: Array | None = None

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        with quiet():
            return self.rows.reduce(sum(t.share * row_values(t.op, *t.arrays) for t in self.terms), *self._result)

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""
        scale = self.rows.scale(self.reduction)
        grads = {name: np.zeros(()) for name in wrt}
        each = np.ones(len(self.rows.label)) if scale is None else scale
        with quiet():
            loss = np.zeros(len(each))
            for t in self.terms:
                flags = tuple(name in wrt for name in t.names)
                if hasattr(t.op, "value_and_grads"):
                    part, found = t.op.value_and_grads(t.share * each, flags, *t.arrays)
                else:
                    part = t.op.value(NUMPY, *t.arrays)
                    found = weighted(t.op, NUMPY, t.share * each, flags, *t.arrays)
                loss = loss + t.share * part
                for name, d in zip(t.names, found, strict=True):
                    if name in wrt and d is not None:
                        grads[name] = grads[name] + d if grads[name].ndim else d
            value = self.rows.reduce(loss, *self._result)
            if "target" in wrt and self.target_weights is not None:
                grads["target"] = grads["target"] + self._through_weights(loss, value)
        return value, {name: self._shaped(name, d) for name, d in grads.items()}

    @property
    def _result(self) -> tuple[Reduction, Any]:
        return self.reduction, self.dtype

    def _through_weights(self, loss: Array, value: Any) -> Array:
        """The target's gradient through the weights of its classes, which the divisor of the mean has too."""
        each, over = self.target_weights, 1.0
        assert each is not None
        if self.reduction == "mean":
            loss, over = loss - float(value), self.rows.total or math.inf
        kept = self.rows.label >= 0
        share = np.where(kept, loss, 0.0) / over
        return np.where(
            kept if each.ndim == 1 else kept[:, None], share.reshape((-1,) + (1,) * (each.ndim - 1)) * each, 0
        )

    def _shaped(self, name: str, gradient: Array) -> Array:
        shape = np.shape(self.given[name])
        gradient = np.reshape(gradient, shape) if gradient.ndim else np.zeros(shape)
        return cast(gradient.astype(self.dtype), self.given[name])


def quiet() -> Any:
    """Let NumPy pass over what is not finite: it is in the result for everyone to see."""
    return np.errstate(invalid="ignore", over="ignore", divide="ignore")


def flat_logits(name: str, logits: Any, xp: Any, like: Array | None) -> tuple[Array, tuple[int, ...]]:
    """Logits (..., K) as (N, K), and the shape of the rows."""
    a = as_floats(name, logits, xp, like)
    if a.ndim == 0 or a.shape[-1] == 0:
        raise ValueError(f"{name} need a last axis of at least one class; the shape is {tuple(a.shape)}")
    leading = tuple(a.shape[:-1])
    return xp.reshape(a, (math.prod(leading), a.shape[-1])), leading


def check_temperature(temperature: float) -> float:
    """Raise unless a finite number above 0."""
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, not {temperature}")
    return float(temperature)


def refuse_top_k(target: Any) -> None:
    """Raise for a target that names a few classes only."""
    if isinstance(target, TopK):
        raise TypeError("a TopK target is for cross_entropy and its kin; give probabilities of shape (..., K)")


def suspect_probs(xp: Any, name: str, a: Array, instead: str, stacklevel: int) -> None:
    """Warn when the first rows of logits are all distributions: logits seldom happen to be, the mistake does."""
    head = a[:16, :]
    if 0 in head.shape or head.shape[1] < 2:
        return
    with quiet():
        one = xp.abs(xp.sum(head, axis=1) - 1) < tolerance(xp, a.dtype)
        inside = wrong(xp, xp.all((head >= 0) & (head <= 1)) & xp.all(one))
    if inside:
        message = f"{name} look like probabilities (not negative, rows sum to one): {instead} if they are"
        warnings.warn(message, UserWarning, stacklevel=stacklevel)
