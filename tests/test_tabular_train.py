"""The pipeline: split, tune, fit, judge."""

import datetime as dt
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from xent.evaluate import figures
from xent.losses import log_softmax
from xent.tabular import TableError, TrainOptions, read_table, train
from xent.tabular.split import split_test
from xent.tabular.tune import GRID, best_features, between

FAST = TrainOptions(grid=(1.0,))


def table(rows=120, classes=("a", "b", "c"), features=3, seed=0):
    rng = np.random.default_rng(seed)
    k = np.arange(rows) % len(classes)
    x = rng.normal(size=(rows, features)) + np.eye(len(classes), features)[k] * 2
    return pl.DataFrame({**{f"x{j}": x[:, j] for j in range(features)}, "y": [classes[i] for i in k]})


def test_it_is_the_minimum_scikit_learn_finds():
    frame = table()
    result = train(frame, "y", TrainOptions(grid=(0.3,), test=0.25))
    rows = result.rows
    assert rows == {"all": 120, "train": 90, "test": 30}
    index = np.arange(120) % 3
    train_rows, test_rows = split_test(index, 0.25, 0)
    x = frame.select("x0", "x1", "x2").to_numpy()
    scaler = StandardScaler().fit(x[train_rows])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = LogisticRegression(C=0.3, tol=1e-10, max_iter=10000).fit(
            scaler.transform(x[train_rows]), index[train_rows]
        )
    p = other.predict_proba(scaler.transform(x[test_rows]))
    assert result.evaluation.cross_entropy == pytest.approx(log_loss(index[test_rows], p), rel=1e-4)
    log_proba, _ = result.model.log_proba(frame[test_rows])
    assert np.exp(log_proba) == pytest.approx(p, abs=1e-4)


def test_two_classes_too():
    frame = table(classes=("no", "yes"))
    result = train(frame, "y", FAST)
    assert result.model.coef.shape == (1, 3)
    log_proba, _ = result.model.log_proba(frame)
    assert np.exp(log_proba).sum(axis=1) == pytest.approx(np.ones(120))
    assert result.evaluation.skill > 0.2


def test_log_softmax_is_exact_where_probabilities_round():
    z = np.array([[0.0, -80.0, -800.0], [1e4, 1e4, 0.0]])
    got = log_softmax(z)
    assert got[0, 0] == pytest.approx(-np.exp(-80.0), rel=1e-12, abs=0)
    assert got[0, 2] == -800.0
    assert got[1].tolist() == pytest.approx([-np.log(2), -np.log(2), -1e4 - np.log(2)])


@pytest.mark.parametrize(("best", "expected"), [(0, 3), (5, 6), (9, 3)])
def test_the_second_look_stays_inside_the_grid(best, expected):
    finer = between(GRID, best)
    assert len(finer) == expected
    assert GRID[max(0, best - 1)] < finer[0]
    assert finer[-1] < GRID[min(9, best + 1)]
    assert between((1.0,), 0) == ()


def test_tuning_reports_its_curve_and_takes_the_best():
    result = train(read_table("iris"), "species")
    tried = [p.c for p in result.curve]
    assert tried == sorted(tried)
    first = [p for p in result.curve if any(p.c == pytest.approx(c) for c in GRID)]
    assert len(first) == len(GRID)
    at = int(np.argmin([p.cross_entropy for p in first]))
    finer = sorted(set(tried) - {p.c for p in first})
    assert len(finer) == 6
    assert GRID[at - 1] < finer[0] < finer[2] < GRID[at] < finer[3] < finer[5] < GRID[at + 1]
    best = min(result.curve, key=lambda p: p.cross_entropy)
    assert result.model.penalty_c == best.c
    assert result.evaluation.accuracy >= 0.9
    assert result.curve[0].cross_entropy == pytest.approx(np.log(3), abs=0.05)  # a penalty that leaves only the shares
    assert all(p.standard_error > 0 for p in result.curve)


