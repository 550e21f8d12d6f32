"""The next point of a smooth path from those before it.

The minimum for a ridge penalty is a sum of ``a / (mu + lambda)`` where the function is quadratic: analytic in
``s = log lambda`` within pi of the real axis, and about so where it is not. So the points are taken for values of a
function of that kind, with noise: kernel interpolation with the kernel ``1 / cosh(s / 4)``, which is the reproducing
one of the functions on that strip (Szego's), beside a constant. How wide a strip and how much noise are whatever would
have told the last points best.

Sources: G. Wahba, *Spline Models for Observational Data*, 1990 (interpolation with a kernel and noise). S. Bergman,
*The Kernel Function and Conformal Mapping*, 1970 (Szego's kernel; that of a strip by mapping it onto a disk).
"""

from __future__ import annotations

from typing import Any

import numpy as np

# Points that are looked at.
MEMORY = 14
# Half the width of the strip over pi / 4, and the noise over the size of the path.
GUESSES = [(width, noise) for width in (3.0, 4.0, 6.0) for noise in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)]
# Nothing is told over more than this: near no penalty the minimum is about the last one.
FAR = 5.0
# What an earlier miss counts beside the next.
FADE = 0.5


class Foresight:
    """Points so far, and what they say of the next one."""

    def __init__(self) -> None:
        self._places: list[float] = []
        self._points: list[Any] = []
        self._guesses: Any = None
        self._misses = np.zeros(len(GUESSES))

    def next(self, place: float) -> Any:
        """The point at a place, or None where there are too few to tell."""
        self._guesses = None
        if len(self._places) < 2 or place in self._places:
            return None
        at = np.array(self._places)
        if np.abs(at - place).min() > FAR:
            return None
        self._guesses = _weights(at, place) @ np.array(self._points)
        return self._guesses[int(np.argmin(self._misses))]

    def add(self, place: float, point: Any, sizes: Any) -> None:
        """The point that was found; guesses are judged by how far they are from it, coordinate times size."""
        if place in self._places:
            return
        if self._guesses is not None:
            missed = np.linalg.norm((self._guesses - point) * sizes, axis=1)
            self._misses = FADE * self._misses + (1 - FADE) * np.log(np.maximum(missed, 1e-300))
        self._places, self._points = [*self._places, place][-MEMORY:], [*self._points, point][-MEMORY:]


def _weights(at: Any, place: float) -> Any:
    """Of the points at places (n,), for each guess, (len(GUESSES), n)."""
    n, (width, noise) = len(at), np.array(GUESSES).T
    system = np.ones((len(GUESSES), n + 1, n + 1))
    away = np.abs(at[:, None] - np.append(at, place))  # from each other, and from the place
    kernel = 1 / np.cosh(np.minimum(away / width[:, None, None], 300))  # cosh overflows beyond 700
    system[:, :n, :n] = kernel[:, :, :n] + noise[:, None, None] ** 2 * np.eye(n)
    system[:, n, n] = 0
    near = np.append(kernel[:, :, n], np.ones((len(GUESSES), 1)), axis=1)
    return np.linalg.solve(system, near[:, :, None])[:, :n, 0]
