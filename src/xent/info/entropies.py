"""Entropies of one distribution, and of a joint one: what is uncertain, what is left, what is shared."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .._arrays import Array, where
from . import _samples, _stable
from ._arguments import Axis, Kind, read_distributions, read_variables, two_axes, weights_of_samples_only
from ._distributions import check_elements, distribution, expectation
from ._inputs import check_base, check_kinds, negative_axes, outcome_weights, read
from ._stable import safe_log


def information_content(
    p: Any,
    *,
    axis: Axis = -1,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
) -> Array:
    """Return the information -log p that each outcome carries, also called its surprisal or self-information.

    Zero for the certain outcome, infinite for the impossible one, and additive for independent events.

    Parameters
    ----------
    p : array of any shape, or number
        Probabilities, each by itself: nothing need sum to one. Or what ``kind`` says.
    axis : int or tuple of int
        The outcomes of one distribution, for counts, samples and ``normalize=True``.
    base : float
        Unit of the result: e for nats, 2 for bits.
    kind : {"probs", "log_probs", "counts", "samples"}
        For counts, the content of the normalised counts; for samples, that of each observation under the empirical
        distribution of its row.
    weights : array, optional
        For samples only: the weight of each observation.
    normalize : bool
        Divide by the sum along ``axis`` first.

    Returns
    -------
    array of the shape of ``p``

    Raises
    ------
    ValueError
        If a probability is outside [0, 1] or NaN, a count negative, or the base not positive or 1.

    References
    ----------
    Shannon, "A mathematical theory of communication" (1948).

    Examples
    --------
    >>> print(information_content(0.5, base=2))
    1.0
    >>> print(information_content([0.25, 1.0, 0.0], base=2))  # two heads carry twice what one does
    [ 2.  0. inf]
    """
    base = check_base(base)
    kinds = check_kinds(kind, 1)
    weights_of_samples_only(weights, kinds)
    inputs = read({"p": p}, kinds, weights)
    xp, x = inputs.xp, inputs.values[0]
    if kinds == ("samples",):
        axes = negative_axes(axis, x.ndim)
        counts, codes, rows_shape = _samples.symbols(inputs, axes)
        d = distribution(counts, 0, (-1,), True)
        content = np.take_along_axis(np.where(d.support, d.surprisal(xp), np.inf), codes, 1)
        content = np.moveaxis(content.reshape(rows_shape), -1, axes[0])
        return inputs.result(content, base=base)
    if normalize or kinds == ("counts",):
        d = distribution(inputs, 0, negative_axes(axis, x.ndim), normalize)
        return inputs.result(where(xp, d.support, d.surprisal(xp), math.inf), base=base)
    x = check_elements(inputs)
    # 0 - log 1 is 0, where -log 1 would be -0.
    content = 0.0 - x if kinds == ("log_probs",) else where(xp, x > 0, 0.0 - safe_log(xp, x), math.inf)
    return inputs.result(content, base=base)


def entropy(
    p: Any,
    *,
    axis: Axis = -1,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return the entropy H(P) = -sum p log p: the expected information content of one draw.

    Zero for a certain outcome, log n at most, for n equal ones. It is an expectation: the sum of the outcomes'
    information without the weights p is not an entropy.

    Parameters
    ----------
    p : array
        A distribution along ``axis``, or a batch of them, as ``kind`` says.
    axis : int or tuple of int
        The axis, or axes, of the outcomes.
    base : float
        Unit of the result: e for nats, 2 for bits.
    kind : {"probs", "log_probs", "counts", "samples"}
        What ``p`` holds.
    weights : array, optional
        Of outcomes, a vector along ``axis`` or an array: Guiasu's weighted entropy -sum w p log p. For samples, the
        weight of each observation: the distribution is then that of the weights.
    normalize : bool
        Divide by the sum first; the default is to check that it is one.
    keepdims : bool
        Keep ``axis`` with length one.

    Returns
    -------
    array or scalar
        The shape of ``p`` without ``axis``.

    Raises
    ------
    ValueError
        If a distribution does not sum to one (its sum and its place are shown), or holds a negative, infinite or NaN
        entry; if a weight is negative.

    References
    ----------
    Shannon (1948); Cover & Thomas, *Elements of Information Theory*, eq. 2.1; Guiasu, "Weighted entropy" (1971).

    Examples
    --------
    >>> print(entropy([0.5, 0.5], base=2))
    1.0
    >>> print(entropy([3, 1], kind="counts", base=2).round(4), entropy(list("aaab"), kind="samples", base=2).round(4))
    0.8113 0.8113
    """
    base = check_base(base)
    inputs, axes = read_distributions({"p": p}, axis, kind, weights)
    w = outcome_weights(inputs, 0, axes)
    d = distribution(inputs, 0, axes, normalize)
    return inputs.result(expectation(inputs.xp, d, d, w), axes, keepdims=keepdims, base=base)


