"""Distributions, their checks, and the mean under one of the surprisal under another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import array_api_compat as compat
import numpy as np

from .._arrays import Array, known, primal, to_numpy, where
from ._inputs import Inputs, eps_of, first_bad, shape_text
from ._stable import log_ratio, rescale, two_sum


@dataclass(frozen=True)
class Distribution:
    """Masses proportional to probabilities, along ``axis`` (negative numbers)."""

    mass: Array
    total: Array  # the sum, axes kept
    axis: tuple[int, ...]
    low: Array | None = None  # what rounding to a float took off integer counts
    log: Array | None = None  # the log-probabilities as given, with 0 for -inf
    peak: Array | None = None  # the largest of them: mass = exp(log - peak), which may underflow
    finite: Array | None = None  # where they are not -inf

    @property
    def support(self) -> Array:
        """Where the probability is not zero."""
        return self.mass > 0 if self.finite is None else self.finite

    def surprisal(self, xp: Any) -> Array:
        """Return -log of the probability, zero or more, and 0 outside the support.

        The one entry above a half takes its logarithm from the sum of the others: -log(1 - 1e-20) is 1e-20, not 0.
        """
        dominant = self.mass + self.mass > self.total
        others = xp.sum(where(xp, dominant, 0.0, self.mass), axis=self.axis, keepdims=True)
        if self.log is None:
            rest = log_ratio(xp, self.total + xp.zeros_like(self.mass), self.mass)
        else:
            rest = where(xp, self.support, xp.log(self.total) - (self.log - self.peak), 0.0)
        return where(xp, dominant, xp.log1p(others / where(xp, dominant, self.mass, 1.0)), rest)


def same_length(inputs: Inputs, axis: tuple[int, ...]) -> None:
    """Check that the arguments have the same outcomes: broadcasting is for batches, not for outcomes."""
    shapes = [x.shape for x in inputs.values]
    for a in axis:
        if len({shape[a] for shape in shapes if len(shape) >= -a}) > 1 or any(len(shape) < -a for shape in shapes):
            listing = ", ".join(f"{name} has shape {tuple(s)}" for name, s in zip(inputs.names, shapes, strict=True))
            raise ValueError(f"different numbers of outcomes along axis {a}: {listing}")


def distribution(inputs: Inputs, i: int, axis: tuple[int, ...], normalize: bool) -> Distribution:
    """Check the i-th argument and return it as a `Distribution`; counts are normalised by nature."""
    build = _from_logs if inputs.kinds[i] == "log_probs" else _from_masses
    return build(inputs, i, axis, normalize)


def check_elements(inputs: Inputs) -> Array:
    """Return probabilities in [0, 1], each by itself, or log-probabilities up to 0, in the working dtype."""
    xp, x, name = inputs.xp, inputs.values[0], inputs.names[0]
    logs = inputs.kinds[0] == "log_probs"
    work = xp.astype(x, inputs.work)
    bad = ~(work <= 0.0) if logs else ~((work >= 0.0) & (work <= 1.0))
    if known(xp, xp.any(bad)):
        value, index = first_bad(work, bad)
        what = "a log-probability must be at most 0" if logs else "a probability must be in [0, 1]"
        at = f" at index {index} of {name}" if index else ""
        raise ValueError(f"{what}, got {value:.6g}{at}.{_hint(x, logs=logs)}")
    return work


def _from_masses(inputs: Inputs, i: int, axis: tuple[int, ...], normalize: bool) -> Distribution:
    xp, x, name = inputs.xp, inputs.values[i], inputs.names[i]
    counts = inputs.kinds[i] == "counts"
    mass, low = _split_integers(xp, x, inputs.work) if counts else (xp.astype(x, inputs.work), None)
    bad = ~(mass >= 0) | (mass == math.inf)
    if known(xp, xp.any(bad)):
        value, index = first_bad(mass, bad)
        what = "negative" if value < 0 else "infinite" if value > 0 else "NaN"
        hint = _hint(x) if value < 0 and not counts else ""
        of_sum = ""
        if value < 0:
            sums = to_numpy(primal(xp.sum(mass, axis=axis, keepdims=True)))
            found = float(sums[tuple(0 if k - x.ndim in axis else j for k, j in enumerate(index))])
            of_sum = f", in a sum of {found:.10g}"
        raise ValueError(
            f"{name} must not hold {what} entries: {value:.6g} at index {index} of {shape_text(x)}{of_sum}.{hint}"
        )
    if 0 in [x.shape[a] for a in axis]:
        raise ValueError(f"{name} has no outcomes along axis {axis}: {shape_text(x)}")
    if counts or normalize:
        scale = rescale(xp, mass, axis)
        mass, low = mass * scale, None if low is None else low * scale
    total = xp.sum(mass, axis=axis, keepdims=True)
    if counts or normalize:
        empty = total == 0
        if known(xp, xp.any(empty)):
            raise ValueError(f"{name} sums to 0{_place(empty, x, axis)}: nothing to normalise")
    else:
        _check_sum(inputs, i, xp.abs(total - 1.0), total, axis)
    return Distribution(mass, total, axis, low)


def _from_logs(inputs: Inputs, i: int, axis: tuple[int, ...], normalize: bool) -> Distribution:
    xp, x, name = inputs.xp, inputs.values[i], inputs.names[i]
    log = xp.astype(x, inputs.work)
    bad = ~(log < math.inf)
    if known(xp, xp.any(bad)):
        value, index = first_bad(log, bad)
        raise ValueError(f"{name} must not hold the log-probability {value:.6g}, at index {index} of {shape_text(x)}")
    if 0 in [x.shape[a] for a in axis]:
        raise ValueError(f"{name} has no outcomes along axis {axis}: {shape_text(x)}")
    finite = log > -math.inf
    peak = xp.max(log, axis=axis, keepdims=True)
    empty = peak == -math.inf
    if known(xp, xp.any(empty)):
        raise ValueError(f"{name} is -inf everywhere{_place(empty, x, axis)}: it sums to 0")
    log = where(xp, finite, log, 0.0)
    mass = where(xp, finite, xp.exp(where(xp, finite, log - peak, 0.0)), 0.0)
    total = xp.sum(mass, axis=axis, keepdims=True)
    if not normalize:
        log_sum = peak + xp.log(total)
        error = xp.abs(xp.expm1(where(xp, log_sum < 1.0, log_sum, 1.0)))
        _check_sum(inputs, i, error, log_sum, axis)
    return Distribution(mass, total, axis, log=log, peak=peak, finite=finite)


def _split_integers(xp: Any, counts: Array, work: Any) -> tuple[Array, Array | None]:
    """Return counts as floats, and what rounding took off large integers, exactly: a float64 ends at 2^53."""
    mass = xp.astype(counts, work)
    if not xp.isdtype(counts.dtype, "integral"):
        return mass, None
    half = xp.iinfo(counts.dtype).bits // 2
    exact_bits = 53 if xp.finfo(work).bits == 64 else 24
    if 2 * half <= exact_bits or (compat.is_torch_namespace(xp) and "uint" in str(counts.dtype)):
        return mass, None
    high = xp.astype(counts >> half, work) * 2.0**half
    return two_sum(high, xp.astype(counts & (2**half - 1), work))


def _check_sum(inputs: Inputs, i: int, error: Array, found: Array, axis: tuple[int, ...]) -> None:
    """Raise if the sums ``found`` (of log-probabilities: their logarithms) are further than ``error`` allows from 1."""
    xp, x, name = inputs.xp, inputs.values[i], inputs.names[i]
    tolerance = math.sqrt(eps_of(xp, x, inputs.work))
    bad = ~(error <= tolerance)
    if not known(xp, xp.any(bad)):
        return
    value, _ = first_bad(found, bad)
    logs = inputs.kinds[i] == "log_probs"
    if logs:
        what, ask = f"exp({name})", "normalize=True takes any logits"
        shown = f"{math.exp(value):.10g}" if value < 700 else f"exp({value:.6g})"
    else:
        what, ask, shown = name, "normalize=True divides by the sum", f"{value:.10g}"
    raise ValueError(
        f"{what} sums to {shown}{_place(bad, x, axis)}, not to 1 (tolerance {tolerance:.2g}); "
        f"{ask}.{_hint(x, logs=logs)}"
    )


def _place(bad: Array, x: Array, axis: tuple[int, ...]) -> str:
    """Return where in the batch the first bad distribution is."""
    index = np.argwhere(to_numpy(bad))[0]
    batch = tuple(int(j) for k, j in enumerate(index) if k - x.ndim not in axis)
    return f" ({shape_text(x)})" if not batch else f" at batch index {batch} ({shape_text(x)}, axis {axis})"


def _hint(x: Array, logs: bool = False) -> str:
    """Return which kind the values look like, if another than the one named."""
    values = to_numpy(primal(x))
    values = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    if logs:
        likely = values.size and (values >= 0).all() and (values <= 1).all()
        return " These look like probabilities: kind='probs'." if likely else ""
    if not (values > 0).any() and (values < 0).any():
        return " These look like log-probabilities: kind='log_probs'."
    if (values < 0).any():
        return " If these are logits: kind='log_probs', normalize=True."
    whole = (values > 0).any() and (values == np.floor(values)).all()
    return " These look like counts: kind='counts'." if whole else ""


def expectation(xp: Any, p: Distribution, of: Distribution, weights: Array | None) -> Array:
    """Return the mean under p of the surprisal under another distribution (or p), axes kept."""
    terms = p.mass / p.total * of.surprisal(xp)
    return xp.sum(terms if weights is None else weights * terms, axis=p.axis, keepdims=True)
