"""Rows out of blocks that are at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True, eq=False)
class PickRows:
    """Takes rows out of whole blocks.

    Attributes
    ----------
    rows : (k,) int64
        In the order in which they are wanted.
    starts : (b,) int64
        First row of each block, increasing.
    image_shape : tuple of int
    dtype : numpy.dtype
    label : str
        For people.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    image_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    label: str

    def __call__(self, blocks: list[Any]) -> NDArray[Any]:
        """The rows, (k, ...); of a single block that is wanted whole, the block itself."""
        if len(blocks) == 1 and len(self.rows) == len(blocks[0]) and (np.diff(self.rows) == 1).all():
            return np.asarray(blocks[0])
        out = np.empty((len(self.rows), *self.image_shape), self.dtype)
        owners = np.searchsorted(self.starts, self.rows, side="right") - 1
        for owner, block in enumerate(blocks):
            chosen = owners == owner
            out[chosen] = np.asarray(block)[self.rows[chosen] - self.starts[owner]]
        return out

    def __repr__(self) -> str:
        return self.label
