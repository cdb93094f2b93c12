from __future__ import annotations

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError
from tests import files, pictures

X = pictures.tiles(16, 60)
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True)


def pixels(batches) -> list[bytes]:
    return [b"".join(np.ascontiguousarray(part).tobytes() for part in batch) for batch in batches.one_epoch()]


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("nbytes", [None, 10_000])
def test_batches_are_the_same_from_a_cache(tmp_path, place, nbytes):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(7, 16, 16, 3))
    cache = "memory" if place == "memory" else tmp_path / "kept.zarr"
    options = {"batch_size": 8, "seed": 1, "shuffle_unit": 10, "masks": X[..., :1]}
    plain = TURNING.flow(tmp_path / "x.zarr", **options)
    cached = TURNING.flow(tmp_path / "x.zarr", cache=cache, cache_nbytes=nbytes, **options)
    for _ in range(2):
        assert pixels(cached) == pixels(plain)


def test_decoded_files_are_found_again_by_the_next_run(tmp_path):
    folder, _, _ = files.write_digits(tmp_path / "digits", 40)
    options = {"target_size": (16, 16), "batch_size": 8, "seed": 1}
    expected = pixels(TURNING.flow_from_directory(folder, **options))
    assert pixels(TURNING.flow_from_directory(folder, cache=tmp_path / "kept.zarr", **options)) == expected
    again = TURNING.flow_from_directory(folder, cache=tmp_path / "kept.zarr", **options)
    assert pixels(again) == expected
    assert zarr.open_array(tmp_path / "kept.zarr", mode="r").shape == (40, 16, 16, 3)


def test_the_cache_of_other_images_is_refused(tmp_path):
    list(TURNING.flow(X, seed=1, cache=tmp_path / "kept.zarr").one_epoch())
    with pytest.raises(ConfigError):
        TURNING.flow(X[::-1].copy(), seed=1, cache=tmp_path / "kept.zarr")


@pytest.mark.parametrize("wrong", [{"cache": 3}, {"cache": "s3://bucket/kept"}, {"cache_nbytes": 5}])
def test_caches_that_are_none(wrong):
    with pytest.raises(ConfigError, match="cache"):
        TURNING.flow(X, **wrong)
