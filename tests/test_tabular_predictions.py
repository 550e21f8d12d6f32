"""Anybody's predictions: which columns, which classes, and every way they can be wrong."""

import json
import math

import numpy as np
import polars as pl
import pytest

from command import run
from xent.evaluate import figures
from xent.tabular import TableError, read_predictions
from xent.tabular.read import Table


def table(**columns):
    return Table(pl.DataFrame(columns), "f.csv", "f")


def judge(*args, **options):
    found = read_predictions(*args, **options)
    return figures(found.log_proba, found.target), found


def test_one_column_a_class_in_any_order():
    t = table(y=["b", "a", "b"], p_b=[0.7, 0.2, 0.4], x=[1, 2, 3], p_a=[0.3, 0.8, 0.6])
    result, found = judge(t, "y")
    assert found.classes == ["b", "a"]
    assert found.target.tolist() == [0, 1, 0]
    assert result.cross_entropy == pytest.approx(-np.log([0.7, 0.8, 0.4]).mean())


@pytest.mark.parametrize("probs", ["prob {class} %", "prob * %", "*%", "prob*"])
def test_patterns(probs):
    t = table(y=["a", "b"], **{"prob a %": [0.5, 0.25], "prob b %": [0.5, 0.75]})
    if probs in ("*%", "prob*"):
        with pytest.raises(TableError, match="have no column"):
            judge(t, "y", probs)
    else:
        assert judge(t, "y", probs)[0].cross_entropy == pytest.approx(-np.log([0.5, 0.75]).mean())


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([0, 1], ["0", "1"]),
        ([0, 1], ["0.0", "1.0"]),
        ([0.0, 1.0], ["0", "1"]),
        ([0.5, 1.0], ["0.5", "1"]),
        ([False, True], ["False", "True"]),
        ([False, True], ["false", "true"]),
        (["0", "1"], ["0", "1"]),
        (["x y", "ü"], ["x y", "ü"]),
    ],
)
def test_classes_are_matched_in_the_type_of_the_labels(labels, names):
    t = table(y=labels, **{f"p_{names[0]}": [0.9, 0.2], f"p_{names[1]}": [0.1, 0.8]})
    assert judge(t, "y")[0].cross_entropy == pytest.approx(-np.log([0.9, 0.8]).mean())


@pytest.mark.parametrize(
    ("labels", "positive"), [([0, 1], None), ([False, True], None), (["no", "yes"], "yes"), ([1, 2], "2")]
)
def test_a_single_column(labels, positive):
    result, found = judge(table(y=labels, s=[0.1, 0.8]), "y", "s", positive=positive)
    assert result.cross_entropy == pytest.approx(-np.log([0.9, 0.8]).mean())
    assert found.classes[1] == (positive or str(labels[1]).lower())


def test_a_single_column_whose_positive_class_never_happened():
    result, found = judge(table(y=[0, 0], s=[0.1, 0.2]), "y", "s")
    assert found.classes == ["0", "1"]
    assert result.cross_entropy == pytest.approx(-np.log([0.9, 0.8]).mean())
    assert "no row has the label '1'" in found.notes[0]
    assert judge(table(y=["a"], s=[0.3]), "y", "s", positive="b")[0].cross_entropy == pytest.approx(-math.log(0.7))


def test_classes_that_never_occur_are_fine_and_told():
    result, found = judge(table(y=["a", "a"], p_a=[0.5, 0.5], p_b=[0.25, 0.5], p_c=[0.25, 0]), "y")
    assert result.classes == 3
    assert found.notes == ["no row has the label 'b', 'c', which the predictions name"]


def test_probability_zero_is_exact():
    result, _ = judge(table(y=["a", "b"], p_a=[0.0, 0.0], p_b=[1.0, 1.0]), "y")
    assert (result.cross_entropy, result.impossible_rows) == (math.inf, (0,))


def test_rounding_is_allowed_and_no_more():
    third = float(np.float32(1 / 3))
    judge(table(y=["a"], p_a=[third], p_b=[third], p_c=[third]), "y")
    judge(table(y=["a"], p_a=[1.0000001], p_b=[0.0]), "y")
    with pytest.raises(TableError, match=r"sum of 0\.9999"):
        judge(table(y=["a"], p_a=[0.3333], p_b=[0.3333], p_c=[0.3333]), "y")


