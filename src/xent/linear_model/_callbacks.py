"""scikit-learn's callbacks (1.9 and later): a task for the fit, and one below it for each iteration."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has none

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """The method as it is."""
        return method


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
        now.call_on_fit_task_begin(
            estimator=self._estimator, reconstruction_attributes=attributes, **self._shown
        )
        return now

    def step(self, attributes: dict[str, Any]) -> None:
        """An iteration has ended with these attributes."""
        self._now.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=attributes, **self._shown
        )
        self._now = self._begin(attributes)

    def close(self) -> None:
        """There are no more."""
        self._now.call_on_fit_task_end(estimator=self._estimator)
