"""Real clusters for the tests."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def workers(number: int, *, processes: bool = True) -> Iterator[Any]:
    """A ``LocalCluster`` of so many workers with one thread each, on the loopback interface.

    Processes of their own, or without `processes` threads of this one.
    """
    from distributed import LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=processes,
            host="127.0.0.1" if processes else None,
            dashboard_address="127.0.0.1:0",
            local_directory=folder,
        ) as local,
    ):
        yield local


@contextlib.contextmanager
def two_workers() -> Iterator[Any]:
    """Two processes: see :func:`workers`."""
    with workers(2) as local:
        yield local
