"""Running tasks on a dask.distributed cluster. Imported only where distributed already is."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Callable
from typing import Any

import distributed

from daskaug.execution.executor import Pending, call
from daskaug.sources.base import BlockReader

LARGE = 2**20
"""Bytes above which a block goes to a worker by itself and not inside the task's message to the scheduler."""


def active_client() -> distributed.Client | None:
    """The current client, unless there is none or this is itself a task on a worker."""
    try:
        distributed.get_worker()
        return None
    except ValueError:
        pass
    try:
        client = distributed.Client.current()
    except ValueError:
        return None
    return client if client.status == "running" and not client.asynchronous else None


class ClientExecutor:
    """The workers of a distributed client."""

    is_remote = True

    def __init__(self, client: distributed.Client) -> None:
        self._client = client

    @functools.cached_property
    def parallelism(self) -> int:
        """Threads of all workers, as they are when it is first asked."""
        return max(1, sum(map(int, self._client.nthreads().values())))

    @property
    def description(self) -> str:
        """For people: what runs the tasks."""
        return f"{self.parallelism} thread(s) on {len(self._client.nthreads())} distributed worker(s)"

    def submit(self, function: Callable[..., Any], reader: BlockReader, args: tuple[Any, ...], name: str) -> Pending:
        """See :meth:`daskaug.execution.Executor.submit`."""
        key = f"{name}-{uuid.uuid4().hex}"
        graph = reader.collection()
        if graph is not None:
            block = self._client.compute(graph)
            return self._client.submit(function, block, *args, key=key, pure=False)
        carried: Any = reader
        if reader.carried_nbytes > LARGE:
            carried = self._client.scatter(reader, hash=False)
        return self._client.submit(call, function, carried, args, key=key, pure=False)
