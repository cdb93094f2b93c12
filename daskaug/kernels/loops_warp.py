"""One output row of an affine transform, for machine code.

The coordinate rules are those of ``scipy.ndimage.affine_transform`` in SciPy 1.17, down to the order of the additions:
a coordinate is ``(offset + row·a) + column·b``, so along an output row it is a start plus a multiple of a step.

Where the four neighbours of a pixel lie is written down first (:func:`locate_row`), the pixels are blended afterwards.
The columns whose neighbours all lie inside the image are an interval, because rounding never reverses an order; only
the others take the branches of the fill modes.

Arrays are flat and steps count elements. A position is cast to unsigned before it indexes: numba would test it for
being negative otherwise, and LLVM would not vectorise. Every function costs compile time, and so does every level of
calls, so they are few and flat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np

_Function = TypeVar("_Function", bound=Callable[..., Any])


def part(function: _Function) -> _Function:
    """Make a function that kernels can call, and only they. A division by zero gives inf: no branch that raises."""
    compiler = numba.njit(
        nogil=True, fastmath=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True
    )
    return cast("_Function", compiler(function))


CONSTANT, NEAREST, REFLECT, WRAP = 0, 1, 2, 3

# Rows of `places`: the position of the first neighbour, and the steps to the neighbours below and beside it.
FIRST, DOWN, ACROSS = 0, 1, 2
NARROW = 64
OUTSIDE = -1  # instead of a position: the pixel takes the fill value

_1, _2, _3 = np.uintp(1), np.uintp(2), np.uintp(3)


@part
def inside_span(start: Any, step: Any, inverse: Any, last: Any, columns: Any) -> Any:
    """Interval of the columns whose coordinate ``start + column·step`` is at least 0 and less than `last`.

    A closed form with `inverse`, about 1 / `step`, guesses it and the coordinates themselves settle both ends. A guess
    that misses columns costs time, never a wrong pixel: the branches of the fill modes get the inside right too.
    """
    if step == 0.0:
        return 0, columns if 0.0 <= start < last else 0
    one, other = (0.0 - start) * inverse, (last - start) * inverse
    if one > other:
        one, other = other, one
    left = np.int64(np.ceil(one)) if 0.0 < one < columns else (0 if one <= 0.0 else columns)
    right = np.int64(np.ceil(other)) if 0.0 < other < columns else (0 if other <= 0.0 else columns)
    while left > 0 and 0.0 <= start + (left - 1) * step < last:
        left -= 1
    while left < right and not 0.0 <= start + left * step < last:
        left += 1
    while left < right and not 0.0 <= start + (right - 1) * step < last:
        right -= 1
    while left < right < columns and 0.0 <= start + right * step < last:
        right += 1
    return left, right


@part
def settle(x: Any, size: Any, mode: Any, half: Any) -> Any:
    """Along one axis: the two pixels around a coordinate by the rules of the fill mode, and the way to the second.

    The first is -1 where there is nothing but the fill value. `half` is 0.5 for order 0, where the first pixel is the
    nearest one and the rest means nothing, else 0.
    """
    last = size - 1
    if not 0.0 <= x <= last and mode != NEAREST:
        if mode == CONSTANT:
            return -1, -1, 0.0
        period = 2 * size if mode == REFLECT else last
        if size == 1:
            x = 0.0
        elif mode == WRAP:  # the last pixel falls on the first one, so the period is size - 1
            x = x + period * (np.int64(-x / period) + 1) if x < 0.0 else x - period * np.int64(x / period)
        elif x < 0.0:
            if x < -period:
                x = period * np.int64(-x / period) + x
            # A hair below zero must not come out as -1, which would mean "nothing there".
            x = x + period if x < -size else (1e-15 if x > -1e-15 else -x) - 1.0
        else:
            x = x - period * np.int64(x / period)
            if x >= size:
                x = period - x - 1.0
        if not x > -1.0:
            return -1, -1, 0.0
    base = np.floor(x + half)
    i = np.int64(base)
    if mode == NEAREST or mode == REFLECT:  # beside the image there is its rim
        return min(max(i, 0), last), min(max(i + 1, 0), last), x - base
    mirror = max(last - 1, 0)  # beside the image there is its mirror image, without the rim
    first = min(1, last) if i < 0 else (i if i <= last else mirror)
    return first, (i + 1 if i < last else mirror), x - base


@part
def locate_row(
    places: Any, weights: Any, matrices: Any, k: Any, y: Any, shape: Any, mode: Any, order: Any, mirrored: Any,
    inverses: Any,
) -> Any:  # fmt: skip
    """Neighbours of each pixel of output row `y` under matrix `k`, and how far between them the pixel lies.

    places : (3, w) int64, see FIRST, DOWN, ACROSS; the steps are left out inside, where they are the image's own.
    weights : (2, w) float, fractions of a row and of a column.  shape : (h, w, c) of the image.
    mirrored : column 0 is the last one.  inverses : about 1 / the steps of row and column from pixel to pixel.
    Returns the interval of the pixels that lie inside.
    """
    height, width, across = shape
    down = width * across
    start = np.float64(y)
    row_start, row_step = matrices[k, 0, 2] + start * matrices[k, 0, 0], matrices[k, 0, 1]
    column_start, column_step = matrices[k, 1, 2] + start * matrices[k, 1, 0], matrices[k, 1, 1]
    half = 0.5 if order == 0 else 0.0
    left, right = 0, 0
    if mode != NEAREST or width > NARROW:
        left, right = inside_span(row_start, row_step, inverses[0], height - 1.0, width)
        other_left, other_right = inside_span(column_start, column_step, inverses[1], width - 1.0, width)
        left, right = max(left, other_left), min(right, other_right)
        right = max(left, right)
    if mirrored:
        left, right = width - right, width - left
    first_column, direction = (width - 1, -1) if mirrored else (0, 1)
    for c in range(left, right):
        column, u = np.float64(first_column + direction * c), np.uintp(c)
        y, x = row_start + column * row_step, column_start + column * column_step
        i, j = np.int32(y + half), np.int32(x + half)
        places[FIRST, u] = product(i, down) + product(j, across)
        weights[0, u], weights[1, u] = y - np.float64(i), x - np.float64(j)
    for side in range(2):
        begin, end = (right, width) if side else (0, left)
        if mode == NEAREST:  # as `settle` does, without branches
            for c in range(begin, end):
                column, u = np.float64(first_column + direction * c), np.uintp(c)
                y, x = row_start + column * row_step, column_start + column * column_step
                above, before = np.floor(y + half), np.floor(x + half)
                i, i_next = clamped(above, height - 1.0), clamped(above + 1.0, height - 1.0)
                j, j_next = clamped(before, width - 1.0), clamped(before + 1.0, width - 1.0)
                places[FIRST, u] = product(i, down) + product(j, across)
                places[DOWN, u], places[ACROSS, u] = product(i_next - i, down), product(j_next - j, across)
                weights[0, u], weights[1, u] = y - above, x - before
            continue
        for c in range(begin, end):
            column, u = np.float64(first_column + direction * c), np.uintp(c)
            i, i_next, s = settle(row_start + column * row_step, height, mode, half)
            j, j_next, t = settle(column_start + column * column_step, width, mode, half)
            places[FIRST, u] = i * down + j * across if i >= 0 and j >= 0 else OUTSIDE
            places[DOWN, u], places[ACROSS, u] = (i_next - i) * down, (j_next - j) * across
            weights[0, u], weights[1, u] = s, t
    return left, right


@part
def clamped(x: Any, last: Any) -> Any:
    """A whole number as an index from 0 to `last`."""
    x = 0.0 if x < 0.0 else x
    return np.int32(last if x > last else x)


@part
def product(i: Any, step: Any) -> Any:
    """The product of two numbers from 0 to 2**32 - 1 in 64 bits: there is a vector instruction for just that."""
    return np.int64(np.uint64(np.uint32(i)) * (np.uint64(step) & np.uint64(0xFFFFFFFF)))


@part
def pick(image: Any, row: Any, begin: Any, places: Any, channels: Any, fill: Any) -> None:
    """Order 0: write the first neighbours to ``row[begin:]``."""
    for channel in range(channels):
        for k in range(places.shape[1]):
            p = places[FIRST, np.uintp(k)]
            at = np.uintp(begin + k * channels + channel)
            row[at] = fill if p == OUTSIDE else image[np.uintp(p + channel)]


@part
def blend(image: Any, row: Any, begin: Any, places: Any, weights: Any, channels: Any, fill: Any) -> None:
    """Order 1 in the arithmetic of `row`'s type, for any number of channels. All of `places` must be there."""
    kind = row.dtype.type
    for channel in range(channels):
        for k in range(places.shape[1]):
            u, at = np.uintp(k), np.uintp(begin + k * channels + channel)
            if places[FIRST, u] == OUTSIDE:
                row[at] = fill
                continue
            p, across = np.uintp(places[FIRST, u] + channel), np.uintp(places[ACROSS, u])
            q = p + np.uintp(places[DOWN, u])
            s, t = weights[0, u], weights[1, u]
            a, c = kind(image[p]), kind(image[q])
            a = a + t * (kind(image[p + across]) - a)
            c = c + t * (kind(image[q + across]) - c)
            row[at] = a + s * (c - a)


