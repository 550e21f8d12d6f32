"""Language models: sums in mpmath, the ratio's error by the jackknife, unigram models of two vocabularies."""

import json
import math
from collections import Counter

import mpmath
import numpy as np
import polars as pl
import pytest
from scipy import stats

from command import run
from xent.evaluate.language import Documents, compare_language, evaluate_language

RNG = np.random.default_rng(0)
TEXTS = {f"d{k}": " ".join(RNG.choice(["the", "cat", "sät", "on", "a", "mat"], RNG.integers(5, 40))) for k in range(12)}


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def unigram(cut):
    """Token rows of a unigram model whose tokens are what `cut` makes of a text: document, token, log-probability."""
    tokens = [(d, t) for d, text in TEXTS.items() for t in cut(text)]
    counts = Counter(t for _, t in tokens)
    return [(d, t, math.log(counts[t] / len(tokens))) for d, t in tokens]


def words(text):
    first, *rest = text.split()
    return [first, *(" " + w for w in rest)]


def test_figures_are_the_sums():
    rows = unigram(words)
    found = evaluate_language(Documents.from_tokens([r[2] for r in rows], [r[0] for r in rows], texts=TEXTS))
    with mpmath.workdps(30):
        total = -mpmath.fsum(mpmath.mpf(r[2]) for r in rows)
        n_words, n_bytes = sum(len(t.split()) for t in TEXTS.values()), sum(len(t.encode()) for t in TEXTS.values())
        assert found.perplexity == pytest.approx(float(mpmath.e ** (total / len(rows))), rel=1e-12)
        assert found.word_perplexity == pytest.approx(float(mpmath.e ** (total / n_words)), rel=1e-12)
        assert found.byte_perplexity == pytest.approx(float(mpmath.e ** (total / n_bytes)), rel=1e-12)
        assert found.bits_per_byte == pytest.approx(float(total / n_bytes / mpmath.log(2)), rel=1e-12)
    assert (found.tokens, found.words, found.bytes, found.documents) == (len(rows), n_words, n_bytes, 12)
    assert n_bytes > sum(len(t) for t in TEXTS.values())  # ä is two


def test_units():
    logs = -RNG.exponential(size=20)
    nats = Documents.from_tokens(logs).losses
    assert Documents.from_tokens(logs / math.log(2), unit="bits").losses == pytest.approx(nats)
    assert Documents.from_tokens(logs / math.log(10), unit="log10").losses == pytest.approx(nats)


def test_the_interval_is_clustered_by_document():
    """Against the jackknife over documents, which knows nothing of residuals."""
    level = np.repeat(RNG.normal(size=60), 30)  # documents are easy or hard
    logs, docs = -np.exp(0.5 * level + 0.1 * RNG.normal(size=1800)), np.repeat(np.arange(60), 30)
    kept = RNG.random(1800) < 0.7
    logs, docs = logs[kept], docs[kept]
    found = evaluate_language(Documents.from_tokens(logs, docs)).per_token
    without = np.array([-logs[docs != d].mean() for d in range(60)])
    jackknife = math.sqrt(59 / 60 * ((without - without.mean()) ** 2).sum())
    assert found.error == pytest.approx(jackknife, rel=0.05)
    assert found.error > 3 * stats.sem(logs)
    assert found.df == 59


def test_vocabularies_are_compared_by_bytes():
    models = {}
    for name, cut in (("words", words), ("letters", list)):
        rows = unigram(cut)
        models[name] = Documents.from_tokens([r[2] for r in rows], [r[0] for r in rows], texts=TEXTS)
    per_token = {n: evaluate_language(d).perplexity for n, d in models.items()}
    per_byte = {n: evaluate_language(d).bits_per_byte for n, d in models.items()}
    assert per_byte["words"] < per_byte["letters"]
    (pair,) = compare_language(models)
    assert (pair.first, pair.second) == ("words", "letters")
    assert pair.difference.value == pytest.approx(per_byte["words"] - per_byte["letters"])
    assert pair.interval[1] < 0
    assert pair.won == 1.0
    assert per_token["words"] != pytest.approx(per_token["letters"])
    one = models["words"]
    order = RNG.permutation(12)
    shuffled = Documents(
        tuple(one.names[k] for k in order), one.losses[order], one.tokens[order], None, one.bytes[order]
    )
    assert compare_language({"a": one, "b": shuffled})[0].difference.value == 0


def test_equal_documents_pair_as_scipys_t():
    a, b, size = RNG.exponential(size=9), RNG.exponential(size=9), np.full(9, 8.0)
    names = tuple("abcdefghi")
    found = compare_language({"a": Documents(names, a, size, None, size), "b": Documents(names, b, size, None, size)})
    assert found[0].p_value == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)


