from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError, IncompleteStoreError, NotFittedError, SourceError, StoreError
from daskaug.materialize.layout import MANIFEST, Layout
from tests import pictures

X, Y = pictures.tiles(16, 40), np.arange(40) % 5


def generator(**changes) -> ImageDataGenerator:
    made = ImageDataGenerator(
        **{"featurewise_center": True, "featurewise_std_normalization": True, "rotation_range": 25, "zoom_range": 0.2}
        | {"horizontal_flip": True, "brightness_range": (0.7, 1.3)}
        | changes
    )
    return made.fit(X)


@pytest.fixture
def small_shards(monkeypatch):
    """Several shards for a handful of images."""
    monkeypatch.setattr("daskaug.materialize.layout.CHUNK_NBYTES", 3 * X[0].nbytes)
    monkeypatch.setattr("daskaug.materialize.layout.SHARD_NBYTES", 9 * X[0].nbytes)


@given(n=st.integers(1, 300), epochs=st.integers(1, 4), side=st.integers(1, 300))
def test_shards_cover_all_rows_once(n, epochs, side):
    layout = Layout.of(n, epochs, (side, side, 3), np.dtype("uint8"))
    assert layout.shard_rows % layout.chunk_rows == 0
    pieces = [piece for number in range(layout.shards) for piece in layout.pieces(number)]
    rows = [(epoch, row) for epoch, start, stop in pieces for row in range(start, stop)]
    assert rows == [(epoch, row) for epoch in range(epochs) for row in range(n)]


def test_a_store_holds_the_pixels_of_each_epoch_in_the_sources_dtype(tmp_path, small_shards):
    report = generator().materialize(X, tmp_path / "m.zarr", y=Y, sample_weight=Y / 10, epochs=3, seed=5)
    assert (report.rows, report.rows_written) == (120, 120)
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert group["images"].shards is not None
    assert group["images"].dtype == np.uint8
    lazy = [generator(dtype="float32").augment(X, seed=5, epoch=e, standardize=False) for e in range(3)]
    exact = np.concatenate([epoch.compute() for epoch in lazy])
    assert np.array_equal(group["images"][:], np.clip(np.rint(exact), 0, 255))
    assert np.array_equal(group["y"][:], np.tile(Y, 3))
    assert np.array_equal(group["sample_weight"][:], np.tile(Y / 10, 3))
    assert np.array_equal(group["source_row"][:], np.tile(np.arange(40), 3))
    assert np.array_equal(group["epoch"][:], np.repeat([0, 1, 2], 40))
    manifest = group.attrs[MANIFEST]
    assert manifest["complete"] is True
    assert manifest["contract"]["seed"] == 5
    assert ImageDataGenerator.from_config(manifest["contract"]["config"]).config == generator().config


def test_an_opened_store_streams_what_the_live_generator_streams(tmp_path, small_shards):
    """Exact for stored floats; 8-bit levels are rounded before standardising."""
    made = generator()
    made.materialize(X, tmp_path / "f.zarr", y=Y, epochs=2, seed=5, standardize=True)
    store = open_materialized(tmp_path / "f.zarr")
    live = made.flow(X, Y, batch_size=7, shuffle="block", shuffle_unit=8, seed=5)
    stored = store.flow(batch_size=7, shuffle="block", shuffle_unit=8, seed=5)
    for _ in range(2 * len(live)):
        (x, y), (stored_x, stored_y) = next(live), next(stored)
        assert np.array_equal(x, stored_x)
        assert np.array_equal(y, stored_y)
    made.materialize(X, tmp_path / "u.zarr", y=Y, epochs=2, seed=5)
    stored = open_materialized(tmp_path / "u.zarr").flow(batch_size=7, shuffle="block", shuffle_unit=8, seed=5)
    live.reset()
    live = made.flow(X, Y, batch_size=7, shuffle="block", shuffle_unit=8, seed=5)
    assert np.abs(next(live)[0] - next(stored)[0]).max() <= 0.51 / made.std.min()


