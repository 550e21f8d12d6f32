"""Timing in turn, the machine, and how results are kept.

Candidates of a case run one after the other, again and again, so that a change of the machine's speed meets all of
them; medians are compared. Between two runs there is a pause in which the threads of the last one stop spinning.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PAUSE = 0.15  # seconds; measured: OpenBLAS's second thread spins for 80 ms after a call, on the core the next one needs


def in_turn(candidates: dict[str, Callable[[], Any]], repeats: int = 9) -> dict[str, float]:
    """The median seconds of each candidate over runs taken in turn, after one run that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(t) for name, t in times.items()}


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


def report(name: str, rows: list[dict[str, Any]], columns: list[str], keep: bool, **about: Any) -> None:
    """Print rows as a table and one JSON line last; with `keep`, write the JSON under results/ too."""
    cells = [[_show(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(c), *(len(r[i]) for r in cells)) for i, c in enumerate(columns)]
    for line in [columns, *cells]:
        first, *others = zip(line, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(v.rjust(w) for v, w in others)]))
    record = {
        "benchmark": name,
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        **about,
        "rows": rows,
    }
    print(json.dumps(record))
    if keep:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{name}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(f"kept in {path.relative_to(Path(__file__).parent.parent)}")


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
