"""What the information measures are given: array kinds, the kinds of input, axes, weights and base.

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

from .._arrays import NUMPY, Array, common_namespace, known, primal, to_numpy

KINDS = ("probs", "log_probs", "counts", "samples")


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


def check_base(base: float) -> float:
    """Return ``base`` if it is a positive number other than 1."""
    if not isinstance(base, numbers.Real) or not 0 < base < math.inf or base == 1:
        raise ValueError(f"base must be a positive number other than 1 (e for nats, 2 for bits), got {base!r}")
    return float(base)


def check_kinds(kind: str | Sequence[str], count: int) -> tuple[str, ...]:
    """Return one kind for each of ``count`` arguments."""
    kinds = tuple(kind) if isinstance(kind, Sequence) and not isinstance(kind, str) else (kind,) * count
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
    home, first = common_namespace(everything)
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
        weights_eps = eps_of(home, weights, work)
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
    # NaN, and NaT among dates, are what does not equal itself; of objects, only those that compare can be counted.
    unequal = array != array if array.dtype.kind in "fcmMO" else np.zeros(1, dtype=bool)
    if np.any(unequal):
        index = tuple(int(i) for i in np.argwhere(unequal)[0])
        what = "NaT" if array.dtype.kind in "mM" else "NaN"
        raise ValueError(f"{name} has a {what} observation at index {index}: {what} equals nothing, so it is no symbol")
    return array


def read_weights(weights: Any) -> np.ndarray:
    """Return the weights of observations, checked, in NumPy."""
    weights = _from_list("weights", to_numpy(weights)).astype(np.float64)
    _check_weights(NUMPY, weights)
    return weights


def _check_weights(xp: Any, weights: Array) -> None:
    bad = ~(weights >= 0) | (weights == math.inf)
    if known(xp, xp.any(bad)):
        value, index = first_bad(weights, bad)
        raise ValueError(f"weights must be finite and not negative, got {value:.6g} at index {index}")


def mixture_weights(inputs: Inputs) -> Array:
    """Return the shares of the arguments in a mixture, checked; equal shares by default."""
    xp, count = inputs.xp, len(inputs.values)
    if inputs.weights is None:
        return xp.full((count,), 1.0 / count, dtype=inputs.work)
    if inputs.weights.shape != (count,):
        raise ValueError(f"weights of {shape_text(inputs.weights)} for a mixture of {count}: one number for each")
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
        raise ValueError(
            f"weights of {shape_text(inputs.weights)} do not fit {inputs.names[i]} of shape {tuple(shape)}"
        )
    return w


def first_bad(x: Array, bad: Array) -> tuple[float, tuple[int, ...]]:
    """Return the first bad value and its index."""
    index = tuple(int(i) for i in np.argwhere(to_numpy(bad))[0])
    return float(to_numpy(primal(x))[index]), index


def eps_of(xp: Any, x: Array, work: Any) -> float:
    """Return eps of the floating dtype in which ``x`` was given."""
    return float(xp.finfo(x.dtype if xp.isdtype(x.dtype, "real floating") else work).eps)


def shape_text(x: Array) -> str:
    return f"shape {tuple(x.shape)}"
