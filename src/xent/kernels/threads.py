"""One pool of threads for all kernels, and how many it may use.

Kernels are single-threaded; work is cut into pieces by shape alone (`plan`), so the number of threads changes the time
of a call and never its result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

from . import _cpu

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None
_inside = threading.local()
_threads = 0  # 0: not chosen yet
_callers: set[int] = set()  # threads with a call under way: one that an interrupt leaves here is out after its next


def _available() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def _from_environment() -> int:
    """``XENT_NUM_THREADS``, or no more than ``OMP_NUM_THREADS`` and the processors given to us.

    The second is how joblib, Dask and torchrun tell the many processes they start not to take the whole machine each.
    """
    text = os.environ.get("XENT_NUM_THREADS", "").strip()
    if text:
        if not text.isdigit() or int(text) < 1:
            raise ValueError(f"XENT_NUM_THREADS must be a whole number from 1, not {text!r}")
        return int(text)
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return min(_available(), int(first)) if first.isdigit() and int(first) else _available()


def get_num_threads() -> int:
    """How many threads the kernels use.

    What `set_num_threads` said, else ``XENT_NUM_THREADS``, else the processors given to us, of which
    ``OMP_NUM_THREADS`` may leave fewer.

    >>> import xent
    >>> xent.get_num_threads() >= 1
    True
    """
    global _threads
    if _threads == 0:
        _threads = _from_environment()
    return _threads


def set_num_threads(n: int) -> None:
    """Use `n` threads from now on, in the whole process.

    >>> import xent
    >>> before = xent.get_num_threads()
    >>> xent.set_num_threads(1)
    >>> xent.get_num_threads()
    1
    >>> xent.set_num_threads(before)
    """
    global _threads, _pool
    if isinstance(n, bool) or int(n) != n or n < 1:
        raise ValueError(f"the number of threads must be a whole number from 1, not {n!r}")
    with _lock:
        _threads = int(n)
        old, _pool = _pool, None
    if old is not None:
        old.shutdown(wait=False)


def _forget() -> None:
    """After a fork the pool's threads are gone, and its lock may be held by nobody."""
    global _pool, _lock, _inside, _callers
    _pool, _lock, _inside, _callers = None, threading.Lock(), threading.local(), set()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@contextmanager
def _kept_on(processors: Callable[[set[int]], set[int]]) -> Iterator[None]:
    """Keep this thread on some of its processors for a while; where the system cannot, do nothing.

    Threads that hand the lock of the interpreter to each other are put on one processor by Linux, which takes 10 ms
    and more to part them again: as long as many calls last.
    """
    allowed = _moved_to(processors)
    try:
        yield
    finally:
        if allowed:
            with suppress(OSError):
                os.sched_setaffinity(0, allowed)


def _moved_to(processors: Callable[[set[int]], set[int]]) -> set[int] | None:
    """Move this thread; where it was allowed before, or None if it stays as it is."""
    try:
        allowed = os.sched_getaffinity(0)
        wanted = processors(allowed) & allowed
        if not wanted or wanted == allowed:
            return None
        os.sched_setaffinity(0, wanted)
    except (AttributeError, OSError):  # not on every system
        return None
    return allowed


@contextmanager
def at_most(n: int) -> Iterator[None]:
    """Use no more than `n` threads for what this thread calls meanwhile.

    >>> with at_most(1):
    ...     run(print, 2)
    0
    1
    """
    before = getattr(_inside, "most", None)
    _inside.most = n if before is None else min(n, before)
    try:
        yield
    finally:
        _inside.most = before


def _spare() -> int:
    """How many threads this call may use: calls that other threads have under way have taken one each."""
    most = getattr(_inside, "most", None)
    threads = get_num_threads() - (len(_callers) - 1)
    return threads if most is None else min(threads, most)


def alone() -> bool:
    """Whether all pieces of a call made here would run on this thread: for one thread or inside a task, but for those
    that other calls have taken.

    >>> with at_most(1):
    ...     alone()
    True
    """
    most = getattr(_inside, "most", None)
    return bool(getattr(_inside, "busy", False) or get_num_threads() == 1 or most == 1)


def run(task: Callable[[int], object], pieces: int, at_once: int | None = None) -> None:
    """Call ``task(0) ... task(pieces - 1)``, in any order, on the pool and on this thread; raise what one raised.

    No more than `at_once` run at the same time. Inside a task it runs in place: pools do not nest. Calls on several
    threads at a time, as joblib and Dask make them, share the threads that there are.
    """
    if getattr(_inside, "busy", False):
        _in_place(task, pieces)
        return
    me = threading.get_ident()
    _callers.add(me)
    try:
        helpers = min(_spare(), pieces, pieces if at_once is None else at_once) - 1
        if helpers < 1:
            _in_place(task, pieces)
        else:
            _with_helpers(task, pieces, helpers)
    finally:
        _callers.discard(me)


def _in_place(task: Callable[[int], object], pieces: int) -> None:
    for i in range(pieces):
        task(i)


def _with_helpers(task: Callable[[int], object], pieces: int, helpers: int) -> None:
    numbers = iter(range(pieces))  # next() on a range iterator is atomic under the lock of the interpreter
    guard = threading.Condition()  # and made so where there is none
    stop, helping = False, 0
    errors: list[BaseException] = []
    here = _cpu.this_processor()

    def work() -> None:
        nonlocal stop
        try:
            _inside.busy = True
            while not stop:
                with guard:
                    i = next(numbers, None)
                if i is None:
                    return
                task(i)
        except BaseException:
            stop = True
            raise
        finally:
            _inside.busy = False

    def help_out() -> None:
        nonlocal helping
        with guard:
            if stop:
                return
            helping += 1
        try:
            with _kept_on(lambda allowed: allowed - {here}):
                work()
        except BaseException as error:
            errors.append(error)
        finally:
            with guard:
                helping -= 1
                guard.notify_all()

    try:
        _submit(help_out, helpers)
        with _kept_on(lambda allowed: {here}):
            work()
    finally:
        with guard:
            # a KeyboardInterrupt here ends the helpers after their present piece; those that have not begun, perhaps
            # behind another call's long pieces, find nothing to do and are not waited for
            stop = True
            guard.wait_for(lambda: helping == 0)
        task = _nothing  # those that have not begun must not keep this call's arrays until they do
    if errors:
        raise errors.pop()


def _nothing(piece: int) -> None:
    """The task of a call that is over."""


def _submit(work: Callable[[], None], helpers: int) -> None:
    """Put `helpers` copies of `work` on the pool, or as many as it takes: the caller can do all pieces by itself."""
    global _pool
    with _lock:  # throughout, lest `set_num_threads` closes the pool in between
        if _pool is None:
            _pool = ThreadPoolExecutor(max(1, get_num_threads() - 1), thread_name_prefix="xent")
        for _ in range(helpers):
            try:
                _pool.submit(work)
            except RuntimeError:  # the interpreter is ending, or the system gives no more threads
                return


def ranges(total: int, step: int) -> Sequence[tuple[int, int]]:
    """The pieces [begin, end) of ``total`` in steps, the last one shorter.

    >>> ranges(10, 4)
    [(0, 4), (4, 8), (8, 10)]
    """
    return [(i, min(i + step, total)) for i in range(0, total, step)]