def test_the_curve_is_what_scikit_learn_measures():
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    frame = table(rows=90)
    result = train(frame, "y", TrainOptions(grid=(0.01, 1.0), test=0, folds=3, seed=4))
    x, index = frame.select("x0", "x1", "x2").to_numpy(), np.arange(90) % 3
    folds = StratifiedKFold(3, shuffle=True, random_state=4)
    for point in result.curve:
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=point.c, tol=1e-8, max_iter=5000))
        p = cross_val_predict(pipeline, x, index, cv=folds, method="predict_proba")
        assert point.cross_entropy == pytest.approx(log_loss(index, p), rel=1e-3)


def test_without_a_test_part_the_figures_are_cross_validated():
    result = train(table(), "y", TrainOptions(test=0, grid=(0.1, 1.0)))
    assert result.source == "cross-validation"
    assert result.rows == {"all": 120, "train": 120, "test": 0}
    assert result.evaluation.rows == 120
    best = min(result.curve, key=lambda p: p.cross_entropy)
    assert result.evaluation.cross_entropy == pytest.approx(best.cross_entropy, rel=1e-3)


def test_the_same_seed_gives_the_same_model():
    one, two = (train(table(), "y", TrainOptions(seed=3, grid=(0.1, 1))) for _ in range(2))
    assert np.array_equal(one.model.coef, two.model.coef)
    assert one.evaluation == two.evaluation
    assert train(table(), "y", TrainOptions(seed=4, grid=(0.1, 1))).evaluation != one.evaluation


def test_the_model_gives_its_test_figures_again():
    frame = table()
    result = train(frame, "y", FAST)
    _, test_rows = split_test(np.arange(120) % 3, 0.2, 0)
    log_proba, _ = result.model.log_proba(frame[test_rows])
    assert figures(log_proba, (np.arange(120) % 3)[test_rows]) == result.evaluation
    assert result.prior_cross_entropy == pytest.approx(np.log(3))


def test_split_is_stratified_and_leaves_every_class_in_training():
    index = np.repeat([0, 1, 2, 3], [50, 30, 5, 1])
    train_rows, test_rows = split_test(index, 0.2, 0)
    assert sorted([*train_rows, *test_rows]) == list(range(86))
    assert np.bincount(index[test_rows], minlength=4).tolist() == [10, 6, 1, 0]
    assert not np.array_equal(split_test(index, 0.2, 1)[1], test_rows)
    assert split_test(index, 0.0, 0)[1].size == 0
    greedy = split_test(index, 0.9, 0)[0]
    assert set(index[greedy]) == {0, 1, 2, 3}


def test_selection_keeps_the_largest_f():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 6)), np.arange(60) % 2
    x[:, 4] += y * 3
    x[:, 1] += y
    x[:, 2] = y  # separates the classes
    assert best_features(x, y, 2).tolist() == [2, 4]
    f = f_classif(x[:, [0, 1, 3, 4, 5]], y)[0]
    assert [[0, 1, 3, 4, 5][i] for i in np.argsort(-f)[:2]] == [4, 1]
    frame = pl.DataFrame({**{f"x{j}": x[:, j] for j in (0, 1, 3, 4, 5)}, "y": y})
    result = train(frame, "y", TrainOptions(select=1, grid=(1.0,)))
    assert result.model.preprocessor.names == ["x4"]
    assert result.model.preprocessor.needed == ["x4"]
    result.model.log_proba(frame.select("x4"))  # the others are not needed


LABELS = [
    [3, 7], [0.5, 2.25], ["a", "b c ü"], [False, True], [dt.date(2024, 1, 1), dt.date(2024, 1, 2)],
    [dt.datetime(2024, 1, 1, 5), dt.datetime(2024, 1, 2)], [0, 1], list(range(12)),
]  # fmt: skip


@pytest.mark.parametrize("labels", LABELS)
def test_labels_of_every_kind(labels):
    frame = table(classes=labels, rows=240)
    model = train(frame, "y", FAST).model
    assert model.classes == labels
    log_proba, _ = model.log_proba(frame)
    out = model.predictions(frame, log_proba)
    assert out["predicted"].dtype == frame["y"].dtype
    index = np.arange(240) % len(labels)
    assert out["loss"].to_numpy() == pytest.approx(-log_proba[np.arange(240), index])
    assert out.columns == ["y", "predicted", *[f"p_{n}" for n in model.class_names], "loss"]


