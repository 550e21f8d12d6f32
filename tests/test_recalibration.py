"""Recalibration: scikit-learn's fits, statsmodels-free likelihoods in mpmath, hand-made files."""

import json
import math

import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.calibration import _sigmoid_calibration
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from xent.evaluate import RecalibrationMap, cross_fitted, recalibrate, row_losses
from xent.evaluate.recalibration import default_methods
from xent.losses import log_softmax

RNG = np.random.default_rng(0)


def predictions(n, K, temperature=1.7):
    """Log-probabilities that are too sure of themselves by a temperature, and labels."""
    z = RNG.normal(size=(n, K)) * 2
    p = np.exp(log_softmax(z / temperature))
    return log_softmax(z), (p.cumsum(axis=1) > RNG.random(n)[:, None]).argmax(axis=1)


def cost(logs, y):
    return row_losses(logs, y).mean()


def odds(logs):
    return logs[:, 1] - logs[:, 0]


@pytest.mark.parametrize("K", [2, 3, 7])
def test_the_temperature_is_the_likeliest(K):
    logs, y = predictions(400, K)
    T = recalibrate(y, logs).parameters["temperature"]

    def loss(T):
        with mpmath.workdps(30):
            total = mpmath.mpf(0)
            for row, label in zip(logs.tolist(), y, strict=True):
                powers = [mpmath.e ** (mpmath.mpf(v) / T) for v in row]
                total -= mpmath.log(powers[label] / mpmath.fsum(powers))
            # the trace of ridge that the documentation states
            return total / len(y) + (1 / mpmath.mpf(T) - 1) ** 2 / (200 * len(y))

    assert loss(T) < loss(T * 1.001)
    assert loss(T) < loss(T * 0.999)
    assert pytest.approx(1.7, rel=0.2) == T


def test_platt_is_logistic_regression_on_the_log_odds():
    logs, y = predictions(3000, 2)
    found = recalibrate(y, logs, "platt").parameters
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(odds(logs)[:, None], y)
    assert found["slope"] == pytest.approx(theirs.coef_[0, 0], abs=2e-5)
    assert found["intercept"] == pytest.approx(theirs.intercept_[0], abs=2e-5)
    a, b = _sigmoid_calibration(odds(logs), y)  # Platt's own smoothing of the labels
    assert (found["slope"], found["intercept"]) == pytest.approx((-a, -b), abs=5e-3)


def test_isotonic_without_ends_is_scikit_learns_at_the_rows():
    logs, y = predictions(500, 2)
    logs[:20] = logs[0]  # ties
    theirs = IsotonicRegression(out_of_bounds="clip").fit(odds(logs), y)
    found = recalibrate(y, logs, "isotonic", ends=0)
    assert np.exp(found.apply(logs))[:, 1] == pytest.approx(theirs.predict(odds(logs)), abs=1e-12)
    assert found.apply([[-1e-9, -20.7]])[0, 1] <= found.apply([[-20.7, -1e-9]])[0, 1]


def test_isotonic_with_ends_is_regression_with_an_event_at_each_end():
    logs, y = predictions(200, 2)
    x = odds(logs)
    theirs = IsotonicRegression().fit(
        np.append(x, [x.min() - 1, x.max() + 1]), np.append(y, [1, 0]), np.append(np.ones(200), [0.5, 0.5])
    )
    found = np.exp(recalibrate(y, logs, "isotonic").apply(logs))
    assert found[:, 1] == pytest.approx(theirs.predict(x), abs=1e-12)
    assert found.min() > 0
    assert math.isfinite(cost(recalibrate(y, logs, "isotonic").apply([[0.0, -np.inf], [-np.inf, 0]]), [1, 0]))


