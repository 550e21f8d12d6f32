"""Recalibration maps fitted by cross-entropy.

Every parametric fit adds the square of each parameter's way from the identity map over ``2 SPREAD^2 n``: a hundredth of
an observation's worth. So a minimum exists where the labels are told apart without an error, and otherwise it is moved
by less than rounding to four digits would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import log_softmax
from ._maps import METHODS, RecalibrationMap, class_names, log_odds, require_finite, scaled, with_floor
from .isotonic import pool

SPREAD = 10.0
ENDS = 0.5
"""Weight of the event that isotonic regression is given at each end, so that it never answers 0 or 1."""
STRENGTHS = (1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
"""What Dirichlet's regularisation is chosen from, times K (K - 1) / 2: how stiffly one weight is held."""
_MOST_STEPS = 500

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FitOptions:
    """How maps are fitted.

    Attributes
    ----------
    floor : float
        Probabilities below are raised to it first; 0 for none.
    ends : float
        Isotonic: the weight, in rows, of one event against the order at each end (label 1 below all scores, label 0
        above). 0 is plain isotonic regression, whose 0 and 1 cost infinity when they are wrong; two classes only.
    strength : float or None
        Dirichlet: lambda = mu of Kull et al. (2019), section 3.4; None chooses among `STRENGTHS` by 3-fold
        cross-validation.
    """

    floor: float = 0.0
    ends: float = ENDS
    strength: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.floor < 0.5:
            raise ValueError(f"floor lies from 0 to below 1 / classes, got {self.floor}")
        if not (math.isfinite(self.ends) and self.ends >= 0):
            raise ValueError(f"ends is a weight of 0 or more, got {self.ends}")
        if self.strength is not None and not (math.isfinite(self.strength) and self.strength >= 0):
            raise ValueError(f"strength is a number of 0 or more, or None, got {self.strength}")


def fit_map(
    method: str,
    logs: Array,
    labels: NDArray[np.int64],
    weights: Array | None = None,
    options: FitOptions | None = None,
    names: Sequence[object] | None = None,
) -> RecalibrationMap:
    """Fit a map to rows: log-probabilities (rows, classes), labels, -1 for one that is none of the classes.

    Rows whose label has probability 0 cost infinity whatever temperature, Platt's slope or a matrix is: those methods
    are fitted to the other rows, and ``info["left_out"]`` counts them. Isotonic regression uses them.
    """
    options, K = options or FitOptions(), logs.shape[1]
    check_method(method, K, options)
    logs = with_floor(logs, options.floor)
    weight = np.ones(len(labels)) if weights is None else weights
    usable = (labels >= 0) & (weight > 0)
    if method != "isotonic":
        usable &= np.isfinite(logs[np.arange(len(labels)), labels])
    kept = logs[usable], labels[usable], weight[usable]
    if not usable.any():
        raise ValueError(f"no row to fit {method} to: every label has probability 0")
    parameters = _FITS[method](*kept, options)
    info: dict[str, Any] = {"rows": int(usable.sum()), "left_out": int((weight > 0).sum() - usable.sum())}
    if method == "isotonic":
        info["ends"] = options.ends
    strength = parameters.pop("strength", None)
    if strength is not None:
        info["strength"] = strength
    return RecalibrationMap(method, K, parameters, options.floor, class_names(names, K), info)


def check_method(method: str, classes: int, options: FitOptions) -> None:
    """Refuse a method that is not there, or not for so many classes."""
    if method not in METHODS:
        raise ValueError(f"there is no recalibration {method!r}: use {', '.join(METHODS)}")
    if method == "platt" and classes != 2:
        raise ValueError(f"platt is for two classes, these are {classes}: use vector or dirichlet")
    if method == "isotonic" and classes > 2 and options.ends == 0:
        raise ValueError("isotonic without ends may leave a row of many classes with no probability at all")
    if options.floor * classes >= 1:
        raise ValueError(f"a floor of {options.floor} leaves {classes} classes nothing: it must be below 1 / classes")


