"""Running tasks on a dask.distributed cluster. Imported only where distributed already is."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import dask.config
import distributed
from dask.sizeof import sizeof
from distributed.comm.core import CommClosedError
from distributed.protocol import pickle

from daskaug.errors import LostClusterError
from daskaug.execution import agreement, graph
from daskaug.execution.bodies import as_loaded
from daskaug.execution.executor import LOOK_SECONDS, Pending, Task, all_or_none
from daskaug.execution.following import Follower
from daskaug.execution.limits import tightest
from daskaug.execution.losses import Work
from daskaug.execution.on_client import ClientPending, asking, made_of
from daskaug.execution.watching import Watching
from daskaug.sources.base import BlockReader
from daskaug.sources.shared_blocks import SharedBlock
from daskaug.stopping import uninterrupted

LARGE = 2**20
"""Bytes above which something goes to the workers by itself and not inside each task's message to the scheduler."""

TOGETHER = 64
"""Tasks that go to the scheduler in one message, at most; and at most :data:`LARGE` bytes of arguments, beside one."""

SHOWN = 512
"""Tasks that are submitted to an adaptive cluster, where the window would be smaller."""

SHOWN_AT_LEAST = 32
"""The same for any other: on a few workers, the messages for short tasks would take longer than the tasks."""

LOOK_AGAIN_SECONDS = 0.05
"""Between looks at a client that is connecting anew."""

HELD_PARTS = 64
"""Blocks that are kept on the workers for the tasks that come next, at least; more where tasks need many."""


def active_client() -> distributed.Client | None:
    """The current client, unless there is none or this is itself a task on a worker.

    One that has lost its scheduler and tries to reach it again is waited for, as long as it tries (its `timeout`): what
    was to run on a cluster should not begin to run here because a call came in that moment.
    """
    try:
        distributed.get_worker()
        return None
    except ValueError:
        pass
    try:
        client = distributed.Client.current()
    except ValueError:
        return None
    if client.asynchronous:
        return None
    # One that has never reached a scheduler, and whose constructor has raised, is "connecting" until it is collected.
    while client.status == "connecting" and client._scheduler_identity:
        time.sleep(LOOK_AGAIN_SECONDS)
    return client if client.status == "running" else None


