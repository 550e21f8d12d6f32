"""scikit-learn's callbacks (1.9 and later): a task for the fit, and one below it for each iteration."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


def _theirs() -> Any:
    try:
        import sklearn.callback  # when first asked for: it loads a library for progress bars
    except ImportError:
        raise ImportError("callbacks need scikit-learn 1.9 or later") from None
    return sklearn.callback


class CallbackSupport:
    """What scikit-learn asks of an estimator that calls callbacks."""

    def set_callbacks(self, *callbacks: Any) -> Any:
        """Callbacks of scikit-learn's (`sklearn.callback`) for `fit`, with every solver; none takes them away.

        Returns
        -------
        self
        """
        return _theirs().CallbackSupportMixin.set_callbacks(self, *callbacks)

    def _init_callback_context(self, **options: Any) -> Any:
        return _theirs().CallbackSupportMixin._init_callback_context(self, **options)


def has_callbacks(estimator: Any) -> bool:
    """Whether an estimator has callbacks, its own or those of what fits it."""
    return bool(getattr(estimator, "_skl_callbacks", None)) or hasattr(estimator, "_parent_callback_ctx")


def with_callbacks(method: Callable[..., Any]) -> Any:
    """A method of an estimator that ends its callbacks however the method ends."""

    @functools.wraps(method)
    def managed(estimator: Any, *args: Any, **options: Any) -> Any:
        if has_callbacks(estimator):
            return _theirs().with_callbacks(method)(estimator, *args, **options)
        return method(estimator, *args, **options)

    return managed


class Iterations:
    """Tells an estimator's callbacks of each iteration, with the coefficients there.

    scikit-learn's order: an iteration ends with its coefficients and the next begins with them, and the one that begins
    after the last ends empty.

    Parameters
    ----------
    estimator : the model
    context : the callback context of its fit
    X, y, metadata : what the callbacks are shown
    start : dict
        The attributes before the first iteration.
    """

    def __init__(self, estimator: Any, context: Any, X: Any, y: Any, metadata: Any, start: dict[str, Any]) -> None:
        self._estimator, self._context = estimator, context
        self._shown = {"X": X, "y": y, "metadata": metadata}
        self._now = self._begin(start)

    def _begin(self, attributes: dict[str, Any]) -> Any:
        now = self._context.subcontext(task_name="iteration")
        now.call_on_fit_task_begin(estimator=self._estimator, reconstruction_attributes=attributes, **self._shown)
        return now

    def step(self, attributes: dict[str, Any]) -> None:
        """An iteration has ended with these attributes."""
        self._now.call_on_fit_task_end(estimator=self._estimator, reconstruction_attributes=attributes, **self._shown)
        self._now = self._begin(attributes)

    def close(self) -> None:
        """There are no more."""
        self._now.call_on_fit_task_end(estimator=self._estimator)
