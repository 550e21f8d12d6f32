"""Reading what a loss function is given: arrays of any library, checked, in the dtype to compute in.

Every check names the argument, what is wrong with it and where, and repeats the shapes that were given. Checks read
values, so they are left out where there are none to read (``jax.jit``, `torch.func.vmap`, `torch.compile`) and where
reading would make an accelerator wait; an invalid label then makes its row NaN.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import array_api_compat as compat
import numpy as np

from .._arrays import NUMPY, Array, is_jax, is_torch, kind_name, known, on, primal, to_numpy
from ..kernels import HALVES
from ..kernels.arrays import single

Reduction = Literal["none", "mean", "sum"]
REDUCTIONS = ("none", "mean", "sum")
F = TypeVar("F", bound=Callable[..., Any])


def shows_options_of(other: Callable[..., Any], options: type) -> Callable[[F], F]:
    """Give a function with ``**options`` the signature that spells them out, as another function has them."""

    def decorate(function: F) -> F:
        theirs = inspect.signature(other).parameters
        own = inspect.signature(function)
        named = [p for p in own.parameters.values() if p.kind is not p.VAR_KEYWORD]
        named += [theirs[name] for name in options.__annotations__]
        function.__signature__ = own.replace(parameters=named)  # type: ignore[attr-defined]
        return function

    return decorate


def namespace(**named: Any) -> tuple[Any, Array | None]:
    """The namespace of the arguments, by name, and the first that is not NumPy's; NumPy for its arrays and lists.

    NumPy arrays and lists beside tensors are constants. Tensors of two libraries don't mix.
    """
    others = {n: x for n, x in named.items() if compat.is_array_api_obj(x) and not compat.is_numpy_array(x)}
    kinds = {n: kind_name(x) for n, x in others.items()}
    if len(set(kinds.values())) > 1:
        listing = ", ".join(f"{n} is {kind}" for n, kind in kinds.items())
        raise TypeError(f"arrays of different libraries: {listing}; convert them to one first")
    if not others:
        return NUMPY, None
    name, first = next(iter(others.items()))
    xp = compat.array_namespace(first)
    if not is_torch(xp) and not is_jax(xp):
        raise TypeError(f"{name} is an array of {kinds[name]}; losses take NumPy, PyTorch and JAX arrays")
    return xp, first


def as_floats(name: str, value: Any, xp: Any = NUMPY, like: Array | None = None, *, halves: bool = False) -> Array:
    """`value` as a floating array of the library: float32 and float64 as they are, half precisions in float32.

    With `halves` these stay as they are too. Integers become float64 in NumPy, the default dtype elsewhere.
    """
    refuse_masked(name, value)
    if xp is NUMPY:
        return _numpy_floats(name, value, halves)
    if not compat.is_array_api_obj(value) or compat.is_numpy_array(value):
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" and array.dtype.name != "bfloat16":
            raise TypeError(f"{name} must be real numbers of at most 64 bits, not {array.dtype}")
        # a list takes the default dtype of the library, as its own functions do
        typed = array.dtype.kind == "f" and hasattr(value, "dtype")
        value = xp.asarray(array if typed else array.tolist(), **_on(xp, like))
    if xp.isdtype(value.dtype, ("bool", "integral")):
        return xp.astype(value, xp.asarray(0.0).dtype)
    if not xp.isdtype(value.dtype, "real floating"):
        raise TypeError(f"{name} must be real numbers of at most 64 bits, not {value.dtype}")
    return value if halves else single(xp, value)


def _on(xp: Any, like: Array | None) -> dict[str, Any]:
    return {} if like is None else on(xp, like)


def _numpy_floats(name: str, value: Any, halves: bool) -> np.ndarray:
    array = np.asarray(value)
    array = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.aligned)
    if array.dtype in (np.float32, np.float64):
        return array
    if array.dtype.name in HALVES:
        return array if halves else array.astype(np.float32)
    if array.dtype.kind in "iub":
        return array.astype(np.float64)
    raise TypeError(f"{name} must be real numbers of at most 64 bits, not {array.dtype}")


def as_array(xp: Any, value: Any, like: Array | None) -> Array:
    """`value` in the library, its dtype kept."""
    if xp is NUMPY:
        return np.asarray(value)
    if compat.is_array_api_obj(value) and not compat.is_numpy_array(value):
        return value
    return xp.asarray(np.asarray(value), **_on(xp, like))


def refuse_masked(name: str, value: Any) -> None:
    """Raise for an array of `numpy.ma` with masked entries, whose mask would be lost."""
    if np.ma.is_masked(value):
        raise TypeError(f"{name} has masked entries; leave rows out with ignore_index or a sample_weight of 0")


def is_integer(xp: Any, array: Array) -> bool:
    """Whether an array holds integers or booleans."""
    if xp is NUMPY:
        return array.dtype.kind in "iub"
    return bool(xp.isdtype(array.dtype, ("bool", "integral")))


def wide(xp: Any, like: Array) -> Any:
    """The dtype to sum weights and losses in: float64 where there is one."""
    if is_jax(xp) or (is_torch(xp) and like.device.type == "mps"):
        return like.dtype
    return xp.float64


def integers(xp: Any, array: Array) -> Array:
    """An integer array as the library's own widest integers."""
    return xp.astype(array, xp.asarray(0).dtype if is_jax(xp) else xp.int64, copy=False)