def test_normalize():
    t = table(y=["a", "b"], p_a=[3.0, 0.5], p_b=[1.0, 0.5])
    with pytest.raises(TableError, match="above one"):
        judge(t, "y", normalize=True)
    result, found = judge(table(y=["a", "b"], p_a=[0.6, 0.5], p_b=[0.2, 0.5]), "y", normalize=True)
    assert result.cross_entropy == pytest.approx(-np.log([0.75, 0.5]).mean())
    assert found.notes == ["1 row divided by the sum of their probabilities"]
    with pytest.raises(TableError, match="all probabilities are 0 in row 2"):
        judge(table(y=["a", "b"], p_a=[0.6, 0.0], p_b=[0.2, 0.0]), "y", normalize=True)


def test_missing_labels():
    t = table(y=["a", None, "b"], p_a=[0.6, None, 0.0], p_b=[0.4, None, 1.0])
    with pytest.raises(TableError, match=r"missing in 1 of 3 rows.*--drop-missing"):
        judge(t, "y")
    result, found = judge(t, "y", drop_missing=True)
    assert result.rows == 2
    assert found.rows.tolist() == [0, 2]
    bad = table(y=["a", None, "b"], p_a=[0.6, None, 0.3], p_b=[0.4, None, 1.0])
    with pytest.raises(TableError, match="the first is row 3"):
        judge(bad, "y", drop_missing=True)
    with pytest.raises(TableError, match="all missing"):
        judge(table(y=[None], p_a=[1.0]), "y", drop_missing=True)


BAD = [
    ({"y": ["a"]}, "z", {}, "no column 'z'"),
    ({"y": ["a"], "q": [1]}, "y", {}, r"no column fits the pattern 'p_\*'. There are: 'y', 'q'"),
    ({"y": ["a"], "p_a": [1.0]}, "y", {}, "only 'p_a' fits .* --probs p_a --positive"),
    ({"y": ["a"], "p_a": [0.5], "p_b": [0.5]}, "y", {"probs": "*p*"}, r"must hold one \*"),
    ({"y": ["a", "c"], "p_a": [0.5] * 2, "p_b": [0.5] * 2}, "y", {}, "label 'c' .1 row. has no column .* 'a', 'b'"),
    ({"y": [1], "p_1": [0.5], "p_1.0": [0.5]}, "y", {}, "'p_1', 'p_1.0' are of one class, '1'"),
    ({"y": ["a"] * 2, "p_a": [0.5, 0.6], "p_b": [0.5, 0.5]}, "y", {}, "1 row, the first is row 2 with a sum of 1.1. "
     "Divide each row by its sum with --normalize"),
    ({"y": ["a"], "p_a": [1.5], "p_b": [-0.5]}, "y", {}, "is above one in 1 row, the first in row 1 .1.5..*logits"),
    ({"y": ["a"], "p_a": [-0.5], "p_b": [1.5]}, "y", {}, "'p_a' is negative"),
    ({"y": ["a", "a"], "p_a": [1.0, None], "p_b": [0.0, 0.0]}, "y", {}, "missing or NaN in 1 row, the first in row 2"),
    ({"y": ["a"], "p_a": ["x"], "p_b": [0.5]}, "y", {}, "'x' in row 1 is not a number"),
    ({"y": ["a"], "p_a": [math.inf], "p_b": [0.5]}, "y", {}, "infinite"),
    ({"y": ["a", "b"], "s": [0.5, 0.5]}, "y", {"probs": "s"}, "Say so with --positive LABEL"),
    ({"y": [1, 2], "s": [0.5, 0.5]}, "y", {"probs": "s"}, "'1', '2' the probabilities are of is not clear"),
    ({"y": ["yes", "no"], "s": [0.5, 0.5]}, "y", {"probs": "s", "positive": "yse"}, "Did you mean 'yes'"),
    ({"y": ["a", "b", "c"], "s": [0.5] * 3}, "y", {"probs": "s", "positive": "a"}, "but 3 classes"),
    ({"y": ["a", "b"], "s": [0.5] * 2}, "y", {"probs": "sc"}, "no column 'sc'"),
]  # fmt: skip


