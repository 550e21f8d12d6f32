"""Whether one model's predictions really cost less than another's, on the same rows.

The difference of two cross-entropies is the mean of the rows' differences, and its error is that of those differences:
far smaller than the errors of the two cross-entropies where the models find the same rows hard.

>>> import numpy as np
>>> p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]])
>>> q = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5], [0.4, 0.6]])
>>> found = compare([0, 1, 0, 1], {"p": p, "q": q})
>>> [(m.name, m.rank, round(m.cross_entropy, 3)) for m in found.models]
[('p', 1, 0.299), ('q', 2, 0.446)]
>>> pair = found.pairs[0]
>>> round(pair.difference, 3), pair.won, round(pair.p_value, 4)
(-0.147, 1.0, 0.0018)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._means import Mean, holm, mean_of
from .measures import Coded, _weights, codes, row_losses
from .overlay import TOP, overlay, scores

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A difference on some of the rows: a class, a slice.

    Attributes
    ----------
    name : str
    rows : int
    difference, error : float
        Mean of the first model's loss less the second's, in nats, and its standard error.
    interval : tuple of two floats
        At the comparison's level, for this part alone: not corrected for how many parts there are.
    won : float
        Share of the rows where the first lost less.
    infinite : tuple of three ints
        Rows where only the first, only the second, both gave probability 0 to what happened. Then the difference is
        infinite or unknown, and `finite` has that of the other rows with its interval: (difference, low, high).
    costly : int
        Rows to whose label either model gave less than one half. Where there are fewer than five, the interval may be
        too short: it knows nothing of costly rows that chance kept away.
    """

    name: str
    rows: int
    difference: float
    error: float
    interval: tuple[float, float]
    won: float = math.nan
    infinite: tuple[int, int, int] = (0, 0, 0)
    finite: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    costly: int = 0


@dataclass(frozen=True)
class Pair:
    """Two models on the same rows.

    Attributes
    ----------
    first, second : str
    difference : float
        Cross-entropy of the first less that of the second, in nats: below 0 the first is better. Infinite where one of
        them gave probability 0 to an event that happened, NaN where both did.
    error : float
        Its standard error, from the rows' differences (their sums over clusters); NaN where the difference is not
        finite.
    interval : tuple of two floats
    p_value : float
        Two-sided paired t test of a difference of 0; NaN where there is none.
    p_adjusted : float
        Holm's, over all pairs of models.
    distinguishable : bool
        `p_adjusted` is below 1 - level; or exactly one of the two is infinite, which is no matter of chance: an event
        of probability 0 happened.
    won, tied : float
        Shares of the rows where the first lost less, and the same.
    infinite : tuple of three ints
        Rows where only the first, only the second, both gave probability 0 to what happened.
    finite : Part
        The rows where neither did: the same as the whole where there are no infinite losses.
    classes : tuple of Part
        By the label that happened.
    slices : dict of str to tuple of Part
        By the values of each column.
    costly : int
        As `Part.costly`; with fewer than five of them `p_value` may be too small, too.
    """

    first: str
    second: str
    difference: float
    error: float
    interval: tuple[float, float]
    p_value: float
    p_adjusted: float
    distinguishable: bool
    won: float
    tied: float
    infinite: tuple[int, int, int]
    finite: Part
    classes: tuple[Part, ...]
    slices: dict[str, tuple[Part, ...]]
    costly: int = 0


@dataclass(frozen=True)
class Model:
    """One model's own figures.

    Attributes
    ----------
    name : str
    rank : int
        1 and the number of models that are distinguishably better. So models that cannot be told apart share a rank,
        and a model may share its rank with two that can be told apart from each other.
    cross_entropy, error : float
        In nats; the error is NaN where the cross-entropy is infinite.
    impossible : int
        Rows to whose label it gave probability 0.
    """

    name: str
    rank: int
    cross_entropy: float
    error: float
    impossible: int


