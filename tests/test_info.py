"""The measures of xent.info against the textbook's formulas in mpmath, at 50 digits (more where the inputs need it)."""

import doctest
import math
import subprocess
import sys

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mpf

from xent import info
from xent.info import (
    conditional_entropy,
    cross_entropy,
    entropy,
    information_content,
    joint_entropy,
    js_divergence,
    kl_divergence,
    mutual_information,
    perplexity,
)

# ---------------------------------------------------------------------------------------------------------------------
# The truth: definitions, on the exact inputs divided by their exact sums


@pytest.fixture(autouse=True)
def fifty_digits():
    with mpmath.workdps(50):
        yield


def exact(masses):
    """Masses as numbers of mpmath: integers stay exact, nested lists stay nested."""
    if isinstance(masses, (list, tuple, np.ndarray)):
        return [exact(m) for m in masses]
    if isinstance(masses, mpf):
        return masses
    return mpf(int(masses)) if isinstance(masses, (int, np.integer)) else mpf(float(masses))


def shares(masses):
    total = mpmath.fsum(masses)
    return [m / total for m in masses]


def true_entropy(p):
    return -mpmath.fsum(x * mpmath.log(x) for x in shares(exact(p)) if x > 0)


def true_cross_entropy(p, q):
    return -mpmath.fsum(a * mpmath.log(b) for a, b in zip(shares(exact(p)), shares(exact(q)), strict=True) if a > 0)


def true_kl(p, q):
    pairs = zip(shares(exact(p)), shares(exact(q)), strict=True)
    return mpmath.fsum(a * mpmath.log(a / b) for a, b in pairs if a > 0)


def true_js(*ps, weights=None):
    ps = [shares(exact(p)) for p in ps]
    weights = [mpf(1) / len(ps)] * len(ps) if weights is None else shares(exact(weights))
    mixture = [mpmath.fsum(w * x for w, x in zip(weights, column, strict=True)) for column in zip(*ps, strict=True)]
    terms = [(w, a, m) for w, p in zip(weights, ps, strict=True) for a, m in zip(p, mixture, strict=True) if a > 0]
    return mpmath.fsum(w * a * mpmath.log(a / m) for w, a, m in terms)


def marginals(table):
    """The table's shares, and those of its rows (X) and of its columns (Y)."""
    rows = exact(table)
    total = mpmath.fsum(x for row in rows for x in row)
    rows = [[x / total for x in row] for row in rows]
    return rows, [mpmath.fsum(row) for row in rows], [mpmath.fsum(column) for column in zip(*rows, strict=True)]


def true_mutual_information(table):
    rows, x, y = marginals(table)
    cells = [(p, x[i], y[j]) for i, row in enumerate(rows) for j, p in enumerate(row) if p > 0]
    return mpmath.fsum(p * mpmath.log(p / (a * b)) for p, a, b in cells)


def true_conditional_entropy(table):
    rows, _, y = marginals(table)
    return -mpmath.fsum(p * mpmath.log(p / y[j]) for row in rows for j, p in enumerate(row) if p > 0)


def error(value, truth):
    """The relative error of a result."""
    return float(abs((mpf(float(value)) - truth) / truth))


def exps(logs):
    return [mpmath.exp(x) for x in exact(logs)]


def near_equal(n, noise, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n))
    q = p * (1 + noise * rng.uniform(-1, 1, n))
    return p, q / q.sum()


# ---------------------------------------------------------------------------------------------------------------------
# Worked numbers of the textbooks


@pytest.mark.parametrize(("p", "rounded"), [(0.8, 0.22), (0.2, 1.61), (0.99, 0.01), (1.0, 0.0), (0.0, math.inf)])
def test_information_of_the_worked_examples(p, rounded):
    assert round(float(information_content(p)), 2) == rounded
    q = [(1 - p) / 2, p, (1 - p) / 2]
    assert round(float(cross_entropy([0, 1, 0], q)), 2) == rounded  # one-hot: the information of the true class


def test_two_heads_carry_twice_the_information_of_one():
    one, two = information_content(0.5, base=2), information_content(0.25, base=2)
    assert (one, two) == (1.0, 2.0)


def test_certain_outcome_has_information_plus_zero():
    assert np.copysign(1.0, information_content(1.0)) == 1.0
    assert np.copysign(1.0, entropy([1.0, 0.0])) == 1.0
    assert np.copysign(1.0, information_content(0.0, kind="log_probs")) == 1.0


def test_entropy_is_the_expectation_and_not_the_sum():
    p = [0.5, 0.25, 0.25]
    content = information_content(p, base=2)
    assert entropy(p, base=2) == pytest.approx(np.dot(p, content), rel=1e-15) == pytest.approx(1.5)
    assert content.sum() == 5.0


def test_entropy_of_coins():
    assert entropy([0.5, 0.5], base=2) == 1.0
    assert entropy([0.5, 0.5]) == pytest.approx(math.log(2), rel=1e-15)
    assert entropy([1.0, 0.0], base=2) == 0.0
    assert error(entropy([0.9, 0.1]), true_entropy([0.9, 0.1])) < 1e-15


def test_kl_of_the_worked_example_and_its_asymmetry():
    p, q = [0.7, 0.3], [0.5, 0.5]
    assert round(float(kl_divergence(p, q)), 4) == 0.0823
    assert round(float(kl_divergence(q, p)), 4) == 0.0872
    assert cross_entropy(p, q) == pytest.approx(entropy(p) + kl_divergence(p, q), rel=1e-15)