@settings(max_examples=15)
@given(chunk=st.integers(1, 50), kind=st.sampled_from(["numpy", "zarr", "dask"]))
def test_the_hash_does_not_depend_on_the_source_or_its_chunks(chunk, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hash")
    x = X
    if kind == "zarr":
        zarr.create_array(folder / "x.zarr", data=X, chunks=(min(chunk, 40), 8, 16, 3))
        x = folder / "x.zarr"
    elif kind == "dask":
        x = da.from_array(X.copy(), chunks=(chunk, 8, 16, 3)) + np.uint8(0)
    expected = generator().materialize(X, folder / "a.zarr", y=Y, epochs=2, seed=5).store_hash
    assert generator().materialize(x, folder / "b.zarr", y=Y, epochs=2, seed=5).store_hash == expected


def test_other_work_has_another_hash(tmp_path):
    def made(name, x=X, seed=5, **options):
        changes = {key: options.pop(key) for key in ("rotation_range",) if key in options}
        return generator(**changes).materialize(x, tmp_path / name, seed=seed, **options).store_hash

    hashes = [
        made("a"),
        made("b", seed=6),
        made("c", x=X[::-1].copy()),
        made("d", epochs=2),
        made("e", y=Y),
        made("f", dtype="float32"),
        made("g", standardize=True),
        made("h", rotation_range=26),
    ]
    assert len(set(hashes)) == len(hashes)


def test_an_unfinished_store_is_refused_and_finished_by_the_same_call(tmp_path, small_shards):
    whole = generator().materialize(X, tmp_path / "whole.zarr", y=Y, epochs=2, seed=5)
    path = tmp_path / "torn.zarr"

    class Stop(Exception):
        pass

    def stop(done, total):
        if done >= total // 2:
            raise Stop

    with pytest.raises(Stop):
        generator().materialize(X, path, y=Y, epochs=2, seed=5, progress=stop)
    with pytest.raises(IncompleteStoreError, match=r"of \d+ shards are there"):
        open_materialized(path)
    open_materialized(path, allow_incomplete=True)
    finished = generator().materialize(X, path, y=Y, epochs=2, seed=5)
    assert finished.store_hash == whole.store_hash
    assert 0 < finished.rows_written <= 40
    again = generator().materialize(X, path, y=Y, epochs=2, seed=5)
    assert (again.rows_written, again.store_hash) == (0, whole.store_hash)


def test_another_configuration_into_the_same_store_is_refused_with_the_difference(tmp_path):
    generator().materialize(X, tmp_path / "m.zarr", seed=5)
    with pytest.raises(StoreError, match=r"seed: 5 → 6"):
        generator().materialize(X, tmp_path / "m.zarr", seed=6)
    with pytest.raises(StoreError, match=r"rotation_range 25 → 30"):
        generator(rotation_range=30).materialize(X, tmp_path / "m.zarr", seed=5)
    zarr.create_group(tmp_path / "other.zarr")
    with pytest.raises(StoreError, match="no materialised store"):
        generator().materialize(X, tmp_path / "other.zarr", seed=5)


def test_black_images_of_class_0_are_content(tmp_path, small_shards):
    black = np.zeros((40, 16, 16, 3), np.uint8)
    ImageDataGenerator().materialize(black, tmp_path / "black.zarr", y=np.zeros(40, np.int64), seed=1)
    files = [path for path in (tmp_path / "black.zarr/images/c").rglob("*") if path.is_file()]
    assert len(files) == Layout.of(40, 1, (16, 16, 3), np.dtype("uint8")).shards == 5
    labels = zarr.open_array(tmp_path / "black.zarr/y")
    assert labels.nchunks_initialized == labels.nchunks


def test_bad_calls_write_nothing(tmp_path):
    for error, options in (
        (ConfigError, {"epochs": 0}),
        (ConfigError, {"seed": -1}),
        (ConfigError, {"standardize": True, "dtype": "uint8"}),
        (SourceError, {"y": Y[1:]}),
    ):
        with pytest.raises(error):
            generator().materialize(X, tmp_path / "bad.zarr", **options)
    with pytest.raises(SourceError, match="nothing to materialise"):
        generator().materialize(X[:0], tmp_path / "bad.zarr")
    assert not (tmp_path / "bad.zarr").exists()


def test_opening_what_is_no_store(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_materialized(tmp_path / "nothing.zarr")
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(StoreError, match="no materialised store"):
        open_materialized(tmp_path / "group.zarr")


def test_extra_inputs_travel_along(tmp_path):
    extra = np.random.RandomState(0).rand(40, 3)
    generator().materialize((X, extra), tmp_path / "m.zarr", y=Y, epochs=2, seed=1)
    store = open_materialized(tmp_path / "m.zarr")
    (x, found), y = next(store.flow(batch_size=8, shuffle=False))
    assert x.shape == (8, 16, 16, 3)
    assert np.array_equal(found, extra[:8])
    assert np.array_equal(y, Y[:8])
    assert "40 images × 2 copies" in repr(store)


def test_other_images_into_the_same_store_are_refused(tmp_path):
    generator().materialize(X, tmp_path / "m.zarr", seed=5)
    for other in (255 - X, X[::-1].copy()):
        with pytest.raises(StoreError, match="source_sample"):
            generator().materialize(other, tmp_path / "m.zarr", seed=5)
    zarr.create_array(tmp_path / "moved.zarr", data=X, chunks=(7, 8, 16, 3))
    assert generator().materialize(tmp_path / "moved.zarr", tmp_path / "m.zarr", seed=5).rows_written == 0


def test_a_broken_start_is_begun_again(tmp_path, monkeypatch):
    def fail(self, *args, **options):
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(zarr.Group, "require_group", fail)
        with pytest.raises(OSError, match="disk full"):
            generator().materialize(X, tmp_path / "m.zarr", y=Y, seed=5)
    report = generator().materialize(X, tmp_path / "m.zarr", y=Y, seed=5)
    assert report.store_hash == generator().materialize(X, tmp_path / "n.zarr", y=Y, seed=5).store_hash


def test_places_that_are_no_store_are_left_alone(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X)
    before = sorted(path.name for path in (tmp_path / "x.zarr").rglob("*"))
    with pytest.raises(StoreError, match="is a Zarr array"):
        generator().materialize(X, tmp_path / "x.zarr", seed=5)
    assert sorted(path.name for path in (tmp_path / "x.zarr").rglob("*")) == before
    zarr.create_array(tmp_path / "old.zarr", data=X, zarr_format=2)
    with pytest.raises(StoreError, match="is a Zarr array of format 2"):
        generator().materialize(X, tmp_path / "old.zarr", seed=5)
    assert not (tmp_path / "old.zarr/zarr.json").exists()
    with pytest.raises(SourceError, match="`y` is of dtype"):
        generator().materialize(X, tmp_path / "new.zarr", y=[str(label) for label in Y], seed=5)
    assert not (tmp_path / "new.zarr").exists()


def test_a_store_is_a_source(tmp_path):
    generator().materialize(X, tmp_path / "m.zarr", y=Y, epochs=2, seed=5)
    store = open_materialized(tmp_path / "m.zarr")
    fitted = ImageDataGenerator(featurewise_center=True).fit(store)
    assert fitted.statistics.samples == 80
    assert len(ImageDataGenerator().flow(store)) == 3


def test_a_store_of_an_unfitted_generator_says_what_is_missing(tmp_path):
    ImageDataGenerator(featurewise_center=True).materialize(X, tmp_path / "m.zarr", seed=5)
    with pytest.raises(NotFittedError, match="had not been fitted"):
        open_materialized(tmp_path / "m.zarr").flow()
