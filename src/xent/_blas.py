"""One BLAS thread where products are short: its helpers spin, on the cores that the kernels need."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import ThreadpoolController


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