@dataclass(frozen=True)
class Comparison:
    """Models on the same rows.

    Attributes
    ----------
    rows : int
    clusters : int or None
        How many, where rows depend on each other in clusters.
    level : float
        Of the intervals; 1 - level is the chance that any two alike models are called distinguishable.
    models : tuple of Model
        By rank, then by cross-entropy.
    pairs : tuple of Pair
        All of them, the better first in the order of `models`.
    reliability : dict or None
        Of each model, to be laid over each other: see `xent.evaluate.overlay.overlay`. None with weights, and where
        losses alone are known.
    """

    rows: int
    clusters: int | None
    level: float
    models: tuple[Model, ...]
    pairs: tuple[Pair, ...]
    reliability: dict[str, Any] | None = None

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the models' reliability over each other with matplotlib (``pip install "xent[plot]"``).

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; a new figure's by default.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            Reliability was not computed.
        """
        from .overlay import draw

        return draw(self, ax)

    def pair(self, first: str, second: str) -> Pair:
        """The pair of these two, in the order it is kept in.

        Raises
        ------
        KeyError
        """
        for pair in self.pairs:
            if {pair.first, pair.second} == {first, second}:
                return pair
        raise KeyError((first, second))

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name. Infinities and NaN stay floats."""
        document = _lists(asdict(self))
        assert isinstance(document, dict)
        return document


def compare(
    y: ArrayLike,
    predictions: Mapping[str, ArrayLike],
    *,
    log: bool = False,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    slices: Mapping[str, ArrayLike] | None = None,
    names: Sequence[object] | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare models by the probabilities they gave to the same rows.

    Parameters
    ----------
    y : int array of shape (rows,)
        Class indices; -1 for a label that is none of the classes.
    predictions : dict of name to array of shape (rows, classes)
        Probabilities. Two models or more, rows in the same order.
    log : bool
        They are natural logarithms of probabilities instead (which keep the digits of tiny ones).
    weights : array of shape (rows,), optional
        Non-negative row weights.
    clusters : array of shape (rows,), optional
        Rows of one value may depend on each other: rows of a patient, sentences of a document.
    slices : dict of name to array of shape (rows,), optional
        Columns to look at the differences by.
    names : sequence, optional
        The classes' names.
    level : float
        Of the intervals and, corrected for the number of pairs, of what counts as distinguishable.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        Fewer than two models, shapes that do not fit, probabilities outside [0, 1] or NaN, labels out of range.

    Notes
    -----
    The test is Student's paired t (clusters: on the clusters' sums, with one less than their number for degrees of
    freedom), which needs rows enough for a mean to be nearly normal: with heavy-tailed losses some hundreds. Pairs of
    models are corrected by Holm's method (Scandinavian Journal of Statistics, 1979).
    """
    labels = np.asarray(y)
    losses, values = {}, {}
    for name, given in predictions.items():
        logs = np.asarray(given, dtype=np.float64)
        if not log:
            if not ((logs >= 0) & (logs <= 1)).all():
                raise ValueError(f"{name}: probabilities lie from 0 to 1 (log=True for their logarithms)")
            with np.errstate(divide="ignore"):
                logs = np.log(logs)
        try:
            losses[name] = row_losses(logs, labels)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        values[name] = logs
    classes = None
    if labels.size:
        texts = [str(n) for n in names] if names is not None else [str(k) for k in range(int(labels.max()) + 1)]
        classes = np.array([*texts, "(none)"])[labels]
    found = compare_losses(losses, classes=classes, weights=weights, clusters=clusters, slices=slices, level=level)
    if weights is not None:
        return found
    two = all(v.shape[1] == 2 for v in values.values())
    event = 1 if two else None
    told = {name: scores(labels.astype(np.int64), v, "log", event) for name, v in values.items()}
    name_of = (str(names[1]) if names is not None else "1") if two else TOP
    return replace(found, reliability=overlay(told, name_of))


def compare_losses(
    losses: Mapping[str, ArrayLike],
    *,
    classes: ArrayLike | Coded | None = None,
    weights: ArrayLike | None = None,
    clusters: ArrayLike | Coded | None = None,
    slices: Mapping[str, ArrayLike | Coded] | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare models by the losses of the same rows, in nats; `compare` has the parameters and the notes.

    Parameters
    ----------
    losses : dict of name to array of shape (rows,)
        Infinite where an event of probability 0 happened.
    classes : array of shape (rows,), optional
        The name of each row's class.
    weights, clusters, slices, level
        As for `compare`; columns of text may be `xent.evaluate.measures.Coded`.

    Returns
    -------
    Comparison
    """
    values = {name: np.asarray(v, dtype=np.float64) for name, v in losses.items()}
    if len(values) < 2:
        raise ValueError(f"two models or more are compared, got {len(values)}")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    rows = len(next(iter(values.values())))
    for name, v in values.items():
        if v.shape != (rows,) or not rows:
            raise ValueError(f"losses of one row each are needed, {name} has the shape {v.shape} for {rows} rows")
        if np.isnan(v).any() or (v == -np.inf).any():
            raise ValueError(f"{name} has the loss {v[np.isnan(v) | (v == -np.inf)][0]}")
    weight = _weights(weights, rows)
    group = None if clusters is None else codes(clusters, rows, "clusters")[0]
    parts = {} if classes is None else {"": codes(classes, rows, "classes")}
    parts |= {name: codes(v, rows, f"slice {name!r}") for name, v in (slices or {}).items()}
    means = {name: mean_of(v, weight, group) for name, v in values.items()}
    order = sorted(values, key=lambda n: means[n].value)
    rest = (weight, group, parts, level)
    pairs = _adjusted([_pair(a, b, values[a], values[b], *rest) for a, b in combinations(order, 2)], level)
    ranks = {n: 1 + sum(p.distinguishable and p.second == n for p in pairs) for n in order}
    models = tuple(
        Model(n, ranks[n], means[n].value, means[n].error, int(np.isinf(values[n]).sum()))
        for n in sorted(order, key=lambda n: (ranks[n], means[n].value))
    )
    return Comparison(rows, None if group is None else int(group.max()) + 1, level, models, tuple(pairs))


