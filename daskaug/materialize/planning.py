"""What materialising would take, told before it begins."""

from __future__ import annotations

import dataclasses
import heapq
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.cards import BAD, GOOD, Fact, State, Told
from daskaug.errors import StoreError
from daskaug.execution import Executor, current_executor
from daskaug.materialize import calibrating
from daskaug.materialize.appending import new_part
from daskaug.materialize.calibrating import Calibration, decoded_row_nbytes
from daskaug.materialize.filling import Filling, check_contract
from daskaug.materialize.job import Job
from daskaug.materialize.layout import FORMAT_VERSION, MANIFEST, NBYTES
from daskaug.materialize.place import Place, StoreLike
from daskaug.materialize.resuming import look
from daskaug.materialize.shard_task import WORK_NBYTES
from daskaug.planning.memory import INTERPRETER_NBYTES


@dataclasses.dataclass(frozen=True)
class ShardMemory:
    """Bytes that writing takes in one process.

    Attributes
    ----------
    raw_nbytes : int
        Images and masks that a shard is made from, decoded.
    work_nbytes : int
        What they are computed in, float32 or float64: a few at a time, or all of them where they are whitened.
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
        """Bytes of one task: either while it computes, or while it encodes.

        The raw images are let go before encoding begins; they are counted nevertheless, for the chunks that they are
        decoded from, and what the allocator keeps of all this, are not.
        """
        encoding = 2 * self.stored_nbytes  # the chunks, and the object made of them
        return self.raw_nbytes + self.stored_nbytes + max(self.work_nbytes, encoding)

    @property
    def nbytes(self) -> int:
        """Bytes of all tasks of one process."""
        return self.threads * self.task_nbytes

    @property
    def peak_nbytes(self) -> int:
        """Expected peak of the process."""
        return INTERPRETER_NBYTES + self.nbytes


@dataclasses.dataclass(frozen=True, repr=False)
class MaterializePlan(Told):
    """What materialising would take; its text says it in words.

    Attributes
    ----------
    store : str
    rows, shards : int
        Of the finished store.
    rows_there, shards_there : int
        Of these, what an earlier run has written.
    rows_of_busiest : int
        Of those to be written, the ones that come to the thread that gets most of them.
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
    rows_of_busiest: int
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
        return self.calibration.seconds(self.rows - self.rows_there, self.rows_of_busiest, self.tasks)

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

    def _card_facts(self) -> list[Fact]:
        there = f", {self.rows_there:,} of them there already" if self.rows_there else ""
        shards = f", {self.shards_there:,} of them there already" if self.shards_there else ""
        encoded, time_needed = self.encoded_nbytes, self.seconds
        out = f"{_size(self.nbytes_out)} to make"
        disk = "not on a disk of this machine" if self.disk_free is None else f"{_size(self.disk_free)} free"
        limit = "" if self.memory_limit is None else f", of {_size(self.memory_limit)}"
        facts = [
            Fact("store", self.store),
            Fact("images", f"{self.rows:,}{there}; {_size(self.nbytes_in)} to read, {out}, decoded"),
            Fact("shards", f"{self.shards:,} of up to {_size(self.memory.stored_nbytes)}{shards}"),
            Fact("tasks", f"{self.tasks:,} at a time, on {self.runs_on}", ""),
            Fact("disk", f"{'' if encoded is None else f'about {_size(encoded)} needed, '}{disk}"),
            Fact("memory", f"peak about {_size(self.memory.peak_nbytes)} per process{limit}", ""),
        ]
        if time_needed is not None and self.calibration is not None:
            seconds, off = time_needed
            trial = f"{self.calibration.images_per_second:,.0f} images/s in a trial with {self.calibration.images:,}"
            facts.append(Fact("time", f"{_duration(seconds)} ± {_duration(off)}: {trial}"))
        return facts

    def _card_state(self) -> State | None:
        if self.rows_there == self.rows:
            return State("all there already", GOOD)
        return State("may not fit on the disk", BAD) if self.may_not_fit else None


def plan(
    job: Job,
    store: StoreLike | Place,
    *,
    codec: Any = None,
    storage_options: dict[str, Any] | None = None,
    calibrate: bool = True,
    append: bool = False,
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
    append : bool
        Only the rows of the source that the store does not have: they become a part of it, which is what the plan is
        about.

    Raises
    ------
    StoreError, ConfigError
        Where nothing can be appended.
    """
    place, executor = Place.of(store, storage_options), current_executor()
    part = new_part(Filling(job, place, codec)) if append else None
    if part is not None:
        job, place = part.job, part.place
    layout = job.layout
    missing = np.arange(0) if append and part is None else _missing(job, place)
    sizes = [stop - start for start, stop in map(layout.shard, missing.tolist())]
    rows = sum(sizes)
    sources = [job.source] if job.masks is None else [job.source, job.masks.source]
    return MaterializePlan(
        store=place.address,
        rows=layout.rows,
        shards=layout.shards,
        rows_there=layout.rows - rows,
        shards_there=layout.shards - len(missing),
        rows_of_busiest=rows_of_busiest(sizes, executor.parallelism),
        tasks=executor.parallelism,
        runs_on=executor.description,
        nbytes_in=rows * sum(source.row_nbytes for source in sources),
        nbytes_out=rows * decoded_row_nbytes(job),
        disk_free=_disk_free(place),
        memory=shard_memory(job, executor),
        memory_limit=executor.memory_limit,
        calibration=calibrating.calibrate(job, codec, executor) if calibrate and rows else None,
    )


def refuse_misfit(job: Job, store: StoreLike | Place, *, codec: Any = None, append: bool = False) -> None:
    """Refuse what cannot fit, and try a few blocks only where that is in doubt.

    Raises
    ------
    StoreError
        As by :meth:`MaterializePlan.check`.
    """
    planned = plan(job, store, codec=codec, append=append, calibrate=False)
    if planned.may_not_fit:
        planned = plan(job, store, codec=codec, append=append)
    planned.check()


def shard_memory(job: Job, executor: Executor) -> ShardMemory:
    """What the tasks of a process hold at most."""
    layout = job.layout
    rows = min(layout.shard_rows, layout.rows)
    pixels = int(np.prod(layout.image_shape))
    work = rows * pixels * job.transform.work_dtype.itemsize
    work = 2 * work if job.transform.uses_blas else min(work, WORK_NBYTES)
    raw, stored = job.source.row_nbytes, pixels * np.dtype(layout.dtype).itemsize
    if job.masks is not None:
        masks = job.masks.source
        raw, stored = raw + masks.row_nbytes, stored + masks.row_nbytes
        work += min(rows * int(np.prod(masks.shape[1:])) * 8, 2 * WORK_NBYTES)  # in float64, as many at a time
    return ShardMemory(rows * raw, work, rows * stored, min(executor.threads_per_process, layout.shards))


def rows_of_busiest(sizes: list[int], threads: int) -> int:
    """Each shard in turn goes to the thread that is through first."""
    written = [0] * threads
    for size in sizes:
        heapq.heapreplace(written, written[0] + size)
    return max(written)


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
    if manifest.get("format") == FORMAT_VERSION:
        check_contract(place, manifest, job)
    return look(group, job.arrays, job.layout).missing


def _disk_free(place: Place) -> int | None:
    if not isinstance(place.store, str) or "://" in place.store or "::" in place.store:
        return None
    folder = Path(os.path.abspath(place.store))
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _size(nbytes: int) -> str:
    return f"{nbytes / 1e6:,.1f} MB" if nbytes < 1e9 else f"{nbytes / 1e9:,.2f} GB"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"