def joint_entropy(
    *p: Any,
    axis: Axis | None = None,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return the entropy H(X, Y, ...) of several variables together.

    Parameters
    ----------
    *p : array
        One joint table; or, for samples, one array of observations for each variable, all of one shape.
    axis : int or tuple of int, optional
        The axes of the variables (None: all; for samples, -1). The other axes are a batch.
    base, kind, weights, normalize, keepdims
        As for `entropy`, but for ``weights``, which are for samples only: the weight of each observation.

    Returns
    -------
    array or scalar

    References
    ----------
    Cover & Thomas, eq. 2.8.

    Examples
    --------
    >>> print(joint_entropy([[0.25, 0.25], [0.25, 0.25]], base=2))
    2.0
    >>> print(joint_entropy([0, 0, 1, 1], ["a", "b", "a", "b"], kind="samples", base=2))
    2.0
    """
    base = check_base(base)
    inputs = read_variables(p, kind, weights)
    if inputs.kinds[0] == "samples":
        axes = _samples.one_axis(negative_axes(-1 if axis is None else axis, inputs.values[0].ndim))
        inputs = _samples.counted(_samples.tuples(inputs), axes, [inputs.weights])
    else:
        ndim = inputs.values[0].ndim
        axes = negative_axes(tuple(range(ndim)) if axis is None else axis, ndim)
    d = distribution(inputs, 0, axes, normalize)
    return inputs.result(expectation(inputs.xp, d, d, None), axes, keepdims=keepdims, base=base)


def conditional_entropy(
    joint: Any,
    given: Any = None,
    *,
    axis: Axis | None = None,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return H(X|Y) = -sum p(x, y) log p(x|y): what is left to learn of X when Y is known.

    X and Y may depend on each other in any way: where they are independent, H(X|Y) is H(X), and it is less otherwise.
    It is summed as it stands, not as the difference H(X, Y) - H(Y), and so is exact where Y all but tells X.

    Parameters
    ----------
    joint : array
        The joint table of X and Y; for samples, the observations of X.
    given : array, optional
        For samples only: the observations of Y, in the same shape.
    axis : pair of int, optional
        The axis of X and the axis of Y in the table, (-2, -1) by default; for samples, the one axis along which
        observations run, -1 by default. The other axes are a batch.
    base, kind, weights, normalize, keepdims
        As for `joint_entropy`.

    Returns
    -------
    array or scalar

    References
    ----------
    Shannon (1948); Cover & Thomas, eq. 2.10-2.12.

    Examples
    --------
    >>> print(conditional_entropy([[0.5, 0.0], [0.0, 0.5]], base=2))  # Y tells X
    0.0
    >>> print(conditional_entropy([[0.25, 0.25], [0.25, 0.25]], base=2))  # Y says nothing of X
    1.0
    """
    base = check_base(base)
    inputs = read_variables((joint, given), kind, weights)
    if inputs.kinds[0] == "samples":
        axes = negative_axes(-1 if axis is None else axis, inputs.values[0].ndim)
        cells, shape = _samples.pairs(inputs, axes)
        value = _samples.conditional_entropy(cells)
        return inputs.result(value.reshape(shape), axes, keepdims=keepdims, base=base)
    axes = two_axes(axis, inputs)
    xp, d = inputs.xp, distribution(inputs, 0, axes, normalize)
    column = xp.sum(d.mass, axis=axes[0], keepdims=True)
    # Of X given each y: a y that never comes has no mass to divide, and none to weigh its entropy with.
    of_x = replace(d, total=where(xp, column > 0, column, 1.0), axis=axes[:1])
    value = xp.sum(d.mass / d.total * of_x.surprisal(xp), axis=axes, keepdims=True)
    return inputs.result(value, axes, keepdims=keepdims, base=base)


def mutual_information(
    joint: Any,
    other: Any = None,
    *,
    axis: Axis | None = None,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return I(X; Y), the divergence of a joint distribution from the product of its marginals.

    Zero for independent variables and never less, symmetric, at most the smaller of H(X) and H(Y). It keeps its digits
    when the variables are all but independent: no entropies are subtracted.

    Parameters
    ----------
    joint : array
        The joint table of X and Y; for samples, the observations of X.
    other : array, optional
        For samples only: the observations of Y, in the same shape.
    axis, base, kind, weights, normalize, keepdims
        As for `conditional_entropy`.

    Returns
    -------
    array or scalar

    References
    ----------
    Shannon (1948); Cover & Thomas, eq. 2.28.

    Examples
    --------
    >>> print(mutual_information([[0.5, 0.0], [0.0, 0.5]], base=2).round(12))
    1.0
    >>> print(mutual_information(list("aabb"), [0, 1, 0, 1], kind="samples"))
    0.0
    """
    base = check_base(base)
    inputs = read_variables((joint, other), kind, weights)
    if inputs.kinds[0] == "samples":
        kept = negative_axes(-1 if axis is None else axis, inputs.values[0].ndim)
        cells, shape = _samples.pairs(inputs, kept)
        if cells.table is None:
            value = _samples.mutual_information(cells)
            return inputs.result(value.reshape(shape), kept, keepdims=keepdims, base=base)
        tables = replace(inputs, values=(cells.table,), names=("the table",), kinds=("counts",))
        d = distribution(tables, 0, (-2, -1), True)
        value = _stable.mutual_information(inputs.xp, d, -2, -1)
        return inputs.result(value.reshape(shape), kept, keepdims=keepdims, base=base)
    axes = two_axes(axis, inputs)
    d = distribution(inputs, 0, axes, normalize)
    value = _stable.mutual_information(inputs.xp, d, *axes)
    return inputs.result(value, axes, keepdims=keepdims, base=base)
