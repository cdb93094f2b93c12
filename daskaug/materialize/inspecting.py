"""Looking at a Zarr store of any origin: what is in it, and what is not."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.core.sync import sync

from daskaug.errors import StoreError
from daskaug.materialize.layout import CLASS_INDICES, DIGEST, MANIFEST
from daskaug.materialize.place import Place, StoreLike, sizes_of
from daskaug.materialize.resuming import UNREADABLE, read_records


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


def is_store(target: str) -> bool:
    """Whether a path or URL is that of a Zarr array or group: every URL is taken for one."""
    return "://" in target or any((Path(target) / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


def open_node(place: Place) -> zarr.Group | zarr.Array[Any]:
    """What lies at a place, for reading.

    Raises
    ------
    FileNotFoundError
        Where there is nothing.
    StoreError
        Where what describes it is damaged.
    """
    try:
        return place.open()
    except FileNotFoundError:  # zarr's own is a ValueError too
        raise
    except UNREADABLE as error:
        if isinstance(error, StoreError):
            raise
        raise damaged_metadata(place.address, error) from error


def damaged_metadata(address: str, error: Exception | str) -> StoreError:
    """The error for a group or array whose ``zarr.json`` cannot be read.

    Parameters
    ----------
    address : str
        Of the group or array.
    error : Exception or str
        What is wrong with it.
    """
    return StoreError(
        f"{address}/zarr.json, which says what is stored there, is damaged: {told(error)}. Put back a copy of this "
        "file, or remove the store and make it again."
    )


def told(error: Exception | str) -> str:
    """An error of somebody else in one line, with its kind."""
    line = " ".join(str(error).split()).rstrip(".")
    return line if isinstance(error, str) else f"{line or 'it cannot be read'} ({type(error).__name__})"


def is_materialized(store: str, storage_options: dict[str, Any] | None = None) -> bool:
    """Whether a Zarr store is one that daskaug wrote."""
    try:
        found = open_node(Place.of(store, storage_options))
    except FileNotFoundError:
        return False
    return isinstance(found, zarr.Group) and MANIFEST in found.attrs


def labels_of(store: str, name: str | None, storage_options: dict[str, Any] | None = None) -> Any:
    """Labels that lie at an address, or beside images.

    Parameters
    ----------
    store : path or URL
        Of an array, which is what is wanted, or of a group.
    name : str or None
        Of an array in the group. None: ``y`` in what daskaug wrote, and nothing in other groups.
    storage_options : dict, optional
        For a URL.

    Returns
    -------
    array, zarr.Array or None
        None where there are none; of a store to which something was appended, those of all rows.
    """
    place = Place.of(store, storage_options)
    try:
        found = open_node(place)
    except FileNotFoundError:
        return None
    if isinstance(found, zarr.Array):
        return found if found.ndim < 4 and name is None else None
    manifest: Any = found.attrs.get(MANIFEST)
    if name is None and manifest is None:
        return None
    paths = [str(part["path"]) for part in (manifest or {}).get("parts", ())]
    members = [found.get(f"{path}/{name or 'y'}".lstrip("/")) for path in ("", *paths)]
    labels = [each for each in members if isinstance(each, zarr.Array)]
    if len(labels) < len(members):
        return None
    return labels[0] if len(labels) == 1 else np.concatenate([np.asarray(each[:]) for each in labels])


def class_indices_of(store: str, storage_options: dict[str, Any] | None = None) -> dict[str, int] | None:
    """Names of the classes of a materialised store and their numbers; None where it has none."""
    manifest: Any = open_node(Place.of(store, storage_options)).attrs.get(MANIFEST)
    return manifest.get(CLASS_INDICES) if isinstance(manifest, dict) else None


def inspect_store(store: StoreLike) -> list[ArrayFacts]:
    """The arrays of a store and how many of their chunks or shards are there.

    Raises
    ------
    StoreError
        Where there is no store, or what describes it is damaged.
    """
    try:
        found = open_node(Place.of(store))
    except FileNotFoundError as error:
        raise StoreError(f"There is no Zarr store at {store}.") from error
    if isinstance(found, zarr.Array):
        return [_facts("", found)]
    return [_facts(name, array) for name, array in _arrays(found)]


def find_faults(store: StoreLike) -> list[str]:
    """What a store that daskaug wrote says about itself and does not hold: lengths that differ, unfinished shards.

    Raises
    ------
    FileNotFoundError
        Where there is no store.
    StoreError
        Where what describes it is damaged.
    """
    found = open_node(Place.of(store))
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
        records, damaged = read_records(digests)
        if damaged.any():
            faults.append(
                f"{damaged.sum()} of {len(records)} commit records in {DIGEST!r} cannot be read, the first is that of "
                f"shard {np.flatnonzero(damaged)[0]}; run the same materialize() again"
            )
        unwritten = np.flatnonzero(~records.any(axis=1) & ~damaged)
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


def object_sizes(group: zarr.Group, arrays: Mapping[str, zarr.Array[Any]]) -> dict[str, list[int | None]]:
    """Bytes of what is stored of some arrays of a group, for each shard or chunk along the first axis.

    The store is asked, or listed, once for all of them.

    Returns
    -------
    dict of str to list of (int or None)
        None where something of it is not there.
    """
    keys: list[str] = []
    owners: list[tuple[str, int]] = []
    found: dict[str, list[int | None]] = {}
    for name, array in arrays.items():
        stored = array.shards or array.chunks
        counts = [math.ceil(size / step) if step else 0 for size, step in zip(array.shape, stored, strict=True)]
        found[name] = [0] * (counts[0] if counts else 1)
        for place in itertools.product(*map(range, counts)):
            keys.append(f"{array.path}/{array.metadata.encode_chunk_key(place)}")
            owners.append((name, place[0] if place else 0))
    for (name, number), size in zip(owners, sizes_of(group, keys), strict=True):
        before = found[name][number]
        found[name][number] = None if size < 0 or before is None else before + size
    return found


# Which keys a store holds can only be asked asynchronously, and zarr has no public name for its own event loop, which
# stores far away are bound to.
async def _keys(array: zarr.Array[Any]) -> set[str]:
    return {key async for key in array.store.list_prefix(f"{array.path}/" if array.path else "")}
