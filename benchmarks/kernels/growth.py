"""How the time grows with the shape, and falls with the threads."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from ..harness import pinned, times_in_turn
from .case import AbsentError, Case, family, make

# What stands for each letter where another grows, and the sizes of the one that does.
AXES: dict[str, tuple[dict[str, int], dict[str, list[int]]]] = {
    "logits": (
        {"N": 4096, "K": 1000},
        {"N": [1024, 4096, 16384, 65536, 131072], "K": [16, 64, 256, 1024, 4096, 16384, 32768]},
    ),
    "linear": (
        {"N": 8192, "D": 256, "K": 1000},
        {"N": [1024, 4096, 16384, 65536], "D": [16, 64, 256, 1024], "K": [2, 16, 64, 256, 1024, 4096]},
    ),
}
THREADED = [
    Case("logits", (65536, 1000)),
    Case("linear", (20_000, 256, 1000), what="all gradients"),
    Case("linear", (60_000, 784, 10), what="gradients in w"),
]
SCALED = ("xent", "torch eager", "scikit-learn")
REPEATS = 5


def slope(sizes: list[int], times: list[float]) -> float:
    """The power of the size that the time grows with: a line through the logarithms of the larger half."""
    some = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[some:]), np.log(times[some:]), 1)[0])


def growth(threads: int, small: bool = False) -> dict[str, dict[str, Any]]:
    """For each family and letter: sizes, milliseconds of xent's kernel, and the slope."""
    found: dict[str, dict[str, Any]] = {}
    for name, (fixed, axes) in AXES.items():
        found[name] = {}
        for letter, sizes in axes.items():
            sizes = sizes[:3] if small else sizes
            with pinned(threads):
                runs = {}
                for size in sizes:
                    what = "all gradients" if name == "linear" else "loss and gradient"
                    case = Case(name, tuple({**fixed, letter: size}.values()), what=what)
                    runs[size] = make(case, "xent", family(case).data(case), threads, np.inf).run
                    runs[size]()
                times = times_in_turn(runs, dict.fromkeys(runs, REPEATS))
            medians = [statistics.median(times[s]) for s in sizes]
            found[name][letter] = {
                "fixed": {k: v for k, v in fixed.items() if k != letter},
                "sizes": sizes,
                "ms": [1e3 * m for m in medians],
                "slope": slope(sizes, medians),
            }
    return found


def scaling(threads: int, cases: list[Case] | None = None) -> list[dict[str, Any]]:
    """The time of each candidate on 1, 2, 4 ... threads, in turn, and how many times faster the most are than one.

    JAX takes its threads when it starts, so it is not among them.
    """
    rows = []
    counts = sorted({1, *(2**i for i in range(1, 10) if 2**i <= threads), threads})
    for case in THREADED if cases is None else cases:
        data = family(case).data(case)
        for name in SCALED:
            row: dict[str, Any] = {"case": case.name, "candidate": name}
            try:
                runs = {count: make(case, name, data, count, np.inf).run for count in counts}
            except AbsentError as reason:
                rows.append({**row, "absent": str(reason)})
                continue
            times: dict[int, list[float]] = {count: [] for count in counts}
            for _ in range(REPEATS):
                for count, run in runs.items():
                    with pinned(count):  # the first of two runs starts the threads
                        times[count].append(times_in_turn({name: run}, {name: 2})[name][-1])
            medians = {count: 1e3 * statistics.median(t) for count, t in times.items()}
            row["ms"] = {str(count): ms for count, ms in medians.items()}
            rows.append({**row, "speed-up": medians[1] / medians[counts[-1]]})
    return rows
