"""Judging predictions beside its peers: ``python -m benchmarks evaluation [--rows N] [--keep]``.

Two tables: the loss alone beside scikit-learn's `log_loss`, interleaved; and whole processes of the command on files,
beside the time polars takes to read them, with their peak memory, the size of the page they write, and what was asked
for. How often intervals hold the truth is in ``python -m benchmarks coverage``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss as their_log_loss

from xent.evaluate import log_loss

from .harness import finish, in_turn, record, table, versions


def loss_cases(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of the loss alone, and how far scikit-learn's is from the exact one."""
    rng = np.random.default_rng(0)
    p = rng.random(rows)
    y = (rng.random(rows) < p).astype(np.int64)
    many = rng.random((max(rows // 100, 10), 1000), dtype=np.float32) ** 4
    many /= many.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 1000, len(many))
    found = []
    for name, target, probs, classes in (("binary, float64", y, p, 2), ("1000 classes, float32", labels, many, 1000)):
        candidates: dict[str, Callable[[], Any]] = {
            "xent": lambda t=target, q=probs: log_loss(t, q),
            "xent, all checked": lambda t=target, q=probs: log_loss(t, q, check=True),
            "scikit-learn": lambda t=target, q=probs, c=classes: their_log_loss(t, q, labels=np.arange(c)),
        }
        times = in_turn(candidates, repeats)
        found.append(
            {
                "case": name,
                "rows": len(target),
                **times,
                "ratio": times["scikit-learn"] / times["xent"],
                "ratio, all checked": times["scikit-learn"] / times["xent, all checked"],
                "their error": abs(candidates["scikit-learn"]() - log_loss(target, probs).mean),
            }
        )
    return found


@dataclass(frozen=True)
class Whole:
    """A run of the whole command: what it is called, its arguments, the file that polars reads, what was asked for."""

    name: str
    arguments: tuple[str, ...]
    reads: str = ""
    page: str = ""
    seconds: float | None = None  # asked for; with `reads` beside five times the reading
    gigabytes: float | None = None


def write_files(folder: Path, rows: int) -> list[Whole]:
    """Write the files; return what is run on them."""
    rng = np.random.default_rng(1)
    for n, name in ((min(rows, 10_000), "small.csv"), (rows, "large.parquet"), (rows, "other.parquet")):
        p = rng.random(n)
        frame = pl.DataFrame({"y": (rng.random(n) < p).astype(np.int64), "p": p, "other": rng.random(n)})
        (frame.write_csv if name.endswith("csv") else frame.write_parquet)(folder / name)
    y = pl.read_parquet(folder / "large.parquet")["y"]  # two models of the same rows
    pl.read_parquet(folder / "other.parquet").with_columns(y).write_parquet(folder / "other.parquet")
    ten = rng.dirichlet(np.ones(10), min(rows, 10_000))
    columns = {f"p_{k}": ten[:, k] for k in range(10)}
    pl.DataFrame({"y": rng.integers(0, 10, len(ten)), **columns}).write_csv(folder / "ten.csv")
    many = max(rows // 100, 1000)
    labels = rng.integers(0, 1000, many)
    logits = rng.normal(size=(many, 1000)).astype(np.float32)
    logits[np.arange(many), labels] += 4
    np.savez(folder / "many.npz", labels=labels, logits=logits)
    binary, small = ("-t", "y", "-p", "p"), f"{min(rows, 10_000)} rows"
    return [
        Whole("xent --help", ("--help",), seconds=0.1),
        Whole(f"{small}, 2 classes, CSV", ("evaluate", "small.csv", *binary), "small.csv", seconds=1.0),
        Whole(f"{small}, 10 classes, CSV", ("evaluate", "ten.csv", "-t", "y"), "ten.csv", seconds=1.0),
        Whole(f"{rows} rows, 2 classes, Parquet", ("evaluate", "large.parquet", *binary), "large.parquet",
              seconds=3.0, gigabytes=1.5),
        Whole("the same with the web page", ("evaluate", "large.parquet", *binary, "-o", "r.html"), "large.parquet",
              "r.html", 3.0, 1.5),
        Whole(f"{many} x 1000 logits, .npz, with the page", ("evaluate", "many.npz", "-o", "m.html"), "", "m.html",
              10.0),
        Whole(f"compare two of {rows} rows", ("compare", "large.parquet", "other.parquet", *binary), "large.parquet"),
    ]  # fmt: skip


# A small process in between: a child begins with the peak of who started it, which here has held arrays.
LAUNCHER = """
import resource, subprocess, sys, time
start = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, code)
"""


def run(folder: Path, arguments: tuple[str, ...]) -> tuple[float, float]:
    """Seconds of a whole process and its own peak, in gigabytes."""
    command = [sys.executable, "-m", "xent.cli", *arguments]
    told = subprocess.run([sys.executable, "-S", "-c", LAUNCHER, *command], cwd=folder, capture_output=True, text=True)
    seconds, kilobytes, code = told.stdout.split()
    if code != "0":
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    return float(seconds), float(kilobytes) / 1e6


def reading(path: Path) -> float:
    """Seconds that polars takes to read the file."""
    start = time.perf_counter()
    (pl.read_csv if path.suffix == ".csv" else pl.read_parquet)(path)
    return time.perf_counter() - start


def file_cases(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Medians of whole processes beside reading the file, taken in turn, after one of each that is not counted."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in write_files(folder, rows):
            took, read = [], []
            for _ in range(repeats + 1):
                took.append(run(folder, case.arguments))
                if case.reads:
                    read.append(reading(folder / case.reads))
            seconds, beside = median(t for t, _ in took[1:] or took), median(read[1:] or read) if read else None
            limit = case.seconds
            if limit is not None and beside is not None and case.gigabytes is not None:
                limit += 5 * beside
            page = (folder / case.page).stat().st_size / 1000 if case.page else None
            found.append(
                {
                    "case": case.name,
                    "seconds": seconds,
                    "asked": limit,
                    "polars reads": beside,
                    "peak GB": max(g for _, g in took),
                    "asked GB": case.gigabytes,
                    "page kB": page,
                }
            )
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10**7, help="binary rows (default 10 million)")
    parser.add_argument(
        "--repeats", type=int, default=5, help="runs of the loss; of whole processes half as many, of 1 just one"
    )
    parser.add_argument("--only", choices=("loss", "files"))
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    for name, title, measure in (
        ("loss", "Seconds of the loss alone", lambda: loss_cases(options.rows, options.repeats)),
        ("files", "Whole processes", lambda: file_cases(options.rows, options.repeats // 2 + (options.repeats > 1))),
    ):
        if options.only in (None, name):
            found[name] = measure()
            print(title)
            print(table(found[name], list(found[name][0])), flush=True)
    told = versions("xent", "numpy", "polars", "scikit-learn")
    finish(record("evaluation", **found, rows=options.rows, repeats=options.repeats, versions=told), options.keep)


if __name__ == "__main__":
    main()
