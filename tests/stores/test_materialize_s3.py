"""Materialising to S3: the same store as on a disk, whatever the way to the server does."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import Client

from daskaug import open_materialized
from daskaug.errors import IncompleteStoreError, StoreError
from daskaug.materialize import verify
from daskaug.sources import Source, open_images
from tests import clusters
from tests.faults import runs
from tests.faults.runs import images, labels
from tests.stores.proxies import FAILURES, proxy
from tests.stores.servers import S3

pytestmark = pytest.mark.s3

WAYS = ["s3fs", "obstore"]
ROWS, SHARD_ROWS, SHARDS = runs.N, 13, 8
"""Of the stores here: few shards, of which each takes some thirty requests."""


def make(store: Any, x: Any = None, **options: Any) -> Any:
    """Materialise; the same call every time, but for what is given."""
    return runs.make(store, x, epochs=1, chunk_rows=SHARD_ROWS, shard_rows=SHARD_ROWS, **options)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> str:
    """The hash of a store on the disk."""
    return str(make(tmp_path_factory.mktemp("undisturbed") / "m.zarr").store_hash)


@pytest.fixture(scope="module")
def server(s3: S3) -> S3:
    """With the images as ``made-of.zarr``, in other chunks than the shards of the store."""
    options = {"storage_options": s3.storage_options}
    zarr.create_array(s3.address("made-of.zarr"), data=images(), chunks=(16, 48, 48, 3), **options)
    return s3


@pytest.fixture
def name() -> str:
    """Of a store that no other test has."""
    return f"{uuid.uuid4().hex}.zarr"


def at(server: S3, way: str, name: str) -> dict[str, Any]:
    """Arguments that say where a store is."""
    if way == "s3fs":
        return {"store": server.address(name), "storage_options": server.storage_options}
    return {"store": server.object_store(name)}


def source(server: S3, way: str) -> Source:
    if way == "s3fs":
        return open_images(server.address("made-of.zarr"), storage_options=server.storage_options)
    return open_images(zarr.open_array(server.object_store("made-of.zarr"), mode="r"))


def keys(server: S3, name: str) -> set[str]:
    """Every object below a name, as the server lists them, without daskaug."""
    import obstore

    listing = obstore.list(server.object_store(name).store)
    return {found["path"] for page in listing for found in page}


def is_whole(server: S3, way: str, name: str, expected: str) -> None:
    """Nothing is missing or wrong, and there is nothing to do."""
    found = verify(**at(server, way, name), full=True, source=images())
    assert found.ok, str(found)
    assert (found.store_hash, found.shards_read, found.samples) == (expected, SHARDS, ROWS)
    assert make(**at(server, way, name)).rows_written == 0
    assert np.array_equal(open_materialized(**at(server, way, name)).labels, labels())
    for array in ("images", "y", "source_hash", "shard_digest"):
        assert sum(key.startswith(f"{array}/c/") for key in keys(server, name)) == SHARDS


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_store_that_a_disk_holds_and_is_mended_alike(way, server, name, expected):
    def progress(done: int, total: int) -> None:
        if done == SHARD_ROWS:
            with pytest.raises(IncompleteStoreError):
                open_materialized(**at(server, way, name))

    report = make(**at(server, way, name), progress=progress)
    assert (report.rows_written, report.store_hash) == (ROWS, expected)
    is_whole(server, way, name, expected)

    import obstore

    bucket = server.object_store(name).store
    truncated = bytes(obstore.get(bucket, "images/c/4/0/0/0").bytes())[:-1]
    obstore.put(bucket, "images/c/4/0/0/0", truncated)
    obstore.delete(bucket, "images/c/6/0/0/0")
    obstore.delete(bucket, "shard_digest/c/1/0")
    found = verify(**at(server, way, name), sample=0)
    assert {(finding.kind, finding.where) for finding in found.findings} == {
        ("size", "shard 4 of images"), ("missing", "shard 6 of images"), ("commit record", "shard 1")
    }  # fmt: skip
    other_way = WAYS[1 - WAYS.index(way)]
    report = make(**at(server, other_way, name))
    assert (report.rows_written, report.store_hash) == (3 * SHARD_ROWS, expected)
    is_whole(server, way, name, expected)


@contextlib.contextmanager
def running_on(where: str) -> Iterator[None]:
    if where == "threads":
        yield
        return
    with clusters.two_workers() as cluster, Client(cluster):
        yield


@pytest.mark.parametrize("where", ["threads", "workers"])
@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_fails_one_request_in_twenty(way, where, server, name, expected):
    """Busy, broken off, or done with the answer lost; both the source and the store lie behind it."""
    with proxy(server.url, fail_every=20, failures=FAILURES) as failing, running_on(where):
        behind = server.behind(failing)
        report = make(**at(behind, way, name), x=source(behind, way))
        assert (report.rows_written, report.store_hash) == (ROWS, expected)
        assert failing.failed > failing.requests / 100  # which ones do hangs on the name of the store
    is_whole(server, way, name, expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("wrong", [{"secret": "wrong-secret"}, {"key": "nobody"}], ids=["secret", "key"])
def test_wrong_credentials_are_one_clear_error(way, wrong, server, name):
    worked = []
    with proxy(server.url) as way_there:
        other = dataclasses.replace(server, **wrong).behind(way_there)
        with pytest.raises(StoreError, match=r"may not be accessed .*storage_options=") as caught:
            make(**at(other, way, name), progress=lambda done, total: worked.append(done))
        assert way_there.requests <= 3  # nobody is asked again and again
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("wrong-secret", server.secret))
    assert not worked
    assert not keys(server, name)
