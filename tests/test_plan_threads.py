"""Plans are functions of shapes; threads change the time of a call only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import xent
from xent.kernels import plan, threads


@pytest.mark.parametrize("itemsize", [4, 8])
@pytest.mark.parametrize(
    "shape", [(0, 3, 2), (1, 1, 1), (60_000, 784, 10), (20_000, 256, 1000), (4096, 1024, 32_000), (8, 4096, 128_000)]
)
def test_plan_covers_the_rows_within_its_memory(shape, itemsize):
    N, D, K = shape
    p = plan.linear_plan(N, D, K, itemsize)
    assert p == plan.linear_plan(N, D, K, itemsize)
    assert 24 <= p.tile_rows <= 240
    assert p.chunk_rows % p.tile_rows == 0
    if p.partials:
        assert p.partials * p.chunk_rows >= N
        assert (p.partials - 1) * p.chunk_rows < max(N, 1)
        assert p.partials * K * D * itemsize <= plan.PARTIAL_BYTES
    else:
        assert K * D * itemsize * plan.FEWEST_PARTIALS > plan.PARTIAL_BYTES
        assert p.chunk_rows * K * itemsize <= max(plan.RESIDUAL_BYTES, p.tile_rows * K * itemsize)
    assert p.reason


def test_row_chunks_are_bounded():
    assert plan.row_chunk(1000, 1000, 4) == 250
    assert plan.row_chunk(10**6, 1000, 4) == 262
    assert plan.row_chunk(10, 10**8, 8) == 1
    assert plan.row_chunk(0, 5, 4) == 1


@pytest.fixture
def restore():
    before = xent.get_num_threads()
    yield
    xent.set_num_threads(before)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_run_does_every_piece_once(n, restore):
    xent.set_num_threads(n)
    seen, used = [], set()

    def task(i):
        seen.append(i)
        used.add(threading.get_ident())
        threads.run(seen.append, 2)  # a task within a task runs in place

    threads.run(task, 40)
    assert sorted(seen) == sorted([*range(40), *[0, 1] * 40])
    assert len(used) <= n


@pytest.mark.parametrize("n", [1, 3])
def test_an_error_in_a_piece_is_raised(n, restore):
    xent.set_num_threads(n)

    def task(i):
        if i == 5:
            raise ZeroDivisionError("piece 5")

    with pytest.raises(ZeroDivisionError, match="piece 5"):
        threads.run(task, 30)
    threads.run(lambda i: None, 30)  # and the pool lives on


@pytest.mark.parametrize("bad", [0, -1, 1.5, True])
def test_numbers_of_threads_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="whole number from 1"):
        xent.set_num_threads(bad)


@pytest.mark.parametrize(("text", "code"), [("3", 0), ("none", 1), ("0", 1)])
def test_environment_variable(text, code):
    done = subprocess.run(
        [sys.executable, "-c", "import xent; assert xent.get_num_threads() == 3"],
        env={**os.environ, "XENT_NUM_THREADS": text},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    if code:
        assert f"XENT_NUM_THREADS must be a whole number from 1, not '{text}'" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_kernels_work_after_a_fork():
    """In a child process the pool's threads do not exist; a call there must not wait for them."""
    code = """
import os, numpy as np, xent
xent.set_num_threads(2)
z, y = np.zeros((5000, 300)), np.zeros(5000, int)
before = xent.cross_entropy(z, y)
pid = os.fork()
if pid == 0:
    os._exit(0 if xent.cross_entropy(z, y) == before else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)
