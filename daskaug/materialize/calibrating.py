"""Trying a few blocks, to know what materialising will take."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from zarr.storage import MemoryStore

from daskaug.execution import Executor, run_ordered
from daskaug.execution.executor import threads_executor
from daskaug.materialize.filling import Filling
from daskaug.materialize.job import Job
from daskaug.materialize.layout import NBYTES, Cut
from daskaug.materialize.place import Place
from daskaug.materialize.shard_task import WriteShard, array_of

BLOCK_NBYTES = 16 * 2**20
"""Decoded bytes of the images in a block, unless a chunk is larger. What each task costs anyhow is little beside it."""

SECONDS = 0.5
"""After which no further blocks are begun."""

BLOCKS_PER_THREAD = 8
"""At most."""

LEAST_SPREAD = 0.15
"""Share of the time by which it may be off although the blocks took equally long."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What a few blocks took that were read, transformed and encoded, and written nowhere.

    Attributes
    ----------
    images : int
    images_per_second : float
        Of all threads together.
    spread : float
        By which share of itself the time of a block differs from their mean.
    encoded_share : float
        Encoded bytes per decoded byte of the images.
    setup_seconds : float
        To look at the source and to make the empty arrays.
    """

    images: int
    images_per_second: float
    spread: float
    encoded_share: float
    setup_seconds: float = 0.0

    def seconds(self, rows: int, rows_of_busiest: int, tasks: int) -> tuple[float, float]:
        """Expected time, and how far it may be off.

        Parameters
        ----------
        rows : int
            To be written.
        rows_of_busiest : int
            Of these, the ones of the thread that has most.
        tasks : int
            Threads.

        Notes
        -----
        With few shards some threads have no work at the end. How much longer that takes is between nothing and what the
        others could have done meanwhile: encoding a shard has threads of its own, transforming has not.
        """
        shared = rows / self.images_per_second
        alone = rows_of_busiest * tasks / self.images_per_second
        seconds = self.setup_seconds + (shared + alone) / 2
        return seconds, (alone - shared) / 2 + seconds * max(LEAST_SPREAD, self.spread)


@dataclasses.dataclass(frozen=True, eq=False)
class _Trial:
    """Task: make and encode a block as :class:`WriteShard` does, and say how long that took."""

    write: WriteShard

    @property
    def uses_blas(self) -> bool:
        return self.write.uses_blas

    def __call__(self, blocks: Any, *args: Any) -> float:
        began = time.perf_counter()
        self.write(blocks, *args)
        return time.perf_counter() - began


def calibrate(job: Job, codec: Any, executor: Executor) -> Calibration:
    """Try blocks from everywhere in the source, side by side on the threads of this process, into its memory."""
    threads = threads_executor()
    layout = job.layout
    row_nbytes = layout.nbytes // layout.rows
    rows = layout.chunk_rows * max(1, BLOCK_NBYTES // (layout.chunk_rows * row_nbytes))
    small = dataclasses.replace(job, cut=Cut(chunk_rows=layout.chunk_rows, shard_rows=min(rows, layout.shard_rows)))
    count = small.layout.shards
    most = 1 + BLOCKS_PER_THREAD * threads.parallelism
    numbers = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    place = Place.of(MemoryStore())
    began = time.perf_counter()
    group = Filling(small, place, codec).open_or_create()
    setup_seconds = time.perf_counter() - began
    run = functools.partial(run_ordered, threads, _Trial(small.task(place)), name="daskaug-calibrate")
    list(run(small.inputs(numbers[:1])))  # compiles, and opens what is to be opened
    # All threads are busy to the end, or what is measured is the waiting for the last.
    others = numbers[1:] if len(numbers) > 1 else numbers
    others = others[: max(1, len(others) // threads.parallelism) * threads.parallelism]
    began = time.perf_counter()
    times = np.array(list(run(_while_short(small.inputs(others), threads.parallelism))))
    seconds = time.perf_counter() - began
    tried = others[: len(times)]
    sizes = {int(number): stop - start for number in tried for start, stop in [small.layout.shard(int(number))]}
    images = sum(sizes.values())
    sizes_made = sizes | {0: small.layout.shard(0)[1]}
    # Their records only: of a data set that is cut so small there may be hundreds of thousands.
    records = array_of(group, NBYTES)
    encoded = sum(int(np.asarray(records[number]).sum()) for number in sizes_made)
    return Calibration(
        images=images,
        images_per_second=images / max(seconds, 1e-9) * executor.parallelism / threads.parallelism,
        spread=float(times.std() / times.mean()) if len(times) > 1 else LEAST_SPREAD,
        encoded_share=encoded / (sum(sizes_made.values()) * decoded_row_nbytes(job)),
        setup_seconds=setup_seconds,
    )


def _while_short(inputs: Iterator[Any], threads: int) -> Iterator[Any]:
    """A block for each thread, and again, until time is up."""
    began = time.perf_counter()
    while batch := list(itertools.islice(inputs, threads)):
        yield from batch
        if time.perf_counter() - began > SECONDS:
            return


def decoded_row_nbytes(job: Job) -> int:
    """Decoded bytes of all that is stored of an image."""
    stored: list[tuple[Any, tuple[int, ...]]] = [*job.pictures.values(), *job.stored_columns.values()]
    return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for dtype, shape in stored)
