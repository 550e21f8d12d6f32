"""Tokens' log-probabilities in tables: a token a row, or a document a row with a list of them."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..evaluate.language import Documents
from .errors import TableError, count
from .read import Table
from .values import category_text

# What tokenizers write for a space: text made of such tokens has other bytes than the document.
_MARKS = ("Ġ", "▁", "Ċ")


def read_tokens(
    table: Table,
    column: str,
    unit: str,
    *,
    document: str | None = None,
    text: str | None = None,
    token: str | None = None,
    drop_missing: bool = False,
) -> tuple[Documents, list[str]]:
    """Documents of a table, and what was done that the user may want to know.

    Parameters
    ----------
    table : Table
        A token a row; or, where `column` holds lists, a document a row.
    column : str
        Log-probabilities.
    unit : str
        As `Documents.from_tokens` takes it.
    document : str, optional
        The column that says which document a token is of; of lists, the documents' names.
    text : str, optional
        The column of whole texts (of a token table, the same in each row of a document).
    token : str, optional
        The column of each token's own text; documents are their concatenation.
    drop_missing : bool
        Leave tokens without a log-probability out (many programs give the first one none).

    Raises
    ------
    TableError
        Columns that are not there or hold something else; log-probabilities that are missing, or above 0.
    """
    logs, notes = table.require(column), list(table.notes)
    frame = pl.DataFrame({"log": logs})
    lists = isinstance(logs.dtype, (pl.List, pl.Array))
    if lists and token is not None:
        raise TableError("the texts of tokens go with a token a row; with a document a row give its --text")
    if document is not None:
        frame = frame.with_columns(document=category_text(table.require(document)))
        if lists and frame["document"].n_unique() < frame.height:
            raise TableError(f"two rows are of one document, by {document!r}", where=table.name)
    elif lists:
        frame = frame.with_columns(document=pl.Series([str(k + 1) for k in range(frame.height)]))
    for name, there in (("text", text), ("token", token)):
        if there is not None:
            frame = frame.with_columns(table.require(there).cast(pl.String).alias(name))
    if "document" in frame.columns and frame["document"].null_count():
        raise TableError(f"{document!r} is missing in {count(frame['document'].null_count(), 'row')}", where=table.name)
    texts = _texts(frame, table.name)
    if lists:
        frame = frame.explode("log")
    if not frame["log"].dtype.is_numeric():
        raise TableError(f"column {column!r} holds {frame['log'].dtype} values, not numbers", where=table.name)
    empty = frame["log"].null_count() + int(frame["log"].is_nan().sum() or 0 if frame["log"].dtype.is_float() else 0)
    if empty:
        if not drop_missing:
            raise TableError(
                f"{count(empty, 'token')} of {frame.height} have no log-probability",
                where=table.name,
                todo="Leave them out with --drop-missing.",
            )
        frame = frame.filter(pl.col("log").is_not_null()).fill_nan(None).filter(pl.col("log").is_not_null())
        notes.append(
            f"{count(empty, 'token')} without a log-probability left out; words and bytes are of the whole text"
        )
    marks = frame["document"].to_numpy() if "document" in frame.columns else None
    if token is not None and any(frame["token"].str.contains(m, literal=True).any() for m in _MARKS):
        notes.append(
            "tokens hold a tokenizer's marks for spaces: words and bytes are not those of the text; give --text"
        )
    elif token is not None and not frame["token"].str.contains(r"^\s|\s$").any():
        notes.append(
            "no token begins or ends with a space (CSV loses those): if the text has spaces, words and bytes are not "
            "its own; give --text, or the tokens as JSON lines or Parquet"
        )
    try:
        found = Documents.from_tokens(frame["log"].cast(pl.Float64).to_numpy(), marks, unit=unit, texts=texts)
    except ValueError as error:
        raise TableError(str(error), where=table.name) from None
    return found, notes


def _texts(frame: pl.DataFrame, where: str) -> dict[Any, str] | None:
    """Each document's text."""
    name = next((n for n in ("text", "token") if n in frame.columns), None)
    if name is None:
        return None
    if frame[name].null_count():
        raise TableError(f"the {name} is missing in {count(frame[name].null_count(), 'row')}", where=where)
    if "document" not in frame.columns:
        frame = frame.with_columns(document=pl.lit(0))
    groups = frame.group_by("document", maintain_order=True)
    if name == "token":
        return dict(groups.agg(pl.col("token").str.join("")).iter_rows())
    found = groups.agg(pl.col("text").first(), pl.col("text").n_unique().alias("texts"))
    if found["texts"].max() != 1:
        bad = found.filter(pl.col("texts") > 1)["document"][0]
        raise TableError(f"document {bad!r} has more than one text", where=where)
    return dict(found.select("document", "text").iter_rows())
