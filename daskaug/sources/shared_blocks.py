"""A chunked source on a cluster: each block is read by one worker, and used by the tasks of several."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.planning.block_cache import BlockLayout
from daskaug.sources.base import BlockReader, Source
from daskaug.sources.picking import PickRows


@dataclasses.dataclass(frozen=True, eq=False)
class SharedBlock:
    """A block that a task of its own reads.

    Attributes
    ----------
    key : str
        Of that task: whoever names it gets the same block.
    reader : BlockReader
    """

    key: str
    reader: BlockReader


class SharedBlocks:
    """The blocks of a source, to be read where the tasks run.

    Parameters
    ----------
    source : Source
        Opens itself on the workers.
    layout : BlockLayout
        The blocks; they cover the source.
    """

    def __init__(self, source: Source, layout: BlockLayout) -> None:
        self._source = source
        self._layout = layout
        self._token = uuid.uuid4().hex

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
        return SharedBlock(f"daskaug-read-{self._token}-{number}", self._source.reader(start, stop))


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
