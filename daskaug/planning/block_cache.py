"""Which blocks of a source stay in memory, and what an order of reading costs with so much of it."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIMULATED_ROWS = 2**21
"""Rows of an order whose reading is simulated, at most: about a second's work."""


class KeptBlocks:
    """The blocks that were used last, as many as fit into a number of bytes. One is kept whatever its size.

    Numbers only; not safe to share between threads.

    Attributes
    ----------
    nbytes, peak_nbytes : int
        Bytes of the blocks that are kept, and the most there ever were.
    """

    def __init__(self, max_nbytes: int) -> None:
        self._max_nbytes = max_nbytes
        self._sizes: collections.OrderedDict[int, int] = collections.OrderedDict()
        self.nbytes = self.peak_nbytes = 0

    def use(self, number: int) -> bool:
        """Whether a block is kept; if so, it counts as the one used last."""
        if number not in self._sizes:
            return False
        self._sizes.move_to_end(number)
        return True

    def clear(self) -> None:
        """Let go of all."""
        self._sizes.clear()
        self.nbytes = 0

    def add(self, number: int, nbytes: int) -> list[int]:
        """Keep a block.

        Returns
        -------
        list of int
            The blocks to let go of for it.
        """
        self.nbytes += nbytes - self._sizes.pop(number, 0)
        self._sizes[number] = nbytes
        dropped = []
        while len(self._sizes) > 1 and self.nbytes > self._max_nbytes:
            old, size = self._sizes.popitem(last=False)
            self.nbytes -= size
            dropped.append(old)
        self.peak_nbytes = max(self.peak_nbytes, self.nbytes)
        return dropped


@dataclasses.dataclass(frozen=True, eq=False)
class BlockLayout:
    """How a source is cut into blocks that are read as a whole.

    Attributes
    ----------
    starts, stops : (k,) int64
        First row of each block, increasing, and the row after its last; together the blocks cover the source.
    row_nbytes : int
        Decoded bytes of a row.
    """

    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    row_nbytes: int

    def owners(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        """The block of each row."""
        return (np.searchsorted(self.starts, rows, side="right") - 1).astype(np.int64)

    def nbytes(self, number: int) -> int:
        """Decoded bytes of a block."""
        return int(self.stops[number] - self.starts[number]) * self.row_nbytes

    def look_ups(self, rows: NDArray[Any], tasks: NDArray[Any]) -> list[NDArray[np.int64]]:
        """The blocks that each task asks for, increasing.

        Parameters
        ----------
        rows : (k,) integers
            What the tasks read, task by task.
        tasks : (k,) integers
            Number of the task that reads each row, not decreasing.
        """
        each = np.unique(tasks.astype(np.int64) * len(self.starts) + self.owners(rows))
        number, block = np.divmod(each, max(1, len(self.starts)))
        return np.split(block, np.flatnonzero(np.diff(number)) + 1)


def bytes_read(layout: BlockLayout, look_ups: list[NDArray[np.int64]], max_nbytes: int | None) -> tuple[int, int]:
    """What is read for these look-ups, from an empty cache on.

    Parameters
    ----------
    layout : BlockLayout
    look_ups : list of (k,) int64
        Blocks that each task asks for; those that are kept come first.
    max_nbytes : int or None
        Of the cache. None: there is none, and every look-up reads.

    Returns
    -------
    read, kept : int
        Decoded bytes that are read, and those kept at most.
    """
    sizes = (layout.stops - layout.starts) * layout.row_nbytes
    if max_nbytes is None:
        return sum(int(sizes[wanted].sum()) for wanted in look_ups), 0
    kept, read = KeptBlocks(max_nbytes), 0
    for wanted in look_ups:
        missing = [number for number in wanted.tolist() if not kept.use(number)]
        for number in missing:
            size = int(sizes[number])
            read += size
            kept.add(number, size)
    return read, kept.peak_nbytes
