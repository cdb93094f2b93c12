"""Images in, images out: affine warp, flips, channel shift, brightness, standardisation, rounding.

Blocks are (b, h, w, c); channels-first data come as transposed views. The loops are compiled when they are first used.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import stopping
from daskaug.errors import ConfigError
from daskaug.kernels.compile import compiled
from daskaug.kernels.memory import flat, strides_fit
from daskaug.kernels.rounding import round_to_integer

__all__ = [
    "FILL_MODES",
    "Resampling",
    "Standardization",
    "affine_spline",
    "round_to_integer",
    "standardize_images",
    "transform_images",
    "warm",
]

FILL_MODES = ("constant", "nearest", "reflect", "wrap")
"""What lies beside an image, in SciPy's words; ``wrap`` has a period of size - 1, as SciPy's."""

_COMPILED_DTYPES = frozenset(map(np.dtype, (np.uint8, np.uint16, np.float32, np.float64)))
_EXACT_IN_FLOAT32 = ("int8", "int16", "float16")
_FARTHEST = 2.0**50  # the coordinate arithmetic of the fill modes is good up to here, and then some
_IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@dataclass(frozen=True)
class Resampling:
    """How pixels between pixels are made.

    Attributes
    ----------
    order : int
        0 takes the nearest pixel, 1 interpolates linearly.
    fill_mode : str
        One of :data:`FILL_MODES`.
    cval : float
        Grey level beside the image for ``fill_mode="constant"``.
    double : bool
        True: float64 arithmetic in SciPy's order of operations, rounded once to the type of the output, which gives
        the bits of :func:`scipy.ndimage.affine_transform`. False: the arithmetic of the output's own type, which is
        about three times as fast and differs by 1e-4 grey levels.

    Raises
    ------
    ConfigError
        `order` or `fill_mode` is not one of these.
    """

    order: int = 1
    fill_mode: str = "nearest"
    cval: float = 0.0
    double: bool = False

    def __post_init__(self) -> None:
        if self.order not in (0, 1):
            raise ConfigError(f"order must be 0 or 1 here, not {self.order!r}; orders 2 to 5 are affine_spline's")
        if self.fill_mode not in FILL_MODES:
            raise ConfigError(f"fill_mode must be one of {', '.join(FILL_MODES)}, not {self.fill_mode!r}")


@dataclass(frozen=True, eq=False)
class Standardization:
    """What is subtracted and divided, in the order of the attributes.

    Attributes
    ----------
    rescale : float, optional
        Factor.
    samplewise_center : bool
        Subtract the mean of the whole image.
    samplewise_std : bool
        Divide by the standard deviation of the whole image + 1e-6.
    mean : (c,) array, optional
        Subtracted from every channel.
    divisor : (c,) array, optional
        Every channel is divided by it: its standard deviation + 1e-6.
    """

    rescale: float | None = None
    samplewise_center: bool = False
    samplewise_std: bool = False
    mean: NDArray[Any] | None = None
    divisor: NDArray[Any] | None = None


_PLAIN = Standardization()


@functools.cache
def _transform_kernel(pixels: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., None]:
    from numba import from_dtype, types

    from daskaug.kernels import loops_images

    values = types.Array(from_dtype(out), 1, "C", readonly=True)
    layout = types.UniTuple(types.int64, 5)
    return compiled(
        loops_images.transform,
        types.Array(from_dtype(pixels), 1, "C", readonly=True),
        layout,
        types.UniTuple(types.int64, 3),
        types.Array(types.int64, 1, "C", readonly=True),
        types.Array(types.float64, 3, "C", readonly=True),
        types.Array(types.boolean, 2, "C", readonly=True),
        values,
        values,
        values,
        types.Tuple([types.int64, types.int64, types.boolean]),
        values,
        values,
        types.UniTuple(types.boolean, 2),
        values,
        values,
        types.Array(from_dtype(np.result_type(pixels, out)), 1, "C"),
        types.Array(from_dtype(out), 1, "C"),
        layout,
        types.boolean,
    )


def warm() -> None:
    """Compile, or load from the cache on disk, what images of 8 bits and of float32 need."""
    for pixels in (np.uint8, np.float32):
        _transform_kernel(np.dtype(pixels), np.dtype(np.float32))


@np.errstate(over="ignore", invalid="ignore")  # a bound beyond float32 is as good as none
def transform_images(
    images: NDArray[Any],
    index: ArrayLike,
    *,
    matrices: ArrayLike | None = None,
    flips: ArrayLike | None = None,
    channel_shift: ArrayLike | None = None,
    brightness: ArrayLike | None = None,
    value_range: tuple[float, float] = (-math.inf, math.inf),
    resampling: Resampling = Resampling(),
    standardization: Standardization | None = None,
    out: NDArray[Any],
) -> NDArray[Any]:
    """Warp, shift channels, flip, brighten and standardise images, in this order.

    Parameters
    ----------
    images : (n, h, w, c) bool, integer or float
        Any strides and byte order; not written to, unless it is `out` as well.
    index : (b,) integer
        Image ``index[k]`` becomes ``out[k]``; repeats are fine.
    matrices : (b, 2, 3) float64, optional
        Output pixel (row, column) is taken from input row ``(m[0, 2] + row·m[0, 0]) + column·m[0, 1]`` and input
        column ``(m[1, 2] + row·m[1, 0]) + column·m[1, 1]``. The identity copies the pixels bit for bit.
    flips : (b, 2) bool, optional
        Horizontal, vertical.
    channel_shift : (b,) float, grey levels, optional
        Added to every channel and clipped to the range that the image, warped but not shifted, has over all channels,
        NaN left out. NaN and 0 leave an image as it is.
    brightness : (b,) float, optional
        Factor; the result is clipped to `value_range`. The last of four channels is alpha and stays. NaN and 1 leave
        an image as it is, even where it exceeds `value_range`.
    value_range : pair of float
        Lowest and highest grey level that brightening may reach; infinite bounds do not clip.
    resampling : Resampling
        Interpolation, and what lies beside the image.
    standardization : Standardization, optional
        Applied last.
    out : (b, h, w, c) float32 or float64
        Any strides. May be `images` itself if `index` counts 0, 1, 2 …

    Returns
    -------
    (b, h, w, c) array
        `out`.

    Raises
    ------
    ValueError
        A shape or dtype does not fit, a matrix is not finite or leads farther than 2**50 pixels away.
    IndexError
        `index` points at an image that is not there.

    Notes
    -----
    An image's bits depend on the image and its own parameters only: not on the others in the block, on strides, or on
    the CPU. Scratch memory: one image in the type of `out` (float64 if `images` are), so that a pixel is converted
    once and not for each of its neighbours; and another one if channels are shifted or the standardisation is
    samplewise.
    """
    if images.ndim != 4:
        raise ValueError(f"images must have four axes, (n, h, w, c), not shape {images.shape}")
    index = _checked_index(index, len(images))
    count, (_, height, width, channels) = len(index), images.shape
    if out.dtype not in (np.dtype(np.float32), np.dtype(np.float64)) or not out.flags.writeable:
        raise ValueError(f"out must be writable, of native float32 or float64, not {out.dtype}")
    if out.shape != (count, height, width, channels):
        raise ValueError(f"out must have shape {(count, height, width, channels)}, not {out.shape}")
    matrices = _checked_matrices(matrices, count, height, width)
    flips = _parameters(flips, np.dtype(bool), (count, 2), "flips")
    shifts = _parameters(channel_shift, out.dtype, (count,), "channel_shift")
    gains = _parameters(brightness, out.dtype, (count,), "brightness")
    low, high = value_range
    if not low <= high:
        raise ValueError(f"value_range must be (lowest, highest), not {value_range}")
    if out.size == 0:
        return out
    images, index = _compilable(images, index)
    strided = strides_fit(out) and not _unsafe_overlap(images, index, out)
    target = out if strided else np.empty(out.shape, out.dtype)
    wanted = standardization or _PLAIN
    mean, divisor = _featurewise(wanted, out.dtype, width, channels)
    pixels, layout = flat(images)
    memory, out_layout = flat(target)
    _transform_kernel(images.dtype, out.dtype)(
        pixels,
        layout,
        (height, width, channels),
        index,
        matrices,
        flips,
        shifts,
        gains,
        np.array((low, high), out.dtype),
        (int(resampling.order), FILL_MODES.index(resampling.fill_mode), bool(resampling.double)),
        np.array((resampling.cval,), out.dtype),
        np.array((1.0 if wanted.rescale is None else wanted.rescale,), out.dtype),
        (bool(wanted.samplewise_center), bool(wanted.samplewise_std)),
        mean,
        divisor,
        np.empty(height * width * channels + 1, np.result_type(images.dtype, out.dtype)),
        memory,
        out_layout,
        bool(wanted.samplewise_center or wanted.samplewise_std or np.count_nonzero(shifts)),
    )
    if target is not out:
        out[...] = target
    return out


def standardize_images(block: NDArray[Any], standardization: Standardization) -> None:
    """Standardise images in place.

    Parameters
    ----------
    block : (b, h, w, c) float32 or float64
        Any strides.
    standardization : Standardization
        The statistics ``samplewise`` are those of each image.

    Raises
    ------
    ValueError
        A shape or dtype does not fit.
    """
    transform_images(block, np.arange(len(block)), standardization=standardization, out=block)


def affine_spline(
    image_block: NDArray[Any],
    index: ArrayLike,
    matrices: ArrayLike,
    order: int,
    fill_mode: str,
    cval: float,
    out: NDArray[Any],
) -> NDArray[Any]:
    """Warp images with splines of order 2 to 5, by SciPy in float64.

    Parameters
    ----------
    image_block : (n, h, w, c) bool, integer or float
        Not written to.
    index : (b,) integer
        Image ``index[k]`` becomes ``out[k]``.
    matrices : (b, 2, 3) float64
        As in :func:`transform_images`. The identity copies the pixels bit for bit.
    order : int
        2 to 5.
    fill_mode, cval : str, float
        As in :class:`Resampling`.
    out : (b, h, w, c) float32 or float64
        Must not overlap `image_block`.

    Returns
    -------
    (b, h, w, c) array
        `out`.

    Raises
    ------
    ConfigError
        `order` or `fill_mode` is not one of these.
    ValueError
        The shape of `out` or `matrices` does not fit, or a matrix is not finite.
    IndexError
        `index` points at an image that is not there.
    """
    from scipy import ndimage

    if order not in (2, 3, 4, 5):
        raise ConfigError(f"order must be 2, 3, 4 or 5 here, not {order!r}; orders 0 and 1 are transform_images'")
    if fill_mode not in FILL_MODES:
        raise ConfigError(f"fill_mode must be one of {', '.join(FILL_MODES)}, not {fill_mode!r}")
    index = _checked_index(index, len(image_block))
    if out.shape != (len(index), *image_block.shape[1:]):
        raise ValueError(f"out must have shape {(len(index), *image_block.shape[1:])}, not {out.shape}")
    options: dict[str, Any] = {"order": order, "mode": fill_mode, "cval": cval}
    for target, i, matrix in zip(out, index, _checked_matrices(matrices, len(index), *out.shape[1:3]), strict=True):
        stopping.check()
        if np.array_equal(matrix, _IDENTITY):
            target[...] = image_block[i]
            continue
        for channel in range(out.shape[3]):
            pixels = image_block[i, :, :, channel].astype(np.float64)
            target[:, :, channel] = ndimage.affine_transform(pixels, matrix[:, :2], matrix[:, 2], **options)
    return out


def _checked_index(index: ArrayLike, count: int) -> NDArray[np.int64]:
    """The index as contiguous int64, with every entry in [0, count)."""
    given = np.asarray(index)
    if given.ndim != 1 or (given.dtype.kind not in "iu" and given.size):
        raise ValueError(f"index must be a row of integers, not {given.dtype} of shape {given.shape}")
    if given.size and not (np.minimum.reduce(given) >= 0 and np.maximum.reduce(given) < count):
        raise IndexError(f"index must lie between 0 and {count - 1}, found {given.min()} to {given.max()}")
    return np.ascontiguousarray(given, np.int64)


def _parameters(values: ArrayLike | None, dtype: np.dtype[Any], shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """One parameter per image as a contiguous array, empty where there is none."""
    if values is None:
        return np.empty((0, *shape[1:]), dtype)
    given = np.ascontiguousarray(values, dtype)
    if given.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, not {given.shape}")
    return given


def _checked_matrices(values: ArrayLike | None, count: int, height: int, width: int) -> NDArray[np.float64]:
    matrices = _parameters(values, np.dtype(np.float64), (count, 2, 3), "matrices")
    # NaN and infinity make the comparison false as well.
    if not np.all(np.abs(matrices) @ np.array((height, width, 1.0)) < _FARTHEST):
        raise ValueError(f"matrices must be finite and lead less than 2**50 pixels away, found {matrices!r}")
    return matrices


@functools.lru_cache(maxsize=32)
def _featurewise(
    standardization: Standardization, dtype: np.dtype[Any], width: int, channels: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Mean and divisor as the kernel takes them. Kept: for small images, making them takes longer than using them."""
    mean = _per_element(standardization.mean, dtype, width, channels, "mean")
    return mean, _per_element(standardization.divisor, dtype, width, channels, "divisor")


