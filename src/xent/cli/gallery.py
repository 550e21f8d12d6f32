"""``xent gallery``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from .options import json_option
from .output import print_json, print_table, progress_bar

_EPILOG = """\b
Examples:
  xent gallery pictures
  xent gallery pictures --format svg

Seven pictures: entropy, cross-entropy beside squared and absolute error, and what its relatives, smoothing, temperature
and margins do. Needs matplotlib: pip install "xent[plot]".
"""


@click.command("gallery", epilog=_EPILOG)
@click.argument("folder", metavar="DIR")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "svg"]),
    default=("png", "svg"),
    help="Of the files; may be given twice.  [default: both]",
)
@json_option
def command(folder: str, formats: tuple[str, ...], as_json: bool) -> None:
    """Draw pictures that explain cross-entropy.

    They are written to DIR, which is made if it is not there; files of the same names are replaced.
    """
    from ..plot import PICTURES
    from ..tabular.atomic import write_whole

    place = Path(folder)
    _check(place)
    with progress_bar(enabled=not as_json) as progress:
        files = _render(list(PICTURES), formats, progress)
    place.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_whole(place / name, partial(Path.write_bytes, data=content))
    if as_json:
        print_json({"folder": folder, "files": list(files), "pictures": PICTURES})
        return
    print_table(f"{len(files)} files in {folder}", ("picture", "what it teaches"), PICTURES.items())


def _check(folder: Path) -> None:
    """Refuse a folder that cannot be one, before the pictures are drawn."""
    from ..tabular.errors import TableError

    if folder.exists() and not folder.is_dir():
        raise TableError("this is a file, a folder is needed", where=str(folder))


def _render(names: list[str], formats: tuple[str, ...], progress: Callable[[str, int, int], None]) -> dict[str, bytes]:
    """Draw all files before the first is written."""
    from ..plot import render
    from ..tabular.errors import TableError

    wanted = [(name, kind) for name in names for kind in dict.fromkeys(formats)]
    files = {}
    for done, (name, kind) in enumerate(wanted):
        progress("drawing", done, len(wanted))
        try:
            files[f"{name}.{kind}"] = render(name, kind)
        except ImportError as error:
            if error.name != "matplotlib":
                raise
            raise TableError(str(error)) from None
    return files
