"""Several sources one after the other, and a stretch of one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.planning.blocks import TARGET_NBYTES, Plan
from daskaug.sources import BlockReader, Source


class JoinedSource(Source):
    """Sources one after the other.

    Parameters
    ----------
    sources : list of Source
        Of images of one shape and dtype.

    Raises
    ------
    SourceError
        For images that differ.
    """

    def __init__(self, sources: list[Source]) -> None:
        first = sources[0]
        for other in sources[1:]:
            if (other.shape[1:], other.dtype) != (first.shape[1:], first.dtype):
                raise SourceError(
                    f"Joined images must be alike. Found {first.dtype} of shape {first.shape[1:]} in {first.locator}, "
                    f"{other.dtype} of shape {other.shape[1:]} in {other.locator}."
                )
        self._sources = sources
        self._starts = np.cumsum([0, *(source.shape[0] for source in sources)])
        _, height, width, channels = first.shape
        self.shape = (int(self._starts[-1]), height, width, channels)
        self.dtype = first.dtype
        self.natural_rows = max(source.natural_rows for source in sources)
        self.random_access = all(source.random_access for source in sources)
        self.is_quick = all(source.is_quick for source in sources)
        self.locator = first.locator

    @property
    def is_far(self) -> bool:
        """See :class:`Source`."""
        return any(source.is_far for source in self._sources)

    @property
    def is_here(self) -> bool:
        """See :class:`Source`."""
        return any(source.is_here for source in self._sources)

    @property
    def decoded_rows(self) -> int:
        """See :class:`Source`."""
        return max(source.decoded_rows for source in self._sources)

    @property
    def pieces(self) -> tuple[int | tuple[int, ...], ...]:
        """See :class:`Source`: those of the first one, the others are cut alike."""
        return self._sources[0].pieces

    @property
    def storage(self) -> str:
        """See :class:`Source`."""
        return f"{len(self._sources)} parts, the first of them {self._sources[0].storage}"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`."""
        parts = [source.read(first, last) for source, first, last in self._stretches(start, stop)]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else self._sources[0].read(0, 0)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See :meth:`Source.take`."""
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.shape[0]:
            raise IndexError(f"{self.locator} has the rows 0 to {self.shape[0] - 1}. Asked for {rows.max()}.")
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        for owner in np.unique(owners).tolist():
            chosen = np.flatnonzero(owners == owner)
            out[chosen] = self._sources[owner].take(rows[chosen] - self._starts[owner])
        return out

    def plan(self, start: int, stop: int, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """See :meth:`Source.plan`: the blocks of each source, which do not reach into the next one."""
        stops, position = [], start
        for source, first, last in self._stretches(start, stop):
            stops += [position + block.stop - first for block in source.plan(first, last, target_nbytes)]
            position += last - first
        return Plan(start, stop, cuts=tuple(stops[:-1]))

    def plan_reads(self, target_nbytes: int = TARGET_NBYTES) -> Plan:
        """See :meth:`Source.plan_reads`: the blocks of each source, which do not reach into the next one."""
        starts = self._starts.tolist()
        plans = zip(starts, (source.plan_reads(target_nbytes) for source in self._sources), strict=False)
        stops = [offset + block.stop for offset, plan in plans for block in plan]
        return Plan(0, self.shape[0], cuts=tuple(stops[:-1]))

    def _stretches(self, start: int, stop: int) -> list[tuple[Source, int, int]]:
        """What of each source lies between two rows."""
        found = []
        for source, (offset, end) in zip(self._sources, itertools.pairwise(self._starts.tolist()), strict=True):
            first, last = max(start, offset), min(stop, end)
            if first < last:
                found.append((source, first - offset, last - offset))
        return found


class SomeRows(Source):
    """Some consecutive rows of a source.

    Parameters
    ----------
    source : Source
    first, last : int
        Its rows from the first up to, but not including, the last.
    """

    def __init__(self, source: Source, first: int, last: int) -> None:
        self._source, self._first = source, first
        _, height, width, channels = source.shape
        self.shape = (last - first, height, width, channels)
        self.dtype, self.natural_rows, self.locator = source.dtype, source.natural_rows, source.locator
        self.random_access, self.is_quick = source.random_access, source.is_quick

    @property
    def is_far(self) -> bool:
        """See :class:`Source`."""
        return self._source.is_far

    @property
    def is_here(self) -> bool:
        """See :class:`Source`."""
        return self._source.is_here

    @property
    def decoded_rows(self) -> int:
        """See :class:`Source`."""
        return self._source.decoded_rows

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`."""
        return self._source.read(start + self._first, stop + self._first)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See :meth:`Source.take`."""
        return self._source.take(rows + self._first)

    def reader(self, start: int, stop: int) -> BlockReader:
        """See :meth:`Source.reader`."""
        return self._source.reader(start + self._first, stop + self._first)

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Source.rows_reader`."""
        return self._source.rows_reader(rows + self._first)
