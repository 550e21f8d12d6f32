"""scikit-learn's checks of estimators, for every solver and penalty; and its own tests, with our classes in place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn
from sklearn.utils.estimator_checks import parametrize_with_checks

from xent.linear_model import LogisticRegression, LogisticRegressionCV

HERE = Path(__file__).parent
NEW = {"l1_ratios": (0,), "use_legacy_attributes": False}
MODELS = [
    LogisticRegression(),
    LogisticRegression(C=0.1, tol=1e-7),
    LogisticRegression(l1_ratio=1, C=2.0),
    LogisticRegression(l1_ratio=0.5, tol=1e-7),
    *(LogisticRegression(solver=name) for name in ("lbfgs", "newton-cg", "newton-cholesky", "liblinear", "saga")),
    LogisticRegression(early_stopping=True, random_state=0),
    LogisticRegressionCV(Cs=3, cv=3, **NEW),
    LogisticRegressionCV(Cs=(0.1, 10.0), cv=2, l1_ratios=(0.5, 1), use_legacy_attributes=True, scoring="accuracy"),
]


def expected_failures(model):
    if getattr(model, "early_stopping", False):
        why = "rows are held out at random: a row of weight 2 is held out as one, two copies of it as two"
        names = ("dense_data", "sparse_data")
        return {f"check_sample_weight_equivalence_on_{name}": why for name in names}
    return {}


# array-API dispatch is switched on by an environment variable at import, without which scikit-learn skips that check:
# tests/test_linear_model_arrays.py has it
@pytest.mark.filterwarnings("ignore:Skipping check:sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(MODELS, expected_failed_checks=expected_failures)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def listed():
    """Patterns of the tests that docs/sklearn_tests.md lists: the code at the beginning of a table's row."""
    text = (HERE.parent / "docs" / "sklearn_tests.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(test_[^`]+)`", text, re.MULTILINE)


@pytest.mark.skipif(not sklearn.__version__.startswith("1.9."), reason="the list is of scikit-learn 1.9's tests")
def test_scikit_learns_own_tests_pass_or_are_listed(tmp_path):
    """A failure that is not listed, and a listed test that passes, are both wrong."""
    out = tmp_path / "outcomes.json"
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "-p", "drop_in", "-p", "no:cacheprovider"]
    command += ["--tb=line", "--pyargs", "sklearn.linear_model.tests.test_logistic"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "DROP_IN_OUTCOMES": str(out), "SCIPY_ARRAY_API": "1"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    outcomes = json.loads(out.read_text())
    assert len(outcomes) > 250, run.stdout[-2000:]
    failed = {name for name, outcome in outcomes.items() if outcome == "failed"}
    patterns = {p: re.compile(re.escape(p).replace(r"\*", ".*")) for p in listed()}
    expected = {name for name in outcomes for p in patterns.values() if p.fullmatch(name)}
    assert failed == expected, f"not listed: {failed - expected}; listed and passing: {expected - failed}"
    for text, pattern in patterns.items():
        assert any(pattern.fullmatch(name) for name in outcomes), f"no test is called {text}"
