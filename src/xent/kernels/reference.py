"""The oracle: the operations of `contract` in float64 NumPy, as short as they can be, never tuned.

It is what other backends are tested against, and it is itself tested against mpmath on the textbook formula.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .contract import (
    MOMENT_ROWS,
    WEIGHTS_ONLY,
    Array,
    ByColumn,
    Curvatures,
    Directions,
    Entries,
    LinearGrads,
    Need,
    RowModel,
    RowStats,
    Slopes,
    Target,
    check_csr,
    is_sparse,
    layer_dtype,
    narrowed,
    products_in,
    widened,
)

name = "reference"


def _rows(logits: Array, target: Target) -> tuple[Array, Array, Array]:
    """Logits in float64 with left-out rows made harmless, q (N, K), and which rows are kept."""
    a = np.array(widened(logits), dtype=np.float64)
    kept = np.ones(len(a), bool) if target.label is None else target.label >= 0
    a[~kept] = 0
    if target.probs is not None:
        q = np.array(target.probs, dtype=np.float64)
    else:
        assert target.label is not None
        q = np.zeros(a.shape)
        q[kept, target.label[kept]] = 1
    q[~kept] = 0
    return a, q, kept


def row_stats(logits: Array, target: Target, *, need_u: bool = False) -> RowStats:
    """Maximum, log-sum-exp, target mean and sum of each row, the last three measured from the maximum."""
    a, q, kept = _rows(logits, target)
    m = a.max(axis=1, initial=-np.inf)
    top = (a == m[:, None]).argmax(axis=1) if a.shape[1] else np.zeros(len(a), int)
    with np.errstate(invalid="ignore"):
        z = a - m[:, None]
        others = np.exp(z)
        others[np.arange(len(a)), top] -= 1  # the maximum itself, so that log1p keeps the digits of the rest
        s = np.log1p(others.sum(axis=1))
        t = np.where(q == 0, 0, q * z).sum(axis=1)  # 0 log 0 = 0
    s, t, m = (np.where(kept, v, 0) for v in (s, t, m))
    return RowStats(m, s, t, np.where(kept, z.sum(axis=1), 0) if need_u else None)


def row_grad(
    logits: Array,
    target: Target,
    stats: RowStats,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    out: Array | None = None,
) -> Array:
    """``w (l_s p + l_t q + l_u)``, with p - 1 at the target as expm1."""
    a, q, kept = _rows(logits, target)
    w = np.ones(len(a)) if weight is None else weight
    kept = kept & (w != 0)
    ls, lt, lu = (np.broadcast_to(v, len(a))[:, None] for v in slopes)
    with np.errstate(invalid="ignore"):
        log_p = a - stats.m[:, None] - stats.s[:, None]
        plain = ls * np.exp(log_p) + lt * q + lu
        heavy = ls * np.expm1(log_p) + (ls + lt) - lt * (1 - q) + lu
        da = np.where(kept[:, None], w[:, None] * np.where(q > 0.5, heavy, plain), 0)
    da = narrowed(da, logits.dtype)
    if out is None:
        return da
    out[...] = da
    return out


def row_fused(
    logits: Array,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    out: Array | None = None,
    total: bool = False,
) -> tuple[Any, Array]:
    """Loss ``slopes . (s, t, u)`` of each row and its weighted gradient."""
    loss = row_loss(logits, target, slopes, weight=weight, total=total)
    return loss, row_grad(logits, target, row_stats(logits, target), slopes, weight=weight, out=out)


def row_loss(logits: Array, target: Target, slopes: Slopes, *, weight: Array | None = None, total: bool = False) -> Any:
    """Loss of each row, or its weighted sum."""
    loss = _loss(row_stats(logits, target, need_u=True), slopes)
    if weight is not None:
        loss = np.where(weight == 0, 0, loss)
    return float(loss.sum() if weight is None else loss @ weight) if total else loss


def _loss(stats: RowStats, slopes: Slopes) -> Array:
    loss = stats.s - stats.s  # 0, or NaN where the row has no meaning
    for slope, value in zip(slopes, stats[1:], strict=True):
        if slope:  # a slope of 0 takes its statistic out, even where that is infinite
            loss = loss + slope * value
    return loss


def _logits(x: Array, w: Array, bias: Array | None) -> Array:
    with np.errstate(invalid="ignore"):
        z = _dense(x) @ np.asarray(w, np.float64).T
        return z if bias is None else z + bias


def _no_budget(memory: int | None) -> None:
    if memory is not None:
        raise ValueError(f"memory={memory}: the reference stores all logits and keeps no budget; the cpu backend does")


def _dense(x: Any, need: Need = WEIGHTS_ONLY, directions: Directions | None = None) -> Array:
    if is_sparse(x):
        check_csr(x, need, directions)
    return np.asarray(x.toarray() if is_sparse(x) else x, np.float64)


def linear_stats(
    x: Array, w: Array, bias: Array | None, target: Target, *, need_u: bool = False, memory: int | None = None
) -> RowStats:
    """`row_stats` of ``x w' + bias``."""
    _no_budget(memory)
    return row_stats(_logits(x, w, bias), target, need_u=need_u)


