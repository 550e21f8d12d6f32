"""The entropy of a coin, and what it costs to take it for another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import info
from ._style import BLACK, BLUE, GREEN, GREY, ORANGE, Picture, beside, line, name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FAIR = np.array([0.5, 0.5])
_HEADS = "p, probability of heads"


def _coins() -> tuple[np.ndarray, np.ndarray]:
    """The probabilities p of heads (N,), closest at the ends, where the slopes are infinite; and the coins (N, 2)."""
    p = (1 - np.cos(np.linspace(0, np.pi, 601))) / 2
    return p, np.stack([p, 1 - p], axis=1)


def _entropy(ax: Axes) -> None:
    p, coins = _coins()
    bits = info.entropy(coins, base=2)
    line(ax, p, bits, "entropy", BLUE)
    ax.fill_between(p, bits, color=BLUE, alpha=0.1, linewidth=0)
    name(ax, "Entropy of a coin", _HEADS, "H(p) (bits)")
    ax.set(xlim=(0, 1), ylim=(0, 1.09))
    nats_a_bit = float(info.entropy(FAIR))  # a fair coin has one bit
    right = ax.secondary_yaxis("right", functions=(partial(np.multiply, nats_a_bit), partial(_over, nats_a_bit)))
    right.set_ylabel("H(p) (nats)")
    tenths = [i / 10 for i in range(7)]
    right.set_yticks([*tenths, nats_a_bit], [*map(str, tenths), "ln 2"])
    biased = np.array([0.9, 0.1])
    h = float(info.entropy(biased, base=2))
    ax.plot([0.5, 0.9], [1.0, h], "o", color=BLUE, markersize=6)
    ax.text(0.5, 0.93, f"a fair coin:\n1 bit = {nats_a_bit:.3f} nats", ha="center", va="top", size=10.5)
    ax.text(0.865, h, f"p = 0.9: {h:.2f} bits", ha="right", va="center", size=10.5)


def _over(unit: float, value: np.ndarray) -> np.ndarray:
    return value / unit


def _divergence(ax: Axes) -> None:
    p, coins = _coins()
    inner = slice(1, -1)  # at p = 0 and 1 an impossible side would come up: infinite
    cross = info.cross_entropy(FAIR, coins[inner], base=2)
    fair = float(info.entropy(FAIR, base=2))
    line(ax, p[inner], cross, "cross-entropy H(fair, p)", BLUE)
    line(ax, p, np.full_like(p, fair), "entropy H(fair)", BLACK, "dotted", linewidth=1.6)
    ax.fill_between(p[inner], fair, cross, color=BLUE, alpha=0.1, linewidth=0)
    line(ax, p[inner], info.kl_divergence(FAIR, coins[inner], base=2), "KL(fair || p)", ORANGE, "dashed")
    line(ax, p, info.kl_divergence(coins, FAIR, base=2), "KL(p || fair)", GREEN, "mixed")
    name(ax, "A fair coin, coded for a coin p", _HEADS, "bits a toss")
    ax.set(xlim=(0, 1), ylim=(0, 3))
    ax.legend(loc="upper center")
    beside(ax, 0.5, 0.72, "cross-entropy = entropy + KL", GREY, ha="center")


COIN_ENTROPY = Picture(
    "A fair coin has the most entropy; a wrong guess of the coin costs KL on top",
    {"entropy": _entropy, "divergence": _divergence},
    columns=2,
)


def coin_entropy(ax: Axes | None = None, *, panel: str | None = None) -> Figure:
    """Draw the entropy of a coin in bits and nats, and cross-entropy and KL divergence against a fair coin.

    Parameters
    ----------
    ax : matplotlib Axes, optional
        Draw one panel there; by default all on a new figure.
    panel : {"entropy", "divergence"}, optional
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
    Cover & Thomas, "Elements of Information Theory" (2006), example 2.1.1 and theorem 5.4.3.

    Examples
    --------
    >>> figure = coin_entropy()
    >>> figure.get_suptitle()
    'A fair coin has the most entropy; a wrong guess of the coin costs KL on top'
    """
    return COIN_ENTROPY.show(ax, panel)
