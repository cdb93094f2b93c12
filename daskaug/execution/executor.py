"""Submitting block tasks, and getting the results in order from a bounded window."""

from __future__ import annotations

import collections
import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from daskaug.execution.blas import single_threaded_blas
from daskaug.sources.base import BlockReader


class Pending(Protocol):
    """A result that may not be there yet."""

    def result(self) -> Any:
        """Wait for it; raises what the task raised."""

    def cancel(self) -> Any:
        """Give it up, if it has not begun."""


class Executor(Protocol):
    """Where tasks run."""

    @property
    def parallelism(self) -> int:
        """Tasks that can run at the same time."""

    @property
    def is_remote(self) -> bool:
        """Whether tasks may run in another process, so that what they need has to travel."""

    @property
    def description(self) -> str:
        """For people: what runs the tasks."""

    def submit(self, function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...], name: str) -> Pending:
        """Call ``function(reader.load(), *args)`` elsewhere.

        Parameters
        ----------
        function : callable
            Pure, picklable.
        reader : BlockReader
            Loads the block where the task runs.
        args : tuple
            Further arguments, small and picklable.
        name : str
            What the task is called in the dashboard.
        """


def call(function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...]) -> Any:
    """Body of a task: load the block and work on it; an error says which rows it was about.

    A function with a true attribute `uses_blas` runs with one BLAS thread: the executor's own threads are enough.
    """
    try:
        with single_threaded_blas() if getattr(function, "uses_blas", False) else contextlib.nullcontext():
            return function(reader.load(), *args)
    except Exception as error:
        error.add_note(f"This happened in a daskaug task on {reader!r}.")
        raise


def thread_count() -> int:
    """Threads to use in this process: the processors it may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadsExecutor:
    """Threads of this process; one pool for everything, made when it is first needed."""

    is_remote = False

    def __init__(self) -> None:
        self.parallelism = thread_count()
        self._pool = ThreadPoolExecutor(self.parallelism, thread_name_prefix="daskaug")

    @property
    def description(self) -> str:
        """For people: what runs the tasks."""
        return f"{self.parallelism} thread(s) in this process"

    def submit(
        self, function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...], name: str
    ) -> Future[Any]:
        """See :meth:`Executor.submit`."""
        return self._pool.submit(call, function, reader, args)


_threads: ThreadsExecutor | None = None
_threads_lock = threading.Lock()


def threads_executor() -> ThreadsExecutor:
    """The pool of this process."""
    global _threads
    with _threads_lock:
        if _threads is None:
            _threads = ThreadsExecutor()
        return _threads


def _forget_threads() -> None:
    """After a fork the child has none of its parent's threads, and perhaps a lock that nobody will release."""
    global _threads, _threads_lock
    _threads, _threads_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def run_ordered(
    executor: Executor,
    function: Callable[..., Any],
    tasks: Iterable[tuple[BlockReader, tuple[Any, ...]]],
    *,
    name: str,
    window: int | None = None,
) -> Iterator[Any]:
    """Run tasks side by side and yield their results in the order of the tasks.

    At most `window` tasks are submitted and not yet yielded, so a million blocks never lie in the scheduler, and a slow
    consumer holds the producers back.

    Parameters
    ----------
    executor : Executor
    function : callable
        Called as ``function(block, *args)``.
    tasks : iterable of (BlockReader, args)
        Consumed as places in the window become free.
    name : str
        Of the tasks in the dashboard.
    window : int, optional
        Twice the executor's parallelism by default.
    """
    window = window or 2 * executor.parallelism
    pending: collections.deque[Pending] = collections.deque()
    submit = functools.partial(executor.submit, function)
    try:
        for reader, args in tasks:
            pending.append(submit(reader, args, name))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for left in pending:
            left.cancel()
