"""Cross-entropy, end to end: measures, losses, kernels, classifiers and reports.

Every public name is loaded when it is first used (PEP 562), so that ``import xent`` costs next to nothing and the
command line starts at once.

>>> import xent
>>> float(xent.cross_entropy([[0.0, 0.0]], [1]))  # nats
0.6931471805599453
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import evaluate, info, kernels, linear_model, losses, tabular
    from .functional import binary_cross_entropy, cross_entropy, linear_cross_entropy, value_and_grad
    from .kernels.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

_MODULES = ("evaluate", "info", "kernels", "linear_model", "losses", "tabular")
_NAMES = {
    "binary_cross_entropy": "functional",
    "cross_entropy": "functional",
    "linear_cross_entropy": "functional",
    "value_and_grad": "functional",
    "get_num_threads": "kernels.threads",
    "set_num_threads": "kernels.threads",
}

__all__ = [
    "__version__",
    "binary_cross_entropy",
    "cross_entropy",
    "evaluate",
    "get_num_threads",
    "info",
    "kernels",
    "linear_cross_entropy",
    "linear_model",
    "losses",
    "set_num_threads",
    "tabular",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        value = getattr(importlib.import_module(f".{_NAMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
