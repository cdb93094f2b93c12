"""What is left when a worker, the client or the scheduler is killed is finished by the same call, to the same store."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from distributed import Client

from tests import clusters
from tests.faults.runs import ROWS, SHARDS, WAIT_SECONDS, Run, goes_on, is_whole, moments, refused, undisturbed

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

WORKER, CLIENT, SCHEDULER = range(3)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_the_moments_are_spread():
    assert sorted({len(set(moments(kind))) for kind in (WORKER, CLIENT, SCHEDULER)}) == [10]
    assert all(1 <= moment <= SHARDS for kind in (WORKER, CLIENT, SCHEDULER) for moment in moments(kind))


def test_a_worker_is_killed(expected, tmp_path):
    """The other one goes on, as does a new one that its nanny starts; the run does not fail."""
    # A cluster gives up a nanny whose worker has been away this long, or is away once more just then.
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1h"}),
        clusters.two_workers() as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for number, moment in enumerate(moments(WORKER)):
            store = tmp_path / f"{moment}.zarr"
            client.wait_for_workers(2, timeout=WAIT_SECONDS)
            victim = sorted(client.run(os.getpid).values())[number % 2]
            with Run(store, cluster.scheduler_address) as run:
                run.until(moment)
                os.kill(victim, signal.SIGKILL)
                refused(store)
                what, report = run.finish()
                assert what == "made", report
                assert (report.rows_written, report.store_hash) == (ROWS, expected)
            is_whole(store, expected)


def test_the_client_is_killed(expected, tmp_path):
    """On threads of its own, or with workers that go on for a while; what finishes the store is the other one."""
    with clusters.two_workers() as cluster:
        for number, moment in enumerate(moments(CLIENT)):
            store = tmp_path / f"{moment}.zarr"
            on_cluster = number % 2 == 0
            with Run(store, cluster.scheduler_address if on_cluster else None) as run:
                run.until(moment)
                run.kill()
            with contextlib.nullcontext() if on_cluster else Client(cluster):
                goes_on(store, expected)


@contextlib.contextmanager
def scheduler_and_workers(folder: Path) -> Iterator[tuple[clusters.Forked, str]]:
    """A scheduler and two workers, by their commands; and the file with the scheduler's address."""
    folder.mkdir()
    file = str(folder / "scheduler.json")
    common = ["--scheduler-file", file, "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0", "--no-dashboard"]
    worker = ["worker", "--nthreads", "1", "--no-nanny", "--local-directory", str(folder), *common]
    with contextlib.ExitStack() as stack:
        begun = []
        for command in (["scheduler", "--port", "0", *common], worker, worker):  # workers wait for the file
            process = clusters.Forked(command, folder)
            begun.append(process)
            stack.callback(process.wait, WAIT_SECONDS)
            stack.callback(process.kill)
        yield begun[0], file


def test_the_scheduler_is_killed(expected, tmp_path):
    """Its client says what happened and how to go on, unless it needs no scheduler any more; threads finish."""
    broken_off = 0
    for moment in moments(SCHEDULER):
        store = tmp_path / f"{moment}.zarr"
        with scheduler_and_workers(tmp_path / f"{moment}-logs") as (scheduler, file), Run(store, file) as run:
            run.until(moment)
            scheduler.kill()
            refused(store)
            what, told = run.finish()
        if what == "made":
            assert told.store_hash == expected
            is_whole(store, expected)
            continue
        broken_off += 1
        assert what == "StoreError", told
        assert "lost the tasks" in told or "does not answer" in told
        assert "same call" in told
        goes_on(store, expected)
    assert broken_off >= 7