@pytest.mark.parametrize(
    ("rows", "true", "each", "mean"),
    [
        ([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3], [0.1, 0.2, 0.7]], [2, 1, 0], [0.916, 0.916, 2.303], 1.378),
        ([[0.1, 0.2, 0.7], [0.1, 0.7, 0.2], [0.3, 0.4, 0.3]], [2, 1, 0], [0.357, 0.357, 1.204], 0.639),
        ([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], [0, 1, 2], [0.357, 0.223, 0.511], 0.3635),
        ([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4]], [0, 1, 1, 0], [0.105, 0.105, 0.223, 0.511], 0.2362),
    ],
)
def test_mean_cross_entropy_of_the_two_models(rows, true, each, mean):
    losses = cross_entropy(np.eye(len(rows[0]))[true], rows)
    assert losses.round(3).tolist() == each
    assert losses.mean().round(4) == pytest.approx(mean, abs=6e-4 if len(str(mean)) == 5 else 1e-9)


def test_conditional_entropy_does_not_ask_for_independence():
    dependent = [[0.4, 0.1], [0.1, 0.4]]
    assert error(conditional_entropy(dependent), true_conditional_entropy(dependent)) < 1e-15
    assert conditional_entropy(dependent) < entropy([0.5, 0.5])
    assert conditional_entropy(np.outer([0.3, 0.7], [0.2, 0.8])) == pytest.approx(entropy([0.3, 0.7]), rel=1e-15)
    one_way = [[0.5, 0.25], [0.0, 0.25]]  # X along the rows: H(X|Y) and H(Y|X) differ
    assert error(conditional_entropy(one_way), true_conditional_entropy(one_way)) < 1e-15
    transposed = true_conditional_entropy(list(zip(*one_way, strict=True)))
    assert error(conditional_entropy(one_way, axis=(1, 0)), transposed) < 1e-15


# ---------------------------------------------------------------------------------------------------------------------
# Edges that other libraries get wrong


@pytest.mark.parametrize("kind", ["probs", "log_probs", "counts"])
def test_zeros(kind):
    def f(p):
        if kind == "counts":
            return [4 * x for x in p]
        with np.errstate(divide="ignore"):
            return np.log(p) if kind == "log_probs" else p

    assert entropy(f([0.5, 0.5, 0]), kind=kind) == pytest.approx(math.log(2), rel=1e-15)
    assert kl_divergence(f([0.5, 0.5, 0]), f([0.25, 0.75, 0]), kind=kind) == pytest.approx(0.14384103622589045)
    assert kl_divergence(f([0.5, 0.5]), f([1, 0]), kind=kind) == math.inf
    assert kl_divergence(f([1, 0]), f([0.5, 0.5]), kind=kind) == pytest.approx(math.log(2), rel=1e-15)
    assert cross_entropy(f([0.5, 0.5]), f([1, 0]), kind=kind) == math.inf
    assert cross_entropy(f([1, 0]), f([1, 0]), kind=kind) == 0
    assert js_divergence(f([1, 0]), f([0, 1]), kind=kind, base=2) == pytest.approx(1, rel=1e-15)
    assert mutual_information([f([0.5, 0]), f([0, 0.5])], kind=kind, base=2) == pytest.approx(1, rel=1e-15)
    empty_lines = [f([0.5, 0, 0]), f([0, 0, 0]), f([0, 0, 0.5])]
    assert mutual_information(empty_lines, kind=kind, base=2) == pytest.approx(1, rel=1e-15)
    assert conditional_entropy(empty_lines, kind=kind) == 0
    assert conditional_entropy([f([0.5, 0]), f([0.5, 0])], kind=kind, base=2) == pytest.approx(1, rel=1e-15)
    assert information_content(f([1, 0]), kind=kind).tolist() == [0, math.inf]


def test_subnormal_probabilities():
    # In 50 digits 1 + 1e-320 is 1, and the certain outcome's own share of the entropy is lost.
    with mpmath.workdps(400):
        assert error(entropy([1, 1e-320]), true_entropy([1, 1e-320])) < 1e-6  # one subnormal step is 7e-7
        assert error(entropy([1, 1e-300]), true_entropy([1, 1e-300])) < 1e-15
        assert error(entropy([1, 1e-17]), true_entropy([1, 1e-17])) < 1e-15
        assert error(kl_divergence([0.5, 0.5], [1, 1e-320]), true_kl([0.5, 0.5], [1, 1e-320])) < 1e-15
        assert error(cross_entropy([0.5, 0.5], [1, 1e-320]), true_cross_entropy([0.5, 0.5], [1, 1e-320])) < 1e-15
        table = [[1.0, 0.0], [0.0, 1e-200]]
        assert error(mutual_information(table), true_mutual_information(table)) < 1e-15
        assert error(js_divergence([1.0, 1e-320], [1e-320, 1.0]), true_js([1, 1e-320], [1e-320, 1])) < 1e-15
        pair = [1e308] * 3, [1e-320, 2e-320, 3e-320]
        assert error(kl_divergence(*pair, kind="counts"), true_kl(*pair)) < 1e-15


def test_rare_share_of_a_mixture():
    weights = [1e-20, 1.0]
    assert error(js_divergence([1, 0], [0, 1], weights=weights), true_js([1, 0], [0, 1], weights=weights)) < 1e-15
    assert js_divergence([1, 0], [0.5, 0.5], weights=[0, 1]) == 0


def test_js_of_disjoint_distributions_does_not_exceed_its_bound():
    rng = np.random.default_rng(0)
    for n in range(1, 60):
        p, q = np.zeros((2, 2 * n))
        p[:n], q[n:] = rng.dirichlet(np.ones(n), 2)
        assert math.log(2) * (1 - 1e-15) < js_divergence(p, q) <= math.log(2)


