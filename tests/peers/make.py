"""Real predictions, and what the peers say of them: ``python tests/peers/make.py`` in the repository's root.

``predictions.csv`` is made once: three classifiers of scikit-learn's breast cancer set, of rows held out by five folds.
``figures.json`` holds what model-diagnostics and netcal say of those very numbers, with their versions;
``reliabilitydiag.csv`` is made by ``reliabilitydiag.R``, which says how. The tests read all three, so that no test
needs the peers; whoever has them can make the figures again.
"""

from __future__ import annotations

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent


def predictions() -> dict[str, np.ndarray]:
    """Probabilities of a benign tumour; bad features for the first, so that it is unsure."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    few = [list(data.feature_names).index(n) for n in ("mean texture", "mean smoothness", "mean symmetry")]

    def held_out(model: Any, x: np.ndarray) -> np.ndarray:
        return cross_val_predict(make_pipeline(StandardScaler(), model), x, data.target, cv=5, method="predict_proba")

    return {
        "y": data.target,
        "logistic": np.round(held_out(LogisticRegression(), data.data[:, few])[:, 1], 3),
        "neighbours": held_out(KNeighborsClassifier(15), data.data[:, few])[:, 1],
        "bayes": held_out(GaussianNB(), data.data)[:, 1],
    }


def read() -> dict[str, np.ndarray]:
    """The columns of predictions.csv."""
    with (HERE / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {n: np.array([float(r[n]) for r in rows]) for n in rows[0]}


def figures(columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """What model-diagnostics and netcal say."""
    from model_diagnostics.calibration import compute_bias
    from model_diagnostics.scoring import LogLoss, decompose
    from netcal.metrics import ACE, ECE, MCE

    y = columns["y"]
    weights = 1.0 + np.arange(len(y)) % 3
    found: dict[str, Any] = {"versions": {n: version(n) for n in ("model-diagnostics", "netcal")}}
    for name, p in columns.items():
        if name == "y":
            continue
        bias = compute_bias(y_obs=y, y_pred=p)
        found[name] = {
            "decompose": decompose(y, p, scoring_function=LogLoss()).to_dicts()[0],
            "decompose, weights 1 + row % 3": decompose(y, p, weights, scoring_function=LogLoss()).to_dicts()[0],
            "bias_mean": float(bias["bias_mean"][0]),
            "ECE 15": float(ECE(15).measure(p, y.astype(int))),
            "ECE 10": float(ECE(10).measure(p, y.astype(int))),
            "MCE 15": float(MCE(15).measure(p, y.astype(int))),
            "ACE 15": float(ACE(15).measure(p, y.astype(int))),
        }
    return found


def main() -> None:
    """Write what is missing of the predictions, and the figures anew."""
    path = HERE / "predictions.csv"
    if not path.exists():
        columns = predictions()
        lines = [
            ",".join(columns),
            *(",".join(f"{v:.17g}" for v in row) for row in zip(*columns.values(), strict=True)),
        ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (HERE / "figures.json").write_text(json.dumps(figures(read()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
