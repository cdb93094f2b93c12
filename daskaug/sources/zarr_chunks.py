"""What is stored of a Zarr array, and what has become of it since.

Zarr reads a chunk that is not there as the fill value. That is how writers leave out black chunks, and it makes black
images of an array that somebody removes while it is read. So the array is looked at when work on it begins, and a
chunk that reads as nothing but the fill value is held against what was there then.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.common import concurrent_map
from zarr.core.sync import sync
from zarr.storage import LocalStore, WrapperStore

from daskaug.errors import DaskaugError, UnreadableError
from daskaug.sources.file_facts import look_at

log = logging.getLogger("daskaug")

UNREADABLE = (ArithmeticError, EOFError, LookupError, PermissionError, RuntimeError, TypeError, ValueError, zlib.error)
"""What reading raises where a chunk is damaged, or may not be read."""

MOST_LOCAL, MOST_ELSEWHERE = 200_000, 20_000
"""Chunks or shards that are looked for: it takes a second or two at most, and far less than reading them."""

MOST_ASKED = 16
"""Chunks that a listing leaves out which are asked for, before it is believed."""

MOST_RUNS = 256
"""Stretches of chunks that are not there which travel with every task."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """Which chunks, or shards, of an array were there at the beginning.

    Attributes
    ----------
    absent : tuple of (start, stop) or None
        Numbers, in C order, of those that were not there; None where that is not known.
    """

    absent: tuple[tuple[int, int], ...] | None

    @classmethod
    def look(cls, array: zarr.Array[Any], locator: str) -> Stored:
        """Find out what is there. Where something is not, the log says so."""
        present = _present(array)
        if present is None:
            return cls(None)
        edges = np.flatnonzero(np.diff(present, prepend=True, append=True)).tolist()
        runs = tuple(zip(edges[::2], edges[1::2], strict=True))
        if runs:
            first = np.unravel_index(runs[0][0], _grid(array))
            log.warning(
                "%d of %d chunks of %s are not stored, the first of them in %s: they read as %s. Some writers leave "
                "out chunks that hold nothing else; if yours does not, something is missing",
                len(present) - int(present.sum()),
                len(present),
                locator,
                _rows_of(array, int(first[0])),
                _fill_value(array),
            )
        return cls(runs if len(runs) <= MOST_RUNS else None)

    def check(self, array: zarr.Array[Any], block: NDArray[Any], start: int, locator: str) -> None:
        """Refuse rows that have been read as the fill value because their chunk is gone.

        Parameters
        ----------
        array : zarr.Array
        block : (b, h, w, c) array
            What was read, from row `start` on. What is nothing but the fill value is read once more if it is stored: it
            may have been away for a moment. That costs two requests after each other, however many chunks it is.
        start : int
        locator : str

        Raises
        ------
        UnreadableError
        """
        doubtful = [
            (place, where)
            for place, where in _only_fill(array, block, start)
            if not self._was_absent(int(np.ravel_multi_index(place, _grid(array))))
        ]
        if not doubtful:
            return
        keys = [array.metadata.encode_chunk_key(place) for place, _ in doubtful]
        found = _are_stored(array, keys)
        _read_again(array, block, start, [where for (_, where), there in zip(doubtful, found, strict=True) if there])
        if all(found) or (self.absent is None and all(_are_stored(array, [_metadata_key(array)]))):
            return  # or nobody knows whether the others were ever there
        place, key = next(
            (place, key) for (place, _), key, there in zip(doubtful, keys, found, strict=True) if not there
        )
        raise UnreadableError(
            f"{_rows_of(array, place[0]).capitalize()} of {locator} are gone: {key} is not there any more, and "
            f"would read as {_fill_value(array)} throughout. Somebody removes or rewrites the array. {_WAY_OUT}"
        )

    def _was_absent(self, number: int) -> bool:
        return any(start <= number < stop for start, stop in self.absent or ())


_WAY_OUT = (
    "Put it back, and run the same call again: a store that was begun, fit(checkpoint=...) and an iterator's "
    "state_dict() go on from where they were."
)


def unreadable(
    array: zarr.Array[Any], start: int, stop: int, locator: str, error: Exception, told: str
) -> UnreadableError | None:
    """What is wrong with rows that could not be read, and where; None for an error that says it already.

    Parameters
    ----------
    array : zarr.Array
    start, stop : int
        The rows.
    locator : str
    error : Exception
        Of :data:`UNREADABLE`.
    told : str
        What that says, fit to be shown.
    """
    if isinstance(error, DaskaugError):
        return None
    first, last = _first_unreadable(array, start, stop)
    _, *across = _grid(array)
    place = (first // _pieces(array)[0], *(0 for _ in across))
    where = "a chunk of these rows" if math.prod(across) > 1 else array.metadata.encode_chunk_key(place)
    if isinstance(error, PermissionError):
        return UnreadableError(
            f"Rows {first} to {last} of {locator} may not be read by {current_user()}: {told}. Give read access to "
            f"{where}. {_WAY_OUT}"
        )
    return UnreadableError(
        f"Rows {first} to {last} of {locator} cannot be read, for {where} is damaged: {told} "
        f"({type(error).__name__}). `daskaug check` lists all damaged chunks. {_WAY_OUT}"
    )


def current_user() -> str:
    """Who this process is to the file system, for messages."""
    return f"user {os.geteuid()}" if hasattr(os, "geteuid") else "this user"


def _first_unreadable(array: zarr.Array[Any], start: int, stop: int) -> tuple[int, int]:
    """The rows of the first chunk that cannot be read; all rows where each can be by itself."""
    step = max(1, array.chunks[0])
    for number in range(start // step, -(-stop // step)):
        first, last = max(start, number * step), min(stop, (number + 1) * step)
        try:
            array[first:last]
        except Exception:  # noqa: BLE001  it is the one that is looked for
            return first, last
    return start, stop


# --- what there is -----------------------------------------------------------------------------------------------


def _pieces(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Shape of what is one object of the store."""
    return array.shards or array.chunks