def test_logarithms_beyond_the_range_of_exp():
    assert kl_divergence([0.0, -800.0], [-800.0, 0.0], kind="log_probs") == 800
    assert kl_divergence([0.25, 0.75], [0.0, -800.0], kind=("probs", "log_probs")) == pytest.approx(
        600 + 0.25 * math.log(0.25) + 0.75 * math.log(0.75), rel=1e-15
    )
    assert entropy([1e4, 1e4, 0.0], kind="log_probs", normalize=True) == pytest.approx(math.log(2), rel=1e-15)
    assert js_divergence([0.0, -800.0], [-800.0, 0.0], kind="log_probs") == pytest.approx(math.log(2), rel=1e-15)
    assert entropy([-math.inf, -1e3, -1e3], kind="log_probs", normalize=True) == pytest.approx(math.log(2), rel=1e-15)
    masked = np.finfo(np.float64).min
    assert kl_divergence([0.0, masked], [0.0, masked], kind="log_probs") == 0


# ---------------------------------------------------------------------------------------------------------------------
# Near-equal distributions keep their digits

NOISES = [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 2e-10, 1e-10]


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [2, 3, 30, 1000])
def test_near_equal_kl(n, noise):
    p, q = near_equal(n, noise)
    assert error(kl_divergence(p, q), true_kl(p, q)) < 1e-14
    # A sum that is off by what the check lets pass is divided out without a loss.
    assert error(kl_divergence(p, q * (1 + 1e-8)), true_kl(p, q * (1 + 1e-8))) < 1e-14
    assert error(kl_divergence(3.7 * p, 1.3 * q, normalize=True), true_kl(3.7 * p, 1.3 * q)) < 1e-14
    logs = np.log(p) + 1234.5, np.log(q) - 98.7
    assert error(kl_divergence(*logs, kind="log_probs", normalize=True), true_kl(*map(exps, logs))) < 1e-14
    with_equal_weights = kl_divergence(p, q, weights=np.full(n, 2.5))
    assert error(with_equal_weights, mpf(2.5) * true_kl(p, q)) < 1e-14


@pytest.mark.parametrize("noise", NOISES)
def test_near_equal_weighted_kl(noise):
    p, q = near_equal(100, noise)
    w = np.random.default_rng(4).uniform(0, 2, 100)
    pairs = zip(shares(exact(p)), shares(exact(q)), exact(w), strict=True)
    terms = [c * a * mpmath.log(a / b) for a, b, c in pairs]
    # The terms have both signs and are of first order: the error is relative to their size.
    deviation = abs(mpf(float(kl_divergence(p, q, weights=w))) - mpmath.fsum(terms))
    assert float(deviation / mpmath.fsum(map(abs, terms))) < 1e-14


def test_kl_of_rounded_multiples_is_not_negative():
    for n in range(1, 100):
        for factor in (3.0, 0.7, 11.0):
            p = np.full(n, 0.1)
            # Equal but for rounding: the divergence is some 1e-33, and so is the error of its terms.
            assert 0 <= kl_divergence(p, factor * p, kind="counts") < 1e-31


def test_near_equal_kl_reaches_1e_20():
    assert 1e-22 < float(true_kl(*near_equal(1000, 1e-10))) < 1e-20


@pytest.mark.parametrize("noise", NOISES)
def test_near_equal_huge_counts(noise):
    rng = np.random.default_rng(1)
    p = rng.integers(10**17, 8 * 10**18, 50)
    q = p + (p * (noise * rng.uniform(-1, 1, 50))).astype(np.int64)
    assert error(kl_divergence(p, q, kind="counts"), true_kl(p, q)) < 1e-14
    assert error(kl_divergence(p.tolist(), q.tolist(), kind="counts"), true_kl(p, q)) < 1e-14
    floats = p.astype(float) * 1e280, q.astype(float) * 1e-300
    assert error(kl_divergence(*floats, kind="counts"), true_kl(*floats)) < 1e-14


@pytest.mark.parametrize("noise", NOISES)
def test_near_equal_js(noise):
    p, q = near_equal(20, noise)
    r = p * (1 + noise * np.linspace(-1, 1, 20))
    r = r / r.sum()
    assert error(js_divergence(p, q), true_js(p, q)) < 1e-14
    assert error(js_divergence(p, q, r), true_js(p, q, r)) < 1e-14
    weights = [0.1, 0.2, 0.7]
    assert error(js_divergence(p, q, r, weights=weights), true_js(p, q, r, weights=weights)) < 1e-14
    logs = [np.log(x) for x in (p, q, r)]
    assert error(js_divergence(*logs, kind="log_probs"), true_js(*map(exps, logs))) < 1e-14


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("n", [2, 30])
def test_mutual_information_near_independence(n, noise):
    rng = np.random.default_rng(2)
    table = np.outer(rng.dirichlet(np.ones(n)), rng.dirichlet(np.ones(n + 1)))
    table *= 1 + noise * rng.uniform(-1, 1, table.shape)
    table /= table.sum()
    assert error(mutual_information(table), true_mutual_information(table)) < 1e-14
    logs = np.log(table) + 77
    truth = true_mutual_information([exps(row) for row in logs])
    assert error(mutual_information(logs, kind="log_probs", normalize=True), truth) < 1e-14
    counts = (table * 8e18).astype(np.int64) + rng.integers(0, 1000, table.shape)  # not all of them floats
    assert error(mutual_information(counts, kind="counts"), true_mutual_information(counts)) < 1e-14


