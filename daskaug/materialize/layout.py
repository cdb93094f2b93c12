"""What a materialised store looks like.

One Zarr group (format 3)::

    images          (rows, ...)  sharded; row e * n + r is copy e of source row r
    masks           (rows, ...)  sharded; where they were given
    sample_id       (rows,)      key of the draws
    source_row      (rows,)
    epoch           (rows,)
    source_hash     (rows, 2)    hash of the raw image of that source row, :func:`daskaug.kernels.content.row_hashes`
    draw_epoch      (rows,)      with ``balance=True``: the epoch that keys the draws
    y, sample_weight, extra_0 …  where they were given
    statistics/     mean, std, zca_whitening_matrix or its factors zca_u and zca_scale, as far as the generator had them
    shard_nbytes    (shards, k)  size of the stored object of each of the k arrays above that have a row per stored
                                 image; their names, sorted, are in its attributes as "arrays"
    shard_digest    (shards, 32) SHA-256 of each shard's decoded content; written after it, so a shard without one
                                 is not there
    parts/00001 …   what was appended: each a store like this one, of the rows that came later
    attributes      "daskaug": the manifest

Every array is cut at the same rows. Whoever writes a shard of the images writes the same rows of all others, and
nobody else touches them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import ConfigError

FORMAT_VERSION = 2
"""Version 1 had no `source_hash`, `shard_nbytes` and checksums, and knew neither balanced stores nor parts."""

READABLE_VERSIONS = (1, 2)
MANIFEST = "daskaug"
DIGEST = "shard_digest"
NBYTES = "shard_nbytes"
ARRAYS = "arrays"
SOURCE_HASH = "source_hash"
DRAW_EPOCH = "draw_epoch"
PARTS = "parts"
STATISTICS = "statistics"
CLASS_INDICES = "class_indices"
EXTRA = "extra_"
STORED_STATISTICS = {"mean": "mean", "std": "std", "whitening": "zca_whitening_matrix"}
ZCA_DIRECTIONS, ZCA_SCALE = "zca_u", "zca_scale"
"""Names of the fitted arrays here, and in a store (the generator's)."""

SHARD_NBYTES = 64 * 2**20
"""Decoded bytes of the images in a shard, one file: what one task holds in memory."""

CHUNK_NBYTES = 2**20
"""Decoded bytes of a chunk within a shard, the least that can be read, where readers go through whole blocks."""

RANDOM_CHUNK_NBYTES = 2**16
"""The same for readers that pick single images."""

LAYOUTS = ("streaming", "random")


@dataclasses.dataclass(frozen=True)
class Cut:
    """What a user wants of the shapes of chunks and shards.

    Attributes
    ----------
    layout_for : {"streaming", "random"}
        Who reads: "streaming" has chunks of about 1 MiB, "random" of 64 KiB or one image.
    chunk_rows, shard_rows : int or None
        Images of a chunk and of a shard, where the user knows better.

    Raises
    ------
    ConfigError
        Unless they are positive integers, the second a multiple of the first.
    """

    layout_for: str = "streaming"
    chunk_rows: int | None = None
    shard_rows: int | None = None

    def __post_init__(self) -> None:
        if self.layout_for not in LAYOUTS:
            raise ConfigError(
                f"`layout_for` must be one of {', '.join(map(repr, LAYOUTS))}. Received: "
                f"layout_for={self.layout_for!r}."
            )
        for name in ("chunk_rows", "shard_rows"):
            rows = getattr(self, name)
            if rows is None:
                continue
            if not isinstance(rows, int | np.integer) or isinstance(rows, bool) or rows < 1:
                raise ConfigError(f"`{name}` must be a number of images, 1 or more. Received: {name}={rows!r}.")
            object.__setattr__(self, name, int(rows))
        if self.chunk_rows and self.shard_rows and self.shard_rows % self.chunk_rows:
            raise ConfigError(
                "A shard consists of whole chunks: `shard_rows` must be a multiple of `chunk_rows`. Received: "
                f"shard_rows={self.shard_rows}, chunk_rows={self.chunk_rows}."
            )


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the rows are cut.

    Attributes
    ----------
    n : int
        Rows of an epoch: those of the source, or more with ``balance=True``.
    epochs : int
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
    def of(
        cls, n: int, epochs: int, image_shape: tuple[int, ...], dtype: np.dtype[Any], cut: Cut | None = None
    ) -> Layout:
        """Shards of about 64 MiB, in chunks as `cut` says."""
        cut = cut or Cut()
        row_nbytes = int(np.prod(image_shape)) * dtype.itemsize
        rows = n * epochs
        chunk_nbytes = CHUNK_NBYTES if cut.layout_for == "streaming" else RANDOM_CHUNK_NBYTES
        chunk = cut.chunk_rows or min(rows, max(1, chunk_nbytes // row_nbytes))
        if cut.shard_rows is not None:
            if cut.chunk_rows is None:  # as near as it gets
                chunk = max(part for part in range(1, min(chunk, cut.shard_rows) + 1) if cut.shard_rows % part == 0)
            return cls(n, epochs, tuple(image_shape), dtype.name, chunk, cut.shard_rows)
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
        """What a shard is made of: (epoch, first and last row of the epoch), in the order of its rows."""
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


def joined_hash(hashes: Sequence[str]) -> str:
    """The one line for a store and what was appended to it, from those of each, in this order."""
    return hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def contract_digest(contract: Any) -> str:
    """By which a task knows that the store it writes to is the one that it was made for."""
    return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()
