"""What only a distributed client can get wrong. The cluster is real: two worker processes."""

from __future__ import annotations

import functools
import gc
from collections.abc import Iterator

import dask.array as da
import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import UnreadableError
from daskaug.execution import current_executor
from tests import clusters, pictures

X, Y = pictures.tiles(16, 60), np.arange(60)


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    with clusters.two_workers() as local:
        yield local


@pytest.fixture
def client(cluster) -> Iterator[object]:
    from distributed import Client

    with Client(cluster) as made:
        yield made


def test_an_iterator_outlives_its_client(cluster):
    from distributed import Client

    batches = ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=8, seed=1)
    expected = [y.tolist() for _, y in ImageDataGenerator().flow(X, Y, batch_size=8, seed=1).one_epoch()]
    found = []
    with Client(cluster):
        assert current_executor().is_remote
        found.append(next(batches)[1].tolist())
    while len(found) < len(expected):
        found.append(next(batches)[1].tolist())
    assert found == expected
    del batches
    gc.collect()


def test_an_error_on_a_worker_says_where(client):
    def broken(image):
        raise ZeroDivisionError("by zero")

    made = ImageDataGenerator(preprocessing_function=broken)
    for x in (X, da.from_array(X.copy(), chunks=(20, 16, 16, 3)) + np.uint8(0)):
        with pytest.raises(ZeroDivisionError) as caught:
            next(made.flow(x, batch_size=4, shuffle=False))
        assert "4 rows of" in "".join(caught.value.__notes__)


def reads(client) -> int:
    """Tasks that have read a block, as the scheduler counts them."""

    def finished(dask_scheduler) -> int:
        prefix = dask_scheduler.task_prefixes.get("daskaug-read")
        return 0 if prefix is None else int(prefix.state_counts["memory"])

    return client.run_on_scheduler(finished)


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_chunk_is_read_by_one_worker_however_many_batches_it_is_mixed_into(client, tmp_path, ranks):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(5, 16, 16, 3))
    flow = functools.partial(ImageDataGenerator().flow, y=Y, batch_size=3, seed=1, shuffle_unit=5, shuffle_mix=12)
    before = reads(client)
    for rank in range(ranks):
        batches = flow(tmp_path / "x.zarr", shard=(rank, ranks))
        expected = [y.tolist() for _, y in flow(X, shuffle="block", shard=(rank, ranks)).one_epoch()]
        assert 1 <= batches.plan().read_in_order <= ranks
        assert [y.tolist() for _, y in batches.one_epoch()] == expected
    assert reads(client) - before == ranks * 12


def held_by(client) -> set[str]:
    """Keys that the client holds, once what it has been told to let go of is gone."""
    gc.collect()
    client.run_on_scheduler(lambda: None)  # through the same event loop
    return set(client.futures)


def test_blocks_of_two_groups_are_held_however_many_and_let_go_of(client, tmp_path):
    images = np.tile(X, (10, 1, 1, 1))
    zarr.create_array(tmp_path / "x.zarr", data=images, chunks=(2, 16, 16, 3))
    before, held = reads(client), held_by(client)
    flow = functools.partial(ImageDataGenerator().flow, tmp_path / "x.zarr", batch_size=6, seed=1)
    batches = flow(shuffle_unit=2, shuffle_mix=50)
    list(batches.one_epoch())
    assert reads(client) - before <= 300 + 2 * 50  # each once, and two groups of the epoch that comes next
    assert held_by(client) - held
    batches.close()
    assert held_by(client) <= held
    dropped = flow(shuffle_unit=2, shuffle_mix=4)
    next(dropped)
    del dropped
    assert held_by(client) <= held


def test_a_chunk_that_could_not_be_read_is_tried_again(client, tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(10, 16, 16, 3), compressors="auto")
    chunk = tmp_path / "x.zarr" / "c" / "0" / "0" / "0" / "0"
    whole = chunk.read_bytes()
    chunk.write_bytes(whole[:100])
    batches = ImageDataGenerator().flow(tmp_path / "x.zarr", Y, batch_size=30, shuffle=False)
    with pytest.raises(UnreadableError, match=r"Rows 0 to 10 of .* cannot be read") as caught:
        next(batches)
    assert "rows" in "".join(caught.value.__notes__)
    chunk.write_bytes(whole)
    assert np.array_equal(next(batches)[0], X[:30])


@pytest.mark.parametrize("transform_on", ["workers", "consumer", None])
def test_batches_are_the_same_on_whichever_side_they_are_transformed(client, tmp_path, transform_on):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(5, 16, 16, 3))
    made = ImageDataGenerator(rotation_range=30, preprocessing_function=np.negative)
    options = {"y": Y, "batch_size": 4, "seed": 1, "shuffle_unit": 10, "masks": X[..., :1]}
    with_client = made.flow(tmp_path / "x.zarr", transform_on=transform_on, **options)
    without = made.flow(X, shuffle="block", **options)
    for _ in range(8 * len(without)):
        (x, (y, masks)), (other_x, (other_y, other_masks)) = next(with_client), next(without)
        assert all(map(np.array_equal, (x, y, masks), (other_x, other_y, other_masks)))
    assert "\ntransform " in str(with_client.plan())
    timed = with_client.plan().transform_on
    assert ("by workers" in timed and "by consumer" in timed) == (transform_on is None)


def counted(block, counter):
    counter.increment().result()
    return block


class Counter:
    """An actor that counts across processes."""

    n = 0

    def increment(self):
        self.n += 1
        return self.n


def test_each_chunk_of_a_graph_is_computed_once(client, tmp_path):
    counter = client.submit(Counter, actor=True).result()
    x = da.from_array(X.copy(), chunks=(6, 16, 16, 3)).map_blocks(counted, counter=counter, meta=X[:0])
    ImageDataGenerator(featurewise_center=True).fit(x)
    assert counter.n == 10
    list(ImageDataGenerator().flow(x, batch_size=4, seed=1).one_epoch())
    assert counter.n == 20
    ImageDataGenerator().materialize(x, tmp_path / "m.zarr", epochs=2, seed=1)
    assert counter.n - 20 <= 10 + 10  # the sample that tells the source apart, and the copies


@pytest.mark.filterwarnings("error:Sending large graph")
def test_a_whitening_matrix_is_sent_once_and_not_with_every_task(client):
    made = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(pictures.tiles(16, 200))
    alone = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    alone.mean, alone.zca_whitening_matrix = made.mean, made.zca_whitening_matrix
    batches = made.flow(X, Y, batch_size=8, seed=1)
    found = {int(label): image for x, y in batches.one_epoch() for image, label in zip(x, y, strict=True)}
    expected = next(alone.flow(X, batch_size=60, shuffle=False))
    assert max(np.abs(found[i] - expected[i]).max() for i in range(60)) <= 1e-4 * np.abs(expected).max()


def test_statistics_of_a_graph_with_a_shared_part_are_right(client):
    x = da.from_array(X.astype(np.float32), chunks=(7, 16, 16, 3))
    centred = x - x.mean(axis=0)
    fitted = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True).fit(centred)
    exact = X - X.astype(np.float64).mean(axis=0)
    assert np.allclose(fitted.std.ravel(), exact.std(axis=(0, 1, 2)), rtol=1e-5)