@pytest.mark.parametrize(("columns", "target", "options", "message"), BAD)
def test_bad_predictions(columns, target, options, message):
    with pytest.raises(TableError, match=message) as caught:
        judge(table(**columns), target, **options)
    assert "\n" not in str(caught.value)


def test_percents_are_taken_where_rows_are_to_be_divided_by_their_sums():
    t = table(y=["a", "b"], p_a=[75.0, 33.3], p_b=[25.0, 66.6])
    with pytest.raises(TableError, match=r"above one.*percents.*--normalize"):
        judge(t, "y")
    result, found = judge(t, "y", normalize=True)
    assert result.cross_entropy == pytest.approx(-np.log([0.75, 66.6 / 99.9]).mean())
    assert "the probabilities are percents" in found.notes


def test_a_positive_class_is_not_for_patterns():
    t = table(y=["a", "b"], p_a=[0.5, 0.25], p_b=[0.5, 0.75])
    with pytest.raises(TableError, match="single column"):
        judge(t, "y", positive="a")


def test_dates_are_matched_in_any_spelling():
    t = table(
        y=["2024-05-31T10:00:00.000000", "2024-06-01 00:00"],
        **{"p_2024-05-31 10:00": [0.5, 0.25], "p_2024-06-01": [0.5, 0.75]},
    )
    assert judge(t, "y")[0].cross_entropy == pytest.approx(-np.log([0.5, 0.75]).mean())


def test_large_whole_labels_keep_their_digits():
    big = 2**62
    for labels in ([big, big + 1], pl.Series([2 * big, 2 * big + 1], dtype=pl.UInt64), pl.Series([10**25, 10**25 + 1])):
        t = table(y=labels, **{f"p_{labels[0]}": [0.5, 0.25], f"p_{labels[1]}": [0.5, 0.75]})
        assert judge(t, "y")[0].cross_entropy == pytest.approx(-np.log([0.5, 0.75]).mean())


def test_columns_named_as_the_classes_alone(tmp_path, monkeypatch):
    """Found by naming the classes, whatever else is in the table; and recalibrated so."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), 90)
    y = np.array(["cat", "dog", "eel"])[[rng.choice(3, p=row) for row in p]]
    own = {"id": np.arange(90), "y": y}
    pl.DataFrame(own | {f"p_{c}": p[:, k] for k, c in enumerate(("cat", "dog", "eel"))}).write_csv("prefixed.csv")
    pl.DataFrame(own | {c: p[:, k] for k, c in enumerate(("cat", "dog", "eel"))} | {"ant": 7.0}).write_csv("bare.csv")
    plain = ["bare.csv", "-p", "*", "--classes", "eel,cat,dog"]
    found = json.loads(run("evaluate", *plain, "-t", "y", "--json").stdout)
    expected = json.loads(run("evaluate", "prefixed.csv", "-t", "y", "--json").stdout)
    assert found["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-12)
    run("recalibrate", *plain, "-t", "y", "-m", "temperature", "-o", "map.json")
    run("recalibrate", *plain, "--apply", "map.json", "-o", "out.csv")
    assert pl.read_csv("out.csv").columns == pl.read_csv("bare.csv").columns
    assert (
        "knows no class for"
        in run("recalibrate", "bare.csv", "-p", "*", "--apply", "map.json", "-o", "-", code=2).stderr
    )
    for classes, message in (("cat,owl", "no column 'owl' for a class"), ("cat", "only one class is named")):
        assert message in run("evaluate", *plain[:3], "--classes", classes, "-t", "y", code=2).stderr
    assert "no column of probabilities" in run("evaluate", *plain[:3], "--classes", "cat,dog", "-t", "y", code=2).stderr
    assert "--probs '*' --classes A,B" in run("evaluate", "bare.csv", "-t", "y", code=2).stderr
    wrong = run("recalibrate", *plain[:3], "--classes", "cat,dog,ant", "--apply", "map.json", "-o", "-", code=2)
    assert "the map's classes are" in wrong.stderr
