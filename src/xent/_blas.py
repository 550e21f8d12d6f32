"""One BLAS thread where products are short: its helpers spin, on the cores that the kernels need.

What NumPy does with many rows is cut into pieces by shape alone, and they go to the kernels' threads.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

from threadpoolctl import ThreadpoolController

from .kernels.threads import ranges, run

# Numbers that each thread has at a time, which stay in its caches.
AT_HAND = 2**16


@functools.cache
def _blas(scipy: bool) -> ThreadpoolController:
    """The loaded libraries; looking for them takes milliseconds, so once without SciPy's own and once with it."""
    return ThreadpoolController()


_limit_lock = threading.Lock()
_limit: Any = None
_fits = 0  # that are under the limit now


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """One BLAS thread for the process, until the last of the fits that run side by side has ended: each restoring what
    it found would leave the limit of another behind for good.
    """
    global _limit, _fits
    with _limit_lock:
        if _fits == 0:
            _limit = _blas("scipy.linalg" in sys.modules).limit(limits=1, user_api="blas")
        _fits += 1
    try:
        yield
    finally:
        with _limit_lock:
            _fits -= 1
            if _fits == 0:
                _limit.restore_original_limits()


def in_pieces(call: Callable[[int, int], object], total: int, step: int) -> None:
    """``call(begin, end)`` for the pieces of ``range(total)`` in steps, on the kernels' threads, one BLAS thread each.

    NumPy lets go of the interpreter's lock in products and in loops over arrays; what a call writes must be its own.

    Examples
    --------
    >>> found = []
    >>> in_pieces(lambda begin, end: found.append((begin, end)), 10, 4)
    >>> sorted(found)
    [(0, 4), (4, 8), (8, 10)]
    """
    pieces = ranges(total, step)
    with one_blas_thread():  # of one piece too: a helper of BLAS would spin long after it
        run(lambda i: call(*pieces[i]), len(pieces))
