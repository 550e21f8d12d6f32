"""Checking a backend: the operations of `xent.kernels.contract` against mpmath, and against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import Backend, LinearGrads, Need, Slopes, Target, reference
from ..losses import CrossEntropy
from ._compare import require, short
from .table import ROWS, one_hot, truth

DTYPES = ("float64", "float32")
SHAPES = [(7, 5, 3), (300, 20, 10), (1, 1, 1), (33, 1, 1), (0, 3, 2), (5, 0, 4), (257, 33, 70), (50, 600, 33)]
SHAPES += [(1000, 64, 4200), (513, 17, 24), (513, 17, 25), (130, 520, 2)]
ALL = Need(True, True, True)
PLAIN = Slopes(1.0, -1.0, 0.0)


def check_backend(backend: Backend, *, dtypes: Sequence[str] = DTYPES, computes: str | None = None) -> None:
    """Check a backend: every operation, on the table of rows, on random layers of many shapes, and at the edges.

    Parameters
    ----------
    backend : Backend
        A module or an object with the operations of `xent.kernels.contract`.
    dtypes : names of floating dtypes
        Those it takes.
    computes : name of a dtype, optional
        What it computes in, if that is wider than the logits.

    Raises
    ------
    AssertionError
        Which operation, dtype and row, what was found and what is true. A loss may be off by 12 roundings (40 in rows
        of thousands of classes), and so may the gradient of a label, entry by entry; that of probabilities by 4
        roundings of 1.

    Examples
    --------
    >>> from xent.kernels import cpu
    >>> check_backend(cpu, dtypes=["float32"])
    """
    for dtype in dtypes:
        for check in CHECKS.values():
            check(backend, np.dtype(dtype), computes)


def check_table(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """Loss and gradient of each row of the table, with and without smoothing, by the fused call and in two steps."""
    for name in ROWS:
        for smoothing in (0.0, 0.125):
            check_row(backend, dtype, name, smoothing, computes)


def check_row(backend: Backend, dtype: np.dtype, name: str, smoothing: float, computes: str | None = None) -> None:
    """One row of the table."""
    logits, target = ROWS[name]
    loss, grad = truth(logits, target, smoothing)
    hard = isinstance(target, int)
    a = np.array([logits], dtype)
    aim = Target(np.array([target])) if hard else Target(None, np.array([target], dtype))
    formula = CrossEntropy(len(logits), smoothing)
    affine = formula.affine
    assert affine is not None
    eps = float(np.finfo(dtype if computes is None else computes).eps)
    bound = (40 if len(logits) > 1000 else 12) * eps
    fused, da = backend.row_fused(a, aim, Slopes(*affine))
    stats = backend.row_stats(a, aim, need_u=formula.needs_u)
    apart = formula.value(stats.s, stats.t, stats.u)
    da2 = backend.row_grad(a, aim, stats, Slopes(*(np.full(1, v) for v in affine)))
    what = f"in {dtype}, row {name!r} (K = {len(logits)}, logits {short(logits)}, label smoothing {smoothing:g})"
    for way, value in (("row_fused", float(fused[0])), ("row_stats", float(apart[0]))):
        same = value == loss if not np.isfinite(loss) or loss == 0 else abs(value - loss) <= bound * loss
        require(same, f"the loss by {way} {what} is {value!r}, the truth is {loss!r}")
    # entries that are differences of p and q have the rounding of q
    rounded = float(np.finfo(dtype).eps)
    absolute = 0 if hard and not smoothing else 4 * rounded
    for way, gradient in (("row_fused", da[0]), ("row_grad", da2[0])):
        off = np.abs(gradient - grad) > (bound + rounded) * np.abs(grad) + absolute + 1e-37
        off |= np.isnan(gradient)
        if off.any():
            k = int(off.argmax())
            raise AssertionError(f"the gradient by {way} {what}[{k}] is {gradient[k]!r}, the truth is {grad[k]!r}")


def check_long_rows(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A million equal terms, each rounded the same way: a plain float32 sum of them has three digits."""
    K = 2**20
    a = np.full((1, K), -1, np.float32)
    a[0, 5] = 0
    loss, _ = backend.row_fused(a, Target(np.array([5])), PLAIN)
    _near(loss[0], np.log1p((K - 1) * np.exp(-1)), 1e-6, 0, "the loss of a row of a million classes in float32")


