"""Keeping what was read of a slow source: in memory, or in a Zarr array on a local disk."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import operator
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import ConfigError, SourceError, UnreadableError
from daskaug.planning.blocks import TARGET_NBYTES, Plan
from daskaug.sources.base import BlockReader, CarryingReader, Source
from daskaug.sources.cache_places import MemoryPlace, Place
from daskaug.sources.fingerprint import sample_digest
from daskaug.sources.image_files import ImageFiles

MEMORY_NBYTES = 2 * 2**30
"""Decoded bytes that are kept in memory, unless somebody says otherwise."""


def with_cache(source: Source, cache: str | os.PathLike[str] | None, cache_nbytes: int | None = None) -> Source:
    """A source with a cache as a user asks for it; the arguments are checked here.

    Parameters
    ----------
    source : Source
    cache : "memory", path or None
        A path is that of a Zarr array on a local disk; it is made unless it is there. None: no cache.
    cache_nbytes : int, optional
        Decoded bytes to keep, at most. By default 2 GiB in memory, and all on disk.

    Returns
    -------
    Source
        The source itself where there is to be no cache.

    Raises
    ------
    ConfigError
        For other values, and where something else lies at the path.
    """
    if cache_nbytes is not None and (cache is None or isinstance(cache_nbytes, bool) or not _is_count(cache_nbytes)):
        raise ConfigError(
            "`cache_nbytes` must be a number of bytes, 0 or more, and goes with `cache`. Received: "
            f"cache={cache!r}, cache_nbytes={cache_nbytes!r}."
        )
    if cache is None:
        return source
    place = os.fspath(cache) if isinstance(cache, os.PathLike) else cache
    if not isinstance(place, str) or not place or "://" in place:
        raise ConfigError(
            '`cache` must be "memory" or the path of a folder on a local disk, where a Zarr array will be kept. '
            f"Received: cache={cache!r}."
        )
    return CachedSource(source, place, None if cache_nbytes is None else int(cache_nbytes))


class CachedSource(Source):
    """A source that keeps what is read of it, as far as the bytes allow, and serves it from there the next time.

    What has been kept stays: nothing makes room for anything else. When epochs go through the samples in random order,
    a part that stays is found again in every epoch, in proportion to its size. The samples that were used last would
    be gone before their turn comes again.

    What is kept together is what is decoded together: the rows of a chunk, or a single image where images lie apart.
    Threads that want the same at the same time read it once.

    Readers that travel to another process carry no pixels. There, a Zarr array at `place` is opened, or made if the
    folder around it exists; where that cannot be done, and for ``"memory"``, the source is read as if there were no
    cache.

    Parameters
    ----------
    source : Source
    place : str
        ``"memory"`` or the path of a Zarr array on a local disk. The array outlives the process, and several processes
        may use it at the same time; each of them can exceed the bound by what is decoded together once. It is bound
        to the source by a few sampled images, and for files by their names and how they are decoded. Data that change
        in other places go unnoticed: remove the folder then. Damaged entries are read from the source again.
    max_nbytes : int, optional
        Bytes to keep, at most: decoded ones in memory, stored ones on disk, which are as many and 4 for each entry.
        By default 2 GiB in memory and all on disk. When the disk is full, nothing more is kept, with one warning.

    Attributes
    ----------
    hits, misses : int
        How often what is kept together was at hand, and how often it was read from the source. Only what happens in
        this process is counted.
    is_quick, is_far : bool
        As for the source; unless, when it was opened, all was on the local disk already. They stay the same from then
        on, so that whoever plans by them stays right.

    Raises
    ------
    ConfigError
        Where another source was kept at `place`, or where something else lies there.
    """

    def __init__(self, source: Source, place: str, max_nbytes: int | None = None) -> None:
        self._source = source
        self.shape, self.dtype, self.locator = source.shape, source.dtype, source.locator
        self.natural_rows, self.random_access = source.natural_rows, source.random_access
        self._rows_kept_together = max(1, min(source.decoded_rows, source.shape[0]))
        if place == "memory":
            self._place: Place = MemoryPlace(MEMORY_NBYTES if max_nbytes is None else max_nbytes)
        else:
            from daskaug.sources.zarr_place import Identity, open_zarr_place

            identity = Identity(_digest(source), source.shape, source.dtype.str, self._rows_kept_together)
            self._place = open_zarr_place(os.path.abspath(place), identity, source.locator, max_nbytes)
        is_here = self._place.count == self._units
        self.is_quick = is_here or source.is_quick
        self._is_far = source.is_far and not is_here
        self._numbers: NDArray[np.int64] | None = None
        self._start_counting()

    def _start_counting(self) -> None:
        self._process = os.getpid()
        self.hits = self.misses = 0
        self._lock = threading.Lock()
        self._being_read: dict[int, Future[NDArray[Any]]] = {}

    @property
    def source(self) -> Source:
        """The one whose images are kept."""
        return self._source

    @property
    def nbytes(self) -> int:
        """Bytes that are kept: decoded ones in memory, stored ones on disk."""
        return self._place.nbytes

    @property
    def is_far(self) -> bool:
        """See above."""
        return self._is_far

    @property
    def is_here(self) -> bool:
        """See :class:`Source`."""
        return self._source.is_here

    @property
    def decoded_rows(self) -> int:
        """See :class:`Source`."""
        return self._source.decoded_rows

    @property
    def _units(self) -> int:
        return -(-self.shape[0] // self._rows_kept_together)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`."""
        step = self._rows_kept_together
        units = range(start // step, -(-stop // step)) if stop > start else range(0)
        if len(units) == 1:
            ((unit, block),) = self._blocks(units)
            return block[start - unit * step : stop - unit * step]
        out = np.empty((max(0, stop - start), *self.shape[1:]), self.dtype)
        for unit, block in self._blocks(units):
            first, last = max(start, unit * step), min(stop, (unit + 1) * step)
            out[first - start : last - start] = block[first - unit * step : last - unit * step]
        return out

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See :meth:`Source.take`."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.shape[0]:
            return self._source.take(rows)  # which says what is wrong
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        step = self._rows_kept_together
        order = np.argsort(rows, kind="stable")
        ascending = rows[order]
        for unit, block in self._blocks([int(unit) for unit in np.unique(ascending // step)]):
            begin, end = np.searchsorted(ascending, (unit * step, (unit + 1) * step))
            out[order[begin:end]] = block[ascending[begin:end] - unit * step]
        return out

    def only(self, rows: NDArray[np.int64]) -> CachedSource:
        """Some of the files that are the source, in the order of `rows`, with the same cache."""
        if not isinstance(self._source, ImageFiles):
            raise TypeError(f"Only files can be chosen one by one; {self.locator} is a {type(self._source).__name__}.")
        made = copy.copy(self)
        made._source = self._source.only(rows)
        made.shape = made._source.shape
        made._numbers = rows if self._numbers is None else self._numbers[rows]
        return made

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """See :meth:`Source.plan`; as the source does it."""
        return self._source.plan(start, stop, target_nbytes)

    def plan_reads(self, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """See :meth:`Source.plan_reads`; as the source does it."""
        return self._source.plan_reads(target_nbytes)

    def reader(self, start: int, stop: int) -> BlockReader:
        """See :meth:`Source.reader`."""
        return self.rows_reader(np.arange(start, stop))

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Source.rows_reader`; what a graph computes is left to the graph."""
        if self._is_graph:
            return self._source.rows_reader(rows)
        label = f"{len(rows)} rows of {self.locator}, the first of them {rows[:1].tolist()}"
        if self._is_carried:
            return CarryingReader(self.take(rows), label)
        if isinstance(self._source, ImageFiles):  # the paths of these files travel, and not those of all
            label = f"{len(rows)} files in {self.locator}, the first of them {self._source.names[rows[:1]].tolist()}"
            return CachedReader(self.only(rows), np.arange(len(rows)), label)
        return CachedReader(self, rows, label)

    def probes(self) -> list[BlockReader]:
        """See :meth:`Source.probes`."""
        return self._source.probes()

    def as_dask(self, plan: Plan) -> Any:
        """See :meth:`Source.as_dask`; what is a graph already is not kept."""
        return self._source.as_dask(plan) if self._is_graph else None

    @property
    def pieces(self) -> tuple[int | tuple[int, ...], ...]:
        """See :class:`Source`; of the source."""
        return self._source.pieces

    @property
    def storage(self) -> str:
        """See :class:`Source`; with what is kept of it."""
        place = "memory" if isinstance(self._place, MemoryPlace) else "a local Zarr array"
        return f"{self._source.storage}; cached in {place}, {self.hits:,} hits and {self.misses:,} misses"

    @functools.cached_property
    def _is_graph(self) -> bool:
        return self._source.rows_reader(np.empty(0, np.int64)).parts() is not None

    @functools.cached_property
    def _is_carried(self) -> bool:
        """Whether nobody but this process can read the source."""
        return isinstance(self._source.rows_reader(np.empty(0, np.int64)), CarryingReader)

    def _blocks(self, units: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """The rows of each unit, in any order: those at hand first."""
        if self._process != os.getpid():  # a child has none of its parent's threads, and perhaps a lock of theirs
            self._start_counting()
            self._place.after_fork()
        missing = []
        for unit in units:
            block = self._place.get(self._number(unit))
            if block is None:
                missing.append(unit)
            else:
                self._count(hits=1)
                yield unit, block
        if missing:
            yield from self._blocks_read(missing)

    def _blocks_read(self, units: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
        """The rows of units that are not at hand. All of its own are read before it waits for those of others.

        Nobody waits while others wait for them, so that threads cannot wait in a circle.
        """
        own: dict[int, Future[NDArray[Any]]] = {}
        others: dict[int, Future[NDArray[Any]]] = {}
        with self._lock:
            for unit in units:
                number = self._number(unit)
                if number in self._being_read:
                    others[unit] = self._being_read[number]
                else:
                    own[unit] = self._being_read[number] = Future()
        try:
            for first, last in self._runs(list(own)):
                start, stop = self._extent(first, last)
                rows = self._source.read(start, stop)
                for unit in range(first, last + 1):
                    begin, end = self._extent(unit, unit)
                    block = rows[begin - start : end - start]
                    self._place.keep(self._number(unit), block)
                    self._count(misses=1)
                    self._no_longer_read(unit)
                    own.pop(unit).set_result(block)
                    yield unit, block
        finally:  # an error, or nobody wants the rest: those who wait for it read it themselves
            for unit, future in own.items():
                self._no_longer_read(unit)
                future.cancel()
        for unit, future in others.items():
            try:
                block = future.result()
                self._count(hits=1)
            except CancelledError:
                block = self._source.read(*self._extent(unit, unit))
                self._place.keep(self._number(unit), block)
                self._count(misses=1)
            yield unit, block

    def _runs(self, units: list[int]) -> list[tuple[int, int]]:
        """Units to read in one go, first and last: neighbours, and no more bytes than a block has."""
        most = max(1, TARGET_NBYTES // (self._rows_kept_together * self.row_nbytes))
        runs: list[tuple[int, int]] = []
        for unit in units:
            if runs and runs[-1][1] == unit - 1 and unit - runs[-1][0] < most:
                runs[-1] = (runs[-1][0], unit)
            else:
                runs.append((unit, unit))
        return runs

    def _extent(self, first: int, last: int) -> tuple[int, int]:
        """Rows of the source that some consecutive units have."""
        step = self._rows_kept_together
        return first * step, min((last + 1) * step, self.shape[0])

    def _number(self, unit: int) -> int:
        """Of a unit, in the place; they differ where only some of the files were chosen."""
        return unit if self._numbers is None else int(self._numbers[unit])

    def _no_longer_read(self, unit: int) -> None:
        with self._lock:
            self._being_read.pop(self._number(unit), None)

    def _count(self, hits: int = 0, misses: int = 0) -> None:
        with self._lock:
            self.hits += hits
            self.misses += misses

    def __getstate__(self) -> dict[str, Any]:
        left = ("_process", "_lock", "_being_read", "hits", "misses", "_is_graph", "_is_carried")
        return {name: value for name, value in vars(self).items() if name not in left}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_counting()


@dataclasses.dataclass(frozen=True, eq=False)
class CachedReader(BlockReader):
    """Some rows, from the cache or the source; both open themselves where they are."""

    source: CachedSource
    rows: NDArray[np.int64]
    label: str

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.source.take(self.rows)

    def __repr__(self) -> str:
        return self.label


def _digest(source: Source) -> str:
    """Tells one source from another, without reading all of it."""
    digest = hashlib.sha256()
    try:
        digest.update(sample_digest(source).encode())
    except UnreadableError:
        raise
    except SourceError:  # a bad file is reported when its turn comes
        digest.update(f"unreadable:{source.shape}:{source.dtype.str}".encode())
    if isinstance(source, ImageFiles):
        digest.update("\0".join(map(str, source.names)).encode("utf-8", "surrogateescape"))
        digest.update(repr(source.decoding).encode())
        if source.is_replaced is not None:  # black stands for a file that may be mended one day
            digest.update(np.packbits(source.is_replaced).tobytes())
    return digest.hexdigest()


def _is_count(value: Any) -> bool:
    try:
        return operator.index(value) >= 0
    except TypeError:
        return isinstance(value, float) and value >= 0 and value.is_integer()
