"""What a materialised store looks like.

One Zarr group (format 3)::

    images          (rows, ...)  sharded; row e * n + r is copy e of source row r
    masks           (rows, ...)  sharded; where they were given
    sample_id       (rows,)      key of the draws
    source_row      (rows,)
    epoch           (rows,)
    y, sample_weight, extra_0 …  where they were given
    statistics/     mean, std, zca_whitening_matrix or its factors zca_u and zca_scale, as far as the generator had them
    shard_digest    (shards, 32) SHA-256 of each shard's decoded content; written after it, so a shard without one
                                 is not there
    attributes      "daskaug": the manifest

Every array is cut at the same rows. Whoever writes a shard of the images writes the same rows of all others, and
nobody else touches them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION = 1
MANIFEST = "daskaug"
DIGEST = "shard_digest"
STATISTICS = "statistics"
EXTRA = "extra_"
STORED_STATISTICS = {"mean": "mean", "std": "std", "whitening": "zca_whitening_matrix"}
ZCA_DIRECTIONS, ZCA_SCALE = "zca_u", "zca_scale"
"""Names of the fitted arrays here, and in a store (the generator's)."""

SHARD_NBYTES = 64 * 2**20
"""Decoded bytes of the images in a shard, one file: what one task holds in memory."""

CHUNK_NBYTES = 2**20
"""Decoded bytes of a chunk within a shard: the least that can be read."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the rows are cut.

    Attributes
    ----------
    n : int
        Rows of the source.
    epochs : int
        Copies.
    image_shape : tuple of int
    dtype : str
        Of the stored images.
    chunk_rows, shard_rows : int
        The second is a multiple of the first.
    """

    n: int
    epochs: int
    image_shape: tuple[int, ...]
    dtype: str
    chunk_rows: int
    shard_rows: int

    @classmethod
    def of(cls, n: int, epochs: int, image_shape: tuple[int, ...], dtype: np.dtype[Any]) -> Layout:
        """Chunks of about 1 MiB, shards of about 64 MiB."""
        row_nbytes = int(np.prod(image_shape)) * dtype.itemsize
        rows = n * epochs
        chunk = min(rows, max(1, CHUNK_NBYTES // row_nbytes))
        chunks_per_shard = max(1, min(SHARD_NBYTES // (chunk * row_nbytes), -(-rows // chunk)))
        return cls(n, epochs, tuple(image_shape), dtype.name, chunk, chunk * chunks_per_shard)

    @property
    def rows(self) -> int:
        """Stored images."""
        return self.n * self.epochs

    @property
    def nbytes(self) -> int:
        """Decoded bytes of the stored images."""
        return self.rows * int(np.prod(self.image_shape)) * np.dtype(self.dtype).itemsize

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.rows // self.shard_rows)

    def shard(self, number: int) -> tuple[int, int]:
        """The stored rows of a shard."""
        return number * self.shard_rows, min((number + 1) * self.shard_rows, self.rows)

    def pieces(self, number: int) -> Iterator[tuple[int, int, int]]:
        """What a shard is made of: (epoch, first and last source row), in the order of its rows."""
        start, stop = self.shard(number)
        while start < stop:
            epoch, row = divmod(start, self.n)
            length = min(stop - start, self.n - row)
            yield epoch, row, row + length
            start += length


def store_digest(contract: dict[str, Any], shard_digests: NDArray[np.uint8]) -> str:
    """One line for the whole store: two stores are equal if it is equal.

    It covers the decoded content and what made it; no time, no place, no encoded bytes.

    Parameters
    ----------
    contract : dict
        Part of the manifest that says what is made, as JSON values.
    shard_digests : (shards, 32) uint8
    """
    digest = hashlib.sha256(json.dumps(contract, sort_keys=True, separators=(",", ":")).encode())
    digest.update(np.ascontiguousarray(shard_digests).data)
    return digest.hexdigest()
