"""Real predictions in one picture, with what the report says of each: ``python -m benchmarks verdicts [--keep]``.

Eleven kinds of scikit-learn classifiers on its four real sets; every row is predicted by a fit that did not see it
(five folds). ``--keep`` writes docs/verdicts: the picture and the verdicts; ``--pages FOLDER`` each report as a page.
A person reads whether every sentence is right.
"""

from __future__ import annotations

import argparse
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import AdaBoostClassifier, ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.ensemble import RandomForestClassifier as RandomForest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from xent.evaluate import Evaluation, compare, evaluate

DOCS = Path(__file__).parent.parent / "docs" / "verdicts"
SETS = ("iris", "wine", "breast_cancer", "digits")
COLOURS = {"overconfident": "#b3480e", "underconfident": "#1f7a52", "miscalibrated": "#7d4fb0", "no miscal": "#1d5bb8"}
NAMED = ("overconfident", "underconfident", "miscalibrated otherwise", "no miscalibration found")


def classifiers() -> dict[str, Any]:
    """Eleven kinds, with scikit-learn's defaults where they work."""
    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)),
        "linear discriminant": LinearDiscriminantAnalysis(),
        "naive Bayes": GaussianNB(),
        "5 nearest neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier()),
        "decision tree": DecisionTreeClassifier(random_state=0),
        "random forest": RandomForest(random_state=0),
        "extremely random trees": ExtraTreesClassifier(random_state=0),
        "gradient boosting": HistGradientBoostingClassifier(random_state=0, max_iter=50),
        "AdaBoost": AdaBoostClassifier(random_state=0),
        "neural network": make_pipeline(StandardScaler(), MLPClassifier(random_state=0, max_iter=400)),
        "support vectors, Platt": make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False)),
    }


def predictions(name: str, only: dict[str, Any]) -> tuple[np.ndarray, list[str], dict[str, np.ndarray]]:
    """Labels, class names, and each classifier's out-of-fold probabilities, rows summing to one."""
    data = getattr(datasets, f"load_{name}")()
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    found = {}
    for kind, model in only.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fits that stop early: they are predictions like any
            p = cross_val_predict(model, data.data, data.target, cv=folds, method="predict_proba")
        found[kind] = p / p.sum(axis=1, keepdims=True)
    return data.target, [str(n) for n in data.target_names], found


def judged(name: str, only: dict[str, Any]) -> dict[str, Any]:
    """Every classifier's report on one set, and their ranks."""
    y, names, found = predictions(name, only)
    # by index: a class's name is how people read it, its place how it is matched
    reports = {kind: evaluate(np.array(names)[y], p, classes=names) for kind, p in found.items()}
    ranks = {m.name: m.rank for m in compare(y, found).models} if len(found) > 1 else dict.fromkeys(found, 1)
    return {"set": name, "rows": len(y), "reports": reports, "ranks": ranks}


