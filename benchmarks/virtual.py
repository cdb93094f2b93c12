"""A cluster that exists on paper: a scheduler, workers and a network on a virtual clock.

The client side is not simulated: :func:`daskaug.execution.executor.run_ordered` runs as it is, and what it is given for
an executor moves the clock instead of waiting. Scheduler and client are servers that do one thing at a time; what each
thing costs them has been measured (:class:`Costs`). Of many tasks, more than two for each thread,
distributed's scheduler keeps back what no worker has room for (``worker-saturation``): a worker has one that waits for
each thread, at most.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import heapq
import math
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from daskaug.execution import executor as real
from daskaug.execution.cluster import SHOWN_AT_LEAST, TOGETHER
from daskaug.sources.base import BlockReader

SATURATION = 1.1
"""Tasks that distributed gives a worker for each of its threads, rounded up (``worker-saturation``)."""

BATCHED_SECONDS = 0.002
"""How long distributed collects messages before it sends them: half of it, on average, for each."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """Measured processor seconds; see ``python -m benchmarks.large_cluster --calibrate``.

    Attributes
    ----------
    client_call, scheduler_call : float
        For a message with tasks, whatever their number.
    client_task, scheduler_task : float
        For each task, from being submitted to being forgotten.
    client_fetch, scheduler_fetch : float
        For a message that asks for results, whatever their number.
    worker_task : float
        Between two tasks of a worker.
    """

    client_call: float
    client_task: float
    client_fetch: float
    scheduler_call: float
    scheduler_task: float
    scheduler_fetch: float
    worker_task: float


@dataclasses.dataclass(frozen=True)
class Setting:
    """A cluster.

    Attributes
    ----------
    workers, threads : int
        Processes, and threads of each.
    latency : float
        Seconds for a message in one direction.
    costs : Costs
    """

    workers: int
    threads: int
    latency: float
    costs: Costs


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes
    ----------
    blocks : int
    seconds : float
        Until the last result was handed out.
    efficiency : float
        Share of the workers' threads' time that went into tasks.
    steady : float
        The same without the end, when there is nothing left to submit.
    scheduler, client : float
        Share of the time in which they were busy.
    most_pending : int
        Tasks that were submitted and not handed out, at most.
    """

    blocks: int
    seconds: float
    efficiency: float
    steady: float
    scheduler: float
    client: float
    most_pending: int


class _Paper(BlockReader):
    """A block that is never read."""

    def load(self) -> Any:
        raise NotImplementedError


class _Task:
    """A task, and its :class:`daskaug.execution.Pending`."""

    __slots__ = ("cluster", "done", "here", "seconds", "worker")
    is_lost = False

    def __init__(self, cluster: VirtualCluster, seconds: float) -> None:
        self.cluster, self.seconds = cluster, seconds
        self.done, self.here, self.worker = False, False, -1

    def result(self) -> None:
        if not self.here:
            self.cluster.fetch([self])

    def take(self) -> None:
        self.result()

    def when_done(self, function: Callable[[], None]) -> None:
        raise NotImplementedError

    def cancel(self) -> bool:
        return self.done


