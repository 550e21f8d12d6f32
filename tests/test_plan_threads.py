"""Plans are functions of shapes; threads change the time of a call only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import xent
from xent.kernels import get_num_threads, plan, set_num_threads, threads


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
        threads.run(seen.append, 2)

    threads.run(task, 40)
    assert sorted(seen) == sorted([*range(40), *[0, 1] * 40])
    assert len(used) <= n


def test_a_task_within_a_task_runs_in_place(restore):
    xent.set_num_threads(4)
    threads.run(lambda i: time.sleep(0.001), 30)  # the pool stands ready
    strangers = []

    def task(i):
        mine = threading.get_ident()

        def nested(j):
            time.sleep(0.005)  # long enough for an idle thread to come by
            if threading.get_ident() != mine:
                strangers.append(j)

        threads.run(nested, 10)

    threads.run(task, 2)
    assert not strangers


@pytest.mark.parametrize("n", [1, 3])
def test_an_error_in_a_piece_is_raised(n, restore):
    xent.set_num_threads(n)

    def task(i):
        if i == 5:
            raise ZeroDivisionError("piece 5")

    with pytest.raises(ZeroDivisionError, match="piece 5"):
        threads.run(task, 30)
    threads.run(lambda i: None, 30)  # and the pool lives on


def test_a_short_call_does_not_wait_for_a_long_one(restore):
    """Its helpers stand behind the long call's on the pool; what they would do, it has done itself."""
    xent.set_num_threads(2)
    begun, finish = threading.Event(), threading.Event()

    def long(i):
        begun.set()
        assert finish.wait(30)

    caller = threading.Thread(target=threads.run, args=(long, 2))
    caller.start()
    try:
        assert begun.wait(30)
        quick = threading.Thread(target=threads.run, args=(lambda i: None, 4), daemon=True)
        quick.start()
        quick.join(10)
        assert not quick.is_alive()
    finally:
        finish.set()
        caller.join()


def test_the_number_of_threads_may_change_under_way(restore):
    xent.set_num_threads(2)
    errors, stop = [], threading.Event()

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            xent.set_num_threads(2 + n % 3)

    def call():
        try:
            for _ in range(200):
                done = []
                threads.run(done.append, 6)
                assert sorted(done) == list(range(6))
        except Exception as error:
            errors.append(error)

    changer, callers = threading.Thread(target=change), [threading.Thread(target=call) for _ in range(3)]
    for t in (changer, *callers):
        t.start()
    for t in callers:
        t.join()
    stop.set()
    changer.join()
    assert not errors


def test_without_helpers_the_caller_does_all(restore, monkeypatch):
    xent.set_num_threads(3)

    def no_more(self):
        raise RuntimeError("can't start new thread")

    done = []
    with monkeypatch.context() as m:
        m.setattr(threading.Thread, "start", no_more)
        threads.run(done.append, 5)
    assert done == list(range(5))


