"""Cross-entropy of NumPy arrays: of logits, of probabilities, of a linear layer, of two classes; and their gradients.

All share one set of rules. The last axis of logits is the classes, any axes may come before it. ``reduction="mean"`` is
the weighted sum over the sum of the weights kept, for labels and probabilities alike, and 0 where nothing is kept. A
row left out (``ignore_index``, or a weight of 0) costs nothing and nothing in it is read, NaN included. Values are in
nats; half precisions are computed and returned in float32.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from ._binary import binary_cross_entropy, binary_with_gradients
from ._problem import Reduction
from ._softmax import linear_with_gradients, softmax_with_gradients
from .kernels.contract import Array

__all__ = ["binary_cross_entropy", "cross_entropy", "linear_cross_entropy", "value_and_grad"]


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    sample_weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    from_probs: bool = False,
    eps: float = 0.0,
) -> Any:
    """Cross-entropy of a target with the softmax of logits, ``-sum_j q_j log p_j``, in nats.

    Parameters
    ----------
    logits : array (..., K)
        Scores of the K classes; with ``from_probs=True`` their probabilities. -inf masks a class.
    target : integer array (...) or floating array (..., K)
        The class of each row, or the probability of each class.
    weight : array (K,), optional
        A weight for each class. A probability target counts as the mixture of labels that it is.
    sample_weight : array that broadcasts to (...), optional
        A weight for each row; 0 leaves it out.
    ignore_index : int
        The label of rows to leave out.
    label_smoothing : float in [0, 1]
        Mixes the target with the uniform distribution: ``(1 - e) q + e / K``.
    reduction : "mean", "sum" or "none"
        "mean" divides by the sum of the weights kept; "none" gives each row's weighted loss.
    from_probs : bool
        `logits` are probabilities: used as they are, exact at 0 and 1. An impossible event that happened costs inf.
    eps : float
        With ``from_probs=True``, a floor under the probabilities. 0 is the truth.

    Returns
    -------
    scalar, or array (...) for ``reduction="none"``; float64 for float64 and integers, else float32

    Raises
    ------
    ValueError
        Shapes that do not fit, a label outside 0 ... K - 1, a target or probabilities that are no distribution.
    TypeError
        Labels that are not integers, arrays of another library.

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
    options = (weight, sample_weight, ignore_index, label_smoothing, reduction, from_probs, eps)
    return softmax_with_gradients(logits, target, *options, wrt=())[0]


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
) -> Any:
    """`cross_entropy` of the logits ``x w' + bias``, which are never stored, in nats.

    Parameters
    ----------
    x : array (..., D)
        Features.
    w : array (K, D)
        A weight vector for each class.
    target : integer array (...) or floating array (..., K)
        The class of each row, or the probability of each class.
    bias : array (K,), optional
    weight, sample_weight, ignore_index, label_smoothing, reduction
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
    options = (bias, weight, sample_weight, ignore_index, label_smoothing, reduction)
    return linear_with_gradients(x, w, target, *options, wrt=())[0]


def value_and_grad(function: Callable[..., Any]) -> Callable[..., tuple[Any, Any]]:
    """A function that returns the value of a loss and its gradients in one pass.

    Parameters
    ----------
    function : `cross_entropy`, `linear_cross_entropy` or `binary_cross_entropy`

    Returns
    -------
    callable
        Takes the same arguments, and ``wrt``: the names of the arguments to differentiate in, by default the floating
        ones among ``logits`` or ``x, w, bias``, and ``target``. Returns ``(value, gradients)``, the gradients a named
        tuple in that order, each in its argument's shape and floating dtype. Weights are constants.

    Raises
    ------
    TypeError
        For any other function.
    ValueError
        For ``reduction="none"``, whose result is not one number, and for names in ``wrt`` that can't be.

    Examples
    --------
    >>> import numpy as np
    >>> value, grads = value_and_grad(cross_entropy)(np.zeros((1, 2)), [1])
    >>> grads.logits.tolist()
    [[0.5, -0.5]]
    """
    known: dict[Any, tuple[Callable[..., tuple[Any, dict[str, Array]]], int]] = {
        cross_entropy: (softmax_with_gradients, 2),
        linear_cross_entropy: (linear_with_gradients, 3),
        binary_cross_entropy: (binary_with_gradients, 2),
    }
    if function not in known:
        names = ", ".join(f.__name__ for f in known)
        raise TypeError(f"value_and_grad knows {names}, not {getattr(function, '__name__', function)!r}")
    inner, positional = known[function]
    defaults = function.__kwdefaults__ or {}

    @functools.wraps(function)
    def with_gradients(*args: Any, wrt: tuple[str, ...] | str | None = None, **options: Any) -> tuple[Any, Any]:
        names = function.__code__.co_varnames[:positional]
        given = dict(zip(names, args, strict=False))
        if len(args) > positional or set(given) & set(options):
            raise TypeError(f"{function.__name__} takes {', '.join(names)} by position and the rest by name")
        given.update(options)
        missing = [n for n in names if n not in given]
        unknown = [n for n in options if n not in names and n not in defaults]
        if missing or unknown:
            problem = f"misses {', '.join(missing)}" if missing else f"has no option {', '.join(unknown)}"
            raise TypeError(f"{function.__name__} {problem}")
        settings = {**defaults, **given}
        if settings["reduction"] == "none":
            raise ValueError('a gradient needs one number: use reduction="mean" or "sum"')
        wanted = _wanted(settings, wrt)
        value, grads = inner(**settings, wrt=wanted)
        return value, namedtuple("Gradients", wanted)(*(grads[n] for n in wanted))

    return with_gradients


def _wanted(settings: dict[str, Any], wrt: tuple[str, ...] | str | None) -> tuple[str, ...]:
    """The arguments to differentiate in."""
    possible = [n for n in ("logits", "x", "w", "bias") if settings.get(n) is not None]
    if np.asarray(settings["target"]).dtype.kind not in "iub":
        possible.append("target")
    if wrt is None:
        return tuple(possible)
    names = (wrt,) if isinstance(wrt, str) else tuple(wrt)
    wrong = [n for n in names if n not in possible]
    if wrong or not names:
        raise ValueError(f"wrt names {', '.join(wrong) or 'nothing'}; here it can name {', '.join(possible)}")
    return names