def wrong(xp: Any, bad: Array) -> bool:
    """Whether any entry is bad, as far as that can be known without making an accelerator wait."""
    return holds(xp, xp.any(bad))


def holds(xp: Any, condition: Array) -> bool:
    """The truth of a condition; False where it can't be known, or only by making an accelerator wait."""
    if is_torch(xp) and condition.device.type != "cpu":
        return False
    return known(xp, condition)


def first(bad: Array) -> tuple[int, ...]:
    """The index of the first bad entry."""
    return tuple(int(i) for i in np.argwhere(to_numpy(primal(bad)))[0])


def number(value: Array, index: tuple[int, ...]) -> Any:
    """An entry of an array, for an error."""
    return to_numpy(primal(value))[index].item()


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def tolerance(xp: Any, *dtypes: Any) -> float:
    """How far a sum of probabilities that went through these dtypes may be from one: the square root of the coarsest's
    precision.
    """
    known_eps = {"bfloat16": 2.0**-7}  # which NumPy itself does not know
    eps = []
    for d in dtypes:
        name = getattr(d, "name", str(d))
        if xp is NUMPY and np.dtype(d).kind in "iub":
            continue
        eps.append(known_eps.get(name) or float(xp.finfo(d).eps))
    return max(eps) ** 0.5


def row_name(flat: int, leading: tuple[int, ...]) -> str:
    """How to call row number `flat` in an error.

    >>> row_name(5, (2, 3))
    'row (1, 2)'
    """
    if len(leading) == 1:
        return f"row {flat}"
    return f"row {tuple(int(i) for i in np.unravel_index(flat, leading))}" if leading else "the row"


def check_distributions(
    xp: Any, name: str, rows: Array, leading: tuple[int, ...], hint: str = "", *, given: Any = None
) -> None:
    """Raise unless each row (N, K), first given in another dtype perhaps, is a probability distribution."""
    slack = tolerance(xp, rows.dtype, given or rows.dtype)
    shape = (*leading, rows.shape[1])
    bad = ~((rows >= 0) & (rows <= 1 + slack))
    if wrong(xp, bad):
        i, k = first(bad)
        raise ValueError(
            f"{name} must be probabilities: {row_name(i, leading)} has {number(rows, (i, k))} for class {k}; the shape "
            f"is {shape}{hint}"
        )
    sums = xp.sum(rows, axis=1, dtype=wide(xp, rows))
    off = xp.abs(sums - 1) > slack
    if wrong(xp, off):
        i = first(off)[0]
        raise ValueError(
            f"{name} must sum to one over the last axis: {row_name(i, leading)} sums to {number(sums, (i,)):.6g}; the "
            f"shape is {shape}. Divide by the sum yourself if that is what you mean{hint}"
        )


def read_weights(xp: Any, name: str, weight: Any, shape: tuple[int, ...], like: Array) -> Array:
    """Weights broadcast to a shape, flat and in float64 where there is one."""
    array = as_floats(name, weight, xp, like)
    try:
        array = xp.broadcast_to(array, shape)
    except (ValueError, RuntimeError):
        raise ValueError(f"{name} has the shape {tuple(array.shape)}, which does not fit {shape}") from None
    return xp.reshape(xp.astype(array, wide(xp, like)), (-1,))


def check_weights(xp: Any, name: str, weights: Array) -> None:
    """Raise unless all weights are finite and not negative."""
    bad = ~((weights >= 0) & xp.isfinite(weights))
    if wrong(xp, bad):
        i = first(bad)[0]
        raise ValueError(f"{name} must be finite and not negative: entry {i} is {number(weights, (i,))}")
