"""Submitting block tasks, and getting the results in order from a bounded window."""

from __future__ import annotations

import atexit
import collections
import contextlib
import functools
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

from daskaug.execution.bodies import call, call_on_parts
from daskaug.execution.following import NOBODY, Follower
from daskaug.execution.limits import memory_of_machine
from daskaug.sources.base import BlockReader
from daskaug.stages import carried
from daskaug.stopping import GivenUp, OneInterrupt, uninterrupted

Task = tuple[BlockReader, tuple[Any, ...]]
"""What loads the block of a task, and its further arguments."""

LOOK_SECONDS = 1.0
"""How long a cluster is taken to have the workers that it had."""

REMOTE_PLACES = 4
"""Tasks for each thread of a cluster, where tasks differ in length, and results that are done wait for slower ones."""

SHARE_FETCHED = 4
"""Of the window, one part in so many is fetched at a time, at most."""

READERS = 8
"""Threads that read ahead, at most."""


class Pending(Protocol):
    """A result that may not be there yet."""

    @property
    def is_lost(self) -> bool:
        """Whether it can never be had, because what computes it has been shut down."""

    def result(self) -> Any:
        """Wait for it; raises what the task raised. Whoever is interrupted while waiting gives it up.

        Raises
        ------
        LostClusterError
            Where the scheduler has gone.
        """

    def take(self) -> Any:
        """Wait for it as :meth:`result` does, and keep nothing of it."""

    def when_done(self, function: Callable[[], None]) -> None:
        """Call a function that is quick, on some thread, once there is a result or an error."""

    def cancel(self) -> bool:
        """Give it up. Whether nothing runs here any more; a task that has begun breaks off at its next step."""


class Executor(Protocol):
    """Where tasks run."""

    @property
    def parallelism(self) -> int:
        """Tasks that can run at the same time."""

    @property
    def threads_per_process(self) -> int:
        """Tasks that can run at the same time in the process with least memory for each of them."""

    @property
    def memory_limit(self) -> int | None:
        """Bytes that this process may use; None where that is not known."""

    @property
    def least_shown(self) -> int:
        """Tasks that should be submitted, if they are light.

        A cluster that grows with its work has to see it, and tasks are to share messages.
        """

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

    def submit_all(self, function: Callable[..., Any], tasks: Iterable[Task], name: str) -> Sequence[Pending]:
        """As :meth:`submit` does for each task, with as few messages as it takes.

        Tasks are taken from `tasks` as they are submitted: the first ones run while the next are made. Where that
        fails, or somebody interrupts it, those before are given up.
        """

    def fetch(self, pending: Sequence[Pending]) -> int:
        """Wait for the first of some results, and bring it here together with those right behind it that are there.

        Returns
        -------
        int
            How many from the first on can be had without waiting, or raise their errors; at least 1.
        """

    def prepare(self, parts: list[Any]) -> None:
        """Begin computing what readers name in :meth:`~BlockReader.parts`, for tasks that will be submitted."""

    def give_up_parts(self) -> None:
        """Give up what :meth:`prepare` began, as far as it is not there and no task needs it."""

    def follow(self, kind: str, name: str, total: int) -> Follower:
        """Whom to tell how a job comes along.

        Parameters
        ----------
        kind : {"fit", "materialize", "flow"}
        name : str
            What it is about, without credentials.
        total : int
            Images.
        """

    def run_graph(self, function: Callable[..., Any], tasks: list[Task], name: str) -> Iterator[Any]:
        """The results of tasks whose readers have :meth:`~BlockReader.parts`, in order, computed as one graph."""


@contextlib.contextmanager
def all_or_none() -> Iterator[list[Any]]:
    """A list of :class:`Pending` to be filled. Whoever fails or is interrupted before it is full gives them all up."""
    made: list[Any] = []
    try:
        yield made
    except BaseException:
        with uninterrupted():
            for each in made:
                each.cancel()
        raise


class ThreadPending:
    """A result of the thread pool."""

    is_lost = False

    def __init__(self, future: Future[Any], stop: threading.Event) -> None:
        self._future, self._stop = future, stop

    def result(self) -> Any:
        """Wait for it; raises what the task raised."""
        try:
            return self._future.result()
        except KeyboardInterrupt:
            self.cancel()
            raise

    def take(self) -> Any:
        """See :meth:`Pending.take`."""
        return self.result()

    def when_done(self, function: Callable[[], None]) -> None:
        """See :meth:`Pending.when_done`."""
        self._future.add_done_callback(lambda _: function())

    def cancel(self) -> bool:
        """See :meth:`Pending.cancel`."""
        self._stop.set()
        return self._future.cancel()


