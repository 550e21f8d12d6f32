"""Small data, where what a call costs counts: ``python -m benchmarks small``.

scikit-learn's own sets, as they come and scaled. Both libraries with their defaults, and scikit-learn's to a gradient
of 1e-6, since its default stops earlier: ``gap`` is the objective above the best one found, in nats. Milliseconds,
medians of runs taken in turn, each number of threads in a process of its own that has as many processors.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .harness import in_turn, pin, pinned, report, versions

SETS = ("iris", "wine", "breast_cancer", "digits")
# What is timed, and how many calls make a run: the first after a pause finds cold caches.
CALLS = {"fit": 4, "predict": 40, "predict_proba": 40, "predict_proba, one row": 40, "cross_val_score": 1, "search": 1}
OURS, THEIRS, TIGHT = "xent", "scikit-learn", "scikit-learn to 1e-6"
COLUMNS = ["case", "call", "threads", OURS, THEIRS, "ratio", TIGHT, "gap", f"gap {THEIRS}", f"gap {TIGHT}"]
MODULES = ("xent", "xent.linear_model", "sklearn.linear_model")
STARTS = 7


def data(name: str, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """One of scikit-learn's sets."""
    from sklearn import datasets
    from sklearn.preprocessing import scale

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return (scale(X) if scaled else X), y


def calls(X: Any, y: Any, models: Mapping[str, Any], searches: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is timed: by call, and by library."""
    from sklearn.model_selection import cross_val_score

    ways: dict[str, Callable[[Any], Any]] = {
        "fit": lambda m: m.fit(X, y),
        "predict": lambda m: m.predict(X),
        "predict_proba": lambda m: m.predict_proba(X),
        "predict_proba, one row": lambda m: m.predict_proba(X[:1]),
        "cross_val_score": lambda m: cross_val_score(m, X, y),
    }
    each = {call: {n: (lambda m=m, w=way: w(m)) for n, m in models.items()} for call, way in ways.items()}
    return {**each, "search": {n: (lambda m=m: m.fit(X, y)) for n, m in searches.items()}}


def gap(model: Any, X: Any, y: Any) -> float:
    """The objective of the fit, in nats."""
    logp = model.predict_log_proba(X)[np.arange(len(y)), y]
    return float((np.asarray(model.coef_, float) ** 2).sum() / (2 * model.C * len(y)) - logp.mean())


def case(name: str, scaled: bool, threads: int, repeats: int, only: set[str]) -> list[dict[str, Any]]:
    """The rows of one set."""
    from sklearn import linear_model as theirs

    from xent import linear_model as ours

    X, y = data(name, scaled)
    tight: dict[str, Any] = {"tol": 1e-6, "max_iter": 10_000}
    models = {
        OURS: ours.LogisticRegression(),
        THEIRS: theirs.LogisticRegression(),
        TIGHT: theirs.LogisticRegression(**tight),
    }
    same: dict[str, Any] = {"l1_ratios": (0,), "use_legacy_attributes": False, "cv": 5, "scoring": "neg_log_loss"}
    searches = {OURS: ours.LogisticRegressionCV(**same), THEIRS: theirs.LogisticRegressionCV(**same)}
    values = {n: gap(m.fit(X, y), X, y) for n, m in models.items()}
    rows = []
    for call, candidates in calls(X, y, models, searches).items():
        if only and call not in only:
            continue
        few = {n: c for n, c in candidates.items() if n != TIGHT or call == "fit"}
        runs = {n: (lambda c=c, k=CALLS[call]: [c() for _ in range(k)]) for n, c in few.items()}
        found = {n: seconds / CALLS[call] for n, seconds in in_turn(runs, repeats).items()}
        row = {"case": f"{name}{', scaled' * scaled}", "call": call, "threads": threads}
        row |= {n: 1e3 * seconds for n, seconds in found.items()} | {"ratio": found[THEIRS] / found[OURS]}
        if call == "fit":
            least = min(values.values())
            row |= {f"gap {n}".replace(f" {OURS}", ""): v - least for n, v in values.items()}
        rows.append(row)
    return rows


def starts() -> list[dict[str, Any]]:
    """What the first import takes, each time in a new process."""
    code = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
    took = {
        m: [
            float(subprocess.run([sys.executable, "-c", code.format(m)], capture_output=True, check=True).stdout)
            for _ in range(STARTS)
        ]
        for m in MODULES
    }
    return [{"case": f"import {m}", OURS: 1e3 * float(np.median(t))} for m, t in took.items()]


def measured(threads: int, repeats: int, sets: list[str], only: set[str]) -> list[dict[str, Any]]:
    """All rows for one number of threads, in this process."""
    from sklearn import linear_model  # noqa: F401  the BLAS of SciPy must be there to be limited

    with pinned(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [row for name in sets for scaled in (False, True) for row in case(name, scaled, threads, repeats, only)]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--calls", nargs="+", choices=list(CALLS), default=[])
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        pin(options.threads[0])
        print(json.dumps(measured(options.threads[0], options.repeats, options.sets, set(options.calls))))
        return
    rows: list[dict[str, Any]] = []
    for threads in options.threads:
        run = [sys.executable, "-m", "benchmarks.small", "--inside", "--threads", str(threads)]
        run += ["--repeats", str(options.repeats), "--sets", *options.sets]
        run += ["--calls", *options.calls] if options.calls else []
        done = subprocess.run(run, cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True, check=True)
        rows += json.loads(done.stdout.splitlines()[-1])
    rows += [] if options.calls else starts()
    report("small", rows, COLUMNS, options.keep, versions=versions("xent", "scikit-learn", "numpy", "scipy"))


if __name__ == "__main__":
    main()
