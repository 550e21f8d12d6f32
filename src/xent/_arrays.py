"""What differs between NumPy, PyTorch and JAX arrays, so that formulas need not know: namespaces, dtypes, tracing.

Formulas are array-API code (https://data-apis.org/array-api). An array kind is its namespace ``xp``, as
array-api-compat gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import array_api_compat as compat
import numpy as np

Array = Any
NUMPY = compat.array_namespace(np.empty(0))


def kind_name(x: Array) -> str:
    """What to call the library of an array in an error."""
    xp = compat.array_namespace(x)
    if xp is NUMPY:
        return "NumPy"
    if compat.is_torch_array(x):
        return "PyTorch"
    return "JAX" if compat.is_jax_array(x) else xp.__name__


def common_namespace(named: Mapping[str, Any]) -> tuple[Any, Array | None]:
    """The one namespace of the arrays among the arguments, and the first of them; NumPy for lists alone."""
    arrays = {name: x for name, x in named.items() if compat.is_array_api_obj(x)}
    kinds = {name: kind_name(x) for name, x in arrays.items()}
    if len(set(kinds.values())) > 1:
        listing = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise TypeError(f"arrays of different kinds: {listing}; convert them to one kind first")
    if not arrays:
        return NUMPY, None
    if any(isinstance(x, np.ma.MaskedArray) for x in arrays.values()):
        raise TypeError("masked arrays are not supported: their mask would be lost")
    first = next(iter(arrays.values()))
    return compat.array_namespace(first), first


def is_torch(xp: Any) -> bool:
    """Whether a namespace is PyTorch's."""
    return compat.is_torch_namespace(xp)


def is_jax(xp: Any) -> bool:
    """Whether a namespace is JAX's."""
    return compat.is_jax_namespace(xp)


def to_numpy(x: Any) -> np.ndarray:
    """An array of any kind, or a list, as NumPy's; PyTorch's bfloat16, which NumPy lacks, as float32."""
    if not compat.is_torch_array(x):
        return np.asarray(x)
    x = x.detach().cpu()
    try:
        return x.numpy()
    except TypeError:
        return x.float().numpy()


def known(xp: Any, condition: Array) -> bool:
    """The truth of `condition`; False where it cannot be known, because the call is being traced or mapped."""
    if is_torch(xp):
        import torch

        if torch.compiler.is_compiling():
            return False
        try:
            return bool(condition)
        except RuntimeError:  # under torch.func.vmap there are as many truths as rows of the batch
            return False
    if is_jax(xp):
        import jax

        try:
            return bool(condition)
        except jax.errors.ConcretizationTypeError:
            return False
    return bool(condition)


def plain_view(xp: Any, x: Array) -> Any:
    """A NumPy array on the memory of `x`; None where it lies elsewhere, or is not there yet."""
    if xp is NUMPY or xp is np:
        return x
    if not is_torch(xp) or x.device.type != "cpu":
        return None
    import torch

    if torch.compiler.is_compiling():
        return None
    try:
        return x.detach().numpy()
    except (RuntimeError, TypeError):  # a tensor of a batch that PyTorch maps over, or without numbers
        return None


def primal(x: Array) -> Array:
    """The array whose values can be read, where JAX differentiates."""
    if not compat.is_jax_array(x):
        return x
    import jax

    return jax.lax.stop_gradient(x)


def constant(xp: Any, x: Array) -> Array:
    """`x` as a constant: what depends on it has no derivative in it."""
    if is_torch(xp):
        return x.detach()
    return primal(x) if is_jax(xp) else x


def where(xp: Any, condition: Array, a: Array, b: Array) -> Array:
    """``xp.where`` that also takes a Python number, which the array API before 2024.12 does not."""
    # By type, not isinstance: NumPy's float64 scalar is a float, and a value rather than a constant.
    if type(a) is float:
        a = xp.asarray(a, dtype=b.dtype, **on(xp, b))
    elif type(b) is float:
        b = xp.asarray(b, dtype=a.dtype, **on(xp, a))
    return xp.where(condition, a, b)


def expm1(xp: Any, x: Array) -> Array:
    """``e^x - 1`` for x <= 0, with a derivative that keeps its digits.

    The libraries take the result plus one, which has none left where e^x is small.
    """
    return xp.where(x > -1.0, xp.expm1(x), xp.exp(x) - 1.0)


def on(xp: Any, x: Array) -> dict[str, Any]:
    """``device=`` for a new array beside `x`, where its library needs to be told."""
    return {"device": x.device} if is_torch(xp) else {}


def along(g: Array, d: Array) -> Array:
    """`g` (N,) shaped to multiply `d` (N, ...)."""
    return g.reshape((g.shape[0],) + (1,) * (d.ndim - 1))


def gather(xp: Any, a: Array, index: Array) -> Array:
    """``a[i, index[i, k]]`` as (N, k)."""
    return a.gather(1, index) if is_torch(xp) else xp.take_along_axis(a, index, axis=1)


def scatter_add(xp: Any, a: Array, index: Array, values: Array) -> Array:
    """A copy of `a` (N, K) with ``values[i, k]`` (N, k) added at ``index[i, k]``."""
    if is_torch(xp):
        return a.scatter_add(1, index, values)
    rows = xp.arange(a.shape[0])[:, None]
    if is_jax(xp):
        return a.at[rows, index].add(values)
    out = a.copy()
    np.add.at(out, (rows, index), values)
    return out
