"""Cross-entropy of a linear layer, whose logits are never stored."""

from __future__ import annotations

from typing import Any

from ..losses import CrossEntropy
from ._arguments import Reduction
from ._linear import LinearLoss, read_linear


def linear_cross_entropy(
    x: Any,
    w: Any,
    target: Any,
    *,
    bias: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    z_loss: float = 0.0,
    temperature: float = 1.0,
    prior: Any = None,
) -> Any:
    """`cross_entropy` of the logits ``x w' + bias``, which are never stored, in nats.

    Parameters
    ----------
    x : array (..., D)
        Features.
    w : array (K, D)
        A weight vector for each class.
    target : integer array (...), floating array (..., K), or `TopK`
        The class of each row, the probability of each class, or a few classes with their probabilities.
    bias : array (K,), optional
    weight, sample_weight, ignore_index, label_smoothing, reduction, z_loss, temperature, prior
        As for `cross_entropy`.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float32 where x is float32 or less, else float64

    Raises
    ------
    ValueError, TypeError
        As for `cross_entropy`, and where x, w and bias do not fit each other.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.ones((4, 3)), np.zeros((2, 3))
    >>> round(float(linear_cross_entropy(x, w, [0, 1, 1, 0])), 4)
    0.6931
    """
    return read_linear_cross_entropy(
        x,
        w,
        target,
        bias=bias,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        z_loss=z_loss,
        temperature=temperature,
        prior=prior,
    ).value()


def read_linear_cross_entropy(
    x: Any, w: Any, target: Any, *, label_smoothing: float = 0.0, z_loss: float = 0.0, **options: Any
) -> LinearLoss:
    """The arguments of `linear_cross_entropy`, checked."""
    return read_linear(lambda K: CrossEntropy(K, label_smoothing, z_loss), x, w, target, **options)
