"""What label smoothing, temperature and softcap do to the loss and its slope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import functional
from ._curves import Curve, softmax_curve
from ._style import BLUE, GREEN, ORANGE, VERMILLION, Picture, line, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASSES = 10
_SMOOTHING = ((0.0, BLUE, "solid"), (0.05, GREEN, "mixed"), (0.1, ORANGE, "dashed"), (0.2, VERMILLION, "dotted"))
_GAP = "right logit above the others"


def _goal(gap: np.ndarray, curve: Curve) -> float:
    """The gap at which the slope, which rises, is zero."""
    return float(np.interp(0.0, curve.slope, gap))


def _smoothed_loss(ax: Axes) -> None:
    gap = np.linspace(-4, 12, 801)
    for e, color, dashes in _SMOOTHING:
        curve = softmax_curve(functional.cross_entropy, gap, _CLASSES, label_smoothing=e)
        line(ax, gap, curve.value, f"e = {e:g}", color, dashes)
        if e:
            goal = _goal(gap, curve)
            ax.plot(goal, np.interp(goal, gap, curve.value), "o", color=color, markersize=7)
    name(ax, f"Loss, {_CLASSES} classes", _GAP, "loss (nats)")
    ax.set(xlim=(-4, 12), ylim=(0, 4))
    ax.legend(loc="upper right", title="label smoothing")


def _smoothed_slope(ax: Axes) -> None:
    gap = np.linspace(-4, 12, 801)
    ax.axhline(0, color="#888888", linewidth=0.8)
    for e, color, dashes in _SMOOTHING:
        curve = softmax_curve(functional.cross_entropy, gap, _CLASSES, label_smoothing=e)
        line(ax, gap, -curve.slope, f"e = {e:g}", color, dashes)
        if e:
            ax.plot(_goal(gap, curve), 0, "o", color=color, markersize=7)
    name(ax, "Pull on the right class's logit", _GAP, "− d loss / dz (nats)")
    ax.set(xlim=(-4, 12), ylim=(-0.25, 1.05))


LABEL_SMOOTHING = Picture(
    "Label smoothing sets a goal: beyond a finite gap, being surer costs more",
    {"loss": _smoothed_loss, "pull": _smoothed_slope},
    columns=2,
)


def label_smoothing(ax: Axes | None = None, *, panel: str | None = None) -> Figure:
    """Draw the loss of ten classes with label smoothing against the gap between the right logit and the others.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"loss", "pull"}, optional
        Which one; on `ax` by default the first.

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
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (2016), section 7; Müller, Kornblith &
    Hinton, "When Does Label Smoothing Help?" (2019).

    Examples
    --------
    >>> label_smoothing(panel="pull").axes[0].get_ylabel()
    '− d loss / dz (nats)'
    """
    return LABEL_SMOOTHING.show(ax, panel)


_TEMPERATURES = ((0.5, ORANGE, "dashed"), (1.0, BLUE, "solid"), (2.0, GREEN, "mixed"), (4.0, VERMILLION, "dotted"))
_CAPS = ((None, BLUE, "solid"), (50.0, GREEN, "mixed"), (30.0, ORANGE, "dashed"), (10.0, VERMILLION, "dotted"))
_TWO = "z, right logit (the other is 0)"
_TICKS = (-10, -5, 0, 5, 10)


def _temperature(ax: Axes) -> None:
    z = np.linspace(-10, 10, 801)
    for T, color, dashes in _TEMPERATURES:
        curve = softmax_curve(functional.cross_entropy, z, temperature=T)
        line(ax, z, np.exp(-curve.value), f"T = {T:g}", color, dashes)
    name(ax, "Temperature: probability of the right class", _TWO, "p, probability")
    ax.set(xlim=(-10, 10), ylim=(0, 1.02), xticks=_TICKS)
    ax.legend(loc="upper left")


def _temperature_pull(ax: Axes) -> None:
    z = np.linspace(-10, 10, 801)
    for T, color, dashes in _TEMPERATURES:
        line(ax, z, -softmax_curve(functional.cross_entropy, z, temperature=T).slope, f"T = {T:g}", color, dashes)
    name(ax, "Temperature: pull on the logit", _TWO, "− d loss / dz (nats)")
    ax.set(xlim=(-10, 10), ylim=(0, 2.1), xticks=_TICKS)


def _softcap(ax: Axes) -> None:
    z = np.linspace(-80, 80, 1281)
    for c, color, dashes in _CAPS:
        # The loss of one answer less that of the other is the logit that the softmax sees.
        logits = np.stack([z, np.zeros_like(z)], axis=1)
        right, wrong = (
            functional.cross_entropy(logits, np.full(len(z), k), reduction="none", softcap=c) for k in (0, 1)
        )
        line(ax, z, wrong - right, "no cap" if c is None else f"c = {c:g}", color, dashes)
    name(ax, "Softcap: what the softmax sees", _TWO, "logit after the cap")
    ax.set(xlim=(-80, 80), ylim=(-60, 60))
    ax.legend(loc="upper left")


def _softcap_pull(ax: Axes) -> None:
    z = np.linspace(-80, 80, 1281)
    for c, color, dashes in _CAPS:
        label = "no cap" if c is None else f"c = {c:g}"
        line(ax, z, -softmax_curve(functional.cross_entropy, z, softcap=c).slope, label, color, dashes)
    name(ax, "Softcap: pull on the logit", _TWO, "− d loss / dz (nats)")
    ax.set(xlim=(-80, 80), ylim=(0, 1.05))


TEMPERATURE_SOFTCAP = Picture(
    "Temperature rescales the logits; a softcap bounds them, and beyond it the pull dies",
    {
        "temperature": _temperature,
        "temperature pull": _temperature_pull,
        "softcap": _softcap,
        "softcap pull": _softcap_pull,
    },
    columns=2,
    size=(10.0, 7.4),
)


def temperature_softcap(ax: Axes | None = None, *, panel: str | None = None) -> Figure:
    """Draw what temperatures and softcaps make of two classes' probability, logit and gradient.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"temperature", "temperature pull", "softcap", "softcap pull"}, optional
        Which one; on `ax` by default the first.

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
    Hinton, Vinyals & Dean, "Distilling the Knowledge in a Neural Network" (2015), eq. 1; Gemma Team, "Gemma 2" (2024),
    section 2, with caps of 50 and 30.

    Examples
    --------
    >>> temperature_softcap(panel="softcap").axes[0].get_ylabel()
    'logit after the cap'
    """
    return TEMPERATURE_SOFTCAP.show(ax, panel)
