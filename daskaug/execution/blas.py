"""One thread per matrix product while several of them run side by side."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_entered = 0
_limit: Any = None


@functools.cache
def _controller() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


@contextlib.contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread for as long as anybody in this process is inside.

    The limit belongs to the process. Two overlapping ``threadpoolctl`` contexts in two threads would leave it at 1 for
    ever: the second one remembers the first one's limit as the state to return to. So entries are counted, the first
    one sets the limit and the last one lifts it.
    """
    global _entered, _limit
    with _lock:
        if _entered == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if _entered == 0:
                _limit.restore_original_limits()
                _limit = None
