"""Peak memory of a candidate: one call in a process of its own. Run by `run`, not by hand."""

from __future__ import annotations

import ctypes
import dataclasses
import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from .case import MIB, Case, check_size, family, make

PATIENCE = 300  # seconds


def peak(case: Case, name: str, threads: int, most: float) -> dict[str, Any]:
    """MiB that one call takes beyond its inputs, what it returns included, or why that is not known."""
    asked = json.dumps({"case": dataclasses.asdict(case), "name": name, "threads": threads, "most": most})
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-m", __name__, asked]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=PATIENCE)
        if done.returncode:
            return {"peak failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:200]}
        return json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"peak failed": f"over {PATIENCE} seconds"}


def _status(field: str) -> float:
    """A line of the process's status, in MiB."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(field)) * 1024 / MIB


def _measure(case: Case, name: str, threads: int, most: float) -> dict[str, Any]:
    """The highest resident size during a call over that before it.

    What a first call loads and starts is left out by calling on a few rows first; what a compiler leaves behind, by
    compiling first.
    """
    from ..harness import pinned

    cases, small = family(case), case.tiny()
    check_size(case, name, most)  # before its data is made
    with pinned(threads):
        make(small, name, cases.data(small), threads, most).run()
        candidate = make(case, name, cases.data(case), threads, most)
    with pinned(threads):  # again: by now every library is loaded
        if cases.CANDIDATES[name].compiled:
            candidate.run()
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        before = _status("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts from here
        found = candidate.run()
        top = _status("VmHWM")
        del found
    return {"peak MiB": round(top - before, 1)}


def main() -> None:
    """Measure what the argument says, as JSON, and print the answer as JSON."""
    asked = json.loads(sys.argv[1])
    from ..harness import pin

    pin(asked["threads"])
    fields = asked["case"]
    case = Case(**{**fields, "shape": tuple(fields["shape"])})
    if not Path("/proc/self/clear_refs").exists():
        print(json.dumps({"peak failed": "only Linux tells a process its peak since a moment"}))
        return
    print(json.dumps(_measure(case, asked["name"], asked["threads"], asked["most"])))


if __name__ == "__main__":
    main()
