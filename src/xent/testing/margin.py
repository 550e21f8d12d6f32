"""Checking a margin: of `xent.losses.margins`, against the paper's function of the angle."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

from .._arrays import NUMPY
from ..functional.margin import margin_cross_entropy, margin_logits, read_margin_cross_entropy
from ..losses.margins import Margin
from ._compare import UNITS, require, rounding
from ._kinds import KINDS, Kind, kind, numpy_of
from ._textbook import Truth

DTYPES = ("float64", "float32")
# radians: at and near both ends, at the ends of the pieces of multiplied angles, at pi less a margin of a half
ORDINARY = (0.05, 0.3, 0.71, 1.1, 1.9, 2.3, 2.9)
KNOTS = (*(k * math.pi / n for n in (2, 3, 4, 5) for k in range(1, n)), math.pi - 0.5)
ANGLES = (0.0, 1e-300, 1e-20, 1e-12, 1e-6, 1e-3, *ORDINARY, *KNOTS, math.pi - 1e-6, math.pi - 1e-12, math.pi)
DIGITS = 80


def check_margin(
    margin: Margin,
    truth: Truth,
    *,
    slope: Truth | None = None,
    m: float | None = None,
    kinds: Sequence[str] = KINDS,
    dtypes: Sequence[str] = DTYPES,
) -> None:
    """Check a margin: its psi and derivatives at all angles, and its gradient on the centre and opposite to it.

    Parameters
    ----------
    margin : Margin
        As in `xent.losses.margins`.
    truth : callable
        The paper's new cosine of the target, psi(theta), in mpmath; theta is an mpmath number in [0, pi].
    slope : callable, optional
        What the gradient has for psi', where that is not its derivative, as with ``detach=True``.
    m : float, optional
        The margin of the row that `truth` is for, where margins are of classes or rows.
    kinds, dtypes
        As for `check_loss`.

    Raises
    ------
    AssertionError
        At which angle, what was found and what is true. psi, its slope and its second derivative may be off by 32
        roundings of the dtype, times their size and what a rounding of the angle does. Where psi jumps or bends the
        angle may be taken for one up to 4 roundings away. On the centre, and opposite to it, the gradient in the
        embedding x across it is ``scale |psi'(theta)| / |x|``.

    Examples
    --------
    >>> import mpmath
    >>> from xent.losses.margins import ArcFace
    >>> check_margin(ArcFace(0.5), lambda theta: mpmath.cos(theta + 0.5), kinds=["numpy"])
    >>> check_margin(ArcFace(0.5), lambda theta: mpmath.cos(theta + 0.4), kinds=["numpy"])
    Traceback (most recent call last):
    AssertionError: psi(0) of ArcFace(margin=0.5, ...) in numpy float64 is 0.87758..., the truth is 0.92106...
    """
    for name in kinds:
        with kind(name) as library:
            for dtype in dtypes:
                about = f"of {margin!r} in {name} {dtype}"
                _check_psi(margin, truth, slope, m, library, dtype, about)
                gradients = _layer_gradients(margin, library)
                for times in (2.0, -2.0, 3.0, -0.25):
                    _check_layer(margin, gradients, times, dtype, about)
    if slope is None:
        _check_margin_slope(margin, m)


class _Side(NamedTuple):
    """psi and its derivatives at an angle, or to one side of it."""

    value: mpf
    slope: mpf
    bend: mpf
    third: mpf


def _sides(truth: Truth, slope: Truth | None, theta: float, eps: float) -> list[_Side]:
    """The truth at an angle and 4 roundings to either side, which differ where psi jumps or bends."""
    with mpmath.workdps(DIGITS):
        away = 4 * mpf(eps) * max(mpf(theta), mpf(1))
        places = [mpf(theta) + k * away for k in (0, -1, 1)]
        inside = [x for x in places if 0 <= x <= mpmath.pi] or [mpmath.pi]
        found = []
        for x in inside:
            # a difference to the inner side, where there are angles
            direction = 1 if x < 1 else -1
            h = mpf(10) ** -25
            values = [truth(x + direction * k * h) for k in range(4)]
            if slope is None:
                slopes = [_one_sided(values[k:], h * direction) for k in range(2)]
            else:
                slopes = [slope(x + direction * k * h) for k in range(2)]
            bend = (slopes[1] - slopes[0]) / (h * direction)
            third = (values[3] - 3 * values[2] + 3 * values[1] - values[0]) / (h * direction) ** 3
            found.append(_Side(values[0], slopes[0], bend, third))
        return found


def _one_sided(values: list[mpf], h: mpf) -> mpf:
    """The slope at the first of three places."""
    return (-3 * values[0] + 4 * values[1] - values[2]) / (2 * h)


def _check_psi(
    margin: Margin, truth: Truth, slope: Truth | None, m: float | None, library: Kind, dtype: str, about: str
) -> None:
    angles = np.unique(np.array(ANGLES, dtype=dtype))
    angles = angles[angles <= math.pi]
    theta = library.make(angles)
    psi = margin.psi(library.xp, theta, m)
    found = {"psi": psi.value, "psi's slope": psi.slope}
    found |= _by_library(margin, library, theta, m, slope is not None)
    eps = rounding(dtype)
    columns = {name: np.broadcast_to(numpy_of(v), angles.shape) for name, v in found.items()}
    for i, x in enumerate(angles.tolist()):
        sides = _sides(truth, slope, x, eps)
        for name, column in columns.items():
            _compare_sides(f"{name.replace('psi', f'psi({x:g})', 1)} {about}", name, float(column[i]), sides, x, eps)


def _compare_sides(what: str, name: str, found: float, sides: list[_Side], x: float, eps: float) -> None:
    order = {"psi": 0, "psi's slope": 1}.get(name.split(",")[0], 2)
    reach = 1 + x
    near = []
    for side in sides:
        true, moved = float(side[order]), abs(float(side[order + 1])) * reach
        size = abs(true) + moved + (1.0 if order == 0 else 0.0)
        near.append((abs(found - true) - UNITS * eps * size, true))
    off, true = min(near)
    if not off <= 0:
        raise AssertionError(f"{what} is {found!r}, the truth is {true!r}")


def _by_library(margin: Margin, library: Kind, theta: Any, m: float | None, held: bool) -> dict[str, Any]:
    """Derivatives of psi as a library makes them: of its value where that is not held constant, and of its slope."""
    if library.name == "numpy":
        return {}
    parts = {"value": "psi's slope, by {}", "slope": "psi's second derivative, by {} of its slope"}
    if held:
        del parts["value"]
    found = {}
    for part, name in parts.items():
        d, way = _derivative(library, functools.partial(_part_of_psi, margin, library, m, part), theta)
        found[name.format(way)] = d
    return found


def _part_of_psi(margin: Margin, library: Kind, m: float | None, part: str, theta: Any) -> Any:
    return getattr(margin.psi(library.xp, theta, m), part)


def _derivative(library: Kind, function: Callable[[Any], Any], x: Any) -> tuple[Any, str]:
    """The derivative of a function of each number by itself."""
    if library.name == "torch":
        import torch

        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x).sum(), x)[0], "autograd"
    import jax

    return jax.jit(jax.grad(lambda x: function(x).sum()))(x), "jax.grad"


Gradients = Callable[[np.ndarray, np.ndarray, np.ndarray], dict[str, Any]]


def _check_layer(margin: Margin, gradients: Gradients, times: float, dtype: str, about: str) -> None:
    """An embedding parallel to all centres, its own `times` as long: across it goes the target's angle alone."""
    K = len(margin.margin) if isinstance(margin.margin, tuple) else 2
    x, label = np.array([[1.0, -2.0, 0.5]], dtype), np.array([K - 1])
    w = np.concatenate([0.5 * np.repeat(x, K - 1, axis=0), times * x]).astype(dtype)
    length, kept = np.linalg.norm(x, axis=1), np.array([True])
    theta = np.array([0.0 if times > 0 else math.pi], dtype)
    own = margin.for_batch(NUMPY, length, kept).own(NUMPY, label, length, kept)
    slope = abs(float(margin.psi(NUMPY, theta, own.value).slope[0]))
    stretch = 1.0 if margin.unit_features else float(length[0])
    stretch *= 1.0 if margin.unit_centres else float(np.linalg.norm(w[-1]))
    z = margin_logits(x, w, label, margin)[0].astype(float)
    wrong = 1 - 1 / np.exp(z - z[-1]).sum()
    where = f"{about}, {'on the centre' if times > 0 else 'opposite to the centre'} (w = {times:g} x)"
    for name, found in gradients(x, w, label).items():
        d = numpy_of(found)
        require(np.isfinite(d).all(), f"the gradient in {name} {where} is {d.tolist()}")
        at = (x if name == "x" else w)[-1].astype(float)
        along = at / np.linalg.norm(at)
        across = float(np.linalg.norm(d[-1] - (d[-1] @ along) * along))
        true = wrong * margin.scale * stretch * slope / np.linalg.norm(at)
        allowed = UNITS * rounding(dtype) * (true + margin.scale * stretch / np.linalg.norm(at))
        require(
            abs(across - true) <= allowed,
            f"the gradient in {name} {where} has the length {across!r} across it, the truth is {true!r}",
        )


