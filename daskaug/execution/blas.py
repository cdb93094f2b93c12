"""One thread per matrix product while several of them run side by side."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_entered = 0
_limit: _Limit | None = None


def _forget() -> None:
    """A forked child has no thread that holds a limit, and perhaps a lock that nobody will release."""
    global _lock, _entered, _limit
    _lock, _entered, _limit = threading.Lock(), 0, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


@functools.cache
def _controller() -> Any:
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


class _Limit:
    """Holds BLAS to one thread until it is lifted, from a thread of its own.

    threadpoolctl heeds only the thread that set a limit (since 3.8, for OpenBLAS), so the thread that lifts it has to
    be the same one, and the last of several tasks to leave seldom is the first that came.
    """

    def __init__(self) -> None:
        self._is_held, self._is_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, name="daskaug-blas-limit", daemon=True)
        self._thread.start()
        self._is_held.wait()

    def _hold(self) -> None:
        try:
            with _controller().limit(limits=1, user_api="blas"):
                self._is_held.set()
                self._is_over.wait()
        finally:
            self._is_held.set()

    def lift(self) -> None:
        self._is_over.set()
        self._thread.join()


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
            _limit = _Limit()
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if _entered == 0 and _limit is not None:
                _limit.lift()
                _limit = None
