"""``info``: a store on one page."""

from __future__ import annotations

import re

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import StoreError
from daskaug.materialize import info
from tests import pictures

X, Y = pictures.tiles(16, 40), np.repeat([0, 1, 2], [20, 15, 5])


def negative(image: np.ndarray) -> np.ndarray:
    return 255 - image


def test_the_card_says_what_the_store_holds_and_what_made_it(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 8, 16, 3))
    datagen = ImageDataGenerator(
        featurewise_center=True, rotation_range=25, zoom_range=0.2, preprocessing_function=negative
    ).fit(X)
    report = datagen.materialize(
        tmp_path / "x.zarr", tmp_path / "m.zarr", y=Y, epochs=2, seed=5, codec="lz4", chunk_rows=3, shard_rows=9
    )
    card = info(tmp_path / "m.zarr")
    for said in (
        "complete; 9 of 9 shards",
        report.store_hash,
        "80 of 16×16×3 uint8, 40 of the source × 2 copies",
        "80×16×16×3 uint8, chunks of 3, shards of 9; blosc lz4 5 + crc32c; 0.06 MB in ",
        "0: 40, 1: 30, 2: 10",
        "5 (seeding version 1)",
        "rotation_range=25",
        "zoom_range=(0.8, 1.2)",
        "test_info.negative",
        str(tmp_path / "x.zarr"),
        "(40 rows)",
        f"zarr {zarr.__version__}",
    ):
        assert said in card, said
    assert "fill_mode" not in card  # a default
    images = sum(path.stat().st_size for path in (tmp_path / "m.zarr/images/c").rglob("*") if path.is_file())
    stored = re.search(r"^  images .* in ([\d.]+) MB stored$", card, re.MULTILINE)
    assert abs(float(stored[1]) - images / 1e6) <= 0.005
    mean = re.search(r"^mean +\[([\d.]+), ", card, re.MULTILINE)
    assert abs(float(mean[1]) - open_materialized(tmp_path / "m.zarr").fitted.mean.ravel()[0]) < 1e-3


def test_classes_by_name_of_what_was_ingested(tmp_path):
    from daskaug.ingest import Reading, ingest
    from tests.files import write_classes

    root = write_classes(tmp_path / "photos", 3)
    ingest(root, tmp_path / "m.zarr", Reading(target_size=(32, 32)))
    card = info(tmp_path / "m.zarr")
    assert "cat: 4, dog: 3, fish: 5" in card
    assert "all at their defaults" in card


def test_balanced_and_appended_stores(tmp_path):
    datagen = ImageDataGenerator(rotation_range=10)
    datagen.materialize(X, tmp_path / "b.zarr", y=Y, balance=True)
    assert "0: 20, 1: 20, 2: 20" in info(tmp_path / "b.zarr")
    datagen.materialize(X[:25], tmp_path / "a.zarr", y=Y[:25])
    datagen.materialize(X, tmp_path / "a.zarr", y=Y, append=True)
    card = info(tmp_path / "a.zarr")
    assert "40 images in 2 parts" in card
    assert open_materialized(tmp_path / "a.zarr").store_hash in card


def test_an_unfinished_store(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        raise Stop

    with pytest.raises(Stop):
        ImageDataGenerator().materialize(X, tmp_path / "m.zarr", y=Y + 1, progress=stop, chunk_rows=3, shard_rows=9)
    card = info(tmp_path / "m.zarr")
    assert "NOT complete" in card
    assert re.search(r"; [1-5] of 5 shards", card)
    written = zarr.open_array(tmp_path / "m.zarr/shard_digest")[:].any(axis=1)
    labels = re.search(r"^labels +(.*) \(of (\d+) images that are written\)$", card, re.MULTILINE)
    there = (Y + 1)[np.repeat(written, 9)[:40]]
    assert labels[1] == ", ".join(f"{label}: {(there == label).sum()}" for label in np.unique(there))
    assert int(labels[2]) == len(there)


@pytest.mark.parametrize(("name", "said"), [("shard_digest", "1 commit records cannot be read"), ("y", "cannot be")])
def test_a_damaged_store_has_a_card(tmp_path, name, said):
    ImageDataGenerator().materialize(X, tmp_path / "m.zarr", y=Y, chunk_rows=3, shard_rows=9)
    path = next(file for file in sorted((tmp_path / "m.zarr" / name / "c").rglob("*")) if file.is_file())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert said in info(tmp_path / "m.zarr")


def test_what_is_no_store(tmp_path):
    with pytest.raises(StoreError, match="no Zarr store"):
        info(tmp_path)