def test_kernels_work_while_the_interpreter_ends():
    code = """
import atexit, numpy as np, xent
xent.set_num_threads(2)
z, y = np.zeros((5000, 300)), np.zeros(5000, int)
before = xent.cross_entropy(z, y)
atexit.register(lambda: print(xent.cross_entropy(z, y) == before))
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert done.stdout.strip() == "True", done.stderr


def test_a_call_returns_when_its_helpers_are_done(restore):
    xent.set_num_threads(2)
    done, caller = [], threading.get_ident()
    helper_in = threading.Event()

    def task(i):
        if threading.get_ident() == caller:
            assert helper_in.wait(30)
        else:
            helper_in.set()
            time.sleep(0.2)
        done.append(i)

    threads.run(task, 2)
    assert sorted(done) == [0, 1]


@pytest.mark.parametrize("culprit", ["caller", "helper"])
def test_an_error_ends_the_other_threads_too(restore, culprit):
    xent.set_num_threads(2)
    done, caller = [], threading.get_ident()
    helper_in = threading.Event()

    def task(i):
        mine = threading.get_ident() == caller
        if mine:
            assert helper_in.wait(30)
        helper_in.set()
        if mine == (culprit == "caller"):
            raise KeyboardInterrupt
        time.sleep(0.001)
        done.append(i)

    with pytest.raises(KeyboardInterrupt):
        threads.run(task, 5000)
    assert len(done) < 1000


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
import os, threading, numpy as np, xent
xent.set_num_threads(2)
z, y = np.zeros((5000, 300)), np.zeros(5000, int)
before = xent.cross_entropy(z, y)
pid = os.fork()
if pid == 0:
    same = xent.cross_entropy(z, y) == before
    os._exit(0 if same and threading.active_count() == 2 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(("omp", "own", "expected"), [("1", "", 1), ("1,4", "", 1), ("1", "3", 3), ("many", "", None)])
def test_no_more_threads_than_a_scheduler_of_processes_leaves(omp, own, expected):
    """joblib, Dask and torchrun set OMP_NUM_THREADS in the processes that they start."""
    code = "import os, xent; print(xent.get_num_threads(), len(os.sched_getaffinity(0)))"
    env = {**os.environ, "OMP_NUM_THREADS": omp, "XENT_NUM_THREADS": own}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    found, all_of_them = map(int, done.stdout.split())
    assert found == (all_of_them if expected is None else expected)


def test_processes_of_joblib_share_the_machine():
    code = """
import joblib, xent
print(*joblib.Parallel(n_jobs=64, backend="loky")(joblib.delayed(xent.get_num_threads)() for _ in range(2)))
"""
    env = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "XENT_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("shape", [(100_000, 256, 4096), (2000, 512, 60_000)], ids=["tiles", "blocks"])
def test_an_interrupt_ends_a_long_call(shape):
    """A second of work in one call: the interrupt comes soon after its beginning, and the call does not end."""
    code = f"""
import os, signal, threading, numpy as np, xent
from xent.kernels import Need, Slopes, Target, cpu
xent.set_num_threads(2)
N, D, K = {shape}
x, w = np.ones((N, D), np.float32), np.full((K, D), 1e-3, np.float32)
target = Target(np.zeros(N, int))
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    cpu.linear_fused(x, w, None, target, Slopes(1.0, -1.0, 0.0), need=Need(True, True, True))
    print("ended")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "interrupted", done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="a system without sets of processors")
@pytest.mark.parametrize("fails", [False, True])
def test_a_call_keeps_its_threads_apart_and_lets_go_of_them(restore, fails):
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one processor")
    xent.set_num_threads(2)
    seen: dict[int, set[int]] = {}

    def task(i):
        seen.setdefault(threading.get_native_id(), os.sched_getaffinity(0))
        time.sleep(0.002)
        if fails and i == 30:
            raise OSError("a task's own error")

    if fails:
        with pytest.raises(OSError, match="own error"):
            threads.run(task, 40)
    else:
        threads.run(task, 40)
    me = seen.pop(threading.get_native_id())
    assert len(me) == 1
    assert all(not others & me for others in seen.values())
    assert os.sched_getaffinity(0) == allowed
    assert all(os.sched_getaffinity(helper) == allowed for helper in seen)


def test_calls_on_several_threads_share_the_machine(restore):
    """As joblib's and Dask's threads make them: the second finds one of two threads taken, and has no helper."""
    xent.set_num_threads(2)
    used: dict[str, set[int]] = {"first": set(), "second": set()}
    both, finish = threading.Event(), threading.Event()

    def task(which):
        def piece(i):
            used[which].add(threading.get_ident())
            if which == "first":
                both.set()
                assert finish.wait(30)
            else:
                time.sleep(0.002)  # long enough for an idle thread to come by

        return piece

    first = threading.Thread(target=threads.run, args=(task("first"), 1))
    first.start()
    assert both.wait(30)
    second = threading.Thread(target=threads.run, args=(task("second"), 30))
    second.start()
    second.join(30)
    finish.set()
    first.join(30)
    assert len(used["second"]) == 1
    used["second"].clear()
    threads.run(task("second"), 60)  # and with nobody else there is a helper again
    assert len(used["second"]) == 2


