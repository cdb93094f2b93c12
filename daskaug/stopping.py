"""Stopping work that nobody wants any more, though Python cannot stop a thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_here = threading.local()


class GivenUp(BaseException):
    """Raised in a task whose result nobody wants any more. No error: ``except Exception`` lets it pass."""


@contextlib.contextmanager
def watched(is_given_up: Callable[[], bool]) -> Iterator[None]:
    """Let :func:`check` ask, in this thread.

    Parameters
    ----------
    is_given_up : callable
        Whether what is done in here is still wanted; it is asked often, and has to be quick.
    """
    before = getattr(_here, "is_given_up", None)
    _here.is_given_up = is_given_up
    try:
        yield
    finally:
        _here.is_given_up = before


def check() -> None:
    """Break off, if this thread works on a task that was given up; called between steps that may take long.

    Raises
    ------
    GivenUp
    """
    is_given_up = getattr(_here, "is_given_up", None)
    if is_given_up is not None and is_given_up():
        raise GivenUp


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore further interrupts while one is dealt with. For what takes milliseconds, and must not be left half done.

    Only the main thread is ever interrupted; in others this does nothing.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:  # not set from Python
        yield
        return
    signal.signal(signal.SIGINT, _ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class OneInterrupt:
    """While this thread waits in here, one interrupt gets through, and no further one until :meth:`restore`.

    Impatient people send several. The second would hit what deals with the first, before that can guard itself.
    """

    def __init__(self) -> None:
        self._before: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        if callable(before) and threading.current_thread() is threading.main_thread():
            self._before = before
            signal.signal(signal.SIGINT, self._let_through)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            self.restore()

    def restore(self) -> None:
        """The interrupt has been dealt with, if there was one."""
        before, self._before = self._before, None
        if before is not None:
            signal.signal(signal.SIGINT, before)

    def _let_through(self, number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, _ignore)
        if self._before is not None:
            self._before(number, frame)
        signal.signal(signal.SIGINT, self._let_through)  # that has raised nothing


def _ignore(number: int, frame: FrameType | None) -> None:
    """Unlike ``SIG_IGN``, no process that is started meanwhile inherits it."""