@pytest.mark.parametrize("tail", [1e-3, 1e-8, 1e-16, 1e-30])
def test_entropies_of_the_almost_certain(tail):
    p = [1.0, tail, tail / 3]
    truth = true_entropy(p)
    assert error(entropy(p, normalize=True), truth) < 1e-14
    logs = np.log(p)
    assert error(entropy(logs, kind="log_probs", normalize=True), true_entropy(exps(logs))) < 1e-14
    table = [[1.0, tail], [tail, 1.0]]
    assert error(conditional_entropy(table, normalize=True), true_conditional_entropy(table)) < 1e-14
    assert error(information_content([1.0, tail], kind="counts")[0], mpmath.log1p(mpf(tail))) < 1e-14


def test_float32_input_is_computed_in_float64_and_rounded_once():
    p, q = (x.astype(np.float32) for x in near_equal(1000, 1e-4))
    result = kl_divergence(p, q)
    assert result.dtype == np.float32
    assert error(result, true_kl(p, q)) < 6e-8
    assert entropy(np.full(4, 0.25, np.float16)) == np.float16(math.log(4))


# ---------------------------------------------------------------------------------------------------------------------
# Array kinds: the same table for each


def _numpy(dtype):
    return lambda x: np.asarray(x, dtype=dtype)


def _torch(name):
    torch = pytest.importorskip("torch")
    return lambda x: torch.asarray(x, dtype=getattr(torch, name))


def _jax(x):
    return pytest.importorskip("jax.numpy").asarray(x)


def _strict(x):
    return pytest.importorskip("array_api_strict").asarray(x)


ARRAYS = {
    "numpy": lambda: _numpy(np.float64),
    "numpy32": lambda: _numpy(np.float32),
    "torch": lambda: _torch("float64"),
    "torch32": lambda: _torch("float32"),
    "jax": lambda: _jax,
    "strict": lambda: _strict,
}
P, Q, R = np.array([0.5, 0.25, 0.125, 0.125]), np.array([0.25, 0.25, 0.375, 0.125]), np.array([0.0, 0.5, 0.25, 0.25])
TABLE = np.array([[0.25, 0.125, 0.0], [0.125, 0.25, 0.25]])
MEASURES = {
    "information": (lambda f: information_content(f(P))[1], lambda: -mpmath.log(P[1])),
    "entropy": (lambda f: entropy(f(P)), lambda: true_entropy(P)),
    "entropy of zeros": (lambda f: entropy(f(R)), lambda: true_entropy(R)),
    "entropy of logs": (lambda f: entropy(f(np.log(P)), kind="log_probs"), lambda: true_entropy(P)),
    "entropy of counts": (lambda f: entropy(f(8 * P), kind="counts"), lambda: true_entropy(P)),
    "weighted": (
        lambda f: entropy(f(P), weights=f([1.0, 2.0, 3.0, 0.0])),
        lambda: -mpmath.fsum(w * mpf(p) * mpmath.log(p) for w, p in zip([1, 2, 3, 0], P.tolist(), strict=True)),
    ),
    "joint": (lambda f: joint_entropy(f(TABLE)), lambda: true_entropy(TABLE.ravel())),
    "conditional": (lambda f: conditional_entropy(f(TABLE)), lambda: true_conditional_entropy(TABLE)),
    "information of two": (lambda f: mutual_information(f(TABLE)), lambda: true_mutual_information(TABLE)),
    "cross-entropy": (lambda f: cross_entropy(f(P), f(Q)), lambda: true_cross_entropy(P, Q)),
    "kl": (lambda f: kl_divergence(f(P), f(Q)), lambda: true_kl(P, Q)),
    "kl of zeros": (lambda f: kl_divergence(f(R), f(Q)), lambda: true_kl(R, Q)),
    "kl of logs": (lambda f: kl_divergence(f(np.log(P)), f(np.log(Q)), kind="log_probs"), lambda: true_kl(P, Q)),
    "kl of sums": (lambda f: kl_divergence(f(3 * P), f(5 * Q), normalize=True), lambda: true_kl(P, Q)),
    "js": (lambda f: js_divergence(f(P), f(Q), f(R)), lambda: true_js(P, Q, R)),
    "perplexity": (lambda f: perplexity(f(P)), lambda: mpmath.exp(true_entropy(P))),
}


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("array", ARRAYS)
def test_array_kinds(array, measure):
    make = ARRAYS[array]()
    compute, truth = MEASURES[measure]
    result = compute(make)
    given = make(P)
    assert result.dtype == given.dtype
    assert type(result) is type(given) or isinstance(result, np.floating)
    # JAX computes in float32 here; log-probabilities and 0.1-like numbers are already rounded to the dtype given.
    assert error(result, truth()) < (1e-6 if "32" in str(given.dtype) else 1e-14)


@pytest.mark.parametrize("array", ["torch", "jax", "strict"])
def test_samples_of_other_arrays_give_the_same_kind(array):
    make = ARRAYS[array]()
    x = make(np.array([3.0, 4.0, 4.0, 5.0]))
    result = entropy(x, kind="samples", base=2)
    assert type(result) is type(x)
    assert float(result) == 1.5


def test_lists_take_the_kind_of_the_other_argument():
    torch = pytest.importorskip("torch")
    result = kl_divergence(torch.tensor([0.75, 0.25]), [0.5, 0.5])
    assert result.dtype == torch.float32
    assert error(result, true_kl([0.75, 0.25], [0.5, 0.5])) < 1e-7


def test_integers_give_the_default_dtype():
    assert entropy(np.array([1, 3]), kind="counts").dtype == np.float64
    torch = pytest.importorskip("torch")
    assert entropy(torch.tensor([1, 3]), kind="counts").dtype == torch.get_default_dtype()


def test_mixed_array_kinds_are_named():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match="p is NumPy, q is PyTorch"):
        kl_divergence(np.array([0.5, 0.5]), torch.tensor([0.5, 0.5]))


