"""Recalibration: would other probabilities, made from these by a small map, have cost less?

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> z = rng.normal(size=2000)
>>> y = (rng.random(2000) < 1 / (1 + np.exp(-z))).astype(int)
>>> overconfident = np.column_stack([-np.logaddexp(0, 2 * z), -np.logaddexp(0, -2 * z)])
>>> found = cross_fitted(y, overconfident, ["temperature"])
>>> found.loss_before > found.results[0].loss_after
True
>>> round(found.results[0].parameters["temperature"])
2
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._fits import FitOptions, check_method, fit_map
from ._maps import RecalibrationMap, json_plain
from ._means import mean_of
from .measures import _checked, _weights, codes, row_losses

MOST_ROWS, MOST_NUMBERS = 200_000, 10_000_000
"""More rows, or rows times classes, than this are judged by a random sample of them."""
_MOST_DIRICHLET = 10  # classes up to which its (K, K) matrix is tried when nobody asked


@dataclass(frozen=True)
class Recalibration:
    """What one method would have gained.

    Attributes
    ----------
    method : str
    loss_after : float
        Mean cross-entropy in nats of rows recalibrated by maps that were fitted without them; infinite where an event
        still had probability 0, NaN where the method does not apply.
    gain : float
        Loss before less loss after: above 0 the method helps.
    gain_error : float
        Its standard error, paired by rows (by groups, where there are any); NaN where it is not known.
    interval : tuple of two floats
        Of the gain, by Student's t.
    map : RecalibrationMap or None
        Fitted to all rows; what to use from now on.
    reason : str
        Why the method does not apply; empty where it does.
    """

    method: str
    loss_after: float
    gain: float
    gain_error: float
    interval: tuple[float, float]
    map: RecalibrationMap | None
    reason: str = ""

    @property
    def parameters(self) -> dict[str, Any]:
        """The map's numbers, to copy; empty where the method does not apply."""
        return dict(self.map.parameters) if self.map else {}

    @property
    def left_out(self) -> int:
        """Rows that the map could not be fitted to, because their label had probability 0."""
        return int(self.map.info["left_out"]) if self.map else 0

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name, the map as JSON has it."""
        return {
            "method": self.method,
            "loss_after": self.loss_after,
            "gain": self.gain,
            "gain_error": self.gain_error,
            "interval": list(self.interval),
            "parameters": json_plain(self.parameters),
            "left_out": self.left_out,
            "reason": self.reason,
        }


@dataclass(frozen=True)
class CrossFitted:
    """Recalibrations judged on rows that their maps had not seen.

    Attributes
    ----------
    loss_before : float
        Mean cross-entropy in nats of the judged rows as they are.
    rows, of_rows : int
        How many rows were judged, and how many there were: large inputs are judged by a random sample.
    folds, seed : int
    level : float
        Of the intervals.
    results : tuple of Recalibration
        One a method, in the order asked for.
    """

    loss_before: float
    rows: int
    of_rows: int
    folds: int
    seed: int
    level: float
    results: tuple[Recalibration, ...]

    @property
    def best(self) -> Recalibration | None:
        """The lowest loss, where that is below the loss before; None where nothing helps."""
        tried = [r for r in self.results if r.loss_after < self.loss_before]
        return min(tried, key=lambda r: r.loss_after) if tried else None

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name."""
        return {
            "loss_before": self.loss_before,
            "rows": self.rows,
            "of_rows": self.of_rows,
            "folds": self.folds,
            "seed": self.seed,
            "level": self.level,
            "best": self.best.method if self.best else None,
            "results": [r.to_dict() for r in self.results],
        }


def default_methods(classes: int, zeros: bool = False) -> tuple[str, ...]:
    """The methods that are worth trying: for two classes three, for more those that can be fitted.

    >>> default_methods(2), default_methods(5)
    (('temperature', 'platt', 'isotonic'), ('temperature', 'vector', 'isotonic', 'dirichlet'))
    """
    if classes == 2:
        return "temperature", "platt", "isotonic"
    if zeros:  # of probability: their logarithms cannot be multiplied
        return "temperature", "isotonic"
    return ("temperature", "vector", "isotonic", *(("dirichlet",) if classes <= _MOST_DIRICHLET else ()))


def recalibrate(
    y: ArrayLike,
    log_probs: ArrayLike,
    method: str = "temperature",
    *,
    weights: ArrayLike | None = None,
    floor: float = 0.0,
    ends: float = 0.5,
    strength: float | None = None,
    names: Sequence[object] | None = None,
) -> RecalibrationMap:
    """Fit a recalibration map to predictions and what happened, by cross-entropy.

    Parameters
    ----------
    y : int array of shape (rows,)
        Class indices; -1 for a label that is none of the classes.
    log_probs : array of shape (rows, classes)
        Natural logarithms of the probabilities, -inf for 0. Rows that the classifier was not trained on: on those it
        was, it looks better than it is, and so would the map.
    method : str
        - "temperature": one number, never changes which class is likeliest (Guo et al., ICML 2017);
        - "platt": slope and intercept in log-odds, two classes (Platt, 1999, without his smoothing of the labels);
        - "isotonic": any rising curve; each class against the rest with more than two (Zadrozny and Elkan, KDD 2002);
        - "vector": a weight and an intercept a class (Guo et al.);
        - "matrix": all weights; "dirichlet": all weights with off-diagonal and intercept regularisation (Kull et
          al., NeurIPS 2019). With two classes both are beta calibration.
    weights : array of shape (rows,), optional
        Not negative.
    floor : float
        Raise smaller probabilities to this first, and divide the row by its sum. 0, the default, does not: nothing is
        clipped unless asked. vector, matrix and dirichlet need one where there are probabilities of 0.
    ends : float
        Isotonic: the weight, in rows, of one event against the order at each end, so that no answer is 0 or 1. With 0
        (two classes only) it is plain isotonic regression, whose loss on new rows is infinite sooner or later.
    strength : float, optional
        Dirichlet: lambda = mu of the paper; by default chosen by cross-validation.
    names : sequence, optional
        The classes' names, kept in the map.

    Returns
    -------
    RecalibrationMap

    Raises
    ------
    ValueError
        As `evaluate`; an unknown method, one that is not for so many classes, a probability of 0 where its logarithm
        would be multiplied.

    Notes
    -----
    An event of probability 0 that happened costs infinity under every temperature and slope; those rows are left out
    of such fits and counted in ``map.info["left_out"]``.

    Examples
    --------
    >>> import numpy as np
    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9], [0.9, 0.1]])
    >>> found = recalibrate([0, 1, 1, 1, 0], np.log(p))
    >>> round(found.parameters["temperature"], 3)
    1.114
    """
    logs, labels = _checked(log_probs, y)
    options = FitOptions(float(floor), float(ends), strength)
    return fit_map(method, logs, labels, _weights(weights, len(labels)), options, names)


