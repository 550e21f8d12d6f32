"""Reading and writing tables: every format, what counts as missing, and every way a file can be wrong."""

import datetime as dt
import gzip
import io
import os
import threading

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xent.tabular import TableError, read_table, write_table

FRAME = pl.DataFrame(
    {"name with space": ["a", None, "ü"], "長さ": [1.5, 2.0, None], "n": [1, 2, 3], "yes": [True, False, True]}
)
ENDINGS = [
    ".csv", ".tsv", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".csv.zst", ".tsv.zst", ".jsonl.zst",
    ".parquet", ".pq", ".arrow", ".feather", ".ipc", ".ndjson", ".tab",
]  # fmt: skip


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(tmp_path, ending):
    path = tmp_path / f"ein tisch{ending}"
    write_table(FRAME, path)
    table = read_table(path)
    assert table.frame.equals(FRAME)
    assert table.frame.schema == FRAME.schema
    assert (table.stem, table.name, table.notes) == ("ein tisch", str(path), ())
    assert os.listdir(tmp_path) == [path.name]


def test_the_same_table_gives_the_same_gzip_bytes(tmp_path):
    for name in ("a.csv.gz", "b.csv.gz"):
        write_table(FRAME, tmp_path / name)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_arrow_stream_and_json_array(tmp_path):
    FRAME.write_ipc_stream(tmp_path / "a.arrow")
    assert read_table(tmp_path / "a.arrow").frame.equals(FRAME)
    FRAME.write_json(tmp_path / "a.json")
    assert read_table(tmp_path / "a.json").frame.equals(FRAME)
    FRAME.write_ndjson(tmp_path / "b.json")
    assert read_table(tmp_path / "b.json").frame.equals(FRAME)


@pytest.mark.parametrize(("name", "rows", "target"), [
    ("iris", 150, "species"), ("wine", 178, "cultivar"), ("breast_cancer", 569, "diagnosis"), ("digits", 1797, "digit"),
])  # fmt: skip
def test_built_in_sets(name, rows, target):
    table = read_table(name)
    assert (table.frame.height, table.target, table.stem) == (rows, target, name)


def test_a_file_wins_over_a_built_in_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "iris", "a,b\n1,2\n")
    assert read_table("iris").frame.columns == ["a", "b"]


def test_standard_input():
    assert read_table("-", stdin=io.BytesIO(b"a,b\n1,2\n")).frame.rows() == [(1, 2)]
    assert read_table("-", stdin=io.BytesIO(b'{"a": 1}\n')).frame.rows() == [(1,)]
    assert read_table("-", stdin=io.BytesIO(gzip.compress(b"a,b\n1,2\n", mtime=0))).frame.rows() == [(1, 2)]
    buffer = io.BytesIO()
    FRAME.write_parquet(buffer)
    assert read_table("-", stdin=io.BytesIO(buffer.getvalue())).frame.equals(FRAME)
    with pytest.raises(TableError, match="empty"):
        read_table("-", stdin=io.BytesIO(b""))


@pytest.mark.parametrize("ending", [".csv.zst", ".jsonl.zst", ".tsv.zst"])
def test_standard_input_in_zstd_is_read_as_what_it_holds(tmp_path, ending):
    write_table(FRAME, tmp_path / f"a{ending}")
    data = (tmp_path / f"a{ending}").read_bytes()
    assert read_table("-", stdin=io.BytesIO(data)).frame.equals(FRAME)


def test_standard_input_that_the_shell_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(TableError, match="standard input is closed"):
        read_table("-")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_a_pipe_is_read_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"a,b\n1,2\n"))
    writer.start()
    assert read_table(tmp_path / "pipe").frame.rows() == [(1, 2)]
    writer.join()
    with pytest.raises(TableError, match="binary data"):
        read_table("/dev/zero")


def test_a_link_to_nothing(tmp_path):
    (tmp_path / "link.csv").symlink_to("nothing.csv")
    with pytest.raises(TableError, match="leads to no file"):
        read_table(tmp_path / "link.csv")