def test_an_impossible_token_costs_infinity():
    found = evaluate_language(Documents.from_tokens([-1.0, -math.inf, -1.0], ["a", "b", "b"]))
    assert found.perplexity == math.inf
    assert found.impossible_tokens == (1,)
    assert math.isnan(found.per_token.error)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Documents.from_tokens([-1.0], unit="log2"), "one of nats, bits, log10"),
        (lambda: Documents.from_tokens([-1.0, 0.5]), "token 1 is 0.5, and none is above 0"),
        (lambda: Documents.from_tokens([-1.0, math.nan]), "token 1 is nan"),
        (lambda: Documents.from_tokens([]), "shape"),
        (lambda: Documents.from_tokens([-1.0], ["a", "b"]), "one a token"),
        (lambda: Documents.from_tokens([-1.0], ["a"], texts={}), "document 'a' has no text"),
        (lambda: Documents.from_tokens([-1.0], ["a"], bytes={"a": 0}), "bytes are not all 0"),
        (lambda: compare_language({"a": Documents.from_tokens([-1.0])}), "two models"),
        (lambda: compare_language(dict.fromkeys("ab", Documents.from_tokens([-1.0]))), "a: comparing needs"),
        (
            lambda: compare_language(
                {k: Documents.from_tokens([-1.0], ["x"], bytes={"x": len(k)}) for k in ("a", "bb")}
            ),
            "document 'x' has 1 bytes in a and 2 in bb",
        ),
        (
            lambda: compare_language({k: Documents.from_tokens([-1.0], [k], bytes={k: 3}) for k in "ab"}),
            "only one has 'a'",
        ),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_command_tokens_and_lists_agree():
    rows = unigram(words)
    table = pl.DataFrame(rows, schema=["doc", "token", "logprob"], orient="row")
    table.write_parquet("t.parquet")
    lists = table.group_by("doc", maintain_order=True).agg(pl.col("logprob").alias("logprobs"))
    lists = lists.with_columns(text=pl.Series([TEXTS[d] for d in lists["doc"]]))
    lists.write_ndjson("t.jsonl")
    one = json.loads(run("perplexity", "t.parquet", "--unit", "nats", "-d", "doc", "--token", "token", "--json").stdout)
    two = json.loads(
        run("perplexity", "t.jsonl", "--unit", "nats", "-l", "logprobs", "--text", "text", "--json").stdout
    )
    for key in ("tokens", "words", "bytes", "perplexity_per_token", "bits_per_byte", "documents"):
        assert one[key] == pytest.approx(two[key], rel=1e-9)
    expected = evaluate_language(Documents.from_tokens([r[2] for r in rows], [r[0] for r in rows], texts=TEXTS))
    assert one["bits_per_byte"] == pytest.approx(expected.bits_per_byte)
    text = run("perplexity", "t.parquet", "--unit", "nats", "-d", "doc", "--token", "token").stdout
    assert "per byte" in text
    assert "12 documents" in text
    pair = run("perplexity", "t.jsonl", "u.jsonl", "--unit", "nats", "-l", "logprobs", "--text", "text", code=2)
    assert "no such file" in pair.stderr
    lists.with_columns(pl.col("logprobs") * 2).write_ndjson("u.jsonl")
    args = ("perplexity", "t.jsonl", "u.jsonl", "--unit", "nats", "-l", "logprobs", "-d", "doc", "--text", "text")
    document = json.loads(run(*args, "--json").stdout)
    assert document["comparison"][0]["first"] == "t.jsonl"
    assert "t.jsonl - u.jsonl" in run(*args).stdout


@pytest.mark.parametrize(
    ("rows", "args", "message"),
    [
        ('{"d": "a", "logprob": null}\n{"d": "a", "logprob": -1}\n', [], "1 token of 2 have no log-probability"),
        ('{"d": "a", "logprob": 1.5}\n', [], "are these losses"),
        ('{"d": "a", "logprob": "x"}\n', [], "not numbers"),
        ('{"d": "a", "logprob": [-1]}\n{"d": "a", "logprob": [-1]}\n', ["-d", "d"], "two rows are of one document"),
        ('{"d": "a", "t": "x", "logprob": [-1]}\n', ["--token", "t"], "with a document a row"),
        (
            '{"d":"a","t":"x","logprob":-1}\n{"d":"a","t":"y","logprob":-1}\n',
            ["-d", "d", "--text", "t"],
            "more than one",
        ),
        ('{"d": null, "logprob": -1}\n{"d": "a", "logprob": -1}\n', ["-d", "d"], "'d' is missing in 1 row"),
    ],
)
def test_bad_files_are_told(rows, args, message):
    with open("t.jsonl", "w") as file:
        file.write(rows)
    assert message in run("perplexity", "t.jsonl", "--unit", "nats", *args, code=2).stderr


def test_notes_and_usage():
    with open("t.jsonl", "w") as file:
        file.write('{"t": "Ġa", "logprob": null}\n{"t": "Ġb", "logprob": -1}\n')
    said = run("perplexity", "t.jsonl", "--unit", "bits", "--token", "t", "--drop-missing").stderr
    assert "1 token without a log-probability left out" in said
    assert "marks for spaces" in said
    assert "one document, so no interval" in said
    pl.DataFrame({"t": ["a ", "b"], "logprob": [-1.0, -2.0]}).write_csv("t.csv")
    assert "CSV loses those" in run("perplexity", "t.csv", "--unit", "bits", "--token", "t").stderr
    assert "--unit" in run("perplexity", "t.jsonl", code=2).stderr
    assert "one of them" in run("perplexity", "t.jsonl", "--unit", "bits", "--token", "t", "--text", "t", code=2).stderr
