"""A scheduler that goes away is told as such; what was sent to a worker that dies is sent again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from distributed import Client

from daskaug import ImageDataGenerator
from daskaug.errors import LostClusterError
from daskaug.execution import current_executor
from tests import clusters, pictures


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "distributed")  # what it says of the loss is no news here


def test_a_scheduler_that_is_gone():
    """What is known already counts on; what is not is an error of ours, whatever distributed says."""
    with clusters.workers(1, processes=False) as cluster, Client(cluster.scheduler_address, timeout=1):
        known, unknown = current_executor(), current_executor()
        assert known.parallelism == 1
        cluster.close()
        assert known.parallelism == 1
        for ask in ("threads_per_process", "memory_limit", "description"):
            with pytest.raises(LostClusterError, match=r"(?s)does not answer.*new distributed\.Client"):
                getattr(unknown, ask)


def test_a_client_that_connects_anew_is_waited_for():
    """Work that is given to a cluster does not begin in this process instead."""
    with clusters.workers(1, processes=False) as cluster, Client(cluster.scheduler_address) as client:
        assert current_executor().is_remote
        client.status = "connecting"
        connected = threading.Timer(0.3, setattr, (client, "status", "running"))
        connected.start()
        try:
            assert current_executor().is_remote
        finally:
            connected.join()


@pytest.mark.faults
@pytest.mark.parametrize("job", ["fit", "materialize"])
def test_pixels_that_were_sent_to_a_worker_that_dies(job, tmp_path):
    """Blocks of the client's memory, each large enough to travel by itself."""
    x = np.tile(pictures.tiles(32, 200), (2, 6, 6, 1))
    assert 16 * x[0].nbytes > 2**20
    victims: list[int] = []

    def progress(done: int, total: int) -> None:
        if victims and done >= total // 4:
            os.kill(victims.pop(), signal.SIGKILL)

    def run(name: str) -> str:
        made = ImageDataGenerator(featurewise_center=True, rotation_range=20)
        if job == "fit":
            return made.fit(x, memory_budget=6_000_000, progress=progress).statistics.digest
        made.mean = [100, 90, 80]
        return made.materialize(x, tmp_path / name, seed=1, chunk_rows=16, shard_rows=16, progress=progress).store_hash

    on_threads = run("threads")
    with clusters.two_workers() as cluster, Client(cluster) as client:
        victims.append(min(client.run(os.getpid).values()))
        assert run("workers") == on_threads
    assert not victims


NEVER_CONNECTED = """
import distributed, numpy
from daskaug import ImageDataGenerator

try:
    distributed.Client("tls://127.0.0.1:1")  # without certificates
except TypeError as error:
    kept = error  # as a notebook keeps it, and with it the client
assert distributed.Client.current().status == "connecting"
print(ImageDataGenerator(featurewise_center=True).fit(numpy.ones((4, 8, 8, 3), "uint8")).mean.ravel())
"""


def test_a_client_that_never_connected_is_not_waited_for():
    done = subprocess.run([sys.executable, "-c", NEVER_CONNECTED], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[1. 1. 1.]\n", done.stdout + done.stderr