def _grid(array: zarr.Array[Any]) -> tuple[int, ...]:
    """How many of these there are along each axis."""
    return tuple(-(-size // max(1, piece)) for size, piece in zip(array.shape, _pieces(array), strict=True))


def _rows_of(array: zarr.Array[Any], number: int) -> str:
    rows = _pieces(array)[0]
    return f"rows {number * rows} to {min((number + 1) * rows, array.shape[0])}"


def _present(array: zarr.Array[Any]) -> NDArray[np.bool_] | None:
    """Of each chunk or shard, in C order, whether it is there; None where that is not known."""
    grid, store = _grid(array), _innermost(array.store)
    is_local = isinstance(store, LocalStore)
    if math.prod(grid) > (MOST_LOCAL if is_local else MOST_ELSEWHERE):
        return None
    prefix = f"{array.path}/" if array.path else ""
    keys = [f"{prefix}{array.metadata.encode_chunk_key(place)}" for place in np.ndindex(grid)]
    if is_local:
        return np.array(look_at(os.path.exists, [f"{store.root}/{key}" for key in keys]), np.bool_)
    try:
        listed = sync(_keys(array.store, prefix))
        present = np.array([key in listed for key in keys], np.bool_)
        is_true = f"{prefix}{_metadata_key(array)}" in listed and not _is_one_stored(
            array, np.argwhere(~present.reshape(grid))
        )
    except Exception as error:  # noqa: BLE001  a store that cannot be listed can be read all the same
        log.debug("%s cannot be listed: %s", array.store_path, error)
        return None
    if not is_true:  # a server of plain files, for one, may list nothing, and some stores list a part
        log.debug("%s is not listed in full", array.store_path)
        return None
    return present


def _is_one_stored(array: zarr.Array[Any], places: NDArray[np.intp]) -> bool:
    """Whether one of the chunks that a listing leaves out is there all the same; a few of them are asked for."""
    few = places[:: max(1, -(-len(places) // MOST_ASKED))].tolist()
    return any(_are_stored(array, [array.metadata.encode_chunk_key(tuple(place)) for place in few]))


# Zarr has no public name for its own event loop, which stores far away are bound to.
async def _keys(store: Any, prefix: str) -> set[str]:
    return {key async for key in store.list_prefix(prefix)}


def _are_stored(array: zarr.Array[Any], keys: list[str]) -> list[bool]:
    """Of each key below an array whether it is there; all are asked for side by side, as many as Zarr reads."""
    prefix = f"{array.path}/" if array.path else ""
    asked = [(array.store, f"{prefix}{key}") for key in keys]
    return sync(concurrent_map(asked, _found, zarr.config.get("async.concurrency")))


# A byte of it is read: whether an object exists, some file systems answer from a listing that they have kept.
async def _found(store: Any, key: str) -> bool:
    return await store.get(key, default_buffer_prototype(), RangeByteRequest(0, 1)) is not None


def _metadata_key(array: zarr.Array[Any]) -> str:
    return "zarr.json" if array.metadata.zarr_format == 3 else ".zarray"


def _innermost(store: Any) -> Any:
    while isinstance(store, WrapperStore):
        store = store._store
    return store


# --- what was read -----------------------------------------------------------------------------------------------


def _fill_value(array: zarr.Array[Any]) -> Any:
    value = array.metadata.fill_value
    return np.zeros((), array.dtype)[()] if value is None else np.asarray(value, array.dtype)[()]


def _only_fill(
    array: zarr.Array[Any], block: NDArray[Any], start: int
) -> Iterator[tuple[tuple[int, ...], tuple[slice, ...]]]:
    """Places of the chunks, or shards, of which a block has nothing but the fill value, and where in it they are.

    A pixel of each is looked at, and more of it only where that is the fill value.
    """
    if not block.size:
        return
    rows, *sides = _pieces(array)
    first, last = start // rows, (start + len(block) - 1) // rows
    edges = [max(0, number * rows - start) for number in range(first, last + 2)]
    fill = _fill_value(array)
    corners = block[(slice(None), *(slice(None, None, side) for side in sides))][edges[:-1]]
    for number, *place in np.argwhere(_same(corners, fill)).tolist():
        across = (slice(at * side, (at + 1) * side) for at, side in zip(place, sides, strict=True))
        where = (slice(edges[number], min(edges[number + 1], len(block))), *across)
        piece = block[where]
        if _same(piece[0], fill).all() and _same(piece, fill).all():
            yield (first + number, *place), where


def _read_again(array: zarr.Array[Any], block: NDArray[Any], start: int, places: list[tuple[slice, ...]]) -> None:
    """Read some places of a block, which starts at row `start`, once more: all in one go."""
    if not places:
        return
    rows = np.unique(np.concatenate([np.arange(where[0].start, where[0].stop) for where in places]))
    # Whatever lies between them across the images is read too; nearly always a chunk has whole images.
    first = [min(where[axis].start for where in places) for axis in range(1, block.ndim)]
    across = [slice(begin, max(where[axis].stop for where in places)) for axis, begin in enumerate(first, 1)]
    again = np.asarray(array.oindex[(start + rows, *across)])
    for taken, *sides in places:
        at = np.searchsorted(rows, taken.start)
        inner = (slice(side.start - begin, side.stop - begin) for side, begin in zip(sides, first, strict=True))
        block[taken, *sides] = again[at : at + taken.stop - taken.start, *inner]


def _same(values: NDArray[Any], fill: Any) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = np.isnan(values) if fill != fill else values == fill
    return same
