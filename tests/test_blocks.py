"""Intervals of many pairs of embeddings, from counts: beside the bootstrap that keeps the pairs, and by hand."""

import numpy as np
import pytest

from command import run
from xent.evaluate import blocks, verify_embeddings
from xent.evaluate.blocks import embedding_intervals
from xent.evaluate.pairs import embedding_pairs, verify_intervals


def people(subjects, each, seed=0, noise=0.7):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(subjects), each)
    own = rng.uniform(0.5, 1.5, subjects)[who, None]
    return rng.normal(size=(subjects, 6))[who] + noise * own * rng.normal(size=(len(who), 6)), who


def widths(found):
    return np.array([high - low for low, high in (found.auc, found.eer, *found.tar)])


def middles(found):
    return np.array([(high + low) / 2 for low, high in (found.auc, found.eer, *found.tar)])


@pytest.mark.parametrize("block", [64, 1000])
def test_it_is_the_bootstrap_that_keeps_the_pairs(block):
    x, who = people(30, 8)
    far = (0.1, 0.01)
    scores, same, *subjects = embedding_pairs(x, who)
    kept = verify_intervals(scores, same, far=far, subjects=tuple(subjects), resamples=2000)
    counted = embedding_intervals(x, who, far=far, resamples=2000, seed=3, block=block)
    assert counted.method == kept.method == "subjects"
    assert counted.subjects == kept.subjects == 30
    assert widths(counted) == pytest.approx(widths(kept), rel=0.12)
    assert np.abs(middles(counted) - middles(kept)).max() < 0.012


def test_one_draw_by_hand(monkeypatch):
    """Every group drawn once gives the figures themselves, but for cells."""
    x, who = people(12, 6)

    class Once:
        def permutation(self, n):
            return np.arange(n)

        def multinomial(self, n, chances, size):
            return np.ones((size, n), dtype=np.int64)

    monkeypatch.setattr(blocks.np.random, "default_rng", lambda seed: Once())
    found = embedding_intervals(x, who, far=(0.1, 0.02), resamples=3)
    truth = verify_embeddings(x, who, far=(0.1, 0.02))
    assert found.auc == pytest.approx((truth.auc, truth.auc), abs=5e-4)
    assert found.eer == pytest.approx((truth.eer, truth.eer), abs=2e-3)
    for (low, high), tar in zip(found.tar, truth.tar, strict=True):
        assert low == high == pytest.approx(tar, abs=0.012)


def test_groups_of_classes_say_so_and_are_as_wide(monkeypatch):
    x, who = people(150, 3, seed=2)
    whole = embedding_intervals(x, who, far=(0.1,), resamples=600)
    assert whole.method == "subjects in 64 groups"
    assert whole.subjects == 150
    scores, same, *subjects = embedding_pairs(x, who)
    kept = verify_intervals(scores, same, far=(0.1,), subjects=tuple(subjects), resamples=600)
    assert widths(whole) == pytest.approx(widths(kept), rel=0.4)  # the groups are one random choice
    monkeypatch.setattr(blocks, "GROUPS", 150)
    assert widths(embedding_intervals(x, who, far=(0.1,), resamples=600)) == pytest.approx(widths(kept), rel=0.15)


def test_the_command_says_what_was_drawn(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, who = people(70, 4)
    np.savez("e.npz", embeddings=x, labels=who)
    monkeypatch.setattr("xent.tabular.pairs.MOST_PAIRS", 100)
    result = run("verify", "e.npz", "--far", "0.1", "--resamples", "200")
    assert "the intervals draw subjects in 64 groups" in result.stderr
    assert "70 subjects in 64 groups, drawn 200 times" in result.stdout


@pytest.mark.parametrize(
    ("labels", "options", "words"),
    [
        ([0, 0, 1, 1], {}, "three of them or more, got 2"),
        ([0, 1, 2, 3], {}, "pairs of both kinds"),
        ([0, 0, 1, 2], {"level": 1.0}, "level must lie between 0 and 1"),
        ([0, 0, 1, 2], {"far": (2.0,)}, "a false accept rate lies in"),
    ],
)
def test_errors(labels, options, words):
    with pytest.raises(ValueError, match=words):
        embedding_intervals(np.eye(4) + 0.1, labels, **options)
