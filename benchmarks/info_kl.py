"""Relative error of the KL divergence of near-equal distributions: ``python -m benchmarks.info_kl``.

The truth is the textbook sum in mpmath at 50 digits, of the float64 inputs divided by their exact sums. SciPy's two
elementwise functions do not divide, so they are also charged for what rounding leaves of the sums; `entropy` divides.
"""

from __future__ import annotations

import argparse

import mpmath
import numpy as np
from scipy import special, stats

from xent.info import kl_divergence

from .harness import report, versions

NOISE = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 2e-10)
METHODS = {
    "xent": kl_divergence,
    "stats.entropy": stats.entropy,
    "rel_entr.sum": lambda p, q: special.rel_entr(p, q).sum(),
    "kl_div.sum": lambda p, q: special.kl_div(p, q).sum(),
}


def near_equal(n: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a random distribution and one whose entries differ from it by up to ``noise``, relatively."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n))
    q = p * (1.0 + noise * rng.uniform(-1.0, 1.0, n))
    return p, q / q.sum()


def truth(p: np.ndarray, q: np.ndarray) -> mpmath.mpf:
    with mpmath.workdps(50):
        p_exact, q_exact = [mpmath.mpf(float(x)) for x in p], [mpmath.mpf(float(x)) for x in q]
        p_sum, q_sum = mpmath.fsum(p_exact), mpmath.fsum(q_exact)
        pairs = zip(p_exact, q_exact, strict=True)
        return mpmath.fsum(a / p_sum * mpmath.log(a / p_sum / (b / q_sum)) for a, b in pairs if a > 0)


def relative_error(value: float, exact: mpmath.mpf) -> float:
    with mpmath.workdps(50):
        return float(abs((mpmath.mpf(float(value)) - exact) / exact))


def measure(n: int, repeats: int) -> list[dict[str, float]]:
    """Return, for each noise, the median truth and each method's largest error."""
    rows = []
    for noise in NOISE:
        cases = [near_equal(n, noise, seed) for seed in range(repeats)]
        exact = [truth(p, q) for p, q in cases]
        row = {"noise": noise, "kl": float(np.median([float(t) for t in exact]))}
        for name, method in METHODS.items():
            errors = [relative_error(method(p, q), t) for (p, q), t in zip(cases, exact, strict=True)]
            row[name] = max(errors)
        rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=1000, help="outcomes (default 1000)")
    parser.add_argument("--repeats", type=int, default=5, help="random pairs for each line (default 5)")
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    rows = measure(options.n, options.repeats)
    print(f"KL of near-equal distributions, n = {options.n}, float64: largest relative error of {options.repeats}")
    columns = ["noise", "kl", *METHODS]
    report("info_kl", rows, columns, options.keep, n=options.n, versions=versions("xent", "numpy", "scipy"))


if __name__ == "__main__":
    main()
