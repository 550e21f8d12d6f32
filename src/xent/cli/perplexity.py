"""``xent perplexity``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from .options import json_option
from .output import Rows, number, print_json, print_notes, print_table

if TYPE_CHECKING:
    from ..evaluate._means import Mean
    from ..evaluate.language import LanguageEvaluation

_EPILOG = """\b
Examples:
  xent perplexity tokens.parquet --logprob logprob --unit nats --document doc --token token
  xent perplexity scored.jsonl --logprob token_logprobs --unit nats --text text
  xent perplexity small.jsonl large.jsonl -l logprobs --unit nats --document id --text text

A token a row, or a document a row with a list of log-probabilities. Per token, models of different vocabularies cannot
be compared; per byte of the same text they can. Intervals count documents, not tokens. Several files are compared,
document by document.
"""


@click.command("perplexity", epilog=_EPILOG)
@click.argument("files", nargs=-1, required=True, metavar="FILE [FILE ...]")
@click.option("--logprob", "-l", default="logprob", show_default=True, metavar="COLUMN", help="Log-probabilities.")
@click.option(
    "--unit", required=True, type=click.Choice(["nats", "bits", "log10"]),
    help="Of the log-probabilities: base e, 2 or 10. No default, for a wrong one is not noticed.",
)  # fmt: skip
@click.option("--document", "-d", metavar="COLUMN", help="Which document a token is of; or the documents' names.")
@click.option("--text", metavar="COLUMN", help="The documents' texts, for words and bytes.")
@click.option("--token", metavar="COLUMN", help="The tokens' own texts instead, a token a row.")
@click.option("--level", default=0.95, show_default=True, help="Of the intervals.")
@click.option("--drop-missing", is_flag=True, help="Leave tokens without a log-probability out.")
@json_option
def command(
    files: tuple[str, ...],
    logprob: str,
    unit: str,
    document: str | None,
    text: str | None,
    token: str | None,
    level: float,
    drop_missing: bool,
    as_json: bool,
) -> None:
    """Judge language models by their tokens' log-probabilities.

    Prints perplexity per token, word and byte, and bits per byte, with intervals clustered by document.
    """
    if text is not None and token is not None:
        raise click.UsageError("--text and --token: one of them says what the text is")
    if not 0 < level < 1:
        raise click.UsageError(f"--level must lie between 0 and 1, got {level}")
    from ..evaluate.language import compare_language, evaluate_language
    from ..tabular.errors import TableError
    from ..tabular.read import read_table
    from ..tabular.tokens import read_tokens

    if len(set(files)) < len(files):
        raise click.UsageError("a file is given twice")
    documents, notes = {}, []
    for file in files:
        documents[file], said = read_tokens(
            read_table(file, text_columns=[c for c in (document, text, token) if c]), logprob, unit,
            document=document, text=text, token=token, drop_missing=drop_missing,
        )  # fmt: skip
        notes += said if len(files) == 1 else [f"{file}: {s}" for s in said]
    results = {file: evaluate_language(d, level=level) for file, d in documents.items()}
    try:
        pairs = compare_language(documents, level=level) if len(files) > 1 else ()
    except ValueError as error:
        raise TableError(str(error)) from None
    if any(r.documents == 1 for r in results.values()):
        notes.append("one document, so no interval; --document COLUMN says where documents end")
    if as_json:
        comparison = [{"first": p.first, "second": p.second, "bits_per_byte_difference": p.difference.value,
                       "interval": list(p.interval), "p_value": p.p_value, "p_adjusted": p.p_adjusted,
                       "documents_won": p.won} for p in pairs]  # fmt: skip
        one = {"file": files[0], **results[files[0]].to_dict()}
        many = {"files": {f: r.to_dict() for f, r in results.items()}, "comparison": comparison}
        print_json({**(one if len(files) == 1 else many), "notes": notes})
        return
    for file, result in results.items():
        print_table(f"Figures of {file}", ("", "perplexity", "bits", "interval of bits"), _rows(result))
    if pairs:
        print_table(
            "Differences in bits per byte", ("", "difference", "interval", "p", "documents won"),
            [(f"{p.first} - {p.second}", number(p.difference.value), _interval(p.interval),
              "" if math.isnan(p.p_adjusted) else f"{p.p_adjusted:.3g}", f"{p.won:.1%}") for p in pairs],
        )  # fmt: skip
    print_notes(notes)


def _rows(result: LanguageEvaluation) -> Rows:
    def row(name: str, mean: Mean | None) -> Rows:
        if mean is None:
            return []
        bits = tuple(v / math.log(2) for v in mean.interval(result.level))
        perplexity = math.exp(mean.value) if mean.value < 700 else math.inf
        return [(name, number(perplexity), number(mean.value / math.log(2)), _interval((bits[0], bits[1])))]

    from ..tabular.errors import count

    sizes = [("tokens", str(result.tokens), "", count(result.documents, "document"))]
    sizes += [(n, str(v), "", "") for n, v in (("words", result.words), ("bytes", result.bytes)) if v is not None]
    if result.impossible:
        places = ", ".join(str(k + 1) for k in result.impossible_tokens)
        more = ", ..." if result.impossible > len(result.impossible_tokens) else ""
        sizes.append(("impossible", str(result.impossible), "", f"tokens of probability 0: {places}{more}"))
    return [*row("per token", result.per_token), *row("per word", result.per_word),
            *row("per byte", result.per_byte), *sizes]  # fmt: skip


def _interval(interval: tuple[float, float]) -> str:
    low, high = interval
    return "" if math.isnan(low) else f"[{number(low)}, {number(high)}]"
