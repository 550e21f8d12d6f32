"""Whole fits of LogisticRegression beside scikit-learn's solvers. Run ``python -m benchmarks.fits``.

The same objective and data for all; what counts is the time to a point no worse than the reference: ``gap`` is the
objective above the best one found, in nats, from float64 probabilities of the fitted model.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from threadpoolctl import threadpool_limits

import xent
from xent.linear_model import LogisticRegression

from .harness import in_turn, report, versions


def binary(N: int = 200_000, D: int = 50, scaled: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Correlated normal features, and with `scaled` columns whose units span four orders of magnitude."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) @ (0.7 * np.ones((D, D)) / np.sqrt(D) + 0.5 * np.eye(D))
    y = (rng.random(N) < 1 / (1 + np.exp(-X @ rng.normal(size=D) / 3))).astype(int)
    return (X * np.logspace(-2, 2, D) if scaled else X), y


def softmax(N: int = 50_000, D: int = 128, K: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of many classes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D)) @ (rng.normal(size=(D, D)) / np.sqrt(D) + np.eye(D))
    z = X @ rng.normal(size=(D, K)) / np.sqrt(D) + rng.gumbel(size=(N, K))
    return X, z.argmax(axis=1)


def gap(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    """The objective, in nats."""
    logp = model.predict_log_proba(X)[np.arange(len(y)), y]
    return float(-logp.mean() + (np.asarray(model.coef_, float) ** 2).sum() / (2 * model.C * len(y)))


CASES = {
    "binary 200000 x 50": (binary, {}, ("lbfgs", "newton-cholesky")),
    "binary, unscaled columns": (binary, {"scaled": True}, ("newton-cholesky",)),
    "digits 1797 x 64, 10 classes": (lambda: load_digits(return_X_y=True), {}, ("lbfgs", "newton-cg")),
    "softmax 50000 x 128, 100 classes": (softmax, {}, ("lbfgs",)),
}


def case(name: str, repeats: int) -> list[dict[str, Any]]:
    """Rows of one data set."""
    make, options, solvers = CASES[name]
    X, y = make(**options)
    models: dict[str, Any] = {"xent": LogisticRegression()}
    for solver in solvers:
        models[f"scikit-learn {solver}"] = Theirs(solver=solver)
        if solver == "lbfgs":
            models["scikit-learn lbfgs to 1e-6"] = Theirs(solver=solver, tol=1e-6, max_iter=10_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        medians = in_turn({n: (lambda m=m: m.fit(X, y)) for n, m in models.items()}, repeats)
    values = {n: gap(m, X, y) for n, m in models.items()}
    best = min(values.values())
    return [
        {
            "case": name if n == "xent" else "",
            "candidate": n,
            "seconds": seconds,
            "times xent": seconds / medians["xent"],
            "iterations": int(np.max(models[n].n_iter_)),
            "gap": values[n] - best,
        }
        for n, seconds in medians.items()
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    xent.set_num_threads(options.threads)
    with threadpool_limits(options.threads, user_api="blas"):
        rows = [row for name in CASES for row in case(name, options.repeats)]
    columns = ["case", "candidate", "seconds", "times xent", "iterations", "gap"]
    report("fits", rows, columns, options.keep, threads=options.threads, versions=versions("xent", "scikit-learn"))


if __name__ == "__main__":
    main()
