"""The kernels beside every installed peer and beside the limits of the machine: ``python -m benchmarks``.

A *family* (`logits`, `linear`, `sparse`, `hvp`) is a module with the data of a case, the truth to check answers by, the
limits, and a table of candidates. `cases` lists the cases, `run` measures one, `suite` is the command.
"""

from .suite import main

__all__ = ["main"]
