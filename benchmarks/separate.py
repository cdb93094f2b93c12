"""A cluster whose scheduler is a process of its own, so that what it takes can be told from what the client takes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 60.0
"""Seconds for processes to come up."""

LOGS = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__LOW_LEVEL_LOG_LENGTH": "200",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__LOG_LENGTH": "100",
}
"""distributed keeps the last so many events, seconds of its own profile and readings of its monitor; by default 1,000,
1,000 and 7,200, so that a scheduler grows for its first hour whatever it does. With fewer what is seen is the tasks."""


class Cluster:
    """A client, and the processes behind it."""

    def __init__(self, client: Any, scheduler: int, workers: list[int]) -> None:
        self.client = client
        self._processes = {
            "scheduler": [psutil.Process(scheduler)],
            "client": [psutil.Process()],
            "workers": list(map(psutil.Process, workers)),
        }

    def cpu(self, who: str) -> float:
        """Processor seconds that the client, the scheduler or the workers have used."""
        times = [process.cpu_times() for process in self._processes[who]]
        return sum(each.user + each.system for each in times)

    def rss(self, who: str) -> int:
        """Resident bytes."""
        return sum(process.memory_info().rss for process in self._processes[who])

    def tasks_known(self) -> int:
        """Tasks that the scheduler knows at this moment."""
        return int(self.client.run_on_scheduler(_count_tasks))


def _count_tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


@contextlib.contextmanager
def cluster(workers: int, threads: int = 1) -> Iterator[Cluster]:
    """A scheduler and worker processes on the loopback interface, without dashboards, and a client of them."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        file = Path(name) / "scheduler.json"
        here = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = stack.enter_context(_running("scheduler", "--port", "0", "--scheduler-file", str(file), *here))
        options = ["--scheduler-file", str(file), "--nthreads", str(threads), "--no-nanny", "--local-directory", name]
        started = [stack.enter_context(_running("worker", *options, *here)) for _ in range(workers)]
        client = stack.enter_context(Client(scheduler_file=_there(file, scheduler), timeout=PATIENCE))
        client.wait_for_workers(workers, timeout=PATIENCE)
        yield Cluster(client, scheduler.pid, [process.pid for process in started])


def _there(file: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + PATIENCE
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError("The scheduler did not come up.")
        time.sleep(0.05)
    return str(file)


@contextlib.contextmanager
def _running(role: str, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", f"distributed.cli.dask_{role}", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | LOGS)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