def test_isotonic_of_many_classes_is_each_against_the_rest():
    logs, y = predictions(300, 3)
    columns = []
    for k in range(3):
        p = np.exp(logs[:, k])
        fit = IsotonicRegression().fit(
            np.append(p, [-1, 2]), np.append(y == k, [1, 0]), np.append(np.ones(300), [0.5, 0.5])
        )
        columns.append(fit.predict(p))
    theirs = np.column_stack(columns)
    found = np.exp(recalibrate(y, logs, "isotonic").apply(logs))
    assert found == pytest.approx(theirs / theirs.sum(axis=1, keepdims=True), abs=1e-9)


def direct(y, logs, penalty, diagonal):
    """Weights and intercept by a general optimiser, in the full parametrisation."""
    n, K = logs.shape

    def unpack(v):
        return (np.diag(v[:K]), v[K:]) if diagonal else (v[: K * K].reshape(K, K), v[K * K :])

    def loss(v):
        W, b = unpack(v)
        return -log_softmax(logs @ W.T + b)[np.arange(n), y].mean() + penalty(W, b)

    start = np.append(np.ones(K) if diagonal else np.eye(K).ravel(), np.zeros(K))
    found = minimize(loss, start, method="BFGS", options={"gtol": 1e-7, "maxiter": 2000})
    return loss, unpack(found.x)


def ridge(n):
    return lambda W, b: (((W - np.eye(len(b))) ** 2).sum() + (b**2).sum()) / (200 * n)


def test_vector_scaling():
    logs, y = predictions(400, 3)

    def penalty(W, b):
        return ridge(400)(W, b)

    _, (W, b) = direct(y, logs, penalty, diagonal=True)
    found = recalibrate(y, logs, "vector").parameters
    assert found["weights"] == pytest.approx(np.diag(W), abs=1e-4)
    assert found["intercept"] == pytest.approx(b - b.mean(), abs=1e-4)


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_dirichlet_minimises_the_papers_objective(strength):
    logs, y = predictions(300, 3)

    def penalty(W, b):
        off = W[~np.eye(3, dtype=bool)]
        return strength * ((off**2).sum() / 6 + (b**2).sum() / 3) + ridge(300)(W, b)

    _, (W, b) = direct(y, logs, penalty, diagonal=False)
    found = recalibrate(y, logs, "dirichlet", strength=strength)
    assert np.exp(found.apply(logs)) == pytest.approx(np.exp(log_softmax(logs @ W.T + b)), abs=2e-5)
    assert found.parameters["weights"] == pytest.approx(W, abs=2e-3)


def test_dirichlet_of_two_classes_is_beta_calibration():
    logs, y = predictions(2000, 2)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(logs, y)
    found = recalibrate(y, logs, "matrix").apply(logs)
    assert np.exp(found) == pytest.approx(theirs.predict_proba(logs), abs=2e-5)


def test_the_chosen_strength_holds_back_what_is_noise():
    logs, y = predictions(300, 5)
    new_logs, new_y = predictions(20_000, 5)
    free, held = (recalibrate(y, logs, m).apply(new_logs) for m in ("matrix", "dirichlet"))
    assert cost(held, new_y) < cost(free, new_y)


def test_weights_are_repeated_rows():
    logs, y = predictions(100, 2)
    times = RNG.integers(0, 3, 100)
    for method in ("temperature", "platt", "isotonic", "matrix"):
        one = recalibrate(y, logs, method, weights=times).apply(logs)
        many = recalibrate(np.repeat(y, times), np.repeat(logs, times, axis=0), method).apply(logs)
        assert np.exp(one) == pytest.approx(np.exp(many), abs=1e-6), method


def test_labels_told_apart_without_an_error_have_a_finite_map():
    logs = log_softmax(np.array([[1.0, -1], [2, -1], [-1, 1], [-2, 1]]))
    for method in ("temperature", "platt", "matrix"):
        found = recalibrate([0, 0, 1, 1], logs, method)
        assert all(np.isfinite(v).all() for v in found.parameters.values())
        assert cost(found.apply(logs), [0, 0, 1, 1]) < 0.05


