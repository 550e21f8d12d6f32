"""Checking a loss: a formula of `xent.losses` against the textbook's loss of the probability of a label."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

from ..losses import Formula
from ..rows import LabelRows, SoftRows
from ._compare import compare, relative, require, short
from ._kinds import KINDS, Kind, differentiate, kind, numpy_of
from ._textbook import Exact, RowTruth, Textbook, Truth, direction, row_truth
from .table import ROWS, Label, one_hot, undefined

DTYPES = ("float64", "float32")
# Cross-entropies of a label: ordinary, nearly certain, hopeless, certain, impossible.
_SURE = (3e-4, 1e-7, 1e-12, 1e-20, 1e-100, 1e-300)
COSTS = (0.29, 0.0137, 0.71, 1.37, 3.1, 8.9, 21.3, *_SURE, 37.0, 90.0, 350.0, 700.0, 0.0, float("inf"))
# m, s, t, u of a few classes
STATISTICS = (
    (0.0, 0.7, 0.0, -1.5),
    (0.5, 1e-20, 0.0, -90.0),
    (-2.0, 0.4, -1.25, -3.0),
    (10000.0, 0.9, -0.5, -2.0),
    (3.0, 1e-9, -40.0, -95.0),
    (-700.0, 1.3, -700.0, -900.0),
    (1.0, 0.3, float("-inf"), float("-inf")),
)


def check_loss(
    formula: Formula,
    truth: Truth,
    *,
    kinds: Sequence[str] = KINDS,
    dtypes: Sequence[str] = DTYPES,
    rows: Mapping[str, tuple[list[float], Label]] | None = None,
    compiled: bool = False,
) -> None:
    """Check a formula: by itself, and through the row functions on a table of rows, in value and two derivatives.

    Parameters
    ----------
    formula : Formula
        As in `xent.losses`. A field ``classes`` is set to the number of classes of each row.
    truth : callable
        The textbook's loss of a label of probability p, an mpmath number from 0 to 1, in mpmath.
    kinds : names among "numpy", "torch" and "jax"
        The array libraries to check with.
    dtypes : names of floating dtypes
        The half precisions are none: losses are computed in float32 at least.
    rows : mapping of names to (logits, target), optional
        By default the table `xent.testing.ROWS`.
    compiled : bool
        Whether JAX compiles the whole of each derivative, which takes it seconds, and not one operation at a time.

    Raises
    ------
    AssertionError
        What was computed in which row, what was found, what is true, and how far off it may be: 32 roundings of the
        dtype times the size of the terms that the number is a sum of. In float64 the value and the gradient must also
        be within 1e-13 of the truth, relative to the largest entry.
    ImportError
        The library of a kind is not installed.

    Notes
    -----
    Where a label has probability 0 the loss is ``truth(0)``, finite or not, and its gradient has the limit of the
    slope. A row of logits that has NaN, +inf, or nothing but -inf, has a NaN loss and gradient, alone; a row left out
    has zeros.

    Examples
    --------
    >>> import mpmath
    >>> from xent.losses import Focal
    >>> check_loss(Focal(2.0), lambda p: -((1 - p) ** 2) * mpmath.log(p), kinds=["numpy"])
    >>> check_loss(Focal(2.0), lambda p: -((1 - p) ** 3) * mpmath.log(p), kinds=["numpy"])
    Traceback (most recent call last):
    AssertionError: f(0.29) of Focal(gamma=2.0, label_smoothing=0.0) in numpy float64 is ...
    """
    table = ROWS if rows is None else rows
    textbook = Textbook(truth)
    truths = {
        name: functools.cache(functools.partial(_truth_of, textbook, formula, *row)) for name, row in table.items()
    }
    for name in kinds:
        with kind(name) as library:
            for dtype in dtypes:
                about = f"of {formula!r} in {name} {dtype}"
                check_costs(formula, textbook, library, dtype, about)
                check_statistics(formula, textbook, library, dtype, about)
                for batch in batches(formula, table, padded=name == "jax"):
                    _check_batch(batch, [truths[row]() for row in batch.names], library, dtype, about, compiled)


def _truth_of(textbook: Textbook, formula: Any, logits: list[float], target: Label) -> RowTruth:
    return row_truth(textbook, logits, target, formula.label_smoothing, getattr(formula, "z_loss", 0.0))


def check_costs(formula: Formula, textbook: Textbook, library: Kind, dtype: str, about: str) -> None:
    """``f, df, d2f`` at each cross-entropy d of a label; the second derivative at 0 need only be a number."""
    d = np.array(list(dict.fromkeys(np.array(COSTS, dtype=dtype).tolist())), dtype=dtype)
    for order, name in enumerate(("f", "df", "d2f")):
        found = numpy_of(_quiet(getattr(formula, name), library.make(d)))
        require(found.shape == d.shape, f"{name} {about} has the shape {found.shape} for {d.shape}")
        for x, value in zip(d.tolist(), found.tolist(), strict=True):
            what = f"{name}({x:g}) {about}"
            if x == 0 and order == 2:
                require(np.isfinite(value), f"{what} is {value}: in a Hessian it is multiplied by 0")
                continue
            compare(what, value, _of_cost(textbook, x, order), dtype)


def _of_cost(textbook: Textbook, d: float, order: int) -> Exact:
    """True, and as far off as a rounding of d makes it."""
    true = textbook(mpf(d), order)
    moved = mpf(d) * textbook(mpf(d), order + 1) if 0 < d < np.inf else mpf(0)
    return Exact(np.asarray(float(true)), np.asarray(float(abs(true) + abs(moved))))


def check_statistics(formula: Formula, textbook: Textbook, library: Kind, dtype: str, about: str) -> None:
    """``value, slopes, curvatures`` and ``affine`` as functions of m, s, t, u: of ``f(s - (1 - e) t - (e / K) u)``."""
    K = 5
    formula = for_classes(formula, K)
    e = formula.label_smoothing if formula.needs_u else 0.0
    w = getattr(formula, "z_loss", 0.0)
    m, s, t, u = (library.make(np.array(column, dtype=dtype)) for column in zip(*STATISTICS, strict=True))
    found = {"value": _quiet(formula.value, s, t, u, m)}
    for part, names in (("slopes", "stu"), ("curvatures", ("ss", "st", "tt"))):
        given = _quiet(formula.slopes, s, t, u, m) if part == "slopes" else _quiet(formula.curvatures, s, t, m)
        found |= {f"{part}.{n}": getattr(given, n) for n in names}
    columns = {name: np.broadcast_to(numpy_of(v), len(STATISTICS)) for name, v in found.items()}
    for i, (m_, s_, t_, u_) in enumerate(zip(*(numpy_of(v).tolist() for v in (m, s, t, u)), strict=True)):
        true = _of_statistics(textbook, e, w, K, m_, s_, t_, u_)
        for name, column in columns.items():
            compare(f"{name}(m={m_:g}, s={s_:g}, t={t_:g}, u={u_:g}) {about}", column[i], true[name], dtype)
    if formula.affine is not None:
        for name, slope in formula.affine._asdict().items():
            same = bool(np.allclose(columns[f"slopes.{name}"], slope, rtol=1e-6, atol=0))
            require(same, f"affine.{name} {about} is {slope}, the slopes are {columns[f'slopes.{name}'].tolist()}")


def _of_statistics(
    textbook: Textbook, e: float, w: float, K: int, m: float, s: float, t: float, u: float
) -> dict[str, Exact]:
    of_t, of_u = -(1 - mpf(e)), -mpf(e) / K
    # a share of 0 takes its statistic out, even where that is infinite
    d = mpf(s) + (of_t * mpf(t) if of_t else 0) + (of_u * mpf(u) if of_u else 0)
    size = d if mpmath.isfinite(d) else mpf(0)
    f = [textbook(d, order) for order in range(4)]
    lse, rough = mpf(m) + mpf(s), abs(mpf(m)) + mpf(s)
    slope, bend = abs(f[1]) + size * abs(f[2]), abs(f[2]) + size * abs(f[3])
    numbers = {
        "value": (f[0] + w * lse**2, abs(f[0]) + size * abs(f[1]) + 2 * w * abs(lse) * rough),
        "slopes.s": (f[1] + 2 * w * lse, slope + 2 * w * rough),
        "slopes.t": (of_t * f[1], abs(of_t) * slope),
        "slopes.u": (of_u * f[1], abs(of_u) * slope),
        "curvatures.ss": (f[2] + 2 * w, bend + 2 * w),
        "curvatures.st": (of_t * f[2], bend),
        "curvatures.tt": (of_t**2 * f[2], bend),
    }
    return {name: Exact(np.asarray(float(v)), np.asarray(float(scale))) for name, (v, scale) in numbers.items()}


def for_classes(formula: Any, K: int) -> Any:
    """The formula for a number of classes, where it has a field for that."""
    fields = {f.name for f in dataclasses.fields(formula)} if dataclasses.is_dataclass(formula) else ()
    return dataclasses.replace(formula, classes=K) if "classes" in fields else formula


class Batch(NamedTuple):
    """Rows of the table with the same number of classes and the same kind of target.

    Attributes
    ----------
    op : row function
    names : of the rows
    logits : array (N, K), with rows at the end that are left out, then rows that are undefined
    target : array (N,) or (N, K)
    """

    op: Any
    names: list[str]
    logits: np.ndarray
    target: np.ndarray


def batches(formula: Formula, table: Mapping[str, Any], padded: bool = False) -> Iterator[Batch]:
    """The table in batches. Padded with masked classes to a few widths where a compiler runs for each shape.

    Smoothing gives every class something, so rows with smoothing are not padded: then some widths are left out.
    """
    smoothing = formula.label_smoothing
    groups: dict[tuple[int, bool], list[str]] = {}
    for name, (logits, target) in table.items():
        K = len(logits)
        if smoothing and K > 1000:  # a truth of thousands of labels takes long
            continue
        if padded and smoothing:
            if K not in (3, 4):
                continue
        elif padded:
            if K > 128:
                continue
            K = 128
        groups.setdefault((K, isinstance(target, int)), []).append(name)
    for (K, hard), names in groups.items():
        own = for_classes(formula, K)
        # a mixture of labels is one in the loss too, unless t and u say it all
        spelled = hard and bool(smoothing) and not own.linear
        op = LabelRows(own) if hard and not spelled else SoftRows(own)
        undefined_rows = list(undefined(K).values())
        logits = np.full((len(names) + 1 + len(undefined_rows), K), -np.inf)
        target = np.zeros(len(logits), dtype=np.int64) if isinstance(op, LabelRows) else np.zeros(logits.shape)
        for i, name in enumerate(names):
            row, aim = table[name]
            logits[i, : len(row)] = row
            if isinstance(op, LabelRows):
                target[i] = aim
            else:
                target[i, : len(row)] = one_hot(aim, len(row)) if isinstance(aim, int) else aim
        logits[len(names)] = np.nan
        logits[len(names) + 1 :] = undefined_rows
        target[len(names) :] = 0 if target.ndim == 1 else one_hot(0, K)
        yield Batch(op, names, logits, target)


def _check_batch(batch: Batch, truths: list[RowTruth], library: Kind, dtype: str, about: str, compiled: bool) -> None:
    n, (N, K) = len(batch.names), batch.logits.shape
    label = np.zeros(N, dtype=np.int64) if batch.target.ndim == 2 else batch.target.copy()
    label[n] = -1
    logits = batch.logits.astype(dtype)
    arrays = (logits, label) if batch.target.ndim == 1 else (logits, batch.target.astype(dtype), label)
    g = 2.0 ** (np.arange(N) % 3 - 1)
    v = np.broadcast_to(direction(K), (N, K)).astype(dtype)
    found = differentiate(library, batch.op, g, v, arrays, compiled)
    value = found.value.copy()
    results = [("the loss", "", value[:, None] * g[:, None])]
    results += [("the gradient", f", {way}", d) for way, d in found.grads.items()]
    results += [("the Hessian's product", f", {way}", d) for way, d in found.products.items()]
    for name, way, result in results:
        require(result.shape[0] == N, f"{name} {about}{way} has the shape {result.shape}")
        for i in range(n):
            row = f"row {batch.names[i]!r} (K = {K}, logits {short(logits[i])}, target {_aim(batch.target[i])})"
            exact = truths[i][_PARTS.index(name) + (way.endswith("twice"))]
            _check_row(f"{name} {about}{way}, {row}", result[i] / g[i], exact, dtype, name != "the Hessian's product")
        left_out = f"{name} {about}{way} of a row left out that holds NaN"
        require((result[n] == 0).all(), f"{left_out} is {short(result[n])}, not 0")
        if name != "the Hessian's product":
            for i, why in enumerate(undefined(K), n + 1):
                nan = np.isnan(result[i]).all()
                require(nan, f"{name} {about}{way} of a row with {why} is {short(result[i])}, not NaN (K = {K})")


_PARTS = ("the loss", "the gradient", "the Hessian's product")


def _check_row(what: str, found: np.ndarray, exact: Exact, dtype: str, strict: bool) -> None:
    k = exact.true.size
    compare(what, found[:k], exact, dtype)
    require((found[k:] == 0).all(), f"{what}, of masked classes at the end: {short(found[k:])}, not 0")
    if strict and dtype == "float64":
        off = relative(found[:k], exact)
        require(off < 1e-13, f"{what}: relative error {off:.3g}, allowed is 1e-13")


def _aim(target: np.ndarray) -> str:
    return str(int(target)) if target.ndim == 0 else short(target)


def _quiet(function: Any, *arrays: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*arrays)
