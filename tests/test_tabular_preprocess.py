"""From a table to a matrix: what is learnt in training and what happens at prediction."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from sklearn.preprocessing import StandardScaler

from xent.tabular import Preprocessor, TableError, type_columns
from xent.tabular.encoders import CategoryEncoder, DateEncoder, NumberEncoder
from xent.tabular.preprocess import TransformReport


def fit(frame, **options):
    types = options.pop("types", None)
    return Preprocessor.fit_transform(frame, type_columns(frame, types=types), **options)


def block(encoder, series):
    out, report = np.zeros((len(series), encoder.width)), TransformReport()
    encoder.write(series, out, report, "")
    return out, report


def test_numbers_are_standardised_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (50, 3))
    _, matrix = fit(pl.DataFrame(x, schema=["a", "b", "c"]))
    assert matrix == pytest.approx(StandardScaler().fit_transform(x))
    assert matrix.flags.c_contiguous


def test_missing_numbers_get_the_training_median_and_a_column():
    frame = pl.DataFrame({"a": [1.0, None, 3.0, 8.0]})
    fitted, matrix = fit(frame)
    assert fitted.names == ["a", "a missing"]
    raw = matrix * fitted.scale + fitted.mean
    assert raw == pytest.approx(np.array([[1, 0], [3, 1], [3, 0], [8, 0]]))


def test_a_number_missing_for_the_first_time_at_prediction():
    fitted, _ = fit(pl.DataFrame({"a": [1.0, 3.0, 8.0]}))
    matrix, report = fitted.transform(pl.DataFrame({"a": [None, 3.0]}, schema={"a": pl.Float64}))
    assert matrix[0] == pytest.approx(matrix[1])
    assert report.missing == {"a": 1}
    assert "1 missing value filled in" in report.lines()[0]


def test_categories():
    frame = pl.DataFrame({"c": ["x", "y", "x", None, "z", "z", "y", "rare"]})
    fitted, matrix = fit(frame)
    assert fitted.names == ["c=x", "c=y", "c=z", "c other", "c missing"]
    raw = matrix * fitted.scale + fitted.mean
    assert raw.sum(axis=1) == pytest.approx(np.ones(8))
    assert raw.argmax(axis=1).tolist() == [0, 1, 0, 4, 2, 2, 1, 3]
    assert fitted.scale.tolist() == [1.0] * 5  # 0/1 columns are centred, not divided


def test_a_level_never_seen():
    with_other, _ = fit(pl.DataFrame({"c": ["x", "y", "x", "y", "rare"]}))
    matrix, report = with_other.transform(pl.DataFrame({"c": ["new", "rare"]}))
    assert matrix[0].tolist() == matrix[1].tolist()
    assert report.unseen == {"c": 2}
    without, _ = fit(pl.DataFrame({"c": ["x", "y", "x", "y", "z", "z"]}))
    matrix, report = without.transform(pl.DataFrame({"c": ["new", "x", "newer", "new"]}))
    assert matrix[0].tolist() == [0, 0, 0]
    assert (report.unseen, report.examples) == ({"c": 3}, {"c": ["new", "newer"]})
    assert "3 rows with a value training had not, or too rarely ('new', 'newer')" in report.lines()[0]
    matrix, report = without.transform(pl.DataFrame({"c": [None]}, schema={"c": pl.String}))
    assert (matrix[0].tolist(), report.missing) == ([0, 0, 0], {"c": 1})


def test_two_levels_need_one_column():
    fitted, matrix = fit(pl.DataFrame({"b": [True, False, True, True]}))
    assert fitted.names == ["b=true"]
    assert matrix.ravel().tolist() == pytest.approx([0.25, -0.75, 0.25, 0.25])
    text, _ = fitted.transform(pl.DataFrame({"b": ["True", "false", "?"]}))
    assert text.ravel().tolist() == pytest.approx([0.25, -0.75, 0.0])


def test_the_number_of_levels_is_capped():
    frame = pl.DataFrame({"c": [f"v{i % 40}" for i in range(400)]})
    fitted, _ = fit(frame, max_levels=10)
    assert len(fitted.names) == 11
    assert fitted.names[-1] == "c other"
    assert fit(frame, min_category=11)[1].shape[1] == 0  # one level, "other", for all: a constant


@pytest.mark.parametrize("make", [
    lambda v: pl.Series("c", v), lambda v: pl.Series("c", v, dtype=pl.Float64), lambda v: pl.Series("c", map(str, v)),
])  # fmt: skip
def test_a_category_of_numbers_is_found_whatever_it_is_stored_as(make):
    encoder = CategoryEncoder.fit(pl.Series("c", [1, 2, 3, 1, 2, 3]), 1, 10)
    out, report = block(encoder, make([3, 1]))
    assert out.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert not report.unseen


def test_dates():
    days = [dt.date(2024, 1, 1), dt.date(2024, 2, 6), None]  # a Monday, a Tuesday
    encoder = DateEncoder.fit(pl.Series("d", days))
    assert encoder.parts == ("month", "weekday")
    out, _ = block(encoder, pl.Series("d", days))
    assert out[:, 0] == pytest.approx([19723, 19759, 19741])
    assert out[:, 1].tolist() == [0, 0, 1]
    assert out[0, 2:14].argmax() == 0
    assert out[1, 2:14].argmax() == 1
    assert out[0, 14:].tolist() == [1, 0, 0, 0, 0, 0, 0]
    assert out[1, 14:].tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert np.isnan(out[2, 2:]).all()
    text, _ = block(encoder, pl.Series("d", ["2024-01-01", "2024-02-06T12:00:00Z", None]))
    assert text[:, 0] == pytest.approx([19723, 19759.5, 19741])


def test_hours_and_zones():
    times = pl.Series("d", [dt.datetime(2024, 1, 1, 23), dt.datetime(2024, 1, 1, 5)]).dt.replace_time_zone("Etc/GMT-1")
    encoder = DateEncoder.fit(times)
    assert encoder.parts == ("hour",)
    out, _ = block(encoder, times)
    assert out[:, 1:].argmax(axis=1).tolist() == [22, 4]


def test_numbers_near_the_end_of_the_range():
    fitted, matrix = fit(pl.DataFrame({"a": [1.7e308, -1.7e308, 1e308], "b": [1e-320, 2e-320, 5e-324], "c": [1, 2, 4]}))
    assert np.isfinite(matrix).all()
    assert matrix[:, 0] == pytest.approx(StandardScaler().fit_transform([[1.7], [-1.7], [1.0]]).ravel())
    assert np.isfinite(fitted.scale).all()
    assert (fitted.scale > 0).all()
    far, _ = fitted.transform(pl.DataFrame({"a": [0.0], "b": [1e300], "c": [1]}))
    assert np.isfinite(far).all()
    far, _ = fitted.transform(pl.DataFrame({"a": [0.0], "b": [0.0], "c": [1e307]}))
    assert np.abs(far).max() <= 1e100  # so that a product with a coefficient stays finite


def test_columns_without_variation_are_dropped():
    frame = pl.DataFrame({"a": [0.1, 0.1, 0.1], "b": [1, 2, 3], "c": [1, 1, 1]})
    fitted, matrix = fit(frame, types={"a": "number", "b": "number"})
    assert fitted.names == ["b"]
    assert fitted.needed == ["b"]
    assert fitted.transform(pl.DataFrame({"b": [1, 2, 3]}))[0].tolist() == matrix.tolist()


def test_other_columns_and_another_order():
    frame = pl.DataFrame({"a": [1.0, 2.5, 4.0], "b": [2.0, 1.0, 7.0]})
    fitted, matrix = fit(frame)
    again, report = fitted.transform(frame.select("b", pl.lit(3).alias("new one"), "a"))
    assert again.tolist() == matrix.tolist()
    assert report.reordered
    assert report.ignored == ["new one"]
    _, report = fitted.transform(frame)
    assert report.lines() == []


def test_a_needed_column_that_is_not_there():
    fitted, _ = fit(pl.DataFrame({"length": [1.0, 2.5], "b": [2.0, 1.0]}))
    with pytest.raises(TableError, match=r"1 column the model needs is not there: 'length'. Did you mean 'lenght'\?"):
        fitted.transform(pl.DataFrame({"lenght": [1.0], "b": [1.0]}))
    with pytest.raises(TableError, match="2 columns the model needs are not there: 'length', 'b'"):
        fitted.transform(pl.DataFrame({"z": [1.0]}))


def test_values_that_cannot_be_read_at_prediction():
    fitted, _ = fit(pl.DataFrame({"n": [1.0, 2.5], "d": [dt.date(2024, 1, 1), dt.date(2024, 5, 2)]}))
    with pytest.raises(TableError, match=r"t.csv: column 'n': 'many' in row 2 is not a number"):
        fitted.transform(pl.DataFrame({"n": ["1", "many"], "d": ["2024-01-01"] * 2}), where="t.csv")
    with pytest.raises(TableError, match="'soon' in row 1 is not a date"):
        fitted.transform(pl.DataFrame({"n": [1.0], "d": ["soon"]}))
    with pytest.raises(TableError, match="infinite number, the first in row 1"):
        fitted.transform(pl.DataFrame({"n": [float("inf")], "d": ["2024-01-01"]}))


def test_the_median_does_not_overflow():
    assert NumberEncoder.fit(pl.Series("a", [1.7e308, 1.7e308])).median == 1.7e308
    assert NumberEncoder.fit(pl.Series("a", [1.0, 2.0, 10.0, None])).median == 2.0