def _dotted(gradient, p, step):
    """The gradient's part along the simplex, which no constant added to it changes."""
    return float(np.dot(np.asarray(gradient, dtype=float), step))


GRADIENTS = {
    "entropy": (entropy, [lambda p, q: -np.log(p)]),
    "cross": (cross_entropy, [lambda p, q: -np.log(q), lambda p, q: -p / q]),
    "kl": (kl_divergence, [lambda p, q: np.log(p / q), lambda p, q: -p / q]),
    "js": (
        js_divergence,
        [lambda p, q: np.log(2 * p / (p + q)) / 2, lambda p, q: np.log(2 * q / (p + q)) / 2],
    ),
}


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("measure", GRADIENTS)
def test_gradients(measure, library):
    function, derivatives = GRADIENTS[measure]
    step = np.array([1.0, -2.0, 0.5, 0.5])  # sums to zero
    for p, q in ((P, Q), (P, P * (1 + 1e-3 * step / P))):
        gradients = _gradients(library, function, (p, q)[: len(derivatives)])
        for gradient, derivative in zip(gradients, derivatives, strict=True):
            tolerance = 1e-12 if library == "torch" else 1e-5
            assert _dotted(gradient, p, step) == pytest.approx(np.dot(derivative(p, q), step), abs=tolerance)


@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("measure", GRADIENTS)
@pytest.mark.parametrize("kind", ["probs", "log_probs", "counts"])
def test_gradients_at_zero_are_not_nan(measure, library, kind):
    function, derivatives = GRADIENTS[measure]
    zero = np.array([0.0, 0.5, 0.5, 0.0])
    for p, q in ((zero, Q), (zero, zero), (P, zero), (P, P)):
        arguments = (p, q)[: len(derivatives)]
        if kind == "log_probs":
            with np.errstate(divide="ignore"):
                arguments = [np.log(x) for x in arguments]
        for gradient in _gradients(library, lambda *x: function(*x, kind=kind), arguments):
            assert np.isfinite(gradient).all()


def _gradients(library, function, arguments):
    if library == "torch":
        torch = pytest.importorskip("torch")
        arguments = [torch.tensor(x, requires_grad=True) for x in arguments]
        function(*arguments).backward()
        return [x.grad.numpy() for x in arguments]
    jax = pytest.importorskip("jax")
    arguments = [jax.numpy.asarray(x) for x in arguments]
    return [np.asarray(g) for g in jax.grad(function, argnums=tuple(range(len(arguments))))(*arguments)]


@pytest.mark.parametrize("kind", ["probs", "log_probs", "counts"])
def test_jit_keeps_the_digits(kind):
    jax = pytest.importorskip("jax")
    p, q = (x.astype(np.float32) for x in near_equal(50, 1e-4))
    p, q = {"probs": (p, q), "log_probs": (np.log(p), np.log(q)), "counts": (1000 * p, 3000 * q)}[kind]
    jitted = jax.jit(lambda a, b: kl_divergence(a, b, kind=kind, normalize=True))
    truth = true_kl(exps(p), exps(q)) if kind == "log_probs" else true_kl(p, q)
    # An extended product that the compiler had simplified away would leave no digit here.
    assert error(jitted(jax.numpy.asarray(p), jax.numpy.asarray(q)), truth) < 3e-6
    for function in (entropy, perplexity, information_content):
        eager = function(jax.numpy.asarray(p), kind=kind, normalize=True)
        compiled = jax.jit(lambda a, f=function: f(a, kind=kind, normalize=True))(jax.numpy.asarray(p))
        np.testing.assert_allclose(compiled, eager, rtol=1e-5)


def test_checks_are_made_under_grad_and_left_out_under_jit():
    jax = pytest.importorskip("jax")
    bad = jax.numpy.asarray([0.5, 0.625])
    with pytest.raises(ValueError, match=r"sums to 1\.125"):
        jax.grad(entropy)(bad)
    assert np.isfinite(jax.jit(entropy)(bad))


def test_import_loads_no_framework():
    code = "import sys, xent.info; print([m for m in ('torch', 'jax', 'scipy') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# ---------------------------------------------------------------------------------------------------------------------
# Shapes, kinds of input, base, weights


