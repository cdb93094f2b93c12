"""Sums over the pixels of a block: exact for integers, sample by sample for floats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError

# Arrays whose memory is not in a plain order are copied piece by piece; a piece of this size stays in the cache.
TILE_BYTES = 1 << 19

EXACT_DTYPES = ("bool", "int8", "uint8", "int16", "uint16")
"""Names of the dtypes whose moments are exact integers."""


class IntegerSums(NamedTuple):
    """Exact moments of the channels of one block, as Python integers."""

    sums: tuple[int, ...]
    squares: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]


class Leaves(NamedTuple):
    """Moments of each sample of one block on its own.

    Attributes
    ----------
    mean, m2 : (b, c) float64
        Mean and sum of squared deviations from it; zero for samples with NaN or infinite pixels.
    low, high : (c,) float64
        Extremes over all finite samples, ±infinity where there is none.
    bad : (b,) int64
        Number of NaN and infinite elements in each sample.
    """

    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    bad: NDArray[np.int64]


def integer_moments(block: NDArray[Any]) -> IntegerSums:
    """Exact sum, sum of squares, minimum and maximum of every channel.

    Parameters
    ----------
    block : (b, h, w, c) bool, int8, uint8, int16 or uint16
        A view of any strides and byte order, at least one element; not written to.

    Returns
    -------
    IntegerSums
        One Python integer per channel in every field, whatever the size of the block.

    Raises
    ------
    SourceError
        The dtype is another one.
    """
    if block.dtype.name not in EXACT_DTYPES:
        raise SourceError(f"exact moments need one of {', '.join(EXACT_DTYPES)}, not {block.dtype}")
    from daskaug.kernels.loops_moments import compiled_integer_moments

    signed = block.dtype.kind == "i"
    unsigned = np.dtype(f"u{block.dtype.itemsize}")
    kernel = compiled_integer_moments(unsigned)
    channels = block.shape[3]
    offset = 1 << (8 * unsigned.itemsize - 1) if signed else 0
    totals = np.zeros((channels, 3), np.uint64)
    low = np.full(channels, np.iinfo(unsigned).max, unsigned)
    high = np.zeros(channels, unsigned)
    wide = np.empty(0, np.uint32 if unsigned.itemsize == 1 else np.uint64)
    for tile in _tiles(block, block.dtype.newbyteorder("="), split_samples=True):
        arranged, period = _arrange(tile)
        groups = arranged.shape[1]
        # (b, groups, h, lanes) -> (b · groups, h · lanes); channels-last samples follow each other in one long row
        rows = arranged.reshape(len(tile) * groups if groups > 1 else 1, -1).view(unsigned)
        kernel(rows, groups, period, unsigned.type(offset), wide, totals, low, high)

    pixels = block.size // channels
    raw = [(int(total), int(lower) + (int(upper) << 32)) for total, lower, upper in totals]
    return IntegerSums(
        sums=tuple(total - offset * pixels for total, _ in raw),
        squares=tuple(square - 2 * offset * total + offset * offset * pixels for total, square in raw),
        low=tuple(int(value) - offset for value in low),
        high=tuple(int(value) - offset for value in high),
    )


def integer_histogram(block: NDArray[Any]) -> NDArray[np.int64]:
    """How often each channel has each value.

    Parameters
    ----------
    block : (b, h, w, c) bool, int8, uint8, int16 or uint16
        A view of any strides and byte order; not written to.

    Returns
    -------
    (c, levels) int64
        Exact counts of 256 or 65,536 levels, the lowest value of the dtype first; for bool of False and True.

    Raises
    ------
    SourceError
        The dtype is another one.
    """
    if block.dtype.name not in EXACT_DTYPES:
        raise SourceError(f"exact histograms need one of {', '.join(EXACT_DTYPES)}, not {block.dtype}")
    from daskaug.kernels.loops_histogram import LANES, compiled_histogram

    unsigned = np.dtype(f"u{block.dtype.itemsize}")
    kernel = compiled_histogram(unsigned)
    channels, levels = block.shape[3], 1 << 8 * unsigned.itemsize
    counts = np.zeros((channels, levels), np.int64)
    for tile in _tiles(block, block.dtype.newbyteorder("="), split_samples=True):
        # The counters of the loop have 32 bits.
        step = max(1, (2**32 - 1) // max(1, tile[:1].size))
        for start in range(0, len(tile), step):
            arranged, period = _arrange(tile[start : start + step])
            groups = arranged.shape[1]
            rows = arranged.reshape(arranged.shape[0] * groups if groups > 1 else 1, -1).view(unsigned)
            lanes = LANES if LANES % period == 0 and unsigned.itemsize == 1 else period
            found = np.zeros(groups * lanes * levels, np.uint32)
            kernel(rows, groups, lanes, levels, found)
            counts += found.reshape(-1, lanes // period, period, levels).sum(axis=1, dtype=np.int64).reshape(-1, levels)
    if block.dtype.kind == "i":  # two's complement: the upper half are the negative values
        counts = np.roll(counts, levels // 2, axis=1)
    return counts[:, :2] if block.dtype.kind == "b" else counts


def float_leaves(block: NDArray[Any]) -> Leaves:
    """Mean and sum of squared deviations of every sample and channel, in float64.

    Parameters
    ----------
    block : (b, h, w, c) any real dtype
        A view of any strides and byte order; not written to. float32 and float64 are read as they are, float16 is
        widened to float32, everything else is converted to float64 a few samples at a time.

    Returns
    -------
    Leaves
        The numbers of a sample depend on its pixels alone, bit for bit: not on the other samples of the block, nor
        on the order of the axes in memory.

    Raises
    ------
    SourceError
        The dtype has no real numbers.
    """
    if block.dtype.kind not in "buif":
        raise SourceError(f"images must be of a real dtype (bool, integer or float), not {block.dtype}")
    from daskaug.kernels.loops_moments import compiled_float_leaves

    dtype = np.dtype(np.float32 if block.dtype.name in ("float16", "float32") else np.float64)
    kernel = compiled_float_leaves(dtype)
    samples, channels = block.shape[0], block.shape[3]
    mean, m2 = np.empty((samples, channels)), np.empty((samples, channels))
    low, high = np.full(channels, np.inf), np.full(channels, -np.inf)
    bad = np.empty(samples, np.int64)
    start = 0
    for tile in _tiles(block, dtype, split_samples=False):
        stop = start + len(tile)
        arranged, period = _arrange(tile)
        kernel(arranged, period, mean[start:stop], m2[start:stop], low, high, bad[start:stop])
        start = stop
    return Leaves(mean, m2, low, high, bad)


class OmittingLeaves(NamedTuple):
    """Moments of each sample of one block without its NaN and infinite pixels.

    Attributes
    ----------
    kept : (b, c) float64
        Pixels that were kept.
    mean, m2 : (b, c) float64
        Of these; zero where there are none.
    low, high : (c,) float64
        Extremes over all finite pixels, ±infinity where there is none.
    """

    kept: NDArray[np.float64]
    mean: NDArray[np.float64]
    m2: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def omitting_leaves(block: NDArray[Any]) -> OmittingLeaves:
    """As :func:`float_leaves`, but NaN and infinite pixels are left out, each in its own channel.

    Samples without such pixels have the very same numbers as from :func:`float_leaves`.
    """
    leaves = float_leaves(block)
    count = np.full(leaves.mean.shape, float(block.shape[1] * block.shape[2]))
    bad = np.flatnonzero(leaves.bad)
    if bad.size:
        from daskaug.kernels.loops_moments import compiled_omitting_leaf

        kernel = compiled_omitting_leaf()
        for i in bad:
            sample = np.ascontiguousarray(block[i], np.float64)
            kernel(sample, count[i], leaves.mean[i], leaves.m2[i], leaves.low, leaves.high)
    return OmittingLeaves(count, leaves.mean, leaves.m2, leaves.low, leaves.high)


def _tiles(block: NDArray[Any], dtype: np.dtype[Any], *, split_samples: bool) -> Iterator[NDArray[Any]]:
    """The block in pieces that :func:`_arrange` needs not copy.

    Parameters
    ----------
    block : (b, h, w, c)
    dtype : dtype
        What the pieces are converted to.
    split_samples : bool
        Whether a piece may be less than a whole sample.

    Yields
    ------
    (b', h', w, c) array
        The whole block itself where it is good as it is.
    """
    planes = block.transpose(0, 3, 1, 2)
    if block.dtype == dtype and (block.flags.c_contiguous or planes.flags.c_contiguous):
        yield block
        return
    channels_first = abs(block.strides[3]) > abs(block.strides[2])

    def copied(piece: NDArray[Any]) -> NDArray[Any]:
        if channels_first:
            return np.ascontiguousarray(piece.transpose(0, 3, 1, 2), dtype).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(piece, dtype)

    samples, height, width, channels = block.shape
    row_bytes = width * channels * dtype.itemsize
    step = max(TILE_BYTES // (height * row_bytes), 1)
    band = min(max(TILE_BYTES // row_bytes, 1), height) if split_samples else height
    for start in range(0, samples, step):
        for top in range(0, height, band):
            yield copied(block[start : start + step, top : top + band])


def _arrange(tile: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Look at a tile (b, h, w, c) as (b, groups, h, lanes) in memory order, without a copy; and channels per group."""
    samples, height, width, channels = tile.shape
    if tile.flags.c_contiguous:
        return tile.reshape(samples, 1, height, width * channels), channels
    return tile.transpose(0, 3, 1, 2), 1