def test_a_model_that_is_always_wrong_has_an_infinite_temperature():
    logs = log_softmax(np.array([[1.0, -1], [2, -1], [-1, 1], [-2, 1]]))
    for K in (2, 3):
        wide = np.column_stack([logs, np.full((4, K - 2), -3.0)])
        found = recalibrate([1, 1, 0, 0], wide)
        assert found.parameters["temperature"] == math.inf
        assert np.exp(found.apply(wide)) == pytest.approx(np.full((4, K), 1 / K))
        assert RecalibrationMap.from_json(found.to_json()).parameters["temperature"] == math.inf


def test_impossible_events_are_told_not_clipped():
    logs, y = predictions(400, 2)
    logs[3], y[3] = [0.0, -np.inf], 1
    logs[4], y[4] = [0.0, -np.inf], 0
    found = cross_fitted(y, logs)
    assert found.loss_before == math.inf
    temperature, platt, isotonic = found.results
    for result in (temperature, platt):
        assert result.loss_after == math.inf
        assert result.left_out == 1
        assert math.isnan(result.gain)
    assert math.isfinite(isotonic.loss_after)
    assert isotonic.gain == math.inf
    assert found.best is isotonic
    floored = cross_fitted(y, logs, ["temperature"], floor=1e-4)
    assert floored.loss_before == math.inf
    assert math.isfinite(floored.results[0].loss_after)
    others = np.arange(400) != 3
    assert temperature.parameters["temperature"] == pytest.approx(
        recalibrate(y[others], logs[others]).parameters["temperature"], rel=1e-12
    )


def test_methods_that_multiply_logarithms_refuse_zeros():
    logs, y = predictions(100, 3)
    logs[5] = np.log([0.5, 0.5, 1e-300])
    logs[5, 2] = -np.inf
    y[5] = 0
    with pytest.raises(ValueError, match=r"1 of 100 rows hold a probability of 0, the first is row 5.*floor"):
        recalibrate(y, logs, "dirichlet")
    result = cross_fitted(y, logs, ["vector"]).results[0]
    assert math.isnan(result.loss_after)
    assert "floor" in result.reason
    assert cross_fitted(y, logs, ["vector"], floor=1e-6).results[0].reason == ""
    assert default_methods(3, zeros=True) == ("temperature", "isotonic")


def test_cross_fitting_holds_rows_out():
    """Isotonic regression on noise gains on the rows it has seen, and loses on those that it has not."""
    logs = log_softmax(RNG.normal(size=(300, 2)) * 1e-3)
    y = RNG.integers(0, 2, 300)
    seen = cost(recalibrate(y, logs, "isotonic").apply(logs), y)
    found = cross_fitted(y, logs, ["isotonic"])
    assert seen < found.loss_before < found.results[0].loss_after
    assert found.best is None
    again = cross_fitted(y, logs, ["isotonic"])
    assert again.to_dict() == found.to_dict()
    assert cross_fitted(y, logs, ["isotonic"], seed=1).results[0].gain != found.results[0].gain


def test_groups_stay_together():
    logs, y = predictions(60, 2)
    logs, y, group = np.repeat(logs, 30, axis=0), np.repeat(y, 30), np.repeat(np.arange(60), 30)
    apart, together = cross_fitted(y, logs, ["isotonic"]), cross_fitted(y, logs, ["isotonic"], groups=group)
    assert together.results[0].loss_after > apart.results[0].loss_after
    assert together.results[0].gain_error > 2 * apart.results[0].gain_error
    with pytest.raises(ValueError, match="number of groups, 60; got 61"):
        cross_fitted(y, logs, folds=61, groups=group)


def test_large_inputs_are_sampled_and_say_so():
    logs, y = predictions(2000, 2)
    found = cross_fitted(y, logs, ["temperature"], most_rows=500)
    assert (found.rows, found.of_rows) == (500, 2000)


@pytest.mark.parametrize("method", ["temperature", "vector", "isotonic", "matrix", "dirichlet"])
def test_files_bring_back_every_digit(method):
    logs, y = predictions(150, 3)
    found = recalibrate(y, logs, method, names=["a", "b", "ü"])
    again = RecalibrationMap.from_json(found.to_json())
    assert np.array_equal(again.apply(logs), found.apply(logs))
    assert again.names == ("a", "b", "ü")
    assert again.to_dict() == found.to_dict()


