"""The coefficients of exp and log1p in ``cpp/vec.h``, and what they are worth: ``python -m benchmarks.polynomials``.

exp(r) = 1 + r + r^2 P(r) on |r| <= log(2) / 2, and log(1 + f) = f - f^2 / 2 + f^3 P(f) on 1 + f within sqrt(2) of 1,
P minimising the largest relative error: least squares at Chebyshev points in 60 digits, weights multiplied by the
errors again and again (Lawson, 1961).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import mpmath

ROUNDS = 26


class Series(NamedTuple):
    """A function of x as ``start(x) + x^first P(x)``, P of so many coefficients, between two ends."""

    function: Callable
    start: Callable
    first: int
    coefficients: int
    ends: tuple


def series() -> dict[str, Series]:
    """Those of the kernels."""
    half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
    exp = (mpmath.exp, lambda r: 1 + r, 2)
    ends = mpmath.sqrt(mpmath.mpf(1) / 2) - 1, mpmath.sqrt(2) - 1
    return {
        "exp, float32": Series(*exp, 5, (-half, half)),
        "exp, float64": Series(*exp, 10, (-half, half)),
        "log1p, float32": Series(mpmath.log1p, lambda f: f - f * f / 2, 3, 8, ends),
    }


def minimax(s: Series) -> tuple[list[mpmath.mpf], mpmath.mpf]:
    """Coefficients of x^first, x^(first + 1), ... and the largest relative error."""
    n, (low, high) = s.coefficients, s.ends
    points = [
        (low + high) / 2 + (high - low) / 2 * mpmath.cos(mpmath.pi * (2 * i + 1) / (80 * n)) for i in range(40 * n)
    ]
    terms = [([x ** (s.first + k) / s.function(x) for k in range(n)], 1 - s.start(x) / s.function(x)) for x in points]
    weights = [mpmath.mpf(1) / len(points)] * len(points)
    for _ in range(ROUNDS):
        normal, right = mpmath.matrix(n, n), mpmath.matrix(n, 1)
        for w, (f, y) in zip(weights, terms, strict=True):
            for i in range(n):
                right[i] += w * f[i] * y
                for j in range(n):
                    normal[i, j] += w * f[i] * f[j]
        c = mpmath.lu_solve(normal, right)
        errors = [abs(mpmath.fdot(c, f) - y) for f, y in terms]
        worst = max(errors)
        weights = [w * (e / worst + mpmath.mpf(10) ** -9) for w, e in zip(weights, errors, strict=True)]
        total = mpmath.fsum(weights)
        weights = [w / total for w in weights]
    return list(c), worst


def main() -> None:
    """Print them."""
    with mpmath.workdps(60):
        for name, s in series().items():
            coefficients, error = minimax(s)
            print(f"{name}: relative error {mpmath.nstr(error, 3)}")
            for k, c in enumerate(coefficients):
                print(f"  x^{k + s.first}  {mpmath.nstr(c, 20)}")


if __name__ == "__main__":
    main()