def check_zero_slopes(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A slope of 0 takes its statistic out, even where it is infinite."""
    for K in (3, 40):
        a = np.zeros((1, K), dtype)
        a[0, 1] = -np.inf
        masked = Target(np.array([1]))
        loss = backend.row_fused(a, masked, Slopes(1.0, 0.0, -1 / K))[0][0]
        require(loss == np.inf, f"s - u / K of a row with -inf is {loss}, not inf (K = {K}, {dtype})")
        loss = backend.row_fused(a, masked, Slopes(1.0, 0.0, 0.0))[0][0]
        _near(loss, np.log(K - 1), 1e-6, 0, f"s of a row with -inf on its target (K = {K}, {dtype})")


def problem(shape: tuple[int, int, int], dtype: Any, soft: bool = False) -> tuple[Any, ...]:
    """A random layer ``x, w, bias``, with a target and weights; some rows are left out by either."""
    rng = np.random.default_rng(0)
    N, D, K = shape
    x = rng.normal(size=(N, D)).astype(dtype)
    w = (rng.normal(size=(K, D)) / np.sqrt(D + 1)).astype(dtype)
    b = rng.normal(size=K).astype(dtype)
    if soft:
        target = Target(None, rng.dirichlet(np.ones(K) * 0.3, N).reshape(N, K).astype(dtype))
    else:
        label = rng.integers(0, K, N)
        label[::5] = -1
        target = Target(label)
    weight = rng.random(N)
    weight[1::7] = 0
    return x, w, b, target, weight


def check_linear(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A linear layer of many shapes against the reference, by the fused call and in two steps."""
    for shape in SHAPES:
        for soft in (False, True):
            check_layer(backend, dtype, shape, soft)


def check_layer(backend: Backend, dtype: np.dtype, shape: tuple[int, int, int], soft: bool) -> None:
    """One of them: N rows, D features, K classes."""
    x, w, b, target, weight = problem(shape, dtype, soft)
    slopes = Slopes(1.0, -0.875, -0.125 / shape[2])
    exact = (x.astype(float), w.astype(float), b.astype(float), target, slopes)
    true_loss, true = reference.linear_fused(*exact, weight=weight, need=ALL)
    bound = 3e-13 if dtype == np.float64 else 2e-5
    loss, grads = backend.linear_fused(x, w, b, target, slopes, weight=weight, need=ALL)
    stats = backend.linear_stats(x, w, b, target, need_u=True)
    apart = backend.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=ALL)
    what = f"of a layer of N, D, K = {shape} in {dtype}, {'soft' if soft else 'hard'} targets"
    _near(loss, true_loss, bound, bound, f"linear_fused's loss {what}")
    for name, expected in true._asdict().items():
        scale = np.abs(expected).max(initial=0) + 1e-3
        for way, found in (("linear_fused", grads), ("linear_grad", apart)):
            _near(getattr(found, name) / scale, expected / scale, 0, bound, f"{way}'s gradient in {name} {what}")