@part
def blend_four(image: Any, row: Any, at: Any, p: Any, q: Any, across: Any, s: Any, t: Any) -> None:
    """Four channels of one pixel, written so that LLVM makes vectors of four out of it."""
    kind = row.dtype.type
    a0, a1, a2, a3 = kind(image[p]), kind(image[p + _1]), kind(image[p + _2]), kind(image[p + _3])
    c0, c1, c2, c3 = kind(image[q]), kind(image[q + _1]), kind(image[q + _2]), kind(image[q + _3])
    p, q = p + across, q + across
    b0, b1, b2, b3 = kind(image[p]), kind(image[p + _1]), kind(image[p + _2]), kind(image[p + _3])
    d0, d1, d2, d3 = kind(image[q]), kind(image[q + _1]), kind(image[q + _2]), kind(image[q + _3])
    a0, a1, a2, a3 = a0 + t * (b0 - a0), a1 + t * (b1 - a1), a2 + t * (b2 - a2), a3 + t * (b3 - a3)
    c0, c1, c2, c3 = c0 + t * (d0 - c0), c1 + t * (d1 - c1), c2 + t * (d2 - c2), c3 + t * (d3 - c3)
    row[at] = a0 + s * (c0 - a0)
    row[at + _1] = a1 + s * (c1 - a1)
    row[at + _2] = a2 + s * (c2 - a2)
    row[at + _3] = a3 + s * (c3 - a3)


