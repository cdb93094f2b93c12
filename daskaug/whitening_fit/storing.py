"""Where the directions go: into memory, or where they are large into a Zarr array."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.statistics.whitening import Whitening
from daskaug.statistics.whitening.plan import STORED_NBYTES


@dataclasses.dataclass(frozen=True)
class Finish:
    """How the factors come out.

    Attributes
    ----------
    epsilon : float
        Added to the singular values.
    rescale : float
        The whitening is for images multiplied by it.
    store : path, URL or None
        Where large factors are kept.
    """

    epsilon: float
    rescale: float
    store: str | Path | None

    def keep(self, slabs: Iterable[NDArray[Any]], shape: tuple[int, int]) -> Any:
        """The directions (d, rank), which come in slabs of rows: in memory, or where they are large in their store."""
        if self._fits_in_memory(shape):
            return np.concatenate(list(slabs))
        from daskaug.statistics.whitening.stored import DirectionsWriter

        writer = DirectionsWriter(self.store, shape)
        for slab in slabs:
            writer.write(slab)
        return writer.close()

    def keep_large(self, whitening: Whitening) -> Whitening:
        """The same whitening, its directions in a store where they are large or one was asked for."""
        u = whitening.u
        shape = u.shape[0], u.shape[1]
        return (
            whitening
            if self._fits_in_memory(shape)
            else dataclasses.replace(whitening, directions=self.keep([u], shape))
        )

    def _fits_in_memory(self, shape: tuple[int, int]) -> bool:
        return 4 * shape[0] * shape[1] <= STORED_NBYTES and self.store is None
