"""Information measures of discrete distributions: entropy, cross-entropy, divergences and what is built of them.

Every function takes NumPy, PyTorch or JAX arrays (any array of the array API) and returns the same kind, or lists,
which become NumPy float64. ``kind`` says what the numbers are; nothing is guessed from them:

``"probs"``
    probabilities, which must sum to one along ``axis`` within the square root of their dtype's eps. What rounding
    leaves is not passed on: the result is that of the distribution divided by its sum. ``normalize=True`` allows any
    sum.
``"log_probs"``
    their natural logarithms; with ``normalize=True`` any logits.
``"counts"``
    numbers of observations, or any non-negative masses: normalised by nature. Integers beyond 2^53 keep their digits.
``"samples"``
    the observations themselves along ``axis``, of any sortable dtype, text included; the measure is that of their
    empirical distribution. They are counted in NumPy, and have no gradient.

Results are in nats, or in the unit of ``base`` (2 for bits, 10 for hartleys). 0 log 0 is 0, in value and in gradient.
Results have the floating dtype of the distributions given (integers and samples: the library's default). The arithmetic
is float64 inside, whatever the dtype (with JAX: if its x64 mode is on), and rounded once. Gradients are those of
the normalised distribution: they differ from the textbook's partial derivatives by a constant along ``axis``, which a
softmax, or a projection on the simplex, takes off anyway.

Checks read values, so they are left out where there are none to read: under ``jax.jit`` and ``torch.compile``. Invalid
input then gives a meaningless number or NaN.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from . import _samples, _stable
from ._distributions import (
    Distribution,
    Inputs,
    check_base,
    check_elements,
    check_kinds,
    distribution,
    mixture_weights,
    negative_axes,
    outcome_weights,
    overflow_to_infinity,
    read,
    same_length,
)
from ._stable import (
    Array,
    difference,
    divergence,
    log_ratio,
    safe_log,
    weighted_divergence,
    where,
)

__all__ = [
    "conditional_entropy",
    "cross_entropy",
    "entropy",
    "information_content",
    "joint_entropy",
    "js_divergence",
    "kl_divergence",
    "mutual_information",
    "perplexity",
]
Axis = int | tuple[int, ...]
Kind = str | tuple[str, ...]


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
    _weights_of_samples_only(weights, kinds)
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
    inputs, axes = _read({"p": p}, axis, kind, weights)
    w = outcome_weights(inputs, 0, axes)
    d = distribution(inputs, 0, axes, normalize)
    return inputs.result(_expectation(inputs.xp, d, d, w), axes, keepdims=keepdims, base=base)


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
    inputs = _read_variables(p, kind, weights)
    if inputs.kinds[0] == "samples":
        axes = _samples.one_axis(negative_axes(-1 if axis is None else axis, inputs.values[0].ndim))
        inputs = _samples.counted(_samples.tuples(inputs), axes, [inputs.weights])
    else:
        ndim = inputs.values[0].ndim
        axes = negative_axes(tuple(range(ndim)) if axis is None else axis, ndim)
    d = distribution(inputs, 0, axes, normalize)
    return inputs.result(_expectation(inputs.xp, d, d, None), axes, keepdims=keepdims, base=base)


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
    inputs = _read_variables((joint, given), kind, weights)
    if inputs.kinds[0] == "samples":
        axes = negative_axes(-1 if axis is None else axis, inputs.values[0].ndim)
        cells, shape = _samples.pairs(inputs, axes)
        value = _samples.conditional_entropy(cells)
        return inputs.result(value.reshape(shape), axes, keepdims=keepdims, base=base)
    axes = _two_axes(axis, inputs)
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
    inputs = _read_variables((joint, other), kind, weights)
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
    axes = _two_axes(axis, inputs)
    d = distribution(inputs, 0, axes, normalize)
    value = _stable.mutual_information(inputs.xp, d, *axes)
    return inputs.result(value, axes, keepdims=keepdims, base=base)


def cross_entropy(
    p: Any,
    q: Any,
    *,
    axis: Axis = -1,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return H(P, Q) = -sum p log q, the mean length of a code made for Q when the symbols come from P.

    It is H(P) + KL(P || Q): with P given, to minimise it is to minimise the divergence. Infinite if q is zero where p
    is not. `xent.cross_entropy` is its use as a loss, from logits.

    Parameters
    ----------
    p, q : array
        Distributions along ``axis``, of one length there; the other axes broadcast.
    axis, base, normalize, keepdims
        As for `entropy`.
    kind : str or pair of str
        What ``p`` and ``q`` hold, or what each of them does: ``kind=("counts", "probs")``. Samples are counted over the
        union of the symbols of both.
    weights : array, optional
        Weights of outcomes in the expectation, as for `entropy`. For samples, a pair (a tuple) of arrays: the weights
        of the observations of ``p`` and of ``q``, either of which may be None.

    Returns
    -------
    array or scalar

    References
    ----------
    Cover & Thomas, theorem 5.4.3; Guiasu (1971) for the weights.

    Examples
    --------
    >>> print(cross_entropy([0.0, 1.0, 0.0], [0.1, 0.8, 0.1]).round(2))  # one-hot: -log 0.8
    0.22
    >>> print(cross_entropy([0.5, 0.5], [1.0, 0.0]))
    inf
    """
    base = check_base(base)
    inputs, axes = _read({"p": p, "q": q}, axis, kind, weights)
    value = _cross_entropy(inputs, axes, normalize)
    return inputs.result(value, axes, keepdims=keepdims, base=base)


