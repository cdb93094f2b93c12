"""Shards that are encoded here have the bytes that Zarr writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import zarr

from daskaug.materialize.codecs import image_codecs
from daskaug.materialize.encoding import encoded_shard
from tests import pictures

X = pictures.tiles(16, 29)


def array_of(path: Any, values: np.ndarray, codecs: Any, **options: Any) -> zarr.Array:
    return zarr.create_array(
        path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(4, *values.shape[1:]),
        compressors=codecs,
        config={"write_empty_chunks": True},
        **({"shards": (12, *values.shape[1:])} | options),
    )


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64", "bool"])
def test_the_bytes_are_those_that_zarr_writes(tmp_path, codec, dtype):
    values = X.astype(dtype)
    values[4:8] = 0  # a chunk of nothing but the fill value
    array = array_of(tmp_path / "x.zarr", values, image_codecs(codec, dtype), fill_value=3 if dtype == "uint8" else 0)
    array[:] = values
    for number, start in enumerate(range(0, len(X), 12)):  # the last shard, and its last chunk, are not full
        encoded = encoded_shard(array, values[start : start + 12])
        assert encoded.to_bytes() == (tmp_path / f"x.zarr/c/{number}/0/0/0").read_bytes()


@pytest.mark.parametrize(
    "codecs", [image_codecs("none", "uint8"), image_codecs(zarr.codecs.GzipCodec(), "uint8"), None]
)
def test_what_is_encoded_otherwise_is_left_to_zarr(tmp_path, codecs):
    assert encoded_shard(array_of(tmp_path / "x.zarr", X, codecs), X[:12]) is None


def test_arrays_without_shards_are_left_to_zarr(tmp_path):
    codecs = image_codecs("zstd", "uint8")
    assert encoded_shard(array_of(tmp_path / "x.zarr", X, codecs, shards=None), X[:4]) is None
