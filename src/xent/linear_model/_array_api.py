"""Arrays of other libraries under scikit-learn's ``array_api_dispatch``: NumPy inside, the caller's kind outside.

The solvers run in the CPU's memory. A PyTorch tensor there is read in place; arrays elsewhere are copied to it, which
`solver_.reason` says.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import array_api_compat
import numpy as np
import sklearn
from scipy import sparse

from .._arrays import to_numpy


class Home(NamedTuple):
    """A library and a device that arrays are brought back to."""

    xp: Any
    device: Any

    def asarray(self, a: Any) -> Any:
        """A NumPy array as one of this library, in its dtype; text stays NumPy's."""
        a = np.asarray(a)
        return self.xp.asarray(np.ascontiguousarray(a), device=self.device) if a.dtype.kind in "biuf" else a

    @property
    def on_cpu(self) -> bool:
        """Whether its arrays are in the CPU's memory, as far as their device's name tells."""
        return "cpu" in str(self.device).lower()


def dispatched() -> bool:
    """Whether scikit-learn was told to keep to the library of the arrays that it is given."""
    return bool(sklearn.get_config().get("array_api_dispatch", False))


def _foreign(a: Any) -> bool:
    return (
        array_api_compat.is_array_api_obj(a) and not isinstance(a, np.ndarray | np.generic) and not sparse.issparse(a)
    )


def home(a: Any) -> Home | None:
    """Where results for this array go, or None for NumPy's: without dispatch, and for all that is no array."""
    if not dispatched() or not _foreign(a):
        return None
    return Home(array_api_compat.array_namespace(a), array_api_compat.device(a))


def as_numpy(*arrays: Any) -> tuple[Any, ...]:
    """The arrays with those of other libraries as NumPy's; all others, None among them, as they are."""
    return tuple(_to_cpu(a) if _foreign(a) else a for a in arrays)


def _to_cpu(a: Any) -> np.ndarray:
    if array_api_compat.is_torch_array(a):
        return to_numpy(a)
    try:
        return np.asarray(array_api_compat.to_device(a, "cpu"))
    except ValueError:  # a library whose CPU has another name; the standard's default device
        first = array_api_compat.array_namespace(a).__array_namespace_info__().default_device()
        return np.asarray(array_api_compat.to_device(a, first))


def settle(model: Any, X: Any, y: Any) -> None:
    """Bring the fitted attributes to where X is, and the classes to where y is."""
    for_x, for_y = home(X), home(y)
    for name, value in list(vars(model).items()):
        place = for_y if name == "classes_" else for_x
        if place is None or not name.endswith("_") or name == "feature_names_in_":
            continue
        if isinstance(value, np.ndarray):
            setattr(model, name, place.asarray(value))
        elif isinstance(value, dict) and all(isinstance(v, np.ndarray) for v in value.values()):
            setattr(model, name, {k: place.asarray(v) for k, v in value.items()})
    if for_x is not None and not for_x.on_cpu and "passes on" not in model.solver_.reason:
        reason = f"{model.solver_.reason}, on the CPU: X was copied from {for_x.device}"
        model.solver_ = model.solver_._replace(reason=reason)


def in_numpy(model: Any) -> Any:
    """The estimator, or where its fitted attributes are another library's a shallow copy in which they are NumPy's."""
    foreign = {name: value for name, value in vars(model).items() if name.endswith("_") and _foreign(value)}
    if not foreign:
        return model
    twin = copy.copy(model)
    for name, value in foreign.items():
        setattr(twin, name, as_numpy(value)[0])
    return twin


def check_home(model: Any, X: Any, method: str) -> Home | None:
    """Where predictions for X go; a ValueError where the model was fitted with arrays of another kind."""
    if not dispatched():
        return None
    wanted, given = home(model.coef_), home(X)
    if wanted == given:
        return given
    names = [
        "NumPy's" if place is None else f"{place.xp.__name__.split('.')[-1]}'s on {place.device}"
        for place in (wanted, given)
    ]
    raise ValueError(
        f"Inputs passed to {type(model).__name__}.{method}() must use the same namespace and the same device as those "
        f"passed to fit(): the coefficients are {names[0]}, X is {names[1]}. Move X, or fit again"
    )
