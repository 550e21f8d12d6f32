"""Files written whole or not at all, with the errors of tables."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .. import _files
from .errors import TableError


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """`xent._files.write_whole`, which see.

    Raises
    ------
    TableError
        When the folder does not exist or ``path`` is a folder.
    """
    _files.write_whole(path, write, error=TableError)


def check_writable(path: str | os.PathLike[str], *inputs: str | os.PathLike[str]) -> None:
    """Refuse an output path that cannot work, or that is one of the inputs, before the work is done."""
    _files.check_writable(path, error=TableError)
    for name in inputs:
        if Path(path).exists() and Path(name).exists() and Path(path).samefile(name):
            raise TableError("the output would be written over an input", where=str(path), todo="Name another file.")
