"""StreamingClassifier and the mini-batch solvers: PyTorch's steps, the optimum in memory, files, early stopping."""

from __future__ import annotations

import gc
import itertools
import tracemalloc
import warnings

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.utils.estimator_checks import parametrize_with_checks

from xent.linear_model import LogisticRegression, StreamingClassifier, load_estimator
from xent.solvers import Adam, GradientDescent, RMSprop, rate_at, shortened

RNG = np.random.default_rng(0)
STOCHASTIC = ("sgd", "momentum", "nesterov", "rmsprop", "adam")
MODELS = [
    StreamingClassifier(tol=1e-8),
    StreamingClassifier(optimizer="adam", learning_rate=0.05, max_iter=60, batch_size=32),
    StreamingClassifier(early_stopping=True),
    StreamingClassifier(l1_ratio=0.5, alpha=1e-2, batch_size=16, tol=1e-9, max_iter=5000, shuffle=False),
]


def expected_failures(model):
    if model.early_stopping:
        why = "rows are held out at random: a row of weight 2 is held out as one, two copies of it as two"
        names = ("dense_data", "sparse_data")
        return {f"check_sample_weight_equivalence_on_{name}": why for name in names}
    return {}


@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@pytest.mark.filterwarnings("ignore:adam ended after:sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    ("rule", "name", "options"),
    [
        (GradientDescent(), "SGD", {}),
        (GradientDescent(0.9), "SGD", {"momentum": 0.9}),
        (GradientDescent(0.9, True), "SGD", {"momentum": 0.9, "nesterov": True}),
        (RMSprop(0.9, 1e-6), "RMSprop", {"alpha": 0.9, "eps": 1e-6}),
        (Adam(0.8, 0.95, 1e-6), "Adam", {"betas": (0.8, 0.95), "eps": 1e-6}),
    ],
)
def test_steps_are_pytorchs(rule, name, options):
    torch = pytest.importorskip("torch")
    start = RNG.normal(size=5)
    ours, theirs = start.copy(), torch.tensor(start, requires_grad=True)
    optimizer = getattr(torch.optim, name)([theirs], lr=0.03, **options)
    for _ in range(20):
        gradient = RNG.normal(size=5)
        theirs.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        ours = ours + rule.step(gradient, 0.03)
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-12)


def test_rates_and_lengths():
    torch = pytest.importorskip("torch")
    weight = torch.nn.Parameter(torch.zeros(1))
    for name, kind in (("cosine", "CosineAnnealingLR"), ("linear", "LinearLR")):
        optimizer = torch.optim.SGD([weight], lr=0.2)
        options = {"T_max": 10} if name == "cosine" else {"start_factor": 1, "end_factor": 0, "total_iters": 10}
        schedule = getattr(torch.optim.lr_scheduler, kind)(optimizer, **options)
        for step in range(11):
            assert rate_at(name, 0.2, step, 10) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
            optimizer.step()
            schedule.step()
    assert rate_at("inverse", 0.2, 3, None) == pytest.approx(0.1)
    assert rate_at("constant", 0.2, 99, None) == 0.2
    with pytest.raises(ValueError, match="a stream has no end"):
        rate_at("cosine", 0.2, 0, None)
    g = np.array([3.0, 4.0])
    np.testing.assert_allclose(shortened(g, 1.0, False), [0.6, 0.8])
    np.testing.assert_array_equal(shortened(g, 6.0, False), g)
    np.testing.assert_allclose(shortened(g / 100, None, True), [0.6, 0.8])
    np.testing.assert_array_equal(shortened(0 * g, None, True), 0 * g)


def rows(classes=3, N=900, D=4, scale=True):
    X = RNG.normal(size=(N, D)) * (np.logspace(-2, 2, D) if scale else 1) + (1.0 if scale else 0)
    Z = (X - X.mean(axis=0)) / X.std(axis=0) @ RNG.normal(size=(D, classes))
    return X, np.argmax(Z + RNG.gumbel(size=(N, classes)), axis=1)


