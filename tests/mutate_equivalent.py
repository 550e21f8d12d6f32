"""Changes that `mutate` makes and no test can notice, each with the reason."""

from __future__ import annotations

FILLED = "where it stands the other branch is taken, the mass is 0 or the row left out: it keeps this finite"
ONES = "what divides is 1 or -1 (or NaN)"
EITHER = "both forms are accurate there"
BELOW = "the term is below the last digit"
ROOM = "a bound on rounding, with room"
SPLIT = "any split into halves whose products are exact will do, and any rounding that XLA does not fuse"
SIZE = "how much is taken at a time, not what comes out"
SAME = "the results are the same numbers"
ANY = "any two small probabilities will do"

# reason: file: what stands there, what was put there
EQUIVALENT: dict[str, dict[str, list[tuple[str, str]]]] = {
    ONES: {
        "losses/cross_entropy.py": [
            ("linear.t * ones", "linear.t / ones"),
            ("linear.u * ones", "linear.u / ones"),
        ],
        "losses/margins/multiplicative.py": [("-times * sign", "-times / sign")],
    },
    FILLED: {
        "kernels/arrays.py": [
            (
                "where(xp, (label >= 0)[:, None], single(xp, a), 0.0)",
                "where(xp, (label >= 0)[:, None], single(xp, a), 1.0)",
            ),
        ],
        "losses/focal.py": [
            ("where(xp, outside, 1.0, d)", "where(xp, outside, 2.0, d)"),
            ("where(xp, d == 0.0, 1.0, d)", "where(xp, d == 0.0, 2.0, d)"),
        ],
        "losses/formula.py": [
            ("where(xp, small, x, 0.0)", "where(xp, small, x, 1.0)"),
            (
                "where(xp, small, 1.0, where(xp, x < 1000.0, x, 1000.0))",
                "where(xp, small, 2.0, where(xp, x < 1000.0, x, 1000.0))",
            ),
        ],
        "losses/poly.py": [("where(xp, near, d, 0.5)", "where(xp, near, d, 0.75)")],
        "losses/margins/adaptive.py": [("where(xp, flat, 1.0, std)", "where(xp, flat, 2.0, std)")],
        "losses/margins/angle.py": [
            ("where(xp, zero, 1.0, squares)", "where(xp, zero, 2.0, squares)"),
            ("where(xp, zero, 1.0, xx)", "where(xp, zero, 2.0, xx)"),
            ("where(xp, zero, 1.0, ww)", "where(xp, zero, 2.0, ww)"),
            ("where(xp, parallel, 1.0, rr)", "where(xp, parallel, 2.0, rr)"),
            ("where(xp, zero, 1.0, sine)", "where(xp, zero, 2.0, sine)"),
            ("where(xp, largest == 0.0, 1.0, largest)", "where(xp, largest == 0.0, 2.0, largest)"),
        ],
        "rows/binary.py": [
            ("where(xp, yes != 0.0, of_yes, 0.0)", "where(xp, yes != 0.0, of_yes, 1.0)"),
            ("where(xp, no != 0.0, of_no, 0.0)", "where(xp, no != 0.0, of_no, 1.0)"),
            ("where(xp, some_yes, p, 0.5)", "where(xp, some_yes, p, 0.75)"),
            ("where(xp, some_no, p, 0.5)", "where(xp, some_no, p, 0.75)"),
            ("where(xp, low, 0.5, p)", "where(xp, low, 0.75, p)"),
            ("where(xp, high, 0.5, p)", "where(xp, high, 0.75, p)"),
        ],
        "rows/softmax.py": [
            ("where(xp, q != 0.0, -log_p, 0.0)", "where(xp, q != 0.0, -log_p, 1.0)"),
            ("where(xp, rho != 0.0, others, 0.0)", "where(xp, rho != 0.0, others, 1.0)"),
            ("where(xp, q != 0.0, cost, 0.0)", "where(xp, q != 0.0, cost, 1.0)"),
            ("where(xp, p == 0.0, 0.0, log_p)", "where(xp, p == 0.0, 1.0, log_p)"),
        ],
        "rows/distance.py": [
            ("kept_or(xp, kept, target[0], 0.0)", "kept_or(xp, kept, target[0], 1.0)"),
            ("kept_or(xp, kept, a, 0.0)", "kept_or(xp, kept, a, 1.0)"),
            ("kept_or(xp, kept, z, 0.0)", "kept_or(xp, kept, z, 1.0)"),
            ("kept_or(xp, kept, y, 0.0)", "kept_or(xp, kept, y, 1.0)"),
        ],
        "rows/divergence.py": [
            ("kept_or(xp, kept, a, 0.0)", "kept_or(xp, kept, a, 1.0)"),
            ("kept_or(xp, kept, q, 0.0)", "kept_or(xp, kept, q, 1.0)"),
            ("kept_or(xp, kept, q, 1.0)", "kept_or(xp, kept, q, 2.0)"),
            ("unless(xp, no_q, 1.0, q)", "unless(xp, no_q, 2.0, q)"),
            ("unless(xp, no_y, 0.0, rho)", "unless(xp, no_y, 1.0, rho)"),
        ],
        "rows/jacobian.py": [("kept_or(xp, kept, a, 0.0)", "kept_or(xp, kept, a, 1.0)")],
        "rows/probs.py": [
            ("where(xp, (label >= 0)[:, None], p_label, 1.0)", "where(xp, (label >= 0)[:, None], p_label, 2.0)"),
            ("where(xp, q != 0.0, d, 0.0)", "where(xp, q != 0.0, d, 1.0)"),
            ("dead | never", "dead & never"),  # around d; around what divides it is noticed
            ("where(xp, dead | never, 1.0, d)", "where(xp, dead | never, 2.0, d)"),
            ("where(xp, dead | never, 1.0, floored)", "where(xp, dead | never, 2.0, floored)"),
            ("where(xp, (label >= 0)[:, None], p, 1.0)", "where(xp, (label >= 0)[:, None], p, 2.0)"),
        ],
        "rows/normal.py": [
            (
                "where(xp, around, density * (near + far), 0.0)",
                "where(xp, around, density * (near + far), 1.0)",
            ),
            ("where(xp, open_ended, 1.0, width)", "where(xp, open_ended, 2.0, width)"),
            ("where(xp, narrow, a, 0.0)", "where(xp, narrow, a, 1.0)"),
            ("where(xp, narrow, w, 1.0)", "where(xp, narrow, w, 2.0)"),
            ("where(xp, narrow, 1.0, d)", "where(xp, narrow, 2.0, d)"),
            ("where(xp, narrow, 1.0, xp.where(a < 0.0, -a, a))", "where(xp, narrow, 2.0, xp.where(a < 0.0, -a, a))"),
            ("where(xp, narrow, 2.0, b)", "where(xp, narrow, 3.0, b)"),
            ("where(xp, around, a, 1.0)", "where(xp, around, a, 2.0)"),
            (
                "where(xp, around, 1.0, where(xp, narrow, w * mass, near - far))",
                "where(xp, around, 2.0, where(xp, narrow, w * mass, near - far))",
            ),
            ("where(xp, around, 0.0, a)", "where(xp, around, 1.0, a)"),
            ("where(xp, d == math.inf, 0.0, d)", "where(xp, d == math.inf, 1.0, d)"),
        ],
        "rows/ordinal.py": [
            ("where(xp, small, 0.0, k)", "where(xp, small, 1.0, k)"),
            ("where(xp, wide, w, 1.0)", "where(xp, wide, w, 2.0)"),
            ("where(xp, wide, 1.0, w)", "where(xp, wide, 2.0, w)"),
        ],
    },
    EITHER: {
        "losses/poly.py": [("-0.5", "+0.5"), ("-0.5", "-0.75"), ("d < 0.5", "d < 0.75")],
        "rows/distance.py": [("p > 0.5", "p > 0.75"), ("z > 0.0", "z > 1.0")],
        "rows/ordinal.py": [("x >= 0.0", "x >= 1.0"), ("math.log", "math.log1p"), ("math.log(2.0)", "math.log(3.0)")],
        "rows/divergence.py": [("(0.125, 0.5)", "(0.1875, 0.5)"), ("(0.125, 0.5)", "(0.125, 0.75)")],
        "rows/normal.py": [
            ("np.polynomial.legendre.leggauss(10)", "np.polynomial.legendre.leggauss(11)"),
            ("d <= 0.75", "d <= 1.125"),
            ("width <= 1.5", "width <= 2.25"),
            ("lower + upper < 0.0", "lower + upper < 1.0"),
        ],
    },
    BELOW: {
        "rows/normal.py": [
            ("1.1061557204136741e-15", "1.6592335806205112e-15"),
            ("-1.8474103010592332e-15", "-2.77111545158885e-15"),
            ("-4.0419094130708177e-16", "+4.0419094130708177e-16"),
            ("-4.0419094130708177e-16", "-6.062864119606227e-16"),
        ],
        "rows/divergence.py": [
            ("last - 1", "last + 1"),
            ("last - 1", "last - 2"),
            ("12 if xp.finfo(rho.dtype).eps < 1e-12 else 7", "13 if xp.finfo(rho.dtype).eps < 1e-12 else 7"),
            ("12 if xp.finfo(rho.dtype).eps < 1e-12 else 7", "12 if xp.finfo(rho.dtype).eps < 1e-12 else 8"),
        ],
        "losses/poly.py": [
            ("(where(xp, near, d, 0.5), 1.0)", "(where(xp, near, d, 0.5), 2.0)"),
            ("range(16, 2, -1)", "range(17, 2, -1)"),
        ],
    },
    ANY: {
        "losses/formula.py": [
            ("[1e-150, 1e-90]", "[1.5e-150, 1e-90]"),
            ("[1e-150, 1e-90]", "[1e-150, 1.4999999999999999e-90]"),
        ],
    },
    ROOM: {
        "losses/formula.py": [("1.0 + 1e-09", "1.0 + 1.5000000000000002e-09")],
        "losses/margins/angle.py": [("64.0 * x.shape[-1]", "96.0 * x.shape[-1]")],
    },
    SPLIT: {
        "losses/margins/angle.py": [
            ("(kind.nmant - 1) // 2", "(kind.nmant - 1) // 3"),
            ("2.0 ** math.ceil(digits / 2.0) + 1.0", "2.0 ** math.ceil(digits / 2.0) - 1.0"),
            ("2.0 ** math.ceil(digits / 2.0) + 1.0", "2.0 ** math.ceil(digits / 2.0) + 2.0"),
            ("1.0 - math.log2(kind.eps)", "2.0 - math.log2(kind.eps)"),
            ("kind.nmant - 1", "kind.nmant - 2"),
            ("kind.nmant - 1", "kind.nmant + 1"),
        ],
    },
    SIZE: {
        "rows/linear.py": [
            ("2 ** 22", "2 * 22"),
            ("2 ** 22", "3 ** 22"),
            ("2 ** 22", "2 ** 23"),
            ("max(1, TILE // max(1, w.shape[0]))", "max(2, TILE // max(1, w.shape[0]))"),
            ("max(1, w.shape[0])", "max(2, w.shape[0])"),
            ("max(N, 1)", "max(N, 2)"),
        ],
    },
    SAME: {
        "rows/normal.py": [("1.0 + x", "1.0 - x")],  # the nodes are symmetric
        "rows/ordinal.py": [("k < 7.0", "k < 10.5"), ("where(xp, k < 7.0, k, 7.0)", "where(xp, k < 7.0, k, 10.5)")],
        "rows/divergence.py": [  # e^10000 is infinite; eps is 2.2e-16 or 1.2e-7
            ("10000.0", "15000.0"),
            ("xp.finfo(rho.dtype).eps < 1e-12", "xp.finfo(rho.dtype).eps < 1.5e-12"),
        ],
        "losses/formula.py": [  # e^-1000 is 0
            ("x < 1000.0", "x < 1500.0"),
            ("where(xp, x < 1000.0, x, 1000.0)", "where(xp, x < 1000.0, x, 1500.0)"),
        ],
        "rows/probs.py": [("even + xp.zeros_like(cost)", "even - xp.zeros_like(cost)")],
        "rows/softmax.py": [
            ("even + xp.zeros_like(cost)", "even - xp.zeros_like(cost)"),
            ("(False,)", "(True,)"),  # asks for more than is used, three times
            ("(False, wrt[1], False)", "(True, wrt[1], False)"),
            ("(False, wrt[1], False)", "(False, wrt[1], True)"),
            ("len(arrays) - 1", "len(arrays) + 1"),  # flags that nobody reads
            ("len(arrays) - 1", "len(arrays) - 2"),
        ],
        "losses/margins/base.py": [  # `for_batch` returns the margin itself: it says whether to ask
            ("needs_batch: ClassVar[bool] = False", "needs_batch: ClassVar[bool] = True"),
        ],
    },
}


def reason(file: str, before: str, after: str) -> str | None:
    """Why a change is equivalent; None where it is not."""
    return next((why for why, files in EQUIVALENT.items() if (before, after) in files.get(file, ())), None)


def entries(file: str) -> set[tuple[str, str]]:
    """All of a file."""
    return {entry for files in EQUIVALENT.values() for entry in files.get(file, ())}