def test_names_in_composed_letters(tmp_path):
    for path in (write(tmp_path / "a.csv", "e\u0301,b\n1,2\n"), write(tmp_path / "a.jsonl", '{"e\u0301": 1}\n')):
        table = read_table(path)
        assert table.frame.columns[0] == "\u00e9"
        assert table.require("e\u0301").name == table.require("\u00e9").name == "\u00e9"


def test_a_column_without_a_name_keeps_it(tmp_path):
    assert read_table(write(tmp_path / "a.csv", ",b\n1,2\n")).frame.columns == ["", "b"]


def test_names_with_quotes(tmp_path):
    table = read_table(write(tmp_path / "a.csv", 'a,"p_""x"""\n1,007\n'), text_columns=['p_"x"'])
    assert table.frame.rows(named=True) == [{"a": 1, 'p_"x"': "007"}]


def test_lines_of_blanks_are_skipped(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "a,b\n1,x\n   \n\n2,y\n"))
    assert table.frame.rows() == [(1, "x"), (2, "y")]
    assert any("2 blank lines" in n for n in table.notes)


def test_whole_numbers_beyond_64_bits_keep_their_digits(tmp_path):
    frame = read_table(write(tmp_path / "a.csv", f"a\n{10**25}\n{10**25 + 1}\n")).frame
    assert frame["a"].to_list() == [10**25, 10**25 + 1]


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("us")])
def test_dates_that_python_does_not_have_are_refused(tmp_path, dtype):
    days = pl.Series("when", [3_000_000, 0]) * (1 if dtype == pl.Date else 86_400_000_000)
    pl.DataFrame([days.cast(pl.Int32 if dtype == pl.Date else pl.Int64).cast(dtype)]).write_parquet(
        tmp_path / "a.parquet"
    )
    with pytest.raises(TableError, match="dates outside the years 1 to 9999"):
        read_table(tmp_path / "a.parquet")


def test_types_are_inferred_from_the_whole_file(tmp_path):
    rows = "".join(f"{i},{i}\n" for i in range(3000))
    frame = read_table(write(tmp_path / "a.csv", f"a,b\n{rows}1.5,x\n")).frame
    assert frame.schema == {"a": pl.Float64, "b": pl.String}
    lines = "".join('{"a": 1}\n' for i in range(3000))
    assert read_table(write(tmp_path / "a.jsonl", lines + '{"a": 1.5, "b": 2}\n')).frame["b"].sum() == 2


def test_what_counts_as_missing_everywhere(tmp_path):
    marks = ["NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL", "", '""']
    frame = read_table(write(tmp_path / "a.csv", "t,n\n" + "".join(f"{m},{m}\n" for m in marks) + "x,1\n")).frame
    assert frame.rows() == [(None, None)] * len(marks) + [("x", 1)]
    assert frame.schema == {"t": pl.String, "n": pl.Int64}


def test_ambiguous_marks_are_missing_only_among_numbers(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "a,b\n1,None\n?,yes\n-,?\n2.5,no\n"))
    assert table.frame["a"].to_list() == [1.0, None, None, 2.5]
    assert table.frame["b"].to_list() == ["None", "yes", "?", "no"]
    assert table.notes == ("counted as missing: '-', '?' in a",)


def test_marks_of_the_user(tmp_path):
    table = read_table(write(tmp_path / "a.csv", "a,b\n-999,x\n1,gone\n"), missing=["-999", "gone"])
    assert table.frame.rows() == [(None, "x"), (1, None)]


