"""Curves of losses: values and slopes, as xent computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import functional


class Curve(NamedTuple):
    """A loss at many points (N,), and its slope there (N,)."""

    value: np.ndarray
    slope: np.ndarray


def binary_curve(loss: Callable[..., Any], x: np.ndarray, answer: int, **options: Any) -> Curve:
    """A binary loss of one answer at logits, or probabilities, x (N,)."""
    target = np.full(x.shape, answer)
    _, grads = functional.value_and_grad(loss)(x, target, reduction="sum", **options)
    return Curve(loss(x, target, reduction="none", **options), grads.logits)


def softmax_curve(loss: Callable[..., Any], gap: np.ndarray, classes: int = 2, **options: Any) -> Curve:
    """A softmax loss where the target's logit is `gap` (N,) above those of the other classes; the slope in it."""
    logits = np.zeros((len(gap), classes))
    logits[:, 0] = gap
    target = np.zeros(len(gap), np.int64)
    _, grads = functional.value_and_grad(loss)(logits, target, reduction="sum", **options)
    return Curve(loss(logits, target, reduction="none", **options), grads.logits[:, 0])


def sigmoid(z: np.ndarray) -> np.ndarray:
    """The probability of a yes at logits z (N,): what a yes costs is minus its logarithm."""
    return np.exp(-functional.binary_cross_entropy(z, np.ones(z.shape), reduction="none"))
