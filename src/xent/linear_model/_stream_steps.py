"""Epochs of mini-batches: the optimiser's rule, its rate, and the classes drawn where not all are computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..objective import SoftmaxObjective
from ..solvers import Adam, GradientDescent, RMSprop, rate_at, shortened
from ._sampled import SampledObjective, Sampler
from ._stream_objective import Batch

RATES = {"sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "rmsprop": 0.001, "adam": 0.001}


class Steps:
    """What goes on from one mini-batch to the next.

    Parameters
    ----------
    model : StreamingClassifier
    name : str
        The optimiser.
    sampler : Sampler or None
        Draws the classes of each mini-batch; None for all classes.
    """

    def __init__(self, model: Any, name: str, sampler: Sampler | None) -> None:
        self.model, self.sampler, self.count, self.rate = model, sampler, 0, np.nan
        self._first = RATES[name] if model.learning_rate is None else float(model.learning_rate)
        self.rule: Any
        if name in ("sgd", "momentum", "nesterov"):
            self.rule = GradientDescent(0.0 if name == "sgd" else float(model.momentum), name == "nesterov")
        else:
            self.rule = RMSprop() if name == "rmsprop" else Adam()

    def over(self, theta: Any, batch: Batch, rng: Any, steps: int | None, full: float | None) -> tuple[Any, float]:
        """Steps over the mini-batches of a batch; the parameters, and the mean of the objectives on the way.

        A mini-batch of less weight than a `full` one has, the last one say, moves them by that much less: else its few
        rows would count for more than others.
        """
        X, label, weight = batch
        size = int(self.model.batch_size)
        if full is None:
            full = min(size, len(label)) * float(weight.mean()) if len(label) else 1.0
        order = np.arange(len(label)) if rng is None else rng.permutation(len(label))
        theta, total = theta.copy(), 0.0
        for start in range(0, len(order), size):
            rows = order[start : start + size]
            own = float(weight[rows].sum())
            if own == 0:
                continue
            part = X[rows] if rng is not None or len(rows) < len(order) else X
            self.rate = rate_at(self.model.schedule, self._first, self.count, steps)
            total += own * self._step(theta, (part, label[rows], weight[rows]), own / full)
            self.count += 1
        return theta, total / max(float(weight.sum()), np.finfo(float).tiny)

    def _step(self, theta: Any, batch: Batch, share: float) -> float:
        """Move theta in place; the objective before."""
        (X, label, weight), model = batch, self.model
        if self.sampler is not None:
            sampled = SampledObjective(X, label, weight, self.sampler, float(model.alpha), bool(model.fit_intercept))
            value, gradient = sampled.value_and_grad(theta[sampled.touched])
            theta[sampled.touched] += self.rule.step_rows(
                self._shortened(share * gradient), self.rate, sampled.touched, len(theta)
            )
            return value
        f = SoftmaxObjective(
            X, label, len(model.classes_), weight=weight, l2=model.alpha, fit_intercept=bool(model.fit_intercept)
        )
        value, gradient = f.value_and_grad(theta.ravel())
        theta += self.rule.step(self._shortened(share * gradient), self.rate).reshape(theta.shape)
        return value

    def _shortened(self, gradient: Any) -> Any:
        return shortened(gradient, self.model.clip, bool(self.model.normalize))
