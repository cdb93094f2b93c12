"""What an interrupted or damaged store needs: the same call again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import open_materialized
from daskaug.errors import IncompleteStoreError, StoreError
from daskaug.materialize import Job
from daskaug.materialize.layout import MANIFEST
from daskaug.statistics import Content
from tests.materialize.stores import X, Y, files_of, make

OBJECTS = ("images", "y", "sample_id", "source_row", "epoch", "source_hash", "shard_nbytes", "shard_digest")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "m.zarr"
    return folder, make(folder)


@pytest.fixture
def store(whole, tmp_path):
    """A finished store, to be damaged."""
    return shutil.copytree(whole[0], tmp_path / "m.zarr")


def object_of(store: Path, name: str, shard: int) -> Path:
    place = store / name / "c" / str(shard)
    while place.is_dir():
        (place,) = place.iterdir()
    return place


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@settings(max_examples=25)
@given(
    damages=st.dictionaries(
        st.tuples(st.sampled_from(OBJECTS), st.integers(0, 8)), st.sampled_from([delete, truncate, empty]), min_size=1
    )
)
def test_damaged_shards_and_no_others_are_made_again(whole, tmp_path_factory, damages):
    store = shutil.copytree(whole[0], tmp_path_factory.mktemp("damaged") / "m.zarr")
    for (name, shard), damage in damages.items():
        damage(object_of(store, name, shard))
    shards = {shard for _, shard in damages}
    report = make(store)
    assert report.rows_written == sum(min(9, 80 - 9 * shard) for shard in shards)
    assert report.store_hash == whole[1].store_hash
    assert files_of(store) == files_of(whole[0])
    assert make(store).rows_written == 0


def test_a_damaged_store_is_not_complete_while_it_is_mended(store):
    truncate(object_of(store, "images", 3))
    truncate(object_of(store, "images", 7))

    class Stop(Exception):
        pass

    def stop(done, total):
        with pytest.raises(IncompleteStoreError):
            open_materialized(store)
        raise Stop

    with pytest.raises(Stop):
        make(store, progress=stop)
    with pytest.raises(IncompleteStoreError, match="is not complete"):
        open_materialized(store)
    make(store)
    open_materialized(store)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["images", "y", "source_hash"])
def test_recheck_finds_damage_that_sizes_do_not_show(store, whole, name):
    flip(object_of(store, name, 4))
    assert make(store).rows_written == 0
    report = make(store, recheck=True)
    assert (report.rows_written, report.store_hash) == (9, whole[1].store_hash)
    assert files_of(store) == files_of(whole[0])


def test_hidden_damage_is_not_called_complete(store, whole):
    flip(object_of(store, "epoch", 4))
    delete(object_of(store, "images", 2))
    with pytest.raises(StoreError, match="recheck=True"):
        make(store)
    with pytest.raises(IncompleteStoreError):
        open_materialized(store)
    assert make(store, recheck=True).rows_written == 9
    assert files_of(store) == files_of(whole[0])


def test_recheck_finds_other_pixels_with_good_checksums(store, whole):
    images = zarr.open_array(store / "images", mode="r+")
    images[30] = 255 - images[30]
    assert make(store, recheck=True).rows_written == 9
    assert files_of(store) == files_of(whole[0])


def test_a_recheck_that_is_broken_off_does_not_forget_what_it_found(store, whole):
    flip(object_of(store, "images", 2))
    flip(object_of(store, "images", 6))

    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        make(store, recheck=True, progress=stop)
    assert make(store).store_hash == whole[1].store_hash
    assert files_of(store) == files_of(whole[0])


def test_a_finished_store_is_not_written_to(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    make(store)
    make(store, recheck=True)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@pytest.mark.parametrize("kind", ["moved", "rechunked", "dask", "memory"])
def test_a_moved_or_rechunked_source_goes_on(store, tmp_path, kind):
    delete(object_of(store, "images", 1))
    zarr.create_array(tmp_path / "moved.zarr", data=X, chunks=(7, 8, 16, 3))
    sources = {
        "moved": tmp_path / "moved.zarr",
        "rechunked": zarr.open_array(tmp_path / "moved.zarr"),
        "dask": da.from_array(X.copy(), chunks=(11, 16, 8, 3)) + np.uint8(0),
        "memory": X.copy(),
    }
    assert make(store, sources[kind]).rows_written == 9


def test_images_that_differ_where_the_sample_does_not_look_are_refused(store):
    """Rows 0, 5, 11, ... are in the contract. Row 8, the end of the first shard, is not."""
    other = X.copy()
    other[8] = 255 - other[8]
    before = files_of(store)
    with pytest.raises(StoreError, match=r"made of other images.*row 8 of .*whose hash was [0-9a-f]{32} and is"):
        make(store, other)
    assert files_of(store) == before


def test_the_manifest_has_the_content_of_the_source(whole):
    group = zarr.open_group(whole[0], mode="r")
    assert group.attrs[MANIFEST]["source"]["content"] == Content.partial(X, 0).digest
    assert group.attrs[MANIFEST]["source"]["rows_hashed"] == 40


def test_objects_that_vanish_during_the_run_are_noticed_at_its_end(tmp_path):
    def remove(done, total):
        if done == total:
            delete(object_of(tmp_path / "m.zarr", "images", 0))

    with pytest.raises(StoreError, match=r"1 of 9 shards .* not there any more"):
        make(tmp_path / "m.zarr", progress=remove)
    with pytest.raises(IncompleteStoreError):
        open_materialized(tmp_path / "m.zarr")
    assert make(tmp_path / "m.zarr").rows_written == 9


def test_columns_that_do_not_count_up_are_refused(tmp_path, monkeypatch):
    """A fault of ours: a row is entered under another epoch."""
    inputs = Job.inputs

    def wrong(self, numbers):
        for reader, arguments in inputs(self, numbers):
            if arguments[0] == 8:
                arguments[2]["epoch"][-1] = 0
            yield reader, arguments

    monkeypatch.setattr(Job, "inputs", wrong)
    with pytest.raises(StoreError, match=r"40 images of each epoch, and has \[41, 39\]"):
        make(tmp_path / "m.zarr")
    with pytest.raises(IncompleteStoreError):
        open_materialized(tmp_path / "m.zarr")


KILLED = """
import os, signal, sys
from tests.materialize.stores import FaultyStore, make
writes = 0
def fault(key):
    global writes
    writes += 1
    if writes == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
