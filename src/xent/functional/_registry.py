"""Which function belongs to which reader: what `value_and_grad` looks up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from .._arrays import Array


class Loss(Protocol):
    """The arguments of a loss function, read and checked."""

    def value(self) -> Any:
        """The loss, differentiable by the library of its arrays."""

    def gradients(self, wrt: tuple[str, ...]) -> tuple[Any, dict[str, Array]]:
        """NumPy: the value, and its gradients in the arguments named, in their shapes and dtypes."""


class Entry(NamedTuple):
    """How to read a function's arguments, and in which of them it can be differentiated."""

    read: Callable[..., Loss]
    differentiable: tuple[str, ...]


_ENTRIES: dict[Callable[..., Any], Entry] = {}


def register(function: Callable[..., Any], read: Callable[..., Loss], *differentiable: str) -> None:
    """Let `value_and_grad` know a function: `read` takes all its arguments by name."""
    _ENTRIES[function] = Entry(read, differentiable)


def entry(function: Any) -> Entry:
    """What is known of a function."""
    if not callable(function) or function not in _ENTRIES:
        names = ", ".join(f.__name__ for f in _ENTRIES)
        raise TypeError(f"there are gradients of {names}; not of {getattr(function, '__name__', function)!r}")
    return _ENTRIES[function]
