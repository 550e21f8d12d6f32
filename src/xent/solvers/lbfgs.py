"""L-BFGS, by SciPy's L-BFGS-B (Zhu, Byrd, Lu & Nocedal, ACM TOMS 23(4), 1997), stopped by the problem's own measure."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import LbfgsInvHessProduct, minimize

from .problem import Callback, Problem, Solution

POLISHING = 10  # steps by the gradient alone, where the line search ends
LEVEL = 1e-5  # of a first gradient
MEMORY = 20  # pairs kept: more pairs need fewer passes over the data, and these vectors are short beside it
# Numbers in all pairs, from which on fewer are kept (but five): tens of thousands of classes make long vectors.
MOST_KEPT = 2**28


class _Watch:
    """Remembers the last evaluation, so that the stopping test costs none.

    Its coordinates are the problem's over `unit`. SciPy's first step has the length 1, whatever the gradient: over the
    length of the first gradient it is about the step that coordinates near those of Newton's method ask for.
    """

    def __init__(self, problem: Problem, start: Any) -> None:
        self.problem, self.n_eval = problem, 0
        self.x: Any = None
        self.gradient: Any = None
        self.value, self.measure = np.inf, np.inf
        self.unit = 1.0
        _, gradient = self(start)
        length = float(np.linalg.norm(gradient))
        # where such a step changes the value by no more than rounding, SciPy's search finds more from far away
        if LEVEL < length < np.inf:
            self.unit = float(2.0 ** np.floor(np.log2(length)))  # a power of two rounds nothing
            self.x, self.gradient = start / self.unit, self.unit * gradient

    def __call__(self, v: Any) -> tuple[float, Any]:
        if self.x is not None and np.array_equal(v, self.x):  # where SciPy begins
            return self.value, self.gradient
        value, gradient = self.problem.value_and_grad(v * self.unit)
        self.n_eval += 1
        self.x, self.value, self.measure = v.copy(), value, self.problem.convergence(gradient)
        self.gradient = gradient * self.unit
        return value, self.gradient

    def measure_at(self, x: Any) -> float:
        if self.x is None or not np.array_equal(x, self.x):
            self(x)
        return self.measure


def lbfgs(
    problem: Problem,
    start: Any,
    *,
    tol: float,
    max_iter: int,
    callback: Callback | None = None,
) -> Solution:
    """Minimise from `start` until ``problem.convergence <= tol`` in coordinates that fit the minimum.

    After ``problem.patience`` iterations, and before it stops, the problem is asked whether its coordinates are stale;
    then it goes on in new ones. So the measure that ends the run is one that holds where the run ends.

    Parameters
    ----------
    problem : Problem
    start : array
        Parameters (not coordinates).
    tol : float
        In the units of ``problem.convergence``.
    max_iter : int
        Most iterations.
    callback : callable, optional
        Called with the parameters, the value and the convergence after each iteration.

    Returns
    -------
    Solution
    """
    theta, n_iter, n_eval, renewals, retried = start, 0, 0, 0, False
    last = (np.inf, np.inf)
    while True:
        asked, rough = min(problem.patience, max_iter - n_iter), problem.rough
        found = _run(problem, problem.to_coordinates(theta), tol, asked, callback)
        if found.n_iter:  # else the very point: the way there and back would round it
            theta = problem.to_parameters(found.x)
        n_iter, n_eval = n_iter + found.n_iter, n_eval + found.n_eval
        # rounding can end a run after an iteration that went nowhere: the next one would do the same
        moved = found.value < last[0] or found.convergence < last[1]
        # and rough values end it in their noise, which still lets them fall a little
        noise = rough and problem.rough and found.n_iter < asked
        stuck = not found.converged and (found.n_iter == 0 or not moved or noise)
        last = (found.value, found.convergence)
        if n_iter >= max_iter or renewals > max_iter or (stuck and retried and not problem.is_stale(theta)):
            break
        if found.converged and not found.n_iter and renewals:  # in coordinates made at this very point
            break
        left = 1.0 if found.converged else found.convergence / tol if tol > 0 else np.inf
        if stuck or problem.is_stale(theta, left):
            problem, renewals = problem.renewed(theta, stuck), renewals + 1
            if stuck and not retried:  # what is computed more exactly now may be a little larger
                retried, last = True, (np.inf, np.inf)
        elif found.converged:
            break
    return Solution(theta, found.value, found.convergence, n_iter, n_eval, found.converged, found.message)


def _run(problem: Problem, start: Any, tol: float, max_iter: int, callback: Callback | None) -> Solution:
    """L-BFGS in one set of coordinates; the point it gives is in these."""
    watch = _Watch(problem, start)
    value = watch.value
    if watch.measure <= tol or max_iter == 0:
        done = watch.measure <= tol
        return Solution(start, value, watch.measure, 0, 1, done, "converged" if done else "no iterations left")

    def after_iteration(intermediate_result: Any) -> None:
        measure = watch.measure_at(intermediate_result.x)
        if callback is not None:
            callback(problem.to_parameters(intermediate_result.x * watch.unit), float(intermediate_result.fun), measure)
        if measure <= tol:
            raise StopIteration

    pairs = max(5, min(MEMORY, MOST_KEPT // (2 * max(1, start.size))))
    # ftol 0: never stop because the value moves little, which is where badly scaled problems are left unsolved
    options = {"maxiter": max_iter, "maxfun": 20 * max_iter + 50, "maxcor": pairs, "ftol": 0, "gtol": 0}
    options["maxls"] = 4 if problem.rough else 50
    found = minimize(watch, watch.x, jac=True, method="L-BFGS-B", callback=after_iteration, options=options)
    x, value, measure, n_iter = found.x, float(found.fun), watch.measure_at(found.x), int(found.nit)
    # where values agree to rounding the line search ends, but gradients still tell points apart
    inverse = None  # a copy of all pairs: for those who need it
    while tol < measure and n_iter < max_iter and n_iter < found.nit + POLISHING:
        if inverse is None:
            inverse = LbfgsInvHessProduct(found.hess_inv.sk * watch.unit, found.hess_inv.yk / watch.unit)
        value_there, _ = watch(x - inverse.matvec(watch.gradient) / watch.unit**2)
        if not watch.measure < 0.9 * measure:
            break
        x, value, measure, n_iter = watch.x, value_there, watch.measure, n_iter + 1
        if callback is not None:
            callback(problem.to_parameters(x * watch.unit), value, measure)
    converged = measure <= tol
    message = "converged" if converged else str(found.message).rstrip(".")
    return Solution(x * watch.unit, value, measure, n_iter, watch.n_eval, converged, message)