def test_a_table_wider_than_long():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 300))
    y = np.arange(40) % 2
    x[:, :20] += y[:, None] * 2
    result = train(pl.DataFrame({**{f"x{j}": x[:, j] for j in range(300)}, "y": y}), "y", TrainOptions(grid=(0.01, 1)))
    assert result.model.coef.shape == (1, 300)
    assert result.evaluation.accuracy > 0.8


def test_one_feature():
    assert train(table(features=1, classes=("a", "b")), "y", FAST).model.coef.shape == (1, 1)


def test_every_kind_of_column_together():
    rng = np.random.default_rng(0)
    k = np.arange(200) % 2
    frame = pl.DataFrame(
        {
            "row": np.arange(200),
            "number": [None if i % 11 == 0 else float(v) for i, v in enumerate(k + rng.normal(size=200))],
            "category": [None if i % 13 == 0 else "xyz"[v + rng.integers(2)] for i, v in enumerate(k)],
            "日付": [str(dt.date(2024, 1, 1) + dt.timedelta(int(90 * v + rng.integers(100)))) for v in k],
            "true or not": rng.integers(0, 2, 200).astype(bool),
            "always": ["same"] * 200,
            "note": [f"free text {i // 1.5}" for i in range(200)],
            "y": k,
        }
    )
    result = train(frame, "y", TrainOptions(grid=(0.1, 1)))
    assert {c.name: str(c.kind) for c in result.columns} == {
        "row": "id", "number": "number", "category": "category", "日付": "date", "true or not": "category",
        "always": "constant", "note": "text",
    }  # fmt: skip
    assert result.evaluation.skill > 0
    document = result.to_dict()
    assert document["columns"][0]["used"] is False


def changed(**columns):
    return table(rows=30).with_columns(**{k: pl.Series(v) for k, v in columns.items()})


ROWS = range(30)
BAD = [
    (changed(), {"target": "Y2"}, "no column 'Y2'. Did you mean 'y'"),
    (changed(y=["a"] * 30), {}, "one class only, 'a'"),
    (changed(y=[None, *["a", "b"] * 14, None]), {}, "missing in 2 of 30 rows. .*--drop-missing"),
    (changed(y=[None] * 30), {}, "all missing"),
    (changed(y=np.linspace(0, 1, 30)), {}, "30 different values in 30 rows: that is a measured number or an id"),
    (changed(y=["a", "b", "c"] + ["a", "b"] * 13 + ["a"]), {}, "class 'c' has 1 training row, fewer than the 5 folds"),
    (changed(y=["rare"] * 4 + ["a", "b"] * 13), {}, r"class 'rare' has 3 training rows .4 with the test part.*"
     r"fewer folds \(--folds 3\)"),
    (changed(y=["two words", "two words"] + ["a", "b"] * 14), {"test": 0.5}, r"no test part .--test 0 --folds 2.*"
     "--drop-class 'two words'"),
    (changed(x0=[None] * 30), {}, "column 'x0' is all missing. Leave it out: --drop x0"),
    (changed(x0=[None] * 30, x1=[None] * 30), {}, "columns 'x0', 'x1' are all missing. Leave them out"),
    (changed(x0=[1.0] * 29 + [float("inf")]), {}, r"column 'x0' holds 1 infinite number, the first in row"),
    (changed().select("y"), {}, "no column is left to learn from: there is only the target"),
    (changed().select("y", x=pl.lit(1)), {}, "'x' is constant .always 1."),
    (changed(), {"types": {"x0": "date"}}, "should hold dates"),
    (changed(), {"drop_class": ("z",)}, "no class 'z'"),
    (changed(), {"drop_class": ("a", "b", "c")}, "no rows are left"),
    (changed(), {"test": 1.0}, "from 0 to below 1"),
    (changed(), {"folds": 1}, "at least 2 folds"),
    (changed(), {"grid": (0.0,)}, "positive"),
    (changed(), {"select": 0}, "at least 1"),
    (changed(), {"seed": -1}, "seed must be a whole number from 0"),
    (changed(), {"seed": 2**32}, "seed must be a whole number from 0"),
    (changed(y=["rare"] + ["a", "b"] * 14 + ["a"]), {"grid": (1.0,), "test": 0}, r"has 1 .*test part, not folds"),
    (changed(x0=[1.0] + [0.0] * 29).select("x0", "y"), {"folds": 2, "test": 0}, "no feature varies"),
    (changed()[:2], {"test": 0.1, "grid": (1.0,)}, "test part would be empty.* or --test 0"),
]  # fmt: skip


