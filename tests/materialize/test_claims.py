"""What lies in a place and is no part of the store stays; what is part of it is what it was made of."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import NotFittedError, StoreError
from daskaug.materialize.layout import MANIFEST
from tests.materialize.stores import X, Y, files_of, generator, make


@pytest.mark.parametrize("name", ["images", "y", "anything.txt"])
def test_somebody_elses_folder_is_left_alone(tmp_path, name):
    (tmp_path / "user" / "images").mkdir(parents=True)
    (tmp_path / "user" / "images" / "a.png").write_bytes(b"a picture")
    (tmp_path / "user" / name / "b").parent.mkdir(exist_ok=True)
    (tmp_path / "user" / name / "b").write_bytes(b"more")
    before = files_of(tmp_path)
    with pytest.raises(StoreError, match=r"holds .*Choose another place"):
        make(tmp_path / "user")
    assert files_of(tmp_path) == before


def test_somebody_elses_objects_are_left_alone():
    store = MemoryStore()
    zarr.create_array(store, name="user/images", data=X)
    with pytest.raises(StoreError, match="Choose another place"):
        make(store)


def test_an_empty_folder_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    make(tmp_path / "empty")
    assert open_materialized(tmp_path / "empty").n == 40


def test_a_store_without_its_manifest_is_not_begun_again(tmp_path):
    make(tmp_path / "m.zarr")
    (tmp_path / "m.zarr" / "zarr.json").unlink()
    before = files_of(tmp_path)
    with pytest.raises(StoreError, match=r"zarr\.json is lost"):
        make(tmp_path / "m.zarr")
    assert files_of(tmp_path) == before


def test_a_task_that_comes_late_does_not_write_into_another_store(tmp_path):
    """The client was killed, the store removed, and another one begun in its place."""
    from daskaug.materialize.layout import contract_digest
    from daskaug.materialize.place import Place

    place = Place.of(tmp_path / "m.zarr")
    make(tmp_path / "m.zarr")
    old = zarr.open_group(tmp_path / "m.zarr", mode="r").attrs[MANIFEST]["contract"]
    job = generator()._job(X, y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9)
    late = dataclasses.replace(job.task(place), contract=contract_digest(old))
    ((reader, arguments),) = job.inputs(np.array([0]))
    shutil.rmtree(tmp_path / "m.zarr")
    make(tmp_path / "m.zarr", seed=6)
    before = files_of(tmp_path)
    with pytest.raises(StoreError, match="another one has taken its place"):
        late(reader.load(), *arguments)
    assert files_of(tmp_path) == before


def test_lost_statistics_are_noticed_and_written_anew(tmp_path):
    report = make(tmp_path / "m.zarr")
    expected = next(open_materialized(tmp_path / "m.zarr").flow(8, seed=1))[0]
    shutil.rmtree(tmp_path / "m.zarr" / "statistics" / "mean" / "c", ignore_errors=True)
    with pytest.raises(StoreError, match="statistics"):
        open_materialized(tmp_path / "m.zarr").flow(8, seed=1)
    assert make(tmp_path / "m.zarr").store_hash == report.store_hash
    assert np.array_equal(next(open_materialized(tmp_path / "m.zarr").flow(8, seed=1))[0], expected)


def test_a_lost_shard_is_an_error_and_not_black_images(tmp_path):
    make(tmp_path / "m.zarr")
    (tmp_path / "m.zarr" / "images/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match=r"lost 1 of its .* objects, the first is shard 1 of 'images'"):
        open_materialized(tmp_path / "m.zarr")
    shutil.rmtree(tmp_path / "m.zarr" / "y")
    with pytest.raises(StoreError, match="'y'"):
        open_materialized(tmp_path / "m.zarr", allow_incomplete=True)


def test_a_shard_is_not_made_again_from_other_images(tmp_path):
    """Of a source of which the few rows that are looked at are the same."""
    x = X.copy()
    report = make(tmp_path / "m.zarr", x)
    (tmp_path / "m.zarr" / "images/c/0/0/0/0").unlink()
    x[4] = 255 - x[4]
    with pytest.raises(StoreError, match="others than before"):
        make(tmp_path / "m.zarr", x)
    assert make(tmp_path / "m.zarr", X).store_hash == report.store_hash


def test_records_that_another_run_wrote_over_are_noticed(tmp_path):
    make(tmp_path / "m.zarr")
    zarr.open_array(tmp_path / "m.zarr" / "shard_digest", mode="r+")[1] = np.arange(32)
    with pytest.raises(StoreError, match="written over"):
        make(tmp_path / "m.zarr")


def test_what_cannot_be_standardised_begins_no_store(tmp_path):
    with pytest.raises(NotFittedError):
        ImageDataGenerator(featurewise_center=True).materialize(X, tmp_path / "m.zarr", standardize=True)
    assert not (tmp_path / "m.zarr").exists()
