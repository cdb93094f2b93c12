"""The proof that no two tasks write the same object of a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import zarr

from daskaug.errors import StoreError


@dataclasses.dataclass(frozen=True)
class Pieces:
    """How an array is cut into objects.

    Attributes
    ----------
    shape : tuple of int
        Of the array, the rows first.
    piece : tuple of int
        Of an object: a shard, or a chunk where there are no shards.
    """

    shape: tuple[int, ...]
    piece: tuple[int, ...]

    @classmethod
    def of(cls, array: zarr.Array[Any]) -> Pieces:
        """Of an array that is there."""
        return cls(tuple(array.shape), tuple(array.shards or array.chunks))


def check_owners(
    rows: int, tasks: Iterable[tuple[int, int]], arrays: Mapping[str, Pieces], *, all_rows: bool = True
) -> None:
    """Prove that each object of each array is written by one task, and by no other.

    Parameters
    ----------
    rows : int
        Of the store.
    tasks : iterable of (start, stop)
        The rows that each task writes.
    arrays : mapping of str to Pieces
        All arrays that tasks write to.
    all_rows : bool
        Whether the tasks write everything, and not only what is missing.

    Raises
    ------
    StoreError
        Where a task ends within an object, two write the same one, rows are left out, or an array has other rows.
    """
    ranges = np.array(list(tasks), np.int64).reshape(-1, 2)
    ranges = ranges[np.argsort(ranges[:, 0], kind="stable")]
    starts, stops = ranges[:, 0], ranges[:, 1]
    for name, pieces in arrays.items():
        step = pieces.piece[0]
        if pieces.shape[0] != rows:
            raise _misaligned(f"{name!r} has {pieces.shape[0]} rows, and the store {rows}")
        if any(size > part for size, part in zip(pieces.shape[1:], pieces.piece[1:], strict=True)):
            raise _misaligned(
                f"{name!r} has objects of shape {pieces.piece}, which cut the images of shape {pieces.shape[1:]}"
            )
        wrong = (starts % step != 0) | (stops != np.minimum(starts + step, rows)) | (starts >= stops)
        if wrong.any():
            start, stop = ranges[np.flatnonzero(wrong)[0]].tolist()
            raise _misaligned(f"a task would write the rows {start} to {stop} of {name!r}, whose objects have {step}")
    twice = np.flatnonzero(starts[1:] == starts[:-1])
    if len(twice):
        start, stop = ranges[twice[0]].tolist()
        raise _misaligned(f"two tasks would write the rows {start} to {stop}")
    written = int((stops - starts).sum())
    if all_rows and written != rows:
        raise _misaligned(f"the tasks would write {written} of {rows} rows")


def _misaligned(found: str) -> StoreError:
    return StoreError(
        f"Every object of a store must be written whole by one task: {found}. Nothing was written. If the store's "
        "arrays were made anew or changed, choose another place; otherwise this is a fault of daskaug."
    )