@pytest.mark.parametrize(("frame", "options", "message"), BAD)
def test_bad_input(frame, options, message):
    target = options.pop("target", "y") if "target" in options else "y"
    with pytest.raises(TableError, match=message):
        train(frame, target, TrainOptions(**options))


def test_leaving_out_rows():
    frame = changed(y=[None, "rare", *["a", "b"] * 14])
    result = train(frame, "y", TrainOptions(drop_missing=True, drop_class=("rare",), grid=(1.0,)))
    assert result.rows["all"] == 28
    assert result.model.classes == ["a", "b"]
    assert "1 row without a label left out" in result.notes
    assert any("of the classes 'rare' left out" in n for n in result.notes)


def test_a_class_the_test_part_cannot_hold_is_told():
    frame = changed(y=["rare"] + ["a", "b"] * 14 + ["a"])
    result = train(frame, "y", FAST)
    assert any("has none of 'rare'" in n for n in result.notes)


def test_a_label_never_seen_costs_infinity():
    frame = table(classes=("a", "b"))
    model = train(frame, "y", FAST).model
    new = frame[:3].with_columns(y=pl.Series(["a", "new", None]))
    log_proba, _ = model.log_proba(new)
    out = model.predictions(new, log_proba)
    assert out["loss"][1] == float("inf")
    assert out["loss"][2] is None
    assert np.isfinite(out["loss"][0])


def test_columns_of_the_output_that_would_clash():
    frame = table(classes=("a", "b")).with_columns(predicted=pl.lit(1))
    model = train(frame, "y", FAST).model
    log_proba, _ = model.log_proba(frame)
    with pytest.raises(TableError, match="two columns 'predicted'"):
        model.predictions(frame, log_proba, keep=["predicted"])


def test_progress_reaches_its_end():
    calls = []
    train(table(), "y", TrainOptions(grid=(0.1, 1.0), folds=3), progress=lambda *a: calls.append(a))
    assert calls[0] == ("cross-validating", 0, 7)
    assert calls[-1] == ("fitting", 7, 7)
    assert [c[1] for c in calls] == sorted(c[1] for c in calls)
    calls.clear()
    train(table(), "y", TrainOptions(grid=(1.0,), test=0, folds=3), progress=lambda *a: calls.append(a))
    assert calls[-1][1:] == (4, 4)


def test_a_frame_is_read_as_a_file_would_be():
    frame = changed(x0=[float("nan")] + [0.5, 1.0] * 14 + [2.0]).with_columns(pl.col("y").cast(pl.Categorical))
    result = train(frame.with_columns(c=pl.col("y")), "y", FAST)
    assert {c.name: (str(c.kind), c.missing) for c in result.columns}["c"] == ("category", 0)
    assert {c.name: c.missing for c in result.columns}["x0"] == 1


def test_whole_labels_beyond_64_bits_stay_apart():
    for labels in ([2**63, 2**63 + 1], [10**25, 10**25 + 1]):
        frame = table(classes=("a", "b")).with_columns(y=pl.Series(labels * 60))
        model = train(frame, "y", FAST).model
        assert model.class_names == [str(v) for v in labels]
        assert model.label_index(frame["y"]).tolist() == [0, 1] * 60


def test_text_dates_find_the_classes_of_dates():
    frame = table(classes=(dt.datetime(2024, 5, 31, 10), dt.datetime(2024, 6, 1)))
    model = train(frame, "y", FAST).model
    assert model.label_index(pl.Series(["2024-06-01", "2024-05-31 10:00", "x", None])).tolist() == [1, 0, -2, -1]


def test_more_features_asked_for_than_there_are():
    result = train(table(), "y", TrainOptions(grid=(1.0,), select=9))
    assert "9 features asked for (--select), all 3 kept" in result.notes


def test_a_duration_among_the_labels_is_none_of_the_classes():
    model = train(table(classes=("a", "b")), "y", FAST).model
    assert model.label_index(pl.Series([dt.timedelta(seconds=1), None])).tolist() == [-2, -1]