def linear_grad(
    x: Array,
    w: Array,
    bias: Array | None,
    target: Target,
    stats: RowStats,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
    memory: int | None = None,
    out: Array | None = None,
) -> LinearGrads:
    """`row_grad` of ``x w' + bias`` carried to x, w and bias."""
    _no_budget(memory)
    dtype, own, x = x.dtype, layer_dtype(x, w), _dense(x, need)
    r = row_grad(_logits(x, w, bias), target, stats, slopes, weight=weight)
    used = (r != 0).any(axis=1)  # a row left out may hold NaN, and 0 * NaN is not 0
    dx = (r @ np.asarray(w, np.float64)).astype(dtype) if need.x else None
    if dx is not None and out is not None:
        out[...] = dx
        dx = out
    return LinearGrads(
        dx,
        (r[used].T @ x[used]).astype(own) if need.w else None,
        r.sum(axis=0) if need.bias else None,
    )


def linear_fused(
    x: Array,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    *,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
    memory: int | None = None,
    total: bool = False,
    out: Array | None = None,
) -> tuple[Any, LinearGrads]:
    """`row_fused` of ``x w' + bias`` carried to x, w and bias; the weighted sum of the losses with `total`."""
    _no_budget(memory)
    stats = linear_stats(x, w, bias, target, need_u=True)
    loss = _loss(stats, slopes)
    if weight is not None:
        loss = np.where(weight == 0, 0, loss)
    value = float(loss.sum() if weight is None else loss @ weight) if total else loss
    return value, linear_grad(x, w, bias, target, stats, slopes, weight=weight, need=need, out=out)


def linear_hvp(
    x: Array,
    w: Array,
    bias: Array | None,
    target: Target,
    slopes: Slopes,
    directions: Directions,
    *,
    curvatures: Curvatures | None = None,
    weight: Array | None = None,
    need: Need = WEIGHTS_ONLY,
) -> LinearGrads:
    """The gradients' derivative along ``z' = x vw' + vx w' + vb``, by ``s' = p z'`` and ``t' = q z'``."""
    dtype, own = x.dtype, layer_dtype(x, w)
    x, w = _dense(x, need, directions), np.asarray(w, np.float64)
    a, q, kept = _rows(_logits(x, w, bias), target)
    kept &= True if weight is None else weight != 0
    x, a, q = (np.where(kept[:, None], v, 0) for v in (x, a, q))
    like = zip(directions, (x, w, w[:, 0] if w.size else np.zeros(len(w))), strict=True)
    vx, vw, vb = (np.zeros_like(a) if v is None else np.asarray(v, np.float64) for v, a in like)
    vx = np.where(kept[:, None], vx, 0)
    stats, v = row_stats(a, target), x @ vw.T + vx @ w.T + vb
    # from its entry at the maximum: then what confident rows have left is not a difference
    centre = v[np.arange(len(v)), a.argmax(axis=1)][:, None]
    v = v - centre
    ls, lt, lu = (np.broadcast_to(c, len(a))[:, None] for c in slopes)
    ss, st, tt = (np.broadcast_to(c, len(a))[:, None] for c in curvatures or (0, 0, 0))
    p, each = np.exp(a - (stats.m + stats.s)[:, None]), np.where(kept, 1 if weight is None else weight, 0)[:, None]
    mean = (p * v).sum(axis=1, keepdims=True)
    s, t = mean + centre, (q * v).sum(axis=1, keepdims=True) + centre
    moved = each * (ls * p * (v - mean) + (ss * s + st * t) * p + (st * s + tt * t) * q)
    r = each * (ls * p + lt * q + lu)
    return LinearGrads(
        (moved @ w + r @ vw).astype(dtype) if need.x else None,
        (moved.T @ x + r.T @ vx).astype(own) if need.w else None,
        moved.sum(axis=0) if need.bias else None,
    )


def second_moments(
    x: Array, weight: Array, *, rows: Array | None = None, ones: bool = False, dtype: DTypeLike = np.float64
) -> Array:
    """Some rows at a time."""
    x, own = (x if rows is None else x[rows]).astype(products_in(dtype)), weight.astype(products_in(dtype))[:, None]
    x = np.hstack([x, np.ones((len(x), 1), x.dtype)]) if ones else x
    out = np.zeros((x.shape[1], x.shape[1]))
    for at in range(0, len(x), MOMENT_ROWS):
        some = slice(at, at + MOMENT_ROWS)
        out += x[some].T @ (own[some] * x[some])
    return out


