"""Arrays of a file (.npz, .safetensors), and which of them are predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import TableError, nearest, some
from .predictions import KINDS

if TYPE_CHECKING:
    from .prediction_files import Options

_VALUES = {
    "logits": ("logits", "logit"),
    "log": ("log_probs", "log_proba", "logprobs", "log_probabilities"),
    "probabilities": ("probs", "proba", "probabilities", "p", "y_prob"),
}


def load_arrays(path: Path) -> dict[str, Any]:
    """Read the arrays of a file; nothing in it runs."""
    if not path.exists():
        raise TableError(f"no such file: {str(path)!r}")
    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return dict(load_file(path))
        except (SafetensorError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{error} (NumPy has no bfloat16 and no 8-bit floats)") from error
    except (ValueError, EOFError) as error:
        raise TableError(f"cannot be read: {error}", where=str(path)) from error
    except OSError:
        raise
    except Exception as error:  # zipfile has errors of its own
        raise TableError(f"cannot be read: {error}", where=str(path)) from error


def values_of(arrays: dict[str, Any], options: Options, labels: str, name: str) -> tuple[str, str]:
    """The name of the predictions and their kind: by what they are called, or as the user says."""
    chosen = options.probs
    if chosen is None:
        known = [n for names in _VALUES.values() for n in names if n in arrays]
        others = [n for n, a in arrays.items() if n != labels and a.ndim == 2]
        candidates = known or others
        if len(candidates) != 1:
            raise TableError(
                f"which array holds the predictions is not clear among {some(arrays, most=12)}",
                where=name,
                todo="Name it with --probs.",
            )
        chosen = candidates[0]
    if chosen not in arrays:
        raise TableError(f"no array {chosen!r}", where=name, todo=nearest(chosen, arrays))
    kind = options.kind or next((k for k, names in _VALUES.items() if chosen in names), None)
    if kind is None:
        raise TableError(f"whether {chosen!r} holds {', '.join(KINDS)} is not clear", where=name,
                         todo="Say so with --kind.")  # fmt: skip
    return chosen, kind
