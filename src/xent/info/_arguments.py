"""How the measures read what they are given: one distribution or several, a joint table, samples of variables."""

from __future__ import annotations

from typing import Any

from . import _samples
from ._inputs import Inputs, check_kinds, negative_axes, read

Axis = int | tuple[int, ...]
Kind = str | tuple[str, ...]


def weights_of_samples_only(weights: Any, kinds: tuple[str, ...]) -> None:
    """Refuse weights where there are no observations to weigh."""
    if weights is not None and "samples" not in kinds:
        raise ValueError("weights are those of observations here: they need kind='samples'")


def read_distributions(
    named: dict[str, Any], axis: Axis, kind: Kind, weights: Any, mixture: bool = False
) -> tuple[Inputs, tuple[int, ...]]:
    """Read distributions, samples already counted, and the axes as negative numbers."""
    kinds = check_kinds(kind, len(named))
    observed = "samples" in kinds
    # The weights of samples belong to the observations of each argument, and are counted in with them.
    inputs = read(named, kinds, None if observed and not mixture else weights)
    axes = negative_axes(axis, max(x.ndim for x in inputs.values))
    if observed:
        inputs = _samples.counted(inputs, axes, _samples.weights_of_each(None if mixture else weights, inputs))
    return inputs, axes


def read_variables(variables: tuple[Any, ...], kind: Kind, weights: Any) -> Inputs:
    """Read one joint table, or samples of each variable."""
    given = [x for x in variables if x is not None]
    if kind == "samples":
        if len(given) < len(variables) or not given:
            raise TypeError("kind='samples' takes one array of observations for each variable")
        names = ("x", "y") if len(given) == 2 else tuple(f"variable {i}" for i in range(len(given)))
        return read(dict(zip(names, given, strict=True)), ("samples",) * len(given), weights)
    kinds = check_kinds(kind, 1)
    if len(given) != 1:
        raise TypeError(f"takes one joint table, got {len(given)} arrays; observations need kind='samples'")
    weights_of_samples_only(weights, kinds)
    return read({"joint": given[0]}, kinds)


def two_axes(axis: Axis | None, inputs: Inputs) -> tuple[int, int]:
    """Return the axis of X and the axis of Y in a joint table, as negative numbers."""
    ndim = inputs.values[0].ndim
    if ndim < 2:
        raise ValueError(f"a joint table has an axis for each variable, got shape {inputs.values[0].shape}")
    axes = negative_axes((-2, -1) if axis is None else axis, ndim)
    if len(axes) != 2:
        raise ValueError(f"axis must name the axis of X and the axis of Y, got {axis!r}")
    return axes[0], axes[1]