def take_columns(x: Any, columns: Array) -> Entries:
    """The columns through SciPy, without a change of their order within a row."""
    check_csr(x)
    part = x[:, columns]
    start, column = part.indptr.astype(np.int64), part.indices.astype(np.int32)
    return Entries((start,), (column,), (part.data.astype(np.float64),), len(columns))


def _dense_rows(x: Entries) -> Iterator[Array]:
    """Each row, dense."""
    for start, column, value in zip(x.start, x.column, x.value, strict=True):
        for i in range(len(start) - 1):
            row, at = np.zeros(x.width), slice(start[i], start[i + 1])
            np.add.at(row, column[at], value[at])
            yield row


def gram(x: Entries, weight: Array, *, step: int = 1, known: Array | None = None) -> Array:
    """A dense row after the other."""
    out, diagonal = np.zeros((x.width, x.width)), np.zeros(x.width)
    for i, row in enumerate(_dense_rows(x)):
        diagonal += weight[i] * row**2
        if i % step == 0:
            out += step * weight[i] * np.outer(row, row)
    out[np.diag_indices(x.width)] = np.maximum(out.diagonal(), diagonal if step > 1 else 0)
    if known is not None:
        out[: len(known), : len(known)] = known
    return out


def product(x: Entries, w: Array) -> Array:
    """A dense row after the other."""
    return np.array([row @ w for row in _dense_rows(x)])


def column_moments(x: Any, weight: Array) -> Array:
    """A number after the other."""
    out, row = np.zeros((x.shape[1], 2)), np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    numbers = x.data.astype(np.float64)
    np.add.at(out, x.indices, weight[row, None] * np.stack([numbers, numbers**2], axis=1))
    return out


def pull_back(x: Any, r: Array) -> Array:
    """A dense row after the other."""
    if not isinstance(x, Entries):
        x = take_columns(x, np.arange(x.shape[1]))
    return sum((each * row for each, row in zip(r, _dense_rows(x), strict=True)), np.zeros(x.width))


def logistic_rows(z: Array, label: Array, weight: Array) -> tuple[float, Array, Array]:
    """By the smaller of the two probabilities."""
    far = np.exp(-np.abs(z))
    small, large = far / (1 + far), 1 / (1 + far)
    p = np.where(z >= 0, large, small)
    slope = np.where(label == 1, np.where(z >= 0, -small, -large), p)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        loss = np.logaddexp(0, np.where(label == 1, -z, z))
    return float(weight @ loss), p, weight * slope


def _column(x: ByColumn, j: int) -> tuple[Array, Array, int]:
    """Rows and values of a coordinate's column, and its vector."""
    at = slice(x.start[x.column[j]], x.start[x.column[j] + 1])
    return x.row[at], x.value[at], int(x.vector[j])


def spread(x: ByColumn, which: Array, step: Array, z: Array) -> None:
    """A column after the other."""
    for j in which:
        row, value, k = _column(x, j)
        np.add.at(z[:, k], row, step[j] * value)


def gather(x: ByColumn, which: Array, r: Array, *, squares: bool = False) -> Array:
    """A column after the other."""
    parts = [_column(x, j) for j in which]
    return np.array([(value**2 if squares else value) @ r[row, k] for row, value, k in parts])


def descend(x: ByColumn, which: Array, model: RowModel, base: Array, l1: Array, l2: Array, u: Array) -> float:
    """A coordinate after the other, with the slopes of all rows made anew for each."""
    worst = 0.0
    for j in which:
        slopes = model.change
        if model.p is not None and model.mean is not None:
            slopes = model.weight[:, None] * model.p * (model.change - model.mean[:, None])
        slope = base[j] + l2[j] * u[j] + gather(x, np.array([j]), slopes)[0]
        off = abs(slope + l1[j] * np.sign(u[j])) if u[j] else max(abs(slope) - l1[j], 0)
        worst = max(worst, float(off))
        if not model.diagonal[j] > 0:
            continue
        old = u[j]
        z = old - slope / model.diagonal[j]
        new = np.sign(z) * max(abs(z) - l1[j] / model.diagonal[j], 0)
        step, u[j] = np.zeros(len(u)), new
        step[j] = new - old
        moved = np.zeros_like(model.change)
        spread(x, np.array([j]), step, moved)
        if model.p is None or model.mean is None:
            model.change[:] += model.weight[:, None] * moved
        else:
            model.change[:] += moved
            model.mean[:] += (model.p * moved).sum(axis=1)
    return worst
