"""What happens to logits before the softmax: softcap, temperature, prior, mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import Array, constant, where
from ._arguments import as_array, as_floats, first, number, wrong


@dataclass(frozen=True, eq=False)
class Transform:
    """``a = c tanh(z / c) / T + log prior``, -inf where masked.

    Attributes
    ----------
    temperature : float
        T > 0.
    softcap : float or None
        c > 0. A logit of -inf stays a masked class.
    log_prior : array (K,) or None
    mask : boolean array (K,) or (N, K), or None
        True keeps a class.
    shift : bool
        Whether the loss is the same for logits with a common offset. Then that goes first, lest it cost digits.
    """

    temperature: float = 1.0
    softcap: float | None = None
    log_prior: Array | None = None
    mask: Array | None = None
    shift: bool = True

    @property
    def changes(self) -> bool:
        """Whether it does anything."""
        return self.temperature != 1 or not (self.softcap is None and self.log_prior is None and self.mask is None)

    def __call__(self, xp: Any, z: Array) -> Array:
        """The logits (N, K) as the softmax sees them, differentiable by the array's library."""
        a = z
        if self.softcap is not None:
            a = where(xp, z == -math.inf, -math.inf, self.softcap * _tanh(xp, z / self.softcap))
        if self.shift and (self.temperature != 1 or self.log_prior is not None):
            a = a - constant(xp, xp.max(a, axis=1, keepdims=True))
        if self.temperature != 1:
            a = a / self.temperature
        if self.log_prior is not None:
            a = a + self.log_prior
        return a if self.mask is None else where(xp, self.mask, a, -math.inf)

    def pull_back(self, z: Array, da: Array) -> Array:
        """NumPy: the gradient in `z` from that in `a`, which it may overwrite."""
        if self.mask is not None:
            da = np.where(self.mask, da, 0)
        if self.temperature != 1:
            da = da / da.dtype.type(self.temperature)
        if self.softcap is not None:
            e = np.exp(-2 * np.abs(z / z.dtype.type(self.softcap)))
            da = da * np.where(z == -math.inf, 1, 4 * e / (1 + e) ** 2)
        return da


def _tanh(xp: Any, x: Array) -> Array:
    """tanh, written so that its derivative keeps its digits where tanh itself has rounded to one."""
    positive = x >= 0.0
    size = where(xp, positive, x, -x)  # not abs, whose derivative at 0 is 0
    tail = xp.exp(-2.0 * size)
    value = -xp.expm1(-2.0 * size) / (1.0 + tail)
    return where(xp, positive, value, -value)


def read_transform(
    xp: Any,
    logits: Array,
    leading: tuple[int, ...],
    temperature: float = 1.0,
    softcap: float | None = None,
    prior: Any = None,
    mask: Any = None,
    shift: bool = True,
) -> Transform:
    """Check the options against flat logits (N, K)."""
    K = logits.shape[1]
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be a finite number above 0, not {temperature}")
    if softcap is not None and not 0 < softcap < math.inf:
        raise ValueError(f"softcap must be a finite number above 0, not {softcap}")
    log_prior = None if prior is None else read_prior(xp, prior, K, logits)
    if mask is not None:
        mask = as_array(xp, mask, logits)
        if "bool" not in str(mask.dtype):
            raise TypeError(f"mask must be boolean, True for a class to keep, not {mask.dtype}")
        shape = tuple(mask.shape)
        if shape not in ((K,), (*leading, K)):
            raise ValueError(f"mask has the shape {shape}; logits of shape {(*leading, K)} take ({K},) or their own")
        mask = mask if shape == (K,) else xp.reshape(mask, (-1, K))
        empty = ~xp.any(mask if mask.ndim == 2 else mask[None, :], axis=1)
        if wrong(xp, empty):
            raise ValueError(
                f"mask leaves no class in row {first(empty)[0]}" if mask.ndim == 2 else "mask keeps no class"
            )
    return Transform(float(temperature), None if softcap is None else float(softcap), log_prior, mask, shift)


def read_prior(xp: Any, prior: Any, K: int, like: Array) -> Array:
    """Logarithms (K,) of a prior's masses, -inf for none."""
    prior = as_floats("prior", prior, xp, like)
    if tuple(prior.shape) != (K,):
        raise ValueError(f"prior has the shape {tuple(prior.shape)}; it takes a mass for each of K = {K} classes")
    bad = ~((prior >= 0) & xp.isfinite(prior))
    if wrong(xp, bad):
        k = first(bad)[0]
        raise ValueError(f"prior must be finite and not negative: class {k} has {number(prior, (k,))}")
    none = prior == 0
    log = where(xp, none, -math.inf, xp.log(where(xp, none, 1.0, prior)))
    return xp.astype(log, like.dtype)
