"""Rows of a chunked source in any order, without reading a chunk for every batch."""

from __future__ import annotations

import collections
import contextlib
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.execution import threads_executor
from daskaug.iterators.meter import Meter
from daskaug.planning.block_cache import BlockLayout, KeptBlocks
from daskaug.sources.base import Source


class RowCache:
    """The blocks of a source that were used last.

    Parameters
    ----------
    source : Source
    layout : BlockLayout
        The blocks; they cover the source.
    max_nbytes : int
        Decoded bytes to keep. One block is kept whatever its size.
    meter : Meter
        Counts which blocks were there.
    readers : int
        Threads that read ahead, at most.
    """

    def __init__(self, source: Source, layout: BlockLayout, max_nbytes: int, meter: Meter, *, readers: int = 1) -> None:
        self._source = source
        self._layout = layout
        self._meter = meter
        self._kept = KeptBlocks(max_nbytes)
        self._blocks: dict[int, NDArray[Any]] = {}
        self._loading: dict[int, threading.Lock] = {}
        self._lock = threading.RLock()  # a finalizer may run in a thread that holds it
        self._to_read: collections.deque[int] = collections.deque()
        self._idle_readers = readers

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images at `rows`, in their order.

        Returns
        -------
        (len(rows), ...) array of the source's dtype
        """
        out = np.empty((len(rows), *self._source.shape[1:]), self._source.dtype)
        owners = self._layout.owners(rows)
        wanted = [int(owner) for owner in np.unique(owners)]
        while wanted:
            owner = self._at_hand(wanted)
            wanted.remove(owner)
            chosen = owners == owner
            out[chosen] = self._block(owner)[rows[chosen] - self._layout.starts[owner]]
        return out

    def read_ahead(self, rows: NDArray[np.int64]) -> None:
        """Read the blocks of these rows, in their order, before somebody asks for them."""
        owners = self._layout.owners(rows)
        soon = owners[np.flatnonzero(np.diff(owners, prepend=-1))].tolist()
        with self._lock:
            known = {*self._blocks, *self._loading, *self._to_read}
            self._to_read.extend(number for number in dict.fromkeys(soon) if number not in known)
            begin = min(self._idle_readers, len(self._to_read))
            self._idle_readers -= begin
        for _ in range(begin):
            threads_executor().read_ahead(self._read_what_is_next)

    def stop_reading_ahead(self) -> None:
        """Read nothing more that nobody has asked for."""
        with self._lock:
            self._to_read.clear()

    def _read_what_is_next(self) -> None:
        while True:
            with self._lock:
                if not self._to_read:
                    self._idle_readers += 1
                    return
                number = self._to_read.popleft()
                if number in self._blocks or number in self._loading:
                    continue
            with contextlib.suppress(Exception):  # whoever needs the block tries again, and reports it
                self._block(number)

    def _at_hand(self, wanted: list[int]) -> int:
        """One that is kept, or else one that nobody is reading: threads then read side by side and seldom wait."""
        with self._lock:
            kept = next((number for number in wanted if number in self._blocks), None)
            if kept is not None:
                return kept
            return next((number for number in wanted if number not in self._loading), wanted[0])

    def _block(self, number: int) -> NDArray[Any]:
        with self._lock:
            if self._kept.use(number):
                self._meter.count_look_up(0)
                return self._blocks[number]
            loading = self._loading.setdefault(number, threading.Lock())
        with loading:  # a second thread that wants the same block waits for the first one's copy
            with self._lock:
                if self._kept.use(number):
                    self._meter.count_look_up(0)
                    return self._blocks[number]
            try:
                block = self._source.read(int(self._layout.starts[number]), int(self._layout.stops[number]))
            except BaseException:
                with self._lock:
                    self._loading.pop(number, None)
                raise
            with self._lock:
                self._blocks[number] = block
                self._loading.pop(number, None)
                for dropped in self._kept.add(number, block.nbytes):
                    del self._blocks[dropped]
                self._meter.count_look_up(block.nbytes)
            return block