def picture(results: list[dict[str, Any]], path: Path) -> None:
    """All of them: cross-entropy with its interval by set, coloured by what the verdict says of calibration."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(
        figsize=(14, 2 + 0.3 * len(results[0]["reports"]) * math.ceil(len(results) / 2)), layout="constrained"
    )
    axes = figure.subplots(math.ceil(len(results) / 2), 2, squeeze=False).ravel()
    for ax, result in zip(axes, results, strict=False):
        _facet(ax, result)
    marks = [Line2D([], [], marker="o", ls="", color=c) for c in COLOURS.values()]
    figure.legend(marks, NAMED, loc="outside lower center", ncols=4, frameon=False, title="Verdict on calibration")
    figure.suptitle(
        "Cross-entropy of scikit-learn's classifiers, out of fold, with 95 % intervals (rank: xent compare)"
    )
    figure.savefig(path, dpi=110)


def _facet(ax: Any, result: dict[str, Any]) -> None:
    reports: dict[str, Evaluation] = result["reports"]
    order = sorted(reports, key=lambda k: (reports[k].cross_entropy, reports[k].figures["impossible"]))
    prior = next(iter(reports.values())).figures["label_entropy"]
    finite = [reports[k].interval[1] for k in order if math.isfinite(reports[k].cross_entropy)]
    end = 1.15 * max([prior, *finite])
    for place, kind in enumerate(order):
        e = reports[kind]
        colour = next(c for word, c in COLOURS.items() if any(word in s for s in e.verdict))
        y = len(order) - place
        if math.isfinite(e.cross_entropy):
            ax.plot(e.interval, [y, y], color=colour, lw=3, alpha=0.45, solid_capstyle="round")
            ax.plot([e.cross_entropy], [y], "o", color=colour)
        else:
            rows, rest = e.figures["impossible"], e.figures["finite_cross_entropy"]
            said = f"∞ ({rows} impossible)"
            if rest <= end:
                ax.plot([rest], [y], "o", mfc="white", color=colour, clip_on=False)
            else:
                said = f"∞ ({rows} impossible, the others {rest:.2f})"
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
            ax.text(end, y, said, ha="right", va="center", fontsize=9, color=colour, bbox=box)
    ax.axvline(prior, color="grey", ls="--", lw=1)
    ax.text(prior, len(order) + 0.65, "class shares ", ha="right", va="bottom", fontsize=9, color="grey")
    ax.set(xlim=(0, end), ylim=(0.4, len(order) + 0.6), xlabel="nats a row")
    ax.set_yticks(range(len(order), 0, -1), [f"{k}  {result['ranks'][k]}" for k in order])
    ax.set_title(f"{result['set']}, {result['rows']} rows", loc="left")
    ax.spines[["top", "right"]].set_visible(False)


def words(results: list[dict[str, Any]]) -> str:
    """The verdicts as Markdown."""
    lines = [
        "# What the report says of real predictions",
        "",
        "`python -m benchmarks verdicts --keep` makes this page: kinds of scikit-learn classifiers on its real sets,",
        "every row predicted by a fit that did not see it. A hollow dot is the cross-entropy of the rows where it is",
        "finite. The rank (`xent compare`) is 1 and the number of models that are distinguishably better.",
        "",
        "![cross-entropies](verdicts.png)",
    ]
    for result in results:
        lines += ["", f"## {result['set']}"]
        for kind, e in sorted(result["reports"].items(), key=lambda r: result["ranks"][r[0]]):
            lines += ["", f"**{kind}** (rank {result['ranks'][kind]}). {' '.join(e.verdict)}"]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> None:
    """Fit, judge, print; see the module."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks verdicts", description=__doc__)
    parser.add_argument("--sets", default=",".join(SETS), help="which, separated by commas")
    parser.add_argument("--kinds", help="only the classifiers whose names begin so, separated by commas")
    parser.add_argument("--keep", action="store_true", help="write docs/verdicts")
    parser.add_argument("--pages", type=Path, metavar="FOLDER", help="write each report as a web page")
    options = parser.parse_args(arguments)
    kinds = tuple(options.kinds.split(",")) if options.kinds else ("",)
    only = {k: m for k, m in classifiers().items() if k.startswith(kinds)}
    results = [judged(name, only) for name in options.sets.split(",")]
    print(words(results))
    if options.pages is not None:
        options.pages.mkdir(parents=True, exist_ok=True)
        for result in results:
            for kind, e in result["reports"].items():
                page = e.to_html(title=f"{kind} on {result['set']}, out of fold")
                (options.pages / f"{result['set']}-{kind.replace(' ', '_')}.html").write_text(page, encoding="utf-8")
    if options.keep:
        DOCS.mkdir(parents=True, exist_ok=True)
        (DOCS / "README.md").write_text(words(results), encoding="utf-8")
        picture(results, DOCS / "verdicts.png")


if __name__ == "__main__":
    main()
