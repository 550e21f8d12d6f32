"""optax's functions for the rows. It reduces nothing: a sum is the caller's, and a mean's rule too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from .case import NotOfferedError


def summed(loss: Callable[..., Any]) -> Callable[..., Any]:
    def reduced(x: Any, target: Any, *, reduction: str = "sum", **options: Any) -> Any:
        if reduction == "mean":
            raise NotOfferedError
        found = loss(x, target, **options)
        return found if reduction == "none" else found.sum()

    return reduced


def labels(z: Any, y: Any, ignore_index: int | None = None) -> Any:
    where = None if ignore_index is None else y != ignore_index
    return optax.losses.softmax_cross_entropy_with_integer_labels(z, y, where=where)


def smoothed(z: Any, q: Any, label_smoothing: float = 0.0) -> Any:
    return optax.losses.softmax_cross_entropy(z, optax.losses.smooth_labels(q, label_smoothing))


def focal(z: Any, y: Any, gamma: float) -> Any:
    return optax.losses.sigmoid_focal_loss(z, y, gamma=gamma)


def poly(z: Any, q: Any, epsilon: float) -> Any:
    return optax.losses.poly_loss_cross_entropy(z, q, epsilon=epsilon)


def kl(z: Any, q: Any) -> Any:
    return optax.losses.kl_divergence(jax.nn.log_softmax(z), q)


def distill(z: Any, t: Any) -> Any:
    return optax.losses.kl_divergence_with_log_targets(jax.nn.log_softmax(z), jax.nn.log_softmax(t))


LOSSES = {
    "binary": summed(lambda z, y: optax.losses.sigmoid_binary_cross_entropy(z, y)),
    "labels": summed(labels),
    "soft": summed(smoothed),
    "soft, safe": summed(lambda z, q: optax.losses.safe_softmax_cross_entropy(z, q)),
    "kl": summed(kl),
    "distill": summed(distill),
    "binary focal": summed(focal),
    "poly": summed(poly),
}
