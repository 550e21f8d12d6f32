"""Losses of the softmax of logits: cross-entropy, and what is made of it."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ..losses import CrossEntropy, Focal, GeneralizedCrossEntropy, Poly1
from ._arguments import Reduction, shows_options_of
from ._softmax import SoftmaxLoss, read_softmax


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    z_loss: float = 0.0,
    confidence_penalty: float = 0.0,
    temperature: float = 1.0,
    softcap: float | None = None,
    prior: Any = None,
    mask: Any = None,
    from_probs: bool = False,
    eps: float = 0.0,
) -> Any:
    """Cross-entropy of a target with the softmax of logits, ``-sum_j q_j log p_j``, in nats.

    Parameters
    ----------
    logits : array (..., K)
        Scores of the K classes; with ``from_probs=True`` their probabilities. -inf masks a class.
    target : integer array (...), floating array (..., K), or `TopK`
        The class of each row, the probability of each class, or a few classes with their probabilities.
    weight : array (K,), optional
        A weight for each class. A probability target counts as the mixture of labels that it is.
    sample_weight : array that broadcasts to (...), optional
        A weight for each row; 0 leaves it out.
    ignore_index : int
        The label of rows to leave out.
    label_smoothing : float in [0, 1]
        Mixes the target with the uniform distribution over the classes (those that `mask` keeps):
        ``(1 - e) q + e / K`` (Szegedy et al. 2016).
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept; "none" gives each row's weighted loss.
    z_loss : float
        Adds ``z_loss * (log sum_j exp a_j)^2`` (Chowdhery et al. 2022).
    confidence_penalty : float
        Takes away ``confidence_penalty * entropy(p)`` (Pereyra et al. 2017).
    temperature : float
        Logits are divided by it.
    softcap : float, optional
        Logits are first bounded, ``c tanh(z / c)`` (Gemma Team 2024).
    prior : array (K,), optional
        Masses of the classes, such as their counts: ``log prior`` is added to the logits, so that these learn what the
        prior does not say (logit adjustment, Menon et al. 2021). Raise it to a power for another strength.
    mask : boolean array (K,) or (..., K), optional
        True keeps a class; the others have probability 0.
    from_probs : bool
        `logits` are probabilities: used as they are, exact at 0 and 1. An impossible event that happened costs inf.
    eps : float
        With ``from_probs=True``, a floor under the probabilities. 0 is the truth.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, a target or probabilities that are no distribution.
    TypeError
        Labels that are not integers, arrays of different libraries.

    Warns
    -----
    UserWarning
        When every row of the logits looks like a probability distribution.

    Notes
    -----
    Exact where log-sum-exp minus logit is not: offsets common to a row cancel before anything is rounded, and a
    confident row's loss keeps its digits.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]])
    >>> round(float(cross_entropy(np.log(p), [2, 1, 0])), 3)
    1.378
    >>> cross_entropy(p, [2, 1, 0], from_probs=True, reduction="none").round(3).tolist()
    [0.916, 0.916, 2.303]
    """
    return read_cross_entropy(
        logits,
        target,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        confidence_penalty=confidence_penalty,
        temperature=temperature,
        softcap=softcap,
        prior=prior,
        mask=mask,
        from_probs=from_probs,
        eps=eps,
    ).value()


def read_cross_entropy(
    logits: Any, target: Any, *, label_smoothing: float = 0.0, z_loss: float = 0.0, **options: Any
) -> SoftmaxLoss:
    """The arguments of `cross_entropy`, checked."""
    return read_softmax(lambda K: CrossEntropy(K, label_smoothing, z_loss), logits, target, **options)


class SoftmaxOptions(TypedDict, total=False):
    """What the losses below share with `cross_entropy`."""

    weight: Any
    sample_weight: Any
    ignore_index: int
    label_smoothing: float
    reduction: Reduction
    temperature: float
    softcap: float | None
    prior: Any
    mask: Any
    from_probs: bool
    eps: float


@shows_options_of(cross_entropy, SoftmaxOptions)
def focal_loss(logits: Any, target: Any, *, gamma: float = 2.0, **options: Unpack[SoftmaxOptions]) -> Any:
    """The focal loss ``-(1 - p_y)^gamma log p_y``, which leaves easy rows out, in nats.

    Parameters
    ----------
    logits, target
        As for `cross_entropy`. A probability target is the mixture of labels that it is: ``sum_j q_j f(p_j)``.
    gamma : float
        Any number from 0, which is the cross-entropy; the gradient is right below 1 too.
    **options
        As for `cross_entropy`; ``weight`` is the paper's alpha.

    Returns
    -------
    As `cross_entropy`.

    References
    ----------
    Lin et al., "Focal Loss for Dense Object Detection" (2017), eq. 5.

    Examples
    --------
    >>> round(float(focal_loss([[-100.0, 0.0]], [0])), 6)  # sure and wrong: nearly the cross-entropy
    100.0
    """
    return read_focal(logits, target, gamma=gamma, **options).value()


def read_focal(
    logits: Any, target: Any, *, gamma: float = 2.0, label_smoothing: float = 0.0, **options: Any
) -> SoftmaxLoss:
    """The arguments of `focal_loss`, checked."""
    return read_softmax(lambda _: Focal(gamma, label_smoothing), logits, target, **options)


@shows_options_of(cross_entropy, SoftmaxOptions)
def poly_loss(logits: Any, target: Any, *, epsilon: float = 1.0, **options: Unpack[SoftmaxOptions]) -> Any:
    """The poly-1 loss ``-log p_y + epsilon (1 - p_y)``, in nats.

    Parameters
    ----------
    logits, target
        As for `cross_entropy`. A probability target is the mixture of labels that it is.
    epsilon : float
        At least -1; 0 is the cross-entropy.
    **options
        As for `cross_entropy`.

    Returns
    -------
    As `cross_entropy`.

    References
    ----------
    Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions" (2022), section 4.2.

    Examples
    --------
    >>> round(float(poly_loss([[0.0, 0.0]], [0], epsilon=2.0)), 4)
    1.6931
    """
    return read_poly(logits, target, epsilon=epsilon, **options).value()


def read_poly(
    logits: Any, target: Any, *, epsilon: float = 1.0, label_smoothing: float = 0.0, **options: Any
) -> SoftmaxLoss:
    """The arguments of `poly_loss`, checked."""
    return read_softmax(lambda _: Poly1(epsilon, label_smoothing), logits, target, **options)


@shows_options_of(cross_entropy, SoftmaxOptions)
def generalized_cross_entropy(logits: Any, target: Any, *, q: float = 0.7, **options: Unpack[SoftmaxOptions]) -> Any:
    """The generalised cross-entropy ``(1 - p_y^q) / q``, which bounds what a wrong label can cost.

    Parameters
    ----------
    logits, target
        As for `cross_entropy`. A probability target is the mixture of labels that it is.
    q : float in [0, 1]
        0 is the cross-entropy, 1 is ``1 - p_y``, half the absolute error.
    **options
        As for `cross_entropy`.

    Returns
    -------
    As `cross_entropy`.

    References
    ----------
    Zhang & Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels" (2018), eq. 6.

    Examples
    --------
    >>> round(float(generalized_cross_entropy([[0.0, 0.0]], [0], q=1.0)), 4)
    0.5
    """
    return read_generalized(logits, target, q=q, **options).value()


def read_generalized(
    logits: Any, target: Any, *, q: float = 0.7, label_smoothing: float = 0.0, **options: Any
) -> SoftmaxLoss:
    """The arguments of `generalized_cross_entropy`, checked."""
    return read_softmax(lambda _: GeneralizedCrossEntropy(q, label_smoothing), logits, target, **options)