def kl_divergence(
    p: Any,
    q: Any,
    *,
    axis: Axis = -1,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return KL(P || Q) = sum p log(p / q), the extra code length for taking Q where P is true; "relative entropy".

    Zero if the distributions are equal and positive otherwise (Gibbs), infinite if q is zero where p is not, and not
    symmetric: P says what is weighed. Near-equal distributions keep their digits (see `xent._stable`): the relative
    error in float64 is some 1e-15 down to divergences of 1e-20 and below.

    Parameters
    ----------
    p, q : array
        Distributions along ``axis``, of one length there; the other axes broadcast.
    axis, base, kind, normalize, keepdims
        As for `cross_entropy`.
    weights : array, optional
        Weights of outcomes, sum w p log(p / q), as for `cross_entropy`. Such a sum may be negative.

    Returns
    -------
    array or scalar

    References
    ----------
    Kullback & Leibler, "On information and sufficiency" (1951); Cover & Thomas, eq. 2.26; Guiasu (1971).

    Examples
    --------
    >>> print(kl_divergence([0.7, 0.3], [0.5, 0.5]).round(4), kl_divergence([0.5, 0.5], [0.7, 0.3]).round(4))
    0.0823 0.0872
    """
    base = check_base(base)
    inputs, axes = _read({"p": p, "q": q}, axis, kind, weights)
    xp = inputs.xp
    w = outcome_weights(inputs, 0, axes)
    p_, q_ = _pair(inputs, axes, normalize)
    if w is None:
        value = divergence(xp, *difference(xp, p_, q_), axes)
    else:
        value = weighted_divergence(xp, *difference(xp, p_, q_), w, axes)
    value = where(xp, _impossible(xp, p_, q_, w), math.inf, value)
    return inputs.result(value, axes, keepdims=keepdims, base=base)


def js_divergence(
    p: Any,
    q: Any,
    *more: Any,
    axis: Axis = -1,
    base: float = math.e,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return the Jensen-Shannon divergence: the mean divergence of distributions from their mixture.

    Between 0 and the entropy of the mixture's weights, log 2 for two, and symmetric for equal weights. It is the
    divergence, not its square root (the distance). Near-equal distributions keep their digits.

    Parameters
    ----------
    p, q, *more : array
        Two distributions or more along ``axis``, of one length there; the other axes broadcast.
    axis, base, kind, normalize, keepdims
        As for `cross_entropy`.
    weights : sequence of numbers, optional
        The weight of each distribution in the mixture, which must sum to one; equal by default.

    Returns
    -------
    array or scalar

    References
    ----------
    Lin, "Divergence measures based on the Shannon entropy" (1991).

    Examples
    --------
    >>> print(js_divergence([1.0, 0.0], [0.0, 1.0], base=2))
    1.0
    """
    base = check_base(base)
    named = {"p": p, "q": q, **{f"distribution {i}": x for i, x in enumerate(more, 2)}}
    inputs, axes = _read(named, axis, kind, weights, mixture=True)
    xp, weights = inputs.xp, mixture_weights(inputs)
    same_length(inputs, axes)
    first, *others = (distribution(inputs, i, axes, normalize) for i in range(len(named)))
    shares = [weights[i, ...] for i in range(len(named))]
    # All with the sum of the first, and how far each is from it. That is how far each is from another, and so from the
    # mixture: a mean of differences, where p less the mixture would keep none of the digits of a small one.
    masses, apart = [first.mass], [xp.zeros_like(first.mass)]
    for other in others:
        mass, _, difference_to_first, _ = difference(xp, other, first)
        masses.append(mass)
        apart.append(difference_to_first)
    mixture = _mean(shares, masses)
    value: Any = 0.0
    for i, (share, mass) in enumerate(zip(shares, masses, strict=True)):
        mass = mass + xp.zeros_like(mixture)
        d = _mean(shares[:i] + shares[i + 1 :], [apart[i] - x for x in apart[:i] + apart[i + 1 :]])
        value = value + share * divergence(xp, mass, mixture, d, log_ratio(xp, mass, mixture), axes)
    of_shares = Distribution(weights, xp.sum(weights, axis=-1, keepdims=True), (-1,))
    bound = _expectation(xp, of_shares, of_shares, None)[0]
    return inputs.result(where(xp, value > bound, bound, value), axes, keepdims=keepdims, base=base)


def perplexity(
    p: Any,
    q: Any = None,
    *,
    axis: Axis = -1,
    kind: Kind = "probs",
    weights: Any = None,
    normalize: bool = False,
    keepdims: bool = False,
) -> Array:
    """Return exp H(P), or exp H(P, Q) when ``q`` is given: the number of equally likely outcomes as uncertain as P.

    No ``base``: a perplexity is the same in every unit.

    Parameters
    ----------
    p, q : array
        As for `entropy` and `cross_entropy`.
    axis, kind, normalize, keepdims
        As for `cross_entropy`.
    weights : array, or pair of arrays with ``q``; optional
        For samples only: the weight of each observation.

    Returns
    -------
    array or scalar

    References
    ----------
    Jelinek, Mercer, Bahl & Baker (1977).

    Examples
    --------
    >>> print(perplexity([0.25, 0.25, 0.25, 0.25]).round(12))
    4.0
    """
    named = {"p": p} if q is None else {"p": p, "q": q}
    _weights_of_samples_only(weights, check_kinds(kind, len(named)))
    inputs, axes = _read(named, axis, kind, weights)
    xp = inputs.xp
    if q is None:
        d = distribution(inputs, 0, axes, normalize)
        value = _expectation(xp, d, d, None)
    else:
        value = _cross_entropy(inputs, axes, normalize)
    with overflow_to_infinity(xp):
        value = xp.exp(value)
    return inputs.result(value, axes, keepdims=keepdims)


# ---------------------------------------------------------------------------------------------------------------------


def _weights_of_samples_only(weights: Any, kinds: tuple[str, ...]) -> None:
    if weights is not None and "samples" not in kinds:
        raise ValueError("weights are those of observations here: they need kind='samples'")


def _read(
    named: dict[str, Any], axis: Axis, kind: Kind, weights: Any, mixture: bool = False
) -> tuple[Inputs, tuple[int, ...]]:
    """Read distributions, samples already counted, and the axes as negative numbers."""
    kinds = check_kinds(kind, len(named))
    observed = "samples" in kinds
    # The weights of samples belong to the observations of each argument, and are counted in with them.
    inputs = read(named, kinds, None if observed and not mixture else weights)
    axes = negative_axes(axis, max(x.ndim for x in inputs.values))
    if observed:
        inputs = _samples.counted(inputs, axes, _samples.weights_of_each(None if mixture else weights, inputs))
    return inputs, axes


def _read_variables(variables: tuple[Any, ...], kind: Kind, weights: Any) -> Inputs:
    """Read one joint table, or samples of each variable."""
    given = [x for x in variables if x is not None]
    if kind == "samples":
        if len(given) < len(variables) or not given:
            raise TypeError("kind='samples' takes one array of observations for each variable")
        names = ("x", "y") if len(given) == 2 else tuple(f"variable {i}" for i in range(len(given)))
        return read(dict(zip(names, given, strict=True)), ("samples",) * len(given), weights)
    kinds = check_kinds(kind, 1)
    if len(given) != 1:
        raise TypeError(f"takes one joint table, got {len(given)} arrays; observations need kind='samples'")
    _weights_of_samples_only(weights, kinds)
    return read({"joint": given[0]}, kinds)


def _two_axes(axis: Axis | None, inputs: Inputs) -> tuple[int, int]:
    ndim = inputs.values[0].ndim
    if ndim < 2:
        raise ValueError(f"a joint table has an axis for each variable, got shape {inputs.values[0].shape}")
    axes = negative_axes((-2, -1) if axis is None else axis, ndim)
    if len(axes) != 2:
        raise ValueError(f"axis must name the axis of X and the axis of Y, got {axis!r}")
    return axes[0], axes[1]


def _mean(shares: list[Array], arrays: list[Array]) -> Array:
    return sum(share * x for share, x in zip(shares, arrays, strict=True))


def _pair(inputs: Inputs, axes: tuple[int, ...], normalize: bool) -> tuple[Distribution, Distribution]:
    same_length(inputs, axes)
    return distribution(inputs, 0, axes, normalize), distribution(inputs, 1, axes, normalize)


def _impossible(xp: Any, p: Distribution, q: Distribution, weights: Array | None) -> Array:
    """Return where p has what q excludes, axes kept."""
    excluded = p.support & ~q.support
    if weights is not None:
        excluded = excluded & (weights > 0)
    return xp.any(excluded, axis=p.axis, keepdims=True)


def _expectation(xp: Any, p: Distribution, of: Distribution, weights: Array | None) -> Array:
    """Return the mean under p of the surprisal under another distribution (or p), axes kept."""
    terms = p.mass / p.total * of.surprisal(xp)
    return xp.sum(terms if weights is None else weights * terms, axis=p.axis, keepdims=True)


def _cross_entropy(inputs: Inputs, axes: tuple[int, ...], normalize: bool) -> Array:
    xp, w = inputs.xp, outcome_weights(inputs, 0, axes)
    p, q = _pair(inputs, axes, normalize)
    return where(xp, _impossible(xp, p, q, w), math.inf, _expectation(xp, p, q, w))