class VirtualCluster:
    """An executor on a virtual clock; :meth:`run` is what is asked for."""

    is_remote = True
    memory_limit = None
    description = "a cluster on paper"

    def __init__(self, setting: Setting, seconds: Iterator[float], *, least_shown: int = SHOWN_AT_LEAST) -> None:
        self._setting, self._costs, self._seconds = setting, setting.costs, seconds
        self.parallelism = setting.workers * setting.threads
        self.threads_per_process = setting.threads
        self.least_shown = least_shown
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], Any]] = []
        self._count = 0
        self._scheduler_free = 0.0
        self._scheduler_busy = self._client_busy = self._worked = 0.0
        self._assigned = [0] * setting.workers  # tasks that the scheduler thinks are there, running or waiting
        self._running = [0] * setting.workers
        self._waiting: list[collections.deque[_Task]] = [collections.deque() for _ in range(setting.workers)]
        self._slots = math.ceil(SATURATION * setting.threads)
        self._idle, self._room = dict.fromkeys(range(setting.workers)), dict.fromkeys(range(setting.workers))
        self._queue: collections.deque[_Task] = collections.deque()
        self._pending = self.most_pending = 0
        self._event_time = 0.0

    # --- the clock -----------------------------------------------------------------------------------------------

    def _at(self, time: float, function: Callable[..., None], argument: Any) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, function, argument))

    def _step(self) -> None:
        time, _, function, argument = heapq.heappop(self._events)
        self._event_time = time
        function(argument)

    def _advance(self, until: float) -> None:
        """Let happen what happens meanwhile."""
        while self._events and self._events[0][0] <= until:
            self._step()
        self.now = until

    def _work_of_client(self, seconds: float) -> None:
        self._client_busy += seconds
        self._advance(self.now + seconds)

    def _work_of_scheduler(self, arrival: float, seconds: float) -> float:
        """When it is done with it."""
        begin = max(arrival, self._scheduler_free)
        self._scheduler_busy += seconds
        self._scheduler_free = begin + seconds
        return self._scheduler_free

    # --- what the real code calls --------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.now

    def submit(self, function: Any, reader: BlockReader, args: tuple[Any, ...], name: str) -> _Task:
        return self.submit_all(function, [(reader, args)], name)[0]

    def submit_all(self, function: Any, tasks: Iterable[tuple[BlockReader, tuple[Any, ...]]], name: str) -> list[_Task]:
        costs = self._costs
        made = [_Task(self, next(self._seconds)) for _ in tasks]
        self._pending += len(made)
        self.most_pending = max(self.most_pending, self._pending)
        for start in range(0, len(made), TOGETHER):
            message = made[start : start + TOGETHER]
            self._work_of_client(costs.client_call + len(message) * costs.client_task)
            self._at(self.now + BATCHED_SECONDS / 2 + self._setting.latency, self._arrived, message)
        return made

    def fetch(self, pending: Sequence[_Task]) -> int:
        """Wait for the first one, and bring here all that follow it and are done."""
        first = pending[0]
        while not first.done:
            self._advance(self._events[0][0])
        ready = [first]
        for each in pending[1:] if len(pending) > 1 else ():
            if not each.done:
                break
            ready.append(each)
        costs, latency = self._costs, self._setting.latency
        asked = self.now + latency
        answered = self._work_of_scheduler(asked, costs.scheduler_fetch)
        self._advance(max(self.now, answered + 3 * latency))  # to the workers and back, and back here
        self._work_of_client(costs.client_fetch)
        for each in ready:
            each.here = True
        self._pending -= len(ready)
        return len(ready)

    def prepare(self, parts: list[Any]) -> None:
        raise NotImplementedError

    def run_graph(self, *_: Any) -> Iterator[Any]:
        raise NotImplementedError

    # --- scheduler and workers -----------------------------------------------------------------------------------

    def _arrived(self, tasks: list[_Task]) -> None:
        """A message with tasks is at the scheduler."""
        self._work_of_scheduler(self._event_time, self._costs.scheduler_call)
        for task in tasks:
            # Half of what a task costs the scheduler is done now, the other half when it is finished.
            sent = self._work_of_scheduler(self._event_time, self._costs.scheduler_task / 2)
            if self._room:
                self._send(task, sent)
            else:
                self._queue.append(task)

    def _send(self, task: _Task, at: float) -> None:
        """To a worker with a free thread, or else to one where little waits."""
        worker = task.worker = next(iter(self._idle or self._room))
        self._assigned[worker] += 1
        self._noted(worker)
        self._at(at + BATCHED_SECONDS / 2 + self._setting.latency, self._delivered, task)

    def _noted(self, worker: int) -> None:
        """Who has room now."""
        for known, most in ((self._idle, self._setting.threads), (self._room, self._slots)):
            known.pop(worker, None)
            if self._assigned[worker] < most:
                known[worker] = None

    def _delivered(self, task: _Task) -> None:
        if self._running[task.worker] < self._setting.threads:
            self._start(task, self._event_time)
        else:
            self._waiting[task.worker].append(task)

    def _start(self, task: _Task, at: float) -> None:
        self._running[task.worker] += 1
        self._at(at + self._costs.worker_task + task.seconds, self._finished, task)

    def _finished(self, task: _Task) -> None:
        worker, now = task.worker, self._event_time
        self._running[worker] -= 1
        self._worked += task.seconds
        if self._waiting[worker]:
            self._start(self._waiting[worker].popleft(), now)
        self._at(now + BATCHED_SECONDS / 2 + self._setting.latency, self._reported, task)

    def _reported(self, task: _Task) -> None:
        done = self._work_of_scheduler(self._event_time, self._costs.scheduler_task / 2)
        self._assigned[task.worker] -= 1
        self._noted(task.worker)
        if self._queue:
            self._send(self._queue.popleft(), done)
        self._at(done + BATCHED_SECONDS / 2 + self._setting.latency, _mark, task)

    # --- asking ---------------------------------------------------------------------------------------------------

    def run(self, blocks: int, *, window: int | Callable[[VirtualCluster], int] | None = None) -> Outcome:
        """Hand `blocks` tasks to the real :func:`~daskaug.execution.executor.run_ordered`."""
        last_submitted = [0.0, 0.0]

        def tasks() -> Iterator[tuple[BlockReader, tuple[Any, ...]]]:
            reader = _Paper()
            for _ in range(blocks):
                yield reader, ()
            last_submitted[:] = self.now, self._worked

        wanted: Any = (lambda: window(self)) if callable(window) else window
        with self._clock():
            for _ in real.run_ordered(self, _nothing, tasks(), name="virtual", window=wanted):
                pass
        threads = self.parallelism
        until, worked = last_submitted
        return Outcome(
            blocks=blocks,
            seconds=self.now,
            efficiency=self._worked / (threads * self.now),
            steady=worked / (threads * until) if until else 0.0,
            scheduler=self._scheduler_busy / self.now,
            client=self._client_busy / self.now,
            most_pending=self.most_pending,
        )

    @contextlib.contextmanager
    def _clock(self) -> Iterator[None]:
        before = real.time
        real.time = types.SimpleNamespace(monotonic=self.monotonic)  # type: ignore[assignment]
        try:
            yield
        finally:
            real.time = before


def _mark(task: _Task) -> None:
    task.done = True


def _nothing(*_: Any) -> None:
    """What a task on paper does."""


def drawn(measured: Sequence[float], mean: float, seed: int = 0) -> Iterator[float]:
    """Task times in the proportions that were measured, with another mean."""
    pool = np.asarray(measured, np.float64)
    pool = pool * (mean / pool.mean())
    state = np.random.RandomState(seed)
    while True:
        yield from pool[state.randint(len(pool), size=4096)].tolist()
