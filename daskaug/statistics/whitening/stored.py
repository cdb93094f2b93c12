"""Directions that are too large to travel: one Zarr array, opened by every process that needs it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.errors import StoreError

CHUNK_NBYTES = 8 * 2**20
ROWS_OF_A_COPY = 16384
DIGEST = "daskaug_directions_sha256"

_loading = threading.Lock()


@dataclasses.dataclass(frozen=True)
class StoredDirections:
    """Where directions lie. This is what travels: an address and a digest.

    Attributes
    ----------
    path : str
        Path or URL of a Zarr array (d, rank) float32.
    digest : str
        SHA-256 of its values in C order, as little-endian bytes.
    shape : (d, rank)
    """

    path: str
    digest: str
    shape: tuple[int, int]

    def load(self) -> NDArray[Any]:
        """The directions, (d, rank) float32: read and checked once by a process.

        Raises
        ------
        StoreError
            They are not there, or others are.
        """
        with _loading:  # two threads that start at once share one copy
            return _load(self.path, self.digest, self.shape)


# Not by the handle itself: the cache would keep it alive, and with it its temporary folder.
@functools.lru_cache(maxsize=2)
def _load(path: str, digest: str, shape: tuple[int, int]) -> NDArray[Any]:
    try:
        array = zarr.open_array(path, mode="r")
        values = np.asarray(array[:])
    except (FileNotFoundError, zarr.errors.NodeNotFoundError) as error:
        raise StoreError(
            f"The factors of the whitening should lie at {path}, and there are none. Every worker has to see "
            "that place: fit with zca_store= a path or URL that they share."
        ) from error
    if values.shape != shape or digest_of(values) != digest:
        raise StoreError(
            f"The factors at {path} are not those that were fitted: they were changed, or replaced by another "
            "fit. Fit again, or load the statistics that belong to them."
        )
    values.flags.writeable = False
    return values


def digest_of(values: NDArray[Any]) -> str:
    """SHA-256 of directions, as float32 in C order and little-endian bytes."""
    return hashlib.sha256(np.ascontiguousarray(values, "<f4").data).hexdigest()


def beside(path: str | Path) -> str:
    """Where the directions of a file of statistics lie."""
    return f"{path}.directions.zarr"


def copy_beside(handle: StoredDirections, path: str | Path) -> None:
    """Copy directions to where they belong to a file of statistics.

    Raises
    ------
    StoreError
        They are not there any more.
    """
    place = beside(path)
    if place == handle.path and zarr.open_array(place, mode="r").attrs.get(DIGEST) == handle.digest:
        return
    writer = DirectionsWriter(place, handle.shape)
    values = handle.load()
    for start in range(0, len(values), ROWS_OF_A_COPY):
        writer.write(values[start : start + ROWS_OF_A_COPY])
    writer.close()


class DirectionsWriter:
    """Writes directions from the first row to the last.

    Parameters
    ----------
    path : path or URL, or None
        None: a folder among the temporary files, which is removed when the handle that :meth:`close` returns is no
        longer used in this process.
    shape : (d, rank)
    """

    def __init__(self, path: str | Path | None, shape: tuple[int, int]) -> None:
        self._folder = tempfile.mkdtemp(prefix="daskaug-zca-") if path is None else None
        self._path = str(path) if self._folder is None else str(Path(self._folder, "directions.zarr"))
        self._shape, self._rows, self._sha = shape, 0, hashlib.sha256()
        rows = max(1, min(shape[0], CHUNK_NBYTES // (4 * max(1, shape[1]))))
        self._array = zarr.create_array(
            self._path,
            shape=shape,
            dtype="float32",
            chunks=(rows, max(1, shape[1])),
            compressors=None,
            attributes={DIGEST: ""},  # ours, also if it is broken off
            overwrite=True,
        ).with_config({"write_empty_chunks": True})

    def write(self, rows: NDArray[Any]) -> None:
        """Append rows (r, rank).

        Raises
        ------
        StoreError
            They cannot be written; a full disk, perhaps.
        """
        values = np.ascontiguousarray(rows, "<f4")
        try:
            self._array[self._rows : self._rows + len(values)] = values
        except OSError as error:
            raise StoreError(
                f"The factors of the whitening, {4 * math.prod(self._shape):,} bytes, cannot be written to "
                f"{self._path}: {error}. Make space there, or fit again with zca_store= another place."
            ) from error
        self._sha.update(values.data)
        self._rows += len(values)

    def close(self) -> StoredDirections:
        """Mark them as complete."""
        digest = self._sha.hexdigest()
        self._array.attrs[DIGEST] = digest
        handle = StoredDirections(self._path, digest, self._shape)
        if self._folder is not None:
            weakref.finalize(handle, shutil.rmtree, self._folder, ignore_errors=True)
        return handle


def check_room(path: str | Path | None, nbytes: int) -> None:
    """Refuse directions that a disk of this machine has no room for, before they are computed.

    Parameters
    ----------
    path : path or URL, or None
        See :class:`DirectionsWriter`.
    nbytes : int

    Raises
    ------
    StoreError
    """
    if path is not None and ("://" in str(path) or Path(path).exists()):  # what is there makes way for them
        return
    folder = Path(tempfile.gettempdir() if path is None else path).absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise StoreError(
            f"The factors of the whitening take {nbytes:,} bytes, and the disk of {str(folder)!r} has {free:,} left. "
            "Nothing was read. Make space there, pass zca_store= a place with more, or a smaller zca_components."
        )


def check_place(path: str | Path) -> None:
    """Refuse to write over anything but directions.

    Raises
    ------
    StoreError
    """
    try:
        found = zarr.open(str(path), mode="r")
    except (FileNotFoundError, zarr.errors.NodeNotFoundError):
        if "://" not in str(path) and Path(path).exists():
            raise StoreError(f"zca_store={str(path)!r} exists and is no Zarr array. Choose another place.") from None
        return
    if not isinstance(found, zarr.Array) or DIGEST not in found.attrs:
        raise StoreError(f"zca_store={str(path)!r} holds something else. Choose another place, or remove it yourself.")
