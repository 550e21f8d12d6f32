"""``xent measure``, against textbook sums."""

import json
import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import normalized_mutual_info_score

from command import run
from xent.tabular import TableError, column_information
from xent.tabular.read import Table


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def measure(*columns, **options):
    names = "xy"[: len(columns)]
    frame = pl.DataFrame([pl.Series(n, c) for n, c in zip(names, columns, strict=True)])
    return column_information(Table(frame, "t", "t"), tuple(names), **options)


def h(*p):
    return -math.fsum(v * math.log(v) for v in p if v)


def test_one_column():
    info = measure(["a", "b", "b", None]).columns[0]
    assert info.entropy == pytest.approx(h(0.25, 0.5, 0.25))
    assert info.perplexity == pytest.approx(math.exp(h(0.25, 0.5, 0.25)))
    assert (info.values, info.missing, info.bins) == (3, 1, None)
    info = measure(["a", "b", "b", None], drop_missing=True)
    assert info.columns[0].entropy == pytest.approx(h(1 / 3, 2 / 3))
    assert info.rows == 3


def test_two_columns_textbook():
    # joint counts: (a,0) 2, (a,1) 1, (b,0) 1
    pair = measure(["a", "a", "a", "b"], [0, 0, 1, 0]).pair
    joint, x, y = h(0.5, 0.25, 0.25), h(0.75, 0.25), h(0.75, 0.25)
    assert pair.joint == pytest.approx(joint)
    assert pair.x_given_y == pytest.approx(joint - y)
    assert pair.y_given_x == pytest.approx(joint - x)
    assert pair.mutual == pytest.approx(x + y - joint)
    assert pair.normalized == pytest.approx(2 * (x + y - joint) / (x + y))
    assert pair.by_chance == pytest.approx(1 / 8)


def test_against_scikit_learn():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 300), rng.integers(0, 4, 300)
    pair = measure(x, y).pair
    assert pair.normalized == pytest.approx(normalized_mutual_info_score(x, y))


def test_extremes():
    same = measure(["a", "b", "c"], [3, 1, 2]).pair
    assert same.mutual == pytest.approx(math.log(3))
    assert same.normalized == pytest.approx(1)
    assert same.x_given_y == same.y_given_x == 0
    apart = measure(["a", "a", "b", "b"], [0, 1, 0, 1]).pair
    assert apart.mutual == 0
    constant = measure(["a", "a"], [1, 1])
    assert constant.columns[0].entropy == 0
    assert math.isnan(constant.pair.normalized)


def test_numbers_are_cut_at_quantiles():
    info = measure(np.arange(1000) / 7, bins=4).columns[0]
    assert info.entropy == pytest.approx(math.log(4))
    assert len(info.bins) == 3
    assert measure(np.arange(1000), bins=0).columns[0].values == 1000
    assert measure(list(range(20))).columns[0].bins is None
    ties = measure([0.0] * 900 + [float(i) for i in range(1, 101)], bins=10).columns[0]
    assert ties.values == len(ties.bins) + 1  # no empty bin
    gaps = measure([None, *np.arange(99.0)], bins=3).columns[0]
    assert (gaps.values, gaps.missing) == (4, 1)
    days = pl.Series(range(100)).cast(pl.Date)
    assert measure(days, bins=2).columns[0].values == 2


def test_missing_together():
    info = measure(["a", None, "b", "b"], [1, 2, None, 3], drop_missing=True)
    assert info.rows == 2
    assert info.notes == ["2 rows with missing values left out"]


def test_errors():
    with pytest.raises(TableError, match="infinite"):
        measure([*np.arange(30.0), math.inf])
    with pytest.raises(TableError, match="List"):
        measure([[1], [2]])
    with pytest.raises(TableError, match="at least 2"):
        measure([1, 2], bins=1)
    with pytest.raises(TableError, match="no rows are left"):
        measure([None, None], drop_missing=True)


def test_command():
    out = run("measure", "iris", "species", "petal length (cm)").stdout
    assert out.startswith("iris: 150 rows\n")
    assert "H(X = species)" in out
    assert "by chance" in out
    one = run("measure", "iris", "species").stdout
    assert "H(species)  1.0986  1.5850  3 values, perplexity 3.0000" in one
    document = json.loads(run("measure", "iris", "species", "species", "--json").stdout)
    assert document["mutual"] == pytest.approx(math.log(3))
    assert document["unit"] == "nats"
    assert "pair" not in document
    assert document["columns"][0]["name"] == "species"
    assert "Did you mean 'species'" in run("measure", "iris", "specie", code=2).stderr
    assert "one or two columns" in run("measure", "iris", "a", "b", "c", code=2).stderr
    noted = run("measure", "iris", "petal length (cm)")
    assert "cut at quantiles into 10 bins" in noted.stderr


def test_names_that_are_patterns_elsewhere():
    pl.DataFrame({"*": [1, 1, 2, 2], "b": [1, 2, 3, None]}).write_csv("t.csv")
    assert "H(*)  0.6931" in run("measure", "t.csv", "*", "--drop-missing").stdout


def test_durations_and_bins_beyond_the_values():
    times = pl.Series([0, 1, 1]).cast(pl.Duration("us"))
    assert measure(times).columns[0].entropy == pytest.approx(h(1 / 3, 2 / 3))
    info = measure(np.arange(30.0), bins=10**12)
    assert info.columns[0].values == 30
    assert info.notes == []
