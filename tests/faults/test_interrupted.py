"""Ctrl-C ends every long call in good order, on threads and on a cluster, and the work with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client
from typer.testing import CliRunner

from daskaug import ImageDataGenerator
from daskaug.cli import app
from daskaug.execution import threads_executor
from daskaug.materialize import verify
from daskaug.sources import BlockReader
from tests import clusters, pictures
from tests.faults.runs import WAIT_SECONDS, committed, make, refused
from tests.faults.slow import Slow

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


# --- from Python -------------------------------------------------------------------------------------------------

STOP_SECONDS = 10
"""What is promised is 2; this is for a machine that does much else."""


async def comes_to_rest(dask_scheduler) -> bool:
    """Whether nobody works on anything, after a while at most. What is ready may be kept, until an iterator ends."""
    import asyncio

    for _ in range(WAIT_SECONDS * 20):
        states = {task.state for task in dask_scheduler.tasks.values()}
        if not states & {"waiting", "queued", "no-worker", "processing"}:
            return True
        await asyncio.sleep(0.05)
    return False


IMAGES = 2000
"""Which take a hundred seconds, on one processor."""


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.resize(pictures.tiles(16, 200), (IMAGES, 16, 16, 3))


@pytest.fixture(scope="module", params=["threads", "cluster"])
def executor(request) -> Iterator[Client | None]:
    if request.param == "threads":
        yield None
        return
    with clusters.two_workers() as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def slow(tmp_path) -> Slow:
    (tmp_path / "traces").mkdir()
    return Slow(tmp_path / "traces")


@pytest.fixture
def x(images, tmp_path) -> Path:
    """In many small chunks, all of which would fit in one task."""
    zarr.create_array(tmp_path / "x.zarr", data=images, chunks=(20, 16, 16, 3))
    return tmp_path / "x.zarr"


def interrupt(slow: Slow, call: Callable[[], Any], capsys: Any, client: Client | None, times: int = 1) -> None:
    """Interrupt a call when it is at work, and see that the work ends at once."""
    sent: list[float] = []

    def send() -> None:
        slow.until_at_work(6)
        sent.append(time.time())
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sender.start()
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        sender.join()
        signal.signal(signal.SIGINT, before)
    came_back, quiet = time.time() - sent[0], slow.until_quiet() - sent[0]
    forgot = ""
    if client is not None:
        assert client.run_on_scheduler(comes_to_rest)
        assert len(client.nthreads()) == 2
        forgot = ", the workers are alive"
    with capsys.disabled():
        print(f"\n    interrupted: back after {came_back:.2f} s, work ended after {max(quiet, 0):.2f} s{forgot}")
    assert max(came_back, quiet) < STOP_SECONDS
    assert len(slow.traces()) < IMAGES  # it was stopped: it did not finish
    slow.be_quick()


def test_fit(executor, slow, x, images, capsys):
    made = ImageDataGenerator(featurewise_center=True, preprocessing_function=slow)
    interrupt(slow, lambda: made.fit(x), capsys, executor)
    assert made.mean is None
    assert made.fit(x).mean.reshape(-1) == pytest.approx(images.mean(axis=(0, 1, 2)), rel=1e-6)


def test_materialize(executor, slow, x, tmp_path, capsys):
    made = ImageDataGenerator(rotation_range=20, preprocessing_function=slow, dtype="float32")
    store, options = tmp_path / "m.zarr", {"shard_rows": 1000, "standardize": True}
    interrupt(slow, lambda: made.materialize(x, store, **options), capsys, executor)
    refused(store)
    report = made.materialize(x, store, **options)
    assert report.store_hash == made.materialize(x, tmp_path / "undisturbed.zarr", **options).store_hash
    assert not list(store.rglob("*.partial"))


def test_verify(executor, slow, x, tmp_path, capsys):
    made = ImageDataGenerator(rotation_range=20, preprocessing_function=slow, dtype="float32")
    slow.be_quick()
    made.materialize(x, tmp_path / "m.zarr", shard_rows=1000, standardize=True)
    slow.be_slow()

    def verified() -> Any:
        return verify(tmp_path / "m.zarr", full=True, source=x, preprocessing_function=slow)

    interrupt(slow, verified, capsys, executor)
    found = verified()
    assert found.ok, str(found)
    assert found.samples == IMAGES


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_next(executor, slow, x, capsys, kind):
    import dask.array

    made = ImageDataGenerator(rotation_range=20, preprocessing_function=slow)
    source = x if kind == "zarr" else dask.array.from_zarr(zarr.open_array(x)) + np.uint8(0)
    batches = made.flow(source, batch_size=1000, seed=3)
    interrupt(slow, lambda: next(batches), capsys, executor)
    assert batches.total_batches_seen == 0
    np.testing.assert_array_equal(next(batches), next(made.flow(source, batch_size=1000, seed=3)))
    batches.close()
