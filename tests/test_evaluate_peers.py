"""The report beside its peers on real predictions (tests/peers says how they were asked), and where each is wrong.

scikit-learn is asked itself, in test_panels, test_exact_loss and test_evaluation.
"""

import csv
import json
import math
from fractions import Fraction
from pathlib import Path

import mpmath
import numpy as np
import pytest

from xent.evaluate import evaluate, log_loss
from xent.evaluate.decomposition import decompose
from xent.evaluate.isotonic import pool
from xent.evaluate.ranked import ScoreCounts
from xent.evaluate.reliability import calibration_error

PEERS = Path(__file__).parent / "peers"
MODELS = ("logistic", "neighbours", "bayes")
THEIRS = json.loads((PEERS / "figures.json").read_text(encoding="utf-8"))


def table(name):
    with (PEERS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def columns():
    rows = table("predictions.csv")
    return {n: np.array([float(r[n]) for r in rows]) for n in rows[0]}


@pytest.fixture(scope="module")
def r_figures():
    found = {m: {} for m in ("", *MODELS)}
    for row in table("reliabilitydiag.csv"):
        found[row["model"]].setdefault(row["what"], []).append((row["place"], row["value"]))
    return found


def ranked(p, y):
    counts = ScoreCounts()
    counts.add(p, 1 - p, y.astype(int))
    return counts.ranked()


@pytest.mark.parametrize("model", MODELS)
def test_the_decomposition_is_reliabilitydiags(columns, r_figures, model):
    found = decompose(ranked(columns[model], columns["y"]))
    names = {"mean_score": "loss", "uncertainty": "uncertainty", "discrimination": "discrimination",
             "miscalibration": "miscalibration"}  # fmt: skip
    for theirs, ours in names.items():
        ((_, value),) = r_figures[model][f"log {theirs}"]
        assert found[ours] == pytest.approx(float(value), rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_pools_are_reliabilitydiags(columns, r_figures, model):
    scores = ranked(columns[model], columns["y"])
    first, rows, hits = pool(scores.rows, scores.hits)
    theirs = {w: [float(v) for _, v in r_figures[model][w]] for w in ("n", "x_min", "x_max", "CEP_pav")}
    # neighbouring pools of one share are one pool there
    share = hits / rows
    start = np.flatnonzero(np.append(True, np.abs(np.diff(share)) > 1e-12))
    assert np.add.reduceat(rows, start).tolist() == theirs["n"]
    assert share[start] == pytest.approx(theirs["CEP_pav"], abs=1e-12)
    assert scores.p[first[start]].tolist() == theirs["x_min"]
    assert scores.p[np.append(first[start][1:], scores.p.size) - 1].tolist() == theirs["x_max"]


def test_the_band_is_about_reliabilitydiags(columns, r_figures):
    # theirs draws the scores again too, from 4000 draws; ours keeps them, from 400: alike, and no figure is the other's
    result = evaluate(columns["y"].astype(int), columns["logistic"], recalibrate=False)
    points = result.calibration["event"]["reliability"]["points"]
    predicted = [p["predicted"] for p in points]
    off = []
    for name, key in (("lower", "low"), ("upper", "high")):
        for at, value in r_figures["logistic"][name]:
            if 0.05 < float(at) < 0.95:
                off.append(np.interp(float(at), predicted, [p[key] for p in points]) - float(value))
    assert len(off) > 40
    assert np.max(np.abs(off)) < 0.06
    assert abs(np.mean(off)) < 0.01


def test_the_figures_of_reliabilitydiag_say_of_what(r_figures):
    assert r_figures[""]["R"] == [("", "4.2.2")]
    assert r_figures[""]["reliabilitydiag"] == [("", "0.2.1.9000")]


@pytest.mark.parametrize("model", ["logistic", "neighbours"])
def test_the_decomposition_is_model_diagnostics(columns, model):
    found, theirs = decompose(ranked(columns[model], columns["y"])), THEIRS[model]["decompose"]
    for ours, name in (("loss", "score"), *((n, n) for n in ("uncertainty", "discrimination", "miscalibration"))):
        assert found[ours] == pytest.approx(theirs[name], rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_bias_and_calibration_error_are_the_peers(columns, model):
    y, p = columns["y"].astype(int), columns[model]
    found = evaluate(y, p, recalibrate=False).calibration["event"]["reliability"]
    assert found["bias"] == pytest.approx(THEIRS[model]["bias_mean"], rel=1e-12)
    assert found["calibration_error"] == pytest.approx(THEIRS[model]["ECE 15"], rel=1e-12)
    gaps = [abs(b["predicted"] - b["observed"]) for b in found["bins"] if b["rows"]]
    assert max(gaps) == pytest.approx(THEIRS[model]["MCE 15"], rel=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_weighted_loss_is_model_diagnostics(columns, model):
    y, w = columns["y"].astype(int), 1.0 + np.arange(len(columns["y"])) % 3
    theirs = THEIRS[model]["decompose, weights 1 + row % 3"]
    found = evaluate(y, columns[model], sample_weight=w, recalibrate=False)
    assert found.cross_entropy == pytest.approx(theirs["score"], rel=1e-12)
    assert found.figures["label_entropy"] == pytest.approx(theirs["uncertainty"], rel=1e-12)


def test_scores_that_differ_by_little_are_not_tied(columns, r_figures):
    # model-diagnostics pools by scikit-learn's IsotonicRegression, to which 1e-20 and 1e-17 are one score: it says
    # 0.76002 and 0.52607 of the naive Bayes predictions
    theirs = THEIRS["bayes"]["decompose"]
    found = decompose(ranked(columns["bayes"], columns["y"]))
    assert theirs["discrimination"] == pytest.approx(0.52607, abs=1e-5)
    assert found["discrimination"] == pytest.approx(0.5310145537603594, rel=1e-12)
    assert found["discrimination"] == pytest.approx(float(r_figures["bayes"]["log discrimination"][0][1]), rel=1e-12)
    # by hand: two of four events, sorted 0 1 0 1, are pooled 0, 1/2, 1/2, 1: two rows of entropy log 2 are left
    small = decompose(ranked(np.array([1e-30, 1e-20, 1e-17, 0.5]), np.array([0, 1, 0, 1])))
    assert small["discrimination"] == pytest.approx(math.log(2) / 2, rel=1e-14)


def test_single_precision_loses_no_digits():
    # model-diagnostics computes 1 - p in float32 and says 5.96e-8
    y, p = [1, 0], np.array([1 - 1e-7, 1e-9], dtype=np.float32)
    with mpmath.workdps(40):
        truth = float(-(mpmath.log(mpmath.mpf(float(p[0]))) + mpmath.log(1 - mpmath.mpf(float(p[1])))) / 2)
    assert truth == pytest.approx(6.01e-8, rel=1e-3)
    assert log_loss(y, p).mean == pytest.approx(truth, rel=1e-13)
    assert evaluate(y, p, recalibrate=False).cross_entropy == pytest.approx(truth, rel=1e-13)


@pytest.mark.parametrize(
    ("p", "named"),
    [
        ([1.2, 0.5], r"1\.2 in row 0"),  # model-diagnostics takes the logarithm, netcal the distance
        ([0.5, np.nan], "nan in row 1"),  # netcal leaves it out in silence
        ([-0.1, 0.5], r"-0\.1 in row 0"),
    ],
)
def test_what_is_no_probability_is_refused(p, named):
    with pytest.raises(ValueError, match=named):
        evaluate([1, 0], np.array(p))


def test_round_probabilities_fall_into_their_own_bins():
    # np.linspace(0, 1, 11)[3] is 0.30000000000000004, so netcal has 0.2 and 0.3 in one bin, and says 0
    p, y = np.array([0.2] * 4 + [0.3] * 4), np.array([0, 0, 0, 1] * 2)
    assert calibration_error(ranked(p, y), 10) == pytest.approx(0.05, rel=1e-14)
    tenths = np.repeat(np.arange(11) / 10, 3)
    happened = np.arange(33) % 2
    gap = sum(abs(3 * Fraction(k, 10) - int(happened[3 * k : 3 * k + 3].sum())) for k in range(9))
    gap += abs(3 * (Fraction(9, 10) + 1) - int(happened[27:].sum()))  # the last bin holds 1 too
    assert calibration_error(ranked(tenths, happened), 10) == pytest.approx(float(gap / 33), rel=1e-13)


def test_a_rounding_above_one_is_still_a_probability():
    # torchmetrics takes these for logits, for one is above 1, and says 0.410
    p, y = np.array([0.05, 0.1, 0.7, 1.0000002]), np.array([0, 0, 1, 1])
    found = evaluate(y, p, recalibrate=False).calibration["event"]["reliability"]
    assert found["calibration_error"] == pytest.approx(0.1125, rel=1e-6)


def test_no_p_value_is_zero(columns, r_figures):
    # reliabilitydiag says 0 from a hundred draws: the data themselves are one draw more (Phipson and Smyth, 2010)
    assert r_figures["bayes"]["miscalibration p"] == [("", "0")]
    parts = evaluate(columns["y"].astype(int), columns["bayes"], recalibrate=False).calibration["event"]
    assert parts["decomposition"]["p_value"] == pytest.approx(1 / 401)
    own = evaluate(columns["y"].astype(int), columns["logistic"], recalibrate=False).calibration["event"]
    assert own["decomposition"]["p_value"] > 0.1  # theirs, of the Brier score, is 0.63
    assert float(r_figures["logistic"]["miscalibration p"][0][1]) > 0.1


def test_classes_are_taken_in_the_order_of_the_columns():
    # scikit-learn's labels=["b", "a"] warns that it sorts them, and says 2.30
    assert evaluate(["b"], [[0.9, 0.1]], classes=["b", "a"]).cross_entropy == pytest.approx(-math.log(0.9))
    assert evaluate(["b"], [[0.1, 0.9]], classes=["a", "b"]).cross_entropy == pytest.approx(-math.log(0.9))


def test_rows_that_do_not_sum_to_one_are_refused():
    # scikit-learn warns and takes 0.5 as it stands: 0.693
    with pytest.raises(ValueError, match=r"the probabilities of row 1 sum to 0\.8, not to one"):
        evaluate([0, 1], [[0.5, 0.5], [0.3, 0.5]])