def test_no_more_threads_than_asked_for_a_while(restore):
    xent.set_num_threads(3)
    used: set[int] = set()

    def task(i):
        used.add(threading.get_ident())
        time.sleep(0.001)

    with threads.at_most(2), threads.at_most(3):
        threads.run(task, 60)
    assert len(used) == 2
    with pytest.raises(ZeroDivisionError), threads.at_most(1):
        threads.run(lambda i: 1 // 0, 3)
    threads.run(task, 60)
    assert len(used) >= 3


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_answers_are_the_same_inside_joblib(backend):
    code = f"""
import joblib, numpy as np, xent
rng = np.random.default_rng(0)
pairs = list(zip(rng.normal(size=(6, 3000, 300)), rng.integers(0, 300, (6, 3000))))

def both(z, y):
    value, grads = xent.value_and_grad(xent.cross_entropy)(z, y)
    return value, grads.logits

alone = [both(*pair) for pair in pairs]
inside = joblib.Parallel(n_jobs=3, backend="{backend}")(joblib.delayed(both)(*pair) for pair in pairs)
print(all(a[0] == b[0] and (a[1] == b[1]).all() for a, b in zip(alone, inside)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "True", done.stderr


def test_inside_pytorch_there_are_no_more_threads_than_its_own():
    """In a worker of its data loaders it has one."""
    pytest.importorskip("torch")
    code = """
import threading, time, torch, xent
from xent.kernels import threads
xent.set_num_threads(4)
z, y = torch.randn(4000, 500), torch.zeros(4000, dtype=torch.long)
seen, cut = set(), threads.run

def watched(task, pieces, at_once=None):
    def slowly(i):
        seen.add(threading.get_ident())
        time.sleep(0.002)  # long enough for an idle thread to come by
        task(i)

    cut(slowly, pieces, at_once)

import xent.kernels.cpu.rows as rows
import xent.kernels.cpu.operands as operands
rows.run = operands.run = watched

class Data(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return xent.cross_entropy(z, y), len(seen), torch.get_num_threads()

torch.set_num_threads(1)
alone = xent.cross_entropy(z, y)
print(len(seen))
torch.set_num_threads(3)
seen.clear()
(found, used, given), _ = torch.utils.data.DataLoader(Data(), batch_size=None, num_workers=1)
print(used, given, bool(found == alone))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["1", "1", "1", "True"], done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_interrupt_ends_a_training_step_of_pytorch(dtype):
    """It comes while the gradients are made, seconds before they would be."""
    pytest.importorskip("torch")
    code = f"""
import os, signal, threading, time, torch, xent
xent.set_num_threads(2)
x, w = torch.ones(10_000, 256, dtype=torch.{dtype}), torch.full((30_000, 256), 1e-3, dtype=torch.{dtype})
loss = xent.linear_cross_entropy(x[:200].requires_grad_(), w, torch.zeros(200, dtype=torch.long))
loss.backward()
many = xent.linear_cross_entropy(x.requires_grad_(), w, torch.zeros(10_000, dtype=torch.long), reduction="sum")
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    many.backward()
    print("ended")
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "interrupted", done.stderr


def test_a_helper_that_has_not_begun_keeps_nothing(monkeypatch):
    """The pool's only thread is busy elsewhere: what a call worked on goes when the call does."""
    before = get_num_threads()
    set_num_threads(2)
    block, begun = threading.Event(), threading.Event()

    def long(piece):
        begun.set()
        block.wait(10)

    other = threading.Thread(target=threads._submit, args=(lambda: long(0), 1))
    other.start()
    try:
        assert begun.wait(10)
        numbers = np.ones(10)
        gone = weakref.ref(numbers)
        threads.run(lambda i, numbers=numbers: numbers.sum(), 4)
        del numbers
        assert gone() is None
    finally:
        block.set()
        other.join()
        set_num_threads(before)
