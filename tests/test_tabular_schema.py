"""Typing columns, reading values, class labels."""

import datetime as dt
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xent.tabular import TableError, type_columns
from xent.tabular.labels import index_labels, label_text, labels_from_json, labels_to_json, to_classes
from xent.tabular.schema import ColumnKind, type_column
from xent.tabular.values import category_text, parse_iso, to_datetime, to_number

DAYS = [dt.date(2024, 1, 1) + dt.timedelta(i) for i in range(30)]
CASES = [
    ("x", [1.5, 2.5, 2.5], "number"),
    ("x", [3, 1, 2], "number"),
    ("x", [0, 1, 0], "number"),
    ("x", [None, None], "empty"),
    ("x", [7, 7, 7], "constant"),
    ("x", [7, None, 7], "category"),
    ("x", list(range(30)), "id"),
    ("x", list(range(1, 31)), "id"),
    ("x", list(range(2, 32)), "number"),
    ("x", list(range(29, -1, -1)), "number"),
    ("customer_id", [10, 40, 20, 30], "id"),
    ("CustomerID", [10, 40, 20, 30], "id"),
    ("", [10, 40, 20, 30], "id"),
    ("customer_id", [10, 40, 40, 30], "number"),
    ("avoid", [10, 40, 20, 30], "number"),
    ("x", [True, False, None], "category"),
    ("x", ["a", "b", "a"], "category"),
    ("x", ["a", "b"], "category"),
    ("x", ["a", "b", "c"], "id"),
    ("x", [f"t{i}" for i in range(22)] + ["t0"] * 5, "text"),
    ("x", [f"t{i % 22}" for i in range(60)], "category"),
    ("x", DAYS, "date"),
    ("x", [str(d) for d in DAYS], "date"),
    ("x", ["2024-01-01T10:00:00Z", "2024-01-01 11:00", None], "date"),
    ("x", ["2024/01/01", "2024/01/02"], "date"),
    ("x", ["01/02/2024", "02/02/2024", "02/02/2024"], "category"),
    ("x", [dt.time(1), dt.time(2), dt.time(2)], "number"),
    ("x", [dt.timedelta(1), dt.timedelta(2)], "number"),
    ("x", [[1], [2]], "nested"),
    ("x", [{"a": 1}, {"a": 2}], "nested"),
]


@pytest.mark.parametrize(("name", "values", "kind"), CASES)
def test_rules(name, values, kind):
    column = type_column(pl.Series(name, values))
    assert column.kind == kind
    assert column.reason
    assert column.missing == sum(v is None for v in values)


def test_only_three_kinds_are_used():
    assert [k for k in ColumnKind if k.used] == ["number", "category", "date"]


def test_the_users_word_goes_first():
    frame = pl.DataFrame({"n": [1, 2, 1], "t": ["1", "2", "3"], "y": [0, 1, 0], "id": [1, 2, 3]})
    kinds = {c.name: c.kind for c in type_columns(frame, target="y", types={"n": "category", "t": "number"})}
    assert kinds == {"n": "category", "t": "number", "id": "id"}
    kinds = {c.name: c.kind for c in type_columns(frame, target="y", types={"id": "number"}, drop=["n"])}
    assert kinds == {"n": "dropped", "t": "id", "id": "number"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["nn"]}, "no column 'nn'"),
        ({"types": {"lenght": "number"}}, "Did you mean 'length'"),
        ({"types": {"length": "text"}}, "no column type 'text'. There are: number, category, date, drop"),
        ({"drop": ["y"]}, "is the target"),
        ({"types": {"list": "number"}}, "cannot be a number"),
        ({"types": {"none": "number"}}, "all missing"),
    ],
)
def test_errors(options, message):
    frame = pl.DataFrame({"length": [1, 2], "list": [[1], [2]], "none": [None, None], "y": [0, 1]})
    with pytest.raises(TableError, match=message):
        type_columns(frame, target="y", **options)


def test_one_text_for_a_value_however_it_is_stored():
    assert category_text(pl.Series([1, 2, None])).to_list() == ["1", "2", None]
    assert category_text(pl.Series([1.0, 2.0, None])).to_list() == ["1", "2", None]
    assert category_text(pl.Series([1.5, 1e300])).to_list() == ["1.5", "1e+300"]
    assert category_text(pl.Series([True, None])).to_list() == ["true", None]
    assert category_text(pl.Series([dt.date(2024, 5, 1)])).to_list() == ["2024-05-01"]
    assert category_text(pl.Series([dt.datetime(2024, 5, 1, 2)])).to_list() == ["2024-05-01T02:00:00"]


