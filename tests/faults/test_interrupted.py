"""Ctrl-C ends ``daskaug materialize`` in good order, on threads and on a cluster."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zarr
from distributed import Client
from typer.testing import CliRunner

from daskaug import ImageDataGenerator
from daskaug.cli import app
from daskaug.execution import threads_executor
from daskaug.sources import BlockReader
from tests import clusters, pictures
from tests.faults.runs import WAIT_SECONDS, committed, make, refused

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
N, SHARD_ROWS = 600, 6
SHARDS = N // SHARD_ROWS
FLAGS = ["--rotation-range", "25", "--horizontal-flip", "--shard-rows", str(SHARD_ROWS)]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.zarr"
    zarr.create_array(path, data=pictures.tiles(32, N), chunks=(SHARD_ROWS, 32, 32, 3))
    return path


@contextlib.contextmanager
def begun(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The command, which Ctrl-C reaches even where these tests are run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(
            [sys.executable, "-m", "daskaug", *map(str, arguments)],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    with started as process:
        try:
            yield process
        finally:
            process.kill()


def until(process: subprocess.Popen[str], store: Path, shards: int) -> None:
    """Look again and again, until so many shards have their commit record."""
    for _ in range(WAIT_SECONDS * 50):
        if len(list((store / "shard_digest").glob("c/*"))) >= shards:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)
            break
    pytest.fail(f"it ended, or took too long: {process.communicate()}")


def interrupted(process: subprocess.Popen[str], store: Path) -> None:
    until(process, store, 5)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130, told
    assert "can be finished" in told
    assert "Run the same command again" in told
    assert "Traceback" not in told


def finishes(command: list[str], store: Path, tmp_path: Path, source: Path) -> None:
    """The same command does the rest."""
    refused(store)
    there = len(committed(store))
    assert 5 <= there < SHARDS
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert f"{N - there * SHARD_ROWS:,} written" in done.output
    undisturbed = ImageDataGenerator(rotation_range=25, horizontal_flip=True).materialize(
        source, tmp_path / "undisturbed.zarr", shard_rows=SHARD_ROWS
    )
    assert undisturbed.store_hash in done.output


def test_on_threads(source, tmp_path):
    store = tmp_path / "m.zarr"
    command = ["materialize", str(source), str(store), *FLAGS]
    with begun(*command) as process:
        interrupted(process, store)
    assert not list(store.rglob("*.partial"))
    finishes(command, store, tmp_path, source)


def test_on_a_cluster_the_tasks_are_cancelled(source, tmp_path):
    store = tmp_path / "m.zarr"
    with clusters.two_workers() as cluster:
        command = ["materialize", str(source), str(store), *FLAGS, "--scheduler", cluster.scheduler_address]
        with begun(*command) as process:
            interrupted(process, store)
        with Client(cluster, set_as_default=False) as client:
            # What has begun goes on to the end of its shard. The scheduler forgets a task when nobody wants it and
            # nobody works on it.
            assert client.run_on_scheduler(forgets_all)
        finishes(command, store, tmp_path, source)


class Nothing(BlockReader):
    """For tasks that only wait."""

    def load(self) -> None:
        return None


def meet(_: None, together: threading.Barrier) -> None:
    together.wait(WAIT_SECONDS)


def test_when_the_call_has_raised_nothing_is_written_any_more(tmp_path):
    class Stop(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    for number in range(5):
        store = tmp_path / f"{number}.zarr"
        with pytest.raises(Stop):
            make(store, progress=stop)
        left = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
        executor = threads_executor()
        together = threading.Barrier(executor.parallelism)  # reached when every thread is through with what it had
        tasks = [executor.submit(meet, Nothing(), (together,), "wait") for _ in range(executor.parallelism)]
        for task in tasks:
            task.result()
        assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == left


async def forgets_all(dask_scheduler) -> bool:
    """Whether the scheduler has no task any more, after a while at most."""
    import asyncio

    for _ in range(WAIT_SECONDS * 20):
        if not dask_scheduler.tasks:
            return True
        await asyncio.sleep(0.05)
    return False
