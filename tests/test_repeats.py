"""Repeated rows: against Python's own sets, of round numbers and of full digits, in chunks, up to a limit."""

import numpy as np
import pytest

from xent.evaluate import evaluate
from xent.evaluate.repeats import Repeats


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize(("classes", "digits"), [(1, 1), (1, 6), (3, 1), (20, 1), (3, 9)])
def test_as_many_as_a_set_leaves_out(dtype, classes, digits):
    rng = np.random.default_rng(digits)
    values = np.round(rng.dirichlet(np.full(max(classes, 2), 0.3), 3000)[:, :classes], digits).astype(dtype)
    values = np.vstack([values, values[:5], np.eye(max(classes, 2), dtype=dtype)[:, :classes] / 16])
    labels = rng.integers(0, 3, len(values))
    labels[3000:3005] = labels[:5]
    repeats = Repeats(classes)
    for part in (slice(0, 7), slice(7, 2000), slice(2000, None)):
        repeats.add(labels[part], values[part] if classes > 1 else values[part, 0])
    truth = len(labels) - len({(int(k), *row.tolist()) for k, row in zip(labels, values, strict=True)})
    assert repeats.count() == truth >= 5


def test_beyond_the_limit_nothing_is_said():
    repeats = Repeats(1, most=4)
    repeats.add(np.zeros(4, dtype=int), np.full(4, 0.5))
    assert repeats.count() == 3
    repeats.add(np.zeros(1, dtype=int), np.full(1, 0.5))
    assert repeats.count() is None
    assert Repeats(1).count() == 0


def test_the_report_tells():
    y, p = [0, 1, 0, 2], [[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]
    report = evaluate(y, p, recalibrate=False)
    assert report.data["repeated"] == 1
    assert "| rows that repeat an earlier one | 1 |" in report.to_markdown()
    assert "Rows that repeat an earlier one" in report.to_html()
    assert evaluate(y, p, sample_weight=np.ones(4), recalibrate=False).data["repeated"] is None
