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


def _ignore(number: int, frame: FrameType | None) -> None:
    """Unlike ``SIG_IGN``, no process that is started meanwhile inherits it."""
