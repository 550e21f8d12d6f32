"""What a fit keeps and shows of its way: learning curves, the best weights of an early stop, a bar, a callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Entry = dict[str, Any]


class StoppedError(Exception):
    """Ends a solver's run from within its callback."""


class Best:
    """The best validation loss so far, and the weights that had it."""

    def __init__(self, patience: int) -> None:
        self.patience, self.value, self.theta, self.at, self.seen = patience, np.inf, None, -1, 0

    def take(self, value: float, theta: Any) -> bool:
        """Whether patience has run out."""
        if self.theta is None or value < self.value:
            self.value, self.theta, self.at = value, theta.copy(), self.seen
        self.seen += 1
        return self.seen - 1 - self.at >= self.patience


class Monitor:
    """Is told of each iteration or epoch; called as a solver's callback it ends the run where the fit is to end.

    Parameters
    ----------
    model : estimator
        Its `callback`, `early_stopping` and `n_iter_no_change` are kept to, and its `history_` begins anew.
    put : function of the parameters
        Makes them the model's attributes, for `callback`.
    held : function of the parameters
        The loss of the rows held out, or None.
    tell : function of words
        Shows where the fit stands.
    """

    def __init__(
        self,
        model: Any,
        put: Callable[[Any], None],
        held: Callable[[Any], float | None],
        tell: Callable[[str], None],
    ) -> None:
        self._model, self._put, self._held, self._tell = model, put, held, tell
        self.best = Best(int(model.n_iter_no_change))
        self.last: Any = None
        model.history_ = []

    def step(self, theta: Any, loss: float, convergence: float | None, **more: Any) -> bool:
        """Keep and show an iteration; whether the fit is to end."""
        model = self._model
        if model.callback is not None:
            self._put(theta)
        entry = record(model, loss, self._held(theta), convergence, **more)
        self._tell(words(entry))
        ended = model.early_stopping and self.best.take(entry["validation_loss"], theta)
        if (model.callback is not None and model.callback(model, entry)) or ended:
            self.last = theta.copy()
            return True
        return False

    def __call__(self, theta: Any, loss: float, convergence: float) -> None:
        """The same, as a solver's callback."""
        if self.step(theta, loss, convergence):
            raise StoppedError

    @property
    def stopped(self) -> tuple[Any, Entry] | None:
        """The weights that the fit ends with, not where its solver did, and their entry; None where it is."""
        history = self._model.history_
        if self._model.early_stopping and self.best.theta is not None:
            return self.best.theta, history[self.best.at]
        return None if self.last is None else (self.last, history[-1])


def record(model: Any, loss: float, validation: float | None, convergence: float | None, **more: Any) -> Entry:
    """The newest entry of the model's learning curves."""
    entry = {"step": len(model.history_) + 1, "loss": float(loss), "validation_loss": validation}
    model.history_.append({**entry, **more, "convergence": None if convergence is None else float(convergence)})
    return model.history_[-1]


def words(entry: Entry) -> str:
    """An entry in a few words."""
    text = f"loss {entry['loss']:.5g}"
    if entry["validation_loss"] is not None:
        text += f", held out {entry['validation_loss']:.5g}"
    return text if entry["convergence"] is None else f"{text}, convergence {entry['convergence']:.2g}"


def held_out(label: Any, fraction: float, random: Any) -> Any:
    """Which rows are held out, (N,) booleans: that share of each class, drawn at random, but never all of one.

    Raises
    ------
    ValueError
        When there are too few rows to hold one out.
    """
    out = np.zeros(len(label), bool)
    order = random.permutation(len(label))
    order = order[np.argsort(label[order], kind="stable")]  # by class, at random within
    counts = np.bincount(label)
    ends = np.cumsum(counts)
    # of small classes some hold out one row more, so that the share is right on average
    wanted = np.minimum((counts * fraction + random.random_sample(len(counts))).astype(int), counts - 1)
    if not wanted.any():
        large = int(counts.argmax())
        wanted[large] = min(1, counts[large] - 1)
    for end, count, n in zip(ends.tolist(), counts.tolist(), wanted.tolist(), strict=True):
        out[order[end - count : end - count + max(n, 0)]] = True
    if not out.any():
        raise ValueError(
            f"early_stopping: no row can be held out, since {len(label)} rows of {len(counts)} classes leave none for "
            "validation"
        )
    return out
