"""Intervals of verification: DeLong by definition, scikit-learn's DET curve, bootstraps by brute force, coverage."""

import json
import math

import numpy as np
import polars as pl
import pytest
from scipy import stats
from sklearn.metrics import det_curve as their_det
from sklearn.metrics import roc_auc_score

from command import run
from xent.evaluate import verify, verify_embeddings
from xent.evaluate.pairs import _eer, delong, det_curve, embedding_pairs, verify_intervals

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def scored(genuine=60, impostor=400, gap=2.0, digits=9):
    values = np.append(RNG.normal(gap, 1, genuine), RNG.normal(0, 1, impostor)).round(digits)
    return values, np.arange(genuine + impostor) < genuine


@pytest.mark.parametrize("digits", [9, 0])
def test_det_curve_is_scikit_learns(digits):
    scores, same = scored(digits=digits)
    found = det_curve(scores, same)
    far, frr, thresholds = their_det(same, scores)
    ours = {t: (a, r) for t, a, r in zip(found.thresholds, found.far, found.frr, strict=True)}
    for a, r, t in zip(far, frr, thresholds, strict=True):
        assert ours[t] == pytest.approx((a, r))
    assert (found.far[0], found.frr[0], found.far[-1], found.frr[-1]) == (0, 1, 1, 0)
    thin = found.thinned(20)
    assert len(thin.far) <= 20
    assert set(thin.thresholds) <= set(found.thresholds)
    assert (thin.far[0], thin.far[-1]) == (0, 1)


