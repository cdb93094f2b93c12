"""The loops behind :mod:`daskaug.kernels.moments`, as numba compiles them.

All of them work on *lanes*: accumulators that lie side by side in memory like the pixels they collect, so that the
compiler turns each inner loop into vector instructions without changing the order of any sum.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled

# Accumulators of so many neighbouring elements stay in the first-level cache beside the pixels.
LANES = 1536

# 65,536 values of 16 bits, or squares of 8 bits, are the most that a 32-bit accumulator holds for certain.
FLUSH_AFTER = 65536


def _add_strip(
    strip: NDArray[Any], flip: Any, sums: NDArray[Any], squares: NDArray[Any], low: NDArray[Any], high: NDArray[Any]
) -> None:
    """Add one strip of pixels to its lanes."""
    for j in range(strip.shape[0]):
        value = strip[j] ^ flip
        wide = np.uint32(value)
        sums[j] += wide
        squares[j] += wide * wide
    for j in range(strip.shape[0]):
        value = strip[j] ^ flip
        low[j] = value if value < low[j] else low[j]
        high[j] = value if value > high[j] else high[j]


def _add_four(
    strips: NDArray[Any],
    lanes: int,
    flip: Any,
    sums: NDArray[Any],
    squares: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
) -> None:
    """Add four strips that follow each other. One loop per accumulator: together they defeat the vectoriser."""
    first, second = strips[:lanes], strips[lanes : 2 * lanes]
    third, fourth = strips[2 * lanes : 3 * lanes], strips[3 * lanes : 4 * lanes]
    for j in range(lanes):
        a, b = np.uint32(first[j] ^ flip), np.uint32(second[j] ^ flip)
        c, d = np.uint32(third[j] ^ flip), np.uint32(fourth[j] ^ flip)
        sums[j] += (a + b) + (c + d)
    for j in range(lanes):
        a, b = np.uint32(first[j] ^ flip), np.uint32(second[j] ^ flip)
        c, d = np.uint32(third[j] ^ flip), np.uint32(fourth[j] ^ flip)
        squares[j] += (a * a + b * b) + (c * c + d * d)
    for j in range(lanes):
        p, q, r, s = first[j] ^ flip, second[j] ^ flip, third[j] ^ flip, fourth[j] ^ flip
        p = p if p < q else q
        r = r if r < s else s
        p = p if p < r else r
        low[j] = p if p < low[j] else low[j]
    for j in range(lanes):
        p, q, r, s = first[j] ^ flip, second[j] ^ flip, third[j] ^ flip, fourth[j] ^ flip
        p = p if p > q else q
        r = r if r > s else s
        p = p if p > r else r
        high[j] = p if p > high[j] else high[j]


def _flush(sums: NDArray[Any], squares: NDArray[Any], period: int, totals: NDArray[Any]) -> None:
    """Move the lanes into the totals of their channels and leave zeros.

    Sums of squares are kept as their low and high 32 bits apart, so that no block is large enough to overflow them.
    """
    for j in range(sums.shape[0]):
        channel = j % period
        square = np.uint64(squares[j])
        totals[channel, 0] += np.uint64(sums[j])
        totals[channel, 1] += square & np.uint64(0xFFFFFFFF)
        totals[channel, 2] += square >> np.uint64(32)
        sums[j] = 0
        squares[j] = 0


def integer_moments(
    rows: NDArray[Any],
    groups: int,
    period: int,
    flip: Any,
    wide: NDArray[Any],
    totals: NDArray[np.uint64],
    low: NDArray[Any],
    high: NDArray[Any],
) -> None:
    """Exact sums, sums of squares and extremes of each channel.

    Parameters
    ----------
    rows : (r, length) uint8 or uint16, C-contiguous
        Row ``i`` holds the channels ``i % groups · period ...``, its elements cycling through ``period`` of them.
    groups, period : int
        1 and the number of channels for channels-last rows, the number of channels and 1 for channels-first planes.
    flip : scalar of the dtype of ``rows``
        Every element is XORed with it; the sign bit turns two's complement into offset binary.
    wide : (0,) uint32 for uint8, uint64 for uint16
        Names the type that accumulates squares.
    totals : (channels, 3) uint64
        Added to: sum, sum of the low and sum of the high 32 bits of sums of squares.
    low, high : (channels,) of the dtype of ``rows``
        Updated.
    """
    length = rows.shape[1]
    lanes = min(max(LANES // period, 1) * period, length)
    sums = np.zeros(lanes, np.uint32)
    squares = np.zeros(lanes, wide.dtype)
    lowest = np.empty(lanes, rows.dtype)
    highest = np.empty(lanes, rows.dtype)
    for group in range(groups):
        channels = totals[group * period : (group + 1) * period]
        for j in range(lanes):
            lowest[j] = low[group * period + j % period]
            highest[j] = high[group * period + j % period]
        filled = 0
        for i in range(group, rows.shape[0], groups):
            at = 0
            while at < length:
                if filled > FLUSH_AFTER - 4:
                    _flush(sums, squares, period, channels)
                    filled = 0
                if at + 4 * lanes <= length:
                    _add_four(rows[i, at : at + 4 * lanes], lanes, flip, sums, squares, lowest, highest)
                    at += 4 * lanes
                    filled += 4
                else:
                    stop = min(at + lanes, length)
                    _add_strip(rows[i, at:stop], flip, sums, squares, lowest, highest)
                    at = stop
                    filled += 1
        _flush(sums, squares, period, channels)
        for j in range(lanes):
            channel = group * period + j % period
            low[channel] = min(low[channel], lowest[j])
            high[channel] = max(high[channel], highest[j])


def _lane_sums(image: NDArray[Any], sums: NDArray[np.float64]) -> None:
    """Sum of each column: four rows at a time from the top, then the rest one by one."""
    height, lanes = image.shape
    sums[:] = 0.0
    for y in range(0, height - height % 4, 4):
        first, second, third, fourth = image[y], image[y + 1], image[y + 2], image[y + 3]
        for j in range(lanes):
            top = np.float64(first[j]) + np.float64(second[j])
            sums[j] += top + (np.float64(third[j]) + np.float64(fourth[j]))
    for y in range(height - height % 4, height):
        row = image[y]
        for j in range(lanes):
            sums[j] += np.float64(row[j])


def _lane_deviations(
    image: NDArray[Any], centre: NDArray[np.float64], first_order: NDArray[np.float64], squares: NDArray[np.float64]
) -> None:
    """Sums of the deviations from ``centre`` and of their squares, each column in the order of :func:`_lane_sums`."""
    height, lanes = image.shape
    first_order[:] = 0.0
    squares[:] = 0.0
    for y in range(0, height - height % 2, 2):
        upper, lower = image[y], image[y + 1]
        for j in range(lanes):
            a, b = np.float64(upper[j]) - centre[j], np.float64(lower[j]) - centre[j]
            first_order[j] += a + b
            squares[j] += a * a + b * b
    for y in range(height - height % 2, height):
        row = image[y]
        for j in range(lanes):
            a = np.float64(row[j]) - centre[j]
            first_order[j] += a
            squares[j] += a * a


def _lane_extremes(image: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> None:
    """Lowest and highest value of each column."""
    height, lanes = image.shape
    for y in range(height):
        row = image[y]
        for j in range(lanes):
            low[j] = row[j] if row[j] < low[j] else low[j]
            high[j] = row[j] if row[j] > high[j] else high[j]


def _count_non_finite(sample: NDArray[Any]) -> int:
    count = 0
    for group in range(sample.shape[0]):
        for y in range(sample.shape[1]):
            for j in range(sample.shape[2]):
                if not np.isfinite(sample[group, y, j]):
                    count += 1
    return count


def _sum_every(lanes: NDArray[np.float64], first: int, period: int) -> float:
    """Sum of every ``period``-th lane, from left to right."""
    total = 0.0
    for j in range(first, lanes.shape[0], period):
        total += lanes[j]
    return total


def float_leaves(
    samples: NDArray[Any],
    period: int,
    mean: NDArray[np.float64],
    m2: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    bad: NDArray[np.int64],
) -> None:
    """Mean and sum of squared deviations of every sample and channel, in an order that no memory layout changes.

    The columns of a channel are summed from top to bottom, then the column sums from left to right. Both passes run
    in float64; the second removes the rounding error of the first pass' mean (the corrected two-pass algorithm).

    Parameters
    ----------
    samples : (b, groups, h, lanes) float32 or float64, C-contiguous
        Channels-last: one group of ``w · c`` lanes. Channels-first: ``c`` groups of ``w`` lanes.
    period : int
        Channels in a group.
    mean, m2 : (b, c) float64
        Written; zero for samples with NaN or infinite pixels.
    low, high : (c,) float64
        Updated by the samples that are finite.
    bad : (b,) int64
        Written: NaN and infinite elements of each sample.

    References
    ----------
    Chan, Golub, LeVeque: Algorithms for computing the sample variance, The American Statistician 37 (1983).
    """
    groups, height, lanes = samples.shape[1:]
    pixels = height * lanes // period
    sums = np.empty(lanes)
    squares = np.empty(lanes)
    centre = np.empty(lanes)
    lowest = np.full((groups, lanes), np.inf, samples.dtype)
    highest = np.full((groups, lanes), -np.inf, samples.dtype)
    for i in range(samples.shape[0]):
        finite = True
        for group in range(groups):
            _lane_sums(samples[i, group], sums)
            for k in range(period):
                total = _sum_every(sums, k, period)
                finite = finite and np.isfinite(total)
                mean[i, group * period + k] = total / pixels
        # Finite pixels may have an infinite sum, so only looking at each of them tells.
        bad[i] = 0 if finite else _count_non_finite(samples[i])
        if bad[i] > 0:
            mean[i] = 0.0
            m2[i] = 0.0
            continue
        for group in range(groups):
            for j in range(lanes):
                centre[j] = mean[i, group * period + j % period]
            _lane_deviations(samples[i, group], centre, sums, squares)
            _lane_extremes(samples[i, group], lowest[group], highest[group])
            for k in range(period):
                channel = group * period + k
                drift = _sum_every(sums, k, period)
                mean[i, channel] += drift / pixels
                m2[i, channel] = max(_sum_every(squares, k, period) - drift * drift / pixels, 0.0)
    for group in range(groups):
        for j in range(lanes):
            channel = group * period + j % period
            low[channel] = min(low[channel], np.float64(lowest[group, j]))
            high[channel] = max(high[channel], np.float64(highest[group, j]))


def omitting_leaf(
    sample: NDArray[np.float64],
    count: NDArray[np.float64],
    mean: NDArray[np.float64],
    m2: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
) -> None:
    """Moments of one sample without its NaN and infinite elements, pixel after pixel in C order, in two passes.

    Parameters
    ----------
    sample : (h, w, c) float64, C-contiguous
    count, mean, m2 : (c,) float64
        Written: elements kept, their mean and sum of squared deviations; zero where there are none.
    low, high : (c,) float64
        Updated.
    """
    for k in range(sample.shape[2]):
        kept = 0
        total = 0.0
        for y in range(sample.shape[0]):
            for x in range(sample.shape[1]):
                value = sample[y, x, k]
                if np.isfinite(value):
                    kept += 1
                    total += value
                    low[k] = min(low[k], value)
                    high[k] = max(high[k], value)
        count[k] = kept
        mean[k] = 0.0
        m2[k] = 0.0
        if kept == 0:
            continue
        centre = total / kept
        drift = 0.0
        squares = 0.0
        for y in range(sample.shape[0]):
            for x in range(sample.shape[1]):
                value = sample[y, x, k]
                if np.isfinite(value):
                    deviation = value - centre
                    drift += deviation
                    squares += deviation * deviation
        mean[k] = centre + drift / kept
        m2[k] = max(squares - drift * drift / kept, 0.0)


for _helper in (
    _add_strip,
    _add_four,
    _flush,
    _lane_sums,
    _lane_deviations,
    _lane_extremes,
    _count_non_finite,
    _sum_every,
):
    register_jitable(_helper)


def compiled_integer_moments(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Machine code of :func:`integer_moments` for uint8 or uint16."""
    pixel, wide = {1: (types.uint8, types.uint32), 2: (types.uint16, types.uint64)}[dtype.itemsize]
    return compiled(
        integer_moments,
        types.Array(pixel, 2, "C", readonly=True),
        types.int64,
        types.int64,
        pixel,
        types.Array(wide, 1, "C", readonly=True),
        types.Array(types.uint64, 2, "C"),
        types.Array(pixel, 1, "C"),
        types.Array(pixel, 1, "C"),
    )


def compiled_float_leaves(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Machine code of :func:`float_leaves` for float32 or float64."""
    pixel = {4: types.float32, 8: types.float64}[dtype.itemsize]
    return compiled(
        float_leaves,
        types.Array(pixel, 4, "C", readonly=True),
        types.int64,
        types.Array(types.float64, 2, "C"),
        types.Array(types.float64, 2, "C"),
        types.Array(types.float64, 1, "C"),
        types.Array(types.float64, 1, "C"),
        types.Array(types.int64, 1, "C"),
    )


def compiled_omitting_leaf() -> Callable[..., None]:
    """Machine code of :func:`omitting_leaf`."""
    vector = types.Array(types.float64, 1, "C")
    return compiled(
        omitting_leaf, types.Array(types.float64, 3, "C", readonly=True), vector, vector, vector, vector, vector
    )
