"""What materialising would take, told before it begins."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from daskaug.errors import StoreError
from daskaug.execution import Executor, current_executor, run_ordered
from daskaug.execution.executor import threads_executor
from daskaug.materialize.filling import Filling
from daskaug.materialize.job import Job
from daskaug.materialize.layout import ARRAYS, MANIFEST, NBYTES, Cut
from daskaug.materialize.place import Place, StoreLike
from daskaug.materialize.recomputing import open_parts
from daskaug.materialize.resuming import look
from daskaug.materialize.shard_task import WriteShard, array_of
from daskaug.planning.memory import INTERPRETER_NBYTES

BLOCK_NBYTES = 4 * 2**20
"""Decoded bytes of the images in a block of the calibration, unless a chunk is larger."""

BLOCKS_PER_THREAD = 3

LEAST_SPREAD = 0.15
"""Share of the time by which it may be off although the blocks took equally long."""


@dataclasses.dataclass(frozen=True)
class ShardMemory:
    """Bytes that writing takes in one process.

    Attributes
    ----------
    raw_nbytes : int
        Images and masks that a shard is made from, decoded.
    work_nbytes : int
        What they are computed in: float32 or float64.
    stored_nbytes : int
        The decoded shard.
    threads : int
        Shards that are worked on at the same time.
    """

    raw_nbytes: int
    work_nbytes: int
    stored_nbytes: int
    threads: int

    @property
    def task_nbytes(self) -> int:
        """Bytes of one task: either while it computes, or while it encodes."""
        computing = self.work_nbytes + 2 * self.stored_nbytes
        encoding = 4 * self.stored_nbytes  # the parts, the whole, its chunks and the object made of them
        return self.raw_nbytes + max(computing, encoding)

    @property
    def nbytes(self) -> int:
        """Bytes of all tasks of one process."""
        return self.threads * self.task_nbytes

    @property
    def peak_nbytes(self) -> int:
        """Expected peak of the process."""
        return INTERPRETER_NBYTES + self.nbytes


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
    """

    images: int
    images_per_second: float
    spread: float
    encoded_share: float