def thread_count() -> int:
    """Threads to use in this process: the processors it may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class ThreadsExecutor:
    """Threads of this process; one pool for everything, made when it is first needed."""

    is_remote = False
    least_shown = 0

    def __init__(self) -> None:
        self.parallelism = self.threads_per_process = thread_count()
        self._pool = ThreadPoolExecutor(self.parallelism, thread_name_prefix="daskaug")
        # They mostly wait, for a disk or a network, and must not take the place of those that compute.
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="daskaug-read")

    @property
    def description(self) -> str:
        """For people: what runs the tasks."""
        return f"{self.parallelism} thread(s) in this process"

    @property
    def memory_limit(self) -> int | None:
        """Bytes that this process may use."""
        return memory_of_machine()

    def close(self) -> None:
        """Give up what has not begun, and wait for the rest."""
        for pool in (self._readers, self._pool):
            pool.shutdown(wait=True, cancel_futures=True)

    def read_ahead(self, function: Callable[[], None]) -> None:
        """Call a function that reads, beside the tasks. It has to take care of its own errors."""
        self._readers.submit(function)

    def submit(
        self, function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...], name: str
    ) -> ThreadPending:
        """See :meth:`Executor.submit`."""
        stop = threading.Event()
        return ThreadPending(self._pool.submit(carried(call), function, reader, args, stop.is_set), stop)

    def submit_all(self, function: Callable[..., Any], tasks: Iterable[Task], name: str) -> list[ThreadPending]:
        """See :meth:`Executor.submit_all`."""
        with all_or_none() as made:
            for reader, args in tasks:
                made.append(self.submit(function, reader, args, name))
        return made

    def fetch(self, pending: Sequence[Pending]) -> int:
        """See :meth:`Executor.fetch`; results of threads are here as soon as they are made."""
        return 1

    def prepare(self, parts: list[Any]) -> None:
        """See :meth:`Executor.prepare`; tasks of threads load their blocks themselves."""

    def give_up_parts(self) -> None:
        """See :meth:`Executor.give_up_parts`."""

    def follow(self, kind: str, name: str, total: int) -> Follower:
        """See :meth:`Executor.follow`; there is no page without a scheduler."""
        return NOBODY

    def run_graph(self, function: Callable[..., Any], tasks: list[Task], name: str) -> Iterator[Any]:
        """See :meth:`Executor.run_graph`."""
        from daskaug.execution import graph

        stop = threading.Event()
        body = functools.partial(call_on_parts, is_given_up=stop.is_set)
        try:
            yield from graph.run_on_threads(graph.values(function, tasks, name, body), self.parallelism)
        finally:
            stop.set()


_threads: ThreadsExecutor | None = None
_threads_lock = threading.Lock()


def threads_executor() -> ThreadsExecutor:
    """The pool of this process."""
    global _threads
    with _threads_lock:
        if _threads is None:
            _threads = ThreadsExecutor()
            # Before the threads of zarr and others are told to end, on which tasks under way depend.
            getattr(threading, "_register_atexit", atexit.register)(_threads.close)
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
    tasks: Iterable[Task],
    *,
    name: str,
    window: int | Callable[[], int] | None = None,
    settles: bool = False,
) -> Generator[Any, None, None]:
    """Run tasks side by side and yield their results in the order of the tasks.

    At most `window` tasks are submitted and not yet yielded, so a million blocks never lie in the scheduler, and a slow
    consumer holds the producers back. Tasks on blocks of a graph are the exception: they become one graph, so that
    dask computes once what they share.

    Pixels that travel are made one block after the other, each when its task is submitted. Blocks that are large enough
    to go to a worker by themselves are held here until their result is, so that they can be sent again if that worker
    dies; there are no more of them than places in the window (see :func:`usual_window`).

    Parameters
    ----------
    executor : Executor
    function : callable
        Called as ``function(block, *args)``.
    tasks : iterable of (BlockReader, args)
        Consumed as places in the window become free.
    name : str
        Of the tasks in the dashboard.
    window : int or callable, optional
        By default :func:`usual_window`. What may change with the cluster is called now and then; with a
        number, tasks are heavy: no more of them are submitted for an adaptive cluster to see.
    settles : bool
        After an error, or where the consumer breaks off, wait for the tasks that run on threads of this process: then
        nothing of theirs is changed any more. Not for a generator that may be dropped unclosed, in one of them perhaps.
        A second interrupt ends the waiting.
    """
    tasks = iter(tasks)
    first = next(tasks, None)
    if first is None:
        return
    carries, is_graph = bool(first[0].carried_nbytes), first[0].parts() is not None
    tasks = itertools.chain([first], tasks)
    del first  # and with it, soon, its pixels
    if is_graph:
        yield from executor.run_graph(function, list(tasks), name)
        return
    pending: collections.deque[Pending] = collections.deque()
    places, looked = 0, -math.inf
    waiting = OneInterrupt()
    try:
        while True:
            if time.monotonic() - looked > LOOK_SECONDS:  # a cluster may have grown meanwhile, or shrunk
                places, looked = _places(executor, window, carries), time.monotonic()
            # On a large cluster many have ended since the last look: a message for each would keep it waiting.
            pending.extend(executor.submit_all(function, itertools.islice(tasks, max(0, places - len(pending))), name))
            if not pending:
                return
            # Heavy results come one by one; of others so few together that nobody runs out of tasks meanwhile.
            most = 1 if isinstance(window, int) else max(1, places // SHARE_FETCHED)
            with waiting:
                fetched = executor.fetch(list(itertools.islice(pending, most)))
            for _ in range(fetched):
                with waiting:
                    result = pending[0].result()
                pending.popleft()  # not before: whoever is interrupted while waiting for it gives it up
                yield result
    finally:
        try:
            with uninterrupted():
                under_way = [left for left in pending if not left.cancel()]
        finally:
            waiting.restore()
        for left in under_way if settles else ():
            with contextlib.suppress(Exception, GivenUp):  # the first error is the one to be told
                left.result()


def usual_window(executor: Executor, *, carries: bool) -> int:
    """Tasks to be submitted and not yet yielded, where nobody says otherwise.

    Parameters
    ----------
    executor : Executor
    carries : bool
        Whether pixels travel with the tasks: no more of them than is needed should be under way.
    """
    if carries or not executor.is_remote:
        return 2 * executor.parallelism
    # Results come in order. The others go on while a slow task holds them up, as long as there are places.
    return max(REMOTE_PLACES * executor.parallelism, executor.least_shown)


def _places(executor: Executor, window: int | Callable[[], int] | None, carries: bool) -> int:
    """Tasks to be submitted and not yet yielded."""
    if isinstance(window, int):
        return max(1, window)
    if window is None:
        return usual_window(executor, carries=carries)
    return max(1, window(), 0 if carries else executor.least_shown)
