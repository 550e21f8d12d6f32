"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from .errors import TableError


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in the same folder, then put it in the place of ``path`` in one step.

    The bytes reach the disk (fsync) before the name does, so that after a crash, a full disk or Ctrl-C there is either
    the old file or the new one, never a part of one. On any failure the temporary file is removed.

    Raises
    ------
    TableError
        When the folder does not exist or ``path`` is a folder.
    """
    path = Path(path)
    check_writable(path)
    # A link is written through, not replaced: the user's link stays a link.
    real = path.resolve()
    if real.exists() and not real.is_file():  # a device or a pipe (/dev/null, /dev/stdout) has no "whole" to keep
        write(real)
        return
    temporary = real.with_name(f".{real.name[:100]}.{secrets.token_hex(6)}.tmp")
    try:
        # Created here (with the user's usual permissions) and refused if it is there: nobody else's file is opened.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        write(temporary)
        _flush(temporary)
        if real.exists():
            os.chmod(temporary, real.stat().st_mode & 0o7777)
        os.replace(temporary, real)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush(real.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Refuse an output path that cannot work, before the work is done."""
    path = Path(path)
    if path.is_dir():
        raise TableError("this is a folder, a file name is needed", where=str(path))
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:  # from 3.13 on, resolve() below says nothing of it
            raise TableError("the link leads round in a circle", where=str(path)) from None
    parent = path.resolve().parent
    shown = str(parent if path.is_symlink() else path.parent)
    if not parent.is_dir():
        raise TableError(f"there is no folder {shown!r} to write to", where=str(path), todo="Make it first.")
    if not os.access(parent, os.W_OK):
        raise TableError(f"the folder {shown!r} cannot be written to", where=str(path))


def _flush(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    try:
        handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        if path.is_dir():  # some systems do not open folders
            return
        raise
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
