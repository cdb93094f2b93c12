"""Images that a dask graph computes."""

from __future__ import annotations

import dataclasses
import functools
import math
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import dask.array as da
import dask.base
import numpy as np
from dask.array.core import getter, getter_nofancy
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from daskaug.cards import shape_text
from daskaug.errors import SourceError
from daskaug.planning.blocks import TARGET_NBYTES, Plan, plan_from_chunks
from daskaug.sources.base import BlockReader, Source
from daskaug.sources.picking import PickRows


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
        n, h, w, c = map(int, array.shape)
        self.shape = (n, h, w, c)
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self._array = array.rechunk({1: -1, 2: -1, 3: -1}).astype(self.dtype)
        self._edges = np.concatenate([[0], np.cumsum(self._array.chunks[0])]).astype(np.int64)
        self._chunks = array.chunks
        self.natural_rows = max(array.chunks[0], default=1) or 1
        self.locator = f"dask array {array.name}"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Compute rows: not for use inside a task."""
        return self._computed(self._array[start:stop])

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Compute rows: not for use inside a task."""
        return self._computed(self._array[rows])

    def _computed(self, array: da.Array) -> NDArray[Any]:
        return np.asarray(array.compute(scheduler=_scheduler()))

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """The array's chunks, whatever the target."""
        return plan_from_chunks((start, stop), self._array.chunks[0])

    def plan_reads(self, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """See :meth:`Source.plan_reads`: the blocks of the graph."""
        return self.plan(0, self.shape[0], target_nbytes)

    def reader(self, start: int, stop: int) -> BlockReader:
        """The blocks that hold these rows."""
        return self._reader(np.arange(start, stop), f"rows {start} to {stop} of {self.locator}")

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """The blocks that hold these rows."""
        return self._reader(rows, f"{len(rows)} rows of {self.locator}, the first of them {rows[:1].tolist()}")

    def _reader(self, rows: NDArray[np.int64], label: str) -> BlockReader:
        owners = np.unique(np.searchsorted(self._edges, rows, side="right") - 1)
        starts = self._edges[owners]
        pick = PickRows(rows, starts, self.shape[1:], self.dtype, label)
        return GraphReader([self._blocks[owner] for owner in owners], pick)

    @functools.cached_property
    def _blocks(self) -> Any:
        """Each block as a value that dask can compute; made, and its graph made lean, once."""
        return self._array.to_delayed().ravel()

    def as_dask(self, plan: Plan) -> Any:
        """See :meth:`Source.as_dask`."""
        return self._array

    @property
    def pieces(self) -> tuple[tuple[int, ...], ...]:
        """See :class:`Source`: the chunks of the array as it was handed in."""
        return tuple(self._chunks)

    @property
    def storage(self) -> str:
        """See :class:`Source`."""
        largest = shape_text([max(lengths, default=0) for lengths in self._chunks])
        return f"computed by a graph in {math.prod(map(len, self._chunks)):,} chunks of up to {largest}"


@dataclasses.dataclass(frozen=True, eq=False)
class GraphReader(BlockReader):
    """Rows of a dask array, as the blocks that hold them."""

    blocks: list[Any]
    pick: PickRows

    def parts(self) -> list[Any]:
        """See :meth:`BlockReader.parts`."""
        return self.blocks

    def assembly(self) -> Callable[[list[Any]], Any]:
        """See :meth:`BlockReader.assembly`."""
        return self.pick

    def load(self) -> NDArray[Any]:
        """Compute in this thread, which is one of several already."""
        return self.pick(list(dask.base.compute(*self.blocks, scheduler="synchronous")))

    def __repr__(self) -> str:
        return repr(self.pick)


def _scheduler() -> Any:
    """What computes a graph on the spot: the active client, which alone has what was persisted on its workers.

    Inside a task it is the task's own thread: a task that waits for others can fill a cluster with waiting ones.
    """
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return "threads"
    try:
        distributed.get_worker()
        return "synchronous"
    except ValueError:
        pass
    try:
        client = distributed.Client.current()
    except ValueError:
        return "threads"
    return client if client.status == "running" and not client.asynchronous else "threads"


def from_numpy(array: NDArray[Any], rows: list[int]) -> Any:
    """A NumPy array as a dask array, cut along the samples."""
    chunks = (tuple(rows) or (0,), *((size,) for size in array.shape[1:]))
    return da.from_array(array, chunks=chunks)


def from_readers(
    readers: Sequence[BlockReader], rows: Sequence[int], image_shape: tuple[int, ...], dtype: np.dtype[Any]
) -> Any:
    """A dask array with one task per reader, which carries that reader and nothing else."""
    name = f"daskaug-read-{uuid.uuid4().hex}"
    tasks: dict[Any, Any] = {(name, number, 0, 0, 0): (load, reader) for number, reader in enumerate(readers)}
    chunks = (tuple(rows) or (0,), *((size,) for size in image_shape))
    if not tasks:
        return from_numpy(np.empty((0, *image_shape), dtype), [])
    return da.Array(HighLevelGraph.from_collections(name, tasks), name, chunks, dtype=dtype)


def load(reader: BlockReader) -> NDArray[Any]:
    """Body of a task that reads."""
    rows: NDArray[Any] = reader.load()
    return rows


def is_zarr_read(array: da.Array) -> Any:
    """The Zarr array that a dask array merely reads, or None.

    ``da.from_zarr`` and ``da.from_array(zarr_array)`` build two layers: the array itself and one task per chunk, of
    the inner chunks where the store is sharded, so that each shard would be opened once for every chunk in it. A lock
    or a `getitem` of the caller's own is more than reading, and the graph stays one.
    """
    layers = array.dask.layers
    original = f"original-{array.name}"
    if set(layers) != {array.name, original}:
        return None
    task: Any = getattr(layers[array.name], "task", None)
    if getattr(task, "func", None) not in (getter, getter_nofancy) or task.kwargs.get("lock"):
        return None
    found: Any = dict(layers[original]).get(original)
    if not type(found).__module__.startswith("zarr.") or not hasattr(found, "store_path"):
        return None
    return found if found.shape == array.shape and found.dtype == array.dtype else None