def _per_element(
    values: NDArray[Any] | None, dtype: np.dtype[Any], width: int, channels: int, name: str
) -> NDArray[Any]:
    """A value per channel as a value per element of an image row, empty where there is none."""
    if values is None:
        return np.empty(0, dtype)
    given = np.asarray(values, dtype)
    if given.shape == (1,):  # one for all channels
        given = np.repeat(given, channels)
    if given.shape != (channels,):
        raise ValueError(f"{name} must have shape {(channels,)}, not {given.shape}")
    return np.tile(given, width)


def _compilable(images: NDArray[Any], index: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The images in a dtype and memory that the kernel reads; of others, the wanted images are converted."""
    if images.dtype in _COMPILED_DTYPES and strides_fit(images):
        return images, index
    if images.dtype.kind not in "buif":
        raise ValueError(f"images must be bool, integers or floats, not {images.dtype}")
    if images.dtype == np.dtype(bool):
        return _compilable(images.view(np.uint8), index)
    native = images.dtype.newbyteorder("=")
    if native not in _COMPILED_DTYPES:
        native = np.dtype(np.float32 if native.name in _EXACT_IN_FLOAT32 else np.float64)
    return images[index].astype(native), np.arange(len(index))


def _unsafe_overlap(images: NDArray[Any], index: NDArray[np.int64], out: NDArray[Any]) -> bool:
    """Whether writing an image may destroy one that is still to be read.

    In place nothing is lost: the kernel copies an image before it writes to its place.
    """
    if not np.may_share_memory(images, out):
        return False
    same = images.ctypes.data == out.ctypes.data and images.strides == out.strides and images.dtype == out.dtype
    return not (same and np.array_equal(index, np.arange(len(images))))
