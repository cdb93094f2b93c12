"""Finding out where tasks are to run."""

from __future__ import annotations

import sys

from daskaug.execution.executor import Executor, threads_executor


def current_executor() -> Executor:
    """The active distributed client where there is one, otherwise this process' threads.

    No cluster is ever started. Inside a task of a distributed worker it is the threads as well: submitting from there
    and waiting could fill the cluster with tasks that wait for each other.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return threads_executor()
    from daskaug.execution.cluster import ClientExecutor, active_client

    client = active_client()
    return threads_executor() if client is None else ClientExecutor(client)
