"""The fused image kernel: warp, flip, channel shift, brightness and standardisation of one image after another.

An image is copied to scratch memory, interleaved, before anything is written: reading it in order brings it into the
cache, and `out` may be the input itself. Then it is worked on in a strip of scratch memory, one row where no operation
looks at the whole image, else all its rows, which stays in the cache whatever the strides of input and output.
Sums over an image are taken column by column first: a fixed order that still vectorises.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from daskaug.kernels.loops_warp import (
    blend,
    blend_as_scipy,
    blend_wide,
    copy_row,
    fill_inside,
    load,
    locate_row,
    part,
    pick,
)


@part
def widen_extremes(row: Any, begin: Any, extremes: Any) -> None:
    """Minimum and maximum of each element of a row, so far. NaN compares false and is passed over."""
    for e in range(extremes.shape[1]):
        u, value = np.uintp(e), row[np.uintp(begin + e)]
        extremes[0, u] = value if value < extremes[0, u] else extremes[0, u]
        extremes[1, u] = value if value > extremes[1, u] else extremes[1, u]


@part
def adjust(
    strip: Any, end: Any, shift: Any, low: Any, high: Any, gain: Any, value_range: Any, scale: Any, alpha: Any
) -> None:
    """Add and clip; multiply and clip, but with `alpha` not every fourth element; multiply. NaN stays NaN.

    ``x · 1`` is x to the bit, and so is ``x + (-0.0)``, which keeps the sign of a zero where ``x + 0.0`` does not: an
    operation that is not wanted costs less than going over the memory once for each that is.
    """
    lowest, highest = value_range
    for e in range(end):
        value = strip[np.uintp(e)] + shift
        value = low if value < low else value
        value = high if value > high else value
        brighter = value * gain
        brighter = lowest if brighter < lowest else brighter
        brighter = highest if brighter > highest else brighter
        strip[np.uintp(e)] = (value if alpha and e & 3 == 3 else brighter) * scale


@part
def moments(strip: Any, rows: Any, pitch: Any, centre: Any, sums: Any) -> Any:
    """Sum of the deviations of all elements from `centre`, and of their squares."""
    for e in range(sums.shape[1]):
        sums[0, e] = sums[1, e] = 0.0
    for r in range(rows):
        for e in range(sums.shape[1]):
            deviation = np.float64(strip[np.uintp(r * pitch + e)]) - centre
            sums[0, np.uintp(e)] += deviation
            sums[1, np.uintp(e)] += deviation * deviation
    first, second = 0.0, 0.0
    for e in range(sums.shape[1]):
        first += sums[0, e]
        second += sums[1, e]
    return first, second


@part
def standardize_sample(strip: Any, rows: Any, pitch: Any, center: Any, normalize: Any, sums: Any) -> None:
    """Subtract the mean of an image from it, and divide it by its standard deviation."""
    kind = strip.dtype.type
    length = sums.shape[1]
    count = rows * length
    mean = moments(strip, rows, pitch, 0.0, sums)[0] / count
    if center:
        for r in range(rows):
            for e in range(r * pitch, r * pitch + length):
                strip[np.uintp(e)] -= kind(mean)
    if normalize:
        first, second = moments(strip, rows, pitch, 0.0 if center else mean, sums)
        variance = (second - first * first / count) / count
        divisor = np.sqrt(variance if variance > 0.0 else 0.0) + 1e-6
        for r in range(rows):
            for e in range(r * pitch, r * pitch + length):
                strip[np.uintp(e)] /= kind(divisor)


@part
def store_row(row: Any, begin: Any, mean: Any, divisor: Any, out: Any, target: Any, channels: Any, across: Any,
              step: Any, length: Any) -> None:  # fmt: skip
    """Standardise a row by `mean` and `divisor`, one entry per element or empty, and write it to its place."""
    if mean.shape[0] > 0 and divisor.shape[0] > 0:
        for e in range(length):
            row[np.uintp(begin + e)] = (row[np.uintp(begin + e)] - mean[np.uintp(e)]) / divisor[np.uintp(e)]
    elif mean.shape[0] > 0:
        for e in range(length):
            row[np.uintp(begin + e)] -= mean[np.uintp(e)]
    elif divisor.shape[0] > 0:
        for e in range(length):
            row[np.uintp(begin + e)] /= divisor[np.uintp(e)]
    if across == channels and (step == 1 or channels == 1):
        for e in range(length):
            out[np.uintp(target + e)] = row[np.uintp(begin + e)]
        return
    for channel in range(channels):
        for k in range(length // channels):
            out[np.uintp(target + k * across + channel * step)] = row[np.uintp(begin + k * channels + channel)]


def transform(
    pixels: Any, layout: Any, shape: Any, index: Any, matrices: Any, flips: Any, shifts: Any, gains: Any,
    value_range: Any, resampling: Any, fill: Any, scale: Any, samplewise: Any, mean: Any, divisor: Any, image: Any,
    out: Any, out_layout: Any, whole: Any,
) -> None:  # fmt: skip
    """Write the transformed image ``index[k]`` of `pixels` to place k of `out`, for every k.

    `images.py` documents the operations. Here `pixels` and `out` are flat memory and a layout counts elements: the
    first pixel, then the steps to the next image, row, column and channel. What holds pixel values (`shifts`,
    `gains`, `value_range`, `fill`, `scale`; `mean` and `divisor`, one entry per element of a row) has the type of
    `out`. An empty array stands for an operation that is not wanted. `image` is scratch memory for one image and one
    element more, of a type that holds the pixels and is no less than `out`'s. `whole` keeps all rows of an image in
    scratch memory, which channel shift and samplewise standardisation need.
    """
    height, width, channels = shape
    offset, image_step, down, across, step = layout
    out_offset, out_image_step, out_down, out_across, out_step = out_layout
    order, mode, double = resampling
    center, normalize = samplewise
    length = width * channels
    # blend_wide reads one element behind the image and writes one behind a row. With four channels, `adjust` counts on
    # alpha being every fourth element of all the rows.
    pitch = length + 4
    rows = height if whole else 1
    strip = np.zeros(rows * pitch, out.dtype)
    extremes = np.empty((2, length), out.dtype)
    sums = np.empty((2, length), np.float64)
    places, weights = np.empty((3, width), np.int64), np.empty((2, width), out.dtype)
    weights_double = np.empty((2, width), np.float64)
    kind = out.dtype.type
    zero, one, infinity = kind(-0.0), kind(1.0), kind(np.inf)

    for k in range(index.shape[0]):
        target = out_offset + k * out_image_step
        load(pixels, offset + index[k] * image_step, (down, across, step), shape, image)
        mirrored = flips.shape[0] > 0 and flips[k, 0]
        upside_down = flips.shape[0] > 0 and flips[k, 1]
        warped = matrices.shape[0] > 0 and not (
            matrices[k, 0, 0] == 1.0 and matrices[k, 0, 1] == 0.0 and matrices[k, 0, 2] == 0.0
            and matrices[k, 1, 0] == 0.0 and matrices[k, 1, 1] == 1.0 and matrices[k, 1, 2] == 0.0
        )  # fmt: skip
        inverses = (1.0 / matrices[k, 0, 1], 1.0 / matrices[k, 1, 1]) if warped else (0.0, 0.0)
        shifted = shifts.shape[0] > 0 and not np.isnan(shifts[k]) and shifts[k] != 0
        brightened = gains.shape[0] > 0 and not np.isnan(gains[k]) and gains[k] != 1
        low, high = infinity, -infinity
        for e in range(length):
            extremes[0, e], extremes[1, e] = low, high
        for top in range(0, height, rows):
            for r in range(rows):
                y, begin = height - 1 - top - r if upside_down else top + r, r * pitch
                if not warped:
                    copy_row(image, y * length, strip, begin, width, channels, mirrored)
                elif double:
                    span = locate_row(places, weights_double, matrices, k, y, shape, mode, order, mirrored, inverses)
                    if order == 0:
                        pick(image, strip, begin, places, channels, fill[0])
                    else:
                        fill_inside(places, span, channels)
                        blend_as_scipy(image, strip, begin, places, weights_double, channels, fill[0])
                else:
                    span = locate_row(places, weights, matrices, k, y, shape, mode, order, mirrored, inverses)
                    if order == 0:
                        pick(image, strip, begin, places, channels, fill[0])
                    elif channels == 3 or channels == 4:
                        blend_wide(image, strip, begin, places, weights, channels, fill[0], span)
                    else:
                        fill_inside(places, span, channels)
                        blend(image, strip, begin, places, weights, channels, fill[0])
                if shifted:
                    widen_extremes(strip, begin, extremes)
            if shifted:
                for e in range(length):
                    low, high = min(low, extremes[0, e]), max(high, extremes[1, e])
            if shifted or brightened or scale[0] != 1:
                limits = (value_range[0], value_range[1]) if brightened else (-infinity, infinity)
                adjust(strip, rows * pitch, shifts[k] if shifted else zero, low if shifted else -infinity,
                       high if shifted else infinity, gains[k] if brightened else one, limits, scale[0],
                       channels == 4)  # fmt: skip
            if center or normalize:
                standardize_sample(strip, rows, pitch, center, normalize, sums)
            for r in range(rows):
                store_row(strip, r * pitch, mean, divisor, out, target + (top + r) * out_down, channels, out_across,
                          out_step, length)  # fmt: skip
