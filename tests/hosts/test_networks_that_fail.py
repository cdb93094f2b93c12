"""Scheduler, two workers and client on four hosts: whatever happens to the network, the bits are those of threads."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client

from daskaug import ImageDataGenerator
from tests import pictures
from tests.cluster.recipes import until
from tests.digests import digest
from tests.faults.runs import ROWS, WAIT_SECONDS, Run, goes_on, is_whole, refused, undisturbed
from tests.hosts.cluster import Cluster, cluster
from tests.hosts.network import Network, join

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(300)]

LATENCY, LOSS = 0.02, 0.01
MOMENT = 6
"""Shards, of 30, after which something happens."""

OUTAGE = 10
"""Seconds."""

X, Y = pictures.tiles(32, 256), np.arange(256)

QUICK = {
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "10s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
}
"""Almost as impatient as dask can be, for the tests' sake."""


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    return undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.zarr"
    zarr.create_array(path, data=X, chunks=(8, *X.shape[1:]))
    return path


@pytest.fixture(scope="module")
def impatient(net, tmp_path_factory) -> Iterator[Cluster]:
    """Gives up hosts as soon as it can. One worker has a nanny, as usual, and one has none, as in many batch jobs."""
    workers = [net["one"], net["two"]]
    with cluster(net["scheduler"], workers, tmp_path_factory.mktemp("logs"), nannies=["one"], **QUICK) as made:
        yield made


@pytest.fixture
def patient(net, tmp_path) -> Iterator[Cluster]:
    """With dask's own settings, which have more patience than :data:`OUTAGE` takes."""
    folder = tmp_path / "logs"
    folder.mkdir()
    with cluster(net["scheduler"], [net["one"], net["two"]], folder) as made:
        yield made


@pytest.fixture(autouse=True)
def _latency_and_loss(net, caplog) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "distributed")  # what it says of losses is no news here
    net.shape(delay=LATENCY, loss=LOSS)
    yield
    for name in net.hosts:
        net.mend(name)


@contextlib.contextmanager
def client_of(made: Cluster, net: Network) -> Iterator[Client]:
    """On its own host, with two workers."""
    with net["client"].inside(), Client(made.address, timeout=WAIT_SECONDS) as client:
        client.wait_for_workers(2, timeout=WAIT_SECONDS)
        yield client


def worker_on(name: str, client: Client, net: Network) -> str:
    """Address of the worker on a host."""
    return next(address for address in client.nthreads() if f"//{net[name].address}:" in address)


def until_given_up(worker: str, client: Client) -> None:
    until(lambda: worker not in client.nthreads(), f"the scheduler still believes in {worker}, which was cut off")


def on_its_host(made: Cluster, net: Network, store: Path) -> Run:
    """A run on the client's host, in a process of its own."""
    return Run(store, made.address, first=functools.partial(join, net["client"].namespace))


def fitted(source: Path) -> tuple[str, bytes, bytes]:
    found = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(source)
    assert found.statistics is not None
    return found.statistics.digest, found.mean.tobytes(), found.std.tobytes()


def epoch(source: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    # Of order 2 every batch is a task of its own; as uint8 they are small enough for such a network.
    made = ImageDataGenerator(rotation_range=20, horizontal_flip=True, interpolation_order=2, dtype="uint8")
    return made.flow(source, Y, batch_size=8, seed=3, shuffle_unit=16, shuffle_mix=4).one_epoch()


def test_latency_and_loss_change_no_bit(impatient, net, source, expected, tmp_path):
    on_threads = fitted(source), digest(epoch(source))
    before = net.traffic()
    with client_of(impatient, net), on_its_host(impatient, net, tmp_path / "m.zarr") as run:
        assert (fitted(source), digest(epoch(source))) == on_threads
        what, report = run.finish()
    assert what == "made", report
    assert (report.rows_written, report.store_hash) == (ROWS, expected)
    is_whole(tmp_path / "m.zarr", expected)
    lost = net.traffic().since(before).lost
    assert sum(lost.values()) > 0


def test_a_worker_is_cut_off_from_a_store(impatient, net, expected, tmp_path):
    """It stays cut, and writes on into the same files for a while, with nobody to tell."""
    store = tmp_path / "m.zarr"
    with client_of(impatient, net) as client, on_its_host(impatient, net, store) as run:
        worker = worker_on("one", client, net)
        run.until(MOMENT)
        net.cut("one")
        refused(store)
        what, report = run.finish()
        assert what == "made", report
        assert (report.rows_written, report.store_hash) == (ROWS, expected)
        until_given_up(worker, client)
    is_whole(store, expected)


def test_a_worker_is_cut_off_from_an_epoch(impatient, net, source):
    on_threads = digest(epoch(source))

    def cutting() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, batch in enumerate(epoch(source)):
            if number == 5:
                net.cut("two")
            yield batch

    with client_of(impatient, net) as client:
        worker = worker_on("two", client, net)
        assert digest(cutting()) == on_threads
        until_given_up(worker, client)


def test_a_worker_is_killed(impatient, net, expected, tmp_path):
    store = tmp_path / "m.zarr"
    with client_of(impatient, net) as client:
        victim = client.run(os.getpid)[worker_on("one", client, net)]
        with on_its_host(impatient, net, store) as run:
            run.until(MOMENT)
            os.kill(victim, signal.SIGKILL)
            refused(store)
            what, report = run.finish()
    assert what == "made", report
    assert (report.rows_written, report.store_hash) == (ROWS, expected)
    is_whole(store, expected)


def test_the_link_of_the_scheduler_is_down_for_ten_seconds(patient, net, source, expected, tmp_path):
    """Nobody gives anybody up, and both go on where they were."""
    store = tmp_path / "m.zarr"
    on_threads = digest(epoch(source))
    run_of_client = on_its_host(patient, net, store)

    def cutting() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for number, batch in enumerate(epoch(source)):
            if number == 3:
                run_of_client.until(MOMENT)
                net.cut("scheduler")
                refused(store)
                time.sleep(OUTAGE)
                net.mend("scheduler")
            yield batch

    with run_of_client as run, client_of(patient, net) as client:
        workers = set(client.nthreads())
        assert digest(cutting()) == on_threads
        what, report = run.finish()
        assert set(client.nthreads()) == workers
    assert what == "made", report
    assert (report.rows_written, report.store_hash) == (ROWS, expected)
    is_whole(store, expected)


def test_the_link_of_the_scheduler_is_down_for_longer_than_anybody_waits(impatient, net, expected, tmp_path):
    """The client says how to go on, as soon as it knows; and so it does, with workers that were started anew."""
    store = tmp_path / "m.zarr"
    with client_of(impatient, net):
        pass
    with on_its_host(impatient, net, store) as run:
        run.until(MOMENT)
        net.cut("scheduler")
        refused(store)
        what, told = run.finish()
    assert what == "StoreError", told
    assert "lost the tasks" in told
    assert "same call" in told
    net.mend("scheduler")
    with client_of(impatient, net):
        goes_on(store, expected)