def _layer_gradients(margin: Margin, library: Kind) -> Gradients:
    """A function of x, w and the labels that returns the gradients of the loss in x and w."""

    def by_numpy(x: np.ndarray, w: np.ndarray, label: np.ndarray) -> dict[str, Any]:
        return read_margin_cross_entropy(x, w, label, margin, reduction="sum").gradients(("x", "w"))[1]

    def by_torch(x: np.ndarray, w: np.ndarray, label: np.ndarray) -> dict[str, Any]:
        import torch

        leaves = {"x": torch.tensor(x, requires_grad=True), "w": torch.tensor(w, requires_grad=True)}
        loss = margin_cross_entropy(leaves["x"], leaves["w"], torch.tensor(label), margin, reduction="sum")
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    if library.name != "jax":
        return by_numpy if library.name == "numpy" else by_torch
    import jax

    @jax.jit
    def by_jax(x: Any, w: Any, label: Any) -> dict[str, Any]:
        def loss(leaves: dict[str, Any]) -> Any:
            return margin_cross_entropy(leaves["x"], leaves["w"], label, margin, reduction="sum")

        return jax.grad(loss)({"x": x, "w": w})

    return by_jax


def _check_margin_slope(margin: Margin, m: float | None) -> None:
    """psi's slope in the row's own margin, against differences in NumPy."""
    size = m if m is not None else margin.margin
    if isinstance(size, tuple):
        return
    theta, h = np.array(ORDINARY), 1e-6
    up, down = (margin.psi(NUMPY, theta, np.full(theta.shape, size + k)).value for k in (h, -h))
    found = np.broadcast_to(margin.psi(NUMPY, theta, np.full(theta.shape, float(size))).margin_slope, theta.shape)
    true = (up - down) / (2 * h)
    off = ~(np.abs(found - true) <= 1e-8 * (1 + np.abs(true)))
    if off.any():
        i = int(off.argmax())
        raise AssertionError(
            f"psi's slope in the margin at {theta[i]:g} of {margin!r} is {found[i]}, differences of psi are {true[i]}"
        )
