"""The kinds of arrays: how to make them, differentiate in them, and bring them back to NumPy."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import NUMPY, to_numpy

KINDS = ("numpy", "torch", "jax")
Arrays = Sequence[np.ndarray]


class Kind(NamedTuple):
    """An array library.

    Attributes
    ----------
    name : str
    xp : its namespace
    make : NumPy array -> array of the same dtype
    """

    name: str
    xp: Any
    make: Callable[[np.ndarray], Any]


@contextlib.contextmanager
def kind(name: str) -> Iterator[Kind]:
    """The library of that name, JAX with float64 while the context lasts.

    Raises
    ------
    ValueError
        No such kind.
    ImportError
        Its library is not installed.
    """
    if name not in KINDS:
        raise ValueError(f"no kind {name!r}: there are {', '.join(KINDS)}")
    if name == "numpy":
        yield Kind(name, NUMPY, np.asarray)
        return
    try:
        library = importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f'kind "{name}" needs its library: install {name}, or leave it out of kinds') from error
    if name == "torch":
        yield Kind(name, importlib.import_module("array_api_compat.torch"), library.tensor)
        return
    before = library.config.jax_enable_x64
    library.config.update("jax_enable_x64", True)
    try:
        yield Kind(name, library.numpy, library.numpy.asarray)
    finally:
        library.config.update("jax_enable_x64", before)


def numpy_of(x: Any) -> np.ndarray:
    """As float64."""
    return to_numpy(x).astype(np.float64)


class Derivatives(NamedTuple):
    """Values (N,), and of ``sum_i g_i l_i`` the gradient in the first array and a Hessian product, by each way."""

    value: np.ndarray
    grads: dict[str, np.ndarray]
    products: dict[str, np.ndarray]


def differentiate(
    kind: Kind, op: Any, g: np.ndarray, v: np.ndarray, arrays: Arrays, compiled: bool = False
) -> Derivatives:
    """A row function's value, and its derivatives by every way that a library goes."""
    if kind.name == "jax":
        return _jax(op, g, v, arrays, compiled)
    return (_numpy if kind.name == "numpy" else _torch)(op, g, v, arrays)


def _numpy(op: Any, g: np.ndarray, v: np.ndarray, arrays: Arrays) -> Derivatives:
    from ..autodiff import weighted

    wrt = (True,) + (False,) * (len(arrays) - 1)
    with np.errstate(all="ignore"):
        plain = op.grads(NUMPY, wrt, *arrays)[0]
        grads = {
            "by grads": np.where(g[:, None] == 0, 0, g[:, None] * plain),
            "by weighted_grads": weighted(op, NUMPY, g, wrt, *arrays)[0],
        }
        values = op.value(NUMPY, *arrays)
        products = {}
        if hasattr(op, "fused"):
            again, grads["by fused"] = op.fused(g, *arrays)
            np.testing.assert_allclose(again, values, rtol=1e-14 if arrays[0].dtype == np.float64 else 1e-5)
        if hasattr(op, "hvp"):
            products["by hvp"] = g[:, None] * op.hvp(NUMPY, v, *arrays)
    return Derivatives(numpy_of(values), {k: numpy_of(d) for k, d in grads.items() if d is not None}, products)


def _torch(op: Any, g: np.ndarray, v: np.ndarray, arrays: Arrays) -> Derivatives:
    import torch

    from ..autodiff import rows

    a, *rest = (torch.tensor(x) for x in arrays)
    scale, along = torch.tensor(g, dtype=a.dtype), torch.tensor(v, dtype=a.dtype)
    a.requires_grad_()
    values = rows(op, a, *rest)
    (plain,) = torch.autograd.grad((scale * values).sum(), a, retain_graph=True)
    (again,) = torch.autograd.grad((scale * values).sum(), a, create_graph=True)
    (product,) = torch.autograd.grad((again * along).sum(), a)
    return Derivatives(
        numpy_of(values),
        {"by autograd": numpy_of(plain), "by autograd with a graph": numpy_of(again)},
        {"by autograd twice": numpy_of(product)},
    )


def _jax(op: Any, g: np.ndarray, v: np.ndarray, arrays: Arrays, compiled: bool = False) -> Derivatives:
    import jax
    import jax.numpy as jnp

    from ..autodiff import rows

    # op by op, where nothing is compiled for each new loss
    if not compiled:
        with jax.disable_jit():
            return _jax(op, g, v, arrays, True)

    a, *rest = (jnp.asarray(x) for x in arrays)
    scale, along = jnp.asarray(g, dtype=a.dtype), jnp.asarray(v, dtype=a.dtype)

    def gradient(a: Any) -> Any:
        return jax.grad(lambda a: (scale * rows(op, a, *rest)).sum())(a)

    plain, product = jax.jvp(gradient, (a,), (along,))
    return Derivatives(
        numpy_of(rows(op, a, *rest)), {"by jax.grad": numpy_of(plain)}, {"by jax.jvp of jax.grad": numpy_of(product)}
    )