def test_axes_batches_and_keepdims():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), (2, 3))
    q = rng.dirichlet(np.ones(4), 3)
    expected = [[float(true_kl(p[i, j], q[j])) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(kl_divergence(p, q), expected, rtol=1e-14)
    np.testing.assert_allclose(kl_divergence(np.moveaxis(p, -1, 1), q.T, axis=1), expected, rtol=1e-14)
    assert kl_divergence(p, q, keepdims=True).shape == (2, 3, 1)
    assert js_divergence(p, q, q).shape == (2, 3)
    tables = p.reshape(2, 3, 2, 2)
    np.testing.assert_allclose(
        mutual_information(tables)[1], [float(true_mutual_information(t)) for t in tables[1]], rtol=1e-14
    )
    moved = np.moveaxis(tables, (-2, -1), (0, 2))
    np.testing.assert_allclose(conditional_entropy(moved, axis=(0, 2)), conditional_entropy(tables), rtol=1e-15)
    assert joint_entropy(tables, axis=(-2, -1), keepdims=True).shape == (2, 3, 1, 1)
    np.testing.assert_allclose(joint_entropy(tables, axis=(-2, -1)), entropy(p), rtol=1e-15)
    assert joint_entropy(tables / 6) == pytest.approx(float(true_entropy((p / 6).ravel())), rel=1e-14)
    assert entropy(np.zeros((0, 3))).shape == (0,)


def test_samples_are_their_empirical_distribution():
    x, y = list("abacab"), [1, 2, 1, 1, 2, 2]
    counts_x, table = [3, 2, 1], [[2, 1], [0, 2], [1, 0]]
    assert error(entropy(x, kind="samples"), true_entropy(counts_x)) < 1e-15
    assert error(joint_entropy(x, y, kind="samples"), true_entropy([2, 1, 2, 1])) < 1e-15
    assert error(conditional_entropy(x, y, kind="samples"), true_conditional_entropy(table)) < 1e-15
    assert error(mutual_information(x, y, kind="samples"), true_mutual_information(table)) < 1e-15
    assert error(perplexity(x, kind="samples"), mpmath.exp(true_entropy(counts_x))) < 1e-15
    np.testing.assert_allclose(information_content(x, kind="samples")[[0, 1, 3]], np.log([2, 3, 6]), rtol=1e-15)
    assert error(kl_divergence(list("ab"), list("abb"), kind="samples"), true_kl([1, 1], [1, 2])) < 1e-15
    assert kl_divergence(list("abc"), list("ab"), kind="samples") == math.inf
    assert error(js_divergence(list("ab"), list("bc"), kind="samples"), true_js([1, 1, 0], [0, 1, 1])) < 1e-15
    assert error(
        js_divergence(list("ab"), list("bc"), kind="samples", weights=[0.25, 0.75]),
        true_js([1, 1, 0], [0, 1, 1], weights=[0.25, 0.75]),
    ) < 1e-15  # fmt: skip


def test_signed_and_unsigned_symbols_are_not_merged_as_floats():
    one, other = np.array([2**53 + 1]), np.array([2**53], dtype=np.uint64)
    assert kl_divergence(one, other, kind="samples") == math.inf


def test_rows_of_samples():
    x = np.array([[1, 1, 2, 3], [5, 5, 5, 5], [7, 8, 7, 8]])
    y = np.array([[0, 0, 1, 1], [0, 1, 2, 3], [4, 4, 9, 9]])
    for function in (conditional_entropy, mutual_information, joint_entropy):
        one_by_one = [function(a, b, kind="samples") for a, b in zip(x, y, strict=True)]
        np.testing.assert_allclose(function(x, y, kind="samples"), one_by_one, rtol=1e-15)
        np.testing.assert_allclose(function(x.T, y.T, kind="samples", axis=0, keepdims=True), [one_by_one], rtol=1e-15)
    np.testing.assert_allclose(entropy(x, kind="samples", base=2), [1.5, 0, 1])
    np.testing.assert_allclose(kl_divergence(x[::2], [1, 2, 3, 7, 8], kind="samples").shape, (2,))
    np.testing.assert_allclose(information_content(x.T, axis=0, kind="samples", base=2)[:, 0], [1, 1, 2, 2])


def test_many_symbols_need_no_table_of_all_pairs():
    n = 3000  # a table of 9 million cells
    x = np.arange(n)
    assert mutual_information(x, x, kind="samples") == pytest.approx(math.log(n), rel=1e-14)
    assert conditional_entropy(x, x, kind="samples") == 0
    assert conditional_entropy(x, x // 2, kind="samples", base=2) == pytest.approx(1, rel=1e-14)


def test_sparse_and_dense_mutual_information_agree(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 30, (2, 200))
    dense = mutual_information(x, y, kind="samples")
    monkeypatch.setattr("xent.info._samples._DENSE_CELLS", 0)
    monkeypatch.setattr("xent.info._samples._DENSE_PER_SAMPLE", 0)
    assert mutual_information(x, y, kind="samples") == pytest.approx(dense, rel=1e-13)


def test_weights_of_samples_repeat_them():
    x, y, w = [0, 1, 1, 2], [5, 5, 6, 6], [2, 1, 3, 0]
    repeated_x, repeated_y = np.repeat(x, w), np.repeat(y, w)
    assert entropy(x, kind="samples", weights=w) == entropy(repeated_x, kind="samples")
    for function in (joint_entropy, conditional_entropy, mutual_information):
        expected = function(repeated_x, repeated_y, kind="samples")
        assert function(x, y, kind="samples", weights=w) == pytest.approx(expected, rel=1e-15)
    expected = kl_divergence(repeated_y, y, kind="samples")
    assert kl_divergence(y, y, kind="samples", weights=(w, None)) == pytest.approx(expected, rel=1e-15)
    assert information_content(x, kind="samples", weights=w, base=2).tolist() == [
        pytest.approx(math.log2(3)), pytest.approx(math.log2(1.5)), pytest.approx(math.log2(1.5)), math.inf,
    ]  # fmt: skip


def test_weights_of_outcomes():
    p, q, w = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [1.0, 4.0, 0.5]
    triples = list(zip(exact(p), exact(q), exact(w), strict=True))
    truth = mpmath.fsum(c * a * mpmath.log(a / b) for a, b, c in triples)
    assert error(kl_divergence(p, q, weights=w), truth) < 1e-15
    assert error(cross_entropy(p, q, weights=w), -mpmath.fsum(c * a * mpmath.log(b) for a, b, c in triples)) < 1e-15
    batch = np.array([p, q]).T
    np.testing.assert_allclose(entropy(batch, axis=0, weights=w), [entropy(p, weights=w), entropy(q, weights=w)])
    assert kl_divergence([0.5, 0.5], [1, 0], weights=[1, 0]) == pytest.approx(0.5 * math.log(0.5), rel=1e-15)
    assert kl_divergence([0.5, 0.5], [1, 0], weights=[0, 1]) == math.inf


def test_kinds_may_differ():
    expected = float(true_cross_entropy([1, 3], [0.25, 0.75]))
    assert cross_entropy([1, 3], [0.25, 0.75], kind=("counts", "probs")) == pytest.approx(expected, rel=1e-15)
    logs = np.log([0.25, 0.75])
    assert kl_divergence([3, 1], logs, kind=("counts", "log_probs")) == pytest.approx(
        float(true_kl([3, 1], [0.25, 0.75])), rel=1e-14
    )


@pytest.mark.parametrize("base", [2, 10, 0.5, 7.25])
def test_base_changes_the_unit_only(base):
    unit = math.log(base)
    for in_base, nats in (
        (entropy(P, base=base), entropy(P)),
        (information_content(P, base=base), information_content(P)),
        (kl_divergence(P, Q, base=base), kl_divergence(P, Q)),
        (js_divergence(P, Q, base=base), js_divergence(P, Q)),
        (mutual_information(TABLE, base=base), mutual_information(TABLE)),
        (conditional_entropy(TABLE, base=base), conditional_entropy(TABLE)),
        (joint_entropy(TABLE, base=base), joint_entropy(TABLE)),
        (cross_entropy(P, Q, base=base), cross_entropy(P, Q)),
    ):
        np.testing.assert_allclose(in_base, np.asarray(nats) / unit, rtol=1e-15)


def test_perplexity():
    assert perplexity(np.full(6, 1 / 6)) == pytest.approx(6, rel=1e-15)
    assert error(perplexity(P, Q), mpmath.exp(true_cross_entropy(P, Q))) < 1e-15
    assert perplexity([0, 1], [1, 0]) == math.inf
    assert perplexity([0, 1.0], [1, 1e-310]) == math.inf  # above the largest float, without a warning


# ---------------------------------------------------------------------------------------------------------------------
# Errors say what, where and what to do


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy([2, 8]), r"p sums to 10 \(shape \(2,\)\), not to 1 .*normalize=True.*kind='counts'"),
        (lambda: entropy([0.5, 0.6]), r"p sums to 1.1 .*normalize=True divides by the sum\.$"),
        (lambda: entropy([[0.5, 0.5], [0.5, 0.25]]), r"sums to 0.75 at batch index \(1,\) \(shape \(2, 2\), axis"),
        (lambda: entropy([-0.1, 1.1]), r"p must not hold negative entries: -0.1 at index \(0,\).*logits"),
        (lambda: entropy([-1.0, -2.0]), r"negative entries: -1 .*kind='log_probs'"),
        (lambda: entropy([0.5, math.nan]), r"p must not hold NaN entries: nan at index \(1,\) of shape \(2,\)\.$"),
        (lambda: entropy([0.0, 0.0]), r"p sums to 0 "),
        (lambda: entropy([0, 0], kind="counts"), r"p sums to 0 .*nothing to normalise"),
        (lambda: entropy([[1, 2], [0, 0]], kind="counts"), r"p sums to 0 at batch index \(1,\)"),
        (lambda: entropy([1, -2], kind="counts"), r"negative entries: -2 at index \(1,\) .* in a sum of -1\.$"),
        (lambda: entropy([1, math.inf], kind="counts"), r"must not hold infinite entries"),
        (lambda: entropy([1, math.nan], kind="counts"), r"must not hold NaN entries"),
        (lambda: entropy([1.0, 2.0], kind="log_probs"), r"exp\(p\) sums to 10.1.*normalize=True takes any logits"),
        (lambda: entropy([1e4, 2.0], kind="log_probs"), r"sums to exp\(10000\)"),
        (lambda: entropy([0.5, 0.5], kind="log_probs"), r"look like probabilities: kind='probs'"),
        (lambda: entropy([-math.inf] * 2, kind="log_probs"), r"p is -inf everywhere"),
        (lambda: entropy([math.nan, 0], kind="log_probs"), r"log-probability nan, at index \(0,\)"),
        (lambda: kl_divergence([0.5, 0.5], [2, 8]), r"q sums to 10"),
        (lambda: kl_divergence([0.5, 0.5], [1.0]), r"numbers of outcomes.*p has shape \(2,\), q has shape \(1,\)"),
        (lambda: js_divergence(P, Q, [1.0]), r"numbers of outcomes.*distribution 2 has shape \(1,\)"),
        (lambda: cross_entropy(P, [1.0]), r"numbers of outcomes"),
        (lambda: entropy([0.5, 0.5], kind="logits"), r"one of 'probs', 'log_probs', 'counts', 'samples', got 'logits'"),
        (lambda: kl_divergence(P, Q, kind=("probs", "samples")), r"cannot be mixed"),
        (lambda: kl_divergence(P, Q, kind=("probs",)), r"names 1 kinds for 2 arguments"),
        (lambda: entropy([0.5, 0.5], base=1), r"base must be a positive number other than 1"),
        (lambda: entropy([0.5, 0.5], base=0), r"base must be a positive number"),
        (lambda: entropy([0.5, 0.5], base=math.nan), r"base must be a positive number"),
        (lambda: entropy(0.5), r"needs an axis"),
        (lambda: entropy([]), r"no outcomes"),
        (lambda: entropy([0.5, 0.5], axis=1), r"axis 1 is out of bounds"),
        (lambda: information_content([0.5, 1.5]), r"must be in \[0, 1\], got 1.5 at index \(1,\)"),
        (lambda: information_content(-0.5), r"must be in \[0, 1\], got -0.5"),
        (lambda: information_content([0.5], kind="log_probs"), r"at most 0, got 0.5"),
        (lambda: entropy(P, weights=[1, 2, 3, -1]), r"weights must be finite and not negative, got -1 at index \(3,\)"),
        (lambda: entropy(P, weights=[1, 2, 3]), r"weights of shape \(3,\) do not fit p of shape \(4,\)"),
        (lambda: js_divergence(P, Q, weights=[0.5, 0.25]), r"mixture must sum to 1, got 0.75"),
        (lambda: js_divergence(P, Q, weights=[1.0]), r"mixture of 2"),
        (lambda: joint_entropy(TABLE, weights=[1, 2]), r"need kind='samples'"),
        (lambda: perplexity(P, weights=[1, 2, 3, 4]), r"need kind='samples'"),
        (lambda: mutual_information(P), r"an axis for each variable"),
        (lambda: mutual_information([1, 2], [1, 2, 3], kind="samples"), r"one shape: x has shape \(2,\), y has shape"),
        (lambda: entropy([1, math.nan], kind="samples"), r"NaN observation at index \(1,\)"),
        (lambda: entropy(np.array(["NaT"], "M8[D]"), kind="samples"), r"NaT observation at index \(0,\)"),
        (lambda: entropy(np.array([1.0, math.nan], object), kind="samples"), r"NaN observation at index \(1,\)"),
        (lambda: entropy([[0.5, 0.5], [-0.25, 1]]), r"-0.25 at index \(1, 0\) of shape \(2, 2\), in a sum of 0.75"),
        (lambda: entropy([[0.5, 0.5], [-0.25, 1]], axis=0), r"-0.25 at index \(1, 0\) .* in a sum of 0.25"),
        (lambda: entropy([0.5, 0.5], kind=3), r"kind must be one of .*, got 3"),
        (lambda: entropy([1, 2], kind="samples", weights=[0, 0]), r"weights of p sum to 0"),
    ],
)  # fmt: skip
def test_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy(["a", "b"]), r"p must hold real numbers"),
        (lambda: entropy(np.array([0.5, 0.5j])), r"p must hold real numbers, got complex128"),
        (lambda: entropy(np.ma.array([0.5, 0.5], mask=[0, 1])), r"masked arrays"),
        (lambda: entropy(["1", 1], kind="samples"), r"p mixes text with other observations"),
        (lambda: kl_divergence(["a"], [1], kind="samples"), r"p and q share no alphabet"),
        (lambda: entropy([None, "a"], kind="samples"), r"p must hold observations that can be sorted"),
        (lambda: mutual_information([1, 2], [1, 2]), r"one joint table, got 2 arrays.*kind='samples'"),
        (lambda: mutual_information([1, 2], kind="samples"), r"one array of observations for each variable"),
    ],
)
def test_type_errors(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_tolerance_of_the_sum_follows_the_dtype():
    almost = np.array([0.5, 0.5001])
    with pytest.raises(ValueError, match=r"sums to 1\.0001"):
        entropy(almost)
    assert entropy(almost.astype(np.float32)) == pytest.approx(math.log(2), rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Laws

masses = st.floats(0.0, 1.0).map(lambda x: 0.0 if x < 1e-300 else x)


def distributions(n):
    return st.lists(masses, min_size=n, max_size=n).filter(lambda p: sum(p) > 1e-3).map(lambda p: np.array(p) / sum(p))


pairs = st.integers(1, 8).flatmap(lambda n: st.tuples(distributions(n), distributions(n)))
tables = st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
    lambda s: distributions(s[0] * s[1]).map(lambda p: p.reshape(s))
)


@settings(max_examples=150, deadline=None)
@given(pairs)
def test_laws_of_divergences(pair):
    p, q = pair
    n = len(p)
    kl = kl_divergence(p, q)
    assert kl >= 0  # Gibbs
    assert kl_divergence(p, p) == 0
    assert math.isinf(kl) == bool(((p > 0) & (q == 0)).any())
    assert cross_entropy(p, q) == pytest.approx(entropy(p) + kl, rel=1e-12, abs=1e-14)
    assert 0 <= entropy(p) <= math.log(n) * (1 + 1e-15)
    js = js_divergence(p, q)
    assert 0 <= js <= math.log(2)
    assert js == pytest.approx(js_divergence(q, p), rel=1e-12, abs=1e-300)
    order = np.random.default_rng(0).permutation(n)
    assert entropy(p[order]) == pytest.approx(entropy(p), rel=1e-13, abs=1e-300)
    assert kl_divergence(p[order], q[order]) == pytest.approx(kl, rel=1e-12, abs=1e-30)
    with np.errstate(divide="ignore"):
        logs = np.log(p), np.log(q)
    assert kl_divergence(*logs, kind="log_probs") == pytest.approx(kl, rel=1e-9, abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(tables)
def test_laws_of_two_variables(table):
    x, y = table.sum(1), table.sum(0)
    h_x, h_y = entropy(x, normalize=True), entropy(y, normalize=True)
    given_y, given_x = conditional_entropy(table), conditional_entropy(table, axis=(-1, -2))
    information = mutual_information(table)
    close = {"rel": 1e-12, "abs": 1e-13}
    assert joint_entropy(table) == pytest.approx(h_y + given_y, **close)  # the chain rule
    assert joint_entropy(table) == pytest.approx(h_x + given_x, **close)
    assert information == pytest.approx(h_x - given_y, **close)
    assert 0 <= information <= min(h_x, h_y) + 1e-13
    assert given_y >= 0
    assert information == pytest.approx(mutual_information(table, axis=(1, 0)), rel=1e-12, abs=1e-30)


def test_doctests():
    modules = {getattr(info, name).__module__ for name in info.__all__}
    results = [doctest.testmod(sys.modules[name]) for name in modules]
    assert sum(r.attempted for r in results) >= 15
    assert not any(r.failed for r in results)


def test_every_public_function_has_a_worked_example():
    for name in info.__all__:
        assert ">>> " in getattr(info, name).__doc__, name
