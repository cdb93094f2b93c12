"""Real clusters for the tests."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def forking() -> Any:
    """Starts processes that are forked from one that has imported everything, and so begin at once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    return context


class Forked:
    """``dask scheduler`` or ``dask worker`` in a process that begins at once.

    Parameters
    ----------
    arguments : list of str
        The command, and what follows it.
    folder : Path
        Where it runs, and writes its log.
    """

    def __init__(self, arguments: list[str], folder: Path) -> None:
        self._process = forking().Process(target=_dask, args=(arguments, folder), daemon=True)
        self._process.start()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._process.kill()

    def wait(self, timeout: float | None = None) -> None:
        """Until it is gone."""
        self._process.join(timeout)
        assert self._process.exitcode is not None


def _dask(arguments: list[str], folder: Path) -> None:
    from distributed.cli import dask_scheduler, dask_worker

    with (folder / "log").open("ab") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    os.chdir(folder)
    command, *rest = arguments
    {"scheduler": dask_scheduler, "worker": dask_worker}[command].main(rest, standalone_mode=False)


@contextlib.contextmanager
def workers(number: int, *, processes: bool = True) -> Iterator[Any]:
    """A ``LocalCluster`` of so many workers with one thread each, on the loopback interface.

    Processes of their own, or without `processes` threads of this one.
    """
    import dask
    from distributed import LocalCluster
    from distributed.utils import get_mp_context

    with (
        tempfile.TemporaryDirectory() as folder,
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}),
    ):
        get_mp_context()  # which has another list of what to import, and names it once
        forking()
        with LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            processes=processes,
            host="127.0.0.1" if processes else None,
            dashboard_address="127.0.0.1:0",
            local_directory=folder,
        ) as local:
            yield local


@contextlib.contextmanager
def two_workers() -> Iterator[Any]:
    """Two processes: see :func:`workers`."""
    with workers(2) as local:
        yield local
