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
    memory: int | None = None,
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
    memory : int, optional
        Most bytes that a call may take beside its arguments, its results and 96 bytes a row; 64 MiB if None. For
        NumPy's arrays, and PyTorch's in the CPU's memory; with labels or probabilities; for values and first
        derivatives.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float32 where x is float32 or less, else float64

    Raises
    ------
    ValueError, TypeError
        As for `cross_entropy`, and where x, w and bias do not fit each other. For a budget that is too small, with what
        would do, and where nobody keeps one.

    Notes
    -----
    Memory, with s bytes a number, and K' and D' rounded up to 32. The logits of T rows, P partial sums of the gradient
    in w, and on each thread a tile of logits and of the gradient in x:

        s K' D + P (s K D + 8 K),  and a thread  (s (K + D) + 8) T

    or, where w is too large for 8 such sums, blocks of b classes in G groups, with or without the s K T of a tile's
    logits:

        s T' D + s T D' + G T (s D + 48) + 40 T (+ s K T),  and a thread  s T (2 b + 288) + 64 T

    `xent.kernels.plan.linear_plan` chooses T, P, b and G by the shape and the budget alone. Copies of x and w in
    another dtype, in C order or divided by a temperature count too.

    A layer whose tensors all are PyTorch's bfloat16 goes through PyTorch's products, whose logits are rounded to
    bfloat16 as they are in PyTorch's own layers, and all else is float32: ``2 K N`` for the logits of all rows where
    the budget has room for them, else ``2 K T`` for those of T rows and ``2 C M`` for those of C classes by M rows,
    which are made again (`xent.kernels.plan_half.half_plan`). With a temperature or a prior, and in float16, it is
    computed in float32.

    Examples
    --------
    >>> import numpy as np
    >>> x, w = np.ones((4, 3)), np.zeros((2, 3))
    >>> round(float(linear_cross_entropy(x, w, [0, 1, 1, 0])), 4)
    0.6931
    >>> round(float(linear_cross_entropy(x, w, [0, 1, 1, 0], memory=2**20)), 4)
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
        memory=memory,
    ).value()


def read_linear_cross_entropy(
    x: Any, w: Any, target: Any, *, label_smoothing: float = 0.0, z_loss: float = 0.0, **options: Any
) -> LinearLoss:
    """The arguments of `linear_cross_entropy`, checked."""
    return read_linear(lambda K: CrossEntropy(K, label_smoothing, z_loss), x, w, target, **options)
