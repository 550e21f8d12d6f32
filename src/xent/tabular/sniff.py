"""What a file is, by its name and by its first bytes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FORMATS: dict[str, tuple[str, ...]] = {
    "csv": (".csv", ".txt"),
    "tsv": (".tsv", ".tab"),
    "parquet": (".parquet", ".pq"),
    "arrow": (".arrow", ".feather", ".ipc", ".arrows"),
    "jsonl": (".jsonl", ".ndjson"),
    "json": (".json",),
}
TEXT_FORMATS = ("csv", "tsv", "jsonl", "json")
COMPRESSIONS: dict[str, tuple[str, ...]] = {"gzip": (".gz", ".gzip"), "zstd": (".zst", ".zstd")}
TITLES = {
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
    "arrow": "Arrow/Feather",
    "jsonl": "JSON lines",
    "json": "JSON",
}

# Longest first where one is the beginning of another. "xent" is known so that a model given as a table is named.
_MAGIC = (
    (b"PAR1", "parquet", "a Parquet file"),
    (b"ARROW1", "arrow", "an Arrow/Feather file"),
    (b"\xff\xff\xff\xff", "arrow", "an Arrow stream"),
    (b"FEA1", "", "a Feather version 1 file"),
    (b"\x1f\x8b", "gzip", "gzip-compressed"),
    (b"\x28\xb5\x2f\xfd", "zstd", "zstd-compressed"),
    (b"PK\x03\x04", "", "a zip archive (an .xlsx workbook is one too)"),
    (b"\xd0\xcf\x11\xe0", "", "an old Excel workbook"),
    (b"\x89HDF", "", "an HDF5 file"),
    (b"SQLite format 3", "", "an SQLite database"),
    (b"%PDF", "", "a PDF document"),
    (b"BZh", "", "bzip2-compressed"),
    (b"\xfd7zXZ", "", "xz-compressed"),
    (b"\x93NUMPY", "", "a NumPy array"),
    (b"\x80\x03", "", "a Python pickle"),
    (b"\x80\x04", "", "a Python pickle"),
    (b"\x80\x05", "", "a Python pickle"),
    (b"\xff\xfe", "", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "", "UTF-16 text; save it as UTF-8"),
)


@dataclass(frozen=True)
class Kind:
    """A format of :data:`FORMATS` (or "" for none known), a compression (or ""), and words for people."""

    format: str
    compression: str = ""
    words: str = ""


def kind_by_name(path: Path) -> Kind:
    """Read format and compression off the ending; an unknown ending gives an empty format.

    >>> kind_by_name(Path("a.csv.gz"))
    Kind(format='csv', compression='gzip', words='.csv.gz')
    """
    name = path.name.lower()
    compression, ending = "", ""
    for method, endings in COMPRESSIONS.items():
        for e in endings:
            if name.endswith(e):
                compression, ending, name = method, e, name.removesuffix(e)
    for fmt, endings in FORMATS.items():
        for e in endings:
            if name.endswith(e):
                return Kind(fmt, compression, e + ending)
    return Kind("", compression, Path(name).suffix + ending)


def kind_by_bytes(head: bytes) -> Kind:
    """Recognise a file by its first bytes (a few thousand are enough)."""
    for magic, fmt, words in _MAGIC:
        if head.startswith(magic):
            return Kind("", fmt, words) if fmt in COMPRESSIONS else Kind(fmt, "", words)
    if head[4:9] == b"\0\0\0\0{":  # a length in eight bytes, then the header
        return Kind("", "", "a safetensors file (a stored model is one)")
    if b"\0" in head:
        return Kind("", "", "binary data")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"{" and _is_json_object(text.splitlines()[0], whole=len(head) < 4096 or b"\n" in text):
        return Kind("jsonl", "", "JSON lines")
    if text[:1] == b"[" and text[1:].lstrip()[:1] in (b"{", b"]"):
        return Kind("json", "", "JSON")
    if text[:5].lower() in (b"<html", b"<!doc", b"<?xml"):
        return Kind("", "", "an HTML or XML page")
    return Kind("csv", "", "text")


def _is_json_object(line: bytes, *, whole: bool) -> bool:
    """Tell a JSON object from a CSV header that happens to begin with a brace."""
    if not whole:  # the line is longer than what was read of it
        return line[1:].lstrip()[:1] == b'"'
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return line[1:].lstrip()[:1] == b'"'
