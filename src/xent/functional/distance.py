"""Squared and absolute error of probabilities, from logits: what people compare cross-entropy with."""

from __future__ import annotations

from typing import Any, TypedDict, Unpack

from ._arguments import Reduction, shows_options_of
from ._distance import read_binary_distance, read_distance
from ._terms import SumLoss


def squared_error(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    from_probs: bool = False,
) -> Any:
    """Squared error of the softmax of logits, ``sum_j (p_j - q_j)^2``: the Brier score, from 0 to 2.

    Its gradient in the logits has a factor p more than that of the cross-entropy: a row that is sure and wrong hardly
    learns.

    Parameters
    ----------
    logits : array (..., K)
        Scores of the K classes; with ``from_probs=True`` their probabilities. -inf masks a class.
    target : integer array (...) or floating array (..., K)
        The class of each row, or the distribution q over the classes.
    weight : array (K,), optional
        A weight for each class; that of a distribution is ``sum_j q_j weight_j``.
    sample_weight : array that broadcasts to (...), optional
        A weight for each row; 0 leaves it out, and nothing in it is read.
    ignore_index : int
        The label of rows to leave out.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept (0 where nothing is), and not by K as PyTorch's ``mse_loss`` does;
        "none" gives each row's weighted error.
    temperature : float
        Divides the logits.
    from_probs : bool
        `logits` are probabilities, used as they are.

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
    A confident row keeps its digits, in the gradient too: ``p - 1`` is never the difference of two numbers near one.

    References
    ----------
    Brier, "Verification of forecasts expressed in terms of probability" (1950).

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.7, 0.2, 0.1]])
    >>> round(float(squared_error(p, [0], from_probs=True)), 6)  # 0.3^2 + 0.2^2 + 0.1^2
    0.14
    >>> print(f"{squared_error([[0.0, 40.0]], [1]):.4g}")  # 2 p_0^2, and not p_0^2 + 0
    3.61e-35
    """
    return read_squared_error(
        logits,
        target,
        weight=weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        temperature=temperature,
        from_probs=from_probs,
    ).value()


def read_squared_error(logits: Any, target: Any, **options: Any) -> SumLoss:
    """The arguments of `squared_error`, checked."""
    return read_distance(2, logits, target, **options)


class DistanceOptions(TypedDict, total=False):
    """What the two errors share."""

    weight: Any
    sample_weight: Any
    ignore_index: int
    reduction: Reduction
    temperature: float
    from_probs: bool


@shows_options_of(squared_error, DistanceOptions)
def absolute_error(logits: Any, target: Any, **options: Unpack[DistanceOptions]) -> Any:
    """Absolute error of the softmax of logits, ``sum_j |p_j - q_j|``, from 0 to 2: twice the total variation.

    For labels it is ``2 (1 - p_y)``.

    Parameters
    ----------
    logits, target
        As for `squared_error`.
    **options
        As for `squared_error`.

    Returns
    -------
    As `squared_error`.

    Notes
    -----
    Where p_j is q_j, ``|p_j - q_j|`` has the slope 0.

    References
    ----------
    Ghosh, Kumar & Sastry, "Robust Loss Functions under Label Noise for Deep Neural Networks" (2017), section 3.

    Examples
    --------
    >>> import numpy as np
    >>> round(float(absolute_error(np.array([[0.7, 0.2, 0.1]]), [0], from_probs=True)), 6)
    0.6
    """
    return read_absolute_error(logits, target, **options).value()


def read_absolute_error(logits: Any, target: Any, **options: Any) -> SumLoss:
    """The arguments of `absolute_error`, checked."""
    return read_distance(1, logits, target, **options)


def binary_squared_error(
    logits: Any,
    target: Any,
    *,
    pos_weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    temperature: float = 1.0,
    from_probs: bool = False,
) -> Any:
    """Squared error of yes-or-no targets, ``(p - y)^2`` with ``p = 1 / (1 + exp(-z))``: the Brier score of two classes.

    Half of what `squared_error` makes of the same two classes.

    Parameters
    ----------
    logits : array (...)
        The log-odds z of each entry; with ``from_probs=True`` its probability p. Infinite logits are certain answers.
    target : array of the same shape
        y: 0 or 1 (or booleans), or the probability of a yes.
    pos_weight : array that broadcasts to the shape, optional
        A weight for the yes class; an entry has the weight ``pos_weight y + (1 - y)``.
    sample_weight : array that broadcasts to the shape, optional
        A weight for each entry; 0 leaves it out, and nothing in it is read.
    ignore_index : int
        The target of entries to leave out.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept, 0 where nothing is.
    temperature : float
        Divides the logits.
    from_probs : bool
        `logits` are probabilities, used as they are.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 (and NumPy's integers), else float32

    Raises
    ------
    ValueError
        Shapes that differ, targets or probabilities outside [0, 1].
    TypeError
        Arrays of different libraries.

    References
    ----------
    Brier (1950); the learning speed of the two errors: Nielsen, "Neural Networks and Deep Learning" (2015), chapter 3.

    Examples
    --------
    >>> round(float(binary_squared_error([0.1, 0.9, 0.8, 0.4], [0, 1, 1, 0], from_probs=True)), 4)
    0.055
    """
    return read_binary_squared_error(
        logits,
        target,
        pos_weight=pos_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        reduction=reduction,
        temperature=temperature,
        from_probs=from_probs,
    ).value()


def read_binary_squared_error(logits: Any, target: Any, **options: Any) -> SumLoss:
    """The arguments of `binary_squared_error`, checked."""
    return read_binary_distance(2, logits, target, **options)


class BinaryDistanceOptions(TypedDict, total=False):
    """What the two errors share."""

    pos_weight: Any
    sample_weight: Any
    ignore_index: int
    reduction: Reduction
    temperature: float
    from_probs: bool


@shows_options_of(binary_squared_error, BinaryDistanceOptions)
def binary_absolute_error(logits: Any, target: Any, **options: Unpack[BinaryDistanceOptions]) -> Any:
    """Absolute error of yes-or-no targets, ``|p - y|`` with ``p = 1 / (1 + exp(-z))``.

    Half of what `absolute_error` makes of the same two classes; for y = 0 or 1 the probability of the other answer.

    Parameters
    ----------
    logits, target
        As for `binary_squared_error`.
    **options
        As for `binary_squared_error`.

    Returns
    -------
    As `binary_squared_error`.

    Notes
    -----
    Where p is y, it has the slope 0.

    Examples
    --------
    >>> round(float(binary_absolute_error([0.1, 0.9, 0.8, 0.4], [0, 1, 1, 0], from_probs=True)), 4)
    0.2
    """
    return read_binary_absolute_error(logits, target, **options).value()


def read_binary_absolute_error(logits: Any, target: Any, **options: Any) -> SumLoss:
    """The arguments of `binary_absolute_error`, checked."""
    return read_binary_distance(1, logits, target, **options)