def _adjusted(pairs: list[Pair], level: float) -> list[Pair]:
    """With Holm's p-values, and what they make distinguishable."""
    out = []
    for pair, p in zip(pairs, holm([q.p_value for q in pairs]), strict=True):
        certain = math.isinf(pair.difference)
        out.append(replace(pair, p_adjusted=p, distinguishable=certain or p < 1 - level))
    return out


def _pair(
    first: str,
    second: str,
    a: Array,
    b: Array,
    weight: Array | None,
    group: NDArray[np.int64] | None,
    parts: Mapping[str, tuple[NDArray[np.int64], list[str]]],
    level: float,
) -> Pair:
    only_a, only_b = np.isinf(a) & ~np.isinf(b), np.isinf(b) & ~np.isinf(a)
    both = np.isinf(a) & np.isinf(b)
    with np.errstate(invalid="ignore"):
        off = a - b
    whole = mean_of(off, weight, group)
    share = np.ones(len(a)) if weight is None else weight
    total, costly = float(share.sum()), (np.maximum(a, b) > math.log(2)) & (share > 0)

    def of(kept: NDArray[np.bool_]) -> Mean:
        return mean_of(off[kept], None if weight is None else weight[kept], None if group is None else group[kept])

    def part(name: str, chosen: NDArray[np.bool_]) -> Part:
        kept = chosen if weight is None else chosen & (weight > 0)
        if not kept.any():
            return Part(name, 0, math.nan, math.nan, (math.nan, math.nan))
        found = of(kept)
        lost = (int((kept & only_a).sum()), int((kept & only_b).sum()), int((kept & both).sum()))
        rest = kept & ~(only_a | only_b | both)
        inner = of(rest) if any(lost) and rest.any() else None if any(lost) else found
        finite = (math.nan,) * 3 if inner is None else (inner.value, *inner.interval(level))
        won = float(share[kept & (a < b)].sum()) / float(share[kept].sum())
        return Part(name, int(kept.sum()), found.value, found.error, found.interval(level), won, lost, finite,
                    int((kept & costly).sum()))  # fmt: skip

    by = {name: tuple(part(t, code == k) for k, t in enumerate(texts)) for name, (code, texts) in parts.items()}
    return Pair(
        first=first,
        second=second,
        difference=whole.value,
        error=whole.error,
        interval=whole.interval(level),
        p_value=_p_value(whole),
        p_adjusted=math.nan,
        distinguishable=False,
        won=float(share[a < b].sum()) / total,
        tied=float(share[a == b].sum()) / total,
        infinite=(int(only_a.sum()), int(only_b.sum()), int(both.sum())),
        finite=part("finite", ~(only_a | only_b | both)),
        classes=by.pop("", ()),
        slices=by,
        costly=int(costly.sum()),
    )


def _p_value(mean: Mean) -> float:
    """Of the paired t; rows that all differ by one and the same amount, other than 0, leave no room for chance."""
    if mean.error == 0 and mean.value != 0:
        return 0.0
    return mean.p_value()


def _lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _lists(v) for k, v in value.items()}
    return [_lists(v) for v in value] if isinstance(value, (list, tuple)) else value
