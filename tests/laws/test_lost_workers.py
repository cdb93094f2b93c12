"""A worker that dies costs a retry, not a batch."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, seeding
from tests import clusters, pictures
from tests.digests import digest

X, Y = pictures.tiles(32, 256), np.arange(256)
OPTIONS = {"batch_size": 8, "seed": 3, "shuffle_unit": 16, "shuffle_mix": 4}


def flow(store):
    return ImageDataGenerator(rotation_range=20, horizontal_flip=True).flow(store, Y, **OPTIONS)


@pytest.fixture
def store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(8, *X.shape[1:]))
    return tmp_path / "x.zarr"


@pytest.mark.faults
@pytest.mark.parametrize("at", [(0,), (5,), (20,), (4, 18)], ids=lambda at: "+".join(map(str, at)))
def test_an_epoch_is_the_same_when_workers_are_killed(at, store, caplog):
    """One of two, or one after the other; their nannies start new ones."""
    expected = digest(flow(store).one_epoch())
    caplog.set_level(logging.CRITICAL, "distributed")  # what it says of the loss is no news here

    with clusters.two_workers() as cluster, contextlib.closing(cluster.get_client()) as client:
        victims = dict(zip(at, client.run(os.getpid).values(), strict=False))

        def killing():
            for number, batch in enumerate(flow(store).one_epoch()):
                if number in victims:
                    os.kill(victims[number], signal.SIGKILL)
                yield batch

        assert digest(killing()) == expected


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["in memory", "transformed here"])
def test_pixels_that_were_sent_to_a_dead_worker_are_sent_again(kind, store, caplog):
    """Batches of an array in memory travel to one worker each."""
    made = ImageDataGenerator(rotation_range=20, horizontal_flip=True)
    x = np.repeat(np.repeat(X, 3, axis=1), 3, axis=2) if kind == "in memory" else store
    options = OPTIONS | {"batch_size": 64} if kind == "in memory" else OPTIONS | {"transform_on": "consumer"}
    expected = digest(made.flow(x, Y, **options).one_epoch())
    caplog.set_level(logging.CRITICAL, "distributed")
    with clusters.two_workers() as cluster, contextlib.closing(cluster.get_client()) as client:
        victim = next(iter(client.run(os.getpid).values()))

        def killing():
            for number, batch in enumerate(made.flow(x, Y, **options).one_epoch()):
                if number == 1:
                    os.kill(victim, signal.SIGKILL)
                yield batch

        assert digest(killing()) == expected


@pytest.mark.faults
def test_four_threads_that_ask_by_number_get_their_batches_when_a_worker_is_killed(store, caplog):
    expected = digest(flow(store).one_epoch())
    caplog.set_level(logging.CRITICAL, "distributed")

    with clusters.two_workers() as cluster, contextlib.closing(cluster.get_client()) as client:
        victim = next(iter(client.run(os.getpid).values()))
        batches = flow(store)
        numbers = seeding.permutation(1, 0, len(batches)).tolist()

        def fetch(number):
            if number == numbers[7]:
                os.kill(victim, signal.SIGKILL)
            return batches[number]

        with ThreadPoolExecutor(4) as threads:
            found = dict(zip(numbers, threads.map(fetch, numbers), strict=True))
    assert digest(found[number] for number in range(len(found))) == expected
