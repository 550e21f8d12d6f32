"""Recalibration maps: numbers that turn log-probabilities into better ones. Applying, writing and reading them.

A map file is JSON: a format, a version, a method and its numbers, nothing that runs. Another program needs the formula
of the method (:class:`RecalibrationMap` has them) and the numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..losses import log_softmax
from .loss import log_of_rest

FORMAT, VERSION = "xent recalibration map", 1
_MOST_CLASSES = 100_000
_HUGE = 1e300  # stands for an infinite log-odds where two knots are joined by a line

# Each method, and its parameters with their shapes; K stands for the number of classes.
METHODS: dict[str, dict[str, tuple[str, ...]]] = {
    "temperature": {"temperature": ()},
    "platt": {"slope": (), "intercept": ()},
    "isotonic": {"log_odds": ("list",), "probability": ("list",)},
    "vector": {"weights": ("K",), "intercept": ("K",)},
    "matrix": {"weights": ("K", "K"), "intercept": ("K",)},
    "dirichlet": {"weights": ("K", "K"), "intercept": ("K",)},
}


@dataclass(frozen=True)
class RecalibrationMap:
    """A map from predicted probabilities to recalibrated ones.

    With ``L`` the log-probabilities of a row and ``d`` its log-odds (of class 1 against class 0; for more classes of
    each class against the rest):

    - temperature: ``softmax(L / temperature)``;
    - platt (two classes): ``sigmoid(slope d + intercept)``;
    - isotonic: for each class a rising line through the knots (``log_odds``, ``probability``), flat outside them; with
      more than two classes the row is then divided by its sum;
    - vector: ``softmax(weights * L + intercept)``;
    - matrix, dirichlet: ``softmax(weights @ L + intercept)``.

    Attributes
    ----------
    method : str
    classes : int
    parameters : dict
        The numbers, float or float64 arrays of the shapes in `METHODS`; of isotonic a list of arrays, one a class, with
        two classes one, that of class 1.
    floor : float
        Probabilities below it are raised to it, and the row divided by its sum, before all else; 0 for none.
    names : tuple of str
        The classes' names, in their order; may be empty.
    info : dict
        How it was fitted: rows, loss before and after.
    """

    method: str
    classes: int
    parameters: Mapping[str, Any]
    floor: float = 0.0
    names: tuple[str, ...] = ()
    info: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, log_probs: ArrayLike) -> NDArray[np.float64]:
        """Recalibrate rows.

        Parameters
        ----------
        log_probs : array of shape (rows, classes)
            Natural logarithms of the probabilities; -inf for 0.

        Returns
        -------
        float64 array of shape (rows, classes)
            Logarithms of the recalibrated ones. What was certain stays so under temperature and platt.

        Raises
        ------
        ValueError
            Another number of classes; NaN; a probability of 0 for vector, matrix and dirichlet maps without a floor.
        """
        logs = np.asarray(log_probs, dtype=np.float64)
        if logs.ndim != 2 or logs.shape[1] != self.classes:
            raise ValueError(f"this map is for (rows, {self.classes}) log-probabilities, got {logs.shape}")
        if np.isnan(logs).any():
            raise ValueError(f"log_probs holds NaN in row {int(np.flatnonzero(np.isnan(logs).any(axis=1))[0])}")
        logs = with_floor(logs, self.floor)
        p = self.parameters
        if self.method == "temperature":
            return scaled(logs, 1 / p["temperature"])
        if self.method == "platt":
            return binary_logs(platt_log_odds(log_odds(logs), p["slope"], p["intercept"]))
        if self.method == "isotonic":
            return self._isotonic(logs)
        require_finite(logs, self.method)
        weights = p["weights"]
        out: NDArray[np.float64] = log_softmax((logs * weights if weights.ndim == 1 else logs @ weights.T)
                                               + p["intercept"])  # fmt: skip
        return out

    def _isotonic(self, logs: NDArray[np.float64]) -> NDArray[np.float64]:
        knots = list(zip(self.parameters["log_odds"], self.parameters["probability"], strict=True))
        with np.errstate(divide="ignore"):
            if self.classes == 2:
                p = _line(log_odds(logs), *knots[0])
                return np.column_stack([np.log1p(-p), np.log(p)])
            p = np.column_stack([_line(log_odds(logs, k), *knots[k]) for k in range(self.classes)])
            return np.log(p) - np.log(p.sum(axis=1, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """The map as JSON has it: lists and numbers, infinities as the texts "inf" and "-inf"."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "method": self.method,
            "classes": self.classes,
            "names": list(self.names),
            "floor": self.floor,
            "parameters": {name: json_plain(value) for name, value in self.parameters.items()},
            "info": json_plain(dict(self.info)),
        }

    def to_json(self) -> str:
        """The map's file: every float64 comes back as it was."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> RecalibrationMap:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            Says what is wrong with anything else.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"this is no JSON ({error})") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise ValueError("this is no recalibration map of xent")
        if document.get("version") != VERSION:
            raise ValueError(f"version {document.get('version')!r} of the format is not known here, only {VERSION}")
        return _from_document(document)


def _from_document(document: dict[str, Any]) -> RecalibrationMap:
    method, classes, floor = document.get("method"), document.get("classes"), document.get("floor", 0.0)
    names, info, given = document.get("names", []), document.get("info", {}), document.get("parameters")
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}, only {', '.join(METHODS)}")
    if type(classes) is not int or not 2 <= classes <= _MOST_CLASSES:
        raise ValueError(f"the number of classes is {classes!r}")
    if method == "platt" and classes != 2:
        raise ValueError(f"platt is for two classes, not {classes}")
    if type(floor) not in (int, float) or not 0 <= floor < 1 / classes:
        raise ValueError(f"the floor is {floor!r}; it lies from 0 to below 1 / {classes}")
    if not isinstance(names, list) or any(type(n) is not str for n in names) or len(names) not in (0, classes):
        raise ValueError(f"the names are not a list of {classes} texts")
    if not isinstance(given, dict) or set(given) != set(METHODS[method]) or not isinstance(info, dict):
        raise ValueError(f"the parameters of {method} are {', '.join(METHODS[method])}")
    parameters: dict[str, Any] = {}
    for name, dims in METHODS[method].items():
        if dims == ("list",):
            curves = 1 if classes == 2 else classes
            if not isinstance(given[name], list) or len(given[name]) != curves:
                raise ValueError(f"{name} must be a list of {curves} lists")
            parameters[name] = [_numbers(v, name, None) for v in given[name]]
        else:
            shape = tuple(classes for _ in dims)
            array = _numbers(given[name], name, shape)
            parameters[name] = array if dims else float(array)
    _check_values(method, parameters)
    return RecalibrationMap(method, classes, parameters, float(floor), tuple(names), info)


def _numbers(value: Any, name: str, shape: tuple[int, ...] | None) -> NDArray[np.float64]:
    """An array from nested lists of numbers and the texts of infinities, of this shape (None: any list)."""
    try:
        array = np.asarray(_floats(value), dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name} does not hold numbers alone") from None
    if array.ndim != 1 or not array.size if shape is None else array.shape != shape:
        raise ValueError(f"{name} has the shape {array.shape}, not {shape or '(knots,)'}")
    return array


def _floats(value: Any) -> Any:
    if isinstance(value, list):
        return [_floats(v) for v in value]
    if value in ("inf", "-inf"):
        return float(value)
    if type(value) not in (int, float):
        raise TypeError
    return float(value)


def _check_values(method: str, parameters: Mapping[str, Any]) -> None:
    """Refuse numbers that would make probabilities that are none."""
    if method == "temperature":
        if not parameters["temperature"] > 0:
            raise ValueError(f"the temperature is {parameters['temperature']}, it must be above 0")
        return
    if method != "isotonic":
        if not all(np.isfinite(v).all() for v in parameters.values()):
            raise ValueError(f"the parameters of {method} must be finite")
        return
    for x, p in zip(parameters["log_odds"], parameters["probability"], strict=True):
        # not (a and b): NaN must not come through
        if len(x) != len(p) or not ((np.diff(_finite(x)) > 0).all() and (np.diff(p) >= 0).all()):
            raise ValueError("the knots of an isotonic map must rise, in log_odds and in probability")
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError("an isotonic map's probabilities must lie from 0 to 1")


def json_plain(value: Any) -> Any:
    """As strict JSON has it: arrays and tuples as lists, infinities and NaN as the texts "inf", "-inf" and "nan"."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(k): json_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def with_floor(logs: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Raise probabilities below the floor to it and divide those rows by their sums; the others stay as they are."""
    low = logs < math.log(floor) if floor else None
    if low is None or not low.any():
        return logs
    rows = low.any(axis=1)
    out = logs.copy()
    part = np.maximum(logs[rows], math.log(floor))
    out[rows] = log_softmax(part)
    return out


