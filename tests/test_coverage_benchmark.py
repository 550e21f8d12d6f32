"""The simulations: their truths by SciPy's quadrature, and a short run of the ones that decide."""

import numpy as np
import pytest
from benchmarks import coverage
from scipy import integrate, stats


@pytest.mark.parametrize(("k", "s"), [(1.0, 0.0), (2.0, 0.0), (1.0, 0.5)])
def test_the_truth_is_the_integral(k, s):
    def inner(z, d):
        p = 1 / (1 + np.exp(-z))
        return p * np.logaddexp(0, -d) + (1 - p) * np.logaddexp(0, d)

    def over_z(z):
        # the noise s e, if any, is integrated by its own normal density
        if not s:
            return stats.norm.pdf(z, scale=coverage.SPREAD) * inner(z, k * z)
        noise = integrate.quad(lambda e: stats.norm.pdf(e) * inner(z, k * z + s * e), -8, 8)[0]
        return stats.norm.pdf(z, scale=coverage.SPREAD) * noise

    truth = integrate.quad(over_z, -16, 16, epsabs=1e-9)[0]
    assert coverage.expected_loss(k, s) == pytest.approx(truth, rel=1e-6)


def test_a_short_run_is_right_and_prints(capsys):
    coverage.main(["--trials", "120", "--only", "300 rows"])
    out = capsys.readouterr().out
    shares = {}
    for line in out.splitlines()[1:]:
        for name, kind, *_ in coverage.CASES:
            if line.startswith(name + " "):
                shares[name] = (kind, float(line.removeprefix(name).split()[-3]))
    assert len(shares) == sum("300 rows" in c[0] for c in coverage.CASES)
    assert all(v >= 88 for kind, v in shares.values() if kind == "holds")
    assert all(v <= 12 for kind, v in shares.values() if kind == "rejects, null")
    assert shares["one worse, paired, 300 rows"][1] > 50 + shares["one worse, unpaired, 300 rows"][1]
