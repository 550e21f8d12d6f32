"""Whether the intervals hold the truth and the tests keep their level. Run ``python -m benchmarks coverage``.

Each row simulates samples from a law whose truth is known (a closed form, or quadrature), and counts. "holds" is the
share of 95% intervals with the truth inside: 93 to 97% is asked for. "rejects" is the share of tests that say two
models differ: about 5% where they do not, the more the better where they do.

The binary world: a row's log-odds are z ~ N(0, 2^2), its label is 1 with probability sigmoid(z), and a model says
sigmoid(k z + s e) with noise e ~ N(0, 1) of its own. Two models of one k and one s are alike; of another s, unlike.
Some rows ask for more than can be given (few documents, few subjects): they are kept, and say how short they fall.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.integrate import quad
from scipy.special import betaln, digamma

from xent.evaluate import Collector, LossSum, compare_losses, cross_fitted
from xent.evaluate._means import mean_of, t_two_sided
from xent.evaluate.language import ratio
from xent.evaluate.pairs import verify_intervals

from .harness import beside_kept, commit, report, versions

SPREAD, LEVEL = 2.0, 0.95
PHI = NormalDist()


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def labels(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    z = SPREAD * rng.normal(size=rows)
    return z, rng.random(rows) < sigmoid(z)


def losses(d: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, np.where(y, -d, d))


def expected_loss(k: float, s: float = 0.0) -> float:
    """Of the model sigmoid(k z + s e), by Gauss-Hermite quadrature in z and e."""
    x, w = hermegauss(120)
    w = w / w.sum()
    z, d = SPREAD * x[:, None], k * SPREAD * x[:, None] + s * x[None, :]
    p = sigmoid(z)
    return float(w @ (p * np.logaddexp(0, -d) + (1 - p) * np.logaddexp(0, d)) @ w)


def holds(interval: tuple[float, float], truth: float) -> bool:
    return interval[0] <= truth <= interval[1]


def interval_of(values: np.ndarray, plain: bool) -> tuple[float, float]:
    """The report's, which allows for skewness; or Student's."""
    if plain:
        return mean_of(values).interval(LEVEL)
    total = LossSum()
    total.add(values)
    return total.interval(LEVEL)


def of_mean(rng: np.random.Generator, rows: int, k: float, plain: bool = False) -> bool:
    """The cross-entropy's own interval."""
    z, y = labels(rng, rows)
    return holds(interval_of(losses(k * z, y), plain), expected_loss_once(k))


def of_calibrated(rng: np.random.Generator, rows: int, a: float, b: float, plain: bool = False) -> bool:
    """The same of probabilities from Beta(a, b) that come true as often as they say: the truth is their entropy."""
    p = rng.beta(a, b, rows)
    found = -np.log(np.where(rng.random(rows) < p, p, 1 - p))
    truth = digamma(a + b + 1) - (a * digamma(a + 1) + b * digamma(b + 1)) / (a + b)
    return holds(interval_of(found, plain), float(truth))


def of_report(rng: np.random.Generator, rows: int, a: float, b: float, k: float = 1.0) -> bool:
    """The same as the report gives it, which raises the upper end where misses are few; odds to the power of k."""
    p = rng.beta(a, b, rows)
    y = rng.random(rows) < p
    with np.errstate(divide="ignore"):
        z = k * (np.log(p) - np.log1p(-p))
    collector = Collector(["0", "1"], kind="logits", simulations=1, recalibrate=False)
    collector.add(y.astype(int), z)
    low, high = collector.finish().interval
    return holds((low, high), expected_of_beta(a, b, k))


@cache
def expected_of_beta(a: float, b: float, k: float) -> float:
    """Loss of p^k / (p^k + (1 - p)^k) where p ~ Beta(a, b) is the truth; quadrature over the log-odds."""

    def density(z: float) -> float:
        return math.exp(-a * np.logaddexp(0, -z) - b * np.logaddexp(0, z) - betaln(a, b))

    def loss(z: float) -> float:
        p = 1 / (1 + math.exp(-z)) if abs(z) < 700 else float(z > 0)
        return density(z) * (p * np.logaddexp(0, -k * z) + (1 - p) * np.logaddexp(0, k * z))

    return float(quad(loss, -200, 0, limit=400)[0] + quad(loss, 0, 200, limit=400)[0])