def test_nan_and_empty_text_are_missing_in_every_format(tmp_path):
    pl.DataFrame({"a": [1.0, float("nan")], "b": ["", "x"]}).write_parquet(tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert table.frame.rows() == [(1.0, None), (None, "x")]
    assert "a (1), b (1)" in table.notes[0]


def test_a_text_column_that_looks_like_numbers_can_stay_text(tmp_path):
    path = write(tmp_path / "a.csv", "zip,n\n007,1\n010,2\n")
    assert read_table(path).frame["zip"].to_list() == [7, 10]
    assert read_table(path, text_columns=["zip"]).frame["zip"].to_list() == ["007", "010"]


def test_csv_details(tmp_path):
    assert read_table(write(tmp_path / "bom.csv", b"\xef\xbb\xbfa,b\r\n1,2\r\n")).frame.columns == ["a", "b"]
    table = read_table(write(tmp_path / "semi.csv", "a;b\n1,5;True\n2;FALSE\n"))
    assert table.frame.rows() == [(1.5, True), (2.0, False)]
    assert "separated by ';'" in table.notes[0]
    table = read_table(write(tmp_path / "blank.csv", "a, b\n1,x \n\n 2,y\n"))
    assert table.frame.rows() == [(1, "x"), (2, "y")]
    assert table.frame.columns == ["a", "b"]
    assert "1 blank line" in table.notes[0]
    quoted = read_table(write(tmp_path / "quoted.csv", 'a,"b\nc"\n1,"x, ""y"""\n'))
    assert quoted.frame.rows() == [(1, 'x, "y"')]
    assert quoted.frame.columns == ["a", "b\nc"]
    assert read_table(write(tmp_path / "one.csv", "a\n1\n\n2\n")).frame["a"].to_list() == [1, None, 2]
    assert read_table(write(tmp_path / "[x]*.csv", "a,b\n1,2\n")).frame.rows() == [(1, 2)]


def test_types_of_parquet(tmp_path):
    frame = pl.DataFrame(
        {
            "category": pl.Series(["x", "y"], dtype=pl.Categorical),
            "decimal": pl.Series(["1.25", "2.50"]).cast(pl.Decimal(10, 2)),
            "wide": pl.Series([2**70, 1], dtype=pl.Int128),
            "zoned": pl.Series([dt.datetime(2024, 1, 1)] * 2).dt.replace_time_zone("Europe/Berlin"),
        }
    )
    frame.write_ipc(tmp_path / "a.arrow")
    back = read_table(tmp_path / "a.arrow").frame
    assert back["category"].dtype == pl.String
    assert back["decimal"].to_list() == [1.25, 2.5]
    assert back["wide"].to_list() == [2.0**70, 1.0]


BAD = [
    ("a.csv", "", "the file is empty"),
    ("a.csv", "  \n\n", "the file is empty"),
    ("a.csv", "a,b\n", "a header and no rows"),
    ("a.csv", "a,b,a\n1,2,3\n", "duplicate column name 'a', columns 1 and 3"),
    ("a.csv", "a, a\n1,2\n", "duplicate column name 'a', columns 1 and 2"),
    ("a.csv", "1,2\n3,4\n", "first line holds numbers"),
    ("a.csv", "a,b\r1,2\r3,4\r", "lines end in carriage returns alone"),
    ("a.csv", 'a,b\n1,x\n2,"y\n3,z\n4,x\n', "a quote in line 3 has no partner"),
    ("a.csv", 'a,b\n1,x\n2,"y"z\n3,z\n', "a quote in line 3 has no partner"),
    ("a.csv", "a,^b$\n1,2\n", "column '.b.' cannot be read by that name"),
    ("a.jsonl", '{"^b$": "x"}\n', "column '.b.' cannot be read by that name"),
    ("a.csv", "\u00e9,e\u0301\n1,2\n", "duplicate column name"),
    ("a.jsonl", '{"\u00e9": 1, "e\u0301": 2}\n', "two columns are named"),
    ("a.csv", "a,b\n1,2\n3,4,5\n", "line 3 has 3 fields, the header has 2"),
    ("a.csv", "a,b\né,2\n".encode("latin-1"), "not UTF-8"),
    ("a.csv", "é,b\n1,2\n".encode("latin-1"), "not UTF-8"),
    ("a.csv", "a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    ("a.csv", '{"a": 1}\n{"a": 2}\n', "not CSV: it looks like JSON lines. If so, name it with '.jsonl'"),
    ("a.csv", '[{"a": 1}]', "not CSV: it looks like JSON"),
    ("a.csv", b"PK\x03\x04abc", "zip archive"),
    ("a.xlsx", b"PK\x03\x04abc", "zip archive"),
    ("a.csv", b"\x80\x04\x95abc", "pickle"),
    ("a.csv", b"a,b\n1,\x00\n", "binary data"),
    ("a.csv", b"<!DOCTYPE html><p>", "HTML"),
    ("a.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "gzip-compressed. If so, name it with '.csv.gz'"),
    ("a.csv.gz", "a,b\n1,2\n", "the ending says gzip, but it looks like text"),
    ("a.csv.zst", gzip.compress(b"a,b\n1,2\n", mtime=0), "the ending says zstd, but it looks like gzip"),
    ("a.csv.gz", gzip.compress(b"a,b\n" + os.urandom(4000).hex().encode())[:-9], "damaged or cut short"),
    ("a.csv.gz", gzip.compress(b"", mtime=0), "empty once decompressed"),
    ("a.jsonl.gz", gzip.compress(b"a,b\n1,2\n", mtime=0), "inside the gzip it is not JSON lines"),
    ("a.parquet", "a,b\n1,2\n", "not Parquet: it looks like text. If so, name it with '.csv'"),
    ("a.parquet", b"PAR1" + b"\0" * 50, "cannot be read"),
    ("a.arrow", b"ARROW1\0\0" + b"\0" * 50, "cannot be read"),
    ("a.feather", b"FEA1" + b"\0" * 50, "Feather version 1"),
    ("a.jsonl", "a,b\n1,2\n", "not JSON lines: it looks like text. JSON lines here is one object"),
    ("a.jsonl", '{"a": 1}\n{"a": \n', "line 2 is not JSON"),
    ("a.jsonl", '{"a": 1}\n{"a": NaN}\n', "write null for a missing one"),
    ("a.jsonl", '{"a": 1, "a": 2}\n', "duplicate column name: the key 'a'"),
    ("a.jsonl", '{"a": 1}\n[1]\n', "cannot be read|not a JSON object"),
    ("a.json", '[{"a": 1}, ', "cannot be read"),
    ("a.dat", b"\x89HDF\r\n", "HDF5"),
    ("a.dat", b"PAR1", "cannot be read"),
]


@pytest.mark.parametrize(("name", "data", "message"), BAD)
def test_bad_files(tmp_path, name, data, message):
    path = write(tmp_path / name, data)
    with pytest.raises(TableError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_name_that_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "birds.csv", "a,b\n1,2\n")
    for name, hint in [
        ("bird.csv", "Did you mean 'birds.csv'"),
        ("iriss", "Did you mean 'iris'"),
        ("zzzzzz", "Sets that need no file: iris"),
        ("nowhere/a.csv", "There is no folder 'nowhere'"),
    ]:
        with pytest.raises(TableError, match=f"no such file: '{name}'. {hint}"):
            read_table(name)
    with pytest.raises(TableError, match="folder, not a table"):
        read_table(tmp_path)


def test_duplicate_names_in_parquet(tmp_path):
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"more than one|duplicate"):
        read_table(tmp_path / "a.parquet")


def test_an_unknown_ending_is_read_by_content(tmp_path):
    table = read_table(write(tmp_path / "a.data", "a,b\n1,2\n"))
    assert table.frame.rows() == [(1, 2)]
    assert "read as CSV" in table.notes[0]


def test_endings_that_cannot_be_written(tmp_path):
    for name in ("a.xlsx", "a", "a.json", "a.parquet.gz"):
        with pytest.raises(TableError, match="says no format to write"):
            write_table(FRAME, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_table_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", "old")

    def fail(self, file, *args, **options):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", fail)
    with pytest.raises(OSError, match="No space"):
        write_table(FRAME, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.parquet"]
