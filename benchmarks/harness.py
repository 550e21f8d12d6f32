"""Timing in turn, threads, the machine, and how results are kept.

Candidates of a case run one after the other, again and again, so that a change of the machine's speed meets all of
them; medians are compared. Between two runs there is a pause in which the threads of the last one stop spinning.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
# Seconds. Measured: OpenBLAS's second thread spins for 80 ms after a call, on the core that the next call needs.
LONGEST_PAUSE = 0.3
SLICE = 0.01
IDLE = 0.001  # of the process's time in a slice: nobody spins


def settle() -> None:
    """Pause until no thread of this process computes or spins: a slice at least, `LONGEST_PAUSE` at most."""
    end = time.perf_counter() + LONGEST_PAUSE
    while time.perf_counter() < end:
        busy = time.process_time()
        time.sleep(SLICE)
        if time.process_time() - busy < IDLE:
            return


def times_in_turn(candidates: Mapping[str, Callable[[], Any]], turns: Mapping[str, int]) -> dict[str, list[float]]:
    """The seconds of each candidate's runs, taken in turn; one with fewer turns leaves out the last rounds."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(max(turns.values(), default=0)):
        for name, run in candidates.items():
            if turn < turns[name]:
                settle()
                start = time.perf_counter()
                result = run()
                times[name].append(time.perf_counter() - start)
                del result  # after the clock: what freeing costs is the caller's
    return times


def in_turn(candidates: Mapping[str, Callable[[], Any]], repeats: int = 9) -> dict[str, float]:
    """The median seconds of each candidate over runs taken in turn, after one run that is not counted."""
    times = times_in_turn(candidates, dict.fromkeys(candidates, repeats + 1))
    return {name: statistics.median(t[1:]) for name, t in times.items()}


def pin(threads: int) -> None:
    """Give the libraries that are not loaded yet, and the process, no more than this many processors.

    JAX takes its threads from the processors that the process may use, or one where `XLA_FLAGS` says so, both read when
    it is first used; the BLAS libraries read the environment when they are loaded; `pinned` does the rest.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "XENT_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA explains at length what it does to constants
    if threads == 1:
        one = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {one}".strip()
    if hasattr(os, "sched_setaffinity"):
        given = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, given[: max(1, threads)])


@contextlib.contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Run every library that is loaded by now on this many threads: xent, PyTorch, and all of BLAS and OpenMP.

    scikit-learn's losses take ``n_threads`` as an argument; for JAX see `pin`.
    """
    import sys

    import threadpoolctl

    import xent

    torch: Any = sys.modules.get("torch")
    before = xent.get_num_threads(), torch and torch.get_num_threads()
    xent.set_num_threads(threads)
    if torch:
        torch.set_num_threads(threads)
    try:
        with threadpoolctl.threadpool_limits(threads):
            yield
    finally:
        xent.set_num_threads(before[0])
        if torch:
            torch.set_num_threads(before[1])


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    from xent.kernels import cpu

    return {
        "cpu": model,
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "levels": cpu.levels(),
        "python": platform.python_version(),
    }


def versions(*names: str) -> dict[str, str]:
    """The versions of the packages that are installed among these."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit that runs, with a mark where files differ from it."""
    try:
        here = Path(__file__).parent
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "../src", "../cpp", ".", ":!results"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
        return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as text: the first column to the left, the others to the right."""
    cells = [[_show(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    lines = []
    for line in [columns, *cells]:
        first, *others = zip(line, widths, strict=True)
        lines.append("  ".join([first[0].ljust(first[1]), *(v.rjust(w) for v, w in others)]))
    return "\n".join(lines)


def report(name: str, rows: list[dict[str, Any]], columns: list[str], keep: bool, **about: Any) -> None:
    """Print rows as a table and one JSON line last; with `keep`, write the JSON under results/ too."""
    print(table(rows, columns))
    finish(record(name, rows=rows, **about), keep)


def record(name: str, **about: Any) -> dict[str, Any]:
    """What was measured, with the day, the commit and the machine."""
    return {
        "benchmark": name,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        **about,
    }


def beside_kept(name: str, rows: list[dict[str, Any]], key: str, order: Iterable[str]) -> list[dict[str, Any]]:
    """Rows with those kept earlier of cases that are not among them, in the cases' order, each with its commit."""
    path = RESULTS / f"{name}.json"
    rows = [{"commit": commit(), **r} for r in rows]
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        new = {r[key] for r in rows}
        rows += [{"commit": kept["commit"], **r} for r in kept["rows"] if r[key] not in new]
    places = {case: i for i, case in enumerate(order)}
    return sorted((r for r in rows if r[key] in places), key=lambda r: places[r[key]])


def finish(found: dict[str, Any], keep: bool) -> None:
    """Keep a record under results/ where asked, and print it, one JSON line, last of all."""
    if keep:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{found['benchmark']}.json"
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"kept in {os.path.relpath(path)}")
    print(json.dumps(found))


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
