"""Where the tasks of an iterator get their images from, and what is read before they ask."""

from __future__ import annotations

import abc
import dataclasses
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.execution import Executor, check_workers
from daskaug.execution.limits import refuse_blocks
from daskaug.iterators.meter import Meter
from daskaug.iterators.row_cache import RowCache
from daskaug.planning.block_cache import BlockLayout
from daskaug.planning.order import Shuffle
from daskaug.planning.reading_ahead import ReadingAhead
from daskaug.sources import BlockReader, Source
from daskaug.sources.shared_blocks import SharedBlocks

CACHE_NBYTES = 256 * 2**20
"""Decoded bytes of a chunked source that are kept between batches; more where the shuffle needs it."""

NEAR_BLOCK_NBYTES = 4 * 2**20
"""Decoded bytes of a block that is read from this machine; enough to make the way through Zarr cheap."""

FAR_BLOCK_NBYTES = 32 * 2**20
"""Decoded bytes of a block that is read from a store behind a network, with requests for its chunks side by side."""

FAR_READERS = 4
"""Such blocks that are read at the same time, ahead of the batches."""

CACHE_WARNING_NBYTES = 4 * 2**30
"""Needing more than this is worth a warning."""


@dataclasses.dataclass(frozen=True, eq=False)
class BlockNeeds:
    """What an order of reading asks of a chunked source.

    Attributes
    ----------
    layout : BlockLayout
        A block is a unit of the shuffle, or what is stored together, at least. Where reading waits for no network,
        smaller blocks do: the threads then have their shares of a mixed group at about the same time.
    nbytes : int
        Decoded bytes of the blocks that are in use at the same time.
    lead : int
        Rows by which reading is ahead: a group of units that are mixed, or a few blocks; 0 where every row may lie
        anywhere.
    """

    layout: BlockLayout
    nbytes: int
    lead: int

    @classmethod
    def of(cls, source: Source, shuffle: Shuffle) -> BlockNeeds:
        """For a source and how it is shuffled."""
        unit, n = shuffle.unit, source.shape[0]
        largest_wanted = FAR_BLOCK_NBYTES if source.is_far else NEAR_BLOCK_NBYTES
        starts = source.plan_reads(min(unit * source.row_nbytes, largest_wanted)).starts
        stops = np.append(starts[1:], n)[: len(starts)]
        largest = int((stops - starts).max(initial=0))
        lead, rows = 0, 4 * largest
        if shuffle.kind == "block":
            # While a group of units is visited, the next one is read.
            lead, rows = unit * shuffle.mix, 2 * shuffle.mix * (unit + largest)
        elif shuffle.kind == "none":
            lead = min(2 * unit, CACHE_NBYTES // 4 // source.row_nbytes)
            rows += lead
        return cls(BlockLayout(starts, stops, source.row_nbytes), min(rows, n) * source.row_nbytes, lead)

    def kept_nbytes(self, max_nbytes: int | None) -> int:
        """Decoded bytes to keep in this process: `max_nbytes`, or what is usual and what is needed."""
        return max(CACHE_NBYTES, self.nbytes) if max_nbytes is None else max_nbytes

    def reading_ahead(self) -> ReadingAhead | None:
        """A new one for an iterator, if that is of use."""
        return ReadingAhead(self.lead) if self.lead else None


class Supply(abc.ABC):
    """Hands out readers of rows.

    Attributes
    ----------
    ahead : ReadingAhead or None
        What to read before it is wanted; None where nothing is gained by that.
    """

    ahead: ReadingAhead | None = None

    @abc.abstractmethod
    def reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """What a task needs for some rows of the source, in their order."""

    def read_ahead(self, rows: NDArray[np.int64], executor: Executor) -> None:  # noqa: B027  most have nothing to do
        """Start reading some rows, in their order."""

    def stop(self) -> None:  # noqa: B027
        """Read nothing more that nobody has asked for."""


class DirectSupply(Supply):
    """Rows that are read, or travel, one by one: nothing is gained by keeping their neighbours."""

    def __init__(self, source: Source, executor: Executor) -> None:
        self._source = source
        self._is_remote = executor.is_remote

    def reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Supply.reader`."""
        return self._source.rows_reader(rows) if self._is_remote else _RowsHere(self._source, rows)


class CachedSupply(Supply):
    """Blocks that are read and kept in this process, as many as fit into `max_nbytes`."""

    def __init__(self, source: Source, shuffle: Shuffle, needs: BlockNeeds, max_nbytes: int, meter: Meter) -> None:
        if needs.nbytes > CACHE_WARNING_NBYTES:
            warnings.warn(
                f"Shuffling {source.locator} keeps up to {needs.nbytes / 2**30:.1f} GiB of decoded images in memory: "
                f"two groups of {shuffle.mix} units of {shuffle.unit} rows, rounded up to whole chunks. Smaller "
                "shuffle_unit or shuffle_mix, or smaller chunks, need less.",
                UserWarning,
                stacklevel=2,
            )
        self._blocks = RowCache(source, needs.layout, max_nbytes, meter, readers=FAR_READERS if source.is_far else 1)
        self.ahead = needs.reading_ahead()

    def reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Supply.reader`."""
        return _RowsHere(self._blocks, rows)

    def read_ahead(self, rows: NDArray[np.int64], executor: Executor) -> None:
        """See :meth:`Supply.read_ahead`."""
        self._blocks.read_ahead(rows)

    def stop(self) -> None:
        """See :meth:`Supply.stop`."""
        self._blocks.stop_reading_ahead()


class SharedSupply(Supply):
    """Blocks that a cluster's workers read once and hand to each other, or that a graph computes there."""

    def __init__(self, source: Source, needs: BlockNeeds, executor: Executor) -> None:
        self._executor = executor
        self._shared: Source | SharedBlocks = source
        if not is_graph(source):
            self._shared = SharedBlocks(source, needs.layout, needs.nbytes)
            self.ahead = needs.reading_ahead()

    def reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Supply.reader`."""
        return self._shared.rows_reader(rows)

    def read_ahead(self, rows: NDArray[np.int64], executor: Executor) -> None:
        """See :meth:`Supply.read_ahead`."""
        executor.prepare(self.reader(rows).parts() or [])

    def stop(self) -> None:
        """See :meth:`Supply.stop`."""
        if isinstance(self._shared, SharedBlocks):
            self._shared.stop()
        else:
            self._executor.give_up_parts()


def is_graph(source: Source) -> bool:
    """Whether tasks get its rows as values that dask computes."""
    return source.rows_reader(np.zeros(min(1, source.shape[0]), np.int64)).parts() is not None


def supply_of(
    source: Source, shuffle: Shuffle, executor: Executor, meter: Meter, max_nbytes: int | None = None
) -> Supply:
    """How the tasks of an executor get the rows of a source.

    Parameters
    ----------
    source : Source
    shuffle : Shuffle
    executor : Executor
    meter : Meter
        Counts what is read in this process.
    max_nbytes : int, optional
        Decoded bytes to keep in this process; by default 256 MiB, or what the shuffle needs.
    """
    if executor.is_remote:
        check_workers(source.probes())
    if source.random_access or (executor.is_remote and source.is_here):
        return DirectSupply(source, executor)
    needs = BlockNeeds.of(source, shuffle)
    if executor.is_remote:
        largest = int((needs.layout.stops - needs.layout.starts).max(initial=0)) * source.row_nbytes
        refuse_blocks(largest, executor.memory_limit, source.locator)
        return SharedSupply(source, needs, executor)
    return CachedSupply(source, shuffle, needs, needs.kept_nbytes(max_nbytes), meter)


@dataclasses.dataclass(frozen=True, eq=False)
class _RowsHere(BlockReader):
    """Reads rows in this process, through the blocks that are kept here."""

    taken_from: RowCache | Source
    rows: NDArray[np.int64]

    def load(self) -> NDArray[Any]:
        return self.taken_from.take(self.rows)

    def __repr__(self) -> str:
        return f"{len(self.rows)} rows, among them {self.rows[:4].tolist()}"
