"""Arrays of other libraries under scikit-learn's dispatch: its own checks, and what they do not look at.

Dispatch works only where an environment variable was set before SciPy was imported: this file runs itself with it.
"""

from __future__ import annotations

import os
import subprocess
import sys

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
        model = LogisticRegression().fit(strict.asarray(X, device=device), strict.asarray(Y, device=device))
        assert model.coef_.device == device
        assert "on the CPU: X was copied from" in model.solver_.reason
        assert "copied" not in LogisticRegression().fit(strict.asarray(X), strict.asarray(Y)).solver_.reason
