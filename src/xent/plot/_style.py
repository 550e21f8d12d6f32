"""How every picture looks, and how its panels are put together. Matplotlib is imported when a picture is drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panels = Mapping[str, Callable[["Axes"], None]]

MISSING = 'pictures need matplotlib: pip install "xent[plot]"'

# Okabe and Ito's colours, less the yellow, which is too pale on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, PURPLE, SKY = "#E69F00", "#CC79A7", "#56B4E9"
BLACK, GREY = "#222222", "#767676"

# Cross-entropy is blue and solid in every picture; dashes tell curves apart without colours.
DASHES = {"solid": "-", "dashed": (0, (5, 2)), "dotted": (0, (1.2, 1.4)), "mixed": (0, (6, 1.6, 1.2, 1.6))}

STYLE: dict[str, Any] = {
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.labelsize": 11,
    "axes.labelcolor": BLACK,
    "axes.edgecolor": "#888888",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": "#E8E8E8",
    "grid.linewidth": 0.8,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "text.color": BLACK,
    "figure.facecolor": "white",
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "legend.handlelength": 2.4,
    "lines.linewidth": 2.2,
    "svg.hashsalt": "xent",  # else the ids in an SVG differ from run to run
}


def require_matplotlib() -> None:
    """Raise an ImportError that says what to install where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(MISSING, name="matplotlib") from error


def style() -> AbstractContextManager[None]:
    """Matplotlib's defaults with the gallery's on top, whatever the user's own settings are."""
    require_matplotlib()
    from matplotlib import style as styles

    return styles.context(["default", STYLE])


@dataclass(frozen=True)
class Picture:
    """A title over a few panels.

    Attributes
    ----------
    title : str
        What the picture teaches.
    panels : mapping of names to functions of an Axes
    columns : int
        How many panels stand side by side.
    size : pair of float
        Width and height of the whole picture, in inches.
    """

    title: str
    panels: Panels
    columns: int = 3
    size: tuple[float, float] = (10.0, 4.0)

    def show(self, ax: Axes | None = None, panel: str | None = None) -> Figure:
        """Draw on `ax` the panel asked for (by default the first); without `ax`, on a new figure of pyplot.

        Raises
        ------
        ValueError
            For a panel that is not there.
        ImportError
            Without matplotlib.
        """
        require_matplotlib()
        if panel is not None and panel not in self.panels:
            raise ValueError(f"there is no panel {panel!r}; there are {', '.join(map(repr, self.panels))}")
        if ax is not None:
            self._alone(panel or next(iter(self.panels)), ax)
            return ax.figure.figure
        from matplotlib import pyplot

        with style():
            if panel is None:
                return self.fill(pyplot.figure(figsize=self.size))
            figure = pyplot.figure(figsize=(6.5, 4.0), layout="constrained")
            self._alone(panel, figure.add_subplot(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
            return figure

    def _alone(self, panel: str, ax: Axes, **place: Any) -> None:
        """Draw a panel, with a legend at `place` if the picture has that in another panel."""
        before = len(ax.get_lines())
        self.panels[panel](ax)
        names = {str(curve.get_label()) for curve in ax.get_lines()[before:]}
        names = {label for label in names if not label.startswith("_")}
        if ax.get_legend() is None and len(names) > 1 and not names <= {text.get_text() for text in ax.texts}:
            ax.legend(**place)

    def fill(self, figure: Figure) -> Figure:
        """Draw title and panels on a figure."""
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08, wspace=0.03, hspace=0.04)
        figure.suptitle(self.title, x=0.012, ha="left", weight="bold", size=13)
        rows = math.ceil(len(self.panels) / self.columns)
        for place, panel in enumerate(self.panels.values(), 1):
            panel(figure.add_subplot(rows, self.columns, place))
        return figure


def line(ax: Axes, x: Any, y: Any, label: str, color: str, dashes: str = "solid", **options: Any) -> None:
    """Draw a curve."""
    ax.plot(x, y, label=label, color=color, linestyle=DASHES[dashes], **options)


def beside(ax: Axes, x: float, y: float, text: str, color: str, **options: Any) -> None:
    """Write the name of a curve beside it, in its colour."""
    looks: dict[str, Any] = {"size": 10.5, "ha": "left", "va": "center"}
    ax.text(x, y, text, color=color, **looks | options)


def name(ax: Axes, title: str, x: str, y: str) -> None:
    """Say what a panel shows, and its axes with their units."""
    ax.set_title(title, loc="left")
    ax.set_xlabel(x)
    ax.set_ylabel(y)


def pieces(low: float, high: float, breaks: tuple[float, ...] = (), points: int = 721) -> np.ndarray:
    """Points from `low` to `high`, with NaN before each break, so that no line is drawn across a jump.

    >>> pieces(0.0, 2.0, (1.0,), points=3).tolist()
    [0.0, 0.9999999999999999, nan, 1.0, 2.0]
    """
    x = np.linspace(low, high, points)
    for b in breaks:
        x = np.concatenate([x[x < b], [np.nextafter(b, low), math.nan, b], x[x > b]])
    return x
