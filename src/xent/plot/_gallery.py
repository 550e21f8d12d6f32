"""All pictures, and their files."""

from __future__ import annotations

import io

from ._style import Picture, require_matplotlib, style
from .angles import margins_picture
from .coin import COIN_ENTROPY
from .probability import BINARY_LOSSES, LOSS_FAMILY, learning_speed_picture
from .shapes import LABEL_SMOOTHING, TEMPERATURE_SOFTCAP

FORMATS = ("png", "svg")

_PICTURES: dict[str, Picture] = {
    "coin_entropy": COIN_ENTROPY,
    "binary_losses": BINARY_LOSSES,
    "learning_speed": learning_speed_picture(),
    "loss_family": LOSS_FAMILY,
    "label_smoothing": LABEL_SMOOTHING,
    "temperature_softcap": TEMPERATURE_SOFTCAP,
    "margins": margins_picture(),
}
# The names of the pictures, and what each teaches.
PICTURES = {name: picture.title for name, picture in _PICTURES.items()}


def render(name: str, format: str = "png") -> bytes:
    """Draw a picture of the gallery as the bytes of a file.

    Parameters
    ----------
    name : one of `PICTURES`
    format : "png" or "svg"
        PNG is 1440 pixels wide.

    Returns
    -------
    bytes
        The same in every call, with one version of matplotlib. No window is opened and nothing of pyplot's is touched.

    Raises
    ------
    ValueError
        For another name or format.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> render("coin_entropy")[1:4]
    b'PNG'
    """
    if name not in _PICTURES:
        raise ValueError(f"there is no picture {name!r}; there are {', '.join(PICTURES)}")
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    require_matplotlib()
    from matplotlib.figure import Figure

    picture, file = _PICTURES[name], io.BytesIO()
    # Neither the time nor the version of matplotlib: the same picture is the same file.
    metadata = {"Software": None} if format == "png" else {"Date": None, "Creator": None}
    with style():
        picture.fill(Figure(figsize=picture.size)).savefig(file, format=format, dpi=144, metadata=metadata)
    return file.getvalue() if format == "svg" else _smaller(file)


def _smaller(png: io.BytesIO) -> bytes:
    """A PNG in 256 colours, which a drawing does not exceed to the eye: a third of the bytes."""
    from PIL import Image  # matplotlib needs it itself

    file = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return file.getvalue()