def of_calibration(rng: np.random.Generator, rows: int, what: str) -> float:
    """Whether a test of calibration rejects what is calibrated; or the share of the diagram's points in their band."""
    p = rng.beta(1, 2, rows)
    collector = Collector(["0", "1"], seed=int(rng.integers(2**31)), simulations=199, recalibrate=False)
    collector.add((rng.random(rows) < p).astype(int), p)
    panel = collector.finish().calibration["event"]
    if what != "points":
        return bool(panel[what]["p_value"] <= 1 - LEVEL)
    shown = panel["reliability"]["points"]
    return sum(q["low"] - 1e-12 <= q["observed"] <= q["high"] + 1e-12 for q in shown) / len(shown)


_TRUTH: dict[tuple[float, float], float] = {}  # by k and s


def expected_loss_once(k: float, s: float = 0.0) -> float:
    if (k, s) not in _TRUTH:
        _TRUTH[k, s] = expected_loss(k, s)
    return _TRUTH[k, s]


def two_models(rng: np.random.Generator, rows: int, noise: tuple[float, float]) -> dict[str, np.ndarray]:
    z, y = labels(rng, rows)
    return {str(n): losses(z + s * rng.normal(size=rows), y) for n, s in enumerate(noise)}


def of_difference(rng: np.random.Generator, rows: int, noise: tuple[float, float]) -> bool:
    pair = compare_losses(two_models(rng, rows, noise)).pairs[0]
    truth = expected_loss_once(1.0, noise[0]) - expected_loss_once(1.0, noise[1])
    return holds(pair.interval, truth if pair.first == "0" else -truth)


def paired(rng: np.random.Generator, rows: int, noise: tuple[float, float]) -> bool:
    return compare_losses(two_models(rng, rows, noise)).pairs[0].distinguishable


def unpaired(rng: np.random.Generator, rows: int, noise: tuple[float, float]) -> bool:
    """The test that compares two reports: the errors of both cross-entropies, as if of two samples."""
    a, b = (mean_of(v) for v in two_models(rng, rows, noise).values())
    return t_two_sided((a.value - b.value) / math.hypot(a.error, b.error), 2 * (rows - 1)) < 1 - LEVEL


def any_of_five(rng: np.random.Generator, rows: int) -> bool:
    z, y = labels(rng, rows)
    alike = {str(n): losses(z + 0.5 * rng.normal(size=rows), y) for n in range(5)}
    return any(p.distinguishable for p in compare_losses(alike).pairs)


def in_clusters(rng: np.random.Generator, clusters: int, told: bool) -> bool:
    """Two models alike on the whole, one better in some clusters and worse in others."""
    sizes = rng.integers(5, 30, clusters)
    code = np.repeat(np.arange(clusters), sizes)
    base = rng.exponential(size=len(code))
    off = rng.normal(size=clusters)[code] * 0.3 + rng.normal(size=len(code)) * 0.3
    found = compare_losses({"a": base, "b": base + off}, clusters=code if told else None)
    return found.pairs[0].distinguishable


def of_gain(rng: np.random.Generator, rows: int, k: float) -> bool:
    """The gain of temperature scaling over a model sigmoid(k z), whose best temperature is k."""
    z, y = labels(rng, rows)
    logs = np.column_stack([-np.logaddexp(0, k * z), -np.logaddexp(0, -k * z)])
    result = cross_fitted(y.astype(int), logs, ["temperature"]).results[0]
    return holds(result.interval, expected_loss_once(k) - expected_loss_once(1.0))


def false_gain(rng: np.random.Generator, rows: int) -> bool:
    """A calibrated model that recalibration claims to mend: the whole interval of the gain above 0."""
    z, y = labels(rng, rows)
    logs = np.column_stack([-np.logaddexp(0, z), -np.logaddexp(0, -z)])
    return any(r.interval[0] > 0 for r in cross_fitted(y.astype(int), logs).results)


