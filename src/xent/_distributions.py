"""What the information measures are given: array kinds, the kinds of input, axes, checks, weights and base.

A measure reads its arrays with ``read``, makes each a `Distribution` with ``distribution``, computes on masses of any
sum, and hands its value back through ``Inputs.result``. Samples become counts in ``_samples``.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import array_api_compat as compat
import numpy as np

from ._stable import Array, log_ratio, rescale, two_sum, where

KINDS = ("probs", "log_probs", "counts", "samples")
NUMPY = compat.array_namespace(np.empty(0))


@dataclass(frozen=True)
class Inputs:
    """The arrays of one call, all of one array kind, and what its result shall be."""

    xp: Any  # the namespace to compute in: NumPy's for samples
    values: tuple[Array, ...]
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    weights: Array | None
    weights_eps: float  # of the dtype in which the weights were given
    work: Any  # the dtype to compute in
    home: Any  # the namespace, dtype and device of the result
    dtype: Any
    device: Any

    def result(self, value: Array, axis: tuple[int, ...] = (), *, keepdims: bool = True, base: float = math.e) -> Array:
        """Return ``value``, in nats, in ``base``: without the reduced axes, and rounded once."""
        if not keepdims:
            value = self.xp.squeeze(value, axis=axis)
        if base != math.e:
            value = value / math.log(base)
        if self.home is not self.xp:
            return _to_array(self.home, value, self.dtype, self.device)
        with overflow_to_infinity(self.xp):
            value = self.xp.astype(value, self.dtype)
        return value[()] if self.home is NUMPY else value


def overflow_to_infinity(xp: Any) -> AbstractContextManager[Any]:
    """Let NumPy pass over a perplexity beyond float64, or a divergence beyond float16, without a warning."""
    return np.errstate(over="ignore") if xp is NUMPY else nullcontext()


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


# ---------------------------------------------------------------------------------------------------------------------
# Reading the arguments


def check_base(base: float) -> float:
    """Return ``base`` if it is a positive number other than 1."""
    if not isinstance(base, numbers.Real) or not 0 < base < math.inf or base == 1:
        raise ValueError(f"base must be a positive number other than 1 (e for nats, 2 for bits), got {base!r}")
    return float(base)


def check_kinds(kind: str | Sequence[str], count: int) -> tuple[str, ...]:
    """Return one kind for each of ``count`` arguments."""
    kinds = (kind,) * count if isinstance(kind, str) else tuple(kind)
    for one in kinds:
        if one not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {one!r}")
    if len(kinds) != count:
        raise ValueError(f"kind names {len(kinds)} kinds for {count} arguments")
    if "samples" in kinds and set(kinds) != {"samples"}:
        raise ValueError("kind='samples' cannot be mixed with another kind: which symbol is which entry is not known")
    return kinds


def negative_axes(axis: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return ``axis`` as negative numbers, which name the same axis in arrays that broadcast together."""
    axes: tuple[Any, ...] = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    if not all(isinstance(a, numbers.Integral) for a in axes):
        raise TypeError(f"axis must be an integer or a tuple of integers, got {axis!r}")
    if ndim == 0:
        raise ValueError("a distribution needs an axis for its outcomes, got a single number")
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(int(a), ndim)
    result = tuple(int(a) - ndim if a >= 0 else int(a) for a in axes)
    if len(set(result)) != len(result):
        raise ValueError(f"axis {axis!r} names an axis twice")
    return result


def _kind_name(x: Array) -> str:
    xp = compat.array_namespace(x)
    if xp is NUMPY:
        return "NumPy"
    if compat.is_torch_array(x):
        return "PyTorch"
    return "JAX" if compat.is_jax_array(x) else xp.__name__


def _namespace(named: dict[str, Any]) -> tuple[Any, Array | None]:
    """Return the one namespace of the arrays among the arguments, and the first of them; NumPy for lists alone."""
    arrays = {name: x for name, x in named.items() if compat.is_array_api_obj(x)}
    kinds = {name: _kind_name(x) for name, x in arrays.items()}
    if len(set(kinds.values())) > 1:
        listing = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise TypeError(f"arrays of different kinds: {listing}; convert them to one kind first")
    if not arrays:
        return NUMPY, None
    if any(isinstance(x, np.ma.MaskedArray) for x in arrays.values()):
        raise TypeError("masked arrays are not supported: their mask would be lost")
    first = next(iter(arrays.values()))
    return compat.array_namespace(first), first


