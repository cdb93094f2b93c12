"""What of a store is there already, and whether it may be continued."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.errors import StoreError
from daskaug.execution import Executor, run_ordered
from daskaug.kernels.content import row_hashes
from daskaug.materialize.layout import DIGEST, NBYTES, SOURCE_HASH, Layout
from daskaug.materialize.place import Place, remove_partials, sizes_of
from daskaug.materialize.shard_task import array_of, object_key
from daskaug.sources import BlockReader, Source
from daskaug.sources.fingerprint import content_digest

UNREADABLE = (ArithmeticError, EOFError, LookupError, RuntimeError, TypeError, ValueError, zlib.error)
"""What decoding a damaged object may raise, besides :class:`StoreError`."""

COMPARED_SHARDS = 4
"""Shards that are there of which the first and the last row are compared with the source."""


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """What a store holds.

    Attributes
    ----------
    digests : (shards, 32) uint8
        Zeros where there is none.
    committed : (shards,) bool
        Whether the shard has been finished some time.
    whole : (shards,) bool
        Whether all of its objects are still there, in the size that they were written in.
    """

    digests: NDArray[np.uint8]
    committed: NDArray[np.bool_]
    whole: NDArray[np.bool_]

    @property
    def damaged(self) -> NDArray[np.intp]:
        """Shards that were finished and are not whole any more."""
        return np.flatnonzero(self.committed & ~self.whole)

    @property
    def missing(self) -> NDArray[np.intp]:
        """Shards to be written, damaged ones among them."""
        return np.flatnonzero(~(self.committed & self.whole))


def look(group: zarr.Group, arrays: list[str], layout: Layout) -> Found:
    """Which shards are there, told by their commit records and the sizes of their objects.

    Parameters
    ----------
    group : zarr.Group
    arrays : list of str
        Names of the arrays with a row per stored image, sorted.
    layout : Layout
    """
    digests = read_records(array_of(group, DIGEST))[0]
    sizes = read_records(array_of(group, NBYTES))[0]
    committed = np.asarray(digests.any(axis=1))
    there = [array_of(group, name) for name in arrays]
    numbers = np.flatnonzero(committed)
    keys = [object_key(array, int(number)) for number in numbers for array in there]
    whole = np.zeros(layout.shards, np.bool_)
    if keys:
        found = np.array(sizes_of(group, keys), np.int64).reshape(len(numbers), len(there))
        whole[numbers] = (found == sizes[numbers]).all(axis=1)
    return Found(digests, committed, whole)


def recheck(place: Place, arrays: list[str], layout: Layout, found: Found, executor: Executor) -> Found:
    """Read every shard that is there, and count those as damaged whose content is not what was written."""
    numbers = np.flatnonzero(found.committed & found.whole).tolist()
    tasks = ((StoredShard(place, tuple(arrays), number, layout.shard(number)), (number,)) for number in numbers)
    whole = found.whole.copy()
    for number, digest in run_ordered(executor, digest_of_shard, tasks, name="daskaug-recheck"):
        whole[number] = digest is not None and np.array_equal(digest, found.digests[number])
    return dataclasses.replace(found, whole=whole)


@dataclasses.dataclass(frozen=True, eq=False)
class StoredShard(BlockReader):
    """A shard of a store, as a dict of its decoded arrays; None where one of them cannot be read."""

    place: Place
    arrays: tuple[str, ...]
    number: int
    rows: tuple[int, int]

    def load(self) -> dict[str, NDArray[Any]] | None:
        """See :meth:`BlockReader.load`."""
        group, (start, stop) = self.place.open_group(), self.rows
        try:
            return {name: np.asarray(array_of(group, name)[start:stop]) for name in self.arrays}
        except StoreError:
            raise
        except UNREADABLE:
            return None

    def __repr__(self) -> str:
        return f"shard {self.number} of {self.place}"


def digest_of_shard(content: dict[str, NDArray[Any]] | None, number: int) -> tuple[int, NDArray[np.uint8] | None]:
    """Number and digest of a shard that was read; no digest where it could not be."""
    return number, None if content is None else np.frombuffer(content_digest(content), np.uint8)


def remove_leftovers(group: zarr.Group, arrays: list[str], written: NDArray[np.intp]) -> None:
    """Remove what workers and earlier runs have left in the places of some shards when they were killed.

    Parameters
    ----------
    group : zarr.Group
    arrays : list of str
        Names of the arrays with a row per stored image.
    written : (k,) int
        The shards, which are whole by now.
    """
    there = [array_of(group, name) for name in [*arrays, NBYTES, DIGEST]]
    for number in written.tolist():
        keys = [object_key(array, number) for array in there]
        remove_partials(group, keys, keys[-1])  # who commits a shard has written the others before
    root = f"{group.path}/zarr.json".lstrip("/")
    remove_partials(group, [root], root)


def check_source(group: zarr.Group, found: Found, layout: Layout, source: Source, first_row: int = 0) -> None:
    """Compare a few rows of the source with what shards that are there were made of.

    Parameters
    ----------
    group : zarr.Group
    found : Found
    layout : Layout
    source : Source
        It may have more rows than the store was made of.
    first_row : int
        Number of its first row in the whole data set.

    Raises
    ------
    StoreError
        Where an image is another one.
    """
    there = np.flatnonzero(found.committed & found.whole)
    if not len(there):
        return
    some = there[np.unique(np.linspace(0, len(there) - 1, COMPARED_SHARDS).astype(np.int64))]
    stored = sorted({row for number in some.tolist() for row in _ends(*layout.shard(number))})
    try:
        rows = np.array([int(np.asarray(array_of(group, "source_row")[row])) for row in stored], np.int64)
        hashes = np.array([np.asarray(array_of(group, SOURCE_HASH)[row]) for row in stored], np.uint64)
    except StoreError:
        raise
    except UNREADABLE:  # damaged in a way that sizes do not show: not the source's fault
        return
    now = row_hashes(source.take(rows - first_row), rows)
    different = np.flatnonzero((hashes != now).any(axis=1))
    if len(different):
        first = different[0]
        raise StoreError(
            f"{group.store_path} was made of other images: {len(different)} of {len(rows)} that were compared differ. "
            f"The first is row {rows[first]} of {source.locator}, whose hash was {_hex(hashes[first])} and is "
            f"{_hex(now[first])}. Nothing was written. Pass the images that it was made of, or choose another place."
        )


def _ends(start: int, stop: int) -> tuple[int, int]:
    return start, stop - 1


def _hex(hashes: NDArray[np.uint64]) -> str:
    return "".join(f"{int(half):016x}" for half in hashes)


def read_records(array: zarr.Array[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The records of all shards, as far as they can be read.

    Parameters
    ----------
    array : (shards, ...) zarr.Array

    Returns
    -------
    records : (shards, ...) array
        Zeros where one is missing or damaged.
    damaged : (shards,) bool
        Which of them cannot be read.
    """
    records = np.zeros(array.shape, array.dtype)
    damaged = np.zeros(len(records), np.bool_)
    try:
        records[...] = array[:]
        return records, damaged
    except StoreError:  # cannot be reached
        raise
    except UNREADABLE:
        pass  # one by one: a damaged record must not hide the others
    for number in range(len(records)):
        try:
            records[number] = array[number]
        except StoreError:
            raise
        except UNREADABLE:
            damaged[number] = True
    return records, damaged
