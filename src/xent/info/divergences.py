"""Measures of one distribution against others."""

from __future__ import annotations

import math
from typing import Any

from .._arrays import Array, where
from ._arguments import Axis, Kind, read_distributions, weights_of_samples_only
from ._distributions import Distribution, distribution, expectation, same_length
from ._inputs import Inputs, check_base, check_kinds, mixture_weights, outcome_weights, overflow_to_infinity
from ._stable import difference, divergence, log_ratio, weighted_divergence


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
    inputs, axes = read_distributions({"p": p, "q": q}, axis, kind, weights)
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
    symmetric: P says what is weighed. Near-equal distributions keep their digits (see `info._stable`): the relative
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
    inputs, axes = read_distributions({"p": p, "q": q}, axis, kind, weights)
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
    inputs, axes = read_distributions(named, axis, kind, weights, mixture=True)
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
    bound = expectation(xp, of_shares, of_shares, None)[0]
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
    weights_of_samples_only(weights, check_kinds(kind, len(named)))
    inputs, axes = read_distributions(named, axis, kind, weights)
    xp = inputs.xp
    if q is None:
        d = distribution(inputs, 0, axes, normalize)
        value = expectation(xp, d, d, None)
    else:
        value = _cross_entropy(inputs, axes, normalize)
    with overflow_to_infinity(xp):
        value = xp.exp(value)
    return inputs.result(value, axes, keepdims=keepdims)


# ---------------------------------------------------------------------------------------------------------------------


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


def _cross_entropy(inputs: Inputs, axes: tuple[int, ...], normalize: bool) -> Array:
    xp, w = inputs.xp, outcome_weights(inputs, 0, axes)
    p, q = _pair(inputs, axes, normalize)
    return where(xp, _impossible(xp, p, q, w), math.inf, expectation(xp, p, q, w))
