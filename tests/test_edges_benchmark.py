"""The table of numeric edges has xent right in every row, for all arrays; what peers do is not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("jax")
ROOT = Path(__file__).parent.parent
# An invalid argument is an error of ours that says so, or NaN where nothing can be raised.
RIGHT = {"right", "right: ValueError", "right: nan"}


def rows(*options):
    command = [sys.executable, "-m", "benchmarks.edges", *options]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=300)
    assert not done.stderr
    return json.loads(done.stdout.splitlines()[-1])["cases"]


def offered(column, case):
    if case.endswith("jax.jit"):
        return column == "xent JAX"
    return column != "xent NumPy" or not case.endswith("forward mode")


@pytest.mark.parametrize(
    ("only", "dtype", "columns"),
    [("xent", "float32", 3), ("xent NumPy", "float64", 1), ("xent PyTorch", "float64", 1)],
)
def test_xent_is_right_at_every_edge(only, dtype, columns):
    found = rows("--only", only, "--dtype", dtype)
    cells = {(c, row["case"]): row[c] for row in found for c in row if c.startswith("xent")}
    assert len(cells) == columns * len(found) > columns * 80
    wrong = {key: text for key, text in cells.items() if offered(*key) and text not in RIGHT}
    assert not wrong
    assert not [key for key, text in cells.items() if text and not offered(*key)]