def to_numpy(x: Any) -> np.ndarray:
    """Return an array of any kind, or a list, as NumPy's; PyTorch's bfloat16, which NumPy lacks, as float32."""
    if not compat.is_torch_array(x):
        return np.asarray(x)
    x = x.detach().cpu()
    try:
        return x.numpy()
    except TypeError:
        return x.float().numpy()


def _to_array(xp: Any, x: Any, dtype: Any, device: Any) -> Array:
    return xp.asarray(x, dtype=dtype) if device is None else xp.asarray(x, dtype=dtype, device=device)


def _from_list(name: str, x: Any) -> np.ndarray:
    """Return a list, a number or a data-frame column as a NumPy array of numbers."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got {array.dtype} ({type(x).__name__})")
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def read(named: dict[str, Any], kinds: tuple[str, ...], weights: Any = None) -> Inputs:
    """Read the arguments of one call, and weights where there are any."""
    everything = named if weights is None else {**named, "weights": weights}
    home, first = _namespace(everything)
    device = None if first is None or compat.is_jax_array(first) else compat.device(first)
    default = home.asarray(0.0).dtype
    # JAX has float64 only in its x64 mode, Apple's GPU under PyTorch has none.
    no_float64 = getattr(device, "type", "") == "mps"
    work = home.float32 if no_float64 else default if first is not None and compat.is_jax_array(first) else home.float64
    if "samples" in kinds:
        samples = tuple(_observations(name, x) for name, x in named.items())
        if weights is not None:
            weights = read_weights(weights)
        return Inputs(NUMPY, samples, tuple(named), kinds, weights, 2.0**-52, np.float64, home, default, device)

    values: list[Array] = []
    floats: list[Any] = []
    weights_eps = 0.0
    for name, x in named.items():
        if not compat.is_array_api_obj(x):
            values.append(_to_array(home, _from_list(name, x), None, device))
            continue
        if not home.isdtype(x.dtype, ("bool", "integral", "real floating")):
            raise TypeError(f"{name} must hold real numbers, got {x.dtype}")
        values.append(x)
        if home.isdtype(x.dtype, "real floating"):
            floats.append(x.dtype)
    if weights is not None:
        if not compat.is_array_api_obj(weights):
            weights = _to_array(home, _from_list("weights", weights), None, device)
        weights_eps = _eps(home, weights, work)
        weights = home.astype(weights, work)
        _check_weights(home, weights)
    dtype = home.result_type(*floats) if floats else default
    return Inputs(home, tuple(values), tuple(named), kinds, weights, weights_eps, work, home, dtype, device)


def _observations(name: str, x: Any) -> np.ndarray:
    array = to_numpy(x)
    if array.ndim == 0:
        raise ValueError(f"{name} must hold observations along an axis, got the single value {x!r}")
    if array.dtype.kind in "US" and not compat.is_array_api_obj(x):
        # np.asarray([1, "1"]) makes both "1".
        given = np.asarray(x, dtype=object).ravel()
        if not all(isinstance(one, str | bytes) for one in given):
            raise TypeError(f"{name} mixes text with other observations")
    if array.dtype.kind in "fc" and np.isnan(array).any():
        where_nan = tuple(int(i) for i in np.argwhere(np.isnan(array))[0])
        raise ValueError(f"{name} has a NaN observation at index {where_nan}: NaN equals nothing, so it is no symbol")
    return array


def read_weights(weights: Any) -> np.ndarray:
    """Return the weights of observations, checked, in NumPy."""
    weights = _from_list("weights", to_numpy(weights)).astype(np.float64)
    _check_weights(NUMPY, weights)
    return weights


def _check_weights(xp: Any, weights: Array) -> None:
    bad = ~(weights >= 0) | (weights == math.inf)
    if known(xp, xp.any(bad)):
        value, index = _first(weights, bad)
        raise ValueError(f"weights must be finite and not negative, got {value:.6g} at index {index}")


def mixture_weights(inputs: Inputs) -> Array:
    """Return the shares of the arguments in a mixture, checked; equal shares by default."""
    xp, count = inputs.xp, len(inputs.values)
    if inputs.weights is None:
        return xp.full((count,), 1.0 / count, dtype=inputs.work)
    if inputs.weights.shape != (count,):
        raise ValueError(f"weights of {_shape(inputs.weights)} for a mixture of {count}: one number for each")
    total = xp.sum(inputs.weights)
    if known(xp, xp.abs(total - 1.0) > math.sqrt(inputs.weights_eps)):
        raise ValueError(f"weights of a mixture must sum to 1, got {float(total):.10g}")
    return inputs.weights / total


def outcome_weights(inputs: Inputs, i: int, axis: tuple[int, ...]) -> Array | None:
    """Return the weights of outcomes, shaped to multiply the i-th argument; a vector runs along ``axis``."""
    w, shape = inputs.weights, inputs.values[i].shape
    if w is None:
        return None
    if w.ndim == 1 and len(axis) == 1:
        w = inputs.xp.reshape(w, (-1,) + (1,) * (-axis[0] - 1))
    fits = w.ndim >= -min(axis) and all(
        a in (1, b) or (b == 1 and -k not in axis)
        for k, (a, b) in enumerate(zip(w.shape[::-1], shape[::-1], strict=False), 1)
    )
    if not fits:
        raise ValueError(f"weights of {_shape(inputs.weights)} do not fit {inputs.names[i]} of shape {tuple(shape)}")
    return w


# ---------------------------------------------------------------------------------------------------------------------
# Distributions and their checks


def known(xp: Any, condition: Array) -> bool:
    """Return the truth of ``condition``; False where it cannot be known, because the call is being traced."""
    if compat.is_torch_namespace(xp):
        import torch

        return not torch.compiler.is_compiling() and bool(condition)
    if compat.is_jax_namespace(xp):
        import jax

        try:
            return bool(condition)
        except jax.errors.ConcretizationTypeError:
            return False
    return bool(condition)


def _first(x: Array, bad: Array) -> tuple[float, tuple[int, ...]]:
    """Return the first bad value and its index."""
    index = tuple(int(i) for i in np.argwhere(to_numpy(bad))[0])
    return float(to_numpy(_primal(x))[index]), index


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
        value, index = _first(work, bad)
        what = "a log-probability must be at most 0" if logs else "a probability must be in [0, 1]"
        raise ValueError(f"{what}, got {value:.6g} at index {index} of {name}.{_hint(x, logs=logs)}")
    return work


def _from_masses(inputs: Inputs, i: int, axis: tuple[int, ...], normalize: bool) -> Distribution:
    xp, x, name = inputs.xp, inputs.values[i], inputs.names[i]
    counts = inputs.kinds[i] == "counts"
    mass, low = _split_integers(xp, x, inputs.work) if counts else (xp.astype(x, inputs.work), None)
    bad = ~(mass >= 0) | (mass == math.inf)
    if known(xp, xp.any(bad)):
        value, index = _first(mass, bad)
        what = "negative" if value < 0 else "infinite" if value > 0 else "NaN"
        hint = _hint(x) if value < 0 and not counts else ""
        raise ValueError(f"{name} must not hold {what} entries: {value:.6g} at index {index} of {_shape(x)}.{hint}")
    if 0 in [x.shape[a] for a in axis]:
        raise ValueError(f"{name} has no outcomes along axis {axis}: {_shape(x)}")
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
        value, index = _first(log, bad)
        raise ValueError(f"{name} must not hold the log-probability {value:.6g}, at index {index} of {_shape(x)}")
    if 0 in [x.shape[a] for a in axis]:
        raise ValueError(f"{name} has no outcomes along axis {axis}: {_shape(x)}")
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


def _eps(xp: Any, x: Array, work: Any) -> float:
    """Return eps of the floating dtype in which ``x`` was given."""
    return float(xp.finfo(x.dtype if xp.isdtype(x.dtype, "real floating") else work).eps)


def _check_sum(inputs: Inputs, i: int, error: Array, found: Array, axis: tuple[int, ...]) -> None:
    """Raise if the sums ``found`` (of log-probabilities: their logarithms) are further than ``error`` allows from 1."""
    xp, x, name = inputs.xp, inputs.values[i], inputs.names[i]
    tolerance = math.sqrt(_eps(xp, x, inputs.work))
    bad = ~(error <= tolerance)
    if not known(xp, xp.any(bad)):
        return
    value, _ = _first(found, bad)
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


def _shape(x: Array) -> str:
    return f"shape {tuple(x.shape)}"


def _place(bad: Array, x: Array, axis: tuple[int, ...]) -> str:
    """Return where in the batch the first bad distribution is."""
    index = np.argwhere(to_numpy(bad))[0]
    batch = tuple(int(j) for k, j in enumerate(index) if k - x.ndim not in axis)
    return f" ({_shape(x)})" if not batch else f" at batch index {batch} ({_shape(x)}, axis {axis})"


def _hint(x: Array, logs: bool = False) -> str:
    """Return which kind the values look like, if another than the one named."""
    values = to_numpy(_primal(x))
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


def _primal(x: Array) -> Array:
    """Return the array whose values can be read, where JAX differentiates."""
    if not compat.is_jax_array(x):
        return x
    import jax

    return jax.lax.stop_gradient(x)
