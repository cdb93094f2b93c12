"""Decoded rows kept in a Zarr array on a local disk."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import google_crc32c  # what Zarr itself makes its checksums with
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec
from zarr.errors import ContainsArrayError

from daskaug.errors import ConfigError
from daskaug.sources.cache_places import MemoryPlace, Place
from daskaug.stages import stage

ATTRIBUTE = "daskaug_cache"
"""What tells the Zarr array of a cache from any other."""

CHECKSUM_NBYTES = 4

LOOKS = 8
"""A process looks at what others have written whenever it has filled this part of the room: one in 8."""

_CONFIG: Any = {"write_empty_chunks": True}  # black images are images, too


@dataclasses.dataclass(frozen=True)
class Identity:
    """What is kept in a Zarr array.

    Attributes
    ----------
    digest : str
        Of the source.
    shape : (n, h, w, c) or (n, c, h, w)
    dtype : str
    rows : int
        Rows of a unit, which is a chunk.
    """

    digest: str
    shape: tuple[int, ...]
    dtype: str
    rows: int


class ZarrPlace(Place):
    """A Zarr array on a local disk, of which some chunks are written.

    The chunks are not compressed: photographs would shrink by a fifth, and take twice as long to read. Each ends with a
    checksum. Zarr writes them; they are read without its help, which would take ten times as long for a single image.
    """

    def __init__(self, path: str, identity: Identity, array: zarr.Array[Any], max_nbytes: int | None) -> None:
        self._path, self._identity, self._array, self._max_nbytes = path, identity, array, max_nbytes
        self._rows, self._dtype = identity.rows, np.dtype(identity.dtype)
        decoded = int(np.prod(identity.shape[1:])) * self._rows * self._dtype.itemsize
        self._unit_nbytes = decoded + CHECKSUM_NBYTES
        self._most = None if max_nbytes is None else max_nbytes // self._unit_nbytes
        self._lock = threading.Lock()
        self._is_open, self._is_full = True, False
        self._count = 0
        self._count_files()

    @property
    def count(self) -> int:
        """See :class:`Place`; what other processes have added counts now and then."""
        return self._count

    @property
    def nbytes(self) -> int:
        """See :class:`Place`."""
        return self._count * self._unit_nbytes

    def get(self, number: int) -> NDArray[Any] | None:
        """See :meth:`Place.get`."""
        try:
            with stage("read", self._rows, self._unit_nbytes):
                content = Path(self._file(number)).read_bytes()
        except OSError:
            return None
        pixels, checksum = content[:-CHECKSUM_NBYTES], content[-CHECKSUM_NBYTES:]
        if len(content) != self._unit_nbytes or google_crc32c.value(pixels) != int.from_bytes(checksum, "little"):
            return None
        block = np.frombuffer(pixels, self._dtype.newbyteorder("<")).reshape(self._rows, *self._identity.shape[1:])
        return block[: self._identity.shape[0] - number * self._rows].astype(self._dtype, copy=False)

    def keep(self, number: int, block: NDArray[Any]) -> None:
        """See :meth:`Place.keep`. A disk that is full, or read-only, ends the keeping with a warning."""
        if not self._is_open or (not os.path.exists(self._file(number)) and not self._reserve()):
            return
        start = number * self._rows
        try:
            os.stat(os.path.join(self._path, "zarr.json"))  # without it, chunks would be left that nobody can read
            self._array[start : start + len(block)] = block
        except Exception as error:  # noqa: BLE001 - the images have been read, whatever has befallen the place
            with self._lock:
                was_open, self._is_open = self._is_open, False
                self._count_files()
            if was_open:
                warnings.warn(
                    f"Nothing more is kept in the cache {self._path!r}: {error}. It holds {self.nbytes / 1e6:,.0f} MB; "
                    "what is not in it is read from the source.",
                    UserWarning,
                    stacklevel=2,
                )

    def _reserve(self) -> bool:
        """Count one more unit, if there is room for it."""
        with self._lock:
            if self._most is not None and self._count >= min(self._most, self._look_at):
                if not self._is_full:
                    self._count_files()
                if self._count >= self._most:
                    self._is_full = True
                    return False
            self._count += 1
            return True

    def _count_files(self) -> None:
        """See what is there, of this process and of others, and how much more to write before looking again."""
        try:
            with os.scandir(self._path) as entries:
                self._count = sum(entry.name.startswith("c.") and "partial" not in entry.name for entry in entries)
        except OSError:
            self._count = 0
        room = 0 if self._most is None else max(0, self._most - self._count)
        self._look_at = self._count + max(1, room // LOOKS)

    def _file(self, number: int) -> str:
        return os.path.join(self._path, f"c.{number}.0.0.0")

    def __reduce__(self) -> tuple[Any, ...]:
        return _where_it_arrives, (self._path, self._identity, self._max_nbytes)


def open_zarr_place(path: str, identity: Identity, locator: str, max_nbytes: int | None) -> ZarrPlace:
    """The Zarr array at a path, made unless it is there.

    Parameters
    ----------
    path : str
    identity : Identity
    locator : str
        Where the source is, for people.
    max_nbytes : int or None

    Raises
    ------
    ConfigError
        Where something else is there, or nothing can be made.
    """
    try:
        if not os.path.exists(path) or (os.path.isdir(path) and not os.listdir(path)):
            _make(path, identity, locator)
        array = zarr.open_array(path, mode="r+").with_config(_CONFIG)  # open_array would not heed it
        found = dict(array.attrs).get(ATTRIBUTE)
    except OSError as error:
        raise ConfigError(f"`cache`={path!r} cannot be made or opened: {error}. Name another folder.") from error
    except Exception as error:
        raise ConfigError(
            f"`cache`={path!r} is no cache of daskaug's ({error}). Name a folder that is not there yet, or remove it."
        ) from error
    if not isinstance(found, dict):
        raise ConfigError(f"`cache`={path!r} is a Zarr array, but no cache of daskaug's. Name another folder.")
    if found.get("digest") != identity.digest or array.chunks[0] != identity.rows:
        raise ConfigError(
            f"`cache`={path!r} holds images of {found.get('locator')} (shape {array.shape}, in chunks of "
            f"{array.chunks[0]}), and those of {locator} (shape {identity.shape}, in chunks of {identity.rows}) are "
            "others, or were changed since. Name another folder, or remove it."
        )
    return ZarrPlace(path, identity, array, max_nbytes)


def _make(path: str, identity: Identity, locator: str) -> None:
    with contextlib.suppress(ContainsArrayError):  # another process was quicker
        zarr.create_array(
            path,
            shape=identity.shape,
            chunks=(identity.rows, *identity.shape[1:]),
            dtype=identity.dtype,
            serializer=BytesCodec(endian="little"),
            compressors=Crc32cCodec(),
            # One file for each chunk and no folder: they are many.
            chunk_key_encoding={"name": "default", "separator": "."},
            attributes={ATTRIBUTE: {"version": 1, "digest": identity.digest, "locator": locator}},
            config=_CONFIG,
        )


@functools.lru_cache(maxsize=32)
def _where_it_arrives(path: str, identity: Identity, max_nbytes: int | None) -> Place:
    """The place of another process in this one, opened once; if it cannot be, nothing is kept here."""
    try:
        if os.path.isdir(os.path.dirname(path)):
            return open_zarr_place(path, identity, "the source", max_nbytes)
    except ConfigError:
        pass
    return MemoryPlace(0)
