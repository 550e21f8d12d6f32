"""What every test shares."""

import sys
from pathlib import Path

import numpy as np
import pytest

from xent.kernels import cpu, reference

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]  # the tests' helpers, and benchmarks


@pytest.fixture(autouse=True)
def numbers_of_its_own(request, monkeypatch):
    """A module's RNG starts anew in each test: its data depend neither on the tests before it nor on the worker."""
    name = request.node.originalname or request.node.name
    if hasattr(request.module, "RNG"):
        monkeypatch.setattr(request.module, "RNG", np.random.default_rng([7, *name.encode()]))


@pytest.fixture(params=[*cpu.levels(), "reference"])
def backend(request, monkeypatch):
    """Every build of the kernels that this processor runs, and the reference."""
    if request.param == "reference":
        return reference
    monkeypatch.setenv("XENT_CPU_LEVEL", request.param)
    return cpu
