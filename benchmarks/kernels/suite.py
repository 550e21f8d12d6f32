"""The command: ``python -m benchmarks``. Every case against every installed peer and against the machine's limits.

A candidate's answer is checked before it is timed. Times are medians of runs taken in turn, on the same threads for
every library; memory is the peak of one call in a process of its own. Last comes one JSON line.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Any

from ..harness import RESULTS, finish, pin, record, table, versions
from .case import Case
from .cases import everything, quick
from .run import Options, measure

PACKAGES = ("xent", "numpy", "scipy", "scikit-learn", "torch", "jax", "jaxlib", "optax", "ml_dtypes", "threadpoolctl")
PEERS = ("torch", "jax", "optax", "scipy", "scikit-learn")
EXTRAS = ("threads", "growth")
COLUMNS = ("candidate", "ms", "/ limit", "/ xent", "peak MiB", "spare MiB", "remarks")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    given = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--threads", type=int, default=min(2, given), help="for every library (2)")
    parser.add_argument("--repeats", type=int, default=7, help="most runs of a candidate (7)")
    parser.add_argument("--budget", type=float, default=1.5, help="seconds for all runs of a slow peer in a case (1.5)")
    parser.add_argument("--most", type=float, default=14.0, help="GB that a candidate may need for logits (14)")
    parser.add_argument("--only", metavar="PATTERN", help=f"cases whose name matches; also {' and '.join(EXTRAS)}")
    parser.add_argument("--without", metavar="NAME", action="append", default=[], help="leave a candidate out")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument("--quick", action="store_true", help="a few small cases, without torch.compile: a minute or so")
    parser.add_argument("--keep", action="store_true", help="write results/kernels.json and kernels.png")
    parser.add_argument("--list", action="store_true", help="print the cases and end")
    options = parser.parse_args(arguments)
    if not 1 <= options.threads <= given:
        parser.error(f"--threads is from 1 to the {given} processors given to this process, not {options.threads}")
    if options.keep and (options.quick or options.only):
        parser.error("--keep is for the whole run: without --quick and --only")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep where asked."""
    given = parse(arguments)
    cases = quick() if given.quick else everything()
    extras = list(EXTRAS)
    if given.only:
        cases = [c for c in cases if re.search(given.only, c.name)]
        extras = [e for e in extras if re.search(given.only, e)]
    if given.list:
        print(*(c.name for c in cases), *extras, sep="\n")
        return
    if not cases and not extras:
        sys.exit(f"no case matches {given.only!r}: --list shows them")
    pin(given.threads)
    options = _options(given)
    start = time.perf_counter()
    rows = [_one(case, options) for case in cases]
    found: dict[str, Any] = {"threads": given.threads, "rows": rows}
    found |= _extras(extras, given.threads, given.quick)
    installed = versions(*PACKAGES)
    found |= {"versions": installed, "absent": [p for p in PEERS if p not in installed]}
    found["seconds"] = round(time.perf_counter() - start, 1)
    summary(found)
    whole = record("kernels", **found)
    if given.keep:
        _draw(whole)
    finish(whole, given.keep)


def _options(given: argparse.Namespace) -> Options:
    if given.quick:
        without = (*given.without, "torch.compile")
        return Options(given.threads, min(3, given.repeats), 0.3, given.most, not given.no_memory, without)
    memory = not given.no_memory
    return Options(given.threads, given.repeats, given.budget, given.most, memory, tuple(given.without))


def _one(case: Case, options: Options) -> dict[str, Any]:
    """A case's record, printed; a case that fails is one that says so."""
    try:
        row = measure(case, options)
    except Exception as error:
        print(f"\n{case.name}: failed\n  {type(error).__name__}: {error}", flush=True)
        return {"case": case.name, "failed": f"{type(error).__name__}: {error}"}
    show(row)
    return row


def show(row: dict[str, Any]) -> None:
    """Print a case: the limit, each candidate, and what has been missed."""
    how = row["limits"][row["limit"]].get("way")
    print(f"\n{row['case']}\n  limit: {row['limit']}{f' ({how})' if how else ''}, {row['limit ms']:.4g} ms")
    lines = []
    for name, values in row["candidates"].items():
        remarks = [values[k] for k in ("absent", "failed", "peak failed") if k in values]
        if values.get("agrees") is False:
            worst = max(values["errors"].items(), key=lambda kv: kv[1], default=("none of the answers", float("nan")))
            remarks.append(f"inexact: {worst[0]} off by {worst[1]:.1e}")
        lines.append({**values, "candidate": f"  {name}", "remarks": "; ".join(remarks)})
    print(table(lines, list(COLUMNS)))
    for target in row["targets"]:
        print(f"  {'met' if target['met'] else 'MISSED'}: {target['what']} {target['asked']}: {target['got']:.3g}")
    sys.stdout.flush()


def _extras(names: list[str], threads: int, small: bool) -> dict[str, Any]:
    """Scaling with threads, and growth with the shape."""
    from .growth import growth, scaling

    found: dict[str, Any] = {}
    if "threads" in names:
        found["scaling"] = scaling(threads, [Case("logits", (4096, 1000))] if small else None)
        rows = [{**r, **{f"{n} threads": ms for n, ms in r.get("ms", {}).items()}} for r in found["scaling"]]
        counts = sorted({k for r in rows for k in r if k.endswith(" threads")})
        print("\nmilliseconds by threads")
        print(table(rows, ["case", "candidate", *counts, "speed-up", "absent"]))
    if "growth" in names:
        found["growth"] = growth(threads, small)
        print("\nmilliseconds as one size grows, and the power it grows with")
        for name, axes in found["growth"].items():
            for letter, axis in axes.items():
                points = "  ".join(f"{s}: {ms:.3g}" for s, ms in zip(axis["sizes"], axis["ms"], strict=True))
                fixed = ", ".join(f"{k} = {v}" for k, v in axis["fixed"].items())
                print(f"  {name}, {letter} ({fixed}): {points}; slope {axis['slope']:.2f}")
    return found


def summary(found: dict[str, Any]) -> None:
    """What was missed, what disagreed, what failed."""
    rows = found["rows"]
    targets = [(r["case"], t) for r in rows for t in r.get("targets", [])]
    missed = [(c, t) for c, t in targets if not t["met"]]
    print(f"\n{len(targets) - len(missed)} of {len(targets)} targets met, in {found['seconds']:.0f} s")
    for case, target in missed:
        print(f"  missed: {case}: {target['what']} {target['asked']}: {target['got']:.3g}")
    for row in rows:
        if "failed" in row:
            print(f"  failed: {row['case']}: {row['failed']}")
        for name, values in row.get("candidates", {}).items():
            if values.get("agrees") is False:
                print(f"  inexact: {row['case']}: {name}: {values['errors']}")
            if "failed" in values:
                print(f"  failed: {row['case']}: {name}: {values['failed']}")
    if found["absent"]:
        print(f"  not installed: {', '.join(found['absent'])}")


def _draw(whole: dict[str, Any]) -> None:
    try:
        from .picture import draw
    except ImportError as error:
        print(f"no picture: {error}")
        return
    RESULTS.mkdir(exist_ok=True)
    draw(whole, RESULTS / "kernels.png")
