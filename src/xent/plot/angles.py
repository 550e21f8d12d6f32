"""Margins against the angle between an embedding and the centre of its class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..losses.margins import AMSoftmax, ArcFace, ASoftmax, CombinedMargin, LSoftmax, Margin, SMSoftmax
from ._style import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILLION, Picture, beside, line, name, pieces

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ANGLE = "θ, angle to the centre (radians)"
_LOOKS = (
    (BLACK, "solid"), (SKY, "dashed"), (ORANGE, "dotted"), (GREEN, "solid"), (PURPLE, "mixed"), (BLUE, "solid"),
    (VERMILLION, "dashed"),
)  # fmt: skip
_ARC = 0.5
_SHOWN: dict[str, Margin] = {
    "softmax": AMSoftmax(0.0),
    "SM-Softmax, m = 0.2 s": SMSoftmax(0.2),
    "AM-Softmax, m = 0.35": AMSoftmax(0.35),
    "L-Softmax, m = 2": LSoftmax(2),
    "A-Softmax, m = 4, λ = 5": ASoftmax(4, annealing=5.0),
    f"ArcFace, m = {_ARC}": ArcFace(_ARC),
    "combined (1, 0.3, 0.2)": CombinedMargin(1.0, 0.3, 0.2),
}
# Each with the angles at which it jumps.
_VARIANTS: tuple[tuple[str, Margin, tuple[float, ...], str, str], ...] = (
    ("exact", ArcFace(_ARC), (), BLUE, "solid"),
    ("monotone", ArcFace(_ARC, monotone=True), (math.pi - _ARC,), VERMILLION, "dashed"),
    ("easy", ArcFace(_ARC, easy=True), (math.pi / 2,), GREEN, "mixed"),
)


def _radians(ax: Axes) -> None:
    ax.set_xlim(0, math.pi)
    ax.set_xticks([k * math.pi / 4 for k in range(5)], ["0", "π/4", "π/2", "3π/4", "π"])


def _cosines(ax: Axes, shown: Mapping[str, Margin]) -> None:
    theta = pieces(0, math.pi)
    for (label, margin), (color, dashes) in zip(shown.items(), _LOOKS * len(shown), strict=False):
        line(ax, theta, margin.psi(np, theta).value, label, color, dashes)
    name(ax, "Target's logit", _ANGLE, "logit / s")
    _radians(ax)
    ax.legend(loc="lower left")


def _slopes(ax: Axes, shown: Mapping[str, Margin]) -> None:
    theta = pieces(0, math.pi)
    ax.axhline(0, color="#888888", linewidth=0.8)
    for (label, margin), (color, dashes) in zip(shown.items(), _LOOKS * len(shown), strict=False):
        line(ax, theta, margin.psi(np, theta).slope, label, color, dashes)
    if shown is _SHOWN:
        beside(ax, math.pi / 2, -1.82, "SM-, AM-:\nas softmax", GREY, ha="center")
    name(ax, "Its slope: below 0 pulls to the centre, above 0 away", _ANGLE, "slope / s (per radian)")
    _radians(ax)


def _variants(ax: Axes) -> None:
    line(ax, *_plain(), "softmax", BLACK, "dotted", linewidth=1.4)
    for label, margin, breaks, color, dashes in _VARIANTS:
        theta = pieces(0, math.pi, breaks)
        psi = margin.psi(np, theta).value
        line(ax, theta, psi, label, color, dashes)
        for b in breaks:
            i = int(np.flatnonzero(theta == b)[0])  # before it NaN, and before that the left end
            ax.plot([b, b], [psi[i - 2], psi[i]], color=color, linestyle=":", linewidth=1.2)
    name(ax, f"ArcFace's branches, m = {_ARC}", _ANGLE, "logit / s")
    _radians(ax)
    ax.legend(loc="lower left")


def _plain() -> tuple[np.ndarray, np.ndarray]:
    theta = pieces(0, math.pi)
    return theta, AMSoftmax(0.0).psi(np, theta).value


def _variant_slopes(ax: Axes) -> None:
    ax.axhline(0, color="#888888", linewidth=0.8)
    for label, margin, breaks, color, dashes in _VARIANTS:
        theta = pieces(0, math.pi, breaks)
        line(ax, theta, margin.psi(np, theta).slope, label, color, dashes)
    theta = pieces(0, math.pi)
    line(ax, theta, ArcFace(_ARC, detach=True).psi(np, theta).slope, "detach", ORANGE, "dotted")
    name(ax, "Their slopes: exact pushes away beyond π − m", _ANGLE, "slope / s (per radian)")
    _radians(ax)
    ax.legend(loc="upper left")


def margins_picture(shown: Mapping[str, Margin] | None = None) -> Picture:
    """The picture that `margins` draws."""
    shown = _SHOWN if shown is None else shown
    return Picture(
        "A margin lowers the target's logit, so that only a smaller angle will do",
        {
            "logit": partial(_cosines, shown=shown),
            "ArcFace": _variants,
            "slope": partial(_slopes, shown=shown),
            "ArcFace's slope": _variant_slopes,
        },
        columns=2,
        size=(10.0, 8.0),
    )


def margins(ax: Axes | None = None, *, panel: str | None = None, shown: Mapping[str, Margin] | None = None) -> Figure:
    """Draw the target's logit against the angle for the margin softmaxes, its slope, and the branches of ArcFace.

    The logit is divided by the scale s: ``psi(theta)`` of `xent.losses.margins`. For margins that do not normalise
    embeddings or centres (SM-, L- and A-Softmax) s is the length that they have, and SM-Softmax's m is in units of s.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"logit", "ArcFace", "slope", "ArcFace's slope"}, optional
        Which one; on `ax` by default the first.
    shown : mapping of names to margins, optional
        What "logit" and "slope" show; by default one of each kind.

    Returns
    -------
    matplotlib Figure

    Raises
    ------
    ValueError
        For a panel that is not there.
    ImportError
        Without matplotlib.

    References
    ----------
    Deng et al., "ArcFace" (2019), figure 3; Wang et al., "Additive Margin Softmax for Face Verification" (2018).

    Examples
    --------
    >>> from xent.losses.margins import MagFace
    >>> figure = margins(panel="logit", shown={"MagFace, short": MagFace()})
    >>> [curve.get_label() for curve in figure.axes[0].get_lines()]
    ['MagFace, short']
    """
    return margins_picture(shown).show(ax, panel)