def of_language(rng: np.random.Generator, documents: int, told: bool) -> bool:
    """Per token, documents of uneven length that are easy or hard; the truth is the ratio of two means."""
    tokens = rng.integers(20, 400, documents)
    hard = 3 + 0.4 * rng.normal(size=documents)
    total = tokens * hard + np.sqrt(tokens) * 2 * rng.normal(size=documents)
    if told:
        return holds(ratio(total, tokens.astype(float)).interval(LEVEL), 3.0)
    error = 2 / math.sqrt(tokens.sum())  # what independent tokens would have
    value = total.sum() / tokens.sum()
    return abs(value - 3) < 1.96 * error


def of_verification(rng: np.random.Generator, genuine: int, impostor: int, what: str) -> bool:
    scores = np.append(rng.normal(2, 1, genuine), rng.normal(0, 1, impostor))
    found = verify_intervals(
        scores, np.arange(genuine + impostor) < genuine, far=(0.01,), resamples=300, seed=int(rng.integers(2**31))
    )
    truth = {"auc": PHI.cdf(2 / math.sqrt(2)), "eer": PHI.cdf(-1), "tar": 1 - PHI.cdf(PHI.inv_cdf(0.99) - 2)}
    return holds(found.tar[0] if what == "tar" else getattr(found, what), truth[what])


def of_subjects(rng: np.random.Generator, subjects: int, told: bool) -> bool:
    """AUC of scores whose subjects are easy or hard to know; the truth is that of the normal law of a score."""
    each = 10  # genuine pairs of a subject
    own = rng.normal(size=subjects) * 0.7
    a, b = np.triu_indices(subjects, 1)
    genuine = np.repeat(np.arange(subjects), each)
    left, right = np.append(genuine, a), np.append(genuine, b)
    same = np.arange(len(left)) < len(genuine)
    scores = np.where(same, 2 + own[left], 0.5 * (own[left] + own[right])) + rng.normal(size=len(left)) * 0.7
    found = verify_intervals(
        scores, same, far=(0.1,), subjects=(left, right) if told else None, resamples=200, seed=int(rng.integers(2**31))
    )
    spread = math.sqrt(0.49 + 0.49 + 0.5 * 0.49 + 0.49)
    return holds(found.auc, PHI.cdf(2 / spread))


