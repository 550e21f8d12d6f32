"""Keras' losses for the rows, on the backend that KERAS_BACKEND names.

Its binary losses take the mean over the last axis: entries are given as (N, 1). Weights of classes are weights of
samples there, under the mean that divides by their sum.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import losses, ops

MEANS = {"sum": "sum", "none": None, "mean": "sum_over_batch_size"}


def make(kind: Any, z: Any, reduction: str = "sum", **options: Any) -> Any:
    wide = {"dtype": "float64"} if "float64" in str(z.dtype) else {}
    return kind(reduction=MEANS.get(reduction, reduction), **options, **wide)


def binary(kind: Any, **fixed: Any) -> Any:
    def loss(z: Any, y: Any, *, reduction: str = "sum", gamma: float | None = None) -> Any:
        options = fixed if gamma is None else {**fixed, "gamma": gamma}
        return make(kind, z, reduction, **options)(y[..., None], z[..., None])

    return loss


def plain(kind: Any, **fixed: Any) -> Any:
    def loss(z: Any, q: Any, /, *, reduction: str = "sum", weight: Any = None, **options: Any) -> Any:
        if weight is None:
            return make(kind, z, reduction, **fixed, **options)(q, z)
        classes = ops.matmul(q, weight[:, None])[:, 0]
        return make(kind, z, "mean_with_sample_weight", **fixed, **options)(q, z, sample_weight=classes)

    return loss


def labels(z: Any, y: Any, *, reduction: str = "sum", weight: Any = None, ignore_index: int | None = None) -> Any:
    if weight is not None:
        loss = make(losses.SparseCategoricalCrossentropy, z, "mean_with_sample_weight", from_logits=True)
        return loss(y, z, sample_weight=ops.take(weight, y))
    ignored = {} if ignore_index is None else {"ignore_class": ignore_index}
    return make(losses.SparseCategoricalCrossentropy, z, reduction, from_logits=True, **ignored)(y, z)


def with_softmax(kind: Any, **fixed: Any) -> Any:
    """For losses that take probabilities only."""
    return lambda z, q, /, **options: plain(kind, **fixed)(ops.softmax(z), q, **options)


LOSSES = {
    "binary, probabilities": binary(losses.BinaryCrossentropy),
    "binary": binary(losses.BinaryCrossentropy, from_logits=True),
    "probabilities": plain(losses.CategoricalCrossentropy),
    "labels": labels,
    "soft": plain(losses.CategoricalCrossentropy, from_logits=True),
    "kl": with_softmax(losses.KLDivergence),
    "distill": lambda z, t: with_softmax(losses.KLDivergence)(z, ops.softmax(t)),
    "binary focal": binary(losses.BinaryFocalCrossentropy, from_logits=True),
    "focal": plain(losses.CategoricalFocalCrossentropy, from_logits=True, alpha=1.0),
    "generalized": with_softmax(losses.CategoricalGeneralizedCrossEntropy),
}
BACKEND = keras.backend.backend()
