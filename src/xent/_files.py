"""Files written whole or not at all, and files of numbers sealed with their own hash."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

_ZEROS = "0" * 64


class FileError(ValueError):
    """A file that cannot be read or written, or does not hold what it should.

    Parameters
    ----------
    what : str
        One sentence: what is wrong.
    where : str, optional
        The file, put before the sentence.
    todo : str, optional
        What the user can do, put after it.
    """

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what, self.where, self.todo = what, where, todo
        text = f"{where}: {what}" if where else what
        if todo:
            text = f"{text if text.endswith(('.', '?')) else text + '.'} {todo}"
        super().__init__(text)


def sealed(tensors: dict[str, Any], metadata: dict[str, str]) -> bytes:
    """A safetensors file of NumPy arrays, one sequence of bytes for the same content, with its SHA-256 inside.

    The hash is of the whole file with its own 64 digits replaced by zeros, so that a change of any byte is found.
    """
    from safetensors.numpy import save

    data = bytes(save(tensors, metadata={**metadata, "sha256": _ZEROS}))
    # the library leaves the order of the header's keys to chance
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors stay aligned
    data = len(header).to_bytes(8, "little") + header + data[8 + length :]
    digest = hashlib.sha256(data).hexdigest()
    return data.replace(f'"sha256":"{_ZEROS}"'.encode(), f'"sha256":"{digest}"'.encode(), 1)


def seal_holds(data: bytes) -> bool:
    """Whether the hash in a file of `sealed` is that of its content."""
    marker = b'"sha256":"'
    at = data.find(marker, 0, 8 + int.from_bytes(data[:8], "little"))
    place = slice(at + len(marker), at + len(marker) + 64)
    zeroed = data[: place.start] + _ZEROS.encode() + data[place.stop :]
    return at >= 0 and hashlib.sha256(zeroed).hexdigest().encode() == data[place]


def write_whole(
    path: str | os.PathLike[str], write: Callable[[Path], object], *, error: type[FileError] = FileError
) -> None:
    """Let ``write`` fill a temporary file in the same folder, then put it in the place of ``path`` in one step.

    The bytes reach the disk (fsync) before the name does, so that after a crash, a full disk or Ctrl-C there is either
    the old file or the new one, never a part of one. On any failure the temporary file is removed.

    Raises
    ------
    FileError
        When the folder does not exist or ``path`` is a folder; or an `error`, where another is asked for.
    """
    path = Path(path)
    check_writable(path, error=error)
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


def check_writable(path: str | os.PathLike[str], *, error: type[FileError] = FileError) -> None:
    """Refuse an output path that cannot work, before the work is done."""
    path = Path(path)
    if path.is_dir():
        raise error("this is a folder, a file name is needed", where=str(path))
    try:
        path.stat()
    except OSError as failure:
        if failure.errno == errno.ELOOP:  # from 3.13 on, resolve() below says nothing of it
            raise error("the link leads round in a circle", where=str(path)) from None
    parent = path.resolve().parent
    shown = str(parent if path.is_symlink() else path.parent)
    if not parent.is_dir():
        raise error(f"there is no folder {shown!r} to write to", where=str(path), todo="Make it first.")
    if not os.access(parent, os.W_OK):
        raise error(f"the folder {shown!r} cannot be written to", where=str(path))


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
