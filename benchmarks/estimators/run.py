"""The command: which fits run, in what order, and what is shown."""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..harness import beside_kept, finish, record, table, versions
from . import scaling
from .data import CASES, Case, load, make
from .peers import PEERS
from .work import problem

TARGETS = (1e-3, 1e-6, 1e-8)
TOLERANCES = tuple(10.0**-k for k in range(2, 13))
STALLED = 4  # tolerances that change nothing
AS_IT_COMES = "xent as it comes"


def fit(name: str, peer: str, tol: float, folder: str, threads: int, budget: float) -> dict[str, Any] | None:
    """One fit in its own process; None where it did not end within the budget of seconds, or failed."""
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    for variable in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_MAX_THREADS",
    ):
        env[variable] = str(threads)
    command = [
        sys.executable,
        "-m",
        "benchmarks.estimators.work",
        name,
        peer,
        str(tol),
        folder,
        str(threads),
        str(budget),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=10 * budget + 120)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        if done.returncode > 0:
            print(f"   {peer}: {lines[-1] if lines else done.returncode}"[:160], flush=True)
        return None
    found = json.loads(done.stdout.splitlines()[-1])
    return found if found["cpu"] <= budget else None


def tolerances(
    name: str, peer: str, folder: str, threads: int, budget: float, targets: list[float]
) -> dict[float, Any]:
    """For each target the largest tolerance that meets it, and that fit: of powers of ten, and half way to the next one
    where the gradient is below a third of the target.
    """
    chosen: dict[float, Any] = {}
    gradients: list[float] = []
    for tol in (0.0,) if peer == AS_IT_COMES else TOLERANCES:
        found = fit(name, peer, tol, folder, threads, budget)
        if found is None:
            break
        gradients.append(found["gradient"])
        if len(gradients) > STALLED and gradients[-1] > 0.5 * gradients[-1 - STALLED]:
            break
        for target in targets:
            if target not in chosen and found["gradient"] <= target:
                chosen[target] = (tol, found)
        if len(chosen) == len(targets):
            break
    for target, (tol, found) in list(chosen.items()):
        if tol and 3 * found["gradient"] < target:
            between = fit(name, peer, tol * 10**0.5, folder, threads, budget)
            if between is not None and between["gradient"] <= target and between["cpu"] < found["cpu"]:
                chosen[target] = (tol * 10**0.5, between)
    return chosen


def run_case(name: str, case: Case, folder: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one case."""
    make(case, Path(folder))
    X, y = load(case, Path(folder))
    posed = problem(case, X[:2000], y[:2000] if y.max() == 1 else np.r_[y[:1999], y.max()])
    peers = [n for n, p in PEERS.items() if re.search(options.peers, n) and versions(p.package) and p.takes(posed)]
    del X, posed
    chosen = {}
    for peer in peers:
        chosen[peer] = tolerances(name, peer, folder, options.threads, options.budget, options.targets)
        reached = {t: round(f["cpu"], 3) for t, (_, f) in chosen[peer].items()}
        print(f"   {peer}: {reached or 'not within the budget'}", flush=True)
    rows = []
    for target in options.targets:
        runs: dict[str, list[dict[str, Any]]] = {p: [chosen[p][target][1]] for p in peers if target in chosen[p]}
        for _ in range(options.repeats - 1):
            for peer, done in runs.items():
                again = fit(name, peer, chosen[peer][target][0], folder, options.threads, options.budget)
                if again:
                    done.append(again)
        rows += sorted(
            (row(name, target, p, chosen[p][target][0], done) for p, done in runs.items()), key=lambda r: r["cpu s"]
        )
    best = {t: [r["cpu s"] for r in rows if r["target"] == t and r["peer"] == "xent"] for t in options.targets}
    for r in rows:
        if best[r["target"]]:
            r["times xent"] = r["cpu s"] / best[r["target"]][0]
    return rows


def row(name: str, target: float, peer: str, tol: float, done: list[dict[str, Any]]) -> dict[str, Any]:
    """What is shown of a peer's fits."""
    found = done[0]
    return {
        "case": name,
        "target": target,
        "peer": peer + {"free": "", "none": " ‡", "penalised": " †"}[found["intercept"]],
        "tol": tol,
        "cpu s": statistics.median(d["cpu"] for d in done),
        "wall s": statistics.median(d["wall"] for d in done),
        "iterations": found["iterations"],
        "gradient": found["gradient"],
        "objective": found["objective"],
        "extra MiB": found["extra_mib"],
        "runs": len(done),
    }


def by_threads(options: argparse.Namespace) -> None:
    """Measure xent's fits on one thread and on several, print, and keep where asked."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, case in CASES.items():
            if re.search(options.only, name):
                print(f"== {name}", flush=True)
                rows += scaling.run_case(
                    name,
                    case,
                    options.folder or temporary,
                    options.targets,
                    TOLERANCES,
                    threads=options.threads,
                    repeats=options.repeats,
                    budget=options.budget,
                )
    print(table(rows, scaling.COLUMNS))
    print("reading X: how much faster so many threads read it; other work: processors that others kept busy meanwhile")
    if options.keep and options.only:
        rows = beside_kept("scaling", rows, "case", CASES)
    finish(record("scaling", versions=versions("xent", "numpy", "scipy"), rows=rows), options.keep)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep where asked."""
    parser = argparse.ArgumentParser(prog="benchmarks estimators", description=__doc__)
    parser.add_argument("--only", default="", help="cases, by regular expression")
    parser.add_argument("--peers", default="", help="peers, by regular expression")
    parser.add_argument("--targets", type=float, nargs="+", default=list(TARGETS), help="relative gradients to reach")
    parser.add_argument("--threads", type=int, help="1 by default, 2 with --scaling")
    parser.add_argument(
        "--scaling", action="store_true", help="xent alone, by the clock, on one thread and on --threads, in turn"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of the processor for a fit")
    parser.add_argument("--folder", help="where the data are kept; a temporary folder by default")
    parser.add_argument(
        "--keep", action="store_true", help="write the figures under benchmarks/results; with --only beside other cases"
    )
    options = parser.parse_args(arguments)
    options.threads = options.threads or (2 if options.scaling else 1)
    if options.scaling:
        given = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        if not 2 <= options.threads <= len(given):
            parser.error(f"--scaling: --threads is from 2 to the {len(given)} processors given, not {options.threads}")
        by_threads(options)
        return
    missing = sorted({p.package for p in PEERS.values() if not versions(p.package)})
    if missing:
        print(f"not installed, and left out: {', '.join(missing)}")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, case in CASES.items():
            if re.search(options.only, name):
                print(f"== {name}", flush=True)
                rows += run_case(name, case, options.folder or temporary, options)
    columns = ["case", "target", "peer", "tol", "cpu s", "times xent", "wall s", "iterations", "gradient", "extra MiB"]
    print(table(rows, columns))
    print("‡ no intercept   † penalised intercept")
    if options.keep and options.only:
        rows = beside_kept("estimators", rows, "case", CASES)
    packages = versions(*{p.package for p in PEERS.values()})
    finish(
        record("estimators", threads=options.threads, budget=options.budget, versions=packages, rows=rows), options.keep
    )
