"""Language models judged by the log-probabilities of their tokens: perplexity per token, word and byte, bits per byte.

A perplexity per token compares models of one vocabulary only: a model with longer tokens has fewer of them and pays
more for each. Per byte of the same text the vocabulary drops out. Tokens of one document depend on each other, so
documents are what the intervals count.

>>> found = Documents.from_tokens([-1.0, -0.5, -2.0, -0.1], ["a", "a", "b", "b"], texts={"a": "to be", "b": "or not"})
>>> result = evaluate_language(found)
>>> result.tokens, result.words, result.bytes, round(result.perplexity, 3), round(result.bits_per_byte, 3)
(4, 4, 11, 2.46, 0.472)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._means import Mean, holm

UNITS = {"nats": 1.0, "bits": math.log(2), "log10": math.log(10)}
"""Units of log-probabilities, in nats."""
_ROUNDING = 1e-5  # how far above 0 float32 leaves the log-probability of a certain token
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Documents:
    """What each document cost, and how long it is.

    Attributes
    ----------
    names : tuple of str
    losses : float64 array (documents,)
        The sums of -log p of their tokens, in nats.
    tokens : float64 array (documents,)
        How many tokens have a log-probability.
    words, bytes : float64 array (documents,) or None
    impossible : tuple of int
        The places, counted from 0, of tokens of probability 0.
    """

    names: tuple[str, ...]
    losses: Array
    tokens: Array
    words: Array | None = None
    bytes: Array | None = None
    impossible: tuple[int, ...] = ()

    @classmethod
    def from_tokens(
        cls,
        log_probs: ArrayLike,
        documents: ArrayLike | None = None,
        *,
        unit: str = "nats",
        texts: Mapping[Any, str] | None = None,
        words: Mapping[Any, int] | None = None,
        bytes: Mapping[Any, int] | None = None,
    ) -> Documents:
        """Add tokens up by document.

        Parameters
        ----------
        log_probs : array of shape (tokens,)
            Log-probability of each token given those before it; -inf for 0.
        documents : array of shape (tokens,), optional
            Which document each is of; by default all are one.
        unit : "nats", "bits" or "log10"
            Of the log-probabilities: natural logarithms, base 2, base 10.
        texts : dict of document to text, optional
            Words are counted between white space, bytes in UTF-8.
        words, bytes : dict of document to int, optional
            Counts, instead of texts.

        Raises
        ------
        ValueError
            An unknown unit; log-probabilities that are NaN or above 0; a document without a text or count.
        """
        if unit not in UNITS:
            raise ValueError(f"the unit of log-probabilities is one of {', '.join(UNITS)}, got {unit!r}")
        logs = np.asarray(log_probs, dtype=np.float64)
        if logs.ndim != 1 or not logs.size:
            raise ValueError(f"log_probs of shape (tokens,) are needed, got {logs.shape}")
        marks = np.zeros(len(logs), np.int64) if documents is None else np.asarray(documents)
        if marks.shape != logs.shape:
            raise ValueError(f"documents of shape {logs.shape} are needed, one a token, got {marks.shape}")
        bad = np.flatnonzero(np.isnan(logs) | (logs > _ROUNDING))
        if bad.size:
            raise ValueError(
                f"the log-probability of token {bad[0]} is {logs[bad[0]]:.6g}, and none is above 0: are these losses, "
                "or probabilities?"
            )
        found, first, code = np.unique(marks, return_index=True, return_inverse=True)
        order = np.argsort(first)  # documents as they come
        keys = found[order].tolist()
        losses = -np.bincount(code, weights=logs * UNITS[unit])[order] + 0.0
        if texts is not None:
            whole = {k: _of(texts, k, "text") for k in keys}
            words = {k: len(t.split()) for k, t in whole.items()} if words is None else words
            bytes = {k: len(t.encode()) for k, t in whole.items()} if bytes is None else bytes
        return cls(
            tuple(str(k) for k in keys),
            np.asarray(losses, dtype=np.float64),
            np.bincount(code).astype(np.float64)[order],
            _counts(words, keys, "words"),
            _counts(bytes, keys, "bytes"),
            tuple(np.flatnonzero(np.isinf(logs)).tolist()),
        )


@dataclass(frozen=True)
class LanguageEvaluation:
    """A language model's figures on some documents.

    Attributes
    ----------
    documents, tokens : int
    words, bytes : int or None
        None where they are not known.
    loss : float
        -log p of all the text, in nats; infinite where a token had probability 0.
    per_token, per_word, per_byte : Mean or None
        In nats: the loss over the number of tokens, words, bytes, with a standard error from the documents.
    impossible : int
        Tokens of probability 0; the first ten of them in `impossible_tokens`, counted from 0.
    impossible_tokens : tuple of int
    level : float
        Of the intervals.
    """

    documents: int
    tokens: int
    words: int | None
    bytes: int | None
    loss: float
    per_token: Mean
    per_word: Mean | None
    per_byte: Mean | None
    impossible: int
    impossible_tokens: tuple[int, ...]
    level: float

    @property
    def perplexity(self) -> float:
        """Per token: e to the cross-entropy per token."""
        return _exp(self.per_token.value)

    @property
    def word_perplexity(self) -> float | None:
        """Per word."""
        return None if self.per_word is None else _exp(self.per_word.value)

    @property
    def byte_perplexity(self) -> float | None:
        """Per byte."""
        return None if self.per_byte is None else _exp(self.per_byte.value)

    @property
    def bits_per_byte(self) -> float | None:
        """The loss per byte of UTF-8, in bits: what a compressor built on the model would reach."""
        return None if self.per_byte is None else self.per_byte.value / math.log(2)

    def to_dict(self) -> dict[str, Any]:
        """Every figure under its name, with intervals. Infinities and NaN stay floats."""
        out: dict[str, Any] = {
            "documents": self.documents, "tokens": self.tokens, "words": self.words, "bytes": self.bytes,
            "loss": self.loss, "impossible": self.impossible, "impossible_tokens": list(self.impossible_tokens),
            "level": self.level,
        }  # fmt: skip
        for unit, mean in (("token", self.per_token), ("word", self.per_word), ("byte", self.per_byte)):
            if mean is None:
                continue
            low, high = mean.interval(self.level)
            out[f"nats_per_{unit}"], out[f"nats_per_{unit}_error"] = mean.value, mean.error
            out[f"bits_per_{unit}"] = mean.value / math.log(2)
            out[f"bits_per_{unit}_interval"] = [low / math.log(2), high / math.log(2)]
            out[f"perplexity_per_{unit}"] = _exp(mean.value)
            out[f"perplexity_per_{unit}_interval"] = [_exp(low), _exp(high)]
        return out


def evaluate_language(documents: Documents, *, level: float = 0.95) -> LanguageEvaluation:
    """Judge a language model.

    Parameters
    ----------
    documents : Documents
    level : float
        Of the intervals.

    Returns
    -------
    LanguageEvaluation

    Notes
    -----
    A figure per token is a ratio of two sums over documents, ``R = sum L_d / sum n_d``. Its standard error is that of a
    ratio estimator, from the residuals ``L_d - R n_d`` (Cochran, Sampling Techniques, 1977, section 6.4), with one less
    than the number of documents for degrees of freedom. With one document there is no interval.
    """
    d = documents
    return LanguageEvaluation(
        documents=len(d.names),
        tokens=int(d.tokens.sum()),
        words=None if d.words is None else int(d.words.sum()),
        bytes=None if d.bytes is None else int(d.bytes.sum()),
        loss=float(d.losses.sum()),
        per_token=ratio(d.losses, d.tokens),
        per_word=None if d.words is None else ratio(d.losses, d.words),
        per_byte=None if d.bytes is None else ratio(d.losses, d.bytes),
        impossible=len(d.impossible),
        impossible_tokens=d.impossible[:10],
        level=level,
    )


@dataclass(frozen=True)
class LanguagePair:
    """Two language models on the same text.

    Attributes
    ----------
    first, second : str
    difference : Mean
        Bits per byte of the first less the second's: below 0 the first is better. NaN or infinite where a token had
        probability 0.
    interval : tuple of two floats
    p_value, p_adjusted : float
        Paired over documents; Holm's over all pairs.
    won : float
        Share of the documents that cost the first less.
    """

    first: str
    second: str
    difference: Mean
    interval: tuple[float, float]
    p_value: float
    p_adjusted: float
    won: float


def compare_language(models: Mapping[str, Documents], *, level: float = 0.95) -> tuple[LanguagePair, ...]:
    """Compare language models, of any vocabularies, by bits per byte of the same documents.

    Parameters
    ----------
    models : dict of name to Documents
        Of the same documents, in any order, with their bytes.
    level : float
        Of the intervals.

    Returns
    -------
    tuple of LanguagePair
        All pairs, the better first.

    Raises
    ------
    ValueError
        Fewer than two models, no bytes, documents that are not the same or not of the same length in bytes.
    """
    if len(models) < 2:
        raise ValueError(f"two models or more are compared, got {len(models)}")
    base, head = next(iter(models.items()))
    losses = {}
    for name, d in models.items():
        if d.bytes is None:
            raise ValueError(f"{name}: comparing needs the documents' bytes, from their texts or as counts")
        only = sorted(set(head.names) ^ set(d.names))
        if only:
            raise ValueError(f"{name} and {base} are not of the same documents: only one has {only[0]!r}")
        place = {n: k for k, n in enumerate(d.names)}
        order = np.array([place[n] for n in head.names])
        assert head.bytes is not None
        off = np.flatnonzero(d.bytes[order] != head.bytes)
        if off.size:
            raise ValueError(
                f"document {head.names[off[0]]!r} has {int(head.bytes[off[0]])} bytes in {base} and "
                f"{int(d.bytes[order][off[0]])} in {name}: they are not of the same text"
            )
        losses[name] = d.losses[order]
    assert head.bytes is not None
    ranked = sorted(losses, key=lambda n: float(losses[n].sum()))
    pairs = []
    for a, b in combinations(ranked, 2):
        with np.errstate(invalid="ignore"):
            off_bits = (losses[a] - losses[b]) / math.log(2)
        mean = ratio(off_bits, head.bytes)
        pairs.append((a, b, mean, float((losses[a] < losses[b]).mean())))
    adjusted = holm([m.p_value() for _, _, m, _ in pairs])
    return tuple(
        LanguagePair(a, b, m, m.interval(level), m.p_value(), p, won)
        for (a, b, m, won), p in zip(pairs, adjusted, strict=True)
    )


def ratio(sums: Array, sizes: Array) -> Mean:
    """``sum(sums) / sum(sizes)`` with the error of a ratio over its units."""
    total = float(sizes.sum())
    value = float(sums.sum()) / total if total else math.nan
    parts = len(sums)
    if parts < 2 or not math.isfinite(value):
        return Mean(value, math.nan, parts - 1)
    off = sums - value * sizes
    return Mean(value, math.sqrt(float(off @ off) * parts / (parts - 1)) / total, parts - 1)


def _of(table: Mapping[Any, Any], key: Any, what: str) -> Any:
    if key not in table:
        raise ValueError(f"document {key!r} has no {what}")
    return table[key]


def _counts(table: Mapping[Any, int] | None, keys: list[Any], what: str) -> Array | None:
    if table is None:
        return None
    counts = np.array([_of(table, k, f"number of {what}") for k in keys], dtype=np.float64)
    if (counts < 0).any() or not counts.sum():
        raise ValueError(f"the numbers of {what} are not all 0 and none is below 0")
    return counts


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
