"""A store behind S3, with a server that checks credentials, and a way to it that is slow and fails."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import SourceError
from daskaug.sources import Source, open_images, with_cache
from tests import pictures
from tests.stores.proxies import FAILURES, proxy
from tests.stores.servers import S3, free_ports

pytestmark = pytest.mark.s3

X = pictures.tiles(32, 200)


@pytest.fixture(scope="module")
def store(s3: S3) -> Iterator[S3]:
    """The server, behind a proxy, with the images as ``x.zarr``."""
    with proxy(s3.url) as way:
        server = s3.behind(way)
        options = {"storage_options": server.storage_options}
        zarr.create_array(server.address("x.zarr"), data=X, chunks=(16, 32, 32, 3), **options)
        yield server


def opened(store: S3, way: str) -> Source:
    if way == "s3fs":
        return open_images(store.address("x.zarr"), storage_options=store.storage_options)
    return open_images(zarr.open_array(store.object_store("x.zarr"), mode="r"))


def hash_of_an_epoch(source: Source, epochs: int = 1) -> str:
    generator = ImageDataGenerator(rotation_range=30, horizontal_flip=True, rescale=1 / 255)
    batches = generator.flow(source, np.arange(200), batch_size=16, seed=7, shuffle_unit=32, shuffle_mix=2)
    digest = hashlib.sha256()
    for epoch in batches.epochs(epochs):
        for images, labels in epoch:
            digest.update(images.tobytes() + labels.tobytes())
    batches.close()
    return digest.hexdigest()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("local") / "x.zarr"
    zarr.create_array(folder, data=X, chunks=(16, 32, 32, 3))
    return hash_of_an_epoch(open_images(folder), 2)


@pytest.mark.parametrize("cache", [None, "memory", "zarr"])
@pytest.mark.parametrize("way", ["s3fs", "obstore"])
def test_the_stream_is_that_of_a_local_store(way, cache, store, expected, tmp_path):
    with proxy(store.url, latency=0.01) as slow:
        place = str(tmp_path / "cache.zarr") if cache == "zarr" else cache
        assert hash_of_an_epoch(with_cache(opened(store.behind(slow), way), place), 2) == expected


@pytest.mark.parametrize("failures", [["503"], ["reset"], FAILURES])
def test_a_store_that_is_busy_or_breaks_off_now_and_then(failures, store, expected):
    with proxy(store.url, fail_every=3, failures=failures) as failing:
        assert hash_of_an_epoch(opened(store.behind(failing), "obstore"), 2) == expected
        assert failing.failed


@pytest.mark.parametrize("place", ["memory", "cache.zarr"])
def test_with_room_for_all_the_second_epoch_asks_for_nothing(place, store, tmp_path):
    source = with_cache(opened(store, "obstore"), place if place == "memory" else str(tmp_path / place))
    source.read(0, 200)
    before = store.requests
    assert np.array_equal(source.read(0, 200), X)
    assert np.array_equal(source.take(np.array([199, 0, 77])), X[[199, 0, 77]])
    assert store.requests == before


def test_many_threads_fetch_each_chunk_once(store):
    source = with_cache(opened(store, "obstore"), "memory")
    before = store.proxy.asked.copy()
    rows = np.random.RandomState(0).permutation(200)
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(source.take, np.split(rows, 25))]
    assert np.array_equal(np.concatenate(found), X[rows])
    chunks = {request: count for request, count in (store.proxy.asked - before).items() if "/c/" in request}
    assert len(chunks) == 13
    # A thread may look just before another one has kept what it has read; no more than that.
    assert sum(chunks.values()) <= 14


def test_the_source_travels_with_its_address_only(store):
    for way in ("s3fs", "obstore"):
        sent = pickle.dumps(opened(store, way).reader(16, 48))
        assert len(sent) < 3000
        assert np.array_equal(pickle.loads(sent).load(), X[16:48])


def test_the_server_refuses_wrong_credentials(store):
    wrong = dataclasses.replace(store, secret="wrong")
    with pytest.raises(Exception, match=r"Forbidden|denied"):
        opened(wrong, "s3fs")
    with pytest.raises(Exception, match="SignatureDoesNotMatch"):
        opened(wrong, "obstore")


@pytest.mark.parametrize("way", ["s3fs", "obstore"])
def test_a_written_store_survives_failures(way, s3):
    """Of the proxy: what clients write through it arrives, also when answers are lost."""
    with proxy(s3.url, fail_every=5) as failing:
        server = s3.behind(failing)
        if way == "s3fs":
            address = {"store": server.address(f"{way}.zarr"), "storage_options": server.storage_options}
        else:
            address = {"store": server.object_store(f"{way}.zarr")}
        zarr.create_array(**address, data=X, chunks=(4, 32, 32, 3))
        assert failing.failed
        failing.fail_every = 0
        assert np.array_equal(zarr.open_array(**address, mode="r")[:], X)


def test_where_it_is_and_that_it_is_far(store):
    assert opened(store, "s3fs").locator == "s3://daskaug/x.zarr"
    assert opened(store, "s3fs").is_far
    assert opened(store, "obstore").is_far


def test_a_server_that_refuses_or_is_not_there_is_one_clear_error(store):
    wrong = dataclasses.replace(store, secret="wrong")
    with pytest.raises(SourceError, match=r"'s3://daskaug/x.zarr' cannot be opened: Forbidden.*`storage_options`"):
        opened(wrong, "s3fs")
    (port,) = free_ports(1)
    nowhere = dataclasses.replace(store, url=f"http://127.0.0.1:{port}")
    options = nowhere.storage_options | {"config_kwargs": {"retries": {"max_attempts": 0}}}
    with pytest.raises(SourceError, match=r"cannot be opened: Could not connect.*`storage_options`"):
        open_images(nowhere.address("x.zarr"), storage_options=options)
