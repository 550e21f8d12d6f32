"""The open-set benchmark runs from end to end, and tells what it claims to."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
ROOT = Path(__file__).parent.parent


def test_open_set_runs():
    command = [sys.executable, "-m", "benchmarks.open_set", "--seeds", "2", "--epochs", "1"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    record = json.loads(done.stdout.splitlines()[-1])
    rows = {row["loss"]: row for row in record["rows"]}
    losses = [
        "softmax",
        "softmax, scale 1",
        "normalised softmax",
        "SM-Softmax",
        "L-Softmax",
        "A-Softmax",
        "AM-Softmax",
        "ArcFace",
    ]
    assert list(rows) == ["pixels", "untrained", *losses]
    assert record["settings"].keys() == set(losses)
    for loss, row in rows.items():
        values = row["values"]
        assert all(len(v) == 2 for v in values.values())
        assert all(0 <= v <= 1 for name, vs in values.items() if name != "cross-entropy" for v in vs)
        assert max(values["TAR 1e-3"]) <= max(values["TAR 1e-2"])
        assert ("accuracy" in values) == (loss in losses)
    assert "EER - softmax's" in rows["ArcFace"]
