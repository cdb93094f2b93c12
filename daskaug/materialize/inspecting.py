"""Looking at a Zarr store of any origin: what is in it, and what is not."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync

from daskaug.errors import StoreError
from daskaug.materialize.layout import DIGEST, MANIFEST


@dataclasses.dataclass(frozen=True)
class ArrayFacts:
    """An array of a store.

    Attributes
    ----------
    name : str
        Path within the store; empty where the store is the array itself.
    shape : tuple of int
    dtype : str
    stored : tuple of int
        Shape of what is one file of the store: a shard, or a chunk.
    pieces, missing : int
        Such files that there should be, and of these the ones that are not there.
    first_missing : tuple of int or None
        First row, column, ... of the first of these.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: tuple[int, ...]
    pieces: int
    missing: int
    first_missing: tuple[int, ...] | None


def inspect_store(store: str | Path) -> list[ArrayFacts]:
    """The arrays of a store and how many of their chunks or shards are there.

    Raises
    ------
    StoreError
        Where there is no store.
    """
    try:
        found = zarr.open(str(store), mode="r")
    except FileNotFoundError as error:
        raise StoreError(f"There is no Zarr store at {store}.") from error
    if isinstance(found, zarr.Array):
        return [_facts("", found)]
    return [_facts(name, array) for name, array in _arrays(found)]


def find_faults(store: str | Path) -> list[str]:
    """What a store that daskaug wrote says about itself and does not hold: lengths that differ, unfinished shards."""
    found = zarr.open(str(store), mode="r")
    if isinstance(found, zarr.Array) or MANIFEST not in found.attrs:
        return []
    manifest: Any = found.attrs[MANIFEST]
    faults = [] if manifest["complete"] else ["the run that wrote it has not finished"]
    layout = manifest["contract"]["layout"]
    rows = layout["n"] * layout["epochs"]
    for name in ("images", "sample_id", "source_row", "epoch", DIGEST):
        array = found.get(name)
        if not isinstance(array, zarr.Array):
            faults.append(f"there is no array {name!r}")
        elif name != DIGEST and array.shape[0] != rows:
            faults.append(f"{name!r} has {array.shape[0]} rows instead of {rows}")
    digests = found.get(DIGEST)
    if isinstance(digests, zarr.Array):
        unwritten = np.flatnonzero(~np.asarray(digests[:]).any(axis=1))
        if len(unwritten):
            faults.append(
                f"{len(unwritten)} of {digests.shape[0]} shards have not been written, the first is {unwritten[0]}"
            )
    return faults


def _arrays(group: zarr.Group) -> Iterator[tuple[str, zarr.Array[Any]]]:
    for path, member in group.members(max_depth=None):
        if isinstance(member, zarr.Array):
            yield path, member


def _facts(name: str, array: zarr.Array[Any]) -> ArrayFacts:
    stored = array.shards or array.chunks
    counts = [math.ceil(size / step) if step else 0 for size, step in zip(array.shape, stored, strict=True)]
    there = sync(_keys(array))
    prefix = f"{array.path}/" if array.path else ""
    missing, first = 0, None
    for place in itertools.product(*map(range, counts)):
        if f"{prefix}{array.metadata.encode_chunk_key(place)}" not in there:
            missing += 1
            first = first or tuple(i * step for i, step in zip(place, stored, strict=True))
    return ArrayFacts(name, array.shape, str(array.dtype), tuple(stored), math.prod(counts), missing, first)


# Which keys a store holds can only be asked asynchronously, and zarr has no public name for its own event loop, which
# stores far away are bound to.
async def _keys(array: zarr.Array[Any]) -> set[str]:
    return {key async for key in array.store.list_prefix(f"{array.path}/" if array.path else "")}
