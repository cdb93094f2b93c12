"""Graphs: what is computed where, and which of them are no more than a read."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from daskaug.sources import open_images
from tests import pictures

X = pictures.tiles(16, 50)


def inverted(array, index):
    return 255 - np.asarray(array[index])


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"getitem": inverted}, 255 - X), ({"lock": True}, X)],
    ids=["own getitem", "lock"],
)
def test_a_graph_that_does_more_than_read_zarr_is_computed_as_it_is(options, expected, tmp_path):
    array = zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    source = open_images(da.from_array(array, chunks=(7, 16, 16, 3), **options))
    assert source.locator.startswith("dask array")
    assert np.array_equal(source.read(0, 50), expected)
    assert np.array_equal(source.reader(5, 30).load(), expected[5:30])


def test_blocks_come_in_native_byte_order_on_every_way():
    source = open_images(da.from_array(X.astype(">u2"), chunks=(11, 16, 16, 3)))
    reader = source.reader(3, 20)
    for block in (
        source.read(3, 20),
        source.take(np.arange(3, 20)),
        reader.load(),
        reader.assembly()([part.compute() for part in reader.parts()]),
    ):
        assert block.dtype == np.dtype("u2")
        assert block.dtype.isnative
        assert np.array_equal(block, X[3:20])
    assert source.as_dask(source.plan(0, 50)).dtype.isnative


def read_there(x):
    """A task that reads a graph by itself."""
    return open_images(x).read(3, 25)


def test_what_was_persisted_on_a_cluster_is_read_from_there(tmp_path):
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=False,
            dashboard_address=None,
            local_directory=tmp_path,
        ) as local,
        Client(local) as client,
    ):
        graph = da.from_array(X.copy(), chunks=(10, 16, 16, 3)) + np.uint8(1)
        source = open_images(graph.persist())
        assert np.array_equal(source.read(3, 25), X[3:25] + 1)
        assert np.array_equal(source.take(np.array([40, 2])), X[[40, 2]] + 1)
        # The only thread of the cluster is taken by the task itself: waiting for another would be for ever.
        waiting = client.submit(read_there, client.scatter([graph])[0])
        assert np.array_equal(waiting.result(timeout=60), X[3:25] + 1)
