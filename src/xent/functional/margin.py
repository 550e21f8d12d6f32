"""Cross-entropy of a layer of class centres with a margin, its logits, and the angles to the centres."""

from __future__ import annotations

from typing import Any

from ..losses import CrossEntropy
from ..losses.margins import CosFace, Margin
from ._arguments import Reduction
from ._margin import MarginLoss, quiet, read_layer, read_margin
from ._margin_layer import plain_logits


def margin_cross_entropy(
    x: Any,
    w: Any,
    target: Any,
    margin: Margin,
    *,
    bias: Any = None,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy of labels with the softmax of a layer of class centres, a margin on the label's logit, in nats.

    Parameters
    ----------
    x : array (..., D)
        Embeddings, not normalised: the margin does that where its formula has it.
    w : array (K, D) or (K, C, D)
        A centre for each class; or C centres, of which the one nearest to the embedding counts (for `LSoftmax` and
        `SMSoftmax`, the one with the greatest logit) and only that gets a gradient.
    target : integer array (...)
        The class of each row.
    margin : Margin
        One of `xent.losses.margins`: `ArcFace(0.5)`, `CosFace(0.35)`, `SMSoftmax(1.0)`, ...
    bias : array (K,), optional
        Added to the logits at the end, in their units.
    weight, sample_weight, ignore_index, label_smoothing, reduction
        As for `xent.cross_entropy`.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 and integers, else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, margins for another number of classes.
    TypeError
        Targets that are not labels, a margin that is none, arrays of different libraries.

    Notes
    -----
    Differentiable by PyTorch and JAX; for NumPy see `xent.value_and_grad`. The gradient is exact at every angle: with
    ArcFace its part through the target's angle has the length ``s |sin(theta + m)| / |x|``, on the centre too, where
    every direction in which to leave is as good as another and one is fixed (`xent.losses.margins.Pair`). A zero
    embedding or centre has the cosine 0 with everything, and no gradient through it.

    Sub-centres: Deng et al., "Sub-center ArcFace", ECCV 2020.

    Examples
    --------
    >>> import numpy as np
    >>> from xent.losses.margins import ArcFace
    >>> x, w = np.array([[2.0, 0.0], [1.0, 1.0]]), np.eye(2)
    >>> round(float(margin_cross_entropy(x, w, [0, 1], ArcFace(0.5, scale=4))), 4)
    0.9496
    """
    return read_margin_cross_entropy(
        x,
        w,
        target,
        margin,
        bias=bias,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
    ).value()


def read_margin_cross_entropy(
    x: Any, w: Any, target: Any, margin: Margin, *, label_smoothing: float = 0.0, **options: Any
) -> MarginLoss:
    """The arguments of `margin_cross_entropy`, checked."""
    return read_margin(lambda K: CrossEntropy(K, label_smoothing), x, w, target, margin, **options)


def margin_logits(x: Any, w: Any, target: Any, margin: Margin, *, bias: Any = None, ignore_index: int = -100) -> Any:
    """The logits whose cross-entropy `margin_cross_entropy` is.

    Parameters
    ----------
    x, w, margin, bias, ignore_index
        As for `margin_cross_entropy`.
    target : integer array (...) or None
        The class of each row; None for the logits without a margin, which are what to predict with.

    Returns
    -------
    array (..., K)
        A row left out has the logits of a zero embedding.

    Examples
    --------
    >>> import numpy as np
    >>> from xent.losses.margins import CosFace
    >>> x, w = np.array([[3.0, 4.0]]), np.eye(2)
    >>> margin_logits(x, w, [1], CosFace(0.25, scale=1)).round(6).tolist()
    [[0.6, 0.55]]
    >>> margin_logits(x, w, None, CosFace(0.25, scale=1)).round(6).tolist()
    [[0.6, 0.8]]
    """
    if target is not None:
        return read_margin(CrossEntropy, x, w, target, margin, bias=bias, ignore_index=ignore_index).logits()
    layer = read_layer(x, w, margin, bias)
    with quiet():
        logits = plain_logits(layer.xp, layer.x, layer.w, margin, layer.bias)
        return layer.xp.reshape(logits, (*layer.leading, logits.shape[1]))


def target_angles(x: Any, w: Any, target: Any, *, ignore_index: int = -100) -> Any:
    """The angle between each embedding and its class's centre, in radians: what training makes small.

    Their cosines are what `CurricularFace.updated` averages, and large ones, above 75 degrees say, are how
    sub-centre ArcFace finds labels to drop.

    Parameters
    ----------
    x, w, target, ignore_index
        As for `margin_cross_entropy`; with more than one centre in a class, the angle to the nearest.

    Returns
    -------
    array (...)
        In [0, pi]; pi / 2 where the embedding or the centre is zero, NaN for rows left out.

    Examples
    --------
    >>> import numpy as np
    >>> target_angles(np.array([[0.0, 2.0], [1.0, 1e-9]]), np.eye(2), [0, 0]).tolist()
    [1.5707963267948966, 1e-09]
    """
    return read_margin(CrossEntropy, x, w, target, CosFace(0.0), ignore_index=ignore_index).angles()
