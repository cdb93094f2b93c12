"""Images that a dask graph computes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import dask.array as da
import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.planning.blocks import TARGET_NBYTES, Plan, plan_from_chunks
from daskaug.sources.base import BlockReader, Source


class DaskSource(Source):
    """A dask array of rank 4.

    Its blocks are the array's own chunks along the samples, each computed by one task; chunks that cut an image are
    joined first. Computing inside a task would wait for tasks within a task, so a task gets the block as its input.
    """

    def __init__(self, array: da.Array) -> None:
        if any(math.isnan(size) for size in array.shape):
            raise SourceError(
                f"The dask array's shape {array.shape} has unknown sizes (nan). Call x.compute_chunk_sizes() first."
            )
        self._array = array.rechunk({1: -1, 2: -1, 3: -1})
        n, h, w, c = map(int, array.shape)
        self.shape = (n, h, w, c)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self.natural_rows = max(array.chunks[0], default=1) or 1
        self.locator = f"dask array {array.name}"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Compute rows: not for use inside a task."""
        return self._computed(self._array[start:stop])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Compute rows: not for use inside a task."""
        return self._computed(self._array[rows])

    def _computed(self, array: da.Array) -> NDArray[Any]:
        return np.asarray(array.compute(scheduler="threads")).astype(self.dtype, copy=False)

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """The array's chunks, whatever the target."""
        return plan_from_chunks((start, stop), self._array.chunks[0])

    def reader(self, start: int, stop: int) -> BlockReader:
        """The graph of these rows."""
        return GraphReader(self._array[start:stop], f"rows {start} to {stop} of {self.locator}")

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """The graph of these rows."""
        return GraphReader(self._array[rows], f"{len(rows)} rows of {self.locator}")

    def as_dask(self, plan: Plan) -> Any:
        """See :meth:`Source.as_dask`."""
        return self._array


@dataclasses.dataclass(frozen=True, eq=False)
class GraphReader(BlockReader):
    """Rows of a dask array."""

    array: da.Array
    label: str

    def collection(self) -> Any:
        """The rows as one value to compute."""
        return to_value(self.array)

    def load(self) -> NDArray[Any]:
        """Compute in this thread, which is one of several already."""
        return np.asarray(self.array.compute(scheduler="synchronous"))

    def __repr__(self) -> str:
        return self.label


def to_value(array: da.Array) -> Any:
    """What to compute for the array as one NumPy array."""
    return delayed(np.asarray)(array)


def gather(values: list[Any]) -> Any:
    """What to compute for the list of the values."""
    return delayed(list)(values)


def from_numpy(array: NDArray[Any], rows: list[int]) -> Any:
    """A NumPy array as a dask array, cut along the samples."""
    chunks = (tuple(rows) or (0,), *((size,) for size in array.shape[1:]))
    return da.from_array(array, chunks=chunks)


def is_zarr_read(array: da.Array) -> Any:
    """The Zarr array that a dask array merely reads, or None.

    ``da.from_zarr`` and ``da.from_array(zarr_array)`` build two layers: the array itself and one task per chunk, of
    the inner chunks where the store is sharded, so that each shard would be opened once for every chunk in it.
    """
    layers = array.dask.layers
    original = f"original-{array.name}"
    if set(layers) != {array.name, original}:
        return None
    found: Any = dict(layers[original]).get(original)
    if not type(found).__module__.startswith("zarr.") or not hasattr(found, "store_path"):
        return None
    return found if found.shape == array.shape and found.dtype == array.dtype else None
