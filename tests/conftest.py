"""What every test shares."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]  # the tests' helpers, and benchmarks


@pytest.fixture(autouse=True)
def numbers_of_its_own(request, monkeypatch):
    """A module's RNG starts anew in each test: its data depend neither on the tests before it nor on the worker."""
    name = request.node.originalname or request.node.name
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng([7, *name.encode()]))
