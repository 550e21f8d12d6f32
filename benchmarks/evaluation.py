"""Judging predictions beside its peers: ``python -m benchmarks.evaluation [--rows N] [--keep]``.

Two tables: the loss alone beside scikit-learn's `log_loss`, interleaved; and the whole command on files, beside the
time polars takes to read them. How often intervals hold the truth is in ``python -m benchmarks coverage``.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss as their_log_loss

from xent.evaluate import log_loss

from .harness import in_turn, report, versions


def loss_cases(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds of the loss alone, and how far scikit-learn's is from the exact one."""
    rng = np.random.default_rng(0)
    p = rng.random(rows)
    y = (rng.random(rows) < p).astype(np.int64)
    many = rng.random((max(rows // 100, 10), 1000), dtype=np.float32) ** 4
    many /= many.sum(axis=1, keepdims=True)
    labels = rng.integers(0, 1000, len(many))
    found = []
    for name, target, probs in (("binary, float64", y, p), ("1000 classes, float32", labels, many)):
        candidates: dict[str, Callable[[], Any]] = {
            "xent": lambda t=target, q=probs: log_loss(t, q),
            "xent, all checked": lambda t=target, q=probs: log_loss(t, q, check=True),
            "scikit-learn": lambda t=target, q=probs: their_log_loss(t, q),
        }
        times = in_turn(candidates, repeats)
        found.append(
            {
                "case": name,
                "rows": len(target),
                **times,
                "ratio": times["scikit-learn"] / times["xent"],
                "ratio, all checked": times["scikit-learn"] / times["xent, all checked"],
                "their error": abs(their_log_loss(target, probs) - log_loss(target, probs).mean),
            }
        )
    return found


def file_cases(rows: int, repeats: int) -> list[dict[str, Any]]:
    """Seconds and memory of the whole process, beside reading the file in polars."""
    rng = np.random.default_rng(1)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for n, name in ((10_000, "small.csv"), (rows, "large.parquet")):
            p = rng.random(n)
            frame = pl.DataFrame({"y": (rng.random(n) < p).astype(np.int64), "p": p, "other": rng.random(n)})
            path = Path(folder) / name
            (frame.write_csv if name.endswith("csv") else frame.write_parquet)(path)
            read = pl.read_csv if name.endswith("csv") else pl.read_parquet
            command = [sys.executable, "-m", "xent.cli", "evaluate", str(path), "-t", "y", "-p", "p"]
            seconds, reading = [], []
            for _ in range(repeats + 1):
                start = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True)
                seconds.append(time.perf_counter() - start)
                start = time.perf_counter()
                read(path)
                reading.append(time.perf_counter() - start)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
            found.append(
                {
                    "case": name,
                    "rows": n,
                    "process": sorted(seconds[1:])[repeats // 2],
                    "polars read": sorted(reading[1:])[repeats // 2],
                    "peak GB": memory,
                }
            )
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**7, help="binary rows (default 10 million)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("loss", "files"))
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    tables = {
        "loss": ("Seconds of the loss alone", lambda: loss_cases(options.rows, options.repeats)),
        "files": ("Seconds of the whole process", lambda: file_cases(options.rows, options.repeats)),
    }
    for name, (title, measure) in tables.items():
        if options.only in (None, name):
            rows = measure()
            print(title)
            report(
                f"evaluation_{name}",
                rows,
                list(rows[0]),
                options.keep,
                versions=versions("xent", "numpy", "polars", "scikit-learn"),
            )
