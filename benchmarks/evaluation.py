"""Judging predictions beside its peers: ``python -m benchmarks.evaluation [--rows N] [--keep]``.

Three tables: the loss alone beside scikit-learn's `log_loss`, interleaved; the whole command on files, beside the time
polars takes to read them; and, by simulation, how often intervals cover, and tests reject what is calibrated.
"""

from __future__ import annotations

import argparse
import math
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
from scipy import stats
from sklearn.metrics import log_loss as their_log_loss

from xent.evaluate import LossSum, evaluate, log_loss

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


def coverage(simulations: int) -> list[dict[str, Any]]:
    """Share of 95 % intervals that hold the truth: losses of calibrated predictions, of few and of many rows."""
    t_of = {n: float(stats.t.ppf(0.975, n - 1)) for n in (30, 100, 1000)}
    found = []
    for name, a, b in (("mild", 1.0, 1.0), ("sure", 0.3, 0.3), ("rare event", 0.3, 6.0)):
        rng = np.random.default_rng(2)
        big = rng.beta(a, b, 4_000_000)
        truth = float(np.mean(stats.entropy(np.stack([big, 1 - big]))))
        for n, t in t_of.items():
            hits = plain = 0
            for _ in range(simulations):
                p = rng.beta(a, b, n)
                losses = -np.log(np.where(rng.random(n) < p, p, 1 - p))
                total = LossSum()
                total.add(losses)
                low, high = total.interval()
                hits += low <= truth <= high
                plain += abs(losses.mean() - truth) <= t * losses.std(ddof=1) / math.sqrt(n)
            found.append(
                {"losses": name, "rows": n, "covered": hits / simulations, "covered by t": plain / simulations}
            )
    return found


def rejections(simulations: int) -> list[dict[str, Any]]:
    """Share of calibrated predictions whose calibration is rejected at 5 %, and points of the diagram in the band."""
    found = []
    for rows in (100, 1000):
        corp, ece, inside, points = 0, 0, 0, 0
        for seed in range(simulations):
            rng = np.random.default_rng(seed)
            p = rng.beta(1, 2, rows)
            panel = evaluate((rng.random(rows) < p).astype(int), p, seed=seed).calibration["event"]
            corp += panel["decomposition"]["p_value"] <= 0.05
            ece += panel["reliability"]["p_value"] <= 0.05
            shown = panel["reliability"]["points"]
            inside += sum(q["low"] - 1e-12 <= q["observed"] <= q["high"] + 1e-12 for q in shown)
            points += len(shown)
        found.append(
            {
                "rows": rows,
                "CORP rejects": corp / simulations,
                "calibration error rejects": ece / simulations,
                "points in the 90 % band": inside / points,
            }
        )
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**7, help="binary rows (default 10 million)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", choices=("loss", "files", "coverage", "rejections"))
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    tables = {
        "loss": ("Seconds of the loss alone", lambda: loss_cases(options.rows, options.repeats)),
        "files": ("Seconds of the whole process", lambda: file_cases(options.rows, options.repeats)),
        "coverage": ("95 % intervals for the mean loss", lambda: coverage(options.simulations)),
        "rejections": ("Calibrated predictions", lambda: rejections(max(options.simulations // 5, 20))),
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
