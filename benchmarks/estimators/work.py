"""One fit in a process of its own: ``python -m benchmarks.estimators.work CASE PEER TOL FOLDER THREADS``."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from .data import CASES, Case, load
from .judge import at_zero, largest, largest_penalty
from .peers import PEERS, Fitted, Problem

SHORT = 0.25  # seconds: some systems count the processor's time in ticks of 10 ms
FIRST = 600  # rows of the fit that loads and compiles


def problem(case: Case, X: Any, y: np.ndarray) -> Problem:
    """The case's objective."""
    classes = int(y.max()) + 1
    if not case.l1:
        return Problem(X, y, classes, 0.0, 1 / len(y), np.zeros(1))
    top = largest_penalty(X, y, 1 if classes == 2 else classes)
    # a path starts below the strength that gives nothing
    path = top * np.geomspace(1, case.l1, case.points + 1)[1:]
    return Problem(X, y, classes, float(path[-1]), 0.0, path)


def judged(p: Problem, found: Fitted) -> tuple[float, float]:
    """The objective, and its gradient over that at zero, both of what this peer minimises."""
    l2 = p.l2 if found.penalised else 0.0
    X, W, b = p.X, found.W, found.b
    if found.intercept == "penalised":  # the coefficient of one more column
        one = np.ones((X.shape[0], 1))
        X = sparse.hstack([X, one]).tocsr() if sparse.issparse(X) else np.hstack([X, one])
        W, b = np.hstack([W, b[:, None]]), np.zeros(len(W))
    value, size = largest(X, p.y, W, b, p.l1, l2, free=found.intercept == "free")
    return value, size / at_zero(p.X, p.y, len(found.W))


def peak() -> float:
    """The process's largest memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * (1024 if sys.platform == "darwin" else 1))


def allow(seconds: float | None) -> None:
    """End the process when it has used this much more of the processor: a machine with other work changes nothing."""
    soft = resource.RLIM_INFINITY if seconds is None else int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def timed(fit: Callable[[], Fitted]) -> tuple[Fitted, float, float]:
    """What it gives, and the seconds of the processor and of the clock that it takes: short ones again and again."""
    cpu, wall, runs = time.process_time(), time.perf_counter(), 0
    while runs == 0 or time.process_time() - cpu < SHORT:
        found = fit()
        runs += 1
    return found, (time.process_time() - cpu) / runs, (time.perf_counter() - wall) / runs


def run(name: str, peer: str, tol: float, folder: str, threads: int, budget: float) -> dict[str, Any]:
    """Fit, time and judge."""
    import threadpoolctl

    import xent

    xent.set_num_threads(threads)
    case = CASES[name]
    X, y = load(case, Path(folder))
    p = problem(case, X, y)
    fit = PEERS[peer].fit
    warnings.simplefilter("ignore")
    with threadpoolctl.threadpool_limits(threads):
        fit(problem(case, X[:FIRST], np.unique(y[:FIRST], return_inverse=True)[1]), 1e-1)
        before = peak()
        allow(budget)
        found, cpu, wall = timed(lambda: fit(p, tol))
        allow(None)
    extra = peak() - before
    value, relative = judged(p, found)
    return {
        "cpu": cpu,
        "wall": wall,
        "gradient": relative,
        "objective": value,
        "iterations": found.iterations,
        "extra_mib": extra,
        "intercept": found.intercept,
        "nonzero": int(np.count_nonzero(found.W)),
    }


if __name__ == "__main__":
    case, peer, tol, folder, threads, budget = sys.argv[1:]
    output = os.dup(1)
    os.dup2(2, 1)  # what solvers print is no result
    result = run(case, peer, float(tol), folder, int(threads), float(budget))
    os.write(output, (json.dumps(result) + "\n").encode())
