"""Losses of yes-or-no answers, one logit each: cross-entropy and the focal loss."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ..losses import CrossEntropy, Focal
from ._arguments import Reduction, shows_options_of
from ._binary import BinaryLoss, read_binary


def binary_cross_entropy(
    logits: Any,
    target: Any,
    *,
    pos_weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    from_probs: bool = False,
    eps: float = 0.0,
) -> Any:
    """Cross-entropy of yes-or-no targets, ``-[y log p + (1 - y) log(1 - p)]`` with ``p = 1 / (1 + exp(-z))``, in nats.

    Parameters
    ----------
    logits : array (...)
        The log-odds z of each entry; with ``from_probs=True`` its probability p. Infinite logits are certain answers.
    target : array of the same shape
        y: 0 or 1 (or booleans), or the probability of a yes.
    pos_weight : array that broadcasts to the shape, optional
        A weight for the yes class, as ``weight=[1, pos_weight]`` is for `cross_entropy`: "mean" divides by the sum of
        weights. Where an example has many labels (N, L), a weight for each label (L,). (PyTorch divides by the number
        of entries; use ``reduction="sum"`` and divide for that.)
    sample_weight : array that broadcasts to the shape, optional
        A weight for each entry; 0 leaves it out.
    ignore_index : int
        The target of entries to leave out.
    label_smoothing : float in [0, 1]
        ``(1 - e) y + e / 2``.
    reduction : "mean", "sum" or "none"
    temperature : float
        Logits are divided by it.
    from_probs : bool
        `logits` are probabilities: exact at 0 and 1. An impossible event that happened costs inf.
    eps : float
        With ``from_probs=True``, probabilities are kept in [eps, 1 - eps]. 0 is the truth.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that differ, targets or probabilities outside [0, 1]. Where they cannot be read (in a traced call, or on
        an accelerator), such an entry is NaN.
    TypeError
        Arrays of different libraries. (Lists and NumPy arrays beside tensors are constants.)

    Examples
    --------
    >>> round(float(binary_cross_entropy([0.1, 0.9, 0.8, 0.4], [0, 1, 1, 0], from_probs=True)), 4)
    0.2362
    >>> round(float(binary_cross_entropy([[2.0, -1.0], [0.5, 3.0]], [[1, 0], [0, 1]], pos_weight=[1.0, 4.0])), 4)
    0.2298
    """
    return read_binary_cross_entropy(
        logits,
        target,
        pos_weight=pos_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        temperature=temperature,
        from_probs=from_probs,
        eps=eps,
    ).value()


def read_binary_cross_entropy(logits: Any, target: Any, *, pos_weight: Any = None, **options: Any) -> BinaryLoss:
    """The arguments of `binary_cross_entropy`, checked."""
    return read_binary(CrossEntropy(2), logits, target, {"pos_weight": pos_weight}, **options)


class BinaryOptions(TypedDict, total=False):
    """What the losses below share with `binary_cross_entropy`."""

    sample_weight: Any
    ignore_index: int
    label_smoothing: float
    reduction: Reduction
    temperature: float
    from_probs: bool
    eps: float


@shows_options_of(binary_cross_entropy, BinaryOptions)
def binary_focal_loss(
    logits: Any, target: Any, *, gamma: float = 2.0, alpha: Any = None, **options: Unpack[BinaryOptions]
) -> Any:
    """The focal loss of yes-or-no targets, ``-(1 - p_y)^gamma log p_y``, which leaves easy entries out, in nats.

    ``p_y`` is the probability of the label: p for a yes and ``1 - p`` for a no, with ``p = 1 / (1 + exp(-z))``.

    Parameters
    ----------
    logits, target
        As for `binary_cross_entropy`. A probability target is the mixture of the two labels that it is.
    gamma : float
        Any number from 0, which is the cross-entropy; the gradient is right below 1 too.
    alpha : array in [0, 1] that broadcasts to the shape, optional
        A yes has the weight alpha, a no ``1 - alpha``; None: both have the weight 1. The paper takes 0.25 with
        gamma = 2. These are class weights: "mean" divides by their sum. (torchvision divides by the number of entries,
        the paper by that of yeses; use ``reduction="sum"`` and divide for that.)
    **options
        As for `binary_cross_entropy`.

    Returns
    -------
    As `binary_cross_entropy`.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection" (2017), eq. 5.

    Examples
    --------
    >>> binary_focal_loss([2.0, -100.0], [1, 1], reduction="none").round(4).tolist()
    [0.0018, 100.0]
    """
    return read_binary_focal(logits, target, gamma=gamma, alpha=alpha, **options).value()


def read_binary_focal(logits: Any, target: Any, *, gamma: float = 2.0, alpha: Any = None, **options: Any) -> BinaryLoss:
    """The arguments of `binary_focal_loss`, checked."""
    return read_binary(Focal(gamma), logits, target, {"alpha": alpha}, **options)
