"""The simulations: their truths by mpmath, and a short run of the ones that decide."""

import mpmath
import pytest
from benchmarks import coverage


@pytest.mark.parametrize(("k", "s"), [(1.0, 0.0), (2.0, 0.0), (1.0, 0.5)])
def test_the_truth_is_the_integral(k, s):
    def softplus(x):
        return mpmath.log1p(mpmath.e**x)

    def density(x):
        return mpmath.e ** (-x * x / 2) / mpmath.sqrt(2 * mpmath.pi)

    def given_z(x):
        z = coverage.SPREAD * x
        p = 1 / (1 + mpmath.e**-z)

        def at(e):
            d = k * z + s * e
            return p * softplus(-d) + (1 - p) * softplus(d)

        return density(x) * (mpmath.quad(lambda e: density(e) * at(e), [-8, 0, 8]) if s else at(0))

    with mpmath.workdps(12):
        truth = mpmath.quad(given_z, [-8, -2, 0, 2, 8])
    assert coverage.expected_loss(k, s) == pytest.approx(float(truth), rel=1e-6)


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
