"""The one error of the tables: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .._files import FileError


class TableError(FileError):
    """Something in a table, a file or an option cannot be used as it is.

    Parameters
    ----------
    what : str
        One sentence: what is wrong, with the user's own names and numbers.
    where : str, optional
        The file, column or row, put before the sentence.
    todo : str, optional
        What the user can do, put after it.

    Examples
    --------
    >>> print(TableError("no column 'specis'", where="birds.csv", todo="Did you mean 'species'?"))
    birds.csv: no column 'specis'. Did you mean 'species'?
    """


def nearest(name: str, names: Iterable[str], *, most: int = 12) -> str:
    """Say which of ``names`` the user may have meant by ``name``; list them when none is near.

    >>> nearest("specis", ["species", "island"])
    "Did you mean 'species'?"
    """
    names = list(names)
    lower = {n.lower(): n for n in names}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {lower[close[0]]!r}?"
    if not names:
        return ""
    return f"There are: {some(names, most=most)}."


def some(values: Iterable[object], *, most: int = 5) -> str:
    """List the first few values, and how many more there are.

    >>> some(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    values = list(values)
    shown = ", ".join(repr(v) for v in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown


def count(n: int, noun: str, plural: str | None = None) -> str:
    """Write a number with its noun.

    >>> count(1, "row"), count(2, "row"), count(2, "class", "classes")
    ('1 row', '2 rows', '2 classes')
    """
    return f"{n} {noun if n == 1 else plural or noun + 's'}"
