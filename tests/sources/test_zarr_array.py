"""What a Zarr source promises beyond the pixels: it notices changed stores, and it reads no more than it has to."""

from __future__ import annotations

import asyncio
import collections
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore, WrapperStore

from daskaug.errors import SourceError, UnreadableError
from daskaug.sources import open_images
from daskaug.sources.base import CarryingReader
from tests import pictures

X = pictures.tiles(16, 50)


class CountingStore(WrapperStore):
    """Notes what is asked for, and how much of it side by side."""

    def __init__(self, store) -> None:
        super().__init__(store)
        self.asked: list[str] = []
        self.waiting, self.alone = 0, 0

    async def get(self, key, prototype, byte_range=None):
        self.asked.append(f"{key} {byte_range}")
        is_first = not self.waiting
        self.waiting += 1
        for _ in range(10):
            await asyncio.sleep(0)  # others that are under way get their turn
        self.alone += is_first and self.waiting == 1
        found = await super().get(key, prototype, byte_range)
        self.waiting -= 1
        return found


class PartlyListed(WrapperStore):
    """As a server of plain files, which can be read and not listed."""

    listed = "^$"

    async def list_prefix(self, prefix):
        async for key in super().list_prefix(prefix):
            if re.search(self.listed, key):
                yield key


class Interrupted(WrapperStore):
    """A chunk is away when it is first read; then there is what another writer has put there."""

    content, reads = b"", 0

    async def get(self, key, prototype, byte_range=None):
        if not key.endswith("c/1/0/0/0"):
            return await super().get(key, prototype, byte_range)
        self.reads += 1
        return prototype.buffer.from_bytes(self.content) if self.reads > 1 else None


def sent(source):
    """As it arrives on a worker, which this process plays too."""
    return pickle.loads(pickle.dumps(source))


def test_a_worker_sees_the_rows_that_were_appended_since_it_read_the_store_before(tmp_path):
    path = tmp_path / "x.zarr"
    array = zarr.create_array(path, data=X[:30], chunks=(10, 16, 16, 3))
    before = sent(open_images(path))
    assert np.array_equal(before.read(0, 30), X[:30])
    array.append(X[30:])
    assert np.array_equal(sent(open_images(path)).read(20, 50), X[20:])
    assert np.array_equal(sent(before).read(0, 30), X[:30])


@pytest.mark.parametrize("changed", [{"chunks": (4, 16, 16, 3)}, {"chunks": (10, 16, 16, 3), "compressors": None}])
def test_a_worker_sees_that_a_store_was_written_anew(changed, tmp_path):
    path = tmp_path / "x.zarr"
    zarr.create_array(path, data=X, chunks=(10, 16, 16, 3))
    assert np.array_equal(sent(open_images(path)).read(0, 50), X)
    zarr.create_array(path, data=255 - X, overwrite=True, **changed)
    assert np.array_equal(sent(open_images(path)).read(0, 50), 255 - X)


def test_a_store_that_shrank_on_the_way_to_the_worker_is_an_error(tmp_path):
    path = tmp_path / "x.zarr"
    array = zarr.create_array(path, data=X, chunks=(10, 16, 16, 3))
    source = open_images(path)
    array.resize((30, 16, 16, 3))
    with pytest.raises(SourceError, match=r"\(50, 16, 16, 3\).*\(30, 16, 16, 3\).*Open it again"):
        sent(source).read(0, 10)


@pytest.mark.parametrize("kind", ["memory", "wrapped", "fsspec"])
def test_from_memory_that_no_other_process_can_open_the_block_itself_travels(kind):
    store = MemoryStore()
    address = {"memory": store, "wrapped": store, "fsspec": "memory://travels/x.zarr"}[kind]
    array = zarr.create_array(address, data=X, chunks=(7, 16, 16, 3), overwrite=True)
    source = open_images(zarr.open_array(WrapperStore(store), mode="r") if kind == "wrapped" else array)
    for reader, expected in ((source.reader(3, 12), X[3:12]), (source.rows_reader(np.array([9, 2])), X[[9, 2]])):
        assert isinstance(reader, CarryingReader)
        assert reader.carried_nbytes == expected.nbytes
        assert np.array_equal(pickle.loads(pickle.dumps(reader)).load(), expected)


