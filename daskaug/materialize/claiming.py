"""Taking a place for a store: what lies there and is somebody else's is not touched."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.sync import sync

from daskaug.errors import StoreError
from daskaug.materialize.codecs import column_codecs, image_codecs
from daskaug.materialize.job import Job
from daskaug.materialize.layout import ARRAYS, DIGEST, NBYTES, STATISTICS, ZCA_DIRECTIONS
from daskaug.materialize.place import Place
from daskaug.materialize.resuming import UNREADABLE
from daskaug.sources.fingerprint import content_digest
from daskaug.statistics.whitening.stored import DIGEST as DIRECTIONS_DIGEST
from daskaug.statistics.whitening.stored import digest_of

_LEFT_OVER = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""What a process that was killed while it made the group may leave."""


def refuse_occupied(place: Place) -> None:
    """Refuse to make a store where there is something already that is none.

    Raises
    ------
    StoreError
    """
    found: list[str] = []
    if isinstance(place.store, str) and "://" not in place.store and "::" not in place.store:
        folder = Path(place.store, place.path)
        if folder.is_file():
            raise StoreError(f"{place} is a file. Choose another place for the store.")
        if folder.is_dir():
            found = sorted(entry.name for entry in os.scandir(folder) if not _LEFT_OVER.search(entry.name))
    elif not sync(place.to_read().is_empty(place.path)):
        found = ["objects"]
    if found:
        listed = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        raise StoreError(
            f"{place} exists, is no store that daskaug made, and holds {listed}. Nothing was written. Choose another "
            "place, or remove it yourself; where it was such a store, its zarr.json is lost: restore that."
        )


def lay_out(group: zarr.Group, job: Job, codec: Any) -> None:
    """Make the empty arrays of a store, and those of the statistics."""
    layout = job.layout
    for name, (dtype, shape) in job.pictures.items():
        group.create_array(
            name,
            shape=(layout.rows, *shape),
            dtype=dtype,
            chunks=(layout.chunk_rows, *shape),
            shards=(layout.shard_rows, *shape),
            compressors=image_codecs(codec, dtype),
            overwrite=True,
        )
    for name, (stored, shape) in job.stored_columns.items():
        group.create_array(
            name,
            shape=(layout.rows, *shape),
            dtype=stored,
            chunks=(layout.shard_rows, *shape),
            compressors=column_codecs(),
            overwrite=True,
        )
    records: dict[str, tuple[int, Any]] = {DIGEST: (32, np.uint8), NBYTES: (len(job.arrays), np.int64)}
    for name, (width, kind) in records.items():
        array = group.create_array(
            name,
            shape=(layout.shards, width),
            dtype=kind,
            chunks=(1, width),
            fill_value=0,
            compressors=(Crc32cCodec(),),
            overwrite=True,
        )
        if name == NBYTES:
            array.attrs[ARRAYS] = job.arrays
    write_statistics(group, job)


def write_statistics(group: zarr.Group, job: Job) -> None:
    """Write the statistics that readers standardise with."""
    statistics = group.require_group(STATISTICS)
    for name, value in job.statistics.items():
        array = statistics.create_array(name, data=value, compressors=column_codecs(), overwrite=True)
        if name == ZCA_DIRECTIONS:
            array.attrs[DIRECTIONS_DIGEST] = digest_of(value)


def statistics_are_whole(group: zarr.Group, job: Job) -> bool:
    """Whether the statistics of a store are still those of the job."""
    try:
        statistics = group[STATISTICS]
        assert isinstance(statistics, zarr.Group)
        there = {name: np.asarray(array[...]) for name, array in statistics.arrays()}
    except StoreError:  # that cannot be reached is no damage
        raise
    except (AssertionError, *UNREADABLE):  # they are written anew
        return False
    return content_digest(there) == content_digest(job.statistics)
