"""Arrays of other libraries under scikit-learn's dispatch: its own checks, and what they do not look at.

Dispatch works only where an environment variable was set before SciPy was imported: this file runs itself with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import sklearn
from sklearn import datasets
from sklearn.utils import estimator_checks

from xent.linear_model import (
    LogisticRegression,
    LogisticRegressionCV,
    approximate_leave_one_out,
    load_estimator,
    logistic_path,
)
from xent.linear_model._array_api import as_numpy

torch = pytest.importorskip("torch")
INSIDE = os.environ.get("SCIPY_ARRAY_API") == "1"
inside = pytest.mark.skipif(not INSIDE, reason="runs in the process that the first test starts")
NEW = {"l1_ratios": (0,), "use_legacy_attributes": False}
X, Y = datasets.load_iris(return_X_y=True)
MODELS = [
    LogisticRegression(),
    LogisticRegression(l1_ratio=0.5, group_lasso=True),
    LogisticRegression(solver="newton-cg"),
    LogisticRegression(bounds=(-1, 1)),
    LogisticRegressionCV(Cs=3, cv=3, **NEW),
]


@pytest.mark.skipif(INSIDE, reason="this is that process")
def test_with_dispatch():
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-4000:]
    assert run.stdout.count(".") > 15


def dispatch():
    return sklearn.config_context(array_api_dispatch=True)


@inside
@pytest.mark.skipif(not hasattr(estimator_checks, "check_array_api_mixed_inputs"), reason="a newer scikit-learn's")
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_scikit_learns_checks(model):
    for dtype in ("float32", "float64"):
        estimator_checks.check_array_api_input("", model, "torch", "cpu", dtype, check_sample_weight=True)
    estimator_checks.check_array_api_same_namespace(type(model).__name__, model, "torch", "cpu")
    torch_, numpy_ = (estimator_checks.NamespaceAndDevice(*a) for a in (("torch", "cpu"), ("numpy", None)))
    for a, b in ((torch_, numpy_), (numpy_, torch_)):
        estimator_checks.check_array_api_mixed_inputs("", model, a, b)


@inside
@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("K", [2, 3])
def test_the_values_are_those_of_numpy(model, K):
    x, y = X[K > Y], Y[K > Y]
    expected = sklearn.clone(model).fit(x, y)
    tx, ty = torch.tensor(x), torch.tensor(y)
    with dispatch():
        found = sklearn.clone(model).fit(tx, ty)
        for name in ("coef_", "intercept_", "classes_"):
            assert isinstance(getattr(found, name), torch.Tensor)
            np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name))
        for name in ("decision_function", "predict", "predict_proba", "predict_log_proba"):
            ours = getattr(found, name)(tx)
            assert isinstance(ours, torch.Tensor)
            np.testing.assert_array_equal(ours.numpy(), getattr(expected, name)(x))
    # without dispatch the fitted tensors are read as the numbers that they are
    np.testing.assert_array_equal(found.predict_proba(x), expected.predict_proba(x))


@inside
def test_what_follows_a_fit(tmp_path):
    tx, ty = torch.tensor(X), torch.tensor(Y)
    with dispatch():
        left_out = approximate_leave_one_out(LogisticRegression().fit(tx, ty), tx, ty)
        path = logistic_path(tx, ty, Cs=[0.1, 1.0])
        again = LogisticRegression(warm_start=True).fit(tx, ty).fit(tx, ty)
        labels = LogisticRegression().fit(tx, datasets.load_iris().target_names[Y]).predict(tx)
    assert isinstance(labels, np.ndarray)
    assert again.n_iter_[0] == 0
    fit = LogisticRegression().fit(X, Y)
    assert left_out.mean == pytest.approx(approximate_leave_one_out(fit, X, Y).mean, rel=1e-12)
    np.testing.assert_allclose(path.coefs[1], fit.coef_, atol=1e-3)
    x, y, z = X[Y > 0], Y[Y > 0], np.linspace(0, 1, 100)
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(x, y, offset=z).summary(x, y, offset=z)
    with dispatch():
        given = [torch.tensor(a) for a in (x, y, z)]
        model = LogisticRegression(C=np.inf, tol=1e-8).fit(*given[:2], offset=given[2])
        found = model.summary(*given[:2], offset=given[2])
    np.testing.assert_array_equal(found.standard_error, expected.standard_error)
    model.save(tmp_path / "m.safetensors")
    loaded = load_estimator(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.coef_, model.coef_.numpy())
    np.testing.assert_array_equal(loaded.classes_, [1, 2])
    assert torch.equal(model.to_torch().weight, model.coef_)


@inside
def test_an_array_of_another_library_is_refused_by_the_method_that_was_called():
    with dispatch():
        model = LogisticRegression().fit(torch.tensor(X), torch.tensor(Y))
        said = r"LogisticRegression.predict\(\) must use the same namespace .* are torch's on cpu, X is NumPy's"
        with pytest.raises(ValueError, match=said):
            model.predict(X)


@inside
def test_a_copy_from_another_device_is_told():
    strict = pytest.importorskip("array_api_strict")
    device = strict.Device("device1")
    with dispatch():
        given = strict.asarray(X, device=device), strict.asarray(Y, device=device)
        assert "passes on array_api_strict" in LogisticRegression().fit(*given).solver_.reason
        model = LogisticRegression(solver="newton-cg").fit(*given)
        assert model.coef_.device == device
        assert "on the CPU: X was copied from" in model.solver_.reason
        assert "copied" not in LogisticRegression().fit(strict.asarray(X), strict.asarray(Y)).solver_.reason


@inside
@pytest.mark.parametrize("K", [2, 3])
def test_cross_validation_scores_arrays_of_another_device(K):
    # scikit-learn's scorers of probabilities turn the classes into NumPy's, which a device that is not the CPU refuses
    strict = pytest.importorskip("array_api_strict")
    device, rows = strict.Device("device1"), K > Y
    x, y = X[rows], Y[rows]
    model = LogisticRegressionCV(Cs=3, cv=3, **NEW)
    expected = sklearn.clone(model).fit(x, y).score(x, y, sample_weight=y + 1.0)
    x, y = strict.asarray(x, device=device), strict.asarray(y, device=device)
    with dispatch():
        found = model.fit(x, y).score(x, y, sample_weight=strict.astype(y, strict.float64) + 1.0)
    assert found == pytest.approx(expected, rel=1e-12)


class Elsewhere:
    """Rows of a problem, and the parameters of a fit."""

    WEIGHT = np.where(np.arange(len(Y)) % 7 == 0, 0.0, 1.0 + np.arange(len(Y)) % 3)
    OFFSET = np.sin(np.arange(3 * len(Y))).reshape(-1, 3)


def everything_stays(monkeypatch):
    """As if the CPU's memory were an accelerator's."""
    from xent.linear_model import _array_api

    monkeypatch.setattr("xent.linear_model.logistic.stays", lambda X: _array_api.home(X) is not None)


CASES = {
    "plain": ({}, {}),
    "weights": ({"class_weight": {0: 2.0}}, {"sample_weight": Elsewhere.WEIGHT}),
    "offset": ({}, {"offset": Elsewhere.OFFSET}),
    "factors": ({"penalty_factor": [0.2, 1, 2, 3], "C": 0.1}, {}),
    "no intercept": ({"fit_intercept": False, "solver": "lbfgs"}, {}),
    "stopped early": ({"early_stopping": True, "random_state": 0}, {"offset": Elsewhere.OFFSET}),
}


@inside
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("library", ["torch", "array_api_strict"])
def test_passes_where_the_features_are(monkeypatch, case, K, dtype, library):
    xp = pytest.importorskip(library)
    device = None if library == "torch" else xp.Device("device1")  # which the CPU's arrays do not mix with
    if device is None:
        everything_stays(monkeypatch)
    monkeypatch.setattr("xent.linear_model._resident.MOST_LOGITS", 100)  # many pieces
    options, given = CASES[case]
    rows = K > Y
    given = {k: v[rows] if v.ndim == 1 or K == 3 else v[rows, 0] for k, v in given.items()}
    x, y = X[rows].astype(dtype), Y[rows]
    options = {"tol": 1e-8, "solver": "lbfgs"} | options
    expected = LogisticRegression(**options).fit(x, y, **given)
    tx, ty = xp.asarray(x, device=device), xp.asarray(y, device=device)
    there = {k: xp.asarray(v, device=device) for k, v in given.items()}
    with dispatch():
        found = LogisticRegression(**options).fit(tx, ty, **there)
        predicted = found.predict_proba(tx)
    assert found.solver_.name == "lbfgs"
    assert "passes on" in found.solver_.reason
    assert type(found.coef_) is type(predicted) is type(tx)
    assert found.coef_.device == tx.device
    coef, intercept = as_numpy(found.coef_, found.intercept_)
    if case == "stopped early":  # the same iterations but for rounding
        assert found.objective_ == pytest.approx(expected.objective_, rel=1e-4)
        assert len(found.history_) == pytest.approx(len(expected.history_), abs=2)
        return
    np.testing.assert_allclose(coef, expected.coef_, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(intercept, expected.intercept_, rtol=1e-6, atol=1e-6)
    assert found.objective_ == pytest.approx(expected.objective_, rel=1e-12)
    assert int(found.n_iter_[0]) <= int(expected.n_iter_[0]) + 10


@inside
def test_coordinates_and_derivatives_are_the_native_ones(monkeypatch):
    """Value, gradient, curvature and Gram matrix, at a point, with a sample of the rows in the matrix."""
    from xent.linear_model._resident import Resident, ResidentObjective
    from xent.objective import SoftmaxObjective

    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(700, 6)), rng.integers(4, size=700), rng.uniform(size=700)
    monkeypatch.setattr("xent.curvature.FACTOR_FLOPS", 1000.0)
    monkeypatch.setattr("xent.linear_model._resident.MOST_LOGITS", 4 * 33)
    for K in (2, 4):
        for dtype in (np.float32, np.float64):
            options = {"weight": weight, "l2": 0.3, "fit_intercept": True, "intercept_l2": 0.1}
            native = SoftmaxObjective(x.astype(dtype), y % K, K, **options)
            with dispatch():
                there = ResidentObjective(Resident(torch.tensor(x.astype(dtype))), y % K, K, **options)
            theta = rng.normal(size=native.shape).ravel()
            near = {"rtol": 1e-4 if dtype == np.float32 else 1e-11, "atol": 1e-6 if dtype == np.float32 else 1e-13}
            for a, b in zip(native.value_and_grad(theta), there.value_and_grad(theta), strict=True):
                np.testing.assert_allclose(a, b, **near)
            for at in (None, theta):
                assert there.stride == native.stride > 1
                for stride in (1, 3):
                    np.testing.assert_allclose(native.curvature(at, stride), there.curvature(at, stride), **near)
                spaces = [f.preconditioned(at).coordinates for f in (native, there)]
                v = rng.normal(size=native.shape)
                np.testing.assert_allclose(*[s.to_parameters(v) for s in spaces], rtol=1e-3, atol=near["atol"] * 100)


@inside
def test_what_needs_the_cpu_goes_there(monkeypatch):
    everything_stays(monkeypatch)
    tx, ty = torch.tensor(X), torch.tensor(Y)
    with dispatch():
        for options in ({"l1_ratio": 1.0}, {"solver": "newton-cg"}, {"bounds": (-1, 1)}):
            model = LogisticRegression(**options).fit(tx, ty)
            assert "passes on" not in model.solver_.reason
        path = logistic_path(tx, ty, Cs=[0.1, 1.0])
        model = LogisticRegression(warm_start=True).fit(tx, ty)
        assert model.fit(tx, ty).n_iter_[0] == 0
        with pytest.raises(ValueError, match="NaN"):
            LogisticRegression().fit(tx * float("nan"), ty)
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            LogisticRegression().fit(tx, ty[:5])
        with pytest.raises(ValueError, match="squares of the features overflow"):
            LogisticRegression().fit(tx * 1e200, ty)
    assert path.coefs.shape == (2, 3, 4)


@inside
def test_a_library_without_float64_stays_in_float32(monkeypatch):
    """As JAX is unless asked, whatever dtype it is told."""
    jnp = pytest.importorskip("jax.numpy")
    from xent.linear_model._resident import Resident, ResidentObjective

    everything_stays(monkeypatch)
    with dispatch():
        x = jnp.asarray(X, jnp.float32)
        f = ResidentObjective(
            Resident(x), Y, 3, weight=None, l2=0.0, fit_intercept=True, intercept_l2=0.0, dtype=np.float64
        )
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = LogisticRegression(solver="lbfgs", tol=1e-3).fit(x, jnp.asarray(Y))
            f.value_and_grad(np.zeros(15))
    import jax

    assert f.dtype == (np.float64 if jax.config.jax_enable_x64 else np.float32)
    np.testing.assert_allclose(model.coef_, LogisticRegression().fit(X, Y).coef_, atol=0.02)
