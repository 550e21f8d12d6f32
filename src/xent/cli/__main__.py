"""``python -m xent.cli``: the same as ``xent``."""

from __future__ import annotations

from . import main

main()