def _messages(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Tasks that may share a message; what carries pixels, or works on blocks of a graph, has one for itself.

    That goes out before the next task is made, so that its pixels need not be here any more by then.
    """
    group: list[Task] = []
    nbytes = 0
    for reader, args in tasks:
        is_alone = bool(reader.carried_nbytes) or reader.parts() is not None
        size = sizeof(args)
        if group and (is_alone or len(group) == TOGETHER or nbytes + size > LARGE):
            yield group
            group, nbytes = [], 0
        group.append((reader, args))
        nbytes += size
        if is_alone:
            del reader
            yield group
            group, nbytes = [], 0
    if group:
        yield group


_configuring = threading.Lock()


@contextlib.contextmanager
def _large_messages() -> Iterator[None]:
    """While pixels travel by way of the scheduler: what dask advises instead cannot be had without workers."""
    with _configuring, dask.config.set({"distributed.admin.large-graph-warning-threshold": sys.maxsize}):
        yield


class _OnCluster:
    """What a client has put on its workers, to be used by more than one task."""

    def __init__(self, client: distributed.Client) -> None:
        self.functions: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
        self.parts: collections.OrderedDict[Any, Any] = collections.OrderedDict()
        self.held = HELD_PARTS
        self.lock = threading.RLock()
        """Around `parts`: several iterators may take from them. A finalizer may run in a thread that holds it."""
        self.has_workers, self.looked = False, -math.inf
        self.threads: int | None = None
        self.watching = Watching(client)


_on_cluster: weakref.WeakKeyDictionary[distributed.Client, _OnCluster] = weakref.WeakKeyDictionary()


def _shared_of(client: distributed.Client) -> _OnCluster:
    found = _on_cluster.get(client)
    if found is None:
        found = _on_cluster.setdefault(client, _OnCluster(client))
    return found


def watching_of(client: distributed.Client) -> Watching:
    """What a client knows about being watched."""
    return _shared_of(client).watching


class ClientExecutor:
    """The workers of a distributed client."""

    is_remote = True

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._shared = _shared_of(client)
        self._watching = self._shared.watching

    @property
    def parallelism(self) -> int:
        """Threads of all workers at this moment; asks the scheduler, and looks at workers that have joined.

        If it does not answer, those that there were count: whether it can be reached again in time, and what is lost if
        not, is told by the tasks under way.

        Raises
        ------
        ClusterError
            Where one of them has other versions: see :mod:`daskaug.execution.agreement`.
        LostClusterError
            Where the scheduler has never answered.
        """
        shared = self._shared
        try:
            with asking(self._client):
                threads = self._client.nthreads()
                agreement.check_versions(self._client, threads)
        except LostClusterError:
            if shared.threads is None:
                raise
        else:
            shared.threads = max(1, sum(map(int, threads.values())))
        return shared.threads

    @property
    def threads_per_process(self) -> int:
        """Threads of the worker that has least memory for each of them."""
        return self._tightest()[0]

    @property
    def memory_limit(self) -> int | None:
        """Bytes that this worker may use, as far as workers have a limit."""
        return self._tightest()[1]

    @property
    def least_shown(self) -> int:
        """See :class:`~daskaug.execution.Executor`; adaptive clusters grow with what the scheduler knows of."""
        return SHOWN if getattr(self._client.cluster, "_adaptive", None) is not None else SHOWN_AT_LEAST

    def _tightest(self) -> tuple[int, int | None]:
        with asking(self._client):
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return tightest([(int(worker["nthreads"]), worker.get("memory_limit") or None) for worker in workers])

    @property
    def description(self) -> str:
        """For people: what runs the tasks."""
        with asking(self._client):
            return f"{self.parallelism} thread(s) on {len(self._client.nthreads())} distributed worker(s)"

    def submit(
        self, function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...], name: str
    ) -> ClientPending:
        """See :meth:`daskaug.execution.Executor.submit`."""
        parts = reader.parts()
        if parts is not None:
            # Tasks of this group of units and of the next.
            self._shared.held = max(self._shared.held, 2 * len(parts))
        is_sent = parts is None and reader.carried_nbytes > LARGE

        def begin() -> Any:
            options = {"key": f"{name}-{uuid.uuid4().hex}", "pure": False}
            shared, bodies = self._function(function), self._watching.bodies
            with self._watching.span(name):
                if parts is not None:
                    with self._shared.lock:  # nobody gives them up before the scheduler knows who needs them
                        blocks = [self._part(part) for part in parts]
                        return self._client.submit(
                            bodies.call_on_parts, shared, reader.assembly(), blocks, args, **options
                        )
                sent = self._on_workers(reader) if is_sent else None
                if sent is not None:
                    return self._client.submit(bodies.call, shared, sent, args, **options)
                with _large_messages() if is_sent else contextlib.nullcontext():
                    return self._client.submit(bodies.call, shared, reader, args, **options)

        with asking(self._client):
            return ClientPending(self._client, begin(), Work(reader, name), begin if is_sent else None)

    def submit_all(self, function: Callable[..., Any], tasks: Iterable[Task], name: str) -> list[ClientPending]:
        """See :meth:`daskaug.execution.Executor.submit_all`."""
        with all_or_none() as made:
            for group in _messages(tasks):
                made += self._submit_group(function, group, name)
                group.clear()
        return made

    def _submit_group(self, function: Callable[..., Any], group: list[Task], name: str) -> list[ClientPending]:
        """With one message."""
        if len(group) == 1:
            return [self.submit(function, *group[0], name)]
        readers, args = zip(*group, strict=True)
        keys = [f"{name}-{uuid.uuid4().hex}" for _ in group]
        with asking(self._client), self._watching.span(name):
            shared = [self._function(function)] * len(group)
            futures = self._client.map(self._watching.bodies.call, shared, readers, args, key=keys, pure=False)
        return [
            ClientPending(self._client, future, Work(reader, name))
            for future, reader in zip(futures, readers, strict=True)
        ]

    def fetch(self, pending: Sequence[Pending]) -> int:
        """See :meth:`daskaug.execution.Executor.fetch`."""
        first = pending[0]
        if not isinstance(first, ClientPending) or len(pending) == 1:
            return 1
        try:
            first.wait()
            ready = made_of(pending)
            if ready:
                ClientPending.fetch(self._client, ready)
        except Exception:  # noqa: BLE001  whose error it is shows when each result is asked for
            return 1
        return max(1, len(ready))

    def run_graph(self, function: Callable[..., Any], tasks: list[Task], name: str) -> Iterator[Any]:
        """See :meth:`daskaug.execution.Executor.run_graph`."""
        body = self._watching.bodies.call_on_parts
        with self._watching.span(name):
            futures = self._client.compute(graph.values(self._function(function), tasks, name, body))
        works = [Work(reader, name) for reader, _ in tasks]
        pending = [ClientPending(self._client, *each) for each in zip(futures, works, strict=True)]
        try:
            for each in pending:
                yield each.take()
        finally:
            with uninterrupted():
                for each in pending:
                    each.cancel()

    def _is_usable(self, future: Any) -> bool:
        return future.client is self._client and future.status not in ("cancelled", "lost", "error")

    def _begin_reading(self, reader: BlockReader, key: str) -> Any:
        return self._client.submit(self._watching.bodies.call, as_loaded, reader, (), key=key)

    def prepare(self, parts: list[Any]) -> None:
        """See :meth:`daskaug.execution.Executor.prepare`."""
        with self._watching.span("daskaug-flow"):
            for part in parts:
                self._part(part)

    def give_up_parts(self) -> None:
        """See :meth:`daskaug.execution.Executor.give_up_parts`."""
        held = self._shared.parts
        with self._shared.lock:
            for key in [key for key, future in held.items() if future.status == "pending"]:
                future = held.pop(key, None)  # which is None where a finalizer has come in between
                if future is not None:
                    future.release()

    def follow(self, kind: str, name: str, total: int) -> Follower:
        """See :meth:`daskaug.execution.Executor.follow`."""
        return self._watching.follow(kind, name, total)

    def _function(self, function: Callable[..., Any]) -> Any:
        """The function itself, or a copy on every worker where it carries much (a whitening matrix, say)."""
        known = self._shared.functions.get(function)
        if known is None or (known and not self._is_usable(known)):
            known = self._sent_once(function) if len(pickle.dumps(function)) > LARGE else False
            self._shared.functions[function] = known
        return known or function

    def _sent_once(self, function: Callable[..., Any]) -> Any:
        """The future of a function that carries much."""
        sent = self._on_workers(function, broadcast=True)
        if sent is None:
            # It waits at the scheduler, as a task's result to be, and workers hand it to each other when they come.
            with _large_messages():
                sent = self._client.submit(as_loaded, function, key=f"daskaug-function-{uuid.uuid4().hex}", pure=False)
        return sent

    def _on_workers(self, sent: Any, **options: Any) -> Any:
        """The future of what is put on workers; None where there is none, or none that takes it."""
        shared = self._shared
        if time.monotonic() - shared.looked > LOOK_SECONDS:
            shared.has_workers = bool(self._client.nthreads())
            shared.looked = time.monotonic()
        if not shared.has_workers:  # an adaptive cluster's come with the tasks; asked for them, it would wait for long
            return None
        with contextlib.suppress(CommClosedError, TimeoutError):  # they have just died, or are all paused
            return self._client.scatter(sent, hash=False, **options)
        return None

    def _part(self, part: Any) -> Any:
        """The future of a block; the last ones are held, since several tasks look at the same block."""
        if isinstance(part, SharedBlock):
            return part.held.future(part, self._is_usable, functools.partial(self._begin_reading, part.reader))
        held = self._shared.parts
        with self._shared.lock:
            future = held.pop(part.key, None)
            if future is None or not self._is_usable(future):
                future = self._client.compute(part)
            held[part.key] = future
            while len(held) > self._shared.held:
                held.popitem(last=False)
        return future