Case = tuple[str, str, Callable[[np.random.Generator], float], float]
# what, its kind, one trial, and how many of the trials asked for it gets
CASES: list[Case] = [
    *[(f"cross-entropy, {n} rows", "holds", lambda r, n=n: of_mean(r, n, 1.0), 1.0) for n in (100, 1000, 10_000)],
    ("cross-entropy of an overconfident model, 100 rows", "holds", lambda r: of_mean(r, 100, 2.0), 1.0),
    ("cross-entropy of an overconfident model, 1000 rows", "holds", lambda r: of_mean(r, 1000, 2.0), 1.0),
    ("the same, Student's", "holds", lambda r: of_mean(r, 100, 2.0, plain=True), 1.0),
    *[
        (
            f"cross-entropy of calibrated {law}, {n} rows{', Student' if plain else ''}",
            "holds",
            lambda r, n=n, ab=ab, plain=plain: of_calibrated(r, n, *ab, plain),
            1.0,
        )
        for law, ab in (("guesses", (1.0, 1.0)), ("sure answers", (0.3, 0.3)), ("rare events", (0.3, 6.0)))
        for n in (30, 100, 1000)
        for plain in (False, True)
    ],
    *[
        (
            f"the report's interval, {law}{', odds squared' if k == 2 else ''}, {n} rows",
            "holds",
            lambda r, n=n, ab=ab, k=k: of_report(r, n, *ab, k),
            0.5,
        )
        for law, ab in (("sure answers", (0.3, 0.3)), ("rare events", (0.3, 6.0)))
        for k in (1.0, 2.0)
        for n in (30, 100)
    ],
    *[
        (
            f"points of the diagram in the 90% band, {n} rows",
            "holds",
            lambda r, n=n: of_calibration(r, n, "points"),
            0.1,
        )
        for n in (100, 1000)
    ],
    ("paired difference, alike, 300 rows", "holds", lambda r: of_difference(r, 300, (0.5, 0.5)), 1.0),
    ("paired difference, unlike, 300 rows", "holds", lambda r: of_difference(r, 300, (0.4, 0.8)), 1.0),
    ("temperature's cross-fitted gain, 1000 rows", "holds", lambda r: of_gain(r, 1000, 1.5), 0.3),
    ("per token, 50 documents", "holds", lambda r: of_language(r, 50, True), 1.0),
    ("per token, 50 documents, tokens taken for independent", "holds", lambda r: of_language(r, 50, False), 1.0),
    ("AUC, 100 + 1000 independent pairs", "holds", lambda r: of_verification(r, 100, 1000, "auc"), 0.1),
    ("EER, the same", "holds", lambda r: of_verification(r, 100, 1000, "eer"), 0.1),
    ("TAR at FAR 0.01, the same", "holds", lambda r: of_verification(r, 100, 1000, "tar"), 0.1),
    ("AUC, 40 subjects", "holds", lambda r: of_subjects(r, 40, True), 0.1),
    ("AUC, 40 subjects, pairs taken for independent", "holds", lambda r: of_subjects(r, 40, False), 0.1),
    ("two alike, paired, 300 rows", "rejects, null", lambda r: paired(r, 300, (0.5, 0.5)), 1.0),
    ("two alike, unpaired, 300 rows", "rejects, null", lambda r: unpaired(r, 300, (0.5, 0.5)), 1.0),
    ("any two of five alike (Holm), 300 rows", "rejects, null", lambda r: any_of_five(r, 300), 0.5),
    ("alike in 30 clusters, clustered", "rejects, null", lambda r: in_clusters(r, 30, True), 1.0),
    ("alike in 30 clusters, not told", "rejects, null", lambda r: in_clusters(r, 30, False), 1.0),
    *[
        (f"calibrated, {name}, {n} rows", "rejects, null", lambda r, n=n, what=what: of_calibration(r, n, what), 0.3)
        for name, what in (("miscalibration (CORP)", "decomposition"), ("calibration error", "reliability"))
        for n in (100, 1000)
    ],
    ("a calibrated model is mended, 1000 rows", "rejects, null", lambda r: false_gain(r, 1000), 0.15),
    ("one worse, paired, 300 rows", "rejects, unlike", lambda r: paired(r, 300, (0.4, 1.0)), 1.0),
    ("one worse, unpaired, 300 rows", "rejects, unlike", lambda r: unpaired(r, 300, (0.4, 1.0)), 1.0),
]


def share(case: Case, trials: int, seed: int) -> dict[str, Any]:
    name, kind, trial, part = case
    rng = np.random.default_rng([seed, *name.encode()])
    number = max(20, round(trials * part))
    found = sum(float(trial(rng)) for _ in range(number)) / number
    return {"what": name, "kind": kind, "share %": round(100 * found, 1), "trials": number,
            "± %": round(196 * math.sqrt(max(found * (1 - found), 1e-4) / number), 1)}  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=4000, help="samples of a case; slow ones take a part of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases with this in their name")
    parser.add_argument(
        "--keep", action="store_true", help="write the figures under benchmarks/results; with --only beside the others"
    )
    options = parser.parse_args(arguments)
    now = commit()
    rows = [share(case, options.trials, options.seed) | {"commit": now} for case in CASES if options.only in case[0]]
    if options.keep and options.only:
        rows = beside_kept("coverage", rows, "what", (case[0] for case in CASES))
    columns = ["what", "kind", "share %", "± %", "trials"]
    report("coverage", rows, columns, options.keep, trials=options.trials, seed=options.seed, versions=versions("xent"))


if __name__ == "__main__":
    main()
