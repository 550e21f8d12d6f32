"""Checking a backend: the operations of `xent.kernels.contract` against mpmath, and against the reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels import Backend, Curvatures, Directions, LinearGrads, Need, Slopes, Target, reference
from ..losses import CrossEntropy
from ._compare import require, short
from .table import ROWS, one_hot, truth
from .working_columns import check_descent, check_logistic_rows, check_working_columns

DTYPES = ("float64", "float32")
SHAPES = [(7, 5, 3), (300, 20, 10), (1, 1, 1), (33, 1, 1), (0, 3, 2), (5, 0, 4), (257, 33, 70), (50, 600, 33)]
SHAPES += [(1000, 64, 4200), (513, 17, 24), (513, 17, 25), (130, 520, 2)]
SPARSE_SHAPES = [(7, 5, 1), (60, 30, 2), (40, 9, 3), (40, 33, 7), (90, 200, 20), (50, 40, 70), (0, 4, 3), (4, 0, 3)]
SPARSE_SHAPES += [(80, 20_000, 2), (60, 6000, 40)]  # whose dw is summed in place
HVP_SHAPES = [(31, 5, 3), (30, 20, 10), (5, 1, 2), (65, 33, 70)]
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
            for stored in DTYPES:
                check_layer(backend, dtype, shape, soft, stored)


def check_layer(backend: Backend, dtype: np.dtype, shape: tuple[int, int, int], soft: bool, stored: str) -> None:
    """One of them: N rows, D features, K classes; x is stored in another dtype than the others, perhaps."""
    _, w, b, target, weight = problem(shape, dtype, soft)
    x = problem(shape, stored)[0]
    slopes = Slopes(1.0, -0.875, -0.125 / shape[2])
    exact = (x.astype(float), w.astype(float), b.astype(float), target, slopes)
    true_loss, true = reference.linear_fused(*exact, weight=weight, need=ALL)
    bound = 3e-13 if dtype == np.float64 else 2e-5
    loss, grads = backend.linear_fused(x, w, b, target, slopes, weight=weight, need=ALL)
    stats = backend.linear_stats(x, w, b, target, need_u=True)
    apart = backend.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=ALL)
    what = f"of a layer of N, D, K = {shape} in {dtype}, x in {stored}, {'soft' if soft else 'hard'} targets"
    _near(loss, true_loss, bound, bound, f"linear_fused's loss {what}")
    for name, expected in true._asdict().items():
        scale = np.abs(expected).max(initial=0) + 1e-3
        own = {"x": x.dtype, "w": w.dtype, "bias": np.dtype(float)}[name]
        for way, found in (("linear_fused", grads), ("linear_grad", apart)):
            got = getattr(found, name)
            least = max(bound, 2 * float(np.finfo(own).eps))
            _near(got / scale, expected / scale, 0, least, f"{way}'s gradient in {name} {what}")
            require(got.dtype == own, f"{way}'s gradient in {name} {what} is {got.dtype}, not {own}")


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


def check_sparse(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """A layer of sparse rows is the layer of the same rows written out, whatever the order of their columns."""
    bound, need = 3e-13 if dtype == np.float64 else 3e-5, Need(False, True, True)
    for shape in SPARSE_SHAPES:
        for soft in (False, True):
            _, w, b, target, weight = problem(shape, dtype, soft)
            for index in (np.int32, np.int64):
                x = sparse_rows(shape, dtype, index)
                what = f"of sparse rows of N, D, K = {shape} in {dtype}, indices in {np.dtype(index)}, soft: {soft}"
                given = (x, w, b, target)
                exact = (x.toarray().astype(float), w.astype(float), b.astype(float), target)
                for slopes in (PLAIN, Slopes(1.0, -0.75, 0.25)):
                    true_loss, true = reference.linear_fused(*exact, slopes, weight=weight, need=need)
                    loss, fused = backend.linear_fused(*given, slopes, weight=weight, need=need)
                    stats = backend.linear_stats(*given, need_u=True)
                    apart = backend.linear_grad(*given, stats, slopes, weight=weight, need=need)
                    _near(loss, true_loss, bound, bound, f"linear_fused's loss {what}")
                    _same_grads(fused, true, bound, f"linear_fused {what}")
                    _same_grads(apart, true, bound, f"linear_grad {what}")
                v = _direction(x.shape, w.shape, dtype)._replace(x=None)
                for bend in (None, _bend(shape[0])):
                    found = backend.linear_hvp(*given, PLAIN, v, curvatures=bend, weight=weight, need=need)
                    true = reference.linear_hvp(*exact, PLAIN, v, curvatures=bend, weight=weight, need=need)
                    _same_grads(found, true, bound, f"linear_hvp {what}")


def check_hvp(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """The directional derivative of the gradients, by central differences of the reference's gradients in float64.

    Of losses ``c s + d t + e (s - t)^2 + f (m + s)^2`` in the row's own statistics, along every part of the direction.
    """
    bound = 1e-6 if dtype == np.float64 else 2e-4  # of the differences, and of float32
    for shape in HVP_SHAPES:
        for soft in (False, True):
            x, w, b, target, weight = problem(shape, dtype, soft)
            v = _direction(x.shape, w.shape, dtype)
            e, f = (0.3, 0.2) if shape[0] % 2 else (0.0, 0.0)
            stats = reference.linear_stats(x, w, b, target)
            given = (x, w, b, target, _curved_slopes(stats, e, f))
            bend = Curvatures(*(np.full(shape[0], c) for c in (2 * e + 2 * f, -2 * e, 2 * e))) if e else None
            for along in (v, v._replace(x=None), v._replace(w=None), Directions(None, v.w, None)):
                true = _differences((x, w, b), along, target, weight, e, f)
                found = backend.linear_hvp(*given, along, curvatures=bend, weight=weight, need=ALL)
                names = [n for n, d in along._asdict().items() if d is not None]
                what = f"linear_hvp along {names}, N, D, K = {shape} in {dtype}, {'soft' if soft else 'hard'} targets"
                _same_grads(found, true, bound, what)
            some = backend.linear_hvp(*given, v, curvatures=bend, weight=weight, need=Need(False, False, True))
            require(some.x is None and some.w is None, "linear_hvp computes more than is needed")


def check_confident_hvp(backend: Backend, dtype: np.dtype, computes: str | None = None) -> None:
    """Far from the boundary the Hessian keeps its digits: p (1 - p) of two classes is about exp(-gap)."""
    for gap in (20.0, 60.0):
        for target in (Target(np.array([0])), Target(None, np.array([[1.0, 0.0, 0.0]], dtype))):
            x, w = np.ones((1, 1), dtype), np.array([[gap], [0.0], [0.0]], dtype)
            along = Directions(None, np.array([[1.0], [0.0], [0.0]], dtype), None)
            found = backend.linear_hvp(x, w, None, target, PLAIN, along, need=Need(True, True, False)).w
            far = np.exp(-gap) / (1 + 2 * np.exp(-gap)) ** 2
            true = np.array([[2 * far], [-far], [-far]])
            _near(
                found, true, 40 * float(np.finfo(dtype).eps), 0, f"linear_hvp of a row with a gap of {gap} in {dtype}"
            )


def _curved_slopes(stats: Any, e: float, f: float) -> Slopes:
    d, size = stats.s - stats.t, stats.m + stats.s
    return Slopes(1 + 2 * e * d + 2 * f * size, -1 - 2 * e * d, np.zeros_like(d))


def _differences(at: Any, along: Directions, target: Any, weight: Any, e: float, f: float) -> LinearGrads:
    h, ends = 1e-5, []
    for step in (h, -h):
        x, w, b = (np.asarray(a, float) + (0 if d is None else step * d) for a, d in zip(at, along, strict=True))
        stats = reference.linear_stats(x, w, b, target)
        slopes = _curved_slopes(stats, e, f)
        ends.append(reference.linear_grad(x, w, b, target, stats, slopes, weight=weight, need=ALL))
    return LinearGrads(*((up - down) / (2 * h) for up, down in zip(*ends, strict=True)))


def _direction(x: tuple[int, ...], w: tuple[int, ...], dtype: Any) -> Directions:
    rng = np.random.default_rng(5)
    return Directions(*(rng.normal(size=shape).astype(dtype) for shape in (x, w, w[:1])))


def _bend(N: int) -> Curvatures:
    return Curvatures(*np.random.default_rng(6).normal(size=(3, N)))


def sparse_rows(shape: tuple[int, int, int], dtype: Any, index: Any) -> Any:
    """CSR rows, some of them empty, every third with its columns in disorder and one of them twice."""
    from scipy import sparse

    rng = np.random.default_rng(7)
    N, D, _ = shape
    rows = [np.sort(rng.permutation(D)[: rng.integers(0, min(D, 9) + 1)]) for _ in range(N)]
    for i in range(0, N, 3):
        rows[i] = np.concatenate([rng.permutation(rows[i]), rows[i][:1]])
    start = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(index)
    column = np.concatenate([*rows, np.empty(0)]).astype(index)
    x = sparse.csr_array((rng.normal(size=len(column)).astype(dtype), column, start), shape=(N, D))
    x.indices, x.indptr = column, start  # as they are: int64 stays
    return x


def _same_grads(found: LinearGrads, true: LinearGrads, bound: float, what: str) -> None:
    for name, expected in true._asdict().items():
        if expected is not None:
            scale = np.abs(expected).max(initial=0) + 1e-3
            _near(getattr(found, name) / scale, expected / scale, 0, bound, f"the gradient in {name} by {what}")


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
    "working columns": check_working_columns,
    "logistic rows": check_logistic_rows,
    "descent": check_descent,
    "confident hvp": check_confident_hvp,
    "hvp": check_hvp,
    "sparse": check_sparse,
    "linear": check_linear,
}
