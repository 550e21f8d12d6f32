"""Whole fits of xent on one thread and on more, in turn and by the clock: how much of a fit more threads share."""

from __future__ import annotations

import os
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from ..harness import pinned, settle
from ..kernels.limits import reading
from .data import Case, load, make
from .peers import PEERS, Fitted, Problem
from .work import FIRST, judged, problem, timed

COLUMNS = ["case", "target", "tol", "threads"]
COLUMNS += ["wall s 1", "wall s", "ratio", "cpu s 1", "cpu s", "reading X", "other work"]
READS = 5  # of X, by each way


def busy() -> float:
    """Seconds that all processors together have worked since the system began; NaN where it does not say."""
    try:
        fields = Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    except OSError:
        return float("nan")
    user, nice, system, _, _, interrupts, softer, stolen = map(int, fields[:8])
    return (user + nice + system + interrupts + softer + stolen) / os.sysconf("SC_CLK_TCK")


def bandwidth(X: Any, counts: list[int]) -> dict[int, float]:
    """Bytes a second at which X is read, by each number of threads: the quickest run of the best way."""
    arrays = [X.data, X.indices] if sparse.issparse(X) else [X]
    best = dict.fromkeys(counts, np.inf)
    with pinned(1), warnings.catch_warnings():  # the ways bring their own threads, and some overflow
        warnings.simplefilter("ignore")
        for _ in range(READS):
            for n in counts:
                for run in reading(arrays, n).values():
                    start = time.perf_counter()
                    run()
                    best[n] = min(best[n], time.perf_counter() - start)
    return {n: sum(a.nbytes for a in arrays) / seconds for n, seconds in best.items()}


def tolerance(p: Problem, target: float, tolerances: tuple[float, ...], budget: float) -> float | None:
    """The largest of the tolerances whose fit meets the target; None where a fit takes longer than the budget."""
    for tol in tolerances:
        start = time.perf_counter()
        found = PEERS["xent"].fit(p, tol)
        if time.perf_counter() - start > budget:
            return None
        if judged(p, found)[1] <= target:
            return tol
    return None


def measured(p: Problem, tol: float, counts: list[int], repeats: int) -> tuple[dict[int, Any], bool, float]:
    """Medians of wall and processor's seconds by number of threads; whether all found the same; others' processors.

    Runs are taken in turn; a run is as many fits as take a quarter of a second.
    """
    times: dict[int, list[tuple[float, float]]] = {n: [] for n in counts}
    results: list[Fitted] = []
    own = all_of_them = wall = 0.0
    for turn in range(repeats + 1):
        for n in counts:
            with pinned(n):
                settle()
                before, clock, used = busy(), time.perf_counter(), time.process_time()
                found, cpu, seconds = timed(lambda: PEERS["xent"].fit(p, tol))
                all_of_them += busy() - before
                own += time.process_time() - used
                wall += time.perf_counter() - clock
            results.append(found)
            if turn:  # the first finds memory that is new to it
                times[n].append((seconds, cpu))
    same = all(np.array_equal(f.W, results[0].W) and np.array_equal(f.b, results[0].b) for f in results)
    medians = {n: tuple(map(statistics.median, zip(*t, strict=True))) for n, t in times.items()}
    return medians, same, max(0.0, all_of_them - own) / wall


def run_case(
    name: str,
    case: Case,
    folder: str,
    targets: list[float],
    tolerances: tuple[float, ...],
    *,
    threads: int,
    repeats: int,
    budget: float,
) -> list[dict[str, Any]]:
    """The rows of one case: a target each."""
    make(case, Path(folder))
    X, y = load(case, Path(folder))
    p, rows = problem(case, X, y), []
    counts = [1, threads]
    speed = bandwidth(X, counts)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pinned(threads):
            PEERS["xent"].fit(problem(case, X[:FIRST], np.unique(y[:FIRST], return_inverse=True)[1]), 1e-1)
        for target in targets:
            with pinned(threads):
                tol = tolerance(p, target, tolerances, budget)
            if tol is None:
                print(f"   {target:g}: not within the budget", flush=True)
                continue
            found, same, others = measured(p, tol, counts, repeats)
            (wall, cpu), (first, alone) = found[threads], found[1]
            rows.append(
                {
                    "case": name,
                    "target": target,
                    "tol": tol,
                    "threads": threads,
                    "wall s 1": first,
                    "wall s": wall,
                    "ratio": first / wall,
                    "cpu s 1": alone,
                    "cpu s": cpu,
                    "reading X": speed[threads] / speed[1],
                    "GB/s": speed[threads] / 1e9,
                    "GB/s 1": speed[1] / 1e9,
                    "same bits": same,
                    "other work": others,
                    "runs": repeats,
                }
            )
            print(f"   {target:g}: {first:.4g} s on one thread, {wall:.4g} on {threads}", flush=True)
            if not same:
                print("   the coefficients differ with the number of threads", flush=True)
    return rows