@dataclasses.dataclass(frozen=True)
class MaterializePlan:
    """What materialising would take; its text says it in words.

    Attributes
    ----------
    store : str
    rows, shards : int
        Of the finished store.
    rows_there, shards_there : int
        Of these, what an earlier run has written.
    tasks : int
        Tasks at a time.
    runs_on : str
    nbytes_in : int
        Decoded bytes to be read.
    nbytes_out : int
        Decoded bytes to be written.
    disk_free : int or None
        Bytes; None where the store is not on a disk of this machine.
    memory : ShardMemory
        Of one process.
    memory_limit : int or None
        Bytes that a process may use, as far as that is known.
    calibration : Calibration or None
    """

    store: str
    rows: int
    shards: int
    rows_there: int
    shards_there: int
    tasks: int
    runs_on: str
    nbytes_in: int
    nbytes_out: int
    disk_free: int | None
    memory: ShardMemory
    memory_limit: int | None
    calibration: Calibration | None

    @property
    def encoded_nbytes(self) -> int | None:
        """Bytes that the store will grow by; None without a calibration."""
        return None if self.calibration is None else int(self.nbytes_out * self.calibration.encoded_share)

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Expected time, and how far it may be off; None without a calibration."""
        if self.calibration is None:
            return None
        missing = max(1, self.shards - self.shards_there)
        rounds = -(-missing // self.tasks)  # of few shards the last ones leave some threads without work
        busy = missing / (rounds * self.tasks)
        seconds = (self.rows - self.rows_there) / self.calibration.images_per_second / busy
        return seconds, seconds * max(LEAST_SPREAD, self.calibration.spread)

    @property
    def may_not_fit(self) -> bool:
        """Whether there is less room on the disk than the images take that are not compressed."""
        return self.disk_free is not None and self.nbytes_out > self.disk_free

    def check(self) -> None:
        """Refuse what cannot fit.

        Raises
        ------
        StoreError
            Where the disk has less room than the encoded images need, or a process less memory than its tasks.
        """
        needed = self.encoded_nbytes
        if needed is not None and self.disk_free is not None and needed > self.disk_free:
            raise StoreError(
                f"{self.store} needs about {_size(needed)} more for {self.rows - self.rows_there:,} images, and its "
                f"disk has {_size(self.disk_free)} left. Nothing was written. Make space, choose another place or "
                "another `codec`, or lower `epochs`."
            )
        # What is loaded is a generous guess, for which a small job on small workers must not be refused.
        is_small = self.memory_limit is None or self.memory.nbytes <= self.memory_limit // 4
        if not is_small and self.memory_limit is not None and self.memory.peak_nbytes > self.memory_limit:
            raise StoreError(
                f"A process would need about {_size(self.memory.peak_nbytes)} for {self.memory.threads} tasks with a "
                f"shard of {_size(self.memory.stored_nbytes)} each, and has {_size(self.memory_limit)}. Nothing was "
                "written. Pass smaller shards (`shard_rows`), or use fewer threads per process."
            )

    def __str__(self) -> str:
        there = f", {self.rows_there:,} of them there already" if self.rows_there else ""
        shards = f", {self.shards_there:,} of them there already" if self.shards_there else ""
        encoded, time_needed = self.encoded_nbytes, self.seconds
        out = f"{_size(self.nbytes_out)} to make"
        disk = "not on a disk of this machine" if self.disk_free is None else f"{_size(self.disk_free)} free"
        lines = [
            f"store     {self.store}",
            f"images    {self.rows:,}{there}; {_size(self.nbytes_in)} to read, {out}, decoded",
            f"shards    {self.shards:,} of up to {_size(self.memory.stored_nbytes)}{shards}",
            f"tasks     {self.tasks:,} at a time, on {self.runs_on}",
            f"disk      {'' if encoded is None else f'about {_size(encoded)} needed, '}{disk}",
            f"memory    peak about {_size(self.memory.peak_nbytes)} per process"
            + ("" if self.memory_limit is None else f", of {_size(self.memory_limit)}"),
        ]
        if time_needed is not None and self.calibration is not None:
            seconds, off = time_needed
            trial = f"{self.calibration.images_per_second:,.0f} images/s in a trial with {self.calibration.images:,}"
            lines.append(f"time      {_duration(seconds)} ± {_duration(off)}: {trial}")
        return "\n".join(lines)


def plan(
    job: Job,
    store: StoreLike | Place,
    *,
    codec: Any = None,
    storage_options: dict[str, Any] | None = None,
    calibrate: bool = True,
) -> MaterializePlan:
    """What :func:`daskaug.materialize.materialize` would do; nothing is written.

    Parameters
    ----------
    job : Job
    store : path, URL or Zarr store
    codec : str or Zarr codec, optional
    storage_options : dict, optional
        For a URL.
    calibrate : bool
        Read, transform and encode a few blocks, on threads of this process, to know time and encoded bytes.
    """
    place, executor, layout = Place.of(store, storage_options), current_executor(), job.layout
    missing = _missing(job, place)
    rows = sum(stop - start for start, stop in map(layout.shard, missing.tolist()))
    sources = [job.source] if job.masks is None else [job.source, job.masks.source]
    out = sum(
        int(np.prod(shape)) * np.dtype(dtype).itemsize for dtype, shape in [*job.pictures.values(), *_columns(job)]
    )
    return MaterializePlan(
        store=place.address,
        rows=layout.rows,
        shards=layout.shards,
        rows_there=layout.rows - rows,
        shards_there=layout.shards - len(missing),
        tasks=executor.parallelism,
        runs_on=executor.description,
        nbytes_in=rows * sum(source.row_nbytes for source in sources),
        nbytes_out=rows * out,
        disk_free=_disk_free(place),
        memory=shard_memory(job, executor),
        memory_limit=executor.memory_limit,
        calibration=_calibrate(job, codec, executor) if calibrate and rows else None,
    )


def refuse_misfit(job: Job, store: StoreLike | Place, *, codec: Any = None) -> None:
    """Refuse what cannot fit, and try a few blocks only where that is in doubt.

    Raises
    ------
    StoreError
        As by :meth:`MaterializePlan.check`.
    """
    planned = plan(job, store, codec=codec, calibrate=False)
    if planned.may_not_fit:
        planned = plan(job, store, codec=codec)
    planned.check()


def rows_there(store: StoreLike, *, storage_options: dict[str, Any] | None = None) -> int:
    """Images that a run has written to a store so far; 0 where there is none, or something else."""
    try:
        parts = open_parts(store, storage_options)
    except StoreError:
        return 0
    first = parts[0]
    if not first.has(NBYTES) or not first.manifest.get("laid_out"):
        return 0
    names: Any = first.array(NBYTES).attrs[ARRAYS]
    missing = look(first.group, list(names), first.layout).missing
    return first.rows - sum(stop - start for start, stop in map(first.layout.shard, missing.tolist()))


def shard_memory(job: Job, executor: Executor) -> ShardMemory:
    """What the tasks of a process hold at most."""
    layout = job.layout
    rows = min(layout.shard_rows, layout.rows)
    pixels = int(np.prod(layout.image_shape))
    work = rows * pixels * job.transform.work_dtype.itemsize
    if job.transform.standardize and job.config.zca_whitening:
        work *= 2
    raw, stored = job.source.row_nbytes, pixels * np.dtype(layout.dtype).itemsize
    if job.masks is not None:
        masks = job.masks.source
        raw, stored = raw + masks.row_nbytes, stored + masks.row_nbytes
        work = max(work, rows * int(np.prod(masks.shape[1:])) * 8)
    return ShardMemory(rows * raw, work, rows * stored, executor.threads_per_process)


def _columns(job: Job) -> list[tuple[Any, tuple[int, ...]]]:
    return list(job.stored_columns.values())


def _missing(job: Job, place: Place) -> NDArray[np.intp]:
    """Shards that are to be written; all of them where there is nothing, or something else."""
    everything = np.arange(job.layout.shards)
    try:
        group = place.open_group()
    except (FileNotFoundError, zarr.errors.NodeNotFoundError, zarr.errors.ContainsArrayError):
        return everything
    manifest: Any = group.attrs.get(MANIFEST)
    if not isinstance(manifest, dict) or not manifest.get("laid_out") or NBYTES not in group:
        return everything
    if manifest["contract"]["layout"] != job.contract["layout"]:
        return everything
    return look(group, job.arrays, job.layout).missing


def _disk_free(place: Place) -> int | None:
    if not isinstance(place.store, str) or "://" in place.store or "::" in place.store:
        return None
    folder = Path(os.path.abspath(place.store))
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


# --- calibration -------------------------------------------------------------------------------------------------


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


def _calibrate(job: Job, codec: Any, executor: Executor) -> Calibration:
    """A few blocks from everywhere in the source, side by side on the threads of this process, into its memory."""
    threads = threads_executor()
    layout = job.layout
    row_nbytes = layout.nbytes // layout.rows
    rows = layout.chunk_rows * max(1, BLOCK_NBYTES // (layout.chunk_rows * row_nbytes))
    small = dataclasses.replace(job, cut=Cut(chunk_rows=layout.chunk_rows, shard_rows=min(rows, layout.shard_rows)))
    count = small.layout.shards
    numbers = np.unique(np.linspace(0, count - 1, min(count, 1 + BLOCKS_PER_THREAD * threads.parallelism)).astype(int))
    place = Place.of(MemoryStore())
    group = Filling(small, place, codec).open_or_create()
    run = functools.partial(run_ordered, threads, _Trial(small.task(place)), name="daskaug-calibrate")
    list(run(small.inputs(numbers[:1])))  # compiles, and opens what is to be opened
    measured = numbers[1:] if len(numbers) > 1 else numbers
    began = time.perf_counter()
    times = np.array(list(run(small.inputs(measured))))
    seconds = time.perf_counter() - began
    images = sum(stop - start for start, stop in (small.layout.shard(int(number)) for number in measured))
    encoded = int(np.asarray(array_of(group, NBYTES)[:]).sum())
    made = images + (0 if measured is numbers else small.layout.shard(0)[1])
    decoded_row = sum(
        int(np.prod(shape)) * np.dtype(dtype).itemsize for dtype, shape in [*job.pictures.values(), *_columns(job)]
    )
    return Calibration(
        images=images,
        images_per_second=images / max(seconds, 1e-9) * executor.parallelism / threads.parallelism,
        spread=float(times.std() / times.mean()) if len(times) > 1 else LEAST_SPREAD,
        encoded_share=encoded / (made * decoded_row),
    )


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB" if nbytes < 1e9 else f"{nbytes / 1e9:,.2f} GB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
