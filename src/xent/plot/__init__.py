"""The gallery: pictures of what cross-entropy and its relatives do, each curve computed by xent itself.

Every function here draws one picture and returns its `matplotlib.figure.Figure`. A picture has a few panels, each with
a name; with ``ax=`` one panel is drawn on an Axes of yours, the first or the one that ``panel=`` names. ``xent gallery
DIR`` writes all pictures to files. Matplotlib is needed when something is drawn: ``pip install "xent[plot]"``.

Losses are in nats, angles in radians. The colours are those of Okabe and Ito, which colour-blind readers can tell apart
("Color Universal Design", 2008), and curves differ in their dashes too.

>>> from xent import plot
>>> figure = plot.coin_entropy()
>>> [ax.get_title(loc="left") for ax in figure.axes[:1]]
['Entropy of a coin']
"""

from __future__ import annotations

from ._gallery import FORMATS, PICTURES, render
from ._style import MISSING
from .angles import margins
from .coin import coin_entropy
from .probability import binary_losses, learning_speed, loss_family
from .shapes import label_smoothing, temperature_softcap

__all__ = [
    "FORMATS",
    "MISSING",
    "PICTURES",
    "binary_losses",
    "coin_entropy",
    "label_smoothing",
    "learning_speed",
    "loss_family",
    "margins",
    "render",
    "temperature_softcap",
]