GOOD = {
    "format": "xent recalibration map",
    "version": 1,
    "method": "platt",
    "classes": 2,
    "parameters": {"slope": 1.0, "intercept": 0.0},
}
ISOTONIC = {"method": "isotonic", "parameters": {"log_odds": [["-inf", 0, "inf"]], "probability": [[0.1, 0.5, 1]]}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "pickle"}, "no recalibration map"),
        ({"version": 2}, "version 2"),
        ({"method": "os.system"}, "no method"),
        ({"classes": 3}, "platt is for two classes"),
        ({"classes": True}, "number of classes"),
        ({"floor": 0.5}, "floor"),
        ({"names": ["a"]}, "names"),
        ({"parameters": {"slope": 1.0}}, "parameters of platt are slope, intercept"),
        ({"parameters": {"slope": "1", "intercept": 0.0}}, "numbers alone"),
        ({"parameters": {"slope": "inf", "intercept": 0.0}}, "finite"),
        ({"parameters": {"slope": [1.0], "intercept": 0.0}}, "shape"),
        ({"method": "temperature", "parameters": {"temperature": 0.0}}, "above 0"),
        ({**ISOTONIC, "parameters": {"log_odds": [[0, 0]], "probability": [[0.1, 0.2]]}}, "must rise"),
        ({**ISOTONIC, "parameters": {"log_odds": [[0, 1]], "probability": [[0.3, 0.2]]}}, "must rise"),
        ({**ISOTONIC, "parameters": {"log_odds": [[0, 1]], "probability": [[0.3, 1.2]]}}, "from 0 to 1"),
        ({**ISOTONIC, "parameters": {"log_odds": [[0]], "probability": [[0.3], [0.2]]}}, "list of 1 lists"),
    ],
)
def test_files_that_are_no_maps_are_refused(change, message):
    RecalibrationMap.from_json(json.dumps(GOOD))
    RecalibrationMap.from_json(json.dumps({**GOOD, **ISOTONIC}))
    with pytest.raises(ValueError, match=message):
        RecalibrationMap.from_json(json.dumps({**GOOD, **change}))


def test_no_json():
    for text in ("", "{", "[" * 100_000, b"\x80\x04"):
        with pytest.raises(ValueError, match=r"no JSON|recalibration map"):
            RecalibrationMap.from_json(text)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, logs: recalibrate(y, logs, "beta"), "no recalibration 'beta'"),
        (lambda y, logs: recalibrate(y, np.zeros((9, 3)), "platt"), "two classes, these are 3"),
        (lambda y, logs: recalibrate(y, logs, floor=0.5), "floor"),
        (lambda y, logs: recalibrate(y, logs, "isotonic", ends=-1), "ends"),
        (lambda y, logs: recalibrate(y, np.zeros((9, 3)), "isotonic", ends=0), "many classes"),
        (lambda y, logs: recalibrate(y, logs, names=["a"]), "1 names for 2 classes"),
        (lambda y, logs: recalibrate(y, logs).apply(np.zeros((2, 3))), r"\(rows, 2\).*\(2, 3\)"),
        (lambda y, logs: cross_fitted(y, logs, folds=1), "folds must be from 2 to the number of rows, 9"),
    ],
)
def test_what_cannot_be_asked(call, message):
    logs = np.log(np.full((9, 2), 0.5))
    with pytest.raises(ValueError, match=message):
        call(np.arange(9) % 2, logs)


def test_an_answer_far_from_certain_keeps_its_digits():
    found = RecalibrationMap("platt", 2, {"slope": 2.0, "intercept": 0.0})
    out = found.apply([[-1e-30, math.log(1e-30)]])
    assert out[0, 0] == pytest.approx(-1e-60, rel=1e-12)
