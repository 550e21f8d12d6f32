"""Checks for who adds a loss, a margin or a backend: against mpmath, on every array library, at every edge.

`check_loss`, `check_margin` and `check_backend` return nothing, or raise an AssertionError that says which row, what
was found and what is true. The truth is written by whoever calls them, as the textbook or the paper has it, and is
computed with as many digits as it takes. They are what xent's own tests run.

Needs mpmath; and PyTorch and JAX, unless ``kinds=("numpy",)``.
"""

from __future__ import annotations

try:
    import mpmath as _mpmath  # noqa: F401
except ImportError as error:
    raise ImportError("xent.testing computes what is true with mpmath: pip install mpmath") from error

from .backend import check_backend
from .loss import check_loss
from .margin import check_margin
from .table import ROWS, truth

__all__ = ["ROWS", "check_backend", "check_loss", "check_margin", "truth"]