def _temperature(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    rows, total = np.arange(len(labels)), float(weight.sum())
    if logs.shape[1] == 2:
        d, y = _finite_odds(logs, labels)
        found = _newton(lambda v: _binary(d[:, None], y, weight, v, np.ones(1)), np.ones(1))
    else:
        top = logs.max(axis=1, keepdims=True)
        below = np.where(np.isinf(logs), 0.0, logs - top)

        def value(v: Array) -> tuple[float, Array, Array]:
            out = scaled(logs, float(v[0]))
            p = np.exp(out)
            mean = np.einsum("ij,ij->i", p, below)
            spread = np.einsum("ij,ij->i", p, (below - mean[:, None]) ** 2)
            loss = -weight @ out[rows, labels] / total + (v[0] - 1) ** 2 * _ridge(total) / 2
            slope = weight @ (mean - below[rows, labels]) / total + (v[0] - 1) * _ridge(total)
            return float(loss), np.array([slope]), np.array([[weight @ spread / total + _ridge(total)]])

        found = _newton(value, np.ones(1))
    # a slope of 0 or below: the best temperature is infinite, where every possible class is as likely
    return {"temperature": 1 / float(found[0]) if found[0] > 0 else math.inf}


def _platt(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    d, y = _finite_odds(logs, labels)
    columns, identity = np.column_stack([d, np.ones(len(d))]), np.array([1.0, 0.0])
    # what is certain and right costs nothing and teaches nothing about the slope
    certain = np.isinf(log_odds(logs))
    slope, intercept = _newton(lambda v: _binary(columns, y, np.where(certain, 0.0, weight), v, identity), identity)
    return {"slope": float(slope), "intercept": float(intercept)}


def _finite_odds(logs: Array, labels: NDArray[np.int64]) -> tuple[Array, Array]:
    """Log-odds with 0 where they are infinite (which costs nothing at any slope), and the signs of the labels."""
    d = log_odds(logs)
    return np.where(np.isinf(d), 0.0, d), np.asarray(2.0 * labels - 1.0, dtype=np.float64)


def _binary(columns: Array, sign: Array, weight: Array, v: Array, identity: Array) -> tuple[float, Array, Array]:
    """Mean logistic loss of ``columns @ v``, its gradient and Hessian."""
    total = max(float(weight.sum()), 1e-300)
    margin = sign * (columns @ v)
    far = np.exp(-np.abs(margin))
    wrong = np.where(margin > 0, far, 1.0) / (1 + far)  # the probability of the other label
    loss = weight @ (np.maximum(-margin, 0) + np.log1p(far)) / total
    curvature = weight * far / (1 + far) ** 2 / total
    off = (v - identity) * _ridge(total)
    return (
        float(loss + off @ (v - identity) / 2),
        -columns.T @ (weight * sign * wrong) / total + off,
        (columns * curvature[:, None]).T @ columns + _ridge(total) * np.eye(len(v)),
    )


def _ridge(total: float) -> float:
    return 1 / (SPREAD**2 * max(total, 1.0))


def _newton(f: Callable[[Array], tuple[float, Array, Array]], start: Array) -> Array:
    """The minimum of a smooth convex function of a few parameters, to rounding.

    Newton's method with halved steps. (`xent.solvers.newton_cholesky` is for many; it brings SciPy, whose import takes
    longer than these fits.)
    """
    v = start
    value, gradient, hessian = f(v)
    for _ in range(_MOST_STEPS):
        step = np.linalg.solve(hessian, gradient)
        decrement = float(gradient @ step)
        t = 1.0
        while t > 1e-9:
            there = f(v - t * step)
            if there[0] <= value - 1e-4 * t * decrement + 1e-15 * abs(value):
                break
            t /= 2
        else:
            return v
        v = v - t * step
        value, gradient, hessian = there
        if decrement <= 1e-24 + 1e-18 * abs(value):
            break
    return v


def _isotonic(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    if logs.shape[1] == 2:
        curves = [_rising(log_odds(logs), labels == 1, weight, options.ends)]
    else:
        curves = [_rising(log_odds(logs, k), labels == k, weight, options.ends) for k in range(logs.shape[1])]
    return {"log_odds": [c[0] for c in curves], "probability": [c[1] for c in curves]}


def _rising(x: Array, happened: NDArray[np.bool_], weight: Array, ends: float) -> tuple[Array, Array]:
    """The knots of isotonic regression: both edges of every level."""
    y = happened.astype(np.float64)
    if ends:
        x, y = np.append(x, [-np.inf, np.inf]), np.append(y, [1.0, 0.0])
        weight = np.append(weight, [ends, ends])
    order = np.argsort(x, kind="stable")
    x, y, weight = x[order], y[order], weight[order]
    first = np.flatnonzero(np.append(True, x[1:] != x[:-1]))
    sums, ones = np.add.reduceat(weight, first), np.add.reduceat(weight * y, first)
    x = x[first]
    starts, sums, ones = pool(sums, ones)
    low, high, level = x[starts], x[np.append(starts[1:], x.size) - 1], ones / sums
    knots = np.stack([low, high], axis=1).ravel()
    new = np.append(True, knots[1:] != knots[:-1])
    return knots[new], np.clip(np.repeat(level, 2)[new], 0.0, 1.0)


def _vector(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    require_finite(logs, "vector")
    rows, K, share = np.arange(len(labels)), logs.shape[1], weight / float(weight.sum())
    identity, ridge = np.append(np.ones(K), np.zeros(K)), _ridge(float(weight.sum()))
    own, other = np.arange(K), np.arange(K, 2 * K)

    def value(v: Array) -> tuple[float, Array, Array]:
        out = log_softmax(logs * v[:K] + v[K:])
        p = np.exp(out)
        slopes = np.concatenate([p * logs, p], axis=1)
        mass = share[:, None] * slopes
        first, zeroth = mass[:, :K].sum(axis=0), mass[:, K:].sum(axis=0)
        hessian = -(mass.T @ slopes)
        hessian[own, own] += np.einsum("ij,ij->j", mass[:, :K], logs) + ridge
        hessian[own, other] += first
        hessian[other, own] += first
        hessian[other, other] += zeroth + ridge
        hit = np.bincount(labels, weights=share * logs[rows, labels], minlength=K)
        gradient = np.append(first - hit, zeroth - np.bincount(labels, weights=share, minlength=K))
        off = v - identity
        loss = -float(share @ out[rows, labels]) + ridge / 2 * float(off @ off)
        return loss, gradient + ridge * off, hessian

    found = _newton(value, identity)
    return {"weights": found[:K].copy(), "intercept": found[K:] - found[K:].mean()}


def _matrix(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    from ._dirichlet import fit_matrix

    require_finite(logs, "matrix")
    weights, intercept = fit_matrix(logs, labels, weight, 0.0)
    return {"weights": weights, "intercept": intercept}


def _dirichlet(logs: Array, labels: NDArray[np.int64], weight: Array, options: FitOptions) -> dict[str, Any]:
    from ._dirichlet import choose_strength, fit_matrix

    require_finite(logs, "dirichlet")
    strength = options.strength
    if strength is None:
        strength = choose_strength(logs, labels, weight, STRENGTHS)
    weights, intercept = fit_matrix(logs, labels, weight, strength)
    return {"weights": weights, "intercept": intercept, "strength": strength}


_FITS: dict[str, Callable[[Array, NDArray[np.int64], Array, FitOptions], dict[str, Any]]] = {
    "temperature": _temperature,
    "platt": _platt,
    "isotonic": _isotonic,
    "vector": _vector,
    "matrix": _matrix,
    "dirichlet": _dirichlet,
}
