"""One definition of a loss for every array library: a row function, and its derivative written out.

A row function takes arrays whose first axis is the rows, and gives a number a row, ``l_i``. Its derivative
``dl_i / d array[i, ...]`` is array-API code beside it, exact at the edges where differentiating the value would give
NaN or lose digits. `rows` makes it a function that each library differentiates by its own means: PyTorch (autograd,
twice and more, `torch.func`, forward mode), JAX (``grad``, ``jvp``, ``vmap``, ``jit``). NumPy has values, and the
derivatives for the asking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import array_api_compat as compat
import numpy as np

from .._arrays import Array, along, is_jax, is_torch

__all__ = ["RowFunction", "rows"]


class RowFunction(Protocol):
    """A function of rows. Hashable and without arrays of its own: those are its arguments.

    A frozen dataclass will do. All code is array-API code on the namespace ``xp`` that is given, free of branches on
    values: JAX traces it, PyTorch maps it over batches.
    """

    def value(self, xp: Any, *arrays: Array) -> Array:
        """``l`` (N,), in the dtype of the first array."""

    def grads(self, xp: Any, wrt: tuple[bool, ...], *arrays: Array) -> tuple[Array | None, ...]:
        """``dl_i / d array[i, ...]`` in the shape of each array that `wrt` marks, None for the others.

        Second derivatives are those of this code, so it must differentiate without NaN wherever they exist.
        """


def rows(op: RowFunction, *arrays: Array) -> Array:
    """The value of a row function, differentiable by the library whose arrays these are.

    Parameters
    ----------
    op : RowFunction
    *arrays : array (N, ...)
        All of one library. Only floating ones can be differentiated in.

    Returns
    -------
    array (N,)
    """
    xp = compat.array_namespace(*arrays)
    if is_torch(xp):
        from ._torch import torch_rows

        return torch_rows(op, *arrays)
    if is_jax(xp):
        from ._jax import jax_rows

        return jax_rows(op, *arrays)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):  # what is not finite is there to be seen
        return op.value(xp, *arrays)


def weighted(op: RowFunction, xp: Any, g: Array, wrt: Sequence[bool], *arrays: Array) -> tuple[Array | None, ...]:
    """The derivatives of ``sum_i g_i l_i``, by the function's own `weighted_grads` where it has a faster one."""
    own = getattr(op, "weighted_grads", None)
    if own is not None:
        return own(xp, g, tuple(wrt), *arrays)
    grads = op.grads(xp, tuple(wrt), *arrays)
    return tuple(None if d is None else along(g, d) * d for d in grads)
