"""Losses against the probability of the right answer, and how fast a neuron learns with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functional
from ._curves import binary_curve, sigmoid, softmax_curve
from ._style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, Picture, beside, line, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_P = "p, probability of yes"
_LOGIT = "z, logit of yes"
_ANSWERS = ((1, "answer yes", BLUE, "solid"), (0, "answer no", VERMILLION, "dashed"))


def _loss(ax: Axes) -> None:
    z = np.linspace(-9, 9, 721)
    for answer, label, color, dashes in _ANSWERS:
        line(ax, sigmoid(z), binary_curve(functional.binary_cross_entropy, z, answer).value, label, color, dashes)
    name(ax, "Cross-entropy", _P, "loss (nats)")
    ax.set(xlim=(0, 1), ylim=(0, 5))
    beside(ax, 0.08, 3.6, "answer yes", BLUE)
    beside(ax, 0.92, 3.6, "answer no", VERMILLION, ha="right")


def _slope_in_p(ax: Axes) -> None:
    p = sigmoid(np.linspace(-9, 9, 721))
    for answer, label, color, dashes in _ANSWERS:
        slope = binary_curve(functional.binary_cross_entropy, p, answer, from_probs=True).slope
        line(ax, p, np.abs(slope), label, color, dashes)
    name(ax, "Slope in p: no bound", _P, "size of d loss / dp (nats)")
    ax.set(xlim=(0, 1), ylim=(0.8, 1e3), yscale="log")
    beside(ax, 0.08, 60, "answer yes", BLUE)
    beside(ax, 0.92, 60, "answer no", VERMILLION, ha="right")


def _slope_in_logit(ax: Axes) -> None:
    z = np.linspace(-9, 9, 721)
    for answer, label, color, dashes in _ANSWERS:
        line(ax, sigmoid(z), binary_curve(functional.binary_cross_entropy, z, answer).slope, label, color, dashes)
    ax.axhline(0, color="#888888", linewidth=0.8)
    name(ax, "Slope in the logit: p − y", _P, "d loss / dz (nats)")
    ax.set(xlim=(0, 1), ylim=(-1.05, 1.05))
    beside(ax, 0.6, -0.62, "answer yes", BLUE)
    beside(ax, 0.4, 0.62, "answer no", VERMILLION, ha="right")


BINARY_LOSSES = Picture(
    "The surer a wrong answer, the more it costs; in the logit the slope is the error itself",
    {"loss": _loss, "slope in p": _slope_in_p, "slope in the logit": _slope_in_logit},
)


def binary_losses(ax: Axes | None = None, *, panel: str | None = None) -> Figure:
    """Draw binary cross-entropy and its slopes in the probability and in the logit, for both answers.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"loss", "slope in p", "slope in the logit"}, optional
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

    Examples
    --------
    >>> figure = binary_losses(panel="slope in the logit")
    >>> figure.axes[0].get_ylabel()
    'd loss / dz (nats)'
    """
    return BINARY_LOSSES.show(ax, panel)


_ERRORS: tuple[tuple[str, str, str, str], ...] = (
    ("cross-entropy", "binary_cross_entropy", BLUE, "solid"),
    ("squared error", "binary_squared_error", VERMILLION, "dashed"),
    ("absolute error", "binary_absolute_error", GREEN, "mixed"),
)


def _errors(ax: Axes) -> None:
    z = np.linspace(-8, 4, 481)
    for label, loss, color, dashes in _ERRORS:
        line(ax, z, binary_curve(getattr(functional, loss), z, 1).value, label, color, dashes)
    name(ax, "Loss, where yes is right", _LOGIT, "loss (cross-entropy in nats)")
    ax.set(xlim=(-8, 4), ylim=(0, 6.2))
    ax.legend(loc="upper right")


def _pull(ax: Axes) -> None:
    z = np.linspace(-8, 4, 481)
    for label, loss, color, dashes in _ERRORS:
        line(ax, z, -binary_curve(getattr(functional, loss), z, 1).slope, label, color, dashes)
    name(ax, "Pull on the logit", _LOGIT, "− d loss / dz")
    ax.set(xlim=(-8, 4), ylim=(0, 1.08))
    arrow = {"arrowstyle": "-|>", "color": GREY, "shrinkB": 4}
    ax.annotate("sure and wrong:\nhardly any pull", (-5.5, 0.0), (-7.6, 0.36), color=GREY, size=10.5, arrowprops=arrow)


def train_neuron(loss: Callable[..., Any], start: float, rate: float, steps: int) -> np.ndarray:
    """The probability (steps + 1,) that a neuron gives to the right answer while it learns one example.

    The neuron is ``z = w x + b`` with the input x = 1 and the answer yes, ``w = b = start / 2`` at first, and a step
    of plain gradient descent is ``rate`` times the gradient.

    >>> from xent.functional import binary_cross_entropy
    >>> train_neuron(binary_cross_entropy, start=0.0, rate=1.0, steps=1).round(4).tolist()
    [0.5, 0.7311]
    """
    x, answer, parameters = np.array([1.0, 1.0]), np.ones(1), np.full(2, start / 2)  # (w, b), and what they multiply
    step, logits = functional.value_and_grad(loss), np.empty(steps + 1)
    for i in range(steps + 1):
        logits[i] = x @ parameters
        _, grads = step(logits[i : i + 1], answer)
        parameters = parameters - rate * grads.logits * x
    return sigmoid(logits)


def _training(ax: Axes, start: float, rate: float, steps: int) -> None:
    for label, loss, color, dashes in _ERRORS:
        p = train_neuron(getattr(functional, loss), start, rate, steps)
        line(ax, np.arange(steps + 1), p, label, color, dashes)
    name(ax, "One neuron in training", f"step of gradient descent (rate {rate:g})", "p, probability of yes")
    ax.set(xlim=(0, steps), ylim=(0, 1.02))


def learning_speed_picture(start: float = -5.0, rate: float = 0.25, steps: int = 400) -> Picture:
    """The picture that `learning_speed` draws."""
    training = partial(_training, start=start, rate=rate, steps=steps)
    return Picture(
        "Sure and wrong: cross-entropy learns at once, squared and absolute error stall",
        {"loss": _errors, "pull": _pull, "training": training},
    )


def learning_speed(
    ax: Axes | None = None, *, panel: str | None = None, start: float = -5.0, rate: float = 0.25, steps: int = 400
) -> Figure:
    """Draw why a sigmoid that is sure and wrong learns with cross-entropy, and stalls with squared or absolute error.

    Where a sigmoid is sure its slope p (1 - p) is nearly zero. Squared and absolute error have that factor in their
    gradient; in that of cross-entropy it cancels, and ``p - y`` is left.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"loss", "pull", "training"}, optional
        Which one; on `ax` by default the first.
    start : float
        The logit of the right answer before training.
    rate : float
        The learning rate.
    steps : int
        Of gradient descent.

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
    Nielsen, "Neural Networks and Deep Learning" (2015), chapter 3.

    Examples
    --------
    >>> figure = learning_speed(panel="training", start=-3.0)
    >>> [curve.get_label() for curve in figure.axes[0].get_lines()]
    ['cross-entropy', 'squared error', 'absolute error']
    """
    return learning_speed_picture(start, rate, steps).show(ax, panel)


_FAMILY: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    ("cross-entropy", "cross_entropy", {}, BLUE, "solid"),
    ("focal, γ = 2", "focal_loss", {"gamma": 2.0}, ORANGE, "dashed"),
    ("poly-1, ε = 1", "poly_loss", {"epsilon": 1.0}, PURPLE, "dotted"),
    ("generalised, q = 0.7", "generalized_cross_entropy", {"q": 0.7}, GREEN, "mixed"),
)
_RIGHT = "p, probability of the right class"


def _family_loss(ax: Axes) -> None:
    z = np.linspace(-9, 9, 721)
    for label, loss, options, color, dashes in _FAMILY:
        line(ax, sigmoid(z), softmax_curve(getattr(functional, loss), z, **options).value, label, color, dashes)
    name(ax, "Loss", _RIGHT, "loss (nats)")
    ax.set(xlim=(0, 1), ylim=(0, 4.5))
    ax.legend(loc="upper right")


def _family_pull(ax: Axes) -> None:
    z = np.linspace(-9, 9, 721)
    for label, loss, options, color, dashes in _FAMILY:
        line(ax, sigmoid(z), -softmax_curve(getattr(functional, loss), z, **options).slope, label, color, dashes)
    name(ax, "Pull on the right class's logit", _RIGHT, "− d loss / dz (nats)")
    ax.set(xlim=(0, 1), ylim=(0, 1.3))


def _family_weight(ax: Axes) -> None:
    z = np.linspace(-9, 9, 721)
    usual = softmax_curve(functional.cross_entropy, z).slope
    for label, loss, options, color, dashes in _FAMILY:
        slope = softmax_curve(getattr(functional, loss), z, **options).slope
        line(ax, sigmoid(z), slope / usual, label, color, dashes)
    name(ax, "Pull over cross-entropy's", _RIGHT, "ratio of slopes")
    ax.set(xlim=(0, 1), ylim=(0, 2.05))
    beside(ax, 0.2, 0.14, "focal: easy\nrows drop out", GREY)


LOSS_FAMILY = Picture(
    "Relatives of cross-entropy weigh rows anew: focal drops the easy, generalised the hopeless",
    {"loss": _family_loss, "pull": _family_pull, "weight": _family_weight},
)


def loss_family(ax: Axes | None = None, *, panel: str | None = None) -> Figure:
    """Draw cross-entropy, focal, poly-1 and generalised cross-entropy against the probability of the right class.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"loss", "pull", "weight"}, optional
        Which one; on `ax` by default the first. "pull" is minus the slope in the right class's logit, "weight" its
        ratio to that of cross-entropy.

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
    Lin et al. (2017), figure 1; Leng et al. (2022), figure 1; Zhang & Sabuncu (2018), section 3.2.

    Examples
    --------
    >>> figure = loss_family(panel="weight")
    >>> figure.axes[0].get_ylabel()
    'ratio of slopes'
    """
    return LOSS_FAMILY.show(ax, panel)
