"""Rows of a chunked source in any order, without reading a chunk for every batch."""

from __future__ import annotations

import collections
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.sources.base import Source


class RowCache:
    """The blocks of a source that were used last.

    Parameters
    ----------
    source : Source
    starts : (k,) int64
        First row of each block, increasing; together the blocks cover the source.
    max_nbytes : int
        Decoded bytes to keep. One block is kept whatever its size.
    """

    def __init__(self, source: Source, starts: NDArray[np.int64], max_nbytes: int) -> None:
        self._source = source
        self._starts = starts
        self._stops = np.append(starts[1:], source.shape[0])
        self._max_nbytes = max_nbytes
        self._blocks: collections.OrderedDict[int, NDArray[Any]] = collections.OrderedDict()
        self._loading: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The images at `rows`, in their order.

        Returns
        -------
        (len(rows), ...) array of the source's dtype
        """
        out = np.empty((len(rows), *self._source.shape[1:]), self._source.dtype)
        owners = np.searchsorted(self._starts, rows, side="right") - 1
        for owner in np.unique(owners):
            chosen = owners == owner
            out[chosen] = self._block(int(owner))[rows[chosen] - self._starts[owner]]
        return out

    def _block(self, number: int) -> NDArray[Any]:
        with self._lock:
            if number in self._blocks:
                self._blocks.move_to_end(number)
                return self._blocks[number]
            loading = self._loading.setdefault(number, threading.Lock())
        with loading:  # a second thread that wants the same block waits for the first one's copy
            with self._lock:
                if number in self._blocks:
                    return self._blocks[number]
            try:
                block = self._source.read(int(self._starts[number]), int(self._stops[number]))
            except BaseException:
                with self._lock:
                    self._loading.pop(number, None)
                raise
            with self._lock:
                self._blocks[number] = block
                self._loading.pop(number, None)
                while len(self._blocks) > 1 and sum(b.nbytes for b in self._blocks.values()) > self._max_nbytes:
                    self._blocks.popitem(last=False)
            return block