@pytest.mark.parametrize("shards", [None, (12, 16, 16, 3)])
def test_rows_are_taken_with_each_chunk_read_once_and_no_other_chunk(shards):
    memory = MemoryStore()
    zarr.create_array(memory, data=X, chunks=(4, 16, 16, 3), shards=shards)
    array = zarr.open_array(CountingStore(memory), mode="r")
    source = open_images(array)
    assert source.natural_rows == (12 if shards else 4)
    array.store.asked.clear()
    rows = np.array([49, 0, 3, 2, 0, 30, 29, 1])
    assert np.array_equal(source.take(rows), X[rows])
    chunks = [asked for asked in array.store.asked if "Suffix" not in asked]  # an index lies at the end of its shard
    assert len(chunks) == len(set(chunks)) == len(set(rows // 4))
    assert all("Range" in asked for asked in chunks) == bool(shards)  # no shard is read as a whole


def test_black_images_cost_one_look_and_one_reading_more_however_many_they_are():
    images = np.maximum(X, 1)
    images[::2] = 0
    memory = MemoryStore()
    zarr.create_array(memory, data=images, chunks=(1, 16, 16, 3), config={"write_empty_chunks": True})
    array = zarr.open_array(CountingStore(memory), mode="r")
    source = open_images(array)
    source.read(0, 1)
    array.store.asked.clear()
    array.store.alone = 0
    assert np.array_equal(source.read(0, 50), images)
    asked = collections.Counter(entry.split()[0] for entry in array.store.asked)
    assert asked == {f"c/{row}/0/0/0": 1 if row % 2 else 3 for row in range(50)}
    assert array.store.alone <= 20  # left-overs, of a hundred; one after the other it is all of them


@pytest.mark.parametrize("listed", ["^$", "zarr.json", "zarr.json|c/[0-3]/"])
def test_of_a_store_that_lists_not_all_nothing_is_called_missing_and_what_goes_is_noticed(listed, caplog):
    memory = MemoryStore()
    zarr.create_array(memory, name="deep/images", data=X, chunks=(10, 16, 16, 3))
    array = zarr.open_array(PartlyListed(memory), path="deep/images", mode="r")
    array.store.listed = listed
    source = open_images(array)
    assert np.array_equal(source.read(0, 50), X)
    assert "not stored" not in caplog.text
    sync(memory.clear())
    with pytest.raises(UnreadableError, match=r"Rows 40 to 50 of .* are gone"):
        source.read(40, 50)


def test_a_store_that_lists_nothing_is_not_believed_where_some_chunks_really_are_left_out(caplog):
    images = np.maximum(X, 1)
    images[::4] = 0
    memory = MemoryStore()
    zarr.create_array(memory, data=images, chunks=(1, 16, 16, 3))
    assert np.array_equal(open_images(zarr.open_array(PartlyListed(memory), mode="r")).read(0, 50), images)
    assert "not stored" not in caplog.text


def test_a_chunk_that_was_away_for_a_moment_is_read_again_and_a_half_written_one_is_named():
    memory = MemoryStore()
    zarr.create_array(memory, data=X, chunks=(10, 16, 16, 3))
    content = sync(memory.get("c/1/0/0/0", default_buffer_prototype())).to_bytes()
    back, half = (zarr.open_array(Interrupted(memory), mode="r") for _ in range(2))
    back.store.content, half.store.content = content, content[: len(content) // 2]
    assert np.array_equal(open_images(back).read(5, 35), X[5:35])
    with pytest.raises(UnreadableError, match=r"Rows 10 to 20 of .* cannot be read, for c/1/0/0/0 is damaged"):
        open_images(half).read(5, 35)


@pytest.mark.parametrize("rows", [[50], [-1], [3, 50]])
def test_rows_that_are_not_there_cannot_be_taken(rows, tmp_path):
    source = open_images(zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3)))
    with pytest.raises(IndexError, match="rows 0 to 49"):
        source.take(np.array(rows))


def test_a_few_rows_of_a_million_chunks_cost_no_walk_over_the_chunks():
    array = zarr.create_array(MemoryStore(), shape=(10**6, 4, 4, 3), chunks=(1, 4, 4, 3), dtype="u1", fill_value=5)
    source = open_images(array)
    assert set(np.unique(source.take(np.array([999_999, 0, 500_000])))) == {5}
    assert len(source.plan(0, 10**6)) < 100


READ_ELSEWHERE = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor
import numpy as np
from daskaug.sources import open_images

if __name__ == "__main__":
    source = open_images(sys.argv[2])
    here = source.read(3, 40)  # zarr's own thread now runs here, and a fork does not have it
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(sys.argv[1])) as pool:
        assert np.array_equal(pool.submit(source.read, 3, 40).result(timeout=60), here)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes_read_however_they_were_started(method, tmp_path):
    """From a process of its own: this one may have loaded JAX, which cannot be forked."""
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    (tmp_path / "read.py").write_text(READ_ELSEWHERE)
    command = [sys.executable, str(tmp_path / "read.py"), method, str(tmp_path / "x.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("images.zarr", {"anon": True}, r"`storage_options` is for URLs.*'images.zarr'"),
        ("nosuchprotocol://bucket/x.zarr", None, r"nosuchprotocol.*Protocol not known"),
        ("memory://nothing/here.zarr", None, r"no Zarr array at 'memory://nothing/here.zarr'"),
    ],
)
def test_addresses_that_cannot_be_opened_say_why(path, options, message):
    with pytest.raises(SourceError, match=message):
        open_images(path, storage_options=options)


def test_a_url_takes_the_options_of_its_file_system(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    source = open_images(f"file://{tmp_path}/x.zarr", storage_options={"auto_mkdir": False})
    assert np.array_equal(sent(source).read(0, 50), X)
    assert len(pickle.dumps(source.reader(0, 7))) < 2000
