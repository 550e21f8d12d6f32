"""Calls of a library, each by itself. ``python -m benchmarks.edges.run LIBRARY DTYPE`` prints its answers as JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .case import Answer, Case, NotOfferedError

Losses = Mapping[str, Callable[..., Any]]


class Column(NamedTuple):
    """A library: the arrays it takes, its functions, the packages whose versions count, and its environment."""

    arrays: str
    losses: Callable[[], Losses]
    packages: tuple[str, ...]
    environment: Mapping[str, str] = {}


def _xent() -> Losses:
    from . import with_xent

    return with_xent.LOSSES


def _torch(which: str) -> Callable[[], Losses]:
    def load() -> Losses:
        from . import with_torch

        return with_torch.TORCH if which == "torch" else getattr(with_torch, which)()

    return load


def _optax() -> Losses:
    from . import with_jax

    return with_jax.LOSSES


def _keras() -> Losses:
    from . import with_keras

    return with_keras.LOSSES


COLUMNS = {
    "xent NumPy": Column("numpy", _xent, ("xent", "numpy")),
    "xent PyTorch": Column("torch", _xent, ("xent", "torch")),
    "xent JAX": Column("jax", _xent, ("xent", "jax")),
    "PyTorch": Column("torch", _torch("torch"), ("torch",)),
    "torchvision": Column("torch", _torch("torchvision"), ("torchvision",)),
    "timm": Column("torch", _torch("timm"), ("timm",)),
    "metric-learning": Column("torch", _torch("metric_learning"), ("pytorch-metric-learning",)),
    "optax": Column("jax", _optax, ("optax", "jax")),
    "Keras (torch)": Column("torch", _keras, ("keras", "torch"), {"KERAS_BACKEND": "torch"}),
    "Keras (jax)": Column("jax", _keras, ("keras", "jax"), {"KERAS_BACKEND": "jax"}),
}


def answers(column: str, cases: Sequence[Case]) -> dict[str, Answer | None] | None:
    """What a library says to each case, None for what it does not offer; None where it is not installed."""
    arrays, load, _, _ = COLUMNS[column]
    try:
        losses = load()
    except ImportError:
        return None
    return {case.name: _answer(_RUNNERS[arrays], losses, case) for case in cases}


def _answer(run: Callable[..., Answer], losses: Losses, case: Case) -> Answer | None:
    if case.loss not in losses:
        return None
    loss = losses[case.loss]
    try:
        inspect.signature(loss).bind(case.x, case.target, **case.options)
    except TypeError:
        return None
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return run(loss, case)
    except NotOfferedError:
        return None
    except Exception as error:
        return Answer(error=type(error).__name__)


def _given(case: Case, floats: Callable[[Any], Any], labels: Callable[[Any], Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The case's arguments as arrays of a library."""
    integer = not np.size(case.target) or np.asarray(case.target).dtype.kind == "i"
    options = {name: floats(v) if isinstance(v, list) else v for name, v in case.options.items()}
    return floats(case.x), (labels if integer else floats)(case.target), options


def _shaped(case: Case, x: np.ndarray) -> np.ndarray:
    """An empty list of rows still has columns."""
    columns = len(case.options["w"][0]) if "w" in case.options else 2
    return x if x.size else x.reshape(0, columns)


def _numpy(loss: Any, case: Case) -> Answer:
    from xent import value_and_grad

    if case.mode != "reverse":
        raise NotOfferedError
    dtype = _numpy_dtype(case.dtype)
    x, target, options = _given(case, lambda v: np.array(v, dtype), lambda v: np.array(v, case.labels))
    arguments = loss.arguments(_shaped(case, x), target, options)
    each = arguments.get("reduction") == "none"
    differentiate = value_and_grad(loss.function)
    value, (gradient,) = differentiate(**{**arguments, **({"reduction": "sum"} if each else {})}, wrt=loss.wrt)
    return Answer(_list(loss.function(**arguments) if each else value), _list(gradient))


def _numpy_dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _torch_arrays(loss: Any, case: Case) -> Answer:
    import torch

    if case.mode == "jit":
        raise NotOfferedError
    dtype = getattr(torch, case.dtype)
    x, target, options = _given(
        case, lambda v: torch.tensor(v, dtype=dtype), lambda v: torch.tensor(v, dtype=getattr(torch, case.labels))
    )
    x = x if x.numel() else x.reshape(_shaped(case, np.empty(0)).shape)
    if case.mode == "forward":
        direction = torch.tensor(case.direction(tuple(x.shape)), dtype=dtype)
        value, slope = torch.func.jvp(lambda v: loss(v, target, **options), (x,), (direction,))
        return Answer(_list(value), _list(slope))
    x.requires_grad_()
    value = loss(x, target, **options)
    value.sum().backward()
    return Answer(_list(value.detach().double()), _list(x.grad.double()))


def _jax_arrays(loss: Any, case: Case) -> Answer:
    import jax
    import jax.numpy as jnp

    wide = jax.enable_x64(True) if case.dtype == "float64" else contextlib.nullcontext()
    with wide:
        dtype = getattr(jnp, case.dtype)
        labels = case.labels if case.dtype == "float64" else "int32"
        x, target, options = _given(case, lambda v: jnp.asarray(v, dtype), lambda v: jnp.asarray(v, labels))
        x = x if x.size else x.reshape(_shaped(case, np.empty(0)).shape)
        if case.mode == "forward":
            found = jax.jvp(
                lambda v: loss(v, target, **options), (x,), (jnp.asarray(case.direction(tuple(x.shape)), dtype),)
            )
            return Answer(*map(_list, found))

        def total(v: Any, y: Any) -> Any:
            value = loss(v, y, **options)
            return value.sum(), value

        differentiate = jax.grad(total, has_aux=True)
        gradient, value = (jax.jit(differentiate) if case.mode == "jit" else differentiate)(x, target)
        return Answer(_list(value), _list(gradient))


_RUNNERS = {"numpy": _numpy, "torch": _torch_arrays, "jax": _jax_arrays}


def _list(x: Any) -> Any:
    return np.asarray(x).astype(np.float64).tolist()


def elsewhere(column: str, dtype: str = "float32") -> tuple[dict[str, Answer | None] | None, dict[str, str]]:
    """`answers` and versions, from a process of its own; None where it fails."""
    command = [sys.executable, "-m", "benchmarks.edges.run", column, dtype]
    environment = {**os.environ, **COLUMNS[column].environment}
    root = Path(__file__).parent.parent.parent
    found = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=600)
    if found.returncode:
        print(f"{column} does not run: {found.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None, {}
    said = json.loads(found.stdout.splitlines()[-1])
    cells = said["answers"]
    return None if cells is None else {n: c and Answer(**c) for n, c in cells.items()}, said["versions"]


def main() -> None:
    """Answer for one column."""
    from .cases import sections

    column, dtype = sys.argv[1:]
    found, versions = answers(column, [case for cases in sections(dtype).values() for case in cases]), {}
    for package in COLUMNS[column].packages:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    cells = found and {name: answer and dataclasses.asdict(answer) for name, answer in found.items()}
    print(json.dumps({"answers": cells, "versions": versions}))


if __name__ == "__main__":
    main()
