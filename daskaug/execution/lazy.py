"""Transformed blocks as a lazy dask array."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
from dask.array import Array
from numpy.typing import NDArray

from daskaug.planning.blocks import Plan
from daskaug.sources.base import Source

Transform = Callable[[NDArray[Any], NDArray[Any], int], NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class _Transform:
    """Task on a block that dask hands in."""

    transform: Transform
    ids: Any
    epoch: int

    def __call__(self, block: NDArray[Any], block_info: Any = None) -> NDArray[Any]:
        start, stop = block_info[0]["array-location"][0]
        return self.transform(block, self.ids[start:stop], self.epoch)


@dataclasses.dataclass(frozen=True, eq=False)
class _ReadAndTransform:
    """Task that reads its own block."""

    source: Source
    plan: Plan
    transform: Transform
    ids: Any
    epoch: int

    def __call__(self, block_id: tuple[int, ...]) -> NDArray[Any]:
        block = self.plan[block_id[0]]
        return self.transform(self.source.read(block.start, block.stop), self.ids[block.start : block.stop], self.epoch)


def map_blocks(source: Source, transform: Transform, ids: Any, epoch: int, dtype: np.dtype[Any]) -> Array:
    """The transformed source as a dask array, chunked along the samples.

    Parameters
    ----------
    source : Source
        In memory or as a graph it becomes a dask array itself; otherwise each task reads its block.
    transform : callable
        ``(block, ids, epoch) -> block``.
    ids : (n,) integers
    epoch : int
    dtype : dtype
        Of the result.

    Returns
    -------
    dask.array.Array
    """
    meta = np.empty((0, 0, 0, 0), dtype)
    plan = source.plan(0, source.shape[0])
    array = source.as_dask(plan)
    if array is not None:
        transformed: Array = array.map_blocks(_Transform(transform, ids, epoch), dtype=dtype, meta=meta)
        return transformed
    rows = tuple(block.stop - block.start for block in plan) or (0,)
    chunks = (rows, *((size,) for size in source.shape[1:]))
    task = _ReadAndTransform(source, plan, transform, ids, epoch)
    read: Array = da.map_blocks(task, chunks=chunks, dtype=dtype, meta=meta)
    return read
