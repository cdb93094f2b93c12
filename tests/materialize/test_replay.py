"""``daskaug.replay``: what happened to one stored image, from its key."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr
from PIL import Image

import daskaug
from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.materialize.layout import DIGEST, MANIFEST
from tests import pictures
from tests.oracle.test_keras import keras_generator

X, Y = pictures.tiles(16, 40), np.arange(40) % 5
OPTIONS = {
    "rotation_range": 25,
    "width_shift_range": 0.2,
    "height_shift_range": [1, 2, 3],
    "shear_range": 10,
    "zoom_range": 0.2,
    "channel_shift_range": 30,
    "horizontal_flip": True,
    "vertical_flip": True,
    "brightness_range": (0.7, 1.3),
    "fill_mode": "reflect",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    zarr.create_array(folder / "x.zarr", data=X, chunks=(7, 8, 16, 3))
    ImageDataGenerator(**OPTIONS).materialize(
        folder / "x.zarr", folder / "m.zarr", y=Y, epochs=2, seed=5, chunk_rows=3, shard_rows=9
    )
    return folder / "m.zarr"


def test_the_parameters_have_keras_names_and_make_the_pixels(store):
    datagen = ImageDataGenerator(**OPTIONS)
    names = set(keras_generator(**OPTIONS).get_random_transform((16, 16, 3)))
    stored = zarr.open_group(store, mode="r")["images"]
    for row in (0, 17, 39, 40, 63, 79):
        found = daskaug.replay(store, row)
        assert (found.source_row, found.copy) == (row % 40, row // 40)
        assert (found.seed, found.epoch, found.sample_id) == (5, row // 40, row % 40)
        assert found.columns == {"y": Y[row % 40]}
        assert set(found.parameters) == names
        assert np.array_equal(found.before, X[row % 40])
        assert np.array_equal(found.stored, stored[row])
        assert np.array_equal(found.after, found.stored)
        assert found.agrees
        again = datagen.apply_transform(X[row % 40], found.parameters)
        assert np.array_equal(np.clip(np.rint(again), 0, 255), found.stored)
        for name, value in found.parameters.items():
            assert name in str(found)
            assert not isinstance(value, np.generic)


def test_the_parameters_need_no_source(tmp_path, store):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", y=Y, epochs=2, seed=5)
    found = daskaug.replay(tmp_path / "m.zarr", 63)
    assert found.parameters == daskaug.replay(store, 63).parameters
    assert (found.before, found.after, found.agrees) == (None, None, None)
    assert "as `source`" in str(found)
    found.save(tmp_path / "stored.png")
    assert daskaug.replay(tmp_path / "m.zarr", 63, source=X).agrees


@pytest.mark.parametrize("how", ["damaged", "lost"])
def test_without_the_hash_of_the_raw_image_the_pixels_tell(tmp_path, how):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=5)
    chunk = tmp_path / "m.zarr" / "source_hash" / "c" / "0" / "0"
    content = chunk.read_bytes()
    chunk.unlink()
    if how == "damaged":
        chunk.write_bytes(content[:-4] + b"none")
    assert daskaug.replay(tmp_path / "m.zarr", 3, source=X).agrees
    assert daskaug.replay(tmp_path / "m.zarr", 3, source=255 - X).agrees is False


def test_another_image_in_the_row_is_said_to_be_one(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=5)
    with pytest.raises(SourceError, match="Row 3 of memory is another image now"):
        daskaug.replay(tmp_path / "m.zarr", 3, source=X[1:].repeat(2, axis=0))


def test_a_damaged_image_does_not_agree(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=5)
    images = zarr.open_array(tmp_path / "m.zarr/images")
    images[3] = images[4]
    found = daskaug.replay(tmp_path / "m.zarr", 3, source=X)
    assert found.agrees is False
    assert "are NOT" in str(found)
    assert daskaug.replay(tmp_path / "m.zarr", 4, source=X).agrees


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_the_picture_shows_before_after_and_stored(tmp_path, data_format):
    x = X if data_format == "channels_last" else np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    datagen = ImageDataGenerator(rotation_range=30, data_format=data_format, samplewise_center=True)
    datagen.materialize(x, tmp_path / "m.zarr", seed=5, standardize=True)
    found = daskaug.replay(tmp_path / "m.zarr", 7, source=x)
    assert found.agrees
    found.save(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as opened:
        sheet = np.asarray(opened.convert("RGB"))
    assert sheet.shape[1] >= 3 * 256
    # The raw image stands at the left, enlarged 16 times; the corner of its square is not under the caption.
    tile = sheet[8 : 8 + 240 : 16, 8 : 8 + 256 : 16]
    assert np.array_equal(tile, X[7][:15])


def test_copies_of_a_balanced_store_have_keys_of_their_own(tmp_path):
    few = np.minimum(np.arange(40), 30) // 30  # 30 of one class, 10 of the other
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", y=few, balance=True, seed=5)
    rows = np.flatnonzero(zarr.open_array(tmp_path / "m.zarr/source_row")[:] == 35)
    found = [daskaug.replay(tmp_path / "m.zarr", int(row), source=X) for row in rows]
    assert len(found) == 3
    assert all(each.agrees for each in found)
    assert len({each.parameters["theta"] for each in found}) == 3


def test_rows_that_were_appended_come_last(tmp_path):
    datagen = ImageDataGenerator(**OPTIONS)
    datagen.materialize(X[:25], tmp_path / "m.zarr", epochs=2, seed=5)
    datagen.materialize(X, tmp_path / "m.zarr", epochs=2, seed=5, append=True)
    opened = daskaug.open_materialized(tmp_path / "m.zarr")
    for row, source_row in ((49, 24), (50, 25), (79, 39)):
        found = daskaug.replay(tmp_path / "m.zarr", row, source=X)
        assert found.source_row == source_row
        assert found.agrees
        assert np.array_equal(found.stored, opened.images.read(row, row + 1)[0])


def test_a_row_that_is_not_written_yet(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=5, chunk_rows=3, shard_rows=9)
    group = zarr.open_group(tmp_path / "m.zarr")
    group.attrs[MANIFEST] = dict(group.attrs[MANIFEST]) | {"complete": False}
    for name in ("images", "source_row", DIGEST):
        shutil.rmtree(tmp_path / "m.zarr" / name / "c/2", ignore_errors=True)
        (tmp_path / "m.zarr" / name / "c/2").unlink(missing_ok=True)
    assert daskaug.replay(tmp_path / "m.zarr", 17, source=X).agrees
    with pytest.raises(StoreError, match="shard 2, which is not written yet"):
        daskaug.replay(tmp_path / "m.zarr", 18, source=X)


def test_a_row_that_cannot_be_read(tmp_path):
    ImageDataGenerator(**OPTIONS).materialize(X, tmp_path / "m.zarr", seed=5)
    (path,) = (file for file in (tmp_path / "m.zarr/images/c").rglob("*") if file.is_file())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StoreError, match=r"Row 3 .* in shard 0, which cannot be read"):
        daskaug.replay(tmp_path / "m.zarr", 3)


def test_bad_calls(tmp_path, store):
    for row in (-1, 80, 1.5, True):
        with pytest.raises(ConfigError, match="0 to 79"):
            daskaug.replay(store, row)
    with pytest.raises(StoreError, match="no Zarr store"):
        daskaug.replay(tmp_path / "nothing.zarr", 0)
    with pytest.raises(SourceError, match="was made from"):
        daskaug.replay(store, 0, source=X[:3])
