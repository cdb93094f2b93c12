"""Images in a Zarr array: format 2 or 3, sharded or not, in any store."""

from __future__ import annotations

import functools
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from daskaug.errors import SourceError
from daskaug.sources.base import BlockReader, CarryingReader, Source


class ZarrSource(Source):
    """A Zarr array of rank 4.

    Only the array's address travels; it is opened again where it is read.

    Parameters
    ----------
    array : zarr.Array
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        n, *image = array.shape
        self.shape = (n, image[0], image[1], image[2])
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        stored = array.shards or array.chunks
        self.natural_rows = max(1, stored[0])
        self.locator = str(array.store_path)
        # Nobody else can open this process' memory.
        self._is_local = isinstance(array.store, MemoryStore)
        self._store, self._path = array.store, array.path
        self._array: zarr.Array[Any] | None = array
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`."""
        block = np.asarray(self._open()[start:stop])
        return block.astype(self.dtype, copy=False)

    def reader(self, start: int, stop: int) -> BlockReader:
        """See :meth:`Source.reader`; from a store in memory the block itself travels."""
        if self._is_local:
            return CarryingReader(self.read(start, stop), f"rows {start} to {stop} of {self.locator}")
        return super().reader(start, stop)

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Source.rows_reader`."""
        if self._is_local:
            return CarryingReader(self.take(rows), f"{len(rows)} rows of {self.locator}")
        return super().rows_reader(rows)

    def _open(self) -> zarr.Array[Any]:
        if self._array is None:
            with self._lock:
                self._array = _reopen(pickle.dumps((self._store, self._path)))
        return self._array

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_array", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._array, self._lock = None, threading.Lock()


@functools.lru_cache(maxsize=32)
def _reopen(address: bytes) -> zarr.Array[Any]:
    """One open array per process and address: a task costs no reading of metadata. Stores themselves do not hash."""
    store, path = pickle.loads(address)
    return zarr.open_array(store, path=path, mode="r")


def open_path(path: str | Path, storage_options: dict[str, Any] | None = None) -> zarr.Array[Any]:
    """Open the array at a path or URL.

    A group is accepted where it is clear which of its arrays is meant: the one named ``images``, or the only one of
    rank 4.

    Raises
    ------
    SourceError
        Where there is nothing, or a group with no such array; the message lists its arrays.
    """
    try:
        found = zarr.open(str(path), mode="r", storage_options=storage_options)
    except (FileNotFoundError, zarr.errors.NodeNotFoundError) as error:
        raise SourceError(
            f"There is no Zarr array at {str(path)!r}. Check the path (and, on a cluster, that every worker sees it)."
        ) from error
    if isinstance(found, zarr.Array):
        return found
    arrays = dict(found.arrays())
    images = [array for array in arrays.values() if array.ndim == 4]
    named = arrays.get("images")
    if named is not None and named.ndim == 4:
        return named
    if len(images) == 1:
        return images[0]
    listed = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "none"
    raise SourceError(
        f"{str(path)!r} is a Zarr group, and which of its arrays holds the images is not clear. Its arrays: {listed}. "
        f"Name one: {str(path).rstrip('/')}/NAME."
    )
