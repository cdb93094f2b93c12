"""The loop behind :func:`daskaug.kernels.moments.integer_histogram`, as numba compiles it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled

# Neighbouring elements go to tables of their own: many have the same value, and a counter cannot be read again before
# it has been written. A multiple of the usual numbers of channels, and 12 tables of 8-bit values stay in the cache.
LANES = 12


def histogram(rows: NDArray[Any], groups: int, lanes: int, levels: int, counts: NDArray[np.uint32]) -> None:
    """Count the values of each lane: of the elements whose position in their row is the same modulo the lanes.

    Parameters
    ----------
    rows : (r, length) uint8 or uint16, C-contiguous
        Row ``i`` belongs to group ``i % groups``; fewer than 2^32 elements in all.
    groups : int
    lanes : int
        A multiple of the channels in a row.
    levels : int
        Possible values.
    counts : (groups · lanes · levels,) uint32
        Added to.
    """
    length = rows.shape[1]
    size = np.uint64(levels)
    for i in range(rows.shape[0]):
        table = counts[(i % groups) * lanes * levels : (i % groups + 1) * lanes * levels]
        row = rows[i]
        whole = length - length % lanes
        if lanes == LANES:
            for at in range(0, whole, LANES):
                strip = row[at : at + LANES]
                for j in range(LANES):
                    table[np.uint64(j) * size + np.uint64(strip[j])] += np.uint32(1)
        else:
            for at in range(0, whole, lanes):
                strip = row[at : at + lanes]
                for j in range(lanes):
                    table[np.uint64(j) * size + np.uint64(strip[j])] += np.uint32(1)
        for at in range(whole, length):
            table[np.uint64(at - whole) * size + np.uint64(row[at])] += np.uint32(1)


def compiled_histogram(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Machine code of :func:`histogram` for uint8 or uint16."""
    pixel = {1: types.uint8, 2: types.uint16}[dtype.itemsize]
    return compiled(
        histogram,
        types.Array(pixel, 2, "C", readonly=True),
        types.int64,
        types.int64,
        types.int64,
        types.Array(types.uint32, 1, "C"),
    )
