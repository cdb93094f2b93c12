"""Clusters that have no worker yet, and workers that run tasks elsewhere than in their threads."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from distributed import Client

from daskaug import ImageDataGenerator
from daskaug.execution import current_executor
from daskaug.execution.bodies import as_loaded
from daskaug.execution.on_worker import PLAIN
from daskaug.sources.base import CarryingReader
from tests import pictures
from tests.clusters import workers


@pytest.fixture
def no_workers():
    with workers(0, processes=False) as cluster, Client(cluster, timeout=600) as client:
        yield cluster, client


def test_a_task_runs_where_there_is_no_worker_around_it():
    """As in a worker's process pool."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = pool.submit(PLAIN.call, as_loaded, CarryingReader(np.arange(3), "block"), ()).result(60)
    assert found.tolist() == [0, 1, 2]


def blocks(count: int):
    """Each larger than what dask warns of."""
    return ((CarryingReader(np.full(12 * 2**20, i, np.uint8), f"block {i}"), (i,)) for i in range(count))


def test_pixels_wait_for_the_first_worker(no_workers):
    """Without a task to see, an adaptive cluster would never start one; with `timeout`, it is not waited for either."""
    cluster, client = no_workers
    executor = current_executor()
    pending = executor.submit_all(lambda block, i: int(block[-1]) - i, blocks(3), "test")
    assert len(client.futures) == 3
    cluster.scale(1)
    assert [each.result() for each in pending] == [0, 0, 0]


class Matrix:
    """A function that carries much."""

    def __init__(self, nbytes: int) -> None:
        self.zeros = np.zeros(nbytes, np.uint8)

    def __call__(self, block, i):
        return int(block.sum()) + int(self.zeros[0]) - 3 * i


def test_a_function_that_carries_much_waits_for_the_first_worker_and_is_sent_once(no_workers):
    cluster, client = no_workers
    readers = ((CarryingReader(np.full(3, i), f"block {i}"), (i,)) for i in range(6))
    matrix = Matrix(12 * 2**20)
    pending = current_executor().submit_all(matrix, readers, "test")
    assert len(client.futures) == 7  # for as long as somebody has the matrix
    cluster.scale(1)
    assert [each.result() for each in pending] == [0] * 6


def test_an_adaptive_cluster_without_workers_starts_with_images_in_memory(no_workers, caplog):
    caplog.set_level(logging.CRITICAL, "distributed")
    cluster, _ = no_workers
    x = np.tile(pictures.tiles(32, 60), (1, 6, 6, 1))
    expected = x.mean(axis=(0, 1, 2))
    adaptive = cluster.adapt(minimum=0, maximum=1, interval="100ms")
    made = ImageDataGenerator(featurewise_center=True).fit(x)
    adaptive.stop()
    assert np.allclose(made.mean.ravel(), expected, rtol=1e-5)
