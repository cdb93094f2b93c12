"""Encoding a whole shard in the thread that made it.

Zarr encodes each chunk of a shard in a thread of its own pool, and does the rest in one thread for all of them. With a
shard on each core already, that is a second layer of threads: its copies and hand-overs took a tenth of the time.
Here are the two codecs that are the rule; for any other, Zarr does it. The bytes are those that Zarr writes.
"""

from __future__ import annotations

from typing import Any

import google_crc32c
import numpy as np
import zarr
from numcodecs.blosc import Blosc  # type: ignore[import-untyped]
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec
from zarr.codecs.sharding import ShardingCodecIndexLocation
from zarr.core.buffer import Buffer, default_buffer_prototype

_SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}
_MISSING = 2**64 - 1


def encoded_shard(array: zarr.Array[Any], values: NDArray[Any]) -> Buffer | None:
    """A shard's object.

    Parameters
    ----------
    array : zarr.Array
        With chunks that cut the rows alone.
    values : (b, ...) array
        Of the array's dtype: all rows of the shard, or those that there are in the last one.

    Returns
    -------
    Buffer or None
        None where the array has no shards, or is not compressed by Blosc with a checksum after it.
    """
    blosc = _blosc_of(array)
    if blosc is None:
        return None
    assert array.shards is not None
    chunk_rows = array.chunks[0]
    index = np.full((array.shards[0] // chunk_rows, 2), _MISSING, "<u8")
    parts: list[bytes] = []
    position = 0
    for number, start in enumerate(range(0, len(values), chunk_rows)):
        chunk = values[start : start + chunk_rows]
        if len(chunk) < chunk_rows:  # the last one of all: as always, what is beyond the end is the fill value
            whole = np.full(array.chunks, array.fill_value, array.dtype)
            whole[: len(chunk)] = chunk
            chunk = whole
        encoded = blosc.encode(_bytes_of(chunk))
        index[number] = position, len(encoded) + 4
        parts += [encoded, _checksum(encoded)]
        position += len(encoded) + 4
    parts += [index.tobytes(), _checksum(index.tobytes())]
    return default_buffer_prototype().buffer.from_array_like(_joined(parts))


def _blosc_of(array: zarr.Array[Any]) -> Blosc | None:
    codecs: Any = getattr(array.metadata, "codecs", ())
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec) or array.chunks[1:] != array.shape[1:]:
        return None
    sharding = codecs[0]
    kinds = [type(codec) for codec in sharding.codecs]
    index_kinds = [type(codec) for codec in sharding.index_codecs]
    if (kinds, index_kinds) != ([BytesCodec, BloscCodec, Crc32cCodec], [BytesCodec, Crc32cCodec]):
        return None
    if sharding.index_location is not ShardingCodecIndexLocation.end:
        return None
    options: Any = sharding.codecs[1].to_dict()["configuration"]
    return Blosc.from_config(options | {"shuffle": _SHUFFLES[options["shuffle"]]})


def _bytes_of(chunk: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(chunk, chunk.dtype.newbyteorder("<")).reshape(-1).view(np.uint8)


def _checksum(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(4, "little")


def _joined(parts: list[bytes]) -> NDArray[np.uint8]:
    """One after the other; NumPy asks the system for large pages, which `bytes` does not."""
    joined = np.empty(sum(map(len, parts)), np.uint8)
    position = 0
    for part in parts:
        joined[position : position + len(part)] = np.frombuffer(part, np.uint8)
        position += len(part)
    return joined