def check_slopes_of_rows(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """Each row has its own slopes."""
    for shape in [(700, 5, 10), (700, 5, 40), (300, 700, 9000)]:
        if backend is reference and shape[2] > 1000:  # against itself
            continue
        x, w, b, target, weight = problem(shape, np.float64)
        rng = np.random.default_rng(2)
        slopes = Slopes(*(rng.normal(size=shape[0]) for _ in range(3)))
        expected = reference.linear_stats(x, w, b, target)
        true = reference.linear_grad(x, w, b, target, expected, slopes, weight=weight, need=ALL)
        xs, ws, bs = (v.astype(dtype) for v in (x, w, b))
        stats = backend.linear_stats(xs, ws, bs, target)
        found = backend.linear_grad(xs, ws, bs, target, stats, slopes, weight=weight, need=ALL)
        bound = 1e-12 if dtype == np.float64 else 2e-5
        for name, a, c in zip(LinearGrads._fields, found, true, strict=True):
            assert c is not None
            _near(
                a, c, 0, bound * np.abs(c).max(), f"linear_grad in {name} of slopes of rows, N, D, K = {shape}, {dtype}"
            )
        logits = (x @ w.T + b).astype(dtype)
        da = backend.row_grad(logits, target, stats, slopes, weight=weight)
        true_da = reference.row_grad(logits, target, expected, slopes, weight=weight)
        _near(da, true_da, 1e-7, bound, f"row_grad of slopes of rows, N, D, K = {shape}, {dtype}")


def check_need(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """Only what is needed is computed."""
    x, w, b, target, _ = problem((40, 6, 5), dtype)
    for need in (Need(False, False, True), Need(True, False, False), Need(False, True, False)):
        _, grads = backend.linear_fused(x, w, b, target, PLAIN, need=need)
        given = [g is not None for g in grads]
        require(given == list(need), f"linear_fused computes {given} where {list(need)} are needed (x, w, bias)")


def check_left_out(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """Rows left out, by a label of -1 or a weight of 0, cost nothing and poison nothing."""
    for K in (3, 40):
        for bad in (np.nan, np.inf):
            x, w, b, target, weight = problem((60, 6, K), dtype)
            out = (target.label < 0) | (weight == 0)
            poisoned = x.copy()
            poisoned[out] = bad
            what = f"where rows left out hold {bad} (K = {K}, {dtype})"
            with np.errstate(invalid="ignore"):
                clean = backend.linear_fused(x, w, b, target, PLAIN, weight=weight, need=ALL)
                dirty = backend.linear_fused(poisoned, w, b, target, PLAIN, weight=weight, need=ALL)
            require((dirty[0][out] == 0).all(), f"linear_fused's loss {what}: {short(dirty[0][out])}, not 0")
            _near(dirty[0], clean[0], 0, 0, f"linear_fused's loss {what}")
            for name, a, c in zip(LinearGrads._fields, dirty[1], clean[1], strict=True):
                assert a is not None
                require(np.isfinite(a).all(), f"linear_fused's gradient in {name} {what} is not finite")
                _near(a, c, 1e-5, 1e-7, f"linear_fused's gradient in {name} {what}")
            logits = (x @ w.T + b).astype(dtype)
            spoiled = logits.copy()
            spoiled[out] = bad
            da = backend.row_fused(spoiled, target, PLAIN, weight=weight)[1]
            _near(da, backend.row_fused(logits, target, PLAIN, weight=weight)[1], 0, 0, f"row_fused's gradient {what}")
            require((da[out] == 0).all(), f"row_fused's gradient in the rows left out, {what}, is not 0")


def check_undefined(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A row with NaN, +inf, or nothing but -inf, has a NaN loss and gradient, alone."""
    for K in (4, 50):
        for value in (np.nan, np.inf):
            for column in (0, K - 1):
                a = np.random.default_rng(0).normal(size=(40, K)).astype(dtype)
                a[7, column], a[9] = value, -np.inf
                loss, da = backend.row_fused(a, Target(np.full(40, 1)), PLAIN)
                bad = np.isnan(loss)
                what = f"with {value} at [7, {column}] and -inf in row 9 (K = {K}, {dtype})"
                rows = bad.nonzero()[0].tolist()
                require(rows == [7, 9], f"row_fused has NaN losses in the rows {rows} {what}")
                require(np.isnan(da[bad]).all(), f"row_fused's gradient {what} is not all NaN in these rows")
                require(np.isfinite(da[~bad]).all(), f"row_fused's gradient {what} is not finite in the other rows")


def check_out(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """In place, and into an array that is given, in any layout."""
    for K in (10, 300):
        a = np.random.default_rng(1).normal(size=(90, K)).astype(dtype)
        target = Target(np.arange(90) % K)
        loss, da = backend.row_fused(a, target, PLAIN)
        own, given = a.copy(), np.asfortranarray(np.empty_like(a))
        for name, out in (("the logits", own), ("another array", given)):
            loss2, da2 = backend.row_fused(own if out is own else a, target, PLAIN, out=out)
            what = f"row_fused with out={name} (K = {K}, {dtype})"
            require(da2 is out, f"{what} does not return it")
            _near(da2, da, 1e-6, 1e-12, what)
            _near(loss2, loss, 0, 0, what)


def check_certain_mixtures(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A distribution with one class is that label."""
    for K in (3, 40):
        a = np.random.default_rng(3).normal(size=(30, K)).astype(dtype) * 8
        label = np.arange(30) % K
        hard = backend.row_fused(a, Target(label), PLAIN)
        q = np.array([one_hot(int(k), K) for k in label], dtype)
        soft = backend.row_fused(a, Target(None, q), PLAIN)
        bound = 12 * float(np.finfo(dtype).eps)
        _near(soft[0], hard[0], bound, 0, f"row_fused's loss of certain distributions (K = {K}, {dtype})")
        _near(soft[1], hard[1], bound, 1e-37, f"row_fused's gradient of certain distributions (K = {K}, {dtype})")


def _near(found: Any, true: Any, relative: float, absolute: float, what: str) -> None:
    found, true = np.asarray(found), np.asarray(true)
    require(found.shape == true.shape, f"{what} has the shape {found.shape}, not {true.shape}")
    np.testing.assert_allclose(found, true, rtol=relative, atol=absolute, err_msg=what)


Check = Callable[[Backend, np.dtype, "str | None"], None]
# the quick ones first
CHECKS: dict[str, Check] = {
    "zero slopes": check_zero_slopes,
    "need": check_need,
    "undefined": check_undefined,
    "left out": check_left_out,
    "out": check_out,
    "certain mixtures": check_certain_mixtures,
    "table": check_table,
    "long rows": check_long_rows,
    "slopes of rows": check_slopes_of_rows,
    "linear": check_linear,
}