@part
def blend_wide(
    image: Any, row: Any, begin: Any, places: Any, weights: Any, channels: Any, fill: Any, span: Any
) -> None:
    """The same numbers as :func:`blend` for 3 or 4 channels, four at a time.

    With 3 channels the fourth number comes from the pixel on the right: it is read for nothing, written beside the
    pixel and overwritten by the next one. There must be room for one element behind the image and behind the row.
    `span` is the interval of the pixels that lie inside.
    """
    left, right = span
    width = places.shape[1]
    down, beside = np.uintp(width * channels), np.uintp(channels)
    for side in range(2):
        first, last = (right, width) if side else (0, left)
        for k in range(first, last):
            u, at = np.uintp(k), np.uintp(begin + k * channels)
            if places[FIRST, u] == OUTSIDE:
                row[at] = fill
                row[at + _1] = fill
                row[at + _2] = fill
                row[at + _3] = fill
            else:
                p, across = np.uintp(places[FIRST, u]), np.uintp(places[ACROSS, u])
                blend_four(image, row, at, p, p + np.uintp(places[DOWN, u]), across, weights[0, u], weights[1, u])
        if side == 0:
            for k in range(left, right):
                u, at = np.uintp(k), np.uintp(begin + k * channels)
                p = np.uintp(places[FIRST, u])
                blend_four(image, row, at, p, p + down, beside, weights[0, u], weights[1, u])


@part
def fill_inside(places: Any, span: Any, channels: Any) -> None:
    """Write down the steps that :func:`locate_row` leaves out."""
    for k in range(span[0], span[1]):
        places[DOWN, np.uintp(k)], places[ACROSS, np.uintp(k)] = places.shape[1] * channels, channels


@part
def blend_as_scipy(image: Any, row: Any, begin: Any, places: Any, weights: Any, channels: Any, fill: Any) -> None:
    """Order 1 in float64 and in SciPy's order of operations, rounded once when it is stored."""
    for channel in range(channels):
        for k in range(places.shape[1]):
            u, at = np.uintp(k), np.uintp(begin + k * channels + channel)
            if places[FIRST, u] == OUTSIDE:
                row[at] = fill
                continue
            p, across = np.uintp(places[FIRST, u] + channel), np.uintp(places[ACROSS, u])
            q = p + np.uintp(places[DOWN, u])
            above, before = 1.0 - weights[0, u], 1.0 - weights[1, u]
            # SciPy's last weight is what is missing to 1, which is not the fraction itself, to the last bit.
            below, behind = 1.0 - above, 1.0 - before
            total = 0.0 + np.float64(image[p]) * above * before
            total += np.float64(image[p + across]) * above * behind
            total += np.float64(image[q]) * below * before
            row[at] = total + np.float64(image[q + across]) * below * behind


@part
def load(pixels: Any, source: Any, steps: Any, shape: Any, image: Any) -> None:
    """Copy an image of any strides, to have it interleaved, in the cache and with room for one element behind it."""
    height, width, channels = shape
    down, across, step = steps
    length = width * channels
    for r in range(height):
        begin, start = r * length, source + r * down
        if across == channels and (step == 1 or channels == 1):
            for e in range(length):
                image[np.uintp(begin + e)] = pixels[np.uintp(start + e)]
            continue
        for channel in range(channels):
            for k in range(width):
                position = np.uintp(start + k * across + channel * step)
                image[np.uintp(begin + k * channels + channel)] = pixels[position]


@part
def copy_row(image: Any, source: Any, row: Any, begin: Any, width: Any, channels: Any, mirrored: Any) -> None:
    """The pixels of one image row as they are; only their type changes."""
    if not mirrored:
        for e in range(width * channels):
            row[np.uintp(begin + e)] = image[np.uintp(source + e)]
        return
    for k in range(width):
        for channel in range(channels):
            position = np.uintp(source + (width - 1 - k) * channels + channel)
            row[np.uintp(begin + k * channels + channel)] = image[position]