def test_delong_by_its_definition():
    scores, same = scored(25, 40, gap=1, digits=1)
    g, i = scores[same], scores[~same]
    kernel = (g[:, None] > i) + 0.5 * (g[:, None] == i)
    auc = kernel.mean()
    assert auc == pytest.approx(roc_auc_score(same, scores))
    error = math.sqrt(kernel.mean(axis=1).var(ddof=1) / 25 + kernel.mean(axis=0).var(ddof=1) / 40)
    half = 1.959963984540054 * error / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    expected = [1 / (1 + math.exp(-(logit + s * half))) for s in (-1, 1)]
    assert delong(np.sort(g), np.sort(i)) == pytest.approx(expected, rel=1e-9)
    low, high = delong(np.array([5.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    assert (0 < low < 0.5, high) == (True, 1.0)


def test_equal_error_of_counts_is_verifys():
    scores, same = scored(digits=1)
    values = np.unique(scores)[::-1]
    genuine, impostor = ([np.sum(scores[k] == v) for v in values] for k in (same, ~same))
    assert _eer(genuine, impostor) == pytest.approx(verify(scores, same, far=()).eer)


def brute(scores, same, far, draws):
    """Both kinds drawn again, in full."""
    g, i = scores[same], scores[~same]
    out = []
    for _ in range(draws):
        drawn = np.append(RNG.choice(g, len(g)), RNG.choice(i, len(i)))
        found = verify(drawn, np.arange(len(drawn)) < len(g), far=far)
        out.append([found.eer, *found.tar])
    return np.quantile(out, [0.025, 0.975], axis=0).T


def test_independent_pairs_as_a_bootstrap_in_full():
    scores, same = scored(200, 1000)
    found = verify_intervals(scores, same, far=(0.1, 0.01), resamples=4000)
    eer, tenth, hundredth = brute(scores, same, (0.1, 0.01), 1500)
    assert found.eer == pytest.approx(tuple(eer), abs=0.01)
    assert found.tar[0] == pytest.approx(tuple(tenth), abs=0.02)
    assert found.tar[1] == pytest.approx(tuple(hundredth), abs=0.03)
    assert found.method == "independent pairs"


def test_many_distinct_scores_are_grouped_without_harm():
    scores, same = scored(4000, 6000)
    point = verify(scores, same)
    low, high = verify_intervals(scores, same, resamples=300).eer
    assert low < point.eer < high
    error = math.sqrt(point.eer * (1 - point.eer) / 4000)
    assert 1.5 * error < high - low < 5 * error


def test_intervals_hold_the_truth():
    """95% intervals of 120 samples; the truth in closed form for two normals of unit variance."""
    from statistics import NormalDist

    normal = NormalDist()
    truth = {
        "auc": normal.cdf(2 / math.sqrt(2)),
        "eer": normal.cdf(-1),
        "tar": 1 - normal.cdf(normal.inv_cdf(0.95) - 2),
    }
    held = dict.fromkeys(truth, 0)
    for k in range(120):
        scores, same = scored(80, 400)
        found = verify_intervals(scores, same, far=(0.05,), resamples=200, seed=k)
        for name, (low, high) in (("auc", found.auc), ("eer", found.eer), ("tar", found.tar[0])):
            held[name] += low <= truth[name] <= high
    assert all(v >= 108 for v in held.values()), held


def people(number, each, spread=1.0):
    centres = RNG.normal(size=(number, 6))
    rows = np.repeat(centres, each, axis=0) + spread * RNG.normal(size=(number * each, 6))
    return rows, np.repeat(np.arange(number), each)


def test_subjects_make_intervals_longer():
    x, person = people(15, 12)
    scores, same, a, b = embedding_pairs(x, person)
    point = verify_embeddings(x, person, far=(0.1,))
    assert roc_auc_score(same, scores) == pytest.approx(point.auc, abs=1e-6)
    naive = verify_intervals(scores, same, far=(0.1,))
    found = verify_intervals(scores, same, far=(0.1,), subjects=(a, b), resamples=300)
    assert (found.method, found.subjects) == ("subjects", 15)
    for ours, theirs, value in (
        (found.auc, naive.auc, point.auc),
        (found.eer, naive.eer, point.eer),
        (found.tar[0], naive.tar[0], point.tar[0]),
    ):
        assert ours[0] < value < ours[1]
        assert ours[1] - ours[0] > 2 * (theirs[1] - theirs[0])


def test_subject_draws_by_hand():
    """Three subjects, one draw: percentiles of one draw are that draw."""
    scores, same = np.array([0.9, 0.8, 0.3, 0.85, 0.1, 0.2]), np.array([1, 1, 1, 0, 0, 0])
    a, b = np.array([0, 1, 2, 0, 0, 1]), np.array([0, 1, 2, 1, 2, 2])
    found = verify_intervals(scores, same, far=(0.0,), subjects=(a, b), resamples=1, seed=3)
    rng = np.random.default_rng(3)
    while True:
        times = rng.multinomial(3, np.full(3, 1 / 3))
        copies = np.array([times[i] if i == j else times[i] * times[j] for i, j in zip(a, b, strict=True)])
        if copies[:3].any() and copies[3:].any():
            break
    expected = roc_auc_score(np.repeat(same, copies), np.repeat(scores, copies))
    assert found.auc == pytest.approx((expected, expected))


def test_no_error_is_no_certainty():
    found = verify_intervals([3.0, 4, 5, 1, 2], [1, 1, 1, 0, 0], far=(0.0,))
    assert found.eer[0] == 0.0
    assert found.eer[1] > 0.5
    assert found.tar[0][0] < 0.6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: verify_intervals([1.0, 2], [1, 1]), "both kinds are needed, got 2 genuine and 0"),
        (lambda: det_curve([1.0], [0]), "both kinds"),
        (lambda: verify_intervals([1.0, 2], [1, 0], level=2), "level"),
        (lambda: verify_intervals([1.0, 2], [1, 0], subjects=([1], [2])), "subjects of shape"),
        (lambda: verify_intervals([1.0, 2], [1, 0], subjects=([1, 1], [1, 2])), "three of them"),
        (lambda: embedding_pairs(np.ones((2500, 1)), np.zeros(2500, int)), "more than the 2000000"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_command_on_pairs():
    scores, same = scored(40, 200)
    left, right = RNG.integers(0, 30, (2, 240))
    pl.DataFrame({"s": scores, "m": same, "l": left, "r": right}).write_csv("p.csv")
    document = json.loads(run("verify", "p.csv", "--score", "s", "--same", "m", "--far", "0.1", "--json").stdout)
    point = verify(scores, same, far=(0.1,))
    assert document["tar"] == pytest.approx(list(point.tar))
    assert document["intervals"]["tar"][0] == pytest.approx(verify_intervals(scores, same, far=(0.1,)).tar[0])
    assert len(document["det"]["far"]) == len(document["det"]["frr"]) <= 500
    same_again = json.loads(run("evaluate", "p.csv", "--pairs", "-t", "m", "-p", "s", "--json").stdout)
    assert same_again["auc"] == document["auc"]
    result = run("verify", "p.csv", "--score", "s", "--same", "m", "--far", "0.1", "-o", "det.csv")
    assert "TAR at FAR 0.1" in result.stdout
    assert "give --subjects" in result.stderr
    assert pl.read_csv("det.csv").columns == ["threshold", "far", "frr"]
    clustered = run("verify", "p.csv", "--score", "s", "--same", "m", "--far", "0.1", "--subjects", "l", "r")
    assert "30 subjects, drawn 1000 times" in clustered.stdout


def test_command_on_embeddings():
    x, person = people(10, 6)
    np.savez("e.npz", embeddings=x, labels=person)
    pl.DataFrame({"v": x.tolist(), "who": [f"n{k}" for k in person]}).write_parquet("e.parquet")
    documents = [
        json.loads(run("verify", *args, "--far", "0.1", "--json").stdout)
        for args in (["e.npz"], ["e.parquet", "--embedding", "v", "--label", "who"])
    ]
    assert documents[0]["auc"] == documents[1]["auc"] == pytest.approx(verify_embeddings(x, person, far=(0.1,)).auc)
    assert documents[0]["intervals"]["method"] == "subjects"


def test_the_curve_of_very_many_pairs_is_that_of_all_of_them(monkeypatch):
    """They are counted, not kept, and the table has the whole curve all the same, with intervals."""
    x, person = people(12, 5)
    np.savez("e.npz", embeddings=x, labels=person)
    scores, same, *_ = embedding_pairs(x, person)
    truth = det_curve(scores, same).thinned(500)
    monkeypatch.setattr("xent.tabular.pairs.MOST_PAIRS", 100)
    document = json.loads(run("verify", "e.npz", "--far", "0.1", "--json").stdout)
    assert document["intervals"]["method"] == "subjects"
    assert document["intervals"]["auc"][0] < document["auc"] < document["intervals"]["auc"][1]
    assert document["det"]["far"] == truth.far.tolist()
    assert document["det"]["frr"] == truth.frr.tolist()
    assert document["auc"] == verify_embeddings(x, person, far=(0.1,)).auc


def test_a_thinned_curve_keeps_its_ends_and_its_points_lie_on_it():
    scores, same = scored(3000, 40_000)
    whole = det_curve(scores, same)
    thin = whole.thinned(300)
    assert 150 < len(thin.far) <= 300
    at = np.searchsorted(-whole.thresholds, -thin.thresholds)
    assert np.array_equal(whole.thresholds[at], thin.thresholds)
    assert np.array_equal(whole.far[at], thin.far)
    assert np.array_equal(whole.frr[at], thin.frr)
    assert (thin.far[0], thin.frr[0], thin.far[-1], thin.frr[-1]) == (0, 1, 1, 0)
    steps = np.diff(stats.norm.ppf(thin.far[1:-1].clip(1e-9)) - stats.norm.ppf(thin.frr[1:-1].clip(1e-9, 1 - 1e-9)))
    assert np.median(steps) < 3 * (stats.norm.ppf(1 - 1e-9) * 4) / 300


@pytest.mark.parametrize(
    ("text", "args", "message"),
    [
        ("score,same\n1,2\n", [], "column 'same' holds 2; it must hold 0 and 1"),
        ("score,same\n1,\n2,1\n", [], "'same' is missing in 1 row"),
        ("score,same\n1,1\n", [], "both kinds are needed"),
        ("score,same\n1,1\n", ["--score", "scor"], "no column 'scor'. Did you mean 'score'?"),
        ("score,same\n1,1\n2,0\n", ["--far", "2"], "lies in [0, 1], got 2"),
        ("score,same\n1,1\n2,0\n", ["--embedding", "score"], "go together"),
        ("score,same\n1,1\n2,0\n", ["--embedding", "score", "--label", "same"], "not lists of numbers"),
    ],
)
def test_bad_files_are_told(text, args, message):
    with open("p.csv", "w") as file:
        file.write(text)
    assert message in run("verify", "p.csv", *args, code=2).stderr


def test_bad_arrays():
    np.savez("a.npz", x=np.ones(3))
    assert "no array 'embeddings'; there are x" in run("verify", "a.npz", code=2).stderr
    np.savez("b.npz", embeddings=np.array([{}], dtype=object), labels=np.ones(1))
    assert "without running code" in run("verify", "b.npz", code=2).stderr
    with open("c.npz", "w") as file:
        file.write("score,same\n")
    assert "c.npz" in run("verify", "c.npz", code=2).stderr
    assert "no such file" in run("verify", "d.npz", code=2).stderr