def test_iso_dates():
    good = {
        "2024-05-31": dt.datetime(2024, 5, 31),
        "2024/05/31": dt.datetime(2024, 5, 31),
        "2024-05-31T10:00": dt.datetime(2024, 5, 31, 10),
        "2024-05-31 10:00:05.25": dt.datetime(2024, 5, 31, 10, 0, 5, 250000),
        "2024-05-31T10:00:00Z": dt.datetime(2024, 5, 31, 10),
        "2024-05-31T10:00:00+02:00": dt.datetime(2024, 5, 31, 8),
        "2024-05-31T10:00:00-0230": dt.datetime(2024, 5, 31, 12, 30),
    }
    assert parse_iso(pl.Series(list(good))).to_list() == list(good.values())
    bad = ["2024-13-01", "24-05-31", "31-05-2024", "2024-05-31x", "2024", "", None]
    assert parse_iso(pl.Series(bad)).null_count() == len(bad)


@given(st.datetimes(dt.datetime(1000, 1, 1), dt.datetime(3000, 1, 1)))
def test_every_iso_text_of_python_is_read(when):
    assert parse_iso(pl.Series([when.isoformat()])).to_list() == [when]


def test_numbers():
    assert to_number(pl.Series([" 1", "2.5e3", None])).tolist()[:2] == [1.0, 2500.0]
    assert to_number(pl.Series([dt.timedelta(hours=1)])).tolist() == [3600.0]
    assert to_number(pl.Series([dt.time(0, 1)])).tolist() == pytest.approx([60.0])
    assert to_number(pl.Series([True, False])).tolist() == [1.0, 0.0]
    with pytest.raises(TableError, match=r"column 'a': 'x' in row 2 is not a number \(and 1 more such value\)"):
        to_number(pl.Series("a", ["1", "x", "y"]))
    with pytest.raises(TableError, match=r"'a b' holds 2 infinite numbers, the first in row 2 \(-inf\)\. Mend them"):
        to_number(pl.Series("a b", [1.0, -math.inf, math.inf]))
    with pytest.raises(TableError, match="should hold numbers, it holds Date"):
        to_number(pl.Series("a", DAYS))
    with pytest.raises(TableError, match="'May' in row 1 is not a date"):
        to_datetime(pl.Series("a", ["May"]))
    with pytest.raises(TableError, match="should hold dates, it holds Int64"):
        to_datetime(pl.Series("a", [1]))


LABELS = [
    ("integer", [3, 1, 2, 1], [1, 2, 3]),
    ("integer", [3.0, 1.0], [1, 3]),
    ("number", [0.5, 1.0], [0.5, 1.0]),
    ("text", ["b", "a", "b"], ["a", "b"]),
    ("boolean", [True, False], [False, True]),
    ("date", [dt.date(2024, 1, 2), dt.date(2024, 1, 1)], [dt.date(2024, 1, 1), dt.date(2024, 1, 2)]),
    ("datetime", [dt.datetime(2024, 1, 2, 3)] * 2 + [dt.datetime(2024, 1, 1)], None),
]


@pytest.mark.parametrize(("kind", "values", "classes"), LABELS)
def test_labels(kind, values, classes):
    found, found_kind, index = to_classes(pl.Series("y", values))
    assert found_kind == kind
    assert found == (classes or sorted(set(values)))
    assert [found[i] for i in index] == values
    assert labels_from_json(labels_to_json(found, kind)) == (found, kind) if len(found) > 1 else True
    # found again by themselves, and by their text
    assert index_labels(pl.Series(values), found, kind).tolist() == index.tolist()
    assert index_labels(pl.Series([label_text(found[i]) for i in index]), found, kind).tolist() == index.tolist()


def test_labels_of_another_type_missing_and_unknown():
    assert index_labels(pl.Series(["1", "2", None, "x", "1.0"]), [1, 2], "integer").tolist() == [0, 1, -1, -2, 0]
    assert index_labels(pl.Series(["True", "FALSE"]), [False, True], "boolean").tolist() == [1, 0]
    assert index_labels(pl.Series([1.0, 2.5]), [1, 2], "integer").tolist() == [0, -2]
    assert index_labels(pl.Series([1, 3]), [1.0, 2.5], "number").tolist() == [0, -2]
    assert index_labels(pl.Series([7, 10]), ["7", "10"], "text").tolist() == [0, 1]
    assert index_labels(pl.Series([dt.date(2024, 1, 1)]), [dt.datetime(2024, 1, 1)], "datetime").tolist() == [0]


def test_labels_that_cannot_be():
    with pytest.raises(TableError, match="nested"):
        to_classes(pl.Series("y", [[1], [2]]))
    with pytest.raises(TableError, match="infinite"):
        to_classes(pl.Series("y", [1.0, math.inf]))
    assert np.issubdtype(to_classes(pl.Series(["a", "b"]))[2].dtype, np.integer)
