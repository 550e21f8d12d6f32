"""What choosing a penalty costs: paths and leave-one-out. Run ``python -m benchmarks tuning``.

``fits`` is a path's time in fits at C=1 to the same tolerance, ``worst`` the least good certificate on it; ``ratio`` is
the mean cross-entropy of approximate leave-one-out over that of N fits.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

import xent
from xent.linear_model import LogisticRegression, approximate_leave_one_out, logistic_path

from .fits import binary, softmax
from .harness import in_turn, report, versions

PATHS = {
    "softmax 50000 x 128, 100 classes": softmax,
    "binary 200000 x 50": binary,
    "digits 1797 x 64, 10 classes": lambda: datasets.load_digits(return_X_y=True),
}
SETS = {
    "breast cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "iris": lambda: datasets.load_iris(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "digits, 500 rows": lambda: [a[:500] for a in datasets.load_digits(return_X_y=True)],
}


def path(name: str, repeats: int) -> dict[str, Any]:
    """A row of the table of paths."""
    X, y = PATHS[name]()
    found = logistic_path(X, y)
    one = LogisticRegression()
    times = in_turn({"path": lambda: logistic_path(X, y), "fit": lambda: one.fit(X, y)}, repeats)
    return {
        "case": f"{name}: path of 100 C",
        "seconds": times["path"],
        "one fit": times["fit"],
        "fits": times["path"] / times["fit"],
        "passes": int(found.n_evals.sum()),
        "worst": float(found.convergence.max()),
    }


def left_out(name: str, scaled: bool, options: dict[str, Any], refits: int) -> dict[str, Any]:
    """A row of the table of leave-one-out."""
    X, y = SETS[name]()
    X = scale(X) if scaled else X
    model = LogisticRegression(**options).fit(X, y)

    def real() -> float:
        total = 0.0
        for i in range(len(y)):
            others = np.arange(len(y)) != i
            one = LogisticRegression(warm_start=True, **options)
            one.coef_, one.intercept_ = model.coef_, model.intercept_
            one.fit(X[others], y[others])
            total -= one.predict_log_proba(X[[i]])[0, list(one.classes_).index(y[i])]
        return total / len(y)

    found = approximate_leave_one_out(model, X, y, refits=refits)
    times = in_turn({"step": lambda: approximate_leave_one_out(model, X, y, refits=refits)}, 3)
    truth = real()
    settings = "".join(f", {k}={v:g}" for k, v in options.items()) + ", scaled" * scaled
    return {
        "case": f"{name}{settings}" + (f", {refits} refits" if refits else ""),
        "seconds": times["step"],
        "leave-one-out": truth,
        "approximate": found.mean,
        "ratio": found.mean / truth,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", choices=["paths", "leave-one-out"])
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    xent.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    with threadpool_limits(options.threads, user_api="blas"):
        if options.only != "leave-one-out":
            rows += [path(name, options.repeats) for name in PATHS]
        if options.only != "paths":
            rows += [left_out(name, False, {}, 0) for name in SETS]
            rows += [left_out(name, True, {}, 0) for name in ("breast cancer", "iris", "wine")]
            rows += [left_out(name, True, {"C": 100.0}, n) for name in ("iris", "wine") for n in (0, 20)]
            rows += [left_out(name, False, {"l1_ratio": 1.0}, n) for name in ("iris", "wine") for n in (0, 20)]
    columns = ["case", "seconds", "one fit", "fits", "passes", "worst", "leave-one-out", "approximate", "ratio"]
    report("tuning", rows, columns, options.keep, threads=options.threads, versions=versions("xent", "scikit-learn"))


if __name__ == "__main__":
    main()