def cross_fitted(
    y: ArrayLike,
    log_probs: ArrayLike,
    methods: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
    *,
    weights: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    floor: float = 0.0,
    ends: float = 0.5,
    strength: float | None = None,
    level: float = 0.95,
    names: Sequence[object] | None = None,
    most_rows: int = MOST_ROWS,
) -> CrossFitted:
    """Judge recalibration methods on rows that their maps have not seen.

    Each row is recalibrated by a map fitted to the other folds; the loss of those answers is compared with the loss of
    the rows as they are, row by row.

    Parameters
    ----------
    y, log_probs, weights, floor, ends, strength, names
        As `recalibrate` takes them.
    methods : sequence of str, optional
        By default `default_methods`.
    folds : int
        At least 2. Labels are spread evenly over them.
    seed : int
        Of the folds and of the sample.
    groups : array of shape (rows,), optional
        Rows of one group stay in one fold, and the errors allow for their dependence.
    level : float
        Of the intervals.
    most_rows : int
        More rows than this (or more numbers than 10 million) are judged by a random sample.

    Returns
    -------
    CrossFitted
        A method that does not apply (a probability of 0 without a floor, say) has NaN figures and says why.

    Raises
    ------
    ValueError
        As `recalibrate`; fewer rows (or groups) than folds.
    """
    logs, labels = _checked(log_probs, y)
    weight = _weights(weights, len(labels))
    group = None if groups is None else codes(groups, len(labels), "groups")[0]
    of_rows, K = logs.shape
    options = FitOptions(float(floor), float(ends), strength)
    rng = np.random.default_rng(seed)
    most = max(min(most_rows, MOST_NUMBERS // K), 2 * folds)
    if of_rows > most:
        chosen = np.sort(rng.choice(of_rows, most, replace=False))
        logs, labels = logs[chosen], labels[chosen]
        weight, group = (None if a is None else a[chosen] for a in (weight, group))
        group = None if group is None else codes(group, len(labels), "groups")[0]
    if methods is None:
        methods = default_methods(K, bool(np.isinf(logs).any()) and not floor)
    for method in methods:
        check_method(method, K, options)
    fold = _folds(labels, folds, rng, group)
    before = row_losses(logs, labels)
    results = []
    for method in methods:
        try:
            after = _out_of_fold(method, logs, labels, weight, fold, options)
            found = fit_map(method, logs, labels, weight, options, names)
        except ValueError as error:
            nan = float("nan")
            results.append(Recalibration(method, nan, nan, nan, (nan, nan), None, str(error)))
            continue
        results.append(_judged(method, before, after, found, (weight, group), level))
    return CrossFitted(mean_of(before, weight).value, len(labels), of_rows, folds, seed, level, tuple(results))


def _judged(
    method: str,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    found: RecalibrationMap,
    kept: tuple[NDArray[np.float64] | None, NDArray[np.int64] | None],
    level: float,
) -> Recalibration:
    with np.errstate(invalid="ignore"):  # an impossible event that no map can mend: no difference is known
        gain = mean_of(before - after, *kept)
    loss = mean_of(after, kept[0]).value
    return Recalibration(method, loss, gain.value, gain.error, gain.interval(level), found)


def _out_of_fold(
    method: str,
    logs: NDArray[np.float64],
    labels: NDArray[np.int64],
    weight: NDArray[np.float64] | None,
    fold: NDArray[np.int64],
    options: FitOptions,
) -> NDArray[np.float64]:
    """The rows' losses under maps that were fitted without them."""
    out = np.empty(len(labels))
    for k in range(int(fold.max()) + 1):
        inside, outside = fold != k, fold == k
        fitted = fit_map(method, logs[inside], labels[inside], None if weight is None else weight[inside], options)
        out[outside] = row_losses(fitted.apply(logs[outside]), labels[outside])
    return out


def _folds(
    labels: NDArray[np.int64], folds: int, rng: np.random.Generator, group: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Each row's fold: labels, or whole groups, spread evenly."""
    units = len(labels) if group is None else int(group.max()) + 1
    if folds < 2 or units < folds:
        what = "rows" if group is None else "groups"
        raise ValueError(f"folds must be from 2 to the number of {what}, {units}; got {folds}")
    order = rng.permutation(units)
    if group is not None:
        place = np.empty(units, dtype=np.int64)
        place[order] = np.arange(units) % folds
        return place[group]
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(units, dtype=np.int64)
    fold[order] = np.arange(units) % folds
    return fold
