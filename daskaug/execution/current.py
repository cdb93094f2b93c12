"""Finding out where tasks are to run."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from daskaug.execution.executor import Executor, threads_executor
from daskaug.sources.base import BlockReader


def current_executor() -> Executor:
    """The active distributed client where there is one, otherwise this process' threads.

    No cluster is ever started. Inside a task of a distributed worker it is the threads as well: submitting from there
    and waiting could fill the cluster with tasks that wait for each other.
    """
    client = _active_client()
    if client is None:
        return threads_executor()
    from daskaug.execution.cluster import ClientExecutor

    return ClientExecutor(client)


def check_workers(probes: Iterable[BlockReader]) -> None:
    """Look whether all workers of the active client can do what they will be asked to; without a client, do nothing.

    Asked once per client, worker and thing to open.

    Parameters
    ----------
    probes : iterable of BlockReader
        Small; each fails to load where a thing cannot be opened. Its `repr` says what that is.

    Raises
    ------
    ClusterError
        Where daskaug is missing or another version, or NumPy or numba another series.
    SourceError, StoreError
        Where workers cannot open a source, or write to a store; says which ones, and what they found.
    """
    client = _active_client()
    if client is not None:
        from daskaug.execution.agreement import check_opening

        check_opening(client, probes)


def _active_client() -> Any:
    if sys.modules.get("distributed") is None:
        return None
    from daskaug.execution.cluster import active_client

    return active_client()
