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
    from . import evaluate, info, kernels, linear_model, losses, plot, tabular
    from .functional import (
        TopK,
        absolute_error,
        binary_absolute_error,
        binary_cross_entropy,
        binary_focal_loss,
        binary_squared_error,
        cross_entropy,
        discriminator_loss,
        distillation_loss,
        focal_loss,
        generalized_cross_entropy,
        generator_loss,
        hvp,
        js_loss,
        kl_loss,
        linear_cross_entropy,
        margin_cross_entropy,
        margin_logits,
        ordinal_cross_entropy,
        poly_loss,
        squared_error,
        target_angles,
        value_and_grad,
    )
    from .kernels.threads import get_num_threads, set_num_threads

__version__ = "0.1.0"

_MODULES = ("evaluate", "info", "kernels", "linear_model", "losses", "plot", "tabular")
_THREADS = ("get_num_threads", "set_num_threads")

__all__ = [
    "TopK",
    "__version__",
    "absolute_error",
    "binary_absolute_error",
    "binary_cross_entropy",
    "binary_focal_loss",
    "binary_squared_error",
    "cross_entropy",
    "discriminator_loss",
    "distillation_loss",
    "evaluate",
    "focal_loss",
    "generalized_cross_entropy",
    "generator_loss",
    "get_num_threads",
    "hvp",
    "info",
    "js_loss",
    "kernels",
    "kl_loss",
    "linear_cross_entropy",
    "linear_model",
    "losses",
    "margin_cross_entropy",
    "margin_logits",
    "ordinal_cross_entropy",
    "plot",
    "poly_loss",
    "set_num_threads",
    "squared_error",
    "tabular",
    "target_angles",
    "value_and_grad",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in __all__:
        home = ".kernels.threads" if name in _THREADS else ".functional"
        value = getattr(importlib.import_module(home, __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
