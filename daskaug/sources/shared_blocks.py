"""A chunked source on a cluster: each block is read by one worker, and used by the tasks of several."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.planning.block_cache import BlockLayout, KeptBlocks
from daskaug.sources.base import BlockReader, Source
from daskaug.sources.picking import PickRows


class HeldBlocks:
    """What a cluster has read and keeps for tasks to come: the blocks that were used last, within some bytes.

    Parameters
    ----------
    max_nbytes : int
        Decoded bytes, on all workers together. Copies that workers hand to each other come on top.
    """

    def __init__(self, max_nbytes: int) -> None:
        self._kept = KeptBlocks(max_nbytes)
        self._futures: dict[int, Any] = {}
        self._attempts = 0
        self._lock = threading.RLock()  # a finalizer may run in a thread that holds it

    def future(self, block: SharedBlock, is_usable: Callable[[Any], bool], begin: Callable[[str], Any]) -> Any:
        """The future of a block.

        Parameters
        ----------
        block : SharedBlock
        is_usable : callable
            Whether a future may still come to something.
        begin : callable
            ``begin(key)`` submits the reading.
        """
        with self._lock:
            known = self._futures.get(block.number)
            if known is not None and is_usable(known):
                self._kept.use(block.number)
                return known
            if known is not None:  # a task by the old name would only repeat the old error
                self._attempts += 1
            key = f"{block.key}-{self._attempts}" if self._attempts else block.key
            self._futures[block.number] = future = begin(key)
            for dropped in self._kept.add(block.number, block.nbytes):
                del self._futures[dropped]
            return future

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._futures.clear()
            self._kept.clear()


@dataclasses.dataclass(frozen=True, eq=False)
class SharedBlock:
    """A block that a task of its own reads.

    Attributes
    ----------
    number : int
    key : str
        Of that task.
    nbytes : int
        Decoded.
    reader : BlockReader
    held : HeldBlocks
        Where its future is kept.
    """

    number: int
    key: str
    nbytes: int
    reader: BlockReader
    held: HeldBlocks


class SharedBlocks:
    """The blocks of a source, to be read where the tasks run.

    Parameters
    ----------
    source : Source
        Opens itself on the workers.
    layout : BlockLayout
        The blocks; they cover the source.
    max_nbytes : int
        Decoded bytes of the blocks that are kept on the workers.
    """

    def __init__(self, source: Source, layout: BlockLayout, max_nbytes: int) -> None:
        self._source = source
        self._layout = layout
        self._token = uuid.uuid4().hex
        self._held = HeldBlocks(max_nbytes)

    def stop(self) -> None:
        """Let go of the blocks on the workers."""
        self._held.clear()

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """Some rows, in their order."""
        return _SharedReader(self, rows)

    def parts(self, rows: NDArray[np.int64]) -> tuple[list[SharedBlock], NDArray[np.int64]]:
        """The blocks that hold some rows, increasing, and the first row of each."""
        owners = np.unique(self._layout.owners(rows))
        return [self._block(number) for number in owners.tolist()], self._layout.starts[owners]

    def pick(self, rows: NDArray[np.int64], starts: NDArray[np.int64]) -> PickRows:
        """What takes the rows out of blocks that begin at `starts`."""
        label = f"{len(rows)} rows of {self._source.locator}, the first of them {rows[:1].tolist()}"
        return PickRows(rows, starts, self._source.shape[1:], self._source.dtype, label)

    def load(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The rows, read in this process."""
        return self._source.take(rows)

    def _block(self, number: int) -> SharedBlock:
        start, stop = int(self._layout.starts[number]), int(self._layout.stops[number])
        key = f"daskaug-read-{self._token}-{number}"
        return SharedBlock(number, key, self._layout.nbytes(number), self._source.reader(start, stop), self._held)


@dataclasses.dataclass(frozen=True, eq=False)
class _SharedReader(BlockReader):
    """Rows of shared blocks."""

    shared: SharedBlocks
    rows: NDArray[np.int64]

    def parts(self) -> list[Any]:
        """See :meth:`BlockReader.parts`."""
        return list(self.shared.parts(self.rows)[0])

    def assembly(self) -> Callable[[list[Any]], Any]:
        """See :meth:`BlockReader.assembly`."""
        return self.shared.pick(self.rows, self.shared.parts(self.rows)[1])

    def load(self) -> NDArray[Any]:
        """See :meth:`BlockReader.load`."""
        return self.shared.load(self.rows)

    def __repr__(self) -> str:
        return repr(self.assembly())