from pathlib import Path
make(FaultyStore.at(Path(sys.argv[1]), fault))
"""


@pytest.mark.faults
@pytest.mark.parametrize("writes", [1, 2, 7, 13, 26, 41, 60, 80])
def test_after_kill_9_the_same_call_finishes(tmp_path, whole, writes):
    """The process dies in front of its n-th write: while laying out, between the arrays of a shard, or between two."""
    path = tmp_path / "m.zarr"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), str(writes)], timeout=120, env=os.environ | {"PYTHONPATH": "."}
    )
    assert done.returncode == -signal.SIGKILL
    if writes > 2:
        with pytest.raises(IncompleteStoreError):
            open_materialized(path)
    report = make(path)
    assert report.store_hash == whole[1].store_hash
    kept = {name: content for name, content in files_of(path).items() if not name.endswith(".partial")}
    assert kept == files_of(whole[0])


def test_an_interruption_says_how_to_go_on(tmp_path, whole):
    def interrupt(done, total):
        if done >= 27:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        make(tmp_path / "m.zarr", progress=interrupt)
    assert any("27 of 80 images are there" in note for note in caught.value.__notes__)
    assert make(tmp_path / "m.zarr").store_hash == whole[1].store_hash


def test_a_store_of_format_1_is_not_continued(store):
    group = zarr.open_group(store, mode="r+")
    group.attrs[MANIFEST] = dict(group.attrs[MANIFEST]) | {"format": 1}
    with pytest.raises(StoreError, match="has the format 1"):
        make(store)
    assert np.array_equal(open_materialized(store).labels, Y)
