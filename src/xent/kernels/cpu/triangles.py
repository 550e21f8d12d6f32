"""Triangular factors of symmetric matrices, one for each class: Python shares out the classes, C++ computes.

SciPy's wrappers of LAPACK and BLAS keep the interpreter's lock, so that classes would come one after the other.
"""

from __future__ import annotations

from typing import Any

from .. import _cpu
from ..contract import Array
from ..threads import ranges
from .operands import each, level_in_use

# Numbers of the triangles that one task reads: about 0.03 ms.
READ = 2**18
# What `with_triangles` does, as the kernel has it.
SOLVE, SOLVE_TURNED, TIMES_TURNED = 0, 1, 2


def factor(H: Array, more: Array, scale: Array, diagonal: float, out: Array) -> bool:
    """Cholesky's factor of ``S (H + more) S`` with the diagonal replaced.

    Parameters
    ----------
    H : float32 or float64 array (P, P)
        Of which the lower triangle is read.
    more : float64 array (P, P)
        The same.
    scale : float64 array (P,)
        S.
    diagonal : float
    out : array (P, P)
        Where the factor goes, its lower triangle, in the dtype of H; what lies above is left as it is. May be H.

    Returns
    -------
    bool
        Whether there is one: the matrix is finite and positive definite, to rounding.
    """
    native: Any = _cpu.factor
    return bool(native(level_in_use(), H, more, scale, diagonal, out))


def with_triangles(triangles: Array, x: Array, what: int) -> Array:
    """``x[k] = L_k^-1 x[k]`` (SOLVE), ``L_k'^-1 x[k]`` (SOLVE_TURNED) or ``L_k' x[k]`` (TIMES_TURNED), in place.

    Parameters
    ----------
    triangles : float32 or float64 array (K, P, P)
        Lower triangles.
    x : float64 array (K, P)
        In C order; in its dtype all is computed.
    what : int

    Returns
    -------
    array (K, P)
        x.
    """
    (K, P), level = x.shape, level_in_use()
    step = max(1, READ // max(1, P * P // 2))
    each(ranges(K, step), lambda begin, end: _cpu.with_triangles(level, triangles, what, x, begin, end))
    return x