def sources(tmp_path, X, y, weight, sizes=(100, 1, 499, 300)):
    """The same rows as every kind of stream."""
    cuts = np.cumsum((0, *sizes))
    pieces = [(X[a:b], y[a:b], weight[a:b]) for a, b in itertools.pairwise(cuts)]
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    np.save(tmp_path / "w.npy", weight)
    frame = pl.DataFrame({**{f"f{j}": X[:, j] for j in range(X.shape[1])}, "label": y, "w": weight})
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=200)
    return {
        "function": (lambda: iter(pieces),),
        "list": (pieces,),
        "npy": (tmp_path / "X.npy", tmp_path / "y.npy", tmp_path / "w.npy"),
        "parquet": (str(tmp_path / "t.parquet"), "label", "w"),
        "sparse": (lambda: ((sparse.csr_array(a), b, c) for a, b, c in pieces),),
        "arrays": (X, y, weight),
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", ["function", "list", "npy", "parquet", "sparse", "arrays"])
def test_a_stream_has_the_optimum_of_memory(tmp_path, monkeypatch, classes, kind):
    monkeypatch.setattr("xent.linear_model._sources.READ", 4 * 130)  # files in seven pieces
    X, y = rows(classes)
    weight = RNG.uniform(0, 2, len(y)) * (RNG.random(len(y)) < 0.9)
    alpha = 1e-3
    model = StreamingClassifier(alpha=alpha, tol=1e-8).fit(*sources(tmp_path, X, y, weight)[kind])
    C = 1 / (alpha * weight.sum())
    theirs = Theirs(C=C, solver="newton-cholesky", tol=1e-12, max_iter=1000).fit(X, y, weight)
    np.testing.assert_allclose(model.coef_, theirs.coef_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        model.intercept_,
        theirs.intercept_
        - (theirs.intercept_.mean() if classes > 2 else 0)
        + (model.intercept_.mean() if classes > 2 else 0),
        rtol=1e-5,
        atol=1e-6,
    )
    whole = LogisticRegression(C=C, solver="lbfgs", tol=1e-8).fit(X, y, weight)
    assert model.history_[-1]["loss"] == pytest.approx(whole.objective_, rel=1e-10)
    assert model.convergence_ <= 1e-8
    assert model.n_iter_ <= whole.n_iter_[0] + 5  # the same coordinates
    assert model.optimizer_ == "lbfgs"
    if kind == "parquet":
        assert model.feature_names_in_.tolist() == ["f0", "f1", "f2", "f3"]


def test_memory_does_not_grow_with_the_stream():
    def fit(batches):
        def read():
            rng = np.random.default_rng(0)
            for _ in range(batches):
                gc.collect()  # cycles would keep old batches for as long as the tests before this one decide
                X = rng.normal(size=(2000, 20))
                yield X, X[:, 0] > rng.normal(size=2000)

        tracemalloc.start()
        StreamingClassifier(tol=1e-2).fit(read)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    gc.freeze()  # what is there already need not be looked through each time
    fit(2)
    batch = 2000 * 20 * 8  # bytes
    peaks = fit(20), fit(4)
    gc.unfreeze()
    assert peaks[0] < peaks[1] + 3 * batch


@pytest.mark.parametrize("optimizer", STOCHASTIC)
def test_mini_batches_come_near_the_optimum(optimizer):
    X, y = rows(scale=False)
    best = StreamingClassifier(alpha=1e-2).fit(X, y).history_[-1]["loss"]
    rate = {"sgd": 0.5, "momentum": 0.05, "nesterov": 0.05}.get(optimizer, 0.02)
    options = {"alpha": 1e-2, "optimizer": optimizer, "learning_rate": rate, "schedule": "cosine", "max_iter": 60}
    model = StreamingClassifier(**options, random_state=0, batch_size=64, tol=1e-2).fit(X, y)
    f = LogisticRegression(C=1 / (1e-2 * len(y))).fit(X, y)
    np.testing.assert_allclose(model.coef_, f.coef_, atol=0.05)
    assert model.convergence_ < 1e-2
    logp = model.predict_log_proba(X)[np.arange(len(y)), y]
    assert -logp.mean() + 0.5e-2 * (model.coef_**2).sum() == pytest.approx(best, abs=1e-4)
    assert len(model.history_) == model.n_iter_ == 60
    assert model.history_[-1]["loss"] < model.history_[0]["loss"]
    assert model.history_[-1]["learning_rate"] < 1e-3 * rate
    again = StreamingClassifier(**options, random_state=0, batch_size=64, tol=1e-2).fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    other = StreamingClassifier(**options, random_state=1, batch_size=64, tol=1e-2).fit(X, y)
    assert (other.coef_ != model.coef_).any()


def test_mini_batches_that_did_not_get_there_say_so():
    X, y = rows()  # unscaled
    with pytest.warns(ConvergenceWarning, match="sgd ended after 2 epochs with a gradient of .* scale the features"):
        StreamingClassifier(optimizer="sgd", learning_rate=1e-4, max_iter=2).fit(X, y)
    with pytest.warns(ConvergenceWarning, match="lbfgs did not converge: after 2 iterations.*raise max_iter=2"):
        StreamingClassifier(max_iter=2).fit(X, y)


def test_clipping_keeps_the_first_steps_short():
    X, y = rows(scale=False)
    X[0] = 1e6
    options = {"optimizer": "sgd", "learning_rate": 0.1, "max_iter": 1, "tol": np.inf, "shuffle": False}
    plain, clipped, unit = (
        StreamingClassifier(**options, **more).fit(X, y) for more in ({}, {"clip": 1.0}, {"normalize": True})
    )
    assert np.abs(plain.coef_).max() > 100
    steps = -(-len(y) // 256)
    for model in (clipped, unit):
        assert np.sqrt((model.coef_**2).sum() + (model.intercept_**2).sum()) <= 0.1 * steps + 1e-12


@pytest.mark.parametrize("classes", [2, 3])
def test_partial_fit_is_one_epoch_in_order(classes):
    X, y = rows(classes, scale=False)
    options = {"optimizer": "momentum", "batch_size": 100, "shuffle": False, "tol": np.inf}
    whole = StreamingClassifier(max_iter=2, **options).fit(X, y)
    parts = StreamingClassifier(**options)
    for _ in range(2):
        for start in range(0, len(y), 300):
            part = slice(start, start + 300)
            parts.partial_fit(X[part], y[part], classes=np.arange(classes))
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)
    np.testing.assert_allclose(parts.intercept_, whole.intercept_, rtol=1e-12)
    assert parts.n_iter_ == len(parts.history_) == 6
    assert StreamingClassifier().partial_fit(X, y, classes=np.arange(classes)).optimizer_ == "adam"


def test_a_batch_may_lack_classes_and_a_stream_that_ends_is_one_epoch():
    X, y = load_iris(return_X_y=True)  # sorted by class
    pieces = [(X[i : i + 30], y[i : i + 30]) for i in range(0, 150, 30)]
    model = StreamingClassifier(alpha=1e-2, tol=1e-8).fit(pieces)
    whole = StreamingClassifier(alpha=1e-2, tol=1e-8).fit(X, y)
    np.testing.assert_allclose(model.coef_, whole.coef_, atol=1e-6)
    once = StreamingClassifier(optimizer="adam", max_iter=1, batch_size=30, shuffle=False)
    once.fit(iter(pieces), classes=[0, 1, 2])
    parts = StreamingClassifier(optimizer="adam", batch_size=30).partial_fit(X, y, classes=[0, 1, 2])
    np.testing.assert_allclose(once.coef_, parts.coef_, rtol=1e-12)
    assert np.isnan(once.convergence_)
    for options in ({}, {"optimizer": "adam"}, {"optimizer": "adam", "max_iter": 1}):
        with pytest.raises(ValueError, match="read only once"):
            StreamingClassifier(**options).fit(iter(pieces))


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("stream", [False, True])
def test_early_stopping_gives_back_the_best_weights(optimizer, stream):
    X = RNG.normal(size=(200, 60))
    y = X[:, 0] + 2 * RNG.normal(size=200) > 0  # far more columns than that tells: it overfits
    data = (lambda: ((X[i : i + 50], y[i : i + 50]) for i in range(0, 200, 50)),) if stream else (X, y)
    options = {
        "alpha": 0.0,
        "optimizer": optimizer,
        "learning_rate": 0.03,
        "early_stopping": True,
        "n_iter_no_change": 4,
    }
    seen = []

    def callback(model, entry):
        seen.append((model.coef_.copy(), entry["validation_loss"]))

    model = StreamingClassifier(**options, validation_fraction=0.3, random_state=2, callback=callback).fit(*data)
    losses = [entry["validation_loss"] for entry in model.history_]
    best = int(np.argmin(losses))
    assert model.n_iter_ == len(losses) == best + 1 + 4
    np.testing.assert_array_equal(model.coef_, seen[best][0])
    full = StreamingClassifier(alpha=1e-8).fit(*data)
    assert np.linalg.norm(model.coef_) < np.linalg.norm(full.coef_)
    assert full.history_[0]["validation_loss"] is None


def test_the_rows_held_out_are_not_fitted_to():
    """The fit is that of the kept rows alone, and kept and held out make the whole."""
    X, y = rows(2, 400, scale=False)
    model = StreamingClassifier(
        early_stopping=True, validation_fraction=0.25, n_iter_no_change=1000, random_state=0, tol=1e-8
    )
    model.fit(X, y)
    loss = model.history_[-1]["loss"]
    from xent.linear_model._sources import source_of
    from xent.linear_model._stream_rows import Rows

    inside = Rows(model, source_of(X, y, None), None)
    (kept,) = inside.batches()
    assert len(kept[1]) == inside.rows == 300
    whole = LogisticRegression(C=1 / (1e-4 * 300), tol=1e-8).fit(kept[0], kept[1])
    assert loss == pytest.approx(whole.objective_, rel=1e-9)
    everything = np.vstack([kept[0], inside._held[0][0]])
    np.testing.assert_array_equal(np.sort(everything[:, 0]), np.sort(X[:, 0]))


def test_callbacks_end_a_fit_and_progress_is_shown(capsys):
    X, y = rows()
    for optimizer in ("lbfgs", "sgd"):
        stop = lambda model, entry: entry["step"] == 2  # noqa: E731
        model = StreamingClassifier(optimizer=optimizer, learning_rate=1e-3, callback=stop, verbose=1).fit(X, y)
        assert model.n_iter_ == 2
        shown = capsys.readouterr()
        assert optimizer in shown.err
        assert shown.out == ""


def test_it_is_saved_and_exported(tmp_path):
    X, y = rows()
    model = StreamingClassifier(early_stopping=True, random_state=0).fit(X, y)
    model.save(tmp_path / "m")
    back = load_estimator(tmp_path / "m")
    assert back.history_ == model.history_
    np.testing.assert_array_equal(back.predict_proba(X), model.predict_proba(X))


def test_what_is_refused(tmp_path):
    X, y = rows()
    fit = StreamingClassifier().fit
    np.save(tmp_path / "X.npy", X)
    pl.DataFrame({"a": [1.0], "text": ["x"], "y": [0]}).write_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("a,b\n")
    for given, words in (
        ((tmp_path / "none.npy", y), "no such file"),
        ((tmp_path / "t.csv", y), r"neither .npy nor .parquet"),
        ((tmp_path / "X.npy",), "y is missing"),
        ((tmp_path / "X.npy", y[:5]), r"must be \(900,\)"),
        ((tmp_path / "t.parquet", "label"), "y must name a column of t.parquet, which has a, text, y; not 'label'"),
        ((tmp_path / "t.parquet", "y"), "column 'text' of t.parquet holds String, not numbers"),
        ((lambda: iter([(X, y)]), y), "bring their own labels"),
        ((lambda: iter([]),), "there are no batches"),
        ((tmp_path / "X.npy", y, [1.0]), r"sample_weight has the shape \(1,\); X.npy has 900 rows"),
        (([(X, y), (X[:, :2], y)],), "X has 2 features, but StreamingClassifier is expecting 4"),
        (([(X, y * 0)],), "only one class, 0"),
    ):
        with pytest.raises(ValueError, match=words):
            fit(*given)
    once = iter([(X, y)])
    steps = StreamingClassifier(optimizer="adam", max_iter=1).fit(once, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="an iterator that was read before has none left"):
        steps.fit(once, classes=[0, 1, 2])
    with pytest.raises(TypeError, match=r"batch 0 is ndarray: each must be \(X, y\)"):
        fit(lambda: iter([X]))
    with pytest.raises(ValueError, match="7, which is none of the classes"):
        fit([(X, y), (X, np.full(len(y), 7))], classes=[0, 1, 2])
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        StreamingClassifier().partial_fit(X, y)
    with pytest.raises(AttributeError) as no:
        StreamingClassifier(optimizer="lbfgs").partial_fit(X, y, classes=[0, 1, 2])
    assert "partial_fit takes steps of mini-batches: optimizer='lbfgs' needs all rows" in str(no.value.__cause__)
    model = StreamingClassifier().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="differ from the first call's"):
        model.partial_fit(X, y, classes=[0, 1])
    for options, words in (
        ({"optimizer": "adamw"}, "optimizer must be one of"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"alpha": -1}, "alpha must be a number from 0"),
        ({"clip": 0}, "clip must be a number above 0"),
        ({"momentum": 1}, "momentum must be below 1"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
    ):
        with pytest.raises(ValueError, match=words):
            StreamingClassifier(**options).fit(X, y)


def test_no_warning_hides_in_a_plain_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StreamingClassifier().fit(*rows())
