"""A pytest plugin: scikit-learn's own tests run against xent's estimators (``-p drop_in``)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import sklearn.linear_model

import xent.linear_model

outcomes: dict[str, str] = {}


def pytest_configure(config):
    """Put xent's classes where test modules import scikit-learn's from, before they are imported."""
    for name in ("LogisticRegression", "LogisticRegressionCV"):
        setattr(sklearn.linear_model, name, getattr(xent.linear_model, name))


def pytest_runtest_logreport(report):
    """Keep how each test that was not skipped ended."""
    if report.when == "call" or report.failed:
        name = report.nodeid.rpartition("::")[2]
        outcomes[name] = "failed" if report.failed else report.outcome


def pytest_sessionfinish(session):
    """Write the outcomes where the test that runs this asks for them."""
    if "DROP_IN_OUTCOMES" in os.environ:
        ran = {name: outcome for name, outcome in outcomes.items() if outcome != "skipped"}
        Path(os.environ["DROP_IN_OUTCOMES"]).write_text(json.dumps(ran), encoding="utf-8")