def require_finite(logs: NDArray[np.float64], method: str) -> None:
    """Refuse a probability of 0 where a method multiplies its logarithm."""
    bad = np.flatnonzero(np.isinf(logs).any(axis=1))
    if bad.size:
        raise ValueError(
            f"{method} multiplies log-probabilities, and {bad.size} of {len(logs)} rows hold a probability of 0, the "
            f"first is row {bad[0]}: give a floor such as 1e-6, or use temperature or isotonic"
        )


def log_odds(logs: NDArray[np.float64], k: int | None = None) -> NDArray[np.float64]:
    """Log-odds of class k against the rest, of class 1 where there are two; infinite where it is certain."""
    if logs.shape[1] == 2 and k is None:
        with np.errstate(invalid="ignore"):
            return np.asarray(logs[:, 1] - logs[:, 0], dtype=np.float64)
    here = np.minimum(logs[:, 1 if k is None else k], 0.0)
    return here - log_of_rest(here)


def binary_logs(d: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-probabilities (rows, 2) of log-odds, which may be infinite."""
    return np.column_stack([-np.logaddexp(0, d), -np.logaddexp(0, -d)])


def platt_log_odds(d: NDArray[np.float64], slope: float, intercept: float) -> NDArray[np.float64]:
    """``slope d + intercept`` where that is finite; what is certain stays certain."""
    certain = np.isinf(d)
    return np.where(certain, d, slope * np.where(certain, 0.0, d) + intercept)


def scaled(logs: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """``log softmax(factor L)``; a class of probability 0 keeps it, for a factor of 0 too."""
    out: NDArray[np.float64] = log_softmax(np.where(np.isinf(logs), logs, factor * logs))
    return out


def _finite(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(x, -_HUGE, _HUGE)


def _line(x: NDArray[np.float64], knots: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(_finite(x), _finite(knots), values)


def class_names(names: Sequence[object] | None, classes: int) -> tuple[str, ...]:
    """Names as texts, one a class."""
    if names is None:
        return ()
    if len(names) != classes:
        raise ValueError(f"{len(names)} names for {classes} classes")
    return tuple(str(n) for n in names)
