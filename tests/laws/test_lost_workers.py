"""A worker that dies costs a retry, not a batch."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from tests import clusters, pictures

X, Y = pictures.tiles(32, 256), np.arange(256)
OPTIONS = {"batch_size": 8, "seed": 3, "shuffle_unit": 16, "shuffle_mix": 4}


def digest(batches) -> str:
    total = hashlib.sha256()
    for images, labels in batches:
        total.update(images.tobytes())
        total.update(labels.tobytes())
    return total.hexdigest()


def flow(store):
    return ImageDataGenerator(rotation_range=20, horizontal_flip=True).flow(store, Y, **OPTIONS)


@pytest.mark.faults
@pytest.mark.parametrize("at", [0, 5, 20])
def test_an_epoch_is_the_same_when_a_worker_is_killed(at, tmp_path, caplog):
    store = tmp_path / "x.zarr"
    zarr.create_array(store, data=X, chunks=(8, *X.shape[1:]))
    expected = digest(flow(store).one_epoch())
    caplog.set_level(logging.CRITICAL, "distributed")  # what it says of the loss is no news here

    with clusters.two_workers() as cluster, contextlib.closing(cluster.get_client()) as client:
        pids = client.run(os.getpid)

        def killing():
            for number, batch in enumerate(flow(store).one_epoch()):
                if number == at:
                    os.kill(next(iter(pids.values())), signal.SIGKILL)
                yield batch

        assert digest(killing()) == expected
