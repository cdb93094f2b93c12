"""Images in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.planning.blocks import Plan
from daskaug.sources.base import BlockReader, CarryingReader, Source


class NumpySource(Source):
    """A NumPy array of rank 4, of any strides, read-only or memory-mapped.

    Bytes of the other order are read as native ones.
    """

    random_access = True
    natural_rows = 1

    def __init__(self, array: NDArray[Any], locator: str = "memory") -> None:
        self._array = array
        n, *image = array.shape
        self.shape = (n, image[0], image[1], image[2])
        self.dtype = array.dtype.newbyteorder("=")
        self.locator = locator

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`; a view unless the byte order has to change."""
        return self._array[start:stop].astype(self.dtype, copy=False)

    def take(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """See :meth:`Source.take`."""
        return self._array[rows].astype(self.dtype, copy=False)

    def reader(self, start: int, stop: int) -> BlockReader:
        """The slice alone: the array stays where it is."""
        return CarryingReader(self.read(start, stop), f"rows {start} to {stop} of {self.locator}")

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """The rows alone."""
        return CarryingReader(self.take(rows), f"{len(rows)} rows of {self.locator}")

    @property
    def pieces(self) -> tuple[int, ...]:
        """See :class:`Source`: one piece."""
        return self.shape

    @property
    def storage(self) -> str:
        """See :class:`Source`."""
        return "memory-mapped" if isinstance(self._array, np.memmap) else "in memory"

    def as_dask(self, plan: Plan) -> Any:
        """See :meth:`Source.as_dask`."""
        from daskaug.sources.dask_array import from_numpy

        return from_numpy(self.read(0, self.shape[0]), [len(block) for block in plan])
