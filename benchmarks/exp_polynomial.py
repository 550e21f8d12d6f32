"""The coefficients of exp in ``cpp/vec.h``, and what they are worth: ``python -m benchmarks.exp_polynomial``.

exp(r) = 1 + r + r^2 P(r) on |r| <= log(2) / 2, P minimising the largest relative error of exp: least squares at
Chebyshev points in 60 digits, weights multiplied by the errors again and again (Lawson, 1961).
"""

from __future__ import annotations

import mpmath

DEGREES = {"float32": 6, "float64": 11}
ROUNDS = 26


def minimax(degree: int) -> tuple[list[mpmath.mpf], mpmath.mpf]:
    """Coefficients of r^2, r^3, ... and the largest relative error."""
    n = degree - 1
    half = mpmath.log(2) / 2 * mpmath.mpf("1.0001")
    points = [half * mpmath.cos(mpmath.pi * (2 * i + 1) / (80 * n)) for i in range(40 * n)]
    terms = [([x ** (2 + k) / mpmath.exp(x) for k in range(n)], 1 - (1 + x) / mpmath.exp(x)) for x in points]
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
        for name, degree in DEGREES.items():
            coefficients, error = minimax(degree)
            print(f"{name}: degree {degree}, relative error {mpmath.nstr(error, 3)}")
            for k, c in enumerate(coefficients):
                print(f"  r^{k + 2}  {mpmath.nstr(c, 20)}")


if __name__ == "__main__":
    main()
