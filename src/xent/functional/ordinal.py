"""Cross-entropy of ordered labels: a score and thresholds (cumulative links)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import NUMPY, Array, on, primal, where
from ..autodiff import rows as row_values
from ..rows.ordinal import LINKS
from ._arguments import (
    REDUCTIONS,
    Reduction,
    as_array,
    as_floats,
    check_choice,
    first,
    is_integer,
    namespace,
    number,
    refuse_masked,
    wrong,
)
from ._problem import Rows, read_rows


def ordinal_cross_entropy(
    scores: Any,
    thresholds: Any,
    target: Any,
    *,
    link: str = "logit",
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy of ordered labels, ``-log(F(theta_k - f) - F(theta_(k-1) - f))``, in nats.

    A latent variable ``f + noise`` is cut into K labels at the thresholds, and F is the noise's distribution:
    ``P(label <= k) = F(theta_k - f)``. The greater the score, the higher the label.

    Parameters
    ----------
    scores : array (...)
        f, one for each row. Infinite ones are certain of the first label or the last.
    thresholds : array (K - 1,)
        ``theta_0 < theta_1 < ...``, finite, at least one; ``theta_(-1)`` is -inf and ``theta_(K-1)`` is inf.
    target : integer array (...)
        The label of each row, from 0 to K - 1.
    link : "logit", "probit" or "cloglog"
        F: ``1 / (1 + e^-x)`` (proportional odds), the normal distribution, or ``1 - exp(-e^x)`` (proportional
        hazards). They are exact in the tails and for thresholds that are close together.
    weight : array (K,), optional
        A weight for each label.
    sample_weight, ignore_index, reduction
        As for `cross_entropy`.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 scores (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, thresholds that do not increase, a label outside 0 ... K - 1. Where they cannot be read
        (in a traced call, or on an accelerator), such a row is NaN.
    TypeError
        Labels that are not integers, arrays of different libraries.

    References
    ----------
    McCullagh, "Regression Models for Ordinal Data", Journal of the Royal Statistical Society B 42 (1980).

    Examples
    --------
    >>> import numpy as np
    >>> ordinal_cross_entropy(np.array([-1.0, 0.0, 3.0]), [-1.0, 1.0], [0, 1, 2], reduction="none").round(4).tolist()
    [0.6931, 0.7719, 0.1269]
    """
    return read_ordinal(
        scores,
        thresholds,
        target,
        link=link,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
    ).value()


@dataclass(frozen=True, eq=False)
class OrdinalLoss:
    """An ordinal loss, read and checked: scores (N,), thresholds (K - 1,), float64 in NumPy.

    In `rows`, a label is -1 for a row left out and K for an invalid one of a traced call.
    """

    op: Any
    scores: Array
    thresholds: Array
    rows: Rows
    reduction: Reduction
    dtype: Any
    given: Mapping[str, Any]

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""
        label, K = self.rows.label, len(self.thresholds) + 1
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            loss = row_values(self.op, *self._arrays())
        loss = where(self.rows.xp, label >= K, math.nan, where(self.rows.xp, label < 0, 0.0, loss))
        return self.rows.reduce(loss, self.reduction, self.dtype)

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""
        label, count = self.rows.label, len(self.thresholds)
        scale = self.rows.scale(self.reduction)
        scale = np.where(label < 0, 0, 1 if scale is None else scale)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            need = ("scores" in wrt, "thresholds" in wrt, "thresholds" in wrt)
            slopes = self.op.grads(NUMPY, need, *self._arrays())
            slopes = [None if s is None else np.where(scale == 0, 0, scale * s) for s in slopes]
        grads = {}
        if slopes[0] is not None:
            grads["scores"] = slopes[0].reshape(self.rows.leading)
        if slopes[1] is not None:
            # label k has the threshold k - 1 below and k above
            label = np.where(label < 0, 0, label)
            below, above = (np.bincount(label, weights=s, minlength=count + 1) for s in slopes[1:])
            with np.errstate(invalid="ignore"):  # infinite ones of both signs
                grads["thresholds"] = below[1:] + above[:-1]
        return self.value(), {name: grads[name].astype(_own_dtype(self.given[name], self.dtype)) for name in wrt}

    def _arrays(self) -> tuple[Array, Array, Array]:
        """Scores and the thresholds under and over each row's label."""
        xp, like = self.rows.xp, self.thresholds
        end = xp.ones((1,), dtype=like.dtype, **on(xp, like))
        every = xp.concat([-math.inf * end, self.thresholds, math.inf * end])
        label = xp.clip(self.rows.label, 0, len(self.thresholds))
        score = where(xp, self.rows.label >= 0, self.scores, 0.0)
        return score, xp.take(every, label, axis=0), xp.take(every, label + 1, axis=0)


def read_ordinal(
    scores: Any,
    thresholds: Any,
    target: Any,
    *,
    link: str = "logit",
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> OrdinalLoss:
    """The arguments of `ordinal_cross_entropy`, checked."""
    check_choice("reduction", reduction, REDUCTIONS)
    check_choice("link", link, tuple(LINKS))
    named = {"scores": scores, "thresholds": thresholds, "target": target}
    xp, like = namespace(**named, weight=weight, sample_weight=sample_weight)
    f, theta = as_floats("scores", scores, xp, like), as_floats("thresholds", thresholds, xp, like)
    leading, own = tuple(f.shape), np.float64 if xp is NUMPY else f.dtype
    flat, theta = xp.astype(xp.reshape(f, (-1,)), own), xp.astype(theta, own)
    _check_thresholds(xp, theta)
    refuse_masked("target", target)
    labels = as_array(xp, target, like)
    if tuple(labels.shape) != leading:
        raise ValueError(f"scores and target must have the same shape: {leading} and {tuple(labels.shape)}")
    if not is_integer(xp, labels) and math.prod(leading):
        raise TypeError(f"target holds labels, which must be integers, not {labels.dtype}")
    options = {"weight": weight, "sample_weight": sample_weight, "ignore_index": ignore_index}
    rows = read_rows(labels, leading, flat, xp=xp, classes=theta.shape[0] + 1, **options)
    return OrdinalLoss(LINKS[link], flat, theta, rows, reduction, f.dtype, named)


def _check_thresholds(xp: Any, theta: Array) -> None:
    if theta.ndim != 1 or theta.shape[0] == 0:
        raise ValueError(f"thresholds must have the shape (K - 1,) with K >= 2 labels, not {tuple(theta.shape)}")
    infinite = ~xp.isfinite(theta)
    if wrong(xp, infinite):
        at = first(infinite)
        raise ValueError(f"thresholds must be finite: number {at[0]} is {number(primal(theta), at)}")
    falling = ~(theta[1:] > theta[:-1])
    if wrong(xp, falling):
        (k,) = first(falling)
        below, above = number(primal(theta), (k,)), number(primal(theta), (k + 1,))
        raise ValueError(f"thresholds must increase: number {k + 1} is {above}, after {below}")


def _own_dtype(argument: Any, dtype: Any) -> Any:
    own = np.asarray(argument).dtype
    return dtype if own.kind in "iub" else own
